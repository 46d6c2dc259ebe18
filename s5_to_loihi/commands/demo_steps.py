"""The main job on what ships with the package: quantize, prove, denoise, map, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from s5_to_loihi import audio, bundle
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.commands import console
from s5_to_loihi.commands.checking import require_equal
from s5_to_loihi.compiler import Quantization, compile_export, quantize
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, CLEAN, DENOISER, GPU, NOISY
from s5_to_loihi.denoising import compare_denoising, denoise
from s5_to_loihi.errors import InputError, VerificationError
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import measured_rates
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.findings import Sources, gather
from s5_to_loihi.profiling.profile import recorded_tokens
from s5_to_loihi.quantization.report import output_signal_to_noise
from s5_to_loihi.reports import mapping_tables
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html.files import write as write_report
from s5_to_loihi.reports.network_tables import network_table
from s5_to_loihi.reports.numbers import with_range
from s5_to_loihi.reports.quantization_tables import (
    decibels,
    quantization_facts,
    quantization_table,
)
from s5_to_loihi.reports.ranges import draw_ranges
from s5_to_loihi.reports.run_tables import group_table, run_table
from s5_to_loihi.reports.spectrogram import draw_spectrograms
from s5_to_loihi.simulation import read_array
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import RunResult, verify_interpreter, verify_run

#: Tokens that Lava runs in the mode fall-through, where each takes ``latency`` timesteps.
FALL_THROUGH_TOKENS = 15
#: What the demo writes, and what it is.
WRITTEN = {
    "report.html": "what a token costs, and how each number came about",
    "denoiser_small.bundle/": "our network, mapped, with vectors to verify it with",
    "intel_export.bundle/": "Intel's export with Intel's integers",
    "denoised.wav": "the cleaned recording",
    "spectrograms.png": "noisy, clean and denoised",
    "ranges.png": "where the integers lie in their formats",
    "network.svg": "neuron groups and synapses",
}


def run_demo(directory: Path) -> None:
    """Run the demo, and write its files into a directory."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            str(directory), f"cannot be made ({error.strerror})", "Choose another directory"
        ) from None
    _step("1. Quantize the float checkpoint")
    made = _quantize()
    own = made.bundle
    draw_ranges(made.report, directory / "ranges.png")

    _step("2. Compile Intel's fixed-point export of the same model")
    intel = compile_export(DENOISER)
    console.say_notes(intel.notes)
    console.show(network_table(intel.network))

    _step("3. Prove every integer")
    lava = lava_shim.is_installed()
    if not lava:
        console.say_whole(
            "Lava is not installed, so its part is left out. To install it: "
            + "; ".join(lava_shim.pip_commands(sys.version_info[:2]))
        )
    for compiled, title, file in (
        (own, "Our network, against the interpreter", "denoiser_small.bundle"),
        (intel, "Intel's export, against Intel's own integers", "intel_export.bundle"),
    ):
        console.announce_compilation(compiled.network, [Backend.FAST])
        results = list(_verify(compiled, lava))
        console.say(f"\n{title}", style="bold")
        console.show(run_table(results))
        require_equal(results)
        bundle.write(compiled, directory / file)
    console.show(group_table(results))

    _step("4. Denoise speech")
    _denoise(made, intel.network, directory, lava)
    draw_network(own.network, directory / "network.svg")

    _step("5. Map onto Loihi 2, and say what a token costs")
    _report(own, directory)
    _step("6. Written")
    for name, meaning in WRITTEN.items():
        console.say_whole(f"{directory / name}  {meaning}")


def _step(title: str) -> None:
    console.stdout.rule(title, align="left")


def _quantize() -> Quantization:
    with console.progress("Quantizing", "groups") as advance:
        made = quantize(
            CHECKPOINT,
            read_array(CALIBRATION),
            held_out=read_array(NOISY),
            name="denoiser_small",
            on_progress=advance,
        )
    console.say_notes(made.bundle.notes)
    console.show(network_table(made.bundle.network), quantization_table(made.report))
    console.stdout.print()
    for label, text in quantization_facts(made.report):
        console.say(f"{label}: {text}")
    return made


