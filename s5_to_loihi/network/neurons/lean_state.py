"""LEAN_STATE: SCALED_STATE in fewer instructions, none of whose results has more than 32 bits.

Eigenvalues and messages have one shift for all states, each product is shifted right on its own,
and the drive saturates with the state only.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, rectify_complex, saturate, shift_right
from s5_to_loihi.network.neurons.constants import Multipliers, Shift, Shifts
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values
from s5_to_loihi.network.neurons.rescaling import DigitBits, chained, digit_ports
from s5_to_loihi.network.widths import MOST_DIGITS


class LeanStateConstants(NamedTuple):
    """Constants of LEAN_STATE.

    Attributes:
        a_re, a_im: (n,) integers, the eigenvalues in the format ``a``.
        bias_re, bias_im: (n,) integers added to the drive.
        gain_re, gain_im: (n,) integers, the factor between accumulator and state, with
            ``gain_shift`` (n,): the gain of the discretization, the scale of the weights, the
            scale of the state.
        message_shift: right shift from the state to the message.
        a: format of the eigenvalues' parts.
        x: format of the state registers, which saturate there.
        g: format of the messages, which saturate there.
        rectified: 1 if the complex ReLU is applied, else 0.
        digit_bits: bits of a digit of the weights.
    """

    a_re: Annotated[Integers, "a"]
    a_im: Annotated[Integers, "a"]
    bias_re: Annotated[Integers, "x"]
    bias_im: Annotated[Integers, "x"]
    gain_re: Multipliers
    gain_im: Multipliers
    gain_shift: Shifts
    message_shift: Shift
    a: Format
    x: Format
    g: Format
    rectified: int
    digit_bits: DigitBits


def _product(left: Values, right: Values, right_shift: int | Integers) -> Values:
    """Return both parts of a complex product, each of its four products floored."""
    (a, b), (x, y) = left, right
    return (
        shift_right(a * x, right_shift) - shift_right(b * y, right_shift),
        shift_right(a * y, right_shift) + shift_right(b * x, right_shift),
    )


def drive(accumulators: Values, constants: LeanStateConstants) -> Values:
    """Return gain * B u + bias."""
    c = constants
    bu_re = chained(accumulators[:MOST_DIGITS], c.digit_bits)
    bu_im = chained(accumulators[MOST_DIGITS:], c.digit_bits)
    real, imaginary = _product((c.gain_re, c.gain_im), (bu_re, bu_im), c.gain_shift)
    return real + c.bias_re, imaginary + c.bias_im


def advance(inputs: Values, state: Values, constants: LeanStateConstants) -> Values:
    """x = a * x + drive."""
    c = constants
    real, imaginary = _product((c.a_re, c.a_im), state, c.a.exponent)
    return saturate(real + inputs[0], c.x.bits), saturate(imaginary + inputs[1], c.x.bits)


def emit(inputs: Values, state: Values, constants: LeanStateConstants) -> tuple[Values, Values]:
    """g = x, or where x is lexicographically above zero x, else 0."""
    c = constants
    kept = rectify_complex(*state) if c.rectified else state
    real, imaginary = (saturate(shift_right(part, c.message_shift), c.g.bits) for part in kept)
    return (real, imaginary), inputs


LEAN_STATE = NeuronKind(
    name="lean_state",
    title="complex recurrence with gain, lean",
    colour="#fbd9c5",
    ports=(*digit_ports("bu_re"), *digit_ports("bu_im")),
    state=("x_re", "x_im"),
    messages=("g_re", "g_im"),
    probes=("drive_re", "drive_im"),
    constants=LeanStateConstants,
    update=Recurrence(drive, advance, emit),
)
