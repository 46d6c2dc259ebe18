"""Arrays of a NumPy ``.npz`` file, with bounds on what it unpacks to; nothing in it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.arrays import ZIP_START, read_npz


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
    return read_npz(path, LARGEST_BYTES, MOST_ARRAYS, CheckpointError, "Save it again")
