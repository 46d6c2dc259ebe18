"""A job on a board host: what was asked for, how far it is; kept in a file so that it can go on."""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from s5_to_loihi.backends.divergence import RUNS
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
    REHEARSAL = "rehearsal"  #: the board's run on that: same graph, time and signs

    @property
    def measured(self) -> str:
        """What a measured profile calls it."""
        return Target.BOARD.value if self is Target.BOARD else Target.LAVA_CPU.value


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
        probes: runs that the search for the first group that differs may take.
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
    probes: int = RUNS
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
        if "/" in self.python and not self.python.startswith("/"):
            raise InputError(
                "--python",
                f"is {self.python!r}, relative to what is not known",
                "Give an absolute path on the host, or the name of a program in PATH there",
            )
        if self.directory.startswith("~") and not self._is_home:
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
    def _is_home(self) -> bool:
        return self.directory == "~" or self.directory.startswith("~/")

    @property
    def folder(self) -> str:
        """The job folder on the host, never with a leading dash."""
        directory = (
            self.directory.removeprefix("~").lstrip("/") if self._is_home else self.directory
        )
        if not posixpath.isabs(directory):
            # ssh starts in the home directory.
            directory = posixpath.join(".", directory)
        return posixpath.join(directory, self.name)


#: Options of a job by where it keeps them; the rest have names of their own in it.
_HOST = {"host": "address", "port": "port", "identity": "identity", "ssh_config": "configuration"}
_PLACEMENT = ("submission", "partition", "board", "generation", "time_limit")
#: How to reach the same host, and what runs its scripts: these may change at any time.
_ANY_TIME = frozenset(("port", "identity", "ssh_config", "python"))


def with_options(job: Job, given: Mapping[str, Any], network: str) -> Job:
    """Return a job with options that are given again when it goes on.

    A job that was not submitted becomes another one, with another folder: what lies in that of the
    old one was made for the old options.

    Args:
        job: as far as it is.
        given: option -> value, as the command ``deploy`` calls them.
        network: that it runs, for a name.

    Raises:
        InputError: the job was submitted with other options.
    """
    changes = {name: value for name, value in given.items() if _option(job, name) != value}
    host = {_HOST[name]: value for name, value in changes.items() if name in _HOST}
    placement = {name: value for name, value in changes.items() if name in _PLACEMENT}
    own = {name: changes[name] for name in changes if name not in _HOST and name not in placement}
    asked = replace(
        job,
        host=replace(job.host, **host),
        placement=replace(job.placement, **placement),
        **own,
    )
    if asked.measure and asked.lowering is Lowering.EMBEDDED:
        asked = replace(asked, measure=False)
    if asked == job:
        return job
    if job.stage in (Stage.CREATED, Stage.COPIED):
        return replace(asked, name=new_name(network), stage=Stage.CREATED)
    fixed = [f"--{name.replace('_', '-')}" for name in changes if name not in _ANY_TIME]
    if not fixed:
        return asked
    do = "Leave it out, or end the job (--cancel) and deploy anew, without --resume"
    if job.stage in (Stage.FAILED, Stage.FETCHED):
        do = "Deploy anew, without --resume"
    what = f"cannot change any more: job {job.name} was submitted with another value"
    raise InputError(", ".join(fixed), what, do)


def _option(job: Job, name: str) -> object:
    if name in _HOST:
        return getattr(job.host, _HOST[name])
    return getattr(job.placement if name in _PLACEMENT else job, name)


def new_name(network: str) -> str:
    """Return a name for a job that no other job has."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", network).strip("-")[:24]
    return f"s5-{readable}-{secrets.token_hex(6)}".replace("--", "-")


def save(job: Job, results: str | os.PathLike[str]) -> None:
    """Write down how far a job is, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    write_record(job, Path(results) / FILE, _SCHEMA)


def read(results: str | os.PathLike[str]) -> Job | None:
    """Read what ``save`` wrote; None if there is nothing.

    Raises:
        InputError: the file is not what was written.
    """
    file = Path(results) / FILE
    if not file.exists():
        return None
    try:
        return read_record(Job, file, _SCHEMA)
    except InputError as error:
        what = f"does not describe a job ({error})"
        raise InputError(str(file), what, "Choose another folder (-o)") from None
