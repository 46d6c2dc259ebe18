"""The command line as users call it: what it prints, writes and returns."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from s5_to_loihi import audio, cli
from s5_to_loihi.backends import lava_shim
from s5_to_loihi.demo import CLEAN, DENOISER, NOISY

needs_lava = pytest.mark.skipif(not lava_shim.is_installed(), reason="lava-nc is not installed")


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the program; return (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["s5-to-loihi", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A bundle of the shipped denoiser."""
    path = tmp_path_factory.mktemp("compiled") / "denoiser.bundle"
    subprocess.run(
        [sys.executable, "-m", "s5_to_loihi.cli", "compile", DENOISER, "-o", path], check=True
    )
    return path


@pytest.fixture
def short_clip(tmp_path):
    """Two seconds of the shipped recording, noisy and clean."""
    paths = []
    for name, source in (("noisy.wav", NOISY), ("clean.wav", CLEAN)):
        samples = audio.read_wav(source).samples[:, 160_000:192_000]
        audio.write_wav(tmp_path / name, samples)
        paths.append(tmp_path / name)
    return paths


def test_compile_says_what_it_did(call, tmp_path):
    target = tmp_path / "here" / "denoiser.bundle"
    code, output, _ = call("compile", DENOISER, "-o", target)
    assert code == 0
    assert "frozen from fxpmodel_activations.pkl" in output
    assert "5,360 synapses" in output
    assert "all equal" in output
    assert sorted(file.name for file in target.iterdir()) == [
        "manifest.json",
        "vectors.safetensors",
        "weights.safetensors",
    ]


def test_compile_prints_the_network_between_passes(call, tmp_path):
    code, output, _ = call("compile", DENOISER, "-o", tmp_path / "b", "--print-between-passes")
    assert code == 0
    for step in ("lower", "prune", "align_delays", "check_ranges"):
        assert f"--- after {step}" in output
    assert "delay 3" in output


def test_compile_json(call, tmp_path):
    code, output, _ = call("compile", DENOISER, "-o", tmp_path / "b", "--json")
    content = json.loads(output)
    assert code == 0
    assert content["verification"][0]["equal"] is True
    assert len(content["verification"][0]["tensors"]) == 56


def test_a_missing_export_is_a_user_error_and_leaves_nothing(call, tmp_path):
    code, output, error = call("compile", tmp_path / "nowhere", "-o", tmp_path / "b")
    assert code == 1
    assert "does not exist" in error
    assert "Traceback" not in output + error
    assert list(tmp_path.iterdir()) == []


def test_another_variant_than_the_recorded_one_fails_the_verification(call, tmp_path):
    code, _, error = call("compile", DENOISER, "-o", tmp_path / "b", "--glu", "half2")
    assert code == 3
    assert "first difference is in group block0.gate, block0.gate.product" in error
    assert not (tmp_path / "b").exists()


def test_verify_the_interpreter(call, compiled):
    code, output, _ = call("verify", compiled, "--backend", "interpreter")
    assert code == 0
    assert "block2.state.x_im" in output
    assert output.count("all equal") == 2


@needs_lava
def test_verify_everything_there_is(call, compiled):
    code, output, _ = call("verify", compiled, "--tokens", 4, "--mode", "pipelined", "--json")
    runs = json.loads(output)["verification"]
    assert code == 0
    assert [run["backend"] for run in runs] == ["fast", "interpreter", "lava-fused", "lava"]
    assert all(run["equal"] for run in runs)


def test_verify_without_lava_says_how_to_get_it(call, compiled, monkeypatch):
    monkeypatch.setattr(lava_shim, "is_installed", lambda: False)
    code, output, error = call("verify", compiled, "--tokens", 4)
    assert code == 0
    assert "lava-nc==0.10.0" in error
    assert "Lava" not in output


