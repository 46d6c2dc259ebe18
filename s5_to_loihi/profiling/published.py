"""Numbers that publications give, from ``published.yaml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from s5_to_loihi.files.reading import read_yaml
from s5_to_loihi.profiling.quantity import Origin, Quantity

#: What is known of a number: read in the publication itself, or in a text about it.
CONFIDENCES = ("verified", "secondary")


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        what: it is of.
        quantity: the number.
        confidence: one of ``CONFIDENCES``.
    """

    what: str
    quantity: Quantity
    confidence: str


@functools.lru_cache(maxsize=1)
def published() -> Mapping[str, Published]:
    """Return all rows by their key, in the order of the file.

    Raises:
        ValueError: a row is not complete; the file is part of the package.
    """
    content = read_yaml(Path(__file__).with_name("published.yaml"))
    assert isinstance(content, dict)
    return MappingProxyType({key: _row(key, row) for key, row in content.items()})


def _row(key: str, row: dict) -> Published:
    needed = {"what", "value", "unit", "scope", "source", "confidence"}
    if not needed <= row.keys() <= needed | {"low", "high"} or row["confidence"] not in CONFIDENCES:
        raise ValueError(f"published.yaml: {key} is not complete")
    value = float(row["value"])
    quantity = Quantity(
        value,
        float(row.get("low", value)),
        float(row.get("high", value)),
        row["unit"],
        row["scope"],
        Origin.PUBLISHED,
        row["source"],
    )
    return Published(row["what"], quantity, row["confidence"])
