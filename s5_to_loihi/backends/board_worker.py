"""The worker of a board run: ``python -m s5_to_loihi.backends.board_worker JOB``.

Started by ``board.run`` through the supervisor. The job folder holds ``network`` (a bundle),
``tokens.npy``, ``options.json`` and ``outputs.npy``, which is filled; a run that measures writes
``time.json``, ``power.json`` or ``activity.json`` instead.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.backends.lava_worker import report_killed_children
from s5_to_loihi.backends.probes import PROBES, READERS, StateProbes
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.lava_runtime import supervisor
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.lava_runtime.recording import STATES
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Mode

#: Tokens that the chip replays by itself while it is measured.
REPLAYED = 64


def build(
    network: Network,
    tokens: np.ndarray,
    plan: ChipPlan,
    job: Path,
    when_built: Callable[[dict], None] | None = None,
):
    """Return the process to run: a stream on the host, the network between two adapters.

    An embedded processor is an adapter itself. ``when_built`` is the network's, see ``S5Network``.
    """
    from s5_to_loihi.process_models.process import ChipInput, ChipOutput, S5Network, TokenStream

    size = network.message_size(plan.leaving(network))
    chip = S5Network(network=network, plan=plan, job=str(job))
    if when_built is not None:
        chip.when_built = when_built
    stream = TokenStream(
        tokens=tokens,
        file=str(job / "outputs.npy"),
        output_size=size,
        latency=plan.latency(network),
        job=str(job),
    )
    if plan.lowering is Lowering.EMBEDDED:
        stream.out.connect(chip.inp)
        chip.out.connect(stream.inp)
        return stream
    entry = ChipInput(size=plan.input_size(network), latency=plan.input_latency, job=str(job))
    leave = ChipOutput(size=size, latency=plan.output_latency, job=str(job))
    stream.out.connect(entry.inp)
    entry.out.connect(chip.inp)
    chip.out.connect(leave.inp)
    leave.out.connect(stream.inp)
    return stream


def build_measured(network: Network, tokens: np.ndarray, plan: ChipPlan, job: Path):
    """Return the process to measure: tokens come from the chip's memory, outputs stay there."""
    from lava.proc.cyclic_buffer.process import CyclicBuffer

    from s5_to_loihi.process_models.process import S5Network

    frames = replayed(tokens, plan.period(network), plan.gated).T
    chip = S5Network(network=network, plan=plan, job=str(job))
    buffer = CyclicBuffer(first_frame=frames[:, 0], replay_frames=frames[:, 1:])
    buffer.s_out.connect(chip.inp)
    return chip


def replayed(rows: np.ndarray, period: int, gated: bool) -> np.ndarray:
    """Return what the chip's memory sends over and over: (timesteps, features), whole periods.

    Args:
        rows: (timesteps, features) the input of a run, with markers if ``gated``.
        period: timesteps from a token to the next.
        gated: whether a row of zeros is no token; else rows are repeated where they are too few.
    """
    count = max(1, REPLAYED // period) * period
    if not gated:
        return np.resize(rows[:count], (count, rows.shape[1]))
    frames = np.zeros((count, rows.shape[1]), dtype=rows.dtype)
    frames[: min(count, len(rows))] = rows[:count]
    return frames


def configuration(options: dict, probes: list):
    """Return Lava's run configuration: for the board, or for a rehearsal on the CPU."""
    from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg

    if options["plan"]["lowering"] == Lowering.EMBEDDED.value:
        from s5_to_loihi.process_models.ncmodels import CS5Network
        from s5_to_loihi.process_models.process import S5Network

        return Loihi2HwCfg(exception_proc_model_map={S5Network: CS5Network})
    if options["target"] == "board":
        return Loihi2HwCfg(select_sub_proc_model=True, callback_fxs=probes)
    from s5_to_loihi.process_models.models import PyChipInput, PyChipOutput
    from s5_to_loihi.process_models.process import ChipInput, ChipOutput

    return Loihi2SimCfg(
        select_tag="fixed_pt",
        select_sub_proc_model=True,
        exception_proc_model_map={ChipInput: PyChipInput, ChipOutput: PyChipOutput},
    )


def choose_board(options: dict) -> None:
    """Tell Lava which board to use, where a partition or a board is given."""
    if options["target"] == "board" and (options["partition"] or options["board"]):
        from lava.utils import loihi

        loihi.use_slurm_host(
            partition=options["partition"],
            board=options["board"],
            loihi_gen=loihi.ChipGeneration[options["generation"]],
        )


def main(job: Path) -> None:
    """Build the network, run it, write down what was measured, and say that it is done."""
    supervisor.die_with_parent()
    report_killed_children(job)
    lava_shim.install()
    from lava.magma.core.run_conditions import RunSteps

    options = json.loads((job / "options.json").read_text())
    network = bundle.read(job / "network").network
    tokens = np.load(job / "tokens.npy")
    lowering = Lowering(options["plan"]["lowering"])
    mode = Mode(options["plan"]["mode"])
    plan = ChipPlan(**{**options["plan"], "lowering": lowering, "mode": mode})
    choose_board(options)
    what, probes = options["what"], []
    if what in PROBES:
        from lava.utils import loihi2_profiler

        arguments = {"num_steps": options["steps"]} if what == "power" else {}
        probes = [getattr(loihi2_profiler, PROBES[what])(**arguments)]
    asked = configuration(options, probes)
    states = StateProbes(network, plan, asked) if options["target"] == "board" else None
    if probes:
        process = build_measured(network, tokens, plan, job)
    else:
        process = build(network, tokens, plan, job, None if states is None else states.found)
    try:
        process.run(condition=RunSteps(num_steps=options["steps"]), run_cfg=asked)
    finally:
        process.stop()
    if states is not None and states.probes:
        np.save(job / STATES, states.series(options["steps"]))
    if probes:
        measured = READERS[what](probes[0], options["steps"])
        (job / f"{what}.json").write_text(json.dumps(_plain(measured)))
    supervisor.finish(job)


def _plain(measured):
    if isinstance(measured, tuple):
        return [dataclasses.asdict(one) for one in measured]
    return dataclasses.asdict(measured)


if __name__ == "__main__":
    supervisor.run_main(main, "board worker")
