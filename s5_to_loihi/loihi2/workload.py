"""A network as mapping sees it: neurons, input axons and rates in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.lava_runtime.chip_plan import takes_markers
from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.kernels import Arrays, weight_bits
from s5_to_loihi.loihi2.memory import field_widths, list_words, neuron_words
from s5_to_loihi.loihi2.rates import Rates
from s5_to_loihi.network.gating import MARKER, gated
from s5_to_loihi.network.network import (
    INPUT,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    frozen_weights,
)
from s5_to_loihi.network.programs import program_of

#: The feature of the input that markers are.
_MARK = Endpoint(INPUT, MARKER)


@dataclass(frozen=True, eq=False)
class Workload:
    """What has to be mapped.

    Attributes:
        network: its groups are numbered in its order.
        chip: whose cores it is to lie on.
        edges: the names of its synapses, by target group; where there is room for markers, with
            those that carry them (``network/gating.py``), which nothing is sent over here.
        rates_origin: where the rates come from.
        arrays: for the kernels.
        first_neuron: (groups + 1,) number of each group's first neuron.
        group_of: (neurons,) group.
        words_of_group: (groups,) words of one neuron.
        instructions: (groups,) of an update of one neuron.
        gate_instructions: (groups,) that a gate adds to it (``network/gating.py``).
        sender: (messages,) the neuron that sends it, -1 for the input.
        messages_of: (neurons,) its messages that are sent anywhere: its words in AxonMap.
        shortest_lists: (neurons,) words in AxonMem if every edge of a message ended on one core.
    """

    network: Network
    chip: Chip
    edges: tuple[str, ...]
    rates_origin: str
    arrays: Arrays
    first_neuron: np.ndarray
    group_of: np.ndarray
    words_of_group: np.ndarray
    instructions: np.ndarray
    gate_instructions: np.ndarray
    sender: np.ndarray
    messages_of: np.ndarray
    shortest_lists: np.ndarray

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(group.name for group in self.network.groups)

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return len(self.group_of)

    def sender_core(self, core_of: np.ndarray) -> np.ndarray:
        """Return the core that each message is sent from, -1 for the input: (messages,)."""
        return np.where(self.sender >= 0, core_of[self.sender], -1)


def workload(network: Network, rates: Rates, chip: Chip, markers: bool | None = None) -> Workload:
    """Lay a network out for mapping.

    Args:
        network: verified.
        rates: of its messages.
        chip: whose cores to map it onto.
        markers: whether to reserve memory for the markers of tokens, an axon with a synapse to
            each neuron for every group on a core. None: if the network can fall through on the
            chip, so that one mapping serves both modes.
    """
    markers = takes_markers(network) if markers is None else markers
    sizes = np.array([group.size for group in network.groups], dtype=np.int64)
    first_neuron = np.concatenate([[0], np.cumsum(sizes)])
    first_of = {
        group.name: first for group, first in zip(network.groups, first_neuron[:-1], strict=True)
    }
    edges = [
        one
        for group in network.groups
        for one in (*network.incoming(group.name), *([_marker(group)] if markers else []))
    ]

    messages, senders, count = {}, [], 0
    for message in network.sent:
        numbers, group = np.arange(network.message_size(message)), message.group
        messages[message] = count + numbers
        senders.append(np.full_like(numbers, -1) if group == INPUT else first_of[group] + numbers)
        count += len(numbers)
    if markers:
        messages[_MARK] = np.array([count])
        senders.append(np.array([-1]))
        count += 1
    sender = np.concatenate(senders)

    destinations = np.zeros(count, dtype=np.int64)
    for synapses in edges:
        fan = np.bincount(synapses.weights.indices, minlength=synapses.weights.shape[1])
        destinations[messages[synapses.source]] += fan > 0
    reaches = destinations > 0
    reaches[messages[network.output]] = True
    return Workload(
        network=network,
        chip=chip,
        edges=tuple(synapses.name for synapses in edges),
        rates_origin=rates.origin,
        arrays=_arrays(network, edges, messages, rates),
        first_neuron=first_neuron,
        group_of=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        words_of_group=np.array(
            [neuron_words(field_widths(program_of(network, g)), chip) for g in network.groups]
        ),
        instructions=np.array([instructions(network, index) for index in range(len(sizes))]),
        gate_instructions=np.array([_gate_instructions(network, g) for g in network.groups]),
        sender=sender,
        messages_of=np.bincount(sender[reaches & (sender >= 0)], minlength=first_neuron[-1]),
        shortest_lists=list_words(sender, destinations, first_neuron[-1], chip),
    )


def _marker(group: NeuronGroup) -> Synapses:
    """Return the synapses that carry a token's marker to a group."""
    return Synapses(
        name=f"{group.name} {MARKER}",
        source=_MARK,
        target=Endpoint(group.name, MARKER),
        weights=frozen_weights(np.ones((group.size, 1), dtype=np.int8)),
        exponent=0,
    )


