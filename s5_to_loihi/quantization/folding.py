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


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """A block on its plain input h: ``x <- a x + gain (B h + drive_bias)``, then C, D and GLU.

    Attributes:
        a, gain: (P,) complex.
        b: (P, H) complex; drive_bias: (P,) complex.
        c: (H, P) complex, the factor 2 of the implied conjugates included.
        d: (H,); output_bias: (H,).
        block: for everything else.
    """

    a: np.ndarray
    gain: np.ndarray
    b: np.ndarray
    drive_bias: np.ndarray
    c: np.ndarray
    d: np.ndarray
    output_bias: np.ndarray
    block: S5Block


def check_quantizable(model: S5Model) -> None:
    """Refuse what has no integer form here, naming the layer.

    Raises:
        CheckpointError: no encoder or decoder, layer norm, a norm after the residual addition,
            states of the reversed sequence, an unstable state, a variance that is not positive,
            numbers that are not finite.
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
    for index, block in enumerate(model.blocks):
        where = f"{model.name}, block{index}"
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
        if block.ssm.bidirectional_c is not None:
            raise CheckpointError(
                where,
                "reads the sequence backwards as well, which no stream of tokens can",
                "Train it unidirectional",
            )
        norm = block.norm
        a, gain = block.ssm.discretized()
        for name, values in (
            *(("norm mean", norm.mean), ("norm scale", norm.scale), ("norm bias", norm.bias)),
            ("norm variance", norm.variance),
            *(("A", a), ("gain", gain), ("B", block.ssm.b), ("C", block.ssm.c), ("D", block.ssm.d)),
            *_affine_parts("W1", block.value),
            *_affine_parts("W2", block.gate),
        ):
            _check_finite(f"{where}, {name}", values)
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
    for name, affine in (("encoder", model.encoder), ("decoder", model.decoder)):
        for part, values in _affine_parts(name, affine):
            _check_finite(f"{model.name}, {part}", values)


def _affine_parts(name: str, affine: Affine | None):
    if affine is not None:
        yield f"{name} weight", affine.weight
        yield f"{name} bias", affine.bias


def _check_finite(where: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise CheckpointError(where, f"holds {count} numbers that are not finite", "Train again")


def fold(block: S5Block) -> FoldedBlock:
    """Return a block with its batch norm folded in; see ``check_quantizable`` for what it needs."""
    norm: BatchNorm = block.norm
    scale = norm.scale / np.sqrt(norm.variance + norm.epsilon)
    offset = norm.bias - norm.mean * scale
    ssm = block.ssm
    a, gain = ssm.discretized()
    return FoldedBlock(
        a=a,
        gain=gain,
        b=ssm.b * scale,
        drive_bias=ssm.b @ offset,
        c=ssm.c * (2 if ssm.conjugate_symmetric else 1),
        d=ssm.d * scale,
        output_bias=ssm.d * offset,
        block=block,
    )
