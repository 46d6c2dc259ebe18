"""The result of a sweep: all points in the order of the plan, with the Pareto front marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s5_to_loihi.sweeping.front import front
from s5_to_loihi.sweeping.metrics import METRICS, Better
from s5_to_loihi.sweeping.plan import Plan
from s5_to_loihi.tasks.store import Kind
from s5_to_loihi.tasks.task import Outcome, Task
from s5_to_loihi.tasks.tool import tool

#: What its directory holds.
SWEEP = Kind("sweep", "point")
SCHEMA = "s5_to_loihi sweep results"
SCHEMA_VERSION = 1
RESULTS = "results.json"


def assembled(plan: Plan, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> dict:
    """Return what ``results.json`` holds; described in ``docs/sweep.md``.

    It depends on the plan and on what was computed, not on how: no times, no paths of this machine.
    """
    values = np.array(
        [[value_of(outcome.metrics or {}, name) for name in plan.front] for outcome in outcomes]
    )
    higher = [METRICS[name].better is Better.HIGHER for name in plan.front]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": plan.name,
        "tool": dict(tool()),
        "data": {role: getattr(plan, role) for role in ("calibration", "held_out", "clean")},
        "options": plan.options.as_json(),
        "sequence_length": plan.sequence_length,
        "layout": plan.layout,
        "seed": plan.seed,
        "axes": {name: list(values) for name, values in plan.axes.items()},
        "front": [{"metric": name, "better": METRICS[name].better.value} for name in plan.front],
        "points": [
            {
                "key": task.key,
                "settings": task.settings,
                "inputs": task.basis["inputs"],
                "status": "done" if outcome.error is None else "failed",
                "on_front": bool(on_front),
                "metrics": outcome.metrics,
                "error": outcome.error,
            }
            for task, outcome, on_front in zip(tasks, outcomes, front(values, higher), strict=True)
        ],
    }


def has_all(point: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Tell whether a point of the results was computed and has all these metrics."""
    return point["metrics"] is not None and all(name in point["metrics"] for name in names)


def value_of(metrics: Mapping[str, Any], name: str) -> float:
    """Return the nominal value of a metric of a point; not a number if it has none."""
    return metrics[name]["value"] if name in metrics else math.nan
