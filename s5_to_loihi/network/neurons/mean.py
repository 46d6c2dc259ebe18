"""MEAN: the mean over the tokens of a sequence of known length, for classification."""

from __future__ import annotations

import math
from typing import NamedTuple

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format, convert, multiply, saturate, shift_right
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values
from s5_to_loihi.network.widths import STATE_BITS


class MeanConstants(NamedTuple):
    """Constants of MEAN.

    Attributes:
        hidden: format of the incoming value and of the mean.
        input_shift: right shift of each value before it is added, so that the sum fits.
        sum_bits: width of the running sum, which saturates there.
        reciprocal: 2**input_shift / sequence length, scaled to 15 bits.
        reciprocal_shift: right shift of the sum's product with it, >= 0.
        lowered: format in which the mean enters the decoder's weights.
    """

    hidden: Format
    input_shift: Shift
    sum_bits: int
    reciprocal: int
    reciprocal_shift: Shift
    lowered: Format


def mean_constants(hidden: Format, lowered: Format, length: int | None) -> MeanConstants:
    """Return the constants with which MEAN divides a sum of ``length`` values.

    The sum is kept within ``STATE_BITS`` by shifting each value right first; the division is a
    multiplication with a 15-bit reciprocal ``f * 2**14``, ``2**input_shift / length = f * 2**k``,
    ``1 <= f < 2``.

    Raises:
        CheckpointError: there is no length.
    """
    if not length or length < 1:
        raise CheckpointError(
            "readout",
            "the mean over the tokens needs their number",
            "Give the length of a sequence in tokens",
        )
    headroom = STATE_BITS - hidden.bits
    input_shift = max(0, math.ceil(math.log2(length)) - headroom)
    mantissa, exponent = math.frexp(2**input_shift / length)
    reciprocal = min(round(mantissa * 2 * 2**14), 2**15 - 1)
    return MeanConstants(hidden, input_shift, STATE_BITS, reciprocal, 14 - (exponent - 1), lowered)


def mean_formats(constants: MeanConstants) -> dict[str, Format]:
    """Return the formats of MEAN's values."""
    c = constants
    total = Format(c.sum_bits, c.hidden.exponent - c.input_shift)
    return {"sum": total, "mean": c.hidden, "lowered": c.lowered}


def drive(accumulators: Values, constants: MeanConstants) -> Values:
    """Return the hidden value, shifted so that the sum fits."""
    return (shift_right(accumulators[0], constants.input_shift),)


def advance(inputs: Values, state: Values, constants: MeanConstants) -> Values:
    """sum = sum + hidden."""
    return (saturate(state[0] + inputs[0], constants.sum_bits),)


def emit(inputs: Values, state: Values, constants: MeanConstants) -> tuple[Values, Values]:
    """mean = sum / length, complete at the sequence's last token."""
    c = constants
    mean = multiply(state[0], c.reciprocal, c.reciprocal_shift, c.hidden.bits)
    return (mean, convert(mean, c.hidden, c.lowered)), ()


MEAN = NeuronKind(
    name="mean",
    title="mean over the tokens",
    ports=("hidden",),
    state=("sum",),
    messages=("mean", "lowered"),
    constants=MeanConstants,
    update=Recurrence(drive, advance, emit),
)
