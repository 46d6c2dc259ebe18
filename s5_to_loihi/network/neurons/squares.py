"""Kinds that send the square of what they send: what a layer norm adds up.

The square of the first message, exactly, as two digits in messages of their own. That a neuron
sends it at once, rather than a group after it, saves a norm a timestep.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from s5_to_loihi.fixed_point import Format, shift_right
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.widths import SQUARE_DIGIT_BITS

SQUARES = ("square_low", "square_high")


def squared(kind: NeuronKind) -> NeuronKind:
    """Return a kind without state that also sends the square of its first message."""
    return replace(
        kind,
        name=f"{kind.name}_squared",
        title=f"{kind.title}, square",
        messages=(*kind.messages, *SQUARES),
        update=functools.partial(_update, kind.update),
    )


def square_formats(message: Format) -> dict[str, Format]:
    """Return the formats of the digits of a message's square."""
    exponent = 2 * message.exponent
    high = max(2, 2 * message.bits - SQUARE_DIGIT_BITS)
    formats = (
        Format(SQUARE_DIGIT_BITS + 1, exponent),
        Format(high, exponent - SQUARE_DIGIT_BITS),
    )
    return dict(zip(SQUARES, formats, strict=True))


def _update(
    base: Callable[[Values, Values, Any], Update],
    accumulators: Values,
    state: Values,
    constants: Any,
) -> Update:
    state, messages, probes = base(accumulators, state, constants)
    square = messages[0] * messages[0]
    low = square & ((1 << SQUARE_DIGIT_BITS) - 1)
    return state, (*messages, low, shift_right(square, SQUARE_DIGIT_BITS)), probes
