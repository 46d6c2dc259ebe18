"""Lets lava-nc 0.10.0 be imported on Python 3.11 and later.

Its module ``lava.magma.compiler.var_model`` gives dataclass fields an instance as default, which
Python refuses since 3.11. ``install`` repairs the text of that one module while it is imported;
the files of Lava stay as they are.
"""

import dataclasses
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source, find_spec
from pathlib import Path
from types import CodeType, ModuleType

from s5_to_loihi.errors import LavaError

REPAIRED_MODULE = "lava.magma.compiler.var_model"
FIRST_PYTHON_TO_REPAIR = (3, 11)


def install() -> None:
    """Make Lava importable; safe to call more than once.

    Raises:
        LavaError: Lava is not installed; the message holds the pip commands for this Python.
    """
    if not is_installed():
        commands = " and ".join(f"`{command}`" for command in pip_commands(sys.version_info[:2]))
        raise LavaError("Lava", "lava-nc is not installed", f"Install it with {commands}")
    if sys.version_info < FIRST_PYTHON_TO_REPAIR or REPAIRED_MODULE in sys.modules:
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


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


class _Finder(MetaPathFinder):
    """Finds the one module to repair and leaves every other to the usual finders."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname != REPAIRED_MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Compiles the repaired source, every time."""

    def get_code(self, fullname: str) -> CodeType:
        # The inherited method would take the unrepaired bytecode that pip left in __pycache__.
        source = decode_source(self.get_data(self.path))
        return self.source_to_code(repair(source), self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["field"] = dataclasses.field
        super().exec_module(module)
