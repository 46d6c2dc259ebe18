"""From a checkpoint to a bundle: load, quantize or lower, run the passes, attach the vectors."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from s5_to_loihi import intel_export, netx
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.checkpoints.loading import CHOICES, load
from s5_to_loihi.checkpoints.magnitude_pruning import pruned
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CapacityError, CheckpointError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import GluVariant, S5Model, evaluate
from s5_to_loihi.inputs import REACHES, Data, Layout, arranged, as_tokens, cut_for_mean
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.intel_export.export import IntelExport
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.options import GLU_GUESSED, SYMMETRY_GUESSED
from s5_to_loihi.intel_export.wrapping import wrapping_notes
from s5_to_loihi.network.block import BASE_EXPONENT
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.netx import NetxFile, NetxOptions
from s5_to_loihi.netx.lower import lower as lower_netx
from s5_to_loihi.netx.s5_layers import packed
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.provenance import Choices, source_of
from s5_to_loihi.simulators.interpreter import Interpreter

if TYPE_CHECKING:
    from s5_to_loihi.quantization.report import QuantizationReport

#: Held-out tokens and sequences whose integers a bundle of our own keeps to verify with.
VECTOR_TOKENS, VECTOR_SEQUENCES = 128, 2
#: Of a netx network: at least so many tokens, and about so many values of each kind.
FEWEST_TOKENS, MOST_VECTOR_VALUES = 16, 1 << 18
#: Recorded tokens of the first sequence that tell a wrong guess.
GUESS_TOKENS = 256


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

    Examples:
        >>> bundle = s5.compile_export("export")
        >>> len(bundle.network.groups), bundle.network.latency
        (14, 14)
    """
    export = intel_export.read(directory)
    first, guessed = _compiled_export(export, options, name, observe)
    if not guessed or _gives_the_recorded(first):
        return first
    # A guess that is wrong shows in the recorded output.
    readings = itertools.product(*guessed.values())
    for reading in itertools.islice(readings, 1, None):
        said = dict(zip(guessed, reading, strict=True))
        with contextlib.suppress(CheckpointError, CapacityError):
            other, _ = _compiled_export(export, replace(options, **said), name, observe)
            if _gives_the_recorded(other):
                found = ", ".join(f"{what} {_word(value)}" for what, value in said.items())
                note = f"{found}: found out, since the guess does not give the recorded output"
                return replace(other, notes=(note, *other.notes))
    note = (
        f"no reading of what was guessed ({', '.join(guessed)}) gives the recorded output: another"
        " option may be wrong, or the files are not of one export"
    )
    return replace(first, notes=(note, *first.notes))


def _compiled_export(
    export: IntelExport,
    options: ExportOptions,
    name: str | None,
    observe: Callable[[str, Network], None],
) -> tuple[Bundle, dict[str, tuple[Any, ...]]]:
    """Return a bundle, and what was guessed for it: option -> the guess and what it may be else."""
    model, notes = intel_export.to_model(export, options)
    network = run_passes(lower(replace(model, name=name or export.name)), observe=observe)
    vectors, more_notes = intel_export.to_vectors(export, network)
    source = {
        "format": "Intel SparseRNNs fixed-point export",
        "name": export.name,
        "files": ", ".join(file.name for file in export.files),
        "sha256": source_digest(export.files),
    }
    notes += [*more_notes, *wrapping_notes(network, vectors)]
    guessed: dict[str, tuple[Any, ...]] = {}
    if any(note.startswith(GLU_GUESSED) for note in notes):
        guessed["glu"] = (GluVariant.HALF1, GluVariant.HALF2)
    if any(note.startswith(SYMMETRY_GUESSED) for note in notes):
        guessed["conjugate_symmetric"] = (True, False)
    return Bundle(network, vectors, source, tuple(notes)), guessed


def _gives_the_recorded(compiled: Bundle) -> bool:
    # All backends, which a compilation need not wait for.
    from s5_to_loihi.verification import verify_interpreter

    vectors = compiled.vectors
    assert vectors is not None, "an export has its recorded integers"
    return verify_interpreter(compiled.network, vectors.first(GUESS_TOKENS, 1)).equal


