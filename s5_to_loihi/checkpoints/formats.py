"""The formats of float checkpoints, one entry each: a new one is a file and a line here."""

from __future__ import annotations

from s5_to_loihi.checkpoints import (
    description,
    flax_msgpack,
    intel_conversion,
    numpy_archive,
    orbax,
    s5_pytorch,
    safetensors_file,
    torch_archive,
)
from s5_to_loihi.checkpoints.checkpoint import CheckpointFormat
from s5_to_loihi.checkpoints.named_arrays import of_file

#: The first whose ``sniff`` says yes is it.
FORMATS = (
    CheckpointFormat(
        "this project's own model.yaml with a .safetensors file",
        description.sniff,
        description.load,
    ),
    CheckpointFormat(
        s5_pytorch.CHECKPOINTS,
        safetensors_file.sniff,
        of_file(safetensors_file.read),
        (".safetensors",),
    ),
    CheckpointFormat(
        s5_pytorch.CHECKPOINTS, torch_archive.sniff, of_file(torch_archive.read), (".pt",)
    ),
    CheckpointFormat(
        ".npz files of Flax parameters", numpy_archive.sniff, of_file(numpy_archive.read), (".npz",)
    ),
    CheckpointFormat(
        "Flax msgpack files", flax_msgpack.sniff, of_file(flax_msgpack.read), (".msgpack",)
    ),
    CheckpointFormat(
        f"directories of Intel's conversion ({intel_conversion.PARAMETERS_FILE})",
        intel_conversion.sniff,
        intel_conversion.load,
    ),
    CheckpointFormat(
        "Orbax directories of Intel's SparseRNNs and lindermanlab/S5 (of a run, an epoch or a"
        " state)",
        orbax.sniff,
        orbax.load,
    ),
)


def known_formats() -> str:
    """Return the names of all formats as one text."""
    *names, last = dict.fromkeys(known.name for known in reversed(FORMATS))
    return "; ".join(names) + f"; and {last}"
