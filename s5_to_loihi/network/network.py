"""The intermediate representation: neuron groups joined by sparse synapses.

A ``Network`` is an immutable value. Every edge is a ``Synapses``: a sparse int8 matrix from one
message of a group (or from the input) to one port of another group. A message sent in timestep t
arrives in timestep ``t + 1 + delay``: one timestep is what every synapse costs on Loihi 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.described import Described
from s5_to_loihi.errors import NetworkError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.network.neurons.constants import Constants
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.widths import WEIGHT_BITS

#: The name under which synapses refer to the network's input, and to its only message.
INPUT = "input"
TOKEN = "token"


class Readout(str, Enum):
    """What the network's output stands for.

    Examples:
        >>> bundle.network.readout
        <Readout.EACH_TOKEN: 'each_token'>
    """

    EACH_TOKEN = "each_token"  #: regression: one output a token
    LAST = "last"  #: classification: the output of a sequence's last token
    MEAN = "mean"  #: classification of the mean over the tokens; read at the last one


@dataclass(frozen=True)
class Endpoint:
    """One end of synapses: a group and one of its messages (source) or ports (target)."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}.{self.name}"


@dataclass(frozen=True, eq=False)
class NeuronGroup:
    """Neurons that share one program and one set of formats.

    Attributes:
        name: unique in the network, e.g. ``block0.state``.
        kind: the program.
        size: number of neurons.
        constants: an instance of ``kind.constants``.
        formats: the format of each of ``kind.values``.
        port_exponents: the exponent that each of ``kind.ports`` accumulates in.
        phase: the timestep in which the group sees the first token, if the input sends it in
            timestep 0; None before delays are aligned.
        waits: port -> (size,) int64, how many tokens each neuron's sum waits there before the
            neuron sees it: the axonal delays of a network whose tokens follow one another in every
            timestep. A port that is not named waits for nothing.
        early: updates of the group before the first token reaches it. It starts with the state
            that these leave, all on zero input or on what earlier groups make of theirs.
    """

    name: str
    kind: NeuronKind
    size: int
    constants: Constants
    formats: Mapping[str, Format]
    port_exponents: Mapping[str, int]
    phase: int | None = None
    waits: Mapping[str, np.ndarray] = field(default_factory=dict)
    early: int = 0


@dataclass(frozen=True, eq=False)
class Synapses:
    """A sparse matrix of int8 weights between a message and a port.

    Attributes:
        name: unique in the network, e.g. ``block0.B_re``.
        source: where the messages come from.
        target: the port in which the products are added up.
        weights: (target neurons, source neurons) int8, in canonical form (sorted, no duplicates).
        exponent: fractional bits of the weights.
        delay: timesteps in addition to the one that every synapse costs.
        product_bits: each product wraps to so many bits before it is added up; None: none does.
    """

    name: str
    source: Endpoint
    target: Endpoint
    weights: csr_matrix
    exponent: int
    delay: int = 0
    product_bits: int | None = None

    @property
    def recurrent(self) -> bool:
        """Whether they end where they come from: what is sent arrives with the next token."""
        return self.source.group == self.target.group

    @property
    def density(self) -> float:
        """Stored synapses as a fraction of the matrix."""
        return self.weights.nnz / max(1, self.weights.shape[0] * self.weights.shape[1])

    @cached_property
    def signed_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """The sums of each target's weights above zero and of those below, (targets,) int64."""
        pointers = self.weights.indptr
        running = np.zeros((2, self.weights.nnz + 1), dtype=np.int64)
        for row, signed in zip(running, (np.maximum, np.minimum), strict=True):
            np.cumsum(signed(self.weights.data, 0), out=row[1:])
        above, below = running[:, pointers[1:]] - running[:, pointers[:-1]]
        return above, below


