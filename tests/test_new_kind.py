"""A kind of neuron that is defined here and nowhere else goes the whole way of a network."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import c_harness
import numpy as np
import pytest
from needs import needs_gcc, needs_lava
from random_networks import random_tokens

from s5_to_loihi import bundle
from s5_to_loihi.backends import lava
from s5_to_loihi.errors import BundleError, InputError, NetworkError
from s5_to_loihi.fixed_point import (
    Format,
    Integers,
    rectify,
    saturate,
    shift_right,
    shift_right_rounded,
)
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.memory import field_widths
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.network import neurons
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint, Network
from s5_to_loihi.network.neurons import KINDS, NeuronKind, register
from s5_to_loihi.network.neurons.constants import Allowed, Multipliers, Shift
from s5_to_loihi.network.neurons.kind import Recurrence
from s5_to_loihi.network.programs import neuron_programs, program_of
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

SIZE, TOKENS = 5, 40


class LeakyConstants(NamedTuple):
    decay: Multipliers
    decay_shift: Shift
    threshold: Annotated[Integers, "x"]
    x: Format
    sent: Format
    leaks: Annotated[int, Allowed(0, 1, "leaks {} times")]


def drive(accumulators, constants):
    return (shift_right(accumulators[0], 2),)


def advance(inputs, state, constants):
    c = constants
    decayed = shift_right_rounded(state[0] * c.decay, c.decay_shift) if c.leaks else state[0]
    return (saturate(decayed + inputs[0], c.x.bits),)


def emit(inputs, state, constants):
    above = rectify(state[0] - constants.threshold)
    return (saturate(above, constants.sent.bits), np.abs(state[0])), (above,)


LEAKY = NeuronKind(
    name="leaky_integrator",
    title="leaky integrator with a threshold",
    ports=("current",),
    state=("x",),
    messages=("spike", "magnitude"),
    probes=("above",),
    constants=LeakyConstants,
    update=Recurrence(drive, advance, emit),
)


@pytest.fixture(autouse=True)
def registered():
    register(LEAKY)
    yield
    del KINDS[LEAKY.name]


def constants(seed: int, **changes) -> LeakyConstants:
    rng = np.random.default_rng(seed)
    leaky = LeakyConstants(
        decay=rng.integers(2**13, 2**15, SIZE),
        decay_shift=15,
        threshold=rng.integers(-100, 3000, SIZE),
        x=Format(20, 8),
        sent=Format(16, 8),
        leaks=1,
    )
    return leaky._replace(**changes)


def built(**changes) -> Network:
    rng = np.random.default_rng(5)
    builder = NetworkBuilder("leaky", 3, Format(16, 8))
    message = builder.token
    for index in range(2):
        name = f"layer{index}"
        weights = rng.integers(-9, 10, (SIZE, builder.size(message)))
        builder.connect(f"{name}.weight", message, Endpoint(name, "current"), weights, 2)
        made = constants(index, **changes)
        formats = {"x": made.x, "spike": made.sent, "magnitude": Format(21, 8), "above": made.x}
        builder.group(name, LEAKY, made, formats)
        message = Endpoint(name, "spike")
    return run_passes(builder.readout(message))


NETWORK = built()
SEQUENCE = random_tokens(3, TOKENS, 1, 3) >> 4


def expected() -> dict[str, np.ndarray]:
    """``group.value`` -> (tokens, neurons) in Python's integers."""
    values, sent = {}, SEQUENCE[:, 0].tolist()
    for group in NETWORK.groups:
        (synapses,) = NETWORK.incoming(group.name)
        weights, c = synapses.weights.toarray().tolist(), group.constants
        x, rows = [0] * SIZE, []
        for token in sent:
            for neuron, row in enumerate(weights):
                current = sum(w * value for w, value in zip(row, token, strict=True)) // 4
                decayed = (2 * x[neuron] * int(c.decay[neuron]) + 2**15) // 2**16
                x[neuron] = max(-(2**19), min(2**19 - 1, decayed + current))
            rows.append(list(x))
        threshold = c.threshold.tolist()
        above = [[max(x - t, 0) for x, t in zip(row, threshold, strict=True)] for row in rows]
        sent = [[min(value, 2**15 - 1) for value in row] for row in above]
        found = {"x": rows, "spike": sent, "above": above}
        values |= {f"{group.name}.{name}": np.array(array) for name, array in found.items()}
    assert np.count_nonzero(values["layer1.spike"]) > TOKENS
    return values


def test_it_runs():
    wanted = expected()
    for result in (
        Interpreter(NETWORK).evaluate(SEQUENCE, keep=None),
        Interpreter(NETWORK).evaluate_timesteps(SEQUENCE, Mode.PIPELINED, keep=None),
    ):
        for name, array in wanted.items():
            np.testing.assert_array_equal(result.values[name][:, 0], array, err_msg=name)
    simulator = FastSimulator(NETWORK)
    run = simulator.run(SEQUENCE, record=True)
    np.testing.assert_array_equal(run.messages["layer0.spike"][:, 0], wanted["layer0.spike"])
    np.testing.assert_array_equal(run.outputs[:, 0], wanted["layer1.spike"])
    stream = simulator.stream()
    streamed = [stream.step(token) for token in SEQUENCE[:, 0].astype(np.int32)]
    np.testing.assert_array_equal(streamed, wanted["layer1.spike"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": np.full(SIZE, 2**15)}, "layer0.decay: lies in 32768..32768"),
        ({"threshold": np.full(SIZE, 2**19)}, r"layer0.threshold: .* int20·2\^-8"),
        ({"decay_shift": 48}, "layer0.decay_shift: shifts right by 48 bits"),
        ({"leaks": 2}, r"layer0.leaks: leaks 2 times \(allowed 0..1\)"),
        ({"x": Format(25, 8)}, "layer0.x: is 25 bits wide"),
    ],
)
def test_what_it_declares_is_verified(changes, message):
    verify(NETWORK)
    with pytest.raises(NetworkError, match=message):
        built(**changes)


