"""The directory of a sweep: one file a point, written whole or not at all, and locked.

    sweep.json      which sweep it belongs to
    points/*.json   one file a point: settings, digest of what it was computed from, result
    .lock           locked while a sweep runs; the lock goes with its process, however that ends

Only the process that holds the lock writes here, so nothing that a killed sweep left running can
change a result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.writing import TEMPORARY_PREFIX, write_json
from s5_to_loihi.sweeping.task import Outcome, Task

SCHEMA = "s5_to_loihi sweep directory"
POINT_SCHEMA = "s5_to_loihi sweep point"
SCHEMA_VERSION = 1
IDENTITY, POINTS, LOCK = "sweep.json", "points", ".lock"


@dataclass(frozen=True)
class Store:
    """The directory of a sweep, while it is locked; see ``opened``.

    Attributes:
        directory: with ``sweep.json`` in it.
    """

    directory: Path

    def read(self, task: Task) -> Outcome | None:
        """Return what is stored of a task; None if nothing is, or of other inputs."""
        content = _read(self._path(task))
        if (
            content is None
            or content.get("schema") != POINT_SCHEMA
            or content.get("schema_version") != SCHEMA_VERSION
            or content.get("digest") != task.digest
        ):
            return None
        try:
            return Outcome(**content["outcome"])
        except (KeyError, TypeError):
            return None

    def write(self, task: Task, outcome: Outcome) -> None:
        """Store what became of a task, instead of what is there."""
        content = {
            "schema": POINT_SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "settings": task.settings,
            "basis": task.basis,
            "digest": task.digest,
            "outcome": dataclasses.asdict(outcome),
        }
        write_json(self._path(task), content)

    def _path(self, task: Task) -> Path:
        return self.directory / POINTS / f"{task.key}.json"


@contextlib.contextmanager
def opened(directory: Path, name: str) -> Iterator[Store]:
    """Lock the directory of a sweep, make it if there is none, and clear what a kill left in it.

    Raises:
        InputError: it cannot be made, holds another sweep or something else, or is in use.
    """
    directory = Path(directory)
    with contextlib.ExitStack() as held:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _check_content(directory)
            _lock(held.enter_context((directory / LOCK).open("a")), directory)
            _claim(directory, name)
            for place in (directory, directory / POINTS):
                for leftover in filter(_is_temporary, list(place.iterdir())):
                    shutil.rmtree(leftover)
        except OSError as error:
            raise InputError(
                str(error.filename or directory),
                f"cannot be used ({error.strerror or error})",
                "Choose another directory",
            ) from None
        yield Store(directory)


def _lock(file: TextIO, directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            str(directory),
            "is in use by another sweep",
            "Wait for its end, or choose another directory",
        ) from None


def _check_content(directory: Path) -> None:
    """Refuse a directory that was not made by a sweep, before anything is written there."""
    entries = {entry.name for entry in directory.iterdir() if not _is_temporary(entry)}
    if IDENTITY not in entries and entries - {LOCK}:
        raise InputError(
            str(directory),
            f"holds other things ({sorted(entries - {LOCK})[0]}) and no sweep",
            "Choose another directory, or a new one",
        )


def _claim(directory: Path, name: str) -> None:
    """Make the directory that of the sweep; refuse that of another one."""
    path = directory / IDENTITY
    if path.exists():
        content = _read(path)
        if content is None or content.get("schema") != SCHEMA:
            raise InputError(str(path), "does not say which sweep this is", "Remove the directory")
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            what = f"has schema version {version!r:.20} (limit {SCHEMA_VERSION})"
            raise InputError(str(path), what, "Use the version of s5_to_loihi that wrote it")
        if content.get("name") != name:
            raise InputError(
                str(directory),
                f"holds the sweep {content.get('name')!r:.60}, not {name!r}",
                "Choose another directory, or give this sweep that name",
            )
    (directory / POINTS).mkdir(exist_ok=True)
    if not path.exists():
        write_json(path, {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "name": name})


def _read(path: Path) -> dict | None:
    """Return a JSON object, or None if there is none: damaged ones are computed again."""
    try:
        content = read_json(path)
    except InputError:
        return None
    return content if isinstance(content, dict) else None


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(TEMPORARY_PREFIX)
