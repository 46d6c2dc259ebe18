"""The float model measured on this machine: a token at a time, and whole sequences.

NumPy always; JAX and PyTorch where they are installed, on what they find: the processor or a GPU.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.profiling import dense_float
from s5_to_loihi.profiling.dense_float import Sizes
from s5_to_loihi.profiling.energy import EnergyMeter, cpu_meter, gpu_meter
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.profiling.strict_json import read_value, write_value

SCHEMA = "s5_to_loihi baselines"
SCHEMA_VERSION = 1
LARGEST_FILE = 1 << 20
LIBRARIES = ("numpy", "jax", "torch")
#: Tokens of a sequence that is computed at once.
TOKENS = 1000
STREAMING = "one token at a time"
REPEATS = 5


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


@dataclass(frozen=True, eq=False)
class Runner:
    """A library with the model on its device.

    Attributes:
        device, software: names.
        meter: of the device's energy.
        stream: computes the next token of one stream, and waits for it.
        whole: computes so many sequences at once, and waits: sequences -> call.
    """

    device: str
    software: str
    meter: EnergyMeter
    stream: Callable[[], object]
    whole: Callable[[int], Callable[[], object]]


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
    installed = [name for name in libraries if _is_installed(name)]
    for index, name in enumerate(installed):
        rows = _measured(_RUNNERS[name](sizes), sizes, batch, seconds)
        for done, row in enumerate(rows, 1):
            measured.append(row)
            on_progress(3 * index + done, 3 * len(installed))
    return Baselines(tuple(measured))


def write_baselines(baselines: Baselines, path: Path) -> None:
    """Write what was measured as JSON, whole or not at all."""
    write_value(baselines, path, SCHEMA, SCHEMA_VERSION)


def read_baselines(path: Path) -> Baselines:
    """Read what was measured and check all of it.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    read = read_value(
        *(Baselines, path, SCHEMA, SCHEMA_VERSION, LARGEST_FILE),
        kind="file of baselines",
        origin="benchmarks/baselines.py",
    )
    for row in read.measured:
        for quantity in (row.time, *([row.energy] if row.energy else [])):
            if quantity.origin is not Origin.MEASURED:
                what = f"holds a number that is {quantity.origin.value}, not measured"
                raise InputError(str(path), what, "Give the file as it was written")
    return read


def _measured(runner: Runner, sizes: Sizes, batch: int, seconds: float) -> Iterator[Baseline]:
    whole = f"{TOKENS:,} tokens at once"
    for mode, call, tokens in (
        (STREAMING, runner.stream, 1),
        (f"a sequence of {whole}", runner.whole(1), TOKENS),
        (f"{batch} sequences of {whole}", runner.whole(batch), TOKENS * batch),
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
            energy_note=runner.meter.source,
        )


def _quantity(values: list[float], unit: str, scope: str, source: str) -> Quantity:
    middle = statistics.median(values)
    return Quantity(middle, min(values), max(values), unit, scope, Origin.MEASURED, source)


def _repeated(
    call: Callable[[], object], tokens: int, meter: EnergyMeter, seconds: float
) -> tuple[list[float], list[float]]:
    """Return microseconds and microjoules a token of each repeat."""
    for _ in range(2):  # compiled, allocated, warm
        started = time.perf_counter()
        call()
        once = time.perf_counter() - started
    calls = max(1, round(seconds / once))
    times, energies = [], []
    for _ in range(REPEATS):
        before = meter.joules() if meter.joules else 0.0
        started = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - started) * 1e6 / (calls * tokens))
        if meter.joules:
            energies.append((meter.joules() - before) * 1e6 / (calls * tokens))
    return times, energies


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


# --- one function a library ----------------------------------------------------------------------


