"""The quantizer: a float model and calibration data become a network of integers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.float_model import S5Model, captured
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.calibration import check_data
from s5_to_loihi.quantization.draft import (
    AnyReader,
    Draft,
    NormReader,
    OutputReader,
    Reader,
    RoundedMatrix,
    TensorScale,
    Unrounded,
)
from s5_to_loihi.quantization.float_weights import FLOAT_FORMATS
from s5_to_loihi.quantization.folding import FoldedModel, fold
from s5_to_loihi.quantization.groups.block import (
    add_block,
    block_reader,
    group_count,
    tensor_names,
)
from s5_to_loihi.quantization.groups.dense import add_decoder, add_encoder
from s5_to_loihi.quantization.groups.mean import add_mean
from s5_to_loihi.quantization.groups.tokens import add_relay, quantize_tokens
from s5_to_loihi.quantization.precision import Precision, check_overrides


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model.

    Attributes:
        network: verified, with aligned delays.
        scales: of all values that the float model has as well.
        unrounded: the weights before they were rounded.
        notes: what was capped or approximated, for people.
    """

    network: Network
    scales: tuple[TensorScale, ...]
    unrounded: tuple[Unrounded, ...]
    notes: tuple[str, ...]

    @property
    def matrices(self) -> tuple[RoundedMatrix, ...]:
        """What happened to the weights."""
        return tuple(one.matrix for one in self.unrounded)


def quantize_model(
    model: S5Model,
    tokens: np.ndarray,
    precision: Precision = Precision(),
    sequence_length: int | None = None,
) -> Quantized:
    """Quantize a model on calibration data.

    Args:
        model: see ``folding.fold`` for what it must be.
        tokens: (T, F) or (T, N, F) floats; each of the N sequences starts from a zero state.
        precision: bits of all tensors.
        sequence_length: tokens a sequence, for the readout ``mean``; by default those of the data.

    Raises:
        CheckpointError: the model has no integer form.
        InputError: the calibration data are no tokens of the model, or say nothing about it.
        CapacityError: a factor or a sum does not fit.
    """
    folded = fold(model)
    data = check_data(folded, tokens, "calibration data")
    return quantize_folded(folded, data, precision, sequence_length)


def quantize_folded(
    folded: FoldedModel,
    tokens: np.ndarray,
    precision: Precision,
    sequence_length: int | None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    observe: Callable[[str, Network], None] = lambda step, network: None,
) -> Quantized:
    """Quantize a folded model on calibration data that are checked; see ``quantize_model``.

    Args:
        folded: the model.
        tokens: (T, N, F) float64 of ``calibration.check_data``.
        precision: bits of all tensors.
        sequence_length: tokens a sequence, for the readout ``mean``.
        on_progress: called with groups done and in all.
        observe: called after every pass with its name and the network.
    """
    check_overrides(precision, _tensor_names(folded))
    sequence_length = sequence_length or len(tokens)
    model, pooled = folded.model, folded.model.readout is Readout.MEAN
    total, done = _group_count(folded), itertools.count(1)
    notes: list[str] = []
    readers = _readers(folded)
    first: AnyReader = readers[0]
    if folded.encoder is not None:
        first = Reader(folded.encoder.weight, "encoder.weight")
    token = quantize_tokens(tokens, first, precision, notes)
    draft = Draft(
        NetworkBuilder(model.name, tokens.shape[-1], token.format),
        captured(model, tokens),
        precision,
        lambda: on_progress(next(done), total),
        notes,
    )
    hidden = token
    if folded.encoder is not None:
        hidden = add_encoder(draft, folded.encoder, model.rectified_encoder, token, readers[0])
    elif isinstance(readers[0], NormReader):
        hidden = add_relay(draft, token, readers[0])
    for index, block in enumerate(folded.blocks):
        hidden = add_block(draft, f"block{index}", block, hidden, readers[index + 1])
    output = add_mean(draft, hidden, sequence_length) if pooled else hidden
    if folded.decoder is not None:
        output = add_decoder(draft, folded.decoder, output, hidden)
    network = draft.builder.readout(
        output.endpoint, model.readout, sequence_length if pooled else None
    )
    for form in FLOAT_FORMATS.values():
        if count := sum(matrix.digits is form for matrix in draft.matrices):
            notes.append(
                f"{form}: weights of {count} matrices, exact in bands of {form.bits} exponents"
            )
    return Quantized(
        run_passes(network, observe=observe),
        tuple(draft.scales),
        tuple(draft.matrices),
        tuple(notes),
    )


def _readers(folded: FoldedModel) -> list[AnyReader]:
    """Return what reads the hidden values: each block, then the decoder, or nothing more."""
    readers = [block_reader(f"block{index}", block) for index, block in enumerate(folded.blocks)]
    if folded.decoder is None:
        return [*readers, OutputReader()]
    return [*readers, Reader(folded.decoder.weight, "decoder.weight")]


def _group_count(folded: FoldedModel) -> int:
    model = folded.model
    relayed = folded.encoder is None and folded.blocks[0].norm is not None
    ends = (folded.encoder, folded.decoder)
    count = sum(end is not None for end in ends) + relayed + (model.readout is Readout.MEAN)
    return count + sum(map(group_count, folded.blocks))


def _tensor_names(folded: FoldedModel) -> list[str]:
    """Return the names of all tensors whose bits can be chosen."""
    names = ["input"]
    if folded.encoder is not None:
        names += ["encoder.weight", "encoder.activation"]
    for index, block in enumerate(folded.blocks):
        names += [f"block{index}.{tensor}" for tensor in tensor_names(block)]
    if folded.decoder is not None:
        names += ["decoder.weight", "decoder.activation"]
    return names
