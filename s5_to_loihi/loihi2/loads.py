"""What a partition costs, exactly: words, synops, words read and messages of each core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.memory import axon_memory_words
from s5_to_loihi.loihi2.timing import Timing
from s5_to_loihi.loihi2.workload import Workload

#: The columns of Intel's table, in its order.
COLUMNS = ("AxonIn", "NeuronGr", "Neurons", "Synapses", "AxonMap", "AxonMem", "Total")


@dataclass(frozen=True, eq=False)
class Loads:
    """A partition and what it costs. A part is what a core holds of one group.

    Attributes:
        core_of: (neurons,) logical core.
        cores: logical cores, all with a neuron.
        core_of_part, group_of_part, neurons_of_part: (parts,).
        words: (parts, 7) in the order of ``COLUMNS``.
        instructions: (parts,) of the updates of all its neurons.
        synops, reads, arriving: (parts,) synops, words read and messages arriving a timestep.
        lists: (neurons,) words in AxonMem.
        leaving: (cores,) messages leaving a timestep, one for each destination.
        flow_from, flow_to, flow: messages a timestep between cores, and from a core to itself.
    """

    core_of: np.ndarray
    cores: int
    core_of_part: np.ndarray
    group_of_part: np.ndarray
    neurons_of_part: np.ndarray
    words: np.ndarray
    instructions: np.ndarray
    synops: np.ndarray
    reads: np.ndarray
    arriving: np.ndarray
    lists: np.ndarray
    leaving: np.ndarray
    flow_from: np.ndarray
    flow_to: np.ndarray
    flow: np.ndarray

    def of_cores(self, of_parts: np.ndarray) -> np.ndarray:
        """Add up parts to cores: (parts, ...) -> (cores, ...)."""
        sums = np.zeros((self.cores, *of_parts.shape[1:]), dtype=of_parts.dtype)
        np.add.at(sums, self.core_of_part, of_parts)
        return sums

    def core_times(self, constants: Timing) -> dict[str, np.ndarray]:
        """Return the nanoseconds a timestep of each core, by what takes them: (cores,) each."""
        updates = self.of_cores(self.neurons_of_part) * constants.update
        updates = updates + self.of_cores(self.instructions) * constants.instruction
        link = np.maximum(self.of_cores(self.arriving), self.leaving) * constants.message
        return {
            "neuron updates": updates,
            "synops": self.of_cores(self.synops) * constants.synop,
            "memory words": self.of_cores(self.reads) * constants.word,
            "core link": link,
        }


def limits_of(chip: Chip) -> np.ndarray:
    """Return a core's limits in the order of ``COLUMNS``."""
    return np.array(
        [
            chip.axon_in.value,
            chip.neuron_groups.value,
            chip.neurons.value,
            chip.synapses.value,
            chip.axon_map.value,
            chip.axon_memory.value,
            chip.total.value,
        ],
        dtype=np.int64,
    )


def storage(chip: Chip, dense: bool = True) -> tuple[int, int, int, bool]:
    """Return how rows are stored, for the kernels."""
    return (
        int(chip.axon_header_bits.value),
        int(chip.index_bits.value),
        int(chip.word_bits.value),
        bool(dense and chip.dense_rows.value),
    )


def lists_of(work: Workload, destinations: np.ndarray, chip: Chip) -> np.ndarray:
    """Return the words in AxonMem of each neuron, from the destinations of each message."""
    words = np.array([axon_memory_words(n, chip) for n in range(destinations.max(initial=0) + 1)])
    sent = work.sender >= 0
    return np.bincount(work.sender[sent], words[destinations[sent]], work.neurons).astype(np.int64)


def parts_of(
    work: Workload, core_of: np.ndarray, chip_of_core: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the neurons part by part, where each part begins (and the last ends), and its core.

    Parts are in the order of cores, those of one chip together if the cores' chips are given.
    """
    groups = len(work.words_of_group)
    keys = core_of.astype(np.int64) * groups + work.group_of
    if chip_of_core is not None:
        keys += chip_of_core[core_of].astype(np.int64) * groups * len(chip_of_core)
    order = np.argsort(keys, kind="stable")
    _, first_of_part = np.unique(keys[order], return_index=True)
    core_of_part = core_of[order[first_of_part]]
    return order, np.append(first_of_part, len(order)), core_of_part


def measure(work: Workload, core_of: np.ndarray, chip: Chip) -> Loads:
    """Count a partition.

    Args:
        work: what is partitioned.
        core_of: (neurons,) any integers >= 0; they are renumbered without gaps, in their order.
        chip: whose words to count.
    """
    _, core_of = np.unique(core_of, return_inverse=True)
    order, first_of_part, core_of_part = parts_of(work, core_of)
    group_of_part = work.group_of[order[first_of_part[:-1]]]
    part_sizes = np.diff(first_of_part)
    parts = len(part_sizes)
    sender_core = np.where(work.sender >= 0, core_of[work.sender], -1)
    counted, destinations, flow_from, flow_to, flow = kernels.measure(
        order,
        first_of_part,
        core_of_part,
        work.arrays,
        sender_core,
        storage(chip),
    )
    part_of = np.empty(len(order), dtype=np.int64)
    part_of[order] = np.repeat(np.arange(parts), part_sizes)
    lists = lists_of(work, destinations, chip)
    words = np.zeros((parts, len(COLUMNS)), dtype=np.int64)
    words[:, 0], words[:, 1] = counted[:, 0], 1
    words[:, 2] = part_sizes * work.words_of_group[group_of_part]
    words[:, 3] = counted[:, 1]
    words[:, 4] = np.bincount(part_of, work.messages_of, minlength=parts)
    words[:, 5] = np.bincount(part_of, lists, minlength=parts)
    words[:, 6] = words[:, [0, 2, 3, 4, 5]].sum(axis=1)
    cores = int(core_of.max()) + 1
    return Loads(
        core_of=core_of,
        cores=cores,
        core_of_part=core_of_part,
        group_of_part=group_of_part,
        neurons_of_part=part_sizes,
        words=words,
        instructions=part_sizes * work.instructions[group_of_part],
        synops=counted[:, 2],
        reads=counted[:, 3],
        arriving=counted[:, 4],
        lists=lists,
        leaving=np.bincount(flow_from, flow, minlength=cores),
        flow_from=flow_from,
        flow_to=flow_to,
        flow=flow,
    )
