"""How each number of a report came about."""

from __future__ import annotations

import platform

from s5_to_loihi.loihi2.facts import Fact
from s5_to_loihi.profiling.constants import NAMES, fact
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports.html.page import Note, Section
from s5_to_loihi.reports.numbers import shown
from s5_to_loihi.reports.table import Cell, Mark, of_rows, table
from s5_to_loihi.version import VERSION


def provenance(findings: Findings, command: str) -> Section:
    """Return the bundle, the tool, the input, and every constant with its source.

    Args:
        findings: of the report.
        command: that made it.
    """
    own, opened = findings.own, findings.opened
    facts = {
        "network": opened.network.name,
        "bundle": f"digest {findings.digest}",
        **{f"compiled from, {name}": value for name, value in opened.source.items()},
        "input": findings.recording.origin,
        "mapping": f"{own.profile.system}, objective {own.profile.mapping.objective}; {own.what}",
        "modelled numbers": own.profile.source,
        "drawn constants": f"{own.profile.samples:,} draws, seed {own.profile.seed}",
        "tool": f"s5_to_loihi {VERSION}, Python {platform.python_version()}",
        "command": command,
    }
    return Section(
        "provenance",
        "How each number came about",
        (
            Note(
                "Measured: by running it, on the device that the row names, or in the simulator,"
                " whose counts are those of the chip. Modelled: by the cost model from counts, the"
                " mapping and the constants below; the range is that of all constants at their"
                " fast and at their slow end. Published: read in the publication that the row"
                " names."
            ),
            of_rows("Of this report", ("what", "is"), facts.items()),
            table(
                "Constants of the model",
                [(name, fact(own.evaluation.system, name)) for name in NAMES],
                {
                    "constant": lambda one: one[0],
                    "value #": lambda one: f"{shown(one[1].value)} {one[1].unit}",
                    "range #": lambda one: _range(one[1]),
                    "confidence": lambda one: _confidence(one[1]),
                    "source": lambda one: one[1].source,
                },
                folded=True,
            ),
            *(Note(f"Note of the compiler: {note}") for note in opened.notes),
        ),
    )


def _range(of: Fact) -> str:
    return "" if of.low == of.high else f"{shown(of.low)} to {shown(of.high)}"


def _confidence(of: Fact) -> Cell:
    return Cell(of.confidence, Mark.NOTICE if of.confidence == "low" else None)
