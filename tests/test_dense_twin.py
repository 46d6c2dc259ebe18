"""The dense twin computes the same integers and stores every entry of its matrices."""

import numpy as np

from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.profiling.dense_float import sizes_of
from s5_to_loihi.profiling.dense_twin import dense_twin
from s5_to_loihi.simulation import simulate
from s5_to_loihi.simulators.activity import count
from s5_to_loihi.simulators.interpreter import Interpreter

COMPILED = compile_export(DENOISER)
TOKENS = COMPILED.vectors.tokens[:40]


def test_every_entry_of_a_matrix_is_a_synapse_and_nothing_else_changes():
    network = COMPILED.network
    twin = dense_twin(network)
    verify(twin)
    elementwise = 0
    for sparse, dense in zip(network.synapses, twin.synapses, strict=True):
        np.testing.assert_array_equal(dense.weights.toarray(), sparse.weights.toarray())
        if sparse.name.endswith((".D", ".value", ".residual", ".hidden")):
            assert dense is sparse
            elementwise += dense.weights.nnz
        else:
            assert dense.density == 1
    assert twin.synapse_count == sizes_of(network).weights + elementwise


def test_the_same_integers_come_out_for_more_operations():
    network, twin = COMPILED.network, dense_twin(COMPILED.network)
    expected = Interpreter(network).evaluate(TOKENS, keep=None).values
    values = Interpreter(twin).evaluate(TOKENS, keep=None).values
    for name, integers in expected.items():
        np.testing.assert_array_equal(values[name], integers)


def test_each_message_costs_a_whole_column():
    bundle = COMPILED
    sparse = simulate(bundle, TOKENS, counting=True, raw=True).activity
    dense = dense_twin(bundle.network)
    values = Interpreter(dense).evaluate(TOKENS, keep=None).values | {"input.token": TOKENS}
    activity = count(dense, values)
    np.testing.assert_array_equal(activity.messages, sparse.messages)
    encoder = activity.groups.index("encoder")
    np.testing.assert_array_equal(activity.synops[..., encoder], 48 * (TOKENS != 0).sum(axis=2))
    assert (activity.synops >= sparse.synops).all()
