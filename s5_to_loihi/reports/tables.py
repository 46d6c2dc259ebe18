"""Tables for people, as rich renderables; numbers come from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.inspection import ConstantSummary, PortSummary, ValueSummary, WeightSummary
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.widths import ACCUMULATOR_BITS
from s5_to_loihi.quantization.report import QuantizationReport
from s5_to_loihi.simulation import Totals
from s5_to_loihi.verification import RunResult, TensorResult


def new_table(title: str, *columns: tuple[str, str]) -> Table:
    """Return an empty table; columns are (heading, justification)."""
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def _highlighted(count: int) -> Text:
    return Text(f"{count:,}", style="yellow" if count else "dim")


def network_table(network: Network) -> Table:
    """One row a group: neurons, phase, and the synapses that end there."""
    table = new_table(
        f"{network.name}: {len(network.groups)} groups,"
        f" {sum(group.size for group in network.groups):,} neurons,"
        f" {network.synapse_count:,} synapses, latency {network.latency} timesteps",
        ("group", "left"),
        ("kind", "left"),
        ("neurons", "right"),
        ("phase", "right"),
    )
    table.add_column("incoming synapses (density)")
    for group in network.groups:
        incoming = (
            f"{synapses.name.rpartition('.')[2]} {synapses.weights.nnz:,} ({synapses.density:.0%})"
            + (f" delay {synapses.delay}" if synapses.delay else "")
            for synapses in network.incoming(group.name)
        )
        table.add_row(
            group.name, group.kind.name, f"{group.size}", f"{group.phase}", ", ".join(incoming)
        )
    return table


def weight_table(summaries: Sequence[WeightSummary]) -> Table:
    """One row a weight matrix."""
    table = new_table(
        "Weights (at limit: saturated; targets and sources without a synapse)",
        ("synapses", "left"),
        ("shape", "right"),
        ("format", "left"),
        ("stored", "right"),
        ("density", "right"),
        ("range", "right"),
        ("at\nlimit", "right"),
        ("silent\ntargets", "right"),
        ("unused\nsources", "right"),
    )
    for row in summaries:
        table.add_row(
            row.name,
            f"{row.shape[0]}x{row.shape[1]}",
            str(row.format),
            f"{row.synapses:,}",
            f"{row.density:.1%}",
            f"{row.lowest}..{row.highest}",
            _highlighted(row.saturated),
            _highlighted(row.silent_targets),
            _highlighted(row.unused_sources),
        )
    return table


def constant_table(summaries: Sequence[ConstantSummary]) -> Table:
    """One row an array of per-neuron constants."""
    table = new_table(
        "Constants of each neuron (at limit: saturated)",
        ("constant", "left"),
        ("neurons", "right"),
        ("format", "left"),
        ("range", "right"),
        ("at\nlimit", "right"),
        ("zero", "right"),
    )
    for row in summaries:
        table.add_row(
            row.name,
            f"{row.size}",
            str(row.format),
            f"{row.lowest}..{row.highest}",
            _highlighted(row.saturated),
            f"{row.zeros}",
        )
    return table


def port_table(summaries: Sequence[PortSummary]) -> Table:
    """One row an accumulator."""
    table = new_table(
        f"Accumulators: worst case over all inputs, proven (limit {ACCUMULATOR_BITS} bits)",
        ("port", "left"),
        ("exponent", "right"),
        ("largest sum", "right"),
        ("bits", "right"),
    )
    for row in summaries:
        table.add_row(row.name, f"{row.exponent}", f"{row.worst_case:,}", f"{row.bits}")
    return table


def value_table(summaries: Sequence[ValueSummary], tokens: int, sequences: int) -> Table:
    """One row a value of a group."""
    table = new_table(
        f"Values over {sequences} x {tokens} tokens (at limit: saturated; dead: neurons that are"
        " always zero; stuck: that always have one other value)",
        ("value", "left"),
        ("neurons", "right"),
        ("format", "left"),
        ("range used", "right"),
        ("non-\nzero", "right"),
        ("at\nlimit", "right"),
        ("dead", "right"),
        ("stuck", "right"),
    )
    for row in summaries:
        table.add_row(
            row.name,
            f"{row.neurons}",
            str(row.format),
            f"{row.lowest}..{row.highest}",
            f"{row.nonzero:.0%}",
            _highlighted(row.saturated),
            _highlighted(row.dead),
            _highlighted(row.constant),
        )
    return table


_SHORT = {
    Backend.FAST: "fast",
    Backend.INTERPRETER: "interpreter",
    Backend.LAVA_FUSED: "Lava, fused",
    Backend.LAVA: "Lava, a process a group",
}


def run_table(results: Sequence[RunResult]) -> Table:
    """One numbered row a run."""
    table = new_table(
        "Runs",
        ("run", "right"),
        ("backend", "left"),
        ("mode", "left"),
        ("tokens", "right"),
        ("tensors", "right"),
        ("integers", "right"),
        ("result", "left"),
    )
    for number, run in enumerate(results, start=1):
        table.add_row(
            f"{number}",
            _SHORT[run.backend],
            run.mode.value,
            f"{run.sequences} x {run.tokens}",
            f"{len(run.tensors)}",
            f"{sum(tensor.compared for tensor in run.tensors):,}",
            _result(sum(tensor.differing for tensor in run.tensors)),
        )
    return table


def activity_table(totals: Totals) -> Table:
    """One row a group: its activity for each token, on average."""
    table = new_table(
        "Activity, for each token on average",
        ("group", "left"),
        ("messages sent", "right"),
        ("synaptic operations", "right"),
        ("neuron updates", "right"),
    )
    tokens = totals.tokens * totals.sequences
    rows = zip(totals.groups, totals.messages, totals.synops, totals.updates, strict=True)
    for group, messages, synops, updates in rows:
        table.add_row(group, f"{messages / tokens:,.1f}", f"{synops / tokens:,.1f}", f"{updates:,}")
    table.add_row(
        "all",
        f"{totals.messages.sum() / tokens:,.1f}",
        f"{totals.synops.sum() / tokens:,.1f}",
        f"{totals.updates.sum():,}",
        style="bold",
    )
    return table


def _result(differing: int) -> Text:
    if differing:
        return Text(f"{differing:,} differ", style="bold red")
    return Text("all equal", style="green")


def tensor_table(results: Sequence[RunResult]) -> Table:
    """One row a tensor, one column a run, numbered as in ``run_table``."""
    table = new_table(
        "Tensors in the run of that number (= all integers equal; else how many differ, and the"
        " largest difference)",
        ("tensor", "left"),
    )
    for number in range(1, len(results) + 1):
        table.add_column(f"{number}", justify="right")
    table.add_column("recorded as")
    rows: dict[str, list[TensorResult | None]] = {}
    for column, run in enumerate(results):
        for tensor in run.tensors:
            rows.setdefault(tensor.value, [None] * len(results))[column] = tensor
    for value, cells in rows.items():
        names = next(cell for cell in cells if cell).recorded_as
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        table.add_row(value, *(_cell(cell) for cell in cells), "".join(names[:1]) + others)
    return table


def _cell(tensor: TensorResult | None) -> Text:
    if tensor is None:
        return Text("-", style="dim")
    if tensor.differing == 0:
        return Text("=", style="green")
    return Text(f"{tensor.differing:,}, max {tensor.largest:,}", style="bold red")


def group_table(results: Sequence[RunResult]) -> Table:
    """One row a group, one column a run: how many of its tensors are equal."""
    table = new_table(
        "Equal tensors by group, in the run of that number (a run compares what was recorded,"
        " or everything)",
        ("group", "left"),
    )
    for number in range(1, len(results) + 1):
        table.add_column(f"{number}", justify="right")
    groups = dict.fromkeys(tensor.group for run in results for tensor in run.tensors)
    for group in groups:
        cells = []
        for run in results:
            tensors = [tensor for tensor in run.tensors if tensor.group == group]
            equal = sum(tensor.differing == 0 for tensor in tensors)
            style = "green" if equal == len(tensors) else "bold red"
            cells.append(Text(f"{equal} of {len(tensors)}", style=style))
        table.add_row(group, *cells)
    return table


def decibels(ratio: float | None) -> str:
    """Return a ratio in dB for people."""
    if ratio is None:
        return "-"
    return "exact" if ratio == float("inf") else f"{ratio:.1f}"


def quantization_table(report: QuantizationReport) -> Table:
    """One row a value that the float model has too."""
    table = new_table(
        f"Integers beside the float model, {report.held_out_tokens:,} held-out tokens\n(SQNR:"
        " signal to quantization noise; at limit: saturated;\ndead: zero here, not in the float"
        " model)",
        ("value", "left"),
        ("bits", "right"),
        ("exponents", "right"),
        ("SQNR dB", "right"),
        ("at\nlimit", "right"),
        ("dead\nneurons", "right"),
        ("constant\nneurons", "right"),
    )
    for row in report.tensors:
        low, high = row.exponents
        table.add_row(
            row.name,
            f"{row.bits}",
            f"{low}" if low == high else f"{low}..{high}",
            decibels(row.signal_to_noise),
            _highlighted(row.saturated),
            _highlighted(row.dead),
            f"{row.constant}",
        )
    return table


def matrix_table(report: QuantizationReport) -> Table:
    """One row a weight matrix."""
    table = new_table(
        "Weights (zeroed: rounded to zero)",
        ("matrix", "left"),
        ("bits", "right"),
        ("not zero\nin floats", "right"),
        ("zeroed", "right"),
    )
    for row in report.matrices:
        table.add_row(row.name, f"{row.bits}", f"{row.parameters:,}", _highlighted(row.zeroed))
    return table


def range_table(report: QuantizationReport) -> Table:
    """One row a register: whether any input can overflow it, and what the data did."""
    table = new_table(
        "Ranges (proven: no input can leave the register; measured: it saturates, and the data\n"
        "came this near to its limit)",
        ("register", "left"),
        ("role", "left"),
        ("bits", "right"),
        ("worst case\nneeds", "right"),
        ("", "left"),
        ("headroom\nbits", "right"),
        ("saturated", "right"),
    )
    for row in report.proofs:
        share = f"{row.saturated:,} of {row.of:,}" if row.saturated else "0"
        table.add_row(
            row.where,
            row.role,
            f"{row.bits}",
            f"{row.needed}",
            Text("proven", style="green") if row.proven else Text("measured", style="yellow"),
            "" if row.headroom is None else f"{row.headroom:.1f}",
            "" if row.proven else Text(share, style="yellow" if row.saturated else "dim"),
        )
    return table


def quantization_summary(report: QuantizationReport) -> str:
    """Return the report in two lines."""
    proven = sum(proof.proven for proof in report.proofs)
    saturated = sum(proof.saturated for proof in report.proofs)
    zeroed = sum(matrix.zeroed for matrix in report.matrices)
    parameters = sum(matrix.parameters for matrix in report.matrices)
    return (
        f"Output SQNR {decibels(report.signal_to_noise)} dB on {report.held_out_tokens:,} held-out"
        f" tokens, {decibels(report.calibration_signal_to_noise)} dB on"
        f" {report.calibration_tokens:,} of calibration; {zeroed:,} of {parameters:,} weights"
        f" rounded to zero\n{proven} of {len(report.proofs)} ranges proven for every input, the"
        f" others saturate: {saturated:,} held-out integers did, and {report.clipped_inputs:,}"
        " inputs"
    )
