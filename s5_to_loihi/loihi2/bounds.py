"""What no mapping can beat, under the same model: fewest cores, shortest timestep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.memory import limits_of, rows_of
from s5_to_loihi.loihi2.resources import Resource, Term
from s5_to_loihi.loihi2.timing import Timing, core_times
from s5_to_loihi.loihi2.workload import Workload


class Requirements(NamedTuple):
    """The least that any partition needs, over all cores together.

    Attributes:
        work: what is partitioned.
        words: (7,) by ``Resource``.
        synops, reads, messages: synops, words read and messages arriving a timestep.
        neuron_synops: (neurons,) synops of each; as many messages arrive for it alone.
    """

    work: Workload
    words: np.ndarray
    synops: float
    reads: float
    messages: float
    neuron_synops: np.ndarray


def requirements(work: Workload) -> Requirements:
    """Count what any partition needs.

    Cutting an axon in two never saves words: both halves have a header and are rounded up. Dense
    rows, where the facts allow them, are counted without indices and without their zeros.
    """
    rows = rows_of(work.chip)
    bits, fan, synops = kernels.count_uncut(work.arrays, 0 if rows.dense else rows.index_bits)
    used = fan > 0
    words_of_axon = kernels.packed_words(bits, rows) * used
    rates = work.arrays.rates[work.arrays.message_of_axon]
    sizes = np.diff(work.first_neuron)
    words = np.zeros(len(Resource), dtype=np.int64)
    words[Resource.AXON_IN], words[Resource.NEURON_GROUPS] = used.sum(), len(sizes)
    words[Resource.NEURONS] = sizes @ work.words_of_group
    words[Resource.SYNAPSES] = words_of_axon.sum()
    words[Resource.AXON_MAP] = work.messages_of.sum()
    words[Resource.AXON_MEMORY] = work.shortest_lists.sum()
    words[Resource.TOTAL] = kernels.total_words(words)
    return Requirements(
        work=work,
        words=words,
        synops=float(rates @ fan),
        reads=float(rates @ words_of_axon),
        messages=float(rates @ used),
        neuron_synops=synops,
    )


def fewest_cores(need: Requirements) -> tuple[int, Resource]:
    """Return how many cores any mapping needs at least, and the resource that says so."""
    cores = -(-need.words // limits_of(need.work.chip))
    worst = Resource(int(cores.argmax()))
    return max(1, int(cores[worst])), worst


def shortest_times(need: Requirements, cores: int, constants: Timing) -> dict[Term, float]:
    """Return nanoseconds that no mapping on so many cores can beat, by what takes them.

    Some core has at least the mean of everything, and at least one neuron whole. Updates are
    whole: of those that take at least so long, one core has the mean number, rounded up.
    """
    neurons = np.diff(need.work.first_neuron)
    updates = constants.updates(1, need.work.instructions)
    slowest = np.argsort(-updates, kind="stable")
    most = np.ceil(np.cumsum(neurons[slowest]) / cores)
    mean = float(neurons @ updates) / cores
    single = float(need.neuron_synops.max(initial=0))
    return core_times(
        constants,
        updates=max(mean, float((most * updates[slowest]).max())),
        synops=max(need.synops / cores, single),
        words=need.reads / cores,
        messages=max(need.messages / cores, single),
    )
