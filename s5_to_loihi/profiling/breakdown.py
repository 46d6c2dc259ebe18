"""Where time and energy go, group by group and core by core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2.deliveries import Deliveries
from s5_to_loihi.loihi2.evaluation import Evaluation
from s5_to_loihi.loihi2.timing import TIMING_FACTS, Timing, timing_of
from s5_to_loihi.network.network import INPUT
from s5_to_loihi.profiling.constants import NOMINAL, Constants
from s5_to_loihi.profiling.costs import NANO, PICO
from s5_to_loihi.profiling.demand import Demand
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


class _Costs(NamedTuple):
    """What rows (groups or cores) do for a token, (rows,) each.

    Attributes:
        synops, neurons, instructions: a token.
        messages: whose energy the row bears, one for each copy.
        leaving: messages that go over links, in proportion to which hops are shared.
    """

    synops: np.ndarray
    neurons: np.ndarray
    instructions: np.ndarray
    messages: np.ndarray
    leaving: np.ndarray

    def energies(self, demand: Demand, constants: Constants) -> np.ndarray:
        """Return microjoules a token, dynamic, (rows, cases)."""
        total = demand.totals
        idle = self.neurons * (total.idle / total.updates)
        on_links = total.hops * constants["hop_energy"]
        on_links = on_links + total.crossings * constants["crossing_energy"]
        costs = (
            (self.synops, constants["synop_energy"]),
            (self.neurons + idle, constants["update_energy"]),
            (self.instructions, constants["instruction_energy"]),
            (idle, constants["gate_instructions"] * constants["instruction_energy"]),
            (self.messages, constants["message_energy"]),
            (self.leaving / max(self.leaving.sum(), 1e-30), on_links),
        )
        return sum(np.outer(amounts, each) for amounts, each in costs) / PICO


def group_rows(
    demand: Demand,
    evaluation: Evaluation,
    table: Deliveries,
    activity: Activity,
    constants: Constants,
    source: str,
) -> tuple[GroupRow, ...]:
    """Return a row for the input and for every group; energies add up to the dynamic energy.

    The energy of messages is counted at the group that sends them.
    """
    loads, work = evaluation.loads, evaluation.work
    groups = len(work.groups)
    part_of = loads.group_of_part + 1  # 0 is the input
    neurons = np.append(0, np.diff(work.first_neuron))
    instructions = np.append(0, work.instructions)
    synops = np.bincount(part_of, loads.synops, groups + 1)
    sender = work.sender[table.message]
    copies = np.bincount(
        np.where(sender >= 0, work.group_of[sender] + 1, 0),
        work.arrays.rates[table.message],
        groups + 1,
    )
    leaving = copies * (neurons > 0)
    costs = _Costs(synops, neurons, neurons * instructions, copies, leaving)
    energy = costs.energies(demand, constants)
    times = np.zeros((groups + 1, len(energy[0])))
    for case, constant in enumerate(_timings(constants)):
        of_parts = np.maximum.reduce(
            [
                loads.neurons_of_part * constant.update + loads.instructions * constant.instruction,
                loads.synops * constant.synop,
                loads.reads * constant.word,
            ]
        )
        np.maximum.at(times[:, case], part_of, of_parts)
    cores = np.bincount(part_of, minlength=groups + 1)
    phases = [0, *(group.phase for group in work.network.groups)]
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
    demand: Demand, evaluation: Evaluation, constants: Constants, source: str
) -> tuple[CoreRow, ...]:
    """Return a row for every core in use, by number; energies add up as those of groups do.

    The energy of messages is counted where they arrive, that of hops at the cores that they leave.
    """
    loads, work = evaluation.loads, evaluation.work
    costs = _Costs(
        synops=loads.of_cores(loads.synops),
        neurons=loads.of_cores(loads.neurons_of_part),
        instructions=loads.of_cores(loads.instructions),
        messages=loads.of_cores(loads.arriving),
        leaving=loads.leaving,
    )
    words = loads.of_cores(loads.reads)
    energy = costs.energies(demand, constants)
    cases = [loads.core_times(one) for one in _timings(constants)]
    times = np.stack([np.max(list(one.values()), axis=0) for one in cases], axis=1)
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
            neurons=int(costs.neurons[index]),
            synops=_counted(costs.synops[index], "synops", source),
            words=_counted(words[index], "words", source),
            messages=_counted(costs.messages[index], "messages", source),
            time=ranged(times[index] / NANO, "us", "a pipelined timestep", source),
            limited_by=max(nominal, key=lambda name: nominal[name][index]),
            energy=ranged(energy[index], "uJ", DYNAMIC, source),
        )
        for index, core in enumerate(evaluation.physical.tolist())
    )


def _timings(constants: Constants) -> list[Timing]:
    """Return the constants of the runtime model, case by case."""
    cases = len(constants["synop_time"])
    return [
        timing_of({name: constants[name][case] for name in TIMING_FACTS}) for case in range(cases)
    ]


def _counted(amount: float, unit: str, source: str) -> Quantity:
    """Return a count; it follows from the integers that were sent and from the mapping."""
    number = float(amount)
    return Quantity(number, number, number, unit, "a token, mean", Origin.MODELLED, source)
