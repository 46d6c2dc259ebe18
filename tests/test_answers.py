"""Classifiers and regressions on data with answers, against counts made one case at a time."""

import json
from dataclasses import replace
from pathlib import Path

import float_models
import host_lanes
import numpy as np
import pytest
from float_models import FloatCase

from s5_to_loihi import bundle, profile, quantize
from s5_to_loihi.checkpoints.description import save_model
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import classification, labelled
from s5_to_loihi.evaluation.classification import SCHEMA, Answered, share
from s5_to_loihi.files.records import read_record
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.float_model import evaluate
from s5_to_loihi.network.network import Readout
from s5_to_loihi.simulators import gpu
from s5_to_loihi.simulators.interpreter import Interpreter

#: Their networks are compiled once, in one process.
pytestmark = pytest.mark.xdist_group("answers")
LENGTH, COUNT = 12, 40
CASE = FloatCase(blocks=1, features_in=3, features_out=4)
MODEL = float_models.random_model(CASE)
CALIBRATION = float_models.calibration(CASE, 200)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A bundle and its float checkpoint for each readout, of weights with few bits."""
    made = {}

    def of(readout: Readout) -> tuple[Path, Path]:
        if readout not in made:
            folder = tmp_path_factory.mktemp(readout.value)
            save_model(replace(MODEL, readout=readout), folder / "model")
            result = quantize(
                folder / "model", CALIBRATION, sequence_length=LENGTH, name=readout.value
            )
            bundle.write(result.bundle, folder / "network.bundle")
            made[readout] = folder / "network.bundle", folder / "model"
        return made[readout]

    return of


def data(readout: Readout) -> dict[str, np.ndarray]:
    """Sequences, of unequal lengths where the readout allows, with noise behind their ends."""
    random = np.random.default_rng(5)
    inputs = random.normal(size=(LENGTH, COUNT, 3)) * CALIBRATION.std()
    lengths = np.full(COUNT, LENGTH)
    if readout is not Readout.MEAN:
        lengths = random.integers(1, LENGTH + 1, COUNT)
    shape = (LENGTH, COUNT) if readout is Readout.EACH_TOKEN else (COUNT,)
    return {"inputs": inputs, "lengths": lengths, "labels": random.integers(0, 4, shape)}


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("readout", Readout)
def test_decisions_are_those_of_sequences_taken_one_by_one(
    bundles, call, readout, tmp_path, monkeypatch
):
    monkeypatch.setattr(gpu, "Cuda", host_lanes.Host)
    network_path, model_path = bundles(readout)
    arrays = data(readout)
    path = saved(tmp_path / "data.npz", arrays)
    command = ("evaluate", network_path, "--data", path, "--float", model_path, "--top-k", 2)
    device = "cuda" if readout is Readout.LAST else "cpu"
    code, out, _ = call(*command, "-o", tmp_path / "out", "--device", device)
    assert code == 0
    found = read_record(Answered, tmp_path / "out" / "results.json", SCHEMA)
    network, model = bundle.read(network_path).network, replace(MODEL, readout=readout)
    confusion, right, top, same, float_right = np.zeros((4, 4), int), 0, 0, 0, 0
    cases = 0
    for place, length in enumerate(arrays["lengths"]):
        inputs = arrays["inputs"][:length, [place]]
        outputs = (
            Interpreter(network).evaluate(to_integers(inputs, network.input_format)[0]).outputs
        )
        floats = evaluate(model, inputs)
        for token in range(length) if readout is Readout.EACH_TOKEN else [-1]:
            answers = arrays["labels"]
            label = answers[token, place] if answers.ndim == 2 else answers[place]
            scores = list(outputs[token, 0])
            decided, wanted = int(np.argmax(scores)), int(np.argmax(floats[token, 0]))
            order = sorted(range(4), key=lambda one: (-scores[one], one))
            confusion[label, decided] += 1
            right += decided == label
            top += label in order[:2]
            same += decided == wanted
            float_right += wanted == label
            cases += 1
    decisions = found.decisions
    np.testing.assert_array_equal(decisions.confusion, confusion)
    assert (decisions.accuracy.count, decisions.accuracy.of) == (right, cases)
    assert decisions.top.count == top
    assert decisions.agreement.count == same
    assert decisions.float_accuracy.count == float_right
    assert f"accuracy {right / cases:.2%}" in " ".join(out.split())
    assert (tmp_path / "out" / "confusion.png").read_bytes()[1:4] == b"PNG"
    assert found.signal_to_noise > 20


def test_recordings_are_not_evaluated_on_a_gpu(bundles, call, tmp_path):
    given = ("--noisy", tmp_path, "--clean", tmp_path, "--device", "cuda")
    code, _, error = call("evaluate", bundles(Readout.LAST)[0], *given)
    assert code == 1
    assert "--device: is cuda without --data" in error


def test_what_an_answer_costs_grows_with_its_tokens(bundles):
    opened = bundle.read(bundles(Readout.LAST)[0])
    arrays = data(Readout.LAST) | {"lengths": np.full(COUNT, LENGTH)}
    given = labelled.Labelled(
        arrays["inputs"], arrays["lengths"], arrays["labels"], None, ("",) * 4
    )
    found = classification.answer(opened, given, where="data", digest="")
    tokens = to_integers(arrays["inputs"], opened.network.input_format)[0]
    modes = profile(opened, tokens=tokens).modes
    pipelined, through = modes["pipelined"], modes["fall-through"]
    costs = found.costs
    assert costs["fall-through"]["latency"].value == pytest.approx(LENGTH * through.latency.value)
    assert costs["pipelined"]["latency"].value == pytest.approx(
        pipelined.latency.value + (LENGTH - 1) * pipelined.timestep.value
    )
    energy = pipelined.energy["neurocore rails"].total
    assert costs["pipelined"]["energy"].high == pytest.approx(LENGTH * energy.high)


def test_sequences_that_a_mean_is_not_made_for_are_left_out(bundles, call, tmp_path):
    arrays = data(Readout.MEAN)
    arrays["lengths"][:3] = 5
    path = saved(tmp_path / "data.npz", arrays)
    code, out, _ = call("evaluate", bundles(Readout.MEAN)[0], "--data", path)
    assert code == 0
    assert f"3 sequences are not of {LENGTH} tokens" in " ".join(out.split())
    assert f"on {COUNT - 3} sequences" in out
    arrays["lengths"][:] = 5
    code, _, err = call(
        "evaluate", bundles(Readout.MEAN)[0], "--data", saved(tmp_path / "none.npz", arrays)
    )
    assert code == 1
    assert "no sequence can be evaluated" in err


@pytest.mark.parametrize("readout", [Readout.EACH_TOKEN, Readout.LAST])
def test_regressions_are_compared_with_targets(bundles, call, readout, tmp_path):
    network_path, model_path = bundles(readout)
    arrays = data(readout)
    del arrays["labels"]
    shape = (LENGTH, COUNT, 4) if readout is Readout.EACH_TOKEN else (COUNT, 4)
    arrays["targets"] = np.random.default_rng(1).normal(size=shape)
    path = saved(tmp_path / "data.npz", arrays)
    code, out, _ = call("evaluate", network_path, "--data", path, "--float", model_path, "--json")
    assert code == 0
    found = json.loads(out)
    network = bundle.read(network_path).network
    errors, float_errors = [], []
    for place, length in enumerate(arrays["lengths"]):
        inputs = arrays["inputs"][:length, [place]]
        tokens = to_integers(inputs, network.input_format)[0]
        outputs = to_floats(Interpreter(network).evaluate(tokens).outputs, network.output_format)
        floats = evaluate(replace(MODEL, readout=readout), inputs)
        each = readout is Readout.EACH_TOKEN
        wanted = arrays["targets"][:length, place] if each else arrays["targets"][place]
        errors.append((outputs[:, 0] if each else outputs[-1, 0]) - wanted)
        float_errors.append((floats[:, 0] if each else floats[-1, 0]) - wanted)
    got = found["predictions"]
    assert got["mean_squared_error"] == pytest.approx(np.mean(np.vstack(errors) ** 2))
    assert got["float_mean_squared_error"] == pytest.approx(np.mean(np.vstack(float_errors) ** 2))
    assert found["signal_to_noise"] > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((LENGTH, COUNT), int)}, r"labels are int64 of shape \(12, 40\)"),
        ({"labels": np.full(COUNT, 4)}, "labels are 4 to 4, the network has 4 outputs"),
        ({"labels": np.zeros(COUNT)}, "labels are float64"),
        ({"inputs": np.zeros((LENGTH, COUNT, 2))}, "have 2 features a token, the network takes 3"),
        ({"inputs": np.zeros((LENGTH, 3))}, r"inputs are float64 of shape \(12, 3\)"),
        ({"lengths": np.full(COUNT, LENGTH + 1)}, "lengths are 13 to 13, inputs have 12 tokens"),
        ({"lengths": np.full(COUNT, 0)}, "lengths are 0 to 0"),
        ({"targets": np.zeros((COUNT, 4))}, "holds both labels and targets"),
        ({"label": np.zeros(COUNT)}, "holds unknown arrays .label."),
        ({"classes": np.array(["a"])}, "classes are <U1 of shape"),
        ({"inputs": np.array([{}])}, "cannot be read as .npz"),
        ({"inputs": np.full((LENGTH, COUNT, 3), np.nan)}, "NaN"),
    ],
)
def test_data_that_do_not_suit_are_refused(bundles, call, change, message, tmp_path):
    path = saved(tmp_path / "data.npz", data(Readout.LAST) | change)
    opened = bundle.read(bundles(Readout.LAST)[0])

    def answered():
        given = labelled.read(path, opened.network)
        return classification.answer(opened, given, where=str(path), digest="")

    with pytest.raises(InputError, match=message):
        answered()


def test_wilson_interval_is_that_of_a_textbook():
    # 8 of 10 at 95 %: 0.4902 to 0.9433 (Newcombe 1998, method 3)
    found = share(np.array([True] * 8 + [False] * 2))
    assert (found.count, found.of, found.value) == (8, 10, 0.8)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert share(np.array([True] * 5)).high == 1.0
