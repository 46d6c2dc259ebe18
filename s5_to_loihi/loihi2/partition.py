"""Which neuron on which core: cores filled in turn from a line of neurons, then improved.

Neurons of a group stand beside those that share their sources. Groups stand in the order of the
network, or those with many synops at one end and those with few at the other, where cores that are
filled from both ends balance updates and synapses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.bounds import Requirements, fewest_cores
from s5_to_loihi.loihi2.loads import Loads, measure
from s5_to_loihi.loihi2.memory import limits_of, rows_of
from s5_to_loihi.loihi2.resources import CORE_TERMS, Resource, Term
from s5_to_loihi.loihi2.timing import core_times, timing
from s5_to_loihi.loihi2.workload import Workload

#: Rounds of smoothing that put neurons with common sources side by side.
SMOOTHING_ROUNDS = 12
#: Synapses up to which partitions are searched more finely, and improved neuron by neuron.
SMALL = 2_000_000
#: How near the shortest longest time is searched, as a fraction; for large networks the first of
#: these fractions above the bound that fits is taken.
TOLERANCE, LARGE_SLACKS = 0.002, (0.02, 0.1, 0.5, np.inf)
#: Synapses that improving or packing looks at, at most.
IMPROVEMENT_WORK = 10_000_000
#: How often small networks are shaken: at most so often, and while synapses times cores are few.
LARGEST_SHAKES, SHAKING_WORK = 40, 10_000
#: Orders in which packing is tried.
PACKING_ATTEMPTS = 50
#: Fillings after which AxonMem is taken not to fit; what is counted on grows, so few are needed.
LIST_ATTEMPTS = 30


class TooBig(NamedTuple):
    """A neuron that fits no core: a limit of an empty one, and how much of it the neuron needs."""

    neuron: int
    resource: Resource
    needed: int


@dataclass(frozen=True, eq=False)
class Filling:
    """What filling cores in turn came to.

    Attributes:
        core_of: (neurons,) core; -1 beyond the cores allowed.
        cores: used; one more than allowed if they were not enough.
        closed_by: how many cores each limit closed.
        too_big: the neuron that stopped it because it fits no empty core.
    """

    core_of: np.ndarray
    cores: int
    closed_by: dict[Resource | Term, int]
    too_big: TooBig | None


def line_up(need: Requirements, seed: int) -> tuple[np.ndarray, ...]:
    """Return orders of all neurons in which cores can be filled, from both ends.

    First the order of the network. On small networks, also: at the front the groups whose synops
    weigh more against their updates than the network's, at the back the others, both in the order
    of the network from their end. The same neurons in another order give the same lines up to
    their beginning and direction: smoothing starts from random positions.
    """
    work, rng = need.work, np.random.default_rng(seed)
    lines = [_similar_together(work, group, rng) for group in range(len(work.words_of_group))]
    in_order = np.concatenate(lines)
    if len(work.arrays.axons) > SMALL:
        return (in_order,)
    updates = timing(work.chip).updates(1, work.instructions) * np.diff(work.first_neuron)
    synops = np.add.reduceat(need.neuron_synops, work.first_neuron[:-1])
    heavy = synops * updates.sum() >= synops.sum() * updates
    front = [line for line, is_heavy in zip(lines, heavy, strict=True) if is_heavy]
    back = [line for line, is_heavy in zip(lines, heavy, strict=True) if not is_heavy]
    return in_order, np.concatenate(front + back[::-1])


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
    cores: int,
    longest: float = np.inf,
    lists: np.ndarray | None = None,
) -> Filling:
    """Fill cores in turn, below all limits and with none of their times above ``longest``.

    Args:
        work: what is partitioned.
        line: the order, one of ``line_up``.
        cores: to use at most.
        longest: nanoseconds.
        lists: (neurons,) words in AxonMem to count on for each; by default the fewest possible.
    """
    core_of, used, closed_by, neuron, obstacle, needed = kernels.fill(
        line, _problem(work, lists), longest, cores
    )
    limits = zip((*Resource, *CORE_TERMS), closed_by.tolist(), strict=True)
    return Filling(
        core_of,
        used,
        {limit: closed for limit, closed in limits if closed},
        None if neuron < 0 else TooBig(int(neuron), Resource(obstacle), int(needed)),
    )


def _problem(work: Workload, lists: np.ndarray | None) -> kernels.Problem:
    constants = timing(work.chip)
    lists = work.shortest_lists if lists is None else lists
    own = np.stack([work.words_of_group[work.group_of], work.messages_of, lists], axis=1)
    return kernels.Problem(
        load=work.arrays,
        rows=rows_of(work.chip, dense=False),
        group_of=work.group_of,
        own_words=own.astype(np.int64),
        update_time=constants.updates(1, work.instructions)[work.group_of].astype(float),
        nanoseconds=np.array(list(core_times(constants, 0.0, 1.0, 1.0, 1.0).values())),
        limits=limits_of(work.chip),
    )


def _balanced(
    work: Workload, line: np.ndarray, cores: int, bound: float, lists: np.ndarray | None
) -> Filling:
    """Fill so many cores with the shortest longest time that can be found; see ``partition``.

    Returns:
        The filling; its ``cores`` are too many if none fits.
    """

    def within(times: float) -> Filling:
        return fill(work, line, cores, bound * times, lists)

    if len(work.arrays.axons) > SMALL:
        for slack in LARGE_SLACKS:
            filling = within(1 + slack)
            if filling.cores <= cores:
                break
        return filling
    low, high, slack, best = 1.0, np.inf, TOLERANCE, None
    while best is None:
        tried = within(1 + slack)
        if tried.cores <= cores:
            best, high = tried, 1 + slack
        elif slack > 1e4:  # memory is in the way, not time
            return tried
        else:
            low, slack = 1 + slack, 2 * slack
    while high - low > TOLERANCE * low:
        middle = (low + high) / 2
        tried = within(middle)
        if tried.cores <= cores:
            best, high = tried, middle
        else:
            low = middle
    return best


def _improved(work: Workload, filling: Filling, lists: np.ndarray | None) -> np.ndarray:
    """Return the cores of a filling after moves and exchanges that shorten the longest time.

    Small networks are shaken and improved again, the smaller the more often; large ones are left
    as they are: a neuron more or less hardly matters there.
    """
    if not is_small(work, filling.cores) or filling.cores < 2:
        return filling.core_of
    rng, problem = np.random.default_rng(0), _problem(work, lists)
    effort = len(work.arrays.axons) * filling.cores
    shortest, best = np.inf, filling.core_of
    for attempt in range(1 + min(LARGEST_SHAKES, SHAKING_WORK // max(1, effort))):
        core_of = best.copy()
        if attempt:
            moved = rng.integers(0, work.neurons, max(2, work.neurons // 10))
            core_of[moved] = rng.integers(0, filling.cores, len(moved))
        spent = kernels.improve(core_of, filling.cores, problem, IMPROVEMENT_WORK)
        if spent.max() < shortest and len(np.unique(core_of)) == filling.cores:
            if attempt and not measure(work, core_of).fits(work.chip):
                continue
            shortest, best = spent.max(), core_of
    return best


def fewest(need: Requirements, lines: tuple[np.ndarray, ...], seed: int) -> Filling:
    """Fill as few cores as can be found, below all limits.

    Cores are filled in turn; for a small network that leaves room below the bound, neurons are
    then also packed one by one where they add least, in several orders.
    """
    work, fillings = need.work, []
    for line in lines:
        filled = functools.partial(fill, work, line, work.neurons, np.inf)
        fillings.append(_settled(work, filled, None)[0])
    filling = min(fillings, key=lambda one: one.cores)
    bound, _ = fewest_cores(need)
    if filling.too_big is not None or not is_small(work, filling.cores):
        return filling
    rng, problem = np.random.default_rng(seed), _problem(work, None)
    lengths = np.diff(work.arrays.firsts[work.arrays.segments])
    attempts = min(PACKING_ATTEMPTS, IMPROVEMENT_WORK // max(1, work.neurons * filling.cores * 10))
    for attempt in range(attempts):
        if filling.cores == bound:
            break
        noise = rng.uniform(0.5, 1.5, work.neurons) if attempt > 1 else 1.0
        order = lines[0] if attempt == 0 else np.argsort(-lengths * noise, kind="stable")
        core_of, cores = kernels.pack(order.astype(np.int64), filling.cores - 1, problem)
        if cores < filling.cores and measure(work, core_of).fits(work.chip):
            filling = replace(filling, core_of=core_of, cores=cores)
    return filling


def _settled(
    work: Workload, filled: Callable[[np.ndarray | None], Filling], lists: np.ndarray | None
) -> tuple[Filling, np.ndarray | None]:
    """Fill until what was counted on for AxonMem is enough; it is known only when all is filled.

    Starts from ``lists``, see ``fill``. For no neuron fewer words are counted on than before: from
    one filling to the next its destinations may go up and down for ever.

    Returns:
        The filling, and the words in AxonMem counted on for each neuron. If it never is enough,
        the filling's ``cores`` are too many.
    """
    for _ in range(LIST_ATTEMPTS):
        filling = filled(lists)
        if (filling.core_of < 0).any():
            return filling, lists
        loads = measure(work, filling.core_of)
        if loads.fits(work.chip):
            return filling, lists
        lists = loads.lists if lists is None else np.maximum(lists, loads.lists)
    return replace(filling, cores=work.neurons + 1), lists


def partition(
    work: Workload,
    line: np.ndarray,
    cores: int,
    bound: float,
    lists: np.ndarray | None = None,
) -> Loads | None:
    """Partition for so many cores, with the shortest longest time that can be found.

    Args:
        work, line, cores: as in ``fill``.
        bound: nanoseconds that cannot be beaten, to start the search from.
        lists: words in AxonMem of each neuron to begin with.

    Returns:
        None if it does not fit.
    """
    balanced = functools.partial(_balanced, work, line, cores, bound)
    filling, lists = _settled(work, balanced, lists)
    if filling.cores > cores:
        return None
    loads = measure(work, _improved(work, filling, lists))
    return loads if loads.fits(work.chip) else measure(work, filling.core_of)


def is_small(work: Workload, cores: int) -> bool:
    """Tell whether neurons can be moved one by one in reasonable time."""
    return len(work.arrays.axons) <= SMALL and len(work.arrays.edge_of_axon) * cores <= 4 * SMALL
