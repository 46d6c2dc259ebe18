"""Cells of tables: numbers with unit and range, counts, texts."""

from __future__ import annotations

from collections.abc import Iterable

from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.html.page import Card, Cell, Column, Table
from s5_to_loihi.reports.numbers import scaled, shown, span, symbol, with_range


def text(value: object, warning: bool = False) -> Cell:
    """Return a cell with a text or a whole number."""
    return Cell(f"{value:,}" if isinstance(value, int) else str(value), warning=warning)


def number(quantity: Quantity, badge: bool = False) -> Cell:
    """Return a cell with a number, its unit and its range, and if asked its origin."""
    # Where a line ends, it ends before the range.
    words = with_range(quantity).replace(" ", "\u00a0").replace("\u00a0(", " (")
    return Cell(words, quantity.origin.value if badge else "")


def share(value: float, of: float = 1.0) -> Cell:
    """Return a cell with a fraction in percent, drawn as a bar of the largest one."""
    return Cell(f"{shown(100 * value)} %", share=min(1.0, value / of) if of else 0.0)


def table(
    caption: str,
    headings: str,
    rows: Iterable[tuple[Cell, ...]],
    folded: bool = False,
) -> Table:
    """Return a table.

    Args:
        caption: above it.
        headings: separated by ``|``; those that end with ``#`` head numbers.
        rows: cells, the name of the row first.
        folded: whether it opens with a click.
    """
    columns = (
        Column(heading.strip().removesuffix("#").strip(), heading.strip().endswith("#"))
        for heading in headings.split("|")
    )
    return Table(caption, tuple(columns), tuple(rows), folded)


def card(title: str, quantity: Quantity) -> Card:
    """Return a card for a number."""
    quantity = scaled(quantity)
    of_range = f"range {span(quantity)}" if span(quantity) else ""
    return Card(
        title,
        shown(quantity.value),
        symbol(quantity.unit),
        of_range,
        quantity.scope,
        quantity.origin.value,
    )
