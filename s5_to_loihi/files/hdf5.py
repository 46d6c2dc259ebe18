"""Reading HDF5 files that nobody vouches for: plain data in the file itself, within bounds.

The library that parses HDF5 is written in C and does not survive every damaged file, so it runs in
a process of its own, with limits of memory and time. Everything is looked up by name and copied.
Refused are links out of the file or within it, data that lie in other files, virtual data sets,
filters of plug-ins, types that are no numbers or texts, and more data than ``LARGEST_DATA``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.reading import read_bytes

#: Bytes of a file, and of all its data when they are unpacked.
LARGEST_FILE = LARGEST_DATA = 1 << 30
#: Bytes of memory and seconds of a processor that the process which reads may take.
LARGEST_PROCESS, MOST_SECONDS = 6 << 30, 5
#: What an HDF5 file begins with.
SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Longest text.
LONGEST_TEXT = 256
#: How deep groups lie in one another, and most entries of one.
MOST_LEVELS, MOST_ENTRIES = 5, 100_000
#: Where a group's attributes are among its entries, and how many it may have.
ATTRIBUTES, MOST_ATTRIBUTES = "@attributes", 64
#: Filters that are part of HDF5: deflate, shuffle, Fletcher's checksum, and LZF, which h5py brings.
FILTERS = (1, 2, 3, 32000)
_DO = "Write the file again with h5py, as lava-dl does"

#: A group as a mapping: name -> another group, or a data set: an array, or a text.
Tree: TypeAlias = Mapping[str, Any]


def read(path: str | os.PathLike[str]) -> Tree:
    """Read a whole HDF5 file.

    Returns:
        Groups as dictionaries; numbers as arrays (shape and type of the file), truth values among
        them; texts as str. Attributes of a group, if it has any, as its entry ``ATTRIBUTES``.

    Raises:
        CheckpointError: no HDF5 file, damaged, or one of what is refused, see above.
        InputError: h5py is missing.
    """
    load_h5py()
    where = os.fspath(path)
    content = read_bytes(path, LARGEST_FILE, CheckpointError, "Give an HDF5 file of lava-dl's")
    if not content.startswith(SIGNATURE):
        raise CheckpointError(where, "is no HDF5 file", _DO)
    with tempfile.TemporaryDirectory(prefix="s5_to_loihi_") as folder:
        target = Path(folder) / "tree.npz"
        program = [sys.executable, "-m", __name__, str(target), where]
        # One thread: every other would take memory from what is allowed.
        search = os.pathsep.join(filter(None, sys.path))
        environment = os.environ | {"PYTHONPATH": search, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(program, input=content, capture_output=True, env=environment)
        if done.returncode == 0:
            return _loaded(target)
    with contextlib.suppress(ValueError, TypeError):
        raise CheckpointError(*json.loads(done.stdout))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    reason = said[-1][:200] if said else f"ended with {done.returncode}"
    if done.returncode == -signal.SIGXCPU:
        reason = f"more than {MOST_SECONDS} s"
    raise CheckpointError(where, f"is damaged: the HDF5 library fails on it ({reason})", _DO)


def _loaded(path: Path) -> Tree:
    with np.load(path) as archive:
        structure = json.loads(bytes(archive["structure"]))

        def built(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: built(entry) for name, entry in value.items()}
            kind, held = value
            return archive[held] if kind == "array" else held

        tree: Tree = built(structure)
    return tree


def _main(target: str, where: str) -> int:
    """Read a file from standard input and write what is in it; the work of the other process."""
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_PROCESS, LARGEST_PROCESS))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    h5py = load_h5py()
    arrays: dict[str, np.ndarray] = {}

    def described(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: described(entry) for name, entry in value.items()}
        if isinstance(value, np.ndarray):
            arrays[f"array{len(arrays)}"] = value
            return ["array", f"array{len(arrays) - 1}"]
        return ["value", value]

    try:
        try:
            with h5py.File(io.BytesIO(sys.stdin.buffer.read()), "r") as file:
                tree = _group(file, where, MOST_LEVELS, _Budget(where))
        except _Refused:
            raise
        except Exception as failure:  # a damaged file surfaces as almost any exception
            reason = " ".join(str(failure).split())[:200] or type(failure).__name__
            raise _Refused(where, f"is no HDF5 file, or damaged ({reason})", _DO) from None
    except _Refused as refused:
        print(json.dumps(refused.args))
        return 1
    text = json.dumps(described(tree)).encode()
    arrays["structure"] = np.frombuffer(text, dtype=np.uint8)
    np.savez(target, allow_pickle=False, **arrays)
    return 0


class _Refused(Exception):
    """Where, what, and what to do, for an error of the process that asked."""


def load_h5py() -> Any:
    """Return the module h5py.

    Raises:
        InputError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        from s5_to_loihi.errors import InputError

        raise InputError(
            "netx network", "needs h5py", "pip install 's5_to_loihi[netx]' brings it"
        ) from None
    return h5py


