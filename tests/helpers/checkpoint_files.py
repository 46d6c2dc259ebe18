"""Checkpoints to load in tests: the recorded ones, and damaged or hostile variants of them."""

import shutil
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parents[1] / "data" / "checkpoints"


def flat_arrays(name: str = "intel_relu_full") -> dict[str, np.ndarray]:
    """The arrays of a small model in Intel's naming; H 6, P 4, 2 blocks, 5 in, 3 out."""
    with np.load(RECORDED / f"{name}.npz") as archive:
        return dict(archive)


def write_npz(path: Path, arrays: dict) -> Path:
    np.savez(path, **arrays)
    return path


def rewrite_zip(source: Path, target: Path, changed: dict[str, bytes], **options) -> Path:
    """Copy a zip archive with entries replaced or added; names begin after the first slash."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        root = old.namelist()[0].split("/")[0]
        entries = {entry: old.read(entry) for entry in old.namelist()}
        entries |= {f"{root}/{name}": content for name, content in changed.items()}
        for name, content in entries.items():
            new.writestr(name, content)
    return target


def copy_tree(name: str, target: Path) -> Path:
    shutil.copytree(RECORDED / name, target)
    return target


def assert_same_model(got: object, want: object, path: str = "model") -> None:
    """Exact equality of everything, arrays with their types."""
    assert type(got) is type(want), path
    if isinstance(want, np.ndarray):
        assert got.dtype == want.dtype, path
        np.testing.assert_array_equal(got, want, err_msg=path)
    elif is_dataclass(want):
        for field in fields(want):
            name = f"{path}.{field.name}"
            assert_same_model(getattr(got, field.name), getattr(want, field.name), name)
    elif isinstance(want, tuple):
        assert len(got) == len(want), path
        for index, (left, right) in enumerate(zip(got, want, strict=True)):
            assert_same_model(left, right, f"{path}[{index}]")
    else:
        assert got == want, path


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Norm of the difference / norm of ``want``, over all elements."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))
