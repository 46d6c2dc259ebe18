"""DENSE: an affine map with an optional ReLU; the encoder and the decoder are such groups."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, add, rectify, saturate, shift_right
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values


class DenseConstants(NamedTuple):
    """Constants of DENSE and, as a part, of the gates.

    Attributes:
        bias: (n,) integers in ``bias_format``.
        bias_format: format of the bias.
        accumulator_shift: right shift from the accumulator to ``result``, >= 0.
        result: format of the affine value.
        rectified: 1 if a ReLU follows, else 0.
    """

    bias: Annotated[Integers, "bias_format"]
    bias_format: Format
    accumulator_shift: Shift
    result: Format
    rectified: int


def affine(accumulator: Integers, constants: DenseConstants) -> Integers:
    """Return ``sat(sat(accumulator >> shift) + bias)`` in the format ``constants.result``."""
    weighted = saturate(
        shift_right(accumulator, constants.accumulator_shift), constants.result.bits
    )
    return add(weighted, constants.result, constants.bias, constants.bias_format, constants.result)


def update(accumulators: Values, state: Values, constants: DenseConstants) -> Update:
    """activation = relu(affine) or affine."""
    value = affine(accumulators[0], constants)
    activation = rectify(value) if constants.rectified else value
    return (), (activation,), (value,)


DENSE = NeuronKind(
    name="dense",
    title="affine map",
    colour="#cfe3f5",
    ports=("weighted",),
    messages=("activation",),
    probes=("affine",),
    constants=DenseConstants,
    update=update,
)
