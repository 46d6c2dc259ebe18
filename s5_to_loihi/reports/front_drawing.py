"""Pictures of a sweep: all points over two metrics of the front, one for print, one to explore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_hex
from matplotlib.ticker import LogLocator, MaxNLocator

from s5_to_loihi.files.writing import replacing
from s5_to_loihi.reports import sweep_tables
from s5_to_loihi.reports.html.page import Page, Point, Scatter, Section, Tick, rendered
from s5_to_loihi.reports.numbers import shown
from s5_to_loihi.reports.picture import drawn, plain
from s5_to_loihi.reports.sweep_tables import number, setting, unit
from s5_to_loihi.sweeping.metrics import METRICS, Better
from s5_to_loihi.sweeping.results import has_all

MARKERS = "osD^vP*X<>"
#: From this ratio of the largest to the smallest value on, an axis is logarithmic.
WIDE = 10.0


class View(NamedTuple):
    """What a picture shows: points, and the metrics across, upwards, and if any as colour."""

    points: list[dict]
    across: str
    up: str
    colour: str | None


def draw_front(results: dict, varied: Sequence[str], path: Path) -> None:
    """Draw all points into a file, .png or .svg by its suffix.

    The first metric of the front runs to the right, the second upwards, the third is the colour;
    lines are the ranges of the model. Points on the front are large and framed.

    Args:
        results: see ``sweeping.results.assembled``.
        varied: settings that tell points apart; one of few values is told by markers.
        path: the picture, replaced as a whole.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    view = view_of(results)
    points, across, up, _ = view
    kind = marker_setting(results, varied)
    shades = shades_of(view)
    style = {"font.size": 9}
    with drawn(path, (7.5, 4.6), dpi=120, layout="constrained", style=style) as figure:
        axes = figure.add_subplot()
        for marker, one in zip(MARKERS, results["axes"][kind] if kind else [None], strict=False):
            same = [point for point in points if kind is None or point["settings"][kind] == one]
            _scatter(axes, view._replace(points=same), marker, shades)
            if kind:
                axes.scatter([], [], c="grey", marker=marker, label=plain(setting(one)))
        for point in filter(on_front, points):
            low, high = (point["metrics"][across][end] for end in ("low", "high"))
            axes.plot([low, high], [value(point, up)] * 2, color="grey", linewidth=0.6, zorder=1)
        for name, scale in ((across, axes.set_xscale), (up, axes.set_yscale)):
            if is_wide(points, name):
                scale("log")
        axes.set_xlabel(axis_title(across, points))
        axes.set_ylabel(axis_title(up, points))
        if shades is not None and view.colour is not None:
            figure.colorbar(shades, ax=axes, label=axis_title(view.colour, points))
        if kind:
            axes.legend(title=kind, fontsize=8)
        axes.set_title(
            f"{plain(results['name'])}: {len(points)} points; framed: on the front", fontsize=9
        )
        axes.grid(alpha=0.25)


def _scatter(axes: Axes, view: View, marker: str, shades: ScalarMappable | None) -> None:
    """Draw points of one marker, those on the front above the others."""
    for filled in (False, True):
        chosen = [point for point in view.points if point["on_front"] is filled]
        if not chosen:
            continue
        colours: dict = {"c": "#1f77b4"}
        if shades is not None and view.colour is not None:
            values = [value(point, view.colour) for point in chosen]
            colours = {"c": values, "cmap": shades.cmap, "norm": shades.norm}
        axes.scatter(
            [value(point, view.across) for point in chosen],
            [value(point, view.up) for point in chosen],
            marker=marker,
            s=70 if filled else 26,
            edgecolors="black" if filled else "none",
            alpha=1.0 if filled else 0.55,
            zorder=3 if filled else 2,
            **colours,
        )


