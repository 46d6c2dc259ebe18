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

from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.numbers import in_words
from s5_to_loihi.reports.table import Cell, Names, Table

DIRECTORY = Path(__file__).parent
NBSP = "\u00a0"


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


def card(title: str, quantity: Quantity) -> Card:
    """Return a card for a number."""
    value, unit, span = in_words(quantity)
    of_range = f"range {span}" if span else ""
    return Card(title, value, unit, of_range, quantity.scope, quantity.origin.value)


@dataclass(frozen=True)
class Cards:
    """Numbers side by side."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


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


#: What a section consists of; each has its macro in ``report.html``.
Block = Cards | Table | Chart | Picture | Note


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; ``name`` is its address within the page."""

    name: str
    title: str
    blocks: tuple[Block, ...]


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
    environment.filters["words"] = _words
    scripts = [get_plotlyjs(), (DIRECTORY / "report.js").read_text("utf-8")]
    return environment.get_template("report.html").render(
        page=page,
        style=Markup((DIRECTORY / "report.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        digests=[_digest(script) for script in scripts],
    )


def _words(cell: Cell, unit: str) -> str:
    """Return what a cell says; where its line ends, it ends before a range."""
    words = cell.words(unit, narrow=False)
    if isinstance(cell.content, str | Names):
        return words
    return words.replace(" ", NBSP).replace(f"{NBSP}(", " (")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
