"""A gate before a neuron's program: it updates only in the timestep in which a token reaches it.

For fall-through on the chip. With each token goes a marker, a message of one value that reaches
every neuron in the timestep of its group's phase (``lava_runtime/chip_plan.py``). A neuron that
gets none stops after two instructions: nothing changes and nothing is sent, however many timesteps
pass until the next token. The marker also says whether its token begins a sequence; the registers
then count as zero. ``docs/board.md`` says why it is a marker and not a counter.
"""

from __future__ import annotations

from dataclasses import replace

from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.programs import NeuronProgram, named, neuron_programs, program_of
from s5_to_loihi.network.tracing import Step

#: The port that markers arrive at.
MARKER = "token_marker"
#: What arrives there: nothing, a token of a sequence that goes on, the first token of a sequence.
NOTHING, TOKEN, FIRST = 0, 1, 2
#: Ends the update if its operand is zero: registers stay as they are, no message is sent.
LEAVE = "leave"
#: Instructions of a neuron that gets no marker: it reads the port, and leaves.
IDLE_INSTRUCTIONS = 2


def gated(program: NeuronProgram) -> NeuronProgram:
    """Return a program with the gate in front; its name is another one.

    An update takes two instructions more; with registers it also compares the marker, and
    chooses each register that is read.
    """
    free = iter(f"c{at}" for at in range(2 * len(program.steps) + 2))
    used = {step.immediate for step in program.steps if step.operation == "constant"}
    one, zero = (next(name for name in free if name not in used) for _ in range(2))
    steps = [
        Step("accumulator", (), MARKER, NOTHING, FIRST),
        Step(LEAVE, (0,), None, NOTHING, FIRST),
    ]
    begins = constants = None
    if any(step.operation == "register" for step in program.steps):
        steps += [Step("constant", (), one, TOKEN, TOKEN), Step(">", (0, 2), None, 0, 1),
                  Step("constant", (), zero, 0, 0)]  # fmt: skip
        begins, constants = 3, {one: TOKEN, zero: 0}
    place: list[int] = []
    for step in program.steps:
        steps.append(replace(step, operands=tuple(place[at] for at in step.operands)))
        if step.operation == "register":
            assert begins is not None
            ends = min(step.lowest, 0), max(step.highest, 0)
            steps.append(Step("select", (begins, begins + 1, len(steps) - 1), None, *ends))
        place.append(len(steps) - 1)
    written = program.registers | program.messages
    bindings = tuple(
        replace(binding, constants=binding.constants | (constants or {}))
        for binding in program.bindings
    )
    return named(
        program.kind, tuple(steps), {name: place[at] for name, at in written.items()}, bindings
    )


def programs(network: Network, gate: bool) -> tuple[NeuronProgram, ...]:
    """Return the programs of a verified network, each with a gate or without."""
    found = neuron_programs(network)
    return tuple(map(gated, found)) if gate else found


def program_for(network: Network, group: NeuronGroup, gate: bool) -> NeuronProgram:
    """Return the program of a group, with the binding of this group alone."""
    found = program_of(network, group)
    return gated(found) if gate else found
