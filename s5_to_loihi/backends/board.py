"""Running a network on a Loihi 2 board, in supervised processes. Not yet run on hardware.

Needs Lava's closed extension and microcode of the neuron programs (``docs/board.md``). Outputs,
times, power and counters come from runs of their own: the profiler takes one run and one kind of
probe at a time. ``rehearse`` makes the same run on the CPU, with the chip's timesteps and resets.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import CoreActivity, MeasuredProfile, Power, StepTimes
from s5_to_loihi.backends.probes import PROBES
from s5_to_loihi.errors import InputError, LavaError
from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.lava_runtime import chip_plan, extension, microcode_files, stock, supervisor
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.lava_runtime.c_source import write_source
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.lava_runtime.recording import STATES, create_states
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.widths import RETURNED_BITS, WORD_BITS
from s5_to_loihi.simulators.interpreter import Evaluation, Mode

WORKER = "s5_to_loihi.backends.board_worker"
#: Lava's compiler and partitioner say nothing while they work, for many minutes perhaps.
STALL_TIMEOUT = 3600.0
#: A phase may take this many seconds, and so many more for each timestep.
START_TIMEOUT = 3600.0
TIMESTEP_TIMEOUT = 1.0
GENERATIONS = ("N3B2", "N3B3", "N3C1", "N3D1")


@dataclass(frozen=True)
class BoardOptions:
    """Where and how to run.

    Attributes:
        microcode: folder with microcode; see ``microcode_files`` for what is taken if None.
        partition, board: of SLURM; None leaves it to Lava's environment variables.
        generation: of the chip, one of ``GENERATIONS``.
        reset_interval: timesteps from one sequence to the next, pipelined; by default the smallest
            power of two that holds a sequence.
        input_latency, output_latency: see ``ChipPlan``.
        lowering: what computes the neurons.
        measure: which of ``PROBES``; each is a run of its own.
        measured_steps: timesteps of such a run.
    """

    microcode: str | os.PathLike[str] | None = None
    partition: str | None = None
    board: str | None = None
    generation: str = "N3B3"
    reset_interval: int | None = None
    input_latency: int = 0
    output_latency: int = 0
    lowering: Lowering = Lowering.MICROCODE
    measure: tuple[str, ...] = ()
    measured_steps: int = 10_000

    def __post_init__(self):
        """Check the values.

        Raises:
            InputError: an unknown generation or measurement, no timesteps to measure, or
                something to measure on an embedded processor.
        """
        if self.generation not in GENERATIONS:
            what, do = f"is {self.generation!r}", f"Use one of {', '.join(GENERATIONS)}"
            raise InputError("chip generation", what, do)
        if unknown := sorted(set(self.measure) - set(PROBES)):
            raise InputError("measure", f"has {unknown[0]!r}", f"Use some of {', '.join(PROBES)}")
        if self.measure and self.lowering is Lowering.EMBEDDED:
            raise InputError(
                "measure",
                "is given for an embedded processor; the probes are those of neurocores",
                "Leave it out",
            )
        if self.measured_steps < 1:
            raise InputError("measured steps", f"is {self.measured_steps} (limit 1 or more)")


@dataclass(frozen=True, eq=False)
class BoardRun:
    """What a run gave: outputs only, no values in between; and what was measured."""

    evaluation: Evaluation
    profile: MeasuredProfile


def run(
    network: Network,
    tokens: np.ndarray,
    *,
    mode: Mode = Mode.PIPELINED,
    options: BoardOptions = BoardOptions(),
    bundle_digest: str = "",
    total_timeout: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    waits: np.ndarray | None = None,
    readout: str | None = None,
    states: str | None = None,
    rehearsed: bool = False,
) -> BoardRun:
    """Run sequences on a board, one after another in one run, each from a zero state.

    Args:
        network: verified, with aligned delays.
        tokens: (tokens, batch, input features), see ``inputs.as_tokens``.
        mode: how tokens follow one another; each has programs of its own.
        options: where and how.
        bundle_digest: of the bundle that the network is from, for the profile.
        total_timeout: seconds for each of the runs; by default generous.
        on_progress: called with timesteps done and in all, of the run that gives the outputs.
        waits: (tokens, batch) timesteps by which each token comes late, in fall-through: outputs
            are the same. None: none does.
        readout: ``group.message`` to return as outputs instead of the network's.
        states: group whose registers are returned too, as values of the evaluation.
        rehearsed: make the run on the CPU under Lava instead: same graph, resets, padding and
            signs. Neither the extension nor microcode is needed; nothing is measured, whatever
            ``options`` say.

    Raises:
        LavaError: Lava, its extension, SLURM or microcode is missing; or a run failed or did not
            answer. Nothing of it is left running.
        InputError: the tokens, the mode, the options or what is probed do not suit.
    """
    plan = _plan(network, tokens, mode, options, readout, states)
    if rehearsed:
        _require_rehearsal(plan)
        options = dataclasses.replace(options, measure=())
    else:
        _require_board(network, plan, options)
    tokens = check_tokens(network, tokens)
    times = chip_plan.arrivals(network, plan, len(tokens), tokens.shape[1], waits)
    rows = chip_plan.stream(tokens, times, plan)
    steps = len(rows) + plan.latency(network)
    with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
        job = Path(folder)
        bundle.write(bundle.Bundle(network, None), job / "network")
        if plan.lowering is Lowering.EMBEDDED:
            plan = dataclasses.replace(plan, source=str(job / "network.c"))
            offset = plan.input_latency % plan.reset_interval
            source = write_source(network, plan.reset_interval, offset, plan.gated)
            (job / "network.c").write_text(source)
        np.save(job / "tokens.npy", rows)
        size = network.message_size(plan.leaving(network))
        np.save(job / "outputs.npy", np.zeros((len(rows), size), dtype=np.int32))
        if states is not None:
            create_states(job, network.group(states), steps)
        phase = functools.partial(
            _phase,
            job,
            target="lava-cpu" if rehearsed else "board",
            plan=plan,
            options=options,
            timeout=total_timeout,
        )
        started = time.monotonic()
        phase("outputs", steps=steps, on_progress=lambda done: on_progress(done, steps))
        seconds = time.monotonic() - started
        returned = np.load(job / "outputs.npy")
        registers = {} if states is None else _registers(network, plan, times, job / STATES)
        measured = {what: phase(what, steps=options.measured_steps) for what in options.measure}
    profile = MeasuredProfile(
        target="lava-cpu" if rehearsed else "board",
        network=network.name,
        bundle_digest=bundle_digest,
        mode=mode.value,
        tokens=tokens.shape[0] * tokens.shape[1],
        timesteps=steps,
        wall_seconds=seconds,
        environment=_environment(options, plan),
        time=StepTimes(**measured["time"]) if "time" in measured else None,
        power=Power(**measured["power"]) if "power" in measured else None,
        activity=tuple(CoreActivity(**core) for core in measured.get("activity", ())),
    )
    outputs = chip_plan.unstream(returned, times)
    return BoardRun(Evaluation(outputs, registers, {}), profile)


#: ``run`` on the CPU.
rehearse = functools.partial(run, rehearsed=True)


def _registers(
    network: Network, plan: ChipPlan, times: np.ndarray, file: Path
) -> dict[str, np.ndarray]:
    """Return ``group.register`` -> (tokens, batch, neurons) after the update of each token."""
    assert plan.states is not None
    group = network.group(plan.states)
    assert group.phase is not None  # delays are aligned
    rows = np.load(file)[times + plan.input_latency + group.phase].astype(np.int64)
    return {
        f"{group.name}.{name}": wrap(rows[:, :, index], group.formats[name].bits)
        for index, name in enumerate(group.kind.state)
    }


def _plan(
    network: Network,
    tokens: np.ndarray,
    mode: Mode,
    options: BoardOptions,
    readout: str | None,
    states: str | None,
) -> ChipPlan:
    count = len(check_tokens(network, tokens))
    if any(group.kind.wraps for group in network.groups):
        raise InputError(
            f"network {network.name}",
            f"has layers of netx, whose words have {WORD_BITS} bits; a board returns"
            f" {RETURNED_BITS}",
            "Run it on the CPU",
        )
    if mode is Mode.FALL_THROUGH and options.reset_interval is not None:
        what = "is given, and in fall-through sequences follow one another"
        raise InputError("reset interval", what, "Leave it out, or use pipelined")
    if mode is Mode.FALL_THROUGH:
        interval = 1
    else:
        interval = options.reset_interval or chip_plan.power_of_two(count)
    plan = ChipPlan(
        interval,
        options.input_latency,
        options.output_latency,
        None if options.microcode is None else str(Path(options.microcode).resolve()),
        options.lowering,
        mode=mode,
        readout=readout,
        states=states,
    )
    plan.check(network)
    chip_plan.arrivals(network, plan, count, 1)
    return plan


def _require_rehearsal(plan: ChipPlan) -> None:
    if plan.lowering is Lowering.EMBEDDED:
        raise InputError(
            "lowering", "is embedded: C for an embedded processor is not run here", "Use microcode"
        )
    lava_shim.install()


def _require_board(network: Network, plan: ChipPlan, options: BoardOptions) -> None:
    """Check for all that a run on the board needs, before anything starts."""
    extension.require(measuring=bool(options.measure), probing=plan.states is not None)
    place = {"board": options.board, "partition": options.partition}
    asked = [f"{what} {name}" for what, name in place.items() if name]
    if asked and shutil.which("sinfo") is None:
        raise LavaError(
            asked[0],
            "SLURM's sinfo is not on this machine",
            "Run on a host that jobs are submitted from, put the folder of SLURM's programs into"
            " PATH, or give no partition and no board where the board is in this machine",
        )
    if plan.lowering is Lowering.EMBEDDED:
        return
    lowered = stock.lower(network) if plan.lowering is Lowering.STOCK else ()
    without = tuple(one.group for one in lowered if one.process is not None)
    if programs := microcode_files.missing(network, options.microcode, without, plan.gated):
        raise microcode_files.missing_error(programs, options.microcode, plan.gated)


def _phase(
    job: Path,
    what: str,
    *,
    target: str,
    plan: ChipPlan,
    options: BoardOptions,
    timeout: float | None,
    steps: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Any:
    """Run one worker; return what it measured, if it did."""
    job_options = {
        "what": what,
        "target": target,
        "steps": steps,
        "plan": dataclasses.asdict(plan),
        "partition": options.partition,
        "board": options.board,
        "generation": options.generation,
    }
    (job / "options.json").write_text(json.dumps(job_options))
    total = timeout or START_TIMEOUT + TIMESTEP_TIMEOUT * steps
    supervisor.run_worker(
        WORKER,
        job,
        name=f"{'board run' if target == 'board' else 'rehearsal'} for {what}",
        total_timeout=total,
        stall_timeout=min(total, STALL_TIMEOUT),
        on_progress=on_progress,
    )
    file = job / f"{what}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _environment(options: BoardOptions, plan: ChipPlan) -> Mapping[str, str]:
    known = {
        "partition": options.partition,
        "board": options.board,
        "generation": options.generation,
        "reset_interval": None if plan.gated else plan.reset_interval,
        "lowering": plan.lowering.value,
    }
    return {name: str(value) for name, value in known.items() if value is not None}
