"""A block as groups, whatever its kind, and where its norms are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s5_to_loihi.float_model import Affine, BatchNorm, FeedForwardBlock, LayerNorm
from s5_to_loihi.quantization.draft import AnyReader, Draft, Message, NormReader, Reader
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.groups.dense import add_map
from s5_to_loihi.quantization.groups.feed_forward import add_feed_forward, first_reader
from s5_to_loihi.quantization.groups.gate import add_gate
from s5_to_loihi.quantization.groups.norm import add_batch_norm, add_layer_norm
from s5_to_loihi.quantization.groups.output import add_output, add_residual_output
from s5_to_loihi.quantization.groups.state import add_state


def block_reader(name: str, folded: FoldedBlock) -> AnyReader:
    """Return what reads the hidden value that enters a block."""
    if folded.norm is not None:
        return NormReader(folded.b.shape[1], folded.norm.epsilon)
    return _input_reader(name, folded)


def group_count(folded: FoldedBlock) -> int:
    """Return how many groups a block has."""
    block = folded.block
    if isinstance(block, FeedForwardBlock):
        return 7 + block.gated
    maps = (block.skip is not None) + (folded.d.ndim == 2)
    if isinstance(block.norm, BatchNorm):
        return 3 + (not block.prenorm) + maps
    return 5 + maps


def tensor_names(folded: FoldedBlock) -> list[str]:
    """Return the names of a block's tensors whose bits can be chosen."""
    block = folded.block
    names = ["B", "eigenvalues", "x", "g", "C", "y", "hidden"]
    if isinstance(block, FeedForwardBlock):
        halves = ["expand_value", "expand_gate", "product"] if block.gated else []
        return [*names, "norm", "middle_sum", "middle", *halves, "decode"]
    if isinstance(block.norm, LayerNorm) or not block.prenorm:
        names.append("norm")
    if block.skip is not None:
        names += ["skip.weight", "skip.activation"]
    if folded.d.ndim == 2:
        names += ["through.weight", "through.activation"]
    maps = (("W1", block.value), ("W2", block.gate))
    return [*names, *(name for name, affine in maps if affine is not None)]


def add_block(
    draft: Draft, name: str, folded: FoldedBlock, hidden: Message, reader: AnyReader
) -> Message:
    """Quantize block ``name``; ``reader`` is what its result enters."""
    source = hidden
    if folded.norm is not None:
        first, whole = _input_reader(name, folded), isinstance(folded.block, FeedForwardBlock)
        reference = f"{name}.u" if whole else f"{name}.normalised"
        source = add_layer_norm(draft, name, "norm", folded.norm, hidden, reference, first)
    states = add_state(draft, name, folded, source)
    if isinstance(folded.block, FeedForwardBlock):
        return _add_rest(draft, name, folded.block, folded, source, states, reader)
    block, norm = folded.block, folded.block.norm
    residual, through = hidden, source
    if block.skip is not None:
        residual = add_map(draft, name, "skip", block.skip, hidden, "residual")
    if folded.d.ndim == 2:
        matrix = Affine(folded.d, np.zeros(len(folded.d)))
        through = add_map(draft, name, "through", matrix, source, "through")
        # What it gives is added as it is.
        folded = replace(folded, d=np.ones(len(folded.d)))
    output = add_output(draft, name, folded, through, states)
    if block.prenorm:
        return add_gate(draft, name, folded, residual, output, reader)
    neurons = len(folded.c)
    if isinstance(norm, BatchNorm):
        each = Reader(np.eye(neurons), f"{name}.norm", folded.expected_sum)
        total = add_gate(draft, name, folded, residual, output, each)
        return add_batch_norm(draft, name, norm, total, block.rectified, reader)
    total = add_gate(draft, name, folded, residual, output, NormReader(neurons, norm.epsilon))
    return add_layer_norm(
        draft, name, "norm", norm, total, f"{name}.total", reader, block.rectified
    )


def _add_rest(
    draft: Draft,
    name: str,
    block: FeedForwardBlock,
    folded: FoldedBlock,
    source: Message,
    states: tuple[Message, Message],
    reader: AnyReader,
) -> Message:
    norm, first = block.feed_forward_norm, first_reader(name, block)
    summed = NormReader(len(folded.d), norm.epsilon)
    total = add_residual_output(draft, name, folded, source, states, summed)
    middle = add_layer_norm(draft, name, "middle", norm, total, f"{name}.middle", first)
    return add_feed_forward(draft, name, block, middle, reader)


def _input_reader(name: str, folded: FoldedBlock) -> Reader:
    weight = np.concatenate([folded.b.real, folded.b.imag])
    return Reader(weight, f"{name}.B", folded.expected)
