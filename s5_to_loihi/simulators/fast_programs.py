"""The kernels of neurons: what was traced of their one definition, as loops.

Two groups whose programs do the same operations in the same widths have the same kernel, whatever
their sizes, formats and constants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.tracing import Program, Step
from s5_to_loihi.simulators.lanes import LaneKernel
from s5_to_loihi.simulators.loops import BLOCK, Argument, Kernel, Loops, Value

#: Entries of a table that is written as a chain of selections; a longer one is looked up.
LONGEST_CHAIN = 16
#: Constants that are written into kernels: what is done with them costs less than with others.
_WRITTEN = (0, 1)
#: What a way of calling wants of the context.
_OF_CONTEXT: dict[str, tuple[str, ...]] = {"token": (), "column": ("now",), "block": ("count",)}
#: Arrays of which a block holds a row for each neuron, and their integers: of lanes alone some
#: messages are narrow.
IN_ROWS = {"accumulators": "i32", "messages": "i32", "narrow": "i16"}


@dataclass(frozen=True)
class Places:
    """Where a group's kernel finds what it loads and puts what it stores.

    Attributes:
        loads: step -> name of an argument; two steps of the same memory have the same.
        stores: result -> the same.
        arrays: argument -> the array it is in: ``accumulators``, ``messages``, ``state``, or
            ``address`` for constants of neurons; of lanes ``narrow``, too.
    """

    loads: dict[int, str]
    stores: dict[str, str]
    arrays: dict[str, str]


K = TypeVar("K", Kernel, LaneKernel)


@dataclass(frozen=True)
class Neurons(Generic[K]):
    """A kernel and what it is to be called with.

    Attributes:
        kernel: its arguments are the size of the group, the places' in their order, and these:
        constants: integers,
        tables: and the entries of tables, of which it wants the addresses.
    """

    kernel: K
    constants: tuple[int, ...]
    tables: tuple[Table, ...]


def neurons(program: Program, places: Places, state: tuple[str, ...], way: str) -> Neurons[Kernel]:
    """Return a group's kernel.

    Args:
        program: of the group.
        places: what it loads and stores.
        state: names of its registers.
        way: ``token``; ``column``, one token of a block; or ``block``.
    """
    return _Writer(program, places, way).written(state)


@dataclass(frozen=True)
class _Part:
    """Steps that a loop computes, and those whose values it uses."""

    own: set[int]
    used: set[int]


Operands: TypeAlias = dict[int, Value]


class StepWriter:
    """The steps of a program, and the constants and tables that they want."""

    loops: Loops
    #: See ``LONGEST_CHAIN``.
    longest_chain = LONGEST_CHAIN

    def __init__(self, program: Program, places: Places):
        self.program, self.places = program, places
        self.needed = sorted(program.needed(places.stores))
        #: Step, or entry of a step's table -> name of the argument that holds it.
        self.constants: dict[int | tuple[int, int], str] = {}
        self.tables: dict[int, str] = {}
        self.given = self._given()

    def given_arguments(self) -> list[Argument]:
        """Return the arguments that name the constants and tables."""
        integers = [Argument(name, "integer") for name in self.constants.values()]
        return integers + [Argument(name, "address") for name in self.tables.values()]

    def _given(self) -> tuple[tuple[int, ...], tuple[Table, ...]]:
        """Name the constants and tables; return them."""
        integers: list[int] = []
        tables: list[Table] = []

        def named(key: int | tuple[int, int], integer: int) -> None:
            self.constants[key] = f"constant{len(integers)}"
            integers.append(integer)

        for index in self.needed:
            step = self.program.steps[index]
            if step.operation == "constant" and step.lowest not in _WRITTEN:
                named(index, step.lowest)
            if step.operation == "lookup" and len(step.table) > self.longest_chain:
                self.tables[index] = f"table{len(tables)}"
                tables.append(step.table)
            elif step.operation == "lookup":
                for number, entry in enumerate(step.table):
                    named((index, number), entry)
        return tuple(integers), tuple(tables)

    def result(self, name: str, known: Operands) -> Value:
        """Return one of the program's results."""
        return self._operand(self.program.results[name], known).to("i32")

    def write_steps(self, chosen: set[int], known: Operands) -> None:
        """Compute some steps, all operands of which are known or among them."""
        for index in self.needed:
            if index in chosen and index not in known:
                if self.program.steps[index].operation != "constant":
                    known[index] = self._computed(index, known)

    def _operand(self, index: int, known: Operands) -> Value:
        step = self.program.steps[index]
        if step.operation != "constant":
            return known[index]
        if index in self.constants:
            return self.loops[self.constants[index]].to(_kind(step))
        return self.loops.constant(step.lowest, _kind(step))

    def _computed(self, index: int, known: Operands) -> Value:
        """Compute one step, in 32 bits if everything about it fits them.

        What is computed in more and fits 32 is cut to these at once: the next step, if it is
        narrow, then works on more tokens at a time.
        """
        step, loops = self.program.steps[index], self.loops
        operands = [self._operand(one, known) for one in step.operands]
        narrow = step.narrow and all(one.kind == "i32" for one in operands)
        if step.operation in ("<<", ">>"):  # LLVM shifts by less than the width only
            narrow &= self.program.steps[step.operands[1]].highest < 32
        width = "i32" if narrow else "i64"
        if step.operation == "lookup":
            return self._looked_up(index, operands[0])
        left, *rest = (one.to(width) for one in operands)
        if step.operation in _INFIX:
            value = _INFIX[step.operation](left, rest[0])
        elif step.operation in _COMPARED:
            value = left.compared(_COMPARED[step.operation], rest[0]).to("i32")
        elif step.operation == "select":
            value = loops.choose(left.compared("ne", 0), *rest)
        elif step.operation == "abs":
            value = loops.called(f"abs.{width}", width, left, "i1 false")
        else:  # min, max
            value = loops.called(f"s{step.operation}.{width}", width, left, *rest)
        return value.to(_kind(step))

    def _looked_up(self, index: int, entry: Value) -> Value:
        loops = self.loops
        if index in self.tables:
            return loops.load(loops[self.tables[index]], entry.to("i64"))
        table = self.program.steps[index].table
        values = [loops[self.constants[index, n]].to("i32") for n in range(len(table))]
        found = values[-1]
        for number in range(len(table) - 2, -1, -1):
            found = loops.choose(entry.compared("sle", number), values[number], found)
        return found

    def store_messages(self, rows: dict[str, Value], place: Value, known: Operands) -> None:
        """Put the messages into their rows."""
        for result in self._message_stores():
            name = self.places.stores[result]
            value = self.result(result, known).to(IN_ROWS[self.places.arrays[name]])
            self.loops.store(value, rows[name], place)

    def _message_stores(self) -> list[str]:
        arrays = self.places.arrays
        return [name for name, one in self.places.stores.items() if arrays[one] in IN_ROWS]

    def of_rows(self, rows: dict[str, Value], place: Value, used: Collection[int]) -> Operands:
        """Return what some steps find in rows."""
        arrays = self.places.arrays
        return {
            step: self.loops.load(rows[name], place, IN_ROWS[arrays[name]]).to("i32")
            for step, name in self.places.loads.items()
            if name in rows and step in used
        }


