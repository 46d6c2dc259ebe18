"""Latency over the number of cores: ours, and as Intel's compiler is known to partition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2.deliveries import deliveries
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.halving import PUBLISHED_DENSITY, halved
from s5_to_loihi.loihi2.mapper import map_on_numbers
from s5_to_loihi.loihi2.partition import is_small
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording
from s5_to_loihi.profiling.constants import interval, provenance
from s5_to_loihi.profiling.demand import demands
from s5_to_loihi.profiling.estimate import LATENCY, TIMES, TIMESTEP, figures, ranged
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.simulators.interpreter import Mode

#: Numbers of cores between the fewest and all, evenly spaced in logarithms, ends included.
POINTS = 6
#: Tokens that are looked at, of all sequences.
TOKENS = 256
OWN, OURS = "this mapping", "ours"
A_GROUP_A_CORE = "Intel-like: a group a core, halved until it fits"
AS_PUBLISHED = f"Intel-like: halved to {PUBLISHED_DENSITY:,} synapses a core, as S4D's figures"


@dataclass(frozen=True)
class CorePoint:
    """A number of cores and what it costs.

    Attributes:
        partition: how neurons were put onto them.
        cores, chips: in use.
        latency: us of a token in fall-through, the gate included.
        timestep: us, pipelined.
    """

    partition: str
    cores: int
    chips: int
    latency: Quantity
    timestep: Quantity


def core_curve(
    network: Network, recording: Recording, own: MappingEvaluation, seed: int = 0
) -> tuple[CorePoint, ...]:
    """Return a network's costs on different numbers of cores, its own mapping among them.

    Empty for networks so large that every try would take seconds.

    Args:
        network: with phases.
        recording: of its messages.
        own: its mapping, with the rates of the recording.
        seed: of the mappings that are made.
    """
    if not is_small(own.work, _most(own)):
        return ()
    part = replace(recording, sent=recording.sent[: max(1, TOKENS // recording.sent.shape[1])])
    found: dict[tuple[bool, int], tuple[str, MappingEvaluation]] = {}
    for partition, evaluation in _mapped(network, recording, own, seed):
        is_ours = partition in (OWN, OURS)
        found.setdefault((is_ours, evaluation.loads.cores), (partition, evaluation))
    points = [_point(name, part, one) for name, one in found.values()]
    return tuple(sorted(points, key=lambda one: (one.cores, one.partition)))


def _most(own: MappingEvaluation) -> int:
    """Return the most cores that are tried: those of one chip, or as many as it has neurons."""
    return max(own.loads.cores, min(int(own.system.chip.usable_cores.value), own.work.neurons))


def _mapped(
    network: Network, recording: Recording, own: MappingEvaluation, seed: int
) -> Iterator[tuple[str, MappingEvaluation]]:
    work, system, most = own.work, own.system, _most(own)
    least = min(own.fewest_cores[0], most)
    yield OWN, own
    numbers = np.unique(np.geomspace(least, most, POINTS).round().astype(int)).tolist()
    for _, one in map_on_numbers(network, recording.rates, system, numbers, seed):
        yield OURS, one
    for name, synapses in ((A_GROUP_A_CORE, None), (AS_PUBLISHED, PUBLISHED_DENSITY)):
        try:
            yield name, halved(work, system, synapses)
        except CapacityError:
            continue


def _point(name: str, recording: Recording, evaluation: MappingEvaluation) -> CorePoint:
    constants, source = interval(evaluation.system), provenance(evaluation.system)
    table = deliveries(evaluation.work, evaluation.loads.core_of)
    costs = {
        mode: figures(demand, constants)
        for mode, demand in demands(recording, evaluation, table).items()
    }

    def quantity(mode: Mode, figure: str) -> Quantity:
        return ranged(costs[mode][figure], *TIMES[figure], source)

    return CorePoint(
        partition=name,
        cores=evaluation.loads.cores,
        chips=evaluation.chips,
        latency=quantity(Mode.FALL_THROUGH, LATENCY),
        timestep=quantity(Mode.PIPELINED, TIMESTEP),
    )
