"""What a netx file says, layer by layer, checked; what netx does in silence is noted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.hdf5 import Tree
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.netx.float_layers import float_model_of

#: Most neurons of a layer, and synapses of a network once convolutions are written out.
MOST_NEURONS, MOST_SYNAPSES = 1 << 22, 1 << 26
#: Longest axonal delay: netx clamps longer ones.
LONGEST_DELAY = 62
#: Message bits of neurons whose file does not say: 0 means that a message is a bit.
GRADED_BITS = 16
#: Largest threshold that fits a word after the shifts by spike and state exponent.
LARGEST_MANTISSA = (1 << 31) - 1
#: What netx does not read of neurons although it means something -> the value that means nothing.
IGNORED = {"refDelay": 1, "wgtExp": 0}
_DO = "Export the network again with lava-dl"


class LayerType(str, Enum):
    """Types of layers that there are numbers for."""

    INPUT = "input"
    DENSE = "dense"
    RECURRENT = "dense_rec"
    CONVOLUTION = "conv"
    FLATTEN = "flatten"
    S5 = "s5"  #: ours: a dense layer with neurons of the type S5


class Spiking(str, Enum):
    """What neurons do."""

    SIGMA_DELTA = "SDNN"
    LEAKY = "CUBA"


@dataclass(frozen=True)
class Neuron:
    """The neurons of a layer.

    Attributes:
        spiking: what they do.
        threshold: as the file has it: of SIGMA_DELTA in units of ``2**spike_exp``.
        current_decay, voltage_decay: of LEAKY, of 4096 parts.
        sigma_output: whether SIGMA_DELTA sends its sum.
        message_bits: 0 if the next layer takes a message as a bit.
    """

    spiking: Spiking
    threshold: int
    current_decay: int
    voltage_decay: int
    sigma_output: bool
    message_bits: int


#: A dense layer without neurons integrates: netx's own parameters, precedence of ``<<`` included.
INTEGRATOR = Neuron(Spiking.LEAKY, 1 << 17, 0, 4096, False, 0)


@dataclass(frozen=True)
class Kernel:
    """How a convolution moves over its input: (height, width) each.

    Attributes:
        stride, padding, dilation: of both directions.
        groups: of channels.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a file.

    Attributes:
        number: in the file.
        type: of the layer.
        shape: (neurons,) or (channels, height, width), as the file has it.
        weight: int64, (out, in) or (channels out, channels in of a group, height, width).
        back: (out, out) of a recurrent layer.
        bias: int64 (out,) or (channels,), None if there is none.
        delay: int64, timesteps: (out,) what enters a neuron waits, or (in,) what leaves one.
        kernel: of a convolution.
        neuron: None of a layer without neurons.
        bundle: of an S5 layer, name -> bytes of the bundle's files; None if it has a float model
            only.
        model: of an S5 layer, its float model.
    """

    number: int
    type: LayerType
    shape: tuple[int, ...]
    weight: np.ndarray | None = None
    back: np.ndarray | None = None
    bias: np.ndarray | None = None
    delay: np.ndarray | None = None
    kernel: Kernel | None = None
    neuron: Neuron | None = None
    bundle: Mapping[str, bytes] | None = None
    model: S5Model | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def outlet(self) -> tuple[int, ...]:
        """The shape of what leaves: (width, height, channels), Lava's order, or (neurons,)."""
        return self.shape[::-1]


@dataclass(frozen=True, eq=False)
class NetxFile:
    """A file's layers.

    Attributes:
        name: of the file.
        layers: in order; flatten among them.
        notes: what netx would drop or do otherwise in silence.
    """

    name: str
    layers: tuple[Layer, ...]
    notes: tuple[str, ...]


def layers_of(
    tree: Tree, name: str, num_layers: int | None = None, drop_unknown: bool = False
) -> NetxFile:
    """Return the layers of a file that was read.

    Args:
        tree: its content.
        name: what to call it in errors.
        num_layers: how many layers to take; None: all.
        drop_unknown: leave layers of unknown types out, as netx does; else they are refused.

    Raises:
        CheckpointError: a part is missing or not what it should be, or a layer is of a type that
            netx does not have either.
    """
    groups = tree.get("layer")
    if not isinstance(groups, dict) or not groups:
        raise CheckpointError(name, "has no group 'layer' with layers in it", _DO)
    notes: list[str] = []
    layers = []
    for number in range(min(len(groups), num_layers or len(groups))):
        group = groups.get(str(number))
        where = f"{name}: layer {number}"
        if not isinstance(group, dict):
            other = sorted(set(groups) - {str(n) for n in range(len(groups))})
            raise CheckpointError(
                where, f"is missing; there is {', '.join(other)[:80]!r} instead", _DO
            )
        layer = _layer(_Reader(group, where, notes), number, drop_unknown)
        if layer is not None:
            layers.append(layer)
    return NetxFile(name, tuple(layers), tuple(dict.fromkeys(notes)))


