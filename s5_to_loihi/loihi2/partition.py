"""Which neuron on which core: cores filled in turn from a line of neurons, then improved.

Neurons of a group stand beside those that share their sources; groups stand in the order of
synops an update, and cores are filled from both ends, so that updates and synapses balance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.bounds import Demand, fewest_cores
from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.loads import limits_of, storage
from s5_to_loihi.loihi2.timing import Timing
from s5_to_loihi.loihi2.workload import Workload

#: Rounds of smoothing that put neurons with common sources side by side.
SMOOTHING_ROUNDS = 12
#: Synapses up to which partitions are searched more finely, and improved neuron by neuron.
SMALL = 2_000_000
#: Synapses that improving or packing looks at, at most.
IMPROVEMENT_WORK = 30_000_000
#: Orders in which packing is tried.
PACKING_ATTEMPTS = 200


@dataclass(frozen=True, eq=False)
class Filling:
    """What filling cores in turn came to.

    Attributes:
        core_of: (neurons,) core; -1 beyond the cores allowed.
        cores: used; one more than allowed if they were not enough.
        closed_by: how many cores each limit closed, by its name.
        neuron, obstacle: a neuron that fits no empty core, and the limit; None otherwise.
    """

    core_of: np.ndarray
    cores: int
    closed_by: dict[str, int]
    neuron: int | None
    obstacle: str | None


def line_up(work: Workload, need: Demand, constants: Timing, seed: int) -> np.ndarray:
    """Return all neurons in the order in which cores are filled.

    The same neurons in another order give the same line up to its beginning and direction:
    smoothing starts from random positions.
    """
    rng = np.random.default_rng(seed)
    updates = np.where(work.long_program, constants.long_update, constants.update)
    first = work.first_neuron[:-1]
    synops = np.add.reduceat(need.neuron_synops, first) * constants.synop
    groups = np.argsort(-synops / (np.diff(work.first_neuron) * updates), kind="stable")
    lines = [_similar_together(work, int(group), rng) for group in groups]
    return np.concatenate(lines)


def _similar_together(work: Workload, group: int, rng: np.random.Generator) -> np.ndarray:
    """Return a group's neurons, those with common sources side by side (a spectral order)."""
    arrays = work.arrays
    begin, end = work.first_neuron[group], work.first_neuron[group + 1]
    firsts, ends = (arrays.firsts[arrays.segments[begin + i : end + i]] for i in (0, 1))
    neurons = np.arange(begin, end)
    own = arrays.axons[firsts[0] : ends[-1]]
    if len(own) == 0 or end - begin < 3:
        return neurons
    lowest, highest = own.min(), own.max()
    sums, counts = np.zeros(highest - lowest + 1), np.zeros(highest - lowest + 1, dtype=np.int64)
    position = rng.standard_normal(end - begin)
    for _ in range(SMOOTHING_ROUNDS):
        kernels.smooth(firsts, ends, arrays.axons, lowest, sums, counts, position)
        position -= position.mean()
        largest = np.abs(position).max()
        if largest < 1e-12:  # nothing is shared, or everything
            return neurons
        position /= largest
    return neurons[np.argsort(position, kind="stable")]


def fill(
    work: Workload,
    line: np.ndarray,
    chip: Chip,
    constants: Timing,
    cores: int,
    longest: float = np.inf,
    reserve: int = 0,
) -> Filling:
    """Fill cores in turn, below all limits and with none of their times above ``longest``.

    Args:
        work: what is partitioned.
        line: the order, from ``line_up``.
        chip: whose limits to keep.
        constants: of the runtime model.
        cores: to use at most.
        longest: nanoseconds.
        reserve: words of every core to keep for AxonMem, which is known only afterwards.
    """
    core_of, used, closed_by, neuron, obstacle = kernels.fill(
        line,
        tuple(work.arrays),
        *_kernel_arguments(work, chip, constants, reserve),
        longest,
        cores,
        storage(chip, dense=False),
    )
    names = (*kernels.RESOURCES, *kernels.TIMES)
    return Filling(
        core_of,
        used,
        {name: int(n) for name, n in zip(names, closed_by, strict=True) if n},
        None if neuron < 0 else int(neuron),
        None if neuron < 0 else names[obstacle],
    )


