"""The main job on what ships with the package: quantize, verify, denoise, map, report."""

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
from s5_to_loihi.commands.checking import require_equal, result_json
from s5_to_loihi.commands.settings import settings
from s5_to_loihi.compiler import Quantization, compile_export, quantize
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, CLEAN, DENOISER, GPU, NOISY
from s5_to_loihi.denoising import Score, compare_denoising, denoise
from s5_to_loihi.errors import InputError, VerificationError
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import measured_rates
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.findings import Sources, gather
from s5_to_loihi.profiling.profile import recorded_tokens
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.quantization.report import output_signal_to_noise
from s5_to_loihi.reports import mapping_tables, profile_tables
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html.files import write as write_report
from s5_to_loihi.reports.network_tables import size_in_words
from s5_to_loihi.reports.quantization_tables import (
    decibels,
    quantization_facts,
)
from s5_to_loihi.reports.ranges import draw_ranges
from s5_to_loihi.reports.run_tables import run_facts
from s5_to_loihi.reports.spectrogram import draw_spectrograms
from s5_to_loihi.reports.summary import Summary
from s5_to_loihi.simulation import read_array
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import RunResult, verify_interpreter, verify_run

#: Tokens that Lava runs in the mode fall-through, where each takes ``latency`` timesteps.
FALL_THROUGH_TOKENS = 15
#: What the demo writes, and what it is.
WRITTEN = {
    "report.html": "for a browser: what a token costs, and how each number came about",
    "denoiser_small.bundle/": "our network, mapped, with vectors to verify it with",
    "intel_export.bundle/": "Intel's export with Intel's integers",
    "denoised.wav": "the cleaned recording",
    "spectrograms.png": "noisy, clean and denoised",
    "ranges.png": "where the integers lie in their formats",
    "network.svg": "neuron groups and synapses",
}


def run_demo(directory: Path, as_json: bool) -> None:
    """Run the demo, and write its files into a directory."""
    started = time.perf_counter()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            str(directory), f"cannot be made ({error.strerror})", "Choose another directory"
        ) from None
    lava = lava_shim.is_installed()
    console.say(
        "Five steps: on two cores 80 to 120 s the first time, which compiles loops, 40 s later;"
        " several minutes on busy ones."
    )
    _step("1. Quantize the float checkpoint of a denoiser")
    made = _quantize()
    own = made.bundle
    draw_ranges(made.report, directory / "ranges.png")

    _step("2. Compile Intel's fixed-point export of the same model")
    intel = compile_export(DENOISER)
    console.summarise(Summary(size_in_words(intel.network), notes=intel.notes))

    _step("3. Verify every integer" + ", under Lava too" * lava)
    runs = _prove(own, intel, directory, lava)

    _step("4. Denoise a recording of speech")
    score = _denoise(made, intel.network, directory, lava)
    draw_network(own.network, directory / "network.svg")

    _step("5. Map onto Loihi 2, and say what a token costs")
    cost = _report(own, directory)
    if as_json:
        console.print_json(
            {
                "directory": str(directory),
                "files": WRITTEN,
                "quantization": made.report,
                "verification": {
                    name: [result_json(one) for one in results] for name, results in runs.items()
                },
                "si_snr_db": score,
                "cost": cost,
            }
        )
    console.say("")
    console.summarise(
        Summary(
            f"All integers are equal. The demo took {time.perf_counter() - started:.0f} s",
            [(str(directory / name), meaning) for name, meaning in WRITTEN.items()],
            next="s5-to-loihi quantize --help  # for your own model",
        )
    )


