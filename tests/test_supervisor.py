"""The supervisor against workers that misbehave; time-outs are generous, none is measured."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from s5_to_loihi.errors import LavaError
from s5_to_loihi.lava_runtime import supervisor

HELPERS = Path(__file__).parent / "helpers"
PROC = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")
LONG = 300.0

pytestmark = [
    pytest.mark.skipif(not PROC.is_dir(), reason="needs /proc"),
    pytest.mark.xdist_group("lava"),
]


@pytest.fixture(autouse=True)
def helpers_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HELPERS))


def run(job: Path, behaviour: str, **options) -> None:
    (job / "behaviour").write_text(behaviour)
    options = {"name": "test run", "total_timeout": LONG, "stall_timeout": LONG} | options
    supervisor.run_worker("fake_worker", job, **options)


def failure(job: Path, behaviour: str, **options) -> str:
    with pytest.raises(LavaError) as caught:
        run(job, behaviour, **options)
    assert str(caught.value).startswith("test run: ")
    assert_nothing_left(job)
    return str(caught.value)


def living_processes(session: int) -> list[int]:
    """The processes of a session, found in another way than the supervisor does."""
    found = []
    for entry in PROC.iterdir():
        try:
            ours = entry.name.isdigit() and os.getsid(int(entry.name)) == session
            if ours and "\nState:\tZ" not in (entry / "status").read_text():
                found.append(int(entry.name))
        except OSError:
            pass  # it has just ended
    return found


def segments_made(job: Path) -> list[Path]:
    names = (job / "segments").read_text().split()
    assert names
    return [SHARED_MEMORY / name.lstrip("/") for name in names]


def assert_nothing_left(job: Path) -> None:
    assert living_processes(int((job / "pid").read_text())) == []
    if (job / "segments").exists():
        assert [path for path in segments_made(job) if path.exists()] == []


def wait_until(condition) -> None:
    give_up = time.monotonic() + LONG / 3
    while not condition():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.05)


def test_success_reports_progress(tmp_path):
    seen = []
    run(tmp_path, "succeed", on_progress=seen.append)
    assert seen[-1] == 3
    assert seen == sorted(set(seen))
    assert_nothing_left(tmp_path)


def test_a_job_directory_can_be_used_again(tmp_path):
    failure(tmp_path, "report_own_error")
    run(tmp_path, "succeed")
    assert "ended without finishing its work" in failure(tmp_path, "end_early")


def test_job_directory_may_be_relative(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path)
    run(Path("job"), "succeed")


def test_exit_0_without_finish_is_an_error(tmp_path):
    message = failure(tmp_path, "end_early")
    assert "ended without finishing its work" in message
    assert "nothing to do" in message


def test_exception_of_the_worker_is_in_the_message(tmp_path):
    message = failure(tmp_path, "raise_exception")
    assert "ended with exit code 1" in message
    assert "ValueError: the worker itself failed" in message


def test_reported_error_wins_over_exit_code(tmp_path):
    message = failure(tmp_path, "report_own_error")
    assert "process 'compiler' raised" in message
    assert "exit code" not in message


def test_exception_in_a_grandchild_comes_back(tmp_path):
    message = failure(tmp_path, "raise_in_grandchild")
    assert "process 'state_0' raised" in message
    assert "Traceback (most recent call last)" in message
    assert "ValueError: the process model failed" in message


def test_first_of_two_errors_counts(tmp_path):
    message = failure(tmp_path, "raise_twice")
    assert "process 'first' raised" in message
    assert "second" not in message


def test_stall_says_how_far_it_got(tmp_path):
    message = failure(tmp_path, "stall", stall_timeout=5)
    assert "no progress for 5 s, 3 steps done" in message
    assert "last words before the stall" in message


def test_total_time_is_limited_in_spite_of_progress(tmp_path):
    seen = []
    message = failure(tmp_path, "progress_for_ever", total_timeout=5, on_progress=seen.append)
    assert f"not done after 5 s, {seen[-1]} steps done" in message


def test_ignored_signals_do_not_help(tmp_path):
    assert "no progress" in failure(tmp_path, "ignore_signals", stall_timeout=5)
    assert (tmp_path / "ready").exists()


def test_shared_memory_of_killed_processes_is_removed(tmp_path):
    assert "no progress" in failure(tmp_path, "share_memory_and_hang", stall_timeout=5)
    assert (tmp_path / "ready").exists()


def test_shared_memory_of_a_dead_worker_is_removed(tmp_path):
    assert "SIGKILL" in failure(tmp_path, "share_memory_and_die")
    segments_made(tmp_path)


def test_shared_memory_is_removed_after_a_normal_end(tmp_path):
    run(tmp_path, "share_memory_and_finish")
    segments_made(tmp_path)
    assert_nothing_left(tmp_path)


def test_exit_code_is_named(tmp_path):
    message = failure(tmp_path, "exit_with_3")
    assert "ended with exit code 3" in message
    assert "about to end with 3" in message


def test_death_by_signal_is_named(tmp_path):
    message = failure(tmp_path, "die_by_sigkill")
    assert "killed by SIGKILL, perhaps out of memory" in message


def test_child_left_behind_is_killed(tmp_path):
    run(tmp_path, "leave_child_behind")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt])
def test_exception_of_the_caller_ends_the_worker(tmp_path, exception):
    def fail(steps):
        raise exception("from on_progress")

    with pytest.raises(exception, match="from on_progress"):
        run(tmp_path, "progress_for_ever", on_progress=fail)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("signal_number", "behaviour"),
    [
        (signal.SIGINT, "share_memory_and_hang"),
        (signal.SIGTERM, "share_memory_and_hang"),
        (signal.SIGKILL, "share_memory_and_hang"),
        (signal.SIGKILL, "ignore_signals"),
    ],
)
def test_worker_ends_with_its_parent(tmp_path, signal_number, behaviour):
    (tmp_path / "behaviour").write_text(behaviour)
    path = os.pathsep.join([str(HELPERS), str(Path(supervisor.__file__).parents[2])])
    parent = subprocess.Popen(
        [sys.executable, "-m", "fake_parent", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    try:
        wait_until((tmp_path / "ready").exists)
        assert len(living_processes(int((tmp_path / "pid").read_text()))) > 1
        parent.send_signal(signal_number)
        output, errors = parent.communicate(timeout=LONG / 3)
    finally:
        parent.kill()
    if signal_number == signal.SIGINT:
        assert output == "interrupted\n"
        assert errors.rstrip().endswith("KeyboardInterrupt")
    else:
        assert parent.returncode == -signal_number
        session = int((tmp_path / "pid").read_text())
        wait_until(lambda: not living_processes(session))
    assert_nothing_left(tmp_path)


def test_worker_started_by_hand_does_not_watch_its_parent(tmp_path):
    """It shares the session of the shell then, which must not be killed."""
    (tmp_path / "behaviour").write_text("succeed")
    (tmp_path / "progress").write_bytes(bytes(8))
    path = os.pathsep.join([str(HELPERS), str(Path(supervisor.__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": path, supervisor.PARENT_VARIABLE: "1"}
    subprocess.run(
        [sys.executable, "-m", "fake_worker", str(tmp_path)], env=environment, check=True
    )
    assert (tmp_path / "done").exists()


def test_progress_is_updated_in_place(tmp_path):
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    supervisor.report_progress(tmp_path, 2**40 + 1)
    assert progress.read_bytes() == (2**40 + 1).to_bytes(8, "little")
    supervisor.report_progress(tmp_path, 7)
    assert progress.read_bytes() == bytes([7, 0, 0, 0, 0, 0, 0, 0])