def instructions(network: Network, index: int) -> int:
    """Return how many instructions an update of a group's neurons takes.

    Those of its program (``network/programs.py``): one for each operation, and for each
    accumulator, register and per-neuron constant that is read; then one for each register that is
    written and each message that is sent. Constants that all neurons share are part of an
    instruction. The chip's own listing is not public; it may join two of these, or need several
    for one.
    """
    return program_of(network, network.groups[index]).instructions


def _gate_instructions(network: Network, group: NeuronGroup) -> int:
    program = program_of(network, group)
    return gated(program).instructions - program.instructions


def _arrays(
    network: Network, edges: list[Synapses], messages: dict[Endpoint, np.ndarray], rates: Rates
) -> Arrays:
    """Return segments and synapses neuron by neuron, axons and messages."""
    sources = [synapses.weights.shape[1] for synapses in edges]
    first_axon = np.concatenate([[0], np.cumsum(sources, dtype=np.int64)])
    counts, edge_numbers, segments = [], [], [np.zeros(1, dtype=np.int64)]
    for group in network.groups:
        own = [index for index, one in enumerate(edges) if one.target.group == group.name]
        lengths = [np.diff(edges[index].weights.indptr) for index in own]
        counts.append(np.stack(lengths, axis=1).ravel() if own else np.zeros(0, dtype=np.int64))
        edge_numbers.append(np.tile(np.array(own, dtype=np.int32), group.size))
        segments.append(segments[-1][-1] + len(own) * np.arange(1, group.size + 1))
    firsts = np.concatenate([[0], np.cumsum(np.concatenate(counts), dtype=np.int64)])
    numbers = np.concatenate(edge_numbers)
    axons = np.empty(firsts[-1], dtype=np.int32)
    lows, highs = (np.zeros(len(numbers), dtype=np.int8) for _ in range(2))
    for index, synapses in enumerate(edges):
        of_edge = np.flatnonzero(numbers == index)
        low, high = (np.zeros(len(of_edge), dtype=np.int8) for _ in range(2))
        weights = synapses.weights
        kernels.copy_rows(
            weights.indptr, weights.indices, weights.data, first_axon[index], firsts[of_edge],
            axons, low, high,
        )  # fmt: skip
        lows[of_edge], highs[of_edge] = low, high
    bits = [
        weight_bits(*(int(f(one.weights.data, initial=0)) for f in (np.min, np.max)))
        for one in edges
    ]
    return Arrays(
        segments=np.concatenate(segments),
        edges=numbers,
        firsts=firsts,
        lows=lows,
        highs=highs,
        axons=axons,
        edge_of_axon=np.repeat(np.arange(len(edges), dtype=np.int32), sources),
        message_of_axon=np.concatenate([messages[one.source] for one in edges]),
        rates=np.concatenate(
            [[0.0] if one == _MARK else rates.of[str(one)] for one in messages]
        ).astype(float),
        edge_bits=np.array(bits, dtype=np.int64),
    )
