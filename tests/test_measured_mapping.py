"""Mapping search with measurements, on a board that is made up: better than the model alone."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from synthetic_board import microseconds, run_of

from s5_to_loihi import bundle, intel_export
from s5_to_loihi.backends.measured import CoreActivity, write_measured
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.errors import InputError
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.loihi2.deliveries import deliveries
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.profiling import measured_files
from s5_to_loihi.profiling import measured_mapping as searching
from s5_to_loihi.profiling.demand import demands
from s5_to_loihi.profiling.profile import evaluate_recording
from s5_to_loihi.simulators.interpreter import Mode

BOARD = load_system("oheogulch")
#: Few cores, so that their work decides and not the barrier.
CORES = 14


@pytest.fixture(scope="module")
def opened():
    """A denoiser of Intel's size."""
    export = importlib.import_module("golden").export("denoiser_intel_size")
    model, _ = intel_export.to_model(export, intel_export.ExportOptions())
    network = run_passes(lower(model))
    vectors = intel_export.to_vectors(export, network)[0]
    return Bundle(network, vectors.first(64))


def demand_of(subject, mapping):
    """What a mapping demands of the made-up board."""
    evaluation = evaluate_recording(subject.network, subject.recording, mapping, BOARD)
    table = deliveries(evaluation.work, evaluation.loads.core_of)
    return demands(subject.recording, evaluation, table)[subject.mode]


class Measuring:
    """Runs mappings on the made-up board, and remembers what they take without noise."""

    def __init__(self, subject, added=False):
        self.subject, self.added, self.true = subject, added, []

    def __call__(self, mapping):
        demand = demand_of(self.subject, mapping)
        self.true.append(microseconds(demand, self.added))
        return run_of(f"run {len(self.true)}", demand, added=self.added)


def test_measurements_find_a_faster_mapping_than_the_model_alone(opened):
    subject = searching.subject(opened, BOARD, Objective.LATENCY, cores=CORES)
    board = Measuring(subject)
    tried = searching.search(subject, board, budget=5)
    assert 2 <= len(tried) == len(board.true) <= 5
    found = searching.best(subject, tried)
    # The first is the model's own choice; its constants are not the board's.
    assert board.true[tried.index(found)] < 0.8 * board.true[0]
    assert abs(tried[0].measured / tried[0].candidate.predicted - 1) > 0.2
    assert abs(tried[-1].measured / tried[-1].candidate.predicted - 1) < 0.05
    assert found.measured == min(one.measured for one in tried)
    assert all(one.candidate.cores <= CORES and one.followed for one in tried)
    assert len({one.candidate.mapping.core_of(opened.network).tobytes() for one in tried}) == len(
        tried
    )


def test_it_is_never_worse_than_the_start_with_a_term_that_the_model_has_not(opened):
    subject = searching.subject(opened, BOARD, Objective.LATENCY, cores=CORES)
    board = Measuring(subject, added=True)
    tried = searching.search(subject, board, budget=2)
    found = searching.best(subject, tried)
    assert found.measured <= tried[0].measured
    assert board.true[tried.index(found)] < board.true[0]


def test_balanced_takes_the_fewest_cores_near_the_shortest(opened):
    """The board's barrier is longer than the model's: fewer cores do."""
    subject = searching.subject(opened, BOARD, Objective.BALANCED, cores=45)
    tried = searching.search(subject, Measuring(subject), budget=3)
    found, shortest = searching.best(subject, tried), min(one.measured for one in tried)
    assert found.candidate.cores < tried[0].candidate.cores
    assert found.measured <= 1.1 * shortest


def test_what_the_board_did_not_follow_is_seen(opened):
    subject = searching.subject(opened, BOARD, Objective.LATENCY, cores=CORES)
    candidate = searching.propose(subject, ())
    neurons = sum(group.size for group in opened.network.groups)
    cores = tuple(CoreActivity(0, core, 0, neurons * 500, None, None) for core in range(2))
    run = replace(run_of("two", candidate.demand), activity=cores)
    tried = searching.observe(candidate, run)
    assert (tried.used, tried.followed) == (2, False)
    # What decided was the updates of half of all neurons.
    assert tried.demand.updates[0][:, 0].max() == pytest.approx(neurons / 2)


