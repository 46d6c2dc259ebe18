"""The quantizer: a float model and calibration data become a network of integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.float_model import S5Model, captured
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.calibration import check_data
from s5_to_loihi.quantization.folding import FoldedBlock, check_quantizable, fold
from s5_to_loihi.quantization.precision import Precision, check_overrides
from s5_to_loihi.quantization.sweep import Reader, RoundedMatrix, Sweep, TensorScale

#: Values this many standard deviations from the mean must not saturate.
DEVIATIONS = 16


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model.

    Attributes:
        network: verified, with aligned delays.
        scales: of all values that the float model has as well.
        matrices: what happened to the weights.
        notes: what was capped or approximated, for people.
    """

    network: Network
    scales: tuple[TensorScale, ...]
    matrices: tuple[RoundedMatrix, ...]
    notes: tuple[str, ...]


def quantize_model(
    model: S5Model,
    tokens: np.ndarray,
    precision: Precision = Precision(),
    sequence_length: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    observe: Callable[[str, Network], None] = lambda step, network: None,
) -> Quantized:
    """Quantize a model on calibration data.

    Args:
        model: see ``folding.check_quantizable`` for what it must be.
        tokens: (T, F) or (T, N, F) floats; each of the N sequences starts from a zero state.
        precision: bits of all tensors.
        sequence_length: tokens a sequence, for the readout ``mean``.
        on_progress: called with groups done and in all.
        observe: called after every pass with its name and the network.

    Raises:
        CheckpointError: the model has no integer form.
        InputError: the calibration data are no tokens of the model, or say nothing about it.
        CapacityError: a factor or a sum does not fit.
    """
    check_quantizable(model)
    tokens = check_data(model, tokens, "calibration data")
    check_overrides(precision, _tensor_names(model))
    total = 2 + 3 * len(model.blocks) + (model.readout is Readout.MEAN)
    done: list[str] = []

    def advance(name: str) -> None:
        done.append(name)
        on_progress(len(done), total)

    sweep = Sweep(captured(model, tokens), precision, advance)
    folded = [fold(block) for block in model.blocks]
    readers = [
        Reader((np.concatenate([block.b.real, block.b.imag]), f"block{index}.B"), _expected(block))
        for index, block in enumerate(folded)
    ]
    readers.append(Reader((model.decoder.weight, "decoder.weight"), 0.0))
    token = sweep.input(tokens, model.encoder.weight)
    hidden = sweep.encoder(model.encoder, token, model.rectified_encoder, readers[0])
    for index, block in enumerate(folded):
        hidden = sweep.block(f"block{index}", block, hidden, readers[index + 1])
    read = hidden
    if model.readout is Readout.MEAN:
        read = sweep.mean(hidden, sequence_length)
    output = sweep.decoder(model.decoder, read, hidden)
    network = Network(
        name=model.name,
        input_size=tokens.shape[-1],
        input_format=sweep.input_format(),
        groups=tuple(sweep.groups),
        synapses=tuple(sweep.synapses),
        output=output,
        readout=model.readout,
        sequence_length=sequence_length if model.readout is Readout.MEAN else None,
    )
    return Quantized(
        run_passes(network, observe=observe),
        tuple(sweep.scales),
        tuple(sweep.matrices),
        tuple(sweep.notes),
    )


def _tensor_names(model: S5Model) -> list[str]:
    """Return the names of all tensors whose bits can be chosen."""
    names = ["input", "encoder.weight", "encoder.activation"]
    for index, block in enumerate(model.blocks):
        parts = ["B", "eigenvalues", "x", "g", "C", "y", "hidden"]
        parts += [name for name, map_ in (("W1", block.value), ("W2", block.gate)) if map_]
        names += [f"block{index}.{part}" for part in parts]
    return [*names, "decoder.weight", "decoder.activation"]


def _expected(block: FoldedBlock) -> np.ndarray:
    """Return what a block's batch norm has seen in training: its mean and many deviations."""
    norm = block.block.norm
    return np.abs(norm.mean) + DEVIATIONS * np.sqrt(norm.variance)
