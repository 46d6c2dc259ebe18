"""What is known of a point: the names of its numbers, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Better(str, Enum):
    """Which way a number gets better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True)
class Metric:
    """A number that every point has.

    Attributes:
        title: for tables and pictures.
        unit: of the number.
        better: which way it gets better.
        digits: shown after the point.
        needs_clean: True if only the clean version of a recording can tell it.
    """

    title: str
    unit: str
    better: Better
    digits: int = 0
    needs_clean: bool = False


METRICS = {
    "si_snr": Metric("SI-SNR", "dB", Better.HIGHER, 2, True),
    "si_snr_float": Metric("SI-SNR float", "dB", Better.HIGHER, 2, True),
    "sqnr": Metric("SQNR", "dB", Better.HIGHER, 1),
    "fidelity": Metric("fidelity", "dB", Better.HIGHER, 1),
    "sparsity": Metric("zeros", "share", Better.HIGHER, 3),
    "synapses": Metric("synapses", "synapses", Better.LOWER),
    "cores": Metric("cores", "cores", Better.LOWER),
    "memory": Metric("memory", "words", Better.LOWER),
    "synops": Metric("synops", "synops", Better.LOWER),
    "timestep": Metric("timestep", "us", Better.LOWER, 2),
    "latency": Metric("latency", "us", Better.LOWER, 1),
    "throughput": Metric("throughput", "tokens/s", Better.HIGHER),
    "energy": Metric("energy", "uJ", Better.LOWER, 3),
    "energy_chip": Metric("energy with x86", "uJ", Better.LOWER, 1),
    "energy_board": Metric("energy of board", "uJ", Better.LOWER, 1),
    "energy_real_time": Metric("energy in real time", "uJ", Better.LOWER, 1),
    "latency_real_time": Metric("latency in real time", "us", Better.LOWER, 1),
}
#: The energies of a token in the order of ``profiling.measured.SCOPES``.
ENERGIES = ("energy", "energy_chip", "energy_board")


def default_front(with_clean: bool) -> tuple[str, ...]:
    """Return the metrics whose best compromises are marked if nobody says which."""
    return ("energy", "si_snr" if with_clean else "fidelity", "latency")
