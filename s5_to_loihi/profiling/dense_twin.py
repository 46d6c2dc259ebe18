"""The dense twin of a network: the same integers, with every zero stored as a synapse.

What it computes is the same bit for bit, and so are its messages; what it costs is what the network
would cost without its sparse weights. Sparse activity is left as it is: a weight that is zero is an
operation here, a message that is zero still is none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.network.network import Network, Synapses, frozen_weights


def dense_twin(network: Network) -> Network:
    """Return a network of the same integers that stores every entry of its matrices.

    Synapses from each neuron to its own partner alone (D, value, residual) are no matrix that was
    pruned, and stay as they are.
    """
    return replace(
        network,
        synapses=tuple(one if _is_elementwise(one) else _filled(one) for one in network.synapses),
    )


def _is_elementwise(synapses: Synapses) -> bool:
    rows, columns = synapses.weights.shape
    coordinates = synapses.weights.tocoo()
    return rows == columns and np.array_equal(coordinates.row, coordinates.col)


def _filled(synapses: Synapses) -> Synapses:
    rows, columns = synapses.weights.shape
    weights = csr_matrix(
        (
            synapses.weights.toarray().ravel(),
            np.tile(np.arange(columns, dtype=np.int32), rows),
            np.arange(0, rows * columns + 1, columns, dtype=np.int32),
        ),
        shape=(rows, columns),
    )
    return replace(synapses, weights=frozen_weights(weights))
