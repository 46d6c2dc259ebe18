"""NORM and SCALED_NORM: batch norm kept as integers, as Intel's exports have it."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, add_widened, convert, multiply
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values


class NormConstants(NamedTuple):
    """Constants of NORM.

    Attributes:
        minus_mean: (n,) integers, the negated running mean.
        inverse_deviation: (n,) integers, ``1 / sqrt(variance + 1e-5)``.
        hidden: format of the incoming hidden value.
        minus_mean_format, inverse_deviation_format: their formats.
        centred: frozen format of hidden - mean.
        normalised: frozen format of the product with ``inverse_deviation``.
        normalised_shift: right shift of that product, >= 0.
        u: format of the message, the input of the state-space model.
    """

    minus_mean: Annotated[Integers, "minus_mean_format"]
    inverse_deviation: Annotated[Integers, "inverse_deviation_format"]
    hidden: Format
    minus_mean_format: Format
    inverse_deviation_format: Format
    centred: Format
    normalised: Format
    normalised_shift: Shift
    u: Format


class ScaledNormConstants(NamedTuple):
    """Constants of SCALED_NORM: those of NORM and the trained scale and bias.

    Attributes:
        base: the constants of NORM.
        scale, bias: (n,) integers.
        scale_format, bias_format: their formats.
        scaled: frozen format of the product with ``scale``.
        scaled_shift: right shift of that product, >= 0.
        shifted: frozen format of the sum with ``bias``.
    """

    base: NormConstants
    scale: Annotated[Integers, "scale_format"]
    bias: Annotated[Integers, "bias_format"]
    scale_format: Format
    bias_format: Format
    scaled: Format
    scaled_shift: Shift
    shifted: Format


def _normalise(hidden: Integers, c: NormConstants) -> tuple[Integers, Integers]:
    centred = add_widened(hidden, c.hidden, c.minus_mean, c.minus_mean_format, c.centred)
    normalised = multiply(centred, c.inverse_deviation, c.normalised_shift, c.normalised.bits)
    return centred, normalised


def update_norm(accumulators: Values, state: Values, constants: NormConstants) -> Update:
    """u = (hidden - mean) * inverse_deviation."""
    centred, normalised = _normalise(accumulators[0], constants)
    u = convert(normalised, constants.normalised, constants.u)
    return (), (u,), (centred, normalised)


def update_scaled_norm(
    accumulators: Values, state: Values, constants: ScaledNormConstants
) -> Update:
    """u = (hidden - mean) * inverse_deviation * scale + bias."""
    c = constants
    centred, normalised = _normalise(accumulators[0], c.base)
    scaled = multiply(normalised, c.scale, c.scaled_shift, c.scaled.bits)
    shifted = add_widened(scaled, c.scaled, c.bias, c.bias_format, c.shifted)
    u = convert(shifted, c.shifted, c.base.u)
    return (), (u,), (centred, normalised, scaled, shifted)


NORM = NeuronKind(
    name="norm",
    title="batch norm",
    colour="#e6e0f0",
    ports=("hidden",),
    messages=("u",),
    probes=("centred", "normalised"),
    constants=NormConstants,
    update=update_norm,
)

SCALED_NORM = NeuronKind(
    name="scaled_norm",
    title="batch norm with scale and bias",
    colour="#e6e0f0",
    ports=("hidden",),
    messages=("u",),
    probes=("centred", "normalised", "scaled", "shifted"),
    constants=ScaledNormConstants,
    update=update_scaled_norm,
)
