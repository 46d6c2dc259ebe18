"""What Lava's own processes can do of a network, exactly: no microcode of ours is needed for that.

The closed library has models for the chip of ``Sparse`` and ``DelaySparse`` (all synapses are such)
and of neurons of the open library. ``GradedVec`` sends the sum of what it receives,
``GradedReluVec`` that sum if it is positive. They have no constant for each neuron, no saturation,
no table and no state, so they reach few groups. (``ProdNeuron`` multiplies two sums and does
nothing else; no kind of neuron here does only that.) The rest needs microcode, or the whole
network goes to an embedded processor in C, slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.programs import NeuronProgram, program_of
from s5_to_loihi.network.shortening import MULTIPLY_SHIFT
from s5_to_loihi.network.tracing import Step
from s5_to_loihi.network.widths import STOCK_BITS

GRADED, RECTIFIED = "GradedVec", "GradedReluVec"

#: What a step means that no stock neuron does.
_LACKING = {
    "register": "state registers",
    "parameter": "a constant for each neuron",
    "lookup": "a table",
    "select": "a choice between values",
    "min": "saturation",
    "max": "saturation",
    "<<": "a shift of a sum",
    ">>": "a shift of a sum",
    "*": "a product",
    MULTIPLY_SHIFT: "a product",
    "-": "a difference",
    "abs": "an absolute value",
}


@dataclass(frozen=True)
class StockGroup:
    """What a group becomes.

    Attributes:
        group: its name.
        process: name of the stock neuron that is exact for it; None if none is.
        lacking: what the stock neurons do not have, if none is exact.
    """

    group: str
    process: str | None
    lacking: tuple[str, ...] = ()


def lower(network: Network) -> tuple[StockGroup, ...]:
    """Return what becomes of each group of a verified network."""
    return tuple(lower_group(network, group) for group in network.groups)


def lower_group(network: Network, group: NeuronGroup) -> StockGroup:
    """Return the stock neuron that computes a group's messages exactly, or what it lacks."""
    program = program_of(network, group)
    found = None if program.registers or not program.messages else _match(program)
    too_wide = [
        step
        for step in program.steps
        if step.operation in ("accumulator", "+") and step.bits > STOCK_BITS
    ]
    if found is not None and not too_wide:
        return StockGroup(group.name, found)
    lacking = dict.fromkeys(
        _LACKING[step.operation] for step in program.steps if step.operation in _LACKING
    )
    if too_wide:
        lacking[f"sums of more than {STOCK_BITS} bits"] = None
    return StockGroup(group.name, None, tuple(lacking) or ("such arithmetic",))


def _match(program: NeuronProgram) -> str | None:
    results = set(program.messages.values())
    if len(results) != 1:
        return None
    steps = program.steps
    (result,) = results
    if _summed(steps, result):
        return GRADED
    step = steps[result]
    if step.operation == "max":
        left, right = step.operands
        for one, other in ((left, right), (right, left)):
            zero = (steps[other].lowest, steps[other].highest) == (0, 0)
            if zero and _summed(steps, one):
                return RECTIFIED
    return None


def _summed(steps: tuple[Step, ...], index: int) -> tuple[str, ...] | None:
    """Return the ports whose plain sum a step is, None if it is something else."""
    step = steps[index]
    if step.operation == "accumulator":
        return (step.name,)
    if step.operation != "+":
        return None
    left, right = (_summed(steps, operand) for operand in step.operands)
    if left is None or right is None:
        return None
    ports = left + right
    return ports if len(set(ports)) == len(ports) else None
