"""What loading a checkpoint gives; which model named arrays are, by what convention they follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s5_to_loihi.checkpoints import event_ssm, flax_model, lru, s4d, s5_pytorch
from s5_to_loihi.checkpoints.options import Chooser, LoadOptions
from s5_to_loihi.checkpoints.training_arguments import (
    ARGUMENTS_FILE,
    known_options,
    read_arguments,
)
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.float_model import S5Model

Arrays = Mapping[str, np.ndarray]


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


class Convention(NamedTuple):
    """A way to name the arrays of a model: its own name, for people, and what is done by it."""

    name: str
    follows: Callable[[Iterable[str]], bool]
    to_model: Callable[[str, str, Arrays, Chooser], S5Model]


#: The first that follows is it: what relatives are called is part of what S5 is.
CONVENTIONS = (
    Convention("Flax parameters of event-ssm", event_ssm.is_tree, event_ssm.to_model),
    Convention("Flax parameters of an LRU", lru.is_tree, lru.to_model),
    Convention("Flax parameters", flax_model.is_tree, flax_model.to_model),
    Convention("S4D state_dict", s4d.is_state_dict, s4d.to_model),
    Convention("s5-pytorch state_dict", s5_pytorch.is_state_dict, s5_pytorch.to_model),
)


#: Other projects' models, which look alike and compute something else.
_OTHERS = (
    (
        re.compile(r"(^|/)Lambda_(re|im)$"),
        "holds state-space models of S5, but not in layers_N/seq (lindermanlab/S5) or"
        " layers_N/mixer (IntelLabs/SparseRNNs)",
    ),
)


class UnknownNames(Exception):
    """Names follow no convention: where, and what to say of it."""

    def __init__(self, where: str, what: str):
        super().__init__(where, what)
        self.where, self.what = where, what


def of_file(read: Callable[[Path], Arrays]) -> Callable[[Path, LoadOptions], LoadedCheckpoint]:
    """Return the reader of a format that is one file of named arrays."""

    def load(path: Path, options: LoadOptions) -> LoadedCheckpoint:
        return load_arrays(path, path.stem, read(path), (path,), options)

    return load


def load_arrays(
    path: Path,
    name: str,
    arrays: Arrays,
    files: tuple[Path, ...],
    options: LoadOptions,
    container: str = "",
    argument_directories: Sequence[Path] = (),
    notes: Sequence[str] = (),
) -> LoadedCheckpoint:
    """Build the model of named arrays.

    Args:
        path: of the checkpoint, for messages.
        name: of the model.
        arrays: all of them.
        files: that they were read from.
        options: what the user says.
        container: what they were in, for people, where the convention does not say it.
        argument_directories: where a file of the training's arguments may lie, in that order.
        notes: what was found out before.

    Raises:
        UnknownNames: their names follow no convention.
        CheckpointError: they are not those of a model that can be read.
    """
    convention = next((known for known in CONVENTIONS if known.follows(arrays)), None)
    if convention is None:
        for name in arrays:
            if other := next((what for pattern, what in _OTHERS if pattern.search(name)), None):
                raise CheckpointError(str(path), f"{other} ({name})", "Train one of the models that"
                                      " docs/checkpoints.md lists")  # fmt: skip
        first = ", ".join(sorted(arrays)[:3]) or "none"
        what = f"holds arrays that are not those of a known S5 model (first: {first})"
        raise UnknownNames(str(path), what)
    places = [place / ARGUMENTS_FILE for place in argument_directories]
    found = [file for file in places if file.is_file()][:1]
    known = known_options(found[0], read_arguments(found[0])) if found else LoadOptions()
    chooser = Chooser(options, known, ARGUMENTS_FILE, list(notes))
    model = convention.to_model(str(path), name, arrays, chooser)
    kind = container + convention.name
    return LoadedCheckpoint(model, kind, tuple(chooser.notes), (*files, *found))
