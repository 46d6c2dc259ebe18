"""The neuron programs of a network: what a group computes for its registers and its messages.

A traced program also has steps that only probes need, and one group's constants in it. Here is
what is left for a neuron that nobody looks into, and groups whose programs differ in the values of
constants only have one in common: that is what has to be written once in microcode.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from s5_to_loihi.fixed_point import Integers, limits
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.ranges import port_intervals, port_limits
from s5_to_loihi.network.ranges import program as traced
from s5_to_loihi.network.shortening import Writer, finished
from s5_to_loihi.network.tabulating import table_of, with_table, worthwhile_region
from s5_to_loihi.network.tracing import Step, parameters
from s5_to_loihi.network.widths import ARITHMETIC_BITS

#: Hexadecimal digits of a program's digest in its name.
DIGITS = 10


@dataclass(frozen=True, eq=False)
class Binding:
    """What a group fills a program's places with.

    Attributes:
        group: the group.
        constants: values of the places ``c0``, ``c1`` ..., shared by its neurons.
        tables: likewise ``t0``, ``t1`` ...
        parameters: (n,) values of the per-neuron constants that the program reads, in order;
            where a constant has one value for all neurons it is among ``constants`` instead. Those
            called ``folded0``, ``folded1`` ... were computed from the kind's own.
        ports: those that synapses end at, in the kind's order.
    """

    group: NeuronGroup
    constants: dict[str, int]
    tables: dict[str, tuple[int, ...]]
    parameters: dict[str, Integers]
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
        traced_instructions: how many instructions an update took before it was shortened.
    """

    name: str
    kind: NeuronKind
    steps: tuple[Step, ...]
    registers: dict[str, int]
    messages: dict[str, int]
    bindings: tuple[Binding, ...]
    traced_instructions: int = 0

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
    if network not in _PROGRAMS:
        alike: dict[str, list[NeuronProgram]] = {}
        for group in network.groups:
            traced = _traced_program(network, group)
            alike.setdefault(traced.name, []).append(traced)
        _PROGRAMS[network] = tuple(_shortened(network, programs) for programs in alike.values())
    return _PROGRAMS[network]


_PROGRAMS: WeakKeyDictionary[Network, tuple[NeuronProgram, ...]] = WeakKeyDictionary()


def program_of(network: Network, group: NeuronGroup) -> NeuronProgram:
    """Return the program of a group, with the binding of this group alone."""
    for program in neuron_programs(network):
        for binding in program.bindings:
            if binding.group is group:
                return replace(program, bindings=(binding,))
    raise KeyError(group.name)


def _traced_program(network: Network, group: NeuronGroup) -> NeuronProgram:
    steps, results, binding = _open_program(network, group)
    return named(group.kind, steps, results, (binding,))


def named(
    kind: NeuronKind,
    steps: tuple[Step, ...],
    results: dict[str, int],
    bindings: tuple[Binding, ...],
) -> NeuronProgram:
    """Return a program with the name that its steps and results give it."""
    lines = [f"{step.operation} {step.operands} {step.immediate}" for step in steps]
    text = "\n".join([kind.name, *lines, repr(sorted(results.items()))])
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    return NeuronProgram(
        name=f"{kind.name}-{digest}",
        kind=kind,
        steps=steps,
        registers={register: results[register] for register in kind.state},
        messages={one: index for one, index in results.items() if one not in kind.state},
        bindings=bindings,
    )


def _shortened(network: Network, programs: list[NeuronProgram]) -> NeuronProgram:
    """Return the program that groups have in common whose traced programs are alike, shortened."""
    first = replace(
        programs[0],
        bindings=tuple(program.bindings[0] for program in programs),
        traced_instructions=programs[0].instructions,
    )
    if any(step.bits > ARITHMETIC_BITS - 1 for program in programs for step in program.steps):
        return first  # refused by check_ranges
    tried = (_written_anew(network, first, reaching) for reaching in (True, False))
    shortest = min(tried, key=lambda program: program.instructions)
    return replace(shortest, traced_instructions=first.instructions)


