"""Rescaling: from a dendritic accumulator to a value, with a factor for each neuron.

What all neurons of our own quantizer share. Weights of more than eight bits are two chained
synapses: the high digit arrives in a port of its own and counts ``2**DIGIT_BITS`` times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import Format, saturate, shift, shift_right

#: Bits of the low digit of a chained weight: an int8 synapse carries it.
DIGIT_BITS = 8


class Rescaling(NamedTuple):
    """A factor ``multiplier * 2**-shift`` for each neuron, and a bias.

    Attributes:
        multiplier: (n,) integers.
        shift: (n,) right shifts of the product, >= 0.
        multiplier_format, shift_format: their formats.
        fine: format of the product, with bits more than the value that it becomes.
    """

    multiplier: np.ndarray
    shift: np.ndarray
    multiplier_format: Format
    shift_format: Format
    fine: Format


def rescale(value, c):
    """Return ``sat((value * multiplier) >> shift)`` in the format ``c.fine``."""
    return saturate(shift_right(value * c.multiplier, c.shift), c.fine.bits)


def chained(low, high):
    """Return the accumulator of chained weights from those of its two digits."""
    return low + shift(high, DIGIT_BITS)
