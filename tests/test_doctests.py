"""The examples of public docstrings run as they stand.

They take for granted what ``docs/python.md`` says: ``s5``, ``np``, ``bundle``, ``frames``, and some
files in the working directory.
"""

import doctest
import inspect
import shutil

import numpy as np
import pytest
from needs import needs_h5py

import s5_to_loihi
from s5_to_loihi import audio
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, DENOISER, NOISY

NEEDS = {"compile_netx": (needs_h5py,)}
NAMES = [
    pytest.param(name, marks=NEEDS.get(name, ()))
    for name in s5_to_loihi.__all__
    if name != "__version__"
]


@pytest.fixture(scope="module")
def frames():
    sound = audio.resample(audio.read_wav(CALIBRATION)).samples[0]
    return audio.features(audio.analyse(sound[: 200 * audio.HOP]))[:200]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_public_name_run(name, compiled, frames, tmp_path, monkeypatch):
    value = getattr(s5_to_loihi, name)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(value))
    assert examples, "has no example"
    shutil.copytree(compiled, tmp_path / "denoiser.bundle")
    shutil.copytree(CHECKPOINT, tmp_path / "model")
    shutil.copytree(DENOISER, tmp_path / "export")
    shutil.copy(NOISY, tmp_path / "noisy.wav")
    monkeypatch.chdir(tmp_path)
    given = {"s5": s5_to_loihi, "np": np, "frames": frames}
    given["bundle"] = s5_to_loihi.read("denoiser.bundle")
    said = []
    runner = doctest.DocTestRunner(verbose=False)
    test = doctest.DocTest(examples, given, name, inspect.getsourcefile(value), 0, None)
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