def _written_anew(network: Network, program: NeuronProgram, reaching: bool) -> NeuronProgram:
    """Return a program after ``network/shortening.py`` and ``network/tabulating.py``."""
    sizes = [binding.group.size for binding in program.bindings]
    writer = Writer(sum(sizes), reaching)
    written: list[int] = []
    for step in program.steps:
        operands = tuple(written[operand] for operand in step.operands)
        written.append(_write(writer, network, step, operands, program.bindings))
    results = program.registers | program.messages
    short = finished(writer, [written[at] for at in results.values()], sizes)
    ends = np.cumsum([0, *sizes])
    read = [step for step in short.steps if step.operation in ("constant", "parameter")]
    places = {step.name: step.operation for step in read}
    bindings = [
        replace(
            binding,
            constants={
                name: int(short.values[name][low])
                for name, operation in places.items()
                if operation == "constant"
            },
            parameters={
                name: short.values[name][low:high]
                for name, operation in places.items()
                if operation == "parameter"
            },
        )
        for binding, (low, high) in zip(program.bindings, itertools.pairwise(ends), strict=True)
    ]
    results = {name: short.index[written[at]] for name, at in results.items()}
    return named(program.kind, *_tabulated(short.steps, results, bindings))


def _write(
    writer: Writer,
    network: Network,
    step: Step,
    operands: tuple[int, ...],
    bindings: tuple[Binding, ...],
) -> int:
    """Write a step for the neurons of all groups, one group after the other."""
    groups = [binding.group for binding in bindings]
    sizes = [group.size for group in groups]
    match step.operation:
        case "accumulator":
            sums = [_sums(network, group, step.name) for group in groups]
            lowest, highest = np.concatenate(sums, axis=1)
            return writer.source(step.operation, step.name, (lowest, highest))
        case "register":
            ends = np.array([limits(group.formats[step.name].bits) for group in groups])
            lowest, highest = np.repeat(ends, sizes, axis=0).T
            return writer.source(step.operation, step.name, (lowest, highest))
        case "parameter":
            values = np.concatenate([binding.parameters[step.name] for binding in bindings])
            return writer.constant(values, step.name)
        case "constant":
            shared = np.array([binding.constants[step.name] for binding in bindings])
            return writer.constant(np.repeat(shared, sizes))
        case "lookup":
            tables = [binding.tables[step.name] for binding in bindings]
            lowest = np.repeat([min(table) for table in tables], sizes)
            highest = np.repeat([max(table) for table in tables], sizes)
            return writer.lookup(operands[0], step.name, lowest, highest)
        case operation:
            return writer.write(operation, *operands)


def _tabulated(
    steps: tuple[Step, ...], results: dict[str, int], bindings: list[Binding]
) -> tuple[tuple[Step, ...], dict[str, int], tuple[Binding, ...]]:
    """Return a program with tables in the place of functions of one small integer."""
    while region := worthwhile_region(steps, results.values()):
        table, offset = f"t{len(bindings[0].tables)}", f"c{len(bindings[0].constants)}"
        made = [table_of(steps, region, one.constants, one.tables) for one in bindings]
        lowest = steps[region.argument].lowest
        steps, index = with_table(steps, region, table, offset)
        results = {name: index[at] for name, at in results.items()}
        bindings = [
            replace(
                binding,
                constants=binding.constants | {offset: -lowest},
                tables=binding.tables | {table: entries},
            )
            for binding, entries in zip(bindings, made, strict=True)
        ]
    read = {step.immediate for step in steps if step.operation in ("constant", "lookup")}
    kept = tuple(
        replace(
            binding,
            constants={name: one for name, one in binding.constants.items() if name in read},
            tables={name: one for name, one in binding.tables.items() if name in read},
        )
        for binding in bindings
    )
    return steps, results, kept


def _sums(network: Network, group: NeuronGroup, port: str) -> tuple[Integers, Integers]:
    """Return the lowest and highest sum of each neuron, nothing at all among what may arrive."""
    if group.kind.wraps:
        lowest, highest = np.repeat([port_intervals(network, group)[port]], group.size, axis=0).T
    else:
        lowest, highest = port_limits(network, Endpoint(group.name, port))
    return np.minimum(lowest, 0), np.maximum(highest, 0)


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
    own = {name: values for name, values in parameters(group).items() if name in read}
    shared = {name: table for table, name in tables.items()}
    results = {name: new_index[program.results[name]] for name in wanted}
    ports = tuple(one for one in group.kind.ports if network.incoming(Endpoint(group.name, one)))
    return tuple(steps), results, Binding(group, constants, shared, own, ports)
