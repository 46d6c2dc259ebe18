"""Executes tasks on a Dask cluster that is running already.

``distributed`` is an extra of this package and must be installed on the workers too, with the same
version of this package; they read checkpoints and data by the same paths. The cluster itself tries
tasks again whose worker died, as often as its ``allowed-failures`` says.
"""

from __future__ import annotations

import contextlib
import queue
import re
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.tasks.task import Outcome, Task, attempt, died, too_long

#: Within which a scheduler must answer.
CONNECT_SECONDS = 15
#: How long a cluster may have no worker, and how often is looked for some.
WORKER_SECONDS, LOOK_SECONDS = 60, 5
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")


class ClusterError(S5ToLoihiError):
    """A Dask cluster cannot be used."""


def execute(
    tasks: Iterable[Task],
    compute: Callable[[Any], Mapping[str, Any]],
    address: str,
    timeout: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Generator[tuple[Task, Outcome], None, None]:
    """Compute tasks on a cluster; yields each with its outcome when it is done.

    Tasks that share all steps are one job of the cluster. Closing the iterator cancels all jobs
    that have not begun.

    Args:
        tasks: to compute.
        compute: payload -> metrics; a function that the workers can import.
        address: of the scheduler, ``tcp://host:port``.
        timeout: seconds that a task may take. A cluster does not say when one begins: jobs are
            given up when none has ended for as long as the longest may take. None is no limit.
        say: told what is waited for.

    Raises:
        ClusterError: distributed is not installed, the scheduler does not answer or went away, or
            has no workers, free ones or any.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(
            "--scheduler",
            "needs distributed, which is not installed",
            'Install "s5_to_loihi[dask]"',
        ) from None
    if not ADDRESS.fullmatch(address):
        raise ClusterError(
            f"--scheduler {address}", "is no address of a scheduler", "Give tcp://HOST:PORT"
        )
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(
            address, f"no Dask scheduler answers there ({reason})", "Start one: dask scheduler"
        ) from None
    with client:
        jobs: dict[tuple, list[Task]] = {}
        for task in tasks:
            jobs.setdefault(task.steps, []).append(task)
        ended = _Ended(client, address, timeout, say)

        def submit(job: list[Task]) -> Any:
            payloads = [task.payload for task in job]
            future = client.submit(_compute_all, compute, payloads, pure=False)
            future.add_done_callback(ended.queue.put)
            return future

        running = {submit(job): job for job in jobs.values()}
        suspects: list[Task] = []
        try:
            while running:
                future = ended.next(running.values())
                if future is None:
                    yield from _given_up(client, address, running, timeout)
                    break
                job = running.pop(future)
                outcomes = _result(future, address)
                if outcomes is None:
                    suspects += job
                else:
                    yield from zip(job, outcomes, strict=True)
            # A worker takes everything with it that waits there. Alone, only the one to blame dies.
            for task in suspects:
                running = {submit([task]): [task]}
                future = ended.next(running.values())
                if future is None:
                    yield from _given_up(client, address, running, timeout)
                    continue
                outcomes = _result(future, address)
                yield task, outcomes[0] if outcomes else died("was lost, even with no other task")
            running = {}
        finally:
            client.cancel(list(running), force=True)


class _Ended:
    """Waits for jobs of a cluster, and looks meanwhile whether anybody works on them.

    Attributes:
        queue: of the futures that have ended, in that order.
    """

    def __init__(
        self, client: Any, address: str, timeout: float | None, say: Callable[[str], None]
    ):
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._client, self._address = client, address
        self._timeout, self._say = timeout, say

    def next(self, jobs: Collection[list[Task]]) -> Any:
        """Return the next future that has ended; None if that takes too long.

        Raises:
            ClusterError: there are no workers.
        """
        began = time.monotonic()
        longest = max(map(len, jobs))
        without: float | None = None
        while True:
            with contextlib.suppress(queue.Empty):
                return self.queue.get(timeout=LOOK_SECONDS if without is None else 1)
            now = time.monotonic()
            if self._has_workers():
                without = None
                if self._timeout is not None and now - began > self._timeout * longest:
                    return None
            elif without is None:
                without = now
                self._say(
                    f"{self._address} has no workers; waiting {WORKER_SECONDS} s for one"
                    f" (dask worker {self._address})"
                )
            elif now - without > WORKER_SECONDS:
                what = f"has no workers, and none came within {WORKER_SECONDS} s"
                raise ClusterError(
                    self._address,
                    what,
                    f"Start some, as 'dask worker {self._address}', and the sweep again",
                )

    def _has_workers(self) -> bool:
        try:
            return bool(self._client.nthreads())
        except (OSError, TimeoutError):
            return True  # the scheduler does not answer: what becomes of the jobs will tell


def _given_up(
    client: Any, address: str, running: dict[Any, list[Task]], timeout: float | None
) -> Iterator[tuple[Task, Outcome]]:
    """Yield the tasks that workers hang in; their workers are lost for others.

    Raises:
        ClusterError: other tasks wait for these workers.
    """
    assert timeout is not None
    hang = {key for keys in client.processing().values() for key in keys}
    waiting = 0
    for future, job in list(running.items()):
        if future.key in hang:
            del running[future]
            client.cancel([future], force=True)
            yield from ((task, too_long(timeout)) for task in job)
        else:
            waiting += len(job)
    if waiting:
        raise ClusterError(
            address,
            f"has no free worker for {waiting} points: others did not end within {timeout:,g} s",
            "Start its workers anew, and the sweep again",
        )


def _result(future: Any, address: str) -> list[Outcome] | None:
    """Return the outcomes of a job when it is done, or None if its workers died.

    Raises:
        ClusterError: the scheduler went away, or somebody cancelled the job.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return None
    except CancelledError as error:
        raise ClusterError(
            address,
            f"gave up a job ({' '.join(str(error).split())[:200]})",
            "Start the sweep again when the cluster is back",
        ) from None


def _compute_all(compute: Callable[[Any], Mapping[str, Any]], payloads: list[Any]) -> list[Outcome]:
    return [attempt(compute, payload) for payload in payloads]