class _Reader:
    """Takes the parts of a layer out of its group."""

    def __init__(self, group: Tree, where: str, notes: list[str]):
        self.group = group
        self.where = where
        self._notes = notes

    def note(self, text: str) -> None:
        self._notes.append(f"{self.where.rpartition(': ')[2]}: {text}")

    def fail(self, what: str, do: str = _DO) -> CheckpointError:
        return CheckpointError(self.where, what, do)

    def find(self, name: str) -> Any:
        found: Any = self.group
        for part in name.split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def text(self, name: str) -> str | None:
        found = self.find(name)
        if found is None or isinstance(found, str):
            return found
        if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind == "S":
            return bytes(found.ravel()[0]).decode("ascii", "replace")
        raise self.fail(f"{name} is no text")

    def array(self, name: str, axes: tuple[int, ...]) -> np.ndarray | None:
        """Return integers as netx takes them: fractions cut off."""
        found = self.find(name)
        if found is None:
            return None
        if not isinstance(found, np.ndarray):
            raise self.fail(f"{name} is no array of numbers")
        if found.ndim not in axes:
            allowed = " or ".join(map(str, axes))
            raise self.fail(f"{name} has {found.ndim} axes (expected {allowed})")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise self.fail(f"{name} holds numbers that are not finite")
        if found.size and np.abs(found.astype(np.float64)).max() >= 1 << 31:
            raise self.fail(f"{name} holds numbers beyond 32 bits")
        integers = found.astype(np.int64)
        if (cut := np.count_nonzero(integers != found)) and name != "delay":
            self.note(
                f"{cut} of {found.size} entries of {name} are no integers; netx cuts off their"
                " fractions"
            )
        return integers

    def needed(self, name: str, axes: tuple[int, ...]) -> np.ndarray:
        found = self.array(name, axes)
        if found is None:
            raise self.fail(f"has no {name}")
        if not found.size:
            raise self.fail(f"{name} is empty")
        return found

    def number(self, name: str, default: int | None = None) -> int:
        found = self.array(name, (0, 1))
        if found is None and default is not None:
            return default
        if found is None or found.size != 1:
            raise self.fail(f"has no {name}, or more than one number")
        return int(found.ravel()[0])

    def pair(self, name: str, default: int) -> tuple[int, int]:
        found = self.array(name, (0, 1))
        values = [default] if found is None else found.ravel().tolist()
        if len(values) not in (1, 2) or min(values) < (0 if name == "padding" else 1):
            raise self.fail(f"{name} is {values} (expected one or two positive integers)")
        if max(values) > 1 << 16:
            raise self.fail(f"{name} is {values} (limit {1 << 16})")
        return values[0], values[-1]


def _layer(reader: _Reader, number: int, drop_unknown: bool) -> Layer | None:
    said = reader.text("type")
    if said is None:
        raise reader.fail("has no type")
    said = said.strip("\0 ")
    if said == "dense" and reader.text("neuron/type") == "S5":
        said = "s5"
    if said not in {known.value for known in LayerType}:
        if drop_unknown:
            reader.note(f"type {said!r:.40} is left out, as netx does in silence")
            return None
        raise reader.fail(
            f"has the type {said!r:.40}, which is not known here",
            "netx leaves unknown types out, or fails; leave it out as well with drop_unknown",
        )
    kind = LayerType(said)
    if kind is LayerType.FLATTEN:
        return Layer(number, kind, ())
    shape = _shape(reader)
    if kind is LayerType.S5:
        neurons = _s5_neuron(reader)
        if reader.find("bundle") is None and isinstance(reader.find("model"), dict):
            model = float_model_of(reader.find("model"), math.prod(shape), reader.where)
            return Layer(number, kind, shape, neuron=neurons, model=model)
        return Layer(number, kind, shape, neuron=neurons, bundle=_bundle(reader))
    neuron = _neuron(reader, kind)
    if reader.find("weight_exp") is not None:
        reader.note("weight_exp is not read, by netx either")
    if kind is LayerType.INPUT:
        return _input(reader, number, shape, neuron)
    if reader.find("weight/real") is not None:
        raise reader.fail("has complex weights, which are not supported", "")
    if kind is LayerType.CONVOLUTION:
        return _convolution(reader, number, shape, neuron)
    return _dense(reader, number, kind, shape, neuron)


