"""The main job on what ships with the package: quantize, prove, denoise, map, report."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from s5_to_loihi import audio, bundle, verification
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.compiler import compile_export, quantize
from s5_to_loihi.denoising import compare_denoising, denoise
from s5_to_loihi.errors import InputError, VerificationError
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import measured_rates
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.findings import Sources, gather
from s5_to_loihi.quantization.report import output_signal_to_noise
from s5_to_loihi.reports import mapping_tables, tables
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html.files import write as write_report
from s5_to_loihi.reports.numbers import with_range
from s5_to_loihi.reports.ranges import draw_ranges
from s5_to_loihi.reports.spectrogram import draw_spectrograms
from s5_to_loihi.simulation import read_array
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

DATA = Path(__file__).parent / "data"
#: The float checkpoint, and the export of it by Intel's code.
CHECKPOINT = DATA / "denoiser_small_float"
DENOISER = DATA / "denoiser_small"
CALIBRATION = DATA / "speech" / "calibration.wav"
NOISY = DATA / "speech" / "noisy.wav"
CLEAN = DATA / "speech" / "clean.wav"
#: The float model measured on a GPU, by benchmarks/baselines.py.
GPU = DATA / "baselines" / "denoiser_small_h200.json"

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
    console.rule("1. Quantize the float checkpoint", align="left")
    with progress("Quantizing", "groups") as advance:
        made = quantize(
            CHECKPOINT,
            read_array(CALIBRATION),
            held_out=read_array(NOISY),
            name="denoiser_small",
            on_progress=advance,
        )
    own = made.bundle
    for note in own.notes:
        console.print(f"Note: {note}", highlight=False)
    console.print(tables.network_table(own.network))
    console.print(tables.quantization_table(made.report))
    console.print()
    console.print(tables.quantization_summary(made.report), highlight=False)
    draw_ranges(made.report, directory / "ranges.png")

    console.rule("2. Compile Intel's fixed-point export of the same model", align="left")
    intel = compile_export(DENOISER)
    for note in intel.notes:
        console.print(f"Note: {note}", highlight=False)
    console.print(tables.network_table(intel.network))

    console.rule("3. Prove every integer", align="left")
    lava = lava_shim.is_installed()
    if not lava:
        console.print(
            "Lava is not installed, so its part is left out. To install it: "
            + "; ".join(lava_shim.pip_commands(sys.version_info[:2])),
            highlight=False,
            soft_wrap=True,
        )
    for compiled, title, file in (
        (own, "Our network, against the interpreter", "denoiser_small.bundle"),
        (intel, "Intel's export, against Intel's own integers", "intel_export.bundle"),
    ):
        announce(compiled.network, [Backend.FAST])
        results = list(_verify(compiled.network, compiled.vectors, lava, progress))
        console.print(f"\n{title}", style="bold")
        console.print(tables.run_table(results))
        require_equal(results)
        bundle.write(compiled, directory / file)
    console.print(tables.group_table(results))

    console.rule("4. Denoise speech", align="left")
    noisy, clean = audio.read_wav(NOISY), audio.read_wav(CLEAN)
    result = denoise(own.network, noisy.samples, Backend.FAST)
    runs = {Backend.FAST: result}
    if lava:
        with progress(f"{Backend.LAVA_FUSED.value}, the whole recording") as advance:
            runs[Backend.LAVA_FUSED] = denoise(
                own.network, noisy.samples, Backend.LAVA_FUSED, on_progress=advance
            )
        if not np.array_equal(runs[Backend.LAVA_FUSED].samples, result.samples):
            raise VerificationError("the recording", "comes out differently under Lava")
    for name, run in runs.items():
        console.print(
            f"{name.value:12} {run.tokens:,} tokens ({run.audio_seconds:.0f} s) in"
            f" {run.seconds:.3f} s: real-time factor {run.real_time_factor:.4f},"
            f" {run.clipped_inputs} inputs saturated",
            highlight=False,
        )
    (ours,) = compare_denoising(made.model, own.network, noisy, clean)
    (theirs,) = compare_denoising(made.model, intel.network, noisy, clean)
    console.print(
        f"SI-SNR {ours.noisy:.2f} dB noisy -> float model {ours.floats:.2f} dB, our integers"
        f" {ours.integers:.2f} dB ({ours.integers - ours.floats:+.3f} dB), Intel's export"
        f" {theirs.integers:.2f} dB ({theirs.integers - theirs.floats:+.3f} dB)",
        highlight=False,
        style="bold",
    )
    console.print(
        "Output SQNR against the float model: ours"
        f" {tables.decibels(_output_sqnr(made.model, own.network))} dB, Intel's"
        f" {tables.decibels(_output_sqnr(made.model, intel.network))} dB",
        highlight=False,
    )
    audio.write_wav(directory / "denoised.wav", result.samples)
    panels = [
        (f"noisy, SI-SNR {ours.noisy:.2f} dB", noisy.samples[0]),
        ("clean, the reference", clean.samples[0]),
        (f"denoised in integers, SI-SNR {ours.integers:.2f} dB", result.samples[0]),
    ]
    draw_spectrograms(directory / "spectrograms.png", panels, audio.RATE)
    draw_network(own.network, directory / "network.svg")

    console.rule("5. Map onto Loihi 2, and say what a token costs", align="left")
    _report(own, directory, console, progress)
    console.rule("6. Written", align="left")
    for name, meaning in (
        ("report.html", "what a token costs, and how each number came about"),
        ("denoiser_small.bundle/", "our network, mapped, with vectors to verify it with"),
        ("intel_export.bundle/", "Intel's export with Intel's integers"),
        ("denoised.wav", "the cleaned recording"),
        ("spectrograms.png", "noisy, clean and denoised"),
        ("ranges.png", "where the integers lie in their formats"),
        ("network.svg", "neuron groups and synapses"),
    ):
        console.print(f"{directory / name}  {meaning}", highlight=False, soft_wrap=True)


def _report(own: bundle.Bundle, directory: Path, console: Console, progress) -> None:
    """Map the network, write the mapping into its bundle, and write its report."""
    path = directory / "denoiser_small.bundle"
    rates = measured_rates(own.network, own.vectors.tokens)
    with progress("Mapping (the first time: compiling, up to 30 s)", "tries") as advance:
        mapping, evaluation = map_network(
            own.network, rates, objective=Objective.BALANCED, on_progress=advance
        )
    bundle.write(replace(own, mapping=mapping), path)
    for line in mapping_tables.summary(evaluation):
        console.print(line, highlight=False)
    started = time.perf_counter()
    with progress("Reporting", "") as advance:
        sources = Sources(path, inputs=NOISY, clean=CLEAN, baselines=(GPU,))
        findings = gather(sources, lambda name: advance)
        write_report(findings, "s5-to-loihi demo", directory / "report.html")
    mode = findings.own.profile.modes["fall-through"]
    energy = mode.energy["neurocore rails"].total
    console.print(
        f"A token: {with_range(mode.latency)}, {with_range(energy)} ({energy.scope}), modelled;"
        f" reported in {time.perf_counter() - started:.1f} s",
        highlight=False,
        style="bold",
    )


def _output_sqnr(model: S5Model, network: Network) -> float | None:
    """Return the signal-to-quantization-noise ratio of a network's outputs in dB."""
    data = read_array(NOISY)
    outputs = Interpreter(network).evaluate(to_integers(data, network.input_format)[0]).outputs
    return output_signal_to_noise(network, evaluate(model, data), outputs)


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
