"""A table as a value: what stands in it, not how; terminals and pages render the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple, TypeVar

from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.reports.numbers import in_words, shown


class Number(NamedTuple):
    """A number without a range, and how many decimals a terminal shows, where they line up."""

    value: float
    decimals: int
    unit: str = ""


class Span(NamedTuple):
    """The lowest and the highest of some integers."""

    low: int
    high: int


class Names(NamedTuple):
    """Names of which a terminal has room for the first one."""

    names: tuple[str, ...]


Record = TypeVar("Record")
#: What a cell may say.
Content = str | int | Number | Span | Names | Quantity


class Mark(Enum):
    """What a cell tells its reader before it is read."""

    GOOD = "good"
    NOTICE = "notice"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        content: what it says.
        mark: how it stands out, if it does.
        origin: how a number came about, where that is to be shown beside it.
        share: 0..1, drawn on a page as a bar behind the text.
        ranged: whether a terminal shows the range of a quantity.
    """

    content: Content
    mark: Mark | None = None
    origin: Origin | None = None
    share: float | None = None
    ranged: bool = True

    def words(self, unit: str, narrow: bool) -> str:
        """Return what it says, as text.

        Args:
            unit: that the column names; quantities are shown in it, without it.
            narrow: whether there is little room, as on a terminal.
        """
        content = self.content
        if isinstance(content, Quantity):
            words = in_words(content, unit, narrow)
            if narrow and not self.ranged:
                words = words._replace(range="")
            return str(words._replace(unit="") if unit else words)
        if isinstance(content, Number):
            value, decimals, of = content
            return f"{value:,.{decimals}f}{of}" if narrow else f"{shown(value)} {of}".rstrip()
        if isinstance(content, Span):
            low, high = content
            return f"{low}..{high}" if narrow else f"{low:,} to {high:,}"
        if isinstance(content, Names):
            return first_of(content.names) if narrow else ", ".join(dict.fromkeys(content.names))
        return f"{content:,}" if isinstance(content, int) else content


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: above it; a soft hyphen says where it may be broken.
        number: whether it holds numbers, which are set flush right.
        unit: of its quantities, which do not repeat it.
        roomy: whether only a page has room for it.
    """

    heading: str
    number: bool = False
    unit: str = ""
    roomy: bool = False


class Row(NamedTuple):
    """Cells of a row, that of its name first; a strong one stands out."""

    cells: tuple[Cell, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row. On a page, a folded one opens with a click."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    folded: bool = False

    def __post_init__(self):
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: a row has not {len(self.columns)} cells")


def table(
    title: str,
    records: Iterable[Record],
    columns: Mapping[str, Callable[[Record], Cell | Content]],
    folded: bool = False,
) -> Table:
    """Return a table with one row a record.

    Args:
        title: above it.
        records: in order.
        columns: heading, see ``of_rows``, and what stands below it of a record.
        folded: see ``Table``.
    """
    rows = ([get(record) for get in columns.values()] for record in records)
    return of_rows(title, columns, rows, folded)


def of_rows(
    title: str,
    headings: Iterable[str],
    rows: Iterable[Iterable[Cell | Content] | Row],
    folded: bool = False,
) -> Table:
    """Return a table.

    Args:
        title: above it.
        headings: what ends with ``#``, or ``#`` and a unit, heads numbers; what begins with ``+``
            is for pages only.
        rows: what stands in the columns, in order.
        folded: see ``Table``.
    """
    return Table(title, tuple(map(_column, headings)), tuple(map(_row, rows)), folded)


def _column(text: str) -> Column:
    heading, numbers, unit = text.partition("#")
    return Column(heading.lstrip("+").strip(), bool(numbers), unit.strip(), heading[:1] == "+")


def _row(cells: Iterable[Cell | Content] | Row) -> Row:
    if isinstance(cells, Row):
        return cells
    return Row(tuple(one if isinstance(one, Cell) else Cell(one) for one in cells))


def strong(*cells: Cell | Content) -> Row:
    """Return a row that stands out."""
    return _row(cells)._replace(strong=True)


def counted(count: int) -> Cell:
    """Return a count of what there should be none of."""
    return Cell(count, Mark.NOTICE if count else Mark.QUIET)


def share(value: float, decimals: int = 0) -> Cell:
    """Return a part of a whole in percent, with a bar."""
    return Cell(Number(100 * value, decimals, "%"), share=min(1.0, value))


def first_of(names: tuple[str, ...]) -> str:
    """Return the first name, and how many there are besides."""
    return "".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
