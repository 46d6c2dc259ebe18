"""What is known of the chip and of the systems built from it: read from YAML, strictly."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from pathlib import Path

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_yaml

DIRECTORY = Path(__file__).resolve().parent
#: The systems that come with the package, smallest first.
LISTED = ("oheogulch", "kapohopoint", "vpx", "aliapoint", "halapoint")
CONFIDENCES = ("high", "medium", "low")


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
        file: that the facts were read from; every other field is one, in the unit of ``UNITS``.
    """

    name: str
    file: str
    cores: Fact
    usable_cores: Fact
    router_columns: Fact
    router_rows: Fact
    cores_per_router: Fact
    axon_in: Fact
    neuron_groups: Fact
    neurons: Fact
    synapses: Fact
    axon_map: Fact
    axon_memory: Fact
    total: Fact
    word_bits: Fact
    axon_header_bits: Fact
    index_bits: Fact
    largest_weight_bits: Fact
    dense_rows: Fact
    field_bits: Fact
    largest_field_bits: Fact
    destination_bits: Fact
    synop_time: Fact
    memory_word_time: Fact
    update_time: Fact
    instruction_time: Fact
    gate_instructions: Fact
    message_bits: Fact
    link_bandwidth: Fact
    chip_link_bandwidth: Fact
    barrier_time: Fact
    barrier_time_per_doubling: Fact
    synop_energy: Fact
    update_energy: Fact
    instruction_energy: Fact
    message_energy: Fact
    hop_energy: Fact
    crossing_energy: Fact
    core_power: Fact
    static_power: Fact

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
    chips: Fact
    chip_columns: Fact
    chip_rows: Fact
    x86_power: Fact
    other_power: Fact

    @property
    def cores(self) -> int:
        """Usable cores of all chips."""
        return int(self.chips.value * self.chip.usable_cores.value)


#: The unit that each fact must be given in; every number has one.
UNITS = {
    **dict.fromkeys(("cores", "usable_cores", "cores_per_router"), "cores"),
    **dict.fromkeys(("router_columns", "router_rows"), "routers"),
    "neuron_groups": "groups",
    **dict.fromkeys(
        ("axon_in", "neurons", "synapses", "axon_map", "axon_memory", "total"), "words"
    ),
    **dict.fromkeys(("word_bits", "axon_header_bits", "index_bits", "largest_weight_bits"), "bits"),
    **dict.fromkeys(("field_bits", "largest_field_bits", "destination_bits"), "bits"),
    "dense_rows": "flag",
    **dict.fromkeys(("synop_time", "memory_word_time", "update_time", "instruction_time"), "ns"),
    **dict.fromkeys(("barrier_time", "barrier_time_per_doubling"), "ns"),
    "gate_instructions": "instructions",
    "message_bits": "bits",
    **dict.fromkeys(("link_bandwidth", "chip_link_bandwidth"), "GB/s"),
    **dict.fromkeys(("chips", "chip_columns", "chip_rows"), "chips"),
    **dict.fromkeys(("synop_energy", "update_energy", "instruction_energy"), "pJ"),
    **dict.fromkeys(("message_energy", "hop_energy", "crossing_energy"), "pJ"),
    **dict.fromkeys(("core_power", "static_power", "x86_power", "other_power"), "W"),
}
#: Facts that may be zero; all others are above it.
_MAY_BE_ZERO = {
    "dense_rows",
    "axon_header_bits",
    "barrier_time",
    "barrier_time_per_doubling",
    "destination_bits",
    "gate_instructions",
    "other_power",
}
#: Facts that count something; the others may have fractions.
_WHOLE = {"cores", "routers", "groups", "words", "bits", "chips", "instructions", "flag"}


def load_system(key: str) -> System:
    """Read a system by its listed name, or from the YAML file of a user's own.

    In a file, ``chip`` is ``loihi2`` or the path of a chip's file, relative to the system's.

    Raises:
        InputError: no such system, or a fact is missing, unknown, or not what it should be.
    """
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
            raise InputError(str(path), f"{name} is not a fact of a {cls.__name__.lower()}")
    if not isinstance(content.get("name"), str):
        raise InputError(str(path), "has no name", "Add 'name: ...'")
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
            raise InputError(where, f"has an unknown part '{key}'", "Use low and high for a range")
    if entry["unit"] != UNITS[name]:
        raise InputError(where, f"is in {entry['unit']}", f"Give it in {UNITS[name]}")
    if entry["confidence"] not in CONFIDENCES:
        what = f"has confidence '{entry['confidence']}'"
        raise InputError(where, what, f"Use one of {', '.join(CONFIDENCES)}")
    if not isinstance(entry["source"], str) or not entry["source"].strip():
        raise InputError(where, "has no source", "Say where the number comes from")
    numbers = {key: entry.get(key, entry["value"]) for key in ("value", "low", "high")}
    for key, number in numbers.items():
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole and (UNITS[name] in _WHOLE or not isinstance(number, float)):
            raise InputError(where, f"{key} is {number!r}", "Give a number (a whole one of things)")
        if not 0 <= number < 1e12 or (number == 0 and name not in _MAY_BE_ZERO):
            raise InputError(where, f"{key} is {number}", "Give a positive, finite number")
    if not numbers["low"] <= numbers["value"] <= numbers["high"]:
        raise InputError(
            where,
            f"{numbers['value']} is not within {numbers['low']}..{numbers['high']}",
            "Order low, value and high",
        )
    return Fact(**numbers, **{key: entry[key] for key in ("unit", "source", "confidence")})


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
