"""Charts of numbers with their ranges, as plotly.js takes them; colours suit light and dark."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.reports.html.page import Chart
from s5_to_loihi.reports.numbers import shown, symbol, with_range

ORIGIN_COLOURS = {
    Origin.MEASURED: "#2fa36b",
    Origin.MODELLED: "#3b8be0",
    Origin.PUBLISHED: "#a66bd4",
}
#: For parts of a whole and lines, in this order.
COLOURS = ("#3b8be0", "#f0a030", "#2fa36b", "#bcc6d1", "#d1495b", "#a66bd4")
ERROR_COLOUR = "#66727f"
#: Points in a line, and columns in a map, at most; more tokens are put together.
MOST_POINTS = 600
#: Characters in a line of a label.
LABEL_WIDTH = 24


def plain(text: str) -> str:
    """Return a text that plotly shows as it is: it takes some tags for formatting."""
    return html.escape(text, quote=False)


def wrapped(text: str) -> str:
    """Return a text for the side of a chart, in lines short enough for a phone."""
    return "<br>".join(map(plain, textwrap.wrap(text, LABEL_WIDTH)))


def _row_height(labels: Iterable[str]) -> int:
    """Return pixels for each row, so that the lines of its label do not run into the next."""
    return max(40, 17 * max(wrapped(label).count("<br>") + 1 for label in labels))


def ranges(name: str, caption: str, rows: Sequence[tuple[str, Quantity]]) -> Chart:
    """Draw numbers of one unit with their ranges, one below the other, on a logarithmic axis."""
    data = []
    legend = {}
    for origin, colour in ORIGIN_COLOURS.items():
        own = [row for row in rows if row[1].origin is origin]
        if own:
            legend[origin.value] = colour
            data.append(_points(origin.value, own, {"size": 10, "color": colour}, 5))
    layout = _layout(_row_height(label for label, _ in rows) * len(rows) + 70)
    layout["xaxis"] |= {
        "type": "log",
        "title": {"text": symbol(rows[0][1].unit)},
        "dtick": 1,
        "exponentformat": "none",
    }
    order = [wrapped(name) for name, _ in reversed(rows)]
    layout["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    said = "; ".join(f"{label}: {with_range(one)} ({one.origin.value})" for label, one in rows)
    return Chart(
        name,
        caption,
        f"Numbers with their ranges. {said}",
        {"data": data, "layout": layout},
        legend,
    )


def _points(name: str, rows: Sequence[tuple[str, Quantity]], marker: dict, width: int) -> dict:
    """Return numbers with their ranges as points with bars of such a width, label beside label."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.value for _, one in rows],
        "y": [wrapped(label) for label, _ in rows],
        "marker": marker,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for _, one in rows],
            "arrayminus": [one.value - one.low for _, one in rows],
            "color": marker["color"],
            "thickness": 2,
            "width": width,
        },
        "text": [plain(with_range(one)) for _, one in rows],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
    }


def stacked(
    name: str, caption: str, rows: Sequence[tuple[str, Mapping[str, float], Quantity]]
) -> Chart:
    """Draw wholes as bars of their parts, with the range of the whole.

    Args:
        name, caption: of the chart.
        rows: label, the parts by name, and the whole.
    """
    labels = [wrapped(name) for name, _, _ in rows]
    parts = list(rows[0][1])
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": labels,
            "x": [of[part] for _, of, _ in rows],
            "marker": {"color": colour},
            "hovertemplate": "%{y}, " + plain(part) + ": %{x:.3~g}<extra></extra>",
        }
        for part, colour in zip(parts, COLOURS, strict=False)
    ]
    wholes = [(label, whole) for label, _, whole in rows]
    bars = {"size": 7, "color": ERROR_COLOUR, "symbol": "line-ns-open"}
    data.append(_points("range of the total", wholes, bars, 6))
    layout = _layout(_row_height(label for label, _, _ in rows) * len(rows) + 70) | {
        "barmode": "stack"
    }
    layout["xaxis"]["title"] = {"text": symbol(rows[0][2].unit)}
    layout["xaxis"]["rangemode"] = "tozero"
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    said = "; ".join(
        f"{label}: {with_range(whole)}, of which "
        + ", ".join(f"{part} {shown(value)}" for part, value in of.items())
        for label, of, whole in rows
    )
    legend = dict(zip(parts, COLOURS, strict=False)) | {"range of the total": ERROR_COLOUR}
    return Chart(name, caption, f"Bars. {said}", {"data": data, "layout": layout}, legend)


def over_time(name: str, caption: str, lines: Mapping[str, np.ndarray], unit: str) -> Chart:
    """Draw what happens at each token, (tokens,) for each line; many tokens are put together."""
    data = []
    for (label, values), colour in zip(lines.items(), COLOURS, strict=False):
        starts, means = binned(values)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": plain(label),
                "x": starts.tolist(),
                "y": np.round(means, 3).tolist(),
                "line": {"color": colour, "width": 1.5},
            }
        )
    layout = _layout(300) | {"hovermode": "x"}
    layout["xaxis"]["title"] = {"text": "token"}
    layout["yaxis"] |= {"title": {"text": unit}, "rangemode": "tozero"}
    said = "; ".join(
        f"{label}: mean {shown(values.mean())}, {shown(values.min())} to {shown(values.max())}"
        for label, values in lines.items()
    )
    legend = dict(zip(lines, COLOURS, strict=False))
    return Chart(
        name, caption, f"Lines over tokens. {said}", {"data": data, "layout": layout}, legend
    )


def over_groups(name: str, caption: str, groups: Sequence[str], shares: np.ndarray) -> Chart:
    """Draw shares in percent of each group at each token as a map: (tokens, groups)."""
    starts, means = binned(shares)
    data = [
        {
            "type": "heatmap",
            "x": starts.tolist(),
            "y": [plain(group) for group in groups],
            "z": np.round(means.T, 1).tolist(),
            "zmin": 0,
            "zmax": 100,
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": "%"}, "thickness": 12},
            "hovertemplate": "%{y}, token %{x}: %{z} %<extra></extra>",
        }
    ]
    layout = _layout(22 * len(groups) + 70)
    layout["xaxis"]["title"] = {"text": "token"}
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    means_of = zip(groups, shares.mean(axis=0), strict=True)
    said = "; ".join(f"{group}: mean {shown(float(mean))} %" for group, mean in means_of)
    return Chart(name, caption, f"A map over tokens. {said}", {"data": data, "layout": layout}, {})


def binned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put tokens together to ``MOST_POINTS`` means at most; returns first tokens and means."""
    width = -(-len(values) // MOST_POINTS)
    starts = np.arange(0, len(values), width)
    counts = np.diff(np.append(starts, len(values)))
    sums = np.add.reduceat(values.astype(float), starts, axis=0)
    return starts, sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def _layout(height: int) -> dict:
    axis = {"automargin": True, "gridcolor": "#d0d7df", "zeroline": False, "fixedrange": False}
    return {
        "height": height,
        "margin": {"l": 10, "r": 16, "t": 8, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 12},
        "showlegend": False,
        "dragmode": False,
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }
