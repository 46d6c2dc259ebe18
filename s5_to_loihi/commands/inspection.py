"""``inspect``: what is in an export or a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle, inspection, verification
from s5_to_loihi.commands import choices, console
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.reports import network_tables


def inspect(
    path: Path = Argument(..., metavar="EXPORT|BUNDLE", help="An export directory or a bundle."),
    drawing: Path | None = Option(
        None, help="Draw the network into this file (.svg, .png or .pdf)."
    ),
    text: bool = Option(False, "--text", help="Print the network's text form."),
    glu: choices.GluOption = None,
    conjugate_symmetry: choices.SymmetryOption = None,
    readout: choices.ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: choices.LengthOption = None,
    as_json: choices.JsonOption = False,
) -> None:
    """Show what is inside: tensors, densities, ranges used, saturated, zero and dead neurons.

    The options on what an export does not say (--glu ...) are used for exports only.
    """
    check_target(drawing, (".svg", ".png", ".pdf"))
    if (path / bundle.MANIFEST).exists():
        opened = bundle.read(path)
    else:
        options = ExportOptions(glu, conjugate_symmetry, readout, sequence_length)
        with console.spinner("Reading the export"):
            opened = compile_export(path, options)
    network = opened.network
    found: dict[str, Sequence] = {
        "weights": inspection.weights(network),
        "constants": inspection.constants(network),
        "ports": inspection.ports(network),
        "values": (),
    }
    over = ""
    if opened.vectors is not None:
        shown = opened.vectors.first(verification.CHUNK)
        found["values"] = inspection.values(network, shown.tokens)
        over = f"{shown.tokens.shape[1]} x {shown.tokens.shape[0]} tokens"
    if drawing is not None:
        from s5_to_loihi.reports.drawing import draw_network

        draw_network(network, drawing)
    if as_json:
        console.print_json(
            {"network": to_text(network).splitlines(), "notes": opened.notes, **found}
        )
        return
    console.say_notes(opened.notes)
    if text:
        console.say_whole(to_text(network))
    console.show(
        network_tables.network_table(network),
        network_tables.weight_table(found["weights"]),
        network_tables.constant_table(found["constants"]),
        network_tables.port_table(found["ports"]),
    )
    if found["values"]:
        console.show(network_tables.value_table(found["values"], over))
    console.say_wrote(drawing)
