"""Rescaling: from a dendritic accumulator to a value, with a factor for each neuron.

What all neurons of our own quantizer share. A weight may be several chained synapses, one for each
of its digits: weights of more than eight bits are, and those of messages so wide that a sum of
eight-bit weights would not fit an accumulator. Each digit has a port of its own.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, saturate, shift, shift_right
from s5_to_loihi.network.neurons.constants import Allowed, Multipliers, Shifts
from s5_to_loihi.network.neurons.kind import Values
from s5_to_loihi.network.widths import MOST_DIGITS, WIDEST_DIGIT

#: The bits of a digit of weights, each of which has synapses of its own.
DigitBits = Annotated[int, Allowed(2, WIDEST_DIGIT)]


def digit_ports(name: str) -> tuple[str, ...]:
    """Return the ports of a matrix, that of the lowest digit first."""
    return (name, *(f"{name}_{digit}" for digit in range(1, MOST_DIGITS)))


class Rescaling(NamedTuple):
    """A factor ``multiplier * 2**-shift`` for each neuron, and a bias.

    Attributes:
        multiplier: (n,) integers.
        shift: (n,) right shifts of the product, >= 0.
        fine: format of the product, with bits more than the value that it becomes.
        digit_bits: bits of a digit of the weights.
    """

    multiplier: Multipliers
    shift: Shifts
    fine: Format
    digit_bits: DigitBits


def chained(accumulators: Values, digit_bits: int) -> Integers:
    """Return the sum that the accumulators of a weight's digits stand for, the lowest first."""
    total = accumulators[0]
    for digit, accumulator in enumerate(accumulators[1:], start=1):
        total = total + shift(accumulator, digit * digit_bits)
    return total


def rescale(accumulators: Values, c: Rescaling) -> Integers:
    """Return ``sat((accumulator * multiplier) >> shift)`` in the format ``c.fine``.

    ``accumulators`` are those of the digits of the weights, the lowest first.
    """
    accumulator = chained(accumulators, c.digit_bits)
    return saturate(shift_right(accumulator * c.multiplier, c.shift), c.fine.bits)
