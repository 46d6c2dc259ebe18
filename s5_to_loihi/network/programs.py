"""The neuron programs of a network: what a group computes for its registers and its messages.

A traced program also has steps that only probes need, and one group's constants in it. Here is
what is left for a neuron that nobody looks into, and groups whose programs differ in the values of
constants only have one in common: that is what has to be written once in microcode.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from s5_to_loihi.fixed_point import Integers, limits
from s5_to_loihi.network.lines import candidates, lines_of, places, with_lines
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.ranges import port_intervals, port_limits
from s5_to_loihi.network.ranges import program as traced
from s5_to_loihi.network.shortening import FOLDED, Writer, finished
from s5_to_loihi.network.tabulating import table_of, values_of, with_table, worthwhile_region
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
        traced_instructions: how many instructions an update took before it was shortened.
    """

    group: NeuronGroup
    constants: dict[str, int]
    tables: dict[str, tuple[int, ...]]
    parameters: dict[str, Integers]
    ports: tuple[str, ...]
    traced_instructions: int = 0


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

    @property
    def traced_instructions(self) -> int:
        """How many it took before it was shortened, in the group where these were the most."""
        return max(binding.traced_instructions for binding in self.bindings)


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
    alike: dict[str, list[NeuronProgram]] = {}
    for program in _own_programs(network).values():
        alike.setdefault(program.name, []).append(program)
    return tuple(map(_in_common, alike.values()))


def program_of(network: Network, group: NeuronGroup) -> NeuronProgram:
    """Return the program of a group, with its own intervals and the binding of it alone."""
    return _own_programs(network)[group.name]


def _own_programs(network: Network) -> dict[str, NeuronProgram]:
    if network not in _PROGRAMS:
        _PROGRAMS[network] = {group.name: _shortened(network, group) for group in network.groups}
    return _PROGRAMS[network]


_PROGRAMS: WeakKeyDictionary[Network, dict[str, NeuronProgram]] = WeakKeyDictionary()


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


def _in_common(programs: Sequence[NeuronProgram]) -> NeuronProgram:
    """Return the program of groups whose own programs differ in values and intervals only."""
    steps = tuple(
        replace(
            alike[0],
            lowest=min(step.lowest for step in alike),
            highest=max(step.highest for step in alike),
        )
        for alike in zip(*(program.steps for program in programs), strict=True)
    )
    bindings = tuple(binding for program in programs for binding in program.bindings)
    return replace(programs[0], steps=steps, bindings=bindings)


def traced_program(network: Network, group: NeuronGroup) -> NeuronProgram:
    """Return the program of one group as its arithmetic was traced."""
    steps, results, binding = _open_program(network, group)
    binding = replace(binding, traced_instructions=instruction_count(steps, len(results)))
    return named(group.kind, steps, results, (binding,))


def _shortened(network: Network, group: NeuronGroup) -> NeuronProgram:
    """Return the program of one group, shortened with what is known of its own neurons."""
    first = traced_program(network, group)
    if any(step.bits > ARITHMETIC_BITS - 1 for step in first.steps):
        return first  # refused by check_ranges
    plain = _shortest(network, first)
    lined = _lined(plain)
    tried = (plain,) if lined is plain else (plain, _shortest(network, lined, proven=True))
    return min(map(_tabulated, tried), key=_instructions)


def _instructions(program: NeuronProgram) -> int:
    return program.instructions


def _shortest(network: Network, program: NeuronProgram, proven: bool = False) -> NeuronProgram:
    """Return a program as it is written in the fewest instructions.

    Args:
        network: that it is of.
        program: of one group.
        proven: whether its steps' intervals hold for everything, nothing arriving included. Those
            of traced programs do not.
    """
    choices = itertools.product((True, False), repeat=2)
    written = (_written_anew(network, program, proven, *one) for one in choices)
    return min(written, key=_instructions)


def _written_anew(
    network: Network, program: NeuronProgram, proven: bool, reaching: bool, halving: bool
) -> NeuronProgram:
    """Return a program after ``network/shortening.py``."""
    sizes = [binding.group.size for binding in program.bindings]
    writer = Writer(sizes, reaching, halving)
    written: list[int] = []
    for step in program.steps:
        operands = tuple(written[operand] for operand in step.operands)
        number = _write(writer, network, step, operands, program.bindings)
        if proven:
            writer.narrow(number, step.lowest, step.highest)
        written.append(number)
    results = _results(program)
    short = finished(writer, [written[at] for at in results.values()])
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
    return named(program.kind, short.steps, results, tuple(bindings))


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
            return writer.constant(values, None if step.name.startswith(FOLDED) else step.name)
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


def _tabulated(program: NeuronProgram) -> NeuronProgram:
    """Return a program with tables in the place of functions of one small integer."""
    while region := worthwhile_region(program.steps, _results(program).values()):
        table, offset = (_free(program, letter)[0] for letter in "tc")
        lowest = program.steps[region.argument].lowest
        made = [
            ({offset: -lowest}, {table: table_of(program.steps, region, one.constants, one.tables)})
            for one in program.bindings
        ]
        program = _with_places(program, *with_table(program.steps, region, table, offset), made)
    return program


def _lined(program: NeuronProgram) -> NeuronProgram:
    """Return a program with lines in the place of a longer function of one integer, if any fit."""
    for region in candidates(program.steps, _results(program).values()):
        functions = [
            values_of(program.steps, region, one.constants, one.tables) for one in program.bindings
        ]
        lowest = program.steps[region.argument].lowest
        found = lines_of(functions, lowest, len(region.members) - 1)
        if found is None:
            continue
        named_places = [places(one) for one in found]
        constants, tables = named_places[0]
        names = dict(zip(constants, _free(program, "c"), strict=False))
        names |= dict(zip(tables, _free(program, "t"), strict=False))
        made = [
            (
                {names[name]: one for name, one in constants.items()},
                {names[name]: one for name, one in tables.items()},
            )
            for constants, tables in named_places
        ]
        ends = min(int(one.min()) for one in functions), max(int(one.max()) for one in functions)
        steps, index = with_lines(program.steps, region, found, names, ends)
        return _with_places(program, steps, index, made)
    return program


def _results(program: NeuronProgram) -> dict[str, int]:
    return program.registers | program.messages


def _free(program: NeuronProgram, letter: str) -> list[str]:
    """Return names of places that no binding has, more than anything needs."""
    (first, *_) = program.bindings
    used = first.constants.keys() | first.tables.keys()
    return [name for at in range(len(used) + 8) if (name := f"{letter}{at}") not in used]


def _with_places(
    program: NeuronProgram,
    steps: tuple[Step, ...],
    index: dict[int, int],
    made: Sequence[tuple[dict[str, int], dict[str, tuple[int, ...]]]],
) -> NeuronProgram:
    """Return a program with other steps, whose bindings have other constants and tables as well.

    Args:
        program: as it was.
        steps: of the new one.
        index: old index -> new index.
        made: constants and tables of each binding.
    """
    read = {step.immediate for step in steps if step.operation in ("constant", "lookup")}
    bindings = tuple(
        replace(
            binding,
            constants={k: v for k, v in (binding.constants | constants).items() if k in read},
            tables={k: v for k, v in (binding.tables | tables).items() if k in read},
        )
        for binding, (constants, tables) in zip(program.bindings, made, strict=True)
    )
    results = {name: index[at] for name, at in _results(program).items()}
    return named(program.kind, steps, results, bindings)


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
