"""Computes one point of a sweep: quantized, simulated, mapped and profiled.

What a worker computed last is kept, so that the points of one network are quantized once and those
of one mapping mapped once, if they are computed one after another.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.checkpoints.magnitude_pruning import sparsity_of
from s5_to_loihi.compiler import quantize
from s5_to_loihi.denoising import compare_denoising
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.inputs import Data, Layout
from s5_to_loihi.loihi2 import rules
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording, record
from s5_to_loihi.profiling.profile import Profile, profile_recording
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.report import output_signal_to_noise
from s5_to_loihi.simulation import read_data
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.sweeping.inputs import Point, check_unchanged
from s5_to_loihi.sweeping.metrics import ENERGIES

#: Constants are drawn for distributions, which a sweep does not show: intervals are enough.
SAMPLES = 2


@dataclass(frozen=True, eq=False)
class Simulated:
    """A network of integers, and what it does on held-out data.

    Attributes:
        network: quantized.
        recording: of its messages.
        metrics: those that no mapping changes.
    """

    network: Network
    recording: Recording
    metrics: dict[str, Quantity]


def compute(point: Point) -> dict[str, dict]:
    """Compute a point.

    Returns:
        Name of ``METRICS`` -> a ``Quantity`` as JSON can say it. Those without a finite value, such
        as the ratio of outputs that are all zero, are left out.

    Raises:
        S5ToLoihiError: it cannot be computed: the network does not fit, a precision is refused, or
            an input is not what it was when the sweep began.
    """
    simulated = _simulated(point.of_quantization)
    profile, of_mapping = _mapped(point.of_mapping)
    mode = profile.modes[point.settings.mode]
    metrics = {
        **simulated.metrics,
        **of_mapping,
        "synops": profile.activity.synops,
        "timestep": mode.timestep,
        "latency": mode.latency,
        "throughput": mode.throughput,
        **{name: mode.energy[scope].total for name, scope in zip(ENERGIES, SCOPES, strict=True)},
        "energy_real_time": mode.real_time.energy[SCOPES[0]],
        "latency_real_time": mode.real_time.latency,
    }
    return {name: dataclasses.asdict(quantity) for name, quantity in metrics.items()}


@functools.lru_cache(maxsize=1)
def _simulated(point: Point) -> Simulated:
    """Prune, quantize, and run on held-out data."""
    check_unchanged(point)
    settings = point.settings
    layout = None if point.layout is None else Layout(point.layout)

    def data(path: str) -> Data:
        return read_data(path, layout, point.sequence_length)

    made = quantize(
        Path(point.checkpoint.path),
        data(point.calibration.path),
        held_out=None if point.held_out is None else data(point.held_out.path),
        precision=Precision(
            weights=settings.weights,
            activations=settings.activations,
            inputs=settings.inputs,
            eigenvalues=settings.eigenvalues,
            states=settings.states,
            knots=settings.knots,
        ),
        options=point.options,
        sparsity=settings.sparsity,
        sequence_length=point.sequence_length,
        where=(point.calibration.path, point.held_out.path if point.held_out else "held-out data"),
    )
    network, held_out = made.bundle.network, made.held_out
    tokens, _ = to_integers(held_out, network.input_format)
    count = held_out.shape[0] * held_out.shape[1]
    source = f"simulation in integers of {count:,} held-out tokens"
    ratios = {
        "sqnr": (made.report.signal_to_noise, "outputs against the float model, as pruned"),
        "fidelity": (
            made.report.signal_to_noise
            if settings.sparsity is None
            else _fidelity(made.original, network, held_out, tokens),
            "outputs against the float checkpoint, before pruning",
        ),
    }
    if point.held_out is not None and point.clean is not None:
        noisy, clean = (audio.read_wav(Path(one.path)) for one in (point.held_out, point.clean))
        scores = compare_denoising(made.model, network, noisy, clean)
        scope = "the recording, mean over channels"
        ratios["si_snr"] = (float(np.mean([one.integers for one in scores])), scope)
        ratios["si_snr_float"] = (
            float(np.mean([one.floats for one in scores])),
            f"{scope}, float model as pruned",
        )
    metrics = {
        name: _exact(value, "dB", scope, source, Origin.MEASURED)
        for name, (value, scope) in ratios.items()
        if value is not None and math.isfinite(value)
    }
    metrics["sparsity"] = _exact(
        sparsity_of(made.model), "share", "zeros in all weights of the float model", "counted"
    )
    metrics["synapses"] = _exact(network.synapse_count, "synapses", "the network", "counted")
    return Simulated(network, record(network, tokens), metrics)


def _fidelity(
    original: S5Model, network: Network, held_out: np.ndarray, tokens: np.ndarray
) -> float | None:
    """Return the ratio of the checkpoint's outputs to what pruning and rounding changed, in dB."""
    outputs = Interpreter(network).evaluate(tokens).outputs
    return output_signal_to_noise(network, evaluate(original, held_out), outputs)


@functools.lru_cache(maxsize=1)
def _mapped(point: Point) -> tuple[Profile, dict[str, Quantity]]:
    """Map a network and profile it in both modes; return what the mapping takes as well."""
    simulated = _simulated(point.of_quantization)
    mapping, evaluation = map_network(
        simulated.network,
        simulated.recording.rates,
        None if point.system is None else load_system(point.system.path),
        Objective(point.settings.objective),
        seed=point.seed,
    )
    rules.require(evaluation)
    words = evaluation.words[:, Resource.TOTAL].sum()
    scope = f"on {evaluation.system.name}"
    profile = profile_recording(
        simulated.network,
        simulated.recording,
        mapping,
        evaluation.system,
        seed=point.seed,
        samples=SAMPLES,
    )
    return profile, {
        "cores": _exact(evaluation.loads.cores, "cores", scope, "the mapping"),
        "memory": _exact(words, "words", f"{scope}, all cores in use", "the mapping"),
    }


def _exact(
    value: float, unit: str, scope: str, source: str, origin: Origin = Origin.MODELLED
) -> Quantity:
    """Return a number that has no range: it was computed exactly, or measured on all data."""
    number = float(value)
    return Quantity(number, number, number, unit, scope, origin, source)
