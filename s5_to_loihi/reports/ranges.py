"""A picture of a quantization: for every value, where its integers lie inside their format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from s5_to_loihi.quantization.report import QuantizationReport, TensorReport
from s5_to_loihi.reports.picture import drawn
from s5_to_loihi.reports.quantization_tables import decibels

#: A new colour from this signal-to-noise ratio on (dB), best first.
COLOURS = ((40, "#5aae61"), (25, "#a6d96a"), (15, "#fdae61"), (-np.inf, "#d7301f"))
BAR = 0.62


def draw_ranges(report: QuantizationReport, path: Path) -> None:
    """Draw one bar a value into a file, .svg or .png by its suffix.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    count = len(report.tensors)
    size = (9, 1.2 + 0.27 * count)
    with drawn(path, size, dpi=130, layout="constrained") as figure:
        axes = figure.add_subplot()
        for row, tensor in enumerate(report.tensors):
            _draw(axes, row, tensor)
        widest = max(tensor.bits for tensor in report.tensors)
        axes.set_xlim(-widest - 0.5, 3.2)
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_yticks(range(count), [tensor.name for tensor in report.tensors], fontsize=8)
        axes.set_xticks(range(-widest + 1, 1, 3))
        axes.set_xlabel("bits below the limit of the format")
        axes.set_title(
            "Where the integers lie in their formats: 1 % to 99 % of the magnitudes, median,"
            " maximum;\ncolour and number: signal to quantization noise in dB",
            fontsize=9,
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)


def _draw(axes: Axes, row: int, tensor: TensorReport) -> None:
    bits = tensor.bits - 1
    axes.add_patch(Rectangle((-bits, row - BAR / 2), bits, BAR, fill=False, edgecolor="#b0b0b0"))
    low, median, high, largest = (_position(part, bits) for part in tensor.box)
    ratio = tensor.signal_to_noise
    colour = next(colour for limit, colour in COLOURS if ratio >= limit)
    axes.add_patch(Rectangle((low, row - BAR / 2), high - low, BAR, color=colour, linewidth=0))
    axes.plot([median, median], [row - BAR / 2, row + BAR / 2], color="black", linewidth=1.2)
    axes.plot([high, largest], [row, row], color=colour, linewidth=1.5)
    axes.plot(largest, row, marker="|", color="black", markersize=7)
    note = decibels(ratio) + (f"   {tensor.saturated:,} saturated" if tensor.saturated else "")
    axes.text(0.25, row, note, va="center", fontsize=7.5)


def _position(fraction: float, bits: int) -> float:
    """Return log2 of a fraction of the limit, not below the smallest integer."""
    return max(-bits, float(np.log2(fraction))) if fraction > 0 else -bits
