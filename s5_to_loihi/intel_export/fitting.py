"""What every lowered tensor must fit: the reference's right shifts, and weights of eight bits."""

from __future__ import annotations

from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.intel_export.model import Tensor
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.widths import LARGEST_SHIFT


def lowered_to(source: Format, target: Format) -> Format:
    """Return the format in which a dense map takes its input.

    The reference converts only wider or finer inputs (``FxpDense.forward``).
    """
    return target if source.bits > target.bits or source.exponent > target.exponent else source


def right_shift(where: str, left: Format, right: Format, result: Format) -> int:
    """Return the right shift of a product of two formats to the format of its result.

    Args:
        where: the tensor, for messages.
        left, right: of the factors.
        result: of the shifted product.

    Raises:
        CheckpointError: it is negative, or leaves nothing.
    """
    shift = left.exponent + right.exponent - result.exponent
    if shift < 0:
        raise CheckpointError(
            where,
            f"would need a right shift by {shift} bits (exponent {result.exponent + shift} to"
            f" {result.exponent}); the reference computes only 0 and -1 there",
            "Lower the result's exponent, or raise the weights', and export again",
        )
    if shift > LARGEST_SHIFT:
        raise CheckpointError(
            where,
            f"would need a right shift by {shift} bits (limit {LARGEST_SHIFT}), which leaves"
            " nothing of any product",
            "Raise the result's exponent, or lower the weights', and export again",
        )
    return shift


def connect(
    network: NetworkBuilder,
    name: str,
    source: Endpoint,
    target: Endpoint,
    weight: Tensor,
    matrix: csr_matrix | None = None,
) -> None:
    """Add synapses with the weights of a tensor, or with those of a matrix in its format.

    Raises:
        CheckpointError: a weight is outside int8.
    """
    weights = weight.data if matrix is None else matrix
    lowest, highest = limits(8)
    if weights.size and (weights.min() < lowest or weights.max() > highest):
        raise CheckpointError(
            name,
            f"weights lie in {weights.min()}..{weights.max()} (limit {lowest}..{highest}, 8 bits)",
            "Export with 8-bit weights (w8a16)",
        )
    network.connect(name, source, target, weights, weight.format.exponent)
