"""What a profile says, as immutable values and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from s5_to_loihi.described import Described
from s5_to_loihi.profiling.activity import ActivityProfile
from s5_to_loihi.profiling.breakdown import CoreRow, GroupRow
from s5_to_loihi.profiling.core_numbers import CorePoint
from s5_to_loihi.profiling.critical import Critical, TermTime
from s5_to_loihi.profiling.estimate import Estimate, Influence
from s5_to_loihi.profiling.norms import NormRow
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.profiling.real_time import RealTime

SCHEMA = "s5_to_loihi profile"
SCHEMA_VERSION = 1


def _short(quantity: Quantity) -> str:
    digits = 0 if quantity.value >= 100 else 1
    return f"{quantity.value:,.{digits}f} {quantity.unit.replace('us', 'µs')}"


@dataclass(frozen=True)
class MappingSummary:
    """The mapping that a profile is of.

    Attributes:
        cores, chips: in use.
        system_cores, system_chips: there are.
        objective: that it was made for.
        made_here: whether it was made for this profile; else the bundle had it.
        fullest_core, fullest_resource, fullest: where memory is fullest, and the fraction.
    """

    cores: int
    chips: int
    system_cores: int
    system_chips: int
    objective: str
    made_here: bool
    fullest_core: int
    fullest_resource: str
    fullest: float


@dataclass(frozen=True)
class EnergySplit:
    """Microjoules a token in one power scope."""

    synaptic: Quantity
    neuron: Quantity
    communication: Quantity
    static: Quantity
    total: Quantity


@dataclass(frozen=True)
class ModeProfile:
    """What a mode takes.

    Attributes:
        mode: ``pipelined`` or ``fall-through``.
        timestep, timestep_95, timestep_longest: us, over the timesteps of the input.
        latency: us from a token's entry to its output.
        throughput: tokens a second.
        energy: power scope -> uJ a token, at that throughput.
        power: power scope -> W, at that throughput.
        idle_power: power scope -> W with nothing running.
        terms: what a timestep may have to wait for.
        critical: what decides.
        groups, cores: row by row.
        norms: those that are computed on the chip.
        real_time: with a token a hop.
        distribution: name of a figure -> its median and percentiles 5 and 95 over drawn constants.
        influences: name of a figure -> the constants that move it most.
    """

    mode: str
    timestep: Quantity
    timestep_95: Quantity
    timestep_longest: Quantity
    latency: Quantity
    throughput: Quantity
    energy: Mapping[str, EnergySplit]
    power: Mapping[str, Quantity]
    idle_power: Mapping[str, Quantity]
    terms: tuple[TermTime, ...]
    critical: Critical
    groups: tuple[GroupRow, ...]
    cores: tuple[CoreRow, ...]
    norms: tuple[NormRow, ...]
    real_time: RealTime
    distribution: Mapping[str, Quantity]
    influences: Mapping[str, tuple[Influence, ...]]


@dataclass(frozen=True, repr=False)
class Profile(Described):
    """A network's costs, as the model sees them.

    Attributes:
        network, system: names.
        source: of all modelled numbers: the files of constants and their digest.
        latency_timesteps: from a token's entry to its output.
        mapping, activity: what the costs are of.
        seed, samples: of the drawn constants.
        modes: ``pipelined`` and ``fall-through``.
        denoiser: whether tokens are those of sound that comes in real time, which is then shown
            first.
        estimates: by mode, the figures of each choice of the constants, which the modes sum up.
        curve: latency over the number of cores; empty if not asked for, or of a large network.
    """

    network: str
    system: str
    source: str
    latency_timesteps: int
    mapping: MappingSummary
    activity: ActivityProfile
    seed: int
    samples: int
    modes: Mapping[str, ModeProfile]
    denoiser: bool
    estimates: Mapping[str, Estimate] = field(compare=False, repr=False)
    curve: tuple[CorePoint, ...] = ()

    def _described(self) -> tuple[str, dict[str, str]]:
        facts = {}
        for name, one in self.modes.items():
            keeps_up = "keeps up" if one.real_time.keeps_up[1] else "does not keep up"
            facts[name] = (
                f"latency {_short(one.latency)}, {_short(one.throughput)}; {keeps_up} with a token"
                f" every {_short(one.real_time.hop)}"
            )
        return f"Profile of {self.network} on {self.system}, modelled", facts


def as_dictionary(profile: Profile) -> dict:
    """Return a profile for JSON, without estimates.

    Every number with a unit is a ``Quantity`` as an object.
    """
    content = dataclasses.asdict(dataclasses.replace(profile, estimates={}))
    del content["estimates"]
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **content}
