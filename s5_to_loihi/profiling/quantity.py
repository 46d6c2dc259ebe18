"""A number as a report may show it: never without unit, range, scope and source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Origin(str, Enum):
    """How a number came about."""

    MEASURED = "measured"  #: by running it
    MODELLED = "modelled"  #: by the cost model or arithmetic on other numbers
    PUBLISHED = "published"  #: read in a publication


@dataclass(frozen=True)
class Quantity:
    """A number with all that one has to know to compare it.

    Attributes:
        value: the nominal number.
        low, high: the range it lies in; the value itself where it is exact.
        unit: ``us``, ``uJ``, ``W``, ``tokens/s``, ``synops`` ...
        scope: what the number covers: for a power or an energy which supplies (``neurocore rails``,
            ``chip with x86``, ``board``), for a time from where to where.
        origin: measured, modelled or published.
        source: the model and its constants, the run, or the publication.
    """

    value: float
    low: float
    high: float
    unit: str
    scope: str
    origin: Origin
    source: str

    def __post_init__(self):
        numbers = (self.low, self.value, self.high)
        if not all(map(math.isfinite, numbers)) or not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} is not within {self.low}..{self.high}")

    @classmethod
    def exact(cls, value: float, unit: str, scope: str, origin: Origin, source: str) -> Quantity:
        """Return a number without a range."""
        return cls(value, value, value, unit, scope, origin, source)

    def __contains__(self, value: float) -> bool:
        """Tell whether a number lies in the range."""
        return self.low <= value <= self.high
