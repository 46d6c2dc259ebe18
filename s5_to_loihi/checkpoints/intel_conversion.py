"""Intel's conversion: pickles of float parameters and calibration statistics.

Written by ``main.py --convert`` of IntelLabs/SparseRNNs (commit b623aea). Beside the parameters
lie the scales of its quantization and the ranges that its observers saw: both are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s5_to_loihi.checkpoints.containers import flat
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint, load_arrays
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.checkpoints.restricted_pickle import read_tree

#: What tells a fixed-point export, which is no float checkpoint, from a conversion.
EXPORT_FILE = "fxpmodel.pkl"
PARAMETERS_FILE, STATISTICS_FILE = "sc_calibrated_params.pkl", "sc_cal_stats.pkl"


def sniff(path: Path, start: bytes) -> bool:
    """Tell by names whether this is the directory of a conversion, or one of its two files."""
    if path.is_dir():
        return (path / PARAMETERS_FILE).exists()
    return path.name in (PARAMETERS_FILE, STATISTICS_FILE)


def load(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    """Load the model of a directory, or of that in which a file lies."""
    directory = path if path.is_dir() else path.parent
    arrays, files = read(directory)
    name, container = directory.resolve().name, "Intel conversion, "
    return load_arrays(directory, name, arrays, files, options, container, [directory])


def read(directory: Path) -> tuple[dict[str, np.ndarray], tuple[Path, ...]]:
    """Read parameters and batch norm statistics.

    Returns:
        Path, as in ``params/encoder/layers_0/mixer/B``, -> array; and the files that were read.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    files = (directory / PARAMETERS_FILE, directory / STATISTICS_FILE)
    parameters, statistics = (dict(flat(read_tree(file), "/")) for file in files)
    arrays = {f"params/{path}": array for path, array in parameters.items() if not _is_scale(path)}
    arrays |= {
        f"batch_stats/{path}": array
        for path, array in statistics.items()
        if path.endswith(("norm/mean", "norm/var"))
    }
    return arrays, files


def _is_scale(path: str) -> bool:
    *_, parent, name = f"/{path}".split("/")
    return (
        name in ("act_scale", "weight_scale", "out_scale")
        or "/quant_" in path
        or (name == "scale" and parent != "norm")
    )