@dataclass(frozen=True, eq=False, repr=False)
class Network(Described):
    """A complete network.

    Attributes:
        name: what the user calls it.
        input_size: features of a token.
        input_format: format of a token's integers.
        groups: neuron groups in topological order.
        synapses: all edges.
        output: the message that leaves the network.
        readout: what it stands for.
        sequence_length: tokens a sequence, where the readout is the mean; else None.

    Examples:
        >>> network = bundle.network
        >>> network.group("block0.state").size, network.synapse_count
        (32, 5360)
    """

    name: str
    input_size: int
    input_format: Format
    groups: tuple[NeuronGroup, ...]
    synapses: tuple[Synapses, ...]
    output: Endpoint
    readout: Readout = Readout.EACH_TOKEN
    sequence_length: int | None = None

    def _described(self) -> tuple[str, dict[str, str]]:
        neurons = sum(group.size for group in self.groups)
        return (
            f"Network {self.name}: {len(self.groups):,} groups, {neurons:,} neurons,"
            f" {self.synapse_count:,} synapses",
            {
                "tokens": f"{self.input_size:,} features of {self.input_format}",
                "outputs": f"{self.output_size:,} features of {self.output_format},"
                f" {self.readout.value}",
            },
        )

    @cached_property
    def _by_name(self) -> dict[str, NeuronGroup]:
        return {group.name: group for group in self.groups}

    @cached_property
    def _by_target(self) -> dict[Endpoint | str, tuple[Synapses, ...]]:
        found: dict[Endpoint | str, tuple[Synapses, ...]] = {}
        for synapses in self.synapses:
            for target in (synapses.target, synapses.target.group):
                found[target] = (*found.get(target, ()), synapses)
        return found

    @cached_property
    def sent(self) -> tuple[Endpoint, ...]:
        """The messages that synapses carry, in the order of these, and that leaves the network.

        No other message is ever sent.
        """
        sources = (synapses.source for synapses in self.synapses)
        return tuple(dict.fromkeys((*sources, self.output)))

    @cached_property
    def _is_sent(self) -> frozenset[Endpoint]:
        return frozenset(self.sent)

    def sent_by(self, group: NeuronGroup) -> tuple[str, ...]:
        """Return the names of a group's messages that are sent, in its kind's order."""
        return tuple(
            name for name in group.kind.messages if Endpoint(group.name, name) in self._is_sent
        )

    def incoming(self, target: Endpoint | str) -> tuple[Synapses, ...]:
        """Return the synapses that end at a port, or at any port of the group of that name."""
        return self._by_target.get(target, ())

    def group(self, name: str) -> NeuronGroup:
        """Return the group of that name (KeyError if there is none)."""
        return self._by_name[name]

    def message_size(self, endpoint: Endpoint) -> int:
        """Number of neurons behind a message."""
        return self.input_size if endpoint.group == INPUT else self.group(endpoint.group).size

    def message_format(self, endpoint: Endpoint) -> Format:
        """Format of a message's integers."""
        if endpoint.group == INPUT:
            return self.input_format
        return self.group(endpoint.group).formats[endpoint.name]

    @property
    def output_size(self) -> int:
        """Features of an output."""
        return self.message_size(self.output)

    @property
    def output_format(self) -> Format:
        """Format of an output's integers."""
        return self.message_format(self.output)

    @property
    def latency(self) -> int:
        """Timesteps from a token's entry to its output.

        Raises:
            NetworkError: delays are not aligned yet.
        """
        phase = self.group(self.output.group).phase
        if phase is None:
            raise NetworkError(self.name, "has no phases", "Align the delays first")
        return phase

    @property
    def synapse_count(self) -> int:
        """Number of stored synapses."""
        return sum(synapses.weights.nnz for synapses in self.synapses)


def frozen_weights(matrix: np.ndarray | csr_matrix) -> csr_matrix:
    """Return a read-only int8 csr matrix in canonical form.

    Args:
        matrix: (target, source) integers within int8; explicit zeros are kept.

    Raises:
        ValueError: a weight is outside int8; callers check first and say which tensor it is.
    """
    weights = csr_matrix(matrix)
    lowest, highest = limits(WEIGHT_BITS)
    if weights.nnz and (weights.data.min() < lowest or weights.data.max() > highest):
        raise ValueError("a weight is outside int8")
    weights = csr_matrix(
        (
            weights.data.astype(np.int8),
            weights.indices.astype(np.int32),
            weights.indptr.astype(np.int32),
        ),
        shape=weights.shape,
    )
    weights.sort_indices()
    for array in (weights.data, weights.indices, weights.indptr):
        array.flags.writeable = False
    return weights


def identity_weights(size: int) -> csr_matrix:
    """Return the synapses that hand a message on unchanged."""
    places = np.arange(size + 1, dtype=np.int32)
    ones = np.ones(size, dtype=np.int8)
    return frozen_weights(csr_matrix((ones, places[:-1], places), shape=(size, size)))


def is_identity(weights: csr_matrix) -> bool:
    """Tell whether synapses hand every message on unchanged."""
    rows, columns = weights.shape
    return (
        rows == columns == weights.nnz
        and bool((weights.data == 1).all())
        and np.array_equal(weights.indices, np.arange(rows))
        and np.array_equal(weights.indptr, np.arange(rows + 1))
    )
