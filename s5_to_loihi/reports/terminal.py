"""Tables on a terminal."""

from __future__ import annotations

import textwrap

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from s5_to_loihi.reports.table import Column, Mark, Table

_STYLES = {
    Mark.GOOD: "green",
    Mark.NOTICE: "yellow",
    Mark.BAD: "bold red",
    Mark.QUIET: "dim",
    None: "",
}


def rendered(table: Table, narrow: bool = True) -> Group:
    """Return a table for a rich console.

    Args:
        table: to render, without the columns that are for pages.
        narrow: whether to spare room: see ``Cell.words``.
    """
    grid = Grid(
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    chosen = [place for place, column in enumerate(table.columns) if not column.roomy]
    columns = [table.columns[place] for place in chosen]
    rows = [
        [
            (row.cells[place].words(table.columns[place].unit, narrow), row.cells[place].mark)
            for place in chosen
        ]
        for row in table.rows
    ]
    for place, column in enumerate(columns):
        widest = max((len(cells[place][0]) for cells in rows), default=1) or 1
        # The last column, where it is text, takes the room that is left.
        last = place == len(columns) - 1 and not column.number
        grid.add_column(
            Text(_heading(column, widest)),
            justify="right" if column.number else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row, cells in zip(table.rows, rows, strict=True):
        texts = (Text(words, style=_STYLES[mark]) for words, mark in cells)
        grid.add_row(*texts, style="bold" if row.strong else None)
    # Not the grid's own title, which would be broken where a narrow table ends.
    return Group(Text(f"\n{table.title}", style="table.title"), grid)


def _heading(column: Column, width: int) -> str:
    """Return a heading with its unit, broken where it would make numbers' columns wider."""
    plain = ", ".join(filter(None, (column.heading.replace("\u00ad", ""), column.unit)))
    if not column.number or len(plain) <= width:
        return plain
    words = textwrap.wrap(column.heading.replace("\u00ad", "-"), width, break_long_words=False)
    return "\n".join(filter(None, (*words, column.unit)))
