"""A network in real time: a token each hop, and what the chip draws while it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.profiling.constants import Constants
from s5_to_loihi.profiling.costs import energies
from s5_to_loihi.profiling.demand import Demand
from s5_to_loihi.profiling.estimate import BUSY, LATENCY, ranged
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.simulators.interpreter import Mode

#: Microseconds from a frame to the next of Intel's N-DNS task: 128 samples at 16 kHz.
HOP = 8000.0


@dataclass(frozen=True)
class RealTime:
    """A token each hop.

    Attributes:
        hop: us from a token to the next.
        keeps_up: fast, nominal, slow: whether the chip is done before the next token comes.
        duty_cycle: fraction of the time in which the chip is busy; above 1 it does not keep up.
        latency: us from a token's entry to its output. Pipelined, a timestep waits for the next
            token, so that each takes a hop.
        energy: power scope -> uJ a token, with what is drawn while the chip waits.
        power: power scope -> W.
    """

    hop: Quantity
    keeps_up: tuple[bool, bool, bool]
    duty_cycle: Quantity
    latency: Quantity
    energy: Mapping[str, Quantity]
    power: Mapping[str, Quantity]


def real_time(
    mode: Mode,
    demand: Demand,
    figures: Mapping[str, np.ndarray],
    constants: Constants,
    hop: float,
    source: str,
) -> RealTime:
    """Return what a mode takes with a token each hop.

    Args:
        mode: of both.
        demand: of the mode.
        figures: of the mode, for ``constants``.
        constants: of ``constants.interval``.
        hop: microseconds from a token to the next.
        source: of the numbers.
    """
    busy = figures[BUSY]
    lasting = np.maximum(busy, hop)
    latency = figures[LATENCY] if mode is Mode.FALL_THROUGH else demand.latency * lasting
    energy, power = {}, {}
    for scope, parts in energies(demand, constants, busy, lasting).items():
        total, covered = parts["total"], f"{scope}, a token a hop"
        energy[scope] = ranged(total, "uJ", f"{covered}, waiting included", source)
        power[scope] = ranged(total / lasting, "W", covered, source)
    fast, nominal, slow = (bool(one <= hop) for one in busy[:3])
    return RealTime(
        hop=Quantity.exact(hop, "us", "from a token to the next", Origin.PUBLISHED, "the task"),
        keeps_up=(fast, nominal, slow),
        duty_cycle=ranged(busy / hop, "of the time", "a token a hop", source),
        latency=ranged(latency, "us", "from a token's entry to its output, a token a hop", source),
        energy=energy,
        power=power,
    )
