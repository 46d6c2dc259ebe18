"""What is known of the chip and of the systems built from it: read from YAML, strictly."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.names import is_title
from s5_to_loihi.files.reading import read_yaml

DIRECTORY = Path(__file__).resolve().parent
#: The systems that come with the package, smallest first.
LISTED = ("oheogulch", "kapohopoint", "vpx", "aliapoint", "halapoint")
CONFIDENCES = ("high", "medium", "low")
MAY_BE_ZERO = "may be zero"


@dataclass(frozen=True)
class Fact:
    """A number with what is known about it.

    Attributes:
        value: the number to calculate with.
        low, high: the range it may lie in; the value itself where none is known.
        unit: of all three.
        source: where it comes from.
        confidence: high (published, or reproduces printed tables), medium (derived from
            measurements), low (an assumption).
    """

    value: float
    low: float
    high: float
    unit: str
    source: str
    confidence: str


@dataclass(frozen=True)
class Chip:
    """A chip; what each fact means is said in ``loihi2.yaml`` and ``docs/mapping.md``.

    Attributes:
        name: for people.
        file: that the facts were read from; every other field is one, in the unit that it names.
    """

    name: str
    file: str
    cores: Annotated[Fact, "cores"]
    usable_cores: Annotated[Fact, "cores"]
    router_columns: Annotated[Fact, "routers"]
    router_rows: Annotated[Fact, "routers"]
    cores_per_router: Annotated[Fact, "cores"]
    axon_in: Annotated[Fact, "words"]
    neuron_groups: Annotated[Fact, "groups"]
    neurons: Annotated[Fact, "words"]
    synapses: Annotated[Fact, "words"]
    axon_map: Annotated[Fact, "words"]
    axon_memory: Annotated[Fact, "words"]
    total: Annotated[Fact, "words"]
    word_bits: Annotated[Fact, "bits"]
    axon_header_bits: Annotated[Fact, "bits", MAY_BE_ZERO]
    index_bits: Annotated[Fact, "bits"]
    largest_weight_bits: Annotated[Fact, "bits"]
    dense_rows: Annotated[Fact, "flag", MAY_BE_ZERO]
    field_bits: Annotated[Fact, "bits"]
    largest_field_bits: Annotated[Fact, "bits"]
    destination_bits: Annotated[Fact, "bits", MAY_BE_ZERO]
    synop_time: Annotated[Fact, "ns"]
    memory_word_time: Annotated[Fact, "ns"]
    update_time: Annotated[Fact, "ns"]
    instruction_time: Annotated[Fact, "ns"]
    message_bits: Annotated[Fact, "bits"]
    link_bandwidth: Annotated[Fact, "GB/s"]
    chip_link_bandwidth: Annotated[Fact, "GB/s"]
    barrier_time: Annotated[Fact, "ns", MAY_BE_ZERO]
    barrier_time_per_doubling: Annotated[Fact, "ns", MAY_BE_ZERO]
    synop_energy: Annotated[Fact, "pJ"]
    update_energy: Annotated[Fact, "pJ"]
    instruction_energy: Annotated[Fact, "pJ"]
    message_energy: Annotated[Fact, "pJ"]
    hop_energy: Annotated[Fact, "pJ"]
    crossing_energy: Annotated[Fact, "pJ"]
    core_power: Annotated[Fact, "W"]
    static_power: Annotated[Fact, "W"]

    @property
    def routers(self) -> tuple[int, int]:
        """Columns and rows of routers."""
        return int(self.router_columns.value), int(self.router_rows.value)

    def chips_for(self, cores: int) -> int:
        """Return how many chips have so many usable cores."""
        return -(-cores // int(self.usable_cores.value))


@dataclass(frozen=True)
class System:
    """Chips wired into a grid.

    Attributes:
        name: for people.
        key: what ``--system`` calls it: its listed name, or the path of its file.
        chip: what every one of its chips is.
        chips: how many.
        chip_columns, chip_rows: the grid they lie in, filled row by row.
        x86_power: of the processors of a chip, on top of the neurocore rails.
        other_power: of a whole system on top of its chips.
    """

    name: str
    key: str
    chip: Chip
    chips: Annotated[Fact, "chips"]
    chip_columns: Annotated[Fact, "chips"]
    chip_rows: Annotated[Fact, "chips"]
    x86_power: Annotated[Fact, "W"]
    other_power: Annotated[Fact, "W", MAY_BE_ZERO]

    @property
    def cores(self) -> int:
        """Usable cores of all chips."""
        return int(self.chips.value * self.chip.usable_cores.value)


#: Facts of a chip and of a system -> unit, and ``MAY_BE_ZERO`` of those that need not be above it.
_FACTS: dict[str, tuple[str, ...]] = {
    name: hint.__metadata__
    for cls in (Chip, System)
    for name, hint in get_type_hints(cls, include_extras=True).items()
    if get_origin(hint) is Annotated
}
#: The unit that each fact must be given in; every number has one.
UNITS = {name: said[0] for name, said in _FACTS.items()}
#: Facts that count something; the others may have fractions.
_WHOLE = {"cores", "routers", "groups", "words", "bits", "chips", "instructions", "flag"}


def load_system(key: str | os.PathLike[str]) -> System:
    """Read a system by its listed name, or from the YAML file of a user's own.

    In a file, ``chip`` is ``loihi2`` or the path of a chip's file, relative to the system's.

    Raises:
        InputError: no such system, or a fact is missing, unknown, or not what it should be.
    """
    key = os.fspath(key)
    path = DIRECTORY / f"{key}.yaml" if key in LISTED else Path(key)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"system '{key}'", "is not listed", f"Use one of {', '.join(LISTED)}, or a .yaml file"
        )
    content = _read(path)
    chip_key = content.pop("chip", None)
    if not isinstance(chip_key, str):
        raise InputError(str(path), "does not say which chip it has", "Add 'chip: loihi2'")
    chip_path = DIRECTORY / "loihi2.yaml" if chip_key == "loihi2" else path.parent / chip_key
    system = _built(
        System,
        path,
        content,
        key=key,
        chip=_built(Chip, chip_path, _read(chip_path), file=chip_path.name),
    )
    if system.chip_columns.value * system.chip_rows.value < system.chips.value:
        raise InputError(
            str(path),
            f"{system.chips.value:.0f} chips do not fit a grid of {system.chip_columns.value:.0f}"
            f" x {system.chip_rows.value:.0f}",
            "Enlarge chip_columns or chip_rows",
        )
    return system


@functools.lru_cache(maxsize=1)
def listed_systems() -> tuple[System, ...]:
    """Read the systems that come with the package, smallest first."""
    return tuple(load_system(key) for key in LISTED)


def _read(path: Path) -> dict:
    content = read_yaml(path, if_unreadable=f"Listed are {', '.join(LISTED)}")
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(str(path), "does not hold facts by name", "Start from a listed file")
    return content


def _built(cls: type, path: Path, content: dict, **given):
    """Make a chip or a system of the facts in a file."""
    wanted = [field.name for field in fields(cls) if field.name not in ("name", *given)]
    for name in wanted:
        if name not in content:
            raise InputError(str(path), f"{name} is missing", "Take it over from a listed file")
    for name in content:
        if name not in ("name", *wanted):
            raise InputError(str(path), f"{name:.60} is not a fact of a {cls.__name__.lower()}")
    if not is_title(content.get("name")):
        raise InputError(str(path), "has no name of printable characters", "Add 'name: ...'")
    facts = {name: _fact(f"{path}: {name}", name, content[name]) for name in wanted}
    built = cls(name=content["name"], **given, **facts)
    if cls is Chip:
        _check_chip(str(path), built)
    return built


def _fact(where: str, name: str, entry) -> Fact:
    required, optional = ("value", "unit", "source", "confidence"), ("low", "high")
    if not isinstance(entry, dict):
        raise InputError(where, "is not a fact", f"Give {', '.join(required)}")
    for key in required:
        if key not in entry:
            raise InputError(where, f"has no {key}", f"Give {', '.join(required)}")
    for key in entry:
        if key not in (*required, *optional):
            raise InputError(
                where, f"has an unknown part {key!r:.60}", "Use low and high for a range"
            )
    if entry["unit"] != UNITS[name]:
        raise InputError(where, f"is in {entry['unit']!s:.60}", f"Give it in {UNITS[name]}")
    if entry["confidence"] not in CONFIDENCES:
        what = f"has confidence {entry['confidence']!r:.60}"
        raise InputError(where, what, f"Use one of {', '.join(CONFIDENCES)}")
    if not isinstance(entry["source"], str) or not entry["source"].strip():
        raise InputError(where, "has no source", "Say where the number comes from")
    numbers = {key: entry[key if key in entry else "value"] for key in ("value", "low", "high")}
    for key, number in numbers.items():
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole and (UNITS[name] in _WHOLE or not isinstance(number, float)):
            raise InputError(
                where, f"{key} is {number!r:.60}", "Give a number (a whole one of things)"
            )
        if not 0 <= number < 1e12 or (number == 0 and MAY_BE_ZERO not in _FACTS[name]):
            raise InputError(where, f"{key} is {number}", "Give a positive, finite number")
    if not numbers["low"] <= numbers["value"] <= numbers["high"]:
        raise InputError(
            where,
            f"{numbers['value']} is not within {numbers['low']}..{numbers['high']}",
            "Order low, value and high",
        )
    said = (entry[key] for key in ("unit", "source", "confidence"))
    return Fact(numbers["value"], numbers["low"], numbers["high"], *said)


def _check_chip(where: str, chip: Chip) -> None:
    routers = chip.router_columns.value * chip.router_rows.value
    if routers * chip.cores_per_router.value != chip.cores.value:
        raise InputError(
            where,
            f"{routers:.0f} routers with {chip.cores_per_router.value:.0f} cores each do not make"
            f" {chip.cores.value:.0f} cores",
        )
    if chip.usable_cores.value > chip.cores.value:
        raise InputError(where, "more cores are usable than there are", "Lower usable_cores")
    if chip.word_bits.value < chip.largest_field_bits.value:
        raise InputError(where, "a field is wider than a word", "Lower largest_field_bits")
