"""What a network costs on the chip: time and energy with ranges, and what they consist of.

A model, not a measurement: nothing here was run on a chip. ``docs/profiling.md`` describes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.core_mapping import CoreMapping, Objective
from s5_to_loihi.denoising import is_denoiser
from s5_to_loihi.errors import InputError, NetworkError
from s5_to_loihi.loihi2 import rules
from s5_to_loihi.loihi2.deliveries import Deliveries, deliveries
from s5_to_loihi.loihi2.evaluation import MappingEvaluation, evaluate_mapping
from s5_to_loihi.loihi2.facts import System, listed_systems
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording, activity_profile, record
from s5_to_loihi.profiling.breakdown import core_rows, group_rows
from s5_to_loihi.profiling.constants import interval, provenance
from s5_to_loihi.profiling.core_numbers import core_curve
from s5_to_loihi.profiling.costs import PARTS, idle_power
from s5_to_loihi.profiling.critical import critical, terms
from s5_to_loihi.profiling.demand import Demand, demands
from s5_to_loihi.profiling.estimate import (
    LATENCY,
    THROUGHPUT,
    TIMESTEP,
    TIMESTEP_95,
    TIMESTEP_LONGEST,
    Estimate,
    energy_name,
    estimate,
    power_name,
    ranged,
)
from s5_to_loihi.profiling.norms import norm_rows
from s5_to_loihi.profiling.profile_values import (
    EnergySplit,
    MappingSummary,
    ModeProfile,
    Profile,
)
from s5_to_loihi.profiling.real_time import HOP, real_time
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.interpreter import Mode

#: Choices of constants that are drawn.
SAMPLES = 2000


def profile(
    source: Bundle | str | os.PathLike[str],
    *,
    tokens: np.ndarray | None = None,
    system: System | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    hop: float = HOP,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Profile a bundle on its own mapping, or on one made for it where it has none.

    Args:
        source: the bundle, or its path.
        tokens: (tokens, features) or (tokens, batch, features); by default those recorded in it.
        system: to map onto; by default that of the bundle's mapping, else the smallest that fits.
        seed: of a mapping and of the drawn constants.
        samples: how many times constants are drawn.
        hop: microseconds from a token to the next in real time.
        on_progress: called with tokens counted and in all.

    Raises:
        InputError: no tokens, tokens that do not suit the network, or a mapping for a system that
            is not listed.
        CapacityError: the network does not fit.

    Examples:
        >>> profile = s5.profile("denoiser.bundle")
        >>> latency = profile.modes["fall-through"].latency
        >>> latency.low < latency.value < latency.high  # microseconds
        True
    """
    opened = bundle.opened(source)
    network = opened.network
    tokens = recorded_tokens(opened) if tokens is None else tokens
    placed = fitting(opened.mapping, system)
    recording = record(network, tokens, on_progress)
    mapping, system = placed or map_recording(network, recording, system, seed)
    return profile_recording(
        network, recording, mapping, system,
        seed=seed, samples=samples, hop=hop, made_here=placed is None, curve=True,
    )  # fmt: skip


def recorded_tokens(opened: Bundle) -> np.ndarray:
    """Return the tokens recorded in a bundle, (tokens, batch, features).

    Raises:
        InputError: there are none.
    """
    if opened.vectors is None:
        raise InputError(
            f"bundle of {opened.network.name}",
            "has no recorded tokens to count activity with",
            "Give an input (--input)",
        )
    return opened.vectors.tokens


def fitting(
    mapping: CoreMapping | None, system: System | None
) -> tuple[CoreMapping, System] | None:
    """Return the mapping to profile on and its system; None if it is for another system.

    Raises:
        InputError: the mapping is for a system that is not listed, and none is given.
    """
    if mapping is None or (system is not None and system.name != mapping.system):
        return None
    known = {one.name: one for one in listed_systems()}
    if system is None and mapping.system not in known:
        raise InputError(
            "mapping", f"is for '{mapping.system}', which is not listed", "Give its file (--system)"
        )
    return mapping, system or known[mapping.system]


