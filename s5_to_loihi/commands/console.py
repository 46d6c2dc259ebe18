"""What all commands print with."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from s5_to_loihi.commands.progress import Shown
from s5_to_loihi.commands.settings import settings
from s5_to_loihi.errors import VerificationError, printable
from s5_to_loihi.reports.summary import Summary
from s5_to_loihi.reports.terminal import rendered

if TYPE_CHECKING:
    from s5_to_loihi.reports.table import Table
    from s5_to_loihi.tasks import engine


class PlainConsole(Console):
    """A console for texts that others wrote: nothing in them is markup, or steers the terminal."""

    def __init__(self, **options):
        super().__init__(markup=False, emoji=False, **options)

    def render(self, *arguments, **options) -> Iterator[Segment]:
        """Yield what a renderable consists of, with its texts made printable."""
        for segment in super().render(*arguments, **options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


stdout = PlainConsole()
#: Progress bars, notes and errors go where they do not disturb output that a program reads.
stderr = PlainConsole(stderr=True)
#: What work that takes long tells how far it is: (done, total).
Advance = Callable[[int, int], None]


def network_name(path: Path) -> str:
    """Return the name of a network that is written to a path."""
    name = path.resolve().name.removesuffix(".bundle") or "network"
    return "".join(char if char.isprintable() else "_" for char in name)


def working(title: str, unit: str = "", speed_seconds: float = 30.0) -> Shown:
    """Return a context that shows on stderr how far work is."""
    return Shown(stderr, title, unit, speed_seconds)


def spinner(title: str) -> Shown:
    """Show on stderr that something of unknown length goes on."""
    return working(title)


@contextmanager
def progress(title: str, unit: str = "timesteps") -> Iterator[Advance]:
    """Show how far work is; yields a function of (done, total)."""
    with working(title, unit) as shown:
        yield shown.update


@contextmanager
def stages() -> Iterator[Callable[[str], Advance]]:
    """Show which of several steps goes on, and how far it is.

    Yields a function that takes the name of a step and returns one of (done, total).
    """
    with working("") as shown:

        def begin(name: str) -> Advance:
            shown.begin(name)
            return shown.update

        yield begin


@contextmanager
def batch_progress(
    unit: str, speed_seconds: float = 30.0
) -> Iterator[Callable[[engine.Progress], None]]:
    """Show how far a batch of tasks is that earlier runs may have begun.

    Args:
        unit: what is computed, in the plural.
        speed_seconds: over which the speed is averaged that the time left is told from.

    Yields:
        A function of ``tasks.engine.Progress``.
    """
    with working(unit.capitalize(), unit, speed_seconds) as shown:

        def update(progress: engine.Progress) -> None:
            text = f"{progress.done:,} done, {progress.failed:,} failed"
            if progress.resumed:
                text += f", {progress.resumed:,} of them before"
            shown.call(text)
            shown.update(progress.done + progress.failed, progress.total)

        yield update


def width(console: Console = stdout) -> int | None:
    """Return the columns of a terminal; a file or a pipe has no such limit."""
    return console.width if console.is_terminal else None


def _silent() -> bool:
    return settings.quiet or settings.json


def show(*tables: Table, narrow: bool = True) -> None:
    """Print tables."""
    if _silent():
        return
    for table in tables:
        stdout.print(rendered(table, width(), narrow), soft_wrap=True)


def summarise(
    summary: Summary,
    details: Iterable[Table] = (),
    whole: bool = False,
    asked: Iterable[Table] = (),
    text: str = "",
) -> None:
    """Print what a command found out.

    With --quiet or --json only warnings are printed, on stderr.

    Args:
        summary: first and last of all.
        details: tables that say more.
        whole: whether to print them.
        asked: tables that are printed in any case.
        text: what was asked for by name, printed before all tables.
    """
    if _silent():
        for warning in summary.warnings:
            warn(warning)
        return
    details = tuple(details)
    shown = (*asked, *(details if whole else ()))
    for line in summary.head(width(), whole):
        stdout.print(line, soft_wrap=True)
    if text:
        stdout.print(f"\n{text}", highlight=False, soft_wrap=True)
    show(*shown)
    if shown:
        stdout.print()
    for line in summary.foot(bool(details) and not whole):
        stdout.print(line, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    stderr.print(f"Warning: {text}", style="yellow", highlight=False, soft_wrap=True)


def require(where: str, warnings: Sequence[str], strict: bool) -> None:
    """Raise the first of some warnings as an error with exit code 3, if that is asked for."""
    if strict and warnings:
        what = warnings[0] + (f"; and {len(warnings) - 1} more" if len(warnings) > 1 else "")
        raise VerificationError(where, what, "Leave out --strict to accept it")


def doubt(where: str, warnings: Sequence[str], strict: bool) -> None:
    """Print warnings on stderr, or raise them as an error with exit code 3."""
    require(where, warnings, strict)
    for warning in warnings:
        warn(warning)


def say(*lines: str, style: str | None = None) -> None:
    """Print lines; numbers and names in them are not coloured."""
    if not _silent():
        for line in lines:
            stdout.print(line, highlight=False, style=style, soft_wrap=not stdout.is_terminal)


def say_whole(text: str) -> None:
    """Print what somebody may want to copy: it is not broken where the terminal ends."""
    if not _silent():
        stdout.print(text, highlight=False, soft_wrap=True)


def say_wrote(*paths: Path | None) -> None:
    """Name the files that were written; None for one that was not asked for."""
    for path in paths:
        if path is not None:
            say_whole(f"Wrote {path}")


def print_json(content: object) -> None:
    """Print nested values and dataclasses as JSON on stdout."""
    print(json.dumps(_plain(content), indent=1, allow_nan=False))


def _plain(value: object) -> object:
    """Return nested values as JSON can say them; a number that is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
