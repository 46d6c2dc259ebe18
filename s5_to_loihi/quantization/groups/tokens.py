"""The tokens: no group, but what the first group receives."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format, to_integers
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint
from s5_to_loihi.quantization.draft import Message, Reader, affordable_bits
from s5_to_loihi.quantization.formats import best_exponent
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import choose_digits, largest_weight_sum


def quantize_tokens(
    tokens: np.ndarray, reader: Reader, precision: Precision, notes: list[str]
) -> Message:
    """Return tokens (T, N, F) in the best format; ``reader`` is the encoder.

    What was capped is added to ``notes``.
    """
    bits = affordable_bits("input", _bits(reader, precision), [reader], precision, notes)
    token = Format(bits, best_exponent(tokens, bits))
    exponents = np.full(tokens.shape[-1], token.exponent)
    return Message(Endpoint(INPUT, TOKEN), token, to_integers(tokens, token)[0], exponents)


def _bits(reader: Reader, precision: Precision) -> int:
    """Return the bits asked for, or as many as cost no more synapses than the messages' do."""
    bits = precision.bits("input", "input")
    fewest = max(16, precision.activations)
    if precision.inputs is not None or bits != precision.input_bits:
        return bits
    weight_bits = precision.bits("weight", reader.name)

    def digits(message_bits: int) -> int:
        return choose_digits(reader.weight, weight_bits, largest_weight_sum(message_bits))[0].count

    while bits > fewest and digits(bits) > digits(fewest):
        bits -= 1
    return bits