def _shape(reader: _Reader) -> tuple[int, ...]:
    found = reader.needed("shape", (0, 1)).ravel().tolist()
    if len(found) not in (1, 3) or min(found) < 1 or math.prod(found) > MOST_NEURONS:
        raise reader.fail(
            f"has the shape {found} (one or three positive integers, {MOST_NEURONS:,} neurons)"
        )
    return tuple(found)


def _s5_neuron(reader: _Reader) -> Neuron:
    threshold = reader.number("neuron/vThMant", 0)
    if not 0 <= threshold <= LARGEST_MANTISSA:
        raise reader.fail(f"neuron/vThMant is {threshold} (limit {LARGEST_MANTISSA})")
    return Neuron(Spiking.SIGMA_DELTA, threshold, 0, 0, False, 24)


def _bundle(reader: _Reader) -> dict[str, bytes]:
    files = reader.find("bundle")
    if not isinstance(files, dict) or not files:
        raise reader.fail("is an S5 layer without a group 'bundle'", "Write it with netx.write")
    found = {}
    for name, content in files.items():
        if not isinstance(content, np.ndarray) or content.dtype != np.uint8 or content.ndim != 1:
            raise reader.fail(f"bundle/{name:.40} is no list of bytes")
        found[name] = content.tobytes()
    return found


def _neuron(reader: _Reader, kind: LayerType) -> Neuron | None:
    if not isinstance(reader.find("neuron"), dict):
        if kind is LayerType.INPUT:
            return None
        if kind is LayerType.CONVOLUTION:
            raise reader.fail("is a convolution without neurons")
        reader.note("has no neurons; it integrates for ever, as in netx")
        return INTEGRATOR
    said = reader.text("neuron/type")
    if said not in ("SDNN", "CUBA", "LOIHI"):
        raise reader.fail(
            f"has neurons of the type {said!r:.40} (known: SDNN, CUBA, LOIHI)",
            "Resonate-and-fire neurons and others are not supported",
        )
    spiking = Spiking.SIGMA_DELTA if said == "SDNN" else Spiking.LEAKY
    threshold = reader.number("neuron/vThMant")
    if abs(threshold) > LARGEST_MANTISSA:
        raise reader.fail(f"neuron/vThMant is {threshold} (limit {LARGEST_MANTISSA})")
    decays = (0, 0)
    if spiking is Spiking.LEAKY:
        decays = reader.number("neuron/iDecay"), reader.number("neuron/vDecay")
        if min(decays) < -1 or max(decays) > 4096:
            raise reader.fail(f"decays by {decays} of 4096 parts (allowed 0..4096)")
    elif threshold < 0:
        raise reader.fail(f"neuron/vThMant is {threshold} (limit 0 or more)")
    _say_ignored(reader, spiking, kind)
    graded = GRADED_BITS if spiking is Spiking.SIGMA_DELTA else 0
    bits = reader.number("neuron/messageBits", graded)
    if bits and spiking is Spiking.LEAKY:
        reader.note(f"messages of {bits} bits are spikes all the same, as in netx")
    output = spiking is Spiking.SIGMA_DELTA and reader.find("neuron/sigma_output") is not None
    return Neuron(spiking, threshold, *decays, output and kind is not LayerType.INPUT, bits)


def _say_ignored(reader: _Reader, spiking: Spiking, kind: LayerType) -> None:
    """Note what netx ignores of a layer's neurons although it would mean something."""
    activation = reader.text("neuron/activation")
    plain = kind is LayerType.INPUT or reader.find("neuron/sigma_output") is not None
    if spiking is Spiking.SIGMA_DELTA and activation not in (None, "relu") and not plain:
        reader.note(f"the activation {activation!r:.40} is run as a ReLU, as in netx")
    if reader.find("neuron/gradedSpike") is not None and reader.number("neuron/gradedSpike"):
        reader.note("gradedSpike is not read, by netx either: spikes are bits")
    meaning = [
        name
        for name, nothing in IGNORED.items()
        if reader.number(f"neuron/{name}", nothing) != nothing
    ]
    if meaning:
        reader.note(f"{', '.join(meaning)} of the neurons are not read, by netx either")


