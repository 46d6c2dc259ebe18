"""The result of mapping: which neuron is on which core. It is part of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.network.network import Network

#: Of what is drawn at random: what numpy and compiled loops both take.
LARGEST_SEED = (1 << 32) - 1


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
        NetworkError: a group is missing, unknown, or has another size.
    """
    sizes = {group.name: group.size for group in network.groups}
    for name in sorted(set(sizes) ^ set(mapping.cores)):
        what = "is not placed" if name in sizes else "is placed, but is no group"
        raise NetworkError(f"mapping, {name}", what, "Map the network again")
    for name, cores in mapping.cores.items():
        if cores.shape != (sizes[name],) or cores.min() < 0:
            raise NetworkError(
                f"mapping, {name}",
                f"places {cores.shape} neurons (limit {sizes[name]}), the lowest core is"
                f" {cores.min(initial=0)}",
                "Map the network again",
            )
