"""The pruning mask of Intel's training, computed again as its conversion does.

A training checkpoint holds masked parameters plus the last update, so pruned weights are tiny, not
zero, and no mask is stored. Intel's ``convert.py`` masks them again by magnitude. Source:
google-research/jaxpruner, ``sparsity_distributions.py`` and ``mask_calculator.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

#: The sparsities of the recipes "iterative-ste-mag-..." of IntelLabs/SparseRNNs.
RECIPE_SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
#: Weights pruned to the end of training are at least this much smaller than the others: measured
#: 1e4 to 1e9. Where no pruning was, neighbours in size differ by a few percent.
CLEAR_GAP = 100.0


def erdos_renyi_sparsities(
    shapes: Mapping[str, tuple[int, ...]], sparsity: float
) -> dict[str, float]:
    """Distribute a sparsity over arrays by the Erdos-Renyi-kernel rule.

    The density of an array is ``epsilon * sum(shape) / prod(shape)``, with epsilon such that the
    number of weights left is that of the uniform sparsity. Arrays for which that exceeds 1 are
    dense. (Evci et al., "Rigging the lottery", arXiv 1911.11134, section 3.)

    Args:
        shapes: name -> shape of at least two axes.
        sparsity: share of zeros in all arrays together, from 0 up to but not including 1.

    Returns:
        Name -> share of zeros.
    """
    dense: set[str] = set()
    while len(dense) < len(shapes):
        left, divisor, scores = 0.0, 0.0, {}
        for name, shape in shapes.items():
            size = math.prod(shape)
            zeros = math.floor(sparsity * size)
            if name in dense:
                left -= zeros
                continue
            left += size - zeros
            scores[name] = sum(shape) / size
            divisor += scores[name] * size
        epsilon = left / divisor
        largest = max(scores.values())
        if epsilon * largest <= 1:
            return {name: 0.0 if name in dense else 1.0 - epsilon * scores[name] for name in shapes}
        dense |= {name for name, score in scores.items() if score == largest}
    return dict.fromkeys(shapes, 0.0)


def order_and_count(values: np.ndarray, sparsity: float) -> tuple[np.ndarray, int]:
    """Return flat indices by falling magnitude, equal ones in order, and how many are kept."""
    magnitude = np.abs(values).ravel()
    # In float32, as jax does: a product next to a half may round to the other side in float64.
    kept = np.float32(magnitude.size) * (np.float32(1) - np.float32(sparsity))
    return np.argsort(-magnitude, kind="stable"), max(1, int(np.round(kept)))


def masked(values: np.ndarray, sparsity: float) -> np.ndarray:
    """Return a copy with the smallest magnitudes set to zero; real and of any shape."""
    order, kept = order_and_count(values, sparsity)
    result = values.copy()
    result.reshape(-1)[order[kept:]] = 0
    return result


def gap(values: np.ndarray, sparsity: float) -> float:
    """Return smallest magnitude kept / largest removed; infinite if only zeros go, or nothing."""
    order, kept = order_and_count(values, sparsity)
    magnitude = np.abs(values).ravel()[order]
    if kept == magnitude.size:
        return math.inf
    if magnitude[kept] == 0:
        return math.inf if magnitude[kept - 1] > 0 else 0.0
    return float(magnitude[kept - 1] / magnitude[kept])


def find_recipe(arrays: Mapping[str, np.ndarray]) -> float | None:
    """Find the recipe whose mask separates tiny weights from the others in every array.

    Args:
        arrays: name -> weights, the ones with at least two axes.

    Returns:
        The sparsity of the recipe; None if no recipe leaves a clear gap.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    for sparsity in RECIPE_SPARSITIES:
        shares = erdos_renyi_sparsities(shapes, sparsity)
        if shares and all(gap(arrays[name], share) >= CLEAR_GAP for name, share in shares.items()):
            return sparsity
    return None
