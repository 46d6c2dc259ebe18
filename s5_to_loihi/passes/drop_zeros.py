"""prune: drop what never counts, zero weights, without changing a single integer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from s5_to_loihi.network.network import Network, Synapses, frozen_weights


@dataclass(frozen=True)
class DropZeros:
    """Remove zero weights from the sparse storage, and synapses that have none left.

    A port without synapses accumulates zero.
    """

    name = "prune"

    def __call__(self, network: Network) -> Network:
        """Return the network without zero weights and empty synapses."""
        kept = tuple(_without_zeros(synapses) for synapses in network.synapses)
        return replace(network, synapses=tuple(s for s in kept if s.weights.nnz))


def _without_zeros(synapses: Synapses) -> Synapses:
    weights = synapses.weights.copy()
    weights.eliminate_zeros()
    return replace(synapses, weights=frozen_weights(weights))
