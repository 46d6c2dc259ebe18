"""Lava's own neurons where they are exact, and C for an embedded processor."""

import subprocess
from dataclasses import replace

import c_harness
import extension as stand_in
import numpy as np
import pytest
from every_kind import EVERY, network_of
from needs import needs_gcc, needs_lava, no_extension
from random_networks import random_tokens

from s5_to_loihi import Bundle, bundle
from s5_to_loihi.backends import board
from s5_to_loihi.backends.board import BoardOptions
from s5_to_loihi.errors import InputError, LavaError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.lava_runtime import stock
from s5_to_loihi.lava_runtime.chip_plan import Lowering
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    frozen_weights,
    identity_weights,
)
from s5_to_loihi.network.neurons.dense import DENSE, DenseConstants
from s5_to_loihi.network.neurons.gate import RESIDUAL, ResidualConstants
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.simulators.interpreter import Interpreter

pytestmark = pytest.mark.xdist_group("lava")

SIZE = 4
VALUE = Format(24, 8)


def partly_stock() -> Network:
    """An affine map with biases, a residual sum with ReLU that is a plain one, and an identity."""
    result = Format(16, 8)
    dense = DenseConstants(np.arange(SIZE) * 100 - 150, Format(16, 8), 2, result, 0)
    plain = DenseConstants(np.zeros(SIZE, dtype=np.int64), Format(16, 8), 0, VALUE, 0)
    residual = ResidualConstants(result, VALUE, VALUE, VALUE)

    def group(name, kind, constants, phase, its_format=VALUE):
        return NeuronGroup(
            name, kind, SIZE, constants, dict.fromkeys(kind.values, its_format),
            dict.fromkeys(kind.ports, 8), phase,
        )  # fmt: skip

    def edge(name, source, target, weights, delay=0):
        ends = (Endpoint(*one.rsplit(".", 1)) for one in (source, target))
        return Synapses(name, *ends, weights, 0, delay)

    rng = np.random.default_rng(3)
    weights = [frozen_weights(rng.integers(-9, 10, (SIZE, SIZE))) for _ in range(2)]
    token = f"{INPUT}.{TOKEN}"
    network = Network(
        "partly stock",
        SIZE,
        Format(12, 8),
        (
            group("first", DENSE, dense, 1, result),
            group("sum", RESIDUAL, residual, 2),
            group("last", DENSE, plain, 3),
        ),
        (
            edge("weights", token, "first.weighted", weights[0]),
            edge("value", "first.activation", "sum.value", identity_weights(SIZE)),
            edge("skip", token, "sum.residual", weights[1], delay=1),
            edge("on", "sum.hidden", "last.weighted", identity_weights(SIZE)),
        ),
        Endpoint("last", "activation"),
    )
    verify(network)
    return CheckRanges()(network)


def test_what_is_exact_and_what_is_lacking():
    first, total, last = stock.lower(partly_stock())
    assert first.process is None
    assert set(first.lacking) >= {"a constant for each neuron", "a shift of a sum"}
    assert (total.process, last.process) == ("GradedReluVec", "GradedVec")
    assert total.lacking == last.lacking == ()


@pytest.mark.parametrize("name", EVERY)
def test_stock_neurons_reach_no_group_of_a_real_network(name):
    """Said in the documentation; one synthetic network of the helpers is an identity."""
    reached = [one.group for one in stock.lower(network_of(name)) if one.process]
    assert reached == (["sum"] if name == "handed on only" else [])


def test_groups_with_state_say_so():
    (state,) = [one for one in stock.lower(network_of("half2")) if one.group == "block0.state"]
    assert state.lacking[0] == "state registers"


def test_a_sum_too_wide_for_a_stock_neuron_is_not_lowered():
    network = partly_stock()
    wide = replace(network, input_format=Format(24, 8))
    assert [one.process for one in stock.lower(wide)][1] is None


@needs_lava
def test_a_network_with_stock_neurons_gives_the_same_integers():
    network = partly_stock()
    tokens = random_tokens(3, 9, 2, SIZE) >> 6
    expected = Interpreter(network).evaluate(tokens).outputs
    assert {0, 1} <= set((expected == 0).ravel().tolist())
    for lowering in (Lowering.STOCK, Lowering.MICROCODE):
        got = board.rehearse(network, tokens, options=BoardOptions(lowering=lowering))
        np.testing.assert_array_equal(got.evaluation.outputs, expected)
        assert got.profile.environment["lowering"] == lowering.value


