"""A worker that misbehaves as the file ``behaviour`` in its job directory says.

It leaves in that directory: ``pid``, its number, which is also that of its session; ``segments``,
the names of the shared memory it made; and ``ready`` once it is about to hang.
"""

import mmap
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.managers import SharedMemoryManager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from s5_to_loihi.lava_runtime import supervisor

SEGMENT_BYTES = 4096


def succeed(job: Path) -> None:
    for steps in range(1, 4):
        supervisor.report_progress(job, steps)
        time.sleep(0.2)
    supervisor.finish(job)


def end_early(job: Path) -> None:
    print("nothing to do")


def raise_exception(job: Path) -> None:
    raise ValueError("the worker itself failed")


def report_own_error(job: Path) -> None:
    try:
        raise ValueError("reported by the worker")
    except ValueError:
        supervisor.report_error(job, "compiler")
        raise


def raise_in_grandchild(job: Path) -> None:
    _fork(_fork, _raise_in_process, job)
    _hang(job)


def raise_twice(job: Path) -> None:
    for name in ("first", "second"):
        try:
            raise ValueError(name)
        except ValueError:
            supervisor.report_error(job, name)
    _hang(job)


def stall(job: Path) -> None:
    print("last words before the stall")
    supervisor.report_progress(job, 3)
    _hang(job)


def progress_for_ever(job: Path) -> None:
    for steps in range(1, 10**9):
        supervisor.report_progress(job, steps)
        time.sleep(0.01)


def ignore_signals(job: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _fork(_sleep)
    _hang(job)


def share_memory_and_hang(job: Path) -> None:
    _share_memory(job)
    _hang(job)


def share_memory_and_die(job: Path) -> None:
    """The only process that maps the segments dies before anyone can look at its maps."""
    segments = [SharedMemory(create=True, size=SEGMENT_BYTES) for _ in range(3)]
    Path(job, "segments").write_text("\n".join(segment.name for segment in segments))
    die_by_sigkill(job)


def share_memory_and_finish(job: Path) -> None:
    _share_memory(job)
    supervisor.finish(job)
    os._exit(0)


def exit_with_3(job: Path) -> None:
    print("about to end with 3")
    sys.exit(3)


def die_by_sigkill(job: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_child_behind(job: Path) -> None:
    _fork(_sleep)
    supervisor.finish(job)


def _share_memory(job: Path) -> None:
    """Map shared memory in children: through a manager as Lava does, directly, and untracked."""
    manager = SharedMemoryManager()
    manager.start()
    segments = [manager.SharedMemory(SEGMENT_BYTES) for _ in range(3)]
    segments += [SharedMemory(create=True, size=SEGMENT_BYTES) for _ in range(3)]
    untracked = Path(f"/dev/shm/s5_to_loihi_test_{os.getpid()}")
    untracked.write_bytes(bytes(SEGMENT_BYTES))
    names = [segment.name for segment in segments] + [untracked.name]
    Path(job, "segments").write_text("\n".join(names))
    with open(untracked, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), SEGMENT_BYTES)
    for _ in range(2):
        _fork(_use_and_sleep, [mapped, *(segment.buf for segment in segments)])


def _use_and_sleep(buffers: list) -> None:
    for buffer in buffers:
        buffer[0] = 1
    _sleep()


def _raise_in_process(job: Path) -> None:
    try:
        raise ValueError("the process model failed")
    except ValueError:
        supervisor.report_error(job, "state_0")
    _sleep()


def _fork(function, *arguments) -> None:
    if os.fork() == 0:
        try:
            function(*arguments)
        finally:
            os._exit(0)


def _hang(job: Path) -> None:
    """Wait for ever for a message, as the runtime of Lava does."""
    receiver, _sender = multiprocessing.Pipe(duplex=False)
    Path(job, "ready").touch()
    receiver.recv()


def _sleep() -> None:
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    supervisor.die_with_parent()
    job_directory = Path(sys.argv[1])
    (job_directory / "pid").write_text(str(os.getpid()))
    globals()[(job_directory / "behaviour").read_text()](job_directory)
