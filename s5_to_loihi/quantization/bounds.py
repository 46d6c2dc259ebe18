"""How large a state can become: the exact bound of a decaying complex recurrence."""

from __future__ import annotations

import numpy as np

#: Steps summed up at a time, and at most; what remains is bounded by the decay of the modulus.
STEPS = 512
MOST_STEPS = 1 << 15
#: The bound on what remains is accepted when it is this small against the sum.
REMAINDER = 1e-3


def state_bounds(
    a: np.ndarray,
    columns: list[np.ndarray],
    lowest: list[np.ndarray],
    highest: list[np.ndarray],
    bias: np.ndarray,
    noise: float,
) -> np.ndarray:
    """Return bounds on both parts of ``x[t] = a x[t-1] + columns . m[t] + bias + n[t]``.

    The messages m are anything between ``lowest`` and ``highest``, in any order of time: the real
    part of x is at most the sum over steps k of the largest ``Re(a^k (columns . m + bias))``, which
    messages of the right signs reach; likewise its imaginary part and both minima.

    Args:
        a: (P,) complex, ``|a| < 1``.
        columns: for each state (n,) complex, the drive of one unit of each message that reaches it.
        lowest, highest: for each state (n,), the limits of those messages.
        bias: (P,) complex.
        noise: bound on the modulus of n, the rounding of a step.

    Returns:
        (P, 2, 2) floats: for each state and part (real, imaginary) the lowest and highest value.
    """
    bounds = np.zeros((len(a), 2, 2))
    for p, drive in enumerate(columns):
        modulus = abs(a[p])
        largest = np.abs(drive) @ np.maximum(np.abs(lowest[p]), np.abs(highest[p])) + abs(bias[p])
        power, total = 1.0 + 0j, np.zeros((2, 2))
        for _ in range(0, MOST_STEPS, STEPS):
            powers = power * a[p] ** np.arange(STEPS)
            power = powers[-1] * a[p]
            # (steps, messages): a step's own sum is taken over the messages at their worst.
            products = powers[:, None] * drive
            offsets = powers * bias[p]
            for part, (product, offset) in enumerate(
                ((products.real, offsets.real), (products.imag, offsets.imag))
            ):
                low, high = product * lowest[p], product * highest[p]
                total[part, 0] += np.minimum(low, high).sum() + offset.sum()
                total[part, 1] += np.maximum(low, high).sum() + offset.sum()
            remainder = largest * abs(power) / (1 - modulus)
            if remainder <= REMAINDER * np.abs(total).max():
                break
        spare = remainder + noise / (1 - modulus)
        bounds[p] = total + np.array([-spare, spare])
    # A state starts from zero.
    bounds[..., 0] = np.minimum(bounds[..., 0], 0)
    bounds[..., 1] = np.maximum(bounds[..., 1], 0)
    return bounds