def _prove(
    own: bundle.Bundle, intel: bundle.Bundle, directory: Path, lava: bool
) -> dict[str, list[RunResult]]:
    """Compare both networks on every backend and write their bundles; return runs by file."""
    if not lava:
        console.say_whole(
            "Lava is not installed, so its part is left out. To install it: "
            + "; ".join(lava_shim.pip_commands(sys.version_info[:2]))
        )
    runs = {}
    for compiled, title, file in (
        (own, "Our network, against the interpreter", "denoiser_small.bundle"),
        (intel, "Intel's export, against Intel's own integers", "intel_export.bundle"),
    ):
        runs[file] = list(_verify(compiled, lava))
        console.summarise(Summary(title, run_facts(runs[file])))
        require_equal(runs[file])
        bundle.write(compiled, directory / file)
    return runs


def _step(title: str) -> None:
    if not settings.json and not settings.quiet:
        console.stdout.print()
        console.stdout.rule(title, align="left")


def _quantize() -> Quantization:
    with console.progress("Quantizing (compiles at first)", "groups") as advance:
        made = quantize(
            CHECKPOINT,
            read_array(CALIBRATION),
            held_out=read_array(NOISY),
            name="denoiser_small",
            on_progress=advance,
        )
    console.summarise(
        Summary(
            f"Output SQNR {decibels(made.report.signal_to_noise)} dB on"
            f" {made.report.held_out_tokens:,} held-out tokens",
            [("network", size_in_words(made.bundle.network)), *quantization_facts(made.report)],
        )
    )
    return made


def _denoise(made: Quantization, intel: Network, directory: Path, lava: bool) -> Score:
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
    (ours,) = compare_denoising(made.model, own, noisy, clean)
    (theirs,) = compare_denoising(made.model, intel, noisy, clean)
    sqnr = [decibels(_output_sqnr(made.model, network)) for network in (own, intel)]
    facts = [
        (
            backend.value,
            f"{run.tokens:,} tokens ({run.audio_seconds:.0f} s) in {run.seconds:.3f} s: real-time"
            f" factor {run.real_time_factor:.4f}, {run.clipped_inputs} inputs saturated",
        )
        for backend, run in runs.items()
    ]
    facts += [
        ("Intel's export", f"{theirs.integers:.2f} dB ({theirs.integers - theirs.floats:+.3f} dB)"),
        ("output SQNR", f"against the float model: ours {sqnr[0]} dB, Intel's {sqnr[1]} dB"),
    ]
    console.summarise(
        Summary(
            f"SI-SNR {ours.noisy:.2f} dB noisy, {ours.floats:.2f} dB float model,"
            f" {ours.integers:.2f} dB integers ({ours.integers - ours.floats:+.3f} dB)",
            facts,
        )
    )
    audio.write_wav(directory / "denoised.wav", result.samples)
    panels = [
        (f"noisy, SI-SNR {ours.noisy:.2f} dB", noisy.samples[0]),
        ("clean, the reference", clean.samples[0]),
        (f"denoised in integers, SI-SNR {ours.integers:.2f} dB", result.samples[0]),
    ]
    draw_spectrograms(directory / "spectrograms.png", panels, audio.RATE)
    return ours


def _report(own: bundle.Bundle, directory: Path) -> dict[str, Quantity]:
    """Map the network, write the mapping into its bundle, and write its report."""
    path = directory / "denoiser_small.bundle"
    rates = measured_rates(own.network, recorded_tokens(own))
    with console.progress("Mapping (compiles at first)", "tries") as advance:
        mapping, evaluation = map_network(
            own.network, rates, objective=Objective.BALANCED, on_progress=advance
        )
    bundle.write(replace(own, mapping=mapping), path)
    with console.progress("Reporting", "") as advance:
        sources = Sources(path, inputs=NOISY, clean=CLEAN, baselines=(GPU,))
        findings = gather(sources, lambda name: advance)
        write_report(findings, "s5-to-loihi demo", directory / "report.html")
    console.summarise(Summary(profile_tables.verdict(findings.own.profile)))
    console.summarise(
        Summary(mapping_tables.verdict(evaluation), mapping_tables.facts(evaluation)[:4])
    )
    mode = findings.own.profile.modes["fall-through"]
    return {"latency": mode.latency, "energy": mode.energy["neurocore rails"].total}


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
