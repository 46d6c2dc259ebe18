"""The picture of a scaling study: SI-SNR over what the networks cost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

from s5_to_loihi.reports.picture import drawn

COSTS = (("weights", "weights that are not zero"), ("words", "words of core memory"))
COLOURS = ("#1f77b4", "#d62728", "#ff7f0e", "#9467bd", "#2ca02c", "#8c564b")


def draw_study(costs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the networks of a study: a line for each density and width of weights.

    Args:
        costs: name of a network (``h64_dense_w4``) -> its ``Cost``.
        path: .png or .svg.

    Raises:
        InputError: the file cannot be written.
    """
    lines: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, cost in sorted(costs.items(), key=lambda one: one[1]["weights"]):
        width, kind, bits = name.split("_", 2)
        title, share = "dense", kind.removeprefix("sparse").removeprefix("pruned")
        if share != kind:
            title = f"{share} % sparse" + ", from dense" * kind.startswith("pruned")
        lines.setdefault(f"{title}, {bits.upper().replace('_', ' ')}", []).append((width, cost))
    with drawn(path, (9, 3.8), layout="constrained") as figure:
        for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), COSTS, strict=True):
            for (label, points), colour in zip(sorted(lines.items()), cycle(COLOURS)):
                x = [cost[key] / 1000 for _, cost in points]
                y = [cost["si_snr"] for _, cost in points]
                axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1, label=label)
                for (width, _), *place in zip(points, x, y, strict=True):
                    axes.annotate(
                        width.upper(), place, (4, -9), textcoords="offset points", fontsize=7,
                        color=colour,
                    )  # fmt: skip
            axes.set_xlabel(f"{title}, thousands")
            axes.set_xlim(left=0)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("SI-SNR, dB")
        figure.axes[0].legend(frameon=False, loc="lower right")
