"""SCALED_DENSE: the encoder and the decoder; the affine map that the gates have as well."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Affine
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import SCALED_DENSE
from s5_to_loihi.network.neurons.rescaling import Rescaling
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants, ScaledDenseConstants
from s5_to_loihi.network.widths import STATE_BITS
from s5_to_loihi.quantization.draft import Draft, Message, Reader
from s5_to_loihi.quantization.formats import (
    best_exponent,
    fine_bits,
    limited,
    multipliers,
    resolvable,
    within,
)
from s5_to_loihi.quantization.rounding import RoundedRows


def add_encoder(
    draft: Draft, affine: Affine, rectified: bool, token: Message, reader: Reader
) -> Message:
    """Quantize the encoder; ``reader`` is what its result enters."""
    values = draft.floats["encoder.affine"]
    kept = np.maximum(values, 0) if rectified else values
    bits, exponents = draft.message_format("encoder.activation", kept, [reader])
    port = Endpoint("encoder", "weighted")
    rows, bias = draft.weigh("encoder.weight", affine.weight, token, port, values)
    exponents = limited(exponents, bits, bias, rows.steps)
    draft.scale("encoder.affine", "encoder.affine", exponents)
    constants = affine_constants("encoder", rows, bias, bits, exponents)
    return _add_dense(draft, "encoder", constants, token, exponents, rectified)


def add_decoder(draft: Draft, affine: Affine, source: Message, hidden: Message) -> Message:
    """Quantize the decoder, which reads ``source``; it is fitted on the tokens' ``hidden``."""
    values = draft.floats["decoder.hidden"] @ affine.weight.T + affine.bias
    bits = draft.precision.bits("activation", "decoder.activation")
    rows, bias = draft.fit("decoder.weight", affine.weight, [hidden], values)
    port = Endpoint("decoder", "weighted")
    draft.connect("decoder.weight", rows.integers, rows.digits, source, port)
    finest = np.full(len(bias), best_exponent(values, bits))
    # All outputs share a format: they leave the network.
    exponents = np.full(len(bias), limited(finest, bits, bias, rows.steps).min())
    if source is hidden:
        draft.scale("decoder.affine", "output", exponents)
    constants = affine_constants("decoder", rows, bias, bits, exponents)
    return _add_dense(draft, "decoder", constants, source, exponents, False)


def _add_dense(
    draft: Draft,
    name: str,
    affine: AffineConstants,
    source: Message,
    exponents: np.ndarray,
    rectified: bool,
) -> Message:
    constants = ScaledDenseConstants(affine, int(rectified))
    formats = {"activation": affine.result, "affine": affine.result}
    return draft.add(name, SCALED_DENSE, constants, formats, [source], exponents, rectified)[0]


def affine_constants(
    name: str,
    rows: RoundedRows,
    bias: np.ndarray,
    bits: int,
    exponents: np.ndarray,
    floors: int = 1,
) -> AffineConstants:
    """Return the constants of an affine map.

    Args:
        name: for errors.
        rows: the weights.
        bias: (n,) floats.
        bits: width of the results.
        exponents: (n,) their fractional bits.
        floors: how many right shifts come before the sum.

    Raises:
        CapacityError: a factor or a bias does not fit.
    """
    # Fewer where an integer of the accumulator is worth so much that no multiplier could widen it.
    worth = rows.steps * np.exp2(exponents)
    extra = max(0, int(resolvable(np.full(len(worth), fine_bits(bits)), worth, 0).min()))
    result = Format(bits, int(exponents.min()))
    fine = Format(STATE_BITS, result.exponent + extra)
    scale = np.exp2(exponents + extra)
    multiplier, shift = multipliers(rows.steps * scale, name)
    # The half of the rounding at the end, and the mean of what the floors before it take.
    half = ((1 << extra) >> 1) + floors / 2
    return AffineConstants(
        Rescaling(multiplier, shift, fine, rows.digits.bits),
        within(np.rint(bias * scale + half), fine, f"{name} bias"),
        extra,
        result,
    )
