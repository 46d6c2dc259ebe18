"""From a checkpoint to a bundle: load, quantize or lower, run the passes, attach the vectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s5_to_loihi import intel_export, netx
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.magnitude_pruning import pruned
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.inputs import as_tokens
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.network.network import Network
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.netx.lower import lower as lower_netx
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.calibration import calibration_and_held_out
from s5_to_loihi.quantization.folding import fold
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_folded
from s5_to_loihi.quantization.report import QuantizationReport, report
from s5_to_loihi.simulators.interpreter import Interpreter

#: Held-out tokens and sequences whose integers a bundle of our own keeps to verify with.
VECTOR_TOKENS, VECTOR_SEQUENCES = 128, 2
#: Of a netx network: at least so many tokens, and about so many values of each kind.
FEWEST_TOKENS, MOST_VECTOR_VALUES = 16, 1 << 18


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


def compile_netx(
    path: str | os.PathLike[str],
    options: NetxOptions = NetxOptions(),
    name: str | None = None,
    tokens: np.ndarray | None = None,
    observe: Callable[[str, Network], None] = lambda step, network: None,
) -> Bundle:
    """Compile a network of lava-dl's netx (``.net``).

    Args:
        path: the HDF5 file.
        options: what the file does not say: the arguments of ``netx.hdf5.Network``.
        name: the network's name; by default the file's.
        tokens: (T, features) or (T, N, features), what the vectors are computed for, the first
            ``VECTOR_TOKENS`` of the first ``VECTOR_SEQUENCES`` sequences; by default made up.
        observe: called after every pass with its name and the network.

    Returns:
        A bundle whose vectors are what our interpreter computes.

    Raises:
        CheckpointError: the file cannot be read, or has parts that there are no integers for.
        InputError: h5py is missing, or the tokens do not suit the network.
    """
    path = Path(path)
    file = netx.read(path, options)
    network, notes = lower_netx(file, options, name or path.stem)
    network = run_passes(network, observe=observe)
    if tokens is None:
        neurons = sum(group.size for group in network.groups)
        count = max(FEWEST_TOKENS, min(VECTOR_TOKENS, MOST_VECTOR_VALUES // neurons))
        tokens = netx.sample_tokens(network, count)
    else:
        tokens, _ = as_tokens(network, tokens, where="tokens")
        tokens = tokens[:VECTOR_TOKENS, :VECTOR_SEQUENCES].astype(np.int64)
    source = {
        "format": "netx HDF5 of lava-dl",
        "name": path.name,
        "files": path.name,
        "sha256": source_digest([path]),
    }
    vectors = _interpreted(network, tokens)
    return Bundle(network, vectors, source, tuple(dict.fromkeys((*file.notes, *notes))))


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
    calibration: np.ndarray,
    *,
    held_out: np.ndarray | None = None,
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
        calibration: (T, F) or (T, N, F) floats; sequences start from a zero state.
        held_out: the same, to measure with; by default the last fifth of ``calibration``.
        precision: bits of all tensors.
        options: what the checkpoint does not say.
        sparsity: share of zeros in all weights to prune the model to first, by magnitude and
            without training; None leaves it as it is.
        sequence_length: tokens a sequence, for the readout ``mean``.
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
    loaded = load(checkpoint, options)
    original = replace(loaded.model, name=name or loaded.model.name)
    model, notes = original, loaded.notes
    if sparsity is not None:
        model = pruned(model, sparsity)
        notes = (*notes, f"pruned by magnitude to a total sparsity of {sparsity:g}")
    folded = fold(model)
    data, measured = calibration_and_held_out(folded, calibration, held_out, where)
    quantized = quantize_folded(folded, data, precision, sequence_length, on_progress, observe)
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


def _own_vectors(network: Network, data: np.ndarray) -> Vectors:
    tokens, _ = to_integers(data[:VECTOR_TOKENS, :VECTOR_SEQUENCES], network.input_format)
    return _interpreted(network, tokens)


def _interpreted(network: Network, tokens: np.ndarray) -> Vectors:
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
