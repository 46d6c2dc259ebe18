"""What arrives at the ports of a group: products of messages, added up; what of it waits.

Shared by the interpreter and the models of Lava.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.network.network import Endpoint, NeuronGroup, Synapses, is_identity

#: The state of a network: for each group that has one, its registers, each (batch, neurons), and
#: for each port that waits its sums, see ``waiting``.
State = Mapping[str, tuple[np.ndarray, ...]]

#: For each port, the synapses that end there: source, weights, bits that products wrap to,
#: timesteps until arrival.
Edges = tuple[tuple[tuple[Endpoint, "csr_matrix | None", "int | None", int], ...], ...]


def waiting(group: NeuronGroup, port: str) -> str:
    """Return the name under which a state holds the sums that wait at a port.

    They are (most tokens that any waits, batch, neurons), the last ones that were added up.
    """
    return f"{group.name}.{port} waiting"


def wait(
    group: NeuronGroup, accumulators: tuple[np.ndarray, ...], state: State
) -> tuple[tuple[np.ndarray, ...], dict[str, tuple[np.ndarray, ...]]]:
    """Return the sums that are due, and those that go on waiting.

    Args:
        group: with ``waits``.
        accumulators: for each port, (rows, batch, neurons).
        state: the sums that wait, see ``waiting``.
    """
    due: list[np.ndarray] = []
    left: dict[str, tuple[np.ndarray, ...]] = {}
    for port, sums in zip(group.kind.ports, accumulators, strict=True):
        if port in group.waits:
            name, waits = waiting(group, port), group.waits[port]
            (before,) = state[name]
            together = np.concatenate([before, sums])
            rows = len(before) + np.arange(len(sums))[:, None] - waits
            sums = together[rows, :, np.arange(group.size)].swapaxes(1, 2)
            left[name] = (together[len(together) - len(before) :],)
        due.append(sums)
    return tuple(due), left


def edges_of(group: NeuronGroup, synapses: Iterable[Synapses]) -> Edges:
    """Return the synapses from other groups, port by port."""
    return tuple(
        tuple(
            (edge.source, matrix_of(edge.weights), edge.product_bits, 1 + edge.delay)
            for edge in synapses
            if not edge.recurrent and edge.target == Endpoint(group.name, port)
        )
        for port in group.kind.ports
    )


class FromItself:
    """The synapses from a group to itself.

    Attributes:
        there: whether it has any.
    """

    def __init__(self, group: NeuronGroup, synapses: Iterable[Synapses]):
        """Prepare those of some synapses that lead the group's messages back to it."""
        self._kind = group.kind
        self._edges = [
            (group.kind.ports.index(edge.target.name), edge.source.name, matrix_of(edge.weights))
            for edge in synapses
            if edge.recurrent
        ]
        self.there = bool(self._edges)

    def add(
        self, accumulators: tuple[np.ndarray, ...], registers: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, ...]:
        """Return the sums with what the group sent to itself before, which its registers keep.

        Args:
            accumulators: for each port, (1, batch, neurons).
            registers: for each register, (batch, neurons).
        """
        sums = list(accumulators)
        for port, message, weights in self._edges:
            register = self._kind.kept(message)
            assert register is not None  # verified
            kept = registers[self._kind.state.index(register)]
            sums[port] = sums[port] + multiplied(weights, kept[None])
        return tuple(sums)


def accumulate(
    ports: Edges, size: int, sent: Mapping[Endpoint, np.ndarray], timed: bool
) -> tuple[np.ndarray, ...]:
    """Return what each port adds up, (rows, batch, ``size``) int64; see ``Interpreter``."""
    rows, batch, _ = next(iter(sent.values())).shape
    totals = []
    for edges in ports:
        total = None
        for source, weights, bits, travel in edges:
            products = multiplied(weights, sent[source], bits)
            if timed:
                late = min(travel, rows)
                products = np.concatenate([np.zeros_like(products[:late]), products[: rows - late]])
            total = products if total is None else total + products
        if total is None:
            total = np.zeros((rows, batch, size), dtype=np.int64)
        totals.append(total)
    return tuple(totals)


def matrix_of(weights: csr_matrix) -> csr_matrix | None:
    """Return the weights as int64, or None for the identity, which needs no multiplication."""
    return None if is_identity(weights) else weights.astype(np.int64)


def multiplied(
    weights: csr_matrix | None, messages: np.ndarray, bits: int | None = None
) -> np.ndarray:
    """Multiply messages (rows, batch, sources) by weights; return (rows, batch, targets)."""
    if weights is None:
        return messages if bits is None else wrap(messages, bits)
    rows, batch, sources = messages.shape
    if bits is not None and messages.size:
        if int(np.abs(weights.data).max(initial=0)) * int(np.abs(messages).max()) >= 1 << (
            bits - 1
        ):
            return _wrapped_products(weights, messages, bits)
    if rows * batch == 1:
        return (weights @ messages.reshape(sources)).reshape(1, 1, -1)
    products = weights @ messages.reshape(rows * batch, sources).T
    return products.T.reshape(rows, batch, -1)


def _wrapped_products(weights: csr_matrix, messages: np.ndarray, bits: int) -> np.ndarray:
    """Add up products that wrap one by one; return (rows, batch, targets)."""
    rows, batch, sources = messages.shape
    entries = weights.tocoo()
    summing = csr_matrix(
        (np.ones(weights.nnz, dtype=np.int64), (entries.row, np.arange(weights.nnz))),
        shape=(weights.shape[0], weights.nnz),
    )
    flat = messages.reshape(rows * batch, sources)
    sums = [summing @ wrap(entries.data * one[entries.col], bits) for one in flat]
    return np.array(sums).reshape(rows, batch, -1)
