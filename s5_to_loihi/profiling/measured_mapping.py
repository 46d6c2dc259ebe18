"""A mapping search with measurements in the loop: what a board took corrects what the model says.

The model's own choice is measured first. Then, as long as the budget lasts: constants are fitted to
all that was measured, held near those given by the width of their ranges; the network is mapped
anew with them, onto several numbers of cores; what the model still misses is carried over from the
measured mappings with the nearest number of cores; and the best of what was not measured yet is
measured next. The best that was measured is taken, so that it is never worse than the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from s5_to_loihi.backends.board_worker import REPLAYED
from s5_to_loihi.backends.measured import MeasuredProfile
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.core_mapping import BUDGET, CoreMapping, Objective
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2.deliveries import deliveries
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.mapper import BALANCED_SLACK, map_network, map_on_numbers
from s5_to_loihi.loihi2.rates import Rates, rates_of
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording, record
from s5_to_loihi.profiling.constants import NOMINAL, Constants, fact, interval
from s5_to_loihi.profiling.costs import timesteps
from s5_to_loihi.profiling.demand import Demand, demands
from s5_to_loihi.profiling.fitting import TIMES
from s5_to_loihi.profiling.profile import evaluate_recording, recorded_tokens
from s5_to_loihi.profiling.suite_files import as_counted
from s5_to_loihi.simulators.interpreter import Mode

#: Constants that are fitted; what differs between chips is the same for all that is compared.
FITTED = tuple(name for name in TIMES if name != "barrier_time_per_doubling")
#: How well a timestep is known, and the starts of a fit: how many, how far apart (logarithms).
KNOWN, STARTS, SPREAD = 0.01, 8, 0.5
#: Fits up to this much worse (half a sum of squares) than the best are explanations, too.
LIKELY = 3.0
#: Numbers of cores that are tried around the best one, as parts of it.
AROUND = (0.6, 0.75, 0.9, 1.0, 1.1, 1.3, 1.6)
#: A mapping must promise so much to be measured.
GAIN = 0.005


@dataclass(frozen=True, eq=False)
class Subject:
    """What is mapped, and for what.

    Attributes:
        network: with phases.
        rates: that mappings are balanced for.
        recording: of the tokens that a board repeats while it is measured.
        system: whose constants to begin with.
        objective: ``latency`` or ``balanced``.
        mode: that is measured.
        cores: to use at most.
        seed: of the mappings.
    """

    network: Network
    rates: Rates
    recording: Recording
    system: System
    objective: Objective
    mode: Mode
    cores: int
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mapping to measure.

    Attributes:
        mapping: onto the subject's system.
        cores: that it uses.
        demand: of a timestep.
        given: us of a timestep, with the constants as given.
        predicted: us, with all that was measured before it.
    """

    mapping: CoreMapping
    cores: int
    demand: Demand
    given: float
    predicted: float


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate that was measured.

    Attributes:
        candidate: as it was proposed.
        measured: us of a timestep.
        demand: of a timestep, with the busiest core that counters showed.
        used: cores that counters showed in use; None without counters.
    """

    candidate: Candidate
    measured: float
    demand: Demand
    used: int | None

    @property
    def followed(self) -> bool:
        """Whether as many cores were in use as were meant, as far as counters say."""
        return self.used in (None, self.candidate.cores)


def subject(
    opened: Bundle,
    system: System,
    objective: Objective = Objective.LATENCY,
    mode: Mode = Mode.PIPELINED,
    cores: int | None = None,
    seed: int = 0,
) -> Subject:
    """Return what to search for.

    Args:
        opened: a bundle with recorded tokens; a board repeats the first of them.
        system, objective, mode, cores, seed: see ``Subject``; cores by default all there are.

    Raises:
        InputError: the fewest cores are asked for, which need no measurement, or there are no
            recorded tokens.
    """
    if objective is Objective.CORES:
        what = "is cores: how few a network fits is not measured"
        raise InputError("objective", what, "Use latency or balanced")
    repeated = repeated_tokens(opened, mode)
    most = min(system.cores, cores or system.cores)
    return Subject(
        opened.network, rates_of(opened), record(opened.network, repeated), system, objective,
        mode, most, seed,
    )  # fmt: skip


def repeated_tokens(opened: Bundle, mode: Mode) -> np.ndarray:
    """Return the recorded tokens that a board repeats while it is measured.

    Raises:
        InputError: there are none.
    """
    period = 1 if mode is Mode.PIPELINED else opened.network.latency
    return recorded_tokens(opened)[: max(1, REPLAYED // period), :1]


def search(
    subject: Subject,
    measure: Callable[[CoreMapping], MeasuredProfile],
    budget: int = BUDGET,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tried, ...]:
    """Measure mappings, the model's own choice first, until nothing better is promised.

    Args:
        subject: to map.
        measure: runs the network as it is mapped, on the board or what stands in for it.
        budget: runs at most.
        on_progress: called with runs made and the budget.

    Returns:
        All that was measured, in order; ``best`` of them is the mapping to take.

    Raises:
        InputError: there is no budget, or a measurement has no times.
        CapacityError: the network does not fit.
    """
    if budget < 1:
        raise InputError("budget", f"is {budget} (limit 1 or more)")
    tried: tuple[Tried, ...] = ()
    while len(tried) < budget and (candidate := propose(subject, tried)) is not None:
        tried = (*tried, observe(candidate, measure(candidate.mapping)))
        on_progress(len(tried), budget)
    return tried


def candidate_of(subject: Subject, mapping: CoreMapping, predicted: float) -> Candidate:
    """Return a candidate that was proposed before, from its mapping and what was predicted."""
    given = {name: cases[[NOMINAL]] for name, cases in interval(subject.system).items()}
    return replace(_candidate(subject, mapping, given, given, ()), predicted=predicted)


def observe(candidate: Candidate, measured: MeasuredProfile) -> Tried:
    """Return what a run says of a candidate.

    Raises:
        InputError: it has no times.
    """
    if measured.time is None:
        raise InputError(measured.network, "has no times", "Run it with its measurements")
    used = sum(bool(one.updates or one.synops) for one in measured.activity) or None
    demand = as_counted(candidate.demand, measured)
    return Tried(candidate, measured.time.total, demand, used)


def best(subject: Subject, tried: Sequence[Tried]) -> Tried:
    """Return the best that was measured: the shortest; ``balanced``, fewest cores near that."""
    shortest = min(tried, key=lambda one: one.measured)
    if subject.objective is Objective.LATENCY:
        return shortest
    enough = BALANCED_SLACK * shortest.measured
    return min(
        (one for one in tried if one.measured <= enough),
        key=lambda one: (one.candidate.cores, one.measured),
    )


def propose(subject: Subject, tried: Sequence[Tried]) -> Candidate | None:
    """Return the mapping to measure next; None if nothing better is promised.

    The same measurements give the same proposal.

    Raises:
        CapacityError: the network does not fit.
    """
    given = {name: cases[[NOMINAL]] for name, cases in interval(subject.system).items()}
    if not tried:
        mapping, _ = map_network(
            subject.network, subject.rates, subject.system, subject.objective, subject.cores,
            subject.seed,
        )  # fmt: skip
        return _candidate(subject, mapping, given, given, ())
    for constants in explanations(subject, tried):
        missed = _missed(tried, constants)
        found = [
            _candidate(subject, mapping, given, constants, missed)
            for mapping in _mappings(subject, tried, constants)
        ]
        promising = [one for one in found if _is_new(one, tried) and _gains(subject, one, tried)]
        if promising:
            return min(promising, key=lambda one: _rank(subject, one, tried))
    return None


def explanations(subject: Subject, tried: Sequence[Tried]) -> list[Constants]:
    """Return constants with which the model may give what was measured, the likeliest first.

    Least squares of logarithms: what was measured is known to ``KNOWN``, each constant to half of
    its range. Several starts, since other terms may explain the same.
    """
    given = {name: cases[[NOMINAL]] for name, cases in interval(subject.system).items()}
    facts = [fact(subject.system, name) for name in FITTED]
    start = np.log([one.value for one in facts])
    width = np.array([max(0.1, math.log(one.high / one.low) / 2) for one in facts])
    measured = np.log([one.measured for one in tried])

    def constants_at(logarithms: np.ndarray) -> Constants:
        return {**given, **{n: np.exp([v]) for n, v in zip(FITTED, logarithms, strict=True)}}

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        constants = constants_at(logarithms)
        said = np.log([_predicted(one.demand, constants) for one in tried])
        return np.concatenate([(said - measured) / KNOWN, (logarithms - start) / width])

    rng = np.random.default_rng(subject.seed)
    fits = [
        least_squares(
            residuals,
            start + width * rng.normal(0, SPREAD * (number > 0), len(start)),
            diff_step=np.full(len(start), 1e-3),
            max_nfev=60,
        )
        for number in range(STARTS)
    ]
    likely = min(one.cost for one in fits) + LIKELY
    found: dict[tuple[float, ...], Constants] = {}
    for one in sorted(fits, key=lambda one: one.cost):
        if one.cost <= likely:
            alike = tuple(np.asarray(one.x).round(1).tolist())
            found.setdefault(alike, constants_at(np.asarray(one.x)))
    return list(found.values())


def _missed(tried: Sequence[Tried], constants: Constants) -> tuple[tuple[float, float], ...]:
    """Return what the model misses: logarithms of cores, and of measured over predicted."""
    by_cores: dict[int, list[float]] = {}
    for one in tried:
        off = math.log(one.measured / _predicted(one.demand, constants))
        by_cores.setdefault(one.candidate.cores, []).append(off)
    return tuple((math.log(n), float(np.mean(off))) for n, off in sorted(by_cores.items()))


def _predicted(demand: Demand, constants: Constants) -> float:
    return float(timesteps(demand, constants).mean())


def _mappings(
    subject: Subject, tried: Sequence[Tried], constants: Constants
) -> Iterator[CoreMapping]:
    """Yield mappings that are balanced for constants, onto numbers of cores around the best."""
    chip = subject.system.chip
    facts = {name: replace(getattr(chip, name), value=float(constants[name][0])) for name in FITTED}
    system = replace(subject.system, chip=replace(chip, **facts))
    number = best(subject, tried).candidate.cores
    numbers = {min(subject.cores, max(1, round(number * part))) for part in AROUND}
    numbers.add(subject.cores if subject.objective is Objective.LATENCY else number)
    for mapping, evaluation in map_on_numbers(
        subject.network, subject.rates, system, sorted(numbers), subject.seed
    ):
        if evaluation.loads.cores <= subject.cores:
            # Times of a mapping are those of the constants that come with the system.
            yield replace(mapping, objective=subject.objective.value)


def _candidate(
    subject: Subject,
    mapping: CoreMapping,
    given: Constants,
    constants: Constants,
    missed: tuple[tuple[float, float], ...],
) -> Candidate:
    evaluation = evaluate_recording(subject.network, subject.recording, mapping, subject.system)
    table = deliveries(evaluation.work, evaluation.loads.core_of)
    demand = demands(subject.recording, evaluation, table)[subject.mode]
    cores = evaluation.loads.cores
    off = 0.0
    if missed:
        places, offs = (list(column) for column in zip(*missed, strict=True))
        off = float(np.interp(math.log(cores), places, offs))
    mapping = replace(mapping, timestep=evaluation.timesteps)
    predicted = _predicted(demand, constants) * math.exp(off)
    return Candidate(mapping, cores, demand, _predicted(demand, given), predicted)


def _is_new(one: Candidate, tried: Sequence[Tried]) -> bool:
    return not any(
        all(np.array_equal(cores, other.candidate.mapping.cores[name])
            for name, cores in one.mapping.cores.items())
        for other in tried
    )  # fmt: skip


def _rank(subject: Subject, one: Candidate, tried: Sequence[Tried]) -> tuple[float, float]:
    """Return what is measured first: the smaller, the earlier."""
    if subject.objective is Objective.LATENCY:
        return one.predicted, one.cores
    enough = BALANCED_SLACK * min(other.measured for other in tried)
    return (one.cores if one.predicted <= enough else math.inf), one.predicted


def _gains(subject: Subject, one: Candidate, tried: Sequence[Tried]) -> bool:
    """Tell whether a candidate promises more than what was measured."""
    shortest = min(other.measured for other in tried)
    if one.predicted < (1 - GAIN) * shortest:
        return True
    if subject.objective is Objective.LATENCY:
        return False
    fewer = one.cores < best(subject, tried).candidate.cores
    return fewer and one.predicted <= BALANCED_SLACK * shortest
