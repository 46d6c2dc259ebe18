"""What a run measured: the file that a board run writes and ``profile --measured`` reads.

Described in ``docs/profiling.md``. Times and power come from separate runs, as the profiler on the
board demands; whatever was not measured is null.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi.errors import InputError
from s5_to_loihi.files import replacing

SCHEMA = "s5_to_loihi measured profile"
SCHEMA_VERSION = 1
#: A result is text about one run; counts of every core of a large system are a few megabytes.
LARGEST_FILE = 64 << 20
#: What a run may have been made on. Only the first is a measurement of the chip.
TARGETS = ("board", "lava-cpu")
#: Which supplies a power covers.
SCOPES = ("neurocore rails", "chip with x86", "board")


@dataclass(frozen=True)
class StepTimes:
    """Microseconds of a timestep, means over a run.

    Attributes:
        total: of a timestep in all.
        spiking, management, host: what it is spent on; None where the profiler did not say.
        steps: timesteps that the means are over.
    """

    total: float
    spiking: float | None
    management: float | None
    host: float | None
    steps: int


@dataclass(frozen=True)
class Power:
    """Watts, means over a run.

    Attributes:
        scope: one of ``SCOPES``.
        total: in all.
        static: with nothing running.
        rails: name of a supply (``vdd``, ``vddm``, ``vddio``) -> watts, in all.
        steps: timesteps that the means are over.
    """

    scope: str
    total: float
    static: float | None
    rails: Mapping[str, float]
    steps: int


@dataclass(frozen=True)
class CoreActivity:
    """What the counters of a core counted over a run.

    Attributes:
        chip, core: where.
        synops, updates, messages_out, messages_in: counts; None where there is no such counter.
    """

    chip: int
    core: int
    synops: int | None
    updates: int | None
    messages_out: int | None
    messages_in: int | None


@dataclass(frozen=True)
class MeasuredProfile:
    """A run and what it measured.

    Attributes:
        target: one of ``TARGETS``; times of ``lava-cpu`` are those of a simulator.
        network: name of the network.
        bundle_digest: the ``digest`` of the bundle's manifest.
        mode: ``pipelined`` or ``fall-through``.
        tokens: of the run.
        timesteps: of the run.
        wall_seconds: from start to end, as the host saw it.
        environment: host, board, partition, chip generation, versions: name -> text.
        time: None if not measured.
        power: None if not measured.
        activity: of the cores in use; empty if not measured.
    """

    target: str
    network: str
    bundle_digest: str
    mode: str
    tokens: int
    timesteps: int
    wall_seconds: float
    environment: Mapping[str, str]
    time: StepTimes | None = None
    power: Power | None = None
    activity: tuple[CoreActivity, ...] = ()


def write_measured(profile: MeasuredProfile, path: Path) -> None:
    """Write a measured profile as JSON, whole or not at all."""
    content = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **dataclasses.asdict(profile)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def read_measured(path: Path) -> MeasuredProfile:
    """Read a measured profile and check all of it.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(str(path), f"is larger than {LARGEST_FILE >> 20} MiB")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(str(path), "is not JSON", "Give the file that a board run wrote") from None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise InputError(
            str(path), "is no measured profile", "Give the file that a board run wrote"
        )
    version = content.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        what = f"has schema version {version} (limit {SCHEMA_VERSION})"
        raise InputError(str(path), what, "Use the version of s5_to_loihi that wrote it")
    return _built(MeasuredProfile, content, str(path))


def _built(cls: type, content, where: str):
    """Make a dataclass of this module of a JSON object, strictly."""
    if not isinstance(content, dict):
        raise InputError(where, f"is {_shown(content)}", "Give an object")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in sorted(content.keys() ^ fields.keys()):
        known = "is missing" if name in fields else "is unknown"
        raise InputError(f"{where}: {name}", known, "Give the file as the board run wrote it")
    return cls(
        **{
            name: _value(field.type, content[name], f"{where}: {name}")
            for name, field in fields.items()
        }
    )


def _value(kind: str, value, where: str):
    """Check one value against the type that its field is annotated with."""
    kind, _, optional = kind.partition(" | ")
    if value is None and optional:
        return None
    if kind == "tuple[CoreActivity, ...]":
        if not isinstance(value, list):
            raise InputError(where, f"is {_shown(value)}", "Give a list")
        return tuple(
            _built(CoreActivity, entry, f"{where}[{index}]") for index, entry in enumerate(value)
        )
    if kind in ("StepTimes", "Power"):
        return _built({"StepTimes": StepTimes, "Power": Power}[kind], value, where)
    if kind.startswith("Mapping"):
        if not isinstance(value, dict):
            raise InputError(where, f"is {_shown(value)}", "Give an object")
        entry_kind = kind.removeprefix("Mapping[str, ").removesuffix("]")
        return {
            name: _value(entry_kind, entry, f"{where}: {name}") for name, entry in value.items()
        }
    if kind == "str":
        allowed = {"target": TARGETS, "scope": SCOPES}.get(where.rpartition(": ")[2])
        if not isinstance(value, str) or (allowed and value not in allowed):
            what = f"Use one of {', '.join(allowed)}" if allowed else "Give a text"
            raise InputError(where, f"is {_shown(value)}", what)
        return value
    number = isinstance(value, int) or (kind == "float" and isinstance(value, float))
    if not number or isinstance(value, bool) or not 0 <= value < math.inf:
        raise InputError(where, f"is {_shown(value)}", f"Give a number ({kind}) of at least 0")
    return float(value) if kind == "float" else value


def _shown(value) -> str:
    return repr(value)[:60]
