"""The groups of i404788/s5-pytorch's block that no other has.

RESIDUAL_OUTPUT adds what entered the state-space model to its activation, GELU_GATE is the gated
linear unit of the feed-forward map, RESIDUAL_DENSE the end of that map and its residual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import (
    Format,
    rectify,
    saturate,
    shift,
    shift_right_rounded,
)
from s5_to_loihi.network.neurons.constants import Shifts
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants, scaled_affine
from s5_to_loihi.network.neurons.scaled_gate import OPENING_EXPONENT, SumConstants, close
from s5_to_loihi.network.neurons.scaled_output import TableOutputConstants, tabulated
from s5_to_loihi.network.widths import MOST_DIGITS


class ResidualOutputConstants(NamedTuple):
    """Constants of RESIDUAL_OUTPUT: those of TABLE_OUTPUT, and the residual addition."""

    output: TableOutputConstants
    end: SumConstants


class GeluGateConstants(NamedTuple):
    """Constants of GELU_GATE.

    Attributes:
        value, gate: the two affine maps.
        gelu: ``gelu(v) - relu(v)`` of |v|, in the format of the gate.
        product_shift: (n,) right shifts of the product of value and ``gelu(gate)``.
        product: format of the message, which saturates there.
    """

    value: AffineConstants
    gate: AffineConstants
    gelu: Interpolation
    product_shift: Shifts
    product: Format


class ResidualDenseConstants(NamedTuple):
    """Constants of RESIDUAL_DENSE: the affine map, and the residual addition."""

    affine: AffineConstants
    end: SumConstants


def update_residual_output(
    accumulators: Values, state: Values, constants: ResidualOutputConstants
) -> Update:
    """hidden = activation(k Re(C g) + D u) + residual."""
    *projected, residual = accumulators
    _, y, activation = tabulated(tuple(projected), constants.output)
    hidden, total = close(shift(activation, OPENING_EXPONENT), residual, constants.end)
    return (), (hidden,), (y, activation, total)


def update_gelu_gate(accumulators: Values, state: Values, constants: GeluGateConstants) -> Update:
    """product = (W1 a + b1) * gelu(W2 a + b2)."""
    c = constants
    value = saturate(scaled_affine(accumulators[:MOST_DIGITS], c.value), c.value.result.bits)
    gate = saturate(scaled_affine(accumulators[MOST_DIGITS:], c.gate), c.gate.result.bits)
    opening = rectify(gate) + interpolate(np.abs(gate), c.gelu)
    product = shift_right_rounded(value * opening, c.product_shift)
    return (), (saturate(product, c.product.bits),), (value, gate, product)


def update_residual_dense(
    accumulators: Values, state: Values, constants: ResidualDenseConstants
) -> Update:
    """hidden = W a + b + residual, rectified or not."""
    *weighted, residual = accumulators
    affine = scaled_affine(tuple(weighted), constants.affine)
    kept = saturate(affine, constants.affine.result.bits)
    hidden, total = close(shift(kept, OPENING_EXPONENT), residual, constants.end)
    return (), (hidden,), (affine, total)


RESIDUAL_OUTPUT = NeuronKind(
    name="residual_output",
    title="scaled projection, feedthrough, tabulated activation, residual",
    colour="#d5ecd4",
    ports=(*digit_ports("projection"), "feedthrough", "residual"),
    messages=("hidden",),
    probes=("y", "activation", "total"),
    constants=ResidualOutputConstants,
    update=update_residual_output,
)

GELU_GATE = NeuronKind(
    name="gelu_gate",
    title="scaled affine value, GELU gate",
    colour="#fbeebc",
    ports=(*digit_ports("value"), *digit_ports("gate")),
    messages=("product",),
    probes=("value_affine", "gate_affine", "total"),
    constants=GeluGateConstants,
    update=update_gelu_gate,
)

RESIDUAL_DENSE = NeuronKind(
    name="residual_dense",
    title="scaled affine map, residual",
    colour="#cfe3f5",
    ports=(*digit_ports("weighted"), "residual"),
    messages=("hidden",),
    probes=("affine", "total"),
    constants=ResidualDenseConstants,
    update=update_residual_dense,
)
