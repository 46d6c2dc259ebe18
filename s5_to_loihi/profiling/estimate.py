"""A mode's numbers with their uncertainty: the interval, drawn constants, and what matters most."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.profiling.constants import (
    NOMINAL,
    Constants,
    drawn,
    interval,
    one_at_a_time,
    provenance,
)
from s5_to_loihi.profiling.costs import energies, timesteps
from s5_to_loihi.profiling.demand import COUNTS, Demand
from s5_to_loihi.profiling.quantity import Origin, Quantity

#: Timesteps that each drawn choice of constants is evaluated for, spread evenly over the input.
DRAWN_TIMESTEPS = 1024
#: Percentiles of drawn constants that are shown: nine of ten lie within.
MOST = (5, 50, 95)
#: Constants listed for each number, those that move it most.
LISTED = 5

TIMESTEP, BUSY, LATENCY, THROUGHPUT = "timestep", "busy", "latency", "throughput"
TIMESTEP_95, TIMESTEP_LONGEST = "timestep_95", "timestep_longest"
#: Unit and scope of the figures of a time.
TIMES = {
    TIMESTEP: ("us", "a timestep, mean over the input"),
    TIMESTEP_95: ("us", "a timestep, 95th percentile over the input"),
    TIMESTEP_LONGEST: ("us", "a timestep, the longest of the input"),
    BUSY: ("us", "from a token's entry to when the next may enter, without the host"),
    LATENCY: ("us", "from a token's entry to its output, without the host"),
    THROUGHPUT: ("tokens/s", "as many as the chip takes, without the host"),
}


@dataclass(frozen=True)
class Influence:
    """How much a constant matters to a number.

    Attributes:
        constant: its name in the chip's or the system's file.
        effect: the number; its range is that of this constant alone, all others nominal.
        share: part of the sum of such spans over all constants.
    """

    constant: str
    effect: Quantity
    share: float


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mode's figures: name -> arrays over cases, see ``figures``.

    Attributes:
        cases: of ``constants.interval``.
        samples: of ``constants.drawn``.
        singles: of ``constants.one_at_a_time``, for the constants ``names``.
        source: of the numbers, for people.
    """

    cases: dict[str, np.ndarray]
    samples: dict[str, np.ndarray]
    singles: dict[str, np.ndarray]
    names: tuple[str, ...]
    source: str

    def quantity(self, name: str) -> Quantity:
        """Return a figure with its interval."""
        unit, scope = unit_and_scope(name)
        return ranged(self.cases[name], unit, scope, self.source)

    def spread(self, name: str) -> Quantity:
        """Return the median of a figure over the drawn constants, in the range of ``MOST``."""
        low, middle, high = np.percentile(self.samples[name], MOST).tolist()
        unit, scope = unit_and_scope(name)
        scope = f"{scope}; median, percentiles {MOST[0]} and {MOST[2]} of drawn constants"
        return Quantity(middle, low, high, unit, scope, Origin.MODELLED, self.source)

    def influences(self, name: str) -> tuple[Influence, ...]:
        """Return the constants that move a figure most."""
        pairs = self.singles[name].reshape(-1, 2)
        spans = np.abs(pairs[:, 1] - pairs[:, 0])
        order = [index for index in np.argsort(-spans, kind="stable") if spans[index] > 0]
        found = []
        for index in order[:LISTED]:
            constant = self.names[index]
            effect = replace(
                self.quantity(name),
                low=float(pairs[index].min()),
                high=float(pairs[index].max()),
                # The pair is of fewer timesteps than the value.
                value=float(np.clip(self.cases[name][NOMINAL], *sorted(pairs[index]))),
                scope=f"{unit_and_scope(name)[1]}; range of {constant} alone",
            )
            found.append(Influence(constant, effect, float(spans[index] / spans.sum())))
        return tuple(found)


def ranged(cases: np.ndarray, unit: str, scope: str, source: str) -> Quantity:
    """Return a modelled number of the cases of ``constants.interval``."""
    low, high = float(cases.min()), float(cases.max())
    return Quantity(float(cases[NOMINAL]), low, high, unit, scope, Origin.MODELLED, source)


def energy_name(scope: str, part: str = "total") -> str:
    """Return the name of an energy's figure."""
    return f"energy, {scope}, {part}"


def power_name(scope: str) -> str:
    """Return the name of a power's figure."""
    return f"power, {scope}"


def unit_and_scope(name: str) -> tuple[str, str]:
    """Return the unit and the scope of a figure."""
    if name in TIMES:
        return TIMES[name]
    kind, scope = name.split(", ")[:2]
    return {"energy": "uJ", "power": "W"}[kind], scope


def figures(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Compute figures for choices of the constants, (cases,) each."""
    steps = timesteps(demand, constants)
    busy = steps.sum(axis=1).mean(axis=1)
    found = {
        TIMESTEP: steps.mean(axis=(1, 2)),
        BUSY: busy,
        LATENCY: steps.mean(axis=(1, 2)) * demand.latency,
        THROUGHPUT: 1e6 / busy,
    }
    for scope, parts in energies(demand, constants, busy, busy).items():
        found |= {energy_name(scope, part): energy for part, energy in parts.items()}
        found[power_name(scope)] = parts["total"] / busy
    return found


def over_timesteps(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Compute how timesteps differ over the input, (cases,) each."""
    steps = timesteps(demand, constants)
    flat = steps.reshape(len(steps), -1)
    return {TIMESTEP_95: np.percentile(flat, 95, axis=1), TIMESTEP_LONGEST: flat.max(axis=1)}


def estimate(demand: Demand, system: System, seed: int, samples: int) -> Estimate:
    """Estimate a demand on a system.

    Args:
        demand: of one mode.
        system: whose constants to use.
        seed: of the drawn constants.
        samples: how many times to draw them.
    """
    cases = interval(system)
    names, singles = one_at_a_time(system)
    fewer = shortened(demand, DRAWN_TIMESTEPS)
    return Estimate(
        cases=figures(demand, cases) | over_timesteps(demand, cases),
        samples=figures(fewer, drawn(system, samples, seed)),
        singles=figures(fewer, singles),
        names=names,
        source=provenance(system),
    )


def shortened(demand: Demand, timestep_count: int) -> Demand:
    """Return a demand with so many timesteps at most, evenly spread over the tokens."""
    tokens = demand.synops.shape[1]
    kept = max(1, timestep_count // demand.steps)
    if tokens <= kept:
        return demand
    chosen = np.linspace(0, tokens - 1, kept).round().astype(int)
    return replace(demand, **{name: getattr(demand, name)[:, chosen] for name in COUNTS})
