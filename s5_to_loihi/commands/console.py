"""What all commands print with, and the options that several share."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.simulators import fast

#: A file or a pipe has no width of its own; tables need about this much. Names come from files of
#: users: brackets in them are no markup.
console = Console(width=None if sys.stdout.isatty() else 100, markup=False)
#: Progress bars, notes and errors go where they do not disturb output that a program reads.
stderr = Console(stderr=True, markup=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
GluOption = Annotated[
    Optional[GluVariant],  # noqa: UP045 (typer resolves it at run time on Python 3.10)
    typer.Option(
        metavar="KIND",
        help="half1, half2, full or none; found out or guessed (and said) if not given.",
    ),
]
SymmetryOption = Annotated[
    Optional[bool],  # noqa: UP045
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
    Optional[int],  # noqa: UP045
    typer.Option("--length", metavar="N", min=1, help="Tokens a sequence, for --readout mean."),
]
BackendsOption = Annotated[
    Optional[list[Backend]],  # noqa: UP045
    typer.Option(
        "--backend",
        "-b",
        help="What to run on; may be repeated. Default: all there is but the board.",
    ),
]
TimeoutOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=1, help="Seconds that one Lava run may take in all."),
]


def network_name(path: Path) -> str:
    """Return the name of a network that is written to a path."""
    return path.resolve().name.removesuffix(".bundle") or "network"


def announce_compilation(network: Network, backends) -> None:
    """Say why the first run on the fast simulator takes seconds."""
    if {Backend.FAST, Backend.LAVA_FUSED} & set(backends) and not fast.is_cached(network):
        stderr.print("Compiling this network's kernels for the fast simulator, once: up to 20 s")


@contextmanager
def spinner(title: str):
    """Show on stderr that something of unknown length goes on."""
    with stderr.status(f"{title} ..."):
        yield


@contextmanager
def progress(title: str, unit: str = "timesteps"):
    """Show a progress bar on stderr; yields a function of (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages():
    """Show on stderr which of several steps goes on, and how far it is.

    Yields a function that takes the name of a step and returns one of (done, total).
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=None)

        def begin(name: str):
            bar.reset(task, total=None, description=name)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield begin


def print_notes(opened: Bundle) -> None:
    """Print what the compiler found out."""
    for note in opened.notes:
        console.print(f"Note: {note}", highlight=False)


def finite(value: float) -> float | None:
    """Return a number as JSON can say it: an SI-SNR may be infinite."""
    return value if math.isfinite(value) else None


def print_json(content) -> None:
    """Print nested values and dataclasses as JSON on stdout."""
    print(json.dumps(_plain(content), indent=1, allow_nan=False))


def _plain(value):
    """Return nested values as JSON can say them; a number that is not finite becomes null."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return finite(value) if isinstance(value, float) else value
