"""``run``, ``denoise`` and ``demo``: networks at work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from s5_to_loihi import audio, bundle
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.commands.console import (
    BundleArgument,
    JsonOption,
    ModeOption,
    announce_compilation,
    print_json,
    progress,
    say,
    say_notes,
    say_whole,
    say_wrote,
    show,
)
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.denoising import denoise as denoise_samples
from s5_to_loihi.denoising import read_pair
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.reports.network_tables import activity_table
from s5_to_loihi.simulation import simulate_file
from s5_to_loihi.simulators.interpreter import Mode


def denoise(
    recording: Annotated[Path, typer.Argument(metavar="IN.wav", help="The noisy recording.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.wav", help="The cleaned one to write.")],
    model: Annotated[
        Path | None,
        typer.Option("--bundle", help="A compiled denoiser. Default: the one that is shipped."),
    ] = None,
    backend: Annotated[
        Backend,
        typer.Option("--backend", "-b", help="What to run it on; all give the same integers."),
    ] = Backend.FAST,
    mode: ModeOption = Mode.PIPELINED,
    clean: Annotated[
        Path | None, typer.Option(help="The clean recording, to measure SI-SNR with.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the spectrograms into this file (.png or .svg).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Denoise a recording with a compiled network.

    Any sample rate is resampled to 16 kHz (and said); channels are cleaned independently.
    """
    for path, suffixes in ((output, (".wav",)), (picture, (".png", ".svg"))):
        check_target(path, suffixes)
    if clean is not None:
        noisy, reference = read_pair(recording, clean)
    else:
        noisy, reference = audio.resample(audio.read_wav(recording)), None
    if model is not None:
        network = bundle.read(model).network
    else:
        network = compile_export(DENOISER).network
    announce_compilation(network, [backend])
    with progress(f"Denoising on {backend.value}") as advance:
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
        print_json(
            {
                "output": str(output),
                "backend": backend.value,
                "tokens": result.tokens,
                "seconds": result.seconds,
                "real_time_factor": result.real_time_factor,
                "clipped_inputs": result.clipped_inputs,
                "clipped_samples": clipped_samples,
                "si_snr_db": si_snr,
                "notes": noisy.notes,
            }
        )
        return
    say_notes(noisy.notes)
    say(
        f"{result.tokens:,} tokens ({result.audio_seconds:.1f} s,"
        f" {len(result.samples)} channel(s)) in {result.seconds:.3f} s on {backend.value}:"
        f" real-time factor {result.real_time_factor:.4f}",
        f"Saturated: {result.clipped_inputs:,} inputs, {clipped_samples:,} output samples",
    )
    for index, (before, after) in enumerate(si_snr or ()):
        say(f"SI-SNR of channel {index}: {before:.2f} dB noisy, {after:.2f} dB denoised")
    say_wrote(output, picture)


def run(
    path: BundleArgument,
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
        int | None, typer.Option(min=1, help="Sequences at the same time. Default: all processors.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a network on data of any length with the fast simulator.

    Memory stays bounded: input and output are read and written in chunks. Prints throughput and
    activity: messages, synaptic operations and neuron updates of each group. Example:

        s5-to-loihi run denoiser.bundle frames.npy -o masks.npy
    """
    network = bundle.read(path).network
    announce_compilation(network, [Backend.FAST])
    started = time.perf_counter()
    with progress("Simulating", "tokens") as advance:
        totals = simulate_file(
            network, inputs, output, saturate=saturate, threads=threads, on_progress=advance
        )
    seconds = time.perf_counter() - started
    count = totals.tokens * totals.sequences
    if as_json:
        print_json(
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
    show(activity_table(totals))
    say(
        f"{totals.sequences} x {totals.tokens:,} tokens in {seconds:.2f} s"
        f" ({seconds / count * 1e6:.1f} µs a token, starting included),"
        f" {totals.saturated:,} inputs saturated"
    )
    say_whole(f"Wrote {output}: integers of {network.output_format}")


def demo(
    directory: Annotated[
        Path, typer.Argument(help="Where to write the bundle, sound and pictures.")
    ] = Path("demo_output"),
) -> None:
    """Compile the shipped denoiser, prove it under Lava, and denoise the shipped recording."""
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.commands.demo_steps import run_demo

    run_demo(directory)
