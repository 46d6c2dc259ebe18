"""Tables of a sweep: one row a point, the best compromises first to be seen."""

from __future__ import annotations

from collections.abc import Sequence

from s5_to_loihi.reports.numbers import symbol
from s5_to_loihi.reports.table import Cell, Mark, Row, Table, of_rows
from s5_to_loihi.sweeping.metrics import METRICS, Better

#: Metrics shown in a table besides quality and those of the front; ``results.json`` has all.
SHOWN = ("synapses", "cores", "memory", "synops", "latency", "energy")
#: Columns for settings that have short names of their own.
HEADINGS = {"activations": "act.", "objective": "mapped for"}


def point_table(results: dict, varied: Sequence[str]) -> Table:
    """One row a point that was computed: what was varied, and its numbers.

    Args:
        results: see ``sweeping.results.assembled``.
        varied: settings to show.
    """
    points = [point for point in results["points"] if point["status"] == "done"]
    front = [entry["metric"] for entry in results["front"]]
    known = {name for point in points for name in point["metrics"]}
    wanted = {*SHOWN, *front, "si_snr" if "si_snr" in known else "fidelity"}
    metrics = [name for name in METRICS if name in wanted & known]
    scopes = {point["metrics"]["energy"]["scope"] for point in points}
    return of_rows(
        f"{results['name']}: {len(points)} points; * is on the front of"
        f" {', '.join(METRICS[name].title for name in front)}: no other point is better in one of"
        f" these and as good in the rest\nenergy: a token, {', '.join(sorted(scopes)) or '-'};"
        " times and energies are modelled, ranges in results.json",
        ("", *_headings(varied), *(f"{METRICS[name].title} # {unit(name)}" for name in metrics)),
        (
            Row(
                (
                    Cell("*" if point["on_front"] else ""),
                    *(Cell(setting(point["settings"][name])) for name in varied),
                    *(Cell(number(point, name)) for name in metrics),
                ),
                strong=point["on_front"],
            )
            for point in points
        ),
    )


def verdict(results: dict) -> str:
    """Return how many points there are, and how many are good compromises, in a line."""
    points = results["points"]
    done = [point for point in points if point["status"] == "done"]
    failed = len(points) - len(done)
    front = sum(point["on_front"] for point in done)
    return (
        f"{results['name']}: {len(done):,} of {len(points):,} points computed, {front:,} of them"
        f" unbeaten" + (f"; {failed:,} failed" if failed else "")
    )


def facts(results: dict, varied: Sequence[str]) -> list[tuple[str, str]]:
    """Return the best point of each metric of the front."""
    done = [point for point in results["points"] if point["status"] == "done"]
    found = []
    for entry in results["front"] if done else ():
        name = entry["metric"]
        known = [point for point in done if name in point["metrics"]]
        if not known:
            continue
        values = [point["metrics"][name]["value"] for point in known]
        end = max(values) if METRICS[name].better is Better.HIGHER else min(values)
        best = known[values.index(end)]
        settings = ", ".join(f"{key} {setting(best['settings'][key])}" for key in varied)
        shown = f"{number(best, name)} {unit(name)} ({settings})"
        found.append((f"best {METRICS[name].title}", shown))
    return found


def failure_table(results: dict, varied: Sequence[str]) -> Table | None:
    """One row a point that failed, with the reason; None if none did."""
    points = [point for point in results["points"] if point["status"] == "failed"]
    if not points:
        return None
    return of_rows(
        f"{len(points)} points failed (--retry-failed computes them again)",
        (*_headings(varied), "reason"),
        (
            (
                *(Cell(setting(point["settings"][name]), Mark.NOTICE) for name in varied),
                Cell(point["error"], Mark.NOTICE),
            )
            for point in points
        ),
    )


def _headings(varied: Sequence[str]) -> list[str]:
    return [HEADINGS.get(name, name) for name in varied]


def setting(value: object) -> str:
    """Return a setting for people."""
    return "-" if value is None else str(value)


def number(point: dict, name: str) -> str:
    """Return a metric of a point for people, without its unit."""
    if name not in point["metrics"]:
        return "-"
    return f"{point['metrics'][name]['value']:,.{METRICS[name].digits}f}"


def unit(name: str) -> str:
    """Return the unit of a metric for people."""
    return symbol(METRICS[name].unit)
