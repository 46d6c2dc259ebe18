"""Operations of a network, counted on its own messages, in both readings of the field.

A message that is not zero reaches the synapses of its neuron. Counted are either all synapses that
a matrix of that shape could have, zero weights too, as the code of the N-DNS challenge does
(``events * prod(synapse.shape)``), or only those that are there, as the chip executes and as some
entries of the challenge count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi import inspection
from s5_to_loihi.network.network import Network, Synapses
from s5_to_loihi.simulators.fast import FastSimulator

#: Tokens that are simulated at a time: what bounds memory.
CHUNK = 4096


@dataclass(frozen=True)
class Operations:
    """Totals over some tokens.

    Attributes:
        tokens: how many, of all sequences together.
        synops: synaptic operations of synapses that are there.
        synops_dense: the same if no weight were zero; synapses that join neurons one to one
            count one a neuron.
        updates: neuron updates: every neuron of every group, once a token.
        messages: non-zero messages, of input and groups, that synapses carry.
    """

    tokens: int
    synops: int
    synops_dense: int
    updates: int
    messages: int


@dataclass(frozen=True, eq=False)
class Counted:
    """What a simulation computed and did.

    Attributes:
        outputs: (tokens, batch, output features) int32.
        operations: over all tokens and sequences.
    """

    outputs: np.ndarray
    operations: Operations


def simulate(simulator: FastSimulator, tokens: np.ndarray, chunk: int = CHUNK) -> Counted:
    """Simulate from a zero state and count, in bounded memory but for the outputs.

    Args:
        simulator: of the network.
        tokens: (tokens, batch, input features) int32, see ``inputs.as_tokens``.
        chunk: tokens of a sequence at a time.
    """
    network = simulator.network
    count, batch, _ = tokens.shape
    outputs = np.empty((count, batch, network.output_size), dtype=np.int32)
    sent: dict[str, np.ndarray] = {}
    state = simulator.initial_state(batch)
    for start in range(0, count, chunk):
        part = tokens[start : start + chunk]
        run = simulator.run(part, state, record=True)
        outputs[start : start + chunk], state = run.outputs, run.state
        for name, messages in run.messages.items():
            times = np.count_nonzero(messages, axis=(0, 1))
            sent[name] = sent.get(name, 0) + times
    return Counted(outputs, _operations(network, sent, count * batch))


def _operations(network: Network, sent: dict[str, np.ndarray], tokens: int) -> Operations:
    """Count, from how often each neuron sent each of its messages."""
    synops = dense = 0
    for synapses in network.synapses:
        times = sent[str(synapses.source)]
        reached = np.bincount(synapses.weights.indices, minlength=synapses.weights.shape[1])
        synops += int(times @ reached)
        dense += int(times.sum()) * shape_fan_out(synapses)
    sources = {str(synapses.source) for synapses in network.synapses}
    return Operations(
        tokens=tokens,
        synops=synops,
        synops_dense=dense,
        updates=tokens * sum(group.size for group in network.groups),
        messages=sum(int(sent[name].sum()) for name in sources),
    )


def shape_fan_out(synapses: Synapses) -> int:
    """Return the synapses that a neuron could have here: all targets; one if joined one to one."""
    return 1 if _is_diagonal(synapses.weights) else synapses.weights.shape[0]


def _is_diagonal(weights: csr_matrix) -> bool:
    rows, columns = weights.shape
    return rows == columns and bool((weights.tocoo().row == weights.tocoo().col).all())


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        parameters: weights that are not zero, and constants of neurons.
        parameters_dense: all weights of the matrices' shapes (see ``Operations``), and constants.
        bytes: of the former, weights at 8 bits and constants at their own widths; without the
            indices that say where a weight is.
    """

    parameters: int
    parameters_dense: int
    bytes: float


def size(network: Network) -> Size:
    """Count what a network consists of.

    Constants are arrays with a number a neuron (biases, eigenvalues, gains ...); shifts, formats
    and tables of a whole group are its program.
    """
    weights = sum(synapses.weights.nnz for synapses in network.synapses)
    dense = sum(
        synapses.weights.shape[1] * shape_fan_out(synapses) for synapses in network.synapses
    )
    rows = inspection.constants(network)
    constants = sum(row.size for row in rows)
    bits = sum(row.size * row.format.bits for row in rows)
    return Size(weights + constants, dense + constants, weights + bits / 8)
