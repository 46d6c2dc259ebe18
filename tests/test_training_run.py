"""Whole trainings: Japanese Vowels to the accuracies that are claimed, killed and resumed, refused.

The data are in the wheel of aeon, which is not imported.
"""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install 's5_to_loihi[train]'")
pytest.importorskip("lightning", reason="Lightning is missing: pip install 's5_to_loihi[train]'")

from benchmark import quantization  # noqa: E402

from s5_to_loihi import audio, bundle  # noqa: E402
from s5_to_loihi.checkpoints.description import load_model, save_model  # noqa: E402
from s5_to_loihi.evaluation.classification import answer  # noqa: E402
from s5_to_loihi.evaluation.labelled import Labelled  # noqa: E402
from s5_to_loihi.float_model import evaluate  # noqa: E402
from s5_to_loihi.network.network import Readout  # noqa: E402
from s5_to_loihi.quantization.precision import Precision  # noqa: E402
from s5_to_loihi.training import loop  # noqa: E402
from s5_to_loihi.training.architecture import Architecture, initial_model  # noqa: E402
from s5_to_loihi.training.data import read_sequences, read_sound  # noqa: E402
from s5_to_loihi.training.generator import Voices, generate  # noqa: E402
from s5_to_loihi.training.pruning import Pruning  # noqa: E402
from s5_to_loihi.training.quantized import QuantizedNetwork  # noqa: E402
from s5_to_loihi.training.recipe import (  # noqa: E402
    Accelerator,
    Data,
    Integers,
    Machine,
    Recipe,
    Schedule,
    read_recipe,
)
from s5_to_loihi.training.tasks import task_of  # noqa: E402
from s5_to_loihi.training.training import new_module, quantize_for, train  # noqa: E402
from s5_to_loihi.verification import verify_interpreter  # noqa: E402


def vowels() -> Path | None:
    found = importlib.util.find_spec("aeon")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "datasets" / "data" / "JapaneseVowels"


needs_vowels = pytest.mark.skipif(
    vowels() is None, reason="aeon's data are missing: pip install --no-deps aeon==1.6.0"
)
# Of Lightning's imports; what users see is quiet.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def recipe(width: int, sparsity: float, epochs: int, integers: Integers) -> Recipe:
    folder = vowels()
    assert folder is not None
    return Recipe(
        name="vowels",
        data=Data(
            str(folder / "JapaneseVowels_TRAIN.ts"),
            str(folder / "JapaneseVowels_TEST.ts"),
            noise=0.1,
        ),
        model=Architecture(width=width, blocks=2, steps=(0.01, 1.0)),
        training=Schedule(epochs=epochs),
        sparsity=Pruning(sparsity),
        integers=integers,
        machine=Machine(Accelerator.CPU),
    )


@needs_vowels
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("width", "sparsity", "epochs", "integers"),
    [
        (96, 0.0, 25, Integers(weights=2, epochs=16, rate=6e-3)),
        (48, 0.9, 40, Integers(weights=4, epochs=3, rate=1e-3)),
    ],
    ids=["dense", "sparse"],
)
def test_japanese_vowels(width, sparsity, epochs, integers, tmp_path):
    wanted = recipe(width, sparsity, epochs, integers)
    made = train(wanted, tmp_path / "out")
    task = task_of(wanted)
    assert made.scores["float"] >= 95
    assert made.sparsity == pytest.approx(sparsity, abs=0.002)
    # W8A16 within half a point of the floats.
    eight = quantize_for(task, made.model, Precision())
    accuracy = loop.evaluate(task, QuantizedNetwork(eight))
    assert abs(accuracy - made.scores["float"]) <= 0.5
    # Two bits: training gives back what rounding takes, each weight by itself or as we do it.
    if integers.weights == 2:
        plain = quantize_for(task, quantization().plainly_rounded(made.model, 2), Precision(16))
        assert made.scores["integers"] >= loop.evaluate(task, QuantizedNetwork(plain)) + 5
        assert made.scores["integers"] >= made.scores["rounded"] + 1
        assert made.scores["integers"] >= made.scores["float"] - 0.5
    # The bundle is what was trained: the same test data through the fast simulator.
    opened = bundle.read(made.bundle)
    assert verify_interpreter(opened.network, opened.vectors).equal
    test = read_sequences(wanted.data.test)
    data = Labelled(test.inputs, test.lengths, test.labels, None, test.classes)
    answered = answer(opened, data, where="test", digest="")
    assert 100 * answered.decisions.accuracy.value == pytest.approx(
        made.scores["integers"], abs=0.1
    )


