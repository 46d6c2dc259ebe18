"""Arrays of a NumPy ``.npz`` file, with bounds on what it unpacks to; nothing in it is run."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from s5_to_loihi.checkpoints.containers import (
    LARGEST_BYTES,
    MOST_ARRAYS,
    ZIP_START,
    refusing_damage,
)
from s5_to_loihi.errors import CheckpointError


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether a file is a zip archive, as one of NumPy is."""
    return start.startswith(ZIP_START)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.npz`` file.

    Args:
        path: the file.

    Returns:
        Name -> array.

    Raises:
        CheckpointError: damaged, too large, or with arrays of Python objects.
    """
    with refusing_damage(path, ".npz file"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if len(entries) > MOST_ARRAYS or total > LARGEST_BYTES:
            raise CheckpointError(
                str(path),
                f"unpacks to {total} bytes in {len(entries)} arrays (limits {LARGEST_BYTES} and"
                f" {MOST_ARRAYS})",
            )
        return {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry))
            for entry in entries
            if entry.filename.endswith(".npy")
        }


def _array(content: bytes) -> np.ndarray:
    """Return the array of a ``.npy`` file; the size is checked before any memory is taken."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"version {version} of .npy")
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.kind not in "fciub":
        raise ValueError(f"an array of {dtype}, not of numbers")
    rest = content[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"an array {shape} of {dtype} has {len(rest)} bytes")
    array = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))
