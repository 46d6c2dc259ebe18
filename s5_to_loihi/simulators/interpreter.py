"""The integer interpreter: numpy, group by group, all tokens at once.

Groups form a forward graph (recurrence stays inside a neuron), so each group can be evaluated for
a whole sequence before the next one. Two ways of time share this code: *tokens* (every message
belongs to its token, delays play no role) and *timesteps* (messages take ``1 + delay`` timesteps,
groups update in their phase), which is what happens on the chip and under Lava.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.inputs import refuse_floats
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup, Synapses
from s5_to_loihi.simulators.sums import FromItself, State, accumulate, edges_of, wait, waiting


class Mode(str, Enum):
    """How tokens follow one another through the network.

    Examples:
        >>> [mode.value for mode in s5.Mode]
        ['pipelined', 'fall-through']
    """

    PIPELINED = "pipelined"  #: one token each timestep: highest throughput
    FALL_THROUGH = "fall-through"  #: a token enters when the one before has left


def period(network: Network, mode: Mode) -> int:
    """Return the timesteps from one token's entry to the next one's."""
    return 1 if mode is Mode.PIPELINED else network.latency


def timestep_count(network: Network, mode: Mode, tokens: int) -> int:
    """Return the timesteps from the first token's entry to the last one's output, inclusive."""
    return (tokens - 1) * period(network, mode) + network.latency + 1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation computed.

    Attributes:
        outputs: (tokens, batch, output features) int64.
        values: ``group.value`` -> (tokens, batch, neurons) int64, for the values asked for.
        state: the state after the last token, waiting sums included; empty after
            ``evaluate_timesteps`` (pipelined groups go on updating behind the last token) and after
            Lava (it stays in its processes).
    """

    outputs: np.ndarray
    values: dict[str, np.ndarray]
    state: State


