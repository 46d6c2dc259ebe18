"""Runs a Python module as a worker in a fresh interpreter, and never hangs its caller.

Lava stops answering when a process model raises, and leaves processes and shared memory behind
when it is killed. So it runs in a worker with a session of its own; the caller watches a few files
in the job directory and, however the worker ends, leaves nothing of that session behind:

    log.txt      standard output and error of the worker
    progress     steps done, 8 bytes, little-endian int64, updated in place
    error.json   {"process": ..., "traceback": ...} of the first process that raised
    done         empty; there when the worker has finished its work

``run_worker`` is for the caller; ``run_main``, ``die_with_parent``, ``report_progress``,
``report_error`` and ``finish`` are for the worker. Without /proc (macOS) only the process group is
killed and shared memory is left to the operating system.
"""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from s5_to_loihi.errors import LavaError

POLL_SECONDS = 0.05
PARENT_POLL_SECONDS = 0.5
TRACKER_SECONDS = 1.0  # granted to Python's resource tracker to end by itself
KILL_SECONDS = 10.0  # after which a process that the kernel holds is given up
LOG_LINES = 20
#: multiprocessing makes sockets below the temporary directory; their paths end at 107 characters.
LONGEST_TEMPORARY = 60
LOG_BYTES = 16384
#: With less room than that, for longer than that without progress, the disk is to blame.
ROOM, DISK_SECONDS = 1 << 20, 3.0
PARENT_VARIABLE = "S5_TO_LOIHI_PARENT"
PROC = Path("/proc")


