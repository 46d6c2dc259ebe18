"""The tables of simulators.py, and its results as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from simulator_floor import Dissection, Part, work_of
from simulator_ways import (
    COUNTING,
    FINE,
    FLOAT,
    FLOAT_ONE,
    FLOAT_STEP,
    FUSED,
    INTEL,
    INTEL_STEP,
    INTERPRETER,
    INTERPRETER_STEP,
    SEQUENCES,
    STREAMING,
    TWO_THREADS,
    Subject,
    Way,
)


def table(title: str, first: str, *headings: str) -> Table:
    result = Table(title=title, title_justify="left")
    result.add_column(first, no_wrap=True)
    for heading in headings:
        result.add_column(heading, justify="right", no_wrap=True)
    return result


#: What each way is held against: the fast simulator's way of doing the same.
AGAINST = {
    STREAMING: (STREAMING, INTERPRETER_STEP, FUSED, FINE, FLOAT_STEP, INTEL_STEP),
    SEQUENCES: (SEQUENCES, TWO_THREADS, COUNTING, INTERPRETER, FLOAT, FLOAT_ONE, INTEL),
}


@dataclass(frozen=True)
class Measured:
    """What was measured on one network.

    Attributes:
        best: way -> microseconds a token, of the fastest run.
        outputs: way -> how its outputs compare with the interpreter's.
        floors: microseconds that the multiply-accumulates of a token take at the processor's peak.
        network_bytes: of the synapses.
    """

    name: str
    best: dict[str, float]
    outputs: dict[str, str]
    floors: dict[str, float]
    network_bytes: int

    def ratios(self) -> dict[str, float]:
        """Return way -> its cost, with the fast simulator's as 1."""
        return {
            way: self.best[way] / self.best[own]
            for own, ways in AGAINST.items()
            for way in ways
            if way in self.best
        }


def measured(subject: Subject, ways: Sequence[Way], rates: dict[str, float]) -> Measured:
    """Return what some ways took, with the floor beside."""
    work, highest = work_of(subject), max(rates.values())
    return Measured(
        subject.network.name,
        {way.name: way.best for way in ways},
        {way.name: way.outputs for way in ways},
        {STREAMING: work.synops / highest / 1e3, SEQUENCES: work.macs / highest / 1e3},
        work.network_bytes,
    )


def print_comparison(found: Sequence[Measured], console: Console) -> None:
    """Print the table: each way's cost as a multiple of the fast simulator's."""
    headings = [text for one in found for text in (f"{one.name}\nus/token", "ratio")]
    rows = table("Against the fast simulator, which is 1", "", *headings, "outputs")
    for own, ways in AGAINST.items():
        for way in ways:
            if not any(way in one.best for one in found):
                continue
            cells = []
            for one in found:
                costs = (one.best, one.ratios())
                cells += [f"{cost[way]:,.2f}" if way in cost else "" for cost in costs]
            rows.add_row(way, *cells, next(one.outputs[way] for one in found if way in one.best))
        floors = [
            text
            for one in found
            for text in (f"{one.floors[own]:,.2f}", f"{one.floors[own] / one.best[own]:,.2f}")
        ]
        rows.add_row("floor: its multiply-accumulates", *floors, "", end_section=True)
    console.print(rows)


def print_changes(found: Sequence[Measured], before: dict, console: Console) -> None:
    """Print what changed since the last time, as ratios: another machine moves both sides."""
    rows = table("Since the last time: ratio now / then", "", *(one.name for one in found))
    ways = dict.fromkeys(way for one in found for way in one.best)
    for way in ways:
        cells = []
        for one in found:
            then = before.get(one.name, {}).get(way)
            cells.append(f"{one.best[way] / then:.2f}" if then and way in one.best else "")
        rows.add_row(way, *cells)
    console.print(rows)


