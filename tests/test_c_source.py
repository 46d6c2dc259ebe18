"""The generated C computes the interpreter's integers, and nothing in it is undefined."""

import shutil

import c_harness
import numpy as np
import pytest
from every_kind import EVERY, network_of, tokens_of

from s5_to_loihi.backends.c_source import identifier, write_source
from s5_to_loihi.backends.interpreter import Interpreter, update_sequence
from s5_to_loihi.errors import NetworkError
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.programs import sent_messages
from s5_to_loihi.network.ranges import port_intervals

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

#: Rows of accumulators anywhere within what is proven for them, behind those of the tokens.
ANYTHING = 40


def anything(network: Network, group: NeuronGroup, rng: np.random.Generator) -> np.ndarray:
    """(ANYTHING, ports, neurons): at the ends of the proven intervals, and between them."""
    columns = []
    for low, high in port_intervals(network, group).values():
        shape = (ANYTHING, group.size)
        ends = rng.choice([low, high, np.clip(0, low, high)], shape)
        between = rng.integers(low, high, shape, endpoint=True)
        columns.append(np.where(rng.random(shape) < 0.5, ends, between))
    return np.stack(columns, axis=1)


def accumulators_of(network: Network, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """For each group: junk until its phase, then what the tokens make, then anything."""
    rng = np.random.default_rng(7)
    interpreter = Interpreter(network)
    values = interpreter.evaluate(tokens, keep=None).values
    sent = {Endpoint(*name.rsplit(".", 1)): array for name, array in values.items()}
    sent[Endpoint(INPUT, TOKEN)] = tokens
    rows = {}
    for group in network.groups:
        accumulated = np.stack(
            [array[:, 0] for array in interpreter.accumulate(group, sent)], axis=1
        )
        junk = anything(network, group, rng)[: group.phase]
        rows[group.name] = np.concatenate([junk, accumulated, anything(network, group, rng)])
    return rows


def expected_values(group: NeuronGroup, rows: np.ndarray) -> dict[str, np.ndarray]:
    """``value`` -> (rows, neurons) from the phase on, by the definition."""
    accumulators = tuple(np.moveaxis(rows[group.phase :, None], 2, 0))
    zero = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
    _, values = update_sequence(group, accumulators, zero)
    return {
        name: np.broadcast_to(value, (len(rows) - group.phase, 1, group.size))[:, 0]
        for name, value in zip(group.kind.values, values, strict=True)
    }


@pytest.mark.parametrize("name", EVERY)
def test_every_register_and_message(name, tmp_path):
    network = network_of(name)
    rows = accumulators_of(network, tokens_of(name, network))
    got = c_harness.run(c_harness.build(network, tmp_path), network, rows)
    compared = set()
    for group in network.groups:
        expected = expected_values(group, rows[group.name])
        for value in (*group.kind.state, *sent_messages(network, group)):
            wanted = expected[value]
            np.testing.assert_array_equal(
                got[f"{group.name}.{value}"][group.phase :], wanted, err_msg=f"{group.name}.{value}"
            )
            compared.add(f"{group.name}.{value}")
    assert compared == set(got)


def test_these_networks_have_every_kind_of_neuron():
    used = {group.kind.name for name in EVERY for group in network_of(name).groups}
    assert used == set(KINDS)


def test_junk_before_the_first_token_would_change_the_state():
    """So the reset in the first token's timestep is not for nothing."""
    network = network_of("simple")
    group = next(group for group in network.groups if group.kind.state)
    rows = accumulators_of(network, tokens_of("simple", network))[group.name]
    zero = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
    state, _ = update_sequence(group, tuple(np.moveaxis(rows[: group.phase, None], 2, 0)), zero)
    assert any(register.any() for register in state)


def test_a_lookup_beyond_its_table_is_refused(monkeypatch):
    network = network_of("simple")
    gate = next(group for group in network.groups if group.kind.name == "gate")
    monkeypatch.setattr("s5_to_loihi.backends.c_source._table", lambda program, step: (1, 2))
    with pytest.raises(NetworkError, match=r"gate.*may read beyond a table of 2 entries"):
        write_source(network, gate)


@pytest.mark.parametrize("name", ["block0.state", "1st block", "a-b/c;d", "größe"])
def test_names_become_identifiers(name):
    assert identifier(name).replace("_", "").isascii()
    assert f"C_{identifier(name)}".isidentifier()