def map_recording(
    network: Network,
    recording: Recording,
    system: System | None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[CoreMapping, System]:
    """Map a network for the activity that was counted, ``balanced``.

    Every core in use draws power: the last tenth of the speed may take most of them.

    Args:
        network: verified.
        recording: of it.
        system: to map onto; by default the smallest listed one that the network fits.
        seed: of the mapping.
        on_progress: called with candidates tried and how many there are at most.

    Raises:
        CapacityError: it does not fit.
    """
    mapping, evaluation = map_network(
        network, recording.rates, system, Objective.BALANCED, seed=seed, on_progress=on_progress
    )
    rules.require(evaluation)
    return mapping, evaluation.system


def evaluate_recording(
    network: Network, recording: Recording, mapping: CoreMapping, system: System
) -> MappingEvaluation:
    """Return what a mapping comes to for recorded messages."""
    work = workload(network, recording.rates, system.chip)
    return evaluate_mapping(work, mapping.core_of(network), system)


def profile_recording(
    network: Network,
    recording: Recording,
    mapping: CoreMapping,
    system: System,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    hop: float = HOP,
    made_here: bool = False,
    curve: bool = False,
) -> Profile:
    """Profile from activity that was counted before.

    Args:
        network: with phases.
        recording: of it.
        mapping: of it, onto ``system``.
        system: whose constants to use.
        seed, samples: of the drawn constants.
        hop: microseconds from a token to the next in real time.
        made_here: whether the mapping was made for this profile.
        curve: whether to map it onto other numbers of cores, too, which takes seconds.

    Raises:
        InputError: the hop is no time.
        NetworkError: the network has no phases.
    """
    if not 0 < hop < math.inf:
        raise InputError("hop", f"is {hop:g} µs", "Give a positive, finite time")
    if any(group.phase is None for group in network.groups):
        raise NetworkError(network.name, "has no phases", "Run the passes on it first")
    evaluation = evaluate_recording(network, recording, mapping, system)
    table = deliveries(evaluation.work, evaluation.loads.core_of)
    modes, estimates = {}, {}
    for mode, demand in demands(recording, evaluation, table).items():
        estimates[mode.value] = estimate(demand, system, seed, samples)
        modes[mode.value] = _mode_profile(
            mode, demand, estimates[mode.value], evaluation, table, recording.activity, hop
        )
    return Profile(
        network=network.name,
        system=system.name,
        source=provenance(system),
        latency_timesteps=network.latency,
        mapping=_summary(evaluation, mapping, made_here),
        activity=activity_profile(recording),
        seed=seed,
        samples=samples,
        modes=modes,
        denoiser=is_denoiser(network),
        estimates=estimates,
        curve=core_curve(network, recording, evaluation, seed) if curve else (),
    )


def _mode_profile(
    mode: Mode,
    demand: Demand,
    estimated: Estimate,
    evaluation: MappingEvaluation,
    table: Deliveries,
    activity: Activity,
    hop: float,
) -> ModeProfile:
    """Put together what there is to say of a mode."""
    constants, source = interval(evaluation.system), estimated.source
    energies, powers = map(energy_name, SCOPES), map(power_name, SCOPES)
    shown = (TIMESTEP, LATENCY, THROUGHPUT, *energies, *powers)
    return ModeProfile(
        mode=mode.value,
        timestep=estimated.quantity(TIMESTEP),
        timestep_95=estimated.quantity(TIMESTEP_95),
        timestep_longest=estimated.quantity(TIMESTEP_LONGEST),
        latency=estimated.quantity(LATENCY),
        throughput=estimated.quantity(THROUGHPUT),
        energy={
            scope: EnergySplit(
                *(estimated.quantity(energy_name(scope, part)) for part in (*PARTS, "total"))
            )
            for scope in SCOPES
        },
        power={scope: estimated.quantity(power_name(scope)) for scope in SCOPES},
        idle_power={
            scope: ranged(watts, "W", f"{scope}, nothing running", source)
            for scope, watts in idle_power(demand, constants).items()
        },
        terms=terms(demand, constants, source),
        critical=critical(mode, demand, evaluation, constants, source),
        groups=group_rows(demand, evaluation, table, activity, constants, source),
        cores=core_rows(demand, evaluation, constants, source),
        norms=norm_rows(evaluation.work.network, estimated.quantity(TIMESTEP)),
        real_time=real_time(mode, demand, estimated.cases, constants, hop, source),
        distribution={name: estimated.spread(name) for name in shown},
        influences={name: estimated.influences(name) for name in shown},
    )


def _summary(
    evaluation: MappingEvaluation, mapping: CoreMapping, made_here: bool
) -> MappingSummary:
    core, resource, fraction = evaluation.fullest
    return MappingSummary(
        cores=evaluation.loads.cores,
        chips=evaluation.chips,
        system_cores=evaluation.system.cores,
        system_chips=int(evaluation.system.chips.value),
        objective=mapping.objective,
        made_here=made_here,
        fullest_core=core,
        fullest_resource=resource.label,
        fullest=fraction,
    )
