"""SCALED_DENSE: encoder, decoder, the map of a residual; the affine map that gates have as well."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Affine
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons.rescaling import Rescaling
from s5_to_loihi.network.neurons.scaled_dense import (
    SCALED_DENSE,
    AffineConstants,
    ScaledDenseConstants,
)
from s5_to_loihi.network.widths import STATE_BITS
from s5_to_loihi.quantization.draft import (
    AnyReader,
    Draft,
    Message,
    OutputReader,
    Reader,
    TensorScale,
)
from s5_to_loihi.quantization.float_weights import FloatFormat, shifts_alone
from s5_to_loihi.quantization.formats import (
    best_exponent,
    limited,
    multipliers,
    resolvable,
    within,
)
from s5_to_loihi.quantization.rounding import Moments, RoundedRows, moments


def add_encoder(
    draft: Draft, affine: Affine, rectified: bool, token: Message, reader: AnyReader
) -> Message:
    """Quantize the encoder; ``reader`` is what its result enters."""
    values = draft.floats["encoder.affine"]
    kept = np.maximum(values, 0) if rectified else values
    bits, finest = draft.message_format(
        "encoder.activation", kept, [reader], before=values if rectified else None
    )
    data = moments(token.integers, values)
    message = _add_dense(
        draft, "encoder", affine.weight, token, data, bits, finest, reader, rectified
    )
    draft.scales.append(TensorScale("encoder.affine", "encoder.affine", message.exponents))
    return message


def add_decoder(draft: Draft, affine: Affine, source: Message, hidden: Message) -> Message:
    """Quantize the decoder, which reads ``source``; it is fitted on the tokens' ``hidden``."""
    values = draft.floats["decoder.hidden"] @ affine.weight.T + affine.bias
    bits = draft.precision.bits("activation", "decoder.activation")
    finest = np.full(values.shape[-1], best_exponent(values, bits))
    data = moments(hidden.integers, values)
    message = _add_dense(
        draft, "decoder", affine.weight, source, data, bits, finest, OutputReader()
    )
    if source is hidden:
        draft.scales.append(TensorScale("decoder.affine", "output", message.exponents))
    return message


def add_map(
    draft: Draft, block: str, place: str, affine: Affine, source: Message, reference: str
) -> Message:
    """Quantize a map inside of a block, whose result is added to something.

    Args:
        draft: the network so far.
        block: its name in it.
        place: of the map: the group is called ``block.place``.
        affine: the map.
        source: what it reads.
        reference: the result's name in the block in ``float_model.evaluate``.
    """
    name, values = f"{block}.{place}", draft.floats[f"{block}.{reference}"]
    bits, finest = draft.message_format(f"{name}.activation", values, [])
    data = moments(source.integers, values)
    adder = Reader(np.eye(values.shape[-1]), f"{name}.activation")
    message = _add_dense(draft, name, affine.weight, source, data, bits, finest, adder)
    draft.scales.append(TensorScale(f"{name}.affine", f"{block}.{reference}", message.exponents))
    return message


def _add_dense(
    draft: Draft,
    name: str,
    weight: np.ndarray,
    source: Message,
    data: Moments,
    bits: int,
    finest: np.ndarray,
    reader: AnyReader,
    rectified: bool = False,
) -> Message:
    synapses = (f"{name}.weight", source, Endpoint(name, "weighted"))
    rows = draft.weigh(f"{name}.weight", weight, data, [synapses])
    fine = draft.fine_bits(bits)
    finest = draft.narrow(finest, fine, rows, source)
    exponents = reader.settle(limited(finest, fine, rows.bias(data), rows.steps))
    affine = affine_constants(name, rows, rows.bias(data), bits, fine, exponents)
    return add_affine(draft, name, affine, source, exponents, rectified, reader)


def add_affine(
    draft: Draft,
    name: str,
    affine: AffineConstants,
    source: Message,
    exponents: np.ndarray,
    rectified: bool,
    reader: AnyReader,
) -> Message:
    """Add the group of an affine map, whose synapses are there, and return its message."""
    constants = ScaledDenseConstants(affine, int(rectified))
    formats = {"activation": affine.result, "affine": affine.result}
    return draft.add(
        name, SCALED_DENSE, constants, formats, [source], exponents, rectified, reader
    )[0]


def affine_constants(
    name: str,
    rows: RoundedRows,
    bias: np.ndarray,
    bits: int,
    fine: int,
    exponents: np.ndarray,
    floors: int = 1,
) -> AffineConstants:
    """Return the constants of an affine map.

    Args:
        name: for errors.
        rows: the weights.
        bias: (n,) floats.
        bits: width of the results.
        fine: how many more fractional bits they have while they are summed up.
        exponents: (n,) fractional bits of the results.
        floors: how many right shifts come before the sum.

    Raises:
        CapacityError: a factor or a bias does not fit.
    """
    # Fewer where an integer of the accumulator is worth so much that no multiplier could widen it.
    worth = rows.steps * np.exp2(exponents)
    extra = max(0, int(resolvable(np.full(len(worth), fine), worth, 0).min()))
    result = Format(bits, int(exponents.min()))
    summed = Format(STATE_BITS, result.exponent + extra)
    scale = np.exp2(exponents + extra)
    multiplier, shift = multipliers(rows.steps * scale, name)
    if isinstance(rows.digits, FloatFormat):
        multiplier, shift = shifts_alone(multiplier, shift)
    # The half of the rounding at the end, and the mean of what the floors before it take.
    half = ((1 << extra) >> 1) + floors / 2
    return AffineConstants(
        Rescaling(multiplier, shift, summed, rows.digits.bits),
        within(np.rint(bias * scale + half), summed, f"{name} bias"),
        extra,
        result,
    )
