"""DELTA, SIGMA_DELTA and SIGMA: neurons that send and add up what changed, exactly as netx's.

Lava's encoder has two registers, ``act`` and ``residue``. Here it has one, what has been sent so
far: ``act - residue`` is just that, whatever wraps.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import Format, Integers, rectify, saturate, shift, shift_right
from s5_to_loihi.network.neurons.constants import Allowed, Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values
from s5_to_loihi.network.neurons.words import DIGIT_PORTS, WORD, Synaptic, received, word


class Encoder(NamedTuple):
    """Constants of the delta encoder.

    Attributes:
        threshold: least magnitude of a difference that is sent.
        cut: right shift of a difference when it is sent.
        corrected: 1 to keep what the shift cuts off for the next difference. netx does not (0):
            the sum of what was sent drifts downwards.
    """

    threshold: Annotated[int, Allowed(0, 2**31)]
    cut: Shift
    corrected: Annotated[int, Allowed(0, 1)]


def encoded(value: Integers, told: Integers, encoder: Encoder) -> tuple[Integers, Integers]:
    """Return what has been sent then, and what is sent now, both any shape.

    Args:
        value: words to encode.
        told: what has been sent so far, words.
        encoder: how.
    """
    difference = word(value - told)
    sent = np.where(word(np.abs(difference)) > encoder.threshold - 1, difference, 0)
    message = shift_right(sent, encoder.cut)
    return word(told + (message << encoder.cut if encoder.corrected else sent)), message


class DeltaConstants(NamedTuple):
    """Constants of DELTA.

    Attributes:
        synaptic: of the input.
        lift: left shift of what is received before it is encoded; to the right if negative.
        encoder: of the differences.
    """

    synaptic: Synaptic
    lift: Annotated[int, Allowed(-31, 31, "lifts by {} bits")]
    encoder: Encoder


def delta_drive(accumulators: Values, constants: DeltaConstants) -> Values:
    """Return the value to encode."""
    return (word(shift(received(accumulators, constants.synaptic), constants.lift)),)


def delta_advance(inputs: Values, state: Values, constants: DeltaConstants) -> Values:
    """told = told + what is sent now."""
    return encoded(inputs[0], state[0], constants.encoder)


def delta_emit(inputs: Values, state: Values, constants: DeltaConstants) -> tuple[Values, Values]:
    """Send the difference, or nothing if it is below the threshold; probe Lava's registers."""
    told, message = state
    return (message,), (inputs[0], word(inputs[0] - told))


DELTA = NeuronKind(
    name="delta",
    title="delta encoder",
    colour="#d8ecd4",
    ports=DIGIT_PORTS,
    state=("told",),
    messages=("difference",),
    probes=("act", "residue"),
    constants=DeltaConstants,
    update=Recurrence(delta_drive, delta_advance, delta_emit),
    wraps=True,
    lasting=True,
)


class SigmaDeltaConstants(NamedTuple):
    """Constants of SIGMA_DELTA.

    Attributes:
        synaptic: of the input.
        bias: (n,) words added to the sum.
        encoder: of the differences.
        rectified: 1 if a ReLU comes before the encoder, as always in netx; else 0.
    """

    synaptic: Synaptic
    bias: Annotated[Integers, WORD]
    encoder: Encoder
    rectified: Annotated[int, Allowed(0, 1)]


def received_only(
    accumulators: Values, constants: SigmaDeltaConstants | SigmaConstants | TokensConstants
) -> Values:
    """Return what is received."""
    return (received(accumulators, constants.synaptic),)


def sigma_delta_advance(inputs: Values, state: Values, constants: SigmaDeltaConstants) -> Values:
    """sigma = sigma + received; told = told + what is sent of relu(sigma + bias) now."""
    sigma = word(state[0] + inputs[0])
    value = word(sigma + constants.bias)
    if constants.rectified:
        value = rectify(value)
    told, message = encoded(value, state[1], constants.encoder)
    return sigma, told, message, value


def sigma_delta_emit(
    inputs: Values, state: Values, constants: SigmaDeltaConstants
) -> tuple[Values, Values]:
    """Send the difference, or nothing if it is below the threshold; probe Lava's registers."""
    _, told, message, value = state
    return (message,), (value, word(value - told))


SIGMA_DELTA = NeuronKind(
    name="sigma_delta",
    title="sum of differences, ReLU, delta encoder",
    colour="#bfe0c8",
    ports=DIGIT_PORTS,
    state=("sigma", "told"),
    messages=("difference",),
    probes=("act", "residue"),
    constants=SigmaDeltaConstants,
    update=Recurrence(received_only, sigma_delta_advance, sigma_delta_emit),
    wraps=True,
    lasting=True,
)


class SigmaConstants(NamedTuple):
    """Constants of SIGMA.

    Attributes:
        synaptic: of the input.
    """

    synaptic: Synaptic


def sigma_advance(
    inputs: Values, state: Values, constants: SigmaConstants | TokensConstants
) -> Values:
    """sigma = sigma + received."""
    return (word(state[0] + inputs[0]),)


def sigma_emit(inputs: Values, state: Values, constants: SigmaConstants) -> tuple[Values, Values]:
    """Send the sum."""
    return (state[0],), ()


SIGMA = NeuronKind(
    name="sigma",
    title="sum of differences",
    colour="#dfe8c2",
    ports=DIGIT_PORTS,
    state=("sigma",),
    messages=("sum",),
    constants=SigmaConstants,
    update=Recurrence(received_only, sigma_advance, sigma_emit),
    wraps=True,
    lasting=True,
)


def delta_formats(exponent: int, cut: int) -> dict[str, Format]:
    """Return the formats of DELTA's values.

    Args:
        exponent: of the words that are encoded.
        cut: right shift of a message.
    """
    inside, sent = Format(WORD.bits, exponent), Format(WORD.bits - cut, exponent - cut)
    return {"told": inside, "difference": sent, "act": inside, "residue": inside}


def sigma_delta_formats(exponent: int, cut: int) -> dict[str, Format]:
    """Return the formats of SIGMA_DELTA's values; see ``delta_formats``."""
    return {"sigma": Format(WORD.bits, exponent), **delta_formats(exponent, cut)}


def sigma_formats(exponent: int) -> dict[str, Format]:
    """Return the formats of SIGMA's values."""
    return dict.fromkeys(("sigma", "sum"), Format(WORD.bits, exponent))


class TokensConstants(NamedTuple):
    """Constants of TOKENS.

    Attributes:
        synaptic: of the input.
        lift: left shift of the sum, to the right (floor) if negative.
        token: format of the messages, which saturate there.
    """

    synaptic: Synaptic
    lift: Annotated[int, Allowed(-31, 31, "lifts by {} bits")]
    token: Format


def tokens_emit(inputs: Values, state: Values, constants: TokensConstants) -> tuple[Values, Values]:
    """Send the sum in the format of a token."""
    return (saturate(shift(state[0], constants.lift), constants.token.bits),), ()


TOKENS = NeuronKind(
    name="tokens",
    title="sum of differences as tokens",
    colour="#e6e2b8",
    ports=DIGIT_PORTS,
    state=("sigma",),
    messages=("token",),
    constants=TokensConstants,
    update=Recurrence(received_only, sigma_advance, tokens_emit),
    wraps=True,
    lasting=True,
)
