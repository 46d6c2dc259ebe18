"""Stands in for ``s5_to_loihi.backends.board`` in tests: the interpreter says what it would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi.backends.measured import MeasuredProfile, StepTimes
from s5_to_loihi.lava_runtime.chip_plan import Lowering
from s5_to_loihi.simulators.interpreter import Evaluation, Interpreter


@dataclass(frozen=True)
class BoardOptions:
    microcode: Path | None = None
    partition: str | None = None
    board: str | None = None
    generation: str = "N3B3"
    input_latency: int = 0
    output_latency: int = 0
    lowering: Lowering = Lowering.MICROCODE
    measure: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardRun:
    evaluation: Evaluation
    profile: MeasuredProfile


def run(network, tokens, *, mode, options, bundle_digest, on_progress, rehearsed):
    assert not rehearsed
    evaluation = Interpreter(network).evaluate(tokens)
    for done in range(len(tokens) + 1):
        on_progress(done, len(tokens))
    profile = MeasuredProfile(
        target="board",
        network=network.name,
        bundle_digest=bundle_digest,
        mode=mode.value,
        tokens=tokens.shape[0] * tokens.shape[1],
        timesteps=16,
        wall_seconds=0.5,
        environment={
            "generation": options.generation,
            "microcode": str(options.microcode),
            "measure": " ".join(options.measure),
            "latencies": f"{options.input_latency} {options.output_latency}",
        },
        time=StepTimes(total=5.0, spiking=None, management=None, host=None, steps=16),
    )
    return BoardRun(evaluation, profile)
