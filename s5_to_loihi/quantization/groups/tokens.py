"""The tokens: no group, but what the first group receives; one if a norm reads them."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format, to_integers
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
from s5_to_loihi.quantization.formats import best_exponent, fine_bits, right_shifts
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import choose_digits, largest_weight_sum


def quantize_tokens(
    tokens: np.ndarray, reader: AnyReader, precision: Precision, notes: list[str]
) -> Message:
    """Return tokens (T, N, F) in the best format; ``reader`` is the encoder, or the first block.

    What was capped is added to ``notes``.
    """
    bits = precision.bits("input", "input")
    if isinstance(reader, Reader):
        bits = _bits(bits, reader, precision)
    bits = affordable_bits("input", bits, [reader], precision, notes)
    token = Format(bits, best_exponent(tokens, bits))
    exponents = np.full(tokens.shape[-1], token.exponent)
    return Message(Endpoint(INPUT, TOKEN), token, to_integers(tokens, token)[0], exponents)


def add_relay(draft: Draft, token: Message, reader: NormReader) -> Message:
    """Add a group that sends the tokens with their squares, for a norm before any other group."""
    bits, fine = token.format.bits, fine_bits(token.format.bits)
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


def _bits(bits: int, reader: Reader, precision: Precision) -> int:
    """Return the bits asked for, or as many as cost no more synapses than the messages' do."""
    fewest = max(16, precision.activations)
    if precision.inputs is not None or bits != precision.input_bits:
        return bits
    weight_bits = precision.bits("weight", reader.name)

    def digits(message_bits: int) -> int:
        return choose_digits(reader.weight, weight_bits, largest_weight_sum(message_bits))[0].count

    while bits > fewest and digits(bits) > digits(fewest):
        bits -= 1
    return bits
