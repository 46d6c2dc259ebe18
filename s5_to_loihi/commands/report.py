"""``report``: what a network costs, as one page to look at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from typer import Option

from s5_to_loihi.bundle import digest
from s5_to_loihi.bundle.core_mapping import LARGEST_SEED
from s5_to_loihi.commands import choices, console
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.loihi2.facts import load_system


def report(
    path: choices.BundleArgument,
    output: Path = Option(
        ..., "--output", "-o", help="The .html to write; a .json lies beside it."
    ),
    inputs: Path | None = Option(
        None,
        "--input",
        help="Data to count activity with (.npy, .npz, .wav). Default: the recorded tokens.",
    ),
    raw: choices.RawOption = False,
    layout: choices.LayoutOption = None,
    clean: Path | None = Option(
        None, help="The clean version of the recording in --input, for its SI-SNR."
    ),
    system: choices.SystemOption = None,
    dense: Path | None = Option(
        None, metavar="BUNDLE", help="A dense network to compare with, beside the twin."
    ),
    measured: choices.MeasuredOption = None,
    baselines: list[Path] | None = Option(
        None,
        metavar="FILE.json",
        help="Written by baselines.py on another machine; may be repeated.",
    ),
    evaluation: Path | None = Option(
        None,
        metavar="RESULTS.json",
        help="What 'evaluate' found on a test set: shown as a section.",
    ),
    measure: bool = Option(
        True, "--measure/--no-measure", help="Measure the float model on this machine."
    ),
    seed: int = Option(0, min=0, max=LARGEST_SEED, help="Of mappings and drawn constants."),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Write one HTML file that says what a network costs, and how each number came about.

    Latency and energy with their ranges, the dense twin, the float model measured here, what
    publications say, the network and its cores, activity, values and verification. The file needs
    nothing else and no network; the same numbers lie beside it as JSON. Example:

        s5-to-loihi report denoiser.bundle -o report.html --input noisy.wav --clean clean.wav
    """
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.profiling.findings import Sources, gather
    from s5_to_loihi.profiling.profile_values import as_dictionary
    from s5_to_loihi.reports import profile_tables as tables
    from s5_to_loihi.reports.comparison_tables import ratio_table
    from s5_to_loihi.reports.html.evaluation import read as read_evaluation
    from s5_to_loihi.reports.html.files import write
    from s5_to_loihi.reports.summary import Summary

    check_target(output, (".html",))
    evaluated = None if evaluation is None else read_evaluation(evaluation, digest(path))
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
        raw=raw,
        layout=layout,
    )
    with console.stages() as begin:
        findings = gather(sources, begin)
        begin("Writing")
        command = shlex.join(["s5-to-loihi", *sys.argv[1:]])
        written = write(findings, command, output, evaluated)
    if as_json:
        console.print_json(
            {
                "files": [str(file) for file in written],
                "profile": as_dictionary(findings.own.profile),
            }
        )
        return
    twins = len(findings.contenders) > 1
    console.summarise(
        Summary(
            tables.verdict(findings.own.profile),
            [("wrote", str(file)) for file in written],
            next=f"open {output} in a browser",
        ),
        (ratio_table(findings),) if twins else (),
        details,
    )
