"""What all readers of files of named arrays share: their bounds, and what damage looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from s5_to_loihi.errors import CheckpointError

#: The largest checkpoint that is read, counted unpacked: about 2000 times Intel's published model.
LARGEST_BYTES = 4 << 30
#: The most arrays that are read: a block has about 20, and an optimizer keeps two copies of each.
MOST_ARRAYS = 20_000


@contextmanager
def refusing_damage(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into one error.

    Args:
        path: of the file.
        kind: what else it may not be, for people: ``.npz file``.

    Raises:
        CheckpointError: something was raised.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file surfaces as almost any exception of a parser
        raise CheckpointError(
            str(path), f"is damaged or no {kind} ({str(error)[:200]})", "Save it again"
        ) from None


def flat(tree: object, separator: str, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of nested dictionaries with their keys joined; other values are left out."""
    if isinstance(tree, np.ndarray):
        yield prefix, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            path = f"{prefix}{separator}{key}" if prefix else str(key)
            yield from flat(value, separator, path)
