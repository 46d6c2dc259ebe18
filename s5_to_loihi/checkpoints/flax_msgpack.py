"""Arrays of a Flax ``msgpack`` file, as ``flax.serialization.to_bytes`` writes it.

A tree of maps; an array is an extension of code 1: shape, name of the type, bytes. Source:
google/flax, ``flax/serialization.py``.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np

from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS, refusing_damage
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.reading import read_bytes

_ARRAY_CODE = 1
_TYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64"
    " complex128".split()
)
_MAX_DEPTH, _MAX_AXES = 64, 32
#: Values of a file, in all of its maps and lists.
MOST_VALUES = 10 * MOST_ARRAYS


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether a file begins as a map of msgpack: a small one, or one of 16 or 32 bits.

    An empty small one is 0x80, with which pickles begin too.
    """
    return bool(start) and (0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF))


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a Flax file.

    Args:
        path: the file.

    Returns:
        Names, as in ``params/encoder/encoder/kernel``, -> array. Numbers and None are left out.

    Raises:
        CheckpointError: msgpack is missing, or the file is damaged, too large, or holds something
            other than arrays of numbers.
    """
    try:
        import msgpack
    except ImportError:
        raise CheckpointError(
            str(path),
            "is a Flax file, and msgpack, which reads it, is not installed",
            "Install it with: pip install 's5_to_loihi[flax]'",
        ) from None

    with refusing_damage(path, "Flax file"):
        content = read_bytes(path, LARGEST_BYTES, CheckpointError)
        arrays: dict[str, np.ndarray] = {}
        _flatten(_unpacked(msgpack, content), "", 0, arrays)
        return arrays


def _unpacked(msgpack: ModuleType, content: bytes) -> object:
    """Return the tree of a file; values are counted while they are made."""
    count = 0

    def counted(values: int) -> None:
        nonlocal count
        count += 1 + values
        if count > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")

    def mapping(pairs: list[tuple[object, object]]) -> dict:
        counted(len(pairs))
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    def array(values: list) -> list:
        counted(len(values))
        return values

    def decode(code: int, data: bytes) -> np.ndarray | None:
        counted(0)
        if code != _ARRAY_CODE:
            return None
        limits = {"max_array_len": _MAX_AXES, "max_map_len": 0, "max_ext_len": 0}
        return _array(*msgpack.unpackb(data, raw=False, **limits))

    return msgpack.unpackb(
        content,
        raw=False,
        ext_hook=decode,
        object_pairs_hook=mapping,
        list_hook=array,
        max_map_len=MOST_ARRAYS,
        max_array_len=MOST_ARRAYS,
    )


def _array(shape: object, dtype: object, data: object) -> np.ndarray:
    if not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise ValueError("the shape of an array is no list of lengths")
    if dtype not in _TYPES:
        raise ValueError(f"an array of {str(dtype)[:50]}, which is not read")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if min(shape, default=0) < 0 or not isinstance(data, bytes) or size != len(data):
        raise ValueError(f"an array {shape} of {dtype} does not have {size} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def _flatten(tree: object, prefix: str, depth: int, arrays: dict[str, np.ndarray]) -> None:
    if isinstance(tree, np.ndarray):
        arrays[prefix] = tree
    if not isinstance(tree, dict):
        return
    if depth > _MAX_DEPTH or len(arrays) > MOST_ARRAYS:
        raise ValueError(f"more than {_MAX_DEPTH} levels or {MOST_ARRAYS} arrays")
    if "__msgpack_chunked_array__" in tree:
        raise ValueError(f"{prefix} is an array of more than 1 GiB in pieces")
    for key, value in tree.items():
        _flatten(value, f"{prefix}/{key}" if prefix else str(key), depth + 1, arrays)