class _Writer(StepWriter):
    def __init__(self, program: Program, places: Places, way: str):
        super().__init__(program, places)
        self.way = way
        arguments = [Argument("size", "integer")]
        arguments += [Argument(name, array) for name, array in places.arrays.items()]
        arguments += self.given_arguments()
        arguments += [Argument(name, name) for name in _OF_CONTEXT[way]]
        self.loops = Loops(arguments)

    def written(self, state: tuple[str, ...]) -> Neurons[Kernel]:
        if self.way != "block":
            self._of_a_token()
        elif state:
            self._recurrent(state)
        else:
            self._independent()
        return Neurons(self.loops.finished(), *self.given)

    # --- loops

    def _of_a_token(self) -> None:
        """Write a loop over neurons."""
        loops, arrays = self.loops, self.places.arrays
        with loops.loop(0, loops["size"]) as index:
            in_row = index * BLOCK + loops["now"] if self.way == "column" else index

            def place(name: str) -> Value:
                return in_row if arrays[name] in IN_ROWS else index

            known = {
                step: loops.load(loops[name], place(name))
                for step, name in self.places.loads.items()
            }
            self.write_steps(set(self.needed), known)
            for result, name in self.places.stores.items():
                loops.store(self.result(result, known), loops[name], place(name))

    def _independent(self) -> None:
        """Write two loops, over neurons and over the tokens of a block."""
        loops = self.loops
        with loops.loop(0, loops["size"]) as neuron:
            rows, known = self._of_a_neuron(neuron)
            with loops.loop(0, BLOCK) as token:
                known |= self.of_rows(rows, token, set(self.needed))
                self.write_steps(set(self.needed), known)
                self.store_messages(rows, token, known)

    def _recurrent(self, state: tuple[str, ...]) -> None:
        """Write three inner loops: before the recurrence, itself, and after it.

        Only the second takes tokens in order; the first and the last become vector code. Values
        that one needs of another wait in rows of their own.
        """
        loops, steps, stores = self.loops, self.program.steps, self.places.stores
        parts = self._parts(state)
        waiting = {
            index: loops.row(_kind(steps[index]))
            for index in self.needed
            if any(index in part.used - part.own for part in parts)
            and steps[index].operation not in ("constant", "parameter", "accumulator")
        }
        with loops.loop(0, loops["size"]) as neuron:
            rows, common = self._of_a_neuron(neuron)
            registers = {
                name: loops.variable(loops.load(loops[stores[name]], neuron)) for name in state
            }
            for number, part in enumerate(parts):
                if not part.own and not part.used:
                    continue
                # The first reads what is there behind the last token too: whole vectors.
                with loops.loop(0, loops["count"] if number else BLOCK) as token:
                    known = common | self.of_rows(rows, token, part.own | part.used)
                    known |= {
                        index: loops.load(waiting[index], token, _kind(steps[index]))
                        for index in sorted(part.used - part.own)
                        if index in waiting
                    }
                    known |= {
                        index: loops.get(registers[steps[index].name], "i32")
                        for index in sorted(part.own)
                        if steps[index].operation == "register"
                    }
                    self.write_steps(part.own, known)
                    for index, row in waiting.items():
                        if index in part.own:
                            loops.store(known[index], row, token)
                    if number == 1:
                        for name, variable in registers.items():
                            loops.put(self.result(name, known), variable)
                    if number == 2:
                        self.store_messages(rows, token, known)
            for name, variable in registers.items():
                loops.store(loops.get(variable, "i32"), loops[stores[name]], neuron)

    def _parts(self, state: tuple[str, ...]) -> tuple[_Part, ...]:
        """Return what comes before the recurrence, itself, and what comes after it."""
        program = self.program
        late = program.depending_on_registers()
        registers = {index for index in self.needed if program.steps[index].operation == "register"}
        core = (program.needed(state) & late) | registers
        wanted: tuple[Iterable[str], ...] = ((), state, self._message_stores())
        parts = []
        for steps, names in zip((set(self.needed) - late, core, late - core), wanted, strict=True):
            own = steps.intersection(self.needed)
            operands = {one for index in own for one in program.steps[index].operands}
            parts.append(_Part(own, operands | {program.results[name] for name in names}))
        return tuple(parts)

    def _of_a_neuron(self, neuron: Value) -> tuple[dict[str, Value], Operands]:
        """Return where a neuron's rows begin, and what is loaded once for all of its tokens."""
        loops, arrays = self.loops, self.places.arrays
        rows = {
            name: loops.at(loops[name], neuron * BLOCK)
            for name, array in arrays.items()
            if array in IN_ROWS
        }
        known = {
            step: loops.load(loops[name], neuron)
            for step, name in self.places.loads.items()
            if arrays[name] == "address"
        }
        return rows, known


def _kind(step: Step) -> str:
    return "i32" if step.narrow else "i64"


_INFIX = {
    "+": Value.__add__, "-": Value.__sub__, "*": Value.__mul__, "<<": Value.__lshift__,
    ">>": Value.__rshift__, "&": Value.__and__, "|": Value.__or__,
}  # fmt: skip
_COMPARED = {">": "sgt", "==": "eq"}
