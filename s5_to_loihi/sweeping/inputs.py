"""From a plan to tasks: files are found, read once, and digested, so that a change is seen."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi import audio
from s5_to_loihi.checkpoints.loading import CHOICES, load
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.loihi2.facts import LISTED, load_system
from s5_to_loihi.sweeping.plan import Plan, Settings
from s5_to_loihi.tasks.task import Task
from s5_to_loihi.tasks.tool import tool

#: Roles of data.
DATA = ("calibration", "held_out", "clean")


@dataclass(frozen=True)
class Input:
    """Something that a point is computed from.

    Attributes:
        path: where it is; the name of a listed system.
        digest: SHA-256 of its content when the sweep began.
    """

    path: str
    digest: str


@dataclass(frozen=True)
class Point:
    """All that a point is computed from; can be pickled, hashed and compared.

    Attributes:
        settings: its own.
        checkpoint, calibration, held_out, clean, system: what its settings and its sweep name.
        options, sequence_length, layout, seed: of its sweep.
        tool: name and version of what computes it.
    """

    settings: Settings
    checkpoint: Input
    calibration: Input
    held_out: Input | None
    clean: Input | None
    system: Input | None
    options: LoadOptions
    sequence_length: int | None
    layout: str | None
    seed: int
    tool: tuple[tuple[str, str], ...]

    @property
    def inputs(self) -> dict[str, Input | None]:
        """What is read, by what it is."""
        return {role: getattr(self, role) for role in ("checkpoint", *DATA, "system")}

    @property
    def of_quantization(self) -> Point:
        """The point without what quantization does not depend on."""
        settings = replaced_by_defaults(self.settings, "objective", "system", "mode")
        return dataclasses.replace(self, settings=settings, system=None, seed=0)

    @property
    def of_mapping(self) -> Point:
        """The point without what its mapping does not depend on."""
        return dataclasses.replace(self, settings=replaced_by_defaults(self.settings, "mode"))


def replaced_by_defaults(settings: Settings, *names: str) -> Settings:
    """Return settings with some of them as if nobody had said anything."""
    return dataclasses.replace(settings, **{name: getattr(Settings, name) for name in names})


def tasks_of(plan: Plan) -> tuple[Task, ...]:
    """Return the tasks of a plan, in the order of its points.

    Raises:
        InputError: data are missing, or a system is none.
        CheckpointError: a checkpoint cannot be read.
    """
    path = functools.partial(_absolute, plan.directory)
    checkpoints = {
        name: Input(path(name), checkpoint_digest(path(name), plan.options))
        for name in plan.axes["checkpoint"]
    }
    keys = {name: name if name in (None, *LISTED) else path(name) for name in plan.axes["system"]}
    systems = {name: Input(key, system_digest(key)) if key else None for name, key in keys.items()}
    data = {
        role: name and Input(path(name), data_digest(path(name)))
        for role in DATA
        for name in [getattr(plan, role)]
    }
    return tuple(
        _task(
            Point(
                settings=settings,
                checkpoint=checkpoints[settings.checkpoint],
                system=systems[settings.system],
                **data,
                options=plan.options,
                sequence_length=plan.sequence_length,
                layout=plan.layout,
                seed=plan.seed,
                tool=tool(),
            ),
        )
        for settings in plan.points()
    )


def notes_of(plan: Plan) -> tuple[str, ...]:
    """Return what is taken of checkpoints, and what becomes of recordings, before anything else.

    Raises:
        InputError: a recording cannot be read.
        CheckpointError: a checkpoint cannot be read.
    """
    notes = [
        f"{name}: {note}"
        for name in plan.axes["checkpoint"]
        for note in load(_absolute(plan.directory, name), plan.options).notes
        if note.startswith(CHOICES)
    ]
    for name in dict.fromkeys(getattr(plan, role) for role in DATA):
        if name is not None and Path(name).suffix.lower() == ".wav":
            recording = audio.resample(audio.read_wav(_absolute(plan.directory, name)))
            notes += [f"{Path(name).name}: {note}" for note in recording.notes]
    return tuple(notes)


def _task(point: Point) -> Task:
    return Task(
        settings=dataclasses.asdict(point.settings),
        basis={
            "inputs": {role: found and found.digest for role, found in point.inputs.items()},
            "options": point.options.as_json(),
            "sequence_length": point.sequence_length,
            "layout": point.layout,
            "seed": point.seed,
            "tool": dict(point.tool),
        },
        steps=(point.of_quantization, point.of_mapping),
        payload=point,
    )


def check_unchanged(point: Point) -> None:
    """Refuse to compute a point from anything else than what the sweep was begun with.

    Raises:
        InputError: a file was changed, or the worker has other files or another version.
    """
    for role, wanted in point.inputs.items():
        if wanted is None:
            continue
        if role == "checkpoint":
            digest = checkpoint_digest(wanted.path, point.options)
        else:
            digest = (system_digest if role == "system" else data_digest)(wanted.path)
        if digest != wanted.digest:
            raise InputError(
                wanted.path,
                "is not what it was when the sweep began",
                "Start the sweep again; workers elsewhere need the same files",
            )
    for (name, here), (_, there) in zip(tool(), point.tool, strict=True):
        if here != there:
            raise InputError(
                "the worker",
                f"has another {name} ({here[:12]}, the sweep {there[:12]})",
                "Install the same versions everywhere",
            )


def checkpoint_digest(path: str, options: LoadOptions) -> str:
    """Return the digest of all files of a checkpoint, which is read for that."""
    return source_digest(load(path, options).files)


def data_digest(path: str) -> str:
    """Return the digest of a file."""
    if not Path(path).is_file():
        raise InputError(path, "is no file", "Paths are relative to the file of the sweep")
    return source_digest([Path(path)])


def system_digest(key: str) -> str:
    """Return the digest of all facts of a system and its chip."""
    return hashlib.sha256(repr(load_system(key)).encode()).hexdigest()


def _absolute(directory: Path, name: str) -> str:
    return str((directory / name).resolve())
