"""Networks of our own small netx files."""

import functools
import tempfile
from pathlib import Path

import netx_files
import numpy as np

from s5_to_loihi import netx
from s5_to_loihi.network.network import Network
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.netx.lower import lower
from s5_to_loihi.passes.pipeline import run_passes


@functools.cache
def network(name: str) -> Network:
    """One of ``netx_files.CASES``, compiled."""
    case = netx_files.CASES[name]()
    options = NetxOptions(**case.arguments, input_bias=case.bias)
    with tempfile.TemporaryDirectory() as folder:
        read = netx.read(netx_files.write(Path(folder) / f"{name}.net", case.layers), options)
    built, _ = lower(read, options, name)
    return run_passes(built)


def tokens(name: str) -> np.ndarray:
    """(tokens, 1, features) of a case."""
    case = netx_files.CASES[name]()
    return case.tokens.reshape(len(case.tokens), 1, -1).astype(np.int64)
