"""The projection of the states, the feedthrough, and an activation.

SCALED_OUTPUT has the ReLU, LEAKY_OUTPUT the leaky one, TABLE_OUTPUT any activation that a table
says: GELU, SiLU, tanh ...
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import (
    Format,
    Integers,
    rectify,
    saturate,
    shift_right,
    shift_right_rounded,
)
from s5_to_loihi.network.neurons.constants import MULTIPLIER_RANGE, Shift
from s5_to_loihi.network.neurons.interpolation import Interpolation, interpolate
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.neurons.rescaling import Rescaling, digit_ports, rescale


class ScaledOutputConstants(NamedTuple):
    """Constants of SCALED_OUTPUT.

    Attributes:
        projection, feedthrough: from the two accumulators to the fine format.
        bias: (n,) integers in the fine format; holds the half of the rounding.
        rounding_shift: right shift from the fine format to ``y``.
        y: format of the output and of the activation.
    """

    projection: Rescaling
    feedthrough: Rescaling
    bias: Annotated[Integers, "projection.fine"]
    rounding_shift: Shift
    y: Format


class TableOutputConstants(NamedTuple):
    """Constants of TABLE_OUTPUT.

    Attributes:
        output: the constants of SCALED_OUTPUT.
        table: a function of |y| in the format of y.
        odd: 1 if the activation is that function with the sign of y (tanh), 0 if it is its sum
            with the ReLU (GELU, SiLU: what they are more than the ReLU is even in y).
    """

    output: ScaledOutputConstants
    table: Interpolation
    odd: int


class LeakyOutputConstants(NamedTuple):
    """Constants of LEAKY_OUTPUT.

    Attributes:
        output: the constants of SCALED_OUTPUT.
        slope: what y is multiplied by where it is below zero, with ``slope_shift``.
    """

    output: ScaledOutputConstants
    slope: Annotated[int, MULTIPLIER_RANGE]
    slope_shift: Shift


def _total(accumulators: Values, c: ScaledOutputConstants) -> Integers:
    fine = rescale(accumulators[:-1], c.projection) + rescale(accumulators[-1:], c.feedthrough)
    return shift_right(fine + c.bias, c.rounding_shift)


def update_output(accumulators: Values, state: Values, constants: ScaledOutputConstants) -> Update:
    """y = k Re(C g) + D u; activation = relu(y)."""
    total = _total(accumulators, constants)
    y = saturate(total, constants.y.bits)
    return (), (y, rectify(y)), (total,)


def tabulated(accumulators: Values, c: TableOutputConstants) -> tuple[Integers, Integers, Integers]:
    """Return y before it saturates, y, and its activation."""
    total = _total(accumulators, c.output)
    y = saturate(total, c.output.y.bits)
    entry = interpolate(np.abs(y), c.table)
    activation = np.where(y > 0, entry, -entry) if c.odd else rectify(y) + entry
    return total, y, saturate(activation, c.output.y.bits)


def update_table_output(
    accumulators: Values, state: Values, constants: TableOutputConstants
) -> Update:
    """y = k Re(C g) + D u; activation = relu(y) + table(|y|), or sign(y) table(|y|)."""
    total, y, activation = tabulated(accumulators, constants)
    return (), (y, activation), (total,)


def update_leaky_output(
    accumulators: Values, state: Values, constants: LeakyOutputConstants
) -> Update:
    """y = k Re(C g) + D u; activation = y, or slope * y where y is below zero."""
    total = _total(accumulators, constants.output)
    y = saturate(total, constants.output.y.bits)
    leak = shift_right_rounded(np.minimum(y, 0) * constants.slope, constants.slope_shift)
    return (), (y, saturate(rectify(y) + leak, constants.output.y.bits)), (total,)


SCALED_OUTPUT = NeuronKind(
    name="scaled_output",
    title="scaled projection, feedthrough, ReLU",
    colour="#d5ecd4",
    ports=(*digit_ports("projection"), "feedthrough"),
    messages=("y", "activation"),
    probes=("total",),
    constants=ScaledOutputConstants,
    update=update_output,
)

TABLE_OUTPUT = NeuronKind(
    name="table_output",
    title="scaled projection, feedthrough, tabulated activation",
    colour="#d5ecd4",
    ports=(*digit_ports("projection"), "feedthrough"),
    messages=("y", "activation"),
    probes=("total",),
    constants=TableOutputConstants,
    update=update_table_output,
)

LEAKY_OUTPUT = NeuronKind(
    name="leaky_output",
    title="scaled projection, feedthrough, leaky ReLU",
    colour="#d5ecd4",
    ports=(*digit_ports("projection"), "feedthrough"),
    messages=("y", "activation"),
    probes=("total",),
    constants=LeakyOutputConstants,
    update=update_leaky_output,
)
