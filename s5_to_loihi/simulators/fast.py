"""The fast simulator: the network as a few compiled loops, the same integers as everywhere.

Streaming pushes: a message that is not zero is multiplied by its column of weights, so silent
neurons cost nothing. Sequences pull: the rows of weights are multiplied by blocks of tokens, in
vector code. Both run the arithmetic that is traced from the one definition of each neuron.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import TEMPORARY_PREFIX
from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.widths import WORD_BITS
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.fast_layout import Layout, lay_out
from s5_to_loihi.simulators.fast_source import BLOCK, write_source
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.simulators.sums import waiting

#: Where compiled kernels are kept; by default below the user's cache directory.
CACHE_VARIABLE = "S5_TO_LOIHI_CACHE"


@dataclass(frozen=True, eq=False)
class Run:
    """What a run computed.

    Attributes:
        outputs: (tokens, batch, output features) int32.
        state: (batch, registers) int32, to go on from.
        activity: counts, if they were asked for.
        messages: ``group.message`` -> (tokens, batch, neurons) int32 of all messages that synapses
            carry or that leave the network, if they were asked for.
    """

    outputs: np.ndarray
    state: np.ndarray
    activity: Activity | None
    messages: dict[str, np.ndarray]


class FastSimulator:
    """A network compiled to kernels; holds nothing that changes."""

    def __init__(self, network: Network):
        """Compile a verified network, or load what was compiled before."""
        self.network = network
        self._layout, source = _written_out(network)
        self._kernels = _load(source)
        self.groups = ("input", *(group.name for group in network.groups))
        self._initial = _first_state(network, self._layout)
        self._updates = np.array([0, *(group.size for group in network.groups)])

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first token, (batch, registers) int32.

        It is zero, or what early updates leave.
        """
        return np.tile(self._initial, (batch, 1))

    def stream(self, state: np.ndarray | None = None) -> Stream:
        """Start a stream, from a saved state (registers,) if one is given."""
        return Stream(self, self._start(state, self._initial))

    def run(
        self,
        tokens: np.ndarray,
        state: np.ndarray | None = None,
        threads: int = 1,
        counting: bool = False,
        record: bool = False,
    ) -> Run:
        """Run sequences.

        Args:
            tokens: (tokens, batch, input features) integers, see ``inputs.as_tokens``.
            state: (batch, registers), where to start; zero if not given.
            threads: sequences that run at the same time.
            counting: count activity.
            record: keep all messages.

        Raises:
            InputError: the tokens do not suit the network, or the state has another shape.
        """
        tokens = check_tokens(self.network, tokens)
        count, batch, _ = tokens.shape
        state = self._start(state, self.initial_state(batch))
        outputs = np.empty((count, batch, self.network.output_size), dtype=np.int32)
        sent, synops = (
            np.zeros((count if counting else 0, batch, len(self.groups)), dtype=np.int32)
            for _ in range(2)
        )

        rows = self._layout.message_rows if record else 0
        recorded = np.empty((count, batch, rows), dtype=np.int32)

        def run_one(index: int) -> None:
            counts = (sent[:, index], synops[:, index]) if counting else None
            results = (outputs[:, index], recorded[:, index])
            self._run_sequence(tokens[:, index], state[index], results, counts)

        if threads == 1 or batch == 1:
            for index in range(batch):
                run_one(index)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run_one, range(batch)))
        activity = Activity(self.groups, sent, synops, self._updates) if counting else None
        messages = {}
        if record:
            for source, first in self._layout.messages.items():
                size = self._layout.message_sizes[source]
                messages[str(source)] = recorded[:, :, first : first + size]
        return Run(outputs, state, activity, messages)

    @staticmethod
    def _start(state: np.ndarray | None, initial: np.ndarray) -> np.ndarray:
        if state is None:
            return initial.copy()
        if state.shape != initial.shape:  # kernels do not check where they read and write
            raise InputError(
                "state",
                f"has shape {state.shape}, expected {initial.shape}",
                "Give one of this network",
            )
        return np.array(state, dtype=np.int32, order="C")

    def _run_sequence(self, tokens, state, results, counts) -> None:
        outputs, recorded = results
        layout, network = self._layout, self.network
        messages = _aligned_rows(layout.message_rows)
        accumulators = _aligned_rows(max(1, layout.accumulator_rows))
        sent, synops = (np.zeros((len(self.groups), BLOCK), dtype=np.int32) for _ in range(2))
        unused = np.zeros(BLOCK, dtype=np.int32)
        # Made once: fresh memory for every block would cost more than some kernels.
        block = np.empty((BLOCK, network.input_size), dtype=np.int32)
        answers = np.empty((BLOCK, network.output_size), dtype=np.int32)
        for start in range(0, len(tokens), BLOCK):
            count = min(BLOCK, len(tokens) - start)
            block[:count] = tokens[start : start + count]
            sent[:], synops[:] = 0, 0
            self._kernels.block(
                block[:count],
                messages,
                accumulators,
                state,
                layout.parameter_values,
                layout.row_pointers,
                layout.row_sources,
                layout.row_weights,
                layout.column_pointers,
                layout.column_targets,
                layout.column_weights,
                layout.fans,
                counts is not None,
                unused,
                sent,
                synops,
                answers,
            )
            outputs[start : start + count] = answers[:count]
            if recorded.shape[1]:
                recorded[start : start + count] = messages[:, :count].T
            if counts is not None:
                counts[0][start : start + count] = sent[:, :count].T
                counts[1][start : start + count] = synops[:, :count].T