def _word(value: object) -> str:
    return str(value.value) if isinstance(value, GluVariant) else ("off", "on")[bool(value)]


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
        tokens: (T, features) or (T, N, features), integers as netx's first layer takes them, or
            floats: what the vectors are computed for, the first ``VECTOR_TOKENS`` of the first
            ``VECTOR_SEQUENCES`` sequences; by default made up.
        observe: called after every pass with its name and the network.

    Returns:
        A bundle whose vectors are what our interpreter computes.

    Raises:
        CheckpointError: the file cannot be read, or has parts that there are no integers for.
        InputError: h5py is missing, or the tokens do not suit the network.

    Examples:
        >>> from s5_to_loihi.netx.writing import write_layers
        >>> neuron = {"neuron/type": "SDNN", "neuron/activation": "relu", "neuron/vThMant": 1}
        >>> write_layers([{"type": "input", "shape": np.array([4]), **neuron}], "tiny.net")
        >>> s5.compile_netx("tiny.net").network.input_size
        4
    """
    path = Path(path)
    file = netx.read(path, options)
    if tokens is not None:
        file = _with_quantized_layers(file, options, tokens)
    network, notes = lower_netx(file, options, name or path.stem)
    network = run_passes(network, observe=observe)
    if tokens is None:
        neurons = sum(group.size for group in network.groups)
        count = max(FEWEST_TOKENS, min(VECTOR_TOKENS, MOST_VECTOR_VALUES // neurons))
        tokens = netx.sample_tokens(network, count)
    else:
        raw = np.asarray(tokens).dtype.kind in "iu"  # netx's own integers
        tokens, _ = as_tokens(network, tokens, where="tokens", raw=raw)
        tokens = tokens[:VECTOR_TOKENS, :VECTOR_SEQUENCES].astype(np.int64)
    source = {
        "format": "netx HDF5 of lava-dl",
        "name": path.name,
        "files": path.name,
        "sha256": source_digest([path]),
    }
    vectors = _interpreted(network, tokens)
    return Bundle(network, vectors, source, tuple(dict.fromkeys((*file.notes, *notes))))


def _with_quantized_layers(file: NetxFile, options: NetxOptions, tokens: np.ndarray) -> NetxFile:
    """Return a file whose S5 layers are all of integers.

    A layer that holds a float model is quantized on the sums of what the layers before it send for
    some tokens.
    """
    from s5_to_loihi.quantization.quantizer import quantize_model

    for index, layer in enumerate(file.layers):
        if layer.model is None or layer.bundle is not None:
            continue
        before = replace(file, layers=file.layers[:index])
        sent, exponent = _sent(before, options, np.asarray(tokens))
        floats = np.ldexp(np.cumsum(sent, axis=0).astype(np.float64), -exponent)
        made = quantize_model(layer.model, floats).network
        layers = list(file.layers)
        layers[index] = replace(layer, bundle=packed(made), model=None)
        notes = (*file.notes, f"layer {layer.number}: an S5 quantized on {len(floats)} tokens")
        file = replace(file, layers=tuple(layers), notes=notes)
    return file


def _sent(before: NetxFile, options: NetxOptions, tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the differences that reach a layer (T, N, n), and their fractional bits."""
    if any(one.neuron is not None for one in before.layers):
        network = run_passes(lower_netx(before, options, before.name)[0])
        raw = tokens.dtype.kind in "iu"
        tokens, _ = as_tokens(network, tokens, where="tokens", raw=raw)
        outputs = Interpreter(network).evaluate(tokens.astype(np.int64)).outputs
        return outputs, network.output_format.exponent
    exponent = BASE_EXPONENT + options.spike_exp
    if tokens.dtype.kind == "f":
        tokens = np.floor(np.ldexp(tokens, exponent)).astype(np.int64)
    return tokens.reshape(len(tokens), -1, tokens.shape[-1]), exponent


