"""What no mapping can beat, under the same model: fewest cores, shortest timestep."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.loads import COLUMNS, limits_of, storage
from s5_to_loihi.loihi2.timing import Timing, barrier
from s5_to_loihi.loihi2.workload import Workload


class Demand(NamedTuple):
    """The least that any partition needs, over all cores together.

    Attributes:
        words: (7,) in the order of ``COLUMNS``.
        neurons, instructions: (groups,) updates of each group a timestep, instructions of one.
        synops, reads, messages: synops, words read and messages arriving a timestep.
        neuron_synops: (neurons,) synops of each; as many messages arrive for it alone.
    """

    words: np.ndarray
    neurons: np.ndarray
    instructions: np.ndarray
    synops: float
    reads: float
    messages: float
    neuron_synops: np.ndarray


def demand(work: Workload, chip: Chip) -> Demand:
    """Count what any partition needs.

    Cutting an axon in two never saves words: both halves have a header and are rounded up. Dense
    rows, where the facts allow them, are counted without indices and without their zeros.
    """
    header, index_bits, word, dense = storage(chip)
    bits, fan, synops = kernels.demand(work.arrays, 0 if dense else index_bits)
    used = fan > 0
    words_of_axon = np.where(used, -(-(header + bits) // word), 0)
    rates = work.axon_rates
    sizes = np.diff(work.first_neuron)
    words = np.zeros(len(COLUMNS), dtype=np.int64)
    words[0], words[1] = used.sum(), len(sizes)
    words[2], words[3] = sizes @ work.words_of_group, words_of_axon.sum()
    words[4], words[5] = work.messages_of.sum(), work.shortest_lists.sum()
    words[6] = words[[0, 2, 3, 4, 5]].sum()
    return Demand(
        words=words,
        neurons=sizes,
        instructions=work.instructions,
        synops=float(rates @ fan),
        reads=float(rates @ words_of_axon),
        messages=float(rates @ used),
        neuron_synops=synops,
    )


def fewest_cores(need: Demand, chip: Chip) -> tuple[int, str]:
    """Return how many cores any mapping needs at least, and the resource that says so."""
    cores = -(-need.words // limits_of(chip))
    worst = int(cores.argmax())
    return max(1, int(cores[worst])), COLUMNS[worst]


def shortest_times(need: Demand, cores: int, constants: Timing) -> dict[str, float]:
    """Return nanoseconds that no mapping on so many cores can beat, by what takes them.

    Some core has at least the mean of everything, and at least one neuron whole. Updates are
    whole: of those that take at least so long, one core has the mean number, rounded up.
    """
    updates = constants.update + constants.instruction * need.instructions
    slowest = np.argsort(-updates, kind="stable")
    most = np.ceil(np.cumsum(need.neurons[slowest]) / cores)
    single = float(need.neuron_synops.max(initial=0))
    return {
        "neuron updates": max(
            float(need.neurons @ updates) / cores,
            float((most * updates[slowest]).max()),
        ),
        "synops": max(need.synops / cores, single) * constants.synop,
        "memory words": need.reads / cores * constants.word,
        "core link": max(need.messages / cores, single) * constants.message,
    }


def shortest_timestep(need: Demand, cores: int, chip: Chip, constants: Timing) -> float:
    """Return nanoseconds that no mapping on so many cores can beat, the barrier included."""
    chips = math.ceil(fewest_cores(need, chip)[0] / chip.usable_cores.value)
    return max(*shortest_times(need, cores, constants).values(), barrier(constants, chips))
