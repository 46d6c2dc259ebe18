"""The loss plot of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from s5_to_loihi.reports.picture import drawn


def draw_losses(
    histories: Mapping[str, Sequence[tuple[int, float, float]]], score: str, path: Path
) -> None:
    """Draw loss and test score over the epochs.

    Args:
        histories: phase -> epoch, mean loss and score of each of its epochs.
        score: what to call the score.
        path: .png or .svg.

    Raises:
        InputError: the file cannot be written.
    """
    with drawn(path, (7, 3.2), layout="constrained") as figure:
        left, right = figure.subplots(1, 2)
        first = 0
        for name, rows in histories.items():
            epochs = [first + epoch + 1 for epoch, _, _ in rows]
            left.plot(epochs, [loss for _, loss, _ in rows], label=name)
            right.plot(epochs, [value for _, _, value in rows], label=name)
            first += len(rows)
        for axes, title in ((left, "loss in training"), (right, f"{score}, test data")):
            axes.set_xlabel("epoch")
            axes.set_title(title, fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
        if histories:
            right.legend(frameon=False, fontsize=8)
