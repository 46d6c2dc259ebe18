"""The benchmark of the quantizer as a module: what it compares with, tests compare with too."""

import functools
import importlib.util
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "quantization.py"


@functools.cache
def quantization():
    spec = importlib.util.spec_from_file_location("quantization_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
