"""A recipe: all that a training is, in one YAML file.

Every key has the default of its attribute here; keys that are not known are refused.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_yaml
from s5_to_loihi.files.records import built
from s5_to_loihi.network.network import Readout
from s5_to_loihi.training.architecture import Architecture
from s5_to_loihi.training.pruning import Pruning

SEE = "See docs/training.md"


class Accelerator(str, Enum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class Numbers(str, Enum):
    """What floats are computed in; networks of integers always in whole numbers.

    In mixed numbers the products of matrices have 16 bits, all else and the weights have 32.
    """

    SINGLE = "32-true"
    MIXED_BFLOAT = "bf16-mixed"
    MIXED_HALF = "16-mixed"
    DOUBLE = "64-true"


@dataclass(frozen=True)
class Data:
    """Where data are, relative to the recipe.

    Attributes:
        train, test: folders with ``noisy`` and ``clean``, or ``.npz`` or ``.ts`` files; the test
            data measure every epoch and the end, and nothing else.
        seconds: length of the cuts that sound is trained with.
        noise: standard deviation of noise on sequences in training, relative to each feature's.
    """

    train: str = ""
    test: str = ""
    seconds: float = 2.0
    noise: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        epochs: passes over the data.
        batch: sequences or cuts a step, which all devices share.
        rate: learning rate at its highest; decay: of weights.
        label_smoothing: of classes.
        spectral: weight of the spectral loss beside SI-SNR in dB.
        activity: weight of the loss that makes messages few and small.
        seed: of all random numbers.
    """

    epochs: int = 40
    batch: int = 32
    rate: float = 0.01
    decay: float = 0.05
    label_smoothing: float = 0.1
    spectral: float = 1.0
    activity: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Integers:
    """The network of integers at the end.

    Attributes:
        weights: bits of weights, or ``e4m3`` or ``e5m2``; activations: bits of messages.
        epochs: of quantization-aware training; 0 only rounds.
        rate: its learning rate.
        from_scratch: do not train in floats at all: set batch norm on the data and begin with the
            integers.
        overrides: bits of single tensors, as for ``quantize``.
    """

    weights: int | str = 8
    activations: int = 16
    epochs: int = 5
    rate: float = 1e-3
    from_scratch: bool = False
    overrides: Mapping[str, int | str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Machine:
    """What to compute on.

    Attributes:
        accelerator: see there.
        devices: how many train together, a process each: GPUs, or shares of the processor.
        numbers: see there.
        threads: of a processor. Tensors are small: more than one is rarely quicker, and sums then
            depend on how many there are.
    """

    accelerator: Accelerator = Accelerator.AUTO
    devices: int = 1
    numbers: Numbers = Numbers.SINGLE
    threads: int = 1


@dataclass(frozen=True)
class Recipe:
    """All of it.

    Attributes:
        name: of the model.
        data, model, training, sparsity, integers, machine: see there.
        start: the folder of a model to begin with, instead of ``model``: what another training
            has left as ``model``.
        readout: what an output stands for; sound and targets have one each token.
    """

    name: str = "model"
    data: Data = Data()
    start: str = ""
    model: Architecture = field(default_factory=Architecture)
    readout: Readout = Readout.LAST
    training: Schedule = Schedule()
    sparsity: Pruning = field(default_factory=lambda: Pruning(0.0))
    integers: Integers = Integers()
    machine: Machine = Machine()


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe; paths in it are made absolute.

    Raises:
        InputError: it cannot be read, or a key is unknown or not what it should be.
    """
    content = read_yaml(path, if_unreadable="Check the path", if_damaged=SEE)
    where = os.fspath(path)
    if not isinstance(content, dict):
        raise InputError(where, "is no mapping", SEE)
    recipe = built(Recipe, _completed(Recipe(), content, where), where)
    if not recipe.data.train or not recipe.data.test:
        missing = "train" if not recipe.data.train else "test"
        raise InputError(f"{where}: data: {missing}", "is missing", "Say where the data are")
    if recipe.start and "model" in content:
        what = "is there beside start, which says what the model is"
        raise InputError(f"{where}: model", what, "Give one of the two")
    _check(recipe, where)
    base = Path(path).absolute().parent
    data = recipe.data
    return dataclasses.replace(
        recipe,
        start=str(base / recipe.start) if recipe.start else "",
        data=dataclasses.replace(data, train=str(base / data.train), test=str(base / data.test)),
    )


def _check(recipe: Recipe, where: str) -> None:
    for name, value, least, most in (
        ("training: epochs", recipe.training.epochs, 1, 100_000),
        ("training: batch", recipe.training.batch, 1, 100_000),
        ("training: rate", recipe.training.rate, 1e-8, 1.0),
        ("integers: epochs", recipe.integers.epochs, 0, 100_000),
        ("machine: devices", recipe.machine.devices, 1, 1024),
        ("machine: threads", recipe.machine.threads, 1, 1024),
        ("data: seconds", recipe.data.seconds, 0.1, 600.0),
    ):
        if not least <= value <= most:
            raise InputError(f"{where}: {name}", f"is {value} (allowed {least:g} to {most:g})", SEE)
    machine = recipe.machine
    if machine.devices > recipe.training.batch:
        raise InputError(
            f"{where}: machine: devices",
            f"are {machine.devices}, which share batches of {recipe.training.batch} sequences",
            "Use fewer devices, or larger batches (training: batch)",
        )
    if machine.accelerator is Accelerator.CPU and machine.numbers is Numbers.MIXED_HALF:
        raise InputError(
            f"{where}: machine: numbers", "is 16-mixed, which is for GPUs", "Use bf16-mixed"
        )
    if recipe.integers.from_scratch and (recipe.sparsity.sparsity or not recipe.integers.epochs):
        raise InputError(
            f"{where}: integers: from_scratch",
            "is asked for with pruning, or without epochs",
            "Prune in floats first, or give integers epochs to train for",
        )


def _completed(defaults: Any, content: Any, where: str) -> Any:
    """Return a mapping with what it does not say taken from ``defaults``, a dataclass."""
    if not isinstance(content, dict):
        return content
    whole = dict(content)
    for one in dataclasses.fields(defaults):
        default = getattr(defaults, one.name)
        if dataclasses.is_dataclass(default):
            whole[one.name] = _completed(default, content.get(one.name) or {}, where)
        elif one.name not in whole:
            whole[one.name] = _plain(default)
    return whole


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def as_mapping(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as YAML and JSON have it."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        return _plain(value)

    whole: dict[str, Any] = plain(recipe)
    return whole
