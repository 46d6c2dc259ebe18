"""Folding: what can be computed before the network runs is taken out of it.

Batch norm before the state-space model is an affine map of each feature, ``u = s * h + t``; it goes
into B, into D, and into biases, exactly. So do the scale and the bias of a layer norm. The gain of
the discretization stays apart from B, so that B keeps the zeros that pruning has made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    BatchNorm,
    FeedForwardBlock,
    LayerNorm,
    S5Block,
    S5Model,
)

#: A norm with a larger one hardly is a norm.
LARGEST_EPSILON = 1e6
#: Values this many standard deviations from the mean must not saturate: 9 of 16 bits are left for
#: one, and channels after a ReLU have tails that no calibration data show.
DEVIATIONS = 64
#: Of what a ReLU has left: values this many times as large as its events, as far as they are within
#: so many standard deviations, which keeps 7 of 16 bits for one of these.
EVENTS, MOST_DEVIATIONS = 2, 256


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """A block on what its state-space model reads, v: ``x <- a x + gain (B v + bias)``, then C, D.

    That is the block's input h, or h after a layer norm. The biases are not kept: they are found
    from calibration data, with what rounding has moved.

    Attributes:
        a, gain: (P,) complex.
        b: (P, H) complex.
        c: (O, P) complex, the factor 2 of the implied conjugates included.
        d: (H,), or (O, H).
        expected: (H,) magnitudes of v that the norm's statistics of the training make likely.
        expected_sum: (O,) the same of what a batch norm after the residual addition reads.
        activation: after the state-space model.
        rectified: whether the complex states are rectified.
        norm: the layer norm between h and v, without what is folded; or None.
        block: for everything else.
    """

    a: np.ndarray
    gain: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    expected: np.ndarray
    expected_sum: np.ndarray
    activation: Activation
    rectified: bool
    norm: LayerNorm | None
    block: S5Block | FeedForwardBlock


@dataclass(frozen=True, eq=False)
class FoldedModel:
    """A model that has an integer form.

    Attributes:
        encoder, decoder: before and after the blocks, or None.
        blocks: in order.
        model: for everything else.
    """

    encoder: Affine | None
    blocks: tuple[FoldedBlock, ...]
    decoder: Affine | None
    model: S5Model

    @property
    def features(self) -> int:
        """Features of a token."""
        return self.blocks[0].b.shape[1] if self.encoder is None else self.encoder.weight.shape[1]


def fold(model: S5Model) -> FoldedModel:
    """Return a model with its norms folded in, as far as they are the same for all tokens.

    Raises:
        CheckpointError: it has no integer form here, naming the layer: no blocks, states of the
            reversed sequence, an unstable state, a variance that is not positive, numbers that are
            not finite.
    """
    if not model.blocks:
        raise CheckpointError(model.name, "has no S5 blocks", "Check the checkpoint")
    before = (
        model.rectified_encoder,
        *(isinstance(one, S5Block) and one.rectified for one in model.blocks),
    )
    blocks = tuple(
        fold_block(block, f"{model.name}, block{index}", rectified)
        for index, (block, rectified) in enumerate(zip(model.blocks, before, strict=False))
    )
    for name, affine in (("encoder", model.encoder), ("decoder", model.decoder)):
        if affine is not None:
            _check_affine(f"{model.name}, {name}", affine)
    return FoldedModel(model.encoder, blocks, model.decoder, model)


def fold_block(
    block: S5Block | FeedForwardBlock, where: str, after_relu: bool = False
) -> FoldedBlock:
    """Return a block with its norm folded in; ``where`` is what to call it in an error.

    What enters it comes from a ReLU, or not.

    A batch norm before the state-space model goes into B and D. So do scale and bias of a layer
    norm there, unless something else reads what it gives: the residual of a ``FeedForwardBlock``.
    """
    ssm, norm = block.ssm, block.norm
    if ssm.bidirectional_c is not None:
        raise CheckpointError(
            where,
            "reads the sequence backwards as well, which no stream of tokens can",
            "Train it unidirectional",
        )
    a, gain = ssm.discretized()
    _check_numbers(block, a, gain, where)
    scale, expected = np.ones(ssm.b.shape[1]), np.zeros(ssm.b.shape[1])
    expected_sum = np.zeros(len(ssm.c))
    before: LayerNorm | None = None
    if isinstance(norm, BatchNorm):
        before_ssm = isinstance(block, S5Block) and block.prenorm
        likely = _likely(norm, after_relu and before_ssm)
        if before_ssm:
            scale = norm.scale / np.sqrt(norm.variance + norm.epsilon)
            expected = likely
        else:
            expected_sum = likely
    elif isinstance(block, FeedForwardBlock):
        before = norm
    elif block.prenorm:
        scale = norm.scale
        before = replace(norm, scale=np.ones_like(norm.scale), bias=np.zeros_like(norm.bias))
    return FoldedBlock(
        a=a,
        gain=gain,
        b=ssm.b * scale,
        c=ssm.c * (2 if ssm.conjugate_symmetric else 1),
        d=ssm.d * scale,
        expected=expected,
        expected_sum=expected_sum,
        activation=block.activation if isinstance(block, S5Block) else Activation.GELU_ERF,
        rectified=isinstance(block, S5Block) and block.rectified,
        norm=before,
        block=block,
    )


def _likely(norm: BatchNorm, rectified: bool) -> np.ndarray:
    """Return the magnitudes (H,) that a batch norm's statistics make likely.

    A rectified channel that is hardly ever above zero has events of a size: values x of
    probability p have the mean ``p x`` and the mean square ``p x^2``. Their ratio is x, which may
    be many standard deviations.
    """
    mean, deviation = np.abs(norm.mean), np.sqrt(norm.variance + norm.epsilon)
    usual = mean + DEVIATIONS * deviation
    if not rectified:
        return usual
    square = norm.variance + mean**2
    events = np.divide(square, mean, out=np.zeros_like(mean), where=mean > 0)
    return np.maximum(usual, np.minimum(EVENTS * events, MOST_DEVIATIONS * deviation))


def _check_numbers(
    block: S5Block | FeedForwardBlock, a: np.ndarray, gain: np.ndarray, where: str
) -> None:
    for name, values in (
        *(("A", a), ("gain", gain), ("B", block.ssm.b), ("C", block.ssm.c), ("D", block.ssm.d)),
    ):
        _check_finite(f"{where}, {name}", values)
    _check_norm(block.norm, f"{where}, norm")
    if isinstance(block, FeedForwardBlock):
        _check_norm(block.feed_forward_norm, f"{where}, feed-forward norm")
        _check_finite(f"{where}, expand", block.expand)
        _check_finite(f"{where}, decode", block.decode)
    else:
        for name, affine in (("W1", block.value), ("W2", block.gate), ("skip", block.skip)):
            if affine is not None:
                _check_affine(f"{where}, {name}", affine)
    if np.abs(a).max() >= 1:
        raise CheckpointError(
            f"{where}, eigenvalues",
            f"state {int(np.abs(a).argmax())} does not decay: |a| = {np.abs(a).max():.6f}"
            " (limit: below 1)",
            "Clip the real parts of the eigenvalues below zero (clip_eigs)",
        )


def _check_norm(norm: BatchNorm | LayerNorm, where: str) -> None:
    _check_finite(f"{where} scale", norm.scale)
    _check_finite(f"{where} bias", norm.bias)
    if isinstance(norm, LayerNorm):
        if not 0 < norm.epsilon <= LARGEST_EPSILON:
            raise CheckpointError(
                f"{where} epsilon",
                f"is {norm.epsilon:.3g} (allowed: above 0, up to {LARGEST_EPSILON:g})",
                "Without it a token whose features are equal would be divided by zero",
            )
        return
    _check_finite(f"{where} mean", norm.mean)
    _check_finite(f"{where} variance", norm.variance)
    if (lowest := float((norm.variance + norm.epsilon).min())) <= 0:
        raise CheckpointError(
            f"{where} variance",
            f"is {lowest:.3g} with its epsilon (limit: above 0)",
            "Check the running statistics of batch norm",
        )


def _check_affine(where: str, affine: Affine) -> None:
    _check_finite(f"{where} weight", affine.weight)
    _check_finite(f"{where} bias", affine.bias)


def _check_finite(where: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise CheckpointError(where, f"holds {count} numbers that are not finite", "Train again")
