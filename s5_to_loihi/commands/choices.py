"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.commands.settings import settings
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.inputs import Layout
from s5_to_loihi.loihi2.facts import LISTED
from s5_to_loihi.network.network import Readout
from s5_to_loihi.simulators.interpreter import Mode
from s5_to_loihi.simulators.which import Device

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


def _set_json(value: bool) -> bool:
    settings.json = value
    return value


JsonOption = Annotated[
    bool, typer.Option("--json", callback=_set_json, help="Print JSON for programs, only.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Make warnings an error (exit code 3).")
]
DetailsOption = Annotated[
    bool, typer.Option("--details", help="Print everything that is known, after the summary.")
]
GluOption = Annotated[
    GluVariant | None,
    typer.Option(
        metavar="KIND",
        help="half1, half2, full or none; if not given, worked out or guessed, and reported.",
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
DeviceOption = Annotated[
    Device,
    typer.Option(
        help="What simulates. cuda: an NVIDIA GPU, for many sequences (pip install"
        " s5_to_loihi[cuda13]); the same integers."
    ),
]
RawOption = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Take integers as those of the input format. Default: as values, 3 is 3.0.",
    ),
]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(help="Which of three axes comes first. Default: tokens; asks if unclear."),
]
BackendsOption = Annotated[
    list[Backend] | None,
    typer.Option(
        "--backend",
        "-b",
        help="What to run on; may be repeated. Default: all but the board and its rehearsal.",
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
