"""Where Intel's int32 would wrap and ours does not: the products of eigenvalues and states."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.neurons.state import StateConstants

#: Intel's state, eigenvalues and their products are jax's int32: beyond it they wrap.
WRAPS_AT = 1 << 31


def wrapping_limits(network: Network) -> dict[str, int]:
    """Return the magnitude of a state from which a product ``a x`` leaves int32, by group.

    Groups whose registers saturate before are left out.
    """
    limits = {}
    for group in network.groups:
        constants = group.constants
        if isinstance(constants, StateConstants):
            largest = max(int(np.abs(part).max()) for part in (constants.a_re, constants.a_im))
            limit = -(-WRAPS_AT // max(1, largest))
            if limit < 1 << (max(constants.x_re.bits, constants.x_im.bits) - 1):
                limits[group.name] = limit
    return limits


def wrapping_notes(network: Network, vectors: Vectors) -> list[str]:
    """Say from where on Intel's products wrap, and how many recorded ones do.

    Args:
        network: of an export.
        vectors: its recorded integers.
    """
    limits = wrapping_limits(network)
    if not limits:
        return []
    beyond = of = largest = 0
    for name in limits:
        constants = network.group(name).constants
        assert isinstance(constants, StateConstants)
        for part in ("x_re", "x_im"):
            states = vectors.expected.get(f"{name}.{part}")
            if states is None:
                continue
            magnitudes = np.abs(states.astype(np.int64))
            largest = max(largest, int(magnitudes.max(initial=0)))
            for factor in (constants.a_re, constants.a_im):
                beyond += int(np.count_nonzero(magnitudes * np.abs(factor) >= WRAPS_AT))
                of += magnitudes.size
    recorded = "no state was recorded"
    if of:
        recorded = f"recorded states reach {largest:,}, {beyond:,} of {of:,} products do"
    return [
        f"Intel's int32 product a·x wraps from |x| = {min(limits.values()):,} on ({recorded}); ours"
        " does not, so louder input differs from Intel's"
    ]
