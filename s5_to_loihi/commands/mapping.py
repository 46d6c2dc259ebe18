"""``map``: neurons onto cores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typer import Option

from s5_to_loihi import bundle
from s5_to_loihi.bundle.core_mapping import LARGEST_SEED, Objective
from s5_to_loihi.commands import choices, console
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.loihi2.facts import LISTED, load_system


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
    picture: Path | None = Option(None, help="Draw cores and links into this file (.png or .svg)."),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Map a network onto Loihi 2 cores, and write the mapping into the bundle.

    Prints what limits the mapping, and bounds that no mapping can beat; --details adds Intel's
    table of what each core holds. Numbers are of a model; nothing was measured on a chip. Ends
    with exit code 2 if the network does not fit. Example:

        s5-to-loihi map denoiser.bundle --system oheogulch --picture cores.png
    """
    # Compiled loops, which other commands need not wait for.
    from s5_to_loihi.loihi2 import rules
    from s5_to_loihi.loihi2.mapper import map_network
    from s5_to_loihi.loihi2.rates import assumed_rates, rates_of
    from s5_to_loihi.reports import mapping_tables
    from s5_to_loihi.reports.summary import Summary, command

    check_target(picture, (".png", ".svg"))
    chosen = None if system is None else load_system(system)
    opened = bundle.read(path)
    network = opened.network
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