class _Budget:
    """Counts what a file unpacks to."""

    def __init__(self, where: str):
        self.where = where
        self.left = LARGEST_DATA

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            limit = f"{LARGEST_DATA >> 20} MiB"
            raise _Refused(self.where, f"unpacks to more than {limit}", _DO)


def _entries(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield name and object of each entry that is a part of the file."""
    h5py = load_h5py()
    if len(group) > MOST_ENTRIES:
        raise _Refused(where, f"has {len(group)} entries (limit {MOST_ENTRIES})", _DO)
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "out of the file" if isinstance(link, h5py.ExternalLink) else "to somewhere else"
            raise _Refused(f"{where}/{name!s:.80}", f"is a link {kind}", _DO)
        yield name, group.get(name)


def _group(group: Any, where: str, levels: int, budget: _Budget) -> dict[str, Any]:
    h5py = load_h5py()
    if levels == 0:
        raise _Refused(where, f"lies more than {MOST_LEVELS} groups deep", _DO)
    found: dict[str, Any] = {}
    if len(group.attrs):
        found[ATTRIBUTES] = _attributes(group, where, budget)
    for name, entry in _entries(group, where):
        inside = f"{where}/{name}"
        if isinstance(entry, h5py.Group):
            found[name] = _group(entry, inside, levels - 1, budget)
        elif isinstance(entry, h5py.Dataset):
            found[name] = _data(entry, inside, budget)
        else:
            raise _Refused(inside, "is neither a group nor data", _DO)
    return found


def _attributes(group: Any, where: str, budget: _Budget) -> dict[str, Any]:
    """Return the attributes of a group: single numbers and texts."""
    if len(group.attrs) > MOST_ATTRIBUTES:
        raise _Refused(where, f"has {len(group.attrs)} attributes", _DO)
    found: dict[str, Any] = {}
    for name in group.attrs:
        inside, held = f"{where}, attribute {name!s:.80}", group.attrs.get_id(name)
        text = load_h5py().check_string_dtype(held.dtype) is not None
        if held.shape != () or held.dtype.itemsize > LONGEST_TEXT:
            raise _Refused(inside, "is more than one number or text", _DO)
        if not text and held.dtype.kind not in "biuf":
            raise _Refused(inside, f"holds {held.dtype}, neither a number nor text", _DO)
        budget.take(LONGEST_TEXT)
        value = group.attrs[name]
        value = value.decode("utf-8") if isinstance(value, bytes) else value
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise _Refused(inside, f"is longer than {LONGEST_TEXT} characters", _DO)
        found[name] = value if isinstance(value, str) else np.asarray(value).item()
    return found


def _data(data: Any, where: str, budget: _Budget) -> np.ndarray | str:
    """Return a data set, once nothing speaks against reading it."""
    h5py = load_h5py()
    if data.is_virtual or data.external:
        raise _Refused(where, "keeps its data in another file", _DO)
    if data.shape is None:
        raise _Refused(where, "is empty", _DO)
    filters = data.id.get_create_plist()
    for index in range(filters.get_nfilters()):
        code = filters.get_filter(index)[0]
        if code not in FILTERS:
            raise _Refused(where, f"is packed by the filter {code}, a plug-in", _DO)
    count = 1
    for length in data.shape:
        count *= length
    text = h5py.check_string_dtype(data.dtype)
    if text is not None:
        budget.take(count * LONGEST_TEXT)
        return _text(data, count, where)
    if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
        raise _Refused(where, f"holds {data.dtype}, neither numbers nor text", _DO)
    budget.take(count * data.dtype.itemsize)
    if data.chunks is not None:
        budget.take(int(np.prod(data.chunks, dtype=np.float64)) * data.dtype.itemsize)
    return np.asarray(data[()])


def _text(data: Any, count: int, where: str) -> str:
    if count != 1 or data.dtype.itemsize > LONGEST_TEXT:
        raise _Refused(where, f"is {count} texts of {data.dtype} (limit 1)", _DO)
    value = data[()]
    value = np.ravel(np.asarray(value, dtype=object))[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise _Refused(where, f"is no text of at most {LONGEST_TEXT} characters", _DO)
    return value


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
