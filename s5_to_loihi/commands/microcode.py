"""``microcode``: what each neuron program of a bundle has to do on the chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from s5_to_loihi import bundle
from s5_to_loihi.commands.console import JsonOption, console, print_json, spinner
from s5_to_loihi.errors import InputError
from s5_to_loihi.files import replacing
from s5_to_loihi.network import listing
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
    programs = neuron_programs(network)
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


def _write(listings: dict, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "Choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in listings.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        suffix = "txt" if isinstance(content, str) else "json"
        with replacing(folder / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _table(programs, folder: Path):
    table = new_table(
        f"{len(programs)} programs, listed in {folder}",
        ("program", "left"),
        ("steps", "right"),
        ("ports", "right"),
        ("registers", "right"),
    )
    table.add_column("groups")
    for program in programs:
        table.add_row(
            program.name,
            f"{len(program.steps)}",
            f"{sum(step.operation == 'accumulator' for step in program.steps)}",
            f"{len(program.registers)}",
            ", ".join(binding.group.name for binding in program.bindings),
        )
    return table
