"""The integer interpreter: numpy, group by group, all tokens at once.

Groups form a forward graph (recurrence stays inside a neuron), so each group can be evaluated for
a whole sequence before the next one. Two ways of time share this code: *tokens* (every message
belongs to its token, delays play no role) and *timesteps* (messages take ``1 + delay`` timesteps,
groups update in their phase), which is what happens on the chip and under Lava.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.inputs import refuse_floats
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    is_identity,
)

#: The state of a network: for each group that has one, its registers, each (batch, neurons).
State = Mapping[str, tuple[np.ndarray, ...]]


class Mode(str, Enum):
    """How tokens follow one another through the network."""

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
        state: the state after the last token; empty after ``evaluate_timesteps`` (pipelined groups
            go on updating behind the last token) and after Lava (it stays in its processes).
    """

    outputs: np.ndarray
    values: dict[str, np.ndarray]
    state: State


class Interpreter:
    """A network made ready for evaluation: its matrices as int64, its edges by target.

    Holds nothing that changes: state goes in and comes out of ``evaluate``.
    """

    def __init__(self, network: Network):
        """Prepare a verified network."""
        self.network = network
        self._edges = {
            group.name: _edges(group, network.incoming(group.name)) for group in network.groups
        }
        self._results = {
            group.name: tuple(
                (str(endpoint), endpoint if endpoint in network.sent else None)
                for endpoint in (Endpoint(group.name, name) for name in group.kind.values)
            )
            for group in network.groups
        }

    def initial_state(self, batch: int = 1) -> State:
        """Return the state before the first token: all zero."""
        return {
            group.name: _zero_registers(group, batch)
            for group in self.network.groups
            if group.kind.state
        }

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

    def _evaluate(self, tokens, state, keep, mode) -> Evaluation:
        refuse_floats(self.network, tokens, "tokens")
        count, batch, _ = tokens.shape
        step = 1 if mode is None else period(self.network, mode)
        rows = count if mode is None else timestep_count(self.network, mode, count)
        arrivals = np.zeros((rows, *tokens.shape[1:]), dtype=np.int64)
        arrivals[: count * step : step] = tokens
        sent = {Endpoint(INPUT, TOKEN): arrivals}
        values, next_state = {}, {}
        for group in self.network.groups:
            active = slice(0, None) if mode is None else slice(group.phase, None, step)
            accumulators = self.accumulate(group, sent, timed=mode is not None)
            if mode is not None:
                accumulators = tuple(accumulator[active] for accumulator in accumulators)
            registers, results = update_sequence(group, accumulators, state.get(group.name, ()))
            if group.kind.state:
                next_state[group.name] = registers
            for (name, endpoint), result in zip(self._results[group.name], results, strict=True):
                if endpoint is not None:
                    sent[endpoint] = result
                    if mode is not None:
                        sent[endpoint] = np.zeros((rows, batch, group.size), dtype=np.int64)
                        sent[endpoint][active] = result
                if keep is None or name in keep:
                    values[name] = np.broadcast_to(result[:count], (count, batch, group.size))
        outputs = sent[self.network.output]
        first = 0 if mode is None else self.network.latency
        return Evaluation(outputs[first::step][:count], values, next_state if mode is None else {})

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
        return _accumulate(self._edges[group.name], group.size, sent, timed)


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
    accumulators = _accumulate(_edges(group, synapses), group.size, sent, timed=False)
    registers = _zero_registers(group, accumulators[0].shape[1])
    return update_sequence(group, accumulators, registers)[1]


#: For each port, the synapses that end there: source, weights, timesteps until arrival.
_Edges = tuple[tuple[tuple[Endpoint, "csr_matrix | None", int], ...], ...]


def _edges(group: NeuronGroup, synapses: Iterable[Synapses]) -> _Edges:
    return tuple(
        tuple(
            (edge.source, _matrix(edge.weights), 1 + edge.delay)
            for edge in synapses
            if edge.target == Endpoint(group.name, port)
        )
        for port in group.kind.ports
    )


def _zero_registers(group: NeuronGroup, batch: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((batch, group.size), dtype=np.int64) for _ in group.kind.state)


def _accumulate(
    ports: _Edges, size: int, sent: Mapping[Endpoint, np.ndarray], timed: bool
) -> tuple[np.ndarray, ...]:
    rows, batch, _ = next(iter(sent.values())).shape
    totals = []
    for edges in ports:
        total = None
        for source, weights, travel in edges:
            products = _products(weights, sent[source])
            if timed:
                late = min(travel, rows)
                products = np.concatenate([np.zeros_like(products[:late]), products[: rows - late]])
            total = products if total is None else total + products
        if total is None:
            total = np.zeros((rows, batch, size), dtype=np.int64)
        totals.append(total)
    return tuple(totals)


def _matrix(weights: csr_matrix) -> csr_matrix | None:
    """Return the weights as int64, or None for the identity, which needs no multiplication."""
    return None if is_identity(weights) else weights.astype(np.int64)


def _products(weights: csr_matrix | None, messages: np.ndarray) -> np.ndarray:
    """Multiply messages (rows, batch, sources) by weights; return (rows, batch, targets)."""
    if weights is None:
        return messages
    rows, batch, sources = messages.shape
    if rows * batch == 1:
        return (weights @ messages.reshape(sources)).reshape(1, 1, -1)
    products = weights @ messages.reshape(rows * batch, sources).T
    return products.T.reshape(rows, batch, -1)


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
        registers = kind.recurrence.advance(row, registers, constants)
        states.append(registers)
    state = tuple(np.array(column) for column in zip(*states, strict=True))
    messages, probes = kind.recurrence.emit(inputs, state, constants)
    return registers, state + messages + probes
