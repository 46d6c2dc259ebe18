"""A deployment from where a job stands to its verified result; what to do if that is cut off."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.deployment import archive, commands, result, slurm, steps
from s5_to_loihi.deployment.job import FILE, Job, Stage, read, save
from s5_to_loihi.deployment.remote import RemoteError
from s5_to_loihi.deployment.result import Result
from s5_to_loihi.deployment.steps import LOG_FILE
from s5_to_loihi.errors import DeploymentError, InputError, InterruptedDeployment

#: What is called with the events of a deployment, each one mapping: ``doing`` (a step begins),
#: ``preflight`` (its lines), ``submitted`` (as what), and those of ``deploy/follow.py``.
Observer = Callable[[Mapping], None]


def pack(job: Job, path: str | os.PathLike[str], opened: Bundle) -> bytes:
    """Return the archive of a job."""
    script = slurm.job_script(job.placement, job.name, commands.run_on_board(job), commands.LOG)
    return archive.pack(path, _vectors(job, opened).tokens, script)


def _vectors(job: Job, opened: Bundle) -> Vectors:
    """Return the vectors of a bundle that a job runs."""
    assert opened.vectors is not None, "a job is made for what a bundle has recorded"
    return opened.vectors.first(job.tokens, job.sequences)


@contextmanager
def alone(results: str | os.PathLike[str]) -> Iterator[None]:
    """Make a results folder if it is not there, and keep other deployments out of it meanwhile.

    Raises:
        DeploymentError: another one is at work there.
        InputError: it cannot be made.
    """
    try:
        Path(results).mkdir(parents=True, exist_ok=True)
        folder = os.open(results, os.O_RDONLY)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise InputError(str(results), what, "Choose another folder (-o)") from None
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another deployment is at work there"
            do = "Wait for it, or choose another folder (-o)"
            raise DeploymentError(str(results), what, do) from None
        except OSError:
            pass  # some file systems have no locks
        yield
    finally:
        os.close(folder)


def begin(job: Job, results: str | os.PathLike[str]) -> None:
    """Take a results folder for a new job; what an earlier one left stays until it is submitted.

    Raises:
        DeploymentError: an earlier job there is not done with.
        InputError: the folder holds something else, or cannot be written.
    """
    earlier = read(results)
    if earlier is not None and earlier.stage in (Stage.SUBMITTING, Stage.SUBMITTED):
        raise DeploymentError(
            str(results),
            f"job {earlier.name} on {earlier.host.address} is not done with",
            "Go on with it (--resume), end it (--cancel), or choose another folder (-o)",
        )
    if earlier is None and any(Path(results).iterdir()):
        what = f"holds other files and no {FILE}"
        raise InputError(str(results), what, "Choose another folder (-o)")
    save(job, results)


def go_on(
    job: Job,
    results: str | os.PathLike[str],
    path: str | os.PathLike[str],
    opened: Bundle,
    observe: Observer,
) -> Result:
    """Do what is left of a job.

    Args:
        job: as far as it is.
        results: local folder with its state.
        path, opened: the bundle, the same as before.
        observe: see ``Observer``.

    Returns:
        The result, read and compared; ``result.require_equal`` judges it.

    Raises:
        ConnectionLost, RemoteFailure, CapacityError: it was not submitted, or may go on; the
            message says which.
        DeploymentError: the job failed, or its result is not usable.
        InterruptedDeployment: by Ctrl-C.
    """
    results = Path(results)
    vectors = _vectors(job, opened)
    try:
        if job.stage is Stage.CREATED:
            observe({"doing": "Copying"})
            save(job := steps.copy(job, pack(job, path, opened)), results)
        if job.stage is Stage.COPIED:
            observe({"doing": "Checking the host"})
            observe({"preflight": (lines := steps.check(job))})
            steps.require_fit(job, lines)
        if job.stage in (Stage.COPIED, Stage.SUBMITTING):
            observe({"doing": "Submitting"})
            job, number = steps.submit(job, results)
            observe({"submitted": number})
        if job.stage is Stage.SUBMITTED:
            observe({"doing": "Following"})
            job = steps.follow(job, results, observe)
        if job.stage is Stage.SUBMITTED:
            observe({"doing": "Fetching"})
            job = steps.fetch(job, results, vectors, opened.network)
    except RemoteError as error:
        do = ". ".join(filter(None, [error.do, what_goes_on(results)]))
        raise type(error)(error.where, error.what, do) from None
    except KeyboardInterrupt:
        raise InterruptedDeployment(
            str(results), "you stopped watching", what_goes_on(results)
        ) from None
    if job.stage is Stage.FAILED:
        what = f"the job failed: {job.error}"
        raise DeploymentError(job.host.address, what, f"Its log is {results / LOG_FILE}")
    return result.read_result(results, job, vectors, opened.network)


def cancel(job: Job, results: str | os.PathLike[str]) -> str:
    """End a job on the host; return what was done, for people.

    Raises:
        ConnectionLost, RemoteFailure: it may go on.
    """
    said = steps.cancel(job)
    if job.stage in (Stage.SUBMITTING, Stage.SUBMITTED):
        save(replace(job, stage=Stage.FAILED, error="it was cancelled (--cancel)"), results)
    return said


def what_goes_on(results: str | os.PathLike[str]) -> str:
    """Return what a user has to know of a job that is no longer watched."""
    job = read(results)
    folder = shlex.quote(str(results))
    resume = f"'s5-to-loihi deploy BUNDLE --resume -o {folder}'"
    if job is None or job.stage in (Stage.CREATED, Stage.COPIED):
        return f"Nothing was submitted; {resume} goes on"
    if job.stage is Stage.FETCHED:
        return f"The job has ended and its result is here; {resume} verifies it"
    may = "may go on" if job.stage is Stage.SUBMITTING else "goes on"
    cancel = f"'s5-to-loihi deploy BUNDLE --cancel -o {folder}'"
    return f"Job {job.name} {may} on {job.host.address}; {resume} takes it up, {cancel} ends it"
