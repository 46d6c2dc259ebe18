"""Choice of formats: exponents that make the least error on data, factors as multiply and shift."""

from __future__ import annotations

import math

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.network.neurons.constants import MULTIPLIER
from s5_to_loihi.network.widths import LARGEST_SHIFT, STATE_BITS

#: Bits above a value's own that the sum before its rounding may use.
HEADROOM_BITS = 2
#: Bits below a value's own that make the rounding of its operands negligible.
FINE_BITS = 6
#: The range of a channel is at most this many bits below that of all channels together: where
#: training says how large it may become, and where only the calibration data do.
KNOWN_SPREAD_BITS, SPREAD_BITS = 9, 3
#: How many bits of resolution a rectified channel gives up for what its ReLU has taken.
RARE_BITS = 3
#: How many exponents below the one without any clipping are not tried, but those above are: each
#: halves the step and clips more.
EXPONENTS_TRIED = 6


def covering_exponent(largest: float, bits: int) -> int:
    """Return the largest exponent with which ``largest`` rounds to an integer of ``bits`` bits."""
    if largest == 0:
        return bits - 1
    exponent = bits - 1 - math.ceil(math.log2(largest))
    # One more if rounding down still fits; one less if it does not.
    while round(math.ldexp(largest, exponent + 1)) <= limits(bits)[1]:
        exponent += 1
    while round(math.ldexp(largest, exponent)) > limits(bits)[1]:
        exponent -= 1
    return exponent


def covering_exponents(largest: np.ndarray, bits: int) -> np.ndarray:
    """Return the ``covering_exponent`` of each of (n,) magnitudes, int64."""
    return np.array([covering_exponent(float(one), bits) for one in largest], dtype=np.int64)


