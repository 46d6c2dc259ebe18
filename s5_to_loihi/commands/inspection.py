"""``inspect``: what is in an export or a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle, inspection, verification
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.network.widths import ACCUMULATOR_BITS
from s5_to_loihi.reports import network_tables
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Table


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
    details: choices.DetailsOption = False,
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
    with console.spinner("Evaluating the recorded tokens"):
        found = _find(opened)
    if drawing is not None:
        from s5_to_loihi.reports.drawing import draw_network

        with console.spinner("Drawing"):
            draw_network(opened.network, drawing)
    listing = to_text(opened.network)
    if as_json:
        content = {
            "network": listing.splitlines(),
            "source": dict(opened.source),
            "notes": opened.notes,
        }
        parts = ("weights", "constants", "ports", "values")
        console.print_json(content | {part: getattr(found, part) for part in parts})
        return
    console.summarise(
        _summary(path, opened, found, drawing),
        _tables(opened, found),
        details,
        text=listing if text else "",
    )


@dataclass(frozen=True)
class _Found:
    """What is inside; ``over`` says of which tokens the values are, if there are any."""

    weights: tuple[inspection.WeightSummary, ...]
    constants: tuple[inspection.ConstantSummary, ...]
    ports: tuple[inspection.PortSummary, ...]
    values: tuple[inspection.ValueSummary, ...] = ()
    over: str = ""


def _find(opened: Bundle) -> _Found:
    network = opened.network
    parts = (inspection.weights(network), inspection.constants(network), inspection.ports(network))
    if opened.vectors is None:
        return _Found(*parts)
    tokens = opened.vectors.first(verification.CHUNK).tokens
    over = f"{tokens.shape[1]} x {tokens.shape[0]} tokens"
    return _Found(*parts, inspection.values(network, tokens), over)


def _summary(path: Path, opened: Bundle, found: _Found, drawing: Path | None) -> Summary:
    network = opened.network
    stored = sum(row.synapses for row in found.weights)
    possible = sum(row.shape[0] * row.shape[1] for row in found.weights)
    fullest = max(found.ports, key=lambda row: row.bits, default=None)
    facts = [
        ("network", network_tables.size_in_words(network)),
        (
            "tokens",
            f"{network.input_size} features of {network.input_format} in,"
            f" {network.output_size} of {network.output_format} out ({network.readout.value})",
        ),
        (
            "weights",
            f"{stored:,} of {possible:,} ({stored / max(1, possible):.1%}),"
            f" {sum(row.saturated for row in found.weights):,} at a limit",
        ),
    ]
    if fullest is not None:
        said = f"the largest, in {fullest.name}, needs {fullest.bits} of {ACCUMULATOR_BITS} bits"
        facts.append(("sums", said))
    if found.values:
        dead, stuck, limited = (
            sum(getattr(row, what) for row in found.values)
            for what in ("dead", "constant", "saturated")
        )
        facts.append(
            (
                "values",
                f"over {found.over}: {limited:,} integers at a limit, {dead:,} neurons always"
                f" zero, {stuck:,} stuck at another value",
            )
        )
    made = opened.source.get("format", "unknown")
    facts.append(("made from", f"{made}, {opened.source.get('name', '')}".rstrip(", ")))
    facts += [(what, opened.source[what]) for what in ("scores",) if opened.source.get(what)]
    if opened.mapping is not None:
        low, nominal, high = (one / 1e3 for one in opened.mapping.timestep)
        facts.append(
            (
                "mapped",
                f"onto {opened.mapping.system}, timestep {nominal:.2f} µs ({low:.2f} to"
                f" {high:.2f}), modelled",
            )
        )
    if drawing is not None:
        facts.append(("wrote", str(drawing)))
    is_bundle = (path / bundle.MANIFEST).exists()
    return Summary(
        verdict=f"{network.name}: sound; {_sums(network)}",
        facts=facts,
        notes=opened.notes,
        next=command("verify", path)
        if is_bundle
        else command("compile", path, "-o", f"{network.name}.bundle"),
    )


def _tables(opened: Bundle, found: _Found) -> list[Table]:
    tables = [
        network_tables.network_table(opened.network),
        network_tables.weight_table(found.weights),
        network_tables.constant_table(found.constants),
        network_tables.port_table(found.ports),
    ]
    if opened.source:
        tables.insert(0, network_tables.source_table(opened.source))
    if found.values:
        tables.append(network_tables.value_table(found.values, found.over))
    return tables


def _sums(network: Network) -> str:
    """Say what is proven of sums."""
    wrapping = sum(group.kind.wraps for group in network.groups)
    if not wrapping:
        return "no input can overflow an accumulator"
    return f"sums of {wrapping} groups wrap at 32 bits, as netx's do; no other can overflow"
