"""Recorded test vectors: what a network must compute for some tokens, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

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
