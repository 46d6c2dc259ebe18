"""Pictures of a sweep: all points over two metrics of the front, one for print, one to explore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from s5_to_loihi.files.writing import check_target, replacing
from s5_to_loihi.reports.sweep_tables import number, setting
from s5_to_loihi.sweeping.metrics import METRICS, Better
from s5_to_loihi.sweeping.results import has_all

#: Neither a date nor a version: the same results give the same bytes.
_METADATA = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
MARKERS = "osD^vP*X<>"
#: From this ratio of the largest to the smallest value on, an axis is logarithmic.
WIDE = 10.0


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
    path = Path(path)
    check_target(path, tuple(_METADATA))
    names = plotted(results)
    points = complete(results, names)
    across, up, *third = names
    kind = marker_setting(results, varied)
    with rc_context({"svg.hashsalt": "s5_to_loihi", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = [value(point, third[0]) for point in points] if third else None
        norm = None
        if colours:
            norm = (LogNorm if is_wide(points, third[0]) else Normalize)(min(colours), max(colours))
        shades = None
        for index, shown in enumerate(results["axes"][kind] if kind else [None]):
            for filled in (False, True):
                chosen = [
                    place
                    for place, point in enumerate(points)
                    if point["on_front"] is filled
                    and (kind is None or point["settings"][kind] == shown)
                ]
                if not chosen:
                    continue
                shades = axes.scatter(
                    [value(points[place], across) for place in chosen],
                    [value(points[place], up) for place in chosen],
                    c=[colours[place] for place in chosen] if colours else "#1f77b4",
                    cmap="viridis" if colours else None,
                    marker=MARKERS[index % len(MARKERS)],
                    s=70 if filled else 26,
                    edgecolors="black" if filled else "none",
                    alpha=1.0 if filled else 0.55,
                    zorder=3 if filled else 2,
                    norm=norm,
                )
            if kind:
                axes.scatter(
                    [], [], c="grey", marker=MARKERS[index % len(MARKERS)], label=setting(shown)
                )
        for point in filter(on_front, points):
            low, high = (point["metrics"][across][end] for end in ("low", "high"))
            axes.plot([low, high], [value(point, up)] * 2, color="grey", linewidth=0.6, zorder=1)
        for name, scale in ((across, axes.set_xscale), (up, axes.set_yscale)):
            if is_wide(points, name):
                scale("log")
        axes.set_xlabel(axis_title(across, points))
        axes.set_ylabel(axis_title(up, points))
        if shades is not None and third:
            figure.colorbar(shades, ax=axes, label=axis_title(third[0], points))
        if kind:
            axes.legend(title=kind, fontsize=8)
        axes.set_title(f"{results['name']}: {len(points)} points; framed: on the front", fontsize=9)
        axes.grid(alpha=0.25)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120, metadata=_METADATA[path.suffix.lower()])


def write_page(results: dict, varied: Sequence[str], path: Path) -> None:
    """Write one self-contained HTML page with the same picture; pointing at a point tells it all.

    Raises:
        InputError: the file cannot be written.
    """
    # plotly takes a while to import, which other commands need not wait for.
    from plotly import graph_objects
    from plotly.io import to_html

    names = plotted(results)
    points = complete(results, names)
    across, up, *third = names
    figure = graph_objects.Figure()
    for filled in (False, True):
        chosen = [point for point in points if point["on_front"] is filled]
        bars = [
            [abs(point["metrics"][across][end] - value(point, across)) for point in chosen]
            for end in ("high", "low")
        ]
        marker = {"size": 13 if filled else 8, "line": {"width": 1.5 if filled else 0}}
        if third:
            marker |= {
                "color": [value(point, third[0]) for point in chosen],
                "coloraxis": "coloraxis",
            }
        figure.add_trace(
            graph_objects.Scatter(
                x=[value(point, across) for point in chosen],
                y=[value(point, up) for point in chosen],
                mode="markers",
                name="on the front" if filled else "others",
                marker=marker,
                error_x={"type": "data", "array": bars[0], "arrayminus": bars[1], "thickness": 0.7},
                text=[_description(point, varied) for point in chosen],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_layout(
        title={"text": f"{escaped(results['name'])}: {len(points)} points"},
        xaxis={"title": {"text": axis_title(across, points)}},
        yaxis={"title": {"text": axis_title(up, points)}},
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )
    if third:
        title = {"text": axis_title(third[0], points)}
        figure.update_layout(coloraxis={"colorscale": "Viridis", "colorbar": {"title": title}})
    for name, update in ((across, figure.update_xaxes), (up, figure.update_yaxes)):
        if is_wide(points, name):
            update(type="log")
    with replacing(path) as temporary:
        temporary.write_text(to_html(figure, include_plotlyjs=True, div_id="front"), "utf-8")


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
    return f"{metric.title}{scope}, {metric.unit}, {arrow} is better"


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
    lines = [f"{name}: {escaped(setting(point['settings'][name]))}" for name in varied]
    lines += [
        f"{METRICS[name].title}: {number(point, name)} {METRICS[name].unit}"
        for name in METRICS
        if name in point["metrics"]
    ]
    return "<br>".join(lines)


def escaped(text: str) -> str:
    """Return a text that plotly shows as it is: it takes some tags for formatting."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
