"""Constants of the cost model from what the micro-benchmarks of ``suite.py`` took on a board.

Times: the constants with which the model (``loihi2/timing.py``) comes nearest to the measured
timesteps, by least squares of logarithms from several starts. Energies: dynamic energy of a
timestep is a sum of counts times constants >= 0. Ranges are twice the standard deviation that the
residuals leave a constant; where experiments do not fit the model, by as much wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls

from s5_to_loihi.backends.measured import MeasuredProfile
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2.facts import Fact, System
from s5_to_loihi.loihi2.resources import Term
from s5_to_loihi.profiling.constants import NOMINAL, Constants, fact, interval
from s5_to_loihi.profiling.costs import RAILS, term_times, timesteps
from s5_to_loihi.profiling.demand import Demand

#: Constants of time, and the term in which each is. Bits of a message are as given: only their
#: ratio to the bandwidth takes time.
TIMES = {
    "update_time": Term.UPDATES,
    "instruction_time": Term.UPDATES,
    "synop_time": Term.SYNOPS,
    "memory_word_time": Term.WORDS,
    "link_bandwidth": Term.CORE_LINK,
    "barrier_time": Term.BARRIER,
    "barrier_time_per_doubling": Term.BARRIER,
}
#: Constants of energy, and what they are multiplied with.
ENERGIES = {
    "synop_energy": "synops",
    "update_energy": "updates",
    "instruction_energy": "instructions",
    "message_energy": "messages",
    "hop_energy": "hops",
}
#: How far a timestep may be off before it is said that the model does not fit it.
OFF = 0.05
#: Choices of constants that the search starts from, and how far they lie apart.
STARTS, SPREAD = 12, 0.7
#: A constant that moves no timestep by a hundredth of its own change is not determined.
INSENSITIVE = 0.01
#: Scale of residuals beyond which an experiment counts less: one term may be wrong.
OUTLYING = 0.03


@dataclass(frozen=True, eq=False)
class Observation:
    """An experiment that was run.

    Attributes:
        name: of the experiment.
        demand: of a timestep.
        measured: what the run wrote.
    """

    name: str
    demand: Demand
    measured: MeasuredProfile

    @property
    def family(self) -> str:
        """What was varied."""
        return self.name.split("-")[0]

    @property
    def timestep(self) -> float:
        """Microseconds of a timestep."""
        if self.measured.time is None:
            raise InputError(self.name, "has no times", "Run it with its measurements")
        return self.measured.time.total


@dataclass(frozen=True)
class Fitted:
    """A constant as it came out.

    Attributes:
        name: of the fact.
        value, low, high: in the fact's unit.
        before: the fact that it replaces.
        experiments: that it decides, or bears energy in.
    """

    name: str
    value: float
    low: float
    high: float
    before: Fact
    experiments: int


@dataclass(frozen=True)
class Residual:
    """An experiment as measured and as the fitted model has it, microseconds a timestep."""

    name: str
    family: str
    decides: str
    measured: float
    predicted: float

    @property
    def off(self) -> float:
        """Measured over predicted, less one."""
        return self.measured / self.predicted - 1


@dataclass(frozen=True)
class Calibration:
    """What a suite says of a board.

    Attributes:
        fitted: the constants that it determines.
        undetermined: those that it does not, which stay as they are.
        residuals: of every experiment.
    """

    fitted: tuple[Fitted, ...]
    undetermined: tuple[str, ...]
    residuals: tuple[Residual, ...]

    @property
    def misfits(self) -> tuple[Residual, ...]:
        """Experiments that the model does not fit."""
        return tuple(one for one in self.residuals if abs(one.off) > OFF)


def calibrate(observations: Sequence[Observation], system: System) -> Calibration:
    """Fit the constants of the cost model.

    Args:
        observations: of the suite, or a part of it.
        system: whose constants to begin with.

    Raises:
        InputError: there are no observations, or one has no times.
    """
    if not observations:
        raise InputError("calibration", "has no experiment that was run", "Run the suite first")
    given = {name: cases[[NOMINAL]] for name, cases in interval(system).items()}
    times, free, constants = _times(observations, system, given)
    energies, unclear = _energies(observations, system)
    residuals = tuple(_residual(one, constants) for one in observations)
    return Calibration(
        fitted=(*times, *energies, *_at_rest(observations, system)),
        undetermined=(*(name for name in TIMES if name not in free), *unclear),
        residuals=residuals,
    )


def _times(
    observations: Sequence[Observation], system: System, given: Constants
) -> tuple[list[Fitted], list[str], Constants]:
    """Return the constants of time, the names of those that are determined, and all constants."""
    measured = np.log([one.timestep for one in observations])
    names = [name for name in TIMES if name != "barrier_time_per_doubling" or _chips(observations)]
    start = np.log([given[name][0] for name in names])

    def constants_at(logarithms: np.ndarray) -> Constants:
        return {**given, **{n: np.exp([v]) for n, v in zip(names, logarithms, strict=True)}}

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        constants = constants_at(logarithms)
        said = [float(timesteps(one.demand, constants).mean()) for one in observations]
        # What nothing hangs on stays where it is.
        held = 1e-4 * (logarithms - start)
        return np.concatenate([np.log(said) - measured, held])

    rng = np.random.default_rng(0)
    tried = [
        least_squares(
            residuals, start + rng.normal(0, SPREAD * (number > 0), len(names)),
            loss="soft_l1", f_scale=OUTLYING, diff_step=np.full(len(names), 1e-3),
        )
        for number in range(STARTS)
    ]  # fmt: skip
    best = min(tried, key=lambda one: one.cost)
    rows, reached = len(observations), np.asarray(best.x)
    gradient, left = np.asarray(best.jac)[:rows], residuals(reached)[:rows]
    free = [at for at in range(len(names)) if np.abs(gradient[:, at]).max() > INSENSITIVE]
    spread = 2 * _deviations(gradient[:, free], left)
    constants = {
        name: constants_at(reached)[name] if names.index(name) in free else given[name]
        for name in names
    }
    constants = {**given, **constants}
    wrong = _misfit_of_terms(observations, constants)
    found = []
    for at, deviation in zip(free, spread, strict=True):
        name, value = names[at], float(np.exp(reached[at]))
        wider = float(np.exp(deviation)) * (1 + wrong.get(TIMES[name], 0.0))
        decided = int((np.abs(gradient[:, at]) > INSENSITIVE).sum())
        found.append(Fitted(name, value, value / wider, value * wider, fact(system, name), decided))
    return found, [names[at] for at in free], constants


def _deviations(columns: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Return the standard deviations of least squares, with residuals weighed as they were."""
    count = max(1, len(residuals) - columns.shape[1])
    weighed = residuals / np.sqrt(1 + (residuals / OUTLYING) ** 2)
    variance = float((weighed**2).sum()) / count
    return np.sqrt(np.maximum(np.diag(np.linalg.pinv(columns.T @ columns)), 0) * variance)


