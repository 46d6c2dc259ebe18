"""LEAKY and its relatives: netx's CUBA and LOIHI neurons, leaky integrate-and-fire, exactly.

With resets there is one more register, which counts updates; where a layer's spikes come back to
it, one that keeps them.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import Format, Integers, saturate, shift_right
from s5_to_loihi.network.neurons.constants import Allowed
from s5_to_loihi.network.neurons.kind import NeuronKind, Recurrence, Values
from s5_to_loihi.network.neurons.words import DIGIT_PORTS, WORD, Synaptic, received, word

#: Decays are in units of 2**-12.
DECAY_BITS = 12
#: Left shift of what is received and of biases and thresholds.
LIFT = 6
#: Of the register that counts updates; no interval is as long.
AGE_BITS = 25
#: Where the current wraps and the voltage is clipped.
LIMIT = 1 << 23
#: A decay of netx is one less or more than a file may say: its ``du`` is ``iDecay - 1``.
_DECAY = Allowed(-1, 1 << DECAY_BITS, "decays by {}/4096")


class LeakyConstants(NamedTuple):
    """Constants of LEAKY.

    Attributes:
        synaptic: of the input.
        current_decay, voltage_decay: of 4096 parts, how many are lost in an update.
        bias: (n,) added to the voltage in every update, before its shift.
        threshold: the voltage above which a neuron fires, after the shift.
    """

    synaptic: Synaptic
    current_decay: Annotated[int, _DECAY]
    voltage_decay: Annotated[int, _DECAY]
    bias: Annotated[Integers, WORD]
    threshold: int


class RecurrentConstants(NamedTuple):
    """Constants of RECURRENT_LEAKY.

    Attributes:
        leaky: of the neuron.
        recurrent: of what the layer sends to itself.
    """

    leaky: LeakyConstants
    recurrent: Synaptic


class Reset(NamedTuple):
    """When registers are cleared.

    Attributes:
        interval: updates from one reset to the next.
        first: number of the first update that begins with one, counted from 0.
    """

    interval: Annotated[int, Allowed(1, 1 << 23, "resets every {} updates")]
    first: Annotated[int, Allowed(0, 1 << 23, "resets first at update {}")]


class ResettingConstants(NamedTuple):
    """Constants of RESETTING_LEAKY.

    Attributes:
        leaky: of the neuron.
        reset: of its registers.
    """

    leaky: LeakyConstants
    reset: Reset


class ResettingRecurrentConstants(NamedTuple):
    """Constants of RESETTING_RECURRENT_LEAKY.

    Attributes:
        leaky: of the neuron.
        recurrent: of what the layer sends to itself.
        reset: of its registers.
    """

    leaky: LeakyConstants
    recurrent: Synaptic
    reset: Reset


def decayed(value: Integers, decay: int) -> Integers:
    """Return ``value * (1 - decay / 4096)``, rounded toward zero, any shape."""
    magnitude = shift_right(np.abs(value) * ((1 << DECAY_BITS) - decay), DECAY_BITS)
    return np.where(value > -1, magnitude, -magnitude)


def fired(received_now: Integers, state: Values, c: LeakyConstants) -> Values:
    """Return current, voltage and spike after an update.

    Args:
        received_now: what arrives, words.
        state: current and voltage before.
        c: constants.
    """
    current = word(decayed(state[0], c.current_decay) + word(received_now << LIFT))
    lowered = np.where(current > LIMIT, current - 2 * LIMIT, current)
    # A word by now; that it is one is for the tracer to see.
    current = word(np.where(current > -LIMIT, lowered, current + 2 * LIMIT))
    voltage = decayed(state[1], c.voltage_decay) + current + (c.bias << LIFT)
    voltage = np.minimum(np.maximum(voltage, 1 - LIMIT), LIMIT - 1)
    above = voltage > c.threshold
    return current, np.where(above, 0, voltage), np.where(above, 1, 0)


def counted(state: Values, reset: Reset) -> tuple[Values, Integers]:
    """Return the registers, cleared if a reset is due, and the count of updates."""
    *registers, age = state
    cleared = tuple(np.where(age == reset.first, 0, register) for register in registers)
    return cleared, np.where(age == reset.interval - 1, 0, saturate(age + 1, AGE_BITS))


def drive(accumulators: Values, c: LeakyConstants) -> Values:
    """Return what is received."""
    return (received(accumulators[:2], c.synaptic),)


def advance(inputs: Values, state: Values, c: LeakyConstants) -> Values:
    """Update current and voltage."""
    return fired(inputs[0], state, c)


def emit(inputs: Values, state: Values, c: Any) -> tuple[Values, Values]:
    """Send the spike."""
    return (state[-1],), ()


def resetting_drive(accumulators: Values, c: ResettingConstants) -> Values:
    """Return what is received."""
    return drive(accumulators, c.leaky)


def resetting_advance(inputs: Values, state: Values, c: ResettingConstants) -> Values:
    """Clear the registers if it is time, then update."""
    registers, age = counted(state, c.reset)
    current, voltage, spike = fired(inputs[0], registers, c.leaky)
    return current, voltage, age, spike


def recurrent_drive(accumulators: Values, c: RecurrentConstants) -> Values:
    """Return what is received from outside and from the layer itself."""
    return (received(accumulators[:2], c.leaky.synaptic) + received(accumulators[2:], c.recurrent),)


def recurrent_advance(inputs: Values, state: Values, c: RecurrentConstants) -> Values:
    """Update current and voltage, and keep the spike."""
    return fired(inputs[0], state[:2], c.leaky)


def resetting_recurrent_advance(
    inputs: Values, state: Values, c: ResettingRecurrentConstants
) -> Values:
    """Clear current and voltage if it is time, then update; what was sent before still arrives."""
    registers, age = counted((*state[:2], state[3]), c.reset)
    current, voltage, spike = fired(inputs[0], registers, c.leaky)
    return current, voltage, spike, age


def recurrent_emit(inputs: Values, state: Values, c: Any) -> tuple[Values, Values]:
    """Send the spike."""
    return (state[2],), ()


_RECURRENT_PORTS = (*DIGIT_PORTS, "back_low", "back_high")
_KEPT = (("spike", "kept"),)

LEAKY = NeuronKind(
    name="leaky",
    title="leaky integrate-and-fire",
    colour="#d6d2ee",
    ports=DIGIT_PORTS,
    state=("u", "v"),
    messages=("spike",),
    constants=LeakyConstants,
    update=Recurrence(drive, advance, emit),
    wraps=True,
)

RESETTING_LEAKY = NeuronKind(
    name="resetting_leaky",
    title="leaky integrate-and-fire, reset from time to time",
    colour="#d6d2ee",
    ports=DIGIT_PORTS,
    state=("u", "v", "age"),
    messages=("spike",),
    constants=ResettingConstants,
    update=Recurrence(resetting_drive, resetting_advance, emit),
    wraps=True,
)

RECURRENT_LEAKY = NeuronKind(
    name="recurrent_leaky",
    title="leaky integrate-and-fire, recurrent",
    colour="#c4bdea",
    ports=_RECURRENT_PORTS,
    state=("u", "v", "kept"),
    messages=("spike",),
    constants=RecurrentConstants,
    update=Recurrence(recurrent_drive, recurrent_advance, recurrent_emit),
    wraps=True,
    keeps=_KEPT,
)

RESETTING_RECURRENT_LEAKY = NeuronKind(
    name="resetting_recurrent_leaky",
    title="leaky integrate-and-fire, recurrent, reset from time to time",
    colour="#c4bdea",
    ports=_RECURRENT_PORTS,
    state=("u", "v", "kept", "age"),
    messages=("spike",),
    constants=ResettingRecurrentConstants,
    update=Recurrence(recurrent_drive, resetting_recurrent_advance, recurrent_emit),
    wraps=True,
    keeps=_KEPT,
)


def leaky_formats(kind: NeuronKind) -> dict[str, Format]:
    """Return the formats of the values of any of these kinds."""
    bit = Format(2, 0)
    widths = {"u": Format(32, LIFT), "v": Format(24, LIFT), "age": Format(AGE_BITS, 0)}
    return {name: widths.get(name, bit) for name in kind.values}