def write_page(results: dict, varied: Sequence[str], path: Path) -> None:
    """Write one self-contained HTML page with the same picture; pointing at a point tells it all.

    Raises:
        InputError: the file cannot be written.
    """
    view = view_of(results)
    across, up = (_Axis.of(view.points, name) for name in (view.across, view.up))
    shades = shades_of(view)
    ramp = None
    if shades is not None and view.colour is not None:
        low, high = (shown(end) for end in shades.get_clim())
        colours = tuple(to_hex(shades.cmap(step)) for step in np.linspace(0, 1, 9))
        ramp = (colours, low, high, axis_title(view.colour, view.points))

    def colour(point: dict) -> str:
        if shades is None or view.colour is None:
            return "#3b8be0"
        return to_hex(shades.cmap(float(shades.norm(value(point, view.colour)))))

    points = view.points
    drawn_points = tuple(
        Point(
            across.place(value(point, view.across)),
            100 - up.place(value(point, view.up)),
            colour(point),
            on_front(point),
            _description(point, varied),
        )
        for point in points
    )
    titles = axis_title(view.across, points), axis_title(view.up, points)
    chart = Scatter(
        f"{METRICS[view.up].title} over {METRICS[view.across].title}",
        "Framed: on the front, where no other point is better in one metric and as good in the"
        " rest. Point at one to see its settings; the table has every number.",
        f"{len(points)} points, {titles[1]} over {titles[0]}; the table has them all.",
        drawn_points,
        across.ticks,
        tuple(Tick(100 - tick.at, tick.text) for tick in up.ticks),
        titles,
        ramp,
    )
    tables = (sweep_tables.point_table(results, varied),)
    failed = sweep_tables.failure_table(results, varied)
    page = Page(
        title=results["name"],
        about="A sweep of s5_to_loihi: every combination of settings, and the best compromises",
        answer=f"{sum(map(on_front, points)):,} of {len(points):,} settings are unbeaten.",
        verdict=" ".join(
            f"{what[:1].upper()}{what[1:]}: {best}."
            for what, best in sweep_tables.facts(results, varied)
        ),
        doubt="Times and energies are modelled; results.json has their ranges.",
        sections=(
            Section("front", "Compromises", (chart,)),
            Section("points", "All points", (*tables, *([failed] if failed else []))),
        ),
    )
    with replacing(path) as temporary:
        temporary.write_text(rendered(page), "utf-8")


class _Axis(NamedTuple):
    """An axis around all points: where a value lies, in percent, and numbers on it."""

    low: float
    high: float
    wide: bool
    ticks: tuple[Tick, ...]

    @classmethod
    def of(cls, points: Sequence[dict], name: str) -> _Axis:
        """Return the axis of a metric, with some room around the points."""
        wide = is_wide(points, name)
        values = [math.log(value(point, name)) if wide else value(point, name) for point in points]
        room = 0.07 * (max(values) - min(values)) or 0.5
        axis = cls(min(values) - room, max(values) + room, wide, ())
        ends = [math.exp(end) if wide else end for end in axis[:2]]
        places = LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5)
        inside = [one for one in places.tick_values(*ends) if ends[0] <= one <= ends[1]]
        return axis._replace(ticks=tuple(Tick(axis.place(one), shown(one)) for one in inside))

    def place(self, of: float) -> float:
        """Return percent of the length."""
        return 100 * ((math.log(of) if self.wide else of) - self.low) / (self.high - self.low)


def view_of(results: dict) -> View:
    """Return what to draw: points that have all metrics that are drawn."""
    across, up, *colour = plotted(results)
    return View(complete(results, (across, up, *colour)), across, up, next(iter(colour), None))


def shades_of(view: View) -> ScalarMappable | None:
    """Return the scale of colours; None if no metric is told by them."""
    if view.colour is None:
        return None
    values = [value(point, view.colour) for point in view.points]
    scale = LogNorm if is_wide(view.points, view.colour) else Normalize
    return ScalarMappable(scale(min(values), max(values)), "viridis")


def plotted(results: dict) -> tuple[str, ...]:
    """Return two or three metrics of the front; one alone is drawn over the cores in use."""
    names = tuple(entry["metric"] for entry in results["front"])[:3]
    return names if len(names) > 1 else (*names, "cores" if names[0] != "cores" else "synapses")


def complete(results: dict, names: Sequence[str]) -> list[dict]:
    """Return the points that have all these metrics, those on the front last."""
    points = [point for point in results["points"] if has_all(point, names)]
    return sorted(points, key=on_front)


def marker_setting(results: dict, varied: Sequence[str]) -> str | None:
    """Return the setting to tell by markers: the last of those with the fewest values."""
    few = [name for name in reversed(varied) if len(results["axes"][name]) <= len(MARKERS)]
    return min(few, key=lambda name: len(results["axes"][name]), default=None)


def axis_title(name: str, points: Sequence[dict]) -> str:
    """Return a metric with its unit, its scope and which way is better."""
    metric = METRICS[name]
    scopes = sorted({point["metrics"][name]["scope"] for point in points})
    scope = f" ({scopes[0]})" if len(scopes) == 1 and name.startswith("energy") else ""
    arrow = "higher" if metric.better is Better.HIGHER else "lower"
    return f"{metric.title}{scope}, {unit(name)}, {arrow} is better"


def is_wide(points: Sequence[dict], name: str) -> bool:
    """Tell whether values span so much that only logarithms show all of them."""
    values = [value(point, name) for point in points]
    return bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


def value(point: dict, name: str) -> float:
    """Return a metric's nominal value."""
    return point["metrics"][name]["value"]


def on_front(point: dict) -> bool:
    """Tell whether a point is on the front."""
    return point["on_front"]


def _description(point: dict, varied: Sequence[str]) -> str:
    lines = [f"{name}: {setting(point['settings'][name])}" for name in varied]
    lines += [
        f"{METRICS[name].title}: {number(point, name)} {unit(name)}"
        for name in METRICS
        if name in point["metrics"]
    ]
    return "\n".join(lines)
