"""Runs a bundle on tokens, on the board or under Lava's CPU simulator, and never hangs.

    python program/deploy/run_on_board.py BUNDLE TOKENS.npy --job FOLDER --target board

Writes ``FOLDER/result/outputs.npy`` (tokens, batch, outputs) int64, ``FOLDER/result/
measured.json`` (docs/profiling.md of s5_to_loihi) and, if outputs differ from the interpreter's,
``FOLDER/result/divergence.json`` (the first group that differs), together or not at all; meanwhile
``FOLDER/status.json`` says what it is doing. The work is done by a process in a session of its own,
which is killed when a phase (prepare, run, write) takes longer than its limit or when this one is
told to end. Needs nothing installed: s5_to_loihi lies beside this folder.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import job_files

WORKER = Path(__file__).resolve().with_name("worker.py")
TARGETS = ("board", "lava-cpu", "rehearsal")
LOWERINGS = ("microcode", "stock", "embedded")
POLL_SECONDS = 0.1
#: What a phase may take, in seconds: imports; the run, before which Lava's compiler may work for
#: many minutes; two small files. A job of SLURM also has SLURM's limit.
LIMITS = {"prepare": 300.0, "run": 14400.0, "write": 60.0}
#: What is left of a killed run may take this long to end by itself, and again when it is killed.
ORPHAN_SECONDS = 3.0
#: Of <linux/prctl.h>.
PR_SET_CHILD_SUBREAPER = 36
#: Exit codes: of a failure, and of a shell's when SIGTERM ends it.
FAILED, TERMINATED = 1, 128 + signal.SIGTERM
#: Kept free for the last word of a job on a disk that became full.
RESERVE, RESERVE_BYTES = ".reserve", 1 << 16


class Terminated(Exception):
    """SIGTERM: the job was cancelled, or its time in SLURM is up."""


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path, help="made by 's5-to-loihi compile' or 'quantize'")
    parser.add_argument("tokens", type=Path, help=".npy: (tokens, batch, input features) integers")
    parser.add_argument("--job", type=Path, default=Path(), help="folder to write into")
    parser.add_argument("--target", choices=TARGETS, default="board", help="what to run on")
    parser.add_argument("--mode", choices=("pipelined", "fall-through"), default="pipelined")
    parser.add_argument(
        "--fine-grained",
        action="store_true",
        help="lava-cpu: one Lava process a neuron group, as on the chip, not one for all",
    )
    parser.add_argument("--microcode", type=Path, help="board: folder of your microcode files")
    parser.add_argument(
        "--lowering", choices=LOWERINGS, default="microcode", help="board: what computes neurons"
    )
    for name in ("--input-latency", "--output-latency"):
        parser.add_argument(name, type=int, default=0, help="board: timesteps to or from the chip")
    parser.add_argument("--no-measure", action="store_true", help="board: outputs only")
    parser.add_argument(
        "--probes",
        type=int,
        default=16,
        help="board, rehearsal: runs at most to find the first group that differs (default 16)",
    )
    for phase, limit in LIMITS.items():
        parser.add_argument(
            f"--{phase}-seconds", type=float, default=limit, help=f"limit (default {limit:g})"
        )
    return parser.parse_args()


def supervise(arguments: argparse.Namespace) -> int:
    """Start the worker, watch it, and leave the job's last word; return the exit code."""
    job = arguments.job.resolve()
    started = {
        "slurm": os.environ.get("SLURM_JOB_ID"),
        "process": os.getpid(),
        "start_time": job_files.start_time(os.getpid()),
    }
    draft = job / f".{job_files.STARTED}.{os.getpid()}"
    draft.write_text(json.dumps(started))
    try:
        os.link(draft, job / job_files.STARTED)  # whole, and by one job only
    except FileExistsError:
        print(f"{job}: its job has been started before; make a new folder", file=sys.stderr)
        return FAILED
    finally:
        draft.unlink()
    (job / RESERVE).write_bytes(bytes(RESERVE_BYTES))
    _adopt_orphans()
    try:
        signal.signal(signal.SIGTERM, _terminate)
        # Killed processes leave what they have in their temporary folder: it goes with them.
        with tempfile.TemporaryDirectory(
            prefix="s5_to_loihi_", ignore_cleanup_errors=True
        ) as folder:
            error, code = _watched_worker(job, folder, arguments)
    except Terminated:
        error, code = "it was cancelled, or its time in SLURM was up (SIGTERM)", TERMINATED
    (job / RESERVE).unlink(missing_ok=True)
    if error:
        with suppress(OSError):  # the log's disk may be full
            print(f"error: {error}", file=sys.stderr, flush=True)
    phase = (job_files.read_json(job / job_files.STATUS) or {}).get("phase", "start")
    ended = {"exit_code": code, "phase": phase, "error": error}
    job_files.write_json(job / job_files.ENDED, ended)
    return code


def _watched_worker(job: Path, temporary: str, arguments: argparse.Namespace):
    """Run the worker; return (error, exit code) when nothing of it is left."""
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), *sys.argv[1:]],
        env={**os.environ, "TMPDIR": temporary},
        start_new_session=True,
    )
    try:
        return _watch(worker, job, arguments)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        _end_children()


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent has ended, where the kernel can do that."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_children() -> None:
    """Wait until all of the run has ended, and end what does not.

    A Lava run has a session of its own that ends, and tidies up, when it misses the worker; unless
    SLURM has told some of its processes to end and overlooked others.
    """
    if not job_files.wait_until(_has_no_children, ORPHAN_SECONDS):
        job_files.wait_until(_has_no_children_left_to_kill, ORPHAN_SECONDS)


def _has_no_children() -> bool:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
        return False
    return True


def _has_no_children_left_to_kill() -> bool:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(OSError):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    return _has_no_children()


def _terminate(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _watch(worker: subprocess.Popen, job: Path, arguments: argparse.Namespace):
    """Return (error, exit code) of the worker; the error is None if all went well."""
    limits = {phase: getattr(arguments, f"{phase}_seconds") for phase in LIMITS}
    phase, since = "prepare", time.monotonic()
    while worker.poll() is None:
        status = job_files.read_json(job / job_files.STATUS) or {"phase": phase}
        if status["phase"] != phase:
            phase, since = status["phase"], time.monotonic()
        if time.monotonic() - since > limits[phase]:
            option = f"--{phase}-seconds"
            return f"phase '{phase}' was not done after {limits[phase]:g} s ({option})", FAILED
        time.sleep(POLL_SECONDS)
    if worker.returncode == 0 and (job / job_files.RESULT).is_dir():
        return None, 0
    if worker.returncode < 0:
        name = signal.Signals(-worker.returncode).name
        return f"the worker was killed by {name}, perhaps out of memory", FAILED
    said = job_files.read_json(job / "error.json") or {}
    error = said.get("error", f"the worker ended with exit code {worker.returncode}")
    return error, worker.returncode or FAILED


if __name__ == "__main__":
    sys.exit(supervise(parse()))
