"""The fast simulator: the network as a few compiled loops, the same integers as everywhere.

Streaming pushes: a message that is not zero is multiplied by its column of weights, so silent
neurons cost nothing. Sequences pull: the rows of weights are multiplied by blocks of tokens, in
vector code. Both run the arithmetic that is traced from the one definition of each neuron.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.widths import WORD_BITS
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.fast_layout import Layout, lay_out, shares
from s5_to_loihi.simulators.fast_plan import Plan, Planner
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.simulators.loops import BLOCK, CONTEXT
from s5_to_loihi.simulators.sums import waiting

#: What a plan's function takes and returns: two addresses, and whether it did it.
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
#: Synapses from which on several threads work on one stream: that they meet takes a microsecond
#: for each group, and that the others begin fifty a token.
LARGE = 1_000_000
#: Synapses from which on they work on one sequence after the other even if there are enough for
#: all: a cache that threads share then holds the messages of one.
VAST = 10_000_000
#: Places in a context.
_TOKENS, _OUTPUTS = map(CONTEXT.index, ("tokens", "outputs"))
#: What there are plans for.
_TOKEN, _BLOCK, _COUNTED_BLOCK = "token", "block", "block that counts"


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
    """A network as a list of kernels to call.

    Kernels are made when a stream or a sequence first needs them, unless another network did.

    Attributes:
        groups: the input and the groups, by name.
        layout: where what is kept.
        updates: (groups,) neuron updates of a token.

    Examples:
        >>> simulator = s5.FastSimulator(bundle.network)
        >>> stream = simulator.stream()
        >>> stream.step(np.zeros(257, dtype=np.int32)).shape
        (257,)
    """

    def __init__(self, network: Network):
        """Lay a verified network out."""
        self.network = network
        self.layout = lay_out(network)
        self._plans: dict[tuple[str, int], list[Plan]] = {}
        self.groups = ("input", *(group.name for group in network.groups))
        self._initial = _first_state(network, self.layout)
        self.updates = np.array([0, *(group.size for group in network.groups)])

    def planners(self, threads: int = 1) -> list[Planner]:
        """Return what plans the work of each of so many threads on a token or a block."""
        divided = shares(self.network, self.layout, threads)
        return [Planner(self.network, self.layout, share) for share in divided]

    def _planned(self, work: str, threads: int) -> list[Plan]:
        """Return the plans of a stream, of a block or of one that counts: one a thread."""
        key = work, threads
        if key not in self._plans:
            self._plans[key] = [
                one.plan(
                    one.of_a_token()
                    if work == _TOKEN
                    else one.of_a_block(counting=work == _COUNTED_BLOCK)
                )
                for one in self.planners(threads)
            ]
        return self._plans[key]

    @cached_property
    def _entering(self) -> Plan:
        (planner,) = self.planners()
        return planner.plan(planner.of_entering())

    def _together(self, threads: int | None) -> int:
        """Return how many threads work on one stream: as many as may, if that pays."""
        if self.network.synapse_count < LARGE:
            return 1
        return threads or idle_processors()

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first token, (batch, registers) int32.

        It is zero, or what early updates leave.
        """
        return np.tile(self._initial, (batch, 1))

    def stream(self, state: np.ndarray | None = None, threads: int | None = None) -> Stream:
        """Start a stream.

        Args:
            state: a saved one, (registers,), to go on from.
            threads: that work on it, if the network is ``LARGE``; by default one for each
                processor that is idle.
        """
        return Stream(self, self._start(state, self._initial), self._together(threads))

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
            threads: that work at the same time: each on sequences of its own, or all on one after
                the other, if these are fewer and the network is ``LARGE``, or if it is ``VAST``.
            counting: count activity.
            record: keep all messages.

        Raises:
            InputError: the tokens do not suit the network, or the state has another shape.
        """
        tokens = check_tokens(self.network, tokens)
        count, batch, _ = tokens.shape
        state = self.started(state, batch)
        outputs = np.empty((count, batch, self.network.output_size), dtype=np.int32)
        sent, synops = (
            np.zeros((count if counting else 0, batch, len(self.groups)), dtype=np.int32)
            for _ in range(2)
        )

        rows = self.layout.message_rows if record else 0
        recorded = np.empty((count, batch, rows), dtype=np.int32)

        vast = self.network.synapse_count >= VAST
        together = self._together(threads) if batch < threads or vast else 1
        plans = self._planned(_COUNTED_BLOCK if counting else _BLOCK, together)

        def run_one(index: int) -> None:
            counts = (sent[:, index], synops[:, index]) if counting else None
            results = (outputs[:, index], recorded[:, index])
            self._run_sequence(plans, tokens[:, index], state[index], results, counts)

        if threads == 1 or batch == 1 or together > 1:
            for index in range(batch):
                run_one(index)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run_one, range(batch)))
        activity = Activity(self.groups, sent, synops, self.updates) if counting else None
        messages = {}
        if record:
            for source, first in self.layout.messages.items():
                size = self.layout.message_sizes[source]
                messages[str(source)] = recorded[:, :, first : first + size]
        return Run(outputs, state, activity, messages)

    def started(self, state: np.ndarray | None, batch: int) -> np.ndarray:
        """Return a copy of a state, (batch, registers), or that before the first token.

        Raises:
            InputError: it has another shape.
        """
        return self._start(state, self.initial_state(batch))

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

    def _run_sequence(self, plans: list[Plan], tokens, state, results, counts) -> None:
        outputs, recorded = results
        layout, network = self.layout, self.network
        messages = _aligned_rows(layout.message_rows)
        accumulators = _aligned_rows(max(1, layout.accumulator_rows))
        sent, synops = (np.zeros((len(self.groups), BLOCK), dtype=np.int32) for _ in range(2))
        block, answers = tokens, outputs
        in_place = tokens.flags.c_contiguous and outputs.flags.c_contiguous
        if not in_place:  # made once: fresh memory for every block would cost more than kernels
            block = np.empty((BLOCK, network.input_size), dtype=np.int32)
            answers = np.empty((BLOCK, network.output_size), dtype=np.int32)
        memory = messages, accumulators, state, sent, synops, block, answers
        team = Team(plans, [memory] * len(plans))
        for start in range(0, len(tokens), BLOCK):
            count = min(BLOCK, len(tokens) - start)
            now = slice(start, start + count)
            sent[:], synops[:] = 0, 0
            if not in_place:
                block[:count] = tokens[now]
            for context in team.contexts:
                if in_place:
                    context[_TOKENS] = tokens[now].ctypes.data
                    context[_OUTPUTS] = outputs[now].ctypes.data
                context[len(CONTEXT)] = count
            team.work()
            if not in_place:
                outputs[now] = answers[:count]
            if recorded.shape[1]:
                recorded[now] = messages[:, :count].T
            if counts is not None:
                counts[0][now] = sent[:, :count].T
                counts[1][now] = synops[:, :count].T


def context_of(
    *arrays: np.ndarray, count: int = 1, meeting: np.ndarray | None = None
) -> np.ndarray:
    """Return what kernels find their memory by: see ``loops.CONTEXT``; the arrays must stay.

    Args:
        arrays: in the order of ``loops.CONTEXT``.
        count: tokens of a block.
        meeting: (1,) int64, where several threads meet.
    """
    addresses = [array.ctypes.data for array in arrays]
    where = 0 if meeting is None else meeting.ctypes.data
    return np.array([*addresses, count, 0, where, 0], dtype=np.int64)


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def idle_processors() -> int:
    """Return how many of them were idle in the last minute, but for this process; 1 at least.

    Threads that meet often wait for one another's turn where others want the processors too:
    measured, a hundred times as long as one thread takes.
    """
    others = max(0.0, os.getloadavg()[0] - 1)
    return max(1, round(processors() - others))


class Team:
    """Threads that work on one stream or sequence, the calling one and others.

    Attributes:
        contexts: one a thread.
    """

    def __init__(self, plans: list[Plan], memory: Sequence[Sequence[np.ndarray]]):
        """Take what each thread does, and its arrays in the order of ``loops.CONTEXT``."""
        meeting = np.zeros(1, dtype=np.int64)
        self.contexts = [context_of(*arrays, meeting=meeting) for arrays in memory]
        self._memory = (plans, memory, meeting)
        self._calls = [
            (FUNCTION(plan.function), ctypes.c_void_p(context.ctypes.data), plan.arguments)
            for plan, context in zip(plans, self.contexts, strict=True)
        ]
        self._others = ThreadPoolExecutor(len(plans) - 1) if len(plans) > 1 else None

    def work(self) -> int:
        """Do a token or a block; return 0 if the token was refused."""
        if self._others is None:
            ((function, context, arguments),) = self._calls
            return function(context, arguments)
        others = [
            self._others.submit(function, context, arguments)
            for function, context, arguments in self._calls[1:]
        ]
        function, context, arguments = self._calls[0]
        function(context, arguments)
        for one in others:
            one.result()
        return 1


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
    """One stream of tokens with its state."""

    def __init__(self, simulator: FastSimulator, state: np.ndarray, threads: int):
        self._state = state
        self._simulator = simulator
        layout, groups = simulator.layout, len(simulator.groups)
        messages = np.zeros(layout.message_rows, dtype=np.int32)
        accumulators = np.zeros(max(1, layout.accumulator_rows), dtype=np.int32)
        self._counts = np.zeros((threads, 2, groups), dtype=np.int64)
        self._token = np.zeros(simulator.network.input_size, dtype=np.int32)
        self._out = np.zeros(simulator.network.output_size, dtype=np.int32)
        memory = [
            (messages, accumulators, state, *counts, self._token, self._out)
            for counts in self._counts
        ]
        self._team = Team(simulator._planned(_TOKEN, threads), memory)
        self._entering = Team([simulator._entering], memory[:1]) if threads > 1 else None

    @property
    def sent(self) -> np.ndarray:
        """(groups,) messages since the stream began."""
        return self._counts[:, 0].sum(axis=0)

    @property
    def synops(self) -> np.ndarray:
        """(groups,) synaptic operations since the stream began."""
        return self._counts[:, 1].sum(axis=0)

    @property
    def state(self) -> np.ndarray:
        """(registers,) int32; a copy of it can be saved, and given to another stream."""
        return self._state

    def step(self, token: np.ndarray) -> np.ndarray:
        """Evaluate one token.

        Args:
            token: (input features,) integers within the input format; int32 is fastest.

        Returns:
            (output features,) int32.

        Raises:
            InputError: the token does not suit the network; the state stays as it is.
        """
        if token.dtype != np.int32 or token.shape != self._token.shape:
            network = self._simulator.network
            token = check_tokens(network, np.asarray(token)[None], where="token")[0, 0]
        self._token[:] = token
        entered = self._entering is None or self._entering.work()
        if not (entered and self._team.work()):
            check_tokens(self._simulator.network, token[None], where="token")
        return self._out.copy()

    def reset(self) -> None:
        """Go back to the state before the first token."""
        self.state[:] = self._simulator._initial

    def begin(self, keep: Callable[[NeuronGroup], bool]) -> None:
        """Go back to the state before the first token, but of some groups leave it as it is."""
        layout, first = self._simulator.layout, self._simulator._initial
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
