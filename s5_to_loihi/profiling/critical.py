"""What a timestep waits for: each term alone, and the core, link or barrier that decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.resources import CORE_TERMS, Term
from s5_to_loihi.profiling.constants import NOMINAL, Constants
from s5_to_loihi.profiling.costs import NANO, term_times
from s5_to_loihi.profiling.demand import Demand
from s5_to_loihi.profiling.estimate import ranged
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.simulators.interpreter import Mode


@dataclass(frozen=True)
class TermTime:
    """Something that a timestep may have to wait for.

    Attributes:
        name: neuron updates, synops, memory words, core link, mesh link, chip link or barrier.
        time: us a timestep that this alone takes, the mean.
        decides: fraction of all time in which it is the longest, with nominal constants.
    """

    name: str
    time: Quantity
    decides: float


@dataclass(frozen=True)
class Critical:
    """What decides how long a timestep takes, in most of the time.

    Attributes:
        resource: the name of the term.
        place: which core, link or chips.
        group: the groups whose work it is; empty if all wait.
        time: us, as of the term; falling through, of the longest phase.
    """

    resource: str
    place: str
    group: str
    time: Quantity


def terms(demand: Demand, constants: Constants, source: str) -> tuple[TermTime, ...]:
    """Return all terms of a timestep, the one that decides most often first.

    Args:
        demand: of a mode.
        constants: of ``constants.interval``, as in all functions here.
        source: of the numbers.
    """
    times = _full_times(demand, constants)
    nominal = np.stack([one[NOMINAL] for one in times.values()])
    first, longest = nominal.argmax(axis=0), nominal.max(axis=0)
    found = [
        TermTime(
            term.label,
            ranged(one.mean(axis=(1, 2)) / NANO, "us", "a timestep, mean", source),
            float(longest[first == index].sum() / longest.sum()),
        )
        for index, (term, one) in enumerate(times.items())
    ]
    return tuple(sorted(found, key=lambda one: (-one.decides, -one.time.value)))


def _full_times(demand: Demand, constants: Constants) -> dict[Term, np.ndarray]:
    """Return the times of all terms, (cases, steps, tokens) each."""
    times = term_times(demand, constants)
    shape = np.broadcast_shapes(*(one.shape for one in times.values()))
    return {name: np.broadcast_to(one, shape) for name, one in times.items()}


def critical(
    mode: Mode, demand: Demand, evaluation: MappingEvaluation, constants: Constants, source: str
) -> Critical:
    """Name what decides: the longest term; falling through, of the longest phase."""
    means = {term: one.mean(axis=2) for term, one in _full_times(demand, constants).items()}
    longest = np.max([one[NOMINAL] for one in means.values()], axis=0)
    step = int(longest.argmax())
    term = max(means, key=lambda one: means[one][NOMINAL, step])
    scope = "a timestep, mean" if mode is Mode.PIPELINED else f"timestep {step + 1} of a token"
    time = ranged(means[term][:, step] / NANO, "us", scope, source)
    group = ""
    if mode is Mode.FALL_THROUGH and term != Term.BARRIER:
        working = (one.name for one in evaluation.work.network.groups if one.phase == step + 1)
        group = ", ".join(working)
    if term == Term.BARRIER:
        place = f"all {demand.cores} cores"
    elif term in CORE_TERMS:
        core = demand.busiest[term][step]
        place, group = f"core {core}", group or _largest_group(evaluation, core, term)
    else:
        links = evaluation.heaviest_links(len(evaluation.physical))
        ends = [one for one in links if one.between_chips == (term == Term.CHIP_LINK)][:1]
        place = "".join(f"link {one.start} to {one.end}" for one in ends)
    return Critical(term.label, place, group, time)


def _largest_group(evaluation: MappingEvaluation, core: int, term: Term) -> str:
    """Return the group with the largest part of a core's work of a kind."""
    loads = evaluation.loads
    of_parts = {
        Term.UPDATES: loads.instructions,
        Term.SYNOPS: loads.synops,
        Term.WORDS: loads.reads,
        Term.CORE_LINK: loads.arriving,
    }[term]
    own = np.flatnonzero(evaluation.physical[loads.core_of_part] == core)
    return evaluation.work.groups[loads.group_of_part[own[of_parts[own].argmax()]]]
