"""``quantize``: from a float checkpoint to a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer import Argument, Option

from s5_to_loihi import bundle
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.commands import choices, console
from s5_to_loihi.compiler import Quantization
from s5_to_loihi.compiler import quantize as quantize_checkpoint
from s5_to_loihi.denoising import Score, compare_denoising, read_pair, unrelated
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.digest import file_digest
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.float_model import Activation, Discretization
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.quantization.precision import Precision, read_precision
from s5_to_loihi.quantization.provenance import Choices, read_choices, require_same_files
from s5_to_loihi.reports import quantization_tables
from s5_to_loihi.reports.network_tables import network_table, size_in_words
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Mark
from s5_to_loihi.simulation import read_data


def quantize(
    checkpoint: Path = Argument(
        ...,
        help="Float checkpoint: Intel's training directory (Orbax) or conversion pickles,"
        " lindermanlab/S5, s5-pytorch, or our own safetensors with YAML.",
    ),
    calibration: Path = Option(
        ...,
        help="(tokens, features) or (tokens, sequences, features) values as .npy or .npz, or a"
        " recording (.wav) for a denoiser. A few thousand tokens do.",
    ),
    output: Path = Option(..., "--output", "-o", help="The bundle to write."),
    weights: str | None = Option(
        None, metavar="BITS", help="Bits of weights, 2 to 16, or e4m3, e5m2. Default: 8."
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
    lean: bool = Option(
        False, "--lean", help="Shorter neuron programs, and values that are a little coarser."
    ),
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
    glu: choices.GluOption = None,
    activation: Activation | None = Option(
        None,
        metavar="KIND",
        help="relu, gelu_tanh or gelu_erf after the SSM, if the file does not say.",
    ),
    discretization: Discretization | None = Option(
        None,
        metavar="KIND",
        help="zoh, bilinear or dirac: how the model becomes a recurrence.",
    ),
    conjugate_symmetry: choices.SymmetryOption = None,
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
    prune: float | None = Option(
        None,
        metavar="0..1",
        min=0,
        max=0.99,
        help="Share of zeros in each matrix to prune to first; the other weights make up for it.",
    ),
    step_rescale: float | None = Option(
        None,
        metavar="FACTOR",
        help="What trained time steps are multiplied by, for data of another rate. Default: 1.",
    ),
    select: str | None = Option(
        None, metavar="NAME", help="Which of several models: what names of its arrays begin with."
    ),
    encoder: str | None = Option(
        None, metavar="NAME", help="The map before the blocks, in the file's words; or none."
    ),
    decoder: str | None = Option(
        None, metavar="NAME", help="The map after the blocks, in the file's words; or none."
    ),
    readout: Readout | None = Option(
        None, metavar="KIND", help="each_token: regression; last, mean: classification."
    ),
    sequence_length: choices.LengthOption = None,
    layout: choices.LayoutOption = None,
    strict: choices.StrictOption = False,
    again: Path | None = Option(
        None,
        metavar="BUNDLE",
        help="Make this bundle again: with its options, from the same files, to the same bytes.",
    ),
    force: bool = Option(False, "--force", help="Accept a network whose outputs never change."),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Turn a float checkpoint into a bundle of integers, and say what that costs.

    Chooses formats on calibration data, compensates rounding errors, folds batch norm, keeps the
    gain of the discretization out of B, proves ranges, and measures on held-out data. Examples:

        s5-to-loihi quantize model --calibration frames.npz -o denoiser.bundle
        s5-to-loihi quantize dense --calibration frames.npz --prune 0.6 -o sparse.bundle
    """
    check_target(picture, (".svg", ".png"))
    bits: dict[str, Any] = {
        "weights": int(weights) if weights and weights.isdecimal() else weights,
        "activations": activations,
        "inputs": inputs,
        "eigenvalues": eigenvalues,
        "knots": knots,
        "lean": lean or None,
    }
    chosen = {name: value for name, value in bits.items() if value is not None}
    settings = Choices(
        name=console.network_name(output),
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
            step_rescale=step_rescale,
            select=select,
            encoder=encoder,
            decoder=decoder,
        ),
        precision=read_precision(precision, chosen) if precision else Precision(**chosen),
        one_shot=prune,
        sequence_length=sequence_length,
        layout=layout,
        force=force,
    )
    wanted = None
    if again is not None:
        wanted = bundle.read(again).source
        settings = read_choices(wanted, str(again))
    noisy = held_out
    if clean is not None and (noisy is None or noisy.suffix.lower() != ".wav"):
        raise InputError(str(clean), "needs the noisy version", "Give --held-out NOISY.wav")
    made = _quantized(checkpoint, calibration, held_out, settings)
    scores: Sequence[Score] = ()
    heard: Sequence[str] = ()
    if clean is not None and noisy is not None:
        pair = read_pair(noisy, clean)
        scores = compare_denoising(made.model, made.bundle.network, *pair)
        # Those of the noisy one are the data's.
        heard = [note for note in pair[0].notes if note.startswith("clean: ")]
        made = _with_scores(made, scores, clean)
    if wanted is not None:
        require_same_files(wanted, made.bundle.source, str(again))
    finish(made, output, details, as_json, strict, scores, picture, heard)


