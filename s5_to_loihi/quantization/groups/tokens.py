"""The tokens: no group, but what the first group receives; one if a norm reads them."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format, limits, to_integers
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint
from s5_to_loihi.network.neurons.scaled_gate import (
    OPENING_EXPONENT,
    SCALED_RESIDUAL,
    SumConstants,
)
from s5_to_loihi.network.widths import STATE_BITS
from s5_to_loihi.quantization.draft import (
    AnyReader,
    Draft,
    Message,
    NormReader,
    Reader,
    affordable_bits,
)
from s5_to_loihi.quantization.float_weights import FloatFormat
from s5_to_loihi.quantization.formats import (
    best_exponent,
    right_shifts,
    spare_bits,
)
from s5_to_loihi.quantization.precision import WIDE_INPUT, Precision
from s5_to_loihi.quantization.rounding import SUM_MARGIN, choose_digits, largest_weight_sum

#: Bits above the largest token of the calibration data; wide tokens keep one more. What is lost of
#: a token is lost for good, so tokens keep fewer than the messages between groups.
SPARE_BITS = 2


def quantize_tokens(
    tokens: np.ndarray, reader: AnyReader, precision: Precision, notes: list[str]
) -> Message:
    """Return tokens (T, N, F) in the best format; ``reader`` is the encoder, or the first block.

    What was capped is added to ``notes``.
    """
    bits, digits = precision.bits("input", "input"), None
    free = precision.inputs is None and bits == precision.input_bits
    if free and isinstance(reader, Reader):
        bits, digits = _best_bits(bits, tokens, reader, precision)
    if digits is None:
        bits = affordable_bits("input", bits, [reader], precision, notes)
    token = _format(tokens, bits)
    exponents = np.full(tokens.shape[-1], token.exponent)
    integers, _ = to_integers(tokens, token)
    return Message(Endpoint(INPUT, TOKEN), token, integers, exponents, digits=digits)


def add_relay(draft: Draft, token: Message, reader: NormReader) -> Message:
    """Add a group that sends the tokens with their squares, for a norm before any other group."""
    bits, fine = token.format.bits, draft.fine_bits(token.format.bits)
    exponents = np.minimum(token.exponents, reader.finest(bits))
    message = Format(bits, int(exponents[0]))
    shifts = right_shifts(token.exponents + OPENING_EXPONENT - exponents - fine, "tokens")
    constants = SumConstants(
        value_shift=shifts,
        residual_shift=np.zeros_like(shifts),
        fine=Format(STATE_BITS, message.exponent + fine),
        rounding_shift=fine,
        hidden=message,
        rectified=0,
    )
    draft.builder.hand_on("tokens.value", token.endpoint, Endpoint("tokens", "value"))
    formats = {"hidden": message, "total": message}
    return draft.add(
        "tokens", SCALED_RESIDUAL, constants, formats, [token], exponents, reader=reader
    )[0]


def _format(tokens: np.ndarray, bits: int) -> Format:
    spare = min(spare_bits(bits), SPARE_BITS + (bits > WIDE_INPUT))
    return Format(bits, best_exponent(tokens, bits, spare))


def _best_bits(
    most: int, tokens: np.ndarray, reader: Reader, precision: Precision
) -> tuple[int, int | None]:
    """Return bits that cost no more synapses than the messages' do.

    Returns:
        ``(bits, digits of the reader's weights if rows may grow for them, else None)``.
    """
    fewest = max(16, precision.activations)
    weight_bits, allowed = precision.weight(reader.name), range(fewest, most + 1)
    if isinstance(weight_bits, FloatFormat):
        total = weight_bits.band_sum(reader.weight)
        return max(
            (bits for bits in allowed if total <= largest_weight_sum(bits)), default=most
        ), None

    def digits(bits: int) -> int:
        return choose_digits(reader.weight, weight_bits, largest_weight_sum(bits))[0].count

    count = digits(fewest)
    if count == 1:
        return min(allowed, key=lambda bits: _error(tokens, reader.weight, weight_bits, bits)), 1
    # Low digits are as large whatever the step of their row: tokens have to make room.
    return max(bits for bits in allowed if digits(bits) <= count), None


def _error(tokens: np.ndarray, weight: np.ndarray, weight_bits: int, bits: int) -> float:
    """Return the expected squared error of the sums of weights (out, F), by their variances.

    The wider the tokens, the less is left to the sums of weights: rows with larger ones get coarser
    steps.
    """
    weight = np.abs(weight[weight.any(axis=1)])
    steps = weight.max(axis=1, initial=0) / limits(weight_bits)[1]
    sums = SUM_MARGIN * weight.sum(axis=1) / steps
    variances = tokens.reshape(-1, tokens.shape[-1]).var(axis=0)
    power = np.maximum(weight**2 @ variances, np.finfo(float).tiny)
    grown = steps * np.maximum(1, sums / largest_weight_sum(bits))
    of_weights = grown**2 * ((weight > 0) @ variances)
    of_tokens = 4.0 ** -_format(tokens, bits).exponent * (weight**2).sum(axis=1)
    return float(((of_weights + of_tokens) / power).sum())
