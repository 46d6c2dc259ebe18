"""A network as mapping sees it: neurons, input axons and rates in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.memory import axon_memory_words, neuron_words, weight_bits
from s5_to_loihi.loihi2.rates import Rates
from s5_to_loihi.network.network import INPUT, Network, Synapses
from s5_to_loihi.network.ranges import program


class Arrays(NamedTuple):
    """What the kernels read.

    Neurons are numbered group by group, synapses neuron by neuron. The synapses that a neuron
    has from one edge are a segment. An axon is a source neuron of an edge; axons are numbered
    edge by edge. Messages are numbered by sender: the neurons of each sent message in turn.

    Attributes:
        segments: (neurons + 1,) the first segment of each neuron.
        edges: (segments,) edge.
        firsts: (segments + 1,) first synapse.
        lows, highs: (segments,) extremes of its weights, 0 included.
        axons: (synapses,) the axon that each synapse is reached by.
        first_axon, first_message: (edges,) number of its first source's axon and message.
        edge_of_axon: (axons,).
        rates: (messages,) a timestep.
        edge_bits: (edges,) bits of its weights.
    """

    segments: np.ndarray
    edges: np.ndarray
    firsts: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    axons: np.ndarray
    first_axon: np.ndarray
    first_message: np.ndarray
    edge_of_axon: np.ndarray
    rates: np.ndarray
    edge_bits: np.ndarray


@dataclass(frozen=True, eq=False)
class Workload:
    """What has to be mapped.

    Attributes:
        network: its groups are numbered in its order.
        edges: the names of its synapses, by target group.
        rates_origin: where the rates come from.
        arrays: for the kernels.
        first_neuron: (groups + 1,) number of each group's first neuron.
        group_of: (neurons,) group.
        words_of_group: (groups,) words of one neuron.
        instructions: (groups,) of an update of one neuron.
        sender: (messages,) the neuron that sends it, -1 for the input.
        messages_of: (neurons,) its messages that are sent anywhere: its words in AxonMap.
        shortest_lists: (neurons,) words in AxonMem if every edge of a message ended on one core.
    """

    network: Network
    edges: tuple[str, ...]
    rates_origin: str
    arrays: Arrays
    first_neuron: np.ndarray
    group_of: np.ndarray
    words_of_group: np.ndarray
    instructions: np.ndarray
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

    @property
    def axon_rates(self) -> np.ndarray:
        """(axons,) messages a timestep that arrive by each axon."""
        arrays = self.arrays
        numbers = np.arange(len(arrays.edge_of_axon)) - arrays.first_axon[arrays.edge_of_axon]
        return arrays.rates[numbers + arrays.first_message[arrays.edge_of_axon]]


def workload(network: Network, rates: Rates, chip: Chip) -> Workload:
    """Lay a network out for mapping.

    Args:
        network: verified.
        rates: of its messages.
        chip: whose words and programs to count.
    """
    sizes = np.array([group.size for group in network.groups], dtype=np.int64)
    first_neuron = np.concatenate([[0], np.cumsum(sizes)])
    group_index = {group.name: index for index, group in enumerate(network.groups)}
    edges = [one for group in network.groups for one in network.incoming(group.name)]

    names = [str(message) for message in network.sent]
    message_sizes = [len(rates.of[name]) for name in names]
    first_of_message = dict(zip(names, np.cumsum([0, *message_sizes[:-1]]), strict=True))
    sender = np.full(sum(message_sizes), -1, dtype=np.int64)
    for name, size in zip(names, message_sizes, strict=True):
        group = name.rpartition(".")[0]
        if group != INPUT:
            first = first_of_message[name]
            sender[first : first + size] = first_neuron[group_index[group]] + np.arange(size)

    sources = np.array([synapses.weights.shape[1] for synapses in edges], dtype=np.int64)
    first_axon = np.concatenate([[0], np.cumsum(sources)])
    first_message = np.array([first_of_message[str(one.source)] for one in edges], dtype=np.int64)
    arrays = Arrays(
        **_synapses(network, edges, first_axon[:-1]),
        first_axon=first_axon[:-1],
        first_message=first_message,
        edge_of_axon=np.repeat(np.arange(len(edges), dtype=np.int32), sources),
        rates=np.concatenate([rates.of[name] for name in names]).astype(float),
        edge_bits=np.array([_bits(synapses) for synapses in edges], dtype=np.int64),
    )
    destinations = np.zeros(len(sender), dtype=np.int64)
    for synapses in edges:
        fan = np.bincount(synapses.weights.indices, minlength=synapses.weights.shape[1])
        first = first_of_message[str(synapses.source)]
        destinations[first : first + len(fan)] += fan > 0
    reaches = destinations > 0
    first = first_of_message[str(network.output)]
    reaches[first : first + network.output_size] = True
    sent = sender >= 0
    lists = np.array([axon_memory_words(n, chip) for n in range(len(edges) + 1)])
    return Workload(
        network=network,
        edges=tuple(synapses.name for synapses in edges),
        rates_origin=rates.origin,
        arrays=arrays,
        first_neuron=first_neuron,
        group_of=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        words_of_group=np.array([neuron_words(group, chip) for group in network.groups]),
        instructions=np.array([instructions(network, index) for index in range(len(sizes))]),
        sender=sender,
        messages_of=np.bincount(sender[reaches & sent], minlength=first_neuron[-1]),
        shortest_lists=np.bincount(
            sender[sent], lists[destinations[sent]], first_neuron[-1]
        ).astype(np.int64),
    )


def instructions(network: Network, index: int) -> int:
    """Return how many instructions an update of a group's neurons takes.

    Those of the traced program (``network/tracing.py``) that its state and messages depend on:
    one for each operation, and for each accumulator, register and per-neuron constant that is
    read; then one for each register that is written and each message that is sent. Constants that
    all neurons share are part of an instruction. The chip's own listing is not public; it may join
    two of these (a product and its shift), or need several for one.
    """
    group = network.groups[index]
    traced = program(network, group)
    needed = traced.needed(group.kind.state + group.kind.messages)
    read = sum(traced.steps[step].operation != "constant" for step in needed)
    return read + len(group.kind.state) + len(network.sent_by(group))


def _bits(synapses: Synapses) -> int:
    data = synapses.weights.data
    return weight_bits(min(0, data.min(initial=0)), max(0, data.max(initial=0)))


def _synapses(network: Network, edges: list[Synapses], first_axon: np.ndarray) -> dict:
    """Return the arrays of segments and synapses."""
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
        own = np.flatnonzero(numbers == index)
        low, high = (np.zeros(len(own), dtype=np.int8) for _ in range(2))
        weights = synapses.weights
        kernels.copy_rows(
            weights.indptr, weights.indices, weights.data, first_axon[index], firsts[own], axons,
            low, high,
        )  # fmt: skip
        lows[own], highs[own] = low, high
    return {
        "segments": np.concatenate(segments),
        "edges": numbers,
        "firsts": firsts,
        "lows": lows,
        "highs": highs,
        "axons": axons,
    }
