"""A picture of a mapping: the grid of cores by memory and by time, with the heaviest links."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.placement import Link
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.reports.picture import drawn, plain

LINKS = 12
#: Chips drawn at most; the others of a larger system are left out, and said.
LARGEST_PICTURE = 64
#: Cores of a router lie in a square of this many cells a side, with a gap around it.
GAP = 0.35
#: Side of a cell.
CELL = 0.92


def draw_mapping(evaluation: MappingEvaluation, path: Path) -> None:
    """Draw a mapping into a file, PNG or SVG by its suffix.

    Left: words of each core as a fraction of its total, right: its longest work as a fraction of
    the timestep. A router's cores lie together, chips are framed; arrows are the heaviest links,
    as wide as they are loaded.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    system = evaluation.system
    chips, (width, height), side = extent(evaluation)
    panels = (
        ("memory: total words of a core", evaluation.fractions[:, Resource.TOTAL]),
        ("time: longest work of a core / timestep", busy(evaluation)),
    )
    scale = min(0.3, 7.0 / max(width, height))
    size = (max(5, 1.15 * width * scale) * 2, max(3, height * scale) + 1.1)
    with drawn(path, size) as figure:
        figure.suptitle(
            plain(f"{evaluation.work.network.name} on {system.name}: ")
            + f"{evaluation.loads.cores:,} cores, timestep {evaluation.timestep() / 1000:,.2f} µs"
            + ("" if evaluation.chips <= LARGEST_PICTURE else f"; first {LARGEST_PICTURE} chips"),
            fontsize=10,
        )
        for index, (title, values) in enumerate(panels):
            axes = figure.add_subplot(1, 2, index + 1)
            scale_to_most = Normalize(0, float(values.max()) or 1.0)
            _draw_cores(axes, evaluation, chips, scale_to_most(values), side)
            _draw_links(axes, evaluation.heaviest_links(LINKS), side)
            axes.set_title(title, fontsize=9)
            axes.set_xlim(-GAP, width + GAP)
            axes.set_ylim(height + GAP, -GAP)
            axes.set_aspect("equal")
            axes.axis("off")
            colours = ScalarMappable(scale_to_most, colormaps["viridis"])
            figure.colorbar(colours, ax=axes, fraction=0.025, pad=0.02, format=PercentFormatter(1))


def busy(evaluation: MappingEvaluation) -> np.ndarray:
    """Return the longest work of each core in use, as a fraction of the timestep."""
    times = np.stack(list(evaluation.core_times().values())).max(axis=0)
    return times / evaluation.timestep()


def extent(evaluation: MappingEvaluation) -> tuple[np.ndarray, tuple[float, float], float]:
    """Return the chips that are drawn, width and height of them all, and the side of a router."""
    system = evaluation.system
    columns = int(system.chip_columns.value)
    chips = np.unique(evaluation.physical // int(system.chip.cores.value))[:LARGEST_PICTURE]
    side = math.ceil(math.sqrt(system.chip.cores_per_router.value)) + GAP
    width = (int((chips % columns).max()) + 1) * system.chip.router_columns.value * side
    height = (int((chips // columns).max()) + 1) * system.chip.router_rows.value * side
    return chips, (width, height), side


def places(system: System, chips: Iterable[int], side: float) -> Iterator[tuple[int, float, float]]:
    """Yield each core of some chips: its number in the system, and where it is drawn."""
    chip = system.chip
    per_chip, per_router = int(chip.cores.value), int(chip.cores_per_router.value)
    across, down = int(chip.router_columns.value), int(chip.router_rows.value)
    row = math.ceil(math.sqrt(per_router))
    for number in map(int, chips):
        chip_y, chip_x = divmod(number, int(system.chip_columns.value))
        for core in range(per_chip):
            router, place = divmod(core, per_router)
            y, x = divmod(router, across)
            yield (
                number * per_chip + core,
                (chip_x * across + x) * side + place % row,
                (chip_y * down + y) * side + place // row,
            )


def _draw_cores(
    axes: Axes, evaluation: MappingEvaluation, chips: np.ndarray, values: np.ndarray, side: float
) -> None:
    """Draw all cores of some chips; those without neurons stay grey."""
    system, chip = evaluation.system, evaluation.system.chip
    across, down = int(chip.router_columns.value), int(chip.router_rows.value)
    for number in chips:
        chip_y, chip_x = divmod(int(number), int(system.chip_columns.value))
        corner = (chip_x * across * side - GAP / 2, chip_y * down * side - GAP / 2)
        axes.add_patch(
            Rectangle(corner, across * side, down * side, fill=False, edgecolor="#888888", lw=0.6)
        )
    load = dict(zip(evaluation.physical.tolist(), values.tolist(), strict=True))
    patches, colours = [], []
    for core, x, y in places(system, chips, side):
        patches.append(Rectangle((x, y), CELL, CELL))
        core_load = load.get(core)
        colours.append("#e8e8e8" if core_load is None else colormaps["viridis"](core_load))
    axes.add_collection(PatchCollection(patches, facecolors=colours, edgecolors="none"))


def _draw_links(axes: Axes, links: list[Link], side: float) -> None:
    for link in links:
        ends = [
            ((x + 0.5) * side - GAP / 2, (y + 0.5) * side - GAP / 2)
            for x, y in (link.start, link.end)
        ]
        axes.add_patch(
            FancyArrowPatch(
                *ends,
                arrowstyle="-|>",
                mutation_scale=5,
                linewidth=0.4 + 2.0 * link.nanoseconds / links[0].nanoseconds,
                color="#d62728" if link.between_chips else "#ff7f0e",
                alpha=0.85,
                shrinkA=0,
                shrinkB=0,
            )
        )
