"""SCALED_GATE and its kin: the end of a block, gated linear unit and residual addition."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import Affine, GluVariant, S5Block
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import NeuronKind
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants
from s5_to_loihi.network.neurons.scaled_gate import (
    OPENING_EXPONENT,
    SCALED_FULL_GATE,
    SCALED_GATE,
    SCALED_RESIDUAL,
    ScaledFullGateConstants,
    ScaledGateConstants,
    SumConstants,
)
from s5_to_loihi.network.widths import STATE_BITS
from s5_to_loihi.quantization.draft import AnyReader, Draft, Message, TensorScale
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.formats import (
    channel_exponents,
    limited,
    right_shifts,
    shared,
)
from s5_to_loihi.quantization.groups.dense import affine_constants
from s5_to_loihi.quantization.rounding import moments
from s5_to_loihi.quantization.tables import sigmoid_table

#: What enters a sigmoid: within +-8, or coarser where the data go beyond.
GATE = Format(16, 12)
OPENING = Format(17, OPENING_EXPONENT)


def add_gate(
    draft: Draft,
    name: str,
    folded: FoldedBlock,
    hidden: Message,
    output: tuple[Message, Message],
    reader: AnyReader,
) -> Message:
    """Quantize the end of a block, as far as a norm after the residual addition.

    Args:
        draft, name, folded: the network so far; the block.
        hidden: the residual: what enters the block, or what a map makes of it.
        output: its messages y and activation.
        reader: what the result enters.
    """
    block, group = folded.block, f"{name}.gate"
    assert isinstance(block, S5Block)
    y, activation = output
    value_exponents = activation.exponents
    if block.value is not None:
        value_exponents = channel_exponents(draft.floats[f"{name}.value"], activation.format.bits)
    rectified = block.rectified and block.prenorm
    end, exponents = residual_sum(draft, name, rectified, value_exponents, hidden, reader)
    formats = {"hidden": end.hidden, "total": end.hidden}
    kind: NeuronKind = SCALED_RESIDUAL
    constants: SumConstants | ScaledGateConstants | ScaledFullGateConstants = end
    if block.gate is not None:
        base = _opening(draft, name, block.gate, activation, end)
        kind, constants = SCALED_GATE, base
        formats |= {"gate_affine": base.gate.result, "opening": OPENING}
        if block.value is not None:
            value = _value(draft, name, block.value, activation, value_exponents)
            kind, constants = SCALED_FULL_GATE, ScaledFullGateConstants(value, base)
            formats["value_affine"] = value.result
    if block.value is None:
        source = y if block.glu is GluVariant.HALF2 else activation
        draft.builder.hand_on(f"{name}.value", source.endpoint, Endpoint(group, "value"))
    draft.builder.hand_on(f"{name}.residual", hidden.endpoint, Endpoint(group, "residual"))
    draft.scales.append(TensorScale(f"{group}.total", f"{name}.sum", exponents))
    sources = (hidden, *output)
    return draft.add(group, kind, constants, formats, sources, exponents, rectified, reader)[0]


def residual_sum(
    draft: Draft,
    name: str,
    rectified: bool,
    value_exponents: np.ndarray,
    residual: Message,
    reader: AnyReader,
    tensor: str = "hidden",
    reference: str = "sum",
) -> tuple[SumConstants, np.ndarray]:
    """Return the constants of a residual addition and the fractional bits of each neuron's result.

    Args:
        draft, name: the network so far; the block.
        rectified: whether a ReLU follows.
        value_exponents: (n,) fractional bits of what is added to the residual.
        residual: what it is added to.
        reader: what the result enters.
        tensor, reference: names of the result, among tensors and in the float model.
    """
    total = draft.floats[f"{name}.{reference}"]
    kept = np.maximum(total, 0) if rectified else total
    bits, exponents = draft.message_format(
        f"{name}.{tensor}", kept, [reader], before=total if rectified else None
    )
    fine = draft.fine_bits(bits)
    # Nothing is gained by more fractional bits than the operands have.
    finest = np.minimum(value_exponents, residual.exponents) + OPENING_EXPONENT - fine
    exponents = reader.settle(np.minimum(exponents, finest))
    message = Format(bits, int(exponents.min()))
    from_operand = OPENING_EXPONENT - exponents - fine
    constants = SumConstants(
        value_shift=right_shifts(value_exponents + from_operand, f"{name}.value"),
        residual_shift=right_shifts(residual.exponents + from_operand, f"{name}.residual"),
        fine=Format(STATE_BITS, message.exponent + fine),
        rounding_shift=fine,
        hidden=message,
        rectified=int(rectified),
    )
    return constants, exponents


def _value(
    draft: Draft, name: str, affine: Affine, activation: Message, exponents: np.ndarray
) -> AffineConstants:
    """Quantize the map of the value."""
    matrix, data = f"{name}.W1", moments(activation.integers, draft.floats[f"{name}.value"])
    synapses = (matrix, activation, Endpoint(f"{name}.gate", "value"))
    rows = draft.weigh(matrix, affine.weight, data, [synapses])
    bits = activation.format.bits
    return affine_constants(matrix, rows, rows.bias(data), bits, draft.fine_bits(bits), exponents)


def _opening(
    draft: Draft, name: str, affine: Affine, activation: Message, end: SumConstants
) -> ScaledGateConstants:
    """Quantize the map before the sigmoid, and tabulate the sigmoid."""
    group, matrix, wanted = f"{name}.gate", f"{name}.W2", draft.floats[f"{name}.gate"]
    data = moments(activation.integers, wanted)
    synapses = (matrix, activation, Endpoint(group, "gate"))
    rows = draft.weigh(matrix, affine.weight, data, [synapses])
    bias = rows.bias(data)
    # Beyond the limit the gate saturates, where the sigmoid is flat.
    finest = np.full(len(bias), GATE.exponent - (np.abs(wanted).max() > 8))
    fine = draft.fine_bits(GATE.bits)
    finest = draft.narrow(finest, fine, rows, activation)
    exponents = shared(limited(finest, fine, bias, rows.steps))
    gate = affine_constants(matrix, rows, bias, GATE.bits, fine, exponents)
    table, error = sigmoid_table(gate.result, draft.precision.knots)
    draft.notes.append(
        f"{name}: sigmoid by {len(table.knots) - 1} segments, off by at most {error:.2g}"
    )
    draft.scales.append(TensorScale(f"{group}.gate_affine", f"{name}.gate", exponents))
    return ScaledGateConstants(gate, table, end)
