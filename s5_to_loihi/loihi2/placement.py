"""Which logical core on which physical core, and what the network on chip then carries.

Messages travel along x and then along y (arXiv 2601.10035), one for each destination core. All
chips' routers form one grid; the links that cross one side of a chip share its bandwidth. To
another chip goes one message, to a router of the side where it enters; there it is copied for the
cores of that chip (an assumption). Which router of the side is fixed for each sending core, so
that all are used. Tokens that come in from outside are counted where they arrive, not on the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import Loads, parts_of
from s5_to_loihi.loihi2.timing import Timing, timing
from s5_to_loihi.loihi2.workload import Workload

#: Exchanges tried for each core, and link updates in all, whichever is less.
EXCHANGES, LARGEST_WORK = 400, 60_000_000
#: Directions of links, in the order of their numbers.
DIRECTIONS = ("east", "west", "south", "north")


class Grid(NamedTuple):
    """The links between routers, of all chips.

    Attributes:
        columns: routers in a row, over all chips.
        first_of_direction: (4,) number of the first link of each of ``DIRECTIONS``; the link of
            router r has r more.
        resource: (links,) what the link shares its bandwidth with.
        nanoseconds: (links,) of a message.
    """

    columns: int
    first_of_direction: np.ndarray
    resource: np.ndarray
    nanoseconds: np.ndarray


class Link(NamedTuple):
    """A loaded link between two routers, or two chips: ends as (column, row) of routers."""

    start: tuple[int, int]
    end: tuple[int, int]
    nanoseconds: float
    between_chips: bool


class PlacedCores(NamedTuple):
    """Where logical cores lie.

    Attributes:
        physical: (logical cores,) physical core: chip * cores of a chip + core on it.
        chips: used.
        links: nanoseconds of every link resource, see ``Grid``.
    """

    physical: np.ndarray
    chips: int
    links: np.ndarray


def grid_of(system: System, constants: Timing) -> Grid:
    """Return the links of a system."""
    chip = system.chip
    width, height = chip.routers
    columns, rows = width * int(system.chip_columns.value), height * int(system.chip_rows.value)
    routers = np.arange(columns * rows)
    x, y = routers % columns, routers // columns
    crossing = np.stack(
        [x % width == width - 1, x % width == 0, y % height == height - 1, y % height == 0]
    )
    # A side of a chip: its first link stands for all.
    first = np.stack(
        [(y // height) * height * columns + x] * 2 + [y * columns + (x // width) * width] * 2
    )
    numbers = np.arange(4)[:, None] * len(routers) + routers
    shared = np.arange(4)[:, None] * len(routers) + first
    return Grid(
        columns=columns,
        first_of_direction=np.arange(4) * len(routers),
        resource=np.where(crossing, shared, numbers).ravel(),
        nanoseconds=np.where(crossing, constants.chip_message, constants.message).ravel(),
    )


def router_of(physical: np.ndarray, system: System) -> np.ndarray:
    """Return the router that physical cores are at, numbered row by row over all chips."""
    chip = system.chip
    chips, cores = np.divmod(physical, int(chip.cores.value))
    width, height = chip.routers
    chip_y, chip_x = np.divmod(chips, int(system.chip_columns.value))
    y, x = np.divmod(cores // int(chip.cores_per_router.value), width)
    columns = width * int(system.chip_columns.value)
    return (chip_y * height + y) * columns + chip_x * width + x


def linear(cores: int, system: System) -> np.ndarray:
    """Return the first physical cores, chip after chip: usable ones only."""
    chips, core = np.divmod(np.arange(cores), int(system.chip.usable_cores.value))
    return chips * int(system.chip.cores.value) + core


class Flows(NamedTuple):
    """What the links have to carry: messages a timestep between points.

    Attributes:
        start, end: points: logical cores, then the ways into other chips.
        messages: a timestep.
        routers: (ways in,) where the points after the cores are.
    """

    start: np.ndarray
    end: np.ndarray
    messages: np.ndarray
    routers: np.ndarray


class Traffic(NamedTuple):
    """Messages a timestep from cores to something, with equal ends together or not.

    Attributes:
        start: logical cores.
        end: logical cores, or chips.
        messages: a timestep.
    """

    start: np.ndarray
    end: np.ndarray
    messages: np.ndarray


def flows_between(work: Workload, loads: Loads, chip_of_core: np.ndarray, system: System) -> Flows:
    """Return what goes between cores, given their chips."""
    between = Traffic(loads.flow_from, loads.flow_to, loads.flow)
    nothing = np.zeros(0, dtype=np.int64)
    leaving = Traffic(nothing, nothing, np.zeros(0))
    if (chip_of_core[between.start] != chip_of_core[between.end]).any():
        order, first_of_part, core_of_part = parts_of(work, loads.core_of, chip_of_core)
        copies = kernels.leave_chips(
            order, first_of_part, chip_of_core[core_of_part],
            work.arrays, work.sender_core(loads.core_of), chip_of_core, chip_of_core.max() + 1,
        )  # fmt: skip
        cores, to_chips = np.nonzero(copies)
        leaving = Traffic(cores, to_chips, copies[cores, to_chips])
    return routed(between, leaving, loads, chip_of_core, system)


def routed(
    between: Traffic, leaving: Traffic, loads: Loads, chip_of_core: np.ndarray, system: System
) -> Flows:
    """Return what links have to carry.

    Args:
        between: cores.
        leaving: from cores to other chips, one copy a chip.
        loads: of the partition.
        chip_of_core: (cores,).
        system: that the chips are of.
    """
    start, end, messages = between
    stays = chip_of_core[start] == chip_of_core[end]
    moving = stays & (start != end)
    inside = (start[moving], end[moving], messages[moving])
    if stays.all():
        return Flows(*inside, np.zeros(0, dtype=np.int64))
    chips = int(chip_of_core.max()) + 1
    lanes = max(system.chip.routers)
    # By the first neuron of a core, which numbering the cores in another way does not change.
    _, first = np.unique(loads.core_of, return_index=True)

    def way(senders: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (chip_of_core[senders] * chips + targets) * lanes + first[senders] % lanes

    ways, way_out = np.unique(way(leaving.start, leaving.end), return_inverse=True)
    way_in = np.searchsorted(ways, way(start[~stays], chip_of_core[end[~stays]]))
    entering = csr_matrix(
        (messages[~stays], (way_in, end[~stays])), shape=(len(ways), loads.cores)
    ).tocoo()
    return Flows(
        np.concatenate([inside[0], leaving.start, loads.cores + entering.row]),
        np.concatenate([inside[1], loads.cores + way_out, entering.col]),
        np.concatenate([inside[2], leaving.messages, entering.data]),
        _router_in(ways, chips, lanes, system),
    )


def _router_in(ways: np.ndarray, chips: int, lanes: int, system: System) -> np.ndarray:
    """Return the router where messages from one chip enter another, for each way."""
    width, height = system.chip.routers
    columns = int(system.chip_columns.value)
    pairs, lane = np.divmod(ways, lanes)
    from_chip, to_chip = np.divmod(pairs, chips)
    from_y, from_x = np.divmod(from_chip, columns)
    to_y, to_x = np.divmod(to_chip, columns)
    beside = from_y == to_y
    x = np.where(beside, np.where(from_x < to_x, 0, width - 1), lane % width)
    y = np.where(beside, lane % height, np.where(from_y < to_y, 0, height - 1))
    return (to_y * height + y) * columns * width + to_x * width + x


def link_loads(flows: Flows, physical: np.ndarray, system: System, constants: Timing) -> np.ndarray:
    """Return the nanoseconds a timestep of every link resource, see ``Grid``."""
    grid = grid_of(system, constants)
    links = np.zeros(len(grid.resource))
    routers = np.concatenate([router_of(physical, system), flows.routers])
    kernels.load_links(routers, flows, grid, links)
    return links


def place(
    work: Workload, loads: Loads, stage: np.ndarray, system: System, seed: int
) -> PlacedCores:
    """Place logical cores so that no link carries much.

    Starts from the cores in the order of their place in the pipeline, chips and the routers of a
    chip in a snake, and exchanges cores of a chip by simulated annealing on the sum of squared
    link loads.

    Args:
        work: what is placed.
        loads: of the partition.
        stage: (logical cores,) mean place of a core's neurons in the network, to start from.
        system: to place on.
        seed: of the annealing.
    """
    chip, constants = system.chip, timing(system.chip)
    usable = int(chip.usable_cores.value)
    chips = chip.chips_for(loads.cores)
    slots = _snake(chips, system)
    # As many cores on each chip, one chip after another along the pipeline; the rest is empty.
    along = np.argsort(stage, kind="stable")
    slot_of = np.empty(len(slots), dtype=np.int64)
    taken = np.concatenate(
        [
            number * usable + np.arange(len(cores))
            for number, cores in enumerate(np.array_split(along, chips))
        ]
    )
    slot_of[along] = taken
    slot_of[loads.cores :] = np.setdiff1d(np.arange(len(slots)), taken)
    chip_of_core = slots[slot_of[: loads.cores]] // int(chip.cores.value)
    flows = flows_between(work, loads, chip_of_core, system)
    if len(flows.messages):
        _anneal(slot_of, slots, flows, loads.cores, system, seed)
    physical = slots[slot_of[: loads.cores]]
    return PlacedCores(physical, chips, link_loads(flows, physical, system, constants))


def _anneal(
    slot_of: np.ndarray,
    slots: np.ndarray,
    flows: Flows,
    cores: int,
    system: System,
    seed: int,
) -> None:
    """Improve ``slot_of`` in place."""
    # Points as the kernel counts them: cores with neurons, empty cores, ways into chips.
    empty = len(slots) - cores
    ends = [np.where(points < cores, points, points + empty) for points in flows[:2]]
    both = np.concatenate(ends)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(both, minlength=len(slots)))])
    neighbours = (
        pointers[: len(slots) + 1],
        np.argsort(both, kind="stable") % len(flows.messages),
    )
    all_slots = np.concatenate([slot_of, len(slots) + np.arange(len(flows.routers))])
    # Four passes over the flows of two cores, along paths of a few links.
    work_of_step = 8 * len(flows.messages) / len(slots) * 6
    kernels.anneal(
        all_slots,
        np.concatenate([router_of(slots, system), flows.routers]),
        flows._replace(start=ends[0], end=ends[1]),
        neighbours,
        grid_of(system, timing(system.chip)),
        int(min(EXCHANGES * len(slots), LARGEST_WORK / max(1.0, work_of_step))),
        int(system.chip.usable_cores.value),
        seed,
    )
    slot_of[:] = all_slots[: len(slots)]


def _snake(chips: int, system: System) -> np.ndarray:
    """Return the usable physical cores of so many chips, neighbours side by side."""
    chip = system.chip
    columns, (width, _) = int(system.chip_columns.value), chip.routers
    numbers = np.arange(int(system.chips.value))
    y, x = np.divmod(numbers, columns)
    snake = np.lexsort((np.where(y % 2 == 0, x, columns - 1 - x), y))[:chips]
    cores = np.arange(int(chip.usable_cores.value))
    y, x = np.divmod(cores // int(chip.cores_per_router.value), width)
    along = np.lexsort((np.where(y % 2 == 0, x, width - 1 - x), y))
    return np.concatenate([number * int(chip.cores.value) + cores[along] for number in snake])


def heaviest(links: np.ndarray, system: System, constants: Timing, count: int) -> list[Link]:
    """Return the most loaded links, those without load left out."""
    grid = grid_of(system, constants)
    routers = len(grid.resource) // 4
    found = []
    for number in np.argsort(-links, kind="stable")[:count]:
        if links[number] <= 0:
            break
        direction, router = divmod(int(number), routers)
        y, x = divmod(router, grid.columns)
        dx, dy = ((1, 0), (-1, 0), (0, 1), (0, -1))[direction]
        between = grid.nanoseconds[number] != constants.message
        found.append(Link((x, y), (x + dx, y + dy), float(links[number]), bool(between)))
    return found
