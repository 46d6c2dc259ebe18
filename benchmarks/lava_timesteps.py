"""Milliseconds a timestep under Lava: one process a group and synapses against one for all.

Same bundle, same tokens, in turn in one run: A B A B ... The time is the slope between the first
and the last progress report of a run, so starting and stopping Lava is not in it (it is printed
beside). The interpreter's time a token stands there as the floor of the fused process.

    python benchmarks/lava_timesteps.py [--runs N] [--timesteps N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from s5_to_loihi import audio
from s5_to_loihi.backends import lava
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER, NOISY
from s5_to_loihi.denoising import tokens_of
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode


def timed_run(network, tokens, fine_grained: bool) -> tuple[float, float, np.ndarray]:
    """Return (milliseconds a timestep, seconds of the rest, outputs) of one Lava run."""
    reports = []
    started = time.perf_counter()
    outputs = lava.run(
        network,
        tokens,
        mode=Mode.PIPELINED,
        fine_grained=fine_grained,
        on_progress=lambda done, total: reports.append((time.perf_counter(), done)),
    ).outputs
    ended = time.perf_counter()
    (first_time, first_step), (last_time, last_step) = reports[0], reports[-1]
    milliseconds = (last_time - first_time) / (last_step - first_step) * 1e3
    return milliseconds, ended - started - (last_time - first_time), outputs


def interpreter_milliseconds(network, tokens) -> float:
    """Return milliseconds a token, one token at a time."""
    interpreter = Interpreter(network)
    state = interpreter.initial_state()
    started = time.perf_counter()
    for token in tokens:
        state = interpreter.evaluate(token[None], state).state
    return (time.perf_counter() - started) / len(tokens) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument(
        "--timesteps", type=int, default=300, help="of the slow way; the fast runs 10 times more"
    )
    arguments = parser.parse_args()
    console = Console(width=100)
    network = compile_export(DENOISER).network
    tokens, _ = tokens_of(network, audio.read_wav(NOISY).samples)
    few, many = tokens[: arguments.timesteps], tokens[: 10 * arguments.timesteps]
    with console.status("compiling kernels"):
        FastSimulator(network).stream().step(few[0, 0])
    rows = []
    for run in range(arguments.runs):
        with console.status(f"run {run + 1} of {arguments.runs}"):
            fine, fine_start, fine_outputs = timed_run(network, few, True)
            fused, fused_start, fused_outputs = timed_run(network, many, False)
            assert np.array_equal(fine_outputs, fused_outputs[: len(few)])
            alone = interpreter_milliseconds(network, few)
        rows.append((fine, fused, fine / fused, fine_start, fused_start, alone))
    delays = sum(synapses.delay > 0 for synapses in network.synapses)
    processes = len(network.groups) + len(network.synapses) + delays + 1
    table = Table(title=f"{network.name}: {processes} Lava processes against 2, pipelined")
    for heading in (
        "run",
        "fine-grained\nms/timestep",
        "fused\nms/timestep",
        "ratio",
        "fine-grained\nstart+stop s",
        "fused\nstart+stop s",
        "interpreter\nms/token",
    ):
        table.add_column(heading, justify="right")
    for run, row in enumerate(rows, start=1):
        table.add_row(str(run), *(f"{value:.3f}" for value in row))
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    table.add_row("median", *(f"{value:.3f}" for value in medians), style="bold")
    console.print(table)


if __name__ == "__main__":
    main()