def _input(reader: _Reader, number: int, shape: tuple[int, ...], neuron: Neuron | None) -> Layer:
    for name in ("weight", "bias"):
        if (value := reader.array(name, (0, 1))) is not None and value.size:
            reader.note(
                f"the input's {name} {int(value.ravel()[0])} is left to the caller, as in netx"
            )
    return Layer(number, LayerType.INPUT, shape, neuron=neuron)


def _convolution(
    reader: _Reader, number: int, shape: tuple[int, ...], neuron: Neuron | None
) -> Layer:
    weight = reader.needed("weight", (4, 5))
    if weight.ndim == 5 and weight.shape[4] != 1:
        raise reader.fail(f"weight has {weight.shape[4]} timesteps (limit 1)")
    if len(shape) != 3 or weight.shape[0] != shape[0]:
        raise reader.fail(f"weight is {weight.shape} for the shape {shape}")
    if reader.find("delay") is not None:
        reader.note("delays of a convolution are not read, by netx either")
    groups = reader.number("groups", 1)
    if not 1 <= groups <= shape[0] or shape[0] % groups:
        raise reader.fail(f"has {groups} groups for {shape[0]} channels")
    kernel = Kernel(
        reader.pair("stride", 1), reader.pair("padding", 0), reader.pair("dilation", 1), groups
    )
    bias = reader.array("bias", (0, 1))
    if bias is not None:
        bias = _spread(reader, bias, shape[0])
    return Layer(
        number, LayerType.CONVOLUTION, shape, weight.reshape(weight.shape[:4]),
        bias=bias, kernel=kernel, neuron=neuron,
    )  # fmt: skip


def _spread(reader: _Reader, bias: np.ndarray, size: int) -> np.ndarray:
    if bias.size not in (1, size):
        raise reader.fail(f"bias has {bias.size} entries (expected {size})")
    return np.broadcast_to(bias.ravel(), (size,)).copy()


def _dense(
    reader: _Reader, number: int, kind: LayerType, shape: tuple[int, ...], neuron: Neuron | None
) -> Layer:
    size = math.prod(shape)

    def matrix(name: str) -> np.ndarray:
        weight = reader.needed(name, (1, 2))
        if weight.ndim == 1 and weight.size % size == 0:
            weight = weight.reshape(size, -1)
        if weight.ndim != 2 or weight.shape[0] != size:
            raise reader.fail(f"{name} is {weight.shape} for {size} neurons")
        return weight

    weight = matrix("weight")
    back = None
    if kind is LayerType.RECURRENT:
        back = matrix("weight_rec")
        if back.shape != (size, size):
            raise reader.fail(f"weight_rec is {back.shape} for {size} neurons")
        if reader.find("delay") is not None:
            raise reader.fail(
                "is recurrent with delays; netx gets their scale wrong", "Leave the delays out"
            )
    bias = reader.array("bias", (0, 1))
    return Layer(
        number, kind, (size,), weight, back,
        bias=None if bias is None else _spread(reader, bias, size),
        delay=_delay(reader, weight), neuron=neuron,
    )  # fmt: skip


def _delay(reader: _Reader, weight: np.ndarray) -> np.ndarray | None:
    delay = reader.array("delay", (0, 1))
    if delay is None:
        return None
    rows, columns = weight.shape
    if delay.ndim == 0:
        delay = np.full(rows, delay)
    if delay.size not in (rows, columns) or delay.min() < 0:
        raise reader.fail(
            f"delay has {delay.size} entries, the least {delay.min()} (expected {rows} or"
            f" {columns} of 0 or more)"
        )
    if rows == columns and delay.size == rows:
        reader.note("delays are taken as those of what enters a neuron: netx reads square ones so")
    if (longer := np.count_nonzero(delay > LONGEST_DELAY)) > 0:
        reader.note(
            f"{longer} delays are longer than {LONGEST_DELAY} timesteps (the longest"
            f" {delay.max()}) and clamped to it, as in netx"
        )
    return np.minimum(delay, LONGEST_DELAY)
