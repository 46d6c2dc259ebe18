"""What a page of a report consists of, and how it becomes one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar, NamedTuple

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


class Shape(Enum):
    """What a mark of a chart is drawn as."""

    BAR = "bar"
    SPAN = "span"  #: a range: a line with ends
    BELOW = "below"  #: a range below a bar
    DOT = "dot"
    RULE = "rule"  #: a line across the chart, to compare with


class Mark(NamedTuple):
    """Something that is drawn in a row of a chart.

    Attributes:
        shape: what it is drawn as.
        start, end: percent of the width; equal for a dot and a rule.
        style: a colour of ``report.css``: an origin, ``part0`` to ``part3``, ``ink`` or ``rule``.
    """

    shape: Shape
    start: float
    end: float
    style: str


class Tip(NamedTuple):
    """What pointing at a part of a row says; ``start`` and ``width`` in percent of the width."""

    start: float
    width: float
    text: str


@dataclass(frozen=True)
class Line:
    """A row of a chart: its name, its value in words, and what is drawn between the two.

    Attributes:
        label, value: beside the drawing, or above it where there is little room.
        marks: from the lowest to the topmost.
        tips: values to point at.
        curve: (x, y) of an area, both 0..100, y upwards; empty for none.
        strong: whether the row stands out.
    """

    label: str
    value: str
    marks: tuple[Mark, ...] = ()
    tips: tuple[Tip, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    strong: bool = False

    @property
    def path(self) -> str:
        """The outline of the curve, as SVG has it: y downwards, with a gap to the row above."""
        return "M" + "L".join(f"{x:.4g} {100 - 0.9 * y:.4g}" for x, y in self.curve)


class Tick(NamedTuple):
    """A number on the axis, and where: percent of the width."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Rows over an axis that they share; as wide as the page, with texts of one size.

    Attributes:
        title: what is shown.
        caption: under it, how to read it.
        description: all values, for those who do not see it.
        legend: what stands for what: name -> style, see ``Mark``.
        rows: from top to bottom.
        ticks: of the axis.
        axis: what the axis shows, with its unit.
    """

    kind: ClassVar[str] = "chart"
    title: str
    caption: str
    description: str
    legend: Mapping[str, str]
    rows: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    axis: str


class Point(NamedTuple):
    """A point of a scatter chart: percent from the left and from the top, and what it is."""

    x: float
    y: float
    colour: str
    chosen: bool
    text: str


@dataclass(frozen=True)
class Scatter:
    """Points over two axes.

    Attributes:
        title, caption, description: as of a ``Chart``.
        points: those that are chosen are large and framed.
        across, up: ticks of the axes.
        axes: what the axes show, with units.
        shades: colours from low to high, with the numbers at both ends and what they show; None
            where colours mean nothing.
    """

    kind: ClassVar[str] = "scatter"
    title: str
    caption: str
    description: str
    points: tuple[Point, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    axes: tuple[str, str]
    shades: tuple[tuple[str, ...], str, str, str] | None


class Panel(NamedTuple):
    """All cores by one number.

    Attributes:
        title: the number.
        most: its largest value, in words.
        cells: left, top, 0..1 of the largest value or None for an unused core, and what it is.
    """

    title: str
    most: str
    cells: tuple[tuple[float, float, float | None, str], ...]


@dataclass(frozen=True)
class Floor:
    """Cores where they lie, once for each number; ``size``: width and height, in cells."""

    kind: ClassVar[str] = "floor"
    title: str
    caption: str
    description: str
    size: tuple[float, float]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Pair:
    """Two charts to be read together: side by side where there is room."""

    kind: ClassVar[str] = "pair"
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Terms:
    """What words mean: term -> a sentence."""

    kind: ClassVar[str] = "terms"
    terms: Mapping[str, str]


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
Block = Cards | Table | Chart | Pair | Scatter | Floor | Picture | Terms | Note


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
        about: what the page is of, a line above the title.
        answer: what one wants to know first, in a few words.
        verdict: the rest of that sentence.
        doubt: what speaks against believing it, in a sentence or two.
        sections: in order.
    """

    title: str
    about: str
    answer: str
    verdict: str
    doubt: str
    sections: tuple[Section, ...]


def rendered(page: Page) -> str:
    """Return a page as HTML with its style, script, charts and drawings inside.

    All texts are escaped. The page may load nothing and run nothing but its own script, which its
    content security policy names by its digest.
    """
    environment = Environment(
        loader=FileSystemLoader(DIRECTORY),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = _words
    environment.filters["at"] = lambda percent: f"{percent:.4g}%"
    script = (DIRECTORY / "report.js").read_text("utf-8")
    return environment.get_template("report.html").render(
        page=page,
        style=Markup((DIRECTORY / "report.css").read_text("utf-8")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _words(cell: Cell, unit: str) -> str:
    """Return what a cell says; where its line ends, it ends before a range."""
    words = cell.words(unit, narrow=False)
    if isinstance(cell.content, str | Names):
        return words
    return words.replace(" ", NBSP).replace(f"{NBSP}(", " (")
