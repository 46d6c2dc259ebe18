"""S5 layers in a netx file: the bundle of a network, byte for byte.

Stock netx would leave out a layer of the type ``s5`` without a word; one of the type ``dense`` with
neurons of the type ``S5`` makes it fail at once, so that is how they are written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.errors import BundleError, CheckpointError
from s5_to_loihi.network.network import Network

#: The files of a bundle that a layer holds; recorded vectors and a mapping are left behind.
FILES = (bundle.MANIFEST, bundle.WEIGHTS, bundle.VECTORS)


def layer_of(network: Network, threshold: int) -> dict[str, Any]:
    """Return the data sets of an S5 layer, name -> data.

    Args:
        network: verified, with phases.
        threshold: of the encoder behind it, in units of 2**-6, as netx's vThMant.
    """
    contents = {n: np.frombuffer(data, np.uint8) for n, data in packed(network).items()}
    return {
        "type": "dense",
        "shape": np.array([network.output_size]),
        "inFeatures": np.int64(network.input_size),
        "outFeatures": np.int64(network.output_size),
        "neuron/type": "S5",
        "neuron/vThMant": np.int64(threshold),
        **{f"bundle/{name}": content for name, content in contents.items()},
    }


def packed(network: Network) -> dict[str, bytes]:
    """Return a network as the files of a bundle, name -> content."""
    with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
        path = Path(folder) / "bundle"
        bundle.write(bundle.Bundle(network, None), path)
        return {name: (path / name).read_bytes() for name in FILES}


def unpacked(files: Mapping[str, bytes], where: str) -> Network:
    """Return the network of an S5 layer.

    Args:
        files: name -> content, of a bundle.
        where: the layer, for errors.

    Raises:
        CheckpointError: they are no bundle, or a damaged one.
    """
    strange = sorted(set(files) - {*FILES, bundle.MAPPING})
    if strange:
        raise CheckpointError(where, f"holds bundle/{strange[0]:.40}, which no bundle has", "")
    with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
        path = Path(folder) / "bundle"
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)
        try:
            return bundle.read(path).network
        except BundleError as error:
            reason = str(error).replace(str(path), "its bundle")
            raise CheckpointError(where, reason, "") from None
