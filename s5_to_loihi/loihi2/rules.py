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
from s5_to_loihi.loihi2.bounds import Requirements
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.facts import System, listed_systems
from s5_to_loihi.loihi2.memory import limits_of
from s5_to_loihi.loihi2.partition import Filling, TooBig
from s5_to_loihi.loihi2.resources import Resource
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


def _largest_group(evaluation: MappingEvaluation, core: int, resource: Resource) -> str:
    """Return the group that needs most of a resource on a (logical) core."""
    loads = evaluation.loads
    parts = np.flatnonzero(loads.core_of_part == core)
    largest = parts[int(loads.words[parts, resource].argmax())]
    return evaluation.work.groups[loads.group_of_part[largest]]


def _split(got: int, limit: int) -> str:
    return f"Split over {math.ceil(got / limit)} cores"


def _prune(got: int, limit: int) -> str:
    return f"{_split(got, limit)}, or prune to {math.floor(100 * limit / got)} %"


def _narrow(got: int, limit: int) -> str:
    return f"{_prune(got, limit)}, or use weights of fewer bits"


#: What helps where a core needs more of a resource than it has: (got, limit) -> words.
KNOBS: dict[Resource, Callable[[int, int], str]] = {
    Resource.AXON_IN: _prune,
    Resource.NEURON_GROUPS: _split,
    Resource.NEURONS: _split,
    Resource.SYNAPSES: _narrow,
    Resource.AXON_MAP: _split,
    Resource.AXON_MEMORY: _split,
    Resource.TOTAL: _prune,
}


def memory(evaluation: MappingEvaluation) -> list[Finding]:
    """Words on a core, resource by resource."""
    limits = limits_of(evaluation.system.chip).tolist()
    findings = []
    for resource, knob in KNOBS.items():
        limit = limits[resource]
        for core in np.flatnonzero(evaluation.words[:, resource] > limit).tolist():
            group = _largest_group(evaluation, core, resource)
            got = int(evaluation.words[core, resource])
            where = int(evaluation.physical[core])
            findings.append(Finding(group, where, resource.label, got, limit, knob(got, limit)))
    return findings


def usable_cores(evaluation: MappingEvaluation) -> list[Finding]:
    """Cores used that the system has, and that a network may use."""
    system = evaluation.system
    per_chip, usable = (int(fact.value) for fact in (system.chip.cores, system.chip.usable_cores))
    chips, cores = np.divmod(evaluation.physical, per_chip)
    outside = (cores >= usable) | (chips >= system.chips.value)
    last = (int(system.chips.value) - 1) * per_chip + usable - 1
    knob = f"Map it onto {system.name} again"
    findings = []
    for core in np.flatnonzero(outside).tolist():
        group, where = (
            _largest_group(evaluation, core, Resource.TOTAL),
            int(evaluation.physical[core]),
        )
        findings.append(Finding(group, where, "core number", where, last, knob))
    return findings


#: All rules; a new one is a function here and its name.
RULES = (memory, usable_cores)


def findings(evaluation: MappingEvaluation) -> list[Finding]:
    """Run all rules."""
    return [finding for rule in RULES for finding in rule(evaluation)]


def require(evaluation: MappingEvaluation) -> None:
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
    need: Requirements, filling: Filling, system: System, available: int
) -> CapacityError:
    """Return the error for a network that needs more than there is.

    Args:
        need: of the network.
        filling: on as many cores as it takes, or stopped by a neuron that fits none.
        system: that it was to be mapped onto.
        available: cores.
    """
    if filling.too_big is not None:
        return _neuron_too_big(need.work, filling.too_big)
    candidates = sum(filling.closed_by.values())
    by_count = sorted(filling.closed_by.items(), key=lambda entry: -entry[1])
    ruled_out = ", ".join(f"{limit.label} {count:,}" for limit, count in by_count)
    what = (
        f"{need.work.network.name} needs {filling.cores:,} cores, {available:,} are there. The"
        f" limits that closed cores, of {candidates:,} closed: {ruled_out}"
    )
    return CapacityError(system.name, what, "; ".join(_knobs(need, filling, system, available)))


def _neuron_too_big(work: Workload, too_big: TooBig) -> CapacityError:
    neuron, resource, needed = too_big
    group = int(work.group_of[neuron])
    arrays = work.arrays
    synapses = int(np.diff(arrays.firsts[arrays.segments[[neuron, neuron + 1]]])[0])
    limit = int(limits_of(work.chip)[resource])
    return CapacityError(
        f"{work.groups[group]}, neuron {neuron - work.first_neuron[group]}",
        f"has {synapses:,} synapses and exceeds {resource.label} of an empty core"
        f" ({needed:,}, limit {limit:,})",
        f"Prune it to {math.floor(100 * limit / needed)} %; a neuron cannot be split",
    )


def _knobs(need: Requirements, filling: Filling, system: System, available: int) -> list[str]:
    """Return what would make a network fit, as far as estimates go."""
    knobs = []
    fits = next((one for one in listed_systems() if one.cores >= filling.cores), None)
    if system.cores >= filling.cores:
        knobs.append(f"Allow {filling.cores:,} cores")
    elif fits is not None:
        knobs.append(f"It needs {fits.name} ({fits.cores:,} cores)")
    if max(filling.closed_by, key=filling.closed_by.__getitem__) == Resource.NEURON_GROUPS:
        return knobs  # fewer synapses would not help
    # What has to go, if words a core stay what they were.
    fewer = available / filling.cores
    of_synapses = int(need.words[[Resource.AXON_IN, Resource.SYNAPSES]].sum())
    share = 1 - (1 - fewer) * need.words[Resource.TOTAL] / max(1, of_synapses)
    if share > 0.02:
        knobs.append(f"prune to {math.floor(100 * share)} % of the synapses (an estimate)")
    work, arrays = need.work, need.work.arrays
    count = np.bincount(arrays.edge_of_axon[arrays.axons], minlength=len(arrays.edge_bits))
    saved = count * np.maximum(0, arrays.edge_bits - 4) / 64
    if saved.any():
        edge = int(saved.argmax())
        percent = 100 * saved[edge] / need.words[Resource.TOTAL]
        knobs.append(
            f"use 4-bit weights for {work.edges[edge]} (saves about {percent:.0f} % of all words)"
        )
    return knobs or ["Make the network smaller"]
