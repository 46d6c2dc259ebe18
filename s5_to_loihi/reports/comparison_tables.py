"""Tables of a network beside others: its dense twin on the chip, the float model, publications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.profiling.baselines import STREAMING
from s5_to_loihi.profiling.contenders import Contender, Ratio, device_ratios, ratios
from s5_to_loihi.profiling.dense_float import weights_of
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.published import published
from s5_to_loihi.reports.table import Cell, Content, Table, of_rows, table


def network_table(contenders: Sequence[Contender]) -> Table:
    """One row a network on the chip: what it stores and does."""
    return table(
        "Networks on Loihi 2 by the same tool: what they store and do",
        contenders,
        {
            "network": lambda one: one.name,
            "synapses #": lambda one: one.network.synapse_count,
            "synaptic words #": lambda one: one.words[Resource.SYNAPSES],
            "all words #": lambda one: one.words[Resource.TOTAL],
            "cores #": lambda one: one.profile.mapping.cores,
            "synops a token #": lambda one: one.profile.activity.synops,
            "messages a token #": lambda one: one.profile.activity.messages,
            "what it is": lambda one: f"{one.what}; {one.profile.system}",
        },
    )


def ratio_table(findings: Findings) -> Table:
    """One row a ratio: each other network over this one, and what the paper says of its own."""
    own, others = findings.own, findings.contenders[1:]
    return of_rows(
        f"How many times as much as {own.profile.network} others take on Loihi 2 (modelled; energy:"
        " neurocore rails).\nIn brackets: nine of ten drawn choices of the constants, each the same"
        " for both.\nPaper: arXiv 2502.01330, a narrower dense network on Jetson Orin Nano"
        " against a sparse one on Loihi 2",
        ("of", *(f"{other.name} #" for other in others), *_CLAIM),
        (
            (_named(row[0]), *(one.ratio for one in row), *_claim(row[0]))
            for row in zip(*(ratios(own, other) for other in others), strict=True)
        ),
    )


def device_tables(findings: Findings) -> Iterator[Table]:
    """Put the float model, where it was measured a token at a time, beside this network."""
    weights = weights_of(findings.opened.network)
    rows = [
        (_named(one), one.ratio, *_claim(one))
        for baseline in findings.baselines
        if baseline.mode == STREAMING and baseline.weights == weights
        for one in device_ratios(findings.own, baseline)
    ]
    if rows:
        yield of_rows(
            "How much more the float model takes where it was measured, a token at a time",
            ("of", "ratio #", *_CLAIM),
            rows,
        )


#: Headings of ``_claim``.
_CLAIM = ("paper #", "+the same", "+not the same")


def _named(ratio: Ratio) -> Cell:
    return Cell(ratio.name, origin=ratio.ratio.origin)


def _claim(ratio: Ratio) -> tuple[Content, ...]:
    claimed = ratio.claim.quantity if ratio.claim else "-"
    return claimed, ratio.same or "-", ratio.different or "-"


def published_table() -> Table:
    """One row a publication."""
    return table(
        "Published, for orientation: other networks on other devices",
        published().values(),
        {
            "what": lambda row: Cell(row.what, origin=row.quantity.origin),
            "ratio #": lambda row: row.quantity,
            "scope": lambda row: row.quantity.scope,
            "source": lambda row: row.quantity.source,
            "confidence": lambda row: row.confidence,
        },
    )
