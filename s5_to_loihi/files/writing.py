"""Writing files whole or not at all."""

import ctypes
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from s5_to_loihi.errors import InputError

#: Of the directory that a file is written in; only a killed process leaves one behind.
TEMPORARY_PREFIX = ".writing-"
#: Of Linux's ``renameat2``: paths as they are, and what to do.
_HERE, _EXCHANGE = -100, 2


def check_target(path: str | os.PathLike[str] | None, suffixes: tuple[str, ...]) -> None:
    """Refuse a file to write before any work is done for it; None is fine.

    Raises:
        InputError: another suffix, or no such directory.
    """
    if path is None:
        return
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(
            str(path), f"has the suffix '{path.suffix}'", f"Use one of {', '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise InputError(str(path), f"no directory {path.parent}", "Make the directory first")


def write_json(path: str | os.PathLike[str], content: object) -> None:
    """Write a file as JSON; the same content gives the same bytes.

    Raises:
        InputError: see ``replacing``.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block succeeds.

    Raises:
        InputError: the directory is missing, or the file cannot be written.
    """
    path = Path(path)
    try:
        if not path.parent.is_dir():
            raise InputError(str(path), f"no directory {path.parent}", "Make the directory first")
        # A directory, not a file: what is made inside has the user's ordinary rights and suffix.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX) as directory:
            temporary = Path(directory) / path.name
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            str(path), f"cannot be written ({error.strerror or error})", "Choose another place"
        ) from error


@contextmanager
def filling(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files get into ``folder``, made if there is none, or none of them.

    Raises:
        InputError: the folder is none, cannot be made, or a file cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "Choose another name")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=TEMPORARY_PREFIX) as directory:
            temporary = Path(directory) / "new"
            temporary.mkdir()
            yield temporary
            if not folder.exists():
                os.rename(temporary, folder)
                return
            for file in sorted(temporary.iterdir()):
                os.replace(file, folder / file.name)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise InputError(str(folder), what, "Choose another place") from error


def allocated(path: str | os.PathLike[str], dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Make a ``.npy`` file of zeros that the disk has set aside, and map it for writing.

    Writing into a map of a file without room ends the process by a signal, without a word.

    Raises:
        OSError: there is no room.
    """
    array = np.lib.format.open_memmap(Path(path), mode="w+", dtype=dtype, shape=shape)
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            unknown = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
            if isinstance(error, OSError) and error.errno not in unknown:
                raise
            file.seek(array.offset)
            for start in range(array.offset, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - start)))
    return array


def exchange(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Exchange what two paths of one file system name, in one step.

    Returns:
        False if the system cannot; nothing is changed then.

    Raises:
        OSError: one of them is missing, or may not be renamed.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = (os.fsencode(first), os.fsencode(second))
    if rename(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(second))
