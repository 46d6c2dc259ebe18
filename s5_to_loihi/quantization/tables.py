"""Tables for sigmoid and GELU: piecewise-linear functions with the least squared error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import solveh_banded
from scipy.special import expit

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Activation, activate
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate
from s5_to_loihi.network.neurons.scaled_gate import OPENING_EXPONENT

#: Beyond this the sigmoid is flat to within 2**-23.
SIGMOID_RANGE = 16
#: Beyond this GELU is a ReLU to within 1.3e-4.
GELU_RANGE = 4
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


def gelu_table(activation: Activation, source: Format, knots: int) -> tuple[Interpolation, float]:
    """Return a table of ``gelu(y) - relu(y)`` over |y|, which is even in y.

    Args:
        activation: which GELU.
        source: format of y and of the table's entries.
        knots: segments over the range in which GELU differs from ReLU; fewer if ``source`` does
            not have that many integers there.

    Returns:
        ``(table, largest absolute error over all y)``.
    """
    table, error = _fit(
        lambda magnitude: activate(-magnitude, activation),
        source,
        GELU_RANGE,
        knots,
        source.exponent,
    )
    if (len(table.knots) - 1) << table.segment_shift < 1 << (source.bits - 1):
        # The last value stays, where what it stands for goes on to zero.
        error = max(error, math.ldexp(abs(table.knots[-1]), -source.exponent))
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
    error = np.ldexp(interpolate(magnitudes, table).astype(float), -exponent) - wanted
    # Between the magnitudes that were tried, rounding may differ by one.
    untried = 0.0 if len(magnitudes) == total else math.ldexp(1.0, -exponent)
    return table, float(np.abs(error).max()) + untried
