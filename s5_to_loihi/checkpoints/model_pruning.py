"""Prunes a loaded model by magnitude, whatever format it came in.

The rule is that of Intel's recipes (see ``pruning.py``): everything with more than one axis is
pruned, real and imaginary parts one by one, and a total sparsity is distributed by the
Erdos-Renyi-kernel rule. Nothing is trained afterwards, so accuracy falls faster than with pruning
in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from s5_to_loihi.checkpoints.pruning import erdos_renyi_sparsities, masked
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import Affine, FeedForwardBlock, S5Block, S5Model


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
    arrays = _weights(model)
    shapes = {name: array.shape for name, array in arrays.items()}
    shares = erdos_renyi_sparsities(shapes, sparsity)
    return _changed(model, lambda name, array: masked(array, shares[name]))


def sparsity_of(model: S5Model) -> float:
    """Return the share of zeros in all weight matrices; real and imaginary parts count apart."""
    arrays = _weights(model).values()
    return 1 - sum(map(np.count_nonzero, arrays)) / sum(array.size for array in arrays)


def _weights(model: S5Model) -> dict[str, np.ndarray]:
    """Return all weight matrices as real arrays; complex ones have a third axis of two parts."""
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

    def parts(name: str, matrix: np.ndarray | None) -> np.ndarray | None:
        if matrix is None:
            return None
        real = np.ascontiguousarray(matrix).view(np.float64).reshape(*matrix.shape, 2)
        return np.ascontiguousarray(change(name, real)).view(np.complex128)[..., 0]

    def block(name: str, old: S5Block | FeedForwardBlock) -> S5Block | FeedForwardBlock:
        ssm = replace(
            old.ssm,
            b=parts(f"{name}.B", old.ssm.b),
            c=parts(f"{name}.C", old.ssm.c),
            bidirectional_c=parts(f"{name}.bidirectional_C", old.ssm.bidirectional_c),
        )
        if isinstance(old, FeedForwardBlock):
            expand = change(f"{name}.expand", old.expand)
            return replace(old, ssm=ssm, expand=expand, decode=change(f"{name}.decode", old.decode))
        value, gate = affine(f"{name}.W1", old.value), affine(f"{name}.W2", old.gate)
        return replace(old, ssm=ssm, value=value, gate=gate)

    return replace(
        model,
        encoder=affine("encoder.weight", model.encoder),
        blocks=tuple(block(f"block{index}", old) for index, old in enumerate(model.blocks)),
        decoder=affine("decoder.weight", model.decoder),
    )
