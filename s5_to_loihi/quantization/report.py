"""What quantization has done to a model, tensor by tensor and from end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.fixed_point import limits, to_floats, to_integers
from s5_to_loihi.float_model import S5Model, captured, evaluate
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.quantization.draft import RoundedMatrix, TensorScale
from s5_to_loihi.quantization.proofs import RangeProof, prove
from s5_to_loihi.quantization.quantizer import Quantized
from s5_to_loihi.simulators.interpreter import Interpreter

#: Share of the integers that the box of a picture spans.
BOX = (0.01, 0.5, 0.99)


@dataclass(frozen=True)
class TensorReport:
    """A value's integers beside the float model's.

    Attributes:
        name: ``group.value``.
        bits: of an integer.
        exponents: the fewest and the most fractional bits of a neuron.
        signal_to_noise: in dB over all neurons, against the float model; inf if equal.
        saturated: integers at a limit; of: how many there were.
        dead: neurons that are zero for all tokens here, but not in the float model.
        constant: neurons that have one value for all tokens.
        box: 1 %, 50 % and 99 % quantile and maximum of the magnitude, as a fraction of the limit.
    """

    name: str
    bits: int
    exponents: tuple[int, int]
    signal_to_noise: float
    saturated: int
    of: int
    dead: int
    constant: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class QuantizationReport:
    """All of it.

    Attributes:
        tensors: on the held-out data.
        matrices: what happened to the weights.
        proofs: of all ranges; their counts are of the held-out data.
        signal_to_noise: of the network's outputs on held-out data, in dB; None if all are zero.
        calibration_signal_to_noise: the same on the calibration data.
        calibration_tokens, held_out_tokens: how many tokens, over all sequences.
        clipped_inputs: held-out integers that left the input format.
        constant_outputs: outputs that have one value for all held-out tokens.
        outputs: how many there are.
    """

    tensors: tuple[TensorReport, ...]
    matrices: tuple[RoundedMatrix, ...]
    proofs: tuple[RangeProof, ...]
    signal_to_noise: float | None
    calibration_signal_to_noise: float | None
    calibration_tokens: int
    held_out_tokens: int
    clipped_inputs: int
    constant_outputs: int
    outputs: int


def report(
    model: S5Model, quantized: Quantized, calibration: np.ndarray, held_out: np.ndarray
) -> QuantizationReport:
    """Compare a quantized network with its float model.

    Args:
        model: the float model.
        quantized: the network and how its integers relate to it.
        calibration, held_out: (T, N, F) floats.
    """
    network = quantized.network
    floats = captured(model, held_out)
    tokens, clipped = to_integers(held_out, network.input_format)
    run = Interpreter(network).evaluate(tokens, keep=None)
    tensors = tuple(_tensor(network, run.values, floats, scale) for scale in quantized.scales)
    own = Interpreter(network).evaluate(to_integers(calibration, network.input_format)[0])
    return QuantizationReport(
        tensors=tensors,
        matrices=quantized.matrices,
        proofs=prove(network, run.values),
        signal_to_noise=output_signal_to_noise(network, floats["output"], run.outputs),
        calibration_signal_to_noise=output_signal_to_noise(
            network, evaluate(model, calibration), own.outputs
        ),
        calibration_tokens=calibration.shape[0] * calibration.shape[1],
        held_out_tokens=held_out.shape[0] * held_out.shape[1],
        clipped_inputs=clipped,
        constant_outputs=_constant(run.outputs),
        outputs=network.output_size,
    )


def signal_to_noise(wanted: np.ndarray, got: np.ndarray) -> float | None:
    """Return the signal-to-quantization-noise ratio in dB; None without signal, inf without noise.

    ``10 log10(sum wanted^2 / sum (wanted - got)^2)`` over all entries.
    """
    signal, noise = float(np.sum(wanted**2)), float(np.sum((wanted - got) ** 2))
    if signal == 0:
        return None
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def output_signal_to_noise(
    network: Network, wanted: np.ndarray, integers: np.ndarray
) -> float | None:
    """Return the ratio for a network's outputs; those of the last token for classification."""
    if network.readout is not Readout.EACH_TOKEN:
        wanted, integers = wanted[-1:], integers[-1:]
    return signal_to_noise(wanted, to_floats(integers, network.output_format))


def _tensor(
    network: Network,
    values: Mapping[str, np.ndarray],
    floats: Mapping[str, np.ndarray],
    scale: TensorScale,
) -> TensorReport:
    group, _, name = scale.value.rpartition(".")
    bits = network.group(group).formats[name].bits
    integers, wanted = values[scale.value], floats[scale.reference]
    if scale.part is not None:
        wanted = getattr(wanted, scale.part)
    # The float model has outputs of the last token only, if no others count.
    ratio = signal_to_noise(wanted, integers[-len(wanted) :] * np.exp2(-scale.exponents))
    lowest, highest = limits(bits)
    magnitudes = np.abs(integers) / highest
    low, middle, high = np.quantile(magnitudes, BOX)
    return TensorReport(
        name=scale.value,
        bits=bits,
        exponents=(int(scale.exponents.min()), int(scale.exponents.max())),
        signal_to_noise=float("inf") if ratio is None else ratio,
        saturated=int(np.count_nonzero((integers <= lowest) | (integers >= highest))),
        of=integers.size,
        dead=int(((integers == 0).all(axis=(0, 1)) & wanted.any(axis=(0, 1))).sum()),
        constant=_constant(integers),
        box=(float(low), float(middle), float(high), float(magnitudes.max())),
    )


def _constant(integers: np.ndarray) -> int:
    """Return how many neurons of (T, N, n) integers have one value for all tokens."""
    return int((integers == integers[0, 0]).all(axis=(0, 1)).sum())
