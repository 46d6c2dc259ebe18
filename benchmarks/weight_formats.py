"""Formats of weights beside each other: int8, e4m3, e5m2, int6 and int4, at 16-bit messages.

Losses of SI-SNR in dB and SQNR of the outputs on noisy recordings, against the float model;
synapses, and words of core memory on as few cores as hold them.

    python benchmarks/weight_formats.py [--noisy SOUND.wav --clean SOUND.wav]...
        MODEL...
"""

from __future__ import annotations

import argparse

import numpy as np
import quantization as bench

from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.network.ranges import program
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_model

FORMATS = (8, "e4m3", "e5m2", 6, 4)


def main() -> None:
    """Print a row for each model and format."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--noisy", action="append", metavar="WAV")
    parser.add_argument("--clean", action="append", metavar="WAV")
    options = parser.parse_args()
    noisy = options.noisy or [str(bench.SPEECH / "noisy.wav")]
    clean = options.clean or [str(bench.SPEECH / "clean.wav")]
    tokens = bench.calibration(str(bench.SPEECH / "calibration.wav"))
    for path in options.models:
        model = load(path).model
        held_out = bench.HeldOut(noisy, clean, model)
        for weights in FORMATS:
            network = quantize_model(model, tokens, Precision(weights=weights)).network
            found = held_out.of_network(network)
            _, evaluation = map_network(network, objective=Objective.CORES)
            words = int(evaluation.words[:, Resource.TOTAL].sum())
            widest = max(
                step.bits for group in network.groups for step in program(network, group).steps
            )
            loss = np.array(found["losses"])
            print(
                f"{path}  {weights}  {loss.mean():+.3f} / {loss.max():+.3f} / {found['sqnr']:.1f}"
                f"  {network.synapse_count:,} synapses  {words:,} words  {widest} bits at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
