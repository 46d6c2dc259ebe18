"""Arrays of an Orbax checkpoint, read with tensorstore: without Orbax and without jax.

Orbax restores arrays onto the devices that they were saved from, so a checkpoint of a GPU cannot
simply be restored on a CPU. Underneath lie zarr arrays, in one OCDBT database or in directories,
under names like ``params.encoder.layers_0.mixer.B``.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS
from s5_to_loihi.checkpoints.flax_places import SPARSITIES
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint, load_arrays
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.checkpoints.which import is_optimizers, listed
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.arrays import unpacked_limit
from s5_to_loihi.files.reading import parse_json, read_bytes

DATABASE = "manifest.ocdbt"
#: What Orbax writes into the directory of a step, with the items in it.
STEP_FILE = "_CHECKPOINT_METADATA"
_ARRAY_FILES = {".zarray": "zarr", "zarr.json": "zarr3"}
_STEP = re.compile(r"(?:(?:checkpoint|ckpt|step|epoch|iteration|iter)s?[_-]?)?(\d{1,18})", re.I)
#: Of a manager with another prefix of its own; it counts for directories with a ``STEP_FILE`` only.
_PREFIXED_STEP = re.compile(r".*\D(\d{1,18})", re.DOTALL)
_UNFINISHED = ".orbax-checkpoint-tmp"
#: Bytes of what Orbax says of a checkpoint, and of what zarr says of an array.
LARGEST_METADATA, LARGEST_DESCRIPTION = 64 << 20, 1 << 20
_SAVE_AGAIN = "Copy the whole directory again; Orbax writes it in one piece"


@dataclass(frozen=True)
class Found:
    """Where the arrays of one step lie.

    Attributes:
        directory: of the step, or of the arrays if they are in no item.
        items: name of an item -> directory of its arrays; the only one of no name may be
            ``directory`` itself.
        asked: the item that the user gave, of which others are only a complement; or None.
        notes: which step was chosen, of which.
    """

    directory: Path
    items: Mapping[str, Path]
    asked: str | None = None
    notes: tuple[str, ...] = ()


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether arrays of an Orbax checkpoint lie in a directory or below."""
    return path.is_dir() and find(path) is not None


