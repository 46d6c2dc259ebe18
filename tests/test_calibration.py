"""Constants that are hidden in a synthetic board come back; a term that is wrong is noticed."""

import functools
import json
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from synthetic_board import HIDDEN, run_of

from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import CoreActivity, Power, write_measured
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.profiling import fitting, suite_files
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.profiling.profile import evaluate_recording
from s5_to_loihi.profiling.suite import experiments

BOARD, EIGHT = load_system("oheogulch"), load_system("kapohopoint")


@functools.cache
def demands(system):
    return [(one, one.demand(system)) for one in experiments(system)]


def observed(system, **options):
    return [
        fitting.Observation(one.name, demand, run_of(one.name, demand, **options))
        for one, demand in demands(system)
    ]


def check_constants(fitted):
    for one in fitted:
        hidden = HIDDEN[one.name]
        assert abs(one.value / hidden - 1) < 0.05 or one.low <= hidden <= one.high, one
        assert one.low <= one.value <= one.high


# The suite


def test_experiments_demand_what_they_are_made_for():
    found = {one.name: (one, demand) for one, demand in demands(BOARD)}
    one, demand = found["synops-96"]
    assert demand.synops.max() == demand.operations.synops == 96 * 64
    assert one.network.synapse_count == 96 * 64
    _, demand = found["words-8000-1"]
    assert demand.words.max() == demand.synops.max() == 8000  # a word for each axon's one synapse
    _, demand = found["words-6000-2"]
    assert (demand.words.max(), demand.synops.max()) == (6000, 12000)
    _, demand = found["links-400-60"]
    assert demand.messages.max() == 400 * 60
    assert demand.cores == 61
    programs = set()
    for name, (_, demand) in found.items():
        if name.startswith("updates"):
            (rows,) = demand.updates
            assert rows[:, 0].max() == int(name.split("-")[2])
            programs.add(rows[0, 1] / rows[0, 0])
            assert demand.synops.max() == 0
    assert min(programs) == 1
    assert max(programs) >= 70
    assert len(programs) >= 6


def test_every_experiment_fits_a_core():
    for one, _ in demands(BOARD):
        recording = record(one.network, one.tokens)
        evaluation = evaluate_recording(one.network, recording, one.mapping(BOARD), BOARD)
        assert evaluation.loads.fits(BOARD.chip), one.name


def test_more_chips_have_more_experiments():
    names = [one.name for one, _ in demands(EIGHT)]
    assert [name for name in names if name.startswith("chips")] == ["chips-2", "chips-4", "chips-8"]
    assert all(demand.chips == int(one.name.split("-")[1]) for one, demand in demands(EIGHT)
               if one.family == "chips")  # fmt: skip


# Fitting


@pytest.mark.parametrize("seed", range(3))
def test_hidden_constants_come_back(seed):
    found = fitting.calibrate(observed(BOARD, seed=seed), BOARD)
    check_constants(found.fitted)
    assert {one.name for one in found.fitted} == set(HIDDEN) - {"barrier_time_per_doubling"}
    assert found.undetermined == ("barrier_time_per_doubling",)
    assert found.misfits == ()


def test_without_noise_they_come_back_exactly():
    found = fitting.calibrate(observed(EIGHT, noise=0), EIGHT)
    assert {one.name for one in found.fitted} == set(HIDDEN)
    for one in found.fitted:
        assert one.value == pytest.approx(HIDDEN[one.name], rel=1e-3)


def test_a_wrong_term_is_noticed_and_widens_ranges():
    """Here work is added to the barrier, and does not hide it."""
    right = fitting.calibrate(observed(BOARD), BOARD)
    wrong = fitting.calibrate(observed(BOARD, added=True), BOARD)
    assert {one.family for one in wrong.misfits} >= {"updates"}
    assert all(abs(one.off) > fitting.OFF for one in wrong.misfits)
    width = {one.name: one.high / one.low for one in right.fitted}
    for one in wrong.fitted:
        if one.name in ("update_time", "instruction_time"):
            assert one.high / one.low > 1.1 * width[one.name]


def test_what_no_experiment_shows_stays_as_it_is():
    only = [one for one in observed(BOARD) if one.family in ("barrier", "updates")]
    found = fitting.calibrate(only, BOARD)
    assert {"synop_time", "memory_word_time", "link_bandwidth"} <= set(found.undetermined)
    check_constants(one for one in found.fitted if one.name.endswith("time"))
    chip = fitting.calibrated(BOARD, found, "a test").chip
    assert chip.synop_time == BOARD.chip.synop_time
    with pytest.raises(InputError, match="no experiment"):
        fitting.calibrate([], BOARD)


def test_power_of_a_board_is_told_apart_by_its_rails():
    runs = []
    for one in observed(BOARD):
        power = one.measured.power
        rails = {"vdd": power.total - 0.05, "vddm": 0.05}
        board = Power("board", power.total + 1.5, power.static + 1.5, rails, 1000)
        runs.append(replace(one, measured=replace(one.measured, power=board)))
    found = {one.name: one for one in fitting.calibrate(runs, BOARD).fitted}
    assert found["static_power"].value == pytest.approx(HIDDEN["static_power"])


