"""The tokens: no group, but what the first group receives."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format, limits, to_integers
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint
from s5_to_loihi.quantization.draft import Message, Reader, affordable_bits
from s5_to_loihi.quantization.formats import best_exponent, spare_bits
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import SUM_MARGIN, choose_digits, largest_weight_sum

#: Bits above the largest token of the calibration data; wide tokens keep one more. What is lost of
#: a token is lost for good, so tokens keep fewer than the messages between groups.
SPARE_BITS = 2


def quantize_tokens(
    tokens: np.ndarray, reader: Reader, precision: Precision, notes: list[str]
) -> Message:
    """Return tokens (T, N, F) in the best format; ``reader`` is the encoder.

    What was capped is added to ``notes``.
    """
    bits = precision.bits("input", "input")
    fewest = max(16, precision.activations)
    digits = None
    count = _digits(reader, precision, fewest)
    if precision.inputs is not None or bits != precision.input_bits:
        bits = affordable_bits("input", bits, [reader], precision, notes)
    elif count == 1:
        digits = count
        bits = _best_bits(tokens, reader, precision, range(fewest, bits + 1))
    else:
        # Low digits are as large whatever the step of their row: tokens have to make room.
        bits = max(b for b in range(fewest, bits + 1) if _digits(reader, precision, b) <= count)
        bits = affordable_bits("input", bits, [reader], precision, notes)
    token = _format(tokens, bits)
    exponents = np.full(tokens.shape[-1], token.exponent)
    integers, _ = to_integers(tokens, token)
    return Message(Endpoint(INPUT, TOKEN), token, integers, exponents, digits=digits)


def _digits(reader: Reader, precision: Precision, bits: int) -> int:
    weight_bits = precision.bits("weight", reader.name)
    return choose_digits(reader.weight, weight_bits, largest_weight_sum(bits))[0].count


def _format(tokens: np.ndarray, bits: int) -> Format:
    spare = min(spare_bits(bits), SPARE_BITS + (bits > 20))
    return Format(bits, best_exponent(tokens, bits, spare))


def _best_bits(tokens: np.ndarray, reader: Reader, precision: Precision, allowed: range) -> int:
    """Return the bits with the least error of the encoder's sums, by the sums' variances.

    Wider tokens leave less to the sums of weights; rows with larger ones get coarser steps.
    """
    heard = reader.weight.any(axis=1)
    weight = np.abs(reader.weight[heard])
    steps = weight.max(axis=1) / limits(precision.bits("weight", reader.name))[1]
    sums = SUM_MARGIN * weight.sum(axis=1) / steps
    variances = tokens.reshape(-1, tokens.shape[-1]).var(axis=0)
    power = np.maximum(weight**2 @ variances, np.finfo(float).tiny)

    def error(bits: int) -> float:
        grown = steps * np.maximum(1, sums / largest_weight_sum(bits))
        of_weights = grown**2 * ((weight > 0) @ variances)
        of_tokens = 4.0 ** -_format(tokens, bits).exponent * (weight**2).sum(axis=1)
        return float(((of_weights + of_tokens) / power).sum())

    return min(allowed, key=error)
