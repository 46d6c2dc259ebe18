"""The GPU simulator against two cores of this machine: nanoseconds a token, and where they go.

Network: Intel's published size (257 in and out, H 192, P 128, 3 blocks, 90 % sparse), as recorded
in tests/golden, or the export that --export names. Many sequences of the recorded tokens, each
begun elsewhere. Ways run in turn, warmed up, best of the rounds; all outputs must be equal. A run
is timed from tokens in this process's memory to outputs there; what the GPU alone takes for blocks
that it already has, and each kind of kernel, are timed by its events. The floor stands beside: the
integers that must go in and out at the measured speed of the bus, the messages and sums that are
written and read once at the measured speed of the GPU's memory, and the multiply-accumulates at its
peak.

    python benchmarks/simulator_gpu.py [--export DIR] [--sequences N] [--tokens N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from simulator_tables import table
from simulator_ways import golden_export, require_equal

from s5_to_loihi import intel_export
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.network.network import Network
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators import gpu
from s5_to_loihi.simulators.devices import Cuda, Launch
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.gpu import GpuSimulator
from s5_to_loihi.simulators.interpreter import Interpreter

#: int32 multiply-adds of a multiprocessor in a cycle, of compute capability 9.0.
MULTIPLY_ADDS = 64
GOAL = 20


class Timed(Cuda):
    """A GPU that notes when each kernel begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, object, object]] = []

    def _now(self):
        event = self._cupy.cuda.Event()
        event.record(self._stream)
        return event

    def prepared(self, launches: Iterable[Launch]) -> Callable[[], None]:
        calls = [(one.what, super(Timed, self).prepared([one])) for one in launches]

        def call() -> None:
            for what, one in calls:
                begun = self._now()
                one()
                self.events.append((what, begun, self._now()))

        return call

    def by_kernel(self) -> dict[str, float]:
        """Return what -> milliseconds, since the last call."""
        found: dict[str, float] = defaultdict(float)
        for what, begun, ended in self.events:
            found[what] += self._cupy.cuda.get_elapsed_time(begun, ended)
        self.events.clear()
        return dict(found)


def cores(count: int) -> set[int]:
    """Return processors that are not two threads of one core."""
    found: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        found.setdefault(path.read_text() if path.is_file() else str(number), number)
    return set(list(found.values())[:count])


