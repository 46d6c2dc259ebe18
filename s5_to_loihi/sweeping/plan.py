"""What to sweep over: a YAML file, strictly checked, and the points that it describes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from s5_to_loihi.backends.interpreter import Mode
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import InputError
from s5_to_loihi.float_model import Activation, Discretization
from s5_to_loihi.loihi2.core_mapping import Objective
from s5_to_loihi.loihi2.facts import LISTED
from s5_to_loihi.model import GluVariant
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.precision import ALLOWED, Precision
from s5_to_loihi.sweeping.metrics import METRICS, default_front

LARGEST_FILE = 1 << 20
LARGEST_AXIS = 1000
MOST_POINTS = 10_000
LONGEST_TEXT = 500
#: What data may be given as.
DATA_SUFFIXES = (".npy", ".npz", ".wav")


@dataclass(frozen=True)
class Settings:
    """What sets a point apart from the others of its sweep; each is an axis in the file.

    Attributes:
        checkpoint: as written in the file.
        sparsity: share of zeros in all weights to prune to; None leaves the model as it is.
        weights, activations, inputs, eigenvalues, states, knots: see ``Precision``.
        objective: of the mapping.
        system: to map onto; None for the smallest listed one that the network fits.
        mode: how tokens follow one another.
    """

    checkpoint: str
    sparsity: float | None = None
    weights: int = Precision.weights
    activations: int = Precision.activations
    inputs: int | None = Precision.inputs
    eigenvalues: int = Precision.eigenvalues
    states: int = Precision.states
    knots: int = Precision.knots
    objective: str = Objective.LATENCY.value
    system: str | None = None
    mode: str = Mode.PIPELINED.value


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        name: tells its directory from that of another sweep.
        directory: that paths in it are relative to.
        calibration: data to quantize with, as written in the file, as are all paths here.
        held_out: data to measure with; None for the last fifth of the calibration data.
        clean: the clean version of ``held_out``, both recordings; None if there is none.
        sequence_length: tokens a sequence, for the readout ``mean``.
        options: what the checkpoints do not say, see ``LoadOptions``.
        seed: of the mappings.
        front: names of the metrics whose best compromises are marked, see ``metrics.METRICS``.
        axes: name -> values, in the order of ``Settings``; those not given have their default.
    """

    name: str
    directory: Path
    calibration: str
    held_out: str | None
    clean: str | None
    sequence_length: int | None
    options: LoadOptions
    seed: int
    front: tuple[str, ...]
    axes: Mapping[str, tuple]

    def points(self) -> tuple[Settings, ...]:
        """Return all combinations; the last axis varies fastest."""
        return tuple(
            Settings(**dict(zip(self.axes, values, strict=True)))
            for values in itertools.product(*self.axes.values())
        )

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the axes with more than one value."""
        return tuple(name for name, values in self.axes.items() if len(values) > 1)


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows and means nothing good here: one key twice, and merged mappings.

    Merging copies, so that a few lines can describe billions of entries.
    """

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if key.tag == "tag:yaml.org,2002:merge" or name is None or (key.tag, name) in seen:
                what = f"the key {_shown(name)} is there twice, or is no plain name"
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            seen.add((key.tag, name))
        return super().construct_mapping(node, deep)


def read_plan(path: Path) -> Plan:
    """Read a sweep from its file.

    Raises:
        InputError: no such file, not YAML, a key is missing, unknown or twice there, or a value is
            not what it should be.
    """
    path = Path(path)
    content = _read(path)
    where = str(path)
    known = ("name", "calibration", "held_out", "clean", "sequence_length", "options", "seed")
    _check_keys(where, content, (*known, "front", "axes"), ("calibration", "axes"))
    axes = _axes(where, content["axes"])
    clean = _optional(where, "clean", content, _recording)
    held_out = _optional(where, "held_out", content, _recording if clean else _data)
    if clean is not None and held_out is None:
        raise InputError(f"{where}: clean", "needs the noisy version", "Give held_out, a .wav")
    front = content.get("front", default_front(clean is not None))
    plan = Plan(
        name=_text(f"{where}: name", content.get("name", path.stem)),
        directory=path.resolve().parent,
        calibration=_data(f"{where}: calibration", content["calibration"]),
        held_out=held_out,
        clean=clean,
        sequence_length=_optional(where, "sequence_length", content, _whole(1, 1 << 30)),
        options=_options(f"{where}: options", content.get("options", {})),
        seed=_whole(0, (1 << 32) - 1)(f"{where}: seed", content.get("seed", 0)),
        front=_list(f"{where}: front", front, _one_of(_measurable(clean is not None))),
        axes=axes,
    )
    count = math.prod(map(len, axes.values()))
    if count > MOST_POINTS:
        raise InputError(
            where, f"describes {count:,} points (limit {MOST_POINTS:,})", "Shorten its axes"
        )
    return plan


def _read(path: Path) -> dict:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(str(path), f"is larger than {LARGEST_FILE >> 20} MiB")
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(
            str(path), f"cannot be read ({error.strerror})", "Check the path"
        ) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(str(path), f"is not YAML ({reason})", "See docs/sweep.md") from None
    if not isinstance(content, dict):
        raise InputError(str(path), f"is {_shown(content)}", "Start from examples/sweep.yaml")
    return content


