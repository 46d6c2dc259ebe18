"""The process that ``run_on_board.py`` starts and watches: runs the bundle, writes the result.

Not for calling by hand; it takes the same arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import job_files
from run_on_board import FAILED, POLL_SECONDS, RESERVE, parse

PROGRAM = Path(__file__).resolve().parents[1]
#: Where the run is made: name in the profile -> the variable that lava-loihi reads.
PLACES = {"partition": "PARTITION", "board": "BOARD", "generation": "LOIHI_GEN"}
#: Progress is written this often at most: a network file system is slow.
STATUS_SECONDS = 0.3


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
    from s5_to_loihi.backends.divergence import write_divergence
    from s5_to_loihi.backends.measured import write_measured

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
    found = None
    if arguments.target != "lava-cpu" and arguments.probes > 0:
        found = _divergence(network, tokens, outputs, arguments, on_progress)
    job_files.write_json(status, {"phase": "write", "done": 0, "total": 1})
    draft = job / f".{job_files.RESULT}"
    draft.mkdir()
    np.save(draft / "outputs.npy", outputs)
    write_measured(profile, draft / "measured.json")
    if found is not None:
        print(found, flush=True)
        write_divergence(found, draft / "divergence.json")
    os.rename(draft, job / job_files.RESULT)
    print(f"done: {outputs.shape} outputs, {profile.wall_seconds:.2f} s", flush=True)


def _run_on_lava(network, tokens, arguments: argparse.Namespace, on_progress):
    """Run under Lava's CPU simulator; times are those of the simulator and of no chip."""
    from s5_to_loihi import bundle
    from s5_to_loihi.backends import dispatch
    from s5_to_loihi.backends.measured import MeasuredProfile
    from s5_to_loihi.simulators.interpreter import Mode, timestep_count

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
    """Run on the chip, or rehearse that. Not yet run on hardware; README.md says what is assumed.

    The board is not named: lava-loihi reads the variables of ``PLACES``, and SLURM or NOSLURM.
    """
    from s5_to_loihi import bundle
    from s5_to_loihi.backends import probes

    run = _board_run(
        network,
        tokens,
        arguments,
        on_progress,
        measure=() if arguments.no_measure else tuple(probes.PROBES),
        bundle_digest=bundle.digest(arguments.bundle),
    )
    # What the options say of the place is not where lava-loihi went.
    told = {name: text for name, text in run.profile.environment.items() if name not in PLACES}
    environment = {**told, **_environment(), "lowering": arguments.lowering}
    return run.evaluation.outputs, dataclasses.replace(run.profile, environment=environment)


def _board_run(network, tokens, arguments: argparse.Namespace, on_progress, measure=(), **others):
    """Make one run; ``others`` are of ``board.run``."""
    from s5_to_loihi.backends import board
    from s5_to_loihi.lava_runtime.chip_plan import Lowering
    from s5_to_loihi.simulators.interpreter import Mode

    options = board.BoardOptions(
        microcode=arguments.microcode,
        input_latency=arguments.input_latency,
        output_latency=arguments.output_latency,
        lowering=Lowering(arguments.lowering),
        measure=measure,
    )
    return board.run(
        network,
        tokens,
        mode=Mode(arguments.mode),
        options=options,
        on_progress=on_progress,
        rehearsed=arguments.target == "rehearsal",
        **others,
    )


def _divergence(network, tokens, outputs, arguments: argparse.Namespace, on_progress):
    """Return the first group that differs from the interpreter; None if the outputs do not."""
    from s5_to_loihi.backends import divergence
    from s5_to_loihi.simulators.interpreter import Interpreter

    if (outputs == Interpreter(network).evaluate(tokens).outputs).all():
        return None
    if arguments.lowering == "embedded":
        print("outputs differ; an embedded processor cannot be probed", flush=True)
        return None
    print("outputs differ; looking for the first group that does", flush=True)

    def probe(readout, states):
        run = _board_run(
            network, tokens, arguments, on_progress, readout=readout, states=states
        ).evaluation
        return run.outputs, run.values

    return divergence.locate(network, tokens, outputs, probe, arguments.probes)


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
    sys.exit(work(parse()))
