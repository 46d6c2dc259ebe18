"""The job script: names that SLURM and lava-loihi take, checked, and everything else quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from string import Template

from s5_to_loihi import deploy
from s5_to_loihi.backends.board import GENERATIONS
from s5_to_loihi.errors import InputError

HOST_SCRIPTS = Path(deploy.__file__).resolve().parent
#: Names of partitions and boards as SLURM writes them; nothing that a shell reads.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
GENERATION = re.compile("|".join(GENERATIONS))
#: Minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]] (man sbatch).
TIME_LIMIT = re.compile(r"([0-9]{1,4}-)?[0-9]{1,5}(:[0-9]{2}){0,2}", re.ASCII)


class Submission(str, Enum):
    """Who asks SLURM for the board."""

    SBATCH = "sbatch"  #: this program, with a job script
    EXTENSION = "extension"  #: lava-loihi itself, from a process started directly
    NONE = "none"  #: nobody: a process started directly, on the host of the board


#: What lava-loihi reads, by how a job is started.
_SLURM_VARIABLE = {
    Submission.SBATCH: {"SLURM": "1"},
    Submission.EXTENSION: {"SLURM": "1"},
    Submission.NONE: {"NOSLURM": "1"},
}


@dataclass(frozen=True)
class Placement:
    """Where a job runs.

    Attributes:
        submission: who asks SLURM.
        partition, board, generation: SLURM's partition and node, the chip's generation; None
            leaves the choice to SLURM and lava-loihi.
        time_limit: of SLURM; None is the partition's default.
    """

    submission: Submission = Submission.SBATCH
    partition: str | None = None
    board: str | None = None
    generation: str | None = None
    time_limit: str | None = None

    def __post_init__(self):
        for option, value, pattern, example in (
            ("--partition", self.partition, NAME, "oheogulch"),
            ("--board", self.board, NAME, "ncl-ext-og-04"),
            ("--generation", self.generation, GENERATION, "N3C1"),
            ("--time-limit", self.time_limit, TIME_LIMIT, "10 (minutes) or 1:30:00"),
        ):
            if value is not None and not pattern.fullmatch(value):
                raise InputError(option, f"is {value!r}", f"Give a name such as {example}")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lava-loihi reads."""
        named = {"PARTITION": self.partition, "BOARD": self.board, "LOIHI_GEN": self.generation}
        chosen = {name: value for name, value in named.items() if value is not None}
        return _SLURM_VARIABLE[self.submission] | chosen


def job_script(placement: Placement, name: str, command: Sequence[str], log: str) -> str:
    """Return the script that runs a command as a SLURM job, or without SLURM.

    Args:
        placement: where.
        name: of the job, unique, so that it can be found again.
        command: program and arguments, relative to the job folder.
        log: file that SLURM writes output to, relative to the job folder.
    """
    directives = {
        "job-name": name,
        "partition": placement.partition,
        "nodelist": placement.board,
        "time": placement.time_limit,
        "output": log,
    }
    exports = placement.environment.items()
    template = Template((HOST_SCRIPTS / "job.sh.template").read_text("utf-8"))
    return template.substitute(
        directives="\n".join(
            f"#SBATCH --{option}={value}" for option, value in directives.items() if value
        ),
        exports="\n".join(f"export {variable}={shlex.quote(value)}" for variable, value in exports),
        command=shlex.join(command),
    )