def _numpy_runner(sizes: Sizes) -> Runner:
    weights = dense_float.random_weights(sizes)
    states = [(np.zeros((1, sizes.states), np.float32),) * 2] * sizes.blocks
    token = _tokens(sizes, 1, 1)[0]

    def stream() -> None:
        _, states[:] = dense_float.step(np, sizes, weights, states, token)

    def whole(batch: int) -> Callable[[], object]:
        return functools.partial(
            dense_float.sequence, np, sizes, weights, _tokens(sizes, TOKENS, batch)
        )

    return Runner(_cpu(), f"NumPy {np.__version__}, float32", cpu_meter(), stream, whole)


def _jax_runner(sizes: Sizes) -> Runner:
    jax = importlib.import_module("jax")
    device = jax.devices()[0]
    gpu = device.platform == "gpu"
    weights = jax.device_put(dense_float.random_weights(sizes), device)
    states = [(jax.numpy.zeros((1, sizes.states)),) * 2] * sizes.blocks
    token = jax.device_put(_tokens(sizes, 1, 1)[0], device)
    step = jax.jit(functools.partial(dense_float.step, jax.numpy, sizes))
    recurrence = dense_float.scan if gpu else functools.partial(_token_by_token, jax)
    sequence = jax.jit(
        functools.partial(dense_float.sequence, jax.numpy, sizes, recurrence=recurrence)
    )

    def stream() -> None:
        outputs, states[:] = step(weights, states, token)
        outputs.block_until_ready()

    def whole(batch: int) -> Callable[[], object]:
        tokens = jax.device_put(_tokens(sizes, TOKENS, batch), device)
        return lambda: sequence(weights, tokens).block_until_ready()

    return Runner(
        device.device_kind if gpu else _cpu(),
        f"JAX {jax.__version__}, float32 (default precision), jitted",
        gpu_meter(device.device_kind) if gpu else cpu_meter(),
        stream,
        whole,
    )


def _token_by_token(jax, library, a, drive):
    """Do what ``dense_float.scan`` does, one token after the other: faster on a processor."""

    def body(before, now):
        state = dense_float.advance(a, before, now)
        return state, state

    start = tuple(library.zeros_like(part[0]) for part in drive)
    return jax.lax.scan(body, start, tuple(drive))[1]


def _torch_runner(sizes: Sizes) -> Runner:
    torch = importlib.import_module("torch")
    torch.set_grad_enabled(False)
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    weights = [
        {name: torch.tensor(values, device=device) for name, values in part.items()}
        for part in dense_float.random_weights(sizes)
    ]
    states = [
        tuple(torch.zeros((1, sizes.states), device=device) for _ in range(2))
        for _ in range(sizes.blocks)
    ]
    token = torch.tensor(_tokens(sizes, 1, 1)[0], device=device)

    def stream() -> None:
        _, after = dense_float.step(torch, sizes, weights, states, token)
        for before, now in zip(states, after, strict=True):
            for part, value in zip(before, now, strict=True):
                part.copy_(value)

    def whole(batch: int) -> Callable[[], object]:
        tokens = torch.tensor(_tokens(sizes, TOKENS, batch), device=device)
        call = functools.partial(dense_float.sequence, torch, sizes, weights, tokens)
        return _captured(torch, call) if gpu else call

    name = torch.cuda.get_device_name() if gpu else _cpu()
    return Runner(
        name,
        f"PyTorch {torch.__version__}, float32, {'CUDA graph' if gpu else 'eager'}",
        gpu_meter(name) if gpu else cpu_meter(),
        _captured(torch, stream) if gpu else stream,
        whole,
    )


def _captured(torch, call: Callable[[], object]) -> Callable[[], None]:
    """Record a call as a CUDA graph; the result replays it and waits for the device."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    def replay(_inputs=call) -> None:
        # The graph reads the memory of the call's arrays, which the call alone keeps.
        graph.replay()
        torch.cuda.synchronize()

    return replay


_RUNNERS = {"numpy": _numpy_runner, "jax": _jax_runner, "torch": _torch_runner}


def _tokens(sizes: Sizes, count: int, batch: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.normal(size=(count, batch, sizes.features)).astype(np.float32)


def _cpu() -> str:
    """Return the name of this processor and how many of its cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name.strip()}, {cores} cores"
