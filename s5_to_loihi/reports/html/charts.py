"""Charts of numbers with their ranges: where everything lies, in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.ticker import MaxNLocator

from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.html.page import Chart, Line, Mark, Shape, Tick, Tip
from s5_to_loihi.reports.numbers import shown, symbol, with_range

#: Points of a curve at most, and parts of it that one can point at; tokens are put together.
MOST_POINTS = 300
MOST_TIPS = 50
#: Numbers on an axis at most, so that they do not touch on a phone.
MOST_TICKS = 5
#: Percent of the width that a number takes on a phone.
TICK_WIDTH = 18
#: Powers of ten are rounded.
EVEN = 1 + 1e-9

#: From a value to percent of the width.
Scale = Callable[[float], float]


def ranges(
    title: str,
    caption: str,
    rows: Sequence[tuple[str, Quantity]],
    rule: tuple[str, float] | None = None,
    strong: str = "",
    kinds: Sequence[str] = (),
) -> Chart:
    """Draw numbers of one unit with their ranges, one below the other, on a logarithmic axis.

    Args:
        title, caption: of the chart.
        rows: label and number, from top to bottom.
        rule: a value to compare all with, and what it is.
        strong: label of the row that stands out.
        kinds: of the rows, told by colours; by default how their numbers came about.
    """
    one = rows[0][1]
    ends = [end for _, row in rows for end in (row.low, row.high)] + ([rule[1]] if rule else [])
    scale, ticks = _logarithmic(ends, one)
    across = [Mark(Shape.RULE, scale(rule[1]), scale(rule[1]), "rule")] if rule else []
    styles = {kind: f"part{place}" for place, kind in enumerate(dict.fromkeys(kinds))}
    kinds = kinds or [row.origin.value for _, row in rows]
    legend = styles or {kind: kind for kind in dict.fromkeys(kinds)}
    return Chart(
        title=title,
        caption=caption,
        description=f"Numbers with their ranges. {_said(rows)}",
        legend={
            **(legend if len(legend) > 1 else {}),
            **({rule[0]: "rule"} if rule else {}),
        },
        rows=tuple(
            Line(
                label,
                with_range(row),
                (*across, *_with_range(row, scale, legend[kind])),
                (Tip(0, 100, f"{label}: {with_range(row)}, {row.origin.value}, {row.scope}"),),
                strong=label == strong,
            )
            for (label, row), kind in zip(rows, kinds, strict=True)
        ),
        ticks=ticks,
        axis="logarithmic",
    )


def stacked(
    title: str, caption: str, rows: Sequence[tuple[str, Mapping[str, float], Quantity]]
) -> Chart:
    """Draw wholes as bars of their parts, with the range of the whole.

    Args:
        title, caption: of the chart.
        rows: label, the parts by name, and the whole.
    """
    scale, ticks = _linear(max(whole.high for _, _, whole in rows), rows[0][2])
    styles = {part: f"part{place}" for place, part in enumerate(rows[0][1])}
    lines = []
    for label, parts, whole in rows:
        marks, tips, start = [], [], 0.0
        for part, value in parts.items():
            end = start + value
            left, right = scale(start), scale(end)
            marks.append(Mark(Shape.BAR, left, right, styles[part]))
            amount = replace(whole, value=value, low=value, high=value)
            tips.append(Tip(left, right - left, f"{label}, {part}: {with_range(amount)}"))
            start = end
        span = Mark(Shape.BELOW, scale(whole.low), scale(whole.high), "ink")
        tips.append(Tip(scale(start), 100 - scale(start), f"{label}: {with_range(whole)}"))
        lines.append(Line(label, with_range(whole), (*marks, span), tuple(tips)))
    said = "; ".join(
        f"{label}: {with_range(whole)}, of which "
        + ", ".join(f"{part} {shown(value)}" for part, value in parts.items())
        for label, parts, whole in rows
    )
    legend = styles | {"range of the total": "ink"}
    return Chart(title, caption, f"Bars. {said}", legend, tuple(lines), ticks, "")


def over_time(
    title: str,
    caption: str,
    curves: Mapping[str, np.ndarray],
    unit: str,
    most: float | None = None,
) -> Chart:
    """Draw what happens at each token as areas above each other; many tokens are put together.

    Args:
        title, caption: of the chart.
        curves: name -> (tokens,) numbers that are not negative.
        unit: of the numbers.
        most: what the height of a row is; by default the largest mean of its own.
    """
    tokens = len(next(iter(curves.values())))
    lines = []
    for label, values in curves.items():
        starts, means = binned(values, MOST_POINTS)
        top = most or float(means.max()) or 1.0
        heights = 100 * means / top
        ends = 100 * np.append(starts[1:], tokens) / tokens
        outline = [
            (x, y)
            for left, right, y in zip(100 * starts / tokens, ends, heights, strict=True)
            for x in (left, right)
        ]
        tips = []
        for start, mean in zip(*binned(values, MOST_TIPS), strict=True):
            width = min(-(-tokens // MOST_TIPS), tokens - start)
            until = f" to {start + width - 1:,}" if width > 1 else ""
            text = f"{label}, token {start:,}{until}: {shown(float(mean))} {unit}"
            tips.append(Tip(100 * start / tokens, 100 * width / tokens, text))
        low, high = float(means.min()), float(means.max())
        mean = float(values.mean())
        span = "" if shown(low) == shown(high) else f" ({shown(low)} to {shown(high)})"
        value = f"{shown(mean)} {unit}{span}"
        lines.append(Line(label, value, (), tuple(tips), ((0.0, 0.0), *outline, (100.0, 0.0))))
    places = _places(tokens)
    ticks = _apart([Tick(100 * place / tokens, shown(place)) for place in places])
    said = "; ".join(f"{line.label}: {line.value}" for line in lines)
    return Chart(title, caption, f"Areas over tokens. {said}", {}, tuple(lines), ticks, "token")


def binned(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Put tokens together to ``most`` means at most; returns first tokens and means."""
    width = -(-len(values) // most)
    starts = np.arange(0, len(values), width)
    counts = np.diff(np.append(starts, len(values)))
    return starts, np.add.reduceat(values.astype(float), starts) / counts


def _with_range(row: Quantity, scale: Scale, style: str) -> tuple[Mark, ...]:
    at = scale(row.value)
    span = Mark(Shape.SPAN, scale(row.low), scale(row.high), style)
    return (*([span] if row.low < row.high else []), Mark(Shape.DOT, at, at, style))


def _logarithmic(values: Sequence[float], of: Quantity) -> tuple[Scale, tuple[Tick, ...]]:
    """Return a logarithmic scale around all values that are not zero, and its numbers."""
    some = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(some))), math.ceil(math.log10(max(some))) + 1
    rounds = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    start = max(one for one in rounds if one <= min(some) * EVEN)
    end = min(one for one in rounds if one >= max(some) / EVEN and one > start)

    def scale(value: float) -> float:
        return 100 * math.log(max(value, start) / start) / math.log(end / start)

    inside = [one for one in rounds if start <= one <= end]
    decades = [10.0**power for power in range(first, last + 1) if start <= 10.0**power <= end]
    numbers = inside if len(inside) <= MOST_TICKS else decades
    return scale, _apart([Tick(scale(one), _amount(one, of)) for one in numbers])