def run_worker(
    module: str,
    job: Path,
    *,
    name: str,
    total_timeout: float,
    stall_timeout: float,
    on_progress: Callable[[int], None] = lambda steps: None,
) -> None:
    """Run ``python -m module job`` to its end; whatever happens, nothing of it is left afterwards.

    Args:
        module: the module to run, importable with the ``sys.path`` of this process.
        job: an existing directory, which is also the working directory of the worker.
        name: what the worker does, for error messages.
        total_timeout: seconds that the worker may take in all.
        stall_timeout: seconds that may pass, from the start on, without a change of ``progress``.
        on_progress: called with the number of steps done, each time it is seen to change.

    Raises:
        LavaError: a process of the worker raised, or the worker died, ended early or stalled.
    """
    job = job.resolve()
    worker = _start(module, job)
    try:
        _watch(worker, job, name, total_timeout, stall_timeout, on_progress)
    finally:
        kill_session(worker.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(KILL_SECONDS)


@contextlib.contextmanager
def job_folder(name: str) -> Iterator[Path]:
    """A temporary folder for a job.

    Args:
        name: what the job does, for the error.

    Raises:
        LavaError: something in the block could not be written; naming the folder's disk.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
            yield Path(folder)
    except OSError as error:
        raise disk_error(name, Path(tempfile.gettempdir()), error.strerror or str(error)) from None


def disk_error(name: str, folder: Path, reason: str) -> LavaError:
    """Return the error of a job whose folder cannot be written."""
    return LavaError(
        name,
        f"cannot write into {folder} ({reason})",
        "Free some space there, or name another place in the variable TMPDIR",
    )


def die_with_parent() -> None:
    """Make the worker and all of its session die soon after its parent; the worker calls it first.

    Does nothing in a process that does not lead its session, such as one started in a shell.
    """
    if os.getsid(0) != os.getpid():
        return
    # The parent may already be dead here, so its number comes from the parent itself.
    parent = int(os.environ.get(PARENT_VARIABLE, os.getppid()))

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        kill_session(os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch_parent, name="die_with_parent", daemon=True).start()


def report_progress(job: Path, steps: int) -> None:
    """Tell the supervisor how many steps are done; cheap enough for every step."""
    file = os.open(f"{job}/progress", os.O_WRONLY)
    try:
        os.pwrite(file, int(steps).to_bytes(8, "little", signed=True), 0)
    finally:
        os.close(file)


def report_error(job: Path, process_name: str) -> None:
    """Tell the supervisor of the exception now being handled; only the first report counts."""
    draft = Path(job, f"error.{os.getpid()}.json")
    draft.write_text(json.dumps({"process": process_name, "traceback": traceback.format_exc()}))
    with contextlib.suppress(FileExistsError):
        os.link(draft, Path(job, "error.json"))
    draft.unlink()


def run_main(main: Callable[[Path], None], process_name: str) -> None:
    """Run a worker's main on the job directory that its command line names; report what it raises.

    The exception is printed into the log, too, and ends the worker.
    """
    job = Path(sys.argv[1])
    try:
        main(job)
    except Exception:
        traceback.print_exc()
        report_error(job, process_name)
        raise


def finish(job: Path) -> None:
    """Tell the supervisor that the work is done and its results are in the job directory."""
    Path(job, "done").touch()


def kill_session(session: int) -> None:
    """Kill every process of a session but the calling one, and remove the shared memory they map.

    Returns when none is left, or after ``KILL_SECONDS`` if the kernel does not let one go.
    """
    if not PROC.is_dir():
        with contextlib.suppress(OSError):
            os.killpg(session, signal.SIGKILL)
        return
    started = time.monotonic()
    while (waited := time.monotonic() - started) < KILL_SECONDS:
        processes = session_processes(session)
        for segment in {segment for process in processes for segment in shared_memory_of(process)}:
            with contextlib.suppress(OSError):
                os.unlink(segment)
        others = [process for process in processes if process != os.getpid()]
        if not others:
            return
        for process in others:
            # Python's resource tracker alone knows the shared memory of processes that died
            # earlier; it removes that and ends by itself once all others are gone.
            if waited > TRACKER_SECONDS or not _is_resource_tracker(process):
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS / 5)


def session_processes(session: int) -> list[int]:
    """Return the processes of a session that have not ended (a zombie has)."""
    processes = []
    for entry in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; state, parent, group, session follow.
            state, _, _, its_session = entry.read_bytes().rpartition(b")")[2].split()[:4]
            if int(its_session) == session and state not in (b"Z", b"X"):
                processes.append(int(entry.parent.name))
    return processes


def shared_memory_of(process: int) -> set[str]:
    """Return the paths of the files in /dev/shm that a process maps and that still exist."""
    with contextlib.suppress(OSError):
        lines = (PROC / str(process) / "maps").read_text(errors="surrogateescape").splitlines()
        paths = {line[line.index("/dev/shm/") :] for line in lines if " /dev/shm/" in line}
        return {path for path in paths if not path.endswith(" (deleted)")}
    return set()


def _is_resource_tracker(process: int) -> bool:
    with contextlib.suppress(OSError):
        return b"multiprocessing.resource_tracker" in (PROC / str(process) / "cmdline").read_bytes()
    return False


def _start(module: str, job: Path) -> subprocess.Popen:
    for stale in ("done", "error.json"):
        (job / stale).unlink(missing_ok=True)
    (job / "progress").write_bytes(bytes(8))
    package_root = os.path.abspath(Path(__file__).parents[2])
    search_path = [*map(os.path.abspath, sys.path), package_root]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(search_path)),
        "PYTHONUNBUFFERED": "1",  # a killed worker must not take its last words with it
        "PYTHONFAULTHANDLER": "1",
        PARENT_VARIABLE: str(os.getpid()),
    }
    if len(str(job)) < LONGEST_TEMPORARY:
        # What a killed worker leaves in its temporary directory then goes with the job.
        environment["TMPDIR"] = str(job)
    with open(job / "log.txt", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(job)],
            cwd=job,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _watch(
    worker: subprocess.Popen,
    job: Path,
    name: str,
    total_timeout: float,
    stall_timeout: float,
    on_progress: Callable[[int], None],
) -> None:
    """Return when the worker has ended well; raise otherwise (see ``run_worker``)."""
    started = moved = time.monotonic()
    steps = 0
    while True:
        # Asked first: what the worker wrote before it ended is then there to be read.
        exit_code = worker.poll()
        steps_before = steps
        steps = int.from_bytes((job / "progress").read_bytes(), "little", signed=True)
        if steps != steps_before:
            on_progress(steps)
            moved = time.monotonic()
        if (job / "error.json").exists():
            raise _process_error(name, job)
        if exit_code == 0 and (job / "done").exists():
            return
        now = time.monotonic()
        if now - moved > DISK_SECONDS and shutil.disk_usage(job).free < ROOM:
            # A process that cannot write down what is wrong would be waited for in vain.
            raise disk_error(name, job, os.strerror(errno.ENOSPC))
        if exit_code is not None:
            problem = f"the worker {_how_it_ended(exit_code)}"
        elif now - started > total_timeout:
            problem = f"not done after {total_timeout:g} s"
        elif now - moved > stall_timeout:
            problem = f"no progress for {stall_timeout:g} s"
        else:
            time.sleep(POLL_SECONDS)
            continue
        raise LavaError(name, f"{problem}, {steps} steps done", _log_tail(job))


def _process_error(name: str, job: Path) -> LavaError:
    error = json.loads((job / "error.json").read_text())
    return LavaError(name, f"process {error['process']!r} raised\n{error['traceback'].strip()}")


def _how_it_ended(exit_code: int) -> str:
    if exit_code == 0:
        return "ended without finishing its work"
    if exit_code > 0:
        return f"ended with exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    hint = ", perhaps out of memory" if -exit_code == signal.SIGKILL else ""
    return f"was killed by {names.get(-exit_code, f'signal {-exit_code}')}{hint}"


def _log_tail(job: Path) -> str:
    """Return what the end of the log says, for an error message; empty if the log is."""
    with open(job / "log.txt", "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(["The end of its log:", *lines]) if lines else ""
