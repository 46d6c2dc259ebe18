"""How far work is that takes long: a bar on a terminal, a line now and then in a file or a pipe."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from s5_to_loihi.commands.settings import settings

#: Seconds between lines, at first; later a line comes when so much more of the time has passed.
LINE_SECONDS, LATER = 5.0, 0.05


class Shown:
    """Work that goes on, as a context: shows how far it is until it ends.

    With --quiet it shows nothing, with --verbose it leaves a line with the seconds.
    """

    def __init__(
        self, console: Console, title: str, unit: str = "", speed_seconds: float = 30.0
    ) -> None:
        """Say what goes on.

        Args:
            console: to show it on.
            title: what goes on.
            unit: what is counted, in the plural.
            speed_seconds: over which the speed is averaged that the time left is told from.
        """
        self._console, self._title, self._unit = console, title, unit
        self._done = 0
        self._total: int | None = None
        #: How many were done first, and when.
        self._first: tuple[int, float] | None = None
        self._started = self._stage_started = time.monotonic()
        self._ended = threading.Event()
        self._bar: Progress | None = None
        self._thread: threading.Thread | None = None
        if settings.quiet:
            return
        if console.is_terminal:
            self._bar = Progress(
                *_columns(unit),
                console=console,
                transient=True,
                speed_estimate_period=speed_seconds,
            )
            self._task = self._bar.add_task(title, total=None)
        else:
            self._thread = threading.Thread(target=self._lines, daemon=True)

    def __enter__(self) -> Shown:
        self._started = self._stage_started = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        if self._thread is not None:
            self._thread.join()
        self._leave()

    def update(self, done: int, total: int | None) -> None:
        """Say that so many of so many are done; None if nobody knows of how many."""
        self._done, self._total = done, total
        if done and self._first is None:
            self._first = done, time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def begin(self, title: str) -> None:
        """Say that something else goes on now."""
        self._leave()
        self._title, self._done, self._total, self._first = title, 0, None, None
        self._stage_started = time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._task, total=None, description=title)

    def call(self, title: str) -> None:
        """Change what it is called, not how far it is."""
        self._title = title
        if self._bar is not None:
            self._bar.update(self._task, description=title)

    def _leave(self) -> None:
        if settings.verbose and self._title:
            self._say(f"{self._title}: {time.monotonic() - self._stage_started:.1f} s")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def _lines(self) -> None:
        while not self._ended.wait(max(LINE_SECONDS, LATER * (time.monotonic() - self._started))):
            seconds = time.monotonic() - self._started
            counted = "" if self._total is None else f" {self._done:,} of {self._total:,}"
            unit = f" {self._unit}" if counted and self._unit else ""
            line = f"{self._title}:{counted}{unit}{',' * bool(counted)} {seconds:,.0f} s"
            self._say(line + self._left())

    def _left(self) -> str:
        """Say how long what is left may take, if what is done tells.

        What was done first does not: loops are compiled for it.
        """
        if self._first is None or self._total is None or self._done == self._first[0]:
            return ""
        done, since = self._first
        seconds = (time.monotonic() - since) / (self._done - done)
        return f", about {seconds * (self._total - self._done):,.0f} s left"


class _Counted(ProgressColumn):
    """How many of how many, and of what; how long it went on where nobody knows."""

    max_refresh = 0.5

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit
        self._of = MofNCompleteColumn()

    def render(self, task):
        """Return it as text."""
        if task.total is None:
            return TimeElapsedColumn().render(task)
        return self._of.render(task).append(f" {self._unit}" if self._unit else "")


class _Left(TimeRemainingColumn):
    """The time that is left, where that is known."""

    def render(self, task):
        """Return it as text."""
        shown = super().render(task)
        return shown if task.total else Text()


def _columns(unit: str) -> tuple[ProgressColumn, ...]:
    return (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        _Counted(unit),
        _Left(),
    )
