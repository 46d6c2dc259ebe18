"""Tables of a calibration: constants that were fitted, and how well the model fits."""

from __future__ import annotations

from s5_to_loihi.loihi2.facts import UNITS
from s5_to_loihi.profiling.fitting import OFF, Calibration, Fitted, Residual
from s5_to_loihi.reports.numbers import short
from s5_to_loihi.reports.table import Cell, Mark, Table, table


def verdict(found: Calibration, system: str) -> str:
    """Return how much of the board the model explains, in a line."""
    fits = len(found.residuals) - len(found.misfits)
    return (
        f"{system}: {len(found.fitted)} constants from {len(found.residuals)} experiments;"
        f" the model fits {fits} of them within {OFF:.0%}"
    )


def warnings(found: Calibration) -> list[str]:
    """Say which terms of the model are wrong for this board."""
    families: dict[str, list[Residual]] = {}
    for one in found.misfits:
        families.setdefault(one.family, []).append(one)
    return [
        f"the model does not fit {len(ones)} experiments of '{family}', which wait for"
        f" {', '.join(sorted({one.decides for one in ones}))}: off by up to"
        f" {max(abs(one.off) for one in ones):.0%}. Ranges are widened by that; a term of it is"
        " wrong for this board"
        for family, ones in families.items()
    ]


def constant_table(found: Calibration) -> Table:
    """One row a constant."""
    return table(
        "Constants",
        found.fitted,
        {
            "constant": lambda one: one.name,
            "value #": lambda one: short(one.value),
            "range": _range,
            "unit": lambda one: UNITS[one.name],
            "before": lambda one: (
                f"{one.before.value:g} ({one.before.low:g} to {one.before.high:g})"
            ),
            "experiments #": lambda one: one.experiments,
        },
    )


def _range(one: Fitted) -> str:
    return f"{short(one.low)} to {short(one.high)}"


def residual_table(found: Calibration) -> Table:
    """One row an experiment."""
    return table(
        "Experiments: microseconds of a timestep",
        found.residuals,
        {
            "experiment": lambda one: one.name,
            "waits for": lambda one: one.decides,
            "measured #": lambda one: short(one.measured),
            "fitted #": lambda one: short(one.predicted),
            "off #": lambda one: Cell(
                f"{one.off:+.1%}", Mark.NOTICE if abs(one.off) > OFF else None
            ),
        },
    )