@needs_lava
@no_extension
def test_stock_neurons_need_no_microcode(tmp_path):
    bundle.write(Bundle(partly_stock(), None), tmp_path / "network")
    (tmp_path / "empty").mkdir()
    arguments = ("run_on_stand_in.py", tmp_path / "network", tmp_path / "empty", "outputs", "")
    finished = stand_in.run(*arguments, "stock")
    assert finished.stdout.startswith("microcode: there is none for 1 programs: dense-")
    finished = stand_in.run(*arguments, "microcode")
    assert finished.stdout.startswith("microcode: there is none for 3 programs")


# Embedded


@needs_lava
@no_extension
def test_the_embedded_way_needs_no_microcode_and_goes_as_far_as_lavas_compiler(tmp_path):
    bundle.write(Bundle(partly_stock(), None), tmp_path / "network")
    arguments = (tmp_path / "network", tmp_path, "outputs", "", "embedded")
    finished = stand_in.run("run_on_stand_in.py", *arguments)
    assert "CS5Network" in finished.stdout.splitlines()[-1], finished.stdout + finished.stderr


@needs_lava
@no_extension
def test_the_embedded_model_names_its_source():
    finished = stand_in.run("embedded_model.py")
    assert finished.returncode == 0, finished.stderr
    expected = ["/job/network.c", "S5Network LMT", "CInPort COutPort"]
    assert finished.stdout.splitlines() == expected


def test_an_embedded_run_cannot_be_rehearsed_or_measured():
    network = partly_stock()
    options = BoardOptions(lowering=Lowering.EMBEDDED)
    with pytest.raises(InputError, match="is not run here"):
        board.rehearse(network, np.zeros((2, SIZE), dtype=int), options=options)
    with pytest.raises(InputError, match="measure"):
        BoardOptions(lowering=Lowering.EMBEDDED, measure=("time",))
    with pytest.raises(LavaError, match="lava"):
        board.run(network, np.zeros((2, SIZE), dtype=int), options=options)


def test_the_embedded_way_starts_sequences_when_their_first_token_arrives(monkeypatch):
    """The way to the chip shifts the resets in the C, as it does in neurons."""
    written = []
    monkeypatch.setattr(board.extension, "require", lambda **needed: None)
    monkeypatch.setattr(
        board, "_phase", lambda job, what, **_: written.append((job / "network.c").read_text())
    )
    network = network_of("simple")
    tokens = random_tokens(0, 4, 1, network.input_size)
    for latency in (0, 3, 6):
        options = BoardOptions(lowering=Lowering.EMBEDDED, input_latency=latency)
        board.run(network, tokens, options=options)
        assert f"(rs->time_step - 1) % 4 == {latency % 4})" in written[-1]


# The command


@pytest.fixture
def stored(tmp_path):
    bundle.write(Bundle(partly_stock(), None), tmp_path / "a.bundle")
    return tmp_path / "a.bundle"


def test_the_command_says_what_stock_neurons_reach(stored, call):
    code, out, _ = call("microcode", stored, "--lowering", "stock")
    assert code == 0
    assert "exact for 2 of 3 groups" in out
    assert "GradedReluVec" in out
    assert out.count("\nProgram ") == 1


@needs_gcc
def test_the_command_writes_c_that_compiles(stored, tmp_path, call):
    arguments = ("--lowering", "embedded", "--reset-interval", "64", "-o", tmp_path / "c")
    code, _, _ = call("microcode", stored, *arguments)
    assert code == 0
    text = (tmp_path / "c" / "network.c").read_text()
    assert "(rs->time_step - 1) % 64 == 0" in text
    runtime = c_harness.RUNTIME.format(inputs=SIZE, outputs=SIZE)
    (tmp_path / "c" / "predefs_CS5Network.h").write_text(runtime)
    source = str(tmp_path / "c" / "network.c")
    command = ["gcc", *c_harness.FLAGS, "-c", source, "-o", str(tmp_path / "network.o")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_an_interval_that_is_no_power_of_two_is_refused(stored, call):
    arguments = ("--lowering", "embedded", "--reset-interval", "100")
    code, _, err = call("microcode", stored, *arguments)
    assert code == 1
    assert "Use 128" in err
