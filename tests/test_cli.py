"""The command line as users call it: what it prints, writes and returns."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import front_door
import numpy as np
import pytest
from needs import needs_lava
from safetensors.numpy import load_file, save_file

from s5_to_loihi import audio, bundle, cli
from s5_to_loihi.demo import CLEAN, DENOISER, NOISY
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.lava_runtime import supervisor

# Leftovers of Lava are looked for on the whole machine: one at a time.
pytestmark = pytest.mark.xdist_group("lava")


@pytest.fixture(autouse=True)
def _same_directory():
    before = os.getcwd()
    yield
    os.chdir(before)


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
    code, output, passes = call("compile", DENOISER, "-o", tmp_path / "b", "--passes", "--json")
    assert code == 0
    for step in ("lower", "prune", "align_delays", "check_ranges"):
        assert f"--- after {step}" in passes
    assert "delay 3" in passes
    json.loads(output)


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
    assert "block2.state.x_im" not in output
    assert output.count("integers equal") == 2
    _, output, _ = call("verify", compiled, "--backend", "interpreter", "--details")
    assert "block2.state.x_im" in output


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
    assert "block1.W2/data was changed since the bundle was written" in output
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
    code, of_bundle, _ = call("inspect", compiled, "--drawing", drawing, "--details")
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


@pytest.mark.parametrize("backend", ["interpreter", pytest.param("lava-fused", marks=needs_lava)])
def test_denoise(call, short_clip, tmp_path, backend):
    noisy, clean = short_clip
    code, output, _ = call(
        "denoise", noisy, tmp_path / "out.wav", "--clean", clean, "--backend", backend,
        "--picture", tmp_path / "out.png", "--json",
    )  # fmt: skip
    content = json.loads(output)
    assert code == 0
    ((before, after),) = content["si_snr_db"]
    assert after > before + 1
    assert audio.read_wav(tmp_path / "out.wav").samples.shape == (1, 32_000)
    assert (tmp_path / "out.png").exists()


@needs_lava
def test_a_run_that_is_told_to_end_leaves_no_temporary_folder(compiled, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    command = [sys.executable, "-m", "s5_to_loihi", "verify", str(compiled)]
    process = subprocess.Popen(
        [*command, "--backend", "lava-fused"],
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + 60
    while not list(place.glob("s5_to_loihi_*")) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(place.glob("s5_to_loihi_*"))
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"told to end; nothing is left running" in out
    assert not list(place.iterdir())


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


def test_every_command_says_what_it_does_to_a_recording(call, compiled, short_clip, tmp_path):
    recording = audio.read_wav(short_clip[0])
    stereo = np.repeat(audio.resample(recording, 44_100).samples, 2, axis=0)
    audio.write_wav(tmp_path / "REC.WAV", stereo, 44_100)
    written = (tmp_path / "REC.WAV").read_bytes()
    (tmp_path / "REC.WAV").write_bytes(written[:40] + b"\xff\xff\xff\xff" + written[44:])
    own = Path(__file__).parent / "data" / "checkpoints" / "denoiser_small_masked.npz"
    for command in (
        ("denoise", tmp_path / "REC.WAV", tmp_path / "out.wav"),
        ("run", compiled, tmp_path / "REC.WAV", "-o", tmp_path / "out.npy"),
        ("profile", compiled, "--input", tmp_path / "REC.WAV"),
        ("quantize", own, "--calibration", tmp_path / "REC.WAV", "-o", tmp_path / "q.bundle"),
    ):
        code, output, error = call(*command)
        assert code == 0, (command, error)
        said = " ".join(output.split())
        for note in (
            "resampled from 44100 Hz to 16000 Hz",
            "2 channels: each is a sequence of its own",
            "the header does not say how long it is",
        ):
            assert note in said, (command[0], note)


def test_denoise_refuses_what_is_no_recording(call, tmp_path):
    (tmp_path / "text.wav").write_text("not sound")
    code, _, error = call("denoise", tmp_path / "text.wav", tmp_path / "out.wav")
    assert code == 1
    assert "text.wav" in error
    assert not (tmp_path / "out.wav").exists()


def test_the_mean_is_compiled_although_its_output_was_not_recorded(call, tmp_path):
    target = tmp_path / "mean.bundle"
    code, output, _ = call("compile", DENOISER, "-o", target, "--readout", "mean")
    assert code == 0
    assert "sequence length: 100 tokens" in output
    assert "decoder/__call__" in output
    assert call("verify", target, "--backend", "interpreter")[0] == 0


def test_demo_without_lava(call, tmp_path, monkeypatch):
    monkeypatch.setattr(lava_shim, "is_installed", lambda: False)
    code, output, _ = call("demo", tmp_path / "made")
    assert code == 0
    assert "lava-nc==0.10.0" in output
    assert output.count("integers equal") == 6
    assert "SI-SNR 3.63 dB noisy, 8.18 dB float model" in output
    assert output.splitlines()[-1].startswith("Next:  s5-to-loihi quantize")
    front_door.check_order([line for line in front_door.shown() if "Lava" not in line], output)
    assert {file.name for file in (tmp_path / "made").iterdir()} == {
        "denoiser_small.bundle",
        "intel_export.bundle",
        "denoised.wav",
        "spectrograms.png",
        "ranges.png",
        "network.svg",
        "report.html",
        "report.json",
    }
    assert bundle.read(tmp_path / "made" / "denoiser_small.bundle").mapping is not None
    reported = json.loads((tmp_path / "made" / "report.json").read_text())
    assert all(run["equal"] for run in reported["verification"])
    assert round(reported["denoising"]["denoised"], 2) == 8.18


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", NOISY],
        ["verify", "n" * 300],
        ["inspect", "n" * 300],
        ["compile", "n" * 300, "-o", "b"],
        ["denoise", NOISY, "no/such/place.wav"],
        ["denoise", NOISY, "out.wav", "--picture", "out.gif"],
        ["simulate"],
        ["verify", "b", "--mode", "sideways"],
    ],
)
def test_a_mistake_of_the_users_is_a_message_and_exit_code_1(call, arguments, tmp_path):
    os.chdir(tmp_path)
    code, output, error = call(*arguments)
    assert code == 1
    assert error.strip()
    assert "Traceback" not in output + error
    assert list(tmp_path.iterdir()) == []


def test_json_of_silence_is_json(call, tmp_path):
    audio.write_wav(tmp_path / "silence.wav", np.zeros((1, 16_000)))
    clean = audio.read_wav(CLEAN).samples[:, 160_000:176_000]
    audio.write_wav(tmp_path / "clean.wav", clean)
    code, output, _ = call(
        "denoise", tmp_path / "silence.wav", tmp_path / "out.wav",
        "--clean", tmp_path / "clean.wav", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(output, parse_constant=pytest.fail)["si_snr_db"][0][0] is None


@needs_lava
def test_an_interrupt_says_so_and_leaves_nothing(compiled):
    program = subprocess.Popen(
        [sys.executable, "-m", "s5_to_loihi.cli", "verify", compiled, "-b", "lava"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )  # fmt: skip
    workers = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    deadline = time.monotonic() + 60
    while not workers.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    worker = int(workers.read_text().split()[0])
    time.sleep(1)  # until the program knows of its worker, too
    program.send_signal(signal.SIGINT)
    _, error = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "interrupted; nothing is left running" in error
    assert supervisor.session_processes(worker) == []


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_shows_every_option_in_full(call, command, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, output, _ = call(command, "--help")
    assert code == 0
    assert "…" not in output
    names = (name for one in cli.imported(command).params for name in one.opts + one.secondary_opts)
    assert {name for name in names if name[0] == "-"} <= set(re.findall(r"--?[a-z][\w-]*", output))


def test_version():
    finished = subprocess.run(
        [Path(sys.executable).with_name("s5-to-loihi"), "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert finished.stdout.startswith("s5_to_loihi ")
