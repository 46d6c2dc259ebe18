"""Typed access to what an export's pickles hold, with errors that name the entry."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from s5_to_loihi.checkpoints.parameters import fits
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.intel_export.model import Dense, Tensor

#: Exponents that can be meant: 16-bit tensors use 0 to 15; the rule for data-dependent ones may go
#: below zero. Within these, no alignment of 16-bit operands leaves 64 bits.
LOWEST_EXPONENT, LARGEST_EXPONENT = -16, 31


def integers(where: str, value: object) -> np.ndarray:
    """Return an array that holds integers within int64; ``where`` names it in errors."""
    if not isinstance(value, np.ndarray):
        raise CheckpointError(where, f"is a {type(value).__name__}, not an array")
    if value.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(value)))
        raise CheckpointError(
            where,
            f"holds {bad} NaN or infinite values" if bad else f"holds {value.dtype}, not integers",
            "Export again with the fixed-point model",
        )
    if value.dtype.kind not in "iu":
        raise CheckpointError(where, f"holds {value.dtype}, not integers")
    # Everything is computed in int64, where a larger one would turn into another number.
    if value.dtype == np.uint64 and value.size and value.max() > np.iinfo(np.int64).max:
        raise CheckpointError(where, f"holds {value.max()}, more than 64 bits with a sign")
    return value


def checked_integer(where: str, value: Any, lowest: int, highest: int) -> int:
    """Return a whole number, of any type, that lies in ``lowest..highest``."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    whole = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not whole or value != value or value in (np.inf, -np.inf) or int(value) != value:
        shown = reprlib.repr(value)
        raise CheckpointError(where, f"is {shown}, not an integer", "Export again")
    if not lowest <= value <= highest:
        raise CheckpointError(where, f"is {int(value)} (allowed {lowest}..{highest})")
    return int(value)


class Entries:
    """Typed access to the two trees of ``fxpmodel.pkl``, with errors that name the entry."""

    def __init__(self, where: str, params: Mapping, qconfig: Mapping):
        """Wrap the trees; ``where`` names the file in errors."""
        self.where = where
        self._trees = {"params": params, "qconfig": qconfig}

    def error(self, path: str, what: str, do: str = "Export again") -> CheckpointError:
        """Return the error that says what is wrong at a path."""
        return CheckpointError(f"{self.where}: {path}", what, do)

    def get(self, tree: str, path: str) -> Any:
        """Return what lies at a path, as in ``encoder/layers_0/mixer``, of one of the trees."""
        node: Any = self._trees[tree]
        for key in path.split("/"):
            if not isinstance(node, dict) or key not in node:
                raise CheckpointError(self.where, f"{tree} has no entry '{path}'", "Export again")
            node = node[key]
        return node

    def keys(self, path: str) -> tuple[str, ...]:
        """Return the names below a path of the parameters."""
        entry = self.get("params", path)
        if not isinstance(entry, dict):
            raise CheckpointError(self.where, f"'{path}' is not a dictionary", "Export again")
        return tuple(map(str, entry))

    def format(self, path: str) -> Format:
        """Read ``path_bits`` and ``path_exp``."""
        bits, exponent = (self.get("qconfig", f"{path}_{part}") for part in ("bits", "exp"))
        return Format(
            checked_integer(f"{self.where}: {path}_bits", bits, 2, 24),
            checked_integer(f"{self.where}: {path}_exp", exponent, 0, LARGEST_EXPONENT),
        )

    def tensor(self, path: str, shape: tuple[int | None, ...], negated: bool = False) -> Tensor:
        """Read an integer tensor with its format; ``negated`` if the file holds its negative."""
        data = integers(f"{self.where}: {path}", self.get("params", path))
        expected = tuple("any" if size is None else size for size in shape)
        if not fits(data.shape, shape):
            raise self.error(path, f"has shape {data.shape}, expected {expected}")
        if 0 in data.shape:
            raise self.error(path, f"is empty (shape {data.shape})")
        data = -data.astype(np.int64) if negated else data.astype(np.int64)
        target = self.format(path)
        lowest, highest = limits(target.bits)
        if data.min() < lowest or data.max() > highest:
            lies = f"lies in {data.min()}..{data.max()}"
            raise self.error(path, f"{lies} (limit {lowest}..{highest}, {target.bits} bits)")
        return Tensor(data, target)

    def dense(self, path: str, width: int | None) -> Dense:
        """Read a dense map; ``width`` inputs, any number if None. Stored (in, out)."""
        weight = self.tensor(f"{path}/weight", (width, None))
        outputs = weight.data.shape[1]
        result = self.format(f"{path}/out")
        bias = Tensor(np.zeros(outputs, dtype=np.int64), result)
        if "bias" in self.keys(path):
            bias = self.tensor(f"{path}/bias", (outputs,))
        return Dense(replace(weight, data=weight.data.T), bias, self.format(f"{path}/inp"), result)
