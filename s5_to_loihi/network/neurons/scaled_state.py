"""SCALED_STATE: the recurrence of S5 with a complex gain and scales of its own for each state."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, rectify_complex, saturate, shift_right_rounded
from s5_to_loihi.network.neurons.constants import Multipliers, Shifts
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values
from s5_to_loihi.network.neurons.rescaling import DigitBits, chained, digit_ports
from s5_to_loihi.network.widths import MOST_DIGITS


class ScaledStateConstants(NamedTuple):
    """Constants of SCALED_STATE.

    The eigenvalue is stored as ``a - 1``: with a shift for each state, slow states keep as many
    digits of their decay as fast ones.

    Attributes:
        decay_re, decay_im: (n,) integers, ``(a - 1) * 2**decay_shift``.
        decay_shift: (n,).
        gain_re, gain_im: (n,) integers, the factor between accumulator and state, with
            ``gain_shift`` (n,): the gain of the discretization, the scale of the weights, the
            scale of the state.
        bias_re, bias_im: (n,) integers added to the drive.
        message_shift: (n,) right shifts from the state to the message.
        decay: format of the eigenvalues' parts.
        x: format of the state registers and of the drive, which saturate there.
        g: format of the messages, which saturate there.
        rectified: 1 if the complex ReLU is applied, else 0.
        digit_bits: bits of a digit of the weights.
    """

    decay_re: Annotated[Integers, "decay"]
    decay_im: Annotated[Integers, "decay"]
    decay_shift: Shifts
    gain_re: Multipliers
    gain_im: Multipliers
    gain_shift: Shifts
    bias_re: Annotated[Integers, "x"]
    bias_im: Annotated[Integers, "x"]
    message_shift: Shifts
    decay: Format
    x: Format
    g: Format
    rectified: int
    digit_bits: DigitBits


def drive(accumulators: Values, constants: ScaledStateConstants) -> Values:
    """Return gain * B u + bias."""
    c = constants
    bu_re = chained(accumulators[:MOST_DIGITS], c.digit_bits)
    bu_im = chained(accumulators[MOST_DIGITS:], c.digit_bits)
    drive_re = shift_right_rounded(c.gain_re * bu_re - c.gain_im * bu_im, c.gain_shift) + c.bias_re
    drive_im = shift_right_rounded(c.gain_re * bu_im + c.gain_im * bu_re, c.gain_shift) + c.bias_im
    return saturate(drive_re, c.x.bits), saturate(drive_im, c.x.bits)


def advance(inputs: Values, state: Values, constants: ScaledStateConstants) -> Values:
    """x = x + (a - 1) * x + drive, rounded once."""
    c = constants
    x_re, x_im = state
    next_re = x_re + inputs[0]
    next_re = next_re + shift_right_rounded(c.decay_re * x_re - c.decay_im * x_im, c.decay_shift)
    next_im = x_im + inputs[1]
    next_im = next_im + shift_right_rounded(c.decay_re * x_im + c.decay_im * x_re, c.decay_shift)
    return saturate(next_re, c.x.bits), saturate(next_im, c.x.bits)


def emit(inputs: Values, state: Values, constants: ScaledStateConstants) -> tuple[Values, Values]:
    """g = x, or where x is lexicographically above zero x, else 0."""
    c = constants
    kept = rectify_complex(*state) if c.rectified else state
    scaled_re, scaled_im = (shift_right_rounded(part, c.message_shift) for part in kept)
    messages = (saturate(scaled_re, c.g.bits), saturate(scaled_im, c.g.bits))
    return messages, (*inputs, scaled_re, scaled_im)


SCALED_STATE = NeuronKind(
    name="scaled_state",
    title="complex recurrence with gain",
    colour="#fbd9c5",
    ports=(*digit_ports("bu_re"), *digit_ports("bu_im")),
    state=("x_re", "x_im"),
    messages=("g_re", "g_im"),
    probes=("drive_re", "drive_im", "scaled_re", "scaled_im"),
    constants=ScaledStateConstants,
    update=Recurrence(drive, advance, emit),
)
