"""Rounding of weight matrices: each row on a grid of its own, errors compensated by one another.

For a row of weights w and messages m, the expected squared error of the row's sum is
``(q s - w)^T K (q s - w)`` with integers q, the grid's step s and the covariance K of the messages.
It is minimised by Babai's nearest plane on the Cholesky factor of K, which is what GPTQ does
(Frantar et al., arXiv 2210.17323), then by single steps of one integer at a time.

What the groups before have lost is not made up for by other weights: weights fitted to it follow
the calibration data, and networks of other data were worse than with each weight rounded by itself.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.machine_code import compiled
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, MOST_DIGITS, WIDEST_DIGIT
from s5_to_loihi.quantization.float_weights import FloatFormat

#: By how much the sums of the final integers may exceed those of plainly rounded ones.
SUM_MARGIN = 1.05
#: The same for each of several digits, whose low ones are as good as random.
CHAINED_MARGIN = 1.3

#: The ridge on a covariance, relative to its diagonal. Less fits the calibration data more closely
#: and other data less: measured on speech, with 3,000 tokens.
DAMPING = 3.0
#: How often all integers of a row are tried one step further.
DESCENTS = 8


@dataclass(frozen=True, eq=False)
class Moments:
    """What calibration data say about an affine map.

    Attributes:
        covariance: (in, in) of the messages; mean: (in,).
        wanted: (out,) mean of the results.
    """

    covariance: np.ndarray
    mean: np.ndarray
    wanted: np.ndarray


def moments(messages: np.ndarray, results: np.ndarray) -> Moments:
    """Return the moments of messages (..., in) and wanted results (..., out), float64."""
    messages = messages.reshape(-1, messages.shape[-1]).astype(np.float64)
    mean = messages.mean(axis=0)
    messages -= mean
    wanted = results.reshape(-1, results.shape[-1]).mean(axis=0)
    return Moments(messages.T @ messages / len(messages), mean, wanted)


@dataclass(frozen=True)
class Digits:
    """How a weight is written: ``count`` signed digits of ``bits`` bits each."""

    count: int
    bits: int

    def largest(self, weight_bits: int) -> int:
        """Return the largest weight: the digits and the weight are symmetric."""
        digit = (1 << (self.bits - 1)) - 1
        return min(
            (1 << (weight_bits - 1)) - 1, sum(digit << (k * self.bits) for k in range(self.count))
        )

    def split(self, integers: np.ndarray) -> list[np.ndarray]:
        """Return the digits of integers within ``largest``, the lowest first."""
        half, found = 1 << (self.bits - 1), []
        for _ in range(self.count - 1):
            low = ((integers + half) & (2 * half - 1)) - half
            found.append(low)
            integers = (integers - low) >> self.bits
        return [*found, integers]


@dataclass(frozen=True, eq=False)
class RoundedRows:
    """Weights as integers.

    Attributes:
        integers: (out, in) int64; zero wherever the original is zero.
        steps: (out,) value of one integer, for messages counted as integers; zero for a row of
            zeros.
        digits: how the integers are written.
    """

    integers: np.ndarray
    steps: np.ndarray
    digits: Digits | FloatFormat

    def bias(self, data: Moments) -> np.ndarray:
        """Return what to add to the sums, (out,), to make their mean over the data exact."""
        return data.wanted - self.steps * (self.integers @ data.mean)


def largest_weight_sum(message_bits: int) -> int:
    """Return what absolute weights may add up to, so that no accumulator can overflow."""
    return ((1 << (ACCUMULATOR_BITS - 1)) - 1) >> (message_bits - 1)


def choose_digits(
    weight: np.ndarray, bits: int, largest_sum: float, parts: int = 1
) -> tuple[Digits, float]:
    """Choose the fewest digits with which sums fit; the most if none do.

    Args:
        weight: (out, parts * in) floats.
        bits: of the weights.
        largest_sum: that the absolute integers of a digit may add up to.
        parts: sums in a row.

    Returns:
        ``(digits, what they add up to in the worst row, estimated with plain rounding)``.
    """
    peaks = np.abs(weight).max(axis=1, initial=0, keepdims=True)
    for count in range(-(-bits // WIDEST_DIGIT), MOST_DIGITS + 1):
        digits = Digits(count, max(2, -(-bits // count)))
        steps = np.where(peaks > 0, peaks, 1) / digits.largest(bits)
        split = digits.split(np.rint(weight / steps).astype(np.int64))
        margin = SUM_MARGIN if count == 1 else CHAINED_MARGIN
        total = margin * max(_part_sums(digit, parts).max(initial=0) for digit in split)
        if total <= largest_sum:
            break
    return digits, total


def round_rows(
    weight: np.ndarray,
    covariance: np.ndarray,
    bits: int,
    largest_sum: float,
    count: int | None = None,
) -> RoundedRows:
    """Round a matrix to integers of ``bits`` bits, a step a row.

    Args:
        weight: (out, in) per integer of a message; zeros stay zero. With (out, parts * in) a row
            holds several sums that share a step, a complex one say.
        covariance: (in, in) of the messages.
        bits: 2 to 16.
        largest_sum: bound on the sum of the absolute integers of each digit of one sum; a step
            grows until it holds.
        count: of the digits; as few as sums fit with if None.
    """
    parts = weight.shape[1] // len(covariance)
    if count is None:
        digits, _ = choose_digits(weight, bits, largest_sum, parts)
    else:
        digits = Digits(count, max(2, -(-bits // count)))
    integers = np.zeros(weight.shape, dtype=np.int64)
    steps = np.zeros(len(weight))
    rows, stretch = np.arange(len(weight)), 1.0
    covariance, ridge = np.ascontiguousarray(covariance), _ridge(covariance)
    while len(rows):
        part = np.ascontiguousarray(weight[rows], dtype=np.float64)
        fractions = _step_fractions(bits) * stretch
        integers[rows], steps[rows] = _on_all_cores(
            part, covariance, ridge, digits.largest(bits), fractions
        )
        sums = [_part_sums(digit, parts) for digit in digits.split(integers)]
        rows = np.flatnonzero(np.maximum.reduce(sums) > largest_sum)
        # Another step gives other digits, so a few tries are enough where there are several.
        stretch *= 1.1 if digits.count == 1 else 1.01
    return RoundedRows(integers, steps, digits)


def _on_all_cores(
    weight: np.ndarray, covariance: np.ndarray, ridge: np.ndarray, highest: int, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers, as floats, and the steps of all rows: a block of rows for each core."""
    blocks = np.array_split(weight, max(1, min(len(weight), os.cpu_count() or 1)))

    def rounded(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pointers = np.concatenate([[0], np.cumsum(np.count_nonzero(block, axis=1))])
        columns = np.nonzero(block)[1]
        return _round_all(block, pointers, columns, covariance, ridge, highest, steps)

    with ThreadPoolExecutor(len(blocks)) as threads:
        found = list(threads.map(rounded, blocks))
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def _step_fractions(bits: int) -> np.ndarray:
    """Return the steps that are tried, relative to the one that clips nothing."""
    lowest = {2: 0.4, 3: 0.45, 4: 0.5, 5: 0.6, 6: 0.7, 7: 0.8, 8: 0.85}.get(bits)
    return np.array([1.0]) if lowest is None else np.linspace(1.0, lowest, 12)


def _part_sums(integers: np.ndarray, parts: int) -> np.ndarray:
    """Return the largest sum of absolute integers among the parts of each row."""
    return np.abs(integers).reshape(len(integers), parts, -1).sum(axis=2).max(axis=1)


def _ridge(covariance: np.ndarray) -> np.ndarray:
    """Return what is added to each variance: in proportion to it, a little to one that is zero."""
    variances = np.diag(covariance)
    return DAMPING * variances + 1e-6 * variances.mean() + np.finfo(float).tiny


@compiled(nogil=True, error_model="numpy")
def _round_all(weight, pointers, columns, covariance, ridge, highest, fractions):
    integers = np.zeros(weight.shape)
    steps = np.zeros(len(weight))
    factored = columns[:0]
    order, matrix, ratios = _factor(factored, covariance, ridge)
    for row in range(len(weight)):
        support = columns[pointers[row] : pointers[row + 1]]
        if len(support) == 0:
            continue
        # Rows of a dense matrix share a factor.
        if len(support) != len(factored) or (support != factored).any():
            factored = support
            order, matrix, ratios = _factor(support, covariance, ridge)
        target = weight[row][order]
        widest = np.abs(target).max() / highest
        least = np.inf
        for fraction in fractions:
            step = widest * fraction
            q, error = _nearest(matrix, ratios, target, step, highest)
            if error < least:
                least = error
                steps[row] = step
                for k in range(len(order)):
                    integers[row, order[k]] = q[k]
    return integers, steps


@compiled(nogil=True, error_model="numpy")
def _factor(support, covariance, ridge):
    """Return what rows with the same entries share.

    Returns:
        ``(entries in the order of the factor, their covariance, the rows of its lower factor's
        transpose divided by their diagonal)``.
    """
    size, inputs = len(support), len(covariance)
    # The largest variances are rounded first, which is last in the factor.
    order = support[np.argsort(np.array([covariance[j % inputs, j % inputs] for j in support]))]
    matrix = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if order[i] // inputs == order[j] // inputs:
                matrix[i, j] = covariance[order[i] % inputs, order[j] % inputs]
        matrix[i, i] += ridge[order[i] % inputs]
    factor = np.linalg.cholesky(matrix)
    ratios = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            ratios[i, j] = factor[j, i] / factor[i, i]
    return order, matrix, ratios


@compiled(nogil=True, error_model="numpy")
def _nearest(matrix, ratios, target, step, highest):
    """Return a row's integers and their quadratic error."""
    size = len(target)
    q = np.zeros(size)
    left = np.zeros(size)
    for k in range(size - 1, -1, -1):
        wanted = target[k] + np.dot(ratios[k, k + 1 :], left[k + 1 :])
        q[k] = min(max(np.rint(wanted / step), -highest), highest)
        left[k] = target[k] - step * q[k]
    error = _descend(matrix, target, step, highest, q)
    # Of few weights, each to its nearest may by chance be better.
    plain = np.empty(size)
    for k in range(size):
        plain[k] = min(max(np.rint(target[k] / step), -highest), highest)
    off = step * plain - target
    if np.dot(off, matrix @ off) < error:
        return plain, _descend(matrix, target, step, highest, plain)
    return q, error


@compiled(nogil=True, error_model="numpy")
def _descend(matrix, target, step, highest, q):
    """Change integers one by one while that helps; return their quadratic error."""
    gradient = matrix @ (step * q - target)
    for _ in range(DESCENTS):
        moved = False
        for k in range(len(q)):
            change = np.rint(-gradient[k] / (matrix[k, k] * step))
            change = min(max(q[k] + change, -highest), highest) - q[k]
            if change != 0.0:
                q[k] += change
                moved = True
                gradient += matrix[k] * (step * change)
        if not moved:
            break
    return np.dot(step * q - target, gradient)
