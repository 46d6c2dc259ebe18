"""The float model measured on this machine: a token at a time, and whole sequences.

NumPy always; JAX and PyTorch where they are installed, on what they find: the processor or a GPU.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.records import Schema, read_record, write_record
from s5_to_loihi.profiling.dense_float import Sizes
from s5_to_loihi.profiling.energy import EnergyMeter
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.profiling.runners import RUNNERS, Runner, is_installed

_SCHEMA = Schema(
    name="file of baselines",
    key="s5_to_loihi baselines",
    version=1,
    largest=1 << 20,
    do="Give the file that benchmarks/baselines.py wrote",
)
#: Tokens of a sequence that is computed at once: so many, or of a large model as few as
#: ``LARGEST_WORK`` weights times tokens allow; one takes about a second on a core.
TOKENS, FEWEST_TOKENS, LARGEST_WORK = 1000, 8, 10**9
STREAMING = "one token at a time"
REPEATS = 5
STOOD_STILL = "no energy: the counter stood still for a whole repeat"
LIBRARIES = tuple(RUNNERS)


@dataclass(frozen=True)
class Baseline:
    """One way to run the float model, measured.

    Attributes:
        device: what it ran on.
        software: what ran it.
        mode: how tokens came: one at a time, or so many sequences of so many at once.
        sizes: of the model, for people.
        weights: entries of its matrices, zeros included.
        time: of a token.
        energy: of a token; None if this machine does not count it.
        energy_note: what counts it, or why nothing does.
    """

    device: str
    software: str
    mode: str
    sizes: str
    weights: int
    time: Quantity
    energy: Quantity | None
    energy_note: str


@dataclass(frozen=True)
class Baselines:
    """All that was measured on one machine.

    Attributes:
        measured: in the order of the libraries.
    """

    measured: tuple[Baseline, ...]


def measure(
    sizes: Sizes,
    libraries: tuple[str, ...] = LIBRARIES,
    batch: int = 8,
    seconds: float = 0.03,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Baselines:
    """Measure the float model of these sizes, with random weights, in float32.

    Args:
        sizes: of the model.
        libraries: of ``LIBRARIES``; those that are not installed are left out.
        batch: sequences at once, in the third mode.
        seconds: of each of ``REPEATS`` repeats, of each mode. Counters of energy want 1 or more.
        on_progress: called with modes done and in all.
    """
    measured: list[Baseline] = []
    installed = [name for name in libraries if is_installed(name)]
    for index, name in enumerate(installed):
        tokens = tokens_of(sizes)
        rows = _measured(RUNNERS[name](sizes, tokens), sizes, tokens, batch, seconds)
        for done, row in enumerate(rows, 1):
            measured.append(row)
            on_progress(3 * index + done, 3 * len(installed))
    return Baselines(tuple(measured))


def write_baselines(baselines: Baselines, path: str | os.PathLike[str]) -> None:
    """Write what was measured as JSON, whole or not at all."""
    write_record(baselines, path, _SCHEMA)


def read_baselines(path: str | os.PathLike[str]) -> Baselines:
    """Read what was measured and check all of it.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    read = read_record(Baselines, path, _SCHEMA)
    for row in read.measured:
        for quantity in (row.time, *([row.energy] if row.energy else [])):
            if quantity.origin is not Origin.MEASURED:
                what = f"holds a number that is {quantity.origin.value}, not measured"
                raise InputError(str(path), what, "Give the file as it was written")
    return read


def tokens_of(sizes: Sizes) -> int:
    """Return how many tokens a sequence has that a model of these sizes is measured with."""
    return min(TOKENS, max(FEWEST_TOKENS, LARGEST_WORK // sizes.weights))


def _measured(
    runner: Runner, sizes: Sizes, length: int, batch: int, seconds: float
) -> Iterator[Baseline]:
    whole = f"{length:,} tokens at once"
    for mode, call, tokens in (
        (STREAMING, runner.stream, 1),
        (f"a sequence of {whole}", runner.whole(1), length),
        (f"{batch} sequences of {whole}", runner.whole(batch), length * batch),
    ):
        times, energies = _repeated(call, tokens, runner.meter, seconds)
        place = "from a token on the device to its output there, waited for"
        what = place if tokens == 1 else f"a token's share of a call that computes {tokens:,}"
        source = f"{REPEATS} repeats, median and range"
        yield Baseline(
            device=runner.device,
            software=runner.software,
            mode=mode,
            sizes=str(sizes),
            weights=sizes.weights,
            time=_quantity(times, "us", what, source),
            energy=_quantity(energies, "uJ", runner.meter.scope, source) if energies else None,
            energy_note=runner.meter.source if energies or not runner.meter.joules else STOOD_STILL,
        )


def _quantity(values: list[float], unit: str, scope: str, source: str) -> Quantity:
    middle = statistics.median(values)
    return Quantity(middle, min(values), max(values), unit, scope, Origin.MEASURED, source)


def _repeated(
    call: Callable[[], object], tokens: int, meter: EnergyMeter, seconds: float
) -> tuple[list[float], list[float]]:
    """Return microseconds and microjoules a token of each repeat; none if its counter stood still.

    Counters of GPUs move about ten times a second, so a repeat shorter than that has no energy.
    """
    calls = _calls(call, seconds)
    times, energies = [], []
    for _ in range(REPEATS):
        before = meter.joules() if meter.joules else 0.0
        started = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - started) * 1e6 / (calls * tokens))
        if meter.joules:
            energies.append((meter.joules() - before) * 1e6 / (calls * tokens))
    return times, energies if min(energies, default=0.0) > 0 else []


def _calls(call: Callable[[], object], seconds: float) -> int:
    """Return how many calls take about so many seconds, once compiled, allocated and warm."""
    call()
    calls, taken = 1, _seconds(call, 1)
    while taken <= seconds / 4:
        calls *= 2
        taken = _seconds(call, calls)
    return max(1, round(calls * seconds / taken))


def _seconds(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - started
