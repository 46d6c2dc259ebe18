"""SCALED_DENSE: an affine map with a factor for each neuron and an optional ReLU."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, rectify, saturate, shift_right
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.neurons.rescaling import Rescaling, digit_ports, rescale


class AffineConstants(NamedTuple):
    """Constants of an affine map: part of SCALED_DENSE and of the gates.

    Attributes:
        weighted: from the accumulator to the fine format.
        bias: (n,) integers in the fine format; holds the half of the rounding.
        rounding_shift: right shift from the fine format to the result.
        result: format of the affine value.
    """

    weighted: Rescaling
    bias: Annotated[Integers, "weighted.fine"]
    rounding_shift: Shift
    result: Format


class ScaledDenseConstants(NamedTuple):
    """Constants of SCALED_DENSE: the affine map; ``rectified`` is 1 if a ReLU follows, else 0."""

    affine: AffineConstants
    rectified: int


def scaled_affine(accumulators: Values, c: AffineConstants) -> Integers:
    """Return the affine value before it saturates at ``c.result.bits``."""
    return shift_right(rescale(accumulators, c.weighted) + c.bias, c.rounding_shift)


def update(accumulators: Values, state: Values, constants: ScaledDenseConstants) -> Update:
    """activation = relu(affine) or affine."""
    affine = scaled_affine(accumulators, constants.affine)
    activation = rectify(affine) if constants.rectified else affine
    return (), (saturate(activation, constants.affine.result.bits),), (affine,)


SCALED_DENSE = NeuronKind(
    name="scaled_dense",
    title="scaled affine map",
    colour="#cfe3f5",
    ports=digit_ports("weighted"),
    messages=("activation",),
    probes=("affine",),
    constants=ScaledDenseConstants,
    update=update,
)
