"""``compile`` and ``quantize``: from a checkpoint to a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from s5_to_loihi import audio, bundle, verification
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.commands.checking import require_equal, result_json
from s5_to_loihi.commands.console import (
    GluOption,
    JsonOption,
    LengthOption,
    ReadoutOption,
    SymmetryOption,
    console,
    network_name,
    print_json,
    print_notes,
    progress,
    spinner,
    stderr,
)
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.compiler import quantize as quantize_checkpoint
from s5_to_loihi.denoising import compare_denoising
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.float_model import Activation, Discretization
from s5_to_loihi.intel_export import MODEL_FILE, ExportOptions
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.quantization.precision import Precision, read_precision
from s5_to_loihi.reports import tables
from s5_to_loihi.simulation import read_array


def compile_command(
    export: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Directory of Intel's fixed-point export (five .pkl files); or, with"
            " --calibration, a float checkpoint.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.")],
    calibration: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Data for a float checkpoint, which is quantized on the way with the defaults of"
            " 's5-to-loihi quantize'."
        ),
    ] = None,
    glu: GluOption = None,
    conjugate_symmetry: SymmetryOption = None,
    readout: ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: LengthOption = None,
    vector_tokens: Annotated[
        int,
        typer.Option(
            "--tokens", metavar="N", min=1, help="Recorded tokens to keep, from the first."
        ),
    ] = 128,
    vector_sequences: Annotated[
        int, typer.Option("--sequences", metavar="N", min=1, help="Recorded sequences to keep.")
    ] = 2,
    print_between_passes: Annotated[
        bool, typer.Option("--passes", help="Print the network's text form after every pass.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn an export of IntelLabs/SparseRNNs, or a float checkpoint, into a verified bundle.

    Reads the pickles without running code, freezes the exponents that depend on the data, lowers
    the model to neuron groups and synapses, and compares the interpreter with EVERY recorded
    integer before anything is written. Example:

        s5-to-loihi compile exports/denoiser -o denoiser.bundle
    """

    def observe(step, network):
        if print_between_passes:
            stderr.print(f"--- after {step}", highlight=False)
            stderr.print(to_text(network), highlight=False, soft_wrap=True)

    if not (export / MODEL_FILE).exists():
        if calibration is None and export.exists():
            raise InputError(
                str(export),
                f"is no fixed-point export: it has no {MODEL_FILE}",
                "A float checkpoint needs --calibration DATA; see 's5-to-loihi quantize --help'",
            )
        if calibration is not None:
            load_options = LoadOptions(glu=glu, conjugate_symmetric=conjugate_symmetry)
            if readout is not Readout.EACH_TOKEN:
                load_options = dataclasses.replace(load_options, readout=readout)
            with progress("Quantizing", "groups") as advance:
                made = quantize_checkpoint(
                    export,
                    read_array(calibration),
                    options=load_options,
                    sequence_length=sequence_length,
                    name=network_name(output),
                    on_progress=advance,
                    observe=observe,
                )
            _finish_quantization(made, output, as_json)
            return
    options = ExportOptions(glu, conjugate_symmetry, readout, sequence_length)
    with spinner("Reading the export"):
        compiled = compile_export(export, options, network_name(output), observe)
    with spinner("Comparing with the recorded integers"):
        result = verification.verify_interpreter(compiled.network, compiled.vectors)
    if result.equal:
        kept = compiled.vectors.first(vector_tokens, vector_sequences)
        bundle.write(dataclasses.replace(compiled, vectors=kept), output)
    if as_json:
        print_json(
            {
                "bundle": str(output) if result.equal else None,
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
                "verification": [result_json(result)],
            }
        )
    else:
        print_notes(compiled)
        console.print(tables.network_table(compiled.network))
        console.print(tables.run_table([result]))
        if result.equal:
            console.print(f"Wrote {output}", highlight=False, soft_wrap=True)
    require_equal([result])


