"""``map``: neurons onto cores."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Option

from s5_to_loihi import bundle
from s5_to_loihi.bundle.core_mapping import BUDGET, LARGEST_SEED, Objective
from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.digest import file_digest
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.loihi2.facts import LISTED, load_system
from s5_to_loihi.simulators.interpreter import Mode

if TYPE_CHECKING:
    from s5_to_loihi.profiling.measured_files import Options


def map_command(
    path: choices.BundleArgument,
    system: str | None = Option(
        None,
        help=f"One of {', '.join(LISTED)}, or a .yaml file of your own. Default: the smallest"
        " of these that the network fits.",
    ),
    objective: Objective = Option(
        Objective.BALANCED,
        help="balanced: few cores, within 10 % of the shortest timestep; latency: shortest"
        " timestep; cores: fewest.",
    ),
    cores: int | None = Option(
        None, min=1, help="Cores to use at most. Default: all of the system."
    ),
    seed: int = Option(0, min=0, max=LARGEST_SEED, help="The same seed gives the same mapping."),
    assumed_rate: float | None = Option(
        None,
        "--assume-rate",
        metavar="R",
        min=0,
        max=1,
        help="Messages a neuron and timestep, instead of those measured on the bundle's"
        " recorded tokens.",
    ),
    measure: Path | None = Option(
        None,
        metavar="DIR",
        help="Search with measurements on a board: a folder for what is to be run there and what"
        " comes back; run its run.sh on the board host, and this command again.",
    ),
    budget: int = Option(BUDGET, metavar="N", min=1, help="--measure: mappings to run at most."),
    mode: choices.ModeOption = Mode.PIPELINED,
    run: str | None = Option(
        None,
        metavar="COMMAND",
        help="--measure: what runs run.sh, such as 'sh DIR/run.sh --microcode /my/microcode' on the"
        " board host itself; then all of the search is one call.",
    ),
    picture: Path | None = Option(None, help="Draw cores and links into this file (.png or .svg)."),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Map a network onto Loihi 2 cores, and write the mapping into the bundle.

    Prints what limits the mapping, and bounds that no mapping can beat; --details adds Intel's
    table of what each core holds. Numbers are of a model; nothing was measured on a chip. Ends
    with exit code 2 if the network does not fit. Example:

        s5-to-loihi map denoiser.bundle --system oheogulch --picture cores.png
        s5-to-loihi map denoiser.bundle --objective latency --measure search
    """
    # Compiled loops, which other commands need not wait for.
    from s5_to_loihi.loihi2 import rules
    from s5_to_loihi.loihi2.mapper import map_network
    from s5_to_loihi.loihi2.rates import assumed_rates, rates_of
    from s5_to_loihi.profiling import measured_files
    from s5_to_loihi.reports import mapping_tables
    from s5_to_loihi.reports.summary import Summary, command

    check_target(picture, (".png", ".svg"))
    chosen = None if system is None else load_system(system)
    opened = bundle.read(path)
    network = opened.network
    if measure is not None:
        if assumed_rate is not None:
            do = "Leave one of them out"
            raise InputError("--assume-rate", "does not go with --measure", do)
        options = measured_files.Options(
            file_digest(path / bundle.WEIGHTS),
            system or LISTED[0], objective, mode, cores, seed,
        )  # fmt: skip
        _search(path, opened, measure, options, budget, run, details, as_json)
        return
    if assumed_rate is None:
        with console.progress("Counting messages", "tokens") as advance:
            rates = rates_of(opened, advance)
    else:
        rates = assumed_rates(network, assumed_rate)
    with console.progress("Mapping (compiles at first)", "tries") as advance:
        mapping, evaluation = map_network(network, rates, chosen, objective, cores, seed, advance)
    rules.require(evaluation)
    bundle.write(dataclasses.replace(opened, mapping=mapping), path)
    if picture is not None:
        from s5_to_loihi.reports.core_drawing import draw_mapping

        with console.spinner("Drawing"):
            draw_mapping(evaluation, picture)
    if as_json:
        console.print_json(mapping_tables.as_dictionary(mapping, evaluation))
        return
    drawn = () if picture is None else (("drew", str(picture)),)
    console.summarise(
        Summary(
            f"Wrote the mapping into {path}: {mapping_tables.verdict(evaluation)}",
            (*mapping_tables.facts(evaluation), *drawn),
            next=command("profile", path),
        ),
        (mapping_tables.utilisation_table(evaluation), mapping_tables.timestep_table(evaluation)),
        details,
    )


def _search(
    path: Path,
    opened: bundle.Bundle,
    folder: Path,
    options: Options,
    budget: int,
    run: str | None,
    details: bool,
    as_json: bool,
) -> None:
    """Go on with a search as far as there are measurements; write the best mapping at its end."""
    from s5_to_loihi.profiling import measured_files
    from s5_to_loihi.profiling.measured_mapping import best, propose
    from s5_to_loihi.profiling.suite_files import MEASURED, SCRIPT
    from s5_to_loihi.reports import mapping_tables
    from s5_to_loihi.reports.summary import Summary, command

    measured_files.begin(folder, options)
    with console.spinner("Counting messages"):
        searched = measured_files.subject_of(opened, options)
    while True:
        tried, waiting = measured_files.read_tried(folder, searched)
        if waiting is None and len(tried) < budget:
            with console.spinner(f"Looking for mapping {len(tried) + 1} of at most {budget}"):
                candidate = propose(searched, tried)
                if candidate is not None:
                    waiting = measured_files.add(folder, opened, searched, candidate)
        if waiting is None or run is None:
            break
        code = subprocess.run(shlex.split(run), check=False, stdout=subprocess.DEVNULL).returncode
        if code or not (waiting / MEASURED).exists():
            what = f"ended with exit code {code}, and left no result in {waiting}"
            raise InputError(f"--run {run}", what, f"Run it by hand: {folder / SCRIPT}")
    if as_json:
        console.print_json(mapping_tables.search_dictionary(searched, tried, waiting))
    found = best(searched, tried) if tried else None
    if waiting is None and found is not None:
        bundle.write(dataclasses.replace(opened, mapping=found.candidate.mapping), path)
    if as_json:
        return
    tables = (mapping_tables.search_table(searched, tried),) if tried else ()
    facts = mapping_tables.search_facts(searched, tried)
    warnings = mapping_tables.search_warnings(tried)
    if waiting is not None:
        said = f"Mapping {len(tried) + 1} of at most {budget} is to be run: {waiting}"
        todo = f"on the board host: sh {folder / SCRIPT} --microcode FOLDER"
        again = command("map", path, "--measure", folder)
        summary = Summary(said, (*facts, ("run", todo)), warnings=warnings, next=f"{again} ...")
    else:
        said = mapping_tables.search_verdict(searched, tried)
        summary = Summary(
            f"Wrote the mapping into {path}: {said}", facts, warnings=warnings,
            next=command("profile", path),
        )  # fmt: skip
    console.summarise(summary, (), details, tables)
