"""How large states and normalised values can become, whatever the input."""

from __future__ import annotations

import math

import numpy as np

from s5_to_loihi.network.neurons.inverse_root import ERROR

#: Steps summed up at a time, and at most; what remains is bounded by the decay of the modulus.
STEPS = 512
MOST_STEPS = 1 << 15
#: The bound on what remains is accepted when it is this small against the sum.
REMAINDER = 1e-3


def state_bounds(
    a: np.ndarray,
    columns: np.ndarray,
    lowest: np.ndarray | int,
    highest: np.ndarray | int,
    bias: np.ndarray,
    noise: float,
) -> np.ndarray:
    """Return bounds on both parts of ``x[t] = a x[t-1] + columns . m[t] + bias + n[t]``.

    The messages m are anything between ``lowest`` and ``highest``, in any order of time: after K
    steps the real part of x is at most the sum over k < K of the largest
    ``Re(a^k (columns . m + bias))``, which messages of the right signs reach; likewise its
    imaginary part and both minima. Each bound is that of the worst K: a bias cannot be turned
    around, so the sums need not grow with K.

    Args:
        a: (P,) complex, ``|a| < 1``.
        columns: (P, n) complex, the drive of one unit of each message.
        lowest, highest: the limits of the messages, (n,) or of all.
        bias: (P,) complex.
        noise: bound on the modulus of n, the rounding of a step.

    Returns:
        (P, 2, 2) floats: for each state and part (real, imaginary) the lowest and highest value.
    """
    bounds = np.zeros((len(a), 2, 2))
    limits = np.stack([np.broadcast_to(limit, columns.shape[1]) for limit in (lowest, highest)])
    for p, column in enumerate(columns):
        modulus = abs(a[p])
        (reached_by,) = np.nonzero(column)
        drive, (least, most) = column[reached_by], limits[:, reached_by]
        largest = np.abs(drive) @ np.maximum(np.abs(least), np.abs(most)) + abs(bias[p])
        # total: the sums so far; worst: the worst of them. A state starts from zero.
        power, total, worst = 1.0 + 0j, np.zeros((2, 2)), np.zeros((2, 2))
        for _ in range(0, MOST_STEPS, STEPS):
            powers = power * a[p] ** np.arange(STEPS)
            power = powers[-1] * a[p]
            # (steps, messages): a step's own sum is taken over the messages at their worst.
            products = powers[:, None] * drive
            offsets = powers * bias[p]
            for part, (product, offset) in enumerate(
                ((products.real, offsets.real), (products.imag, offsets.imag))
            ):
                low, high = product * least, product * most
                lows = total[part, 0] + np.cumsum(np.minimum(low, high).sum(axis=1) + offset)
                highs = total[part, 1] + np.cumsum(np.maximum(low, high).sum(axis=1) + offset)
                total[part] = lows[-1], highs[-1]
                worst[part, 0] = min(worst[part, 0], lows.min())
                worst[part, 1] = max(worst[part, 1], highs.max())
            remainder = largest * abs(power) / (1 - modulus)
            if remainder <= REMAINDER * np.abs(worst).max():
                break
        spare = remainder + noise / (1 - modulus)
        bounds[p] = worst + np.array([-spare, spare])
    return bounds


#: What the mean of a layer norm is off by, in its own unit: half for rounding to nearest, and what
#: the reciprocal of the number of neurons, with 30 bits, adds to a mean of at most 24 bits.
MEAN_ERROR = 0.5 + 2.0**-6


def norm_bound(neurons: int, centred: bool, centring: int, epsilon: int) -> float:
    """Return a bound on the magnitude of a normalised value as neurons compute it, before rounding.

    Of n integers h let ``d = n h - sum h``. These add up to 0 and their squares to n times
    ``n sum h^2 - (sum h)^2``, so each is at most ``sqrt(n - 1)`` times the root of that, or, if the
    mean is taken as zero, ``sqrt(n)`` times. What is divided by is that root or more: epsilon.

    Args:
        neurons: n.
        centred: False for RMS norm.
        centring: fractional bits of the mean beyond those of h.
        epsilon: in the unit of the radicand, at least 1.
    """
    spread = math.sqrt(neurons - 1) if centred else math.sqrt(neurons)
    misplaced = MEAN_ERROR * neurons * 2.0**-centring / math.sqrt(epsilon) if centred else 0.0
    return (1 + ERROR) * (spread + misplaced)
