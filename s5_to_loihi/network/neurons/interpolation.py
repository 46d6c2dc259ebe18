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


def interpolate(magnitude: Integers, function: Interpolation, offset: int = 0) -> Integers:
    """Evaluate an ``Interpolation`` at integers >= 0 of any shape, rounding to the nearest.

    ``offset`` is added to the function, in its table: it costs no operation.
    """
    segment, knots = function.segment_shift, np.array(function.knots)
    bounded = np.minimum(magnitude, ((len(knots) - 1) << segment) - 1)
    knot = bounded >> segment
    fraction = bounded & ((1 << segment) - 1)
    start, rise = look_up(knots[:-1] + offset, knot), look_up(np.diff(knots), knot)
    return start + shift_right_rounded(rise * fraction, segment)
