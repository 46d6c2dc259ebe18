"""Runs scripts with the recording stand-in of Lava's extension, where the real one is not."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from s5_to_loihi.lava_runtime import shim as lava_shim

HELPERS = Path(__file__).parent
STAND_IN = HELPERS / "recording_extension"


def is_installed() -> bool:
    """Whether the real extension is there, found without importing anything of Lava."""
    if not lava_shim.is_installed():
        return False
    places = find_spec("lava").submodule_search_locations
    return any(Path(place, "magma/core/model/nc").exists() for place in places)


def run(script: str, *arguments, stand_in: bool = True, **variables: str):
    """Run a script of the helpers; returns the finished process."""
    path = [str(HELPERS.parents[1]), *([str(STAND_IN)] if stand_in else [])]
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*path, *([inherited] if inherited else [])]),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-W", "error", str(HELPERS / script), *map(str, arguments)],
        capture_output=True, text=True, timeout=200, check=False, env=environment,
    )  # fmt: skip
