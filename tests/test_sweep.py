"""A small sweep for real, by the command line: here, interrupted, and on a Dask cluster."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sweep_points
from processes import LONG, children, is_alive, wait_until
from sweep_parent import tasks_of

from s5_to_loihi import audio
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.magnitude_pruning import pruned, sparsity_of
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, CLEAN, NOISY
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.sweeping import cluster
from s5_to_loihi.sweeping.inputs import check_unchanged
from s5_to_loihi.sweeping.inputs import tasks_of as tasks_of_plan
from s5_to_loihi.sweeping.plan import read_plan
from s5_to_loihi.sweeping.results import RESULTS

HELPERS = Path(__file__).parent / "helpers"
PLAN = """
name: small
calibration: calibration.wav
held_out: noisy.wav
clean: clean.wav
axes:
  checkpoint: [model]
  sparsity: [null, 0.5]
  objective: [cores]
  mode: [fall-through, pipelined]
"""

# Dask makes shared memory, which the tests of Lava would take for theirs: one at a time.
pytestmark = pytest.mark.xdist_group("lava")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    """A sweep over files of its own: a few seconds of the shipped recordings."""
    directory = tmp_path_factory.mktemp("sweep")
    shutil.copytree(CHECKPOINT, directory / "model")
    for source in (CALIBRATION, NOISY, CLEAN):
        recording = audio.read_wav(source)
        audio.write_wav(directory / source.name, recording.samples[:, : 4 * audio.RATE])
    path = directory / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def first(plan) -> subprocess.CompletedProcess:
    """The first run of that sweep, into the directory ``out``."""
    return ran(plan, "out", "--jobs", "1")


def command(plan: Path, output: str, *options: str) -> list[str]:
    module = [sys.executable, "-m", "s5_to_loihi.cli", "sweep"]
    return [*module, str(plan), "-o", str(plan.parent / output), *options]


def ran(plan: Path, output: str, *options: str) -> subprocess.CompletedProcess:
    run = subprocess.run(
        command(plan, output, *options), capture_output=True, text=True, timeout=LONG
    )
    assert "Traceback" not in run.stderr
    return run


def test_a_sweep_from_file_to_front(plan, first):
    assert first.returncode == 0, first.stderr
    out = plan.parent / "out"
    text = (out / RESULTS).read_text()
    results = json.loads(text)
    assert [point["status"] for point in results["points"]] == ["done"] * 2 + ["failed"] * 2
    falling, pipelined = (point["metrics"] for point in results["points"][:2])
    for metrics in (falling, pipelined):
        for name, one in metrics.items():
            assert one["low"] <= one["value"] <= one["high"], name
            assert one["unit"], name
            assert one["scope"], name
            assert one["source"], name
    assert falling["synapses"] == pipelined["synapses"]
    assert falling["sqnr"]["value"] == falling["fidelity"]["value"] > 20
    assert abs(falling["si_snr"]["value"] - falling["si_snr_float"]["value"]) < 0.5
    assert falling["energy"]["scope"] == "neurocore rails"
    assert falling["energy"]["value"] < falling["energy_chip"]["value"]
    # A pipelined token waits for those behind it: 8 ms in each of its timesteps.
    assert falling["latency_real_time"]["value"] == falling["latency"]["value"]
    assert pipelined["latency_real_time"]["value"] > 50_000
    assert falling["energy_real_time"]["value"] > falling["energy"]["value"]
    assert falling["throughput"]["value"] < pipelined["throughput"]["value"]
    assert str(plan.parent) not in text
    assert "sparsity of 0.9015 already" in results["points"][2]["error"]
    shown = " ".join(first.stdout.split())
    assert "2 points failed" in shown
    assert "has a sparsity of 0.9015 already, more than the 0.5 asked for" in shown
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "pareto.html").read_text()
    assert "fall-through" in page
    assert "settings are unbeaten" in page
    assert page.count("<circle") == 2
    assert "src=" not in page


def test_only_what_is_new_is_computed(plan, first, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(plan.parent / "out", out)
    before = {path: path.stat().st_mtime_ns for path in (out / "points").iterdir()}
    made = {name: (out / name).read_bytes() for name in ("pareto.png", "pareto.html", RESULTS)}
    again = ran(plan, str(out), "--json")
    assert json.loads(again.stdout) == json.loads(made[RESULTS])
    assert {name: (out / name).read_bytes() for name in made} == made
    assert {path: path.stat().st_mtime_ns for path in (out / "points").iterdir()} == before
    longer = plan.parent / "longer.yaml"
    longer.write_text(PLAN.replace("[null, 0.5]", "[0.5, null, 0.4]"))
    assert ran(longer, str(out), "--jobs", "1").returncode == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "points").iterdir()}
    assert len(after) == 6
    assert {path: after[path] for path in before} == before


def test_a_change_of_any_input_is_seen(plan, tmp_path):
    for path in plan.parent.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    shutil.copytree(plan.parent / "model", tmp_path / "model")
    (tmp_path / "plan.yaml").write_text(PLAN.replace("[cores]", "[cores]\n  system: [oheogulch]"))

    def digests(**changes) -> set[str]:
        return {
            task.digest
            for task in tasks_of_plan(replace(read_plan(tmp_path / "plan.yaml"), **changes))
        }

    seen = [digests()]
    assert digests() == seen[0]
    seen += [digests(seed=1), digests(held_out=None, clean=None)]
    for name in ("calibration.wav", "noisy.wav", "clean.wav"):
        audio.write_wav(tmp_path / name, audio.read_wav(tmp_path / name).samples[:, 1:])
        seen.append(digests())
    model = tmp_path / "model" / "model.yaml"
    model.write_text(model.read_text().replace("denoiser_small", "denoiser_other"))
    seen.append(digests())
    assert len(set().union(*seen)) == sum(map(len, seen))
    with pytest.raises(InputError, match=r"nothing.wav: is no file. Paths are relative"):
        digests(calibration="nothing.wav")
    with pytest.raises(CheckpointError, match="does not exist"):
        digests(axes={"checkpoint": ("nothing",), "system": (None,)})
    point = tasks_of_plan(read_plan(tmp_path / "plan.yaml"))[0].payload
    check_unchanged(point)
    audio.write_wav(tmp_path / "noisy.wav", audio.read_wav(tmp_path / "noisy.wav").samples * 0.5)
    with pytest.raises(InputError, match=r"noisy.wav: is not what it was when the sweep began"):
        check_unchanged(point)
    other = replace(point, held_out=None, tool=tuple((name, "12345") for name, _ in point.tool))
    with pytest.raises(InputError, match=r"the worker: has another s5_to_loihi .0.*, the sweep 1"):
        check_unchanged(other)


def test_an_interrupt_ends_everything_at_once(plan):
    process = subprocess.Popen(
        command(plan, "interrupted", "--jobs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    wait_until(lambda: (plan.parent / "interrupted/points").is_dir() and children(process.pid))
    started = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert "interrupted; nothing is left running" in messages
    assert "Traceback" not in messages
    wait_until(lambda: not any(map(is_alive, started)))
    assert not list(plan.parent.rglob(".writing-*"))


@contextlib.contextmanager
def dask(tmp_path, *kinds):
    """Start a Dask scheduler, and workers if they are asked for, all processes of their own."""
    pytest.importorskip("distributed", reason='Dask is an extra: pip install "s5_to_loihi[dask]"')
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    address = tmp_path / "scheduler.json"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["worker", "--nthreads", "1", "--nworkers", "2", "--no-dashboard"]
    worker += ["--local-directory", str(tmp_path / "dask")]
    with contextlib.ExitStack() as running, (tmp_path / "dask.log").open("w") as log:
        for arguments in [{"scheduler": scheduler, "worker": worker}[kind] for kind in kinds]:
            module = f"distributed.cli.dask_{arguments[0]}"
            call = [sys.executable, "-m", module, *arguments[1:], "--scheduler-file", str(address)]
            process = subprocess.Popen(call, env=environment, stdout=log, stderr=log)
            running.callback(process.wait)
            running.callback(process.terminate)
            if arguments is scheduler:
                wait_until(lambda: address.exists() and address.read_text().endswith("}"))
        yield json.loads(address.read_text())["address"]


@pytest.fixture
def scheduler(tmp_path):
    """The address of a Dask scheduler with two workers."""
    with dask(tmp_path, "scheduler", "worker") as address:
        yield address


@pytest.fixture
def lonely(tmp_path):
    """The address of a Dask scheduler without workers."""
    with dask(tmp_path, "scheduler") as address:
        yield address


def test_a_dask_cluster_gives_the_same_results(plan, first, scheduler, tmp_path):
    assert first.returncode == 0
    elsewhere = ran(plan, "cluster", "--scheduler", scheduler)
    assert elsewhere.returncode == 0, elsewhere.stderr
    texts = [(plan.parent / name / RESULTS).read_text() for name in ("cluster", "out")]
    assert texts[0] == texts[1]
    # Points that share all steps are one job; whatever died with it, the one to blame is found.
    behaviours = {"good": "square", "deadly": "die", "small": "refuse", "other": "sleep 0.1"}
    tasks = tasks_of(tmp_path, behaviours)
    tasks[2:3] = [replace(tasks[2], steps=tasks[1].steps)]
    found = cluster.execute(tasks, sweep_points.compute, scheduler)
    errors = {task.settings["name"]: outcome.error for task, outcome in found}
    assert errors == {
        "good": None,
        "deadly": "its worker was lost, even with no other task",
        "small": "network: needs 200 cores (limit 120). Take a larger system.",
        "other": None,
    }


def test_a_point_that_hangs_on_a_cluster(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.5)
    tasks = tasks_of(tmp_path, {"hangs": "sleep 600", "good": "square", "other": "sleep 0.1"})
    found = cluster.execute(tasks, sweep_points.compute, scheduler, timeout=3)
    errors = {task.settings["name"]: outcome.error for task, outcome in found}
    assert errors == {
        "hangs": "did not end within 3 s and was ended (--timeout)",
        "good": None,
        "other": None,
    }


def test_a_cluster_without_workers_is_told_and_not_waited_for(lonely, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 2)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.5)
    said: list[str] = []
    tasks = tasks_of(tmp_path, {"one": "square"})
    with pytest.raises(cluster.ClusterError, match=r"no workers, and none came within 2 s\. Start"):
        next(cluster.execute(tasks, sweep_points.compute, lonely, say=said.append))
    (text,) = said
    assert f"{lonely} has no workers; waiting 2 s for one (dask worker {lonely})" == text


def test_a_cluster_that_is_none(plan):
    for address in ("hello", "tcp://localhost", "file:///etc/passwd:80"):
        with pytest.raises(cluster.ClusterError, match=r"Give tcp://HOST:PORT"):
            next(cluster.execute([], sweep_points.compute, address))


def test_pruning_takes_the_smallest_weights():
    model = load(CHECKPOINT).model
    own = sparsity_of(model)
    assert own == pytest.approx(0.9015, abs=1e-4)
    half = pruned(model, 0.95)
    assert sparsity_of(half) == pytest.approx(0.95, abs=1e-3)
    old, new = (np.ascontiguousarray(one.blocks[0].ssm.b).view(float) for one in (model, half))
    kept = new != 0
    np.testing.assert_array_equal(new[kept], old[kept])
    removed = old[~kept]
    assert np.abs(removed).max() <= np.abs(new[kept]).min()
    np.testing.assert_array_equal(half.decoder.bias, model.decoder.bias)
    with pytest.raises(
        CheckpointError, match=r"has a sparsity of 0.9015 already, more than the 0.5"
    ):
        pruned(model, 0.5)
    with pytest.raises(CheckpointError, match="allowed 0 to below 1"):
        pruned(model, 1.0)
