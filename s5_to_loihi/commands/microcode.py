"""``microcode``: what the neurons of a bundle have to do on the chip, and what else can do it."""

from __future__ import annotations

import json
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import filling
from s5_to_loihi.lava_runtime import stock
from s5_to_loihi.lava_runtime.c_source import write_source
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.programs import NeuronProgram
from s5_to_loihi.reports.microcode_tables import program_table, stock_table
from s5_to_loihi.reports.summary import Summary
from s5_to_loihi.reports.table import first_of
from s5_to_loihi.simulators.interpreter import Mode

#: Programs that a summary names.
_NAMED = 6


def microcode(
    path: Path = Argument(..., metavar="BUNDLE", help="A compiled bundle."),
    output: Path | None = Option(
        None, "--output", "-o", metavar="DIR", help="Write one file a program into it."
    ),
    group: str | None = Option(
        None, metavar="NAME", help="Only the program of this group, block0.state say."
    ),
    tokens: int = Option(
        listing.TOKENS, min=1, max=listing.SEARCHED, help="Updates in each test vector."
    ),
    lowering: Lowering = Option(
        Lowering.MICROCODE,
        help="microcode: list all programs. stock: say which groups Lava's own neurons compute"
        " exactly, and list the other programs. embedded: write the network as C for an"
        " embedded processor.",
    ),
    reset_interval: int = Option(
        1024, min=1, help="Timesteps a sequence, for embedded C: a power of two."
    ),
    mode: choices.ModeOption = Mode.PIPELINED,
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """List what the neurons have to compute, for whoever writes their microcode.

    For each program: ports, registers, constants and their widths, the steps in our own notation,
    and test vectors of single neurons. The microcode itself comes from you (docs/board.md): a file
    named like the program, with any suffix, in the folder that S5_TO_LOIHI_MICROCODE names.

    Programs of --mode fall-through have a gate in front and names of their own.

    Example: s5-to-loihi microcode denoiser.bundle -o listings
    """
    opened = bundle.read(path)
    network = opened.network
    ChipPlan(mode=mode).check(network)
    if lowering is Lowering.EMBEDDED:
        _write_c(network, ChipPlan(reset_interval, mode=mode), output, as_json)
        return
    programs = gating.programs(network, mode is Mode.FALL_THROUGH)
    if lowering is Lowering.STOCK:
        lowered = stock.lower(network)
        console.show(stock_table(lowered))
        exact = {one.group for one in lowered if one.process is not None}
        programs = tuple(one for one in programs if not exact.issuperset(_groups(one)))
    if group is not None:
        programs = tuple(one for one in programs if group in _groups(one))
        if not programs:
            names = ", ".join(one.name for one in network.groups)
            raise InputError("--group", f"{path} has no group {group!r}", f"Use one of {names}")
    with console.spinner("Looking for active neurons"):
        recorded = None if opened.vectors is None else opened.vectors.tokens
        searched, origin = listing.recorded_tokens(network, recorded)
        vectors = [listing.neuron_vectors(network, one, searched, tokens) for one in programs]
    write = listing.to_json if as_json else listing.to_text
    listings = {
        program.name: write(network, program, own, origin)
        for program, own in zip(programs, vectors, strict=True)
    }
    if output is not None:
        files = _write(listings, output)
        if as_json:
            console.print_json({"folder": str(output), "files": files})
            return
        console.summarise(
            Summary(
                f"Wrote {len(files)} listings into {output}",
                [("program", f"{one.name}: {_named(one)}") for one in programs[:_NAMED]],
                next="docs/board.md says what to make of them",
            ),
            (program_table(programs, f"listed in {output}"),),
            details,
        )
    elif as_json:
        console.print_json(list(listings.values()))
    else:
        print(*listings.values(), sep="\n", end="")


def _named(program: NeuronProgram) -> str:
    names = tuple(binding.group.name for binding in program.bindings)
    return f"{program.instructions} instructions, {first_of(names)}"


def _groups(program: NeuronProgram) -> set[str]:
    return {binding.group.name for binding in program.bindings}


def _write(listings: dict, folder: Path) -> dict[str, str]:
    """Write a file a listing; return their names by that of the program."""
    files = {}
    with filling(folder) as temporary:
        for name, content in listings.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
            suffix = "txt" if isinstance(content, str) else "json"
            files[name] = f"{name}.{suffix}"
            (temporary / files[name]).write_text(text, encoding="utf-8")
    return files


def _write_c(network: Network, plan: ChipPlan, folder: Path | None, as_json: bool) -> None:
    source = write_source(network, plan.reset_interval, gate=plan.gated)
    if folder is None:
        if as_json:
            console.print_json({"source": source})
        else:
            print(source, end="")
        return
    with filling(folder) as temporary:
        (temporary / "network.c").write_text(source, encoding="utf-8")
    if as_json:
        console.print_json({"folder": str(folder), "files": {network.name: "network.c"}})
    console.say_wrote(folder / "network.c")
