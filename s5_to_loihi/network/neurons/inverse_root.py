"""The inverse square root of an integer as mantissa and exponent, by a normalised table."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np

from s5_to_loihi.fixed_point import Integers
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate

#: Bits of the largest integer whose root is taken.
RADICAND_BITS = 62
#: Fractional bits of the mantissa, which lies in (1/2, 1].
MANTISSA_EXPONENT = 20
#: The radicand is brought to [1, 4) and looked at with this many fractional bits.
FRACTION_BITS = 20
#: Binary logarithm of the distance between knots: 384 segments.
SEGMENT_SHIFT = 13
#: Bound on ``|result sqrt(radicand) - 1|``, for all radicands of 1 to ``RADICAND_BITS`` bits. The
#: chord of a segment is above the curve by 2**-17.4 at most, which lowering the knots halves;
#: rounding the knots and what lies between them and the cut after ``FRACTION_BITS`` are the rest.
ERROR = 2.0**-17.9


def _knots() -> tuple[int, ...]:
    """Return the table, in integers only so that it is the same on every machine.

    At x, in units of ``2**-FRACTION_BITS``, stands ``2**30 / sqrt(x)``, which is the mantissa in
    units of ``2**-MANTISSA_EXPONENT``, less half of what the chord to the next knot is above the
    curve in its middle: a sixteenth of the second derivative times the square of the distance,
    ``3 x**-2.5``.
    """
    guard = 8
    knots = []
    for index in range(3 * (1 << (FRACTION_BITS - SEGMENT_SHIFT)) + 1):
        x = (1 << FRACTION_BITS) + (index << SEGMENT_SHIFT)
        root = math.isqrt((1 << (60 + 2 * guard)) // x)
        lowered = (3 << (50 + guard)) // (x * x * math.isqrt(x))
        knots.append((root - lowered + (1 << (guard - 1))) >> guard)
    return tuple(knots)


#: ``1/sqrt(x) * 2**MANTISSA_EXPONENT`` of x from 1 to 4.
TABLE = Interpolation(_knots(), SEGMENT_SHIFT)


def inverse_root(radicand: Integers) -> tuple[Integers, Integers]:
    """Return ``(mantissa, doublings)`` of ``1 / sqrt(radicand)``.

    ``1 / sqrt(radicand) = mantissa * 2**(doublings - RADICAND_BITS/2 + 1 - MANTISSA_EXPONENT)``,
    off by less than ``ERROR`` of itself. Doublings are 0 to 30.

    Args:
        radicand: integers of any shape, from 1 to ``2**RADICAND_BITS - 1``.
    """
    doublings: list[Integers] = []
    for step in (16, 8, 4, 2, 1):
        room = RADICAND_BITS - 2 * step
        small = radicand < (1 << room)
        # The minimum changes nothing where it counts; it says how large what is shifted can be.
        moved = np.minimum(radicand, (1 << room) - 1) << (2 * step)
        radicand = np.where(small, moved, radicand)
        doublings.append(np.where(small, step, 0))
    fraction = radicand >> (RADICAND_BITS - 2 - FRACTION_BITS)
    beyond_one = np.maximum(fraction, 1 << FRACTION_BITS) - (1 << FRACTION_BITS)
    return interpolate(beyond_one, TABLE), functools.reduce(operator.add, doublings)
