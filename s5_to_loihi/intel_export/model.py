"""What a quantized S5 model means, independent of the file that it came from.

All classes are immutable; arrays are int64 unless said otherwise. H: width of a block, P: complex
states of a block, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.network.network import Readout


@dataclass(frozen=True, eq=False)
class Tensor:
    """Integers with their format."""

    data: np.ndarray
    format: Format


@dataclass(frozen=True, eq=False)
class Dense:
    """An affine map.

    Attributes:
        weight: (out, in) int8 range.
        bias: (out,).
        input: format in which the input enters; a finer input is lowered to it first.
        result: format of the result.
    """

    weight: Tensor
    bias: Tensor
    input: Format
    result: Format


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch norm in integers, with the exponents of its steps frozen.

    Attributes:
        minus_mean, inverse_deviation: (H,).
        scale, bias: (H,) or None.
        centred, normalised, scaled, shifted: formats after each step; the last two are used with
            ``scale`` and ``bias``.
    """

    minus_mean: Tensor
    inverse_deviation: Tensor
    scale: Tensor | None
    bias: Tensor | None
    centred: Format
    normalised: Format
    scaled: Format | None
    shifted: Format | None


@dataclass(frozen=True, eq=False)
class StateSpace:
    """The discretized state-space model of a block.

    Attributes:
        a_re, a_im: (P,) eigenvalues.
        b_re, b_im: (P, H). c_re, c_im: (H, P). d: (H,).
        u: format of the input; bu_re, bu_im: of B u; x_re, x_im: of the state; y: of the output.
        conjugate_symmetric: True if the other half of the conjugate pairs is implied.
    """

    a_re: Tensor
    a_im: Tensor
    b_re: Tensor
    b_im: Tensor
    c_re: Tensor
    c_im: Tensor
    d: Tensor
    u: Format
    bu_re: Format
    bu_im: Format
    x_re: Format
    x_im: Format
    y: Format
    conjugate_symmetric: bool


@dataclass(frozen=True, eq=False)
class Glu:
    """The gated linear unit of a block.

    Attributes:
        variant: which one.
        gate: W2 and b2; None for ``none``.
        value: W1 and b1; only for ``full``.
        left, right: formats of the factors, value and gate; for ``none`` of the value.
        result: format of the product, or for ``none`` of the value.
    """

    variant: GluVariant
    gate: Dense | None
    value: Dense | None
    left: Format
    right: Format
    result: Format


@dataclass(frozen=True, eq=False)
class Block:
    """One S5 block, pre-norm: hidden = relu(glu(ssm(norm(h))) + h).

    Attributes:
        total: frozen format of the residual sum.
    """

    norm: Norm
    ssm: StateSpace
    glu: Glu
    total: Format


@dataclass(frozen=True, eq=False)
class QuantizedS5:
    """A complete model in integers.

    Attributes:
        name: what the user calls it.
        encoder, decoder: the maps around the blocks; the encoder is followed by a ReLU.
        blocks: in order.
        readout: what the output stands for.
        sequence_length: tokens a sequence; needed for the readout ``mean`` only.
    """

    name: str
    encoder: Dense
    blocks: tuple[Block, ...]
    decoder: Dense
    readout: Readout = Readout.EACH_TOKEN
    sequence_length: int | None = None
