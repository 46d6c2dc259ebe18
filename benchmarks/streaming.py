"""Ten minutes of sound in hops of 8 ms on one core: what a hop takes, and how many come too late.

    python benchmarks/streaming.py [--minutes 10]

Beside it, in the same run: the network alone (a token), and the transforms alone.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from s5_to_loihi import audio, intel_export
from s5_to_loihi.audio import HOP, RATE, WINDOW
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER, NOISY
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.streaming import DenoiserStream, HopTimes


def networks():
    """Yield (name, network)."""
    yield "shipped denoiser, H 48", compile_export(DENOISER).network
    export = importlib.import_module("golden").export("denoiser_intel_size")
    model, _ = intel_export.to_model(export, intel_export.ExportOptions())
    yield "Intel's size, H 192, P 128", run_passes(lower(model))


def token_seconds(network, tokens: np.ndarray) -> float:
    """Seconds a token of the network alone, streamed."""
    stream = FastSimulator(network).stream()
    stream.step(tokens[0])
    started = time.perf_counter()
    for token in tokens:
        stream.step(token)
    return (time.perf_counter() - started) / len(tokens)


def transform_seconds(samples: np.ndarray) -> float:
    """Seconds a hop of both transforms alone."""
    starts = range(0, len(samples) - WINDOW, HOP)
    started = time.perf_counter()
    for first in starts:
        audio.synthesise_frame(audio.analyse_frame(samples[first : first + WINDOW]))
    return (time.perf_counter() - started) / len(starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    speech = audio.read_wav(NOISY).samples[0]
    hops = round(minutes * 60 * RATE / HOP)
    samples = np.resize(speech, hops * HOP)
    for name, network in networks():
        stream, times = DenoiserStream(network, grid=HOP), HopTimes()
        for first in range(0, len(samples), HOP):
            started = time.perf_counter()
            stream.process(samples[first : first + HOP])
            times.add(time.perf_counter() - started, 1)
        features = audio.features(audio.analyse(speech[: 2000 * HOP]))
        scaled = np.floor(np.ldexp(features, network.input_format.exponent)).astype(np.int32)
        token, transforms = token_seconds(network, scaled), transform_seconds(speech[: 2000 * HOP])
        mean = times.summary()["mean_us"]
        print(f"{name}: {minutes:g} minutes on one core\n  {times.verdict(stream.delay, 0)}")
        parts = {"the network": token * 1e6, "the transforms": transforms * 1e6}
        shares = ", ".join(f"{part} {us:.0f} ({us / mean:.0%})" for part, us in parts.items())
        print(f"  of {mean:.0f} µs a hop: {shares}")


if __name__ == "__main__":
    main()
