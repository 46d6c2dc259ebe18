"""The table of a network beside its dense twin and others, for the terminal."""

from __future__ import annotations

import textwrap

from rich.table import Table

from s5_to_loihi.profiling.contenders import ratios
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports.numbers import with_range
from s5_to_loihi.reports.tables import new_table

#: Characters of a heading.
HEADING_WIDTH = 19


def ratio_table(findings: Findings) -> Table:
    """One row a ratio: each other network over this one, and what the paper says of its own."""
    own, others = findings.own, findings.contenders[1:]
    table = new_table(
        f"How many times as much as {own.profile.network} others take on Loihi 2 (modelled; energy:"
        " neurocore rails).\nIn brackets: nine of ten drawn choices of the constants, each the same"
        " for both.\nPaper: arXiv 2502.01330, a narrower dense network on Jetson Orin Nano"
        " against a sparse one on Loihi 2; see the report",
        ("of", "left"),
        *((textwrap.fill(other.name, HEADING_WIDTH), "right") for other in others),
        ("paper", "right"),
    )
    for row in zip(*(ratios(own, other) for other in others), strict=True):
        claim = with_range(row[0].claim.quantity) if row[0].claim else "-"
        cells = (with_range(one.ratio).replace(" ×", "") for one in row)
        table.add_row(row[0].name, *cells, claim)
    return table
