"""As many copies of a network as a system holds: tokens a second, and the energy of each.

Copies share nothing but the barrier, and what is drawn at rest. Those of one chip lie on cores of
their own; that their messages share links between routers is left out, as is the host, which has to
feed all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.profiling.constants import interval, provenance
from s5_to_loihi.profiling.costs import energies, timesteps
from s5_to_loihi.profiling.demand import Demand
from s5_to_loihi.profiling.estimate import ranged
from s5_to_loihi.profiling.quantity import Quantity


@dataclass(frozen=True)
class Copies:
    """A system full of copies of a network.

    Attributes:
        count: copies.
        chips, cores: that they use, together.
        throughput: tokens/s of all copies.
        energy: power scope -> uJ a token.
    """

    count: int
    chips: int
    cores: int
    throughput: Quantity
    energy: Mapping[str, Quantity]


def copies_that_fit(cores: int, chips: int, system: System) -> tuple[int, int]:
    """Return how many copies a system holds, and on how many chips.

    Several on a chip if one leaves room for another there, else each on chips of its own.
    """
    all_chips, usable = int(system.chips.value), int(system.chip.usable_cores.value)
    if chips > 1:
        return all_chips // chips, all_chips // chips * chips
    return usable // cores * all_chips, all_chips


def copied(demand: Demand, system: System) -> Copies:
    """Fill a system with copies of a mapped network.

    Args:
        demand: of one mode of one copy.
        system: that it was mapped onto, or a larger one of the same chips.
    """
    count, chips = copies_that_fit(demand.cores, demand.chips, system)
    constants, source = interval(system), provenance(system)
    every = replace(
        demand, cores=count * demand.cores, chips=chips, system_chips=int(system.chips.value)
    )
    # A token of each copy: all wait for the same barrier.
    busy = timesteps(every, constants).sum(axis=1).mean(axis=1)
    throughput = ranged(count * 1e6 / busy, "tokens/s", f"{count} copies, without the host", source)
    energy = {}
    for scope, parts in energies(every, constants, busy, busy).items():
        own = parts["total"] - parts["static"]
        energy[scope] = ranged(own + parts["static"] / count, "uJ", f"{scope}, a token", source)
    return Copies(count, chips, every.cores, throughput, energy)
