"""A job on a board host: what was asked for, how far it is; kept in a file so that it can go on."""

from __future__ import annotations

import posixpath
import re
import secrets
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from s5_to_loihi.deployment.remote import Host
from s5_to_loihi.deployment.slurm import NAME, Placement
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.records import Schema, read_record, write_record
from s5_to_loihi.lava_runtime.chip_plan import Lowering
from s5_to_loihi.simulators.interpreter import Mode

FILE = "job.json"
_SCHEMA = Schema(name="job", key="s5_to_loihi job", version=None, largest=1 << 20, do="")


class Target(str, Enum):
    """What a job runs the network on."""

    BOARD = "board"  #: Loihi 2, through lava-loihi
    LAVA_CPU = "lava-cpu"  #: Lava's CPU simulator on the host


class Stage(str, Enum):
    """How far a job is; in order."""

    CREATED = "created"  #: nothing is on the host yet
    COPIED = "copied"  #: the archive is unpacked there
    SUBMITTING = "submitting"  #: it may have been submitted
    SUBMITTED = "submitted"  #: it waits or runs, or has ended
    FAILED = "failed"  #: it ended without a result
    FETCHED = "fetched"  #: the result is here


@dataclass(frozen=True)
class Job:
    """One run of a bundle on a host.

    Attributes:
        name: unique; of the folder on the host and of the job in SLURM.
        host: how to reach it.
        directory: where job folders go on the host; relative to the home directory, or absolute.
        python: a program in the host's PATH, or an absolute path.
        placement: partition, board, ...
        target: what it runs on.
        mode: how tokens follow one another.
        fine_grained: ``lava-cpu`` with one process a group, as on the chip.
        lowering: what computes the neurons on a board.
        microcode: absolute path of a folder of microcode files on the host; None if not given.
        input_latency, output_latency: timesteps to and from the chip.
        measure: also time, power and activity, on a board, in runs of their own.
        tokens, sequences: of the bundle's vectors.
        bundle_digest: of the bundle's manifest.
        stage: how far it is.
        log_bytes: of the log that have been fetched.
        error: why it failed.
    """

    name: str
    host: Host
    directory: str
    python: str
    placement: Placement
    target: Target
    mode: Mode
    fine_grained: bool
    lowering: Lowering
    microcode: str | None
    input_latency: int
    output_latency: int
    measure: bool
    tokens: int
    sequences: int
    bundle_digest: str
    stage: Stage = Stage.CREATED
    log_bytes: int = 0
    error: str | None = None

    def __post_init__(self):
        if not NAME.fullmatch(self.name):
            raise InputError("job", f"is named {self.name!r}", "Use letters, digits, '-'")
        for option, value in (
            ("--directory", self.directory),
            ("--python", self.python),
            ("--microcode", self.microcode),
        ):
            if value is not None and (not value or "\0" in value):
                raise InputError(option, f"is {value!r}", "Give a path on the host")
        if self.target is Target.BOARD and self.mode is not Mode.PIPELINED:
            what = f"is {self.mode.value}: on the board every group updates every timestep"
            raise InputError("--mode", what, "Use pipelined")
        if "/" in self.python and not self.python.startswith("/"):
            raise InputError(
                "--python",
                f"is {self.python!r}, relative to what is not known",
                "Give an absolute path on the host, or the name of a program in PATH there",
            )
        if self.directory.startswith("~") and not self.directory.startswith("~/"):
            raise InputError(
                "--directory",
                f"is {self.directory!r}, which no shell will expand",
                "Give a path below your home directory on the host, or an absolute one",
            )
        if self.microcode is not None and not posixpath.isabs(self.microcode):
            raise InputError(
                "--microcode",
                f"is {self.microcode!r}, relative to what is not known",
                "Give an absolute path on the host",
            )

    @property
    def folder(self) -> str:
        """The job folder on the host, never with a leading dash."""
        directory = self.directory.removeprefix("~/")
        if not posixpath.isabs(directory):
            # ssh starts in the home directory.
            directory = posixpath.join(".", directory)
        return posixpath.join(directory, self.name)


def new_name(network: str) -> str:
    """Return a name for a job that no other job has."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", network).strip("-")[:24]
    return f"s5-{readable}-{secrets.token_hex(6)}".replace("--", "-")


def save(job: Job, results: Path) -> None:
    """Write down how far a job is, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    write_record(job, results / FILE, _SCHEMA)


def read(results: Path) -> Job | None:
    """Read what ``save`` wrote; None if there is nothing.

    Raises:
        InputError: the file is not what was written.
    """
    file = results / FILE
    if not file.exists():
        return None
    try:
        return read_record(Job, file, _SCHEMA)
    except InputError as error:
        what = f"does not describe a job ({error})"
        raise InputError(str(file), what, "Choose another folder (-o)") from None
