"""Sweeps that are killed, fail and are taken up again; the points are cheap and keep a journal."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import sweep_points
from processes import is_alive, wait_until
from sweep_parent import sweep, tasks_of

from s5_to_loihi.errors import InputError
from s5_to_loihi.sweeping.results import SWEEP
from s5_to_loihi.tasks import store, workers
from s5_to_loihi.tasks.task import RETRIES

HELPERS = Path(__file__).parent / "helpers"
KILLS = 20

pytestmark = pytest.mark.xdist_group("sweep")


@pytest.fixture(autouse=True)
def helpers_importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)


def journal(directory: Path) -> list[list[str]]:
    path = directory / "journal"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def computed(directory: Path) -> Counter:
    return Counter(key for key, _, _ in journal(directory))


def results(directory: Path) -> dict[str, dict]:
    """Everything that is stored, but for the seconds that it took."""
    found = {}
    for path in (directory / "out" / "points").iterdir():
        content = json.loads(path.read_text())
        del content["outcome"]["seconds"]
        found[path.name] = content
    return found


def kill_somewhere(process: int, directory: Path, rng: random.Random) -> None:
    """Kill a sweep at its start or after some points, and sometimes a worker right before it."""
    seen, awaited = len(journal(directory)), rng.randrange(4)
    wait_until(lambda: len(journal(directory)) >= seen + awaited or not is_alive(process))
    time.sleep(rng.uniform(0, 0.05 if awaited else 0.3))
    entries = journal(directory)
    if entries[seen:] and rng.random() < 0.3:
        os.kill(int(entries[-1][1]), signal.SIGKILL)
    assert is_alive(process), "the sweep was done before it could be killed"
    os.kill(process, signal.SIGKILL)
    seen_workers = {int(worker) for _, worker, _ in journal(directory)}
    wait_until(lambda: not any(map(is_alive, seen_workers)))


def test_killed_at_random_points_nothing_is_lost_or_done_twice(tmp_path):
    # More than twice as many as are done between the kills, whatever the machine.
    behaviours = {f"point {index}": "sleep 0.05" for index in range(120)}
    behaviours |= {"small": "refuse", "odd": "bug"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for directory in (whole, killed):
        directory.mkdir()
        (directory / "behaviours.json").write_text(json.dumps(behaviours))
    expected = sweep(whole, behaviours)
    rng = random.Random(20)
    command = [sys.executable, "-m", "sweep_parent", str(killed)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:

        def start() -> int:
            server.stdin.write("go\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        for _ in range(KILLS):
            kill_somewhere(start(), killed, rng)
        assert 0 < len(list((killed / "out" / "points").glob("*.json"))) < len(behaviours)
        resumed = start()
        wait_until(lambda: not is_alive(resumed))
        server.stdin.close()
    again = sweep(killed, behaviours)
    assert len(again) == len(expected) == len(behaviours)
    assert results(killed) == results(whole)
    assert {entry[2] for entry in journal(killed)} == {"first"}
    assert set(computed(killed).values()) - {1}, "no kill hit a point at work: kill otherwise"
    assert sum(computed(killed).values()) <= len(behaviours) + 2 * KILLS + KILLS
    left = {path.name for path in killed.rglob("*") if path.is_file() and path.suffix != ".json"}
    assert left == {"journal", ".lock"}
    assert not list(killed.rglob(".writing-*"))


def test_dead_workers_and_failing_points_are_reported(tmp_path):
    behaviours = {
        "good": "square",
        "unlucky": "die-once marker",
        "deadly": "die",
        "small": "refuse",
        "odd": "bug",
        "last": "square",
    }
    seen = []
    outcomes = dict(
        zip(behaviours, sweep(tmp_path, behaviours, on_progress=seen.append), strict=True)
    )
    keys = dict(zip(behaviours, (one.key for one in tasks_of(tmp_path, behaviours)), strict=True))
    counts = computed(tmp_path)
    assert counts[keys["deadly"]] == RETRIES + 1
    assert counts[keys["unlucky"]] == 2
    assert outcomes["unlucky"].error is None
    assert outcomes["deadly"].error == "its worker was killed by SIGKILL, 3 times out of 3"
    assert outcomes["small"].error.startswith("network: needs 200 cores (limit 120)")
    assert outcomes["odd"].error == "unexpected ZeroDivisionError: nobody expected this"
    assert "in compute" in outcomes["odd"].traceback
    assert outcomes["last"].metrics["name"] == keys["last"]
    assert (seen[0].done, seen[0].failed, seen[0].total) == (0, 0, 6)
    assert (seen[-1].done, seen[-1].failed) == (3, 3)
    # Failures are results too, until they are asked for again.
    sweep(tmp_path, behaviours, on_progress=seen.append)
    assert seen[-1].resumed == 6
    assert computed(tmp_path) == counts
    sweep(tmp_path, behaviours, retry_failed=True, on_progress=seen.append)
    assert seen[-1].resumed == 3
    assert computed(tmp_path)[keys["small"]] == 2
    assert computed(tmp_path)[keys["good"]] == 1


def test_only_what_changed_is_computed_again(tmp_path):
    behaviours = {"one": "square", "two": "square", "three": "square"}
    sweep(tmp_path, behaviours, jobs=1)
    changed = {**behaviours, "two": "refuse", "four": "square"}
    outcomes = sweep(tmp_path, changed, jobs=1)
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, True]
    keys = [task.key for task in tasks_of(tmp_path, changed)]
    assert [computed(tmp_path)[key] for key in keys] == [1, 2, 1, 1]
    # A damaged file is as good as none.
    damaged = tmp_path / "out" / "points" / f"{keys[0]}.json"
    damaged.write_text(damaged.read_text()[:-40])
    assert sweep(tmp_path, changed, jobs=1)[0].error is None
    assert [computed(tmp_path)[key] for key in keys] == [2, 2, 1, 1]


def test_a_worker_goes_on_with_what_shares_steps(tmp_path):
    # Two in a row share a step: workers take whole pairs, but for the last one if it is all left.
    behaviours = {f"point {index}": "sleep 0.05" for index in range(8)}
    sweep(tmp_path, behaviours)
    process_of = {key: process for key, process, _ in journal(tmp_path)}
    order = [process_of[task.key] for task in tasks_of(tmp_path, behaviours)]
    assert len(set(order)) == 2
    split = [first != second for first, second in zip(order[::2], order[1::2], strict=True)]
    assert sum(split) <= 1
    # What shares all its steps with a point at work waits for the same worker.
    again = tmp_path / "again"
    again.mkdir()
    tasks = [replace(task, steps=(0, 0)) for task in tasks_of(again, behaviours)]
    assert len(list(workers.execute(tasks, sweep_points.compute, 2))) == 8
    assert len({process for _, process, _ in journal(again)}) == 1


def test_directories_of_others_are_refused(tmp_path):
    directory = tmp_path / "out"
    with store.opened(directory, "mine", SWEEP):
        with pytest.raises(InputError, match="is in use by another sweep"):
            with store.opened(directory, "mine", SWEEP):
                pass
    with store.opened(directory, "mine", SWEEP):
        pass
    with pytest.raises(InputError, match="holds the sweep 'mine', not 'yours'"):
        with store.opened(directory, "yours", SWEEP):
            pass
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds other things \(thesis.tex\)"):
        with store.opened(stranger, "mine", SWEEP):
            pass
    assert [path.name for path in stranger.iterdir()] == ["thesis.tex"]
    (directory / "sweep.json").write_text('{"schema": "else"}')
    with pytest.raises(InputError, match="does not say which sweep this is"):
        with store.opened(directory, "mine", SWEEP):
            pass
    with pytest.raises(InputError, match="cannot be used"):
        with store.opened(stranger / "thesis.tex" / "out", "mine", SWEEP):
            pass


def test_leftovers_of_a_kill_are_cleared(tmp_path):
    directory = tmp_path / "out"
    with store.opened(directory, "mine", SWEEP):
        pass
    for place in (directory, directory / "points"):
        (place / ".writing-abc").mkdir()
        (place / ".writing-abc" / "half.json").write_text("{")
    with store.opened(directory, "mine", SWEEP):
        assert not list(directory.rglob(".writing-*"))


def test_closing_ends_all_workers_at_once(tmp_path):
    behaviours = {"long": "sleep 600", "longer": "sleep 600", "short": "await 3"}
    running = workers.execute(tasks_of(tmp_path, behaviours), sweep_points.compute, 3)
    assert next(running)[0].settings == {"name": "short"}
    running.close()
    assert not any(is_alive(int(process)) for _, process, _ in journal(tmp_path))


def test_a_task_that_hangs_is_ended_and_the_others_are_computed(tmp_path):
    behaviours = {"hangs": "sleep 600", "one": "square", "two": "square", "three": "refuse"}
    found = workers.execute(tasks_of(tmp_path, behaviours), sweep_points.compute, 2, timeout=5)
    outcomes = {task.settings["name"]: outcome for task, outcome in found}
    assert outcomes["hangs"].error == "did not end within 5 s and was ended (--timeout)"
    assert outcomes["hangs"].metrics is None
    assert outcomes["one"].metrics["behaviour"] == "square"
    assert "needs 200 cores" in outcomes["three"].error
    assert len(outcomes) == 4
    # It is not tried again, and nothing of it is left.
    assert len(journal(tmp_path)) == 4
    assert not any(is_alive(int(process)) for _, process, _ in journal(tmp_path))


def test_nothing_of_killed_workers_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    tasks = tasks_of(tmp_path, {"one": "leave-a-folder", "long": "sleep 600"})
    running = workers.execute(tasks, sweep_points.compute, 2)
    _, outcome = next(running)
    left = Path(outcome.metrics["folder"])
    assert left.is_relative_to(place)
    assert left.is_dir()
    running.close()
    assert not list(place.iterdir())


def test_an_interrupt_while_a_worker_starts_waits_until_the_worker_is_known(tmp_path, monkeypatch):
    """The thread of a progress bar may take the signal; a half-started worker would complain."""
    start, started = workers._start, []

    def interrupt():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.raise_signal(signal.SIGINT)

    def start_interrupted(compute, place):
        thread = threading.Thread(target=interrupt)
        thread.start()
        thread.join()
        started.append(start(compute, place))
        return started[-1]

    monkeypatch.setattr(workers, "_start", start_interrupted)
    # A shell's background job ignores interrupts, and so would this one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = tasks_of(tmp_path, {"long": "sleep 600"})
    try:
        with pytest.raises(KeyboardInterrupt):
            list(workers.execute(tasks, sweep_points.compute, 1))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    (worker,) = started
    assert worker.connection.closed


def test_workers_that_cannot_start_are_an_error(tmp_path):
    tasks = tasks_of(tmp_path, {"one": "square"})
    with pytest.raises(workers.WorkerError, match="before it had started, 3 times"):
        list(workers.execute(tasks, Unloadable(), 1))


class Unloadable:
    """Ends the process that loads it."""

    def __reduce__(self):
        return os._exit, (7,)
