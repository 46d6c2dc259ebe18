"""``verify``: whether the integers of a bundle are right."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle, verification
from s5_to_loihi.backends.dispatch import ONE_MODE, WITHOUT_BOARD, Backend
from s5_to_loihi.backends.divergence import RUNS
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import TOKEN_VALUE, Vectors
from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError, LavaError, VerificationError
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.reports.run_tables import run_facts, run_table, tensor_table
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Mark
from s5_to_loihi.simulators.interpreter import Mode

#: Tokens of the first sequence that Lava runs with one process a group by default: enough to fill
#: the pipeline and see states evolve, few enough for seconds.
FINE_GRAINED_TOKENS = 24


class ModeChoice(str, Enum):
    """Execution modes, or both."""

    PIPELINED = "pipelined"
    FALL_THROUGH = "fall-through"
    BOTH = "both"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes meant."""
        return tuple(Mode) if self is ModeChoice.BOTH else (Mode(self.value),)


def verify(
    path: Path = Argument(..., metavar="BUNDLE", help="The bundle to verify."),
    backend: choices.BackendsOption = None,
    mode: ModeChoice = Option(ModeChoice.BOTH, help="How tokens follow one another."),
    tokens: int | None = Option(
        None,
        min=1,
        help="Tokens to run. Default: all, and for 'lava' (slow: one process a group and"
        f" synapses) the first {FINE_GRAINED_TOKENS} of the first sequence.",
    ),
    probes: int = Option(
        RUNS,
        metavar="N",
        min=0,
        help="board, rehearsal: runs at most to find the first group that differs.",
    ),
    timeout: choices.TimeoutOption = None,
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Run the recorded vectors and compare every integer.

    --details prints for each tensor '=' or how many integers differ and by how much. For the first
    difference the group, token, neuron and both integers are named; on a board, which gives outputs
    only, by probing messages and states in more runs. Ends with exit code 3 if any differs.
    """
    opened = bundle.read(path, lenient=True)
    recorded = opened.vectors
    if recorded is None:
        raise InputError(str(path), "holds no vectors to verify with", "Compile it again")
    backends = backend or _available_backends()
    results: list[verification.RunResult] = []
    for chosen in backends:
        vectors = _vectors_for(recorded, chosen, tokens)
        for one_mode in (Mode.PIPELINED,) if chosen in ONE_MODE else mode.modes:
            with console.progress(f"{chosen.value}, {one_mode.value}") as advance:
                try:
                    result = verification.verify_run(
                        opened.network, vectors, chosen, one_mode, timeout, advance, probes
                    )
                except LavaError:
                    if results and not as_json:
                        _show_runs(path, opened, results, details)
                    raise
                results.append(result)
    if as_json:
        runs = [result_json(result) for result in results]
        console.print_json({"bundle": str(path), "changed": opened.changed, "verification": runs})
    else:
        _show_runs(path, opened, results, details)
    require_equal(results, opened.changed)


def _show_runs(
    path: Path, opened: Bundle, results: Sequence[verification.RunResult], details: bool
) -> None:
    compared = sum(tensor.compared for run in results for tensor in run.tensors)
    differing = sum(tensor.differing for run in results for tensor in run.tensors)
    changed = tuple(f"{name} was changed since the bundle was written" for name in opened.changed)
    if differing:
        verdict, mark = f"{differing:,} of {compared:,} integers differ", Mark.BAD
    else:
        verdict, mark = f"{compared:,} integers compared, all equal", Mark.GOOD
    after = "map" if opened.mapping is None else "profile"
    console.summarise(
        Summary(
            f"{path}: {verdict}",
            run_facts(results),
            mark,
            warnings=changed,
            next="" if differing or changed else command(after, path),
        ),
        (tensor_table(results), run_table(results)),
        details,
    )


def _available_backends() -> list[Backend]:
    if lava_shim.is_installed():
        return list(WITHOUT_BOARD)
    backends = [Backend.FAST, Backend.INTERPRETER]
    console.stderr.print(
        "Lava is not installed: verifying the simulators in this process only. To install it: "
        + "; ".join(lava_shim.pip_commands(sys.version_info[:2])),
        highlight=False,
    )
    return backends


def _vectors_for(recorded: Vectors, backend: Backend, tokens: int | None) -> Vectors:
    if backend is Backend.LAVA:
        return recorded.first(tokens or FINE_GRAINED_TOKENS, 1)
    return recorded.first(tokens) if tokens else recorded


def result_json(result: verification.RunResult) -> dict:
    """Return a run's comparison as JSON can say it."""
    return {**dataclasses.asdict(result), "equal": result.equal}


def require_equal(results: Sequence[verification.RunResult], changed: tuple[str, ...] = ()) -> None:
    """Raise the error with exit code 3 if any integer differs, naming the first."""
    for result in results:
        tensor = result.first
        if tensor is not None and tensor.first is not None:
            break
    else:
        if changed:
            raise VerificationError(
                changed[0],
                f"was changed after the bundle was written ({len(changed)} tensors were), though no"
                " recorded integer differs",
                "Compile it again",
            )
        return
    if result.divergence is not None:
        raise VerificationError(
            f"{result.backend.value}, {result.mode.value}",
            str(result.divergence),
            f"Look at the microcode of {result.divergence.group}, and at what reaches it: its"
            " listing has test vectors",
        )
    first = tensor.first
    look = f"Look at the synapses and constants of {tensor.group}"
    if tensor.value == TOKEN_VALUE:
        look = "The recorded tokens themselves differ from their recording"
    raise VerificationError(
        f"{result.backend.value}, {result.mode.value}",
        f"the first difference is in group {tensor.group}, {tensor.value}, at token {first.token}"
        f" of sequence {first.sequence}, neuron {first.neuron}: got {first.got}, expected"
        f" {first.expected}",
        look + (f"; changed since the bundle was written: {', '.join(changed)}" if changed else ""),
    )
