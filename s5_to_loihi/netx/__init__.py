"""The front end for networks of lava-dl's netx (``.net`` files), without lava-dl and PyTorch.

``read`` gives a file's layers, ``lower.lower`` turns them into a network whose neurons compute
netx's integers. Described in ``docs/netx.md``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from s5_to_loihi.files import hdf5
from s5_to_loihi.files.hdf5 import SIGNATURE
from s5_to_loihi.network.network import Network
from s5_to_loihi.netx.layers import LayerType, NetxFile, layers_of
from s5_to_loihi.netx.options import NetxOptions

__all__ = ["SIGNATURE", "LayerType", "NetxFile", "NetxOptions", "is_netx", "read", "sample_tokens"]


def is_netx(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a file that begins as HDF5 does."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(SIGNATURE)) == SIGNATURE


def read(path: str | os.PathLike[str], options: NetxOptions = NetxOptions()) -> NetxFile:
    """Read a netx file.

    Args:
        path: an HDF5 file.
        options: ``num_layers`` and ``drop_unknown`` are for reading, the others for lowering.

    Raises:
        CheckpointError: no such file, damaged or hostile, or with parts that netx does not have.
        InputError: h5py is missing.
    """
    tree = hdf5.read(path)
    return layers_of(tree, Path(path).name, options.num_layers, options.drop_unknown)


def sample_tokens(network: Network, count: int) -> np.ndarray:
    """Return made-up tokens that a network does something with: (count, 1, features) int64.

    Bits for a network that takes what it receives as bits, else walks of small steps. The same
    network always gets the same.
    """
    rng = np.random.default_rng(0)
    size = network.input_size
    first = network.groups[0]
    if first.kind.name == "relay":
        return rng.integers(0, 2, (count, 1, size))
    if "leaky" in first.kind.name:
        return rng.integers(-20, 100, (count, 1, size))
    moves = rng.integers(-1, 2, (count, 1, size)) << max(0, network.input_format.exponent - 3)
    return np.cumsum(moves, axis=0) if first.kind.name == "delta" else moves
