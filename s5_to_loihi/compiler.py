"""From a checkpoint to a bundle: load, lower, run the passes, attach the vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from s5_to_loihi.bundle import Bundle, source_digest
from s5_to_loihi.checkpoints import intel_export
from s5_to_loihi.checkpoints.intel_export import Options
from s5_to_loihi.network.network import Network
from s5_to_loihi.passes.pipeline import run_passes


def compile_export(
    directory: Path,
    options: Options = Options(),
    name: str | None = None,
    observe: Callable[[str, Network], None] = lambda step, network: None,
) -> Bundle:
    """Compile Intel's fixed-point export.

    Args:
        directory: where its pickles lie.
        options: what the export does not say.
        name: the network's name; by default the directory's.
        observe: called after every pass with its name and the network.

    Returns:
        A bundle with all recorded vectors; see ``Vectors.first`` to shorten them.

    Raises:
        CheckpointError: the export cannot be read or compiled.
        CapacityError: the network exceeds a width of the chip.
    """
    export = intel_export.read(directory)
    model, notes = intel_export.to_model(export, options)
    network = run_passes(replace(model, name=name or export.name), observe=observe)
    vectors, more_notes = intel_export.to_vectors(export, network)
    source = {
        "format": "Intel SparseRNNs fixed-point export",
        "name": export.name,
        "files": ", ".join(file.name for file in export.files),
        "sha256": source_digest(export.files),
    }
    return Bundle(network, vectors, source, tuple(notes + more_notes))
