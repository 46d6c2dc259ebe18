"""What a partition costs, exactly: words, synops, words read and messages of each core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.memory import limits_of, list_words, rows_of
from s5_to_loihi.loihi2.resources import Resource, Term
from s5_to_loihi.loihi2.timing import Timing, core_times
from s5_to_loihi.loihi2.workload import Workload


@dataclass(frozen=True, eq=False)
class Loads:
    """A partition and what it costs. A part is what a core holds of one group.

    Attributes:
        core_of: (neurons,) logical core.
        cores: logical cores, all with a neuron.
        core_of_part, group_of_part, neurons_of_part: (parts,).
        words: (parts, 7) by ``Resource``.
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

    def core_times(self, constants: Timing) -> dict[Term, np.ndarray]:
        """Return the nanoseconds a timestep of each core, by what takes them: (cores,) each."""
        return core_times(
            constants,
            updates=constants.updates(
                self.of_cores(self.neurons_of_part), self.of_cores(self.instructions)
            ),
            synops=self.of_cores(self.synops),
            words=self.of_cores(self.reads),
            messages=np.maximum(self.of_cores(self.arriving), self.leaving),
        )

    def fits(self, chip: Chip) -> bool:
        """Tell whether no core exceeds a limit."""
        return bool((self.of_cores(self.words) <= limits_of(chip)).all())


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


def measure(work: Workload, core_of: np.ndarray) -> Loads:
    """Count a partition.

    Args:
        work: what is partitioned.
        core_of: (neurons,) any integers >= 0; they are renumbered without gaps, in their order.
    """
    _, core_of = np.unique(core_of, return_inverse=True)
    order, first_of_part, core_of_part = parts_of(work, core_of)
    group_of_part = work.group_of[order[first_of_part[:-1]]]
    part_sizes = np.diff(first_of_part)
    parts = len(part_sizes)
    counted, destinations, flow_from, flow_to, flow = kernels.measure(
        order,
        first_of_part,
        core_of_part,
        work.arrays,
        work.sender_core(core_of),
        rows_of(work.chip),
    )
    part_of = np.empty(len(order), dtype=np.int64)
    part_of[order] = np.repeat(np.arange(parts), part_sizes)
    lists = list_words(work.sender, destinations, work.neurons, work.chip)
    words = np.zeros((parts, len(Resource)), dtype=np.int64)
    words[:, Resource.AXON_IN], words[:, Resource.SYNAPSES] = counted[:, :2].T
    words[:, Resource.NEURON_GROUPS] = 1
    words[:, Resource.NEURONS] = part_sizes * work.words_of_group[group_of_part]
    words[:, Resource.AXON_MAP] = np.bincount(part_of, work.messages_of, minlength=parts)
    words[:, Resource.AXON_MEMORY] = np.bincount(part_of, lists, minlength=parts)
    words[:, Resource.TOTAL] = kernels.total_words(words.T)
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
