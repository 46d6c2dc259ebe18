"""The zoo: small enough, as its digests say, and every network is its float model's."""

import json
from pathlib import Path

import numpy as np
import pytest

import s5_to_loihi
from s5_to_loihi import bundle
from s5_to_loihi.checkpoints.description import load_model
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.float_model import evaluate
from s5_to_loihi.quantization.report import signal_to_noise
from s5_to_loihi.verification import verify_interpreter

ZOO = Path(s5_to_loihi.__file__).parent / "data" / "zoo"
MODELS = json.loads((ZOO / "zoo.json").read_text())


def test_the_zoo_is_small_and_described():
    files = [file for file in ZOO.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 6_000_000
    assert 3 <= len(MODELS) <= 5
    assert {entry["kind"] for entry in MODELS.values()} == {"denoiser", "classifier"}
    listed = {ZOO / name for entry in MODELS.values() for name in entry["sha256"]}
    assert {file for file in files if len(file.relative_to(ZOO).parts) > 1} == listed


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_its_digests_say_and_verifies(name):
    entry = MODELS[name]
    for file, digest in entry["sha256"].items():
        assert source_digest([ZOO / file]) == digest, file
    assert entry["recipe"]
    assert entry["data"]
    opened = bundle.read(ZOO / name / f"{name}.bundle")
    assert verify_interpreter(opened.network, opened.vectors).equal
    model, _ = load_model(ZOO / name / "model" / "model.yaml")
    tokens = to_floats(opened.vectors.tokens, opened.network.input_format)
    output = str(opened.network.output)
    got = to_floats(opened.vectors.expected[output], opened.network.output_format)
    wanted = evaluate(model, tokens)
    # Finetuned integers are not their float model's roundings, but near them.
    assert signal_to_noise(wanted, got[-len(wanted) :]) > 5
    assert np.isfinite(got).all()
