"""A drawing of a network: one row a block, boxes for groups, arrows for synapses."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from s5_to_loihi.network.network import INPUT, Network, Synapses, is_identity
from s5_to_loihi.reports.picture import METADATA, drawn, plain

Point = tuple[float, float]
WIDTH, HEIGHT = 2.3, 0.95
STEP_X, STEP_Y = 3.7, 2.3


def draw_network(network: Network, path: Path) -> None:
    """Draw a network into a file, SVG, PNG or PDF by its suffix.

    The same network gives the same bytes.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    positions = _positions(network)
    columns = max(x for x, _ in positions.values()) + WIDTH
    rows = -min(y for _, y in positions.values()) + HEIGHT
    size = (0.78 * (columns + 0.6), 0.78 * (rows + 1.1))
    with drawn(path, size, suffixes=tuple(METADATA)) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-0.3, columns + 0.3)
        axes.set_ylim(-rows - 0.2, 0.9)
        axes.set_aspect("equal")
        axes.axis("off")
        _draw_title(axes, network)
        for synapses in network.synapses:
            _draw_synapses(axes, positions, synapses)
        for name, position in positions.items():
            _draw_group(axes, network, name, position)


def _positions(network: Network) -> dict[str, Point]:
    """Place input and encoder, each block, and what follows it, in a row of its own."""
    positions: dict[str, Point] = {INPUT: (0.0, 0.0)}
    column, row, prefix = 1, 0, ""
    for group in network.groups:
        block = group.name.partition(".")[0]
        if block != prefix and (group.name != block or prefix.startswith("block")):
            column, row = 0, row + 1
        prefix = block if group.name != block else ""
        positions[group.name] = (column * STEP_X, -row * STEP_Y)
        column += 1
    return positions


def _draw_title(axes: Axes, network: Network) -> None:
    latency = "" if network.latency is None else f", latency {network.latency} timesteps"
    axes.text(
        0,
        0.8,
        f"{plain(network.name)}: {len(network.groups)} neuron groups,"
        f" {network.synapse_count:,} synapses{latency}",
        fontsize=11,
        weight="bold",
        va="top",
    )


def _draw_group(axes: Axes, network: Network, name: str, position: Point) -> None:
    x, y = position
    if name == INPUT:
        colour, title, size = "#f0f0f0", "tokens", network.input_size
        detail = str(network.input_format)
    else:
        group = network.group(name)
        colour, title, size = group.kind.colour, group.kind.title, group.size
        detail = f"phase {group.phase}"
    axes.add_patch(
        FancyBboxPatch(
            (x, y - HEIGHT),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0.02,rounding_size=0.08",
            facecolor=colour,
            edgecolor="#444444",
            linewidth=0.8,
            zorder=3,
        )
    )
    for down, text, font in (
        (0.22, name, {"fontsize": 8, "weight": "bold"}),
        (0.5, title, {"fontsize": 5.5}),
        (0.76, f"{size} neurons · {detail}", {"fontsize": 5.5}),
    ):
        axes.text(x + WIDTH / 2, y - down, text, ha="center", va="center", zorder=4, **font)


def _draw_synapses(axes: Axes, positions: dict[str, Point], synapses: Synapses) -> None:
    (x0, y0), (x1, y1) = positions[synapses.source.group], positions[synapses.target.group]
    identity = is_identity(synapses.weights)
    label = synapses.name.rpartition(".")[2]
    label = label if identity else f"{label} {synapses.weights.nnz:,} · {synapses.density:.0%}"
    label += f" · delay {synapses.delay}" if synapses.delay else ""
    neighbours = y0 == y1 and x1 - x0 < 1.5 * STEP_X
    ports = {"bu_im": -1, "c_im": -1, "value": -1, "bu_re": 1, "c_re": 1, "gate": 1}
    offset = 0.16 * ports.get(synapses.target.name, 0)
    if neighbours:
        start = (x0 + WIDTH + 0.02, y0 - HEIGHT / 2 + offset)
        end = (x1 - 0.04, y1 - HEIGHT / 2 + offset)
        text = ((start[0] + end[0]) / 2, start[1] + (0.1 if offset >= 0 else -0.1))
        bend = 0.0
    elif y0 == y1:
        start = (x0 + WIDTH * 0.7, y0 + 0.04)
        end = (x1 + WIDTH * 0.3, y1 + 0.06)
        text = ((start[0] + end[0]) / 2, y0 + 0.17 * (x1 - x0) / STEP_X + 0.1)
        bend = -0.18
    else:
        start = (x0 + WIDTH * 0.5, y0 - HEIGHT - 0.04)
        end = (x1 + WIDTH * (0.5 if x1 == 0 else 0.35), y1 + 0.06)
        text = (start[0] + 0.3 * (end[0] - start[0]), start[1] + 0.3 * (end[1] - start[1]) + 0.08)
        bend = 0.0
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=7,
            linewidth=0.7 if identity else 1.1,
            linestyle="--" if identity else "-",
            color="#888888" if identity else "#333333",
            connectionstyle=f"arc3,rad={bend}",
            zorder=1,
        )
    )
    axes.text(
        *text,
        label,
        fontsize=5,
        ha="center",
        va="center",
        zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
    )
