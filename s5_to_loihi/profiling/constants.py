"""The constants of the cost model: nominal, at the ends of their ranges, and drawn at random."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from s5_to_loihi.loihi2.facts import UNITS, Fact, System
from s5_to_loihi.loihi2.timing import TIMING_FACTS

#: Facts of which more means less time.
BANDWIDTHS = tuple(name for name in TIMING_FACTS if name.endswith("bandwidth"))
#: Facts that times and energies are computed from.
NAMES = (
    *TIMING_FACTS,
    *("synop_energy", "update_energy", "instruction_energy"),
    *("message_energy", "hop_energy", "crossing_energy"),
    *("core_power", "static_power", "x86_power", "other_power"),
)
#: The case of ``interval`` in which every constant has its value.
NOMINAL = 1
#: Name of a constant -> its values, (cases,).
Constants = Mapping[str, np.ndarray]


def fact(system: System, name: str) -> Fact:
    """Return a fact of a system or of its chip."""
    return getattr(system.chip, name, None) or getattr(system, name)


def ends(system: System, name: str) -> tuple[float, float, float]:
    """Return a constant where it is cheap, as given, and where it is dear."""
    one = fact(system, name)
    low, high = (one.high, one.low) if name in BANDWIDTHS else (one.low, one.high)
    return low, one.value, high


def interval(system: System) -> Constants:
    """Return the cases between which everything lies: ``NOMINAL`` is the case as given.

    All cheap, as given, all dear; then energies cheap and times slow, and the other way round,
    between which powers lie.
    """
    cases = {}
    for name in NAMES:
        low, value, high = ends(system, name)
        mixed = (high, low) if UNITS[name] not in ("pJ", "W") else (low, high)
        cases[name] = np.array([low, value, high, *mixed], dtype=float)
    return cases


def drawn(system: System, samples: int, seed: int) -> Constants:
    """Draw constants independently of each other.

    A constant is as likely above its value as below it, and on either side the less likely the
    nearer to the end of its range, linearly in its logarithm (in the constant itself where the
    range begins at zero). That constants are independent is an assumption.
    """
    rng = np.random.default_rng(seed)
    constants = {}
    for name in NAMES:
        one = fact(system, name)
        # Drawn for every constant, so that one that is certain leaves the others as they are.
        uniform = rng.random(samples)
        numbers = np.array([one.low, one.value, one.high], dtype=float)
        if one.low > 0:
            logarithms = _two_sided(uniform, *np.log(numbers))
            constants[name] = np.clip(np.exp(logarithms), one.low, one.high)
        else:
            constants[name] = _two_sided(uniform, *numbers)
    return constants


def _two_sided(uniform: np.ndarray, low: float, middle: float, high: float) -> np.ndarray:
    """Turn uniform numbers into ones with the median ``middle``, falling off to both ends."""
    below = low + (middle - low) * np.sqrt(2 * np.minimum(uniform, 0.5))
    above = high - (high - middle) * np.sqrt(2 * np.minimum(1 - uniform, 0.5))
    return np.where(uniform < 0.5, below, above)


def one_at_a_time(system: System) -> tuple[tuple[str, ...], Constants]:
    """Return the names, and for each a case with it cheap and one with it dear, others nominal."""
    names = NAMES
    constants = {name: np.full(2 * len(names), float(ends(system, name)[1])) for name in names}
    for index, name in enumerate(names):
        constants[name][2 * index], _, constants[name][2 * index + 1] = ends(system, name)
    return names, constants


def provenance(system: System) -> str:
    """Return where numbers of the model come from: its files and a digest of all their facts."""
    digest = hashlib.sha256()
    for owner in (system.chip, system):
        for field in fields(owner):
            one = getattr(owner, field.name)
            if isinstance(one, Fact):
                digest.update(
                    f"{field.name} {one.low} {one.value} {one.high} {one.unit}\n".encode()
                )
    return (
        f"cost model, constants of {system.chip.file} and {system.name}"
        f" (digest {digest.hexdigest()[:12]})"
    )
