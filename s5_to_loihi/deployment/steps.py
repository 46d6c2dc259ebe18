"""What a deployment does on the host; each step may be repeated after a lost answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.deployment import commands, remote, unpacking
from s5_to_loihi.deployment.job import Job, Stage, save
from s5_to_loihi.deployment.result import FOLDER, unpack_result
from s5_to_loihi.errors import CapacityError, DeploymentError, printable
from s5_to_loihi.network.network import Network

LOG_FILE = "log.txt"
#: What ``deploy/follow.py`` says, by type; the host is not trusted to say nothing else.
_EVENTS = {
    **dict.fromkeys(("log", "state", "reason", "phase"), str),
    **dict.fromkeys(("next", "done", "total"), int),
    "ended": dict,
}


def copy(job: Job, archive: bytes) -> Job:
    """Copy the archive and unpack it on the host.

    Raises:
        ConnectionLost, RemoteFailure: it is not there, and not in part either.
    """
    unpacker = Path(unpacking.__file__).read_bytes()
    remote.run(job.host, commands.copy_unpacker(job), unpacker)
    remote.run(job.host, commands.unpack(job), archive)
    return replace(job, stage=Stage.COPIED)


def check(job: Job) -> list[Mapping[str, str]]:
    """Run the preflight checks on the host; return its lines (check, state, found, do).

    Raises:
        ConnectionLost, RemoteFailure: the checks could not be run.
    """
    # Its exit code says what the lines say.
    printed = remote.run(job.host, f"{commands.preflight(job)} || true")
    lines = _last_json(job, printed)
    keys = {"check", "state", "found", "do"}
    if (
        not lines
        or not isinstance(lines, list)
        or not all(isinstance(x, dict) and x.keys() == keys for x in lines)
    ):
        raise DeploymentError(job.host.address, "preflight gave no lines", "Look at its output")
    return [{key: printable(str(line[key])) for key in keys} for line in lines]


def require_fit(job: Job, lines: list[Mapping[str, str]]) -> None:
    """Refuse to submit after a preflight that found problems.

    Raises:
        DeploymentError: a problem.
        CapacityError: the only problem is that the network does not fit.
    """
    wrong = [line for line in lines if line["state"] != "ok"]
    if not wrong:
        return
    kind = CapacityError if all(x["state"] == "does not fit" for x in wrong) else DeploymentError
    found = "; ".join(f"{line['check']}: {line['found']} -> {line['do']}" for line in wrong)
    raise kind(job.host.address, f"is not ready, nothing was submitted. {found}")


def submit(job: Job, results: Path) -> tuple[Job, str]:
    """Submit the job, once however often this is called; return it and what it is called there.

    Raises:
        ConnectionLost, RemoteFailure: it may have been submitted, or was refused, as ``results``
            then says; calling this again finds out.
    """
    save(job := replace(job, stage=Stage.SUBMITTING), results)
    printed = remote.run(job.host, commands.submit(job))
    submitted = _last_json(job, printed)
    if not isinstance(submitted, dict) or not submitted.keys() & {"refused", "slurm", "process"}:
        raise _unreadable(job, printed)
    if "refused" in submitted:
        save(replace(job, stage=Stage.COPIED), results)
        raise remote.RemoteFailure(job.host.address, printable(str(submitted["refused"])))
    # From here on the folder is this job's: no result of an earlier one may be taken for its own.
    shutil.rmtree(results / FOLDER, ignore_errors=True)
    save(job := replace(job, stage=Stage.SUBMITTED), results)
    if "slurm" in submitted:
        return job, printable(f"SLURM job {submitted['slurm']}")
    return job, printable(f"process {submitted['process']}")


def follow(job: Job, results: Path, on_event: Callable[[Mapping], None]) -> Job:
    """Follow the job to its end; the log grows in ``results/log.txt``.

    Args:
        job: submitted.
        results: local folder.
        on_event: called with what ``deploy/follow.py`` says: log, state, phase.

    Returns:
        The job; its stage is FAILED, with the error, if it gave no result.

    Raises:
        ConnectionLost: the job goes on.
    """
    ended = None
    with remote.reading(job.host, commands.follow(job)) as said, _log(job, results) as log:
        for line in remote.lines(said):
            event = _event(line)
            if "log" in event and "next" in event:
                text = printable(str(event["log"]))
                log.write(text)
                log.flush()
                save(job := replace(job, log_bytes=event["next"]), results)
            ended = event.get("ended", ended)
            on_event(event)
    if ended is None:
        raise remote.ConnectionLost(job.host.address, "the connection broke", "Try again")
    if ended.get("exit_code") != 0:
        error = f"{ended.get('error')} (phase '{ended.get('phase')}')"
        job = replace(job, stage=Stage.FAILED, error=printable(error))
        save(job, results)
    return job


def fetch(job: Job, results: Path, vectors: Vectors, network: Network) -> Job:
    """Fetch the result, see ``result.unpack_result``.

    Raises:
        ConnectionLost, RemoteFailure: it could not be read.
        DeploymentError: it is not what a job writes, or was cut off.
    """
    with remote.reading(job.host, commands.fetch(job)) as packed:
        unpack_result(packed, results, vectors, network)
    save(job := replace(job, stage=Stage.FETCHED), results)
    return job


def cancel(job: Job) -> str:
    """End the job; return what was done, for people.

    Raises:
        ConnectionLost, RemoteFailure: it may go on.
    """
    if job.stage is Stage.CREATED:
        return "nothing had been submitted"
    return printable(remote.run(job.host, commands.cancel(job)).decode().strip())


def _log(job: Job, results: Path):
    file = results / LOG_FILE
    return file.open("a" if job.log_bytes else "w", encoding="utf-8")


def _event(line: bytes) -> Mapping:
    """Return one event, with what it may hold; what a login script prints is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(event, dict):
        return {}
    return {key: value for key, value in event.items() if isinstance(value, _EVENTS.get(key, ()))}


def _last_json(job: Job, printed: bytes):
    """Return the last line that a script on the host printed, as JSON."""
    try:
        return json.loads(printed.decode(errors="replace").strip().splitlines()[-1])
    except (ValueError, LookupError, RecursionError):
        raise _unreadable(job, printed) from None


def _unreadable(job: Job, printed: bytes) -> remote.RemoteFailure:
    shown = printable(printed.decode(errors="replace").strip()[-200:])
    what = f"gave no answer that can be read ({shown!r})"
    return remote.RemoteFailure(job.host.address, what, "Try by hand")