def _first_state(network: Network, layout: Layout) -> np.ndarray:
    """Return the interpreter's state before the first token as this simulator lays it out."""
    state = np.zeros(layout.register_count, dtype=np.int32)
    if not any(group.early for group in network.groups):
        return state
    begun = Interpreter(network).initial_state()
    for group in network.groups:
        for name, register in zip(group.kind.state, begun.get(group.name, ()), strict=True):
            first = layout.registers[group.name, name]
            state[first : first + group.size] = register[0]
    for one in layout.waits:
        group = network.group(one.port.group)
        lengths = group.waits[one.port.name]
        (waiting_sums,) = begun[waiting(group, one.port.name)]
        # A neuron's sums, the oldest of as many as it waits tokens first.
        rings = [waiting_sums[len(waiting_sums) - n :, 0, i] for i, n in enumerate(lengths)]
        ring = np.concatenate(rings).astype(np.int64)
        state[one.ring : one.ring + one.ring_size] = wrap(ring, WORD_BITS)
    return state


def _aligned_rows(count: int) -> np.ndarray:
    """Return zeros (count, BLOCK) int32 that begin on a cache line; others cost up to a fifth."""
    line, size = 64, count * BLOCK * 4
    memory = np.zeros(size + line, dtype=np.uint8)
    start = -memory.ctypes.data % line
    return memory[start : start + size].view(np.int32).reshape(count, BLOCK)


class Stream:
    """One stream of tokens with its state.

    Attributes:
        state: (registers,) int32; a copy of it can be saved, and given to another stream.
        sent, synops: (groups,) int64, counted since the stream began.
    """

    def __init__(self, simulator: FastSimulator, state: np.ndarray):
        self.state = state
        self._simulator = simulator
        layout = simulator._layout
        self._messages = np.zeros(layout.message_rows, dtype=np.int32)
        self._accumulators = np.zeros(max(1, layout.accumulator_rows), dtype=np.int32)
        self.sent, self.synops = (np.zeros(len(simulator.groups), dtype=np.int64) for _ in range(2))
        self._arguments = (
            layout.parameter_values,
            layout.column_pointers,
            layout.column_targets,
            layout.column_weights,
            self.sent,
            self.synops,
        )

    def step(self, token: np.ndarray) -> np.ndarray:
        """Evaluate one token.

        Args:
            token: (input features,) integers within the input format; int32 is fastest.

        Returns:
            (output features,) int32.

        Raises:
            InputError: the token does not suit the network; the state stays as it is.
        """
        network = self._simulator.network
        # Kernels are compiled for one type: writable, in one piece.
        if (
            token.dtype != np.int32
            or token.shape != (network.input_size,)
            or not token.flags.carray
        ):
            token = check_tokens(network, np.asarray(token)[None], where="token")[0, 0]
        out = np.empty(network.output_size, dtype=np.int32)
        if not self._simulator._kernels.step(
            token, self._messages, self._accumulators, self.state, *self._arguments, out
        ):
            check_tokens(network, token[None], where="token")
        return out

    def reset(self) -> None:
        """Go back to the state before the first token."""
        self.state[:] = self._simulator._initial

    def begin(self, keep: Callable[[NeuronGroup], bool]) -> None:
        """Go back to the state before the first token, but of some groups leave it as it is."""
        layout, first = self._simulator._layout, self._simulator._initial
        network = self._simulator.network
        for (name, _), start in layout.registers.items():
            if not keep(network.group(name)):
                rows = slice(start, start + network.group(name).size)
                self.state[rows] = first[rows]
        for one in layout.waits:
            group = network.group(one.port.group)
            if not keep(group):
                rows = slice(one.ring, one.positions + group.size)
                self.state[rows] = first[rows]

    def fork(self) -> Stream:
        """Return a stream that goes on from here on its own."""
        return self._simulator.stream(self.state)


# --- compiled once -------------------------------------------------------------------------------


def cache_directory() -> Path:
    """Return where kernels are kept: a directory that belongs to the user alone."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "s5_to_loihi"


def is_cached(network: Network) -> bool:
    """Tell whether a network's kernels were made before; compiling them takes seconds."""
    name = _module_name(_written_out(network)[1])
    try:
        return (cache_directory() / f"{name}.py").exists()
    except (OSError, RuntimeError):
        return False


@functools.lru_cache(maxsize=4)
def _written_out(network: Network) -> tuple[Layout, str]:
    layout = lay_out(network)
    return layout, write_source(network, layout)


def _module_name(source: str) -> str:
    return f"kernels_{hashlib.sha256(source.encode()).hexdigest()[:24]}"


def _load(source: str) -> ModuleType:
    """Import a source from the cache directory, where numba keeps its machine code beside it."""
    name = _module_name(source)
    if name in sys.modules:
        return sys.modules[name]
    # Not by an import: what Python keeps of one is not checked either.
    path = _stored(name, source)
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    sys.modules[name] = module
    return module


def _stored(name: str, source: str) -> Path:
    """Return the file of a source, writing it if it is not there or not what it should be.

    Where nothing can be written there is no such file, and the machine code is for this process.
    """
    try:
        directory = cache_directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(directory, os.W_OK):  # numba would not read its machine code either
            raise PermissionError(directory)
        return _written(directory, name, source)
    except (OSError, RuntimeError):  # no home, none to write to, or a full disk
        return Path(f"{name}.py")


def _written(directory: Path, name: str, source: str) -> Path:
    path = directory / f"{name}.py"
    content = source.encode()
    if not path.is_file() or path.read_bytes() != content:
        with tempfile.TemporaryDirectory(dir=directory, prefix=TEMPORARY_PREFIX) as temporary:
            written = Path(temporary, path.name)
            written.write_bytes(content)
            os.replace(written, path)
    return path