def quantize(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Float checkpoint: Intel's training directory (Orbax) or conversion pickles,"
            " lindermanlab/S5, s5-pytorch, or our own safetensors with YAML."
        ),
    ],
    calibration: Annotated[
        Path,
        typer.Option(
            help="(tokens, features) or (tokens, sequences, features) as .npy or .npz, or a"
            " recording (.wav) for a denoiser. A few thousand tokens do."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.")],
    weights: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="BITS", help="Bits of weights, 2 to 16. Default: 8."),
    ] = None,
    activations: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="BITS", help="Bits of messages, 8 to 24. Default: 16."),
    ] = None,
    inputs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="BITS", help="Bits of tokens. Default: as messages, at least 16."),
    ] = None,
    eigenvalues: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="BITS", help="Bits of the eigenvalues, 8 to 24. Default: 16."),
    ] = None,
    knots: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Segments of the sigmoid and GELU tables. Default: 64."),
    ] = None,
    precision: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.yaml", help="Bits for single tensors, by name."),
    ] = None,
    held_out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Data to measure with. Default: the last fifth of the calibration."),
    ] = None,
    clean: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Clean version of --held-out (both .wav): SI-SNR, float and integers."),
    ] = None,
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw where integers lie in their formats (.svg or .png)."),
    ] = None,
    glu: GluOption = None,
    activation: Annotated[
        Optional[Activation],  # noqa: UP045
        typer.Option(
            metavar="KIND",
            help="relu, gelu_tanh or gelu_erf after the SSM, if the file does not say.",
        ),
    ] = None,
    discretization: Annotated[
        Optional[Discretization],  # noqa: UP045
        typer.Option(
            metavar="KIND",
            help="zoh or bilinear: how the model becomes a recurrence, if the file does not say.",
        ),
    ] = None,
    conjugate_symmetry: SymmetryOption = None,
    rectified: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--rectified/--not-rectified", help="Whether states and blocks have ReLUs."),
    ] = None,
    prenorm: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--prenorm/--postnorm", help="Where the norm of a block is."),
    ] = None,
    clip_eigenvalues: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--clip-eigenvalues/--keep-eigenvalues",
            help="Whether real parts above -1e-4 were clipped to it in training.",
        ),
    ] = None,
    sparsity: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            metavar="0..1",
            min=0,
            max=1,
            help="Total sparsity of the pruning to apply again; 0: dense.",
        ),
    ] = None,
    readout: Annotated[
        Optional[Readout],  # noqa: UP045
        typer.Option(metavar="KIND", help="each_token: regression; last, mean: classification."),
    ] = None,
    sequence_length: LengthOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept a network whose outputs never change.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a float checkpoint into a bundle of integers, and say what that costs.

    Chooses formats on calibration data, compensates rounding errors, folds batch norm, keeps the
    gain of the discretization out of B, proves ranges, and measures on held-out data. Example:

        s5-to-loihi quantize model --calibration frames.npz -o denoiser.bundle
    """
    check_target(picture, (".svg", ".png"))
    bits = {
        "weights": weights,
        "activations": activations,
        "inputs": inputs,
        "eigenvalues": eigenvalues,
        "knots": knots,
    }
    chosen = {name: value for name, value in bits.items() if value is not None}
    wanted = read_precision(precision, chosen) if precision else Precision(**chosen)
    if clean is not None and (held_out is None or held_out.suffix != ".wav"):
        raise InputError(str(clean), "needs the noisy version", "Give --held-out NOISY.wav")
    with progress("Quantizing", "groups") as advance:
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
            name=network_name(output),
            force=force,
            on_progress=advance,
        )
    scores = None
    if clean is not None:
        scores = compare_denoising(
            made.model, made.bundle.network, audio.read_wav(held_out), audio.read_wav(clean)
        )
    if picture is not None:
        from s5_to_loihi.reports.ranges import draw_ranges

        draw_ranges(made.report, picture)
    _finish_quantization(made, output, as_json, scores)
    if picture is not None and not as_json:
        console.print(f"Wrote {picture}", highlight=False, soft_wrap=True)


def _finish_quantization(made, output: Path, as_json: bool, scores=None) -> None:
    """Write the bundle and print the report."""
    bundle.write(made.bundle, output)
    if as_json:
        print_json(
            {
                "bundle": str(output),
                "network": to_text(made.bundle.network).splitlines(),
                "notes": made.bundle.notes,
                "report": made.report,
                "si_snr_db": scores,
            }
        )
        return
    print_notes(made.bundle)
    console.print(tables.network_table(made.bundle.network))
    console.print(tables.matrix_table(made.report))
    console.print(tables.quantization_table(made.report))
    console.print(tables.range_table(made.report))
    console.print()
    console.print(tables.quantization_summary(made.report), highlight=False)
    for channel, score in enumerate(scores or ()):
        console.print(
            f"SI-SNR of channel {channel}: {score.noisy:.2f} dB noisy, {score.floats:.2f} dB float"
            f" model, {score.integers:.2f} dB integers ({score.integers - score.floats:+.3f} dB)",
            highlight=False,
        )
    console.print(f"Wrote {output}", highlight=False, soft_wrap=True)
