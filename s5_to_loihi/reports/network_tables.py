"""Tables of what is in a network: groups, weights, constants, accumulators, values, activity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from s5_to_loihi.network.network import Network, Synapses
from s5_to_loihi.network.widths import ACCUMULATOR_BITS
from s5_to_loihi.reports.table import (
    Cell,
    Content,
    Number,
    Span,
    Table,
    counted,
    of_rows,
    share,
    strong,
    table,
)

if TYPE_CHECKING:
    from s5_to_loihi.inspection import ConstantSummary, PortSummary, ValueSummary, WeightSummary
    from s5_to_loihi.simulation import Totals


def size_in_words(network: Network) -> str:
    """Return how large a network is."""
    return (
        f"{len(network.groups)} groups, {sum(group.size for group in network.groups):,} neurons,"
        f" {network.synapse_count:,} synapses, latency {network.latency} timesteps"
    )


def source_table(source: Mapping[str, str]) -> Table:
    """One row a fact about what a bundle was made from."""
    return table(
        "Made from",
        source.items(),
        {"what": lambda row: row[0], "which": lambda row: row[1]},
    )


def network_table(network: Network) -> Table:
    """One row a group: neurons, phase, and the synapses that end there."""
    return table(
        f"{network.name}: {size_in_words(network)}",
        network.groups,
        {
            "group": lambda group: group.name,
            "kind": lambda group: group.kind.name,
            "neurons #": lambda group: group.size,
            "phase #": lambda group: f"{group.phase}",
            "incoming synapses (density)": lambda group: ", ".join(
                map(_arriving, network.incoming(group.name))
            ),
        },
    )


def _arriving(synapses: Synapses) -> str:
    delay = f" delay {synapses.delay}" if synapses.delay else ""
    name = synapses.name.rpartition(".")[2]
    return f"{name} {synapses.weights.nnz:,} ({synapses.density:.0%}){delay}"


def weight_table(summaries: Iterable[WeightSummary]) -> Table:
    """One row a weight matrix."""
    return table(
        "Weights (at limit: saturated; targets and sources without a synapse)",
        summaries,
        {
            "synapses": lambda row: row.name,
            "shape #": lambda row: f"{row.shape[0]}x{row.shape[1]}",
            "format": lambda row: str(row.format),
            "stored #": lambda row: row.synapses,
            "density #": lambda row: share(row.density, 1),
            "range #": lambda row: Span(row.lowest, row.highest),
            "at limit #": lambda row: counted(row.saturated),
            "silent targets #": lambda row: counted(row.silent_targets),
            "unused sources #": lambda row: counted(row.unused_sources),
        },
        folded=True,
    )


def constant_table(summaries: Iterable[ConstantSummary]) -> Table:
    """One row an array of per-neuron constants."""
    return table(
        "Constants of each neuron (at limit: saturated)",
        summaries,
        {
            "constant": lambda row: row.name,
            "neurons #": lambda row: row.size,
            "format": lambda row: str(row.format),
            "range #": lambda row: Span(row.lowest, row.highest),
            "at limit #": lambda row: counted(row.saturated),
            "zero #": lambda row: row.zeros,
        },
    )


def port_table(summaries: Iterable[PortSummary]) -> Table:
    """One row an accumulator."""
    return table(
        f"Accumulators: worst case over all inputs, proven (limit {ACCUMULATOR_BITS} bits)",
        summaries,
        {
            "port": lambda row: row.name,
            "exponent #": lambda row: row.exponent,
            "largest sum #": lambda row: row.worst_case,
            "bits #": lambda row: row.bits,
        },
        folded=True,
    )


def value_table(summaries: Iterable[ValueSummary], over: str) -> Table:
    """One row a value of a group.

    Args:
        summaries: of the values.
        over: which tokens, and on a page what its own column, the headroom, is.
    """
    return table(
        f"Values over {over} (at limit: saturated; dead: neurons that are always zero; stuck: that"
        " always have one other value)",
        summaries,
        {
            "value": lambda row: row.name,
            "neurons #": lambda row: row.neurons,
            "format": lambda row: str(row.format),
            "range used #": lambda row: Span(row.lowest, row.highest),
            "+headroom, bits #": _headroom,
            "non-zero #": lambda row: share(row.nonzero),
            "at limit #": lambda row: counted(row.saturated),
            "dead #": lambda row: counted(row.dead),
            "stuck #": lambda row: counted(row.constant),
        },
    )


def _headroom(row: ValueSummary) -> Cell:
    """Return the bits between the largest magnitude and the limit; the bar shows bits in use."""
    bits = row.format.bits - 1
    used = math.log2(max(abs(row.lowest), abs(row.highest), 1))
    return Cell(f"{bits - used:.1f}", share=min(1.0, used / bits))


def activity_table(totals: Totals) -> Table:
    """One row a group: its activity for each token, on average."""
    tokens = totals.tokens * totals.sequences

    def cells(name: str, messages: float, synops: float, updates: int) -> tuple[Content, ...]:
        return name, Number(messages / tokens, 1), Number(synops / tokens, 1), int(updates)

    counts = (totals.messages, totals.synops, totals.updates)
    return of_rows(
        "Activity, for each token on average",
        ("group", "messages sent #", "synaptic operations #", "neuron updates #"),
        (
            *map(cells, totals.groups, *counts),
            strong(*cells("all", *(count.sum() for count in counts))),
        ),
    )