@contextmanager
def bound_to(processors: set[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def sequences_of(recorded: np.ndarray, tokens: int, batch: int) -> np.ndarray:
    """Return (tokens, batch, features) int32: the recorded tokens, begun at another one each."""
    flat = recorded.transpose(1, 0, 2).reshape(-1, recorded.shape[2])
    rows = np.arange(tokens)[:, None] + 37 * np.arange(batch)
    return flat[rows % len(flat)].astype(np.int32)


def best(run: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest of some runs, after one that is not timed."""
    run()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def on_the_gpu(simulator: GpuSimulator, tokens: np.ndarray, rounds: int) -> tuple[float, float]:
    """Return nanoseconds a token that kernels take, and that asking for them takes."""
    device = simulator.device
    assert isinstance(device, Cuda)
    cupy = device._cupy
    count, batch, _ = tokens.shape
    _, length = simulator.portion(count, batch, False, False)
    outputs = np.empty((count, batch, simulator.network.output_size), dtype=np.int32)
    with ThreadPoolExecutor() as pool:
        part = gpu.Part(simulator, length, {"outputs": outputs}, pool, os.cpu_count() or 1)
        part.go(tokens, simulator.initial_state(batch))
        call = device.prepared(simulator.planner.block(part.rooms[0], length, False, False))
        found = []
        for _ in range(rounds + 1):
            begun, ended = (cupy.cuda.Event() for _ in range(2))
            begun.record(device._stream)
            started = time.perf_counter()
            call()
            asked = time.perf_counter() - started
            ended.record(device._stream)
            ended.synchronize()
            found.append((cupy.cuda.get_elapsed_time(begun, ended) * 1e6, asked * 1e9))
    seconds, asked = min(found)
    return seconds / (length * batch), asked / (length * batch)


def speeds(device: Cuda) -> dict[str, float]:
    """Return bytes a nanosecond: into the GPU, out of it, and of its memory, read and written."""
    size, found = 1 << 28, {}
    staged, near, far = device.staging(size), device.memory(size), device.memory(size)
    staged[:] = 1
    runtime = device._cupy.cuda.runtime
    for name, copy, moved in (
        ("in", lambda: device.upload(near.address, staged), size),
        ("out", lambda: device.download(staged, near.address), size),
        (
            "memory",
            lambda: runtime.memcpyAsync(
                far.address, near.address, size, runtime.memcpyDeviceToDevice, device._stream.ptr
            ),
            2 * size,
        ),
    ):

        def run(copy=copy) -> None:
            copy()
            device.mark().synchronize()

        found[name] = moved / best(run, 10) / 1e9
    return found


def floor_of(simulator: GpuSimulator, rates: dict[str, float]) -> dict[str, float]:
    """Return nanoseconds a token that its parts take at least."""
    device, layout = simulator.device, simulator.layout
    assert isinstance(device, Cuda)
    attributes = device._cupy.cuda.Device().attributes
    peak = attributes["MultiProcessorCount"] * MULTIPLY_ADDS * attributes["ClockRate"] / 1e6
    sizes = simulator.planner.sizes(False, False)
    moved = sum(sizes[name] for name in ("messages", "narrow", "accumulators"))
    return {
        "tokens in": sizes["tokens"] / rates["in"],
        "outputs out": sizes["outputs"] / rates["out"],
        "messages and sums, written and read once": 2 * moved / rates["memory"],
        "multiply-accumulates": len(layout.row_weights) / peak,
    }


def compared(network: Network, tokens: np.ndarray, rounds: int) -> dict:
    """Measure; return nanoseconds a token by name, and what else belongs to them."""
    count = tokens.shape[0] * tokens.shape[1]
    fast, device = FastSimulator(network), Cuda()
    simulator = GpuSimulator(network, device)
    started = time.perf_counter()
    wanted = simulator.run(tokens[:2, :2]).outputs
    ready = time.perf_counter() - started
    require_equal("the GPU", wanted, Interpreter(network).evaluate(tokens[:2, :2]).outputs)
    two = cores(2)
    with bound_to(two):
        expected = fast.run(tokens, threads=2)
        cpu = best(lambda: fast.run(tokens, threads=2), rounds)
        bound = best(lambda: simulator.run(tokens, threads=2), rounds)
    run = simulator.run(tokens, counting=True)
    require_equal("the GPU", run.outputs, expected.outputs)
    require_equal("the GPU's state", run.state, expected.state)
    some = tokens[:, :4]
    require_equal("some", run.outputs[:, :4], Interpreter(network).evaluate(some).outputs)
    ways = {
        "fast simulator, two cores": cpu,
        "GPU, memory to memory, two cores copy": bound,
        "GPU, memory to memory": best(lambda: simulator.run(tokens), rounds),
        "GPU, counting": best(lambda: simulator.run(tokens, counting=True), rounds),
    }
    costs = {name: seconds / count * 1e9 for name, seconds in ways.items()}
    costs["GPU alone"], costs["asking the GPU"] = on_the_gpu(simulator, tokens, rounds)
    timed = Timed()
    other = GpuSimulator(network, timed)
    other.run(tokens)
    timed.by_kernel()
    other.run(tokens)
    parts = {what: one / count * 1e6 for what, one in timed.by_kernel().items()}
    rates = speeds(device)
    return {
        "gpu": device.name,
        "cores": sorted(two),
        "processors": os.cpu_count(),
        "tokens": tokens.shape[0],
        "sequences": tokens.shape[1],
        "seconds to the first token": ready,
        "costs": costs,
        "kernels": parts,
        "rates": rates,
        "floor": floor_of(simulator, rates),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, metavar="DIR", help="Intel's fixed-point export")
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=1024, help="of each sequence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--columns", type=int, nargs="*", help="other sizes of blocks to try")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    console = Console(width=110)
    export = intel_export.read(options.export) if options.export else golden_export()
    model, _ = intel_export.to_model(export)
    network = run_passes(lower(model))
    tokens = sequences_of(export.recorded["INPUT"].data, options.tokens, options.sequences)
    found = compared(network, tokens, options.rounds)
    costs, floor = found["costs"], found["floor"]
    console.print(
        f"{found['gpu']}; {found['processors']} processors, cores {found['cores']} for the fast"
        f" simulator; {found['sequences']} sequences of {found['tokens']:,} tokens; first token"
        f" after {found['seconds to the first token']:.1f} s; load {os.getloadavg()[0]:.1f}"
    )
    rows = table("Equal outputs and states", "", "ns/token", "times as fast as two cores")
    for name, cost in costs.items():
        rows.add_row(name, f"{cost:,.1f}", f"{costs['fast simulator, two cores'] / cost:,.1f}")
    console.print(rows)
    rows = table("Where the GPU's time goes (events around each kernel)", "", "ns/token")
    for name, cost in sorted(found["kernels"].items(), key=lambda one: -one[1]):
        rows.add_row(name, f"{cost:,.2f}")
    console.print(rows)
    rows = table("The floor", "", "ns/token")
    for name, cost in floor.items():
        rows.add_row(name, f"{cost:,.2f}")
    console.print(rows)
    console.print({name: round(rate, 1) for name, rate in found["rates"].items()}, "bytes/ns")
    for columns in options.columns or ():
        gpu.COLUMNS = columns
        simulator = GpuSimulator(network)
        whole = best(partial(simulator.run, tokens), 3) / tokens[..., 0].size * 1e9
        alone, asked = on_the_gpu(simulator, tokens, 5)
        console.print(f"blocks of {columns:,}: {whole:.1f} ns, GPU {alone:.1f}, asking {asked:.1f}")
        found.setdefault("blocks", {})[columns] = [whole, alone, asked]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    ratio = costs["fast simulator, two cores"] / costs["GPU, memory to memory"]
    verdict = "met" if ratio >= GOAL else "MISSED"
    console.print(f"Goal: {GOAL} times two cores, memory to memory: {ratio:.1f}, {verdict}")


if __name__ == "__main__":
    main()