def written(folder: Path, epochs: int = 4) -> Path:
    """Write a small recipe with data and return it."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        labels = rng.integers(0, 2, 40)
        inputs = rng.normal(size=(9, 40, 3)) + 2 * labels[:, None]
        np.savez(folder / f"{name}.npz", inputs=inputs, labels=labels)
    file = folder / "recipe.yaml"
    file.write_text(
        f"""
name: small
data: {{train: train.npz, test: test.npz}}
model: {{width: 6, blocks: 1}}
training: {{epochs: {epochs}, batch: 8}}
sparsity: {{sparsity: 0.5, aware_of_chip: true, interval: 2}}
integers: {{weights: 4, epochs: {epochs}}}
machine: {{accelerator: cpu}}
"""
    )
    return file


def test_a_training_begins_with_another_model(tmp_path, call):
    """Dense first, then pruned: what it begins with is the dense model, to the last weight."""
    file = written(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("sparsity: 0.5, aware_of_chip: true", "sparsity: 0"))
    dense = train(read_recipe(file), tmp_path / "dense").model
    text = text.replace("model: {width: 6, blocks: 1}", "start: dense/model")
    second = tmp_path / "second.yaml"
    second.write_text(text)
    wanted = read_recipe(second)
    task = task_of(wanted)
    begun = new_module(wanted, task).double().eval().to_model()
    inputs = np.random.default_rng(1).normal(size=(9, 4, 3))
    np.testing.assert_allclose(evaluate(begun, inputs), evaluate(dense, inputs), rtol=1e-5)
    made = train(wanted, tmp_path / "pruned")
    assert made.sparsity == pytest.approx(0.5, abs=0.03)
    # The same path with another model in it is another training.
    file.write_text(file.read_text().replace("epochs: 4", "epochs: 5"))
    (tmp_path / "dense").rename(tmp_path / "before")
    train(read_recipe(file), tmp_path / "dense")
    code, _, error = call("train", second, "-o", tmp_path / "pruned")
    assert code == 1
    assert "holds the training of another recipe" in error


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (("width: 6", "width: 6}\nstart: {a: 1"), "start"),
        (("model: {width: 6, blocks: 1}", "start: nowhere"), "nowhere"),
        (("training: {", "start: elsewhere\ntraining: {"), "model: is there beside start"),
        (("train.npz, test: test.npz}\nmodel: {width: 6, blocks: 1}",
          "wide.npz, test: wide.npz}\nstart: made"), "has 3 for features, the data want 5"),
        (("model: {width: 6, blocks: 1}", "readout: mean\nstart: made"),
         "has last for readout, the data want mean"),
    ],
)  # fmt: skip
def test_what_a_training_cannot_begin_with(change, wrong, tmp_path, call):
    file = written(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "wide.npz", inputs=rng.normal(size=(9, 40, 5)), labels=rng.integers(0, 2, 40)
    )
    save_model(
        initial_model("made", Architecture(width=4, blocks=1), 3, 2, Readout.LAST, 0),
        tmp_path / "made",
    )
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    code, _, error = call("train", file, "-o", tmp_path / "out")
    assert code == 1
    assert wrong in " ".join(error.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("phase", ["float", "integers"])
def test_killed_and_started_again_gives_the_same_weights(phase, tmp_path):
    file = written(tmp_path, epochs=30)
    code = (
        "import sys, torch; torch.set_num_threads(1); from s5_to_loihi.cli import main;"
        " sys.argv[1:] = sys.argv[1:]; main()"
    )
    command = [sys.executable, "-c", code, "train", str(file), "-o"]
    killed = subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint = tmp_path / "killed" / "checkpoints" / f"{phase}.ckpt"
    while not checkpoint.exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "small.bundle").exists(), "it was killed too late"
    wanted = read_recipe(file)
    resumed = train(wanted, tmp_path / "killed")
    whole = train(wanted, tmp_path / "whole")
    for name in ("model/model.safetensors", "small.bundle/weights.safetensors"):
        one, other = (load_file(tmp_path / folder / name) for folder in ("killed", "whole"))
        assert one.keys() == other.keys()
        for tensor in one:
            np.testing.assert_array_equal(one[tensor], other[tensor], err_msg=tensor)
    assert resumed.scores == whole.scores
    # Each epoch is listed once, as in the training that was not killed.
    lists = [(tmp_path / one / "logs" / f"{phase}.csv").read_text() for one in ("killed", "whole")]
    assert lists[0] == lists[1]


def test_the_command_trains_and_says_what_is_next(call, tmp_path):
    file = written(tmp_path)
    code, output, _ = call("train", file, "-o", tmp_path / "out")
    assert code == 0
    assert output.startswith(f"Wrote {tmp_path / 'out' / 'small.bundle'}: accuracy ")
    assert "Next:  s5-to-loihi verify" in output
    assert "in floats" in output
    assert "as deployed" in output
    assert (tmp_path / "out" / "loss.png").stat().st_size > 1000
    code, output, _ = call("verify", tmp_path / "out" / "small.bundle", "--backend", "interpreter")
    assert code == 0
    # Another recipe must not go on with these checkpoints.
    file.write_text(file.read_text().replace("width: 6", "width: 7"))
    code, _, error = call("train", file, "-o", tmp_path / "out")
    assert code == 1
    assert "holds the training of another recipe" in error


@pytest.mark.parametrize(
    ("norm", "weights"), [("layer, prenorm: false", "e4m3"), ("rms", "e5m2")], ids=str
)
def test_norms_over_neurons_and_weights_in_floating_point(norm, weights, tmp_path):
    file = written(tmp_path, epochs=12)
    text = file.read_text().replace("blocks: 1", f"blocks: 2, norm: {norm}")
    file.write_text(text.replace("weights: 4", f"weights: {weights}"))
    made = train(read_recipe(file), tmp_path / "out")
    opened = bundle.read(made.bundle)
    assert verify_interpreter(opened.network, opened.vectors).equal
    kinds = [group.kind.name for group in opened.network.groups]
    assert kinds.count("layer_norm") + kinds.count("layer_norm_squared") == 2
    assert any(note.startswith(f"{weights}: weights of ") for note in opened.notes)
    assert made.scores["integers"] >= 80
    history = loop.read_history(loop.history_file(tmp_path / "out", "integers"))
    assert history[-1][1] <= history[0][1]


def test_from_scratch_and_a_pipe_of_sound(tmp_path):
    """Integers without any training in floats, on wav files that the generator makes."""
    for name, seed in (("train", 1), ("test", 2)):
        assert generate(tmp_path / name, 4, 1.5, seed, Voices.TONES) is Voices.TONES
    found = read_sound(tmp_path / "train")
    assert len(found.noisy) == 4
    wanted = Recipe(
        name="denoiser",
        data=Data(str(tmp_path / "train"), str(tmp_path / "test"), seconds=0.5),
        model=Architecture(width=8, blocks=1),
        training=Schedule(batch=6, activity=0.1),
        integers=Integers(epochs=6, rate=5e-3, from_scratch=True),
        machine=Machine(Accelerator.CPU),
    )
    made = train(wanted, tmp_path / "out")
    assert made.denoises
    assert "float" not in made.scores
    noisy = np.mean(
        [
            audio.si_snr(audio.read_wav(one).samples[0], audio.read_wav(other).samples[0])
            for one, other in zip(
                sorted((tmp_path / "test" / "noisy").iterdir()),
                sorted((tmp_path / "test" / "clean").iterdir()),
                strict=True,
            )
        ]
    )
    history = loop.read_history(loop.history_file(tmp_path / "out", "integers"))
    assert history[-1][1] < history[0][1], "the loss does not fall"
    assert made.scores["integers"] > made.scores["rounded"]
    assert np.isfinite(noisy)
    # Deployed SI-SNR by the interpreter, on the clips as they are.
    from s5_to_loihi.backends.dispatch import Backend
    from s5_to_loihi.denoising import denoise

    network, scores = bundle.read(made.bundle).network, []
    for file in sorted((tmp_path / "test" / "noisy").iterdir()):
        clean = tmp_path / "test" / "clean" / file.name.replace("noisy", "clean")
        cleaned = denoise(network, audio.read_wav(file).samples, Backend.INTERPRETER)
        scores.append(audio.si_snr(cleaned.samples[0], audio.read_wav(clean).samples[0]))
    assert np.mean(scores) == pytest.approx(made.scores["integers"], abs=0.01)


# --- mistakes ------------------------------------------------------------------------------------


def spoil(folder: Path, name: str) -> str:
    """Do something wrong to a folder with a recipe; return what the message must say."""
    recipe_file, data = folder / "recipe.yaml", dict(np.load(folder / "train.npz"))
    if name == "nan":
        data["inputs"][3, 5, 1] = np.nan
        np.savez(folder / "train.npz", **data)
        return r"holds 1 inputs that are NaN"
    if name == "one class":
        np.savez(folder / "train.npz", **(data | {"labels": np.zeros(40, dtype=int)}))
        return r"only one class \('0'\)"
    if name == "other features":
        np.savez(folder / "test.npz", **(data | {"inputs": data["inputs"][..., :2]}))
        return "has 2 features and 2 outputs, the training data 3 and 2"
    changes = {
        "no gpu": ("accelerator: cpu", "accelerator: gpu", "asks for 1 GPU, PyTorch"),
        "diverges": ("batch: 8", "batch: 8, rate: 1.0, decay: 1.0e+9", "diverged: the loss is"),
        "unknown key": ("width: 6", "widht: 6", "widht: is unknown"),
        "no data": ("train: train.npz", "train: nothing.npz", "does not exist"),
        "empty folder": ("train: train.npz", "train: .", "has no folder noisy"),
        "each token": ("name: small", "name: small\nreadout: each_token", "one label a sequence"),
        "no such readout": ("name: small", "name: small\nreadout: first", "Use one of each_token"),
        "sparsity": ("sparsity: 0.5", "sparsity: 1.5", "allowed 0 to below 1"),
    }
    before, after, said = changes[name]
    recipe_file.write_text(recipe_file.read_text().replace(before, after))
    return said


@pytest.mark.parametrize(
    "name",
    [
        *("nan", "one class", "other features", "no gpu", "diverges", "unknown key"),
        *("no data", "empty folder", "each token", "no such readout", "sparsity"),
    ],
)
def test_mistakes_are_named_and_leave_no_bundle(name, tmp_path, call):
    if name == "no gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    import re

    file = written(tmp_path)
    said = spoil(tmp_path, name)
    code, _, error = call("train", file, "-o", tmp_path / "out")
    assert code == 1
    assert re.search(said, error.replace("\n", " ")), error
    assert not (tmp_path / "out" / "small.bundle").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no series"),
        ("@classLabel true a b\n1,2:3:a\n", "dimensions of [1, 2] values"),
        ("@classLabel true a b\n1,x:a\n", "no number"),
        ("@classLabel true a b\n1,2:c\n", "which is none of a, b"),
        ("1,2:a\n1,2:3,4:b\n", "series of 1 and of 2 dimensions"),
        ("1,nan:a\n3,4:b\n", "NaN or infinite"),
    ],
)
def test_ts_files_are_read_strictly(content, said, tmp_path):
    from s5_to_loihi.errors import InputError

    file = tmp_path / "data.ts"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        read_sequences(file)
    assert said in str(caught.value)


def test_ts_file():
    folder = vowels()
    if folder is None:
        pytest.skip("aeon's data are missing: pip install --no-deps aeon==1.6.0")
    found = read_sequences(folder / "JapaneseVowels_TRAIN.ts")
    assert found.inputs.shape == (26, 270, 12)
    assert (found.lengths.min(), found.lengths.max()) == (7, 26)
    assert found.classes == tuple("123456789")
    np.testing.assert_array_equal(np.bincount(found.labels), 30)


def test_pairs_of_sound_must_match(tmp_path):
    from s5_to_loihi.errors import InputError

    generate(tmp_path / "set", 2, 1.0, 0, Voices.TONES)
    clean = tmp_path / "set" / "clean" / "clean_fileid_1.wav"
    audio.write_wav(clean, audio.read_wav(clean).samples[:, :9000])
    with pytest.raises(InputError, match=r"samples|seconds"):
        read_sound(tmp_path / "set")
    clean.unlink()
    with pytest.raises(InputError, match="has no recording"):
        read_sound(tmp_path / "set")
    with pytest.raises(InputError, match="exists and is not empty"):
        generate(tmp_path / "set", 2, 1.0, 0, Voices.TONES)


def test_espeak_speaks_if_it_is_there(tmp_path, monkeypatch):
    """A stand-in of the program writes what it is asked for."""
    tools = tmp_path / "tools"
    tools.mkdir()
    stand_in = tools / "espeak-ng"
    stand_in.write_text(
        f"#!{sys.executable}\n"
        "import sys, numpy as np\nfrom scipy.io import wavfile\n"
        "words = sys.argv[sys.argv.index('-w') + 1]\n"
        "sound = 9000 * np.sin(np.arange(30000) / 20)\n"
        "wavfile.write(words, 22050, sound.astype(np.int16))\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    assert generate(tmp_path / "set", 1, 1.0, 3, Voices.AUTO) is Voices.ESPEAK
    clean = audio.read_wav(tmp_path / "set" / "clean" / "clean_fileid_0.wav")
    assert clean.samples.shape == (1, audio.RATE)
    monkeypatch.setenv("PATH", str(tmp_path))
    from s5_to_loihi.errors import InputError

    with pytest.raises(InputError, match="not installed"):
        generate(tmp_path / "other", 1, 1.0, 3, Voices.ESPEAK)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    from s5_to_loihi.errors import InputError

    wanted = read_recipe(written(tmp_path))
    writes = []

    def full(self, content):
        writes.append(self)
        if len(writes) == 3:
            raise OSError(28, os.strerror(28))
        with open(self, "wb") as stream:
            return stream.write(content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"cannot be written.*No space left"):
        train(wanted, tmp_path / "out")
    monkeypatch.undo()
    kept = torch.load(tmp_path / "out" / "checkpoints" / "float.ckpt", weights_only=True)
    assert kept["epoch"] == 1
    resumed, whole = (train(wanted, tmp_path / one) for one in ("out", "whole"))
    np.testing.assert_array_equal(resumed.model.decoder.weight, whole.model.decoder.weight)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    from s5_to_loihi.errors import InputError

    wanted = read_recipe(written(tmp_path))
    train(dataclasses.replace(wanted), tmp_path / "out")
    file = tmp_path / "out" / "checkpoints" / "float.ckpt"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged"):
        train(wanted, tmp_path / "out")


def test_a_study_is_measured(tmp_path, call):
    """A folder as the training of a study leaves it, with networks that were hardly trained."""
    import json
    import zipfile

    from s5_to_loihi.training import study

    scale = dataclasses.replace(
        study.Scale(), steps=3, fine_steps=2, batch=2, fine_batch=2, pool=4, held_out=2,
        calibration=2, seconds=0.5, pool_seconds=1.0,
    )  # fmt: skip
    sounds = study.Sounds(scale, "cpu")
    folder, bundles = tmp_path / "work", 0
    points = study.Point(8, 0.0), study.Point(12, 0.5), study.Point(8, 0.5, from_dense=True)
    made: dict = {}
    for point, bits in zip(points, (4, "e4m3", 4), strict=True):
        model, facts = study.train(point, sounds, start=made.get(point.start))
        made[point] = model
        assert facts["sparsity"] == pytest.approx(point.sparsity, abs=0.03)
        save_model(model, folder / point.name)
        tuned, facts = study.finetune(model, bits, sounds)
        assert set(facts) >= {"rounded", "tuned", "steps"}
        bundle.write(
            bundle.Bundle(tuned.network, None, {"format": "test"}, ()),
            folder / f"{point.name}_w{bits}.bundle",
        )
        bundles += 1
        loaded = load_model(folder / point.name / "model.yaml")[0]
        tokens = np.random.default_rng(0).normal(size=(5, 1, audio.BINS))
        np.testing.assert_array_equal(evaluate(loaded, tokens), evaluate(model, tokens))
    study.pack(folder, tmp_path)
    (tmp_path / "results.json").write_text('{"trained": {}}')
    code, output, _ = call("study", tmp_path, "--bits", "4,e4m3")
    assert code == 0
    assert f"{bundles} networks" in output
    costs = json.loads((tmp_path / "study.json").read_text())
    dense, sparse = costs["h8_dense_w4"], costs["h12_sparse50_we4m3"]
    assert costs["h8_pruned50_w4"]["weights"] == pytest.approx(dense["weights"] / 2, rel=0.03)
    assert dense["synapses"] <= dense["weights"]
    assert sparse["synops"] <= sparse["synapses"] + 12 * 12
    assert (tmp_path / "pareto.png").stat().st_size > 1000
    (tmp_path / "models.zip").write_bytes(b"no zip")
    code, _, error = call("study", tmp_path, "--bits", "4")
    assert code == 1
    assert "is damaged" in error
    assert zipfile.is_zipfile(tmp_path / "bundles.zip")
