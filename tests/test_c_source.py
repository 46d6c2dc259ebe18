"""The generated C computes the interpreter's integers, and nothing in it is undefined."""

from dataclasses import replace

import c_harness
import numpy as np
import pytest
from every_kind import EVERY, network_of, tokens_of
from needs import needs_gcc

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.lava_runtime.c_source import identifier, write_source
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.ranges import port_intervals, port_limits
from s5_to_loihi.simulators.interpreter import Interpreter, update_sequence

#: Rows of accumulators anywhere within what is proven for them.
ROWS = 60


def anything(network: Network, group: NeuronGroup) -> np.ndarray:
    """(ROWS, ports, neurons): at the ends of what is proven for each neuron, and between them."""
    rng, columns = np.random.default_rng(7), []
    for port in group.kind.ports:
        if group.kind.wraps:
            low, high = np.repeat([port_intervals(network, group)[port]], group.size, axis=0).T
        else:
            low, high = port_limits(network, Endpoint(group.name, port))
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        shape = (ROWS, group.size)
        ends = np.choose(rng.integers(0, 3, shape), [low, high, 0])
        between = rng.integers(low, high, shape, endpoint=True)
        columns.append(np.where(rng.random(shape) < 0.5, ends, between))
    return np.stack(columns, axis=1)


def updated(group: NeuronGroup, rows: np.ndarray) -> dict[str, np.ndarray]:
    """``group.value`` -> (rows, neurons) from zero registers, by the definition."""
    accumulators = tuple(np.moveaxis(rows[:, None], 2, 0))
    zero = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
    _, values = update_sequence(group, accumulators, zero)
    return {
        f"{group.name}.{name}": np.broadcast_to(value, (len(rows), 1, group.size))[:, 0]
        for name, value in zip(group.kind.values, values, strict=True)
    }


@needs_gcc
@pytest.mark.parametrize("name", EVERY)
def test_every_register_and_message(name, tmp_path):
    """Of each group for any accumulators, and of the whole network for two sequences."""
    network = network_of(name)
    sequence = tokens_of(name, network)
    tokens = np.concatenate([sequence, sequence])[:, 0]
    rows = {group.name: anything(network, group) for group in network.groups}
    program = c_harness.build(network, len(sequence), tmp_path)
    alone, together, outputs = c_harness.run(program, network, rows, tokens)
    wanted = {}
    for group in network.groups:
        wanted |= updated(group, rows[group.name])
    for value, array in alone.items():
        np.testing.assert_array_equal(array, wanted[value], err_msg=value)
    evaluated = Interpreter(network).evaluate(sequence, keep=None)
    for value, array in together.items():
        expected = np.concatenate([evaluated.values[value][:, 0]] * 2)
        np.testing.assert_array_equal(array, expected, err_msg=value)
    np.testing.assert_array_equal(outputs, np.concatenate([evaluated.outputs[:, 0]] * 2))
    values = {f"{group.name}.{name}" for group in network.groups for name in group.kind.state}
    values |= {str(one.source) for one in network.synapses} | {str(network.output)}
    assert set(alone) == set(together) == values - {"input.token"}


@needs_gcc
@pytest.mark.parametrize(
    "name",
    ["simple", "half1, narrow states", "none, one of everything", "half2", "none, mean",
     "layer norm after and before", "denoiser_small"],
)  # fmt: skip
def test_with_a_gate_only_what_a_marker_reaches_changes(name, tmp_path):
    """Two sequences, with tokens that come late; between them other features are not looked at."""
    network = network_of(name)
    sequence = tokens_of(name, network)[:12]
    tokens = np.concatenate([sequence, sequence])[:, 0]
    rng = np.random.default_rng(2)
    times = np.cumsum(1 + rng.integers(0, 3, len(tokens)))
    input_rows = rng.integers(-5, 5, (times[-1] + 3, network.input_size + 1))
    input_rows[:, -1] = 0
    input_rows[times, :-1] = tokens
    input_rows[times, -1] = 1
    input_rows[times[[0, len(sequence)]], -1] = 2
    rows = {group.name: anything(network, group) for group in network.groups}
    program = c_harness.build(network, 1, tmp_path, gate=True)
    alone, together, outputs = c_harness.run(program, network, rows, input_rows)
    for group in network.groups:
        for value, array in updated(group, rows[group.name]).items():
            if value in alone:
                np.testing.assert_array_equal(alone[value], array, err_msg=value)
    evaluated = Interpreter(network).evaluate(sequence, keep=None)
    idle = np.setdiff1d(np.arange(len(input_rows)), times)
    state = {f"{group.name}.{name}" for group in network.groups for name in group.kind.state}
    for value, array in together.items():
        expected = np.concatenate([evaluated.values[value][:, 0]] * 2)
        np.testing.assert_array_equal(array[times], expected, err_msg=value)
        if value in state:
            np.testing.assert_array_equal(array[idle[1:]], array[idle[1:] - 1], err_msg=value)
        else:
            assert not array[idle].any()
    np.testing.assert_array_equal(outputs[times], np.concatenate([evaluated.outputs[:, 0]] * 2))
    assert not outputs[idle].any()


def test_these_networks_have_every_kind_of_neuron():
    used = {group.kind.name for name in EVERY for group in network_of(name).groups}
    # Those of netx are in test_netx.py.
    assert used == {name for name, kind in KINDS.items() if not kind.wraps}


def test_a_lookup_beyond_its_table_is_refused(monkeypatch):
    network = network_of("simple")
    monkeypatch.setattr("s5_to_loihi.lava_runtime.c_source._table", lambda program, step: (1, 2))
    with pytest.raises(NetworkError, match=r"gate.*may read beyond a table of 2 entries"):
        write_source(network, 64)


def test_names_that_are_one_in_c_are_refused():
    network = network_of("simple")
    first, second, *others = network.groups
    renamed = (replace(first, name="a.b"), replace(second, name="a_b"), *others)
    with pytest.raises(NetworkError, match="one in C"):
        write_source(replace(network, groups=renamed), 64)


@pytest.mark.parametrize("name", ["block0.state", "1st block", "a-b/c;d", "größe", "*/ #"])
def test_names_become_identifiers(name):
    assert identifier(name).replace("_", "").isascii()
    assert identifier(name).isidentifier()
