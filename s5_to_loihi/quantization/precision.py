"""How many bits each tensor gets."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import MappingProxyType

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_yaml
from s5_to_loihi.network.widths import MESSAGE_BITS, STATE_BITS
from s5_to_loihi.quantization.float_weights import FLOAT_FORMATS, WeightFormat

#: Bits of a token's integers that are worth having.
WIDE_INPUT = 20
#: What may be chosen for each role: (fewest bits, most bits).
ALLOWED = {
    "weight": (2, 16),
    "activation": (8, MESSAGE_BITS),
    "input": (8, MESSAGE_BITS),
    "eigenvalue": (8, STATE_BITS),
    "state": (16, STATE_BITS),
}


@dataclass(frozen=True)
class Precision:
    """Bits of every tensor, sign included.

    Attributes:
        weights: of matrices; more than 8 bits become chained synapses, as do fewer where messages
            are so wide that sums of whole weights would not fit (see ``rounding.Digits``). Or a
            format in floating point, ``e4m3`` or ``e5m2`` (see ``float_weights``).
        activations: of messages between groups.
        inputs: of the tokens; by default as many as activations, or up to ``WIDE_INPUT`` where
            that makes the encoder's sums more exact without another digit of its weights: wider
            tokens then cost nothing, and spectra span many octaves.
        eigenvalues: of ``a - 1``, the real and the imaginary part.
        states: of the state registers.
        knots: segments of the tables of sigmoid and GELU, a power of two.
        lean: whether neurons get shorter programs for less exact values: recurrences of
            LEAN_STATE, and no more bits while values are summed up, but for the projection.
        overrides: pattern of tensor names -> bits, for example ``{"block0.B": 6, "*.C": "e4m3"}``;
            the last that matches counts. Names: ``input``, ``encoder.weight``, ``blockN.B``,
            ``blockN.C``, ``blockN.W1``, ``blockN.W2``, ``decoder.weight``, ``encoder.activation``,
            ``blockN.g``, ``blockN.y``, ``blockN.hidden``, ``decoder.activation``,
            ``blockN.eigenvalues``, ``blockN.x``.

    Examples:
        >>> precision = s5.Precision(weights=4, overrides={"encoder.weight": 8})
        >>> precision.weight("encoder.weight"), precision.weight("block0.B")
        (8, 4)
    """

    weights: int | str = 8
    activations: int = 16
    inputs: int | None = None
    eigenvalues: int = 16
    states: int = STATE_BITS
    knots: int = 64
    lean: bool = False
    overrides: Mapping[str, int | str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _check("activation bits", "activation", self.activations)  # input bits depend on them
        for role, bits in self._of_roles().items():
            _check(f"{role} bits", role, bits)
        if type(self.lean) is not bool:
            raise InputError("lean", f"is {self.lean!r:.60}", "Use true or false")
        if type(self.knots) is not int or not (
            8 <= self.knots <= 1024 and math.log2(self.knots).is_integer()
        ):
            raise InputError(
                "knots", f"are {self.knots!r:.60} (allowed: powers of two from 8 to 1024)", "Use 64"
            )

    @property
    def input_bits(self) -> int:
        """Bits of a token's integers, if nothing speaks against it."""
        return max(WIDE_INPUT, self.activations) if self.inputs is None else self.inputs

    def _of_roles(self) -> dict[str, int | str]:
        return {
            "weight": self.weights,
            "activation": self.activations,
            "input": self.input_bits,
            "eigenvalue": self.eigenvalues,
            "state": self.states,
        }

    def bits(self, role: str, tensor: str) -> int:
        """Return the bits of a tensor that is no matrix.

        Args:
            role: ``activation``, ``input``, ``eigenvalue`` or ``state``.
            tensor: its name.

        Raises:
            InputError: an override is outside what the role allows.
        """
        chosen = self._chosen(role, tensor)
        assert isinstance(chosen, int)
        return chosen

    def weight(self, tensor: str) -> WeightFormat:
        """Return how the weights of a matrix are written.

        Raises:
            InputError: an override is outside what is allowed for weights.
        """
        chosen = self._chosen("weight", tensor)
        return FLOAT_FORMATS[chosen] if isinstance(chosen, str) else chosen

    def _chosen(self, role: str, tensor: str) -> int | str:
        bits = self._of_roles()[role]
        for pattern, chosen in self.overrides.items():
            if fnmatchcase(tensor, pattern):
                bits = chosen
        _check(tensor, role, bits)
        return bits


def check_overrides(precision: Precision, tensors: Iterable[str]) -> None:
    """Refuse patterns that match none of a model's tensors.

    Raises:
        InputError: naming the pattern and all tensors.
    """
    tensors = tuple(tensors)
    for pattern in precision.overrides:
        if not any(fnmatchcase(tensor, pattern) for tensor in tensors):
            raise InputError(
                f"override {pattern}", "matches no tensor", f"There are {', '.join(tensors)}"
            )


def _check(where: str, role: str, bits: int | str) -> None:
    fewest, most = ALLOWED[role]
    if role == "weight" and isinstance(bits, str) and bits in FLOAT_FORMATS:
        return
    if type(bits) is not int or not fewest <= bits <= most:
        named = f", or {', '.join(FLOAT_FORMATS)}" if role == "weight" else ""
        raise InputError(
            where,
            f"is given {bits!r:.60} bits (allowed {fewest} to {most} for {role}s{named})",
            "Change the number, or narrow the pattern that matches it",
        )


def read_precision(
    path: str | os.PathLike[str], given: Mapping[str, int | str | None]
) -> Precision:
    """Read bits from a YAML file: the attributes of ``Precision`` by name.

    Args:
        path: of the file.
        given: attributes that count instead of the file's, unless None.

    Raises:
        InputError: no such file, no YAML, unknown entries, or bits that are not allowed.
    """
    content = read_yaml(path, if_unreadable="Check the path", if_damaged="See docs/quantization.md")
    names = [entry.name for entry in fields(Precision)]
    if not isinstance(content, dict) or not set(content) <= set(names):
        raise InputError(
            str(path),
            "does not hold a mapping of bits"
            if not isinstance(content, dict)
            else f"has the entry {sorted(map(str, set(content) - set(names)))[0]}",
            f"Use {', '.join(names)}",
        )
    overrides = content.get("overrides") or {}
    if not isinstance(overrides, dict) or not all(isinstance(key, str) for key in overrides):
        raise InputError(f"{path}, overrides", "is not a mapping of tensor names to bits")
    chosen = content | {name: value for name, value in given.items() if value is not None}
    return Precision(**(chosen | {"overrides": MappingProxyType(dict(overrides))}))
