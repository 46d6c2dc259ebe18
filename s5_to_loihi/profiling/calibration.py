"""The cost model against public measurements: the functions that a network goes through."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi.files.reading import read_yaml
from s5_to_loihi.loihi2 import facts
from s5_to_loihi.loihi2.facts import System, load_system
from s5_to_loihi.profiling.constants import NOMINAL, Constants, drawn, interval, provenance
from s5_to_loihi.profiling.costs import RAILS, idle_power
from s5_to_loihi.profiling.demand import COUNTS, Demand, Operations
from s5_to_loihi.profiling.estimate import BUSY, TIMESTEP, energy_name, figures, power_name
from s5_to_loihi.profiling.quantity import Origin, Quantity

POINTS = facts.DIRECTORY / "operating_points.yaml"
#: How far a nominal prediction may be off where enough is known of what was run.
FACTOR = 1.5
#: Choices of constants that are drawn.
SAMPLES = 2000
#: Ends of a demand that is not known exactly.
_LOW, _VALUE, _HIGH = range(3)


@dataclass(frozen=True)
class OperatingPoint:
    """A public measurement that the model can be held against; see ``operating_points.yaml``.

    Attributes:
        name, source: for people.
        system: that it was measured on.
        chips: in use.
        entry: as read.
        measured: figure -> values.
        detail: whether enough is known to hold the nominal prediction to ``FACTOR``.
        why: what is missing where it is not.
        fitted: the constants derived from this point.
    """

    name: str
    source: str
    system: System
    chips: int
    entry: dict
    measured: dict[str, list[float]]
    detail: bool
    why: str
    fitted: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """One measured number of a point and its prediction.

    Attributes:
        point: that was measured.
        figure: what.
        measured: the number.
        predicted: with its range, over constants and over what is not known of the demand.
        likely: percentiles 5 and 95 over drawn constants, of the demand as given.
    """

    point: OperatingPoint
    figure: str
    measured: Quantity
    predicted: Quantity
    likely: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured.value / self.predicted.value

    @property
    def inside(self) -> bool:
        """Whether the measured number lies in the predicted range."""
        return self.measured.value in self.predicted

    @property
    def close(self) -> bool:
        """Whether the nominal prediction is within ``FACTOR``."""
        return 1 / FACTOR <= self.ratio <= FACTOR


def read_points(path: Path = POINTS) -> tuple[OperatingPoint, ...]:
    """Read the points that come with the package."""
    points = []
    content = read_yaml(path)
    assert isinstance(content, list)
    for entry in content:
        points.append(
            OperatingPoint(
                name=entry["name"],
                source=entry["source"],
                system=load_system(entry["system"]),
                chips=entry.get("chips") or _chips(entry),
                entry=entry,
                measured=entry["measured"],
                detail=entry["detail"],
                why=entry.get("why", ""),
                fitted=tuple(entry["fitted"]),
            )
        )
    return tuple(points)


def _chips(entry: dict) -> int:
    """Return the chips that the cores fill."""
    system = load_system(entry["system"])
    return min(int(system.chips.value), system.chip.chips_for(entry["cores"]))


def demand_of(point: OperatingPoint, core_end: int = _VALUE, total_end: int = _VALUE) -> Demand:
    """Return what a point demands, its unknowns at one end.

    Args:
        point: one of ``read_points``.
        core_end: 0, 1, 2: low, value or high of what the busiest core and link have.
        total_end: the same of what all cores do together.
    """
    core = {name: _at(value, core_end) for name, value in point.entry["core"].items()}
    total = {name: _at(value, total_end) for name, value in point.entry["total"].items()}
    updates = []
    for step in point.entry["steps"]:
        rows = [[_at(value, core_end) for value in row] for row in step]
        updates.append(np.array([[n, n * each, idle] for n, each, idle in rows], dtype=float))
    steps = len(updates)
    # Operations are of one timestep, as is the energy that is compared.
    operations = Operations(*(total.get(name, 0.0) * steps for name in Operations._fields))
    return Demand(
        latency=steps,
        **{name: np.full((steps, 1), core.get(name, 0.0)) for name in COUNTS},
        updates=tuple(updates),
        operations=operations,
        busiest={},
        cores=point.entry["cores"],
        chips=point.chips,
        system_chips=int(point.system.chips.value),
        gated=False,
    )


def _at(value, end: int) -> float:
    return float(value[end] if isinstance(value, list) else value)


def predicted_figures(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Return the figures that are compared, a timestep, (cases,) each."""
    found = figures(demand, constants)
    idle = idle_power(demand, constants)
    compared = {TIMESTEP: found[TIMESTEP]}
    for scope, watts in idle.items():
        compared[f"idle power, {scope}"] = watts
        compared[f"energy, {scope}"] = found[energy_name(scope)] / demand.steps
        compared[f"power, {scope}"] = found[power_name(scope)]
    dynamic = found[energy_name(RAILS)] - idle[RAILS] * found[BUSY]
    return compared | {"dynamic": dynamic / demand.steps}


def check(point: OperatingPoint) -> list[Checked]:
    """Predict all that was measured of a point."""
    constants, source = interval(point.system), provenance(point.system)
    samples = predicted_figures(demand_of(point), drawn(point.system, SAMPLES, seed=0))
    nominal = predicted_figures(demand_of(point), constants)
    corners = [
        predicted_figures(demand_of(point, core_end, total_end), constants)
        for core_end, total_end in itertools.product((_LOW, _HIGH), repeat=2)
    ]
    rows = []
    for figure, values in point.measured.items():
        unit, scope = _unit_and_scope(figure)
        all_cases = np.concatenate([one[figure] for one in (nominal, *corners)])
        predicted = Quantity(
            float(nominal[figure][NOMINAL]),
            float(all_cases.min()),
            float(all_cases.max()),
            unit,
            scope,
            Origin.MODELLED,
            source,
        )
        rows += [
            Checked(
                point,
                figure,
                Quantity.exact(value, unit, scope, Origin.PUBLISHED, point.source),
                predicted,
                tuple(np.percentile(samples[figure], (5, 95)).tolist()),
            )
            for value in map(float, values)
        ]
    return rows


def _unit_and_scope(figure: str) -> tuple[str, str]:
    if figure == TIMESTEP:
        return "us", "a timestep"
    if figure == "dynamic":
        return "uJ", f"{RAILS}, dynamic, a timestep"
    kind, scope = figure.split(", ")
    return ("uJ", f"{scope}, a timestep") if kind == "energy" else ("W", scope)


def middle(point: OperatingPoint, figure: str) -> float:
    """Return the geometric mean of what was measured of a figure."""
    return float(np.exp(np.mean(np.log(point.measured[figure]))))


def solved(point: OperatingPoint, figure: str, constant: str) -> float:
    """Return the value of a constant with which a point comes out as measured, others nominal.

    Searched from a thirtieth to thirty times its value.
    """
    wanted = middle(point, figure)
    value = float(interval(point.system)[constant][NOMINAL])
    low, high = value / 30, value * 30
    for _ in range(60):
        tried = (low * high) ** 0.5
        if predicted_with(point, figure, constant, tried) < wanted:
            low = tried
        else:
            high = tried
    return (low * high) ** 0.5


def predicted_with(point: OperatingPoint, figure: str, constant: str, value: float) -> float:
    """Return a nominal prediction with another value of one constant."""
    constants = {name: cases[[NOMINAL]] for name, cases in interval(point.system).items()}
    constants[constant] = np.array([value])
    return float(predicted_figures(demand_of(point), constants)[figure][0])
