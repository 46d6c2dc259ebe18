"""``calibrate``: constants of the cost model from a board of one's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2.facts import LISTED, load_system


def calibrate(
    folder: Path = Argument(..., metavar="DIR", help="The suite: a new folder, or one that ran."),
    fit: bool = Option(
        False, "--fit", help="Fit the constants to what runs of the suite left in it."
    ),
    output: Path | None = Option(
        None,
        "--output",
        "-o",
        metavar="DIR",
        help="With --fit: write the system and its chip, with the fitted constants, into it.",
    ),
    system: str = Option(
        LISTED[0], help=f"One of {', '.join(LISTED)}, or a .yaml file of your own."
    ),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Write micro-benchmarks for a board; fit the model's constants to what they took.

    First a folder with a bundle for each experiment, and run.sh for the board host; the bundles
    need microcode, as all do. Then, with --fit, the constants with ranges and residuals, and a
    system's file that map and profile take. Example:

        s5-to-loihi calibrate suite
        sh suite/run.sh --microcode /my/microcode     # on the board host
        s5-to-loihi calibrate suite --fit -o my_board
        s5-to-loihi profile denoiser.bundle --system my_board/system.yaml
    """
    from s5_to_loihi.profiling.fitting import calibrate as fitted
    from s5_to_loihi.profiling.fitting import calibrated
    from s5_to_loihi.profiling.suite_files import (
        SCRIPT,
        read_observations,
        write_suite,
        write_system,
    )
    from s5_to_loihi.reports import calibration_tables as tables
    from s5_to_loihi.reports.summary import Summary, command

    chosen = load_system(system)
    if not fit:
        if output is not None:
            raise InputError("--output", "is given without --fit", "Add --fit, or leave it out")
        with console.progress("Writing experiments", "experiments") as advance:
            names = write_suite(folder, chosen, advance)
        if as_json:
            console.print_json({"folder": str(folder), "experiments": names})
            return
        console.summarise(
            Summary(
                f"Wrote {len(names)} experiments for {chosen.name} into {folder}",
                [("run", f"on the board host: sh {folder / SCRIPT} --microcode FOLDER")],
                next=f"{command('calibrate', folder, '--fit', '-o', 'my_board')}  # after the runs",
            )
        )
        return
    with console.spinner("Reading what was measured"):
        observations = read_observations(folder, chosen)
    with console.spinner("Fitting"):
        found = fitted(observations, chosen)
    written = None
    if output is not None:
        where = f"{len(observations)} runs of {folder.name} on {observations[0].measured.target}"
        written = write_system(calibrated(chosen, found, where), output)
    if as_json:
        console.print_json(dataclasses.asdict(found) | {"system": str(written or "") or None})
        return
    facts = [("stay as given", ", ".join(found.undetermined))] if found.undetermined else []
    after = "" if written is None else command("profile", "BUNDLE", "--system", written)
    console.summarise(
        Summary(
            tables.verdict(found, chosen.name), facts, warnings=tables.warnings(found), next=after
        ),
        (tables.residual_table(found),),
        details,
        (tables.constant_table(found),),
    )
    console.say_wrote(written)
