"""Writing netx files: parts and S5 networks as one, and a network whose integers were changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files import hdf5
from s5_to_loihi.files.hdf5 import ATTRIBUTES, Tree, load_h5py
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.leaky import LIFT
from s5_to_loihi.network.neurons.relay import RELAY
from s5_to_loihi.network.neurons.words import DIGIT_BITS, Synaptic
from s5_to_loihi.netx.layers import Layer, LayerType, layers_of
from s5_to_loihi.netx.lower import STATE_EXP, lower
from s5_to_loihi.netx.options import NetxOptions
from s5_to_loihi.netx.s5_layers import layer_of
from s5_to_loihi.passes.pipeline import run_passes

#: The data sets of a layer: ``neuron/type`` and so on -> what they hold.
Content = dict[str, Any]


def contents(path: str | os.PathLike[str]) -> list[Content]:
    """Return the layers of a file as they are, in order.

    Raises:
        CheckpointError: the file cannot be read.
    """
    layers = hdf5.read(path).get("layer", {})
    return [_flat(layers[number]) for number in sorted(layers, key=_number)]


def _number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (1 << 30, name)


def _flat(group: Tree, prefix: str = "") -> Content:
    found: Content = {}
    for name, value in group.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found


def write_layers(layers: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write layers as a netx file, whole or not at all.

    Args:
        layers: of each layer its data sets, name -> numbers or text.
        path: the file.

    Raises:
        InputError: h5py is missing, or the file cannot be written.
    """
    h5py = load_h5py()
    with replacing(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        for number, layer in enumerate(layers):
            for name, value in layer.items():
                place = f"layer/{number}/{name}"
                group, mark, attribute = place.partition(f"/{ATTRIBUTES}/")
                if mark:
                    file.require_group(group).attrs[attribute] = value
                elif name == "type":
                    file.create_dataset(place, (1,), "S10", [str(value).encode()])
                elif isinstance(value, str):
                    file.create_dataset(place, data=value, dtype=h5py.string_dtype())
                else:
                    file.create_dataset(place, data=value)


def write_mixed(
    parts: Sequence[str | os.PathLike[str] | Network],
    path: str | os.PathLike[str],
    threshold: int = 1,
) -> None:
    """Write netx files and networks of ours, one behind the other, as one netx file.

    An input layer of any part but the first is left out: S5 layers send differences already.

    Args:
        parts: netx files, and networks with phases, which become S5 layers.
        path: the file to write.
        threshold: of the encoders behind S5 layers, in units of 2**-6, as netx's vThMant.

    Raises:
        CheckpointError: a part cannot be read, or they do not suit each other.
        InputError: h5py is missing, or the file cannot be written.
    """
    layers: list[Content] = []
    for index, part in enumerate(parts):
        if isinstance(part, Network):
            layers.append(layer_of(part, threshold))
            continue
        for layer in contents(part):
            if index == 0 or _type_of(layer) != LayerType.INPUT.value:
                layers.append(layer)
    where = Path(path).name
    tree = {"layer": {str(number): _nested(layer) for number, layer in enumerate(layers)}}
    # Whatever does not suit is refused before there is a file.
    lower(layers_of(tree, where), NetxOptions(input_message_bits=24), where)
    write_layers(layers, path)


def _type_of(layer: Content) -> str:
    value = layer.get("type", "")
    return value if isinstance(value, str) else bytes(np.ravel(value)[0]).decode()


def _nested(layer: Content) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in layer.items():
        *groups, last = name.split("/")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = np.asarray(value) if not isinstance(value, str) else value
    return found


def export(
    network: Network,
    like: str | os.PathLike[str],
    path: str | os.PathLike[str],
    options: NetxOptions = NetxOptions(),
) -> None:
    """Write a network that was compiled from a netx file, and changed, as such a file.

    Weights, biases and thresholds are taken from the network, everything else from the file that
    it was compiled from. What is written is read back and compared before it is there.

    Args:
        network: of the same groups as ``like`` compiles to.
        like: the file that it was compiled from.
        path: the file to write.
        options: that it was compiled with.

    Raises:
        CheckpointError: the network has other groups, or something in it that a netx file cannot
            say.
        InputError: h5py is missing, or the file cannot be written.
    """
    layers = contents(like)
    where = Path(like).name
    tree = hdf5.read(like)
    file = layers_of(tree, where, options.num_layers, options.drop_unknown)
    original = run_passes(lower(file, options, network.name)[0])
    if [(g.name, g.kind.name, g.size) for g in original.groups] != [
        (g.name, g.kind.name, g.size) for g in network.groups
    ]:
        raise CheckpointError(
            where, "compiles to other groups than the network has", "Give its file"
        )
    outlet: tuple[int, ...] = ()
    for layer in file.layers:
        if layer.neuron is not None and layer.number >= options.skip_layers:
            said = layers[layer.number]
            found = _changed(network, layer, outlet, options)
            # A layer without neurons has netx's own, which no file can change.
            said |= {k: v for k, v in found.items() if "neuron/type" in said or "/" not in k}
        if layer.shape:
            outlet = layer.outlet
    _check_said(layers, network, options, where)
    write_layers(layers, path)


def _check_said(layers: list[Content], network: Network, options: NetxOptions, where: str) -> None:
    tree = {"layer": {str(number): _nested(layer) for number, layer in enumerate(layers)}}
    file = layers_of(tree, where, options.num_layers, options.drop_unknown)
    again = run_passes(lower(file, options, network.name)[0])
    for group, other in zip(network.groups, again.groups, strict=True):
        same = str(_plain(group.constants)) == str(_plain(other.constants)) and all(
            _same(matrix, one)
            for matrix, one in zip(_matrices(network, group), _matrices(again, other), strict=True)
        )
        if not same:
            raise CheckpointError(
                f"{where}: {group.name}",
                "was changed to something that a netx file cannot say",
                "Keep weights within what netx's synapses hold, one kernel for a convolution",
            )


def _plain(constants: Any) -> Any:
    """Return constants without how their sums are scaled, which is a matter of the weights."""
    if isinstance(constants, Synaptic):
        return None
    if isinstance(constants, tuple) and hasattr(constants, "_fields"):
        return tuple(map(_plain, constants))
    return constants.tolist() if isinstance(constants, np.ndarray) else constants


def _same(matrix: csr_matrix, other: csr_matrix) -> bool:
    difference: Any = matrix - other
    return bool(difference.count_nonzero() == 0)


def _matrices(network: Network, group: NeuronGroup) -> list[csr_matrix]:
    """Return the integers that a group's inputs are multiplied by, forward and back."""
    if group.kind is RELAY:
        return []
    leaky: Any = getattr(group.constants, "leaky", group.constants)
    found = [_weights(network, group.name, "", leaky.synaptic)]
    recurrent = getattr(group.constants, "recurrent", None)
    if recurrent is not None:
        found.append(_weights(network, group.name, "back_", recurrent))
    return found


def _changed(
    network: Network, layer: Layer, inlet: tuple[int, ...], options: NetxOptions
) -> Content:
    """Return the data sets of a layer that say what its group computes."""
    name = f"layer{layer.number}"
    constants: Any = network.group(name).constants
    found: Content = {}
    leaky = getattr(constants, "leaky", constants)
    lift = options.spike_exp + STATE_EXP
    if hasattr(leaky, "threshold"):
        found["neuron/vThMant"] = np.int64(leaky.threshold >> LIFT)
    elif hasattr(constants, "encoder"):
        found["neuron/vThMant"] = np.int64(constants.encoder.threshold >> lift)
    bias = getattr(leaky, "bias", None)
    if (
        bias is not None
        and layer.type is not LayerType.INPUT
        and (layer.bias is not None or bias.any())
    ):
        entries = bias if hasattr(leaky, "threshold") else bias >> lift
        channels = layer.shape[0]  # the last axis of neurons in Lava's order
        found["bias"] = entries[:channels].astype(np.float32)
    if layer.weight is None or layer.neuron is None:
        return found
    sparse = _weights(network, name, "", leaky.synaptic)
    if layer.type is LayerType.CONVOLUTION:
        found["weight"] = _kernel(sparse, layer, inlet).astype(np.float32)
        return found
    matrix = sparse.toarray()
    if len(inlet) == 3:
        order = np.arange(matrix.shape[1]).reshape(inlet[::-1]).transpose(2, 1, 0).ravel()
        unordered = np.empty_like(matrix)
        unordered[:, order] = matrix
        matrix = unordered
    found["weight"] = matrix.astype(np.float32)
    if layer.back is not None:
        back = _weights(network, name, "back_", constants.recurrent)
        found["weight_rec"] = back.toarray().astype(np.float32)
    return found


def _weights(network: Network, name: str, prefix: str, synaptic: Synaptic) -> csr_matrix:
    """Return the integers of a layer's weights, int64."""
    total = None
    for port, up in (("low", 0), ("high", DIGIT_BITS)):
        for edge in network.incoming(Endpoint(name, f"{prefix}{port}")):
            digit = edge.weights.astype(np.int64) * (1 << up)
            total = digit if total is None else total + digit
    if total is None:
        raise CheckpointError(name, "has no synapses left", "A netx layer needs weights")
    total.data = (total.data << synaptic.left) >> synaptic.right
    return total


def _kernel(matrix: csr_matrix, layer: Layer, inlet: tuple[int, ...]) -> np.ndarray:
    """Return the kernel of a convolution that was written out as a matrix.

    Each entry is taken from the first neuron that has it; what is nowhere stays as it was.
    """
    assert layer.weight is not None
    assert layer.kernel is not None
    kernel, of, outlet = layer.weight.copy(), layer.kernel, layer.outlet
    channels, depth, height, width = kernel.shape

    def places(axis: int, entry: int) -> list[tuple[int, int]]:
        """Return neurons along the height or the width, and what they see of the input there."""
        seen = [
            (n, n * of.stride[axis] + entry * of.dilation[axis] - of.padding[axis])
            for n in range(outlet[1 - axis])
        ]
        return [(n, at) for n, at in seen if 0 <= at < inlet[1 - axis]]

    for row in range(height):
        for column in range(width):
            ys, xs = places(0, row), places(1, column)
            if not ys or not xs:
                continue
            (y, at_y), (x, at_x) = ys[0], xs[0]
            for channel in range(channels):
                first = channel // (channels // of.groups) * depth
                target = (x * outlet[1] + y) * outlet[2] + channel
                source = (at_x * inlet[1] + at_y) * inlet[2] + first
                seen = matrix[target, source : source + depth].toarray()[0]
                kernel[channel, :, row, column] = seen
    return kernel
