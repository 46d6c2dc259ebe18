"""``sweep``: every combination of settings, and which of them no other beats."""

from __future__ import annotations

import functools
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import write_json

#: Seconds over which the speed is averaged that the time left is told from: points take long.
SPEED_SECONDS = 3600.0
#: That a point may take by default: far more than any that was measured, and less than for ever.
POINT_SECONDS = 4 * 3600.0


def sweep(
    file: Path = Argument(..., metavar="SWEEP.yaml", help="What to sweep over."),
    directory: Path = Option(
        ..., "--output", "-o", metavar="DIRECTORY", help="Where results go, new or of this sweep."
    ),
    jobs: choices.JobsOption = None,
    scheduler: str | None = Option(
        None, metavar="tcp://HOST:PORT", help="Compute on this Dask cluster instead of here."
    ),
    retry_failed: bool = Option(
        False, "--retry-failed", help="Compute those points again that failed."
    ),
    timeout: float = Option(
        POINT_SECONDS,
        metavar="SECONDS",
        min=1,
        help="That a point may take; one that takes longer is ended and listed as failed.",
    ),
    as_json: choices.JsonOption = False,
) -> None:
    """Compute every combination of settings in a file, and mark the best compromises.

    Each point is quantized, simulated on held-out data, mapped and profiled. Kill it at any time
    and start it again: points that are done are not computed twice, and only those whose files,
    settings or tool changed are computed anew. A point that fails is listed with its reason. The
    directory gets a file for each point, results.json, pareto.png and pareto.html. Example:

        s5-to-loihi sweep sweep.yaml -o sweep_output --jobs 4

    A sweep.yaml, with paths relative to it (docs/sweep.md has all keys):

    \b
    calibration: calibration.wav       # or .npy, .npz
    held_out: noisy.wav
    clean: clean.wav                   # for SI-SNR
    axes:
      checkpoint: [runs/h48, runs/h96]
      sparsity: [null, 0.95]           # null: as the checkpoint is
      weights: [8, 4]
      mode: [pipelined, fall-through]
    """
    # Heavy imports, which other commands need not wait for.
    from s5_to_loihi.reports import sweep_tables
    from s5_to_loihi.reports.front_drawing import draw_front, plotted, write_page
    from s5_to_loihi.reports.summary import Summary, command
    from s5_to_loihi.sweeping import cluster
    from s5_to_loihi.sweeping.inputs import notes_of, tasks_of
    from s5_to_loihi.sweeping.plan import read_plan
    from s5_to_loihi.sweeping.point import compute
    from s5_to_loihi.sweeping.results import RESULTS, SWEEP, assembled, has_all
    from s5_to_loihi.tasks import engine, store, workers

    if jobs is not None and scheduler is not None:
        raise InputError("--jobs", "is given with --scheduler", "A cluster has its own workers")
    plan = read_plan(file)
    with console.spinner("Reading checkpoints and data"):
        tasks = tasks_of(plan)
        notes = notes_of(plan)
    execute: engine.Executor
    if scheduler is not None:
        execute = functools.partial(
            cluster.execute, compute=compute, address=scheduler, timeout=timeout, say=console.warn
        )
    else:
        execute = functools.partial(
            workers.execute,
            compute=compute,
            jobs=jobs or workers.processors(),
            timeout=timeout,
        )
    pictures = [directory / "pareto.png", directory / "pareto.html"]
    with store.opened(directory, plan.name, SWEEP) as opened:
        with console.batch_progress("points", SPEED_SECONDS) as shown:
            outcomes = engine.run(tasks, opened, execute, retry_failed, shown)
        results = assembled(plan, tasks, outcomes)
        write_json(directory / RESULTS, results)
        if any(has_all(point, plotted(results)) for point in results["points"]):
            draw_front(results, plan.varied, pictures[0])
            write_page(results, plan.varied, pictures[1])
        else:
            for path in pictures:
                path.unlink(missing_ok=True)
            pictures = []
    if as_json:
        console.print_json(results)
        return
    varied = plan.varied or ("checkpoint",)
    seconds = sum(outcome.seconds for outcome in outcomes)
    facts = [
        *sweep_tables.facts(results, varied),
        ("time", f"{seconds:,.0f} s, summed over all points, earlier runs included"),
        ("wrote", ", ".join(map(str, (directory / RESULTS, *pictures)))),
    ]
    after = f"open {pictures[1]} in a browser" if pictures else ""
    failures = sweep_tables.failure_table(results, varied)
    console.summarise(
        Summary(
            sweep_tables.verdict(results),
            facts,
            choices=notes,
            next=command("sweep", file, "-o", directory, "--retry-failed") if failures else after,
        ),
        asked=(sweep_tables.point_table(results, varied), *([failures] if failures else [])),
    )
