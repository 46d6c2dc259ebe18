"""Small netx files of our own, and what goes into them: the cases that lava-dl was recorded with.

Written as lava-dl's slayer exports networks; needs numpy and h5py only, so that the recorder can
use it as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """Layers as ``name -> data`` of each, arguments of netx's Network, and tokens.

    Attributes:
        layers: of the file; ``neuron/...`` in their keys.
        arguments: of ``netx.hdf5.Network`` and of ``NetxOptions``.
        tokens: (T, ...) integers, in Lava's order of axes.
        bias: of the neurons of the input layer, or None.
    """

    layers: tuple[Mapping[str, Any], ...]
    tokens: np.ndarray
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bias: np.ndarray | None = None


def write(path: Path, layers) -> Path:
    """Write a file."""
    import h5py

    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for name, value in layer.items():
                place = f"layer/{number}/{name}"
                if name == "type":
                    file.create_dataset(place, (1,), "S10", [value.encode()])
                elif isinstance(value, str):
                    file.create_dataset(place, data=value, dtype=h5py.string_dtype())
                else:
                    file.create_dataset(place, data=value)
    return path


def sdnn(threshold: int, **more) -> dict[str, Any]:
    names = {"type": "SDNN", "activation": "relu", "vThMant": threshold, **more}
    return {f"neuron/{name}": value for name, value in names.items()}


def cuba(threshold: int, current: int, voltage: int, **more) -> dict[str, Any]:
    names = {"type": "CUBA", "vThMant": threshold, "iDecay": current, "vDecay": voltage, **more}
    return {f"neuron/{name}": value for name, value in names.items()}


def inputs(shape, neuron=None) -> dict[str, Any]:
    return {"type": "input", "shape": np.atleast_1d(shape), **(neuron or {})}


def dense(weight, neuron=None, **more) -> dict[str, Any]:
    weight = np.asarray(weight, dtype=np.float32)
    sizes = {"inFeatures": weight.shape[1], "outFeatures": weight.shape[0]}
    layer = {"type": "dense", "shape": np.array([weight.shape[0]]), "weight": weight, **sizes}
    return layer | (neuron or {}) | more


def conv(weight, shape, neuron, stride=1, padding=0, dilation=1, groups=1, **more):
    pairs = {"stride": stride, "padding": padding, "dilation": dilation}
    return {
        "type": "conv", "shape": np.array(shape), "weight": np.asarray(weight, np.float32),
        "inChannels": weight.shape[1] * groups, "outChannels": weight.shape[0],
        "kernelSize": np.array(weight.shape[2:4]), "groups": groups,
        **{name: np.broadcast_to(value, 2).copy() for name, value in pairs.items()},
        **neuron, **more,
    }  # fmt: skip


def walk(rng, steps: int, shape, step: int) -> np.ndarray:
    """Tokens that change by up to ``step``, some of them not at all."""
    moves = rng.integers(-step, step + 1, (steps, *np.atleast_1d(shape)))
    return np.cumsum(moves * (rng.random(moves.shape) < 0.6), axis=0)


def even(rng, *shape, spread: float = 30.0) -> np.ndarray:
    """Weights as slayer exports them: even, -256 to 254."""
    return 2 * np.clip(np.round(rng.normal(0, spread, shape)), -128, 127)


FLATTEN = {"type": "flatten"}


def sdnn_delays() -> Case:
    rng = np.random.default_rng(1)
    delays = rng.integers(0, 9, 20).astype(np.float32)
    delays[:2] = 0, 70
    layers = (
        inputs(12, sdnn(1)),
        dense(even(rng, 20, 12), sdnn(2)),
        dense(even(rng, 20, 20), sdnn(1, activation="identity"), delay=delays + 0.6),
        dense(even(rng, 7, 20), sdnn(1), delay=rng.integers(0, 5, 7).astype(np.float32)),
        dense(even(rng, 5, 7), sdnn(1, sigma_output=True)),
    )
    return Case(layers, walk(rng, 90, 12, 40))


def sdnn_columns() -> Case:
    rng = np.random.default_rng(2)
    layers = (
        inputs(6, sdnn(0)),
        dense(even(rng, 9, 6), sdnn(0), delay=np.arange(6).astype(np.float32)),
        dense(even(rng, 4, 9), sdnn(0, sigma_output=True)),
    )
    return Case(layers, walk(rng, 40, 6, 30))


def sdnn_biased() -> Case:
    rng = np.random.default_rng(3)
    layers = (
        inputs(8, sdnn(1)),
        dense(even(rng, 10, 8), sdnn(1), bias=2 * rng.integers(-40, 90, 10).astype(np.float32)),
        dense(even(rng, 10, 10), sdnn(2), bias=2 * rng.integers(-40, 90, 10).astype(np.float32),
              delay=rng.integers(0, 7, 10).astype(np.float32)),
        dense(even(rng, 6, 10), sdnn(1), bias=rng.integers(-40, 90, 6).astype(np.float32)),
    )  # fmt: skip
    return Case(layers, walk(rng, 50, 8, 60), {"spike_exp": 4})


def sdnn_convolution() -> Case:
    rng = np.random.default_rng(4)
    layers = (
        inputs((2, 9, 8), sdnn(1)),
        conv(even(rng, 4, 1, 3, 2), (4, 5, 7), sdnn(1), (2, 1), (1, 0), (1, 1), 2,
             bias=2 * rng.integers(-9, 30, 4).astype(np.float32)),
        conv(even(rng, 3, 4, 2, 3)[..., None], (3, 4, 2), sdnn(1), (1, 2), 0, (1, 2)),
        FLATTEN,
        dense(even(rng, 6, 24), sdnn(1), bias=rng.integers(-20, 20, 6).astype(np.float32)),
        dense(even(rng, 2, 6), sdnn(1, sigma_output=True)),
    )  # fmt: skip
    tokens = walk(rng, 30, (8, 9, 2), 50)  # width, height, channels
    return Case(layers, tokens, {"spike_exp": 0})


def sdnn_wrapping() -> Case:
    rng = np.random.default_rng(5)
    layers = (
        inputs(10, sdnn(1)),
        dense(even(rng, 14, 10, spread=60), sdnn(2)),
        dense(even(rng, 14, 14, spread=60), sdnn(1),
              delay=rng.integers(0, 4, 14).astype(np.float32)),
        dense(even(rng, 5, 14, spread=9), sdnn(1, sigma_output=True)),
    )  # fmt: skip
    return Case(layers, rng.integers(-(2**23), 2**23, (40, 10)))


def odd_weights() -> Case:
    """Excitatory, inhibitory and mixed weights of all kinds that Lava clips or truncates."""
    rng = np.random.default_rng(6)
    inhibitory = -rng.integers(1, 64, (6, 9))
    inhibitory[0, 0] = -64
    wide = rng.integers(-300, 300, (7, 4))
    layers = (
        inputs(5, sdnn(1)),
        dense(rng.integers(0, 256, (9, 5)), sdnn(1)),
        dense(inhibitory, sdnn(1), bias=np.full(6, 20_000, np.float32)),
        dense(rng.integers(-127, 128, (4, 6)), sdnn(1)),
        dense(wide, sdnn(1)),
        dense(-np.ones((3, 7)), sdnn(1), bias=np.full(3, 50, np.float32)),
        dense(rng.integers(0, 400, (3, 3)) | 256, sdnn(1)),
    )
    return Case(layers, walk(rng, 30, 5, 90))


def leaky() -> Case:
    rng = np.random.default_rng(7)
    layers = (
        inputs(16, cuba(80, 4096, 100)),
        dense(even(rng, 12, 16), cuba(60, 1024, 128, refDelay=1)),
        dense(even(rng, 9, 12), cuba(30, 512, 0), bias=rng.integers(-3, 9, 9).astype(np.float32)),
        dense(even(rng, 4, 9)),
    )
    return Case(layers, rng.integers(-20, 90, (60, 16)))


def leaky_reset() -> Case:
    rng = np.random.default_rng(8)
    layers = (
        inputs((2, 6, 7), cuba(70, 4096, 90)),
        conv(even(rng, 3, 2, 3, 3), (3, 4, 5), cuba(90, 1000, 200, type="LOIHI"),
             bias=rng.integers(-3, 20, 3).astype(np.float32)),
        FLATTEN,
        dense(even(rng, 8, 60), cuba(100, 700, 64)),
    )  # fmt: skip
    tokens, bias = rng.integers(-20, 60, (50, 7, 6, 2)), rng.integers(-5, 30, (7, 6, 2))
    return Case(layers, tokens, {"reset_interval": 11, "reset_offset": 4}, bias)


def recurrent() -> Case:
    rng = np.random.default_rng(9)
    back = [even(rng, 8, 8, spread=20), even(rng, 5, 5, spread=20)]
    layers = (
        dense(even(rng, 8, 6), cuba(50, 1024, 200)) | {"type": "dense_rec", "weight_rec": back[0]},
        dense(even(rng, 5, 8), cuba(50, 1024, 200)) | {"type": "dense_rec", "weight_rec": back[1]},
    )
    return Case(layers, rng.integers(-1, 3, (60, 6)))


def recurrent_reset() -> Case:
    rng = np.random.default_rng(10)
    layers = (
        dense(even(rng, 8, 6), cuba(40, 800, 100), bias=rng.integers(0, 9, 8).astype(np.float32))
        | {"type": "dense_rec", "weight_rec": even(rng, 8, 8, spread=20)},
        dense(even(rng, 4, 8), cuba(50, 1024, 200), delay=np.array([0, 3, 1, 6], np.float32)),
    )
    return Case(layers, rng.integers(0, 2, (50, 6)), {"reset_interval": 9, "reset_offset": 2})


def graded_first() -> Case:
    rng = np.random.default_rng(11)
    layers = (
        dense(even(rng, 7, 6), sdnn(1), delay=np.arange(7).astype(np.float32)),
        dense(even(rng, 7, 7), cuba(900, 1024, 200)),
        dense(even(rng, 3, 7), sdnn(0)),
    )
    return Case(layers, rng.integers(-900, 900, (40, 6)), {"input_message_bits": 24})


def bits_first() -> Case:
    rng = np.random.default_rng(12)
    layers = (dense(even(rng, 7, 6), sdnn(0)), dense(even(rng, 3, 7), sdnn(0, sigma_output=True)))
    return Case(layers, rng.integers(-2, 3, (30, 6)))


CASES = {
    one.__name__: one
    for one in (
        sdnn_delays, sdnn_columns, sdnn_biased, sdnn_convolution, sdnn_wrapping, odd_weights, leaky,
        leaky_reset, recurrent, recurrent_reset, graded_first, bits_first,
    )
}  # fmt: skip
