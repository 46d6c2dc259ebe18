"""Marks of tests that need what is not installed everywhere; each says how to get it."""

import importlib.util
import shutil

import extension
import pytest

from s5_to_loihi.lava_runtime import shim as lava_shim

needs_lava = pytest.mark.skipif(
    not lava_shim.is_installed(), reason="lava-nc is not installed (make test installs it)"
)
#: The stand-in of Lava's closed extension must never hide the real one.
no_extension = pytest.mark.skipif(extension.is_installed(), reason="the extension is installed")
needs_stand_in = [needs_lava, no_extension]
needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="gcc is not installed (apt install gcc)"
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is not installed (pip install 's5_to_loihi[train]')",
)
needs_h5py = pytest.mark.skipif(
    importlib.util.find_spec("h5py") is None,
    reason="h5py is not installed (pip install 's5_to_loihi[netx]')",
)
