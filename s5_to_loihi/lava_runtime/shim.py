"""Lets lava-nc 0.10.0 and lava-dl 0.6.0 run on today's Python and numpy.

``install`` repairs the text of a few modules while they are imported; the files of Lava stay as
they are.

* ``lava.magma.compiler.var_model`` gives dataclass fields an instance as default, which Python
  refuses since 3.11.
* ``lava.magma.core.process.ports.ports`` calls ``np.reshape(newshape=...)``, a name that numpy has
  not had since 2.4 (``shape`` since 2.1): ``reshape`` and ``flatten`` of any port failed.
* ``lava.lib.dl.netx.hdf5`` takes ``int`` of an array with one entry, which numpy refuses since
  2.4: no network whose input layer has a weight or a bias could be read.
* ``lava.lib.dl.slayer.object_detection.boundingbox.metrics`` calls ``np.trapz``, which has been
  ``np.trapezoid`` since 2.0 and gone since 2.4.
"""

import dataclasses
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source, find_spec
from pathlib import Path
from types import CodeType, ModuleType

import numpy as np

from s5_to_loihi.errors import LavaError

REPAIRED_MODULE = "lava.magma.compiler.var_model"
FIRST_PYTHON_TO_REPAIR = (3, 11)
#: Where ``np.reshape`` has the new name of its argument, and warns of the old one.
FIRST_NUMPY_TO_REPAIR = (2, 1)


def install() -> None:
    """Make Lava importable; safe to call more than once.

    Raises:
        LavaError: Lava is not installed; the message holds the pip commands for this Python.
    """
    if not is_installed():
        commands = " and ".join(f"`{command}`" for command in pip_commands(sys.version_info[:2]))
        raise LavaError("Lava", "lava-nc is not installed", f"Install it with {commands}")
    waiting = {name: change for name, change in repairs().items() if name not in sys.modules}
    if waiting and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(waiting))


def is_installed() -> bool:
    """Tell whether lava-nc can be found, without importing any of it."""
    spec = find_spec("lava")
    # Any directory called "lava" is a package to Python, hence the look for one of its files.
    file = Path(*REPAIRED_MODULE.split(".")[1:]).with_suffix(".py")
    folders = spec.submodule_search_locations if spec is not None else None
    return any(Path(folder, file).is_file() for folder in folders or ())


def pip_commands(python_version: tuple[int, int]) -> tuple[str, ...]:
    """Return the commands that install Lava on a Python given as (major, minor)."""
    pip = f"{sys.executable} -m pip install"
    if python_version < FIRST_PYTHON_TO_REPAIR:
        return (f"{pip} lava-nc==0.10.0",)
    return (f"{pip} --no-deps --ignore-requires-python lava-nc==0.10.0",)


def repair(source: str) -> str:
    """Return the source with every shared default made a factory, line numbers unchanged."""
    return source.replace("= ByteEncoder()", "= field(default_factory=ByteEncoder)")


def repair_reshape(source: str) -> str:
    """Return the source with numpy's present name of the argument, line numbers unchanged."""
    return source.replace("np.reshape, newshape=", "np.reshape, shape=")


def repair_integers(source: str) -> str:
    """Return the source with single entries taken out of their arrays, line numbers unchanged."""
    for name in ("weight", "bias"):
        entry = f"layer_config['{name}']"
        source = source.replace(f"int({entry})", f"int(__import__('numpy').ravel({entry})[0])")
    return source


def repair_trapezoid(source: str) -> str:
    """Return the source with numpy's present name of the function, line numbers unchanged."""
    return source.replace("np.trapz(", "np.trapezoid(")


def repairs() -> dict[str, Callable[[str], str]]:
    """Return module -> what repairs its text, of those that fail on this Python and numpy."""
    found: dict[str, Callable[[str], str]] = {}
    if sys.version_info >= FIRST_PYTHON_TO_REPAIR:
        found[REPAIRED_MODULE] = repair
    if tuple(int(part) for part in np.__version__.split(".")[:2]) >= FIRST_NUMPY_TO_REPAIR:
        found["lava.magma.core.process.ports.ports"] = repair_reshape
        found["lava.lib.dl.netx.hdf5"] = repair_integers
        metrics = "lava.lib.dl.slayer.object_detection.boundingbox.metrics"
        found[metrics] = repair_trapezoid
    return found


class _Finder(MetaPathFinder):
    """Finds the modules to repair and leaves every other to the usual finders."""

    def __init__(self, changes: dict[str, Callable[[str], str]]):
        self._changes = changes

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname not in self._changes:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self._changes[fullname])
        return spec


class _Loader(SourceFileLoader):
    """Compiles the repaired source, every time."""

    def __init__(self, fullname: str, path: str, change: Callable[[str], str]):
        super().__init__(fullname, path)
        self._change = change

    def get_code(self, fullname: str) -> CodeType:
        # The inherited method would take the unrepaired bytecode that pip left in __pycache__.
        source = decode_source(self.get_data(self.path))
        return self.source_to_code(self._change(source), self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["field"] = dataclasses.field
        super().exec_module(module)
