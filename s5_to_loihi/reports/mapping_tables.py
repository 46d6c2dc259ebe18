"""Tables of a mapping: Intel's own, and what was reached beside what cannot be beaten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from s5_to_loihi.bundle.core_mapping import CoreMapping
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.memory import limits_of
from s5_to_loihi.loihi2.resources import Resource, Term
from s5_to_loihi.loihi2.timing import CASES
from s5_to_loihi.profiling.measured_mapping import Subject, Tried, best
from s5_to_loihi.reports.table import Content, Row, Table, of_rows, strong

#: Links listed.
HEAVIEST = 12


def utilisation_rows(evaluation: MappingEvaluation) -> list[tuple[str, np.ndarray, int, int]]:
    """Return for each group its name, largest part of a core, neurons and cores.

    The parts are fractions of a core's limits by ``Resource``, each of the core where
    the group needs most of it.
    """
    loads, limits = evaluation.loads, limits_of(evaluation.system.chip)
    rows = []
    for index, group in enumerate(evaluation.work.groups):
        parts = loads.group_of_part == index
        largest = (loads.words[parts] / limits).max(axis=0)
        neurons = int(loads.neurons_of_part[parts].sum())
        rows.append((group, largest, neurons, int(parts.sum())))
    return rows


def utilisation_table(evaluation: MappingEvaluation) -> Table:
    """One row a group, as Intel's compiler prints it."""
    rows: list[Iterable[Content] | Row] = [
        (group, *(f"{fraction:.2%}" for fraction in fractions), cores)
        for group, fractions, _, cores in utilisation_rows(evaluation)
    ]
    fullest = (f"{fraction:.2%}" for fraction in evaluation.fractions.max(axis=0))
    rows.append(strong("fullest core / all", *fullest, evaluation.loads.cores))
    return of_rows(
        "Per core utilization (the group's part of the core where it needs most; cores may hold"
        " parts of several groups)",
        ("group", *(f"{resource.label} #" for resource in Resource), "Cores #"),
        rows,
    )


def timestep_table(evaluation: MappingEvaluation) -> Table:
    """One row a term of the runtime model: nanoseconds, the bound, and the range."""
    low, value, high = (evaluation.times(case) for case in CASES)
    times = (value, evaluation.shortest_times(), low, high)
    decides = max(value, key=value.__getitem__)
    rows = {term: (term.label, *(f"{one[term]:,.0f}" for one in times)) for term in value}
    return of_rows(
        "Timestep in ns, by the model: the largest row decides (bound: what no mapping on as many"
        " cores can beat)",
        ("term", "reached #", "bound #", "fast constants #", "slow constants #"),
        (strong(*row) if term == decides else row for term, row in rows.items()),
    )


def verdict(evaluation: MappingEvaluation) -> str:
    """Return how many cores it takes and how long a timestep is, in a line."""
    system, cores = evaluation.system, evaluation.loads.cores
    return (
        f"{cores:,} of {system.cores:,} cores of {system.name}, timestep"
        f" {evaluation.timestep() / 1000:,.2f} µs"
    )


def facts(evaluation: MappingEvaluation) -> list[tuple[str, str]]:
    """Return what limits a mapping, as a summary says it."""
    system = evaluation.system
    core, resource, fraction = evaluation.fullest
    slow_core, work, nanoseconds = evaluation.slowest
    bound, by = evaluation.fewest_cores
    cores = evaluation.loads.cores
    bounds = evaluation.shortest_times()
    timestep, shortest = evaluation.timestep(), max(bounds.values())
    low, _, high = evaluation.timesteps
    without = max(time for term, time in bounds.items() if term != Term.BARRIER)
    return [
        (
            "cores",
            f"{cores:,} of {system.cores:,} (any mapping needs {bound:,}, by {by.label}),"
            f" {evaluation.chips} of {system.chips.value:.0f} chips",
        ),
        ("fullest", f"core {core}, {resource.label} {fraction:.1%}"),
        ("slowest", f"core {slow_core}, {work.label} {nanoseconds:,.0f} ns"),
        (
            "timestep",
            f"{timestep / 1000:,.2f} µs ({low / 1000:,.2f} to {high / 1000:,.2f}), modelled; bound"
            f" for {cores:,} cores {shortest / 1000:,.2f} µs, ratio {timestep / shortest:.2f}",
        ),
        (
            "no barrier",
            f"{evaluation.busy() / 1000:,.2f} µs, bound {without / 1000:,.2f} µs, ratio"
            f" {evaluation.busy() / without:.2f}",
        ),
        ("rates", evaluation.work.rates_origin),
    ]


