"""The end of a block: gated linear unit, residual addition, ReLU.

GATE serves the variants ``half1`` and ``half2`` (the value arrives as a message), FULL_GATE the
variant ``full`` (the value is an affine map of its own), RESIDUAL the variant ``none``.
"""

from __future__ import annotations

from typing import NamedTuple

from s5_to_loihi.fixed_point import (
    SIGMOID_FORMAT,
    Format,
    Integers,
    add_widened,
    convert,
    multiply,
    rectify,
    sigmoid,
)
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.dense import DenseConstants, affine
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values


class ResidualConstants(NamedTuple):
    """Constants of RESIDUAL and of the end of every gate.

    Attributes:
        value: format of what is added to the residual.
        residual: format of the residual, the hidden value that entered the block.
        total: frozen format of the sum and of the message ``hidden``.
        lowered: format in which the hidden value enters the decoder's weights.
    """

    value: Format
    residual: Format
    total: Format
    lowered: Format


class GateConstants(NamedTuple):
    """Constants of GATE.

    Attributes:
        gate: the affine map whose sigmoid is the gate.
        sigmoid_input: format in which it enters the sigmoid.
        value: format of the incoming value.
        left, right: formats of the two factors, value and gate.
        product_shift: right shift of their product, >= 0.
        end: the residual addition; ``end.value`` is the format of the product.
    """

    gate: DenseConstants
    sigmoid_input: Format
    value: Format
    left: Format
    right: Format
    product_shift: Shift
    end: ResidualConstants


class FullGateConstants(NamedTuple):
    """Constants of FULL_GATE: the value's affine map, then those of GATE."""

    value: DenseConstants
    base: GateConstants


def _close(value: Integers, residual: Integers, c: ResidualConstants) -> tuple[Integers, Values]:
    total = add_widened(value, c.value, residual, c.residual, c.total)
    hidden = rectify(total)
    return total, (hidden, convert(hidden, c.total, c.lowered))


def _gated(
    gate_accumulator: Integers, value: Integers, c: GateConstants
) -> tuple[Integers, Integers, Integers]:
    """Return the affine value of the gate, its opening, and the value's product with that."""
    gate = affine(gate_accumulator, c.gate)
    opening = sigmoid(convert(gate, c.gate.result, c.sigmoid_input), c.sigmoid_input.exponent)
    product = multiply(
        convert(value, c.value, c.left),
        convert(opening, SIGMOID_FORMAT, c.right),
        c.product_shift,
        c.end.value.bits,
    )
    return gate, opening, product


def update_residual(accumulators: Values, state: Values, constants: ResidualConstants) -> Update:
    """hidden = relu(value + residual)."""
    value, residual = accumulators
    total, messages = _close(value, residual, constants)
    return (), messages, (total,)


def update_gate(accumulators: Values, state: Values, constants: GateConstants) -> Update:
    """hidden = relu(value * sigmoid(W2 a + b2) + residual)."""
    gate_accumulator, value, residual = accumulators
    gate, opening, product = _gated(gate_accumulator, value, constants)
    total, messages = _close(product, residual, constants.end)
    return (), messages, (gate, opening, product, total)


def update_full_gate(accumulators: Values, state: Values, constants: FullGateConstants) -> Update:
    """hidden = relu((W1 a + b1) * sigmoid(W2 a + b2) + residual)."""
    gate_accumulator, value_accumulator, residual = accumulators
    value = affine(value_accumulator, constants.value)
    gate, opening, product = _gated(gate_accumulator, value, constants.base)
    total, messages = _close(product, residual, constants.base.end)
    return (), messages, (value, gate, opening, product, total)


RESIDUAL = NeuronKind(
    name="residual",
    title="residual, ReLU",
    colour="#fbeebc",
    ports=("value", "residual"),
    messages=("hidden", "lowered"),
    probes=("total",),
    constants=ResidualConstants,
    update=update_residual,
)

GATE = NeuronKind(
    name="gate",
    title="sigmoid gate, residual, ReLU",
    colour="#fbeebc",
    ports=("gate", "value", "residual"),
    messages=("hidden", "lowered"),
    probes=("gate_affine", "opening", "product", "total"),
    constants=GateConstants,
    update=update_gate,
)

FULL_GATE = NeuronKind(
    name="full_gate",
    title="affine value, sigmoid gate, residual, ReLU",
    colour="#fbeebc",
    ports=("gate", "value", "residual"),
    messages=("hidden", "lowered"),
    probes=("value_affine", "gate_affine", "opening", "product", "total"),
    constants=FullGateConstants,
    update=update_full_gate,
)
