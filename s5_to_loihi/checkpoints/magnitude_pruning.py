"""Magnitude pruning: the smallest weights of a model, or of a checkpoint's arrays, become zero.

The rule is that of Intel's recipes: everything with more than one axis is pruned, real and
imaginary parts one by one, and a total sparsity is distributed by the Erdos-Renyi-kernel rule.
Source: google-research/jaxpruner, ``sparsity_distributions.py`` and ``mask_calculator.py``.

A training checkpoint holds masked parameters plus the last update, so pruned weights are tiny, not
zero, and no mask is stored. Intel's ``convert.py`` masks them again by magnitude, and so do
``find_recipe`` and ``masked``. ``pruned`` prunes a loaded model, whatever format it came in;
nothing is trained afterwards, so accuracy falls faster than with pruning in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import Affine, FeedForwardBlock, S5Block, S5Model

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


# --- a loaded model ------------------------------------------------------------------------------


def pruned(model: S5Model, sparsity: float) -> S5Model:
    """Return a model whose smallest weights are zero.

    Args:
        model: any; weights that are zero already stay so, and count.
        sparsity: share of zeros in all weight matrices together, from 0 up to but not including 1.

    Raises:
        CheckpointError: the sparsity is outside that range, or the model is sparser already.
    """
    if not 0 <= sparsity < 1:
        raise CheckpointError("sparsity", f"is {sparsity} (allowed 0 to below 1)")
    present = sparsity_of(model)
    if sparsity < present:
        raise CheckpointError(
            f"model {model.name}",
            f"has a sparsity of {present:.4f} already, more than the {sparsity} asked for",
            "Ask for more, or leave the sparsity as it is",
        )
    arrays = weight_matrices(model)
    shapes = {name: array.shape for name, array in arrays.items()}
    shares = erdos_renyi_sparsities(shapes, sparsity)
    return _changed(model, lambda name, array: masked(array, shares[name]))


def sparsity_of(model: S5Model) -> float:
    """Return the share of zeros in all weight matrices; real and imaginary parts count apart."""
    arrays = weight_matrices(model).values()
    return 1 - sum(map(np.count_nonzero, arrays)) / sum(array.size for array in arrays)


def densities(model: S5Model) -> dict[str, float]:
    """Return the share of non-zero weights by kind of matrix, over all blocks.

    Real and imaginary parts count one by one.
    """
    matrices: dict[str, list[np.ndarray]] = {}
    for name, array in weight_matrices(model).items():
        matrices.setdefault(name.rpartition(".")[2], []).append(array)
    return {
        kind: sum(map(np.count_nonzero, found)) / sum(array.size for array in found)
        for kind, found in matrices.items()
    }


def weight_matrices(model: S5Model) -> dict[str, np.ndarray]:
    """Return all weight matrices as real arrays; complex ones have a third axis of two parts.

    The last part of a name, as in ``block0.gate``, says which kind of matrix it is.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str, array: np.ndarray) -> np.ndarray:
        found[name] = array
        return array

    _changed(model, keep)
    return found


def _changed(model: S5Model, change: Callable[[str, np.ndarray], np.ndarray]) -> S5Model:
    """Return a model with every weight matrix changed, given by its name and as a real array."""

    def affine(name: str, map_: Affine | None) -> Affine | None:
        return map_ and replace(map_, weight=change(name, map_.weight))

    def parts(name: str, matrix: np.ndarray) -> np.ndarray:
        real = np.ascontiguousarray(matrix).view(np.float64).reshape(*matrix.shape, 2)
        return np.ascontiguousarray(change(name, real)).view(np.complex128)[..., 0]

    def block(name: str, old: S5Block | FeedForwardBlock) -> S5Block | FeedForwardBlock:
        ssm, backward = old.ssm, old.ssm.bidirectional_c
        ssm = replace(ssm, b=parts(f"{name}.B", ssm.b), c=parts(f"{name}.C", ssm.c))
        if backward is not None:
            ssm = replace(ssm, bidirectional_c=parts(f"{name}.backward.C", backward))
        if isinstance(old, FeedForwardBlock):
            expand = change(f"{name}.expand", old.expand)
            return replace(old, ssm=ssm, expand=expand, decode=change(f"{name}.decode", old.decode))
        if ssm.d.ndim == 2:
            ssm = replace(ssm, d=change(f"{name}.D", ssm.d))
        value, gate = affine(f"{name}.value", old.value), affine(f"{name}.gate", old.gate)
        return replace(old, ssm=ssm, value=value, gate=gate, skip=affine(f"{name}.skip", old.skip))

    return replace(
        model,
        encoder=affine("encoder", model.encoder),
        blocks=tuple(block(f"block{index}", old) for index, old in enumerate(model.blocks)),
        decoder=affine("decoder", model.decoder),
    )
