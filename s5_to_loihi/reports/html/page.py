"""What a page of a report consists of, and how it becomes one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """A number at the top: what, the number, its range or what it is compared with, its scope.

    Attributes:
        origin: ``measured``, ``modelled``, ``published``, or empty for a count or a fact.
    """

    title: str
    value: str
    unit: str
    range: str
    scope: str
    origin: str


@dataclass(frozen=True)
class Cards:
    """Numbers side by side."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: shown as it is.
        origin: shown as a badge if it is not empty.
        share: 0..1, drawn as a bar behind the text.
        warning: whether the reader should look at it.
    """

    text: str
    origin: str = ""
    share: float | None = None
    warning: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers are set flush right."""

    heading: str
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row. A folded one opens with a click."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False

    def __post_init__(self):
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.caption}: a row has not {len(self.columns)} cells")


@dataclass(frozen=True)
class Chart:
    """A chart that plotly draws.

    Attributes:
        name: unique on the page.
        caption: under it.
        description: what it shows, for those who do not see it.
        figure: ``data`` and ``layout`` as plotly.js takes them.
        legend: name -> colour; above the chart, where it wraps as the page does.
    """

    kind: ClassVar[str] = "chart"
    name: str
    caption: str
    description: str
    figure: dict
    legend: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """A drawing: SVG, shown as an image, so that nothing in it can run."""

    kind: ClassVar[str] = "picture"
    caption: str
    description: str
    svg: bytes

    @property
    def address(self) -> str:
        """The drawing as a data address."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class Note:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; ``name`` is its address within the page."""

    name: str
    title: str
    blocks: tuple[Cards | Table | Chart | Picture | Note, ...]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: the network.
        subtitle: a sentence under it.
        sections: in order.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def rendered(page: Page) -> str:
    """Return a page as HTML with its style, scripts, drawings and data inside.

    All texts are escaped. The page may load nothing and run nothing but its own two scripts, which
    its content security policy names by their digests.
    """
    # plotly's own modules take a while to import, which other commands need not wait for.
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(DIRECTORY),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [get_plotlyjs(), (DIRECTORY / "report.js").read_text("utf-8")]
    return environment.get_template("report.html").render(
        page=page,
        style=Markup((DIRECTORY / "report.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        digests=[_digest(script) for script in scripts],
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
