"""How large an accumulator can become, whatever the input."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.network.network import Endpoint, Network

#: A port's sum stays below 2**30 in magnitude: Lava adds up doubled int8 weights in int32.
ACCUMULATOR_BITS = 31


def worst_case(network: Network, port: Endpoint) -> int:
    """Return the largest magnitude that a port can accumulate.

    The sum over a neuron's synapses of |weight| times the largest magnitude of the message's
    format, for the neuron where it is largest.
    """
    total = np.zeros(network.group(port.group).size, dtype=np.int64)
    for synapses in network.synapses:
        if synapses.target == port:
            largest = 1 << (network.message_format(synapses.source).bits - 1)
            weights = abs(synapses.weights.astype(np.int64))
            total += np.asarray(weights.sum(axis=1)).ravel() * largest
    return int(total.max())
