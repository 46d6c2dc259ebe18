"""Arrays of an Orbax checkpoint, read with tensorstore: without Orbax and without jax.

Orbax restores arrays onto the devices that they were saved from, so a checkpoint of a GPU cannot
simply be restored on a CPU. Underneath lie zarr arrays, in one OCDBT database or in directories,
under names like ``params.encoder.layers_0.mixer.B``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from s5_to_loihi.checkpoints import flax_model
from s5_to_loihi.checkpoints.containers import LARGEST_BYTES, MOST_ARRAYS
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint, load_arrays
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError

DATABASE = "manifest.ocdbt"
#: What Orbax calls the tree of arrays inside of one step's directory.
ITEMS = ("state", "default")
_ARRAY_FILES = {".zarray": "zarr", "zarr.json": "zarr3"}
_SAVE_AGAIN = "Copy the whole directory again; Orbax writes it in one piece"


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether arrays of an Orbax checkpoint lie in a directory or below."""
    return path.is_dir() and find(path) is not None


def load(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    """Load the model of the newest arrays below a directory in which there are some."""
    found = find(path)
    if found is None:
        raise CheckpointError(str(path), "holds no Orbax checkpoint")
    wanted = (flax_model.PARAMETERS, flax_model.STATISTICS, flax_model.SPARSITIES)
    # Optimizer states are the larger part; a tree without "params" on top is one of parameters.
    arrays = read(found, lambda name: name.startswith(wanted)) or read(
        found, lambda name: not name.startswith("opt_state/")
    )
    # Up to the run's directory, which holds the arguments, and no further.
    levels = [found, *found.parents][: len(found.parts) - len(path.parts) + 1]
    notes = [] if found == path else [f"directory: {found.relative_to(path)}, the newest"]
    files = tuple(sorted(file for file in found.rglob("*") if file.is_file()))
    return load_arrays(path, _run_name(found), arrays, files, options, "Orbax, ", levels, notes)


def _run_name(directory: Path) -> str:
    """Return the name of the run that a directory of arrays belongs to."""
    directory = directory.resolve()
    while directory.name in ITEMS or directory.name.isdigit():
        directory = directory.parent
    return directory.name


def find(path: Path, levels: int = 2) -> Path | None:
    """Find the directory of arrays, from any level of a checkpoint.

    Args:
        path: the directory of a run (with one directory a step, of which the newest is taken), of a
            step, or of the arrays themselves.
        levels: how far down to look; more than a checkpoint has could be a loop of links.

    Returns:
        The directory of arrays; None if there is no Orbax checkpoint.
    """
    if (path / DATABASE).is_file() or next(path.glob("*/.zarray"), None):
        return path
    if not levels:
        return None
    for item in ITEMS:
        if (path / item).is_dir() and (found := find(path / item, levels - 1)):
            return found
    steps = {
        int(match[1]): child
        for child in path.iterdir()
        if child.is_dir() and (match := re.fullmatch(r"(?:checkpoint_)?(\d{1,18})", child.name))
    }
    for number in sorted(steps, reverse=True):
        if found := find(steps[number], levels - 1):
            return found
    return None


def read(directory: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Read arrays.

    Args:
        directory: from ``find``.
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
    if total > LARGEST_BYTES:
        raise CheckpointError(
            str(directory), f"holds {total} bytes of parameters (limit {LARGEST_BYTES})"
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


def _has_every_piece(directory: Path) -> bool:
    """Tell whether Orbax wrote pieces of arrays that are all zero too; older versions do not."""
    file = directory / "_METADATA"
    if not file.is_file() or file.stat().st_size > LARGEST_BYTES:
        return False
    metadata = json.loads(file.read_bytes())
    return isinstance(metadata, dict) and bool(metadata.get("store_array_data_equal_to_fill_value"))


def _largest_size(path: str, metadata: bytes) -> int:
    """Return the most bytes that an array, or a piece of it, takes: before it is read."""
    try:
        description = json.loads(metadata)
        shape = description["shape"]
        grid = description.get("chunk_grid", {"configuration": {}})["configuration"]
        pieces = description.get("chunks") or grid.get("chunk_shape", [])
        for lengths in (shape, pieces):
            if not all(type(length) is int and 0 <= length < 2**63 for length in lengths):
                raise ValueError(f"{path} has the shape {str(lengths)[:50]}")
    except (LookupError, TypeError, AttributeError):
        raise ValueError(f"the description of {path} cannot be read") from None
    # No type is wider than complex128.
    return 16 * max(math.prod(shape), math.prod(pieces))
