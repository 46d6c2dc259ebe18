"""The first group that differs on a board is found by probing: with planted faults."""

import json
import os
import sys
from math import ceil, log2
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from every_kind import network_of
from needs import needs_lava
from random_networks import random_tokens

from s5_to_loihi import Bundle, bundle, verification
from s5_to_loihi.backends import board, probes
from s5_to_loihi.backends.board import BoardOptions
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.backends.divergence import (
    RUNS,
    Divergence,
    locate,
    read_divergence,
    write_divergence,
)
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.errors import InputError, LavaError
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

NETWORKS = ("half1, narrow states", "half2", "none, mean", "full, gelu, chained weights",
            "none, one of everything", "layer norm after and before", "denoiser_small")  # fmt: skip


class Chip:
    """A board on which one value of one neuron has the other sign; counts its runs."""

    def __init__(self, network, tokens, value, neuron):
        self.runs, self.network = 0, network
        right = Interpreter(network).evaluate(tokens, keep=None).values
        name, _, part = value.rpartition(".")
        self.values = {}
        interpreter = Interpreter(network)
        sent = {}
        for group in network.groups:
            inputs = interpreter.accumulate(
                group,
                {one.source: sent.get(str(one.source), tokens)
                 for one in network.incoming(group.name)},
            )  # fmt: skip
            registers = tuple(np.zeros((tokens.shape[1], group.size), np.int64)
                              for _ in group.kind.state)  # fmt: skip
            rows = []
            for row in zip(*inputs, strict=True):
                registers, messages, _ = group.kind.update(row, registers, group.constants)
                found = dict(zip(group.kind.state + group.kind.messages, registers + messages,
                                 strict=True))  # fmt: skip
                if group.name == name:
                    found[part] = np.array(found[part])
                    found[part][..., neuron] *= -1
                registers = tuple(found[one] for one in group.kind.state)
                rows.append(found)
            for one in group.kind.state + group.kind.messages:
                shape = (len(rows), tokens.shape[1], group.size)
                column = np.stack([np.broadcast_to(row[one], shape[1:]) for row in rows])
                self.values[f"{group.name}.{one}"] = sent[f"{group.name}.{one}"] = column
        self.shows = (self.values[str(network.output)] != right[str(network.output)]).any()

    def __call__(self, readout, states):
        self.runs += 1
        registers = {} if states is None else {
            f"{states}.{name}": self.values[f"{states}.{name}"]
            for name in self.network.group(states).kind.state
        }  # fmt: skip
        return self.values[readout], registers


def most_runs(network: Network) -> int:
    """Halving, then the sources of what is found, each message a run; and one for registers."""
    groups = len(network.groups)
    messages = max(len(network.sent_by(group)) for group in network.groups)
    sources = max(len({one.source.group for one in network.incoming(group.name)})
                  for group in network.groups)  # fmt: skip
    return messages * (ceil(log2(groups)) + sources) + 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_planted_fault_is_found(name):
    network = network_of(name)
    tokens = random_tokens(3, 6, 2, network.input_size)
    expected = Interpreter(network).evaluate(tokens, keep=None).values
    shown = 0
    for group in network.groups:
        for part in (*network.sent_by(group), *group.kind.state):
            value = f"{group.name}.{part}"
            neuron = int(np.abs(expected[value]).max(axis=(0, 1)).argmax())
            chip = Chip(network, tokens, value, neuron)
            found = locate(network, tokens, chip.values[str(network.output)], chip)
            if not chip.shows:
                assert found is None
                continue
            shown += 1
            token, sequence = np.argwhere(expected[value][..., neuron])[0]
            assert (found.value, found.neuron) == (value, neuron)
            assert (found.token, found.sequence) == (token, sequence)
            assert (found.got, found.expected) == (-found.expected, expected[value][
                token, sequence, neuron])  # fmt: skip
            assert found.unsure == ()
            assert found.runs == chip.runs <= min(RUNS, most_runs(network))
    assert shown >= len(network.groups) - 1


def test_too_few_runs_say_what_is_unsure():
    network = network_of("half1, narrow states")
    tokens = random_tokens(3, 6, 2, network.input_size)
    chip = Chip(network, tokens, "encoder.activation", 0)
    found = locate(network, tokens, chip.values[str(network.output)], chip, 1)
    assert chip.runs == found.runs == 1
    assert found.unsure
    assert f"not looked at, and before it: {found.unsure[0]}" in str(found)


# Through a rehearsal: the board's own processes, with a fault in one of them


@pytest.fixture
def fault(monkeypatch):
    helpers = Path(__file__).parent / "helpers"
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(helpers), *filter(None, [inherited])]))
    monkeypatch.setattr(board, "WORKER", "faulty_board_worker")
    return lambda text: monkeypatch.setenv("FAULT", text)


