"""Evaluates a denoiser on clips: in processes, one clip each at a time; resumable."""

from __future__ import annotations

import contextlib
import csv
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from s5_to_loihi import bundle
from s5_to_loihi.evaluation.clip import compute
from s5_to_loihi.evaluation.plan import EVALUATION, Plan, check, tasks_of
from s5_to_loihi.evaluation.result import RESULTS, SCHEMA, Evaluated, assembled, table_of
from s5_to_loihi.files.records import write_record
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.tasks import engine, store, workers

TABLE = "clips.csv"


def evaluate(
    plan: Plan,
    directory: Path | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    on_progress: Callable[[engine.Progress], None] = lambda progress: None,
) -> Evaluated:
    """Evaluate a denoiser.

    A script that calls this starts processes, which import it: what it does stands below
    ``if __name__ == "__main__":``.

    Args:
        plan: what, on what, by what.
        directory: where ``results.json`` and ``clips.csv`` go, and what is done is kept: started
            again, only what is not there yet, or of other files or versions, is computed. None
            keeps nothing.
        jobs: processes; by default as many as processors.
        retry_failed: compute those again that failed.
        on_progress: called after each measurement: of one clip, signal and family of metrics.

    Raises:
        S5ToLoihiError: see ``plan.check``; or the directory is in use or holds something else.
    """
    notes = check(plan)
    network = bundle.read(plan.network).network
    FastSimulator(network)  # compiled once, before every process would
    tasks = tasks_of(plan)
    with contextlib.ExitStack() as held:
        if directory is None:
            place = Path(held.enter_context(tempfile.TemporaryDirectory())) / "evaluation"
        else:
            place = directory
        opened = held.enter_context(store.opened(place, network.name, EVALUATION))
        execute = functools.partial(
            workers.execute, compute=compute, jobs=jobs or workers.processors()
        )
        outcomes = engine.run(tasks, opened, execute, retry_failed, on_progress)
        evaluated = assembled(plan, notes, tasks, outcomes)
        if directory is not None:
            write_record(evaluated, directory / RESULTS, SCHEMA)
            with replacing(directory / TABLE) as temporary, temporary.open("w", newline="") as file:
                csv.writer(file).writerows(table_of(evaluated))
    return evaluated
