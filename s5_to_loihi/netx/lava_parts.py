"""A netx file with S5 layers as Processes of Lava: stock netx networks, and our blocks between."""

from __future__ import annotations

import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

from s5_to_loihi.errors import LavaError
from s5_to_loihi.files import hdf5
from s5_to_loihi.lava_runtime import shim
from s5_to_loihi.network.block import SPIKE_EXP
from s5_to_loihi.netx.layers import Layer, LayerType, layers_of
from s5_to_loihi.netx.s5_layers import unpacked
from s5_to_loihi.netx.writing import Content, contents, write_layers

INSTALL = "pip install --no-deps --ignore-requires-python lava-dl==0.6.0, and see docs/netx.md"


def lava_parts(
    path: str | PathLike[str],
    *,
    input_message_bits: int = 0,
    reset_interval: int | None = None,
    reset_offset: int = 0,
    spike_exp: int = SPIKE_EXP,
) -> tuple[Any, ...]:
    """Read a file as Processes, each connected to the next.

    Args:
        path: a netx file, with or without S5 layers.
        input_message_bits, reset_interval, reset_offset, spike_exp: as of ``netx.hdf5.Network``.

    Returns:
        ``netx.hdf5.Network`` and ``S5Block`` in the order of the file. Connect what sends the input
        to ``parts[0].inp``, or to ``parts[0].in_layer.neuron.a_in`` if it begins with an input
        layer; ``parts[-1].out`` is the output.

    Raises:
        CheckpointError: the file cannot be read.
        LavaError: lava-nc or lava-dl is missing.
    """
    shim.install()
    try:
        from lava.lib.dl import netx as stock
    except ImportError as error:
        raise LavaError("lava-dl", f"cannot be imported ({error})", INSTALL) from None
    from s5_to_loihi.process_models.process import S5Block

    where = Path(path).name
    layers = layers_of(hdf5.read(path), where).layers
    raw = contents(path)
    parts: list[Any] = []
    bits, start, index = input_message_bits, 0, 0
    for run in _runs(layers):
        times: dict[str, Any] = {
            "reset_interval": reset_interval,
            "reset_offset": reset_offset + index,
        }
        first = run[0]
        if first.bundle is not None and first.neuron is not None:
            part = S5Block(
                network=unpacked(first.bundle, f"{where}: layer {first.number}"),
                threshold=first.neuron.threshold,
                spike_exp=spike_exp,
                input_message_bits=bits,
                start=start,
                name=f"layer{first.number}",
                **times,
            )
            start, index = start + part.latency, index + 1
        else:
            part = _stock_part(
                stock, [raw[layer.number] for layer in run], input_message_bits=bits,
                spike_exp=spike_exp, **times,
            )  # fmt: skip
            inputs = first.type is LayerType.INPUT and first.neuron is not None
            start, index = start + len(part.layers) - inputs, index + len(part.layers)
        bits = part.output_message_bits
        if parts:
            parts[-1].out.connect(part.inp)
        parts.append(part)
    return tuple(parts)


def _runs(layers: tuple[Layer, ...]) -> list[list[Layer]]:
    """Cut layers into S5 layers, one each, and what is between them."""
    runs: list[list[Layer]] = []
    for layer in layers:
        alone = layer.type is LayerType.S5
        if alone or not runs or runs[-1][0].type is LayerType.S5:
            runs.append([])
        runs[-1].append(layer)
    return runs


def _stock_part(stock: Any, layers: list[Content], **arguments: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
        file = Path(folder) / "part.net"
        write_layers(layers, file)
        return stock.hdf5.Network(str(file), **arguments)  # keeps the file open
