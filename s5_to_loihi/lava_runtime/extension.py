"""Lava's closed extension for Loihi 2 (lava-loihi): whether it is there. Nothing is imported."""

from __future__ import annotations

from importlib.util import find_spec

from s5_to_loihi.errors import LavaError
from s5_to_loihi.lava_runtime import shim as lava_shim

#: What every run uses of it, by module.
MODULES = {
    "lava.magma.core.model.nc.model": "models on neurocores",
    "lava.magma.core.model.c.model": "models on embedded processors",
    "lava.proc.sparse.ncmodel": "synapses on neurocores",
    "lava.proc.embedded_io.spike": "adapters between host and chip",
}
#: What measurements use besides.
MEASURING = {
    "lava.proc.cyclic_buffer.process": "input on chip while measuring",
    "lava.utils.loihi2_profiler": "probes",
}
#: What probes of registers use besides.
PROBING = {"lava.utils.loihi2_state_probes": "probes of registers"}


def missing_modules(measuring: bool = True, probing: bool = False) -> dict[str, str]:
    """Return what is missing of the extension: module -> what it is for."""
    needed = MODULES | (MEASURING if measuring else {}) | (PROBING if probing else {})
    return {name: job for name, job in needed.items() if not _can_be_found(name)}


def _can_be_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # one of the packages around it
        return False


def require(measuring: bool, probing: bool = False) -> None:
    """Check that Lava and its extension are there, with what measurements and probes need.

    Raises:
        LavaError: naming what is missing and where it comes from.
    """
    lava_shim.install()
    missing = missing_modules(measuring, probing)
    if missing:
        modules = ", ".join(f"{name} ({job})" for name, job in missing.items())
        raise LavaError(
            "Lava's extension for Loihi 2 (lava-loihi)",
            f"is not installed: there is no {modules}",
            "Intel gives it to members of the INRC: install it in this environment on a machine"
            " with a board, see docs/board.md. Without a board a run can be rehearsed on the CPU"
            " (s5_to_loihi.backends.board.rehearse)",
        )
