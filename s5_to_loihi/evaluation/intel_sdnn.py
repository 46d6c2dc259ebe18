"""Intel's baseline of the N-DNS challenge, a sigma-delta network with axonal delays, as a guest.

Its file is not ours to pass on: ``network.net`` of IntelLabs/IntelNeuromorphicDNSChallenge,
``baseline_solution/sdnn_delays/Trained`` (MIT). The environment variable that
``packages.INTEL_SDNN_VARIABLE`` names says where it lies.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.audio import Samples
from s5_to_loihi.compiler import compile_netx
from s5_to_loihi.evaluation.packages import INTEL_SDNN_VARIABLE
from s5_to_loihi.fixed_point import Integers, to_floats
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.fast import FastSimulator

# Source: IntelLabs/IntelNeuromorphicDNSChallenge 3531ffa, train_sdnn.py: PyTorch's transform, which
# is not divided by its length as ours is; the mean; steps of 1/64 to the nearest, halves to even.
SCALE, MEAN, STEPS = float(audio.WINDOW), 0.2, 64


def network_of(path: str | os.PathLike[str]) -> Network:
    """Compile the baseline (CheckpointError, InputError: it cannot be read)."""
    return compile_netx(path).network


def tokens_of(samples: Samples) -> Integers:
    """Return what the network hears of one channel: (tokens, 1, 257) int64."""
    magnitudes = np.abs(audio.analyse(samples)) * SCALE
    return np.rint((magnitudes - MEAN) * STEPS).astype(np.int64)[:, None]


def masked(samples: Samples, network: Network, outputs: Integers) -> Samples:
    """Apply outputs (tokens, 1, 257): magnitudes are multiplied by relu(1 + output)."""
    mask = np.maximum(1 + to_floats(outputs[:, 0], network.output_format), 0)
    return audio.synthesise(audio.apply_mask(audio.analyse(samples), mask - 1), len(samples))


def denoise(samples: Samples) -> Samples:
    """Denoise one channel at 16 kHz.

    Args:
        samples: float64 (samples,).

    Returns:
        float64 (samples,), aligned with the input.
    """
    simulator = _simulator(os.environ[INTEL_SDNN_VARIABLE])
    outputs = simulator.run(tokens_of(samples)).outputs
    return masked(samples, simulator.network, outputs)


@functools.lru_cache(maxsize=1)
def _simulator(path: str) -> FastSimulator:
    return FastSimulator(network_of(Path(path)))
