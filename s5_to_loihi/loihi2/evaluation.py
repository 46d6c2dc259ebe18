"""What a mapping comes to: words, times and links, beside what no mapping can beat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s5_to_loihi.loihi2.bounds import Demand, demand, fewest_cores, shortest_times
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import COLUMNS, Loads, limits_of, measure
from s5_to_loihi.loihi2.placement import Flows, Link, flows_between, heaviest, link_loads
from s5_to_loihi.loihi2.timing import CASES, Timing, barrier, timing
from s5_to_loihi.loihi2.workload import Workload

#: What can decide how long a timestep takes: on a core, between routers, and for all.
MESH, BARRIER = "mesh link", "barrier"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A mapped network.

    Attributes:
        work: what was mapped.
        system: where to.
        physical: (cores,) physical core of each logical core of ``loads``.
        loads: of the partition.
        need: what any partition needs.
    """

    work: Workload
    system: System
    physical: np.ndarray
    loads: Loads
    need: Demand

    @property
    def chips(self) -> int:
        """Chips that hold a neuron."""
        return len(np.unique(self.physical // int(self.system.chip.cores.value)))

    @cached_property
    def words(self) -> np.ndarray:
        """(cores, 7) words in the order of ``COLUMNS``."""
        return self.loads.of_cores(self.loads.words)

    @cached_property
    def fractions(self) -> np.ndarray:
        """(cores, 7) words as fractions of the limits."""
        return self.words / limits_of(self.system.chip)

    @cached_property
    def flows(self) -> Flows:
        """What the links have to carry."""
        chip_of_core = self.physical // int(self.system.chip.cores.value)
        return flows_between(self.work, self.loads, chip_of_core, self.system)

    def links(self, constants: Timing) -> np.ndarray:
        """Return the nanoseconds a timestep of every link resource (see ``placement.Grid``)."""
        return link_loads(self.flows, self.physical, self.system, constants)

    def constants(self, case: str = "value") -> Timing:
        """Return the constants of the runtime model."""
        return timing(self.system.chip, case)

    def core_times(self, case: str = "value") -> dict[str, np.ndarray]:
        """Return the nanoseconds a timestep of each core, by what takes them."""
        return self.loads.core_times(self.constants(case))

    def times(self, case: str = "value") -> dict[str, float]:
        """Return the nanoseconds of all that a timestep may have to wait for."""
        constants = self.constants(case)
        return {
            **{name: float(of.max()) for name, of in self.core_times(case).items()},
            MESH: float(self.links(constants).max(initial=0)),
            BARRIER: barrier(constants, self.chips),
        }

    def timestep(self, case: str = "value") -> float:
        """Return the nanoseconds of a timestep."""
        return max(self.times(case).values())

    def busy(self, case: str = "value") -> float:
        """Return the nanoseconds of a timestep if the barrier took none."""
        return max(time for name, time in self.times(case).items() if name != BARRIER)

    @property
    def timesteps(self) -> tuple[float, ...]:
        """Nanoseconds of a timestep in each of ``CASES``."""
        return tuple(self.timestep(case) for case in CASES)

    def shortest_times(self, case: str = "value") -> dict[str, float]:
        """Return what no mapping on as many cores can beat, by what takes it."""
        chips = -(-self.fewest_cores[0] // int(self.system.chip.usable_cores.value))
        constants = self.constants(case)
        return {
            **shortest_times(self.need, self.loads.cores, constants),
            MESH: 0.0,
            BARRIER: barrier(constants, chips),
        }

    @property
    def fewest_cores(self) -> tuple[int, str]:
        """Cores that any mapping needs, and the resource that says so."""
        return fewest_cores(self.need, self.system.chip)

    @property
    def fullest(self) -> tuple[int, str, float]:
        """The physical core, the resource and the fraction where memory is fullest."""
        core, column = np.unravel_index(int(self.fractions.argmax()), self.fractions.shape)
        return int(self.physical[core]), COLUMNS[column], float(self.fractions[core, column])

    @property
    def slowest(self) -> tuple[int, str, float]:
        """The physical core, the work and the nanoseconds where a core takes longest."""
        times = self.core_times()
        name = max(times, key=lambda one: times[one].max())
        core = int(times[name].argmax())
        return int(self.physical[core]), name, float(times[name][core])

    def heaviest_links(self, count: int) -> list[Link]:
        """Return the most loaded links between routers or chips."""
        constants = self.constants()
        return heaviest(self.links(constants), self.system, constants, count)


def evaluate(work: Workload, core_of: np.ndarray, system: System) -> Evaluation:
    """Evaluate neurons on physical cores.

    Args:
        work: laid out for the system's chip.
        core_of: (neurons,) physical core.
        system: that the cores are of.
    """
    return Evaluation(
        work=work,
        system=system,
        physical=np.unique(core_of),
        loads=measure(work, core_of, system.chip),
        need=demand(work, system.chip),
    )
