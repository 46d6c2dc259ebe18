"""The command line: parse, call the API, render. Nothing is computed here."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s5_to_loihi import __version__, audio, bundle, inspection, verification
from s5_to_loihi.backends import fast, lava_shim
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.backends.interpreter import Mode
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.intel_export import MODEL_FILE, Options
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.compiler import quantize as quantize_checkpoint
from s5_to_loihi.denoising import compare_denoising
from s5_to_loihi.denoising import denoise as denoise_samples
from s5_to_loihi.errors import InputError, LavaError, S5ToLoihiError, VerificationError
from s5_to_loihi.files import check_target
from s5_to_loihi.float_model import Activation, Discretization
from s5_to_loihi.loihi2.core_mapping import Objective
from s5_to_loihi.loihi2.facts import LISTED, load_system
from s5_to_loihi.model import GluVariant
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.quantization.precision import Precision, read_precision
from s5_to_loihi.reports import tables
from s5_to_loihi.simulation import read_array, simulate_file
from s5_to_loihi.vectors import TOKEN_VALUE

app = typer.Typer(
    help="Compile quantized, sparse S5 models to Loihi 2 networks in Lava, and prove every integer."
    "\n\nExit codes: 0 ok, 1 user error, 2 does not fit, 3 verification failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
#: A file or a pipe has no width of its own; tables need about this much.
console = Console(width=None if sys.stdout.isatty() else 100)
#: Progress bars, notes and errors go where they do not disturb output that a program reads.
stderr = Console(stderr=True)

#: Exit codes that typer gives.
WRONG_CALL, INTERRUPTED = 2, 130
#: Tokens of the first sequence that Lava runs with one process a group by default: enough to fill
#: the pipeline and see states evolve, few enough for seconds.
FINE_GRAINED_TOKENS = 24


class ModeChoice(str, Enum):
    """Execution modes, or both."""

    PIPELINED = "pipelined"
    FALL_THROUGH = "fall-through"
    BOTH = "both"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes meant."""
        return tuple(Mode) if self is ModeChoice.BOTH else (Mode(self.value),)


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
GluOption = Annotated[
    Optional[GluVariant],  # noqa: UP045 (typer resolves it at run time on Python 3.10)
    typer.Option(help="Gated linear unit; found out or guessed (and said) if not given."),
]
SymmetryOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--symmetric/--not-symmetric",
        help="Whether the other half of the conjugate state pairs is implied.",
    ),
]
ReadoutOption = Annotated[
    Readout,
    typer.Option(
        help="each_token: regression; last, mean: classification (last token, mean over tokens)."
    ),
]
LengthOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--length", metavar="N", min=1, help="Tokens a sequence, for --readout mean."),
]
BackendsOption = Annotated[
    Optional[list[Backend]],  # noqa: UP045
    typer.Option("--backend", "-b", help="What to run on; may be repeated. Default: all there is."),
]
TimeoutOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=1, help="Seconds that one Lava run may take in all."),
]


def _version(show: bool) -> None:
    if show:
        console.print(f"s5_to_loihi {__version__}", highlight=False)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# --- commands ------------------------------------------------------------------------------------


@app.command("compile")
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
            stderr.print(to_text(network), highlight=False, soft_wrap=True, markup=False)

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
            with _progress("Quantizing", "groups") as advance:
                made = quantize_checkpoint(
                    export,
                    read_array(calibration),
                    options=load_options,
                    sequence_length=sequence_length,
                    name=_name_of(output),
                    on_progress=advance,
                    observe=observe,
                )
            _finish_quantization(made, output, as_json)
            return
    options = Options(glu, conjugate_symmetry, readout, sequence_length)
    with _spinner("Reading the export"):
        compiled = compile_export(export, options, _name_of(output), observe)
    with _spinner("Comparing with the recorded integers"):
        result = verification.verify_interpreter(compiled.network, compiled.vectors)
    if result.equal:
        kept = compiled.vectors.first(vector_tokens, vector_sequences)
        bundle.write(dataclasses.replace(compiled, vectors=kept), output)
    if as_json:
        _print_json(
            {
                "bundle": str(output) if result.equal else None,
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
                "verification": [_result_json(result)],
            }
        )
    else:
        _print_notes(compiled)
        console.print(tables.network_table(compiled.network))
        console.print(tables.run_table([result]))
        if result.equal:
            console.print(f"Wrote {output}", highlight=False, soft_wrap=True)
    _require_equal([result])


