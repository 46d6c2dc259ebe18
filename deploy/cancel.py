"""Ends the job of a job folder, and returns when nothing of it runs any more.

    python program/deploy/cancel.py --name NAME -- JOB_FOLDER

Also finds a job whose submission was cut off before it was noted down. Nothing is deleted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import job_files

#: SLURM sends SIGKILL some seconds after SIGTERM (KillWait, 30 s by default).
END_SECONDS = 60.0
#: A job without SLURM gets this long to end after SIGTERM.
TERMINATION_SECONDS = 10.0


def cancel(folder: Path, name: str) -> str:
    """End the job; return what was done, for people.

    Raises:
        SlurmError: SLURM refused, or the job did not end.
    """
    submitted = job_files.read_json(folder / job_files.SUBMITTED)
    submitted = submitted or job_files.read_json(folder / job_files.STARTED) or {}
    if submitted.get("process") and not submitted.get("slurm"):
        return _end_process(submitted)
    job = submitted.get("slurm") or job_files.slurm_job_named(name)
    if job is None:
        return "no job had been submitted"
    if job_files.slurm_state(job)[0] not in job_files.UNFINISHED:
        return f"SLURM job {job} had ended"
    job_files.slurm("scancel", job)
    if not job_files.wait_until(lambda: _has_ended(job), END_SECONDS):
        raise job_files.SlurmError(f"job {job} has not ended after {END_SECONDS:g} s")
    return f"SLURM job {job} is cancelled"


def _has_ended(job: str) -> bool:
    return job_files.slurm_state(job)[0] not in job_files.UNFINISHED


def _end_process(submitted: dict) -> str:
    process = submitted["process"]
    if not job_files.is_running(submitted):
        return f"process {process} had ended"
    os.kill(process, signal.SIGTERM)
    if not job_files.wait_until(lambda: not job_files.is_running(submitted), TERMINATION_SECONDS):
        os.killpg(process, signal.SIGKILL)
    return f"process {process} is ended"


def main() -> None:
    """Cancel, print what was done, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the job folder")
    parser.add_argument("--name", required=True, help="the job's name in SLURM")
    arguments = parser.parse_args()
    try:
        print(cancel(arguments.folder, arguments.name))
    except job_files.SlurmError as error:
        sys.exit(f"not cancelled: {error}")


if __name__ == "__main__":
    main()
