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

#: What other data may bring is added to the covariance of the calibration data. Of ``FEW_TOKENS``
#: or fewer, so many times the outer product of the means: biases make up for the means of these
#: data alone. Each power once more, so that errors of one message are made up for by others only as
#: far as data of any kind would show it; and the mean of all, since a quiet message may become
#: loud. Measured on speech: with one clip of 750 tokens it is worth up to 5 dB at 6 bits. What the
#: means add falls with the square of the tokens: with 3,000 it would only cost.
DAMPING, QUIET, MEANS, FEW_TOKENS = 1.0, 1.0, 10.0, 750
#: How often all integers of a row are tried one step further.
DESCENTS = 8
#: Rows differ in length: with more blocks of them than cores, cores end at about the same time.
BLOCKS_A_CORE = 4


@dataclass(frozen=True, eq=False)
class Moments:
    """What calibration data say about an affine map.

    Attributes:
        covariance: (in, in) of the messages, with what other data may bring; mean: (in,).
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
    few = min(1.0, FEW_TOKENS / len(messages)) ** 2
    covariance = messages.T @ messages / len(messages) + MEANS * few * np.outer(mean, mean)
    powers = np.diag(covariance).copy()
    covariance += np.diag(DAMPING * powers + QUIET * powers.mean() + np.finfo(float).tiny)
    return Moments(covariance, mean, results.reshape(-1, results.shape[-1]).mean(axis=0))


@dataclass(frozen=True)
class Digits:
    """How a weight is written: ``count`` signed digits of ``bits`` bits each."""

    count: int
    bits: int

    def largest(self, weight_bits: int) -> int:
        """Return the largest weight."""
        digit = (1 << (self.bits - 1)) - 1
        return min(
            (1 << (weight_bits - 1)) - 1, sum(digit << (k * self.bits) for k in range(self.count))
        )

    def ends(self, weight_bits: int) -> tuple[int, int]:
        """Return the lowest and the highest weight: one digit has all of two's complement."""
        highest = self.largest(weight_bits)
        return -highest - (self.count == 1), highest

    def split(self, integers: np.ndarray) -> list[np.ndarray]:
        """Return the digits of integers within ``ends``, the lowest first."""
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
        steps: (out,) value of one integer, for messages counted as integers: of either sign, zero
            for a row of zeros.
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
        covariance: (in, in) of the messages, each variance above zero.
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
    covariance = np.ascontiguousarray(covariance)
    while len(rows):
        part = np.ascontiguousarray(weight[rows], dtype=np.float64)
        fractions = _step_fractions(bits) * stretch
        integers[rows], steps[rows] = _on_all_cores(part, covariance, digits.ends(bits), fractions)
        sums = [_part_sums(digit, parts) for digit in digits.split(integers)]
        rows = np.flatnonzero(np.maximum.reduce(sums) > largest_sum)
        # Another step gives other digits, so a few tries are enough where there are several.
        stretch *= 1.1 if digits.count == 1 else 1.01
    return RoundedRows(integers, steps, digits)


