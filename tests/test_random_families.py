"""Random checkpoints of every family that becomes a network, from the file to the integers.

A file in the family's own names is written and loaded; its outputs in floats are those of the
published formulas (``helpers/family_files.py``), and all integers are those of an evaluation in
Python's integers.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import big_integer_network
import family_files
import numpy as np
import pytest
from checkpoint_files import relative_error
from documented_families import documented
from family_files import Checkpoint, Choices
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from s5_to_loihi import float_model
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

TOKENS, SEQUENCES = 12, 2

GLUS = st.sampled_from([glu.value for glu in GluVariant])
ACTIVATIONS = st.sampled_from([one.value for one in Activation])
HOLD, HOLD_OR_BILINEAR, HOLD_OR_DIRAC = (
    st.sampled_from(names) for names in (["zoh"], ["zoh", "bilinear"], ["zoh", "dirac"])
)
EVERY_HOLD = st.sampled_from(["zoh", "bilinear", "dirac"])
ENDS = st.sampled_from(["both", "encoder", "decoder", "neither"])
NORMS, EVERY_NORM = (
    st.sampled_from(names) for names in (["batch", "layer"], ["batch", "layer", "rms"])
)
FLAX = st.sampled_from(["npz", "safetensors", "msgpack"])
TORCH = st.sampled_from(["npz", "safetensors"])
RESCALES = st.sampled_from([1.0, 0.5, 1.7])
#: What all families leave open.
COMMON = {
    "seed": st.integers(0, 2**32 - 1),
    "width": st.integers(2, 5),
    "states": st.integers(1, 4),
    "blocks": st.integers(1, 2),
    "features": st.integers(1, 4),
    "density": st.sampled_from([0.4, 1.0]),
    "readout": st.sampled_from([readout.value for readout in Readout]),
}
S5 = {"glu": GLUS, "activation": ACTIVATIONS, "symmetric": st.booleans(), "rescale": RESCALES}
PLACE, YES_OR_NO = {"prenorm": st.booleans()}, st.booleans()

#: Row of the documents' table -> what writes a file of it, and what that has a choice about.
FAMILIES = {
    "IntelLabs/SparseRNNs": (
        family_files.intel,
        S5 | PLACE | {"discretization": HOLD_OR_BILINEAR, "rectified": YES_OR_NO,
                      "container": FLAX},
    ),
    "lindermanlab/S5": (
        family_files.lindermanlab,
        S5 | PLACE | {"discretization": HOLD_OR_BILINEAR, "norm": NORMS, "container": FLAX},
    ),
    "i404788/s5-pytorch, `S5Block`": (
        family_files.s5_pytorch,
        {"gated": YES_OR_NO, "ends": ENDS, "rescale": RESCALES, "container": TORCH},
    ),
    "uzh-rpg/ssms_event_cameras, `S5Block`": (
        family_files.s5_pytorch,
        {"discretization": st.just("bilinear"), "gated": YES_OR_NO, "ends": ENDS,
         "rescale": RESCALES, "container": TORCH},
    ),
    "NicolasZucchet/minimal-LRU": (
        family_files.lru,
        PLACE | {"norm": NORMS, "container": FLAX},
    ),
    "state-spaces/s4, stand-alone S4D": (
        family_files.s4d,
        PLACE | {"rescale": RESCALES, "container": TORCH},
    ),
    "event-ssm, zoh or dirac at a constant rate": (
        family_files.event_ssm,
        PLACE | {"discretization": HOLD_OR_DIRAC, "symmetric": YES_OR_NO, "norm": NORMS,
                 "widens": YES_OR_NO, "ids": YES_OR_NO, "rescale": RESCALES, "container": FLAX},
    ),
    "luchris429/popjaxrl, its stack of blocks without a norm": (
        family_files.popjaxrl,
        S5 | {"discretization": HOLD_OR_BILINEAR, "container": FLAX},
    ),
    "an embedding of token ids before the blocks": (
        family_files.lindermanlab,
        S5 | PLACE | {"norm": NORMS, "ids": st.just(True), "container": FLAX},
    ),
    "an embedding in PyTorch": (
        family_files.s4d,
        PLACE | {"ids": st.just(True), "container": TORCH},
    ),
    "this project's own": (
        family_files.own,
        {"glu": GLUS, "activation": ACTIVATIONS, "symmetric": YES_OR_NO, "rectified": YES_OR_NO,
         "norm": EVERY_NORM, "discretization": EVERY_HOLD, "widens": YES_OR_NO, "ends": ENDS}
        | PLACE,
    ),
}  # fmt: skip
#: Family -> what its one model for the fast simulator is, where it is no plain one.
SELECTED = {
    "IntelLabs/SparseRNNs": Choices(glu="half1", activation="relu", rectified=True),
    "lindermanlab/S5": Choices(glu="none", activation="silu", norm="batch", prenorm=False),
    "event-ssm, zoh or dirac at a constant rate": Choices(
        blocks=2, discretization="dirac", widens=True, ids=True, symmetric=False
    ),
    "uzh-rpg/ssms_event_cameras, `S5Block`": Choices(
        discretization="bilinear", ends="neither", gated=False
    ),
    "luchris429/popjaxrl, its stack of blocks without a norm": Choices(activation="leaky_relu"),
    "an embedding of token ids before the blocks": Choices(ids=True, readout="last"),
    "an embedding in PyTorch": Choices(ids=True, readout="mean"),
    "this project's own": Choices(norm="rms", ends="decoder", activation="tanh", glu="half2"),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


def choices_of(name: str) -> st.SearchStrategy[Choices]:
    return st.builds(Choices, **COMMON | FAMILIES[name][1])


def tokens_of(checkpoint: Checkpoint, seed: int, count: int = TOKENS) -> np.ndarray:
    """(tokens, sequences, features) floats, not centred; or one-hot."""
    rng = np.random.default_rng([seed, 5])
    if checkpoint.ids:
        return np.eye(checkpoint.features)[rng.integers(checkpoint.features, size=(count, 2))]
    return 0.4 + rng.normal(size=(count, SEQUENCES, checkpoint.features))


def written(name: str, choices: Choices) -> tuple[Checkpoint, float_model.S5Model]:
    with TemporaryDirectory() as folder:
        checkpoint = FAMILIES[name][0](choices, Path(folder))
        return checkpoint, load(checkpoint.path, checkpoint.options).model


def network_of(name: str, choices: Choices) -> tuple[Network, np.ndarray]:
    """A quantized checkpoint, and integers (tokens, sequences, features), some far too large."""
    checkpoint, model = written(name, choices)
    data = tokens_of(checkpoint, choices.seed, 3 * TOKENS)
    length = TOKENS if model.readout is Readout.MEAN else None
    network = quantize_model(model, data, sequence_length=length).network
    tokens = tokens_of(checkpoint, choices.seed + 1)
    tokens[TOKENS // 2 :: 3] *= 30
    return network, to_integers(tokens, network.input_format)[0].astype(np.int32)


def test_every_family_of_the_documents_is_tried():
    assert {row for row, (_, _, maps) in documented().items() if maps} <= set(FAMILIES)


@every_family
@settings(deadline=None, max_examples=50, derandomize=True)
@given(data=st.data())
def test_floats_are_those_of_the_published_formulas(name, data):
    choices = data.draw(choices_of(name))
    checkpoint, model = written(name, choices)
    tokens = tokens_of(checkpoint, choices.seed)
    got, wanted = float_model.evaluate(model, tokens), checkpoint.formula(tokens)
    assert got.shape == wanted.shape
    # Both are in float64, and float32 holds all parameters exactly.
    assert relative_error(got, wanted) < 1e-10


@every_family
@settings(deadline=None, max_examples=10, derandomize=True)
@given(data=st.data())
def test_integers_are_those_of_an_evaluation_in_big_integers(name, data):
    network, tokens = network_of(name, data.draw(choices_of(name)))
    interpreter = Interpreter(network)
    found = interpreter.evaluate(tokens, keep=None)
    for sequence in range(SEQUENCES):
        wanted = big_integer_network.evaluate(network, tokens[:, sequence])
        assert set(wanted) == set(found.values)
        for value, array in wanted.items():
            assert_array_equal(found.values[value][:, sequence], array, err_msg=value)
    for mode in Mode:
        timed = interpreter.evaluate_timesteps(tokens, mode, keep=None)
        assert_array_equal(timed.outputs, found.outputs)
        for value, array in found.values.items():
            assert_array_equal(timed.values[value], array, err_msg=value)


@every_family
def test_the_fast_simulator_computes_the_same(name):
    """With what is drawn rarely: a block that widens, an embedding, no encoder."""
    fast_as_the_interpreter(*network_of(name, SELECTED.get(name, Choices(seed=3))))


@every_family
@settings(deadline=None, max_examples=4, derandomize=True)
@given(data=st.data())
def test_the_fast_simulator_computes_the_same_of_any(name, data):
    """Few, since the programs of each are compiled."""
    fast_as_the_interpreter(*network_of(name, data.draw(choices_of(name))))


def fast_as_the_interpreter(network: Network, tokens: np.ndarray) -> None:
    """Of sequences, with all messages, and of a stream."""
    wanted = Interpreter(network).evaluate(tokens, keep=None)
    simulator = FastSimulator(network)
    run = simulator.run(tokens, record=True)
    assert_array_equal(run.outputs, wanted.outputs)
    run.messages.pop("input.token")
    assert run.messages
    for value, array in run.messages.items():
        assert_array_equal(array, wanted.values[value], err_msg=value)
    stream = simulator.stream()
    assert_array_equal([stream.step(token) for token in tokens[:, 0]], wanted.outputs[:, 0])
