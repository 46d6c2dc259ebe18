"""STATE: the complex diagonal recurrence of S5 and its ReLU, one complex state a neuron."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, rectify_complex, saturate, shift, shift_right
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values


class StateConstants(NamedTuple):
    """Constants of STATE.

    Attributes:
        a_re, a_im: (n,) integers, the discretized eigenvalues.
        a_re_format, a_im_format: their formats.
        bu_re_shift, bu_im_shift: right shifts from the accumulators to ``bu_re`` and ``bu_im``.
        bu_re, bu_im: formats of the input drive.
        x_re, x_im: formats of the state registers, which saturate at these widths.
    """

    a_re: Annotated[Integers, "a_re_format"]
    a_im: Annotated[Integers, "a_im_format"]
    a_re_format: Format
    a_im_format: Format
    bu_re_shift: Shift
    bu_im_shift: Shift
    bu_re: Format
    bu_im: Format
    x_re: Format
    x_im: Format


def drive(accumulators: Values, constants: StateConstants) -> Values:
    """Return B u."""
    c = constants
    return (
        saturate(shift_right(accumulators[0], c.bu_re_shift), c.bu_re.bits),
        saturate(shift_right(accumulators[1], c.bu_im_shift), c.bu_im.bits),
    )


def advance(inputs: Values, state: Values, constants: StateConstants) -> Values:
    """x = a * x + B u.

    Each product is floored on its own. Like the reference, ``a_im * x_im`` is shifted by the
    exponent of ``a_re`` and the other state enters with its own exponent, unaligned, even where
    the exponents of the two parts differ.
    """
    c = constants
    bu_re, bu_im = inputs
    x_re, x_im = state
    next_re = (
        shift_right(c.a_re * x_re, c.a_re_format.exponent)
        - shift_right(c.a_im * x_im, c.a_re_format.exponent)
        + shift(bu_re, c.x_re.exponent - c.bu_re.exponent)
    )
    next_im = (
        shift_right(c.a_re * x_im, c.a_im_format.exponent)
        + shift_right(c.a_im * x_re, c.a_im_format.exponent)
        + shift(bu_im, c.x_im.exponent - c.bu_im.exponent)
    )
    return saturate(next_re, c.x_re.bits), saturate(next_im, c.x_im.bits)


def emit(inputs: Values, state: Values, constants: StateConstants) -> tuple[Values, Values]:
    """g = x where x is lexicographically above zero, else 0."""
    return rectify_complex(*state), inputs


STATE = NeuronKind(
    name="state",
    title="complex recurrence, complex ReLU",
    colour="#fbd9c5",
    ports=("bu_re", "bu_im"),
    state=("x_re", "x_im"),
    messages=("g_re", "g_im"),
    probes=("drive_re", "drive_im"),
    constants=StateConstants,
    update=Recurrence(drive, advance, emit),
)