def _chips(observations: Sequence[Observation]) -> bool:
    return any(one.demand.chips > 1 for one in observations)


def _deciding(one: Observation, constants: Constants) -> Term:
    """Return what a timestep waits for."""
    terms = {term: float(np.max(ns)) for term, ns in term_times(one.demand, constants).items()}
    longest = max(terms, key=lambda term: terms[term])
    return Term.CORE_LINK if longest is Term.MESH_LINK else longest


def _residual(one: Observation, constants: Constants) -> Residual:
    predicted = float(timesteps(one.demand, constants).mean())
    decides = _deciding(one, constants).label
    return Residual(one.name, one.family, decides, one.timestep, predicted)


def _misfit_of_terms(
    observations: Sequence[Observation], constants: Constants
) -> Mapping[Term, float]:
    """Return by how much the worst experiment of a term is off, where the model does not fit it."""
    worst: dict[Term, float] = {}
    for one in observations:
        off = abs(_residual(one, constants).off)
        if off > OFF:
            term = _deciding(one, constants)
            worst[term] = max(worst.get(term, 0.0), off)
    return worst


def _energies(
    observations: Sequence[Observation], system: System
) -> tuple[list[Fitted], tuple[str, ...]]:
    """Return the constants of energy, and the names of those that are not determined."""
    names = (*ENERGIES, "core_power")
    rows, wanted = [], []
    for one in observations:
        power = one.measured.power
        if power is None or power.static is None:
            continue
        energy = (power.total - power.static) * one.timestep  # uJ
        done, steps = one.demand.operations, one.demand.steps
        counts = [getattr(done, what) / steps * 1e-6 for what in ENERGIES.values()]
        rows.append([*counts, one.demand.cores * one.timestep])
        wanted.append(energy)
    if len(rows) <= len(names):
        return [], names
    # Relative errors count, but nothing is known better than a hundredth of the largest.
    weights = 1 / np.maximum(np.abs(wanted), 0.01 * max(map(abs, wanted)))
    columns = np.array(rows) * weights[:, None]
    right = np.array(wanted) * weights
    scale = np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    solution, _ = nnls(columns / scale, right)
    values = solution / scale
    left = right - columns @ values
    spread = 2 * _deviations(columns / scale, left) / scale
    found, unclear = [], []
    for name, value, deviation, column in zip(names, values, spread, columns.T, strict=True):
        if value <= 0 or deviation >= value:
            unclear.append(name)
            continue
        bears = int((column * value > 0.01 * right).sum())
        low, high = float(value - deviation), float(value + deviation)
        found.append(Fitted(name, float(value), low, high, fact(system, name), bears))
    return found, tuple(unclear)


def _at_rest(observations: Sequence[Observation], system: System) -> list[Fitted]:
    """Return what a chip draws at rest on its neurocore rails, where runs say so.

    Of a board the supplies that are named rails: in all, less what is dynamic.
    """
    watts = []
    for one in observations:
        power = one.measured.power
        if power is None or power.static is None:
            continue
        if power.scope == RAILS:
            watts.append(power.static / one.demand.chips)
        elif power.rails and one.demand.system_chips == one.demand.chips:
            dynamic = power.total - power.static
            watts.append((sum(power.rails.values()) - dynamic) / one.demand.chips)
    if not watts:
        return []
    value, count = float(np.mean(watts)), len(watts)
    return [
        Fitted("static_power", value, min(watts), max(watts), fact(system, "static_power"), count)
    ]


def calibrated(system: System, found: Calibration, where: str) -> System:
    """Return a system with the constants that were fitted.

    Args:
        system: that was calibrated.
        found: of it.
        where: what was run, for the source of each constant.
    """
    of_chip: dict[str, Any] = {}
    of_system: dict[str, Any] = {}
    for one in found.fitted:
        new = Fact(
            value=one.value,
            low=one.low,
            high=one.high,
            unit=one.before.unit,
            source=(
                f"s5-to-loihi calibrate, {where}, {one.experiments} experiments;"
                f" before {one.before.value:g} ({one.before.low:g} to {one.before.high:g})"
            ),
            confidence="medium",
        )
        (of_chip if hasattr(system.chip, one.name) else of_system)[one.name] = new
    return replace(system, chip=replace(system.chip, **of_chip), **of_system)
