"""s5_to_loihi: compile quantized, sparse S5 models to Loihi 2 networks in Lava, and verify them.

``__all__`` is the public interface. A name is imported when it is first used, so that a program
waits only for what it needs: kernels and drawings take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from s5_to_loihi.version import VERSION as __version__

if TYPE_CHECKING:
    from s5_to_loihi.backends.dispatch import Backend, run
    from s5_to_loihi.bundle import Bundle, read, write
    from s5_to_loihi.checkpoints.loading import load
    from s5_to_loihi.checkpoints.options import LoadOptions
    from s5_to_loihi.checkpoints.saving import save_from_torch, save_from_tree
    from s5_to_loihi.compiler import Quantization, compile_export, compile_netx, quantize
    from s5_to_loihi.denoising import denoise
    from s5_to_loihi.errors import S5ToLoihiError
    from s5_to_loihi.float_model import GluVariant
    from s5_to_loihi.inputs import as_tokens, one_hot
    from s5_to_loihi.intel_export import ExportOptions
    from s5_to_loihi.loihi2.mapper import map_network
    from s5_to_loihi.network.network import Network, Readout
    from s5_to_loihi.netx import NetxOptions
    from s5_to_loihi.profiling.profile import profile
    from s5_to_loihi.quantization.precision import Precision
    from s5_to_loihi.reports.html.files import report
    from s5_to_loihi.simulation import simulate
    from s5_to_loihi.simulators.fast import FastSimulator
    from s5_to_loihi.simulators.interpreter import Interpreter, Mode
    from s5_to_loihi.streaming import DenoiserStream
    from s5_to_loihi.verification import verify_interpreter, verify_run

#: Public name -> the module that defines it.
_DEFINED_IN = {
    "Backend": "backends.dispatch",
    "Bundle": "bundle",
    "DenoiserStream": "streaming",
    "ExportOptions": "intel_export",
    "FastSimulator": "simulators.fast",
    "GluVariant": "float_model",
    "Interpreter": "simulators.interpreter",
    "LoadOptions": "checkpoints.options",
    "Mode": "simulators.interpreter",
    "Network": "network.network",
    "NetxOptions": "netx",
    "Precision": "quantization.precision",
    "Quantization": "compiler",
    "Readout": "network.network",
    "S5ToLoihiError": "errors",
    "as_tokens": "inputs",
    "compile_export": "compiler",
    "compile_netx": "compiler",
    "denoise": "denoising",
    "load": "checkpoints.loading",
    "map_network": "loihi2.mapper",
    "one_hot": "inputs",
    "profile": "profiling.profile",
    "quantize": "compiler",
    "read": "bundle",
    "report": "reports.html.files",
    "run": "backends.dispatch",
    "save_from_torch": "checkpoints.saving",
    "save_from_tree": "checkpoints.saving",
    "simulate": "simulation",
    "verify_interpreter": "verification",
    "verify_run": "verification",
    "write": "bundle",
}

__all__ = [
    "Backend",
    "Bundle",
    "DenoiserStream",
    "ExportOptions",
    "FastSimulator",
    "GluVariant",
    "Interpreter",
    "LoadOptions",
    "Mode",
    "Network",
    "NetxOptions",
    "Precision",
    "Quantization",
    "Readout",
    "S5ToLoihiError",
    "__version__",
    "as_tokens",
    "compile_export",
    "compile_netx",
    "denoise",
    "load",
    "map_network",
    "one_hot",
    "profile",
    "quantize",
    "read",
    "report",
    "run",
    "save_from_torch",
    "save_from_tree",
    "simulate",
    "verify_interpreter",
    "verify_run",
    "write",
]


def __getattr__(name: str) -> object:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
