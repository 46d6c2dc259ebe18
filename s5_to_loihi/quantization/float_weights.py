"""Weights in 8-bit floating point, e4m3 and e5m2, as integers that the chip adds up exactly.

A finite value is a mantissa of a few bits times a power of two, so in steps of the smallest one it
is an integer, too wide for a synapse but with few significant bits. The exponents are cut into
bands, so many to a band that a mantissa shifted within it fits int8: four of e4m3's (15 * 2**3),
five of e5m2's (7 * 2**4). A band is a digit (``rounding.Digits``) with a port of its own; unlike
other digits, each weight is in exactly one: it is one synapse.

The formats are those of the OCP (OFP8, 2023), ``float8_e4m3fn`` and ``float8_e5m2`` of ml_dtypes:
subnormals, no infinities, to nearest, ties to even, saturation at the largest. A row's scale is a
power of two, so that its factor is a shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from s5_to_loihi.network.widths import ACCUMULATOR_BITS, MOST_DIGITS, WIDEST_DIGIT

#: Products of sums with their factors fit so many bits, sign included, which float64 has: training
#: computes in it.
PRODUCT_BITS = 54
#: Bits that the factor behind a sum may add to it: one shift, or a complex gain of ``GAIN_BITS``.
SHIFT_FACTOR_BITS, GAIN_BITS = 1, 12
GAIN_FACTOR_BITS = GAIN_BITS + 1
#: A band's sums in integers of messages may be so much larger than in floats, where messages have
#: steps of their own.
MARGIN = 2.0


@dataclass(frozen=True)
class FloatFormat:
    """A format of weights in 8-bit floating point.

    Attributes:
        name: ``e4m3`` or ``e5m2``.
        bits: exponents of a band, by which a port's sum is shifted against the next lower one's.
        exponent: an integer of 1 is ``2**-exponent``.
        values: the integers that are not negative, ascending, in the order of their codes.
        count: bands.
    """

    name: str
    bits: int
    exponent: int
    values: tuple[int, ...]
    count: int = MOST_DIGITS

    def __str__(self) -> str:
        return self.name

    def thresholds(self) -> np.ndarray:
        """Return the largest magnitude that is rounded to each value but the last."""
        values = np.array(self.values, dtype=np.float64)
        middle = (values[:-1] + values[1:]) / 2
        # The mantissa of every other code is even; a middle belongs to the even one.
        middle[1::2] = np.nextafter(middle[1::2], 0)
        return middle

    def nearest(self, wanted: np.ndarray) -> np.ndarray:
        """Return the nearest integers of the format, int64; what is beyond saturates."""
        codes = np.searchsorted(self.thresholds(), np.abs(wanted))
        found: np.ndarray = np.sign(wanted).astype(np.int64) * np.array(self.values)[codes]
        return found

    def split(self, integers: np.ndarray) -> list[np.ndarray]:
        """Return what each band has of integers of the format, the lowest first: int8 or zero."""
        found, left = [], integers
        for band in range(self.count):
            inside = np.abs(left) < 1 << (WIDEST_DIGIT - 1 + band * self.bits)
            found.append(np.where(inside, left, 0) >> (band * self.bits))
            left = np.where(inside, 0, left)
        return found

    def steps(self, peaks: np.ndarray) -> np.ndarray:
        """Return the finest powers of two with which magnitudes (n,) do not saturate; 0 for 0."""
        peaks = np.asarray(peaks, dtype=np.float64)
        # Half a step beyond the largest value is still rounded to it.
        beyond = self.values[-1] + (self.values[-1] - self.values[-2]) / 2
        fractions, exponents = np.frexp(peaks / beyond)
        exact = np.ldexp(1.0, np.where(fractions == 0.5, exponents - 1, exponents))
        return np.where(peaks > 0, exact, 0.0)

    def band_sum(self, weight: np.ndarray) -> float:
        """Return what a band of a row of weights (out, in) adds up to, at most."""
        peaks = np.abs(weight).max(axis=1, initial=0)
        integers = self.nearest(weight / np.where(peaks > 0, self.steps(peaks), 1)[:, None])
        highest = (1 << (WIDEST_DIGIT - 1)) - 1
        certain = highest * int(part_sums(integers != 0).max(initial=0))
        likely = MARGIN * max(part_sums(band).max(initial=0) for band in self.split(integers))
        return float(min(likely, certain))


def _values(mantissa_bits: int, exponents: int, spare: int, without: int = 0) -> tuple[int, ...]:
    """Return the finite values as integers, ``2**spare`` to the smallest; ``without`` the last."""
    one = 1 << mantissa_bits
    found = [fraction for fraction in range(one)]
    found += [(one + fraction) << power for power in range(exponents) for fraction in range(one)]
    return tuple(value << spare for value in found[: len(found) - without])


#: The last code of e4m3 is no number. Its largest exponent is the last of the highest band. Of the
#: 30 exponents of e5m2 a row has the lower 20, which is as many as there are bands for: its scale
#: says which powers of two they are.
E4M3 = FloatFormat("e4m3", 4, 10, _values(3, 15, 1, without=1))
E5M2 = FloatFormat("e5m2", 5, 16, _values(2, 20, 0))
FLOAT_FORMATS = {one.name: one for one in (E4M3, E5M2)}

#: How weights are written: integers of so many bits, or a float format.
WeightFormat: TypeAlias = int | FloatFormat


def largest_total(largest_sum: int, factor_bits: int) -> int:
    """Return what a row's absolute integers may add up to before its factor.

    Args:
        largest_sum: that they may add up to at a port, see ``rounding.largest_weight_sum``.
        factor_bits: that the factor adds.
    """
    return largest_sum << (PRODUCT_BITS - ACCUMULATOR_BITS - factor_bits)


def shifts_alone(multiplier: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return factors that are powers of two with as little of a multiplier as there can be."""
    spare = np.minimum(shift, np.where(multiplier > 0, np.log2(np.maximum(multiplier, 1)), 0))
    spare = spare.astype(np.int64)
    return multiplier >> spare, shift - spare


def part_sums(integers: np.ndarray, parts: int = 1) -> np.ndarray:
    """Return the largest sum of absolute integers among the parts of each row."""
    sums: np.ndarray = np.abs(integers).reshape(len(integers), parts, -1).sum(axis=2).max(axis=1)
    return sums
