"""Arrays of a ``.safetensors`` file."""

from pathlib import Path

import numpy as np

from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.tensors import read_safetensors


def sniff(path: Path, start: bytes) -> bool:
    """Tell by its name whether this is such a file, as nothing else does; ``start`` may be any."""
    return path.suffix == ".safetensors" and not path.is_dir()


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a file.

    Returns:
        Name -> array.

    Raises:
        CheckpointError: missing, damaged, too large, or of a type that numpy does not have.
    """
    if not path.exists():
        raise CheckpointError(str(path), "is missing", "Copy it beside the description")
    arrays = read_safetensors(path, LARGEST_BYTES, CheckpointError, "Save it again, in float32")
    if len(arrays) > MOST_ARRAYS:
        raise CheckpointError(str(path), f"holds {len(arrays)} arrays (limit {MOST_ARRAYS})")
    return arrays