def _linear(largest: float, of: Quantity) -> tuple[Scale, tuple[Tick, ...]]:
    """Return a scale from zero, and its numbers."""
    top = largest or 1.0

    def scale(value: float) -> float:
        return 100 * value / top

    return scale, _apart([Tick(scale(one), _amount(one, of)) for one in _places(top)])


def _apart(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Return all numbers, or every second or third, so that none touches its neighbour."""
    for step in range(1, len(ticks)):
        chosen = ticks[::step]
        # The first and the last are set within the axis, the others in the middle of their place.
        lefts = [one.at - TICK_WIDTH * (one.at >= 4) / (1 + (one.at <= 96)) for one in chosen]
        if all(left + TICK_WIDTH <= right for left, right in pairwise(lefts)):
            return tuple(chosen)
    return tuple(ticks[:1])


def _places(top: float) -> list[float]:
    """Return round numbers from zero to ``top``."""
    places = MaxNLocator(MOST_TICKS - 1).tick_values(0, top)
    return [float(one) for one in places if one <= top]


def _amount(value: float, of: Quantity) -> str:
    """Return a number with the unit of another."""
    if value == 0:
        return f"0 {symbol(of.unit)}"
    return with_range(replace(of, value=value, low=value, high=value), narrow=True)


def _said(rows: Sequence[tuple[str, Quantity]]) -> str:
    return "; ".join(f"{label}: {with_range(one)} ({one.origin.value})" for label, one in rows)
