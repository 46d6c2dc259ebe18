"""From a float checkpoint to a bundle: the call and the command, as users use them."""

import json
from dataclasses import replace

import float_models
import numpy as np
import pytest
from float_models import FloatCase

from s5_to_loihi import Interpreter, Precision, bundle, float_model, load, quantize
from s5_to_loihi.checkpoints.description import save_model
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.float_model import Affine
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.calibration import split
from s5_to_loihi.verification import verify_interpreter

CASE = FloatCase(blocks=1)
MODEL = float_models.random_model(CASE)
DATA = float_models.calibration(CASE, 200)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model"
    save_model(MODEL, path)
    return path


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, DATA)
    return path


def test_a_bundle_holds_what_its_interpreter_computes(checkpoint, tmp_path):
    made = quantize(checkpoint, DATA, name="tiny")
    assert made.bundle.network.name == "tiny"
    assert verify_interpreter(made.bundle.network, made.bundle.vectors).equal
    assert made.report.calibration_tokens == 320
    assert made.report.held_out_tokens == 80
    assert made.report.signal_to_noise > 30
    bundle.write(made.bundle, tmp_path / "tiny.bundle")
    again = bundle.read(tmp_path / "tiny.bundle")
    assert again.network.synapse_count == made.bundle.network.synapse_count
    assert verify_interpreter(again.network, again.vectors).equal


def test_data_that_are_held_out_are_not_calibrated_with(checkpoint):
    loud = quantize(checkpoint, DATA, held_out=3 * DATA[:100])
    plain = quantize(checkpoint, DATA, held_out=DATA[:100])
    assert loud.bundle.network.input_format == plain.bundle.network.input_format
    assert loud.report.held_out_tokens == 200
    assert loud.report.signal_to_noise != plain.report.signal_to_noise


def test_sequences_are_held_out_whole_where_only_their_end_counts():
    classifier = replace(MODEL, readout=Readout.LAST)
    data = np.zeros((7, 10, 3))
    assert [part.shape for part in split(classifier, data)] == [(7, 8, 3), (7, 2, 3)]
    assert [part.shape for part in split(MODEL, np.zeros((10, 7, 3)))] == [(8, 7, 3), (2, 7, 3)]
    one = split(classifier, data[:, :1])
    assert [part.shape for part in one] == [(7, 1, 3), (7, 1, 3)]


def test_where_only_the_last_token_counts_its_outputs_are_compared(tmp_path):
    """The float model has outputs of the last token, the network has them of every token."""
    save_model(replace(MODEL, readout=Readout.LAST), tmp_path / "classifier")
    data = np.concatenate([DATA, DATA[::-1]], axis=1)
    made = quantize(tmp_path / "classifier", data, held_out=data)
    floats = float_model.evaluate(made.model, data)
    tokens, _ = to_integers(data, made.bundle.network.input_format)
    outputs = Interpreter(made.bundle.network).evaluate(tokens).outputs
    error = floats - to_floats(outputs[-1:], made.bundle.network.output_format)
    expected = 10 * np.log10(np.sum(floats**2) / np.sum(error**2))
    (decoder,) = (row for row in made.report.tensors if row.name == "decoder.affine")
    assert decoder.of == outputs.size
    assert decoder.signal_to_noise == pytest.approx(expected)
    assert made.report.signal_to_noise == pytest.approx(expected)
    assert made.report.constant_outputs == 0


def test_a_dead_network_is_refused_unless_forced(tmp_path):
    weight = MODEL.decoder.weight
    dead = replace(MODEL, decoder=Affine(np.zeros_like(weight), MODEL.decoder.bias))
    save_model(dead, tmp_path / "dead")
    with pytest.raises(CheckpointError, match=r"is dead: none of its 2 outputs changes .*--force"):
        quantize(tmp_path / "dead", DATA)
    assert quantize(tmp_path / "dead", DATA, force=True).report.constant_outputs == 2


def test_the_command_writes_a_bundle_and_says_what_it_cost(call, checkpoint, frames, tmp_path):
    output, picture = tmp_path / "tiny.bundle", tmp_path / "ranges.svg"
    code, text, _ = call(
        "quantize", checkpoint, "--calibration", frames, "-o", output, "--picture", picture,
        "--details",
    )  # fmt: skip
    assert code == 0
    for part in ("output SQNR", "proven", "measured", "block0.state.x_re", "Wrote"):
        assert part in text
    assert picture.read_text().lstrip().startswith("<?xml")
    assert bundle.read(output).network.name == "tiny"


def test_the_command_speaks_json(call, checkpoint, frames, tmp_path):
    code, text, _ = call(
        "quantize", checkpoint, "--calibration", frames, "-o", tmp_path / "b", "--json"
    )
    content = json.loads(text, parse_constant=pytest.fail)
    assert code == 0
    assert {proof["role"] for proof in content["report"]["proofs"]} == {
        "accumulator",
        "intermediate",
        "state",
        "message",
        "value",
    }


def test_compile_quantizes_on_the_way(call, checkpoint, frames, tmp_path):
    code, _, error = call("compile", checkpoint, "-o", tmp_path / "b")
    assert code == 1
    assert "--calibration DATA" in error
    code, text, _ = call("compile", checkpoint, "--calibration", frames, "-o", tmp_path / "b")
    assert code == 0
    assert "output SQNR" in text


def test_bits_come_from_a_file_and_from_options(call, checkpoint, frames, tmp_path):
    bits = tmp_path / "bits.yaml"
    bits.write_text("weights: 6\nactivations: 12\noverrides: {'*.C': 4}\n")
    arguments = ("quantize", checkpoint, "--calibration", frames, "-o", tmp_path / "b")
    code, text, _ = call(*arguments, "--precision", bits, "--weights", 5, "--json")
    assert code == 0
    matrices = {row["name"]: row["bits"] for row in json.loads(text)["report"]["matrices"]}
    assert (matrices["block0.B"], matrices["block0.C"]) == (5, 4)
    for content, message in (
        ("weights: [6]\n", "weight bits: is given"),
        ("wieghts: 6\n", "has the entry wieghts"),
        ("- 6\n", "does not hold a mapping"),
        ("{", "is not YAML"),
        ("overrides: 6\n", "is not a mapping"),
    ):
        bits.write_text(content)
        code, _, error = call(*arguments, "--precision", bits)
        assert code == 1
        assert message in error.replace("\n", " ")


@pytest.mark.parametrize("name", ["missing.npy", "frames.txt"])
def test_data_that_cannot_be_read(call, checkpoint, tmp_path, name):
    output = tmp_path / "b"
    code, _, error = call("quantize", checkpoint, "--calibration", tmp_path / name, "-o", output)
    assert code == 1
    assert name in error.replace("\n", "")
    assert not output.exists()


def test_bits_are_said_in_python(checkpoint):
    made = quantize(load(checkpoint).files[0].parent, DATA, precision=Precision(weights=4))
    assert {row.bits for row in made.report.matrices} == {4}
    with pytest.raises(InputError, match="silent"):
        quantize(checkpoint, 0 * DATA)