def test_what_cannot_be_measured_is_refused(opened):
    with pytest.raises(InputError, match="objective"):
        searching.subject(opened, BOARD, Objective.CORES)
    subject = searching.subject(opened, BOARD)
    with pytest.raises(InputError, match="budget"):
        searching.search(subject, Measuring(subject), budget=0)
    candidate = searching.Candidate(None, 1, None, 1.0, 1.0)
    with pytest.raises(InputError, match="has no times"):
        searching.observe(candidate, replace(run_of_nothing(), time=None))


def run_of_nothing():
    counts = dict.fromkeys(("synops", "words", "messages", "hops"), np.zeros((1, 1)))
    amounts = dict.fromkeys(("synops", "updates", "messages", "instructions", "hops"), 0.0)
    return run_of("nothing", type("Demand", (), {
        **counts, "chips": 1, "cores": 1, "updates": (np.zeros((1, 3)),),
        "operations": type("Operations", (), amounts),
    }))  # fmt: skip


# From end to end


def leave_result(folder, opened, mode):
    """What run.sh leaves on a board host."""
    options = measured_files.Options("", "oheogulch", Objective.LATENCY, mode, CORES, 0)
    subject = measured_files.subject_of(opened, options)
    demand = demand_of(subject, bundle.read(folder / "bundle").mapping)
    run = replace(run_of(folder.name, demand, bundle.digest(folder / "bundle")), mode=mode.value)
    (folder / "job" / "result").mkdir(parents=True)
    write_measured(run, folder / "job" / "result" / "measured.json")


@pytest.mark.parametrize("mode", Mode)
def test_map_goes_on_with_what_was_measured(opened, call, tmp_path, mode):
    path, search = tmp_path / "net.bundle", tmp_path / "search"
    bundle.write(opened, path)
    arguments = ("map", path, "--measure", search, "--objective", "latency", "--cores", CORES,
                 "--system", "oheogulch", "--budget", 2, "--mode", mode.value)  # fmt: skip
    code, out, _ = call(*arguments)
    assert code == 0
    assert "Mapping 1 of at most 2 is to be run" in out
    assert bundle.read(path).mapping is None
    (first,) = search.glob("01-*")
    assert f"--mode {mode.value}" in (search / "run.sh").read_text()
    # Nothing was run meanwhile.
    assert "Mapping 1 of at most 2 is to be run" in call(*arguments)[1]
    leave_result(first, opened, mode)
    code, out, _ = call(*arguments)
    assert code == 0
    assert "Mapping 2 of at most 2 is to be run" in out
    (second,) = search.glob("02-*")
    leave_result(second, opened, mode)
    code, out, _ = call(*arguments, "--json")
    assert code == 0
    tried = json.loads(out)["tried"]
    assert [sorted(one) for one in tried] == [
        ["cores", "cores_in_use", "given", "measured", "predicted", "taken"]
    ] * 2
    taken = next(one for one in tried if one["taken"])
    assert taken["measured"] == min(one["measured"] for one in tried)
    assert taken["measured"] < tried[0]["measured"]
    code, out, _ = call(*arguments)
    assert "Wrote the mapping into" in out
    assert "as measured; the model's own choice took" in out
    best = {True: second, False: first}[tried[1]["taken"]]
    np.testing.assert_array_equal(
        bundle.read(path).mapping.core_of(opened.network),
        bundle.read(best / "bundle").mapping.core_of(opened.network),
    )
    code, _, error = call(*arguments[:-1], "pipelined", "--seed", "3")
    assert code == 1
    assert "is a search with another" in error


def test_a_command_that_leaves_no_result_is_said(opened, call, tmp_path):
    path, search = tmp_path / "net.bundle", tmp_path / "search"
    bundle.write(opened, path)
    arguments = ("map", path, "--measure", search, "--objective", "latency", "--cores", CORES)
    code, _, error = call(*arguments, "--run", f"{sys.executable} -c pass")
    assert code == 1
    assert "left no result" in " ".join(error.split())
    assert call(*arguments, "--assume-rate", "0.5")[0] == 1
