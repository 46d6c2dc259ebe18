"""Intel's fixed-point export: five pickles of integers, written by ``fxprun.py --export``.

Read without jax and without Intel's package. Format: IntelLabs/SparseRNNs, commit b623aea,
``fxpmodel.py`` and ``fxprun.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi.checkpoints.intel_conversion import EXPORT_FILE as MODEL_FILE
from s5_to_loihi.checkpoints.restricted_pickle import ComplexFxpArray, FxpArray, read_tree
from s5_to_loihi.checkpoints.training_arguments import ARGUMENTS_FILE, read_arguments
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export.entries import (
    LARGEST_EXPONENT,
    LOWEST_EXPONENT,
    checked_integer,
    integers,
)

ACTIVATIONS_FILE = "fxpmodel_activations.pkl"
IO_FILE = "fxpmodel_io.pkl"
QCONFIG_FILE = "fxpmodel_fxp_qconfig.pkl"
FLOATS_FILE = "fxpmodel_modeldict.pkl"


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded tensor.

    Attributes:
        data: (tokens, batch, features) integers.
        format: its format.
    """

    data: np.ndarray
    format: Format


@dataclass(frozen=True, eq=False)
class IntelExport:
    """The contents of an export directory.

    Attributes:
        name: the directory's name.
        params: nested dict of int32 arrays in natural orientation: B (P, H), C (H, P), dense
            (in, out).
        qconfig: nested dict of bits and exponents.
        recorded: Intel's name -> recorded tensor; complex ones as ``.real`` and ``.imag``.
        has_activations: whether the intermediate tensors were there.
        arguments: of the training run; empty if there is no such file.
        files: the files that were read.
    """

    name: str
    params: Mapping
    qconfig: Mapping
    recorded: Mapping[str, Recorded]
    has_activations: bool
    arguments: Mapping
    files: tuple[Path, ...]


def read(directory: Path) -> IntelExport:
    """Read an export directory.

    All five pickles are read if they are there; ``fxpmodel.pkl`` and one of the activations and
    input/output files are needed.

    Raises:
        CheckpointError: a file is missing, damaged, or holds what it has no reason to hold.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(
            str(directory),
            "is not a directory" if directory.exists() else "does not exist",
            f"Give the directory that holds {MODEL_FILE}",
        )
    found = {
        name: directory / name
        for name in (MODEL_FILE, ACTIVATIONS_FILE, IO_FILE, QCONFIG_FILE, FLOATS_FILE)
        if (directory / name).exists()
    }
    if MODEL_FILE not in found:
        raise CheckpointError(
            str(directory),
            f"holds no {MODEL_FILE}",
            "Give the directory that Intel's 'fxprun.py --export' wrote (its --data_dir)",
        )
    if ACTIVATIONS_FILE not in found and IO_FILE not in found:
        raise CheckpointError(
            str(directory),
            f"holds neither {ACTIVATIONS_FILE} nor {IO_FILE}; the exponents of batch norm and"
            " residual follow from the data and are in no other file",
            "Copy one of them beside the model",
        )
    trees = {name: read_tree(path) for name, path in found.items()}
    recorded: dict[str, Recorded] = {}
    if ACTIVATIONS_FILE in trees:
        path = found[ACTIVATIONS_FILE]
        recorded |= _flatten(path, _child(path, trees[ACTIVATIONS_FILE], "intermediates"))
    if IO_FILE in trees:
        path = found[IO_FILE]
        recorded |= {
            label: _recorded(path, key, _child(path, trees[IO_FILE], key))
            for label, key in (("INPUT", "input"), ("OUTPUT", "output"))
        }
    model = trees[MODEL_FILE]
    arguments_path = directory / ARGUMENTS_FILE
    return IntelExport(
        name=directory.resolve().name,
        params=_child(found[MODEL_FILE], model, "params"),
        qconfig=_child(found[MODEL_FILE], model, "qconfig"),
        recorded=recorded,
        has_activations=ACTIVATIONS_FILE in trees,
        arguments=read_arguments(arguments_path) if arguments_path.exists() else {},
        files=tuple(found.values()),
    )


def _child(path: Path, tree: object, key: str) -> Any:
    if not isinstance(tree, dict) or key not in tree:
        raise CheckpointError(str(path), f"has no entry '{key}'", "Export again")
    return tree[key]


def _flatten(path: Path, tree: object, prefix: str = "") -> dict[str, Recorded]:
    if isinstance(tree, ComplexFxpArray):
        return {
            f"{prefix}.{part}": _recorded(path, f"{prefix}.{part}", getattr(tree, part))
            for part in ("real", "imag")
        }
    if not isinstance(tree, dict):
        return {prefix: _recorded(path, prefix, tree)}
    flat: dict[str, Recorded] = {}
    for key, value in tree.items():
        flat |= _flatten(path, value, f"{prefix}/{key}" if prefix else str(key))
    return flat


def _recorded(path: Path, name: str, value: object) -> Recorded:
    where = f"{path}: {name}"
    if not isinstance(value, FxpArray):
        raise CheckpointError(where, f"is a {type(value).__name__}, not a fixed-point array")
    data = integers(where, value.data)
    if data.ndim not in (2, 3) or 0 in data.shape:
        raise CheckpointError(
            where, f"has shape {data.shape}, not (batch, time, features) or (time, features)"
        )
    batched = data if data.ndim == 3 else data[None]
    bits = checked_integer(f"{where}.bits", value.bits, 1, 64)
    exponent = checked_integer(f"{where}.exp", value.exp, LOWEST_EXPONENT, LARGEST_EXPONENT)
    return Recorded(batched.transpose(1, 0, 2), Format(bits, exponent))


def recorded_input(export: IntelExport) -> np.ndarray:
    """Return the tokens (tokens, batch, features) int64 that were recorded (CheckpointError)."""
    for name in ("INPUT", "encoder/pre_encoder"):
        if name in export.recorded:
            return export.recorded[name].data.astype(np.int64)
    raise CheckpointError(export.name, "no file holds the recorded input", f"Add {IO_FILE}")
