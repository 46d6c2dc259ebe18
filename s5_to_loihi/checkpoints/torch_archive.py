"""Tensors of a PyTorch ``.pt`` file, read without PyTorch; nothing in it is run.

The file is a zip archive that packs nothing: ``data.pkl``, a pickle of protocol 2 whose tensors
refer to storages by persistent ids, and one entry ``data/KEY`` a storage. Source: pytorch/pytorch,
``torch/serialization.py`` and ``torch/_utils.py``.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi.checkpoints.containers import (
    LARGEST_BYTES,
    MOST_ARRAYS,
    flat,
    refusing_damage,
)
from s5_to_loihi.checkpoints.restricted_pickle import (
    NUMPY_SCALARS,
    Dialect,
    Part,
    Refused,
    Source,
    run,
)
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.arrays import ZIP_START

_STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.ComplexFloatStorage": "<c8",
    "torch.ComplexDoubleStorage": "<c16",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "|b1",
}
#: What training programs (PyTorch Lightning among them) keep settings in beside the parameters:
#: their names stand for empty dictionaries, or for nothing, and no such object is made.
_SETTINGS = (
    "argparse.Namespace",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
_NOTHING = (
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath")),
    *("pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("torch.Size", "torch.device", "__builtin__.set", "datetime.datetime", "datetime.timedelta"),
)
_FACTORIES = tuple(f"__builtin__.{name}" for name in ("int", "float", "list", "dict"))
_DO = "Nothing of it was run. Save the parameters only: torch.save(model.state_dict(), PATH)"


@dataclass(frozen=True, eq=False)
class _Storage(Part):
    values: np.ndarray


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether a file is a zip archive with the index of one of PyTorch, or is called so.

    Raises:
        CheckpointError: it is a damaged zip archive.
    """
    if not start.startswith(ZIP_START):
        return path.suffix in (".pt", ".pth") and not path.is_dir()
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            str(path), f"is a damaged zip archive ({error})", "Save it again"
        ) from None


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a ``.pt`` file.

    Args:
        path: the file, with a ``state_dict`` or a dictionary that has some beside other things.

    Returns:
        Name -> array; keys of nested dictionaries are joined with slashes. Numbers, texts, lists
        and settings beside the tensors are left out.

    Raises:
        CheckpointError: damaged, too large, or anything but tensors in dictionaries, such as a
            whole model, whose pickle would have to be run.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP_START)) != ZIP_START:
            raise CheckpointError(
                str(path),
                "is not a zip archive, as torch.save writes since version 1.6",
                "Save it again with torch.save(model.state_dict(), PATH)",
            )
    with refusing_damage(path, "PyTorch file"), zipfile.ZipFile(path) as archive:
        try:
            tree = _read_archive(path, archive)
        except Refused as refusal:
            raise CheckpointError(str(path), refusal.args[0], _DO) from None
    tensors = dict(flat(tree, "/"))
    if not tensors:
        raise CheckpointError(str(path), "holds no tensors", "Save model.state_dict()")
    return tensors


def _read_archive(path: Path, archive: zipfile.ZipFile) -> object:
    entries = {entry.filename: entry for entry in archive.infolist()}
    total = sum(entry.file_size for entry in entries.values())
    # PyTorch packs nothing, so an honest file is as large as what it holds.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise Refused("has packed entries, which torch.save does not write")
    if total > path.stat().st_size or total > LARGEST_BYTES or len(entries) > MOST_ARRAYS:
        raise Refused(
            f"claims {total} bytes in {len(entries)} entries (file: {path.stat().st_size}, limits"
            f" {LARGEST_BYTES} and {MOST_ARRAYS})"
        )
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" in entries:
        raise Refused("is no file of torch.save (perhaps TorchScript, or another zip archive)")
    root = roots[0]
    order = f"{root}byteorder"
    if order in entries and archive.read(order) != b"little":
        raise Refused("was written on a big-endian machine, which is not read")
    index = archive.read(entries[f"{root}data.pkl"])
    dialect = _dialect(lambda key: archive.read(f"{root}data/{key}"))
    source = Source(io.BytesIO(index), len(index), has_lines=True)
    # Parameters that are tied share a storage: each counts, and a few may.
    return run(source, dialect, 4 * total)


def _dialect(read_storage: Callable[[str], bytes]) -> Dialect:
    storages: dict[str, _Storage] = {}

    def storage(identity: object) -> _Storage:
        if not (isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage"):
            raise Refused("a persistent id is not that of a storage")
        _, kind, key, _, count = identity
        dtype = _STORAGES.get(getattr(kind, "text", ""))
        if dtype is None or type(key) is not str or type(count) is not int:
            raise Refused("the persistent id of a storage is damaged")
        if key not in storages:
            storages[key] = _Storage(np.frombuffer(read_storage(key), dtype))
        found = storages[key].values
        if found.size != count or found.dtype != np.dtype(dtype):
            raise Refused(f"storage {key!r:.50} does not hold {count} numbers of {dtype}")
        return storages[key]

    return Dialect(
        headers=(b"\x80\x02",),
        functions={
            "collections.OrderedDict": (dict, 0),
            "torch._utils._rebuild_tensor_v2": (_tensor, None),
            "torch._utils._rebuild_parameter": (lambda tensor, *_: tensor, 3),
            "collections.defaultdict": (lambda *_: {}, None),
            # How protocol 2 writes bytes.
            "_codecs.encode": (_encoded, 2),
            **dict.fromkeys(_NOTHING, (lambda *_: None, None)),
            **NUMPY_SCALARS,
        },
        classes=dict.fromkeys(_SETTINGS, (dict, 0)),
        names=frozenset((*_STORAGES, *_FACTORIES)),
        persistent=storage,
    )


def _encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("bytes are not written as protocol 2 writes them")
    return text.encode("latin1")


def _tensor(*parts: Any) -> np.ndarray:
    """Return the view of a storage that a tensor is; bounds are checked, strides may be any."""
    if len(parts) == 7:
        raise Refused("a tensor is marked as conjugate or negative; call resolve_conj() on it")
    if len(parts) != 6:
        raise Refused(f"a tensor has {len(parts)} parts, not 6")
    storage, offset, size, stride, *_ = parts
    if not isinstance(storage, _Storage):
        raise Refused("a tensor has no storage")
    lengths = (size, stride)
    if not all(isinstance(part, tuple) and len(part) <= 8 for part in lengths) or not all(
        type(number) is int and 0 <= number < 2**48 for number in (offset, *size, *stride)
    ):
        raise Refused("the size of a tensor is not made of lengths")
    values = storage.values
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > values.size or (count and last >= values.size):
        raise Refused(f"a tensor of size {size} lies outside of its storage of {values.size}")
    steps = tuple(step * values.itemsize for step in stride)
    view = np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)
    return view.astype(values.dtype.newbyteorder("="))