def _denoise(made: Quantization, intel: Network, directory: Path, lava: bool) -> None:
    """Denoise the shipped recording, and say how well each network does."""
    own = made.bundle.network
    noisy, clean = audio.read_wav(NOISY), audio.read_wav(CLEAN)
    result = denoise(own, noisy.samples, Backend.FAST)
    runs = {Backend.FAST: result}
    if lava:
        with console.progress(f"{Backend.LAVA_FUSED.value}, the whole recording") as advance:
            runs[Backend.LAVA_FUSED] = denoise(
                own, noisy.samples, Backend.LAVA_FUSED, on_progress=advance
            )
        if not np.array_equal(runs[Backend.LAVA_FUSED].samples, result.samples):
            raise VerificationError("the recording", "comes out differently under Lava")
    for backend, run in runs.items():
        console.say(
            f"{backend.value:12} {run.tokens:,} tokens ({run.audio_seconds:.0f} s) in"
            f" {run.seconds:.3f} s: real-time factor {run.real_time_factor:.4f},"
            f" {run.clipped_inputs} inputs saturated"
        )
    (ours,) = compare_denoising(made.model, own, noisy, clean)
    (theirs,) = compare_denoising(made.model, intel, noisy, clean)
    console.say(
        f"SI-SNR {ours.noisy:.2f} dB noisy -> float model {ours.floats:.2f} dB, our integers"
        f" {ours.integers:.2f} dB ({ours.integers - ours.floats:+.3f} dB), Intel's export"
        f" {theirs.integers:.2f} dB ({theirs.integers - theirs.floats:+.3f} dB)",
        style="bold",
    )
    sqnr = [decibels(_output_sqnr(made.model, network)) for network in (own, intel)]
    console.say(f"Output SQNR against the float model: ours {sqnr[0]} dB, Intel's {sqnr[1]} dB")
    audio.write_wav(directory / "denoised.wav", result.samples)
    panels = [
        (f"noisy, SI-SNR {ours.noisy:.2f} dB", noisy.samples[0]),
        ("clean, the reference", clean.samples[0]),
        (f"denoised in integers, SI-SNR {ours.integers:.2f} dB", result.samples[0]),
    ]
    draw_spectrograms(directory / "spectrograms.png", panels, audio.RATE)


def _report(own: bundle.Bundle, directory: Path) -> None:
    """Map the network, write the mapping into its bundle, and write its report."""
    path = directory / "denoiser_small.bundle"
    rates = measured_rates(own.network, recorded_tokens(own))
    with console.progress("Mapping (the first time: compiling, up to 30 s)", "tries") as advance:
        mapping, evaluation = map_network(
            own.network, rates, objective=Objective.BALANCED, on_progress=advance
        )
    bundle.write(replace(own, mapping=mapping), path)
    console.say(*mapping_tables.summary(evaluation))
    started = time.perf_counter()
    with console.progress("Reporting", "") as advance:
        sources = Sources(path, inputs=NOISY, clean=CLEAN, baselines=(GPU,))
        findings = gather(sources, lambda name: advance)
        write_report(findings, "s5-to-loihi demo", directory / "report.html")
    mode = findings.own.profile.modes["fall-through"]
    energy = mode.energy["neurocore rails"].total
    console.say(
        f"A token: {with_range(mode.latency)}, {with_range(energy)} ({energy.scope}), modelled;"
        f" reported in {time.perf_counter() - started:.1f} s",
        style="bold",
    )


def _output_sqnr(model: S5Model, network: Network) -> float | None:
    """Return the signal-to-quantization-noise ratio of a network's outputs in dB."""
    data = read_array(NOISY)
    outputs = Interpreter(network).evaluate(to_integers(data, network.input_format)[0]).outputs
    return output_signal_to_noise(network, evaluate(model, data), outputs)


def _verify(compiled: bundle.Bundle, lava: bool) -> Iterator[RunResult]:
    """Yield the results of all runs that the demo shows."""
    network, vectors = compiled.network, compiled.vectors
    assert vectors is not None, "a bundle that was just made has vectors"
    yield verify_interpreter(network, vectors)
    yield verify_run(network, vectors, Backend.INTERPRETER, Mode.FALL_THROUGH)
    yield verify_run(network, vectors, Backend.FAST, Mode.PIPELINED)
    if not lava:
        return
    runs = (
        (Backend.LAVA_FUSED, Mode.PIPELINED, vectors),
        (Backend.LAVA_FUSED, Mode.FALL_THROUGH, vectors.first(FALL_THROUGH_TOKENS)),
        (Backend.LAVA, Mode.PIPELINED, vectors),
        (Backend.LAVA, Mode.FALL_THROUGH, vectors.first(FALL_THROUGH_TOKENS, 1)),
    )
    for backend, mode, shown in runs:
        with console.progress(f"{backend.value}, {mode.value}") as advance:
            yield verify_run(network, shown, backend, mode, on_progress=advance)
