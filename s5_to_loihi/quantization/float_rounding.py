"""Rounding of matrices to 8-bit floating point: a power of two a row, errors made up for.

Each weight is rounded to the nearest value, then single weights move to another one while that lets
the expected squared error of the row's sum fall: what ``rounding.py`` does with integers.
"""

from __future__ import annotations

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.machine_code import compiled
from s5_to_loihi.quantization.float_weights import FloatFormat, largest_total, part_sums
from s5_to_loihi.quantization.rounding import DESCENTS


def round_floats(
    name: str,
    weight: np.ndarray,
    covariance: np.ndarray,
    form: FloatFormat,
    largest_sum: int,
    factor_bits: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix, with a power of two a row.

    Args:
        name: of the matrix, for errors.
        weight: (out, parts * in) floats, in integers of their messages; zeros stay zero. A row of
            several sums has one step.
        covariance: (in, in) of the messages, each variance above zero.
        form: of the weights.
        largest_sum: that the absolute integers of a band of a sum may add up to.
        factor_bits: that the factor behind the sums adds to them.

    Returns:
        ``(integers (out, parts * in) int64, steps (out,))``: the finest steps with which the
        largest weight of a row does not saturate and its sums fit.

    Raises:
        CapacityError: a sum does not fit with any.
    """
    parts = weight.shape[1] // len(covariance)
    steps = form.steps(np.abs(weight).max(axis=1, initial=0))
    most = largest_total(largest_sum, factor_bits)
    matrix = np.ascontiguousarray(covariance)
    integers = np.zeros(weight.shape, dtype=np.int64)
    rows, tried = np.flatnonzero(steps), 0
    while len(rows):
        wanted = np.ascontiguousarray(weight[rows] / steps[rows, None])
        integers[rows] = form.nearest(wanted)
        found = integers[rows].astype(np.float64)
        _improve(wanted, found, matrix, np.array(form.values, dtype=float), form.thresholds())
        integers[rows] = found.astype(np.int64)
        bands = [part_sums(band, parts) for band in form.split(integers[rows])]
        wide = part_sums(integers[rows], parts) > most
        full = np.maximum.reduce(bands) > largest_sum
        # A whole band coarser, so that the largest weights stay at the top of one; or within it.
        steps[rows] *= np.where(wide, 2.0**form.bits, np.where(full, 2.0, 1.0))
        tried += bool((full & ~wide).any())
        if tried > form.bits:
            raise CapacityError(
                name,
                f"has weights of {form.name} that add up to more than {largest_sum:,} in a band",
                "Give the messages that they read fewer bits",
            )
        rows = rows[wide | full]
    return integers, steps


@compiled(nogil=True, error_model="numpy")
def _improve(wanted, integers, matrix, values, thresholds):
    """Change integers (rows, parts * in) one by one while that helps."""
    inputs = len(matrix)
    for row in range(len(wanted)):
        for first in range(0, wanted.shape[1], inputs):
            (support,) = np.nonzero(wanted[row, first : first + inputs])
            gradient = np.zeros(len(support))
            for i in range(len(support)):
                for j in range(len(support)):
                    column = first + support[j]
                    off = integers[row, column] - wanted[row, column]
                    gradient[i] += matrix[support[i], support[j]] * off
            for _ in range(DESCENTS):
                moved = False
                for i in range(len(support)):
                    column = first + support[i]
                    best = integers[row, column] - gradient[i] / matrix[support[i], support[i]]
                    nearest = values[np.searchsorted(thresholds, abs(best))] * np.sign(best)
                    change = nearest - integers[row, column]
                    if change != 0.0:
                        integers[row, column] = nearest
                        moved = True
                        for j in range(len(support)):
                            gradient[j] += matrix[support[j], support[i]] * change
                if not moved:
                    break