@dataclass(frozen=True, eq=False)
class Quantization:
    """A float checkpoint turned into integers.

    Attributes:
        bundle: the network; its vectors are what our interpreter computes for held-out data.
        report: what was lost, and what is proven.
        original: the checkpoint's float model.
        model: the float model that the integers stand for: pruned if that was asked for.
        held_out: (T, N, F) float64, the data that the report is about.
        choices: those of the bundle's notes that say which of several models, steps or rates was
            taken, and how the data were read: another answer would be another network.
        warnings: what speaks against it, for people.

    Examples:
        >>> made = s5.quantize("model", frames)
        >>> made.report.signal_to_noise > 20  # dB
        True
    """

    bundle: Bundle
    report: QuantizationReport
    original: S5Model
    model: S5Model
    held_out: np.ndarray
    choices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def quantize(
    checkpoint: str | os.PathLike[str],
    calibration: np.ndarray | Data,
    *,
    held_out: np.ndarray | Data | None = None,
    precision: Precision = Precision(),
    options: LoadOptions = LoadOptions(),
    sparsity: float | None = None,
    one_shot: float | None = None,
    sequence_length: int | None = None,
    name: str | None = None,
    force: bool = False,
    files: Mapping[str, str | os.PathLike[str]] = MappingProxyType({}),
    layout: Layout | None = None,
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
        one_shot: share of zeros in each matrix to prune the model to first, on the calibration
            data: the weights that stay make up for the others (see ``one_shot.prune_model``).
        sequence_length: tokens a sequence, for the readout ``mean``; by default those of the data.
        name: the network's name; by default the checkpoint's.
        force: accept a network all of whose outputs are constant.
        files: role (``calibration``, ``held-out``) -> the file that the data come from: its name
            and digest are kept in the bundle.
        layout: that was said of the files, to be kept in the bundle.
        where: what to call the calibration data and the held-out ones in an error.
        on_progress: called with groups done and in all.
        observe: called after every pass with its name and the network.

    Raises:
        CheckpointError: the checkpoint cannot be read, has no integer form, or is dead.
        InputError: the data are not fit to calibrate with, or bits are not allowed.
        CapacityError: something does not fit its register.

    Examples:
        >>> made = s5.quantize("model", frames, precision=s5.Precision(weights=6))
        >>> made.bundle.network.latency
        11
    """
    # Compiled loops, which an export need not wait for.
    from s5_to_loihi.quantization.calibration import calibration_and_held_out
    from s5_to_loihi.quantization.doubts import SUSPECTED, doubts, outlier
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
    remark: tuple[str, ...] = ()
    if one_shot is not None:
        model, kept = _pruned_in_one_shot(model, data, measured, one_shot, on_progress)
        folded, remark = fold(model), (kept,)
    read = (*remark, *typical.notes, *(() if rest is None else rest.notes))
    choices = (*(note for note in notes if note.startswith(CHOICES)), *dict.fromkeys(read))
    notes = (*notes, *read)
    quantized = quantize_folded(folded, data, precision, len(data), on_progress, observe)
    findings = report(model, quantized, data, measured)
    if findings.constant_outputs == findings.outputs and not force:
        reason = outlier(data, where[0], SUSPECTED)
        raise CheckpointError(
            str(checkpoint),
            f"is dead: none of its {findings.outputs} outputs changes over"
            f" {findings.held_out_tokens:,} tokens{reason and '; likely since '}{reason}",
            "Give more bits, calibrate with typical data, or force it (--force)",
        )
    network = quantized.network
    chosen = Choices(
        original.name, options, precision, sparsity, one_shot, sequence_length, layout, force
    )
    source = source_of(
        loaded.source,
        chosen,
        {"calibration": data.shape, "held-out": measured.shape},
        files,
        {
            "output SQNR on held-out data": findings.signal_to_noise,
            "on calibration data": findings.calibration_signal_to_noise,
        },
    )
    source[REACHES] = f"{np.abs(data).max():.9g}"
    bundle = Bundle(
        network=network,
        vectors=own_vectors(network, measured),
        source=source,
        notes=(*notes, *quantized.notes),
    )
    warnings = doubts(findings, data, measured, where)
    return Quantization(bundle, findings, original, model, measured, choices, warnings)


def _pruned_in_one_shot(
    model: S5Model,
    data: np.ndarray,
    measured: np.ndarray,
    share: float,
    on_progress: Callable[[int, int], None],
) -> tuple[S5Model, str]:
    """Return a pruned model, and what to say of it."""
    from s5_to_loihi.quantization.one_shot import prune_model
    from s5_to_loihi.quantization.report import signal_to_noise

    sparse = prune_model(model, data, share, on_progress)
    kept = signal_to_noise(*(evaluate(one, measured) for one in (model, sparse)))
    said = "" if kept is None else f"; its outputs keep {kept:.1f} dB, which the report leaves out"
    return sparse, f"pruned in one shot to {share:.0%} zeros in each matrix{said}"


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


def own_vectors(network: Network, data: np.ndarray) -> Vectors:
    """Return what the interpreter computes for the first of some data (T, N, F), as floats."""
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