def _on_all_cores(
    weight: np.ndarray,
    covariance: np.ndarray,
    ends: tuple[int, int],
    steps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers, as floats, and the steps of all rows, which all cores share."""
    cores = os.cpu_count() or 1
    blocks = np.array_split(weight, max(1, min(len(weight), BLOCKS_A_CORE * cores)))

    def rounded(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _round_all(block, covariance, *ends, steps)

    with ThreadPoolExecutor(cores) as threads:
        found = list(threads.map(rounded, blocks))
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def _step_fractions(bits: int) -> np.ndarray:
    """Return the steps that are tried, relative to the one that clips nothing.

    Both signs: there is one integer more below zero than above, and for a row of few weights any
    other grid may happen to be the better one.
    """
    lowest = {2: 0.4, 3: 0.45, 4: 0.5, 5: 0.6, 6: 0.7, 7: 0.8, 8: 0.85}.get(bits)
    if lowest is None:
        return np.array([1.0])
    fractions = np.linspace(1.0, lowest, 12)
    return np.concatenate([fractions, -fractions])


def _part_sums(integers: np.ndarray, parts: int) -> np.ndarray:
    """Return the largest sum of absolute integers among the parts of each row."""
    return np.abs(integers).reshape(len(integers), parts, -1).sum(axis=2).max(axis=1)


# The kernels try all steps of a row at once: what is read of a factor serves all of them, and the
# innermost loops, over steps, are vectors. They call no BLAS: its threads would fight with theirs.


@compiled(nogil=True, error_model="numpy")
def _round_all(weight, covariance, lowest, highest, fractions):
    rows, inputs = len(weight), len(covariance)
    parts = weight.shape[1] // inputs
    integers = np.zeros(weight.shape)
    steps = np.zeros(rows)
    # Of each part: the entries in the order of its factor, their covariance, and the factor.
    longest = 0
    for row in range(rows):
        for part in range(parts):
            own = weight[row, part * inputs : (part + 1) * inputs]
            longest = max(longest, int(np.count_nonzero(own)))
    sizes = np.zeros(parts, dtype=np.int64)
    orders = np.zeros((parts, longest), dtype=np.int64)
    matrices = np.empty((parts, longest, longest))
    ratios = np.empty((parts, longest, longest))
    found = np.empty((parts, longest, len(fractions)))
    support = np.empty(longest, dtype=np.int64)
    for row in range(rows):
        widest = np.abs(weight[row]).max() / highest
        if widest == 0.0:
            continue
        tried = widest * fractions
        errors = np.zeros(len(fractions))
        for part in range(parts):
            own = weight[row, part * inputs : (part + 1) * inputs]
            size = 0
            for j in range(inputs):
                if own[j] != 0.0:
                    support[size] = j
                    size += 1
            # Rows of a dense matrix share a factor.
            if _is_new(support[:size], orders[part, : sizes[part]]):
                sizes[part] = size
                _factor(support[:size], covariance, orders[part], matrices[part], ratios[part])
            _nearest(
                matrices[part],
                ratios[part],
                own[orders[part, :size]],
                tried,
                lowest,
                highest,
                found[part],
                errors,
            )
        best = np.argmin(errors)
        steps[row] = tried[best]
        for part in range(parts):
            for k in range(sizes[part]):
                integers[row, part * inputs + orders[part, k]] = found[part, k, best]
    return integers, steps


@compiled(nogil=True)
def _is_new(support, order):
    return len(support) != len(order) or (support != np.sort(order)).any()


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _factor(support, covariance, order, matrix, ratios):
    """Find what rows with the same entries share.

    Fills in the entries in the order of the factor, their covariance, and the rows of the
    transpose of its lower factor divided by their diagonal.
    """
    size = len(support)
    # The largest variances are rounded first, which is last in the factor.
    order[:size] = support[np.argsort(np.array([covariance[j, j] for j in support]))]
    factor = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            matrix[i, j] = matrix[j, i] = covariance[order[i], order[j]]
    for i in range(size):
        for j in range(i + 1):
            left = matrix[i, j]
            for k in range(j):
                left -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(left) if i == j else left / factor[j, j]
    for i in range(size):
        for j in range(i, size):
            ratios[i, j] = factor[j, i] / factor[i, i]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _nearest(matrix, ratios, target, steps, lowest, highest, q, errors):
    """Find integers q (entries, steps) of a part of a row; add its quadratic error of each step."""
    size, count = len(target), len(steps)
    left = np.empty((size, count))
    wanted = np.empty(count)
    for k in range(size - 1, -1, -1):
        wanted[:] = target[k]
        for j in range(k + 1, size):
            ratio = ratios[k, j]
            for f in range(count):
                wanted[f] += ratio * left[j, f]
        for f in range(count):
            q[k, f] = min(max(np.rint(wanted[f] / steps[f]), lowest), highest)
            left[k, f] = target[k] - steps[f] * q[k, f]
    # Of few weights, each to its nearest may by chance be better.
    plain = np.empty((size, count))
    for k in range(size):
        for f in range(count):
            plain[k, f] = min(max(np.rint(target[k] / steps[f]), lowest), highest)
    gradient, plain_gradient = np.empty((count, size)), np.empty((count, size))
    compensated = _slope(matrix, target, steps, q, gradient)
    each = _slope(matrix, target, steps, plain, plain_gradient)
    for f in range(count):
        error = _descend(
            matrix, target, steps[f], lowest, highest, q, f, gradient[f], compensated[f]
        )
        if each[f] < error:
            q[:size, f] = plain[:, f]
            error = _descend(
                matrix, target, steps[f], lowest, highest, q, f, plain_gradient[f], each[f]
            )
        errors[f] += error


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _slope(matrix, target, steps, q, gradient):
    """Find half the slopes (steps, entries) of the quadratic error; return the errors."""
    size, count = len(target), len(steps)
    off = np.empty((size, count))
    for k in range(size):
        for f in range(count):
            off[k, f] = steps[f] * q[k, f] - target[k]
    errors, total = np.zeros(count), np.empty(count)
    for k in range(size):
        total[:] = 0.0
        for j in range(size):
            entry = matrix[k, j]
            for f in range(count):
                total[f] += entry * off[j, f]
        for f in range(count):
            gradient[f, k] = total[f]
            errors[f] += total[f] * off[k, f]
    return errors


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _descend(matrix, target, step, lowest, highest, q, f, gradient, error):
    """Change integers one by one while that helps; return their quadratic error."""
    size = len(target)
    changed = False
    for _ in range(DESCENTS):
        moved = False
        for k in range(size):
            change = np.rint(-gradient[k] / (matrix[k, k] * step))
            change = min(max(q[k, f] + change, lowest), highest) - q[k, f]
            if change != 0.0:
                q[k, f] += change
                moved = changed = True
                for j in range(size):
                    gradient[j] += matrix[k, j] * (step * change)
        if not moved:
            break
    if not changed:
        return error
    error = 0.0
    for k in range(size):
        error += (step * q[k, f] - target[k]) * gradient[k]
    return error
