"""Evaluation of denoisers: pairs, what is heard, the command, and that it resumes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from metric_cuts import SPEECH
from scipy.io import wavfile

from s5_to_loihi import audio, bundle
from s5_to_loihi.demo import CHECKPOINT
from s5_to_loihi.denoising import tokens_of
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import challenge, clip, neurobench, operations, packages, pairs
from s5_to_loihi.evaluation import recording as recordings
from s5_to_loihi.evaluation.pairs import Pair
from s5_to_loihi.evaluation.result import read
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter

#: Evaluations start processes, which compete with those of other tests for the processors.
pytestmark = pytest.mark.xdist_group("evaluation")
RATE = audio.RATE


def cut(name: str, start: float, seconds: float) -> np.ndarray:
    """Part of the shipped recording, int16."""
    samples = wavfile.read(SPEECH / f"{name}.wav")[1]
    return samples[int(start * RATE) : int((start + seconds) * RATE)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Three pairs of two seconds, named as N-DNS names them."""
    folder = tmp_path_factory.mktemp("clips")
    for part in ("noisy", "clean"):
        (folder / part).mkdir()
    for number, start in ((3, 4.0), (20, 8.0), (100, 13.0)):
        wavfile.write(
            folder / "noisy" / f"a_snr4_tl-31_fileid_{number}.wav", RATE, cut("noisy", start, 2)
        )
        wavfile.write(folder / "clean" / f"clean_fileid_{number}.wav", RATE, cut("clean", start, 2))
    return folder


# --- pairs ---------------------------------------------------------------------------------------


def test_file_ids_pair_recordings_in_the_order_of_their_numbers(clips):
    found = pairs.from_folders(clips / "noisy", clips / "clean")
    assert [pair.name for pair in found.clips] == ["3", "20", "100"]
    assert found.clips[1].clean == clips / "clean" / "clean_fileid_20.wav"
    assert found.how == "file ids"