def write(path: Path, found: Sequence[Measured]) -> None:
    """Write the costs, for the next time."""
    content = {one.name: one.best for one in found}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def print_work(
    subject: Subject, ways: Sequence[Way], rates: dict[str, float], console: Console
) -> None:
    """Print operations and bytes of a token, and the fraction of the processor's peak."""
    work = work_of(subject)
    best = {way.name: way.best for way in ways}
    highest = max(rates.values())
    rows = table("What a token takes", "", "streaming", "sequences")
    attained = work.synops / best[STREAMING] / 1e3, work.macs / best[SEQUENCES] / 1e3
    for name, *cells in (
        ("multiply-accumulates", f"{work.synops:,.0f} synops", f"{work.macs:,}"),
        ("the same, all matrices dense", f"{work.dense_macs:,}", f"{work.dense_macs:,}"),
        ("neuron updates", f"{work.updates:,}", f"{work.updates:,}"),
        ("bytes read and written", f"{work.streaming_bytes:,.0f}", f"{work.sequence_bytes:,.0f}"),
        ("bytes/ns", *(f"{b / best[n] / 1e3:.1f}" for b, n in (
            (work.streaming_bytes, STREAMING), (work.sequence_bytes, SEQUENCES)))),
        ("multiply-accumulates/ns", *(f"{rate:.2f}" for rate in attained)),
        ("fraction of the peak", *(f"{100 * rate / highest:.1f} %" for rate in attained)),
        ("floor at the peak, us/token", *(
            f"{macs / highest / 1e3:.2f}" for macs in (work.synops, work.macs))),
    ):  # fmt: skip
        rows.add_row(name, *cells)
    console.print(rows)
    console.print(
        f"{100 * work.sent:.0f} % of the messages are not zero; synapses take"
        f" {work.network_bytes / 1e3:,.0f} kB. Peak (int32 multiply-adds/ns, 1 core): "
        + ", ".join(f"{rate:.1f} in {name}" for name, rate in rates.items())
        + ".",
        highlight=False,
    )


def print_parts(subject: Subject, ways: Sequence[Way], rounds: int, console: Console) -> None:
    """Print where the time goes: inside the kernels, in compiled loops, and in Python."""
    dissection = Dissection(subject, rounds)
    best = {way.name: way.best for way in ways}
    for title, parts, name in (
        ("Sequences: where the time goes", dissection.sequences(), SEQUENCES),
        ("Streaming: where the time goes", dissection.streaming(), STREAMING),
    ):
        rows = table(title, "", "us/token", "%", "multiply-\naccumulates", "MAC/ns")
        whole = parts[-1]
        python = Part("Python, memory around it", best[name] - whole.microseconds)
        for part in [*parts, python, Part(name, best[name], whole.macs)]:
            rows.add_row(
                part.name,
                f"{part.microseconds:.3f}",
                f"{100 * part.microseconds / best[name]:.1f}",
                f"{part.macs:,.0f}" if part.macs else "",
                f"{part.macs / part.microseconds / 1e3:.2f}" if part.macs else "",
                style="bold" if part.name in (whole.name, name) else "",
            )
        console.print(rows)


def print_targets(ways: Sequence[Way], console: Console) -> None:
    best = {way.name: way.best for way in ways}
    streaming, sequences = best[STREAMING], best[SEQUENCES]
    rows = table("Targets (best runs)", "", "target", "measured", "")
    goals = [
        (f"{STREAMING}, us/token", 25, streaming, True),
        (f"{SEQUENCES}, us/token", 5, sequences, True),
        ("counting activity, %", 10, 100 * (best[COUNTING] / sequences - 1), True),
    ] + [
        (f"{other} / {own}", least, best[other] / best[own], False)
        for other, own, least in (
            (FLOAT_ONE, SEQUENCES, 5),
            (INTEL, SEQUENCES, 40),
            (INTEL_STEP, STREAMING, 5000),
            (FINE, SEQUENCES, 1000),
            (FINE, STREAMING, 1000),
        )
        if other in best
    ]
    for name, goal, measured, at_most in goals:
        met = measured <= goal if at_most else measured >= goal
        sign = "<=" if at_most else ">="
        rows.add_row(name, f"{sign} {goal:,}", f"{measured:,.2f}", "met" if met else "MISSED")
    console.print(rows)
