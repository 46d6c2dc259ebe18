"""``report``: what a network costs, as one page to look at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from s5_to_loihi.bundle.core_mapping import LARGEST_SEED
from s5_to_loihi.commands.console import console, stages
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.loihi2.facts import LISTED, load_system

#: A path that is optional (typer resolves the annotation at run time on Python 3.10).
OptionalPath = Optional[Path]  # noqa: UP045


def report(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The compiled network.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .html to write; a .json lies beside it.")
    ],
    inputs: Annotated[
        OptionalPath,
        typer.Option(
            "--input",
            help="Data to count activity with (.npy, .npz, .wav). Default: the recorded tokens.",
        ),
    ] = None,
    clean: Annotated[
        OptionalPath,
        typer.Option(help="The clean version of the recording in --input, for its SI-SNR."),
    ] = None,
    system: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help=f"One of {', '.join(LISTED)}, or a .yaml file. Default: that of the mapping, else"
            " the smallest that fits."
        ),
    ] = None,
    dense: Annotated[
        OptionalPath,
        typer.Option(metavar="BUNDLE", help="A dense network to compare with, beside the twin."),
    ] = None,
    measured: Annotated[
        OptionalPath,
        typer.Option(metavar="RESULT.json", help="What a board run measured of this bundle."),
    ] = None,
    baselines: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="FILE.json",
            help="Written by baselines.py on another machine; may be repeated.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Measure the float model on this machine."),
    ] = True,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of mappings and drawn constants.")
    ] = 0,
) -> None:
    """Write one HTML file that says what a network costs, and how each number came about.

    Latency and energy with their ranges, the dense twin, the float model measured here, what
    publications say, the network and its cores, activity, values and verification. The file needs
    nothing else and no network; the same numbers lie beside it as JSON. Example:

        s5-to-loihi report denoiser.bundle -o report.html --input noisy.wav --clean clean.wav
    """
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.profiling.findings import Sources, gather
    from s5_to_loihi.reports.html.files import write
    from s5_to_loihi.reports.ratio_table import ratio_table

    check_target(output, (".html",))
    sources = Sources(
        bundle=path,
        inputs=inputs,
        clean=clean,
        system=None if system is None else load_system(system),
        dense=dense,
        measured=measured,
        baselines=tuple(baselines or ()),
        measure=measure,
        seed=seed,
    )
    with stages() as begin:
        findings = gather(sources, begin)
        begin("Writing")
        written = write(findings, shlex.join(["s5-to-loihi", *sys.argv[1:]]), output)
    if len(findings.contenders) > 1:
        console.print(ratio_table(findings))
    for file in written:
        console.print(f"Wrote {file}", highlight=False, soft_wrap=True)
