"""The main job on what ships with the package: compile, prove, denoise, show."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from s5_to_loihi import audio, bundle, verification
from s5_to_loihi.backends import lava_shim
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.backends.interpreter import Mode
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.denoising import denoise
from s5_to_loihi.errors import InputError, VerificationError
from s5_to_loihi.reports import tables
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.spectrogram import draw_spectrograms

DATA = Path(__file__).parent / "data"
DENOISER = DATA / "denoiser_small"
NOISY = DATA / "speech" / "noisy.wav"
CLEAN = DATA / "speech" / "clean.wav"

#: Tokens that Lava runs in the mode fall-through, where each takes ``latency`` timesteps.
FALL_THROUGH_TOKENS = 15


def run_demo(directory: Path, console: Console, progress, announce, require_equal) -> None:
    """Run the demo and write its files.

    Args:
        directory: where the files go.
        console: where to print.
        progress: makes a progress bar; a context manager that yields a function (done, total).
        announce: says that kernels are being compiled, if they are; (network, backends).
        require_equal: raises if a verification differs.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            str(directory), f"cannot be made ({error.strerror})", "Choose another directory"
        ) from None
    console.rule("1. Compile Intel's fixed-point export", align="left")
    compiled = compile_export(DENOISER)
    network = compiled.network
    for note in compiled.notes:
        console.print(f"Note: {note}", highlight=False)
    console.print(tables.network_table(network))

    console.rule("2. Prove every integer", align="left")
    lava = lava_shim.is_installed()
    if not lava:
        console.print(
            "Lava is not installed, so its part is left out. To install it: "
            + "; ".join(lava_shim.pip_commands(sys.version_info[:2])),
            highlight=False,
            soft_wrap=True,
        )
    announce(network, [Backend.FAST])
    results = list(_verify(network, compiled.vectors, lava, progress))
    console.print(tables.run_table(results))
    console.print(tables.group_table(results))
    require_equal(results)
    bundle.write(compiled, directory / "denoiser_small.bundle")

    console.rule("3. Denoise speech", align="left")
    noisy, clean = audio.read_wav(NOISY), audio.read_wav(CLEAN)
    result = denoise(network, noisy.samples, Backend.FAST)
    runs = {Backend.FAST: result}
    if lava:
        with progress(f"{Backend.LAVA_FUSED.value}, the whole recording") as advance:
            runs[Backend.LAVA_FUSED] = denoise(
                network, noisy.samples, Backend.LAVA_FUSED, on_progress=advance
            )
        if not np.array_equal(runs[Backend.LAVA_FUSED].samples, result.samples):
            raise VerificationError("the recording", "comes out differently under Lava")
    before = audio.si_snr(noisy.samples[0], clean.samples[0])
    after = audio.si_snr(result.samples[0], clean.samples[0])
    for name, run in runs.items():
        console.print(
            f"{name.value:12} {run.tokens:,} tokens ({run.audio_seconds:.0f} s) in"
            f" {run.seconds:.3f} s: real-time factor {run.real_time_factor:.4f},"
            f" {run.clipped_inputs} inputs saturated",
            highlight=False,
        )
    console.print(
        f"SI-SNR {before:.2f} dB noisy -> {after:.2f} dB denoised ({after - before:+.2f} dB)",
        highlight=False,
        style="bold",
    )
    audio.write_wav(directory / "denoised.wav", result.samples)
    panels = [
        (f"noisy, SI-SNR {before:.2f} dB", noisy.samples[0]),
        ("clean, the reference", clean.samples[0]),
        (f"denoised in integers, SI-SNR {after:.2f} dB", result.samples[0]),
    ]
    draw_spectrograms(directory / "spectrograms.png", panels, audio.RATE)
    draw_network(network, directory / "network.svg")
    console.rule("4. Written", align="left")
    for name, meaning in (
        ("denoiser_small.bundle/", "the network with its golden vectors"),
        ("denoised.wav", "the cleaned recording"),
        ("spectrograms.png", "noisy, clean and denoised"),
        ("network.svg", "neuron groups and synapses"),
    ):
        console.print(f"{directory / name}  {meaning}", highlight=False, soft_wrap=True)


def _verify(network, vectors, lava: bool, progress):
    """Yield the results of all runs that the demo shows."""
    yield verification.verify_interpreter(network, vectors)
    yield verification.verify_run(network, vectors, Backend.INTERPRETER, Mode.FALL_THROUGH)
    yield verification.verify_run(network, vectors, Backend.FAST, Mode.PIPELINED)
    if not lava:
        return
    runs = (
        (Backend.LAVA_FUSED, Mode.PIPELINED, vectors),
        (Backend.LAVA_FUSED, Mode.FALL_THROUGH, vectors.first(FALL_THROUGH_TOKENS)),
        (Backend.LAVA, Mode.PIPELINED, vectors),
        (Backend.LAVA, Mode.FALL_THROUGH, vectors.first(FALL_THROUGH_TOKENS, 1)),
    )
    for backend, mode, shown in runs:
        with progress(f"{backend.value}, {mode.value}") as advance:
            yield verification.verify_run(network, shown, backend, mode, on_progress=advance)