def test_counters_say_where_neurons_lay():
    """A compiler that put all on half the cores: twice as much on each."""
    one, demand = next(found for found in demands(BOARD) if found[0].name == "updates-norm-300")
    cores = tuple(CoreActivity(0, core, 0, 600 * 1000, None, None) for core in range(2))
    run = replace(run_of(one.name, demand), activity=cores)
    counted = suite_files.as_counted(demand, run)
    assert counted.cores == 2
    np.testing.assert_array_equal(counted.updates[0], 2 * demand.updates[0])
    assert suite_files.as_counted(demand, replace(run, activity=())) is demand


# From end to end


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "suite"
    suite_files.write_suite(folder, BOARD)
    return folder


def leave_results(suite, **options):
    for one, demand in demands(BOARD):
        file = suite / one.name / suite_files.MEASURED
        file.parent.mkdir(parents=True, exist_ok=True)
        run = run_of(one.name, demand, bundle.digest(suite / one.name / "bundle"), **options)
        file.unlink(missing_ok=True)
        write_measured(run, file)


def test_a_suite_becomes_a_system_that_profiles_take(suite, call, tmp_path):
    leave_results(suite)
    code, output, _ = call("calibrate", suite, "--fit", "-o", tmp_path / "mine")
    assert code == 0
    assert "the model fits 27 of them within 5%" in output
    assert "stay as given" in output
    mine = load_system(tmp_path / "mine" / "system.yaml")
    for name, hidden in HIDDEN.items():
        if name != "barrier_time_per_doubling":
            fact = getattr(mine.chip, name)
            assert abs(fact.value / hidden - 1) < 0.05 or fact.low <= hidden <= fact.high
            assert "calibrate, 27 runs of suite on board" in fact.source
    assert mine.chip.synapses == BOARD.chip.synapses
    one = suite / "barrier-8" / "bundle"
    code, output, _ = call("profile", one, "--system", tmp_path / "mine" / "system.yaml", "--json")
    assert code == 0
    timestep = json.loads(output)["modes"]["pipelined"]["timestep"]["value"]
    assert timestep == pytest.approx(2.3, rel=0.05)
    code, output, _ = call("calibrate", suite, "--fit", "--json")
    assert {one["name"] for one in json.loads(output)["fitted"]} >= {"synop_time"}
    assert call("calibrate", suite, "--fit", "--quiet")[:2] == (0, "")


def test_a_wrong_term_is_said(suite, call):
    leave_results(suite, added=True)
    code, output, _ = call("calibrate", suite, "--fit")
    assert code == 0
    assert "does not fit" in output
    assert "experiments of 'updates'" in output


def test_results_of_something_else_are_refused(suite, call, tmp_path):
    leave_results(suite)
    file = suite / "barrier-1" / suite_files.MEASURED
    content = json.loads(file.read_text())
    for change, said in (({"target": "lava-cpu"}, "not on a board"),
                         ({"bundle_digest": "00"}, "is of another bundle")):  # fmt: skip
        file.write_text(json.dumps(content | change))
        code, _, error = call("calibrate", suite, "--fit", "-o", tmp_path / "none")
        assert code == 1
        assert said in error
    file.write_text(json.dumps(content))
    assert not (tmp_path / "none").exists()
    for arguments, said in (
        ((suite,), "exists already"),
        ((tmp_path / "new", "-o", tmp_path / "x"), "without --fit"),
        ((suite, "--fit", "--system", "kapohopoint"), "is a suite for 'Oheo Gulch'"),
        ((tmp_path, "--fit"), "suite.json"),
    ):
        code, _, error = call("calibrate", *arguments)
        assert code == 1
        assert said in error


def test_the_script_runs_what_has_no_result_yet(suite, tmp_path):
    leave_results(suite)
    missing = ["synops-96", "links-300-60"]
    for name in missing:
        (suite / name / suite_files.MEASURED).unlink()
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nif [ "$1" = -c ]; then echo /scripts; exit; fi\necho "$@" >> '
        f'{tmp_path}/called\ncase "$2" in *synops-96*) exit 1;; esac\n'
    )
    python.chmod(0o755)
    finished = subprocess.run(
        ["sh", suite / "run.sh", "--microcode", "/my/microcode"], check=False,
        env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 1
    assert finished.stdout.split() == missing
    assert finished.stderr == "failed: synops-96\n"
    calls = (tmp_path / "called").read_text().splitlines()
    assert calls == [
        f"/scripts/run_on_board.py {suite}/{name}/bundle {suite}/{name}/tokens.npy --job"
        f" {suite}/{name}/job --mode pipelined --microcode /my/microcode"
        for name in missing
    ]