def spare_bits(bits: int) -> int:
    """Return how many bits a format keeps above the largest value of the calibration data.

    Data not seen may be louder. The wider the format, the less a bit of resolution is worth
    against a bit of range: two of 16, measured on speech that was not calibrated with. Beyond 22
    bits there is no room for ``HEADROOM_BITS`` in the sum, so the value itself keeps them free.
    """
    return min(3, max(0, (bits - 12) // 2)) + max(0, bits + HEADROOM_BITS - STATE_BITS)


def best_exponent(values: np.ndarray, bits: int, spare: int | None = None) -> int:
    """Return the exponent with the least mean squared error of rounding and clipping.

    Wide formats leave room for data that are louder than these.

    Args:
        values: floats of any shape.
        bits: width of the integers.
        spare: bits above the largest value; by default ``spare_bits``.
    """
    largest = float(np.abs(values).max(initial=0.0))
    spare = spare_bits(bits) if spare is None else spare
    covering = covering_exponent(largest, bits) - spare
    if largest == 0 or spare:
        return covering
    lowest, highest = limits(bits)
    errors = []
    for exponent in range(covering, covering + EXPONENTS_TRIED):
        scaled = np.ldexp(values, exponent)
        error = np.clip(np.rint(scaled), lowest, highest) - scaled
        errors.append(math.ldexp(float(np.mean(error * error)), -2 * exponent))
    return covering + int(np.argmin(errors))


def channel_exponents(
    values: np.ndarray, bits: int, expected: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return the best exponent of each channel, int64 (n,).

    Args:
        values: (..., n) floats.
        bits: width of the integers.
        expected: (n,) magnitudes to cover, whatever the values are, if ``bits`` leave any room.
    """
    channels = values.reshape(-1, values.shape[-1]).T
    together = best_exponent(values, bits)
    magnitudes = np.where(np.greater(expected, 0) & bool(spare_bits(bits)), expected, 0.0)
    magnitudes = np.broadcast_to(magnitudes, len(channels))
    # A channel that was quiet in the calibration data may not always be.
    spread = np.where(magnitudes > 0, KNOWN_SPREAD_BITS, SPREAD_BITS)
    chosen = np.array(
        [
            min(best_exponent(channel, bits), together + bits_below)
            if channel.any()
            else together + bits_below * known
            for channel, bits_below, known in zip(
                channels, spread.tolist(), (magnitudes > 0).tolist(), strict=True
            )
        ],
        dtype=np.int64,
    )
    covering = np.minimum(chosen, covering_exponents(magnitudes, bits))
    return np.where(magnitudes > 0, covering, chosen)


def rare_exponents(exponents: np.ndarray, before: np.ndarray, bits: int) -> np.ndarray:
    """Return exponents (n,) of rectified channels with room for what the ReLU has taken.

    A channel that was negative may not always be: its largest magnitude before the ReLU says how
    large it may become. At most ``RARE_BITS`` of its resolution are given up for that, which counts
    only while it is not zero.

    Args:
        exponents: (n,) of what is left of the values.
        before: (..., n) the values before the ReLU.
        bits: width of the integers.
    """
    largest = np.abs(before.reshape(-1, before.shape[-1])).max(axis=0)
    covering = np.where(largest > 0, covering_exponents(largest, bits), exponents)
    return np.clip(covering, exponents - RARE_BITS, exponents)


def fine_bits(bits: int) -> int:
    """Return how many more fractional bits a value of ``bits`` bits has while it is summed up.

    ``FINE_BITS``, or as many as a 24-bit register leaves beside ``HEADROOM_BITS``.
    """
    return max(0, min(FINE_BITS, STATE_BITS - HEADROOM_BITS - bits))


def resolvable(exponents: np.ndarray, steps: np.ndarray, extra: int) -> np.ndarray:
    """Limit fractional bits to what the integers that a value is computed from can tell apart.

    Args:
        exponents: (n,) wanted.
        steps: (n,) what one integer on the way in is worth; zero if nothing comes in.
        extra: fractional bits that are added while the value is summed up.
    """
    limit = np.full(len(exponents), np.iinfo(np.int64).max)
    some = steps != 0
    largest = np.log2(limits(MULTIPLIER.bits)[1] / np.abs(steps[some]))
    limit[some] = np.floor(largest).astype(np.int64) - extra
    return np.minimum(exponents, limit)


def limited(exponents: np.ndarray, extra: int, bias: np.ndarray, *steps: np.ndarray) -> np.ndarray:
    """Limit fractional bits to what the operands resolve and to what the bias leaves room for.

    Args:
        exponents: (n,) wanted.
        extra: more of them, while the value is summed up.
        bias: (n,) floats that are added to it.
        steps: for each operand (n,), what one integer of it is worth.
    """
    for step in steps:
        exponents = resolvable(exponents, step, extra)
    room = covering_exponents(np.abs(bias), STATE_BITS - 1) - extra
    return np.where(bias != 0, np.minimum(exponents, room), exponents)


def shared(exponents: np.ndarray) -> np.ndarray:
    """Return the exponents (n,) with which all neurons have one format: the least of them."""
    return np.full(len(exponents), exponents.min())


def multipliers(
    factors: np.ndarray, where: str, bits: int = MULTIPLIER.bits
) -> tuple[np.ndarray, np.ndarray]:
    """Write factors as ``multiplier * 2**-shift`` with the most significant digits.

    Args:
        factors: (n, ...) floats; the axes after the first share a shift.
        where: what to call them in an error.
        bits: width of the multipliers.

    Returns:
        ``(multipliers int64 of the same shape, shifts int64 (n,))``.

    Raises:
        CapacityError: a factor is too large for any multiplier.
    """
    largest = np.abs(factors).reshape(len(factors), -1).max(axis=1)
    shifts = np.where(largest > 0, covering_exponents(largest, bits), 0)
    if shifts.min() < 0:
        raise CapacityError(
            where,
            f"needs a factor of {largest.max():.3g} between accumulator and value (limit"
            f" {limits(bits)[1]})",
            "Give the tensor's input more bits or its result fewer",
        )
    shifts = np.minimum(shifts, LARGEST_SHIFT)
    steps = shifts.reshape(-1, *[1] * (factors.ndim - 1))
    return np.rint(np.ldexp(factors, steps)).astype(np.int64), shifts


def right_shifts(shifts: np.ndarray, where: str) -> np.ndarray:
    """Return right shifts (n,), no larger than makes a difference.

    Raises:
        CapacityError: one is a left shift.
    """
    if shifts.min() < 0:
        raise CapacityError(
            where,
            f"would need a left shift by {-shifts.min()} bits",
            "Give the block's result fewer bits, or its operands more",
        )
    return np.minimum(shifts, LARGEST_SHIFT)


def within(values: np.ndarray, target: Format, where: str) -> np.ndarray:
    """Return whole numbers as int64.

    Raises:
        CapacityError: one is outside the format.
    """
    lowest, highest = limits(target.bits)
    if values.min() < lowest or values.max() > highest:
        raise CapacityError(
            where,
            f"needs {int(np.abs(values).max())} in a register of {target.bits} bits (limit"
            f" {highest})",
            "Calibrate with louder data, or give the tensor fewer bits",
        )
    return values.astype(np.int64)
