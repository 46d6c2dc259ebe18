"""What a mapping comes to: words, times and links, beside what no mapping can beat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s5_to_loihi.loihi2.bounds import Requirements, fewest_cores, requirements, shortest_times
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import Loads, measure
from s5_to_loihi.loihi2.memory import limits_of
from s5_to_loihi.loihi2.placement import Flows, Link, flows_between, heaviest, link_loads
from s5_to_loihi.loihi2.resources import Resource, Term
from s5_to_loihi.loihi2.timing import CASES, Timing, barrier, timing
from s5_to_loihi.loihi2.workload import Workload


@dataclass(frozen=True, eq=False)
class MappingEvaluation:
    """A mapped network.

    Attributes:
        work: what was mapped.
        system: where to.
        physical: (cores,) physical core of each logical core of ``loads``.
        loads: of the partition.
    """

    work: Workload
    system: System
    physical: np.ndarray
    loads: Loads

    @property
    def chip_of_core(self) -> np.ndarray:
        """(cores,) the chip of each logical core."""
        return self.physical // int(self.system.chip.cores.value)

    @property
    def chips(self) -> int:
        """Chips that hold a neuron."""
        return len(np.unique(self.chip_of_core))

    @cached_property
    def words(self) -> np.ndarray:
        """(cores, 7) words by ``Resource``."""
        return self.loads.of_cores(self.loads.words)

    @cached_property
    def fractions(self) -> np.ndarray:
        """(cores, 7) words as fractions of the limits."""
        return self.words / limits_of(self.system.chip)

    @cached_property
    def need(self) -> Requirements:
        """What any partition needs."""
        return requirements(self.work)

    @cached_property
    def flows(self) -> Flows:
        """What the links have to carry."""
        return flows_between(self.work, self.loads, self.chip_of_core, self.system)

    def links(self, constants: Timing) -> np.ndarray:
        """Return the nanoseconds a timestep of every link resource (see ``placement.Grid``)."""
        return link_loads(self.flows, self.physical, self.system, constants)

    def constants(self, case: str = "value") -> Timing:
        """Return the constants of the runtime model."""
        return timing(self.system.chip, case)

    def core_times(self, case: str = "value") -> dict[Term, np.ndarray]:
        """Return the nanoseconds a timestep of each core, by what takes them."""
        return self.loads.core_times(self.constants(case))

    def times(self, case: str = "value") -> dict[Term, float]:
        """Return the nanoseconds of all that a timestep may have to wait for."""
        constants = self.constants(case)
        return {
            **{term: float(times.max()) for term, times in self.core_times(case).items()},
            Term.MESH_LINK: float(self.links(constants).max(initial=0)),
            Term.BARRIER: barrier(constants, self.chips),
        }

    def timestep(self, case: str = "value") -> float:
        """Return the nanoseconds of a timestep."""
        return max(self.times(case).values())

    def busy(self, case: str = "value") -> float:
        """Return the nanoseconds of a timestep if the barrier took none."""
        return max(time for term, time in self.times(case).items() if term != Term.BARRIER)

    @property
    def timesteps(self) -> tuple[float, float, float]:
        """Nanoseconds of a timestep in each of ``CASES``."""
        low, value, high = map(self.timestep, CASES)
        return low, value, high

    def shortest_times(self, case: str = "value") -> dict[Term, float]:
        """Return what no mapping on as many cores can beat, by what takes it."""
        chips = self.system.chip.chips_for(self.fewest_cores[0])
        constants = self.constants(case)
        return {
            **shortest_times(self.need, self.loads.cores, constants),
            Term.MESH_LINK: 0.0,
            Term.BARRIER: barrier(constants, chips),
        }

    @property
    def fewest_cores(self) -> tuple[int, Resource]:
        """Cores that any mapping needs, and the resource that says so."""
        return fewest_cores(self.need)

    @property
    def fullest(self) -> tuple[int, Resource, float]:
        """The physical core, the resource and the fraction where memory is fullest."""
        core, column = np.unravel_index(int(self.fractions.argmax()), self.fractions.shape)
        return int(self.physical[core]), Resource(int(column)), float(self.fractions[core, column])

    @property
    def slowest(self) -> tuple[int, Term, float]:
        """The physical core, the work and the nanoseconds where a core takes longest."""
        times = self.core_times()
        term = max(times, key=lambda one: times[one].max())
        core = int(times[term].argmax())
        return int(self.physical[core]), term, float(times[term][core])

    def heaviest_links(self, count: int) -> list[Link]:
        """Return the most loaded links between routers or chips."""
        constants = self.constants()
        return heaviest(self.links(constants), self.system, constants, count)


def evaluate_mapping(work: Workload, core_of: np.ndarray, system: System) -> MappingEvaluation:
    """Evaluate neurons on physical cores.

    Args:
        work: laid out for the system's chip.
        core_of: (neurons,) physical core.
        system: that the cores are of.
    """
    return MappingEvaluation(work, system, np.unique(core_of), measure(work, core_of))
