"""Runs a bundle on tokens, on the board or under Lava's CPU simulator, and never hangs.

    python program/deploy/run_on_board.py BUNDLE TOKENS.npy --job FOLDER --target board

Writes ``FOLDER/result/outputs.npy`` (tokens, batch, outputs) int64 and ``FOLDER/result/
measured.json`` (docs/profiling.md of s5_to_loihi), together or not at all; meanwhile
``FOLDER/status.json`` says what it is doing. The work is done by a process in a session of its own,
which is killed when a phase (prepare, run, write) takes longer than its limit or when this one is
told to end. Needs nothing installed: s5_to_loihi lies beside this folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import job_files

PROGRAM = Path(__file__).resolve().parents[1]
TARGETS = ("board", "lava-cpu")
LOWERINGS = ("microcode", "stock", "embedded")
#: Where the run is made: name in the profile -> the variable that lava-loihi reads.
PLACES = {"partition": "PARTITION", "board": "BOARD", "generation": "LOIHI_GEN"}
POLL_SECONDS = 0.1
#: Progress is written this often at most: a network file system is slow.
STATUS_SECONDS = 0.3
#: What a phase may take, in seconds: imports; the run, before which Lava's compiler may work for
#: many minutes; two small files. A job of SLURM also has SLURM's limit.
LIMITS = {"prepare": 300.0, "run": 14400.0, "write": 60.0}
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
    for phase, limit in LIMITS.items():
        parser.add_argument(
            f"--{phase}-seconds", type=float, default=limit, help=f"limit (default {limit:g})"
        )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the supervising process ---------------------------------------------------------------------


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
    signal.signal(signal.SIGTERM, _terminate)
    worker = subprocess.Popen([sys.executable, *sys.argv, "--worker"], start_new_session=True)
    error = None
    try:
        error, code = _watch(worker, job, arguments)
    except Terminated:
        error, code = "it was cancelled, or its time in SLURM was up (SIGTERM)", TERMINATED
    finally:
        # The Lava run below the worker has a session of its own and dies with the worker.
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    (job / RESERVE).unlink(missing_ok=True)
    if error:
        with suppress(OSError):  # the log's disk may be full
            print(f"error: {error}", file=sys.stderr, flush=True)
    phase = (job_files.read_json(job / job_files.STATUS) or {}).get("phase", "start")
    ended = {"exit_code": code, "phase": phase, "error": error}
    job_files.write_json(job / job_files.ENDED, ended)
    return code


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


# --- the worker ----------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> int:
    """Do all phases; return the exit code, after an error with ``error.json`` beside the log."""
    threading.Thread(target=_die_with, args=[os.getppid()], daemon=True).start()
    sys.path.insert(0, str(PROGRAM))
    job = arguments.job.resolve()
    try:
        _work(arguments, job)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None and not isinstance(error, (OSError, ImportError)):
            traceback.print_exc()
        message = str(error) if code else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            (job / RESERVE).unlink(missing_ok=True)
            job_files.write_json(job / "error.json", {"error": message})
        return code or FAILED
    return 0


def _die_with(parent: int) -> None:
    """End this process and its session soon after its parent has ended, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _work(arguments: argparse.Namespace, job: Path) -> None:
    status = job / job_files.STATUS
    job_files.write_json(status, {"phase": "prepare", "done": 0, "total": 1})
    import numpy as np

    from s5_to_loihi import bundle
    from s5_to_loihi.profiling.measured import write_measured

    network = bundle.read(arguments.bundle).network
    tokens = np.load(arguments.tokens, allow_pickle=False)
    written = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal written
        if done == total or time.monotonic() - written > STATUS_SECONDS:
            written = time.monotonic()
            job_files.write_json(status, {"phase": "run", "done": done, "total": total})

    job_files.write_json(status, {"phase": "run", "done": 0, "total": len(tokens)})
    print(f"running {network.name} on {arguments.target}: {tokens.shape} tokens", flush=True)
    run = _run_on_lava if arguments.target == "lava-cpu" else _run_on_board
    outputs, profile = run(network, tokens, arguments, on_progress)
    job_files.write_json(status, {"phase": "write", "done": 0, "total": 1})
    draft = job / f".{job_files.RESULT}"
    draft.mkdir()
    np.save(draft / "outputs.npy", outputs)
    write_measured(profile, draft / "measured.json")
    os.rename(draft, job / job_files.RESULT)
    print(f"done: {outputs.shape} outputs, {profile.wall_seconds:.2f} s", flush=True)


def _run_on_lava(network, tokens, arguments: argparse.Namespace, on_progress):
    """Run under Lava's CPU simulator; times are those of the simulator and of no chip."""
    from s5_to_loihi import bundle
    from s5_to_loihi.backends import dispatch
    from s5_to_loihi.backends.interpreter import Mode, timestep_count
    from s5_to_loihi.profiling.measured import MeasuredProfile

    mode = Mode(arguments.mode)
    started = time.monotonic()
    evaluation = dispatch.run(
        network,
        tokens,
        dispatch.Backend.LAVA if arguments.fine_grained else dispatch.Backend.LAVA_FUSED,
        mode=mode,
        timeout=arguments.run_seconds,
        on_progress=on_progress,
    )
    profile = MeasuredProfile(
        target="lava-cpu",
        network=network.name,
        bundle_digest=bundle.digest(arguments.bundle),
        mode=mode.value,
        tokens=tokens.shape[0] * tokens.shape[1],
        timesteps=timestep_count(network, mode, len(tokens)) * tokens.shape[1],
        wall_seconds=time.monotonic() - started,
        environment=_environment(),
    )
    return evaluation.outputs, profile


def _run_on_board(network, tokens, arguments: argparse.Namespace, on_progress):
    """Run on the chip. Not yet run on hardware; README.md says what is assumed.

    The board is not named: lava-loihi reads the variables of ``PLACES``, and SLURM or NOSLURM.
    """
    from s5_to_loihi import bundle
    from s5_to_loihi.backends import board, probes
    from s5_to_loihi.backends.chip_plan import Lowering
    from s5_to_loihi.backends.interpreter import Mode

    options = board.BoardOptions(
        microcode=arguments.microcode,
        input_latency=arguments.input_latency,
        output_latency=arguments.output_latency,
        lowering=Lowering(arguments.lowering),
        measure=() if arguments.no_measure else tuple(probes.PROBES),
    )
    run = board.run(
        network,
        tokens,
        mode=Mode(arguments.mode),
        options=options,
        bundle_digest=bundle.digest(arguments.bundle),
        on_progress=on_progress,
    )
    # What the options say of the place is not where lava-loihi went.
    told = {name: text for name, text in run.profile.environment.items() if name not in PLACES}
    environment = {**told, **_environment(), "lowering": arguments.lowering}
    return run.evaluation.outputs, dataclasses.replace(run.profile, environment=environment)


def _environment() -> dict[str, str]:
    """Return what a measurement depends on: place, host and versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    environment = {
        name: os.environ[variable] for name, variable in PLACES.items() if variable in os.environ
    }
    environment |= {"host": platform.node(), "python": platform.python_version()}
    for package in ("numpy", "lava-nc", "lava-loihi"):
        with suppress(PackageNotFoundError):
            environment[package] = version(package)
    return environment


if __name__ == "__main__":
    parsed = parse()
    sys.exit(work(parsed) if parsed.worker else supervise(parsed))
