"""Numbers for people, on a terminal as on a page: few digits, units with their signs, ranges."""

from __future__ import annotations

import math
from typing import NamedTuple

from s5_to_loihi.profiling.quantity import Quantity

#: How people write a unit that quantities come in, and its multiples, the largest first.
_UNITS = {
    "us": (("s", 1e6), ("ms", 1e3), ("µs", 1.0)),
    "uJ": (("J", 1e6), ("mJ", 1e3), ("µJ", 1.0), ("nJ", 1e-3)),
    "tokens/s": (("k tokens/s", 1e3), ("tokens/s", 1.0)),
    "x": (("×", 1.0),),
}


class Words(NamedTuple):
    """A quantity as people read it; the range is empty if there is none to speak of."""

    value: str
    unit: str
    range: str

    def __str__(self) -> str:
        return f"{self.value} {self.unit}".rstrip() + (f" ({self.range})" if self.range else "")


def shown(value: float) -> str:
    """Return three digits or so: ``0.0123``, ``1.23``, ``12,300``; of whole numbers, all."""
    size = abs(value)
    if value == int(value) and size < 1e15:
        return f"{value:,.0f}"
    if size >= 1000:
        return f"{round(value, 2 - int(math.log10(size))):,.0f}"
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if size >= limit:
            return f"{value:,.{digits}f}".removesuffix(".00").removesuffix(".0")
    return f"{value:.3g}"


def short(value: float, significant: int = 3) -> str:
    """Return so many digits without zeros at the end, of large numbers all before the point."""
    if value == 0 or abs(value) >= 10 ** (significant - 1):
        return f"{value:,.0f}"
    return f"{value:.{significant}g}"


def symbol(unit: str) -> str:
    """Return a unit as people write it."""
    return next(name for name, factor in _UNITS.get(unit, ((unit, 1.0),)) if factor == 1)


def in_words(quantity: Quantity, unit: str = "", narrow: bool = False) -> Words:
    """Return a quantity for people.

    Args:
        quantity: to show.
        unit: to show it in; if not given, the largest that it is one of at least.
        narrow: whether there is little room, as on a terminal: two digits of the range are shown.
    """
    multiples = _UNITS.get(quantity.unit, ((quantity.unit, 1.0),))
    own = symbol(quantity.unit)
    chosen, factor = next(
        (
            (name, factor)
            for name, factor in multiples
            if (name == unit if unit else factor >= 1 and abs(quantity.value) >= factor)
        ),
        (own, 1.0),
    )
    value, low, high = (one / factor for one in (quantity.value, quantity.low, quantity.high))
    ends = [short(one, 2) if narrow else shown(one) for one in (low, high)]
    return Words(
        short(value) if narrow else shown(value),
        chosen,
        "" if ends[0] == ends[1] else " to ".join(ends),
    )


def with_range(quantity: Quantity, narrow: bool = False) -> str:
    """Return a number with its unit and its range: ``1.77 µs (0.2 to 1.8)``."""
    return str(in_words(quantity, narrow=narrow))
