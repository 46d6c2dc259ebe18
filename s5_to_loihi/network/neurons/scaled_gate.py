"""The end of a block of our own quantizer: gated linear unit, residual addition, optional ReLU.

SCALED_GATE serves the variants ``half1`` and ``half2`` (the value arrives as a message),
SCALED_FULL_GATE the variant ``full`` (the value is an affine map of its own), SCALED_RESIDUAL the
variant ``none``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import (
    Format,
    Integers,
    rectify,
    saturate,
    shift,
    shift_right,
    shift_right_rounded,
)
from s5_to_loihi.network.neurons.constants import Shift, Shifts
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants, scaled_affine
from s5_to_loihi.network.widths import MOST_DIGITS

#: Fractional bits of the gate's opening.
OPENING_EXPONENT = 15


class SumConstants(NamedTuple):
    """Constants of the residual addition.

    Attributes:
        value_shift: (n,) right shifts of the value times the opening to the fine format.
        residual_shift: (n,) likewise of the residual times ``2**OPENING_EXPONENT``.
        fine: format in which they are added up.
        rounding_shift: right shift from it to ``hidden``.
        hidden: format of the message.
        rectified: 1 if a ReLU follows, else 0.
    """

    value_shift: Shifts
    residual_shift: Shifts
    fine: Format
    rounding_shift: Shift
    hidden: Format
    rectified: int


class ScaledGateConstants(NamedTuple):
    """Constants of SCALED_GATE.

    Attributes:
        gate: the affine map whose sigmoid is the gate.
        sigmoid: ``sigmoid(v) - 1/2`` of |v|, with ``OPENING_EXPONENT`` fractional bits.
        end: the residual addition of the product of value and opening.
    """

    gate: AffineConstants
    sigmoid: Interpolation
    end: SumConstants


class ScaledFullGateConstants(NamedTuple):
    """Constants of SCALED_FULL_GATE: the value's affine map, then those of SCALED_GATE."""

    value: AffineConstants
    base: ScaledGateConstants


def close(product: Integers, residual: Integers, c: SumConstants) -> tuple[Integers, Integers]:
    """Add a product of value and opening to the residual."""
    widened = shift(residual, OPENING_EXPONENT)
    fine = saturate(shift_right(product, c.value_shift), c.fine.bits)
    fine = fine + saturate(shift_right(widened, c.residual_shift), c.fine.bits)
    total = shift_right_rounded(fine, c.rounding_shift)
    hidden = rectify(total) if c.rectified else total
    return saturate(hidden, c.hidden.bits), total


def _opening(accumulators: Values, c: ScaledGateConstants) -> tuple[Integers, Integers]:
    gate = saturate(scaled_affine(accumulators, c.gate), c.gate.result.bits)
    opened = interpolate(np.abs(gate), c.sigmoid, offset=1 << (OPENING_EXPONENT - 1))
    # sigmoid(-v) = 1 - sigmoid(v)
    return gate, np.where(gate > 0, opened, (1 << OPENING_EXPONENT) - opened)


def update_residual(accumulators: Values, state: Values, constants: SumConstants) -> Update:
    """hidden = value + residual, rectified or not."""
    value, residual = accumulators
    hidden, total = close(shift(value, OPENING_EXPONENT), residual, constants)
    return (), (hidden,), (total,)


def update_gate(accumulators: Values, state: Values, constants: ScaledGateConstants) -> Update:
    """hidden = value * sigmoid(W2 a + b2) + residual, rectified or not."""
    value, residual = accumulators[MOST_DIGITS:]
    gate, opening = _opening(accumulators[:MOST_DIGITS], constants)
    hidden, total = close(value * opening, residual, constants.end)
    return (), (hidden,), (gate, opening, total)


def update_full_gate(
    accumulators: Values, state: Values, constants: ScaledFullGateConstants
) -> Update:
    """hidden = (W1 a + b1) * sigmoid(W2 a + b2) + residual, rectified or not."""
    value = scaled_affine(accumulators[MOST_DIGITS : 2 * MOST_DIGITS], constants.value)
    kept = saturate(value, constants.value.result.bits)
    gate, opening = _opening(accumulators[:MOST_DIGITS], constants.base)
    hidden, total = close(kept * opening, accumulators[-1], constants.base.end)
    return (), (hidden,), (value, gate, opening, total)


SCALED_RESIDUAL = NeuronKind(
    name="scaled_residual",
    title="scaled residual",
    colour="#fbeebc",
    ports=("value", "residual"),
    messages=("hidden",),
    probes=("total",),
    constants=SumConstants,
    update=update_residual,
)

SCALED_GATE = NeuronKind(
    name="scaled_gate",
    title="scaled sigmoid gate, residual",
    colour="#fbeebc",
    ports=(*digit_ports("gate"), "value", "residual"),
    messages=("hidden",),
    probes=("gate_affine", "opening", "total"),
    constants=ScaledGateConstants,
    update=update_gate,
)

SCALED_FULL_GATE = NeuronKind(
    name="scaled_full_gate",
    title="scaled affine value, sigmoid gate, residual",
    colour="#fbeebc",
    ports=(*digit_ports("gate"), *digit_ports("value"), "residual"),
    messages=("hidden",),
    probes=("value_affine", "gate_affine", "opening", "total"),
    constants=ScaledFullGateConstants,
    update=update_full_gate,
)
