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
    """Choose the format of tokens (T, N, F) and return them in it.

    Args:
        tokens: floats.
        reader: the encoder.
        precision: bits of all tensors.
        notes: what was capped is added here.
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
    weight, weight_bits = reader.weight, precision.bits("weight", reader.name)

    def digits(message_bits: int) -> int:
        sums = largest_weight_sum(message_bits)
        return choose_digits(weight, weight.shape[1], weight_bits, sums)[0].count

    while bits > fewest and digits(bits) > digits(fewest):
        bits -= 1
    return bits
