"""Reading files of tensors within bounds: safetensors, by its specification.

Eight bytes give the length of a JSON header, little-endian; the header gives each tensor's type,
shape and place; the tensors follow and leave no byte out. Source: huggingface/safetensors,
``README.md``, Format.
"""

from __future__ import annotations

import math
import os

import numpy as np

from s5_to_loihi.errors import InputError, S5ToLoihiError
from s5_to_loihi.files.reading import parse_json, read_bytes

#: Bytes of a header: those of twenty thousand tensors are a tenth of it.
LARGEST_HEADER = 32 << 20
#: Axes of a tensor, as numpy has them.
_MOST_AXES = 32
_TYPES = {
    "BOOL": "|b1",
    "C64": "<c8",
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
_METADATA = "__metadata__"


def read_safetensors(
    path: str | os.PathLike[str],
    largest: int,
    error: type[S5ToLoihiError] = InputError,
    if_damaged: str = "",
) -> dict[str, np.ndarray]:
    """Read all tensors of a file.

    Args:
        path: of the file.
        largest: bytes.
        error: what to raise.
        if_damaged: what to do about a file that is no such one.

    Returns:
        Name -> array in the byte order of the machine, in the order of the file.

    Raises:
        S5ToLoihiError: of the kind ``error``: the file cannot be read, is no regular file, too
            large or damaged, or has a type that numpy does not have (bfloat16, say).
    """
    content = read_bytes(path, largest, error, if_damaged)
    try:
        return _tensors(content)
    except (ValueError, TypeError, LookupError, RecursionError, MemoryError) as failure:
        reason = " ".join(str(failure).split())[:200] or type(failure).__name__
        raise error(os.fspath(path), f"is damaged ({reason})", if_damaged) from None


def _tensors(content: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(content[:8], "little")
    data = memoryview(content)[8 + length :]
    if length > LARGEST_HEADER or len(content) < 8 + length:
        raise ValueError(
            f"a header of {length} bytes, of {max(0, len(content) - 8)} (limit {LARGEST_HEADER})"
        )
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping of tensors")
    header.pop(_METADATA, None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    tensors, end = {}, 0
    for name, entry in entries:
        tensors[name] = _tensor(name, entry, data, end)
        end = entry["data_offsets"][1]
    if end != len(data):
        raise ValueError(f"its tensors are {end} bytes, it has {len(data)}")
    return tensors


def _tensor(name: str, entry: dict, data: memoryview, end: int) -> np.ndarray:
    """Return a tensor that begins where the one before it ended."""
    kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in _TYPES:
        raise ValueError(f"{name!r:.60} holds {kind!r:.20}, which numpy does not have")
    dtype = np.dtype(_TYPES[kind])
    lengths = (*shape, first, last)
    if len(shape) > _MOST_AXES or not all(type(one) is int and 0 <= one for one in lengths):
        raise ValueError(f"{name!r:.60} has the shape {shape!r:.60} at {first!r:.20}")
    if first != end or not end <= last <= len(data):
        raise ValueError(f"{name!r:.60} lies at {first}..{last}, not from {end} to {len(data)}")
    if math.prod(shape) * dtype.itemsize != last - first:
        raise ValueError(f"{name!r:.60}, {kind}{shape!r:.60}, has {last - first} bytes")
    array = np.frombuffer(data[first:last], dtype).reshape(shape)
    # Aligned and writable: what computes with it need not know where it came from.
    return array.astype(dtype.newbyteorder("="))
