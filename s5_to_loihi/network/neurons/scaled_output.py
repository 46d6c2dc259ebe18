"""SCALED_OUTPUT and GELU_OUTPUT: the projection of the states, the feedthrough, a non-linearity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import (
    Format,
    Interpolation,
    interpolate,
    rectify,
    saturate,
    shift_right,
)
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.rescaling import Rescaling, digit_ports, rescale


class ScaledOutputConstants(NamedTuple):
    """Constants of SCALED_OUTPUT.

    Attributes:
        projection, feedthrough: from the two accumulators to the fine format.
        bias: (n,) integers in ``bias_format``, the fine format; holds the half of the rounding.
        bias_format: its format.
        rounding_shift: right shift from the fine format to ``y``.
        y: format of the output and of the activation.
    """

    projection: Rescaling
    feedthrough: Rescaling
    bias: np.ndarray
    bias_format: Format
    rounding_shift: int
    y: Format


class GeluOutputConstants(NamedTuple):
    """Constants of GELU_OUTPUT.

    Attributes:
        output: the constants of SCALED_OUTPUT.
        gelu: ``gelu(y) - relu(y)``, a function of |y|, in the format of y.
    """

    output: ScaledOutputConstants
    gelu: Interpolation


def _total(accumulators, c):
    *projection, feedthrough = accumulators
    fine = rescale(projection, c.projection) + rescale((feedthrough,), c.feedthrough)
    return shift_right(fine + c.bias, c.rounding_shift)


def update_output(accumulators, state, constants):
    """y = k Re(C g) + D u; activation = relu(y)."""
    total = _total(accumulators, constants)
    y = saturate(total, constants.y.bits)
    return (), (y, rectify(y)), (total,)


def update_gelu_output(accumulators, state, constants):
    """y = k Re(C g) + D u; activation = gelu(y)."""
    total = _total(accumulators, constants.output)
    y = saturate(total, constants.output.y.bits)
    activation = rectify(y) + interpolate(np.abs(y), constants.gelu)
    return (), (y, saturate(activation, constants.output.y.bits)), (total,)


SCALED_OUTPUT = NeuronKind(
    name="scaled_output",
    title="scaled projection, feedthrough, ReLU",
    ports=(*digit_ports("projection"), "feedthrough"),
    state=(),
    messages=("y", "activation"),
    probes=("total",),
    constants=ScaledOutputConstants,
    update=update_output,
)

GELU_OUTPUT = NeuronKind(
    name="gelu_output",
    title="scaled projection, feedthrough, GELU",
    ports=(*digit_ports("projection"), "feedthrough"),
    state=(),
    messages=("y", "activation"),
    probes=("total",),
    constants=GeluOutputConstants,
    update=update_gelu_output,
)
