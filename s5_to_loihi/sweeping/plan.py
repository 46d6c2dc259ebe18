"""What to sweep over: a YAML file, strictly checked, and the points that it describes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from s5_to_loihi.bundle.core_mapping import LARGEST_SEED, Objective
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import InputError
from s5_to_loihi.float_model import Activation, Discretization, GluVariant
from s5_to_loihi.inputs import Layout
from s5_to_loihi.loihi2.facts import LISTED
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.float_weights import FLOAT_FORMATS
from s5_to_loihi.quantization.precision import ALLOWED, Precision
from s5_to_loihi.simulators.interpreter import Mode
from s5_to_loihi.sweeping.checks import (
    Check,
    check_keys,
    choice,
    file,
    flag,
    list_of,
    one_of,
    optional,
    or_none,
    positive,
    read_mapping,
    share,
    text,
    whole,
    whole_or,
)
from s5_to_loihi.sweeping.metrics import METRICS, default_front

MOST_POINTS = 10_000
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
    weights: int | str = Precision.weights
    activations: int = Precision.activations
    inputs: int | None = Precision.inputs
    eigenvalues: int = Precision.eigenvalues
    states: int = Precision.states
    knots: int = Precision.knots
    objective: str = Objective.BALANCED.value
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
        layout: of data with three axes, see ``inputs.Layout``.
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
    layout: str | None
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


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a sweep from its file.

    Raises:
        InputError: no such file, not YAML, a key is missing, unknown or twice there, or a value is
            not what it should be.
    """
    path = Path(path)
    content = read_mapping(path)
    where = str(path)
    known = ("name", "calibration", "held_out", "clean", "sequence_length", "layout", "options")
    check_keys(where, content, (*known, "seed", "front", "axes"), ("calibration", "axes"))
    axes = _axes(where, content["axes"])
    clean = optional(where, "clean", content, _recording)
    held_out = optional(where, "held_out", content, _recording if clean else _data)
    if clean is not None and held_out is None:
        raise InputError(f"{where}: clean", "needs the noisy version", "Give held_out, a .wav")
    front = content.get("front", default_front(clean is not None))
    plan = Plan(
        name=text(f"{where}: name", content.get("name", path.stem)),
        directory=path.resolve().parent,
        calibration=_data(f"{where}: calibration", content["calibration"]),
        held_out=held_out,
        clean=clean,
        sequence_length=optional(where, "sequence_length", content, whole(1, 1 << 30)),
        layout=optional(where, "layout", content, one_of([one.value for one in Layout])),
        options=_options(f"{where}: options", content.get("options", {})),
        seed=whole(0, LARGEST_SEED)(f"{where}: seed", content.get("seed", 0)),
        front=list_of(f"{where}: front", front, one_of(_measurable(clean is not None))),
        axes=axes,
    )
    count = math.prod(map(len, axes.values()))
    if count > MOST_POINTS:
        raise InputError(
            where, f"describes {count:,} points (limit {MOST_POINTS:,})", "Shorten its axes"
        )
    return plan


def _axes(where: str, content: Any) -> dict[str, tuple]:
    where = f"{where}: axes"
    names = [field.name for field in fields(Settings)]
    required = [field.name for field in fields(Settings) if field.default is MISSING]
    check_keys(where, content, names, required)
    given = {
        name: list_of(f"{where}: {name}", values, _CHECKS[name]) for name, values in content.items()
    }
    return {field.name: given.get(field.name, (field.default,)) for field in fields(Settings)}


def _options(where: str, content: Any) -> LoadOptions:
    check_keys(where, content, tuple(_OPTIONS), ())
    return LoadOptions(
        **{name: _OPTIONS[name](f"{where}: {name}", value) for name, value in content.items()}
    )


def _measurable(with_clean: bool) -> tuple[str, ...]:
    return tuple(name for name, metric in METRICS.items() if with_clean or not metric.needs_clean)


def _system(where: str, value: Any) -> str:
    if Path(text(where, value)).suffix not in (".yaml", ".yml"):
        one_of(LISTED)(where, value)
    return value


_data, _recording = file(DATA_SUFFIXES), file((".wav",))
_CHECKS: dict[str, Check] = {
    "checkpoint": text,
    "sparsity": or_none(share),
    "weights": whole_or(*ALLOWED["weight"], FLOAT_FORMATS),
    "activations": whole(*ALLOWED["activation"]),
    "inputs": or_none(whole(*ALLOWED["input"])),
    "eigenvalues": whole(*ALLOWED["eigenvalue"]),
    "states": whole(*ALLOWED["state"]),
    "knots": one_of(tuple(1 << power for power in range(3, 11))),
    "objective": one_of(tuple(objective.value for objective in Objective)),
    "system": or_none(_system),
    "mode": one_of(tuple(mode.value for mode in Mode)),
}
_OPTIONS: dict[str, Check] = {
    "discretization": choice(Discretization),
    "activation": choice(Activation),
    "glu": choice(GluVariant),
    "readout": choice(Readout),
    **dict.fromkeys(("conjugate_symmetric", "prenorm", "rectified", "clip_eigenvalues"), flag),
    "step_rescale": positive,
    **dict.fromkeys(("select", "encoder", "decoder"), text),
}
