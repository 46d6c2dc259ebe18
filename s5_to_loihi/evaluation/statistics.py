"""Means over clips, with what one may conclude from so many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from s5_to_loihi.files.records import Signed

#: Of the interval that is given with a mean.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over clips.

    Attributes:
        value: the mean.
        low, high: its confidence interval by Student's t, as if clips were drawn from a larger
            set; None for a single clip.
        clips: that have a value.
    """

    value: Signed
    low: Signed | None
    high: Signed | None
    clips: int


def mean(values: Sequence[float | None]) -> Mean | None:
    """Return the mean of those values that are there; None if none is."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if not known.size:
        return None
    centre = float(known.mean())
    if known.size == 1:
        return Mean(centre, None, None, 1)
    error = float(known.std(ddof=1)) / math.sqrt(known.size)
    reach = float(stdtrit(known.size - 1, (1 + CONFIDENCE) / 2)) * error
    return Mean(centre, centre - reach, centre + reach, known.size)


def differences(
    values: Sequence[float | None], others: Sequence[float | None]
) -> tuple[float | None, ...]:
    """Return value less other for each clip that has both."""
    pairs = zip(values, others, strict=True)
    return tuple(a - b if a is not None and b is not None else None for a, b in pairs)
