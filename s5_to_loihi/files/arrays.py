"""Reading arrays of NumPy's files within bounds: what an archive unpacks to is known before."""

from __future__ import annotations

import math
import os
import zipfile
from typing import BinaryIO

import numpy as np

from s5_to_loihi.errors import InputError, S5ToLoihiError
from s5_to_loihi.files.reading import opened

#: How zip archives begin, which the files of NumPy and of PyTorch are.
ZIP_START = b"PK\x03\x04"
#: The kinds of types that are numbers, as numpy calls them.
NUMBERS = "fciub"
#: Likewise of all types that are no objects: numbers, texts, times.
ANY_PLAIN = NUMBERS + "USmM"
#: What an archive may unpack to: so many bytes, or so many times its own. Packed recordings of
#: events, which are nearly all zero, shrink twentyfold.
ANY_UNPACKED, MOST_EXPANSION = 256 << 20, 32
#: Bytes that are unpacked at a time.
_PIECE = 1 << 20
#: Bytes of the list of an archive's entries: twenty thousand arrays have a third of it.
LARGEST_DIRECTORY = 8 << 20
#: The end of an archive: its record, and before it those of archives of more than 4 GiB, which
#: PyTorch writes for all.
_END, _END_SIZE, _LONGEST_COMMENT = b"PK\x05\x06", 22, (1 << 16) - 1
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20
_LARGER_END, _LARGER_END_SIZE = b"PK\x06\x06", 56
_LONGEST_END = _LARGER_END_SIZE + _LOCATOR_SIZE + _END_SIZE + _LONGEST_COMMENT


def unpacked_limit(packed: int) -> int:
    """Return the most bytes that so many packed ones may become."""
    return max(ANY_UNPACKED, MOST_EXPANSION * packed)


def check_zip(stream: BinaryIO) -> None:
    """Check the list of a zip archive's entries before a parser reads it into memory.

    Raises:
        ValueError: it is larger than any archive of arrays has, or there is none.
    """
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - _LONGEST_END)
    stream.seek(start)
    tail = stream.read()
    stream.seek(0)
    position = tail.find(_END)
    if position < 0:
        raise ValueError("the end of the archive is missing")
    while position >= 0:  # which of them a parser takes depends on it
        directory = int.from_bytes(tail[position + 12 : position + 16], "little")
        locator = position - _LOCATOR_SIZE
        if locator >= 0 and tail.startswith(_LOCATOR, locator):
            larger = locator - _LARGER_END_SIZE
            place = int.from_bytes(tail[locator + 8 : locator + 16], "little")
            if larger < 0 or place != start + larger or not tail.startswith(_LARGER_END, larger):
                raise ValueError("the list of entries is not where it is said to be")
            directory = int.from_bytes(tail[larger + 40 : larger + 48], "little")
        if directory > LARGEST_DIRECTORY:
            raise ValueError(f"a list of entries of {directory:,} bytes")
        position = tail.find(_END, position + 1)


def read_npz(
    path: str | os.PathLike[str],
    largest: int,
    most: int,
    error: type[S5ToLoihiError] = InputError,
    if_damaged: str = "",
    kinds: str = NUMBERS,
) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.npz`` file; nothing in it is run.

    Args:
        path: the file.
        largest: bytes of all arrays.
        most: arrays.
        error: what to raise.
        if_damaged: what to do about a file that is none.
        kinds: of types that arrays may have, as numpy calls them.

    Returns:
        Name -> array, in the order of the file.

    Raises:
        S5ToLoihiError: of the kind ``error``: it cannot be read, is no regular file, damaged, too
            large, unpacks to far more than it is, or holds arrays of another kind.
    """
    where = os.fspath(path)
    with opened(path, error, if_damaged) as stream:
        try:
            check_zip(stream)
            with zipfile.ZipFile(stream) as archive:
                _check_entries(archive, os.fstat(stream.fileno()).st_size, largest, most)
                return {
                    entry.filename.removesuffix(".npy"): _array(archive, entry, kinds)
                    for entry in archive.infolist()
                    if entry.filename.endswith(".npy")
                }
        except Exception as failure:  # a damaged file surfaces as almost any exception of a parser
            reason = " ".join(str(failure).split())[:200] or type(failure).__name__
            raise error(
                where, f"cannot be read as .npz: it is damaged or none ({reason})", if_damaged
            ) from None


def _check_entries(archive: zipfile.ZipFile, packed: int, largest: int, most: int) -> None:
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its entries have one name")
    if any(one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for one in entries):
        raise ValueError("entries that are packed in a way that NumPy does not")
    total, limit = sum(one.file_size for one in entries), min(largest, unpacked_limit(packed))
    if len(entries) > most or total > limit:
        raise ValueError(
            f"it unpacks to {total:,} bytes in {len(entries):,} arrays (limits {limit:,} and"
            f" {most:,}; a file of {packed:,} bytes may grow {MOST_EXPANSION} times)"
        )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str) -> np.ndarray:
    """Return the array of a ``.npy`` entry; its size is checked before memory is taken for it."""
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version} of .npy")
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject or dtype.kind not in kinds:
            raise ValueError(f"an array of {dtype}, not of numbers")
        length = math.prod(shape) * dtype.itemsize
        if not 0 <= length <= entry.file_size:
            raise ValueError(f"an array {shape} of {dtype} in {entry.file_size} bytes")
        content = np.empty(length, dtype=np.uint8)
        for start in range(0, length + 1, _PIECE):
            piece = stream.read(_PIECE)
            if len(piece) != min(_PIECE, length - start):
                raise ValueError(f"an array {shape} of {dtype} has not {length:,} bytes")
            content[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
    array = content.view(dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