class Interpreter:
    """A network made ready for evaluation: its matrices as int64, its edges by target.

    Holds nothing that changes: state goes in and comes out of ``evaluate``.

    Examples:
        >>> tokens, _ = s5.as_tokens(bundle.network, frames)
        >>> evaluation = s5.Interpreter(bundle.network).evaluate(tokens, keep=None)
        >>> evaluation.values["block0.state.g_re"].shape  # every value of every group
        (200, 1, 32)
    """

    def __init__(self, network: Network):
        """Prepare a verified network."""
        self.network = network
        self._started: State | None = None
        self._edges = {
            group.name: edges_of(group, network.incoming(group.name)) for group in network.groups
        }
        self._back = {
            group.name: FromItself(group, network.incoming(group.name)) for group in network.groups
        }
        self._results = {
            group.name: tuple(
                (str(endpoint), endpoint if endpoint in network.sent else None)
                for endpoint in (Endpoint(group.name, name) for name in group.kind.values)
            )
            for group in network.groups
        }

    def initial_state(self, batch: int = 1) -> State:
        """Return the state before the first token: zero, or what early updates leave."""
        if self._started is None:
            self._started = self._zero_state()
            if any(group.early for group in self.network.groups):
                self._started = self.evaluate_early().state
        return {
            name: tuple(np.repeat(array, batch, axis=array.ndim - 2) for array in arrays)
            for name, arrays in self._started.items()
        }

    def begun(self, state: State, keep: Callable[[NeuronGroup], bool]) -> State:
        """Return the state before the first token, but of some groups as it is."""
        batch = next(arrays[0].shape[-2] for arrays in state.values())
        kept = {name for group in self.network.groups if keep(group) for name in _names(group)}
        return {
            name: state[name] if name in kept else arrays
            for name, arrays in self.initial_state(batch).items()
        }

    def evaluate_early(self, keep: Collection[str] | None = ()) -> Evaluation:
        """Evaluate the updates before the first token.

        Args:
            keep: names ``group.value`` to return; None for all.

        Returns:
            The state that they leave; outputs and values of the last of ``early`` updates of each
            group last, rows before a group's first one are missing from its values.
        """
        early = max((group.early for group in self.network.groups), default=0)
        nothing = np.zeros((early, 1, self.network.input_size), dtype=np.int64)
        return self._evaluate(nothing, self._zero_state(), keep, None, early)

    def _zero_state(self) -> State:
        state = {}
        for group in self.network.groups:
            if group.kind.state:
                state[group.name] = _zero_registers(group, 1)
            for port, waits in group.waits.items():
                shape = (int(waits.max()), 1, group.size)
                state[waiting(group, port)] = (np.zeros(shape, dtype=np.int64),)
        return state

    def evaluate(
        self,
        tokens: np.ndarray,
        state: State | None = None,
        keep: Collection[str] | None = (),
    ) -> Evaluation:
        """Evaluate a sequence of tokens, token by token in meaning.

        Args:
            tokens: (tokens, batch, input features) integers as ``inputs.as_tokens`` makes them;
                apart from floats, which are refused, they are not checked here.
            state: where to start; zero if not given.
            keep: names ``group.value`` to return; None for all.

        Returns:
            Outputs, the kept values, and the state to go on from.
        """
        return self._evaluate(tokens, state or self.initial_state(tokens.shape[1]), keep, None)

    def evaluate_timesteps(
        self, tokens: np.ndarray, mode: Mode, keep: Collection[str] | None = ()
    ) -> Evaluation:
        """Evaluate the same timestep by timestep, with delays and phases as on the chip.

        Equal to ``evaluate`` exactly when the delays are aligned. The network must have phases.
        """
        return self._evaluate(tokens, self.initial_state(tokens.shape[1]), keep, mode)

    def _evaluate(self, tokens, state, keep, mode, early=None) -> Evaluation:
        refuse_floats(self.network, tokens, "tokens")
        count, batch, _ = tokens.shape
        step = 1 if mode is None else period(self.network, mode)
        rows = count if mode is None else timestep_count(self.network, mode, count)
        arrivals = np.zeros((rows, *tokens.shape[1:]), dtype=np.int64)
        arrivals[: count * step : step] = tokens
        sent = {Endpoint(INPUT, TOKEN): arrivals}
        values: dict[str, np.ndarray] = {}
        next_state: dict[str, tuple[np.ndarray, ...]] = {}
        for group in self.network.groups:
            # Of early rows a group only takes its own.
            first = 0 if mode is None else group.phase
            if early is not None:
                first = early - group.early
            if early == first:
                next_state |= {name: state[name] for name in _names(group) if name in state}
                sent |= {
                    source: np.zeros((rows, batch, group.size), dtype=np.int64)
                    for _, source in self._results[group.name]
                    if source is not None
                }
                continue
            active = slice(first, None, 1 if mode is None else step)
            accumulators = self.accumulate(group, sent, timed=mode is not None)
            accumulators = tuple(accumulator[active] for accumulator in accumulators)
            accumulators, left = wait(group, accumulators, state)
            next_state |= left
            registers, results = self._update(group, accumulators, state.get(group.name, ()))
            if group.kind.state:
                next_state[group.name] = registers
            for (name, endpoint), result in zip(self._results[group.name], results, strict=True):
                if endpoint is not None:
                    sent[endpoint] = result
                    if mode is not None or first:
                        sent[endpoint] = np.zeros((rows, batch, group.size), dtype=np.int64)
                        sent[endpoint][active] = result
                if keep is None or name in keep:
                    kept = result[:count]
                    values[name] = np.broadcast_to(kept, (len(kept), batch, group.size))
        outputs = sent[self.network.output]
        first = 0 if mode is None else self.network.latency
        return Evaluation(outputs[first::step][:count], values, next_state if mode is None else {})

    def _update(self, group, accumulators, registers):
        back = self._back[group.name]
        if not back.there:
            return update_sequence(group, accumulators, registers)
        rows = []
        for row in zip(*accumulators, strict=True):
            row = back.add(tuple(one[None] for one in row), registers)
            registers, results = update_sequence(group, row, registers)
            rows.append(results)
        return registers, tuple(np.concatenate(column) for column in zip(*rows, strict=True))

    def accumulate(
        self, group: NeuronGroup, sent: Mapping[Endpoint, np.ndarray], timed: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Return what each port of a group adds up.

        Args:
            group: one of the network's groups.
            sent: the messages so far, each (rows, batch, neurons); a row is a token, or a
                timestep if ``timed``.
            timed: whether messages take ``1 + delay`` rows to arrive.

        Returns:
            For each port, (rows, batch, neurons of the group) int64.
        """
        return accumulate(self._edges[group.name], group.size, sent, timed)


def evaluate_group(
    group: NeuronGroup, synapses: Iterable[Synapses], sent: Mapping[Endpoint, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Evaluate a group alone, from a zero state: the rest of its network need not exist yet.

    Args:
        group: any.
        synapses: those that end at it, others are passed over.
        sent: the messages that they carry, each (tokens, batch, neurons).

    Returns:
        For each of ``kind.values``, (tokens, batch, neurons) int64.
    """
    accumulators = accumulate(edges_of(group, synapses), group.size, sent, timed=False)
    registers = _zero_registers(group, accumulators[0].shape[1])
    return update_sequence(group, accumulators, registers)[1]


def _names(group: NeuronGroup) -> tuple[str, ...]:
    return (group.name, *(waiting(group, port) for port in group.waits))


def _zero_registers(group: NeuronGroup, batch: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((batch, group.size), dtype=np.int64) for _ in group.kind.state)


def update_sequence(
    group: NeuronGroup,
    accumulators: tuple[np.ndarray, ...],
    registers: tuple[np.ndarray, ...],
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Update a group row after row.

    Args:
        group: what to update.
        accumulators: for each port, (rows, batch, neurons).
        registers: for each state register, (batch, neurons).

    Returns:
        ``(registers after the last row, for each of kind.values an array (rows, batch, neurons))``.
    """
    kind, constants = group.kind, group.constants
    if kind.recurrence is None:
        _, messages, probes = kind.update(accumulators, (), constants)
        return (), messages + probes
    inputs = kind.recurrence.drive(accumulators, constants)
    states = []
    for row in zip(*inputs, strict=True):
        advanced = kind.recurrence.advance(row, registers, constants)
        registers = advanced[: len(kind.state)]
        states.append(advanced)
    state = tuple(np.array(column) for column in zip(*states, strict=True))
    messages, probes = kind.recurrence.emit(inputs, state, constants)
    return registers, state[: len(kind.state)] + messages + probes
