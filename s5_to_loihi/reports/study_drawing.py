"""The picture of a scaling study: SI-SNR over what the networks cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s5_to_loihi.reports.picture import drawn

COSTS = (("weights", "weights that are not zero"), ("words", "words of core memory"))
COLOURS = {"dense": "#1f77b4", "sparse": "#d62728"}


def draw_study(costs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the networks of a study.

    Args:
        costs: name of a network (``h64_dense_w4``) -> its ``Cost``.
        path: .png or .svg.

    Raises:
        InputError: the file cannot be written.
    """
    with drawn(path, (9, 3.6), layout="constrained") as figure:
        for axes, (key, title) in zip(figure.subplots(1, 2), COSTS, strict=True):
            for name, cost in sorted(costs.items()):
                kind = "sparse" if "sparse" in name else "dense"
                axes.plot(cost[key], cost["si_snr"], "o", color=COLOURS[kind], markersize=4)
                axes.annotate(name, (cost[key], cost["si_snr"]), fontsize=5)
            axes.set_xscale("log")
            axes.set_xlabel(title)
            axes.set_ylabel("SI-SNR, dB")
            axes.spines[["top", "right"]].set_visible(False)