def as_dictionary(mapping: CoreMapping, evaluation: MappingEvaluation) -> dict:
    """Return all of it for JSON; times in nanoseconds, memory in fractions of the limits."""
    core, resource, fraction = evaluation.fullest
    slow_core, work, nanoseconds = evaluation.slowest
    bound, by = evaluation.fewest_cores
    return {
        "system": mapping.system,
        "objective": mapping.objective,
        "seed": mapping.seed,
        "rates": mapping.rates,
        "chips": evaluation.chips,
        "cores": {"used": evaluation.loads.cores, "bound": bound, "bound_by": by.label},
        "groups": [
            {
                "group": group,
                "neurons": neurons,
                "cores": cores,
                **{one.label: float(fractions[one]) for one in Resource},
            }
            for group, fractions, neurons, cores in utilisation_rows(evaluation)
        ],
        "fullest": {"core": core, "resource": resource.label, "fraction": fraction},
        "slowest": {"core": slow_core, "work": work.label, "nanoseconds": nanoseconds},
        "timestep": {
            case: {"timestep": evaluation.timestep(case), **_by_label(evaluation.times(case))}
            for case in CASES
        },
        "bound": {
            "timestep": max(evaluation.shortest_times().values()),
            **_by_label(evaluation.shortest_times()),
        },
        "heaviest_links": [link._asdict() for link in evaluation.heaviest_links(HEAVIEST)],
        "placement": {name: cores.tolist() for name, cores in mapping.cores.items()},
    }


def _by_label(times: dict[Term, float]) -> dict[str, float]:
    return {term.label: nanoseconds for term, nanoseconds in times.items()}


def search_table(searched: Subject, tried: Sequence[Tried]) -> Table:
    """One row a mapping that was measured, in order; what was taken stands out."""
    taken = best(searched, tried)
    rows: list[Iterable[Content] | Row] = []
    for number, one in enumerate(tried, start=1):
        candidate = one.candidate
        times = (f"{us:,.2f}" for us in (candidate.given, candidate.predicted, one.measured))
        off = f"{100 * (one.measured / candidate.predicted - 1):+,.0f} %"
        cells: list[Content] = [number, candidate.cores, *times, off]
        rows.append(strong(*cells) if one is taken else cells)
    return of_rows(
        f"Mappings that were run, {searched.mode.value}: µs of a timestep with the constants as"
        " given, as predicted from all that was measured before, and as measured",
        ("run #", "cores #", "given #", "predicted #", "measured #", "off #"),
        rows,
    )


def search_verdict(searched: Subject, tried: Sequence[Tried]) -> str:
    """Return what was found, in a line."""
    found, start = best(searched, tried), tried[0]
    return (
        f"{found.candidate.cores:,} cores, timestep {found.measured:,.2f} µs as measured; the"
        f" model's own choice took {start.measured:,.2f} µs on {start.candidate.cores:,}"
    )


def search_facts(searched: Subject, tried: Sequence[Tried]) -> list[tuple[str, str]]:
    """Return how far a search is, and how well the model predicts by now."""
    said = [("measured", f"{len(tried)} mappings, {searched.mode.value}")]
    if tried:
        first, last = (100 * (one.measured / one.candidate.predicted - 1)
                       for one in (tried[0], tried[-1]))  # fmt: skip
        off = f"measured {first:+,.0f} % of predicted at first, {last:+,.0f} % at last"
        said.append(("prediction", off))
    return said


def search_warnings(tried: Sequence[Tried]) -> tuple[str, ...]:
    """Return which mappings a board did not follow, as its counters say."""
    return tuple(
        f"run {number}: {one.used} cores were in use, {one.candidate.cores} were meant: the board's"
        " compiler placed the neurons itself"
        for number, one in enumerate(tried, start=1)
        if not one.followed
    )


def search_dictionary(searched: Subject, tried: Sequence[Tried], waiting: Path | None) -> dict:
    """Return a search for JSON; times in microseconds."""
    taken = best(searched, tried) if tried else None
    return {
        "mode": searched.mode.value,
        "waiting": None if waiting is None else str(waiting),
        "tried": [
            {
                "cores": one.candidate.cores,
                "given": one.candidate.given,
                "predicted": one.candidate.predicted,
                "measured": one.measured,
                "cores_in_use": one.used,
                "taken": one is taken,
            }
            for one in tried
        ],
    }