def _axes(where: str, content: Any) -> dict[str, tuple]:
    where = f"{where}: axes"
    names = [field.name for field in fields(Settings)]
    required = [field.name for field in fields(Settings) if field.default is MISSING]
    _check_keys(where, content, names, required)
    given = {
        name: _list(f"{where}: {name}", values, _CHECKS[name]) for name, values in content.items()
    }
    return {field.name: given.get(field.name, (field.default,)) for field in fields(Settings)}


def _options(where: str, content: Any) -> LoadOptions:
    _check_keys(where, content, tuple(_OPTIONS), ())
    return LoadOptions(
        **{name: _OPTIONS[name](f"{where}: {name}", value) for name, value in content.items()}
    )


def _measurable(with_clean: bool) -> tuple[str, ...]:
    return tuple(name for name, metric in METRICS.items() if with_clean or not metric.needs_clean)


# --- values: each check returns what is meant, or raises ------------------------------------------

Check = Callable[[str, Any], Any]


def _check_keys(where: str, content: Any, known, required) -> None:
    if not isinstance(content, dict):
        raise InputError(where, f"is {_shown(content)}", f"Give a mapping of {', '.join(known)}")
    for key in content:
        if key not in known:
            raise InputError(where, f"has the unknown key {_shown(key)}", f"Use {', '.join(known)}")
    for key in required:
        if key not in content:
            raise InputError(where, f"has no {key}", "Start from examples/sweep.yaml")


def _optional(where: str, name: str, content: dict, check: Check) -> Any:
    value = content.get(name)
    return None if value is None else check(f"{where}: {name}", value)


def _list(where: str, values: Any, check: Check) -> tuple:
    if not isinstance(values, (list, tuple)) or not 0 < len(values) <= LARGEST_AXIS:
        raise InputError(
            where,
            f"is {_shown(values)}",
            f"Give a list of 1 to {LARGEST_AXIS} values, [like, this]",
        )
    found = tuple(check(f"{where}[{index}]", value) for index, value in enumerate(values))
    for index, value in enumerate(found):
        if value in found[:index]:
            raise InputError(f"{where}[{index}]", f"{value} is there twice", "Give it once")
    return found


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or "\0" in value:
        raise InputError(where, f"is {_shown(value)}", f"Give 1 to {LONGEST_TEXT} characters")
    return value


def _file(suffixes: tuple[str, ...]) -> Check:
    def check(where: str, value: Any) -> str:
        if Path(_text(where, value)).suffix.lower() not in suffixes:
            raise InputError(where, f"is {_shown(value)}", f"Give a file: {', '.join(suffixes)}")
        return value

    return check


_data, _recording = _file(DATA_SUFFIXES), _file((".wav",))


def _one_of(names) -> Check:
    def check(where: str, value: Any) -> Any:
        if not any(value == name and type(value) is type(name) for name in names):
            raise InputError(
                where, f"is {_shown(value)}", f"Use one of {', '.join(map(str, names))}"
            )
        return value

    return check


def _system(where: str, value: Any) -> str:
    if Path(_text(where, value)).suffix not in (".yaml", ".yml"):
        _one_of(LISTED)(where, value)
    return value


def _choice(enumeration: type[Enum]) -> Check:
    by_name = {member.value: member for member in enumeration}
    check = _one_of(tuple(by_name))
    return lambda where, value: by_name[check(where, value)]


def _whole(fewest: int, most: int) -> Check:
    def check(where: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not fewest <= value <= most:
            what = f"Give a whole number from {fewest} to {most}"
            raise InputError(where, f"is {_shown(value)}", what)
        return value

    return check


def _share(where: str, value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        what = "Give a number from 0 to below 1, or null for the checkpoint's own sparsity"
        raise InputError(where, f"is {_shown(value)}", what)
    return float(value)


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(where, f"is {_shown(value)}", "Give true or false")
    return value


def _or_none(check: Check) -> Check:
    return lambda where, value: None if value is None else check(where, value)


def _shown(value: Any) -> str:
    """Describe a value without writing out what aliases of YAML may have made of it."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}..."
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of many digits"
    if isinstance(value, (int, float)) or value is None:
        return "null" if value is None else repr(value)
    kinds = {dict: "a mapping", list: "a list", tuple: "a list"}
    return kinds.get(type(value), f"of the kind {type(value).__name__}")


_CHECKS: dict[str, Check] = {
    "checkpoint": _text,
    "sparsity": _or_none(_share),
    "weights": _whole(*ALLOWED["weight"]),
    "activations": _whole(*ALLOWED["activation"]),
    "inputs": _or_none(_whole(*ALLOWED["input"])),
    "eigenvalues": _whole(*ALLOWED["eigenvalue"]),
    "states": _whole(*ALLOWED["state"]),
    "knots": _one_of(tuple(1 << power for power in range(3, 11))),
    "objective": _one_of(tuple(objective.value for objective in Objective)),
    "system": _or_none(_system),
    "mode": _one_of(tuple(mode.value for mode in Mode)),
}
_OPTIONS: dict[str, Check] = {
    "discretization": _choice(Discretization),
    "activation": _choice(Activation),
    "glu": _choice(GluVariant),
    "readout": _choice(Readout),
    **dict.fromkeys(("conjugate_symmetric", "prenorm", "rectified", "clip_eigenvalues"), _flag),
}
