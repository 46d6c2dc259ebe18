"""How large states and normalised values can become, whatever the input."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from s5_to_loihi.machine_code import compiled
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
    least, most = (
        np.ascontiguousarray(np.broadcast_to(limit, columns.shape[1]), dtype=np.float64)
        for limit in (lowest, highest)
    )
    reached, entries = np.nonzero(columns)
    pointers = np.searchsorted(reached, np.arange(len(a) + 1))
    drive = columns[reached, entries]
    bias = np.asarray(bias, dtype=np.complex128)
    blocks = np.array_split(np.arange(len(a)), max(1, min(len(a), 4 * (os.cpu_count() or 1))))

    def of(states: np.ndarray) -> np.ndarray:
        first, last = states[[0, -1]] if len(states) else (0, -1)
        own = slice(pointers[first], pointers[last + 1])
        return _bounds(
            a[first : last + 1],
            pointers[first : last + 2] - pointers[first],
            np.ascontiguousarray(drive.real[own]),
            np.ascontiguousarray(drive.imag[own]),
            least[entries[own]],
            most[entries[own]],
            bias[first : last + 1],
            noise,
        )

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(of, blocks)))


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nnan", "nsz"})
def _bounds(a, pointers, real, imaginary, least, most, bias, noise):
    """Return the bounds (P, 2, 2); the drives of state p are those from ``pointers[p]`` on."""
    bounds = np.zeros((len(a), 2, 2))
    for p in range(len(a)):
        modulus, largest = abs(a[p]), abs(bias[p])
        for j in range(pointers[p], pointers[p + 1]):
            largest += np.hypot(real[j], imaginary[j]) * max(abs(least[j]), abs(most[j]))
        # total: the sums so far; worst: the worst of them. A state starts from zero.
        power, total, worst = 1.0 + 0j, np.zeros((2, 2)), np.zeros((2, 2))
        remainder = 0.0
        for _ in range(0, MOST_STEPS, STEPS):
            first = power
            for step in range(STEPS):
                # Not by repeated products alone, whose error would grow.
                power = first * a[p] ** step
                re, im = power.real, power.imag
                low_re = low_im = high_re = high_im = 0.0
                for j in range(pointers[p], pointers[p + 1]):
                    along = re * real[j] - im * imaginary[j]
                    across = re * imaginary[j] + im * real[j]
                    low_re += min(along * least[j], along * most[j])
                    high_re += max(along * least[j], along * most[j])
                    low_im += min(across * least[j], across * most[j])
                    high_im += max(across * least[j], across * most[j])
                offset = power * bias[p]
                total[0, 0] += low_re + offset.real
                total[0, 1] += high_re + offset.real
                total[1, 0] += low_im + offset.imag
                total[1, 1] += high_im + offset.imag
                for part in range(2):
                    worst[part, 0] = min(worst[part, 0], total[part, 0])
                    worst[part, 1] = max(worst[part, 1], total[part, 1])
            power *= a[p]
            remainder = largest * abs(power) / (1 - modulus)
            if remainder <= REMAINDER * np.abs(worst).max():
                break
        spare = remainder + noise / (1 - modulus)
        bounds[p, :, 0] = worst[:, 0] - spare
        bounds[p, :, 1] = worst[:, 1] + spare
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
