"""The golden vectors of ``tests/golden``: integers recorded from Intel's code, not from ours."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export import IntelExport, Recorded

SETS = (
    "simple",
    "batchnorm",
    "per_layer_exponents",
    "stress_simple",
    "denoiser_small",
    "denoiser_intel_size",
)
DIRECTORY = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True, eq=False)
class Golden:
    """One set.

    Attributes:
        params: int32 weights, nested by the parts of their path in the export; B is (P, H),
            C is (H, P), a dense weight is (in, out).
        qconfig: bits and exponents of the export, nested alike; the data-dependent exponents
            are only in ``formats``.
        formats: (bits, exponent) of every recorded tensor.
        tensors: every recorded tensor, int32 (T, n), by its path; ``INPUT_int`` goes in and
            ``OUTPUT_int`` comes out. The initial state is zero.
    """

    params: dict[str, Any]
    qconfig: dict[str, Any]
    formats: dict[str, tuple[int, int]]
    tensors: dict[str, np.ndarray]


def load(name: str) -> Golden:
    """Read one of ``SETS``."""
    description = json.loads((DIRECTORY / f"{name}.json").read_text())
    with np.load(DIRECTORY / f"{name}.npz") as arrays:
        weights = _below("weights/", arrays)
        tensors = _below("activations/", arrays)
    for alias, stored in description["aliases"].items():
        tensors[alias] = tensors[stored]
    formats = {
        tensor: (entry["bits"], entry["exp"]) for tensor, entry in description["exponents"].items()
    }
    return Golden(_nested(weights), description["export_qconfig"], formats, tensors)


def export(name: str, activations: bool = True) -> IntelExport:
    """One of ``SETS`` as if it had been read from the files of an export."""
    loaded = load(name)
    recorded = {
        tensor.removesuffix("_int"): Recorded(data[:, None], Format(*loaded.formats[tensor]))
        for tensor, data in loaded.tensors.items()
        if activations or tensor in ("INPUT_int", "OUTPUT_int")
    }
    return IntelExport(name, loaded.params, loaded.qconfig, recorded, activations, {}, ())


def _below(prefix: str, arrays: np.lib.npyio.NpzFile) -> dict[str, np.ndarray]:
    """The arrays whose key begins with the prefix, without it, as int32."""
    return {
        key.removeprefix(prefix): arrays[key].astype(np.int32)
        for key in arrays.files
        if key.startswith(prefix)
    }


def _nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """Turn keys 'a/b/c' into nested dicts."""
    tree: dict[str, Any] = {}
    for key, array in flat.items():
        *parents, leaf = key.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = array
    return tree
