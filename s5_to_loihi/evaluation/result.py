"""The result of an evaluation: every clip with its numbers, means, and what stays out of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from s5_to_loihi import bundle
from s5_to_loihi.evaluation.challenge import Resources, resources
from s5_to_loihi.evaluation.clip import FLOAT, INTEGERS, NOISY
from s5_to_loihi.evaluation.metrics import METRICS, SIGNAL, of_family
from s5_to_loihi.evaluation.operations import Operations
from s5_to_loihi.evaluation.plan import Plan
from s5_to_loihi.evaluation.statistics import Mean, differences, mean
from s5_to_loihi.files.records import Schema, Signed, read_record
from s5_to_loihi.tasks.task import Outcome, Task
from s5_to_loihi.tasks.tool import tool

RESULTS = "results.json"
SCHEMA = Schema(
    name="result of an evaluation",
    key="s5_to_loihi evaluation results",
    version=1,
    largest=1 << 28,
    do=f"Give the {RESULTS} that 's5-to-loihi evaluate' wrote",
)

#: Signal -> metric -> a number; None where it is not defined.
Values = Mapping[str, Mapping[str, Signed | None]]


@dataclass(frozen=True)
class Clip:
    """A clip of the test set.

    Attributes:
        name: unique in it.
        noisy, clean: files; None without a clean one.
        seconds, channels: of it; zero if it could not be read.
        excluded: why it is in no mean; None if it is.
        failed: whether that is an error of the computation, not of the clip.
        notes: what one has to know of it.
        values: of its signals.
        saturated_inputs: integers of tokens that were clipped on the way in.
        beyond_full_scale: samples of the denoised recording that a wav file would clip.
    """

    name: str
    noisy: str
    clean: str | None
    seconds: float
    channels: int
    excluded: str | None
    failed: bool
    notes: tuple[str, ...]
    values: Values
    saturated_inputs: int
    beyond_full_scale: int


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        network: its name.
        digest: of the bundle.
        tool: name -> version of what computed it.
        paired_by: how clips were found to belong together.
        notes: what the user should know.
        metrics: that were computed, of ``METRICS``.
        signals: that were judged.
        clips: all, in order.
        means: signal -> metric -> over the clips that are not excluded.
        rounding: metric -> integers less float model, clip by clip; empty without one.
        resources: what the N-DNS challenge asks besides.
    """

    network: str
    digest: str
    tool: Mapping[str, str]
    paired_by: str
    notes: tuple[str, ...]
    metrics: tuple[str, ...]
    signals: tuple[str, ...]
    clips: tuple[Clip, ...]
    means: Mapping[str, Mapping[str, Mean]]
    rounding: Mapping[str, Mean]
    resources: Resources | None

    @property
    def included(self) -> tuple[Clip, ...]:
        """Those clips that means are over."""
        return tuple(clip for clip in self.clips if clip.excluded is None)

    def of(self, signal: str, metric: str) -> tuple[float | None, ...]:
        """Return a metric of a signal for each clip that is included."""
        return tuple(clip.values.get(signal, {}).get(metric) for clip in self.included)

    def rounding_of(self, metric: str) -> tuple[float | None, ...]:
        """Return integers less float model for each clip that is included."""
        return differences(self.of(INTEGERS, metric), self.of(FLOAT, metric))


def assembled(
    plan: Plan, notes: Iterable[str], tasks: Sequence[Task], outcomes: Sequence[Outcome]
) -> Evaluated:
    """Put together what tasks found; see ``plan.tasks_of``."""
    network = bundle.read(plan.network).network
    of_clip: dict[str, list[tuple[Task, Outcome]]] = {}
    for task, outcome in zip(tasks, outcomes, strict=True):
        of_clip.setdefault(task.settings["clip"], []).append((task, outcome))
    clips = tuple(_clip(found) for found in of_clip.values())
    included = [clip for clip in clips if clip.excluded is None]
    known = [
        name
        for family in (SIGNAL, *plan.families)
        for name in of_family(family)
        if any(name in values for clip in included for values in clip.values.values())
    ]
    means: dict[str, dict[str, Mean]] = {}
    for signal in plan.signals:
        for name in known:
            found = mean([clip.values.get(signal, {}).get(name) for clip in included])
            if found is not None:
                means.setdefault(signal, {})[name] = found
    rounding = {}
    if plan.model is not None:
        for name in known:
            pairs = [
                [clip.values.get(signal, {}).get(name) for clip in included]
                for signal in (INTEGERS, FLOAT)
            ]
            difference = mean(differences(*pairs))
            if difference is not None:
                rounding[name] = difference
    names = {clip.name for clip in included}
    facts = {
        signal: [
            outcome.metrics["facts"]
            for task, outcome in zip(tasks, outcomes, strict=True)
            if task.settings["clip"] in names
            and (task.settings["signal"], task.settings["family"]) == (signal, SIGNAL)
            and outcome.metrics
        ]
        for signal in (NOISY, INTEGERS)
    }
    return Evaluated(
        network=network.name,
        digest=bundle.digest(plan.network),
        tool=dict(tool()),
        paired_by=plan.pairs.how,
        notes=tuple(notes),
        metrics=tuple(known),
        signals=plan.signals,
        clips=clips,
        means=means,
        rounding=rounding,
        resources=resources(
            network,
            [Operations(**one["operations"]) for one in facts[INTEGERS]],
            lags=[one["lag"] for one in facts[INTEGERS]],
            encode_decode_ms=[one["encode_decode_ms"] for one in facts[NOISY]],
        ),
    )


def _clip(found: Sequence[tuple[Task, Outcome]]) -> Clip:
    """Join what was computed of a clip."""
    pair = found[0][0].payload.pair
    errors = [outcome.error for _, outcome in found if outcome.error is not None]
    reached = [(task.settings, outcome.metrics) for task, outcome in found if outcome.metrics]
    excluded = [metrics["excluded"] for _, metrics in reached if "excluded" in metrics]
    values: dict[str, dict[str, float | None]] = {}
    notes: dict[str, None] = {}
    facts: dict = {"seconds": 0.0, "channels": 0, "saturated_inputs": 0, "beyond_full_scale": 0}
    for settings, metrics in reached:
        if "excluded" not in metrics:
            values.setdefault(settings["signal"], {}).update(metrics["values"])
            notes.update(dict.fromkeys(metrics["notes"]))
            facts |= {name: metrics["facts"][name] for name in facts.keys() & metrics["facts"]}
    return Clip(
        name=pair.name,
        noisy=os.fspath(pair.noisy),
        clean=None if pair.clean is None else os.fspath(pair.clean),
        excluded=next(iter([*excluded, *errors]), None),
        failed=bool(errors) and not excluded,
        notes=tuple(notes),
        values=values,
        **facts,
    )


def read(path: str | os.PathLike) -> Evaluated:
    """Read what an evaluation wrote.

    Raises:
        InputError: it is no such file, or not whole.
    """
    return read_record(Evaluated, path, SCHEMA)


def table_of(evaluated: Evaluated) -> list[list[str | float | None]]:
    """Return rows for a CSV: a line a clip and signal, with all metrics."""
    names = [name for name in METRICS if name in evaluated.metrics]
    rows: list[list[str | float | None]] = [["clip", "signal", *names, "excluded"]]
    for clip in evaluated.clips:
        for signal in evaluated.signals:
            values = clip.values.get(signal, {})
            rows.append([clip.name, signal, *(values.get(name) for name in names), clip.excluded])
    return rows
