"""MEAN: the mean over the tokens of a sequence of known length, for classification."""

from __future__ import annotations

from typing import NamedTuple

from s5_to_loihi.fixed_point import Format, convert, multiply, saturate
from s5_to_loihi.network.neurons.kind import NeuronKind


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
    input_shift: int
    sum_bits: int
    reciprocal: int
    reciprocal_shift: int
    lowered: Format


def update(accumulators, state, constants):
    """total = total + hidden; mean = total / length, complete at the sequence's last token."""
    c = constants
    total = saturate(state[0] + (accumulators[0] >> c.input_shift), c.sum_bits)
    mean = multiply(total, c.reciprocal, c.reciprocal_shift, c.hidden.bits)
    return (total,), (mean, convert(mean, c.hidden, c.lowered)), ()


MEAN = NeuronKind(
    name="mean",
    title="mean over the tokens",
    ports=("hidden",),
    state=("sum",),
    messages=("mean", "lowered"),
    probes=(),
    constants=MeanConstants,
    update=update,
)
