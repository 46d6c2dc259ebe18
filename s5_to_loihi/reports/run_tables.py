"""Tables of verification runs: which integers were compared, and which differ."""

from __future__ import annotations

from collections.abc import Sequence

from s5_to_loihi.backends.dispatch import ONE_MODE, Backend
from s5_to_loihi.reports.table import Cell, Mark, Names, Table, of_rows, table
from s5_to_loihi.verification import RunResult, TensorResult

_SHORT = {
    Backend.FAST: "fast",
    Backend.INTERPRETER: "interpreter",
    Backend.LAVA_FUSED: "Lava, fused",
    Backend.LAVA: "Lava, a process a group",
    Backend.REHEARSAL: "rehearsal of the board",
    Backend.BOARD: "board",
}


def run_table(results: Sequence[RunResult], title: str = "Runs") -> Table:
    """One numbered row a run."""
    return table(
        title,
        enumerate(results, start=1),
        {
            "run #": lambda run: run[0],
            "backend": lambda run: _SHORT[run[1].backend],
            "mode": lambda run: run[1].mode.value,
            "tokens #": lambda run: f"{run[1].sequences} x {run[1].tokens}",
            "tensors #": lambda run: len(run[1].tensors),
            "integers #": lambda run: sum(tensor.compared for tensor in run[1].tensors),
            "result": lambda run: _result(run[1]),
        },
    )


def _result(run: RunResult) -> Cell:
    if run.first is None:
        return Cell("all equal", Mark.GOOD)
    differing = sum(tensor.differing for tensor in run.tensors)
    return Cell(f"{differing:,} differ, first in {run.first.value}", Mark.BAD)


def run_facts(results: Sequence[RunResult]) -> list[tuple[str, str]]:
    """Return what a summary says of each run."""
    facts = []
    for run in results:
        compared = sum(tensor.compared for tensor in run.tensors)
        differing = sum(tensor.differing for tensor in run.tensors)
        said = f"{compared:,} integers equal"
        if run.first is not None:
            said = f"{differing:,} of {compared:,} integers differ, first in {run.first.value}"
        mode = "" if run.backend in ONE_MODE else f", {run.mode.value}"
        facts.append(
            (f"{_SHORT[run.backend]}{mode}", f"{run.sequences} x {run.tokens} tokens, {said}")
        )
    return facts


def tensor_table(results: Sequence[RunResult]) -> Table:
    """One row a tensor, one column a run, numbered as in ``run_table``."""
    rows: dict[str, list[TensorResult | None]] = {}
    for column, run in enumerate(results):
        for tensor in run.tensors:
            rows.setdefault(tensor.value, [None] * len(results))[column] = tensor
    return of_rows(
        "Tensors in the run of that number (= all integers equal; else how many differ, and the"
        " largest difference)",
        ("tensor", *_numbered(results), "recorded as"),
        (
            (value, *map(_differences, of), Names(next(one.recorded_as for one in of if one)))
            for value, of in rows.items()
        ),
    )


def _numbered(results: Sequence[RunResult]) -> list[str]:
    return [f"{number} #" for number in range(1, len(results) + 1)]


def _differences(tensor: TensorResult | None) -> Cell:
    if tensor is None:
        return Cell("-", Mark.QUIET)
    if tensor.differing == 0:
        return Cell("=", Mark.GOOD)
    return Cell(f"{tensor.differing:,}, max {tensor.largest:,}", Mark.BAD)


def group_table(results: Sequence[RunResult]) -> Table:
    """One row a group, one column a run: how many of its tensors are equal."""
    groups = dict.fromkeys(tensor.group for run in results for tensor in run.tensors)
    return of_rows(
        "Equal tensors by group, in the run of that number (a run compares what was recorded,"
        " or everything)",
        ("group", *_numbered(results)),
        ((group, *(_equal(run, group) for run in results)) for group in groups),
    )


def _equal(run: RunResult, group: str) -> Cell:
    tensors = [tensor for tensor in run.tensors if tensor.group == group]
    equal = sum(tensor.differing == 0 for tensor in tensors)
    return Cell(f"{equal} of {len(tensors)}", Mark.GOOD if equal == len(tensors) else Mark.BAD)
