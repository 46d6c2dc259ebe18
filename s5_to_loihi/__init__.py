"""s5_to_loihi: compile quantized, sparse S5 models to Loihi 2 networks in Lava, and prove it."""

from s5_to_loihi.backends.dispatch import Backend, run
from s5_to_loihi.bundle import Bundle, read, write
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.compiler import Quantization, compile_export, quantize
from s5_to_loihi.denoising import denoise
from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.simulation import simulate
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import verify_interpreter, verify_run
from s5_to_loihi.version import VERSION as __version__

__all__ = [
    "Backend",
    "Bundle",
    "ExportOptions",
    "FastSimulator",
    "GluVariant",
    "Interpreter",
    "LoadOptions",
    "Mode",
    "Network",
    "Precision",
    "Quantization",
    "Readout",
    "S5ToLoihiError",
    "__version__",
    "compile_export",
    "denoise",
    "load",
    "profile",
    "quantize",
    "read",
    "run",
    "simulate",
    "verify_interpreter",
    "verify_run",
    "write",
]


def __getattr__(name: str):
    if name == "profile":  # compiled loops, which what needs no mapping need not wait for
        from s5_to_loihi.profiling.profile import profile

        return profile
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