@app.command()
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
        typer.Option(metavar="FILE.yaml", help="Bits for single tensors; docs/quantization.md."),
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
        typer.Option(help="Non-linearity after the state-space model, if the file does not say."),
    ] = None,
    discretization: Annotated[
        Optional[Discretization],  # noqa: UP045
        typer.Option(help="How the model becomes a recurrence, if the file does not say."),
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
        typer.Option(min=0, max=1, help="Total sparsity of the pruning to apply again; 0: dense."),
    ] = None,
    readout: Annotated[
        Optional[Readout],  # noqa: UP045
        typer.Option(help="each_token: regression; last, mean: classification."),
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
    with _progress("Quantizing", "groups") as advance:
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
            name=_name_of(output),
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
        _print_json(
            {
                "bundle": str(output),
                "network": to_text(made.bundle.network).splitlines(),
                "notes": made.bundle.notes,
                "report": made.report,
                "si_snr_db": scores,
            }
        )
        return
    _print_notes(made.bundle)
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


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to verify.")],
    backend: BackendsOption = None,
    mode: Annotated[ModeChoice, typer.Option(help="How tokens follow one another.")] = (
        ModeChoice.BOTH
    ),
    tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Tokens to run. Default: all, and for 'lava' (slow: one process a group and"
            f" synapses) the first {FINE_GRAINED_TOKENS} of the first sequence.",
        ),
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the recorded vectors and compare every integer.

    Prints for each tensor '=' or how many integers differ and by how much, and for the first
    difference the group, token, neuron and both integers. Ends with exit code 3 if any differs.
    """
    opened = bundle.read(path, lenient=True)
    if opened.vectors is None:
        raise InputError(str(path), "holds no vectors to verify with", "Compile it again")
    backends = backend or _available_backends()
    _announce_compilation(opened.network, backends)
    results = []

    def show() -> None:
        _print_changed(opened)
        console.print(tables.tensor_table(results))
        console.print(tables.run_table(results))

    for chosen in backends:
        # The fast simulator knows tokens, not timesteps: modes make no difference to it.
        for one_mode in (Mode.PIPELINED,) if chosen is Backend.FAST else mode.modes:
            vectors = _vectors_for(opened, chosen, tokens)
            with _progress(f"{chosen.value}, {one_mode.value}") as advance:
                try:
                    result = verification.verify_run(
                        opened.network, vectors, chosen, one_mode, timeout, advance
                    )
                except LavaError:
                    if results and not as_json:
                        show()
                    raise
                results.append(result)
    if as_json:
        _print_json(
            {
                "bundle": str(path),
                "changed": opened.changed,
                "verification": [_result_json(result) for result in results],
            }
        )
    else:
        show()
    _require_equal(results, opened.changed)


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="EXPORT|BUNDLE", help="An export directory or a bundle.")
    ],
    drawing: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the network into this file (.svg, .png or .pdf)."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the network's text form.")] = False,
    glu: GluOption = None,
    conjugate_symmetry: SymmetryOption = None,
    readout: ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: LengthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is inside: tensors, densities, ranges used, saturated, zero and dead neurons.

    The options on what an export does not say (--glu ...) are used for exports only.
    """
    check_target(drawing, (".svg", ".png", ".pdf"))
    if (path / bundle.MANIFEST).exists():
        opened = bundle.read(path)
    else:
        options = Options(glu, conjugate_symmetry, readout, sequence_length)
        with _spinner("Reading the export"):
            opened = compile_export(path, options)
    network = opened.network
    weights, ports = inspection.weights(network), inspection.ports(network)
    constants = inspection.constants(network)
    values, tokens, sequences = (), 0, 0
    if opened.vectors is not None:
        shown = opened.vectors.first(verification.CHUNK)
        tokens, sequences = shown.tokens.shape[:2]
        values = inspection.values(network, shown.tokens)
    if drawing is not None:
        from s5_to_loihi.reports.drawing import draw_network

        draw_network(network, drawing)
    if as_json:
        _print_json(
            {
                "network": to_text(network).splitlines(),
                "notes": opened.notes,
                "weights": weights,
                "constants": constants,
                "ports": ports,
                "values": values,
            }
        )
        return
    _print_notes(opened)
    if text:
        console.print(to_text(network), highlight=False, soft_wrap=True, markup=False)
    console.print(tables.network_table(network))
    console.print(tables.weight_table(weights))
    console.print(tables.constant_table(constants))
    console.print(tables.port_table(ports))
    if values:
        console.print(tables.value_table(values, tokens, sequences))
    if drawing is not None:
        console.print(f"Wrote {drawing}", highlight=False, soft_wrap=True)


@app.command()
def denoise(
    recording: Annotated[Path, typer.Argument(metavar="IN.wav", help="The noisy recording.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.wav", help="The cleaned one to write.")],
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--bundle", help="A compiled denoiser. Default: the one that is shipped."),
    ] = None,
    backend: Annotated[
        Backend,
        typer.Option("--backend", "-b", help="What to run it on; all give the same integers."),
    ] = Backend.FAST,
    mode: Annotated[Mode, typer.Option(help="How tokens follow one another.")] = Mode.PIPELINED,
    clean: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The clean recording, to measure SI-SNR with."),
    ] = None,
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the spectrograms into this file (.png or .svg)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Denoise a recording with a compiled network.

    Any sample rate is resampled to 16 kHz (and said); channels are cleaned independently.
    """
    from s5_to_loihi.demo import DENOISER

    for path, suffixes in ((output, (".wav",)), (picture, (".png", ".svg"))):
        check_target(path, suffixes)
    noisy = audio.resample(audio.read_wav(recording))
    reference = None
    if clean is not None:
        reference = audio.resample(audio.read_wav(clean))
        if reference.samples.shape != noisy.samples.shape:
            raise InputError(
                str(clean),
                f"has {reference.samples.shape} channels and samples, {recording} has"
                f" {noisy.samples.shape}",
                "Give the clean version of the same recording",
            )
    if model is not None:
        network = bundle.read(model).network
    else:
        network = compile_export(DENOISER).network
    _announce_compilation(network, [backend])
    with _progress(f"Denoising on {backend.value}") as advance:
        result = denoise_samples(network, noisy.samples, backend, mode, advance)
    clipped_samples = audio.write_wav(output, result.samples)
    si_snr = None
    if reference is not None:
        si_snr = [
            [audio.si_snr(channel, target) for channel in (before, after)]
            for before, after, target in zip(
                noisy.samples, result.samples, reference.samples, strict=True
            )
        ]
    if picture is not None:
        from s5_to_loihi.reports.spectrogram import draw_spectrograms

        panels = [("noisy", noisy.samples[0]), ("denoised", result.samples[0])]
        if reference is not None:
            panels.append(("clean", reference.samples[0]))
        draw_spectrograms(picture, panels, audio.RATE)
    if as_json:
        _print_json(
            {
                "output": str(output),
                "backend": backend.value,
                "tokens": result.tokens,
                "seconds": result.seconds,
                "real_time_factor": result.real_time_factor,
                "clipped_inputs": result.clipped_inputs,
                "clipped_samples": clipped_samples,
                "si_snr_db": si_snr and [[_finite(value) for value in pair] for pair in si_snr],
                "notes": noisy.notes,
            }
        )
        return
    for note in noisy.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
    console.print(
        f"{result.tokens:,} tokens ({result.audio_seconds:.1f} s,"
        f" {len(result.samples)} channel(s)) in {result.seconds:.3f} s on {backend.value}:"
        f" real-time factor {result.real_time_factor:.4f}",
        highlight=False,
    )
    console.print(
        f"Saturated: {result.clipped_inputs:,} inputs, {clipped_samples:,} output samples",
        highlight=False,
    )
    for index, (before, after) in enumerate(si_snr or ()):
        console.print(
            f"SI-SNR of channel {index}: {before:.2f} dB noisy, {after:.2f} dB denoised",
            highlight=False,
        )
    for path in (output, picture):
        if path is not None:
            console.print(f"Wrote {path}", highlight=False, soft_wrap=True)


@app.command()
def run(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The compiled network.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="(tokens, features) or (tokens, batch, features) as .npy or .npz, integers or"
            " floats; or a recording (.wav).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .npy to write: integers, int32.")
    ],
    saturate: Annotated[
        bool, typer.Option("--saturate", help="Clip values outside the input format, and count.")
    ] = False,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Sequences at the same time. Default: all processors."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a network on data of any length with the fast simulator.

    Memory stays bounded: input and output are read and written in chunks. Prints throughput and
    activity: messages, synaptic operations and neuron updates of each group. Example:

        s5-to-loihi run denoiser.bundle frames.npy -o masks.npy
    """
    network = bundle.read(path).network
    _announce_compilation(network, [Backend.FAST])
    started = time.perf_counter()
    with _progress("Simulating", "tokens") as advance:
        totals = simulate_file(
            network, inputs, output, saturate=saturate, threads=threads, on_progress=advance
        )
    seconds = time.perf_counter() - started
    count = totals.tokens * totals.sequences
    if as_json:
        _print_json(
            {
                "output": str(output),
                "format": network.output_format._asdict(),
                "tokens": totals.tokens,
                "sequences": totals.sequences,
                "seconds": seconds,
                "saturated": totals.saturated,
                "activity_per_token": {
                    name: {
                        "messages": totals.messages[index] / count,
                        "synops": totals.synops[index] / count,
                        "updates": int(totals.updates[index]),
                    }
                    for index, name in enumerate(totals.groups)
                },
            }
        )
        return
    console.print(tables.activity_table(totals))
    console.print(
        f"{totals.sequences} x {totals.tokens:,} tokens in {seconds:.2f} s"
        f" ({seconds / count * 1e6:.1f} us a token, starting included),"
        f" {totals.saturated:,} inputs saturated",
        highlight=False,
    )
    console.print(
        f"Wrote {output}: integers of {network.output_format}", highlight=False, soft_wrap=True
    )


