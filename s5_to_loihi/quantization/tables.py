"""Tables for the sigmoid and activations: piecewise linear, with the least squared error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import solveh_banded
from scipy.special import expit

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Activation, activate
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate
from s5_to_loihi.network.neurons.scaled_gate import OPENING_EXPONENT

#: Beyond this the sigmoid is flat to within 2**-23.
SIGMOID_RANGE = 16


class Tabulated(NamedTuple):
    """How an activation is tabulated.

    Attributes:
        title: its name for people.
        odd: whether it is odd and the table is itself; otherwise the table is what it is more than
            the ReLU, which is even.
        reach: beyond this the table keeps its value.
        limit: what the function goes on to there.
    """

    title: str
    odd: bool
    reach: int
    limit: float


#: Beyond 4 GELU is a ReLU to within 1.3e-4; beyond 16 SiLU is one to within 1.8e-6, and beyond 8
#: the tangent is 1 to within 2.3e-7.
TABULATED = {
    Activation.GELU_TANH: Tabulated("GELU", odd=False, reach=4, limit=0.0),
    Activation.GELU_ERF: Tabulated("GELU", odd=False, reach=4, limit=0.0),
    Activation.SILU: Tabulated("SiLU", odd=False, reach=16, limit=0.0),
    Activation.TANH: Tabulated("tanh", odd=True, reach=8, limit=1.0),
}
#: Magnitudes at which a table is fitted and its error is measured: at most this many.
LARGEST_GRID = 1 << 16


def sigmoid_table(source: Format, knots: int) -> tuple[Interpolation, float]:
    """Return a table of ``sigmoid(v) - 1/2`` over |v|, which is odd in v.

    Args:
        source: format of v.
        knots: segments up to ``SIGMOID_RANGE``, or up to the limit of the format; fewer if
            ``source`` does not have that many integers there.

    Returns:
        ``(table, largest absolute error over all v, those beyond the format's limit included)``.
    """
    table, error = _fit(
        lambda magnitude: expit(magnitude) - 0.5, source, SIGMOID_RANGE, knots, OPENING_EXPONENT
    )
    beyond = 0.5 - math.ldexp(table.knots[-1], -OPENING_EXPONENT)
    return table, max(error, abs(beyond))


def activation_table(
    activation: Activation, source: Format, knots: int
) -> tuple[Interpolation, float]:
    """Return a table of an activation over |y|: see ``TABULATED``.

    Args:
        activation: one of ``TABULATED``.
        source: format of y and of the table's entries.
        knots: segments over the range in which the table has a slope; fewer if ``source`` does
            not have that many integers there.

    Returns:
        ``(table, largest absolute error over all y)``.
    """
    how = TABULATED[activation]
    sign = 1 if how.odd else -1
    table, error = _fit(
        lambda magnitude: activate(sign * magnitude, activation),
        source,
        how.reach,
        knots,
        source.exponent,
    )
    if (len(table.knots) - 1) << table.segment_shift < 1 << (source.bits - 1):
        # The last value stays, where what it stands for goes on to its limit.
        beyond = how.limit - math.ldexp(table.knots[-1], -source.exponent)
        error = max(error, abs(beyond))
    return table, error


def _fit(
    function: Callable[[np.ndarray], np.ndarray],
    source: Format,
    reach: int,
    knots: int,
    exponent: int,
) -> tuple[Interpolation, float]:
    """Fit knots by least squares; the first stays at ``function(0)`` = 0: silence is silence.

    Args:
        function: of magnitudes.
        source: format of the magnitudes.
        reach: the largest magnitude, a power of two, or less where the format ends before.
        knots: segments, or as many as there are integers.
        exponent: fractional bits of the entries.
    """
    reach_bits = max(1, min(source.exponent + int(math.log2(reach)), source.bits - 1))
    knots = min(knots, 1 << reach_bits)
    segment_shift, total = reach_bits - int(math.log2(knots)), 1 << reach_bits
    magnitudes = np.arange(0, total, max(1, total // LARGEST_GRID))
    wanted = function(np.ldexp(magnitudes.astype(np.float64), -source.exponent))
    segment = magnitudes >> segment_shift
    fraction = np.ldexp((magnitudes - (segment << segment_shift)).astype(float), -segment_shift)
    # Normal equations of hat functions: tridiagonal, the first knot left out.
    diagonal = np.zeros(knots + 1)
    np.add.at(diagonal, segment, (1 - fraction) ** 2)
    np.add.at(diagonal, segment + 1, fraction**2)
    beside = np.zeros(knots + 1)
    np.add.at(beside, segment + 1, fraction * (1 - fraction))
    right = np.zeros(knots + 1)
    np.add.at(right, segment, (1 - fraction) * wanted)
    np.add.at(right, segment + 1, fraction * wanted)
    # With one magnitude a segment nothing ends in the last knot: it is then left at the one before.
    diagonal[-1] += 1e-9
    right[-1] += 1e-9 * wanted[-1]
    bands = np.stack([beside, diagonal])[:, 1:]
    fitted = solveh_banded(bands, right[1:])
    entries = (0, *np.rint(np.ldexp(fitted, exponent)).astype(np.int64).tolist())
    table = Interpolation(entries, segment_shift)
    # The lowest integer of the format is as far as the last knot, or beyond it.
    tried = np.append(magnitudes, total)
    wanted = function(np.ldexp(tried.astype(np.float64), -source.exponent))
    error = np.ldexp(interpolate(tried, table).astype(float), -exponent) - wanted
    # Between the magnitudes that were tried, rounding may differ by one.
    untried = 0.0 if len(magnitudes) == total else math.ldexp(1.0, -exponent)
    return table, float(np.abs(error).max()) + untried
