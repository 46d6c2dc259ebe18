"""The public names exist, are the same for people and for type checkers, and cost nothing early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import s5_to_loihi

FACE = Path(s5_to_loihi.__file__)


def imported_for_type_checkers() -> dict[str, str]:
    """Public name -> module, of the imports that only type checkers execute."""
    found = {}
    for node in ast.walk(ast.parse(FACE.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("s5_to_loihi."):
            for name in node.names:
                found[name.asname or name.name] = node.module.removeprefix("s5_to_loihi.")
    return found


def test_type_checkers_see_what_people_get():
    found = imported_for_type_checkers()
    assert found.pop("__version__") == "version"
    assert found == s5_to_loihi._DEFINED_IN
    assert set(s5_to_loihi.__all__) == {"__version__", *found}


@pytest.mark.parametrize("name", s5_to_loihi.__all__)
def test_every_public_name_is_there_and_described(name):
    value = getattr(s5_to_loihi, name)
    assert name in dir(s5_to_loihi)
    assert name == "__version__" or value.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        s5_to_loihi.nothing  # noqa: B018


def test_the_face_imports_nothing_heavy():
    code = "import sys, s5_to_loihi; print(sorted({'numpy', 'scipy', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
