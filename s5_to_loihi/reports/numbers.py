"""Numbers for people: few digits, units with their signs, ranges."""

from __future__ import annotations

from s5_to_loihi.profiling.quantity import Quantity

_SYMBOLS = {"us": "µs", "uJ": "µJ", "x": "×"}


def shown(value: float) -> str:
    """Return a number with three digits or so: ``0.0123``, ``1.23``, ``123``, ``12,345``."""
    size = abs(value)
    if value == int(value) and size < 1e15:
        return f"{value:,.0f}"
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if size >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def symbol(unit: str) -> str:
    """Return a unit as people write it."""
    return _SYMBOLS.get(unit, unit)


def span(quantity: Quantity) -> str:
    """Return the range of a number; empty if it is exact."""
    if quantity.low == quantity.high:
        return ""
    return f"{shown(quantity.low)} to {shown(quantity.high)}"


def with_range(quantity: Quantity) -> str:
    """Return a number with its unit and its range."""
    text = f"{shown(quantity.value)} {symbol(quantity.unit)}"
    return text + (f" ({span(quantity)})" if span(quantity) else "")
