"""Executes tasks on a Dask cluster that is running already.

``distributed`` is an extra of this package and must be installed on the workers too, with the same
version of this package; they read checkpoints and data by the same paths. The cluster itself tries
tasks again whose worker died, as often as its ``allowed-failures`` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError
from typing import Any

from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.tasks.task import Outcome, Task, attempt, died

#: Within which a scheduler must answer.
CONNECT_SECONDS = 15
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")


class ClusterError(S5ToLoihiError):
    """A Dask cluster cannot be used."""


def execute(
    tasks: Iterable[Task], compute: Callable[[Any], Mapping[str, Any]], address: str
) -> Generator[tuple[Task, Outcome], None, None]:
    """Compute tasks on a cluster; yields each with its outcome when it is done.

    Tasks that share all steps are one job of the cluster. Closing the iterator cancels all jobs
    that have not begun.

    Args:
        tasks: to compute.
        compute: payload -> metrics; a function that the workers can import.
        address: of the scheduler, ``tcp://host:port``.

    Raises:
        ClusterError: distributed is not installed, or the scheduler does not answer or went away.
    """
    try:
        from distributed import Client, as_completed
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

        def submit(job: list[Task]) -> Any:
            payloads = [task.payload for task in job]
            return client.submit(_compute_all, compute, payloads, pure=False)

        running = {submit(job): job for job in jobs.values()}
        suspects: list[Task] = []
        try:
            for future in as_completed(list(running), loop=client.loop):
                job = running.pop(future)
                outcomes = _result(future, address)
                if outcomes is None:
                    suspects += job
                else:
                    yield from zip(job, outcomes, strict=True)
            # A worker takes everything with it that waits there. Alone, only the one to blame dies.
            for task in suspects:
                future = submit([task])
                running = {future: [task]}
                outcomes = _result(future, address)
                yield task, outcomes[0] if outcomes else died("was lost, even with no other task")
            running = {}
        finally:
            client.cancel(list(running), force=True)


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
