"""What is measured: networks, tokens, and this project's ways to run them; see simulators.py."""

from __future__ import annotations

import importlib
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from s5_to_loihi.intel_export import IntelExport
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import (
    QuantizedS5,
)
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.network.network import Network
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = "denoiser_intel_size"
TOKENS = 3751  # 30 s of sound

STREAMING, SEQUENCES = "fast, streaming", "fast, sequences, 1 thread"
TWO_THREADS, COUNTING = "fast, 2 sequences, 2 threads", "fast, sequences, counting"
INTERPRETER, INTERPRETER_STEP = "interpreter, sequence", "interpreter, token by token"
FUSED, FINE = "Lava fused, a timestep", "Lava fine-grained, a timestep"
FLOAT, FLOAT_ONE = "JAX float32, scan, all cores", "JAX float32, scan, 1 core"
FLOAT_STEP = "JAX float32, jitted step"
INTEL, INTEL_STEP = "Intel fixed point, sequence", "Intel fixed point, T = 1 call"


@dataclass(frozen=True)
class Lengths:
    """Tokens and rounds of the ways; the slower a way, the fewer."""

    tokens: int = TOKENS
    rounds: int = 25
    slow_rounds: int = 3
    slow_tokens: int = 100
    lava_rounds: int = 2


QUICK = Lengths(tokens=1024, rounds=5, slow_rounds=1, slow_tokens=30, lava_rounds=1)


@dataclass(eq=False)
class Way:
    """One way to run the network.

    Attributes:
        name: what the tables call it.
        run: runs it once and returns microseconds a token.
        rounds: how often.
        outputs: how its outputs compare with the interpreter's.
        warm: whether each timed run follows one that is not.
        costs: what the timed runs returned.
    """

    name: str
    run: Callable[[], float]
    rounds: int
    outputs: str
    warm: bool = True
    costs: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.costs)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with what it is run on.

    Attributes:
        export, model, network: from file to network; export is None for random ones.
        tokens: (tokens, 2, input features) int32.
        expected: the interpreter's outputs on them.
        simulator: the fast one, compiled.
        seconds: that compiling it, or loading it from the cache, took.
    """

    export: IntelExport | None
    model: QuantizedS5
    network: Network
    tokens: np.ndarray
    expected: np.ndarray
    simulator: FastSimulator
    seconds: float


#: What ways are timed by; on a busy machine ``time.process_time``, of all threads together.
CLOCK = [time.perf_counter]


def timed(run: Callable[[], object], tokens: int) -> Callable[[], float]:
    """Return a function that runs and returns microseconds a token."""

    def measure() -> float:
        (clock,) = CLOCK
        started = clock()
        run()
        return (clock() - started) / tokens * 1e6

    return measure


def measure_in_turn(ways: Sequence[Way], console: Console) -> None:
    """Run all ways in turn, so that whatever else the machine does meets all of them.

    Each round takes another order: nothing always follows the same thing.
    """
    order = random.Random(0)
    for index in range(max(way.rounds for way in ways)):
        left = [way for way in ways if index < way.rounds]
        for way in order.sample(left, len(left)):
            with console.status(f"round {index + 1}: {way.name}"):
                if way.warm:
                    way.run()
                way.costs.append(way.run())


def golden_export() -> IntelExport:
    """Return Intel's size as recorded in the golden vectors."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    return importlib.import_module("golden").export(GOLDEN)


def prepare(export: IntelExport | None, model: QuantizedS5, tokens: np.ndarray) -> Subject:
    """Compile a network and its kernels, run the interpreter, and hold the fast outputs to it."""
    network = run_passes(lower(model))
    started = time.perf_counter()
    simulator = FastSimulator(network)
    simulator.stream().step(tokens[0, 0])
    simulator.run(tokens[:1, :1])
    seconds = time.perf_counter() - started
    expected = Interpreter(network).evaluate(tokens).outputs
    subject = Subject(export, model, network, tokens, expected, simulator, seconds)
    require_equal(STREAMING, stream(simulator, tokens[:, 0]), expected[:, 0])
    require_equal(SEQUENCES, simulator.run(tokens).outputs, expected)
    return subject


def repeated(recorded: np.ndarray, count: int) -> np.ndarray:
    """Return two sequences (count, 2, features) int32 of the recorded tokens, over and over."""
    flat = recorded.transpose(1, 0, 2).reshape(-1, recorded.shape[2])
    rows = np.arange(count)
    pair = [flat[rows % len(flat)], flat[(rows + len(flat) // 2) % len(flat)]]
    return np.ascontiguousarray(np.stack(pair, axis=1), dtype=np.int32)


def require_equal(name: str, outputs: np.ndarray, expected: np.ndarray) -> None:
    differing = int((outputs != expected).sum())
    if differing:
        raise SystemExit(f"{name}: {differing} integers differ from the interpreter's")


def stream(simulator: FastSimulator, tokens: np.ndarray) -> np.ndarray:
    """Run one stream, one token at a time."""
    step = simulator.stream().step
    return np.array([step(token) for token in tokens])


def fast_ways(subject: Subject, lengths: Lengths) -> list[Way]:
    simulator, tokens = subject.simulator, subject.tokens
    one, count = np.ascontiguousarray(tokens[:, :1]), len(tokens)
    ways = {
        STREAMING: (lambda: stream(simulator, one[:, 0]), count),
        SEQUENCES: (lambda: simulator.run(one), count),
        TWO_THREADS: (lambda: simulator.run(tokens, threads=2), 2 * count),
        COUNTING: (lambda: simulator.run(one, counting=True), count),
    }
    return [Way(name, timed(*way), lengths.rounds, "equal") for name, way in ways.items()]


def interpreter_ways(subject: Subject, lengths: Lengths) -> list[Way]:
    interpreter, few = Interpreter(subject.network), subject.tokens[: lengths.slow_tokens, :1]

    def one_at_a_time() -> np.ndarray:
        state, outputs = None, []
        for token in few:
            evaluation = interpreter.evaluate(token[None], state)
            state = evaluation.state
            outputs.append(evaluation.outputs[0])
        return np.array(outputs)

    require_equal(INTERPRETER_STEP, one_at_a_time(), subject.expected[: len(few), :1])
    whole = timed(lambda: interpreter.evaluate(subject.tokens[:, :1]), len(subject.tokens))
    return [
        Way(INTERPRETER, whole, lengths.slow_rounds, "the reference"),
        Way(INTERPRETER_STEP, timed(one_at_a_time, len(few)), lengths.slow_rounds, "equal"),
    ]


def lava_ways(subject: Subject, lengths: Lengths, console: Console) -> list[Way]:
    """Lava's two ways, pipelined: one timestep takes in one token; without start and stop."""
    if not lava_shim.is_installed():
        commands = "; ".join(lava_shim.pip_commands(sys.version_info[:2]))
        console.print(f"Lava is left out. To install it: {commands}", soft_wrap=True)
        return []
    timed_run = importlib.import_module("lava_timesteps").timed_run

    def way(fine_grained: bool, count: int) -> Callable[[], float]:
        tokens = subject.tokens[:count, :1]

        def measure() -> float:
            milliseconds, _, outputs = timed_run(subject.network, tokens, fine_grained)
            require_equal("Lava", outputs, subject.expected[:count, :1])
            return milliseconds * 1e3

        return measure

    few = lengths.slow_tokens
    return [
        Way(FUSED, way(False, 10 * few), lengths.lava_rounds, "equal", warm=False),
        Way(FINE, way(True, few), lengths.lava_rounds, "equal", warm=False),
    ]
