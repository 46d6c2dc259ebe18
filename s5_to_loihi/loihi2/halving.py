"""Mappings as Intel's compiler is known to make them: layers halved until they fit.

What is public: each layer, with its synapses and neurons, is a core of its own, and is halved until
all limits hold (OzU-CAST/LoihiScalingEfficiency); activity plays no role. Published networks take
more cores than that: S4D of 67,000 and of 265,000 parameters 31 and 111 cores (arXiv 2409.15022).
"""

from __future__ import annotations

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2.evaluation import MappingEvaluation, evaluate_mapping
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.memory import limits_of
from s5_to_loihi.loihi2.placement import linear
from s5_to_loihi.loihi2.workload import Workload

#: Parameters a core of the published S4D networks: 67,000 / 31 and 265,000 / 111.
PUBLISHED_DENSITY = 2400


def halved(work: Workload, system: System, most_synapses: int | None = None) -> MappingEvaluation:
    """Map a core a group, each group halved until limits hold; cores are numbered through.

    Args:
        work: laid out for the system's chip.
        system: to map onto.
        most_synapses: that a core may hold besides; a neuron with more has a core of its own.

    Raises:
        CapacityError: it takes more cores than the system has, or one neuron exceeds a limit.
    """
    pieces = np.ones(len(work.words_of_group), dtype=np.int64)
    sizes = np.diff(work.first_neuron)
    synapses = np.diff(work.arrays.firsts[work.arrays.segments])
    while True:
        cores, first = np.empty(work.neurons, dtype=np.int64), 0
        for group, count in enumerate(pieces):
            own = slice(work.first_neuron[group], work.first_neuron[group + 1])
            cores[own] = first + np.arange(sizes[group]) * count // sizes[group]
            first += int(count)
        loads = measure(work, cores)
        over = np.asarray((loads.of_cores(loads.words) > limits_of(work.chip)).any(axis=1))
        alone = loads.of_cores(loads.neurons_of_part) == 1
        if loads.cores > system.cores or (over & alone).any():
            raise CapacityError(
                system.name, f"halving takes {loads.cores} cores", "Use a larger system"
            )
        if most_synapses is not None:
            held = np.bincount(loads.core_of, synapses, loads.cores)
            over = over | ((held > most_synapses) & ~alone)
        if not over.any():
            return evaluate_mapping(work, linear(loads.cores, system)[loads.core_of], system)
        pieces[np.unique(loads.group_of_part[over[loads.core_of_part]])] *= 2