def test_verify_locates_a_corrupted_weight(call, compiled, tmp_path):
    damaged = tmp_path / "damaged.bundle"
    subprocess.run(["cp", "-r", compiled, damaged], check=True)
    weights = load_file(damaged / "weights.safetensors")
    data = weights["block1.W2/data"]
    largest = int(np.abs(data.astype(int)).argmax())
    data[largest] = -data[largest]
    save_file(weights, damaged / "weights.safetensors")

    code, output, error = call("verify", damaged, "--backend", "interpreter")
    assert code == 3
    assert "Changed since it was written: block1.W2/data" in output
    assert "group block1.gate, block1.gate.gate_affine, at token" in error
    assert "got" in error
    assert "expected" in error

    code, _, error = call("denoise", NOISY, tmp_path / "out.wav", "--bundle", damaged)
    assert code == 1
    assert "block1.W2/data is not what was written" in error
    assert not (tmp_path / "out.wav").exists()


def test_inspect_an_export_and_a_bundle(call, compiled, tmp_path):
    code, of_export, _ = call("inspect", DENOISER, "--text")
    assert code == 0
    assert "synapses block0.residual: encoder.activation -> block0.gate.residual" in of_export
    drawing = tmp_path / "network.svg"
    code, of_bundle, _ = call("inspect", compiled, "--drawing", drawing)
    assert code == 0
    assert "Accumulators" in of_bundle
    assert "block0.gate" in drawing.read_text()
    code, output, _ = call("inspect", compiled, "--json")
    content = json.loads(output)
    assert code == 0
    b_re = next(row for row in content["weights"] if row["name"] == "block0.B_re")
    assert b_re["synapses"] == 87
    assert {"saturated", "dead", "constant"} <= set(content["values"][0])


def test_inspect_refuses_another_kind_of_drawing(call, compiled, tmp_path):
    code, _, error = call("inspect", compiled, "--drawing", tmp_path / "network.gif")
    assert code == 1
    assert ".svg, .png, .pdf" in error


@pytest.mark.parametrize(
    "backend", ["interpreter", pytest.param("lava-fused", marks=needs_lava)]
)
def test_denoise(call, short_clip, tmp_path, backend):
    noisy, clean = short_clip
    code, output, _ = call(
        "denoise", noisy, tmp_path / "out.wav", "--clean", clean, "--backend", backend,
        "--picture", tmp_path / "out.png", "--json",
    )  # fmt: skip
    content = json.loads(output)
    assert code == 0
    (before, after), = content["si_snr_db"]
    assert after > before + 1
    assert audio.read_wav(tmp_path / "out.wav").samples.shape == (1, 32_000)
    assert (tmp_path / "out.png").exists()


def test_all_backends_write_the_same_sound(call, short_clip, tmp_path):
    noisy, _ = short_clip
    written = []
    for backend in ("fast", "interpreter", *(["lava-fused"] if lava_shim.is_installed() else [])):
        target = tmp_path / f"{backend}.wav"
        assert call("denoise", noisy, target, "--backend", backend)[0] == 0
        written.append(target.read_bytes())
    assert len(set(written)) == 1


def test_denoise_resamples_and_says_so(call, short_clip, tmp_path):
    recording = audio.read_wav(short_clip[0])
    stereo = np.repeat(audio.resample(recording, 44_100).samples, 2, axis=0)
    audio.write_wav(tmp_path / "stereo.wav", stereo, 44_100)
    code, output, _ = call(
        "denoise", tmp_path / "stereo.wav", tmp_path / "out.wav", "--backend", "interpreter"
    )
    assert code == 0
    assert "44100" in output
    assert "2 channel(s)" in output
    cleaned = audio.read_wav(tmp_path / "out.wav")
    assert cleaned.rate == 16_000
    np.testing.assert_array_equal(cleaned.samples[0], cleaned.samples[1])


def test_denoise_refuses_what_is_no_recording(call, tmp_path):
    (tmp_path / "text.wav").write_text("not sound")
    code, _, error = call("denoise", tmp_path / "text.wav", tmp_path / "out.wav")
    assert code == 1
    assert "text.wav" in error
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("command", ["compile", "verify", "inspect", "denoise", "demo"])
def test_help_teaches(call, command):
    code, output, _ = call(command, "--help")
    assert code == 0
    assert "Usage" in output


def test_version_and_unknown_command(call):
    assert call("--version")[1].startswith("s5_to_loihi ")
    assert call("simulate")[0] != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")
def test_the_program_is_installed():
    finished = subprocess.run(
        [sys.executable, "-m", "s5_to_loihi.cli", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "s5_to_loihi" in finished.stdout
