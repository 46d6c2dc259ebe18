"""Follows the job of a job folder until it ends; one JSON object a line.

    python program/deploy/follow.py [--from BYTE] -- JOB_FOLDER

    {"log": text, "next": byte}                  new text of the log, and where it goes on
    {"state": "PENDING", "reason": "Priority"}   what SLURM says, when it changes
    {"phase": "run", "done": 3, "total": 24}     what the job says, when it changes
    {"alive": true}                              nothing new
    {"ended": {"exit_code", "phase", "error", "state"}}   the last line

It only reads: the job goes on if this is interrupted, and it can be called again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import job_files

POLL_SECONDS = 0.3
#: SLURM is asked less often: its controller serves everybody.
SLURM_POLL_SECONDS = 3.0
ALIVE_SECONDS = 2.0
#: A job that SLURM has ended may take this long to show its last file (network file systems).
LAST_WORD_SECONDS = 10.0
LARGEST_PIECE = 1 << 16
#: A disk with less is full.
LEAST_FREE_BYTES = 1 << 18


class Follower:
    """What has been said so far of one job."""

    def __init__(self, folder: Path, offset: int):
        self.folder = folder
        self.offset = offset
        self.status: dict | None = None
        self.state: tuple[str, str] = ("", "")
        self.said = time.monotonic()

    def say(self, **event) -> None:
        """Print one event; the reader may be gone, then this script ends."""
        try:
            print(json.dumps(event), flush=True)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        self.said = time.monotonic()

    def say_log(self) -> None:
        """Print the log's new text."""
        log = self.folder / job_files.LOG
        if not log.exists():
            return
        with log.open("rb") as stream:
            stream.seek(self.offset)
            while piece := stream.read(LARGEST_PIECE):
                self.offset += len(piece)
                self.say(log=piece.decode(errors="replace"), next=self.offset)

    def say_status(self) -> None:
        """Print the job's phase and progress if they have changed."""
        status = job_files.read_json(self.folder / job_files.STATUS)
        if status is not None and status != self.status:
            self.status = status
            self.say(**status)

    def runs(self, submitted: dict) -> bool:
        """Tell whether the job waits or runs, and print a new state of SLURM's."""
        if "process" in submitted:
            return job_files.is_running(submitted)
        try:
            state = job_files.slurm_state(submitted["slurm"])
        except job_files.SlurmError as error:
            state = ("UNKNOWN", str(error))
        if state != self.state:
            self.state = state
            self.say(state=state[0], reason=state[1])
        return state[0] in (*job_files.UNFINISHED, "UNKNOWN")

    def follow(self, submitted: dict) -> None:
        """Print events until the job has ended."""
        asked = -SLURM_POLL_SECONDS
        runs, ended = True, None
        while runs and ended is None:
            ended = job_files.read_json(self.folder / job_files.ENDED)
            if time.monotonic() - asked > SLURM_POLL_SECONDS:
                runs, asked = self.runs(submitted), time.monotonic()
            self.say_status()
            self.say_log()
            if time.monotonic() - self.said > ALIVE_SECONDS:
                self.say(alive=True)
            time.sleep(POLL_SECONDS)
        file = self.folder / job_files.ENDED
        job_files.wait_until(lambda: file.exists() or self._is_full(), LAST_WORD_SECONDS)
        self.say_log()
        self.say(ended=job_files.read_json(file) or self._silent_end())

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES

    def _silent_end(self) -> dict:
        """Describe the end of a job that left no last word."""
        error = "it was killed before it could say why"
        if self.state[0]:
            error += f"; SLURM says {self.state[0]}" + f" ({self.state[1]})" * bool(self.state[1])
        if self._is_full():
            error += f"; the disk of {self.folder} is full"
        phase = (self.status or {}).get("phase", "start")
        return {"exit_code": 1, "phase": phase, "error": error}


def main() -> None:
    """Follow the job that ``submit.py`` submitted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the job folder")
    parser.add_argument("--from", dest="offset", type=int, default=0, help="byte of the log")
    arguments = parser.parse_args()
    submitted = job_files.read_json(arguments.folder / job_files.SUBMITTED)
    if submitted is None:
        sys.exit(f"{arguments.folder}: no job was submitted from here")
    Follower(arguments.folder, arguments.offset).follow(submitted)


if __name__ == "__main__":
    main()
