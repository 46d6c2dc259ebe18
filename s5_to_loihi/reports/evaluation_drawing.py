"""Pictures of an evaluation: what each clip gained, and which classes are taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.clip import FLOAT, INTEGERS, NOISY
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.reports.evaluation_tables import BASELINE_TITLES, TITLES
from s5_to_loihi.reports.picture import drawn, plain

_STYLE = {"font.family": "DejaVu Sans", "font.size": 9}
_COLOURS = {
    INTEGERS: "#0b6bcb",
    FLOAT: "#d97706",
    "nsnet2": "#4b8b3b",
    "rnnoise": "#8a4fa3",
    "intel_sdnn": "#b3443b",
}
_MARKERS = {INTEGERS: "o", FLOAT: "o", "nsnet2": "^", "rnnoise": "s", "intel_sdnn": "D"}
#: Classes whose counts are written into the cells.
_WRITTEN = 20


def draw_clips(path: str | os.PathLike, evaluated: Evaluated) -> bool:
    """Draw what each clip gained over its noisy SI-SNR, and what integers lose against floats.

    Args:
        path: the picture, ``.png`` or ``.svg``.
        evaluated: what to draw.

    Returns:
        Whether there was something to draw: clips with clean recordings.

    Raises:
        InputError: the file cannot be written.
    """
    before = evaluated.of(NOISY, "si_snr")
    if not any(value is not None for value in before):
        return False
    compared = bool(evaluated.rounding)
    with drawn(path, (9.0 if compared else 5.5, 4.0), layout="constrained", style=_STYLE) as figure:
        axes = figure.subplots(1, 1 + compared, squeeze=False)[0]
        _draw_gains(axes[0], evaluated, before)
        if compared:
            _draw_rounding(axes[1], evaluated)
    return True


def _draw_gains(axes: Axes, evaluated: Evaluated, before: Sequence[float | None]) -> None:
    for signal in evaluated.signals:
        gains = evaluated.of(signal, "si_snri")
        pairs = [pair for pair in zip(before, gains, strict=True) if None not in pair]
        if signal == NOISY or not pairs:
            continue
        across, gained = np.array(pairs, dtype=float).T
        axes.scatter(
            across,
            gained,
            s=60 if signal == FLOAT else 18,  # a ring around the integers' dot
            facecolors="none" if signal == FLOAT else _COLOURS.get(signal, "#555555"),
            edgecolors=_COLOURS.get(signal, "#555555"),
            marker=_MARKERS.get(signal, "o"),
            label=TITLES.get(signal) or BASELINE_TITLES.get(signal, plain(signal)),
            linewidths=1,
        )
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    axes.set_xlabel("SI-SNR of the noisy clip, dB")
    axes.set_ylabel("better by, dB")
    axes.set_title(f"{evaluated.network}: each clip", loc="left", parse_math=False)
    axes.legend(frameon=False)


def _draw_rounding(axes: Axes, evaluated: Evaluated) -> None:
    lost = sorted(value for value in evaluated.rounding_of("si_snr") if value is not None)
    mean = evaluated.rounding["si_snr"]
    axes.scatter(np.arange(1, len(lost) + 1), lost, s=18, color=_COLOURS[INTEGERS])
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    axes.axhline(mean.value, color=_COLOURS[INTEGERS], linewidth=1)
    if mean.low is not None and mean.high is not None:
        axes.axhspan(mean.low, mean.high, color=_COLOURS[INTEGERS], alpha=0.12, linewidth=0)
    axes.set_xlabel("clips, in order")
    axes.set_ylabel("integers less float model, dB")
    axes.set_title("What rounding costs; mean and its 95 %", loc="left")


def draw_confusion(path: str | os.PathLike, answered: Answered) -> bool:
    """Draw the confusion matrix, each row in shares of its true class.

    Returns:
        Whether there was one.

    Raises:
        InputError: the file cannot be written.
    """
    if answered.decisions is None:
        return False
    counts = np.array(answered.decisions.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(12.0, max(4.0, 1.5 + 0.35 * len(counts)))
    with drawn(path, (size, size), layout="constrained", style=_STYLE) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        places = np.arange(len(counts))
        axes.set_xticks(places, answered.classes, rotation=90, parse_math=False)
        axes.set_yticks(places, answered.classes, parse_math=False)
        axes.set_xlabel("decided")
        axes.set_ylabel("true")
        axes.set_title(f"{answered.network}: decisions", loc="left", parse_math=False)
        if len(counts) <= _WRITTEN:
            for row, column in np.argwhere(counts):
                dark = shares[row, column] > 0.5
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]:,}",
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                )
    return True