def touched(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_equal_names_pair_recordings_where_no_file_has_an_id(tmp_path):
    noisy = touched(tmp_path / "noisy", "p232_001.wav", "p232_002.wav")
    clean = touched(tmp_path / "clean", "p232_002.wav", "p232_001.wav", "p232_003.wav")
    found = pairs.from_folders(noisy, clean)
    assert [pair.clean.name for pair in found.clips] == ["p232_001.wav", "p232_002.wav"]
    assert found.how == "equal file names"
    assert found.notes == ("1 clean recordings have no noisy one and are left out",)


@pytest.mark.parametrize(
    ("noisy", "clean", "message"),
    [
        (["x_fileid_1.wav", "x_fileid_2.wav"], ["clean_fileid_1.wav"], "for 1 of 2 noisy ones"),
        (["x_fileid_1.wav", "y_fileid_01.wav"], ["clean_fileid_1.wav"], "has the same id as"),
        (["x_fileid_1.wav", "y.wav"], ["clean_fileid_1.wav"], "y.wav: has no fileid_N"),
        (["clean_fileid_1.wav"], ["x_fileid_1.wav"], "Exchange --noisy and --clean"),
        (["a.wav"], ["b.wav"], "no recording of this name for 1 of 1"),
        (["readme.txt"], ["b.wav"], "holds no wav files"),
    ],
)
def test_folders_that_do_not_pair_are_refused(tmp_path, noisy, clean, message):
    folders = [touched(tmp_path / "n", *noisy), touched(tmp_path / "c", *clean)]
    with pytest.raises(InputError, match=message):
        pairs.from_folders(*folders)


def test_a_csv_pairs_recordings_beside_it(clips, tmp_path):
    path = tmp_path / "pairs.csv"
    noisy, clean = (next(iter(sorted((clips / part).iterdir()))) for part in ("noisy", "clean"))
    path.write_text(f"name,noisy,clean\nfirst,{noisy},{clean}\nsecond,{noisy},\n")
    found = pairs.from_csv(path)
    assert found.clips == (Pair("first", noisy, clean), Pair("second", noisy, None))
    for rows, message in (
        ("noisy\n" + str(noisy), "has not the columns"),
        (f"noisy,clean\n{noisy},{clean}\n{noisy},{clean}", "stands twice"),
        (f"noisy,clean\n{noisy},{tmp_path / 'gone.wav'}", "no such file"),
        (f"noisy,clean\n{noisy}", "not as many cells"),
        ("", "got no rows"),
    ):
        path.write_text(rows)
        with pytest.raises(InputError, match=message):
            pairs.from_csv(path)


# --- what is heard -------------------------------------------------------------------------------


def written(folder: Path, noisy, clean, rate: int = RATE, clean_rate: int | None = None) -> Pair:
    paths = [folder / "noisy.wav", folder / "clean.wav"]
    for path, samples, own in zip(paths, (noisy, clean), (rate, clean_rate or rate), strict=True):
        wavfile.write(path, own, np.asarray(samples))
    return Pair("clip", *paths)


NOISY, CLEAN = (cut(name, 4.0, 2).astype(np.int16) for name in ("noisy", "clean"))


@pytest.mark.parametrize(
    ("noisy", "clean", "message"),
    [
        (NOISY, cut("clean", 9.0, 2), "do not belong together"),
        (NOISY, np.roll(CLEAN, 160), r"fits .* times better when moved by -10.0 ms"),
        (NOISY, CLEAN[:-1], "has 1 channel of 32,000 samples, the clean one 1 channel of 31,999"),
        (NOISY, NOISY, "are the same"),
        (NOISY, np.zeros_like(CLEAN), "is silent"),
        (np.zeros_like(NOISY), CLEAN, "is silent"),
        (NOISY[:400], CLEAN[:400], "has 400 samples at 16 kHz, a window of the transform takes"),
        (np.stack([NOISY, NOISY], axis=1), CLEAN, "has 2 channels of 32,000 samples"),
    ],
    ids=["foreign", "delayed", "longer", "same", "no clean", "no noisy", "short", "stereo"],
)
def test_clips_that_must_not_be_averaged_are_refused(tmp_path, noisy, clean, message):
    with pytest.raises(InputError, match=message):
        recordings.read(written(tmp_path, noisy, clean))


def test_what_one_has_to_know_of_a_clip_is_noted(tmp_path):
    loud = np.clip(NOISY.astype(int) * 8, -32768, 32767).astype(np.int16)
    assert (
        recordings.read(written(tmp_path, loud, CLEAN))
        .notes[0]
        .startswith("noisy: clipped at full scale in ")
    )
    assert recordings.read(written(tmp_path, NOISY, -CLEAN)).notes == (
        "clean: its polarity is inverted",
    )
    stereo = [np.stack([one, one], axis=1) for one in (NOISY, CLEAN)]
    assert recordings.read(written(tmp_path, *stereo)).notes == tuple(
        f"{part}: {note}"
        for part in ("noisy", "clean")
        for note in (
            "2 channels: each is a sequence of its own",
            "scores are means over its channels",
        )
    )
    fast = [np.repeat(one, 3) for one in (NOISY, CLEAN)]
    heard = recordings.read(written(tmp_path, *fast, rate=48000))
    assert heard.notes[0] == "noisy: resampled from 48000 Hz to 16000 Hz"
    assert heard.noisy.shape == (1, 32000)
    assert recordings.read(written(tmp_path, NOISY, CLEAN)).notes == ()


def test_one_sample_at_full_scale_is_no_clipping(tmp_path):
    peak = NOISY.copy()
    peak[1000] = 32767
    assert recordings.read(written(tmp_path, peak, CLEAN)).notes == ()
    peak[1000:1003] = 32767
    assert recordings.read(written(tmp_path, peak, CLEAN)).notes == (
        "noisy: clipped at full scale in 1 places",
    )


# --- operations ----------------------------------------------------------------------------------


def test_operations_are_those_of_the_interpreter_in_any_chunks(compiled):
    network = bundle.read(compiled).network
    tokens, _ = tokens_of(network, NOISY[None] / 32768)
    tokens = tokens.astype(np.int32)
    whole = operations.simulate(FastSimulator(network), tokens)
    parts = operations.simulate(FastSimulator(network), tokens, chunk=37)
    np.testing.assert_array_equal(whole.outputs, parts.outputs)
    assert whole.operations == parts.operations
    # By hand: each message that is not zero, times the synapses of its neuron, one by one.
    values = {**Interpreter(network).evaluate(tokens, keep=None).values, "input.token": tokens}
    synops = dense = 0
    for synapses in network.synapses:
        fired = (values[str(synapses.source)] != 0).sum(axis=(0, 1))
        weights = synapses.weights.toarray()
        square = weights.shape[0] == weights.shape[1]
        diagonal = square and not (weights - np.diag(np.diag(weights))).any()
        synops += int(fired @ (weights != 0).sum(axis=0))
        dense += int(fired.sum()) * (1 if diagonal else weights.shape[0])
    assert (whole.operations.synops, whole.operations.synops_dense) == (synops, dense)
    assert synops < dense
    neurons = sum(group.size for group in network.groups)
    assert whole.operations.updates == len(tokens) * neurons


@pytest.mark.skipif(
    packages.missing("neurobench") is not None, reason="neurobench or torch is not installed"
)
def test_neurobench_counts_what_we_count(compiled):
    network = bundle.read(compiled).network
    tokens, _ = tokens_of(network, NOISY[None] / 32768)
    found = neurobench.measure(network, tokens.astype(np.int32))
    own = operations.simulate(FastSimulator(network), tokens.astype(np.int32)).operations
    assert found.effective_macs + found.effective_acs == pytest.approx(own.synops / own.tokens)
    assert found.parameter_count == operations.size(network).parameters
    dense = sum(one.weights.shape[1] * operations.shape_fan_out(one) for one in network.synapses)
    assert found.dense == dense
    stored = sum(np.count_nonzero(one.weights.data) for one in network.synapses)
    assert found.connection_sparsity == pytest.approx(1 - stored / dense, abs=1e-4)


# --- the command ---------------------------------------------------------------------------------


def test_evaluate_says_what_each_clip_and_the_mean_is(call, compiled, clips, tmp_path):
    output = tmp_path / "out"
    board = tmp_path / "metricsboard_track_1_validation.yml"
    given = ("--noisy", clips / "noisy", "--clean", clips / "clean", "--float", CHECKPOINT)
    code, out, _ = call(
        "evaluate", compiled, *given, "-o", output, "--metricsboard", board, "--team", "us",
        "--details",
    )  # fmt: skip
    assert code == 0
    evaluated = read(output / "results.json")
    # The same by other code: the interpreter, and SI-SNR without epsilon.
    network = bundle.read(compiled).network
    for found, start in zip(evaluated.clips, (4.0, 8.0, 13.0), strict=True):
        noisy, clean = (cut(name, start, 2)[None] / 32768 for name in ("noisy", "clean"))
        tokens, _ = tokens_of(network, noisy)
        masks = Interpreter(network).evaluate(tokens).outputs * 2.0**-network.output_format.exponent
        spectrum = audio.analyse(noisy[0])
        denoised = audio.synthesise(audio.apply_mask(spectrum, masks[:, 0]), noisy.shape[1])
        assert found.values["integers"]["si_snr"] == pytest.approx(
            audio.si_snr(denoised, clean[0]), abs=1e-6
        )
        assert found.values["noisy"]["si_snr"] == pytest.approx(
            audio.si_snr(noisy[0], clean[0]), abs=1e-6
        )
        gain = found.values["integers"]["si_snr"] - found.values["noisy"]["si_snr"]
        assert found.values["integers"]["si_snri"] == pytest.approx(gain)
    means = evaluated.means["integers"]
    each = [found.values["integers"]["si_snr"] for found in evaluated.clips]
    assert means["si_snr"].value == pytest.approx(np.mean(each))
    assert out.startswith(
        f"denoiser_small on 3 clips paired by file ids: SI-SNR {means['si_snr'].value:.2f} dB"
    )
    assert "Means over 3 of 3 clips" in out
    with (output / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == ["3"] * 3 + ["20"] * 3 + ["100"] * 3
    assert float(rows[2]["si_snr"]) == each[0]
    assert (output / "clips.png").read_bytes()[1:4] == b"PNG"
    (row,) = yaml.safe_load(board.read_text())
    used = evaluated.resources
    assert row["SI-SNR"] == round(means["si_snr"].value, 4)
    assert row["power_proxy_Ops/s"] == pytest.approx(
        (used.synops_dense + 10 * used.updates) / 0.008, rel=1e-6
    )
    assert row["latency_total_ms"] == pytest.approx(32 + used.encode_decode_ms, abs=1e-3)
    assert list(row) == [
        *("team", "model", "date", "SI-SNR", "SI-SNRi_data", "SI-SNRi_enc+dec"),
        *("MOS_ovrl", "MOS_sig", "MOS_bak", "latency_enc+dec_ms", "latency_total_ms"),
        *("power_proxy_Ops/s", "PDP_proxy_Ops", "params", "size_kilobytes", "model_path"),
    ]
    assert row["MOS_ovrl"] is None


def test_what_is_done_is_not_computed_again(call, compiled, clips, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    output = tmp_path / "out"
    command = ("evaluate", compiled, "--noisy", folder / "noisy", "--clean", folder / "clean")
    assert call(*command, "-o", output)[0] == 0
    made = {file: file.stat().st_mtime_ns for file in (output / "measurements").iterdir()}
    assert len(made) == 6
    # One clip changes, and one measurement is lost, as in a run that was killed.
    changed = folder / "noisy" / "a_snr4_tl-31_fileid_20.wav"
    wavfile.write(changed, RATE, (cut("noisy", 8.0, 2) // 2).astype(np.int16))
    lost = next(
        file
        for file in made
        if json.loads(file.read_text())["settings"]
        == {"clip": "3", "signal": "integers", "family": "signal"}
    )
    lost.unlink()
    assert call(*command, "-o", output)[0] == 0
    again = {
        json.loads(file.read_text())["settings"]["clip"]
        for file, time in made.items()
        if file.stat().st_mtime_ns != time
    }
    assert again == {"3", "20"}
    assert sum(file.stat().st_mtime_ns != time for file, time in made.items()) == 3


def test_clips_that_stay_out_of_the_means_are_named(call, compiled, clips, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    wavfile.write(folder / "clean" / "clean_fileid_20.wav", RATE, cut("clean", 1.0, 2))
    wavfile.write(folder / "noisy" / "x_fileid_7.wav", RATE, NOISY[:100])
    wavfile.write(folder / "clean" / "clean_fileid_7.wav", RATE, CLEAN[:100])
    (folder / "noisy" / "x_fileid_8.wav").write_bytes(b"no wav")
    wavfile.write(folder / "clean" / "clean_fileid_8.wav", RATE, CLEAN)
    command = ("evaluate", compiled, "--noisy", folder / "noisy", "--clean", folder / "clean")
    code, out, _ = call(*command, "--json")
    assert code == 0
    evaluated = json.loads(out)["evaluation"]
    reasons = {one["name"]: one["excluded"] for one in evaluated["clips"] if one["excluded"]}
    assert set(reasons) == {"20", "7", "8"}
    assert "do not belong together" in reasons["20"]
    assert "has 100 samples" in reasons["7"]
    assert "not a wav file" in reasons["8"]
    assert evaluated["means"]["integers"]["si_snr"]["clips"] == 2
    code, out, _ = call(*command)
    assert "3 of 5 clips are in no mean" in out
    code, out, _ = call(*command, "--details")
    assert "In no mean: 3 of 5 clips" in out
    assert "Means over 2 of 5 clips" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "got nothing to evaluate on"),
        (("--noisy", "NOISY", "--data", "x.npz"), "got --noisy and --data"),
        (("--data", "x.npz", "--board"), "--board: is given with --data"),
        (("--data", "x.npz", "--clean", "y"), "--clean: is given with --data"),
        (("--noisy", "NOISY"), "have no clean recordings, which all metrics but DNSMOS need"),
        (("--noisy", "NOISY", "--metricsboard", "x.yml"), "does not say whose row it is"),
        (("--noisy", "NOISY", "--clean", "gone"), "gone: cannot be read as a folder"),
        (("--data", "gone.npz"), "gone.npz: does not exist"),
    ],
)
def test_calls_that_make_no_sense_are_refused(call, compiled, clips, arguments, message):
    given = (clips / "noisy" if one == "NOISY" else one for one in arguments)
    code, _, err = call("evaluate", compiled, *given)
    assert code == 1
    assert message in " ".join(err.split())


def test_a_metric_that_is_not_installed_is_refused_before_anything_is_done(
    call, compiled, clips, tmp_path, monkeypatch
):
    needed = replace(packages.NEEDED["stoi"], distributions={"no_such_module": "pystoi"})
    monkeypatch.setattr(packages, "NEEDED", {**packages.NEEDED, "stoi": needed})
    command = ("evaluate", compiled, "--noisy", clips / "noisy", "--clean", clips / "clean")
    code, _, err = call(*command, "-m", "stoi", "-o", tmp_path / "out")
    assert code == 1
    assert "STOI: is not installed. pip install 's5_to_loihi[evaluate]' brings pystoi" in err
    assert not (tmp_path / "out").exists()


def test_another_network_does_not_go_into_the_same_directory(call, compiled, clips, tmp_path):
    opened = bundle.read(compiled)
    other = tmp_path / "other.bundle"
    bundle.write(replace(opened, network=replace(opened.network, name="other")), other)
    given = ("--noisy", clips / "noisy", "--clean", clips / "clean", "-o", tmp_path / "out")
    assert call("evaluate", compiled, *given)[0] == 0
    code, _, err = call("evaluate", other, *given)
    assert code == 1
    assert "holds the evaluation 'denoiser_small', not 'other'" in err


def test_the_float_model_of_another_network_is_said(call, compiled, clips):
    given = ("--noisy", clips / "noisy", "--clean", clips / "clean", "--float", CHECKPOINT)
    code, out, _ = call("evaluate", compiled, *given)
    assert code == 0
    assert "the network was not made from denoiser_small, by the digests of both" in " ".join(
        out.split()
    )


def test_a_report_has_a_section_on_the_test_set(call, compiled, clips, tmp_path):
    given = ("--noisy", clips / "noisy", "--clean", clips / "clean", "-o", tmp_path / "out")
    assert call("evaluate", compiled, *given)[0] == 0
    results = tmp_path / "out" / "results.json"
    page = tmp_path / "report.html"
    command = ("report", compiled, "-o", page, "--no-measure", "--evaluation")
    assert call(*command, results)[0] == 0
    text = page.read_text()
    assert 'id="evaluation"' in text
    evaluated = read(results)
    assert f"SI-SNR {evaluated.means['integers']['si_snr'].value:.2f} dB" in text
    assert json.loads(page.with_suffix(".json").read_text())["evaluation"]["digest"] == (
        evaluated.digest
    )
    foreign = json.loads(results.read_text())
    foreign["digest"] = "0" * 64
    results.write_text(json.dumps(foreign))
    code, _, err = call(*command, results)
    assert code == 1
    assert "is of another bundle (denoiser_small, digest 000000000000; here" in " ".join(
        err.split()
    )


@pytest.mark.parametrize("late", [0, 40])
def test_delay_of_a_denoiser_is_where_it_correlates(late):
    noisy = NOISY[None, 4000:30000] / 32768
    assert clip._lag(noisy, np.roll(noisy, late, axis=1) * 0.5) == late


def test_resources_add_up():
    counted = operations.Operations(tokens=10, synops=400, synops_dense=800, updates=70, messages=9)
    used = challenge.Resources(40.0, 80.0, 7.0, 32.0, 0.02, 0.0, 1, 2, 0.1)
    assert used.power(dense=False) == (40 + 70) / 0.008
    assert used.power(dense=True) == (80 + 70) / 0.008
    assert used.pdp(dense=True) == pytest.approx(150 / 0.008 * 0.03202)
    assert counted.updates / counted.tokens == used.updates


def test_denoise_takes_folders(call, compiled, clips, tmp_path):
    noisy = tmp_path / "noisy"
    shutil.copytree(clips / "noisy", noisy)
    (noisy / "broken.wav").write_bytes(b"RIFA")
    code, out, err = call("denoise", noisy, tmp_path / "out", "--bundle", compiled)
    assert code == 1
    assert "Wrote 3 recordings" in out
    assert "6.0 s of sound" in out
    assert "1 of 4 recordings: could not be cleaned" in err
    assert "broken.wav: not a wav file" in err
    one = next(iter(sorted((tmp_path / "out").iterdir())))
    assert call("denoise", noisy / one.name, tmp_path / "one.wav", "--bundle", compiled)[0] == 0
    assert one.read_bytes() == (tmp_path / "one.wav").read_bytes()
    code, _, err = call("denoise", noisy, noisy, "--bundle", compiled)
    assert code == 1
    assert "is where the noisy recordings are" in err
