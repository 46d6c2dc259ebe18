"""Arithmetic of 32-bit words that wrap, as Lava's own neurons and netx's layers compute.

Source: lava-dl 0.6.0 (``lava/lib/dl/netx``) and lava-nc 0.10.0 (``lava/proc``), their models for
the CPU with the tag ``fixed_pt``; recordings of them hold this to every integer.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from s5_to_loihi.fixed_point import Format, Integers, shift_right, wrap
from s5_to_loihi.network.neurons.constants import Allowed, Shift
from s5_to_loihi.network.neurons.kind import Values
from s5_to_loihi.network.widths import WORD_BITS

WORD = Format(WORD_BITS, 0)
#: The ports of a layer's weights: the lower and the higher digit.
DIGIT_PORTS = ("low", "high")
#: Bits of the lower digit, where there is a higher one.
DIGIT_BITS = 7


class Synaptic(NamedTuple):
    """How the sums at the ports become what a neuron receives.

    Attributes:
        left: trailing zero bits that all weights of a layer have in common.
        bits: to which the sum wraps: 32, after a convolution 24.
        right: shift of the wrapped sum.
    """

    left: Annotated[int, Allowed(0, 8, "shifts left by {} bits")]
    bits: Annotated[int, Allowed(2, WORD_BITS, "wraps to {} bits")]
    right: Shift


#: Of what is handed on, and of inputs.
WHOLE = Synaptic(left=0, bits=WORD_BITS, right=0)


def received(digits: Values, synaptic: Synaptic) -> Integers:
    """Return what a neuron receives: ``wrap(sum << left, bits) >> right``, any shape.

    Args:
        digits: the sums at the ports of the lower and the higher digit.
        synaptic: how.
    """
    low, high = digits
    total = low + (high << DIGIT_BITS)
    return shift_right(wrap(total << synaptic.left, synaptic.bits), synaptic.right)


def word(value: Integers) -> Integers:
    """Wrap integers of any shape to 32 bits."""
    return wrap(value, WORD_BITS)
