"""A kind of neuron that this file defines and nothing else knows works everywhere."""

import functools
from pathlib import Path
from typing import Annotated, NamedTuple

import c_harness
import numpy as np
import pytest
from needs import needs_gcc, needs_lava
from numpy.testing import assert_array_equal

from s5_to_loihi import Bundle, bundle
from s5_to_loihi.backends import lava
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.fixed_point import Format, Integers, rectify, saturate, shift_right
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.network import neurons
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint, Network
from s5_to_loihi.network.neurons.constants import Shifts
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import verify_interpreter

pytestmark = pytest.mark.xdist_group("lava")

TOKENS, FEATURES, NEURONS = 40, 5, 4


class LeakyConstants(NamedTuple):
    leak: Shifts
    bias: Annotated[Integers, "x"]
    x: Format
    sent: Format


def advance(inputs, state, constants):
    c = constants
    (x,) = state
    return (saturate(x - shift_right(x, c.leak) + inputs[0] + c.bias, c.x.bits),)


LEAKY = NeuronKind(
    name="leaky",
    title="leaky integrator, ReLU",
    ports=("drive",),
    state=("x",),
    messages=("sent",),
    constants=LeakyConstants,
    update=Recurrence(
        drive=lambda accumulators, constants: accumulators,
        advance=advance,
        emit=lambda inputs, state, constants: (
            (saturate(rectify(state[0]), constants.sent.bits),),
            (),
        ),
    ),
)


@pytest.fixture(autouse=True)
def _registered():
    neurons.register(LEAKY)
    yield
    del neurons.KINDS[LEAKY.name]


@functools.cache
def network() -> Network:
    rng = np.random.default_rng(4)
    builder = NetworkBuilder("leaky", FEATURES, Format(16, 4))
    source, x, sent = builder.token, Format(24, 4), Format(16, 4)
    for index, count in enumerate((NEURONS, 3)):
        name = f"layer{index}"
        weights = rng.integers(-9, 10, (count, builder.size(source)))
        builder.connect(f"{name}.weight", source, Endpoint(name, "drive"), weights)
        constants = LeakyConstants(
            leak=rng.integers(1, 6, count), bias=rng.integers(-50, 50, count), x=x, sent=sent
        )
        builder.group(name, LEAKY, constants, {"x": x, "sent": sent})
        source = Endpoint(name, "sent")
    return run_passes(builder.readout(source))


def tokens() -> np.ndarray:
    return np.random.default_rng(5).integers(-3000, 3000, (TOKENS, 1, FEATURES))


@functools.cache
def expected() -> np.ndarray:
    """(TOKENS, outputs), by Python's integers and the formula in words: no code of the package."""
    rows = tokens()[:, 0].tolist()
    for group, edge in zip(network().groups, network().synapses, strict=True):
        weights, c = edge.weights.toarray().tolist(), group.constants
        state, sent = [0] * group.size, []
        for row in rows:
            for i in range(group.size):
                drive = sum(w * m for w, m in zip(weights[i], row, strict=True))
                x = state[i] - state[i] // 2 ** int(c.leak[i]) + drive + int(c.bias[i])
                state[i] = max(-(2**23), min(2**23 - 1, x))
            sent.append([min(max(x, 0), 2**15 - 1) for x in state])
        rows = sent
    return np.array(rows)


def test_it_runs_and_verifies():
    evaluated = Interpreter(network()).evaluate(tokens(), keep=["layer0.x", "layer1.sent"])
    assert_array_equal(evaluated.outputs[:, 0], expected())
    assert (expected() > 0).any()
    assert_array_equal(FastSimulator(network()).run(tokens()).outputs[:, 0], expected())
    vectors = Vectors(tokens(), dict(evaluated.values), {}, "the interpreter")
    assert verify_interpreter(network(), vectors).equal


def test_a_bundle_keeps_it(tmp_path):
    bundle.write(Bundle(network(), None), tmp_path / "leaky.bundle")
    opened = bundle.read(tmp_path / "leaky.bundle").network
    assert_array_equal(Interpreter(opened).evaluate(tokens()).outputs[:, 0], expected())


def test_it_maps_and_lists():
    mapping, evaluation = map_network(
        network(), assumed_rates(network(), 1.0), objective=Objective.CORES
    )
    assert len(mapping.core_of(network())) == NEURONS + 3
    assert evaluation.fractions.max() <= 1
    (program,) = neuron_programs(network())
    vectors = listing.neuron_vectors(network(), program, tokens())
    content = listing.to_json(network(), program, vectors, "tokens")
    assert content["kind"] == "leaky"
    assert [group["name"] for group in content["groups"]] == ["layer0", "layer1"]


@needs_gcc
def test_its_c_computes_its_integers(tmp_path):
    rows = {group.name: np.zeros((1, 1, group.size), dtype=np.int64) for group in network().groups}
    program = c_harness.build(network(), TOKENS, tmp_path)
    _, _, outputs = c_harness.run(program, network(), rows, tokens()[:, 0])
    assert_array_equal(outputs, expected())


@needs_lava
@pytest.mark.parametrize("fine_grained", [False, True], ids=["fused", "fine-grained"])
def test_it_runs_under_lava(fine_grained, monkeypatch):
    # The worker is another process, which is told where to find the kind.
    monkeypatch.setenv(neurons.VARIABLE, f"{Path(__file__).stem}:LEAKY")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    result = lava.run(network(), tokens(), mode=Mode.PIPELINED, fine_grained=fine_grained)
    assert_array_equal(result.outputs[:, 0], expected())
