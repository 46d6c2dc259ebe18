"""What loading a checkpoint gives, and what a format of checkpoints is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.float_model import S5Model


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """A model and what is known about where it came from.

    Attributes:
        model: framework-free.
        format: what kind of checkpoint it was, for people.
        notes: what was found out, guessed (with the option to say otherwise) or left out.
        files: every file that was read, or that lies in the directory that was read.
    """

    model: S5Model
    format: str
    notes: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def source(self) -> Mapping[str, str]:
        """Format, name and digest of the files, as bundles record them."""
        return {
            "format": self.format,
            "name": self.model.name,
            "sha256": source_digest(self.files),
        }


@dataclass(frozen=True)
class CheckpointFormat:
    """A format of float checkpoints.

    Attributes:
        name: for people, in the plural; what can be stored in two ways has one name for both.
        sniff: tells by a path and the first bytes of the file, which are empty for a directory,
            whether it is such a checkpoint, damaged or not.
        read: loads it with the user's options, or raises CheckpointError.
        suffixes: that the names of its files have.
    """

    name: str
    sniff: Callable[[Path, bytes], bool]
    read: Callable[[Path, LoadOptions], LoadedCheckpoint]
    suffixes: tuple[str, ...] = ()
