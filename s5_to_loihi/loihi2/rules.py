"""The design rules: one small function a limit, all run; and what to say if a network is too big.

Every finding names the group, the core, the resource, what was found, the limit, and what would
help.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2.bounds import Demand
from s5_to_loihi.loihi2.evaluation import Evaluation
from s5_to_loihi.loihi2.facts import System, listed_systems
from s5_to_loihi.loihi2.loads import COLUMNS, limits_of
from s5_to_loihi.loihi2.partition import Filling
from s5_to_loihi.loihi2.workload import Workload


class Finding(NamedTuple):
    """A limit that a mapping exceeds.

    Attributes:
        group: the group with the largest part in it.
        core: physical core.
        resource: as in Intel's table.
        got, limit: in the resource's unit.
        knob: what would help.
    """

    group: str
    core: int
    resource: str
    got: int
    limit: int
    knob: str

    def __str__(self) -> str:
        return (
            f"{self.group} on core {self.core}: {self.resource} is {self.got:,}"
            f" (limit {self.limit:,}). {self.knob}."
        )


def _largest_group(evaluation: Evaluation, core: int, column: int) -> str:
    """Return the group that needs most of a resource on a (logical) core."""
    loads = evaluation.loads
    parts = np.flatnonzero(loads.core_of_part == core)
    largest = parts[int(loads.words[parts, column].argmax())]
    return evaluation.work.groups[loads.group_of_part[largest]]


def _exceeding(
    evaluation: Evaluation, resource: str, knob: Callable[[int, int], str]
) -> list[Finding]:
    """Return a finding for each core that exceeds a limit of memory."""
    column = COLUMNS.index(resource)
    limit = int(limits_of(evaluation.system.chip)[column])
    findings = []
    for core in np.flatnonzero(evaluation.words[:, column] > limit):
        group = _largest_group(evaluation, core, column)
        got = int(evaluation.words[core, column])
        physical = int(evaluation.physical[core])
        findings.append(Finding(group, physical, resource, got, limit, knob(got, limit)))
    return findings


def _split(got: int, limit: int) -> str:
    return f"Split over {math.ceil(got / limit)} cores"


def _prune(got: int, limit: int) -> str:
    return f"{_split(got, limit)}, or prune to {math.floor(100 * limit / got)} %"


def axon_in(evaluation: Evaluation) -> list[Finding]:
    """Input axons of a core."""
    return _exceeding(evaluation, "AxonIn", _prune)


def neuron_groups(evaluation: Evaluation) -> list[Finding]:
    """Neuron programs of a core."""
    return _exceeding(evaluation, "NeuronGr", _split)


def neurons(evaluation: Evaluation) -> list[Finding]:
    """Words of neurons on a core."""
    return _exceeding(evaluation, "Neurons", _split)


def synapses(evaluation: Evaluation) -> list[Finding]:
    """Words of synapses on a core."""
    return _exceeding(
        evaluation,
        "Synapses",
        lambda got, limit: f"{_prune(got, limit)}, or use weights of fewer bits",
    )


def axon_map(evaluation: Evaluation) -> list[Finding]:
    """Words of AxonMap on a core."""
    return _exceeding(evaluation, "AxonMap", _split)


def axon_memory(evaluation: Evaluation) -> list[Finding]:
    """Words of AxonMem on a core."""
    return _exceeding(evaluation, "AxonMem", _split)


def total(evaluation: Evaluation) -> list[Finding]:
    """Words of a core in all."""
    return _exceeding(evaluation, "Total", _prune)


def usable_cores(evaluation: Evaluation) -> list[Finding]:
    """Cores used that the system has, and that a network may use."""
    system = evaluation.system
    per_chip, usable = (int(fact.value) for fact in (system.chip.cores, system.chip.usable_cores))
    chips, cores = np.divmod(evaluation.physical, per_chip)
    outside = (cores >= usable) | (chips >= system.chips.value)
    last = (int(system.chips.value) - 1) * per_chip + usable - 1
    knob = f"Map it onto {system.name} again"
    total_words = COLUMNS.index("Total")
    return [
        Finding(
            _largest_group(evaluation, core, total_words),
            int(evaluation.physical[core]),
            "core number",
            int(evaluation.physical[core]),
            last,
            knob,
        )
        for core in np.flatnonzero(outside)
    ]


#: All rules; a new limit is a function here and its line.
RULES = (
    axon_in,
    neuron_groups,
    neurons,
    synapses,
    axon_map,
    axon_memory,
    total,
    usable_cores,
)


def findings(evaluation: Evaluation) -> list[Finding]:
    """Run all rules."""
    return [finding for rule in RULES for finding in rule(evaluation)]


def require(evaluation: Evaluation) -> None:
    """Check a mapping against all rules.

    Raises:
        CapacityError: naming every limit that is exceeded, up to ten.
    """
    found = findings(evaluation)
    if found:
        text = "\n".join(map(str, found[:10]))
        more = f"\nand {len(found) - 10} more" if len(found) > 10 else ""
        raise CapacityError(
            evaluation.system.name, f"{len(found)} limits are exceeded:\n{text}{more}"
        )


# --- networks that do not fit --------------------------------------------------------------------


def does_not_fit(
    work: Workload, need: Demand, filling: Filling, system: System, available: int
) -> CapacityError:
    """Return the error for a network that needs more than there is.

    Args:
        work, need: the network.
        filling: on as many cores as it takes, or stopped by a neuron that fits none.
        system: that it was to be mapped onto.
        available: cores.
    """
    if filling.neuron is not None:
        return _neuron_too_big(work, filling, system)
    candidates = sum(filling.closed_by.values())
    ruled_out = ", ".join(
        f"{name} {count:,}" for name, count in sorted(filling.closed_by.items(), key=_by_count)
    )
    what = (
        f"{work.network.name} needs {filling.cores:,} cores, {available:,} are there. The limits"
        f" that closed cores, of {candidates:,} closed: {ruled_out}"
    )
    return CapacityError(
        system.name, what, "; ".join(_knobs(work, need, filling, system, available))
    )


def _by_count(entry: tuple[str, int]) -> int:
    return -entry[1]


def _neuron_too_big(work: Workload, filling: Filling, system: System) -> CapacityError:
    neuron = filling.neuron
    group = int(work.group_of[neuron])
    arrays = work.arrays
    synapses = int(np.diff(arrays.firsts[arrays.segments[[neuron, neuron + 1]]])[0])
    limit = int(limits_of(system.chip)[COLUMNS.index(filling.obstacle)])
    return CapacityError(
        f"{work.groups[group]}, neuron {neuron - work.first_neuron[group]}",
        f"has {synapses:,} synapses and exceeds {filling.obstacle} of an empty core"
        f" ({filling.needed:,}, limit {limit:,})",
        f"Prune it to {math.floor(100 * limit / filling.needed)} %; a neuron cannot be split",
    )


def _knobs(
    work: Workload, need: Demand, filling: Filling, system: System, available: int
) -> list[str]:
    """Return what would make a network fit, as far as estimates go."""
    knobs = []
    fits = next((one for one in listed_systems() if one.cores >= filling.cores), None)
    if system.cores >= filling.cores:
        knobs.append(f"Allow {filling.cores:,} cores")
    elif fits is not None:
        knobs.append(f"It needs {fits.name} ({fits.cores:,} cores)")
    if max(filling.closed_by, key=filling.closed_by.get) == "NeuronGr":
        return knobs  # fewer synapses would not help
    # What has to go, if words a core stay what they were.
    fewer = available / filling.cores
    of_synapses = int(need.words[[0, 3]].sum())
    share = 1 - (1 - fewer) * need.words[6] / max(1, of_synapses)
    if share > 0.02:
        knobs.append(f"prune to {math.floor(100 * share)} % of the synapses (an estimate)")
    arrays = work.arrays
    count = np.bincount(arrays.edge_of_axon[arrays.axons], minlength=len(arrays.edge_bits))
    saved = count * np.maximum(0, arrays.edge_bits - 4) / 64
    if saved.any():
        edge = int(saved.argmax())
        percent = 100 * saved[edge] / need.words[6]
        knobs.append(
            f"use 4-bit weights for {work.edges[edge]} (saves about {percent:.0f} % of all words)"
        )
    return knobs or ["Make the network smaller"]
