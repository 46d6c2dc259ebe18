"""Tables on a terminal: whole, whatever its width.

Nothing is cut. A table that is too wide breaks the text of its last column, where that is text,
and else goes on below, with the columns again that tell its rows apart; only a single column that
is wider than the terminal goes beyond it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from s5_to_loihi.reports.table import Column, Mark, Table

#: How a terminal shows a mark.
STYLES = {
    Mark.GOOD: "green",
    Mark.NOTICE: "yellow",
    Mark.BAD: "bold red",
    Mark.QUIET: "dim",
    None: "",
}
#: What text is not broken below.
_NARROWEST = 24


@dataclass(frozen=True)
class _Column:
    """A column as it is printed: lines of its heading, the words of its cells and their styles."""

    heading: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    number: bool

    @property
    def width(self) -> int:
        """The widest of all."""
        return max(map(cell_len, (*self.heading, *(words for words, _ in self.cells))), default=0)


def rendered(table: Table, width: int | None = None, narrow: bool = True) -> Text:
    """Return a table as styled lines, an empty one and its title first.

    Args:
        table: to render, without the columns that are for pages.
        width: of the terminal; None for a file or a pipe, which has none.
        narrow: whether to spare room: see ``Cell.words``.
    """
    columns = [
        _column(column, [row.cells[place] for row in table.rows], narrow)
        for place, column in enumerate(table.columns)
        if not column.roomy
    ]
    strong = [row.strong for row in table.rows]
    lines = [Text()]
    lines += [Text(line, "italic") for line in folded(table.title, width)]
    for place, part in enumerate(_parts(columns, width)):
        lines += [Text()] * bool(place)
        lines += _lines(part, strong, width)
    return Text("\n").join(lines)


def folded(text: str, width: int | None) -> list[str]:
    """Return lines of a text, which names with their dashes and dots are not broken in."""
    if width is None:
        return text.splitlines()
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        or [""]
    ]


def _column(column: Column, cells: Sequence, narrow: bool) -> _Column:
    words = tuple((cell.words(column.unit, narrow), STYLES[cell.mark]) for cell in cells)
    widest = max((cell_len(text) for text, _ in words), default=1) or 1
    return _Column(_heading(column, widest), words, column.number)


def _heading(column: Column, width: int) -> tuple[str, ...]:
    """Return a heading with its unit, broken where it would make numbers' columns wider."""
    plain = ", ".join(filter(None, (column.heading.replace("\u00ad", ""), column.unit)))
    if not column.number or cell_len(plain) <= width:
        return (plain,)
    words = textwrap.wrap(column.heading.replace("\u00ad", "-"), width, break_long_words=False)
    return tuple(filter(None, (*words, column.unit)))


def _parts(columns: list[_Column], width: int | None) -> list[list[_Column]]:
    """Return the columns that stand side by side, and what goes on below with some again."""
    if width is None or not columns:
        return [columns]
    count = _telling_apart(columns, width // 2)
    again, others = columns[:count], columns[count:]
    rest = width - sum(column.width + 1 for column in again) + 1
    parts, room = [[*again]], rest
    for place, column in enumerate(others):
        last_text = place == len(others) - 1 and not column.number
        needed = 1 + (min(column.width, _NARROWEST) if last_text else column.width)
        if needed > room and len(parts[-1]) > count:
            parts.append([*again])
            room = rest
        parts[-1].append(column)
        room -= needed
    return parts


def _telling_apart(columns: list[_Column], room: int) -> int:
    """Return how many columns at the left tell the rows apart; 1 if none do that fit."""
    for count in range(1, len(columns) + 1):
        if sum(column.width + 1 for column in columns[:count]) > room:
            break
        rows = list(zip(*(column.cells for column in columns[:count]), strict=True))
        if len(set(rows)) == len(rows):
            return count
    return 1


def _lines(columns: list[_Column], strong: Sequence[bool], width: int | None) -> list[Text]:
    widths = [column.width for column in columns]
    if width is not None and not columns[-1].number:
        widths[-1] = min(widths[-1], max(_NARROWEST, width - sum(widths[:-1]) - len(widths) + 1))
    height = max(len(column.heading) for column in columns)
    lines = []
    for place in range(height):
        heads = [("",) * (height - len(column.heading)) + column.heading for column in columns]
        lines.append(_line(columns, widths, [(head[place], "") for head in heads], "bold"))
    for row, is_strong in enumerate(strong):
        *cells, (words, style) = (column.cells[row] for column in columns)
        for place, part in enumerate(_broken(words, None if columns[-1].number else widths[-1])):
            before = [("", "")] * len(cells) if place else cells
            lines.append(_line(columns, widths, [*before, (part, style)], "bold" * is_strong))
    return lines


def _broken(words: str, width: int | None) -> list[str]:
    if width is None or cell_len(words) <= width:
        return [words]
    return folded(words, width)


def _line(
    columns: list[_Column], widths: list[int], cells: list[tuple[str, str]], style: str
) -> Text:
    line = Text(style=style)
    for place, (column, width, (words, own)) in enumerate(zip(columns, widths, cells, strict=True)):
        room = " " * max(0, width - cell_len(words))
        line.append(" " * bool(place))
        line.append(room if column.number else "")
        line.append(words, own)
        line.append("" if column.number else room)
    line.rstrip()
    return line
