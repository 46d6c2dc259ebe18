"""The directory of a sweep, or of another batch of tasks: a file a task, whole or not at all.

    sweep.json      which sweep it belongs to
    points/*.json   one file a point: settings, digest of what it was computed from, result
    .lock           locked while a sweep runs; the lock goes with its process, however that ends

Only the process that holds the lock writes here, so nothing that a killed sweep left running can
change a result. What the batch and its parts are called is its ``Kind``.
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
from s5_to_loihi.tasks.task import Outcome, Task

SCHEMA_VERSION = 1
LOCK = ".lock"


@dataclass(frozen=True)
class Kind:
    """What a batch of tasks and its parts are called, in files and in messages.

    Attributes:
        name: of a batch.
        part: of what a task computes; its plural is formed by an s.
    """

    name: str
    part: str

    @property
    def identity(self) -> str:
        """The file that says which batch a directory belongs to."""
        return f"{self.name}.json"

    @property
    def schema(self) -> str:
        """Of that file."""
        return f"s5_to_loihi {self.name} directory"

    @property
    def part_schema(self) -> str:
        """Of the files of parts."""
        return f"s5_to_loihi {self.name} {self.part}"

    @property
    def parts(self) -> str:
        """The folder of these files."""
        return f"{self.part}s"


@dataclass(frozen=True)
class Store:
    """The directory of a batch, while it is locked; see ``opened``.

    Attributes:
        directory: with the batch's identity in it.
        kind: of batch.
    """

    directory: Path
    kind: Kind

    def read(self, task: Task) -> Outcome | None:
        """Return what is stored of a task; None if nothing is, or of other inputs."""
        content = _read(self._path(task))
        if (
            content is None
            or content.get("schema") != self.kind.part_schema
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
            "schema": self.kind.part_schema,
            "schema_version": SCHEMA_VERSION,
            "settings": task.settings,
            "basis": task.basis,
            "digest": task.digest,
            "outcome": dataclasses.asdict(outcome),
        }
        write_json(self._path(task), content)

    def _path(self, task: Task) -> Path:
        return self.directory / self.kind.parts / f"{task.key}.json"


@contextlib.contextmanager
def opened(directory: Path, name: str, kind: Kind) -> Iterator[Store]:
    """Lock the directory of a batch, make it if there is none, and clear what a kill left in it.

    Args:
        directory: of the batch.
        name: that tells it from other batches of its kind.
        kind: of batch.

    Raises:
        InputError: it cannot be made, holds another batch or something else, or is in use.
    """
    directory = Path(directory)
    with contextlib.ExitStack() as held:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _check_content(directory, kind)
            _lock(held.enter_context((directory / LOCK).open("a")), directory, kind)
            _claim(directory, name, kind)
            for place in (directory, directory / kind.parts):
                for leftover in filter(_is_temporary, list(place.iterdir())):
                    shutil.rmtree(leftover)
        except OSError as error:
            raise InputError(
                str(error.filename or directory),
                f"cannot be used ({error.strerror or error})",
                "Choose another directory",
            ) from None
        yield Store(directory, kind)


def _lock(file: TextIO, directory: Path, kind: Kind) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            str(directory),
            f"is in use by another {kind.name}",
            "Wait for its end, or choose another directory",
        ) from None


def _check_content(directory: Path, kind: Kind) -> None:
    """Refuse a directory that no batch of this kind made, before anything is written there."""
    entries = {entry.name for entry in directory.iterdir() if not _is_temporary(entry)}
    if kind.identity not in entries and entries - {LOCK}:
        raise InputError(
            str(directory),
            f"holds other things ({sorted(entries - {LOCK})[0]}) and no {kind.name}",
            "Choose another directory, or a new one",
        )


def _claim(directory: Path, name: str, kind: Kind) -> None:
    """Make the directory that of the batch; refuse that of another one."""
    path = directory / kind.identity
    if path.exists():
        content = _read(path)
        if content is None or content.get("schema") != kind.schema:
            what = f"does not say which {kind.name} this is"
            raise InputError(str(path), what, "Remove the directory")
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            what = f"has schema version {version!r:.20} (limit {SCHEMA_VERSION})"
            raise InputError(str(path), what, "Use the version of s5_to_loihi that wrote it")
        if content.get("name") != name:
            raise InputError(
                str(directory),
                f"holds the {kind.name} {content.get('name')!r:.60}, not {name!r}",
                f"Choose another directory, or give this {kind.name} that name",
            )
    (directory / kind.parts).mkdir(exist_ok=True)
    if not path.exists():
        write_json(path, {"schema": kind.schema, "schema_version": SCHEMA_VERSION, "name": name})


def _read(path: Path) -> dict | None:
    """Return a JSON object, or None if there is none: damaged ones are computed again."""
    try:
        content = read_json(path)
    except InputError:
        return None
    return content if isinstance(content, dict) else None


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(TEMPORARY_PREFIX)
