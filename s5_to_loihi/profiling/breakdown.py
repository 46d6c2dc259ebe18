"""Where time and energy go, group by group and core by core."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.loihi2.deliveries import Deliveries
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.resources import Term
from s5_to_loihi.loihi2.timing import TIMING_FACTS, Timing, core_times, timing_of
from s5_to_loihi.network.network import INPUT
from s5_to_loihi.profiling.constants import NOMINAL, Constants
from s5_to_loihi.profiling.costs import NANO, dynamic_energies
from s5_to_loihi.profiling.demand import Demand, Operations, gate_of_parts
from s5_to_loihi.profiling.estimate import ranged
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.simulators.activity import Activity

#: Scope of energies that are split over groups or cores.
DYNAMIC = "dynamic, neurocore rails, a token"


@dataclass(frozen=True)
class GroupRow:
    """What one group takes for a token; the input is a group without neurons.

    Attributes:
        name, phase, neurons, cores: as mapped.
        instructions: of an update of one neuron.
        updates, messages, synops: a token; messages are sent ones, synops those at the group.
        time: us, the longest that its part of a core takes in a timestep in which it works.
        energy: uJ a token, dynamic.
    """

    name: str
    phase: int
    neurons: int
    cores: int
    instructions: int
    updates: Quantity
    messages: Quantity
    synops: Quantity
    time: Quantity
    energy: Quantity


@dataclass(frozen=True)
class CoreRow:
    """What one core takes for a token.

    Attributes:
        core: number in the system, as in a mapping.
        chip, core_on_chip: the same as two numbers.
        groups: names.
        neurons: on it.
        synops, words, messages: a token; messages are those that arrive.
        time: us, the longest of what it does in a timestep if all groups work (pipelined).
        limited_by: what that is.
        energy: uJ a token, dynamic, without what is drawn at rest.
    """

    core: int
    chip: int
    core_on_chip: int
    groups: tuple[str, ...]
    neurons: int
    synops: Quantity
    words: Quantity
    messages: Quantity
    time: Quantity
    limited_by: str
    energy: Quantity


def _energies(
    demand: Demand,
    constants: Constants,
    synops: np.ndarray,
    neurons: np.ndarray,
    instructions: np.ndarray,
    messages: np.ndarray,
    leaving: np.ndarray,
) -> np.ndarray:
    """Return microjoules a token, dynamic, of rows that are groups or cores: (rows, cases).

    Args:
        demand: of all rows together.
        constants: of ``constants.interval``.
        synops, neurons, instructions: (rows,) a token.
        messages: (rows,) those whose energy the row bears, one for each copy.
        leaving: (rows,) messages that go over links, in proportion to which hops are shared.
    """
    whole = demand.operations
    share = leaving / max(leaving.sum(), 1e-30)
    own = Operations(
        synops=synops,
        updates=neurons,
        instructions=instructions,
        idle=neurons * (whole.idle / whole.updates),
        messages=messages,
        hops=share * whole.hops,
        crossings=share * whole.crossings,
    )
    columns = Operations(*(np.asarray(amounts)[:, None] for amounts in own))
    return np.sum(list(dynamic_energies(columns, constants).values()), axis=0)


def group_rows(
    demand: Demand,
    evaluation: MappingEvaluation,
    table: Deliveries,
    activity: Activity,
    constants: Constants,
    source: str,
) -> tuple[GroupRow, ...]:
    """Return a row for the input and for every group; energies add up to the dynamic energy.

    The energy of messages is counted at the group that sends them.
    """
    loads, work = evaluation.loads, evaluation.work
    rows = len(work.groups) + 1
    row_of_part = loads.group_of_part + 1  # 0 is the input
    neurons = np.append(0, np.diff(work.first_neuron))
    instructions = np.append(0, work.instructions + demand.gated * work.gate_instructions)
    synops = np.bincount(row_of_part, loads.synops, rows) + demand.gated * neurons
    sender = work.sender[table.message]
    copies = np.bincount(
        np.where(sender >= 0, work.group_of[sender] + 1, 0), work.arrays.rates[table.message], rows
    )
    leaving = copies * (neurons > 0)
    copies[0] += demand.gated * len(loads.group_of_part)
    energy = _energies(demand, constants, synops, neurons, neurons * instructions, copies, leaving)
    times = np.zeros_like(energy)
    for case, timing in enumerate(_timings(constants)):
        updates = timing.updates(loads.neurons_of_part, loads.instructions)
        # No part has the link of its core to itself.
        nothing = np.zeros_like(loads.reads)
        of_parts = core_times(timing, updates, loads.synops, loads.reads, messages=nothing)
        np.maximum.at(times[:, case], row_of_part, _longest(of_parts))
    cores = np.bincount(row_of_part, minlength=rows)
    phases = [0, *(group.phase or 0 for group in work.network.groups)]
    sent = activity.messages.mean(axis=(0, 1))
    return tuple(
        GroupRow(
            name=name,
            phase=phases[index],
            neurons=int(neurons[index]),
            cores=int(cores[index]),
            instructions=int(instructions[index]),
            updates=_counted(neurons[index], "updates", source),
            messages=_counted(sent[index], "messages", source),
            synops=_counted(synops[index], "synops", source),
            time=ranged(times[index] / NANO, "us", "its longest part of a core", source),
            energy=ranged(energy[index], "uJ", DYNAMIC, source),
        )
        for index, name in enumerate((INPUT, *work.groups))
    )


def core_rows(
    demand: Demand, evaluation: MappingEvaluation, constants: Constants, source: str
) -> tuple[CoreRow, ...]:
    """Return a row for every core in use, by number; energies add up as those of groups do.

    The energy of messages is counted where they arrive, that of hops at the cores that they leave.
    """
    loads, work = evaluation.loads, evaluation.work
    synops, words = loads.of_cores(loads.synops), loads.of_cores(loads.reads)
    neurons, messages = loads.of_cores(loads.neurons_of_part), loads.of_cores(loads.arriving)
    instructions = loads.of_cores(loads.instructions + demand.gated * gate_of_parts(evaluation))
    synops = synops + demand.gated * neurons
    messages = messages + demand.gated * loads.of_cores(np.ones_like(loads.group_of_part))
    energy = _energies(demand, constants, synops, neurons, instructions, messages, loads.leaving)
    cases = [loads.core_times(timing) for timing in _timings(constants)]
    times = np.stack([_longest(one) for one in cases], axis=1)
    nominal = cases[NOMINAL]
    per_chip = int(evaluation.system.chip.cores.value)
    return tuple(
        CoreRow(
            core=core,
            chip=core // per_chip,
            core_on_chip=core % per_chip,
            groups=tuple(
                work.groups[group] for group in loads.group_of_part[loads.core_of_part == index]
            ),
            neurons=int(neurons[index]),
            synops=_counted(synops[index], "synops", source),
            words=_counted(words[index], "words", source),
            messages=_counted(messages[index], "messages", source),
            time=ranged(times[index] / NANO, "us", "a pipelined timestep", source),
            limited_by=max(nominal, key=lambda term: nominal[term][index]).label,
            energy=ranged(energy[index], "uJ", DYNAMIC, source),
        )
        for index, core in enumerate(evaluation.physical.tolist())
    )


def _longest(times: dict[Term, np.ndarray]) -> np.ndarray:
    return functools.reduce(np.maximum, times.values())


def _timings(constants: Constants) -> list[Timing]:
    """Return the constants of the runtime model, case by case."""
    cases = len(constants["synop_time"])
    return [
        timing_of({name: constants[name][case] for name in TIMING_FACTS}) for case in range(cases)
    ]


def _counted(amount: float, unit: str, source: str) -> Quantity:
    """Return a count; it follows from the integers that were sent and from the mapping."""
    return Quantity.exact(float(amount), unit, "a token, mean", Origin.MODELLED, source)
