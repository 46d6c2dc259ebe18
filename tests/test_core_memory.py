"""The core memory model against the utilisation tables that Intel's compiler printed.

The rows are from notebooks of github.com/lava-nc/lava-dl: mnist/run.ipynb (main) and
state_space_models/sCIFAR (branch S4D_debug). The last digit printed is a hundredth of a per cent,
one to three words; totals there are up to one digit more than the sum of the words that the other
columns stand for.
"""

from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.loihi2.kernels import row_words, weight_bits
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.memory import (
    axon_memory_words,
    limits_of,
    neuron_words,
    rows_of,
)
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup, Synapses
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.neurons.constants import Shifts
from s5_to_loihi.network.neurons.dense import DenseConstants
from s5_to_loihi.network.neurons.state import StateConstants

CHIP = load_system("oheogulch").chip
ROWS = rows_of(CHIP)
#: Half of the last digit by rounding, and that one digit.
TOLERANCE = 0.0150001

#: (axons in, neurons, synapses of an axon, bits, words a neuron) -> the row that was printed.
PRINTED = {
    "mnist, 64 to 10": ((64, 10, 10, 8, 1), (0.40, 12.50, 0.24, 1.60, 0.06, 0.00, 1.71)),
    "mnist, 128 to 64": ((128, 64, 64, 8, 1), (0.80, 12.50, 1.56, 16.80, 0.40, 0.00, 14.72)),
    "mnist, 784 to 50": ((784, 50, 50, 8, 1), (4.90, 12.50, 1.22, 78.40, 0.31, 0.00, 67.14)),
    "S4D, 128 to 128": ((128, 128, 128, 8, 1), (0.80, 12.50, 3.13, 32.80, 0.80, 0.00, 28.16)),
    "S4D, 128 to 10": ((128, 10, 10, 8, 1), (0.80, 12.50, 0.24, 3.20, 0.06, 0.00, 3.31)),
    "S4D, 256 to 127": ((256, 127, 127, 4, 1), (1.60, 12.50, 3.10, 51.20, 0.79, 0.00, 43.52)),
    "S4D, sums": ((4096, 256, 1, 1, 1), (25.60, 12.50, 6.25, 25.60, 1.60, 0.00, 43.52)),
    "S4D, fewer sums": ((512, 128, 1, 1, 1), (3.20, 12.50, 3.13, 3.20, 0.80, 0.00, 6.41)),
    "S4D, states": ((128, 512, 4, 1, 2), (0.80, 12.50, 25.01, 0.80, 3.20, 0.00, 8.96)),
    "S4D, full core": ((256, 2047, 8, 1, 2), (1.60, 12.50, 99.98, 3.21, 12.79, 0.00, 34.55)),
}


def layer(axons: int, neurons: int, fan: int, bits: int, words: int) -> Network:
    """Every axon reaches ``fan`` neurons of one group, with weights of that many bits."""
    weight = 1 if bits == 1 else -(2 ** (bits - 1))
    sources = np.repeat(np.arange(axons), fan)
    targets = np.arange(axons * fan) % neurons
    weights = csr_matrix(
        (np.full(len(targets), weight, dtype=np.int8), (targets, sources)), shape=(neurons, axons)
    )
    wide, zeros = Format(16 if words == 1 else 24, 0), np.zeros(neurons, dtype=np.int64)
    if words == 1:
        kind, port, message = KINDS["dense"], "weighted", "activation"
        constants = DenseConstants(zeros, wide, 0, wide, 1)
    else:
        kind, port, message = KINDS["state"], "bu_re", "g_re"
        own = np.arange(neurons) % 5
        constants = StateConstants(own, own + 1, wide, wide, 0, 0, wide, wide, wide, wide)
    group = NeuronGroup(
        "layer",
        kind,
        neurons,
        constants,
        dict.fromkeys(kind.values, wide),
        dict.fromkeys(kind.ports, 0),
    )
    synapses = Synapses("w", Endpoint(INPUT, TOKEN), Endpoint("layer", port), weights, 0)
    return Network("layer", axons, wide, (group,), (synapses,), Endpoint("layer", message))


@pytest.mark.parametrize("name", PRINTED)
def test_printed_rows(name):
    (axons, neurons, fan, bits, words), printed = PRINTED[name]
    network = layer(axons, neurons, fan, bits, words)
    work = workload(network, assumed_rates(network), CHIP)
    loads = measure(work, np.zeros(neurons, dtype=np.int64))
    percent = 100 * loads.words[0] / limits_of(CHIP)
    assert np.abs(percent - printed).max() <= TOLERANCE, percent


def test_printed_words_of_rows():
    rows = {10: 4, 50: 16, 64: 21, 100: 32, 200: 63, 256: 81}
    assert {count: row_words(count, 8, count, ROWS) for count in rows} == rows
    assert row_words(127, 4, 127, ROWS) == 32
    assert [row_words(count, 1, 512, ROWS) for count in (0, 1, 2, 3, 4, 5)] == [0, 1, 1, 1, 1, 2]


def test_dense_rows_are_chosen_where_the_facts_allow_them_and_they_are_shorter():
    dense = rows_of(replace(CHIP, dense_rows=replace(CHIP.dense_rows, value=1)))
    assert row_words(64, 8, 64, dense) == 9
    assert row_words(3, 8, 64, dense) == row_words(3, 8, 64, ROWS) == 2


@pytest.mark.parametrize(
    ("lowest", "highest", "bits"),
    [
        (0, 0, 1),
        (0, 1, 1),
        (0, 127, 7),
        (-1, 0, 1),
        (-1, 1, 2),
        (-8, 7, 4),
        (-8, 8, 5),
        (-128, 127, 8),
        (-128, 0, 8),
    ],
)
def test_bits_of_weights(lowest, highest, bits):
    assert weight_bits(lowest, highest) == bits


def test_lists_of_destinations():
    assert [axon_memory_words(count, CHIP) for count in range(6)] == [0, 0, 1, 2, 2, 3]


class MadeUpConstants(NamedTuple):
    gain: Annotated[np.ndarray, "gain_format"]
    gain_format: Format
    shifts: Shifts


def test_words_of_a_neuron():
    assert neuron_words([24, 20, 16, 7], CHIP) == 2  # 24 + 24 + 16, and 8
    assert neuron_words([24, 20, 40, 7], CHIP) == 2  # 24 + 24 + 16 fill a word; 24 and 8 are left
    assert neuron_words([], CHIP) == 1