@needs_lava
@pytest.mark.xdist_group("lava")
def test_a_register_that_is_wrong_behind_a_gate_is_named(fault):
    network, value, neuron = network_of("none, mean"), "block0.state.x_re", 1
    tokens = random_tokens(3, 6, 2, network.input_size)
    fault(f"{value}:{neuron}")
    vectors = Vectors(tokens, {}, {}, "random")
    result = verification.verify_run(network, vectors, Backend.REHEARSAL, Mode.FALL_THROUGH)
    found = result.divergence
    assert (found.value, found.neuron, found.unsure) == (value, neuron, ())
    wanted = Interpreter(network).evaluate(tokens, keep=None).values[value][..., neuron]
    assert [found.token, found.sequence] == np.argwhere(wanted)[0].tolist()
    assert found.got == -found.expected == -wanted[found.token, found.sequence]
    assert found.runs <= 4


@needs_lava
@pytest.mark.xdist_group("lava")
def test_verify_names_the_group_of_a_wrong_message(fault, call, tmp_path):
    network = network_of("half2")
    tokens = random_tokens(3, 6, 1, network.input_size)
    outputs = Interpreter(network).evaluate(tokens).outputs
    vectors = Vectors(tokens, {str(network.output): outputs}, {}, "random")
    path = tmp_path / "half2.bundle"
    bundle.write(Bundle(network, vectors), path)
    fault("block0.gate.hidden:2")
    arguments = ("verify", path, "--backend", "rehearsal", "--mode", "pipelined")
    code, out, err = call(*arguments, "--json")
    assert code == 3
    (run,) = json.loads(out)["verification"]
    assert run["divergence"]["value"] == "block0.gate.hidden"
    error = " ".join(err.split())
    assert "rehearsal, pipelined: the first difference is in group block0.gate" in error
    assert "neuron 2" in error


@needs_lava
@pytest.mark.xdist_group("lava")
@pytest.mark.parametrize("mode", Mode)
def test_what_is_probed_is_the_interpreters(mode):
    network = network_of("half2")
    tokens = random_tokens(3, 5, 3, network.input_size)
    expected = Interpreter(network).evaluate(tokens, keep=None).values
    options = BoardOptions(input_latency=2, output_latency=1)
    run = board.rehearse(
        network, tokens, mode=mode, options=options,
        readout="block0.output.y", states="block0.state",
    ).evaluation  # fmt: skip
    np.testing.assert_array_equal(run.outputs, expected["block0.output.y"])
    assert set(run.values) == {"block0.state.x_re", "block0.state.x_im"}
    for name, array in run.values.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"readout": "encoder.nothing"}, "which no group sends"),
        ({"readout": "input.token"}, "which no group sends"),
        ({"states": "encoder"}, "which has none"),
        ({"states": "nowhere"}, "which has none"),
        ({"readout": "encoder.activation", "lowering": Lowering.EMBEDDED}, "embedded"),
    ],
)
def test_what_cannot_be_probed_is_refused(plan, said):
    with pytest.raises(InputError, match=said):
        ChipPlan(**plan).check(network_of("half2"))


# The extension's probes, as public code calls them


def test_registers_come_from_the_extensions_probes(monkeypatch):
    network = network_of("half2")
    group = network.group("block0.state")
    series = np.arange(2 * 7 * group.size).reshape(2, 7, group.size)
    module = SimpleNamespace(
        StateProbe=lambda var: SimpleNamespace(time_series=series[var].ravel().tolist())
    )
    monkeypatch.setitem(sys.modules, "lava.utils.loihi2_state_probes", module)
    configuration = SimpleNamespace(callback_fxs=["another"])
    asked = probes.StateProbes(network, ChipPlan(states="block0.state"), configuration)
    asked.found({"block0.state": SimpleNamespace(x_re=0, x_im=1)})
    assert configuration.callback_fxs == ["another", *asked.probes]
    np.testing.assert_array_equal(asked.series(7), np.moveaxis(series, 0, 1))
    with pytest.raises(LavaError, match=r"gave 28 values of block0\.state, not 32"):
        asked.series(8)
    nothing = probes.StateProbes(network, ChipPlan(), configuration)
    nothing.found({})
    assert nothing.probes == []


def test_a_divergence_is_read_as_it_was_written(tmp_path):
    found = Divergence("a.b", 1, 2, 3, -4, 5, 6, ("c",), ())
    write_divergence(found, tmp_path / "divergence.json")
    assert read_divergence(tmp_path / "divergence.json") == found
    (tmp_path / "divergence.json").write_text("{}")
    with pytest.raises(InputError, match="divergence"):
        read_divergence(tmp_path / "divergence.json")