@app.command("map")
def map_command(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The compiled network.")],
    system: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help=f"One of {', '.join(LISTED)}, or a .yaml file of your own. Default: the smallest"
            " of these that the network fits."
        ),
    ] = None,
    objective: Annotated[
        Objective,
        typer.Option(
            help="latency: shortest timestep; cores: fewest; balanced: few, within 10 % of the"
            " shortest timestep."
        ),
    ] = Objective.LATENCY,
    cores: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Cores to use at most. Default: all of the system."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same mapping.")] = 0,
    assumed_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--assume-rate",
            metavar="R",
            min=0,
            max=1,
            help="Messages a neuron and timestep, instead of those measured on the bundle's"
            " recorded tokens.",
        ),
    ] = None,
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw cores and links into this file (.png or .svg)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Map a network onto Loihi 2 cores, and write the mapping into the bundle.

    Prints Intel's table of what each core holds, what limits the mapping, and what no mapping can
    beat. Numbers are of a model; nothing was measured on a chip. Ends with exit code 2 if the
    network does not fit. Example:

        s5-to-loihi map denoiser.bundle --system oheogulch --picture cores.png
    """
    # Compiled loops, which other commands need not wait for.
    from s5_to_loihi.loihi2 import rules
    from s5_to_loihi.loihi2.mapper import map_network
    from s5_to_loihi.loihi2.rates import assumed_rates, measured_rates
    from s5_to_loihi.reports import mapping_tables

    check_target(picture, (".png", ".svg"))
    chosen = None if system is None else load_system(system)
    opened = bundle.read(path)
    network = opened.network
    if assumed_rate is None and opened.vectors is not None:
        with _progress("Counting messages", "tokens") as advance:
            rates = measured_rates(network, opened.vectors.tokens, advance)
    else:
        rates = assumed_rates(network, 1.0 if assumed_rate is None else assumed_rate)
    with _progress("Mapping (the first time: compiling, up to 30 s)", "tries") as advance:
        mapping, evaluation = map_network(network, rates, chosen, objective, cores, seed, advance)
    rules.require(evaluation)
    bundle.write(dataclasses.replace(opened, mapping=mapping), path)
    if picture is not None:
        from s5_to_loihi.reports.core_drawing import draw_mapping

        draw_mapping(evaluation, picture)
    if as_json:
        _print_json(mapping_tables.as_dictionary(mapping, evaluation))
        return
    console.print(mapping_tables.utilisation_table(evaluation))
    console.print(mapping_tables.timestep_table(evaluation))
    for line in mapping_tables.summary(evaluation):
        console.print(line, highlight=False, markup=False)
    console.print(f"Wrote the mapping into {path}", highlight=False, soft_wrap=True)
    if picture is not None:
        console.print(f"Wrote {picture}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Argument(help="Where to write the bundle, sound and pictures.")
    ] = Path("demo_output"),
) -> None:
    """Compile the shipped denoiser, prove it under Lava, and denoise the shipped recording."""
    from s5_to_loihi import demo as steps

    steps.run_demo(directory, console, _progress, _announce_compilation, _require_equal)


# --- rendering -----------------------------------------------------------------------------------


def _name_of(path: Path) -> str:
    return path.resolve().name.removesuffix(".bundle") or "network"


def _announce_compilation(network: Network, backends) -> None:
    """Say why the first run on the fast simulator takes seconds."""
    if {Backend.FAST, Backend.LAVA_FUSED} & set(backends) and not fast.is_cached(network):
        stderr.print("Compiling this network's kernels for the fast simulator, once: up to 20 s")


def _available_backends() -> list[Backend]:
    if lava_shim.is_installed():
        return list(Backend)
    backends = [Backend.FAST, Backend.INTERPRETER]
    stderr.print(
        "Lava is not installed: verifying the simulators in this process only. To install it: "
        + "; ".join(lava_shim.pip_commands(sys.version_info[:2])),
        highlight=False,
    )
    return backends


def _vectors_for(opened: Bundle, backend: Backend, tokens: int | None):
    if backend is Backend.LAVA:
        return opened.vectors.first(tokens or FINE_GRAINED_TOKENS, 1)
    return opened.vectors.first(tokens) if tokens else opened.vectors


@contextmanager
def _spinner(title: str):
    with stderr.status(f"{title} ..."):
        yield


@contextmanager
def _progress(title: str, unit: str = "timesteps"):
    """Show a progress bar on stderr; yields a function of (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_notes(opened: Bundle) -> None:
    for note in opened.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)


