"""Submits the job of a job folder to SLURM, or starts it without; once, however often it is called.

    python program/deploy/submit.py --name NAME [--direct] -- JOB_FOLDER

Prints what was submitted as JSON: {"slurm": "42"} or {"process": 4711, "start_time": "..."}; or
{"refused": "why"}. If an answer was lost, calling it again finds the job by its marker file, by its
name in SLURM's queue, or by what the running job itself has written.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import job_files

SCRIPT = "job.sh"
#: A job without SLURM makes its folder's ``started.json`` within this many seconds.
START_SECONDS = 30


def submit(folder: Path, name: str, direct: bool) -> dict:
    """Return what was submitted, now or by an earlier call.

    Raises:
        SlurmRefusal: SLURM refused the job.
        SlurmError: SLURM did not answer; it may have taken the job.
    """
    with open(folder / "lock", "w") as lock:
        with suppress(OSError):  # some file systems have no locks; the job itself runs once anyway
            fcntl.flock(lock, fcntl.LOCK_EX)
        submitted = job_files.read_json(folder / job_files.SUBMITTED)
        if submitted is None:
            submitted = _found(folder, name, direct)
            if submitted is None:
                submitted = _start(folder) if direct else _sbatch(folder, name)
            job_files.write_json(folder / job_files.SUBMITTED, submitted)
    return submitted


def _found(folder: Path, name: str, direct: bool) -> dict | None:
    """Return a job whose submission was cut off before it was noted down."""
    started = job_files.read_json(folder / job_files.STARTED)
    if started is not None:
        return {"slurm": started["slurm"]} if started.get("slurm") else started
    if direct:
        return None
    job = job_files.slurm_job_named(name)
    return {"slurm": job} if job else None


def _sbatch(folder: Path, name: str) -> dict:
    script = folder / job_files.PROGRAM / SCRIPT
    printed = job_files.slurm(
        "sbatch", "--parsable", f"--job-name={name}", f"--chdir={folder}", str(script)
    )
    # With several clusters: number;cluster.
    return {"slurm": printed.strip().split(";")[0]}


def _start(folder: Path) -> dict:
    """Start the job's script in a session of its own, and wait for its sign of life."""
    with open(folder / job_files.LOG, "ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", str(folder / job_files.PROGRAM / SCRIPT)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = folder / job_files.STARTED
    job_files.wait_until(
        lambda: started.exists() or process.poll() is not None, seconds=START_SECONDS
    )
    return {"process": process.pid, "start_time": job_files.start_time(process.pid)}


def main() -> None:
    """Submit, print, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the job folder; program/ lies in it")
    parser.add_argument("--name", required=True, help="the job's name in SLURM, used once only")
    parser.add_argument("--direct", action="store_true", help="start it here, without SLURM")
    arguments = parser.parse_args()
    try:
        submitted = submit(arguments.folder.resolve(), arguments.name, arguments.direct)
    except job_files.SlurmRefusal as refusal:
        submitted = {"refused": str(refusal)}
    except job_files.SlurmError as error:
        sys.exit(str(error))
    print(json.dumps(submitted))


if __name__ == "__main__":
    main()
