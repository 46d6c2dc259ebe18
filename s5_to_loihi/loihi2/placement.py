"""Which logical core on which physical core, and what the network on chip then carries.

Messages travel along x and then along y (arXiv 2601.10035), one for each destination core. All
chips' routers form one grid; the links that cross one side of a chip share its bandwidth. Tokens
that come in from outside are counted where they arrive, not on the way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import Loads
from s5_to_loihi.loihi2.timing import Timing

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


class Placement(NamedTuple):
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
    width, height = int(chip.router_columns.value), int(chip.router_rows.value)
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
    width, height = int(chip.router_columns.value), int(chip.router_rows.value)
    chip_y, chip_x = np.divmod(chips, int(system.chip_columns.value))
    y, x = np.divmod(cores // int(chip.cores_per_router.value), width)
    columns = width * int(system.chip_columns.value)
    return (chip_y * height + y) * columns + chip_x * width + x


def linear(cores: int, system: System) -> np.ndarray:
    """Return the first physical cores, chip after chip: usable ones only."""
    chips, core = np.divmod(np.arange(cores), int(system.chip.usable_cores.value))
    return chips * int(system.chip.cores.value) + core


def link_loads(physical: np.ndarray, loads: Loads, system: System, constants: Timing) -> np.ndarray:
    """Return the nanoseconds a timestep of every link resource."""
    grid = grid_of(system, constants)
    links = np.zeros(len(grid.resource))
    routers = router_of(physical, system)
    kernels.load_links(routers, (loads.flow_from, loads.flow_to, loads.flow), tuple(grid), links)
    return links


def place(
    loads: Loads, stage: np.ndarray, system: System, constants: Timing, seed: int
) -> Placement:
    """Place logical cores so that no link carries much.

    Starts from the cores in the order of their place in the pipeline, chips and the routers of a
    chip in a snake, and exchanges cores by simulated annealing on the sum of squared link loads.

    Args:
        loads: of the partition.
        stage: (logical cores,) mean place of a core's neurons in the network, to start from.
        system: to place on.
        constants: of the runtime model.
        seed: of the annealing.
    """
    chip = system.chip
    usable = int(chip.usable_cores.value)
    chips = math.ceil(loads.cores / usable)
    slots = _snake(chips, system)
    routers = router_of(slots, system)
    slot_of = np.empty(len(slots), dtype=np.int64)
    # Spread what there is evenly over the chips: cores without neurons fill the gaps.
    spread = np.linspace(0, len(slots) - 1, loads.cores).round().astype(np.int64)
    if chips == 1:
        spread = np.arange(loads.cores)
    slot_of[np.argsort(stage, kind="stable")] = spread
    slot_of[loads.cores :] = np.setdiff1d(np.arange(len(slots)), spread)

    moving = loads.flow_from != loads.flow_to
    flows = (loads.flow_from[moving], loads.flow_to[moving], loads.flow[moving])
    ends = np.concatenate([flows[0], flows[1]])
    order = np.argsort(ends, kind="stable")
    pointers = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=len(slots)))])
    neighbours = (pointers, order % max(1, len(flows[0])))
    if len(flows[0]):
        # Four passes over the flows of two cores, along paths of a few links.
        work_of_step = 8 * len(flows[0]) / len(slots) * 6
        steps = int(min(EXCHANGES * len(slots), LARGEST_WORK / max(1.0, work_of_step)))
        kernels.anneal(
            slot_of,
            routers,
            flows,
            neighbours,
            tuple(grid_of(system, constants)),
            steps,
            len(slots) if chips == 1 else usable,
            seed,
        )
    physical = slots[slot_of[: loads.cores]]
    return Placement(physical, chips, link_loads(physical, loads, system, constants))


def _snake(chips: int, system: System) -> np.ndarray:
    """Return the usable physical cores of so many chips, neighbours side by side."""
    chip = system.chip
    columns, width = int(system.chip_columns.value), int(chip.router_columns.value)
    order = []
    for number in range(chips):
        y, x = divmod(number, columns)
        order.append(number if y % 2 == 0 else y * columns + columns - 1 - x)
    if max(order) >= chips:  # the last row is not full: a snake would leave it
        order = list(range(chips))
    cores = np.arange(int(chip.usable_cores.value))
    y, x = np.divmod(cores // int(chip.cores_per_router.value), width)
    along = np.lexsort((y, np.where(y % 2 == 0, x, width - 1 - x), y))
    return np.concatenate([number * int(chip.cores.value) + cores[along] for number in order])


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
