"""Writes pickles as IntelLabs/SparseRNNs writes them, byte for byte, without jax or that package.

The names in such a file (a jax function, Intel's classes) have to exist while Python's pickler
writes it: stand-ins take their places in ``sys.modules`` for that time only.
"""

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import cast
from unittest import mock

import numpy as np


class FxpArray:
    """Stand-in for Intel's class: its name and its fields, in their order."""

    def __init__(self, data: np.ndarray, bits: int, exponent: int, signed: bool):
        self.data = data
        self.bits = bits
        self.exp = exponent
        self.signed = signed


class ComplexFxpArray:
    """Stand-in for Intel's class: its name and its fields, in their order."""

    def __init__(self, real: FxpArray, imag: FxpArray):
        self.real = real
        self.imag = imag


def _reconstruct_array():
    """Stand-in for jax's function."""


def _reconstruct():
    """Stand-in for numpy's function under the name of numpy 1, which Intel's exports refer to."""


_STAND_INS = {
    "sparseRNNs.fxparray": (FxpArray, ComplexFxpArray),
    "jax._src.array": (_reconstruct_array,),
    "numpy.core.multiarray": (_reconstruct,),
}
for _module_name, _objects in _STAND_INS.items():
    for _object in _objects:
        _object.__module__ = _module_name


def fxp_array(data: np.ndarray, bits: int, exponent: int, signed: bool = True) -> FxpArray:
    """The fixed-point array data * 2^-exponent, as Intel's code would pickle it."""
    return FxpArray(data, bits, exponent, signed)


def complex_fxp_array(real: FxpArray, imag: FxpArray) -> ComplexFxpArray:
    """The complex fixed-point array of two real ones, as Intel's code would pickle it."""
    return ComplexFxpArray(real, imag)


def write_pickle(path: Path, tree: object) -> None:
    """Write a tree (protocol 4); its numpy arrays come out as jax arrays."""
    with mock.patch.dict(sys.modules, _stand_in_modules()), path.open("wb") as file:
        _Pickler(file, protocol=4).dump(tree)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> tuple:
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        _, arguments, state = cast(tuple, obj.__reduce__())
        return _reconstruct_array, (_reconstruct, arguments, state, {"weak_type": False})


def _stand_in_modules() -> dict[str, ModuleType]:
    modules = {}
    for module_name, objects in _STAND_INS.items():
        modules[module_name] = ModuleType(module_name)
        vars(modules[module_name]).update(getattr(sys.modules.get(module_name), "__dict__", {}))
        for stand_in in objects:
            setattr(modules[module_name], stand_in.__name__, stand_in)
        package = module_name.partition(".")[0]
        modules[package] = sys.modules.get(package, ModuleType(package))
    return modules
