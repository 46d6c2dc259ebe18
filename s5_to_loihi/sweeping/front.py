"""The Pareto front: the points that no other point beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def front(values: np.ndarray, higher_is_better: Sequence[bool]) -> np.ndarray:
    """Tell which points no other one dominates: at least as good in all, better in one.

    Args:
        values: (points, metrics) floats; a point with one that is not finite is on no front.
        higher_is_better: of each metric.

    Returns:
        (points,) bool. Equal points are on the front together.
    """
    known = np.isfinite(values).all(axis=1)
    # The smaller the better from here on.
    costs = np.where(np.asarray(higher_is_better), -values, values)
    result = known.copy()
    for index in np.flatnonzero(known):
        others = costs[known]
        no_worse = (others <= costs[index]).all(axis=1)
        result[index] = not (no_worse & (others < costs[index]).any(axis=1)).any()
    return result
