"""The files of a job folder, and SLURM's programs: what the other scripts here share.

A job folder is the working directory of one job. It holds ``program`` (the unpacked archive) and

    submitted.json   {"slurm": job id} or {"process": ...}: written once, after submission
    started.json     made exclusively by the job itself: no job runs twice
    status.json      {"phase", "done", "total"} while it runs
    log.txt          standard output and error of the job
    result/          outputs.npy and measured.json, there as a whole or not at all
    ended.json       {"exit_code", "phase", "error"}; its last word

Only the standard library is needed, so that the scripts can say what else is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

SUBMITTED, STARTED, STATUS = "submitted.json", "started.json", "status.json"
LOG, RESULT, ENDED = "log.txt", "result", "ended.json"
PROGRAM = "program"
#: Where INRC hosts keep SLURM's programs; a shell without a terminal may not have it in PATH.
INRC_PROGRAMS = "/nfs/ncl/bin"
#: SLURM answers within a second or two unless its controller is down.
SLURM_SECONDS = 60
#: States of a SLURM job that is waiting, running or about to end.
UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED")


class SlurmError(Exception):
    """A program of SLURM is missing, refused or did not answer; the message says which."""


class SlurmRefusal(SlurmError):
    """A program of SLURM is missing or refused: nothing was done."""


def write_json(path: Path, content: dict) -> None:
    """Write a small file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> dict | None:
    """Return what a file holds; None if it is not there."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def slurm(*command: str) -> str:
    """Run a program of SLURM and return what it prints.

    Raises:
        SlurmRefusal: it is missing or ended with an error.
        SlurmError: it did not answer.
    """
    search_path = os.pathsep.join([os.environ.get("PATH", os.defpath), INRC_PROGRAMS])
    environment = {**os.environ, "PATH": search_path}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLURM_SECONDS,
        )
    except FileNotFoundError:
        raise SlurmRefusal(
            f"{command[0]} is not on this host: is it the SLURM host? If it is, put the folder of"
            " SLURM's programs into PATH (~/.bashrc)"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within {SLURM_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).split("\n")
        said = [line.strip() for line in said if line.strip()] or [f"exit code {done.returncode}"]
        raise SlurmRefusal(f"{command[0]} failed: {said[-1]}")
    return done.stdout


def slurm_state(job: str) -> tuple[str, str]:
    """Return the state and its reason of a SLURM job; ("GONE", "") if SLURM has forgotten it.

    Raises:
        SlurmError: SLURM does not answer.
    """
    try:
        described = slurm("scontrol", "--oneliner", "show", "job", job)
    except SlurmError as error:
        if "Invalid job id" in str(error):
            return "GONE", ""
        raise
    fields = dict(word.partition("=")[::2] for word in described.split() if "=" in word)
    return fields.get("JobState", "GONE"), fields.get("Reason", "")


def slurm_job_named(name: str) -> str | None:
    """Return a job of SLURM's queue by its name; None if there is none.

    Raises:
        SlurmError: SLURM does not answer.
    """
    jobs = slurm("squeue", "--noheader", f"--name={name}", "--format=%A").split()
    return jobs[0] if jobs else None


def start_time(process: int) -> str | None:
    """Return when a process started, in the kernel's ticks; None if it has ended."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/stat").read_text()
        # The name, in parentheses, may hold anything; the state follows it.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return None


def is_running(submitted: dict) -> bool:
    """Tell whether a job that was started without SLURM still runs."""
    started = start_time(submitted["process"])
    return started is not None and started == submitted["start_time"]


def wait_until(ended, seconds: float) -> bool:
    """Wait until a condition holds; tell whether it does."""
    limit = time.monotonic() + seconds
    while not ended():
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)
    return True
