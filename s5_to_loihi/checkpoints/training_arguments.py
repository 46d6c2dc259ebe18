"""The arguments that Intel's code writes beside its checkpoints, as ``args.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.float_model import Discretization, GluVariant

ARGUMENTS_FILE = "args.json"

_Choice = TypeVar("_Choice", bound=Enum)


def read_arguments(path: Path) -> dict:
    """Read the arguments.

    Raises:
        CheckpointError: the file cannot be read, or is no JSON object.
    """
    arguments = read_json(
        path,
        error=CheckpointError,
        if_unreadable="Remove it",
        if_damaged="Remove or repair it",
    )
    if not isinstance(arguments, dict):
        raise CheckpointError(str(path), "is not a JSON object", "Remove or repair it")
    return arguments


def known_options(path: Path, arguments: Mapping) -> LoadOptions:
    """Return what the arguments say about a checkpoint.

    Args:
        path: of the file, for messages.
        arguments: from ``read_arguments``.

    Raises:
        CheckpointError: an argument that makes a model no loader knows, or a value of another type.
    """

    def flag(name: str) -> bool | None:
        value = arguments.get(name)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"{path}: {name}", f"is {value!r:.50}, not true or false")
        return value

    def choice(name: str, kind: type[_Choice]) -> _Choice | None:
        value = arguments.get(name)
        if value is not None and value not in list(kind):
            raise CheckpointError(f"{path}: {name}", f"is {value!r:.50}, which is unknown")
        return None if value is None else kind(value)

    if arguments.get("topk", 1.0) != 1.0:
        raise CheckpointError(
            f"{path}: topk",
            f"is {arguments['topk']!r:.50}: blocks that pass on their largest values only are not"
            " read",
            "Train with 1.0",
        )
    return LoadOptions(
        discretization=choice("discretization", Discretization),
        glu=choice("glu_variant", GluVariant),
        conjugate_symmetric=flag("conj_sym"),
        prenorm=flag("prenorm"),
        rectified=flag("relufication"),
        clip_eigenvalues=flag("clip_eigs"),
        pruning_sparsity=_pruning_sparsity(path, arguments.get("pruning")),
    )


def _pruning_sparsity(path: Path, recipe: object) -> float | None:
    if recipe is None:
        return None
    if recipe == "no_prune":
        return 0.0
    match = re.fullmatch(r"iterative-ste-mag-(0\.\d+)", str(recipe))
    if not match:
        raise CheckpointError(
            f"{path}: pruning", f"is {recipe!r:.50}, which is unknown", "Remove the file"
        )
    return float(match[1])
