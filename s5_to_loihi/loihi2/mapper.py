"""Finding a mapping: how many cores, which neurons on each, where each lies.

A number of cores is tried by filling them evenly, improving, placing and evaluating. Numbers are
tried in the order of what the bounds promise, until nothing left can be better, so a system with
more cores never gives a longer timestep, as long as all numbers can be tried: large networks get
fewer tries (``LARGEST_SEARCH``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from s5_to_loihi.bundle import Bundle, network_of
from s5_to_loihi.bundle.core_mapping import CoreMapping, Objective
from s5_to_loihi.loihi2.bounds import Requirements, requirements, shortest_times
from s5_to_loihi.loihi2.evaluation import MappingEvaluation, evaluate_mapping
from s5_to_loihi.loihi2.facts import System, listed_systems
from s5_to_loihi.loihi2.loads import Loads, measure
from s5_to_loihi.loihi2.partition import Filling, fewest, is_small, line_up, partition
from s5_to_loihi.loihi2.placement import place
from s5_to_loihi.loihi2.rates import Rates, rates_of
from s5_to_loihi.loihi2.rules import does_not_fit
from s5_to_loihi.loihi2.timing import Timing, barrier, timing
from s5_to_loihi.loihi2.workload import Workload, workload
from s5_to_loihi.network.network import Network

#: ``balanced`` takes the fewest cores whose timestep is within this of the shortest found.
BALANCED_SLACK = 1.1
#: Every number of cores up to this is a candidate; beyond, steps of a twentieth.
EVERY_NUMBER = 128
#: Synapses looked at in all candidates together, after which the best so far is taken.
LARGEST_SEARCH = 50_000_000


class Candidate(NamedTuple):
    """A number of cores, tried.

    Attributes:
        key: nanoseconds of a timestep, then without the barrier, then of the heaviest link between
            routers: the smaller the better.
        core_of: (neurons,) physical core.
    """

    key: tuple[float, float, float]
    core_of: np.ndarray


class Search(NamedTuple):
    """What all candidates share; ``filling`` is the one on the fewest cores."""

    need: Requirements
    lines: tuple[np.ndarray, ...]
    filling: Filling
    system: System
    constants: Timing
    seed: int

    @property
    def work(self) -> Workload:
        """What is mapped."""
        return self.need.work


#: What did not fit, slower than all that does.
NOTHING = Candidate((math.inf, math.inf, math.inf), np.zeros(0, dtype=np.int64))


def map_network(
    source: Network | Bundle | str | os.PathLike[str],
    rates: Rates | None = None,
    system: System | None = None,
    objective: Objective = Objective.BALANCED,
    cores: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[CoreMapping, MappingEvaluation]:
    """Map a network.

    Args:
        source: a verified network, a bundle or its path.
        rates: of its messages; by default those of the tokens that a bundle has recorded, else one
            message a neuron and timestep. See ``rates``.
        system: to map onto; by default the smallest listed one that the network fits.
        objective: what for.
        cores: to use at most; by default all of the system.
        seed: of the random parts: the same seed gives the same mapping.
        on_progress: called with candidates tried and how many there are at most.

    Raises:
        CapacityError: it does not fit; says which limit stands in the way, and what would help.

    Examples:
        >>> mapping, evaluation = s5.map_network("denoiser.bundle")
        >>> mapping.system, mapping.cores["block0.state"].shape
        ('Oheo Gulch', (32,))
    """
    network = network_of(source)
    rates = rates_of(source) if rates is None else rates
    search = _search(network, rates, system, cores, seed)
    available = min(search.system.cores, cores or search.system.cores)
    best = _best(search, objective, available, on_progress)
    return _mapped(search, best, objective)


def map_on_cores(
    network: Network, rates: Rates, system: System | None, cores: int, seed: int = 0
) -> tuple[CoreMapping, MappingEvaluation]:
    """Map a network onto so many cores, or if it needs more, onto the fewest that it fits.

    Args:
        network, rates, system, seed: as for ``map_network``.
        cores: to use.

    Raises:
        CapacityError: it does not fit the system.
    """
    (mapped,) = map_on_numbers(network, rates, system, (cores,), seed)
    return mapped


def map_on_numbers(
    network: Network, rates: Rates, system: System | None, numbers: Iterable[int], seed: int = 0
) -> Iterator[tuple[CoreMapping, MappingEvaluation]]:
    """Yield what ``map_on_cores`` returns for each of several numbers of cores."""
    search = _search(network, rates, system, None, seed)
    fewest_cores = search.filling.cores
    for number in numbers:
        tried = _tried(search, max(number, fewest_cores))
        if not tried.core_of.size:
            tried = _tried(search, fewest_cores)
        yield _mapped(search, tried, Objective.LATENCY)


def _search(
    network: Network, rates: Rates, system: System | None, cores: int | None, seed: int
) -> Search:
    """Lay a network out and fill the fewest cores; see ``map_network``."""
    chip = (system or listed_systems()[0]).chip
    need = requirements(workload(network, rates, chip))
    lines = line_up(need, seed)
    filling = fewest(need, lines, seed)
    system = system or next(
        (one for one in listed_systems() if one.cores >= filling.cores), listed_systems()[-1]
    )
    available = min(system.cores, cores or system.cores)
    if filling.too_big is not None or filling.cores > available:
        raise does_not_fit(need, filling, system, available)
    return Search(need, lines, filling, system, timing(chip), seed)


def _mapped(
    search: Search, best: Candidate, objective: Objective
) -> tuple[CoreMapping, MappingEvaluation]:
    work, system = search.work, search.system
    evaluation = evaluate_mapping(work, best.core_of, system)
    pieces = np.split(best.core_of.astype(np.int32), work.first_neuron[1:-1])
    for piece in pieces:
        piece.flags.writeable = False
    mapping = CoreMapping(
        system=system.name,
        cores_per_chip=int(system.chip.cores.value),
        objective=objective.value,
        seed=search.seed,
        rates=work.rates_origin,
        cores=dict(zip(work.groups, pieces, strict=True)),
        timestep=evaluation.timesteps,
    )
    return mapping, evaluation


def _best(
    search: Search,
    objective: Objective,
    available: int,
    on_progress: Callable[[int, int], None],
) -> Candidate:
    if objective is Objective.CORES:
        return _tried(search, search.filling.cores)
    numbers = _numbers(search, available)
    promises = {number: _promise(search, number) for number in numbers}
    budget = max(2, LARGEST_SEARCH // max(1, len(search.work.arrays.axons)))
    tried: dict[int, Candidate] = {}
    best = NOTHING
    order = sorted(numbers, key=lambda number: (promises[number], number))
    if len(numbers) > budget:  # links may decide, which bounds do not see: try few cores first
        order = [numbers[0], numbers[len(numbers) // 2], *order]
    for number in order:
        if number in tried:
            continue
        if tried and (promises[number] >= best.key or len(tried) >= budget):
            break
        tried[number] = _tried(search, number)
        best = min(best, tried[number], key=lambda one: one.key)
        on_progress(len(tried), min(len(numbers), budget))
    if objective is Objective.LATENCY:
        return best
    enough = best.key[0] * BALANCED_SLACK
    for number in numbers:
        if promises[number][0] <= enough:
            candidate = tried.get(number) or _tried(search, number)
            if candidate.key[0] <= enough:
                return candidate
    return best


def _numbers(search: Search, available: int) -> list[int]:
    """Return the numbers of cores to consider: the same ones whatever is available."""
    least = search.filling.cores
    usable = int(search.system.chip.usable_cores.value)
    most = min(available, search.work.neurons)
    numbers = {least, *range(least, min(EVERY_NUMBER, most) + 1)}
    number = EVERY_NUMBER
    while number <= most:
        numbers |= {number, number // usable * usable}
        number = math.ceil(number * 1.05)
    return sorted(number for number in numbers if least <= number <= max(most, least))


def _bound(search: Search, number: int) -> float:
    """Return nanoseconds that the work of a number of cores cannot be below."""
    return max(shortest_times(search.need, number, search.constants).values())


def _promise(search: Search, number: int) -> tuple[float, float, float]:
    """Return what a candidate's key cannot be below."""
    busy = _bound(search, number)
    waiting = barrier(search.constants, search.system.chip.chips_for(number))
    return max(busy, waiting), busy, 0.0


