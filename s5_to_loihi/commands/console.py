"""What all commands print with, and the options that several share."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.inputs import Layout
from s5_to_loihi.loihi2.facts import LISTED
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.reports.table import Table
from s5_to_loihi.reports.terminal import rendered
from s5_to_loihi.simulators import fast
from s5_to_loihi.simulators.interpreter import Mode
from s5_to_loihi.tasks import engine

#: A file or a pipe has no width of its own; tables need about this much. Names come from files of
#: users: brackets in them are no markup.
stdout = Console(width=None if sys.stdout.isatty() else 100, markup=False)
#: Progress bars, notes and errors go where they do not disturb output that a program reads.
stderr = Console(stderr=True, markup=False)
#: What work that takes long tells how far it is: (done, total).
Advance = Callable[[int, int], None]

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The compiled network.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=1024,
        help="Processes, one thread each. Default: as many as processors.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
GluOption = Annotated[
    GluVariant | None,
    typer.Option(
        metavar="KIND",
        help="half1, half2, full or none; found out or guessed (and said) if not given.",
    ),
]
SymmetryOption = Annotated[
    bool | None,
    typer.Option(
        "--symmetric/--not-symmetric",
        help="Whether the other half of the conjugate state pairs is implied.",
    ),
]
ReadoutOption = Annotated[
    Readout,
    typer.Option(
        help="each_token: regression; last, mean: classification (last token, mean over tokens)."
    ),
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        "--length",
        metavar="N",
        min=1,
        help="Tokens a sequence, for --readout mean. Default: those of the data.",
    ),
]
RawOption = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Integers in the data are integers of the input format. Default: values, 3 is 3.0.",
    ),
]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(
        help="Which of three axes comes first. Default: tokens, and asked where in doubt.",
    ),
]
BackendsOption = Annotated[
    list[Backend] | None,
    typer.Option(
        "--backend",
        "-b",
        help="What to run on; may be repeated. Default: all there is but the board.",
    ),
]
ModeOption = Annotated[Mode, typer.Option(help="How tokens follow one another.")]
TimeoutOption = Annotated[
    float | None, typer.Option(min=1, help="Seconds that one Lava run may take in all.")
]
SystemOption = Annotated[
    str | None,
    typer.Option(
        help=f"One of {', '.join(LISTED)}, or a .yaml file of your own. Default: that of the"
        " bundle's mapping, or the smallest that the network fits."
    ),
]
MeasuredOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RESULT.json", help="What a board run measured of this bundle: shown beside it."
    ),
]


def network_name(path: Path) -> str:
    """Return the name of a network that is written to a path."""
    return path.resolve().name.removesuffix(".bundle") or "network"


def announce_compilation(network: Network, backends: Collection[Backend]) -> None:
    """Say why the first run on the fast simulator takes seconds."""
    if {Backend.FAST, Backend.LAVA_FUSED} & set(backends) and not fast.is_cached(network):
        stderr.print("Compiling this network's kernels for the fast simulator, once: up to 20 s")


@contextmanager
def spinner(title: str) -> Iterator[None]:
    """Show on stderr that something of unknown length goes on."""
    with stderr.status(f"{title} ..."):
        yield


def bars(*more: ProgressColumn, speed_seconds: float = 30.0) -> Progress:
    """Return progress bars on stderr that go away in the end.

    Args:
        more: columns, after what goes on, the bar, and how many of how many.
        speed_seconds: over which the speed is averaged that the time left is told from.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        console=stderr,
        transient=True,
        speed_estimate_period=speed_seconds,
    )


@contextmanager
def progress(title: str, unit: str = "timesteps") -> Iterator[Advance]:
    """Show a progress bar; yields a function of (done, total)."""
    with bars(TextColumn(unit), TimeRemainingColumn()) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str], Advance]]:
    """Show which of several steps goes on, and how far it is.

    Yields a function that takes the name of a step and returns one of (done, total).
    """
    with bars() as shown:
        task = shown.add_task("", total=None)

        def begin(name: str) -> Advance:
            shown.reset(task, total=None, description=name)
            return lambda done, total: shown.update(task, completed=done, total=total)

        yield begin


@contextmanager
def batch_progress(
    unit: str, speed_seconds: float = 30.0
) -> Iterator[Callable[[engine.Progress], None]]:
    """Show how far a batch of tasks is that earlier runs may have begun, which tells no speed.

    Args:
        unit: what is computed, in the plural.
        speed_seconds: see ``bars``.

    Yields:
        A function of ``tasks.engine.Progress``.
    """
    columns = (
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with bars(*columns, speed_seconds=speed_seconds) as shown:
        task: TaskID | None = None

        def update(progress: engine.Progress) -> None:
            nonlocal task
            text = f"{progress.done:,} done, {progress.failed:,} failed"
            if progress.resumed:
                text += f", {progress.resumed:,} of them before"
            completed = progress.done + progress.failed
            if task is None:
                task = shown.add_task(text, total=progress.total, completed=completed)
            else:
                shown.update(task, description=text, completed=completed)

        yield update


def show(*tables: Table) -> None:
    """Print tables."""
    for table in tables:
        stdout.print(rendered(table))


def say(*lines: str, style: str | None = None) -> None:
    """Print lines; numbers and names in them are not coloured."""
    for line in lines:
        stdout.print(line, highlight=False, style=style)


def say_whole(text: str) -> None:
    """Print what somebody may want to copy: it is not broken where the terminal ends."""
    stdout.print(text, highlight=False, soft_wrap=True)


def say_notes(notes: Iterable[str]) -> None:
    """Print what a reader or the compiler found out."""
    say(*(f"Note: {note}" for note in notes))


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
