"""Layer norm and RMS norm: what the neurons of a group have in common, and what each makes of it.

With h of n neurons and their squares on the way (``squares.py``), one neuron, STATISTICS, adds up
both and sends the mean and the inverse deviation; LAYER_NORM has h once more and multiplies. RMS
norm is the same without synapses that carry h to the sum.

Sums and squares are exact: with ``radicand = n sum h^2 - (sum h)^2 + n^2 epsilon``, the normalised
value ``(h - mean) / sqrt(variance + epsilon)`` is ``(h - mean) n / sqrt(radicand)``. What is not
exact is the mean, in 24 bits, and the root, see ``inverse_root.py``.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from s5_to_loihi.fixed_point import (
    Format,
    Integers,
    rectify,
    saturate,
    shift,
    shift_right,
    shift_right_rounded,
)
from s5_to_loihi.network.neurons.constants import Allowed, Multipliers, Shift, Shifts
from s5_to_loihi.network.neurons.inverse_root import RADICAND_BITS, inverse_root
from s5_to_loihi.network.neurons.kind import NeuronKind, Update, Values
from s5_to_loihi.network.widths import SQUARE_DIGIT_BITS, STATE_BITS

#: Neurons that a norm is over: more and a sum of lower digits could leave its accumulator.
MOST_NEURONS = (1 << (30 - SQUARE_DIGIT_BITS)) - 1
#: The largest right shift by a message: a 64-bit product has no more bits.
LARGEST_EXPONENT = 60


class StatisticsConstants(NamedTuple):
    """Constants of STATISTICS.

    Attributes:
        neurons: how many are added up.
        epsilon: ``neurons**2`` times the norm's epsilon, in the unit of the squares; at least 1.
        reciprocal: with ``reciprocal_shift`` the factor from the sum to the mean.
        exponent: the right shift that stands for an inverse root without any doubling.
        mean: format of the mean.
    """

    neurons: Annotated[int, Allowed(1, MOST_NEURONS)]
    epsilon: Annotated[int, Allowed(1, 1 << (RADICAND_BITS - 1))]
    reciprocal: Annotated[int, Allowed(1, 1 << 30)]
    reciprocal_shift: Shift
    exponent: Annotated[int, Allowed(0, LARGEST_EXPONENT)]
    mean: Format


class LayerNormConstants(NamedTuple):
    """Constants of LAYER_NORM.

    Attributes:
        centring: left shift of h to the format of the mean.
        normalised: format of the normalised value times ``2**floor(log2 n) / n``.
        multiplier: (n,) integers, the factor that is left, and the scale.
        multiplier_shift: (n,) right shifts of the product, >= 0, to the fine format.
        bias: (n,) integers in the fine format; holds the half of the rounding.
        fine: format with bits more than u.
        rounding_shift: right shift from it to u.
        u: format of the message, which saturates there.
        rectified: 1 if a ReLU follows, else 0.
    """

    centring: Annotated[int, Allowed(0, STATE_BITS)]
    normalised: Format
    multiplier: Multipliers
    multiplier_shift: Shifts
    bias: Annotated[Integers, "fine"]
    fine: Format
    rounding_shift: Shift
    u: Format
    rectified: int


def update_statistics(
    accumulators: Values, state: Values, constants: StatisticsConstants
) -> Update:
    """Mean, and mantissa and exponent of ``1 / sqrt(radicand)``."""
    total, low, high = accumulators
    c = constants
    magnitude = np.abs(total)
    spread = (low + shift(high, SQUARE_DIGIT_BITS)) * c.neurons - magnitude * magnitude
    # Nothing is below zero here (Cauchy and Schwarz), nor beyond the limit (``groups/norm.py``).
    radicand = np.minimum(rectify(spread) + c.epsilon, (1 << RADICAND_BITS) - 1)
    mantissa, doublings = inverse_root(radicand)
    mean = saturate(shift_right_rounded(total * c.reciprocal, c.reciprocal_shift), c.mean.bits)
    return (), (mean, mantissa, rectify(c.exponent - doublings)), ()


def update_layer_norm(accumulators: Values, state: Values, constants: LayerNormConstants) -> Update:
    """u = (h - mean) / sqrt(variance + epsilon) * scale + bias, rectified or not."""
    hidden, mean, mantissa, exponent = accumulators
    c = constants
    centred = shift(hidden, c.centring) - mean
    # STATISTICS sends nothing else; no shift is undefined, whatever comes.
    exponent = np.minimum(rectify(exponent), LARGEST_EXPONENT)
    normalised = saturate(shift_right_rounded(centred * mantissa, exponent), c.normalised.bits)
    fine = saturate(shift_right(normalised * c.multiplier, c.multiplier_shift), c.fine.bits)
    total = shift_right(fine + c.bias, c.rounding_shift)
    u = rectify(total) if c.rectified else total
    return (), (saturate(u, c.u.bits),), (centred, normalised, total)


STATISTICS = NeuronKind(
    name="statistics",
    title="mean and inverse deviation",
    colour="#e6e0f0",
    ports=("sum", "square_low", "square_high"),
    messages=("mean", "mantissa", "exponent"),
    constants=StatisticsConstants,
    update=update_statistics,
)

LAYER_NORM = NeuronKind(
    name="layer_norm",
    title="layer norm",
    colour="#e6e0f0",
    ports=("hidden", "mean", "mantissa", "exponent"),
    messages=("u",),
    probes=("centred", "normalised", "total"),
    constants=LayerNormConstants,
    update=update_layer_norm,
)
