"""The arithmetic contract: formats, shifts, rounding, saturation and table lookup.

Nothing else in the project rounds or clips what a network computes. Every function is written with
operators and numpy universal functions only, so that one definition runs on arrays of any shape, on
scalars, and on the symbols of ``network/tracing.py``. Integers are int64 inside; the widths of the
chip are imposed by ``saturate``. All right shifts are arithmetic: they round toward minus infinity
(floor).

The rules reproduce the integer model of IntelLabs/SparseRNNs (``fxparray.py``, ``fxpmodel.py``,
commit b623aea), which its exports rely on bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from s5_to_loihi.errors import InputError

#: What arithmetic is written for: int64 arrays of any shape, and whatever computes like them.
Integers: TypeAlias = NDArray[np.int64]


class Format(NamedTuple):
    """A signed fixed-point format: ``value = integer * 2**-exponent``.

    Attributes:
        bits: width of the integer, sign included.
        exponent: number of fractional bits; may be negative or larger than ``bits``.
    """

    bits: int
    exponent: int

    def __str__(self) -> str:
        return f"int{self.bits}·2^{-self.exponent}"


def limits(bits: int) -> tuple[int, int]:
    """Return the lowest and the highest integer of ``bits`` signed bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def needed_bits(lowest: int, highest: int) -> int:
    """Return the bits, sign included, of the narrowest integers from ``lowest`` to ``highest``."""
    return max(-lowest - 1, highest).bit_length() + 1