def test_it_is_stored(tmp_path):
    bundle.write(bundle.Bundle(NETWORK, None), tmp_path / "leaky.bundle")
    opened = bundle.read(tmp_path / "leaky.bundle").network
    for group, other in zip(opened.groups, NETWORK.groups, strict=True):
        assert group.kind is LEAKY
        assert str(group.constants) == str(other.constants)
    got = Interpreter(opened).evaluate(SEQUENCE)
    np.testing.assert_array_equal(got.outputs[:, 0], expected()["layer1.spike"])


def test_the_command_line_opens_it_if_told_where_it_is(tmp_path):
    bundle.write(bundle.Bundle(NETWORK, None), tmp_path / "leaky.bundle")

    search_path = os.pathsep.join([str(Path(__file__).parent), *sys.path])

    def inspect(**environment):
        return subprocess.run(
            [sys.executable, "-m", "s5_to_loihi.cli", "inspect", "--details",
             str(tmp_path / "leaky.bundle")],
            env=os.environ | {"PYTHONPATH": search_path} | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    told = inspect(S5_TO_LOIHI_KINDS=f"{Path(__file__).stem}:LEAKY")
    assert told.returncode == 0, told.stderr
    assert "leaky_integrator" in told.stdout
    untold = inspect()
    assert untold.returncode == 1
    assert "'leaky_integrator', which is not known here" in untold.stderr
    assert neurons.VARIABLE in untold.stderr
    wrong = inspect(S5_TO_LOIHI_KINDS="no_such_module:LEAKY")
    assert wrong.returncode == 1
    assert "cannot be loaded (No module named 'no_such_module')" in wrong.stderr


def test_an_unknown_kind_is_refused_by_name(tmp_path, monkeypatch):
    bundle.write(bundle.Bundle(NETWORK, None), tmp_path / "leaky.bundle")
    monkeypatch.delitem(KINDS, LEAKY.name)
    with pytest.raises(BundleError, match=r"leaky_integrator.*not known here"):
        bundle.read(tmp_path / "leaky.bundle")


def test_it_is_mapped():
    mapping, _ = map_network(NETWORK, assumed_rates(NETWORK))
    assert set(mapping.cores) == {"layer0", "layer1"}
    # A register of 20 bits, a multiplier of 16, a threshold as wide as the register.
    assert sorted(field_widths(program_of(NETWORK, NETWORK.groups[0]))) == [16, 20, 20]


def test_it_is_listed():
    programs = neuron_programs(NETWORK)
    assert {program.kind for program in programs} == {LEAKY}
    for program in programs:
        vectors = listing.neuron_vectors(NETWORK, program, SEQUENCE)
        text = listing.to_text(NETWORK, program, vectors, "made up")
        assert LEAKY.title in text
        content = listing.to_json(NETWORK, program, vectors, "made up")
        bits = {one["name"]: one["bits"] for one in content["parameters"]}
        assert bits == {"decay": 16, "threshold": 20}


@needs_gcc
def test_it_is_written_in_c(tmp_path):
    program = c_harness.build(NETWORK, 64, tmp_path)
    nothing = {group.name: np.zeros((0, 1, SIZE)) for group in NETWORK.groups}
    _, together, outputs = c_harness.run(program, NETWORK, nothing, SEQUENCE[:, 0])
    wanted = expected()
    for name, array in together.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    np.testing.assert_array_equal(outputs, wanted["layer1.spike"])


@needs_lava
@pytest.mark.xdist_group("lava")
@pytest.mark.parametrize("fine_grained", [False, True])
def test_it_runs_under_lava(fine_grained, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv(neurons.VARIABLE, f"{Path(__file__).stem}:LEAKY")
    got = lava.run(NETWORK, SEQUENCE, fine_grained=fine_grained, record=True)
    for name, array in expected().items():
        np.testing.assert_array_equal(got.values[name][:, 0], array, err_msg=name)
    np.testing.assert_array_equal(got.outputs[:, 0], expected()["layer1.spike"])


def test_two_kinds_of_one_name_are_refused():
    impostor = NeuronKind(
        name="dense", title="", ports=("p",), messages=("m",), constants=LeakyConstants,
        update=LEAKY.update,
    )  # fmt: skip
    with pytest.raises(InputError, match="dense: is the name of another kind"):
        register(impostor)


def test_constants_that_declare_nothing_are_refused():
    class Vague(NamedTuple):
        gain: np.ndarray

    kind = NeuronKind(
        name="vague", title="", ports=("p",), messages=("m",), constants=Vague, update=LEAKY.update
    )
    with pytest.raises(TypeError, match=r"Vague\.gain declares no constant"):
        register(kind)


def test_a_state_without_a_recurrence_is_refused():
    kind = NeuronKind(
        name="odd", title="", ports=("p",), state=("x",), messages=("m",),
        constants=LeakyConstants, update=lambda accumulators, state, constants: (state, (), ()),
    )  # fmt: skip
    with pytest.raises(TypeError, match="no Recurrence"):
        register(kind)
