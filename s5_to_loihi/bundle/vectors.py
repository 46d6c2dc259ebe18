"""Recorded test vectors: what a network must compute for some tokens, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import Network

#: The name under which the tokens themselves are listed among the values.
TOKEN_VALUE = "input.token"


@dataclass(frozen=True, eq=False)
class Vectors:
    """Tokens and the integers recorded for them, from a zero state on.

    Attributes:
        tokens: (tokens, batch, input features) int64; each batch entry is one sequence.
        expected: ``group.value`` -> (tokens, batch, neurons) integers.
        recorded_as: ``group.value`` -> the names that the tensor has at its origin.
        origin: where the integers come from, for people.
    """

    tokens: np.ndarray
    expected: Mapping[str, np.ndarray]
    recorded_as: Mapping[str, tuple[str, ...]]
    origin: str

    def first(self, tokens: int, batch: int | None = None) -> Vectors:
        """Return the first ``tokens`` tokens of the first ``batch`` sequences (all if None).

        A prefix is as good a proof as the whole: networks are causal and start from zero.
        """
        return Vectors(
            self.tokens[:tokens, :batch],
            {name: array[:tokens, :batch] for name, array in self.expected.items()},
            self.recorded_as,
            self.origin,
        )


def check(network: Network, vectors: Vectors) -> None:
    """Check that vectors are of a network: their names, shapes, and the range of the tokens.

    Raises:
        NetworkError: naming the tensor, with what was found.
    """
    tokens = vectors.tokens
    if tokens.ndim != 3 or 0 in tokens.shape or tokens.shape[2] != network.input_size:
        raise NetworkError(
            "vectors, tokens",
            f"have the shape {tokens.shape} (limit tokens, sequences, {network.input_size})",
        )
    lowest, highest = limits(network.input_format.bits)
    if tokens.min() < lowest or tokens.max() > highest:
        what = f"lie in {tokens.min()}..{tokens.max()} (limit {network.input_format})"
        raise NetworkError("vectors, tokens", what)
    sizes = {TOKEN_VALUE: network.input_size}
    for group in network.groups:
        sizes |= {f"{group.name}.{name}": group.size for name in group.kind.values}
    for name, array in vectors.expected.items():
        if name not in sizes:
            raise NetworkError(f"vectors, {name:.60}", "is no value of the network")
        expected = (*tokens.shape[:2], sizes[name])
        if array.shape != expected:
            what = f"has the shape {array.shape}, the network's has {expected}"
            raise NetworkError(f"vectors, {name}", what)
