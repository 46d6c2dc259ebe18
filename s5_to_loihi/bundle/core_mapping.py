"""The result of mapping: which neuron is on which core. It is part of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.files.names import is_title
from s5_to_loihi.network.network import Network

#: Of what is drawn at random: what numpy and compiled loops both take.
LARGEST_SEED = (1 << 32) - 1


#: Mappings that a search with measurements runs at most, by default.
BUDGET = 8
#: Nanoseconds of a timestep: more are a mistake.
LONGEST_TIME = 1e15
#: Cores that a mapping may name: five times those of the largest system.
MOST_CORES = 1 << 20


class Objective(str, Enum):
    """What a mapping is made for."""

    LATENCY = "latency"  #: the shortest timestep
    CORES = "cores"  #: the fewest cores
    BALANCED = "balanced"  #: few cores, timestep near the shortest


@dataclass(frozen=True, eq=False)
class CoreMapping:
    """Neurons on the cores of a system.

    Attributes:
        system: name of the system, for people.
        cores_per_chip: core c of the arrays is core ``c % cores_per_chip`` of chip
            ``c // cores_per_chip``.
        objective: what it was made for, see ``Objective``.
        seed: that it was made with.
        rates: where the message rates come from that it was balanced for.
        cores: group -> (neurons,) int32.
        timestep: nanoseconds that a timestep takes by the model, with all constants at their
            fast end, as given, and at their slow end.
    """

    system: str
    cores_per_chip: int
    objective: str
    seed: int
    rates: str
    cores: Mapping[str, np.ndarray]
    timestep: tuple[float, float, float]

    def core_of(self, network: Network) -> np.ndarray:
        """Return the core of every neuron, group after group: (neurons,) int64."""
        return np.concatenate([self.cores[group.name] for group in network.groups]).astype(np.int64)


def check(network: Network, mapping: CoreMapping) -> None:
    """Check that a mapping places every neuron of a network once.

    Raises:
        NetworkError: a group is missing, unknown, or has another size, or what is said of the
            mapping is not what it should be.
    """
    _check_facts(mapping)
    sizes = {group.name: group.size for group in network.groups}
    for name in sorted(set(sizes) ^ set(mapping.cores)):
        what = "is not placed" if name in sizes else "is placed, but is no group"
        raise NetworkError(f"mapping, {name}", what, "Map the network again")
    for name, cores in mapping.cores.items():
        lowest, highest = cores.min(initial=0), cores.max(initial=0)
        if cores.shape != (sizes[name],) or lowest < 0 or highest >= MOST_CORES:
            raise NetworkError(
                f"mapping, {name}",
                f"places {cores.shape} neurons (limit {sizes[name]}) on cores {lowest}..{highest}",
                "Map the network again",
            )


def _check_facts(mapping: CoreMapping) -> None:
    known = [objective.value for objective in Objective]
    whole = {"cores_per_chip": (1, MOST_CORES), "seed": (0, LARGEST_SEED)}
    times = mapping.timestep
    sound = {
        "system": is_title(mapping.system),
        "rates": is_title(mapping.rates),
        "objective": mapping.objective in known,
        "timestep": len(times) == 3
        and all(type(time) in (int, float) and 0 <= time < LONGEST_TIME for time in times),
        **{
            name: type(getattr(mapping, name)) is int and low <= getattr(mapping, name) <= high
            for name, (low, high) in whole.items()
        },
    }
    for name, is_sound in sound.items():
        if not is_sound:
            what = f"is {getattr(mapping, name)!r:.60}"
            raise NetworkError(f"mapping, {name}", what, "Map the network again")
