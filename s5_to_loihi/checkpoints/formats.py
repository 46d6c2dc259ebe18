"""The formats of float checkpoints, one entry each: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi.checkpoints import (
    description,
    flax_msgpack,
    intel_conversion,
    numpy_archive,
    orbax,
    safetensors_file,
    torch_archive,
)
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint, of_file
from s5_to_loihi.checkpoints.options import LoadOptions


@dataclass(frozen=True)
class CheckpointFormat:
    """A format of float checkpoints.

    Attributes:
        name: for people, in the plural; what can be stored in two ways has one name for both.
        sniff: tells by a path and the first bytes of the file, which are empty for a directory,
            whether it is such a checkpoint, damaged or not.
        read: loads it with the user's options, or raises CheckpointError.
        suffixes: that the names of its files have.
    """

    name: str
    sniff: Callable[[Path, bytes], bool]
    read: Callable[[Path, LoadOptions], LoadedCheckpoint]
    suffixes: tuple[str, ...] = ()


_OWN = "this project's own model.yaml with a .safetensors file"
_TORCH = ".pt, .ckpt and .safetensors files of s5-pytorch"
_NUMPY = ".npz files of Flax parameters"
_CONVERSION = f"directories of Intel's conversion ({intel_conversion.PARAMETERS_FILE})"
_ORBAX = (
    "Orbax directories of Intel's SparseRNNs and lindermanlab/S5 (of a run, an epoch or a state)"
)

#: The first whose ``sniff`` says yes is it.
FORMATS = (
    CheckpointFormat(_OWN, description.sniff, description.load),
    CheckpointFormat(
        _TORCH, safetensors_file.sniff, of_file(safetensors_file.read), (".safetensors",)
    ),
    CheckpointFormat(
        _TORCH, torch_archive.sniff, of_file(torch_archive.read), (".pt", ".pth", ".ckpt")
    ),
    CheckpointFormat(_NUMPY, numpy_archive.sniff, of_file(numpy_archive.read), (".npz",)),
    CheckpointFormat(
        "Flax msgpack files", flax_msgpack.sniff, of_file(flax_msgpack.read), (".msgpack",)
    ),
    CheckpointFormat(_CONVERSION, intel_conversion.sniff, intel_conversion.load),
    CheckpointFormat(_ORBAX, orbax.sniff, orbax.load),
)


def known_formats() -> str:
    """Return what there is to give instead, for the end of an error."""
    *names, last = dict.fromkeys(known.name for known in reversed(FORMATS))
    return f"Known are: {'; '.join(names)}; and {last}"
