"""The table of a scaling study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s5_to_loihi.reports.table import Cell, Number, Row, Table, of_rows

#: Of a ``training.measuring.Cost``: what a column is called, and its decimals.
COLUMNS = {
    "si_snr": ("SI-SNR # dB", 2),
    "float_si_snr": ("float # dB", 2),
    "weights": ("weights #", 0),
    "synapses": ("synapses #", 0),
    "synops": ("synops a token #", 0),
    "words": ("memory # words", 0),
    "cores": ("cores #", 0),
    "latency_us": ("latency # µs", 0),
    "energy_uj": ("energy # uJ", 2),
}


def study_table(costs: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a network: name -> its ``Cost``."""
    return of_rows(
        f"{len(costs)} networks, mapped onto as few cores as hold them; latency and energy of a"
        " token are modelled",
        ("network", *(title for title, _ in COLUMNS.values())),
        (
            Row(
                (
                    Cell(name),
                    *(Cell(Number(cost[key], digits)) for key, (_, digits) in COLUMNS.items()),
                )
            )
            for name, cost in costs.items()
        ),
    )
