"""GELU_GATE and RESIDUAL_DENSE: the feed-forward map of i404788/s5-pytorch's block."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Activation, FeedForwardBlock
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons.feed_forward import (
    GELU_GATE,
    RESIDUAL_DENSE,
    GeluGateConstants,
    ResidualDenseConstants,
)
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants
from s5_to_loihi.quantization.draft import AnyReader, Draft, Message, Reader, TensorScale
from s5_to_loihi.quantization.formats import channel_exponents, limited, right_shifts, shared
from s5_to_loihi.quantization.groups.dense import affine_constants
from s5_to_loihi.quantization.groups.gate import residual_sum
from s5_to_loihi.quantization.rounding import moments
from s5_to_loihi.quantization.tables import activation_table


def add_feed_forward(
    draft: Draft, name: str, block: FeedForwardBlock, middle: Message, reader: AnyReader
) -> Message:
    """Quantize the feed-forward map of block ``name`` and its residual addition.

    Without a gate there is nothing between its two matrices: their product is one.
    """
    if not block.gated:
        return _add_decode(draft, name, block.decode @ block.expand, middle, middle, reader)
    product = _add_gate(draft, name, block, middle)
    return _add_decode(draft, name, block.decode, product, middle, reader)


def first_reader(name: str, block: FeedForwardBlock) -> Reader:
    """Return what reads the middle of a block."""
    if block.gated:
        return Reader(block.expand, f"{name}.expand_value")
    return Reader(block.decode @ block.expand, f"{name}.decode")


def _add_gate(draft: Draft, name: str, block: FeedForwardBlock, middle: Message) -> Message:
    group = f"{name}.expand"
    product = draft.floats[f"{name}.product"]
    reader = Reader(block.decode, f"{name}.decode")
    bits, exponents = draft.message_format(f"{name}.product", product, [reader])
    value_weight, gate_weight = np.split(block.expand, 2)
    value, value_exponents = _half(draft, name, "value", value_weight, middle)
    gate, gate_exponents = _half(draft, name, "gate", gate_weight, middle)
    exponents = np.minimum(exponents, value_exponents + gate_exponents)
    table, error = activation_table(Activation.GELU_ERF, gate.result, draft.precision.knots)
    draft.notes.append(
        f"{name}.expand: GELU by {len(table.knots) - 1} segments, off by at most {error:.2g}"
    )
    message = Format(bits, int(exponents.min()))
    shifts = right_shifts(value_exponents + gate_exponents - exponents, f"{name}.product")
    constants = GeluGateConstants(value, gate, table, shifts, message)
    formats = {"product": message, "total": message}
    formats |= {"value_affine": value.result, "gate_affine": gate.result}
    draft.scales.append(TensorScale(f"{group}.product", f"{name}.product", exponents))
    return draft.add(group, GELU_GATE, constants, formats, [middle], exponents)[0]


def _half(
    draft: Draft, name: str, part: str, weight: np.ndarray, middle: Message
) -> tuple[AffineConstants, np.ndarray]:
    """Quantize value or gate of the expansion; return its fractional bits as well."""
    matrix, wanted = f"{name}.expand_{part}", draft.floats[f"{name}.{part}"]
    data = moments(middle.integers, wanted)
    port = Endpoint(f"{name}.expand", part)
    rows = draft.weigh(matrix, weight, data, [(matrix, middle, port)])
    bits, bias = draft.precision.bits("activation", f"{name}.product"), rows.bias(data)
    exponents = limited(channel_exponents(wanted, bits), draft.fine_bits(bits), bias, rows.steps)
    if part == "gate":
        # One table serves all neurons.
        exponents = shared(exponents)
    draft.scales.append(TensorScale(f"{name}.expand.{part}_affine", f"{name}.{part}", exponents))
    return affine_constants(matrix, rows, bias, bits, draft.fine_bits(bits), exponents), exponents


def _add_decode(
    draft: Draft,
    name: str,
    weight: np.ndarray,
    source: Message,
    middle: Message,
    reader: AnyReader,
) -> Message:
    group, matrix = f"{name}.feed_forward", f"{name}.decode"
    # What the residual is off by is part of what the matrix is fitted to.
    wanted = draft.floats[f"{name}.total"] - middle.integers * middle.steps
    data = moments(source.integers, wanted)
    rows = draft.weigh(matrix, weight, data, [(matrix, source, Endpoint(group, "weighted"))])
    bits, bias = draft.precision.bits("activation", f"{name}.hidden"), rows.bias(data)
    exponents = limited(channel_exponents(wanted, bits), draft.fine_bits(bits), bias, rows.steps)
    affine = affine_constants(matrix, rows, bias, bits, draft.fine_bits(bits), exponents)
    end, summed = residual_sum(draft, name, False, exponents, middle, reader, "hidden", "total")
    draft.builder.hand_on(f"{name}.residual", middle.endpoint, Endpoint(group, "residual"))
    constants = ResidualDenseConstants(affine, end)
    formats = {"hidden": end.hidden, "total": end.hidden, "affine": affine.result}
    draft.scales.append(TensorScale(f"{group}.total", f"{name}.total", summed))
    sources = (source,) if source is middle else (source, middle)
    return draft.add(group, RESIDUAL_DENSE, constants, formats, sources, summed, reader=reader)[0]
