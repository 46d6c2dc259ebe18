"""Tables of a sweep: one row a point, the best compromises first to be seen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from s5_to_loihi.reports.tables import new_table
from s5_to_loihi.sweeping.metrics import METRICS

#: Metrics shown in a table besides quality and those of the front; ``results.json`` has all.
SHOWN = ("synapses", "cores", "memory", "synops", "latency", "energy")
#: Columns for settings that have short names of their own.
HEADINGS = {"checkpoint": "checkpoint", "activations": "act.", "objective": "mapped for"}


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
    shown = [name for name in METRICS if name in wanted & known]
    scopes = {point["metrics"]["energy"]["scope"] for point in points}
    table = new_table(
        f"{results['name']}: {len(points)} points; * is on the front of"
        f" {', '.join(METRICS[name].title for name in front)}: no other point is better in one of"
        f" these and as good in the rest\nenergy: a token, {', '.join(sorted(scopes)) or '-'};"
        " times and energies are modelled, ranges in results.json",
        ("", "left"),
        *((HEADINGS.get(name, name), "left") for name in varied),
        *((METRICS[name].title, "right") for name in shown),
    )
    table.add_row(*([""] * (len(varied) + 1)), *(METRICS[name].unit for name in shown), style="dim")
    for point in points:
        table.add_row(
            "*" if point["on_front"] else "",
            *(setting(point["settings"][name]) for name in varied),
            *(number(point, name) for name in shown),
            style="bold" if point["on_front"] else None,
        )
    return table


def failure_table(results: dict, varied: Sequence[str]) -> Table | None:
    """One row a point that failed, with the reason; None if none did."""
    points = [point for point in results["points"] if point["status"] == "failed"]
    if not points:
        return None
    table = new_table(
        f"{len(points)} points failed (--retry-failed computes them again)",
        *((HEADINGS.get(name, name), "left") for name in varied),
    )
    table.add_column("reason", overflow="fold", ratio=1)
    for point in points:
        cells = [setting(point["settings"][name]) for name in varied]
        table.add_row(*cells, Text(point["error"]), style="yellow")
    return table


def setting(value: object) -> str:
    """Return a setting for people."""
    return "-" if value is None else str(value)


def number(point: dict, name: str) -> str:
    """Return a metric of a point for people, without its unit."""
    if name not in point["metrics"]:
        return "-"
    return f"{point['metrics'][name]['value']:,.{METRICS[name].digits}f}"
