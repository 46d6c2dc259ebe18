"""Arrays of a ``.safetensors`` file."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS
from s5_to_loihi.errors import CheckpointError


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
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise CheckpointError(str(path), f"is larger than {LARGEST_BYTES} bytes")
        arrays = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(str(path), "is missing", "Copy it beside the description") from None
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, KeyError) as error:
        # The last three: a type that numpy does not have, such as bfloat16.
        raise CheckpointError(
            str(path), f"is damaged or of a type that is not read ({error})", "Save it in float32"
        ) from None
    if len(arrays) > MOST_ARRAYS:
        raise CheckpointError(str(path), f"holds {len(arrays)} arrays (limit {MOST_ARRAYS})")
    return arrays
