"""``microcode``: what the neurons of a bundle have to do on the chip, and what else can do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from s5_to_loihi import bundle
from s5_to_loihi.commands.console import JsonOption, console, print_json, spinner, stderr
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.lava_runtime import stock
from s5_to_loihi.lava_runtime.c_source import write_source
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.reports.tables import new_table


def microcode(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A compiled bundle.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", metavar="DIR", help="Write one file a program into it."),
    ] = None,
    group: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Only the program of this group, block0.state say."),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=1, max=listing.SEARCHED, help="Updates in each test vector.")
    ] = listing.TOKENS,
    lowering: Annotated[
        Lowering,
        typer.Option(
            help="microcode: list all programs. stock: say which groups Lava's own neurons compute"
            " exactly, and list the other programs. embedded: write the network as C for an"
            " embedded processor."
        ),
    ] = Lowering.MICROCODE,
    reset_interval: Annotated[
        int, typer.Option(min=1, help="Timesteps a sequence, for embedded C: a power of two.")
    ] = 1024,
    as_json: JsonOption = False,
) -> None:
    """List what the neurons have to compute, for whoever writes their microcode.

    For each program: ports, registers, constants and their widths, the steps in our own notation,
    and test vectors of single neurons. The microcode itself comes from you (docs/board.md): a file
    named like the program, with any suffix, in the folder that S5_TO_LOIHI_MICROCODE names.

    Example: s5-to-loihi microcode denoiser.bundle -o listings
    """
    opened = bundle.read(path)
    network = opened.network
    if lowering is Lowering.EMBEDDED:
        _write_c(network, ChipPlan(reset_interval), output)
        return
    programs = neuron_programs(network)
    if lowering is Lowering.STOCK:
        lowered = stock.lower(network)
        (stderr if as_json else console).print(_stock_table(lowered))
        exact = {one.group for one in lowered if one.process is not None}
        programs = [
            program
            for program in programs
            if not exact.issuperset(binding.group.name for binding in program.bindings)
        ]
    if group is not None:
        programs = [
            program
            for program in programs
            if group in [binding.group.name for binding in program.bindings]
        ]
        if not programs:
            names = ", ".join(one.name for one in network.groups)
            raise InputError("--group", f"{path} has no group {group!r}", f"Use one of {names}")
    with spinner("Looking for active neurons"):
        recorded = None if opened.vectors is None else opened.vectors.tokens
        searched, origin = listing.recorded_tokens(network, recorded)
        vectors = [
            listing.neuron_vectors(network, program, searched, tokens) for program in programs
        ]
    write = listing.to_json if as_json else listing.to_text
    listings = {
        program.name: write(network, program, own, origin)
        for program, own in zip(programs, vectors, strict=True)
    }
    if output is not None:
        _write(listings, output)
        console.print(_table(programs, output))
    elif as_json:
        print_json(list(listings.values()))
    else:
        print("\n".join(listings.values()), end="")


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "Choose another name")
    folder.mkdir(parents=True, exist_ok=True)


def _write(listings: dict, folder: Path) -> None:
    _make(folder)
    for name, content in listings.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        suffix = "txt" if isinstance(content, str) else "json"
        with replacing(folder / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _write_c(network: Network, plan: ChipPlan, folder: Path | None) -> None:
    source = write_source(network, plan.reset_interval)
    if folder is None:
        print(source, end="")
        return
    _make(folder)
    with replacing(folder / "network.c") as temporary:
        temporary.write_text(source, encoding="utf-8")
    console.print(f"Wrote {folder / 'network.c'}", highlight=False)


def _stock_table(lowered: tuple[stock.StockGroup, ...]):
    reached = sum(one.process is not None for one in lowered)
    table = new_table(
        f"Lava's own neurons are exact for {reached} of {len(lowered)} groups (all synapses are"
        " Sparse and DelaySparse)",
        ("group", "left"),
        ("exact", "left"),
    )
    table.add_column("what they do not have")
    for one in lowered:
        table.add_row(one.group, one.process or "-", ", ".join(one.lacking))
    return table


def _table(programs, folder: Path):
    table = new_table(
        f"{len(programs)} programs, listed in {folder}",
        ("program", "left"),
        ("instructions", "right"),
        ("ports", "right"),
        ("registers", "right"),
    )
    table.add_column("groups")
    for program in programs:
        table.add_row(
            program.name,
            f"{program.instructions}",
            f"{sum(step.operation == 'accumulator' for step in program.steps)}",
            f"{len(program.registers)}",
            ", ".join(binding.group.name for binding in program.bindings),
        )
    return table