def load(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    """Load the model of the newest arrays below a directory in which there are some."""
    found = find(path)
    if found is None:
        raise CheckpointError(str(path), "holds no Orbax checkpoint")
    arrays, used = _join(found)
    used = used or dict(found.items)
    # Up to the run's directory, which holds the arguments, and no further.
    deepest = next(iter(used.values())) if len(used) == 1 else found.directory
    levels = [deepest, *deepest.parents][: max(1, len(deepest.parts) - len(path.parts) + 1)]
    notes = list(found.notes)
    if len(used) > 1:
        notes.append(f"items: joined {listed(sorted(used))}")
    files = sorted(file for item in used.values() for file in item.rglob("*") if file.is_file())
    name = _run_name(found)
    return load_arrays(path, name, arrays, tuple(files), options, "Orbax, ", levels, notes)


def _join(found: Found) -> tuple[dict[str, np.ndarray], dict[str, Path]]:
    """Read the items of a step: arrays, each named after its item first; and which have any."""
    if found.asked is None:
        return _read_items(found.items, _is_wanted)
    others = dict(found.items)
    arrays, used = _read_items({found.asked: others.pop(found.asked)}, _is_wanted)
    if not any(name.endswith("/norm/mean") for name in arrays):
        # Parameters without the statistics of batch norm: an item of its own may hold them.
        more, beside = _read_items(others, _is_statistic)
        arrays, used = arrays | more, used | beside
    return arrays, used


def _read_items(
    items: Mapping[str, Path], wanted: Callable[[str], bool]
) -> tuple[dict[str, np.ndarray], dict[str, Path]]:
    joined: dict[str, np.ndarray] = {}
    used: dict[str, Path] = {}
    for item, directory in items.items():
        start = f"{item}/" if item else ""
        arrays = read(directory, partial(_below, wanted, start))
        if arrays:
            joined |= {start + name: array for name, array in arrays.items()}
            used[item] = directory
    return joined, used


def _below(wanted: Callable[[str], bool], start: str, name: str) -> bool:
    return wanted(start + name)


def _is_wanted(name: str) -> bool:
    """Tell whether an array is no optimizer's: those are the larger part of a checkpoint."""
    return SPARSITIES in name or not is_optimizers(name)


def _is_statistic(name: str) -> bool:
    return _is_wanted(name) and name.endswith(("/norm/mean", "/norm/var"))


def _run_name(found: Found) -> str:
    """Return the name of the run of a step; of arrays in no step, of their directory."""
    step = found.directory.resolve()
    if found.asked is not None:
        step = step.parent
    while step.name.isdigit() or ("" not in found.items and _is_step(step)):
        step = step.parent
    return step.name


def find(path: Path) -> Found | None:
    """Find the arrays of one step, from any level of a checkpoint.

    Args:
        path: the directory of a run (with one directory a step, of which the newest is taken), of a
            step, of an item of a step, or of arrays.

    Returns:
        None if there is no Orbax checkpoint.
    """
    if _is_tree(path):
        item = path.resolve()
        if (item.parent / STEP_FILE).is_file() or _STEP.fullmatch(item.parent.name):
            return Found(path, _items(item.parent) | {item.name: path}, item.name)
        return Found(path, {"": path})
    steps = {} if (path / STEP_FILE).is_file() else _steps(path)
    items = {name: item for name, item in _items(path).items() if item not in steps.values()}
    empty: list[str] = []
    for number in sorted(steps, reverse=True):
        step = steps[number]
        found = Found(step, {"": step}) if _is_tree(step) else Found(step, _items(step))
        if not found.items:
            empty.append(step.name)
            continue
        others = [steps[other].name for other in sorted(steps, reverse=True) if other != number]
        others = [name for name in (*others, *items) if name not in empty]
        place = step if len(found.items) > 1 else next(iter(found.items.values()))
        note = f"directory: {place.relative_to(path)}, the newest"
        if others:
            note += f"; there are also {listed(others)} (give the directory of one to take it)"
        if empty:
            note += f"; {listed(empty)} without arrays"
        return replace(found, notes=(note,))
    return Found(path, items) if items else None


def _is_tree(path: Path) -> bool:
    """Tell whether a directory holds arrays itself: in a database, or a directory each."""
    if (path / DATABASE).is_file():
        return True
    return any(next(path.glob(f"*/{file}"), None) for file in _ARRAY_FILES)


def _items(path: Path) -> dict[str, Path]:
    """Return the items of a step that hold arrays."""
    return {child.name: child for child in _directories(path) if _is_tree(child)}


def _steps(path: Path) -> dict[int, Path]:
    """Return the directories of steps below that of a run, by their numbers."""
    steps = {}
    for child in _directories(path):
        if (number := _step_number(child)) is not None:
            steps[number] = child
    return steps


def _step_number(path: Path) -> int | None:
    match = _STEP.fullmatch(path.name)
    if not match and (path / STEP_FILE).is_file():
        match = _PREFIXED_STEP.fullmatch(path.name)
    return int(match[1]) if match else None


def _is_step(path: Path) -> bool:
    return _step_number(path) is not None


def _directories(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir()
                  if _UNFINISHED not in child.name and child.is_dir())  # fmt: skip


def read(directory: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Read arrays.

    Args:
        directory: of an item, from ``find``.
        wanted: tells by name, as in ``params/encoder/encoder/kernel``, whether to read an array.

    Returns:
        Name -> array.

    Raises:
        CheckpointError: tensorstore is missing, or the checkpoint is damaged or too large.
    """
    try:
        import tensorstore
    except ImportError:
        raise CheckpointError(
            str(directory),
            "is an Orbax checkpoint, and tensorstore, which reads it, is not installed",
            "Install it with: pip install 's5_to_loihi[orbax]'",
        ) from None
    try:
        return _read(tensorstore, directory, wanted)
    except (ValueError, KeyError, OSError, MemoryError, OverflowError, RecursionError) as error:
        reason = re.sub(r"\s+", " ", str(error).split("[source locations")[0]).strip()
        raise CheckpointError(str(directory), f"is damaged ({reason[:200]})", _SAVE_AGAIN) from None


def _read(
    tensorstore: ModuleType, directory: Path, wanted: Callable[[str], bool]
) -> dict[str, np.ndarray]:
    root = f"{directory.resolve()}/"
    limit = min(LARGEST_BYTES, unpacked_limit(_stored_bytes(directory)))
    is_database = (directory / DATABASE).is_file()

    def store(path: str) -> dict:
        if is_database:
            return {"driver": "ocdbt", "base": {"driver": "file", "path": root}, "path": path}
        return {"driver": "file", "path": root + path}

    opened = tensorstore.KvStore.open(store("")).result()
    found = {}
    for key in opened.list().result():
        path, _, file = key.decode("utf-8", "replace").rpartition("/")
        if file in _ARRAY_FILES and wanted(path.replace(".", "/")):
            found[path] = file
    if len(found) > MOST_ARRAYS:
        raise CheckpointError(str(directory), f"holds {len(found)} arrays (limit {MOST_ARRAYS})")
    total = sum(
        _largest_size(path, opened.read(f"{path}/{file}").result().value)
        for path, file in found.items()
    )
    if total > limit:
        raise CheckpointError(
            str(directory), f"holds {total:,} bytes of parameters (limit {limit:,} for its files)"
        )
    is_complete = _has_every_piece(directory)
    arrays = {}
    for path, file in found.items():
        spec = {
            "driver": _ARRAY_FILES[file],
            "kvstore": store(f"{path}/"),
            # A piece that was lost would read as zeros.
            "fill_missing_data_reads": not is_complete,
        }
        array = tensorstore.open(spec, open=True).result()
        arrays[path.replace(".", "/")] = np.asarray(array.read().result())
    return arrays


def _stored_bytes(directory: Path) -> int:
    """Return the bytes of all files below; tensorstore would wait for pipes and devices."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            found = os.stat(os.path.join(place, name))
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{name:.60} is a pipe or a device")
            total += found.st_size
    return total


def _has_every_piece(directory: Path) -> bool:
    """Tell whether Orbax wrote pieces of arrays that are all zero too; older versions do not."""
    file = directory / "_METADATA"
    if not file.is_file():
        return False
    metadata = parse_json(read_bytes(file, LARGEST_METADATA, CheckpointError))
    return isinstance(metadata, dict) and bool(metadata.get("store_array_data_equal_to_fill_value"))


def _largest_size(path: str, metadata: bytes) -> int:
    """Return the most bytes that an array, or a piece of it, takes: before it is read."""
    if len(metadata) > LARGEST_DESCRIPTION:
        raise ValueError(f"the description of {path:.60} has {len(metadata):,} bytes")
    try:
        description: Any = parse_json(metadata)
        shape = description["shape"]
        grid = description.get("chunk_grid", {"configuration": {}})["configuration"]
        pieces = description.get("chunks") or grid.get("chunk_shape", [])
        for lengths in (shape, pieces):
            if not all(type(length) is int and 0 <= length < 2**63 for length in lengths):
                raise ValueError(f"{path} has the shape {str(lengths)[:50]}")
    except (LookupError, TypeError, AttributeError):
        raise ValueError(f"the description of {path} cannot be read") from None
    return _item_bytes(description) * max(math.prod(shape), math.prod(pieces))


def _item_bytes(description: Mapping[str, object]) -> int:
    """Return the bytes of a number of an array; the most that there may be if it is not known."""
    name = str(description.get("dtype") or description.get("data_type")).strip("<>|")
    try:
        return np.dtype(name).itemsize or 16
    except (TypeError, ValueError):
        return 2 if name == "bfloat16" else 16  # complex128
