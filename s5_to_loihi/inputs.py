"""Data becomes tokens: integers of a network's input format, checked before anything runs."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import limits, to_integers
from s5_to_loihi.network.network import Network


def as_tokens(
    network: Network, inputs: np.ndarray, saturate: bool = False, where: str = "input"
) -> tuple[np.ndarray, int]:
    """Return data as tokens, and how many values were saturated.

    Args:
        network: that they are for.
        inputs: (tokens, features) or (tokens, batch, features). Integers are taken as they are,
            floats are quantized to the input format (floor, as the reference does).
        saturate: clip values outside the input format instead of refusing them.
        where: what to call the data in an error.

    Returns:
        ``((tokens, batch, features) int32, number of clipped values)``.

    Raises:
        InputError: neither integers nor floats, NaN, empty, wrong number of axes or features, or
            values outside the input format, infinities among them.
    """
    inputs = np.asarray(inputs)
    if inputs.dtype.kind not in "iuf":
        raise InputError(where, f"holds {inputs.dtype}, neither integers nor floats")
    if inputs.ndim not in (2, 3):
        raise InputError(
            where,
            f"has {inputs.ndim} axes",
            "Give (tokens, features) or (tokens, batch, features)",
        )
    if inputs.shape[-1] != network.input_size:
        raise InputError(
            where,
            f"has {inputs.shape[-1]} features a token, the network takes {network.input_size}",
        )
    if 0 in inputs.shape:
        raise InputError(where, f"is empty (shape {inputs.shape})")
    if inputs.dtype.kind == "f":
        integers, clipped = to_integers(inputs, network.input_format, where)
    else:
        lowest, highest = limits(network.input_format.bits)
        integers, clipped = inputs, 0
        if inputs.min() < lowest or inputs.max() > highest:
            integers = np.clip(inputs, lowest, highest)
            clipped = int(np.count_nonzero(integers != inputs))
    if clipped and not saturate:
        raise InputError(
            where,
            f"has {clipped:,} values outside the input format {network.input_format}, the largest"
            f" {inputs.max()}, the lowest {inputs.min()}",
            "Scale the data, or saturate it (--saturate)",
        )
    tokens = integers.reshape(len(inputs), -1, network.input_size)
    # Writable, since kernels would be compiled once more for arrays that are not.
    return np.require(tokens, np.int32, ["C", "W"]), clipped
