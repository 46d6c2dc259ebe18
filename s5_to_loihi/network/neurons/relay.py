"""RELAY: hands a message on, whole or as a bit: where netx cuts messages to bits, or delays."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from s5_to_loihi.network.neurons.constants import Allowed
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.neurons.words import word


class RelayConstants(NamedTuple):
    """Constants of RELAY.

    Attributes:
        binary: 1 if whatever is not zero is sent as 1, 0 if messages are handed on.
    """

    binary: Annotated[int, Allowed(0, 1)]


def update(accumulators: Values, state: Values, constants: RelayConstants) -> Update:
    """message = input, or whether there is one."""
    value = word(accumulators[0])
    return (), (np.where(value == 0, 0, 1) if constants.binary else value,), ()


RELAY = NeuronKind(
    name="relay",
    title="hands messages on",
    colour="#eeeeee",
    ports=("received",),
    messages=("message",),
    constants=RelayConstants,
    update=update,
    wraps=True,
)
