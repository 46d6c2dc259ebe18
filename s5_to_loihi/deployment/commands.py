"""The command lines that a deployment runs in the host's shell; all names in them are quoted."""

from __future__ import annotations

import posixpath
import shlex

from s5_to_loihi.deployment.archive import BUNDLE, TOKENS
from s5_to_loihi.deployment.job import Job, Target
from s5_to_loihi.deployment.slurm import Submission

UNPACKER = "unpacking.py"
#: The unpacked archive, and what the host's scripts write, in a job folder (``deploy/job_files``).
PROGRAM, RESULT, LOG = "program", "result", "log.txt"


def copy_unpacker(job: Job) -> str:
    """Make the job folder; the unpacker's text is read from standard input."""
    folder = shlex.quote(job.folder)
    unpacker = shlex.quote(posixpath.join(job.folder, UNPACKER))
    return f"mkdir -p -- {folder} && cat > {unpacker}"


def unpack(job: Job) -> str:
    """Unpack the archive, which is read from standard input."""
    return shlex.join(
        [job.python, posixpath.join(job.folder, UNPACKER), posixpath.join(job.folder, PROGRAM)]
    )


def preflight(job: Job) -> str:
    """Check the host; prints JSON."""
    arguments = ["--json", f"--target={job.target.value}"]
    placement = job.placement
    if placement.submission is not Submission.NONE:
        arguments.append("--slurm")
    if job.target is Target.BOARD:
        arguments += [f"--lowering={job.lowering.value}", f"--mode={job.mode.value}"]
    for option, value in (
        ("--partition", placement.partition),
        ("--board", placement.board),
        ("--microcode", job.microcode),
    ):
        if value is not None:
            arguments.append(f"{option}={value}")
    bundle = posixpath.join(job.folder, PROGRAM, BUNDLE)
    return _script(job, "preflight.py", *arguments, "--", bundle)


def submit(job: Job) -> str:
    """Submit the job, once; prints JSON."""
    direct = [] if job.placement.submission is Submission.SBATCH else ["--direct"]
    return _script(job, "submit.py", f"--name={job.name}", *direct, "--", job.folder)


def follow(job: Job) -> str:
    """Follow the job; prints a JSON object a line."""
    return _script(job, "follow.py", f"--from={job.log_bytes}", "--", job.folder)


def cancel(job: Job) -> str:
    """End the job; prints what was done."""
    return _script(job, "cancel.py", f"--name={job.name}", "--", job.folder)


def fetch(job: Job) -> str:
    """Print the result as a tar archive."""
    return shlex.join(["tar", "-cf", "-", "-C", posixpath.join(job.folder, RESULT), "--", "."])


def run_on_board(job: Job) -> list[str]:
    """Return what the job script runs, in the job folder."""
    arguments = [f"--target={job.target.value}", f"--mode={job.mode.value}"]
    if job.fine_grained:
        arguments.append("--fine-grained")
    if job.target is not Target.LAVA_CPU:
        arguments.append(f"--lowering={job.lowering.value}")
        arguments.append(f"--input-latency={job.input_latency}")
        arguments.append(f"--output-latency={job.output_latency}")
        arguments += [] if job.measure else ["--no-measure"]
        arguments.append(f"--probes={job.probes}")
    if job.microcode is not None:
        arguments.append(f"--microcode={job.microcode}")
    script = f"{PROGRAM}/deploy/run_on_board.py"
    return [job.python, script, *arguments, f"{PROGRAM}/{BUNDLE}", f"{PROGRAM}/{TOKENS}"]


def _script(job: Job, name: str, *arguments: str) -> str:
    return shlex.join([job.python, posixpath.join(job.folder, PROGRAM, "deploy", name), *arguments])
