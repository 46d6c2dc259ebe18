"""The neuron programs of a network: what a group computes for its registers and its messages.

A traced program also has steps that only probes need, and one group's constants in it. Here is
what is left for a neuron that nobody looks into, and groups whose programs differ in the values of
constants only have one in common: that is what has to be written once in microcode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.ranges import program as traced
from s5_to_loihi.network.tracing import Step, parameters

#: Hexadecimal digits of a program's digest in its name.
DIGITS = 10


@dataclass(frozen=True, eq=False)
class Binding:
    """What a group fills a program's places with.

    Attributes:
        group: the group.
        constants: values of the places ``c0``, ``c1`` ..., shared by its neurons.
        tables: likewise ``t0``, ``t1`` ...
        parameters: names of the per-neuron constants that the program reads, in order; where a
            constant has one value for all neurons it is among ``constants`` instead.
        ports: those that synapses end at, in the kind's order.
    """

    group: NeuronGroup
    constants: dict[str, int]
    tables: dict[str, tuple[int, ...]]
    parameters: tuple[str, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NeuronProgram:
    """A program and the groups that run it.

    Attributes:
        name: ``kind-digest``; the digest is of operations, operands and names, of no value.
        kind: of all its groups.
        steps: those that registers and sent messages depend on. The immediate of a ``constant``
            and of a ``lookup`` is the name of its place; intervals hold for every group.
        registers: register -> step of its next value.
        messages: message that is sent -> step.
        bindings: one a group.
    """

    name: str
    kind: NeuronKind
    steps: tuple[Step, ...]
    registers: dict[str, int]
    messages: dict[str, int]
    bindings: tuple[Binding, ...]

    @property
    def instructions(self) -> int:
        """How many instructions an update takes."""
        return instruction_count(self.steps, len(self.registers) + len(self.messages))


def instruction_count(steps: Iterable[Step], written: int) -> int:
    """Return how many instructions a program takes: one a step, but for constants, and a write.

    Constants that all neurons share are part of an instruction.

    Args:
        steps: that are computed.
        written: registers that are written and messages that are sent.
    """
    return sum(step.operation != "constant" for step in steps) + written


def neuron_programs(network: Network) -> tuple[NeuronProgram, ...]:
    """Return the programs of a verified network, in the order of their first groups."""
    found: dict[str, list[NeuronProgram]] = {}
    for group in network.groups:
        program = program_of(network, group)
        found.setdefault(program.name, []).append(program)
    return tuple(map(_merged, found.values()))


def program_of(network: Network, group: NeuronGroup) -> NeuronProgram:
    """Return the program of a group, with this group alone and the intervals that it has there."""
    steps, results, binding = _open_program(network, group)
    state = group.kind.state
    return NeuronProgram(
        name=_name(group, steps, results),
        kind=group.kind,
        steps=steps,
        registers={register: results[register] for register in state},
        messages={one: index for one, index in results.items() if one not in state},
        bindings=(binding,),
    )


def _merged(programs: list[NeuronProgram]) -> NeuronProgram:
    return replace(
        programs[0],
        steps=tuple(map(_widest, *(program.steps for program in programs))),
        bindings=tuple(program.bindings[0] for program in programs),
    )


def _open_program(
    network: Network, group: NeuronGroup
) -> tuple[tuple[Step, ...], dict[str, int], Binding]:
    """Return the needed steps with places for constants and tables, the results, the binding."""
    program = traced(network, group)
    wanted = group.kind.state + network.sent_by(group)
    new_index: dict[int, int] = {}
    constants: dict[str, int] = {}
    tables: dict[Table, str] = {}
    steps: list[Step] = []
    for index in sorted(program.needed(wanted)):
        step = program.steps[index]
        immediate = step.immediate
        if step.operation == "constant":
            immediate = f"c{len(constants)}"
            constants[immediate] = step.lowest
        elif step.operation == "lookup":
            immediate = tables.setdefault(step.table, f"t{len(tables)}")
        new_index[index] = len(steps)
        operands = tuple(new_index[operand] for operand in step.operands)
        steps.append(Step(step.operation, operands, immediate, step.lowest, step.highest))
    read = {step.immediate for step in steps if step.operation == "parameter"}
    names = tuple(name for name in parameters(group) if name in read)
    shared = {name: table for table, name in tables.items()}
    results = {name: new_index[program.results[name]] for name in wanted}
    ports = tuple(one for one in group.kind.ports if network.incoming(Endpoint(group.name, one)))
    return tuple(steps), results, Binding(group, constants, shared, names, ports)


def _name(group: NeuronGroup, steps: Iterable[Step], results: dict[str, int]) -> str:
    lines = [f"{step.operation} {step.operands} {step.immediate}" for step in steps]
    text = "\n".join([group.kind.name, *lines, repr(sorted(results.items()))])
    return f"{group.kind.name}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def _widest(*steps: Step) -> Step:
    lowest, highest = min(step.lowest for step in steps), max(step.highest for step in steps)
    return replace(steps[0], lowest=lowest, highest=highest)