def _quantized(
    checkpoint: Path, calibration: Path, held_out: Path | None, settings: Choices
) -> Quantization:
    files = {"calibration": calibration} | ({"held-out": held_out} if held_out else {})
    length, layout = settings.sequence_length, settings.layout
    with console.progress("Quantizing (compiles at first)", "groups") as advance:
        return quantize_checkpoint(
            checkpoint,
            read_data(calibration, layout, length),
            held_out=None if held_out is None else read_data(held_out, layout, length),
            files=files,
            where=(str(calibration), str(held_out or "held-out data")),
            precision=settings.precision,
            options=settings.options,
            sparsity=settings.sparsity,
            one_shot=settings.one_shot,
            sequence_length=length,
            layout=layout,
            name=settings.name,
            force=settings.force,
            on_progress=advance,
        )


def _with_scores(made: Quantization, scores: Sequence[Score], clean: Path) -> Quantization:
    """Return a quantization that knows how well it denoises, and whether that can be believed."""
    source = dict(made.bundle.source)
    source |= {"clean file": clean.name, "clean sha256": file_digest(clean)}
    for score in scores:
        source["scores"] += (
            f", SI-SNR {score.noisy:.2f} dB noisy, {score.floats:.2f} dB float model,"
            f" {score.integers:.2f} dB integers"
        )
    apart = unrelated([score.noisy for score in scores], str(clean))
    return dataclasses.replace(
        made,
        bundle=dataclasses.replace(made.bundle, source=source),
        warnings=(*made.warnings, *apart),
    )


def finish(
    made: Quantization,
    output: Path,
    details: bool,
    as_json: bool,
    strict: bool = False,
    scores: Sequence[Score] = (),
    picture: Path | None = None,
    heard: Sequence[str] = (),
) -> None:
    """Write the bundle and print the report.

    Args:
        made: what to write.
        output: the bundle.
        details: print all tables.
        as_json: print JSON instead.
        strict: take warnings as errors.
        scores: of each channel, if there is a clean recording.
        picture: to draw.
        heard: notes on that recording.

    Raises:
        VerificationError: there are warnings, and ``strict``; nothing is written then.
    """
    console.require(f"{output}, not written", made.warnings, strict)
    if picture is not None:
        from s5_to_loihi.reports.ranges import draw_ranges

        with console.spinner("Drawing"):
            draw_ranges(made.report, picture)
    bundle.write(made.bundle, output)
    if as_json:
        console.print_json(
            {
                "bundle": str(output),
                "network": to_text(made.bundle.network).splitlines(),
                "notes": made.bundle.notes,
                "warnings": made.warnings,
                "report": made.report,
                "si_snr_db": scores or None,
            }
        )
        return
    console.summarise(
        dataclasses.replace(
            _summary(made, output, scores, picture), notes=(*made.bundle.notes, *heard)
        ),
        (
            network_table(made.bundle.network),
            quantization_tables.matrix_table(made.report),
            quantization_tables.quantization_table(made.report),
            quantization_tables.range_table(made.report),
        ),
        details,
    )


def _summary(
    made: Quantization, output: Path, scores: Sequence[Score], picture: Path | None
) -> Summary:
    report = made.report
    facts = [
        ("network", size_in_words(made.bundle.network)),
        *quantization_tables.quantization_facts(report),
    ]
    for channel, score in enumerate(scores):
        facts.append(
            (
                "SI-SNR" if len(scores) == 1 else f"SI-SNR, {channel}",
                f"{score.noisy:.2f} dB noisy, {score.floats:.2f} dB float model,"
                f" {score.integers:.2f} dB integers ({score.integers - score.floats:+.3f} dB)",
            )
        )
    if picture is not None:
        facts.append(("drew", str(picture)))
    return Summary(
        f"Wrote {output}: output SQNR {quantization_tables.decibels(report.signal_to_noise)} dB"
        f" on {report.held_out_tokens:,} held-out tokens",
        facts,
        Mark.NOTICE if made.warnings else Mark.GOOD,
        warnings=made.warnings,
        choices=made.choices,
        next=command("verify", output),
    )
