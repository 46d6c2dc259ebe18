"""``compile`` and ``quantize``: from a checkpoint to a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer import Argument, Option

from s5_to_loihi import audio, bundle, verification
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.commands import console
from s5_to_loihi.commands.checking import require_equal, result_json
from s5_to_loihi.compiler import Quantization, compile_export, compile_netx
from s5_to_loihi.compiler import quantize as quantize_checkpoint
from s5_to_loihi.denoising import Score, compare_denoising
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.float_model import Activation, Discretization
from s5_to_loihi.intel_export import MODEL_FILE, ExportOptions
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.netx import is_netx
from s5_to_loihi.netx.options import read_netx_options
from s5_to_loihi.quantization.precision import Precision, read_precision
from s5_to_loihi.reports import quantization_tables
from s5_to_loihi.reports.network_tables import network_table
from s5_to_loihi.reports.run_tables import run_table
from s5_to_loihi.simulation import read_array


def compile_command(
    export: Path = Argument(
        ...,
        metavar="CHECKPOINT",
        help="Directory of Intel's fixed-point export (five .pkl files); a network of lava-dl's"
        " netx (.net); or, with --calibration, a float checkpoint.",
    ),
    output: Path = Option(..., "--output", "-o", help="The bundle to write."),
    calibration: Path | None = Option(
        None,
        help="Data for a float checkpoint, which is quantized on the way with the defaults of"
        " 's5-to-loihi quantize'; for a .net file integers to compute the vectors for.",
    ),
    glu: console.GluOption = None,
    conjugate_symmetry: console.SymmetryOption = None,
    readout: console.ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: console.LengthOption = None,
    vector_tokens: int = Option(
        128, "--tokens", metavar="N", min=1, help="Recorded tokens to keep, from the first."
    ),
    vector_sequences: int = Option(
        2, "--sequences", metavar="N", min=1, help="Recorded sequences to keep."
    ),
    netx_arguments: list[str] | None = Option(
        None,
        "--netx",
        metavar="NAME=VALUE",
        help="For a .net file, an argument of netx.hdf5.Network (skip_layers, num_layers,"
        " input_message_bits, input_shape, reset_interval, reset_offset, spike_exp), or of ours"
        " (corrected=1: no drift; drop_unknown=1: leave unknown layers out, as netx does). May be"
        " repeated.",
    ),
    print_between_passes: bool = Option(
        False, "--passes", help="Print the network's text form after every pass."
    ),
    as_json: console.JsonOption = False,
) -> None:
    """Turn an export of IntelLabs/SparseRNNs, a .net file, or a float checkpoint into a bundle.

    Reads the pickles without running code, freezes the exponents that depend on the data, lowers
    the model to neuron groups and synapses, and compares the interpreter with EVERY recorded
    integer before anything is written. Example:

        s5-to-loihi compile exports/denoiser -o denoiser.bundle
    """

    observe = _print_network if print_between_passes else _print_nothing
    if is_netx(export) or netx_arguments:
        with console.spinner("Compiling the network"):
            compiled = compile_netx(
                export,
                read_netx_options(netx_arguments or ()),
                console.network_name(output),
                None if calibration is None else read_array(calibration),
                observe,
            )
        _finish_netx(compiled, output, as_json)
        return
    if (export / MODEL_FILE).exists() or (calibration is None and not export.exists()):
        options = ExportOptions(glu, conjugate_symmetry, readout, sequence_length)
        with console.spinner("Reading the export"):
            compiled = compile_export(export, options, console.network_name(output), observe)
        _finish_export(compiled, output, vector_tokens, vector_sequences, as_json)
        return
    if calibration is None:
        raise InputError(
            str(export),
            f"is no fixed-point export: it has no {MODEL_FILE}",
            "A float checkpoint needs --calibration DATA; see 's5-to-loihi quantize --help'",
        )
    # What is not given is left to the file; of the readout, each_token means that.
    said = None if readout is Readout.EACH_TOKEN else readout
    with console.progress("Quantizing", "groups") as advance:
        made = quantize_checkpoint(
            export,
            read_array(calibration),
            options=LoadOptions(glu=glu, conjugate_symmetric=conjugate_symmetry, readout=said),
            sequence_length=sequence_length,
            name=console.network_name(output),
            on_progress=advance,
            observe=observe,
        )
    _finish_quantization(made, output, as_json)


def _print_network(step: str, network: Network) -> None:
    console.stderr.print(f"--- after {step}", highlight=False)
    console.stderr.print(to_text(network), highlight=False, soft_wrap=True)


def _print_nothing(step: str, network: Network) -> None:
    pass


def _finish_netx(compiled: Bundle, output: Path, as_json: bool) -> None:
    bundle.write(compiled, output)
    if as_json:
        console.print_json(
            {
                "bundle": str(output),
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
            }
        )
        return
    console.say_notes(compiled.notes)
    console.show(network_table(compiled.network))
    console.say_wrote(output)


def _finish_export(
    compiled: Bundle, output: Path, tokens: int, sequences: int, as_json: bool
) -> None:
    """Compare with all recorded integers, write the bundle if they are equal, and say so."""
    vectors = compiled.vectors
    assert vectors is not None, "an export has its recorded integers"
    with console.spinner("Comparing with the recorded integers"):
        result = verification.verify_interpreter(compiled.network, vectors)
    if result.equal:
        bundle.write(
            dataclasses.replace(compiled, vectors=vectors.first(tokens, sequences)), output
        )
    if as_json:
        console.print_json(
            {
                "bundle": str(output) if result.equal else None,
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
                "verification": [result_json(result)],
            }
        )
    else:
        console.say_notes(compiled.notes)
        console.show(network_table(compiled.network), run_table([result]))
        console.say_wrote(output if result.equal else None)
    require_equal([result])


def quantize(
    checkpoint: Path = Argument(
        ...,
        help="Float checkpoint: Intel's training directory (Orbax) or conversion pickles,"
        " lindermanlab/S5, s5-pytorch, or our own safetensors with YAML.",
    ),
    calibration: Path = Option(
        ...,
        help="(tokens, features) or (tokens, sequences, features) as .npy or .npz, or a"
        " recording (.wav) for a denoiser. A few thousand tokens do.",
    ),
    output: Path = Option(..., "--output", "-o", help="The bundle to write."),
    weights: int | None = Option(
        None, metavar="BITS", help="Bits of weights, 2 to 16. Default: 8."
    ),
    activations: int | None = Option(
        None, metavar="BITS", help="Bits of messages, 8 to 24. Default: 16."
    ),
    inputs: int | None = Option(
        None, metavar="BITS", help="Bits of tokens. Default: as messages, at least 16."
    ),
    eigenvalues: int | None = Option(
        None, metavar="BITS", help="Bits of the eigenvalues, 8 to 24. Default: 16."
    ),
    knots: int | None = Option(None, help="Segments of the sigmoid and GELU tables. Default: 64."),
    precision: Path | None = Option(
        None, metavar="FILE.yaml", help="Bits for single tensors, by name."
    ),
    held_out: Path | None = Option(
        None, help="Data to measure with. Default: the last fifth of the calibration."
    ),
    clean: Path | None = Option(
        None, help="Clean version of --held-out (both .wav): SI-SNR, float and integers."
    ),
    picture: Path | None = Option(
        None, help="Draw where integers lie in their formats (.svg or .png)."
    ),
    glu: console.GluOption = None,
    activation: Activation | None = Option(
        None,
        metavar="KIND",
        help="relu, gelu_tanh or gelu_erf after the SSM, if the file does not say.",
    ),
    discretization: Discretization | None = Option(
        None,
        metavar="KIND",
        help="zoh or bilinear: how the model becomes a recurrence, if the file does not say.",
    ),
    conjugate_symmetry: console.SymmetryOption = None,
    rectified: bool | None = Option(
        None, "--rectified/--not-rectified", help="Whether states and blocks have ReLUs."
    ),
    prenorm: bool | None = Option(
        None, "--prenorm/--postnorm", help="Where the norm of a block is."
    ),
    clip_eigenvalues: bool | None = Option(
        None,
        "--clip-eigenvalues/--keep-eigenvalues",
        help="Whether real parts above -1e-4 were clipped to it in training.",
    ),
    sparsity: float | None = Option(
        None,
        metavar="0..1",
        min=0,
        max=1,
        help="Total sparsity of the pruning to apply again; 0: dense.",
    ),
    readout: Readout | None = Option(
        None, metavar="KIND", help="each_token: regression; last, mean: classification."
    ),
    sequence_length: console.LengthOption = None,
    force: bool = Option(False, "--force", help="Accept a network whose outputs never change."),
    as_json: console.JsonOption = False,
) -> None:
    """Turn a float checkpoint into a bundle of integers, and say what that costs.

    Chooses formats on calibration data, compensates rounding errors, folds batch norm, keeps the
    gain of the discretization out of B, proves ranges, and measures on held-out data. Example:

        s5-to-loihi quantize model --calibration frames.npz -o denoiser.bundle
    """
    check_target(picture, (".svg", ".png"))
    bits: dict[str, Any] = {
        "weights": weights,
        "activations": activations,
        "inputs": inputs,
        "eigenvalues": eigenvalues,
        "knots": knots,
    }
    chosen = {name: value for name, value in bits.items() if value is not None}
    wanted = read_precision(precision, chosen) if precision else Precision(**chosen)
    noisy = held_out
    if clean is not None and (noisy is None or noisy.suffix != ".wav"):
        raise InputError(str(clean), "needs the noisy version", "Give --held-out NOISY.wav")
    with console.progress("Quantizing", "groups") as advance:
        made = quantize_checkpoint(
            checkpoint,
            read_array(calibration),
            held_out=None if held_out is None else read_array(held_out),
            precision=wanted,
            options=LoadOptions(
                discretization=discretization,
                activation=activation,
                glu=glu,
                conjugate_symmetric=conjugate_symmetry,
                prenorm=prenorm,
                rectified=rectified,
                readout=readout,
                clip_eigenvalues=clip_eigenvalues,
                pruning_sparsity=sparsity,
            ),
            sequence_length=sequence_length,
            name=console.network_name(output),
            force=force,
            on_progress=advance,
        )
    scores = None
    if clean is not None and noisy is not None:
        scores = compare_denoising(
            made.model, made.bundle.network, audio.read_wav(noisy), audio.read_wav(clean)
        )
    if picture is not None:
        from s5_to_loihi.reports.ranges import draw_ranges

        draw_ranges(made.report, picture)
    _finish_quantization(made, output, as_json, scores)
    console.say_wrote(None if as_json else picture)


def _finish_quantization(
    made: Quantization, output: Path, as_json: bool, scores: Sequence[Score] | None = None
) -> None:
    """Write the bundle and print the report."""
    bundle.write(made.bundle, output)
    if as_json:
        console.print_json(
            {
                "bundle": str(output),
                "network": to_text(made.bundle.network).splitlines(),
                "notes": made.bundle.notes,
                "report": made.report,
                "si_snr_db": scores,
            }
        )
        return
    console.say_notes(made.bundle.notes)
    console.show(
        network_table(made.bundle.network),
        quantization_tables.matrix_table(made.report),
        quantization_tables.quantization_table(made.report),
        quantization_tables.range_table(made.report),
    )
    console.stdout.print()
    console.say(quantization_tables.quantization_summary(made.report))
    for channel, score in enumerate(scores or ()):
        console.say(
            f"SI-SNR of channel {channel}: {score.noisy:.2f} dB noisy, {score.floats:.2f} dB float"
            f" model, {score.integers:.2f} dB integers ({score.integers - score.floats:+.3f} dB)"
        )
    console.say_wrote(output)
