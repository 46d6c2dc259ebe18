"""lava-dl itself, run on files: what its layers send in every timestep, and its last states.

For a Python of its own that has lava-dl (docs/netx.md); no part of the test suite.

    python tests/live/lava_dl.py record FOLDER      writes the recordings of tests/data/netx
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import netx_files

STATES = ("u", "v", "sigma", "act", "residue")


def netx() -> ModuleType:
    """Import netx. What only object detection needs, and fails on its own, is stood in for."""
    for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
        sys.modules.setdefault(name, MagicMock())
    sys.modules.setdefault("torchvision.transforms.functional", MagicMock())
    from s5_to_loihi.lava_runtime import shim

    shim.install()
    from lava.lib.dl import netx as module

    return module


def record(
    file: Path, tokens: np.ndarray, arguments: Mapping[str, Any], bias: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Run a file; return ``layerN`` (T, ...) and ``layerN_u`` and so on after the last timestep."""
    module = netx()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    network = module.hdf5.Network(str(file), **arguments)
    source = io.source.RingBuffer(data=np.moveaxis(tokens, 0, -1).astype(np.int32))
    first = network.layers[0]
    has_inputs = type(first).__name__ == "Input"
    if bias is not None:
        first.neuron.bias_mant.init = bias.astype(np.int32)
    source.s_out.connect(first.neuron.a_in if has_inputs else network.inp)
    sinks = []
    for layer in network.layers:
        sink = io.sink.RingBuffer(shape=layer.out.shape, buffer=len(tokens))
        layer.out.connect(sink.a_in)
        sinks.append(sink)
    found = {}
    try:
        source.run(RunSteps(num_steps=len(tokens)), Loihi2SimCfg(select_tag="fixed_pt"))
        for index, (layer, sink) in enumerate(zip(network.layers, sinks, strict=True)):
            found[f"layer{index}"] = np.moveaxis(sink.data.get(), -1, 0).astype(np.int64)
            for name in STATES:
                if hasattr(layer.neuron, name):
                    state = np.asarray(getattr(layer.neuron, name).get())
                    found[f"layer{index}_{name}"] = np.broadcast_to(state, layer.out.shape).astype(
                        np.int64
                    )
    finally:
        source.stop()
    return found


def narrow(array: np.ndarray) -> np.ndarray:
    for kind in (np.int8, np.int16, np.int32):
        if array.min() >= np.iinfo(kind).min and array.max() <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def main(folder: Path) -> None:
    for name, make in netx_files.CASES.items():
        case = make()
        with tempfile.TemporaryDirectory() as place:
            file = netx_files.write(Path(place) / "case.net", case.layers)
            found = record(file, case.tokens, case.arguments, case.bias)
        for key, array in sorted(found.items()):
            print(name, key, array.shape, array.min(), array.max(), (array != 0).mean().round(3))
        np.savez_compressed(folder / f"{name}.npz", **{k: narrow(a) for k, a in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[2]))
