"""``run``, ``denoise`` and ``demo``: networks at work."""

from __future__ import annotations

import time
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import audio, bundle
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.commands import console
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.denoising import denoise as denoise_samples
from s5_to_loihi.denoising import read_pair
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.reports.network_tables import activity_table
from s5_to_loihi.simulation import simulate_file
from s5_to_loihi.simulators.interpreter import Mode


def denoise(
    recording: Path = Argument(..., metavar="IN.wav", help="The noisy recording."),
    output: Path = Argument(..., metavar="OUT.wav", help="The cleaned one to write."),
    model: Path | None = Option(
        None, "--bundle", help="A compiled denoiser. Default: the one that is shipped."
    ),
    backend: Backend = Option(
        Backend.FAST, "--backend", "-b", help="What to run it on; all give the same integers."
    ),
    mode: console.ModeOption = Mode.PIPELINED,
    clean: Path | None = Option(None, help="The clean recording, to measure SI-SNR with."),
    picture: Path | None = Option(
        None, help="Draw the spectrograms into this file (.png or .svg)."
    ),
    as_json: console.JsonOption = False,
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
    console.announce_compilation(network, [backend])
    with console.progress(f"Denoising on {backend.value}") as advance:
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
        console.print_json(
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
    console.say_notes(noisy.notes)
    console.say(
        f"{result.tokens:,} tokens ({result.audio_seconds:.1f} s,"
        f" {len(result.samples)} channel(s)) in {result.seconds:.3f} s on {backend.value}:"
        f" real-time factor {result.real_time_factor:.4f}",
        f"Saturated: {result.clipped_inputs:,} inputs, {clipped_samples:,} output samples",
    )
    for index, (before, after) in enumerate(si_snr or ()):
        console.say(f"SI-SNR of channel {index}: {before:.2f} dB noisy, {after:.2f} dB denoised")
    console.say_wrote(output, picture)


def run(
    path: console.BundleArgument,
    inputs: Path = Argument(
        ...,
        metavar="INPUT",
        help="(tokens, features) or (tokens, batch, features) as .npy or .npz, integers or"
        " floats; or a recording (.wav).",
    ),
    output: Path = Option(..., "--output", "-o", help="The .npy to write: integers, int32."),
    saturate: bool = Option(
        False, "--saturate", help="Clip values outside the input format, and count."
    ),
    threads: int | None = Option(
        None, min=1, help="Sequences at the same time. Default: all processors."
    ),
    as_json: console.JsonOption = False,
) -> None:
    """Run a network on data of any length with the fast simulator.

    Memory stays bounded: input and output are read and written in chunks. Prints throughput and
    activity: messages, synaptic operations and neuron updates of each group. Example:

        s5-to-loihi run denoiser.bundle frames.npy -o masks.npy
    """
    network = bundle.read(path).network
    console.announce_compilation(network, [Backend.FAST])
    started = time.perf_counter()
    with console.progress("Simulating", "tokens") as advance:
        totals = simulate_file(
            network, inputs, output, saturate=saturate, threads=threads, on_progress=advance
        )
    seconds = time.perf_counter() - started
    count = totals.tokens * totals.sequences
    if as_json:
        console.print_json(
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
    console.show(activity_table(totals))
    console.say(
        f"{totals.sequences} x {totals.tokens:,} tokens in {seconds:.2f} s"
        f" ({seconds / count * 1e6:.1f} µs a token, starting included),"
        f" {totals.saturated:,} inputs saturated"
    )
    console.say_whole(f"Wrote {output}: integers of {network.output_format}")


def demo(
    directory: Path = Argument(
        Path("demo_output"), help="Where to write the bundle, sound and pictures."
    ),
) -> None:
    """Compile the shipped denoiser, prove it under Lava, and denoise the shipped recording."""
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.commands.demo_steps import run_demo

    run_demo(directory)
