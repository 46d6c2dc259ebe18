"""Executes what is left to do of a batch of tasks, and keeps each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from s5_to_loihi.tasks.store import Store
from s5_to_loihi.tasks.task import Outcome, Task

#: Computes tasks and yields each with its outcome, in any order.
Executor = Callable[[Sequence[Task]], Generator[tuple[Task, Outcome], None, None]]


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        total: tasks in all.
        resumed: found done or failed when it started.
        done, failed: since then, and before.
    """

    total: int
    resumed: int
    done: int
    failed: int


def run(
    tasks: Iterable[Task],
    store: Store,
    execute: Executor,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Outcome, ...]:
    """Compute the tasks whose result is not stored; return the outcomes of all, in order.

    Args:
        tasks: of different keys.
        store: where results are kept.
        execute: what computes them.
        retry_failed: compute those again that failed.
        on_progress: called at the start and after each task.
    """
    tasks = tuple(tasks)
    outcomes = {task.key: outcome for task in tasks if (outcome := store.read(task))}
    if retry_failed:
        outcomes = {key: outcome for key, outcome in outcomes.items() if outcome.error is None}
    resumed = len(outcomes)

    def report() -> None:
        failed = sum(outcome.error is not None for outcome in outcomes.values())
        on_progress(Progress(len(tasks), resumed, len(outcomes) - failed, failed))

    report()
    left = [task for task in tasks if task.key not in outcomes]
    if left:
        with closing(execute(left)) as results:
            for task, outcome in results:
                store.write(task, outcome)
                outcomes[task.key] = outcome
                report()
    return tuple(outcomes[task.key] for task in tasks)
