"""From a checkpoint to a bundle: load, quantize or lower, run the passes, attach the vectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from s5_to_loihi import intel_export
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.magnitude_pruning import pruned
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.inputs import Data, arranged, cut_for_mean
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.simulators.interpreter import Interpreter

if TYPE_CHECKING:
    from s5_to_loihi.quantization.report import QuantizationReport

#: Held-out tokens and sequences whose integers a bundle of our own keeps to verify with.
VECTOR_TOKENS, VECTOR_SEQUENCES = 128, 2


def compile_export(
    directory: str | os.PathLike[str],
    options: ExportOptions = ExportOptions(),
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
    network = run_passes(lower(replace(model, name=name or export.name)), observe=observe)
    vectors, more_notes = intel_export.to_vectors(export, network)
    source = {
        "format": "Intel SparseRNNs fixed-point export",
        "name": export.name,
        "files": ", ".join(file.name for file in export.files),
        "sha256": source_digest(export.files),
    }
    return Bundle(network, vectors, source, tuple(notes + more_notes))


@dataclass(frozen=True, eq=False)
class Quantization:
    """A float checkpoint turned into integers.

    Attributes:
        bundle: the network; its vectors are what our interpreter computes for held-out data.
        report: what was lost, and what is proven.
        original: the checkpoint's float model.
        model: the float model that the integers stand for: pruned if that was asked for.
        held_out: (T, N, F) float64, the data that the report is about.
    """

    bundle: Bundle
    report: QuantizationReport
    original: S5Model
    model: S5Model
    held_out: np.ndarray


def quantize(
    checkpoint: str | os.PathLike[str],
    calibration: np.ndarray | Data,
    *,
    held_out: np.ndarray | Data | None = None,
    precision: Precision = Precision(),
    options: LoadOptions = LoadOptions(),
    sparsity: float | None = None,
    sequence_length: int | None = None,
    name: str | None = None,
    force: bool = False,
    where: tuple[str, str] = ("calibration data", "held-out data"),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    observe: Callable[[str, Network], None] = lambda step, network: None,
) -> Quantization:
    """Quantize a float checkpoint on calibration data.

    Args:
        checkpoint: a file or directory, see ``docs/checkpoints.md``.
        calibration: (T, F) or (T, N, F) values, floats or integers (3 is 3.0); sequences start from
            a zero state.
        held_out: the same, to measure with; by default the last fifth of ``calibration``.
        precision: bits of all tensors.
        options: what the checkpoint does not say.
        sparsity: share of zeros in all weights to prune the model to first, by magnitude and
            without training; None leaves it as it is.
        sequence_length: tokens a sequence, for the readout ``mean``; by default those of the data.
        name: the network's name; by default the checkpoint's.
        force: accept a network all of whose outputs are constant.
        where: what to call the calibration data and the held-out ones in an error.
        on_progress: called with groups done and in all.
        observe: called after every pass with its name and the network.

    Raises:
        CheckpointError: the checkpoint cannot be read, has no integer form, or is dead.
        InputError: the data are not fit to calibrate with, or bits are not allowed.
        CapacityError: something does not fit its register.
    """
    # Compiled loops, which an export need not wait for.
    from s5_to_loihi.quantization.calibration import calibration_and_held_out
    from s5_to_loihi.quantization.folding import fold
    from s5_to_loihi.quantization.quantizer import quantize_folded
    from s5_to_loihi.quantization.report import report

    loaded = load(checkpoint, options)
    original = replace(loaded.model, name=name or loaded.model.name)
    model, notes = original, loaded.notes
    if sparsity is not None:
        model = pruned(model, sparsity)
        notes = (*notes, f"pruned by magnitude to a total sparsity of {sparsity:g}")
    folded = fold(model)
    typical = _sequences(model, calibration, where[0], sequence_length)
    length = sequence_length or len(typical.values)
    rest = None if held_out is None else _sequences(model, held_out, where[1], length)
    data, measured = calibration_and_held_out(
        folded, typical.values, None if rest is None else rest.values, where
    )
    notes = (*notes, *typical.notes, *(() if rest is None else rest.notes))
    quantized = quantize_folded(folded, data, precision, len(data), on_progress, observe)
    findings = report(model, quantized, data, measured)
    if findings.constant_outputs == findings.outputs and not force:
        raise CheckpointError(
            str(checkpoint),
            f"is dead: none of its {findings.outputs} outputs changes over"
            f" {findings.held_out_tokens:,} tokens",
            "Give more bits, calibrate with typical data, or force it (--force)",
        )
    network = quantized.network
    bundle = Bundle(
        network=network,
        vectors=_own_vectors(network, measured),
        source=loaded.source,
        notes=(*notes, *quantized.notes),
    )
    return Quantization(bundle, findings, original, model, measured)


def _sequences(
    model: S5Model, data: np.ndarray | Data, where: str, sequence_length: int | None
) -> Data:
    """Return data as (T, N, F), sequences of the length that a mean is of."""
    if not isinstance(data, Data):
        # The axes of an array are documented; only a mean's length can speak against them.
        length = sequence_length if model.readout is Readout.MEAN else None
        data = replace(arranged(data, where, length=length), notes=())
    if model.readout is Readout.MEAN and data.values.size:
        return cut_for_mean(data, where, sequence_length)
    return Data(data.padded_with_themselves(), None, data.notes)


def _own_vectors(network: Network, data: np.ndarray) -> Vectors:
    tokens, _ = to_integers(data[:VECTOR_TOKENS, :VECTOR_SEQUENCES], network.input_format)
    names = [
        f"{group.name}.{name}"
        for group in network.groups
        for name in group.kind.state + group.kind.messages
    ]
    values = Interpreter(network).evaluate(tokens, keep=names).values
    return Vectors(
        tokens=tokens,
        expected={name: values[name] for name in names},
        recorded_as={},
        origin="computed by the interpreter of s5_to_loihi when the bundle was made",
    )
