"""Runs sweeps of cheap points in processes that can be killed: ``-m sweep_parent DIRECTORY``.

For each line on standard input a process is forked that sweeps (importing the package once saves
most of a second a run); the line that answers is its number. The file ``behaviours.json`` in the
directory says what the points do, see ``sweep_points``.
"""

import functools
import json
import os
import sys
from pathlib import Path

import sweep_points

from s5_to_loihi.sweeping.results import SWEEP
from s5_to_loihi.tasks import engine, store, workers
from s5_to_loihi.tasks.task import Task, digest_of


def tasks_of(directory: Path, behaviours: dict) -> list[Task]:
    """One task a behaviour; each two in a row share their first step."""
    tasks = []
    for index, (name, behaviour) in enumerate(behaviours.items()):
        settings = {"name": name}
        payload = (str(directory), digest_of(settings)[:20], behaviour)
        tasks.append(Task(settings, {"behaviour": behaviour}, (index // 2, index), payload))
    return tasks


def sweep(directory: Path, behaviours: dict, jobs: int = 2, **options) -> tuple:
    """Sweep in this process."""
    execute = functools.partial(workers.execute, compute=sweep_points.compute, jobs=jobs)
    with store.opened(directory / "out", "test", SWEEP) as opened:
        return engine.run(tasks_of(directory, behaviours), opened, execute, **options)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            sweep(place, json.loads((place / "behaviours.json").read_text()))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
