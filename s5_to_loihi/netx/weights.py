"""What netx's synapses really multiply by, and convolutions written out as matrices.

Source of the rules: lava-dl 0.6.0, ``netx/utils.py`` (``optimize_weight_bits``), and lava-nc
0.10.0, ``utils/weightutils.py`` (clipping and truncation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.network.neurons.words import DIGIT_BITS
from s5_to_loihi.netx.layers import MOST_SYNAPSES, Kernel

#: Bits of a weight, and what netx clips mixed signs to.
BITS, MIXED = 8, (-256, 254)


@dataclass(frozen=True, eq=False)
class Scaled:
    """Weights as they are multiplied by, and the shift that follows the sum.

    Attributes:
        weights: int64, ``w << shift`` but for what is clipped and truncated.
        shift: right shift of the sum.
        exact: whether they are ``w << shift``.
    """

    weights: np.ndarray
    shift: int
    exact: bool


def scaled(weight: np.ndarray, parts: tuple[slice, ...] = (slice(None),)) -> tuple[Scaled, ...]:
    """Return the weights of a dense layer as Lava multiplies by them.

    Args:
        weight: (out, in) integers of a file. The two matrices of a recurrent layer lie side by
            side and are scaled together.
        parts: its columns, which are clipped and truncated by themselves.
    """
    low, high = int(weight.min()), int(weight.max())
    clipped = weight
    if (high > MIXED[1] and low < 0) or (low < MIXED[0] and high > 0):
        clipped = weight.clip(*MIXED)
        low, high = int(clipped.min()), int(clipped.max())
    if low == high == 0:  # netx fails; a sum of nothing is nothing
        return tuple(Scaled(weight[:, part], 0, True) for part in parts)
    mixed = high >= 0 > low
    if mixed:
        room = min(127 / high if high else math.inf, -128 / low)
    else:
        room = 255 / high if low >= 0 else -256 / low
    shift = math.floor(math.log2(room)) + mixed
    zeros = next((n for n in range(BITS, 0, -1) if not (clipped % (1 << n)).any()), 0)
    bits = BITS - shift - (zeros - mixed)
    # numpy makes zeros of a shift by a negative number.
    lifted = clipped << shift if shift >= 0 else np.zeros_like(clipped)
    return tuple(_truncated(weight[:, part], lifted[:, part], shift, bits) for part in parts)


def _truncated(weight: np.ndarray, lifted: np.ndarray, shift: int, bits: int) -> Scaled:
    """Clip and truncate as Lava does, which tells the mode of signs anew."""
    low, high = int(lifted.min()), int(lifted.max())
    mixed = low < 0 < high
    sign = -1 if low < 0 and not mixed else 1
    magnitude = (sign * lifted).clip(-256 if mixed else 0, 255)
    cut = max(0, BITS - bits + mixed)
    result = sign * ((magnitude >> cut) << cut)
    used = max(shift, 0)
    return Scaled(result, used, np.array_equal(result, weight << used))


def digits(weights: np.ndarray) -> tuple[int, np.ndarray, np.ndarray | None]:
    """Return weights as int8 digits.

    Args:
        weights: integers of 9 bits, sign included.

    Returns:
        ``(left, low, high)``: the weights are ``(low + (high << DIGIT_BITS)) << left``; high is
        None where there is no need of it.
    """
    left = next((n for n in range(BITS, 0, -1) if not (weights % (1 << n)).any()), 0)
    if not weights.any():
        left = 0
    rest = weights >> left
    if rest.min() >= -128 and rest.max() <= 127:
        return left, rest, None
    return left, rest & ((1 << DIGIT_BITS) - 1), rest >> DIGIT_BITS


def convolution(
    weight: np.ndarray, kernel: Kernel, inlet: tuple[int, ...], outlet: tuple[int, ...], where: str
) -> csr_matrix:
    """Return a convolution as a matrix over neurons in Lava's order, width, height, channel.

    Args:
        weight: (channels out, channels in of a group, height, width) of a correlation.
        kernel: how it moves.
        inlet, outlet: (width, height, channels).
        where: the layer, for errors.

    Raises:
        CheckpointError: the shapes do not suit each other, or there are too many synapses.
    """
    channels, depth, height, width = weight.shape
    sizes = tuple(
        (inlet[1 - axis] + 2 * kernel.padding[axis] - kernel.dilation[axis] * (extent - 1) - 1)
        // kernel.stride[axis]
        + 1
        for axis, extent in enumerate((height, width))
    )
    expected = (sizes[1], sizes[0], channels)
    if outlet != expected or inlet[2] != depth * kernel.groups:
        raise CheckpointError(
            where,
            f"makes (width, height, channels) {expected} of {inlet} with {depth * kernel.groups}"
            f" channels, not {outlet}",
            "Give the input shape, or export the network again",
        )
    if math.prod(outlet) * depth * height * width > MOST_SYNAPSES:
        raise CheckpointError(where, f"writes out to more than {MOST_SYNAPSES:,} synapses", "")
    x, y, c = np.meshgrid(*(np.arange(n) for n in outlet), indexing="ij")
    x, y, c = x.ravel(), y.ravel(), c.ravel()
    first = c // (channels // kernel.groups) * depth
    rows, columns, data = [], [], []
    for row in range(height):
        for column in range(width):
            at_y = y * kernel.stride[0] + row * kernel.dilation[0] - kernel.padding[0]
            at_x = x * kernel.stride[1] + column * kernel.dilation[1] - kernel.padding[1]
            inside = np.flatnonzero(
                (at_y >= 0) & (at_y < inlet[1]) & (at_x >= 0) & (at_x < inlet[0])
            )
            base = (at_x[inside] * inlet[1] + at_y[inside]) * inlet[2] + first[inside]
            for deep in range(depth):
                values = weight[c[inside], deep, row, column]
                there = values != 0
                rows.append(inside[there].astype(np.int32))
                columns.append((base[there] + deep).astype(np.int32))
                data.append(values[there].astype(np.int16))
    shape = (math.prod(outlet), math.prod(inlet))
    entries = (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns)))
    return csr_matrix(entries, shape=shape)
