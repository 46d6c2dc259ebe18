"""Numbers for people: few digits, units with their signs, ranges."""

from __future__ import annotations

import math
from dataclasses import replace

from s5_to_loihi.profiling.quantity import Quantity

_SYMBOLS = {"us": "µs", "uJ": "µJ", "x": "×"}
#: A larger unit, taken from so many on.
_LARGER = {"us": ("ms", 1e3), "uJ": ("mJ", 1e3)}


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


def symbol(unit: str) -> str:
    """Return a unit as people write it."""
    return _SYMBOLS.get(unit, unit)


def scaled(quantity: Quantity) -> Quantity:
    """Return a number in a unit that makes it short."""
    unit, factor = _LARGER.get(quantity.unit, ("", 1.0))
    if not unit or quantity.value < factor:
        return quantity
    numbers = {name: getattr(quantity, name) / factor for name in ("value", "low", "high")}
    return replace(quantity, **numbers, unit=unit)


def span(quantity: Quantity) -> str:
    """Return the range of a number; empty if there is none to speak of."""
    low, high = shown(quantity.low), shown(quantity.high)
    return "" if low == high else f"{low} to {high}"


def with_range(quantity: Quantity) -> str:
    """Return a number with its unit and its range."""
    quantity = scaled(quantity)
    text = f"{shown(quantity.value)} {symbol(quantity.unit)}"
    return text + (f" ({span(quantity)})" if span(quantity) else "")
