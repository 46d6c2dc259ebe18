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
#: The range of a channel is at least this many bits below that of all channels together.
SPREAD_BITS = 3
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


def spare_bits(bits: int) -> int:
    """Return how many bits a format keeps above the largest value of the calibration data.

    Data not seen may be louder. The wider the format, the less a bit of resolution is worth
    against a bit of range: two of 16, measured on speech that was not calibrated with. Beyond 22
    bits there is no room for ``HEADROOM_BITS`` in the sum, so the value itself keeps them free.
    """
    return min(3, max(0, (bits - 12) // 2)) + max(0, bits + HEADROOM_BITS - STATE_BITS)


def best_exponent(values: np.ndarray, bits: int) -> int:
    """Return the exponent with the least mean squared error of rounding and clipping.

    Wide formats leave room for data that are louder than these: see ``spare_bits``.

    Args:
        values: floats of any shape.
        bits: width of the integers.
    """
    largest = float(np.abs(values).max(initial=0.0))
    covering = covering_exponent(largest, bits) - spare_bits(bits)
    if largest == 0 or spare_bits(bits):
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
    # A channel that was quiet in the calibration data may not always be.
    chosen = np.array(
        [
            min(best_exponent(channel, bits), together + SPREAD_BITS) if channel.any() else together
            for channel in channels
        ],
        dtype=np.int64,
    )
    for index, magnitude in enumerate(np.broadcast_to(expected, len(chosen))):
        if magnitude > 0 and spare_bits(bits):
            chosen[index] = min(chosen[index], covering_exponent(float(magnitude), bits))
    return chosen


def best_format(values: np.ndarray, bits: int) -> Format:
    """Return the format of ``bits`` bits with the exponent of ``best_exponent``."""
    return Format(bits, best_exponent(values, bits))


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
    shifts = np.array([covering_exponent(value, bits) if value else 0 for value in largest])
    if shifts.min() < 0:
        raise CapacityError(
            where,
            f"needs a factor of {largest.max():.3g} between accumulator and value (limit"
            f" {limits(bits)[1]})",
            "Give the tensor's input more bits or its result fewer",
        )
    shifts = np.minimum(shifts, LARGEST_SHIFT).astype(np.int64)
    steps = shifts.reshape(-1, *[1] * (factors.ndim - 1))
    return np.rint(np.ldexp(factors, steps)).astype(np.int64), shifts