def wrap(value: Integers, bits: int) -> Integers:
    """Return the signed integers that the lowest ``bits`` bits stand for, of any shape."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def saturate(value: Integers, bits: int) -> Integers:
    """Clip integers of any shape to ``bits`` signed bits."""
    return np.minimum(np.maximum(value, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)


def shift(value: Integers, left: int) -> Integers:
    """Shift left by ``left`` bits, or right (floor) by ``-left``; nothing is clipped."""
    if left >= 0:
        return value << left
    return value >> -left


def shift_right(value: Integers, bits: int | Integers) -> Integers:
    """Shift right by ``bits`` >= 0 bits: floor of ``value / 2**bits``."""
    return value >> bits


def shift_right_rounded(value: Integers, bits: int | Integers) -> Integers:
    """Shift right by ``bits`` >= 0 bits to the nearest integer, halves upwards."""
    return (value + ((1 << bits) >> 1)) >> bits


def convert(value: Integers, source: Format, target: Format) -> Integers:
    """Bring integers of one format into another.

    A change of exponent shifts and saturates at the *source* width, even when the target is wider:
    that is what the reference does (its ``change_exp``), and it clips large operands early. A
    narrower target then saturates at its own width. Equal exponents do not saturate.
    """
    if source.exponent != target.exponent:
        value = saturate(shift(value, target.exponent - source.exponent), source.bits)
    if target.bits < source.bits:
        value = saturate(value, target.bits)
    return value


def add(
    left: Integers, left_format: Format, right: Integers, right_format: Format, result: Format
) -> Integers:
    """Add two operands in the result's exponent: ``sat(convert(left) + convert(right))``.

    Each operand saturates at its own width while it is aligned (see ``convert``).
    """
    return saturate(
        convert(left, left_format, Format(left_format.bits, result.exponent))
        + convert(right, right_format, Format(right_format.bits, result.exponent)),
        result.bits,
    )


def add_widened(
    left: Integers, left_format: Format, right: Integers, right_format: Format, result: Format
) -> Integers:
    """Add two operands in the finer of their exponents, then shift the sum to the result's.

    The reference's addition with a result exponent chosen from the data ("compute_best"), here
    with that exponent frozen. The operand with the smaller exponent is shifted left and
    saturates at its own width before the addition.
    """
    finest = max(left_format.exponent, right_format.exponent)
    total = convert(left, left_format, Format(left_format.bits, finest)) + convert(
        right, right_format, Format(right_format.bits, finest)
    )
    return saturate(shift(total, result.exponent - finest), result.bits)


def multiply(left: Integers, right: int | Integers, right_shift: int, bits: int) -> Integers:
    """Multiply and shift right: ``sat((left * right) >> right_shift, bits)``."""
    return saturate(shift_right(left * right, right_shift), bits)


def rectify(value: Integers) -> Integers:
    """Return ``max(value, 0)``."""
    return np.maximum(value, 0)


def rectify_complex(real: Integers, imaginary: Integers) -> tuple[Integers, Integers]:
    """Keep a complex integer if it is lexicographically above zero, else return 0.

    Keeps ``z`` if ``Re z > 0`` or ``Re z == 0 and Im z > 0``: numpy's and jax's order of complex
    numbers, which makes ``jax.nn.relu`` on complex states what the models were trained with.
    It is not a ReLU of each part; but the real part of what is kept is never below zero.
    """
    decisive = np.where(real == 0, imaginary, real)
    return rectify(real), np.where(decisive > 0, imaginary, 0)


#: ``round(sigmoid(k) * 2**14) - 2**13`` for k = 0..7, the knots of the reference's lookup.
SIGMOID_KNOTS = np.array([0, 3786, 6239, 7415, 7897, 8082, 8151, 8177], dtype=np.int64)
SIGMOID_KNOTS.flags.writeable = False
#: The lookup's result: 16 bits, of which 14 are fractional (sigmoid in [0, 1]).
SIGMOID_FORMAT = Format(16, 14)
#: The lookup interpolates on at most this many fractional bits of its input.
SIGMOID_INPUT_EXPONENT = 6


def look_up(table: Sequence[int] | np.ndarray, index: Integers) -> Integers:
    """Return the entries of a table of integers at ``index``, any shape."""
    if hasattr(index, "look_up"):  # a symbol: arithmetic is being traced
        entry: Integers = index.look_up(table)
        return entry
    return np.take(np.asarray(table), index)


def sigmoid(value: Integers, exponent: int) -> Integers:
    """Evaluate the reference's piecewise-linear sigmoid.

    Args:
        value: integers with ``exponent`` fractional bits, 0 <= exponent <= 6.
        exponent: fractional bits of ``value``.

    Returns:
        Integers in ``SIGMOID_FORMAT``, off by up to 0.0122 within +-7. Beyond, the last segment
        repeats, as in the reference: the segment index is clipped there but the fraction is not
        (error 0.0016 at 7, up to 0.0026 further out).
    """
    magnitude = np.abs(value)
    knot = np.minimum(magnitude >> exponent, 6)
    fraction = magnitude & ((1 << exponent) - 1)
    half = ((((1 << exponent) - fraction) * look_up(SIGMOID_KNOTS, knot)) >> exponent) + (
        (fraction * look_up(SIGMOID_KNOTS, knot + 1)) >> exponent
    )
    return (1 << 13) + np.where(value > 0, half, -half)


def to_integers(
    values: np.ndarray, target: Format, where: str = "values"
) -> tuple[np.ndarray, int]:
    """Quantize floats as the reference quantizes its input: floor, then clip.

    Args:
        values: floats, any shape; infinities are clipped.
        target: the format of the result.
        where: what to call the values in an error.

    Returns:
        ``(integers int64 of the same shape, how many were clipped)``.

    Raises:
        InputError: some values are not a number.
    """
    if missing := np.count_nonzero(np.isnan(values)):
        raise InputError(where, f"holds {missing} NaN", "Remove or replace them")
    with np.errstate(over="ignore"):  # an infinity is clipped like anything else that is large
        floored = np.floor(np.ldexp(np.asarray(values, dtype=np.float64), target.exponent))
    lowest, highest = limits(target.bits)
    clipped = np.clip(floored, lowest, highest)
    return clipped.astype(np.int64), int(np.count_nonzero(clipped != floored))


def to_floats(integers: np.ndarray, source: Format) -> np.ndarray:
    """Return the real values of integers, float64, exactly (widths up to 53 bits)."""
    return np.ldexp(np.asarray(integers, dtype=np.float64), -source.exponent)