def _kernel_arguments(work: Workload, chip: Chip, constants: Timing, reserve: int):
    """Return what neurons need by themselves, the limits, and nanoseconds, for the kernels."""
    limits = limits_of(chip)[[0, 1, 2, 3, 4, 6]] - np.array([0, 0, 0, 0, 0, reserve])
    updates = np.where(work.long_program, constants.long_update, constants.update)
    per_neuron = (
        work.group_of,
        work.words_of_group[work.group_of],
        work.messages_of,
        updates[work.group_of].astype(float),
    )
    nanoseconds = np.array([0.0, constants.synop, constants.word, constants.message])
    return per_neuron, limits, nanoseconds


def balance(
    work: Workload,
    line: np.ndarray,
    chip: Chip,
    constants: Timing,
    cores: int,
    bound: float,
    reserve: int = 0,
) -> Filling:
    """Fill so many cores with the shortest longest time that can be found.

    Args:
        work, line, chip, constants, cores, reserve: as in ``fill``.
        bound: nanoseconds that cannot be beaten, to start the search from.

    Returns:
        The filling; its ``cores`` are too many if none fits.
    """
    tolerance = 0.002 if len(work.arrays.axons) <= SMALL else 0.02
    slack, low, best = tolerance, 1.0, None
    while best is None:
        tried = fill(work, line, chip, constants, cores, bound * (1 + slack), reserve)
        if tried.cores <= cores:
            best, high = tried, 1 + slack
        elif slack > 1e4:
            return fill(work, line, chip, constants, cores, np.inf, reserve)
        else:
            low, slack = 1 + slack, 2 * slack
    while high - low > tolerance * low:
        middle = (low + high) / 2
        tried = fill(work, line, chip, constants, cores, bound * middle, reserve)
        if tried.cores <= cores:
            best, high = tried, middle
        else:
            low = middle
    return best


def improve(
    work: Workload, filling: Filling, chip: Chip, constants: Timing, reserve: int = 0
) -> np.ndarray:
    """Return the cores of a filling after moves and exchanges that shorten the longest time.

    Large networks are left as they are: a neuron more or less hardly matters there.
    """
    if not _is_small(work, filling.cores) or filling.cores < 2:
        return filling.core_of
    core_of = filling.core_of.copy()
    kernels.improve(
        core_of,
        filling.cores,
        tuple(work.arrays),
        *_kernel_arguments(work, chip, constants, reserve),
        storage(chip, dense=False),
        IMPROVEMENT_WORK,
    )
    return core_of


def fewest(
    work: Workload, line: np.ndarray, need: Demand, chip: Chip, constants: Timing, seed: int
) -> Filling:
    """Fill as few cores as can be found.

    Cores are filled in turn; for a small network that leaves room below the bound, neurons are
    then also packed one by one where they add least, in several orders.
    """
    most = work.neurons + 1
    filling = fill(work, line, chip, constants, most)
    bound, _ = fewest_cores(need, chip)
    if filling.neuron is not None or not _is_small(work, filling.cores):
        return filling
    rng = np.random.default_rng(seed)
    lengths = np.diff(work.arrays.firsts[work.arrays.segments])
    attempts = min(PACKING_ATTEMPTS, IMPROVEMENT_WORK // max(1, len(line) * filling.cores * 10))
    for attempt in range(attempts):
        if filling.cores == bound:
            break
        noise = rng.uniform(0.5, 1.5, len(line)) if attempt > 1 else 1.0
        order = line if attempt == 0 else np.argsort(-lengths * noise, kind="stable")
        core_of, cores = kernels.pack(
            order.astype(np.int64),
            filling.cores - 1,
            tuple(work.arrays),
            *_kernel_arguments(work, chip, constants, 0),
            storage(chip, dense=False),
        )
        if cores < filling.cores:
            filling = replace(filling, core_of=core_of, cores=cores)
    return filling


def _is_small(work: Workload, cores: int) -> bool:
    return len(work.arrays.axons) <= SMALL and len(work.arrays.edge_of_axon) * cores <= 4 * SMALL
