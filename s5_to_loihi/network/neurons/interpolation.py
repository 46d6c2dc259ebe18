"""A piecewise-linear function of a magnitude, as a table that all neurons of a group share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import Integers, look_up, shift_right_rounded
from s5_to_loihi.network.neurons.constants import Shift, Table


class Interpolation(NamedTuple):
    """A function's values at evenly spaced knots.

    Attributes:
        knots: integers, the function at 0, 1, 2 ... times ``2**segment_shift``; beyond the last
            knot the function keeps its value.
        segment_shift: binary logarithm of the distance between knots, in units of the magnitude.
    """

    knots: Table
    segment_shift: Shift


def interpolate(magnitude: Integers, function: Interpolation) -> Integers:
    """Evaluate an ``Interpolation`` at integers >= 0 of any shape, rounding to the nearest."""
    last = ((len(function.knots) - 1) << function.segment_shift) - 1
    bounded = np.minimum(magnitude, last)
    knot = bounded >> function.segment_shift
    fraction = bounded & ((1 << function.segment_shift) - 1)
    start = look_up(function.knots, knot)
    rise = look_up(function.knots, knot + 1) - start
    return start + shift_right_rounded(rise * fraction, function.segment_shift)
