"""Tables of what neurons have to compute: programs, and which of them Lava's own neurons are."""

from __future__ import annotations

from collections.abc import Sequence

from s5_to_loihi.lava_runtime.stock import StockGroup
from s5_to_loihi.network.programs import NeuronProgram
from s5_to_loihi.reports.table import Table, table


def stock_table(lowered: Sequence[StockGroup]) -> Table:
    """One row a group: whether a neuron of Lava's computes it."""
    reached = sum(one.process is not None for one in lowered)
    return table(
        f"Lava's own neurons are exact for {reached} of {len(lowered)} groups (all synapses are"
        " Sparse and DelaySparse)",
        lowered,
        {
            "group": lambda one: one.group,
            "exact": lambda one: one.process or "-",
            "what they do not have": lambda one: ", ".join(one.lacking),
        },
    )


def program_table(programs: Sequence[NeuronProgram], where: str) -> Table:
    """One row a program; ``where`` says what became of them."""
    return table(
        f"{len(programs)} programs, {where}",
        programs,
        {
            "program": lambda one: one.name,
            "instructions #": lambda one: one.instructions,
            "as traced #": lambda one: one.traced_instructions,
            "ports #": lambda one: sum(step.operation == "accumulator" for step in one.steps),
            "registers #": lambda one: len(one.registers),
            "groups": lambda one: ", ".join(binding.group.name for binding in one.bindings),
        },
    )
