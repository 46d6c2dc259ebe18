"""Energy counters of the machine that a measurement runs on, where there are any."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class EnergyMeter:
    """A counter of energy.

    Attributes:
        joules: returns what was used since some moment; None if there is no counter.
        scope: which supplies the counter covers.
        source: what counts; without a counter, why there is none.
    """

    joules: Callable[[], float] | None
    scope: str
    source: str


def cpu_meter(directory: Path = POWERCAP) -> EnergyMeter:
    """Return the counter of this machine's processor packages (RAPL, Linux powercap).

    Args:
        directory: of the counters: files ``energy_uj`` in microjoules. They start again from zero
            at ``max_energy_range_uj``, after minutes at least: a repeat is shorter.
    """
    packages = sorted(directory.glob("intel-rapl:[0-9]*/energy_uj"))
    packages = [path for path in packages if path.parent.name.count(":") == 1]
    if not packages:
        return EnergyMeter(None, "", "no energy: this processor shows no RAPL counters")
    try:
        ranges = [int((path.parent / "max_energy_range_uj").read_text()) for path in packages]
        before = [int(path.read_text()) for path in packages]
    except (OSError, ValueError):
        return EnergyMeter(None, "", "no energy: the RAPL counters may not be read by this user")
    turns = [0] * len(packages)

    def joules() -> float:
        total = 0
        for index, path in enumerate(packages):
            now = int(path.read_text())
            turns[index] += now < before[index]
            before[index] = now
            total += now + turns[index] * ranges[index]
        return total * 1e-6

    return EnergyMeter(joules, "CPU packages, idle power included", "RAPL counters")


def gpu_meter(name: str) -> EnergyMeter:
    """Return the counter of the first NVIDIA GPU of a name (NVML; the extra ``gpu``)."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return EnergyMeter(None, "", "no energy: pip install nvidia-ml-py")
    try:
        nvml.nvmlInit()
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        named = (handle for handle in handles if _text(nvml.nvmlDeviceGetName(handle)) == name)
        handle = next(named, None)
        if handle is None:
            return EnergyMeter(None, "", f"no energy: NVML does not know {name}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        return EnergyMeter(None, "", f"no energy: NVML says {error}")

    def joules() -> float:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) * 1e-3

    return EnergyMeter(joules, "GPU board, idle power included", "NVML energy counter")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
