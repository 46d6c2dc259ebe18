"""The import repair, on a stand-in for Lava and, where it is installed, on Lava itself."""

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from needs import needs_lava

from s5_to_loihi.errors import LavaError
from s5_to_loihi.lava_runtime import shim as lava_shim

PACKAGE_ROOT = Path(lava_shim.__file__).parents[2]
BROKEN_MODULE = """\
from dataclasses import dataclass


@dataclass
class ByteEncoder:
    value: int = 0


@dataclass
class PairEncoder:
    left: ByteEncoder = ByteEncoder()
    right: ByteEncoder = ByteEncoder()
"""
USE_STAND_IN = """
import sys
from s5_to_loihi.lava_runtime import shim as lava_shim
assert lava_shim.is_installed()
assert not any(name.split(".")[0] == "lava" for name in sys.modules)
finders = len(sys.meta_path)
lava_shim.install()
lava_shim.install()
added = len(sys.meta_path) - finders
assert added == (1 if lava_shim.repairs() else 0), added
from lava.magma.compiler import other, var_model
lava_shim.install()
assert other.VALUE == 5
first, second = var_model.PairEncoder(), var_model.PairEncoder()
assert first == second
if sys.version_info >= (3, 11):
    assert first.left is not second.left
"""
USE_LAVA = """
from s5_to_loihi.lava_runtime import shim as lava_shim
lava_shim.install()
from lava.magma.core.run_configs import Loihi2SimCfg
import lava.proc.sparse.process, lava.magma.compiler.compiler, lava.magma.runtime.runtime
from lava.magma.compiler.var_model import AxonEncoder
assert AxonEncoder() == AxonEncoder()
print(Loihi2SimCfg.__name__)
"""


def run_python(code: str, *search_path: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, search_path))}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """A package tree with the fault of Lava, in namespace packages as there."""
    folder = tmp_path / "lava" / "magma" / "compiler"
    folder.mkdir(parents=True)
    (folder / "var_model.py").write_text(BROKEN_MODULE)
    (folder / "other.py").write_text("VALUE = 5\n")
    return tmp_path


def assert_runs(code: str, *search_path: Path) -> str:
    result = run_python(code, *search_path)
    assert result.returncode == 0, result.stderr
    return result.stdout


def hide_installed_lava(stand_in: Path) -> None:
    """Namespace packages of one name merge; a regular one in front hides the others."""
    for folder in ("lava", "lava/magma", "lava/magma/compiler"):
        (stand_in / folder / "__init__.py").touch()


def test_stand_in_is_repaired(stand_in):
    hide_installed_lava(stand_in)
    assert_runs(USE_STAND_IN, stand_in, PACKAGE_ROOT)


def test_bytecode_made_by_pip_is_not_used(stand_in):
    hide_installed_lava(stand_in)
    assert_runs(f"import compileall; assert compileall.compile_dir({str(stand_in)!r}, quiet=1)")
    assert_runs(USE_STAND_IN, stand_in, PACKAGE_ROOT)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="imports without repair")
def test_stand_in_has_the_fault(stand_in):
    hide_installed_lava(stand_in)
    result = run_python("import lava.magma.compiler.var_model", stand_in)
    assert "mutable default" in result.stderr


def test_repair_keeps_line_numbers():
    repaired = lava_shim.repair(BROKEN_MODULE)
    assert repaired.count("field(default_factory=ByteEncoder)") == 2
    assert "= ByteEncoder()" not in repaired
    assert len(repaired.splitlines()) == len(BROKEN_MODULE.splitlines())


def test_other_directory_called_lava_does_not_count(tmp_path, monkeypatch):
    spec = ModuleSpec("lava", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(lava_shim, "find_spec", lambda name: spec)
    assert not lava_shim.is_installed()


def test_commands_suit_the_python_version():
    pip = f"{sys.executable} -m pip install"
    assert lava_shim.pip_commands((3, 10)) == (f"{pip} lava-nc==0.10.0",)
    for version in ((3, 11), (3, 13)):
        assert lava_shim.pip_commands(version) == (
            f"{pip} --no-deps --ignore-requires-python lava-nc==0.10.0",
        )


def test_missing_lava_is_an_error_that_says_how_to_install_it(monkeypatch):
    finders = list(sys.meta_path)
    monkeypatch.setattr(lava_shim, "is_installed", lambda: False)
    with pytest.raises(LavaError, match=r"lava-nc is not installed.*pip install.*lava-nc==0\.10"):
        lava_shim.install()
    assert sys.meta_path == finders


RESHAPING = """
from s5_to_loihi.lava_runtime import shim as lava_shim
lava_shim.install()
import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.ports.ports import ReshapePort
port = ReshapePort(new_shape=(6,), old_shape=(2, 3))
there, back = port.get_transform_func_fwd(), port.get_transform_func_bwd()
data = np.arange(6).reshape(2, 3)
assert np.array_equal(there(data), np.arange(6))
assert np.array_equal(back(there(data)), data)
"""


@needs_lava
def test_ports_of_lava_reshape_with_any_numpy():
    assert_runs(RESHAPING, PACKAGE_ROOT)


def test_integers_of_arrays_with_one_entry_are_repaired():
    source = "weight = int(layer_config['weight'])\nbias = int(layer_config['bias'])\n"
    found: dict = {}
    layer = {"weight": np.array([36.0]), "bias": np.float32(-2)}
    exec(lava_shim.repair_integers(source), {"layer_config": layer}, found)
    assert found == {"weight": 36, "bias": -2}


@needs_lava
def test_lava_itself_can_be_imported():
    assert assert_runs(USE_LAVA, PACKAGE_ROOT) == "Loihi2SimCfg\n"
