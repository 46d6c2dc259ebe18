"""check_ranges: no accumulator can leave its width, whatever the input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.network.network import Endpoint, Network
from s5_to_loihi.passes.lower import ACCUMULATOR_BITS


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


@dataclass(frozen=True)
class CheckRanges:
    """Refuse a network in which an accumulator could overflow; change nothing.

    Attributes:
        accumulator_bits: width that every sum must fit in.
    """

    accumulator_bits: int = ACCUMULATOR_BITS
    name = "check_ranges"

    def __call__(self, network: Network) -> Network:
        """Return the network unchanged.

        Raises:
            CapacityError: naming the port, its worst case and the limit.
        """
        limit = 1 << (self.accumulator_bits - 1)
        for group in network.groups:
            for name in group.kind.ports:
                largest = worst_case(network, Endpoint(group.name, name))
                if largest >= limit:
                    raise CapacityError(
                        f"{group.name}.{name}",
                        f"can accumulate {largest} (limit {limit - 1}, {self.accumulator_bits} bits)",
                        "Use smaller weights, fewer inputs or a narrower message",
                    )
        return network