def _print_changed(opened: Bundle) -> None:
    for name in opened.changed:
        console.print(f"[bold red]Changed since it was written:[/] {escape(name)}")


def _result_json(result: verification.RunResult) -> dict:
    return {**dataclasses.asdict(result), "equal": result.equal}


def _finite(value: float) -> float | None:
    """Return a number as JSON can say it: an SI-SNR may be infinite."""
    return value if math.isfinite(value) else None


def _print_json(content) -> None:
    print(json.dumps(_plain(content), indent=1, allow_nan=False))


def _plain(value):
    """Return nested values as JSON can say them; a number that is not finite becomes null."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return _finite(value) if isinstance(value, float) else value


def _require_equal(results: list[verification.RunResult], changed: tuple[str, ...] = ()) -> None:
    """Raise the error with exit code 3 if any integer differs, naming the first."""
    found = verification.first_difference(results)
    if found is None and not changed:
        return
    if found is None:
        raise VerificationError(
            changed[0],
            f"was changed after the bundle was written ({len(changed)} tensors were), though no"
            " recorded integer differs",
            "Compile it again",
        )
    result, tensor = found
    first = tensor.first
    raise VerificationError(
        f"{result.backend.value}, {result.mode.value}",
        f"the first difference is in group {tensor.group}, {tensor.value}, at token {first.token}"
        f" of sequence {first.sequence}, neuron {first.neuron}: got {first.got}, expected"
        f" {first.expected}",
        (
            f"Look at the synapses and constants of {tensor.group}"
            if tensor.value != TOKEN_VALUE
            else "The recorded tokens themselves differ from their recording"
        )
        + (f"; changed since the bundle was written: {', '.join(changed)}" if changed else ""),
    )


def main() -> None:
    """Run the command line; every error of the user's ends with a message and an exit code."""
    try:
        app()
    except SystemExit as end:
        # typer ends a wrong call with 2, which means "does not fit" here, and an interrupt with
        # 130 and no word.
        if end.code == INTERRUPTED:
            stderr.print("interrupted; nothing is left running", highlight=False)
        sys.exit(1 if end.code == WRONG_CALL else end.code)
    except S5ToLoihiError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Check the path", 1)
    except KeyboardInterrupt:
        stderr.print("interrupted; nothing is left running", highlight=False)
        sys.exit(INTERRUPTED)


def _fail(message: str, exit_code: int) -> NoReturn:
    stderr.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
