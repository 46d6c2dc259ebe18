"""OUTPUT: the real part of C x, the feedthrough D u, and a ReLU."""

from __future__ import annotations

from typing import NamedTuple

from s5_to_loihi.fixed_point import Format, convert, rectify, saturate, shift, shift_right
from s5_to_loihi.network.neurons.constants import Shift
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values


class OutputConstants(NamedTuple):
    """Constants of OUTPUT.

    Attributes:
        c_re_shift, c_im_shift, d_shift: right shifts from the accumulators to ``y``, >= 0.
        y: format of the output.
        conjugate_shift: 1 if only one half of the conjugate pairs is kept (the sum is doubled),
            else 0.
        gate_input: format in which the activation enters the gate's weights.
        value_input: format in which it enters the value's weights (GLU ``full``).
    """

    c_re_shift: Shift
    c_im_shift: Shift
    d_shift: Shift
    y: Format
    conjugate_shift: Shift
    gate_input: Format
    value_input: Format


def update(accumulators: Values, state: Values, constants: OutputConstants) -> Update:
    """y = k Re(C g) + D u with k = 1 or 2; activation = relu(y).

    The doubled sum is not saturated before the feedthrough is added, as in the reference.
    """
    c = constants
    c_re, c_im, d = accumulators
    projection = saturate(
        saturate(shift_right(c_re, c.c_re_shift), c.y.bits)
        - saturate(shift_right(c_im, c.c_im_shift), c.y.bits),
        c.y.bits,
    )
    doubled = shift(projection, c.conjugate_shift)
    feedthrough = saturate(shift_right(d, c.d_shift), c.y.bits)
    y = saturate(doubled + feedthrough, c.y.bits)
    activation = rectify(y)
    messages = (
        y,
        activation,
        convert(activation, c.y, c.gate_input),
        convert(activation, c.y, c.value_input),
    )
    return (), messages, (projection, doubled, feedthrough)


OUTPUT = NeuronKind(
    name="output",
    title="projection, feedthrough, ReLU",
    colour="#d5ecd4",
    ports=("c_re", "c_im", "d"),
    messages=("y", "activation", "gate_input", "value_input"),
    probes=("projection", "doubled", "feedthrough"),
    constants=OutputConstants,
    update=update,
)
