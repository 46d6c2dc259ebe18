"""Executes tasks in processes of this machine that may die.

A pool of the standard library or of joblib fails as a whole when one of its workers dies, and does
not say which task was to blame. Here each worker has a pipe of its own: when it breaks, its task is
known, and the others go on. Workers are started afresh (spawn), use one thread each, and never
outlive this process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.tasks.task import RETRIES, Outcome, Task, attempt, died, too_long

#: Libraries read these when they start: N workers with a thread a processor each would only get
#: in each other's way, and sums in another order would change last digits.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: What a worker sends when it has started.
READY = "ready"
#: Granted to a worker that broke its pipe to end by itself, so that it can be said how.
END_SECONDS = 10.0


class WorkerError(S5ToLoihiError):
    """Worker processes cannot be started."""


@dataclass(eq=False)
class Worker:
    """A process at work.

    Attributes:
        process, connection: of the worker.
        task: that it does now; None while it starts or waits.
        last: that it did last: what it still remembers of it need not be computed again.
        ready: whether it has started.
        since: when it began its task, by the monotonic clock.
    """

    process: multiprocessing.process.BaseProcess
    connection: multiprocessing.connection.Connection
    task: Task | None = None
    last: Task | None = None
    ready: bool = False
    since: float = 0.0


def execute(
    tasks: Iterable[Task],
    compute: Callable[[Any], Mapping[str, Any]],
    jobs: int,
    timeout: float | None = None,
) -> Generator[tuple[Task, Outcome], None, None]:
    """Compute tasks in worker processes; yields each with its outcome when it is done.

    Closing the iterator, or an exception in it such as an interrupt, ends all workers at once, and
    removes what they have in their folder for temporary files.

    Args:
        tasks: to compute, in the order to begin them where nothing speaks for another.
        compute: payload -> metrics; a function that can be imported.
        jobs: worker processes at most.
        timeout: seconds that a task may take; one that takes longer is ended with its worker, and
            not tried again. None is no limit.

    Raises:
        WorkerError: workers end before they begin.
    """
    remaining = list(tasks)
    deaths: Counter[str] = Counter()
    workers: list[Worker] = []
    failed_starts = 0
    place = tempfile.mkdtemp(prefix="s5_to_loihi_")
    try:
        while remaining or any(worker.task for worker in workers):
            starting = sum(not worker.ready for worker in workers)
            while len(workers) < jobs and starting < len(remaining):
                with interrupt_put_off():
                    workers.append(_start(compute, place))
                starting += 1
            waiting = [worker for worker in workers if not _is_idle(worker)]
            answering = multiprocessing.connection.wait(
                [one.connection for one in waiting], _seconds_left(waiting, timeout)
            )
            for worker in [one for one in waiting if _seconds_left([one], timeout) == 0]:
                if worker.connection not in answering:
                    waiting.remove(worker)
                    workers.remove(worker)
                    worker.process.kill()
                    _end(worker)
                    assert worker.task is not None
                    assert timeout is not None
                    yield worker.task, too_long(timeout)
            for worker in [one for one in waiting if one.connection in answering]:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    how = _end(worker)
                    if worker.task is None:
                        failed_starts += 1
                        _check_starts(failed_starts, how)
                        continue
                    deaths[worker.task.key] += 1
                    if deaths[worker.task.key] > RETRIES:
                        yield worker.task, died(f"{how}, {RETRIES + 1} times out of {RETRIES + 1}")
                    else:
                        remaining.insert(0, worker.task)
                    continue
                if worker.task is None:
                    worker.ready, failed_starts = True, 0
                else:
                    task = worker.last = worker.task
                    worker.task = None
                    yield task, message
            for worker in filter(_is_idle, workers):
                worker.task = _next(worker, workers, remaining)
                if worker.task is not None:
                    worker.since = time.monotonic()
                    remaining.remove(worker.task)
                    with contextlib.suppress(OSError):  # it died: seen when it is waited for
                        worker.connection.send(worker.task.payload)
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _end(worker)
        shutil.rmtree(place, ignore_errors=True)


def _seconds_left(workers: Iterable[Worker], timeout: float | None) -> float | None:
    """Return in how many seconds the first of them has taken too long; None if none can."""
    if timeout is None:
        return None
    now = time.monotonic()
    left = [max(0.0, worker.since + timeout - now) for worker in workers if worker.task is not None]
    return min(left, default=None)


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_starts(failed: int, how: str) -> None:
    if failed > RETRIES:
        raise WorkerError(
            "processes",
            f"a worker process {how} before it had started, {failed} times",
            "See what it printed; a script of your own that starts processes needs"
            " 'if __name__ == \"__main__\":'",
        )


def _is_idle(worker: Worker) -> bool:
    return worker.ready and worker.task is None


def _next(worker: Worker, workers: list[Worker], remaining: list[Task]) -> Task | None:
    """Choose what shares most steps with the worker's last task, and fewest with the others'.

    What shares all steps with another worker's task, present or last, is left to that worker, which
    need not compute them again. None if there is nothing else.
    """
    others = [other.task or other.last for other in workers if other is not worker]
    theirs = [task for task in others if task]
    own = worker.last

    def preference(task: Task) -> tuple[int, int]:
        with_others = max((_shared(task, other) for other in theirs), default=0)
        return (_shared(task, own) if own else 0, -with_others)

    allowed = [
        task
        for task in remaining
        if (own and task.steps == own.steps) or all(task.steps != one.steps for one in theirs)
    ]
    return max(allowed, key=preference, default=None)  # the first of equals


def _shared(one: Task, other: Task) -> int:
    """Count the first steps that two tasks have in common."""
    equal = [mine == its for mine, its in zip(one.steps, other.steps, strict=True)]
    return (*equal, False).index(False)


def _start(compute: Callable[[Any], Mapping[str, Any]], place: str) -> Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, compute), daemon=True)
    # Workers are killed: what they have in a temporary folder has to go with this process's own.
    changed = {**dict.fromkeys(THREAD_VARIABLES, "1"), "TMPDIR": place}
    before = {name: os.environ.get(name) for name in changed}
    try:
        os.environ.update(changed)
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        theirs.close()
    return Worker(process, ours)


@contextlib.contextmanager
def interrupt_put_off() -> Iterator[None]:
    """Put an interrupt from the keyboard off until the block is done; it is not lost.

    It goes to all processes, and only this one answers it: what is blocked here stays blocked in
    the workers that are started in the block.
    """
    # Python's resource tracker unblocks the signal when it starts, so it has to run before.
    multiprocessing.resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    came: list[int] = []
    handler = None
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGINT)
    if handler is not None:
        # Another thread, that of a progress bar, may take the signal: Python still answers it here.
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(signal.SIGINT)


def _end(worker: Worker) -> str:
    """Wait for the end of a process that has been killed or has died; say how it ended."""
    worker.process.join(END_SECONDS)
    worker.process.kill()
    worker.process.join()
    code = worker.process.exitcode or 0
    worker.connection.close()
    worker.process.close()
    return how_it_ended(code)


def how_it_ended(code: int) -> str:
    """Say what a process's exit code means: ``was killed by SIGKILL``."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"


def die_with_parent() -> None:
    """Have this process of ``multiprocessing`` killed when its parent ends."""

    def wait_for_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_parent, name="die_with_parent", daemon=True).start()


def _work(
    connection: multiprocessing.connection.Connection,
    compute: Callable[[Any], Mapping[str, Any]],
) -> None:
    """Compute what comes through the pipe, until this process is killed or its parent ends."""
    die_with_parent()
    with contextlib.suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            connection.send(attempt(compute, connection.recv()))
