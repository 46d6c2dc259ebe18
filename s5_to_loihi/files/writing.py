"""Writing files whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s5_to_loihi.errors import InputError

#: Of the directory that a file is written in; only a killed process leaves one behind.
TEMPORARY_PREFIX = ".writing-"


def check_target(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Refuse a file to write before any work is done for it; None is fine.

    Raises:
        InputError: another suffix, or no such directory.
    """
    if path is None:
        return
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