def _tried(search: Search, number: int) -> Candidate:
    """Partition for a number of cores, place, and evaluate; infinitely slow if it does not fit."""
    work, filling, bound = search.work, search.filling, _bound(search, number)
    found: list[Loads | None] = []
    if is_small(work, number):
        found = [partition(work, line, number, bound) for line in search.lines]
    elif number > filling.cores:
        # Large networks fill their memory: start from lists that are about right.
        fullest = measure(work, filling.core_of)
        lists = np.ceil(fullest.lists * number / filling.cores).astype(np.int64)
        found = [partition(work, search.lines[0], number, bound, lists)]
    candidates = [_placed(search, loads) for loads in found if loads is not None]
    if not candidates and number == filling.cores:
        candidates = [_placed(search, measure(work, filling.core_of))]
    return min(candidates, key=lambda one: one.key, default=NOTHING)


def _placed(search: Search, loads: Loads) -> Candidate:
    """Place a partition and evaluate it."""
    work, constants = search.work, search.constants
    stage = np.bincount(loads.core_of, np.arange(work.neurons)) / np.bincount(loads.core_of)
    placed = place(work, loads, stage, search.system, search.seed)
    link = float(placed.links.max(initial=0))
    busy = max(link, *(float(times.max()) for times in loads.core_times(constants).values()))
    timestep = max(busy, barrier(constants, placed.chips))
    return Candidate((timestep, busy, link), placed.physical[loads.core_of])
