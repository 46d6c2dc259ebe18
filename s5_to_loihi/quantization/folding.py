"""Folding: what can be computed before the network runs is taken out of it.

Batch norm before the state-space model is an affine map of each feature, ``u = s * h + t``; it goes
into B, into D, and into biases, exactly. The gain of the discretization stays apart from B, so that
B keeps the zeros that pruning has made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Affine,
    BatchNorm,
    FeedForwardBlock,
    LayerNorm,
    S5Block,
    S5Model,
)

#: Values this many standard deviations from the mean must not saturate.
DEVIATIONS = 16


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """A block on its plain input h: ``x <- a x + gain (B h + bias)``, then C, D and GLU.

    The biases are not kept: they are found from calibration data, with what rounding has moved.

    Attributes:
        a, gain: (P,) complex.
        b: (P, H) complex.
        c: (H, P) complex, the factor 2 of the implied conjugates included.
        d: (H,).
        expected: (H,) magnitudes of h that the norm's statistics of the training make likely.
        block: for everything else.
    """

    a: np.ndarray
    gain: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    expected: np.ndarray
    block: S5Block


@dataclass(frozen=True, eq=False)
class FoldedModel:
    """A model that has an integer form.

    Attributes:
        encoder, decoder: before and after the blocks.
        blocks: in order.
        model: for everything else.
    """

    encoder: Affine
    blocks: tuple[FoldedBlock, ...]
    decoder: Affine
    model: S5Model


def fold(model: S5Model) -> FoldedModel:
    """Return a model with its batch norms folded in.

    Raises:
        CheckpointError: it has no integer form here, naming the layer: no encoder or decoder,
            layer norm, a norm after the residual addition, states of the reversed sequence, an
            unstable state, a variance that is not positive, numbers that are not finite.
    """
    if model.encoder is None or model.decoder is None:
        missing = "encoder" if model.encoder is None else "decoder"
        raise CheckpointError(
            model.name,
            f"has no {missing}",
            f"Add the {missing} to the checkpoint: blocks alone have no input format",
        )
    if not model.blocks:
        raise CheckpointError(model.name, "has no S5 blocks", "Check the checkpoint")
    blocks = tuple(
        fold_block(block, f"{model.name}, block{index}") for index, block in enumerate(model.blocks)
    )
    for name, affine in (("encoder", model.encoder), ("decoder", model.decoder)):
        _check_affine(f"{model.name}, {name}", affine)
    return FoldedModel(model.encoder, blocks, model.decoder, model)


def fold_block(block: S5Block | FeedForwardBlock, where: str) -> FoldedBlock:
    """Return a block with its batch norm folded in; ``where`` is what to call it in an error."""
    if isinstance(block, FeedForwardBlock) or isinstance(block.norm, LayerNorm):
        raise CheckpointError(
            where,
            "uses layer norm, which needs the mean and variance of every token on the chip",
            "Train with batch norm: it costs nothing, it is folded into B and D",
        )
    if not block.prenorm:
        raise CheckpointError(
            where,
            "has its norm after the residual addition",
            "Train with prenorm: batch norm before B is folded into B and D",
        )
    ssm, norm = block.ssm, block.norm
    if ssm.bidirectional_c is not None:
        raise CheckpointError(
            where,
            "reads the sequence backwards as well, which no stream of tokens can",
            "Train it unidirectional",
        )
    a, gain = ssm.discretized()
    _check_numbers(block, norm, a, gain, where)
    scale = norm.scale / np.sqrt(norm.variance + norm.epsilon)
    return FoldedBlock(
        a=a,
        gain=gain,
        b=ssm.b * scale,
        c=ssm.c * (2 if ssm.conjugate_symmetric else 1),
        d=ssm.d * scale,
        expected=np.abs(norm.mean) + DEVIATIONS * np.sqrt(norm.variance),
        block=block,
    )


def _check_numbers(
    block: S5Block, norm: BatchNorm, a: np.ndarray, gain: np.ndarray, where: str
) -> None:
    for name, values in (
        *(("norm mean", norm.mean), ("norm scale", norm.scale), ("norm bias", norm.bias)),
        ("norm variance", norm.variance),
        *(("A", a), ("gain", gain), ("B", block.ssm.b), ("C", block.ssm.c), ("D", block.ssm.d)),
    ):
        _check_finite(f"{where}, {name}", values)
    for name, affine in (("W1", block.value), ("W2", block.gate)):
        if affine is not None:
            _check_affine(f"{where}, {name}", affine)
    if (lowest := float((norm.variance + norm.epsilon).min())) <= 0:
        raise CheckpointError(
            f"{where}, norm variance",
            f"is {lowest:.3g} with its epsilon (limit: above 0)",
            "Check the running statistics of batch norm",
        )
    if np.abs(a).max() >= 1:
        raise CheckpointError(
            f"{where}, eigenvalues",
            f"state {int(np.abs(a).argmax())} does not decay: |a| = {np.abs(a).max():.6f}"
            " (limit: below 1)",
            "Clip the real parts of the eigenvalues below zero (clip_eigs)",
        )


def _check_affine(where: str, affine: Affine) -> None:
    _check_finite(f"{where} weight", affine.weight)
    _check_finite(f"{where} bias", affine.bias)


def _check_finite(where: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise CheckpointError(where, f"holds {count} numbers that are not finite", "Train again")
