"""Tracing a neuron's arithmetic: its one definition, executed on symbols, becomes a list of steps.

``trace`` calls a kind's ``update`` with symbols in place of integers and writes down what happens
to them: a straight line of operations without branches, since formats and shift amounts are plain
integers that are known by then. Each step carries the interval that its result lies in, so whoever
turns the list into something else (kernels, listings, C) knows the width that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias, cast

import numpy as np

from s5_to_loihi.fixed_point import Integers, limits, needed_bits
from s5_to_loihi.network.network import NeuronGroup
from s5_to_loihi.network.neurons.constants import (
    Constants,
    Field,
    Table,
    array_constants,
    declared_fields,
)
from s5_to_loihi.network.neurons.kind import Values

#: What gives a step its value from outside: an accumulator, a register, a per-neuron constant.
SOURCES = ("accumulator", "register", "parameter")


#: The lowest and the highest integer.
Interval: TypeAlias = tuple[int, int]
Immediate: TypeAlias = str | int | Table | None


@dataclass(frozen=True)
class Step:
    """One operation on earlier steps.

    Attributes:
        operation: one of ``SOURCES``, ``constant``, ``lookup``, or an arithmetic operation:
            ``+ - * << >> & | > == min max abs select``.
        operands: indices of earlier steps, in order.
        immediate: the name of a source, the value of a constant, or the table of a lookup.
        lowest, highest: the interval that the result lies in, for every input.
    """

    operation: str
    operands: tuple[int, ...]
    immediate: Immediate
    lowest: int
    highest: int

    @property
    def name(self) -> str:
        """The name of a source, or of the place that a constant or a table has in a program."""
        assert isinstance(self.immediate, str)
        return self.immediate

    @property
    def table(self) -> Table:
        """The entries that a lookup reads."""
        assert isinstance(self.immediate, tuple)
        return self.immediate

    @property
    def narrow(self) -> bool:
        """Whether the result fits 32 bits."""
        return self.bits <= 32

    @property
    def bits(self) -> int:
        """The bits, sign included, that the result needs."""
        return needed_bits(self.lowest, self.highest)


@dataclass(frozen=True)
class Program:
    """The arithmetic of a neuron as a list.

    Attributes:
        steps: in order of execution.
        results: name of a register (its next value), message or probe -> index of a step.
    """

    steps: tuple[Step, ...]
    results: dict[str, int]

    def needed(self, names: Iterable[str]) -> set[int]:
        """Return the steps that some results depend on."""
        found: set[int] = set()
        waiting = [self.results[name] for name in names]
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting.extend(self.steps[index].operands)
        return found

    def depending_on_registers(self) -> set[int]:
        """Return the steps that cannot be computed before the token before is done."""
        found: set[int] = set()
        for index, step in enumerate(self.steps):
            if step.operation == "register" or found.intersection(step.operands):
                found.add(index)
        return found


def trace(group: NeuronGroup, ports: Mapping[str, Interval]) -> Program:
    """Return the program of a group's neurons, for its formats and the ranges of its inputs.

    Args:
        group: any.
        ports: the interval that each accumulator lies in (see ``ranges.port_intervals``).
            Registers lie within their format, per-neuron constants within the values they have.
    """
    tracer, kind = _Tracer(), group.kind
    accumulators = tuple(tracer.source("accumulator", name, ports[name]) for name in kind.ports)
    registers = _registers(tracer, group)
    constants = _symbolic(tracer, "", group.constants, _of_values)
    # Symbols compute as arrays do.
    computed = kind.update(cast(Values, accumulators), cast(Values, registers), constants)
    values = cast(tuple[Operand, ...], sum(computed, ()))
    named = zip(kind.values, values, strict=True)
    results = {name: tracer.symbol(value).index for name, value in named}
    return Program(tuple(tracer.steps), results)


def trace_advance(group: NeuronGroup, count: int) -> Program:
    """Return the program of a group's recurrence alone, whatever the values of its constants.

    Args:
        group: of a kind with a recurrence.
        count: of the values that its ``drive`` returns: sources ``input0`` and so on, of at most
            32 bits each.
    """
    tracer, kind = _Tracer(), group.kind
    assert kind.recurrence is not None
    given = [tracer.source("accumulator", f"input{n}", limits(32)) for n in range(count)]
    registers = _registers(tracer, group)
    constants = _symbolic(tracer, "", group.constants, _of_format)
    # Symbols compute as arrays do.
    inputs, state = cast(Values, tuple(given)), cast(Values, registers)
    computed = cast(tuple[Operand, ...], kind.recurrence.advance(inputs, state, constants))
    results = zip(kind.state, computed, strict=False)
    return Program(tuple(tracer.steps), {name: tracer.symbol(one).index for name, one in results})


def parameters(group: NeuronGroup) -> dict[str, Integers]:
    """Return the per-neuron constants under the names that ``trace`` gives them."""
    return {name: value for name, value, _ in array_constants(group.constants)}


def _registers(tracer: _Tracer, group: NeuronGroup) -> tuple[Symbol, ...]:
    """Return symbols for a group's registers, which lie within their formats."""
    formats = [(name, group.formats[name]) for name in group.kind.state]
    return tuple(tracer.source("register", name, limits(one.bits)) for name, one in formats)


def _of_values(constants: Constants, field: Field) -> Interval:
    value = getattr(constants, field.name)
    return int(value.min()), int(value.max())


def _of_format(constants: Constants, field: Field) -> Interval:
    if field.allowed is not None:
        return field.allowed.lowest, field.allowed.highest
    held = attrgetter(field.format)(constants) if isinstance(field.format, str) else field.format
    assert held is not None
    return limits(held.bits)


def _symbolic(
    tracer: _Tracer,
    prefix: str,
    constants: Constants,
    interval: Callable[[Constants, Field], Interval],
) -> Constants:
    """Return constants with symbols in place of the per-neuron arrays, which lie in intervals."""
    values: list[Any] = []
    for field in declared_fields(type(constants)):
        name, value = f"{prefix}{field.name}", getattr(constants, field.name)
        if field.is_array:
            value = tracer.source("parameter", name, interval(constants, field))
        elif field.is_nested:
            value = _symbolic(tracer, f"{name}.", value, interval)
        values.append(value)
    return type(constants)(*values)


class _Tracer:
    """Collects steps; equal steps are written down once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[tuple[Any, ...], int] = {}

    def source(self, operation: str, name: str, interval: Interval) -> Symbol:
        return self._add(operation, (), name, interval)

    def symbol(self, value: Operand) -> Symbol:
        if isinstance(value, Symbol):
            return value
        return self._add("constant", (), None, (int(value), int(value)))

    def apply(self, operation: str, *values: Operand, immediate: Table | None = None) -> Symbol:
        operands = tuple(self.symbol(value) for value in values)
        intervals = [operand.interval for operand in operands]
        interval = _INTERVALS[operation](*intervals, immediate)
        if interval[0] != interval[1] and operation in _CAN_DO_NOTHING:
            for operand in operands:
                if _does_nothing(operation, operand, operands):
                    return operand
        return self._add(operation, tuple(one.index for one in operands), immediate, interval)

    def _add(
        self, operation: str, operands: tuple[int, ...], immediate: Immediate, interval: Interval
    ) -> Symbol:
        if interval[0] == interval[1]:  # whatever computes it
            operation, operands, immediate = "constant", (), interval[0]
        key = (operation, operands, immediate)
        if key not in self._known:
            self._known[key] = len(self.steps)
            self.steps.append(Step(operation, operands, immediate, *interval))
        return Symbol(self, self._known[key])


def _binary(operation: str, swapped: bool = False) -> Callable[[Symbol, Operand], Symbol]:
    def method(self: Symbol, other: Operand) -> Symbol:
        operands = (other, self) if swapped else (self, other)
        return self._tracer.apply(operation, *operands)

    return method


class Symbol:
    """Stands for an integer while a neuron's arithmetic is traced."""

    def __init__(self, tracer: _Tracer, index: int):
        self._tracer = tracer
        self.index = index

    @property
    def interval(self) -> Interval:
        """The interval that the integer lies in."""
        step = self._tracer.steps[self.index]
        return step.lowest, step.highest

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Operand, **keywords: Any
    ) -> object:
        if method != "__call__" or keywords or ufunc not in _UFUNCS:
            return NotImplemented
        return self._tracer.apply(_UFUNCS[ufunc], *inputs)

    def __array_function__(
        self, function: object, types: object, arguments: tuple[Operand, ...], keywords: object
    ) -> object:
        if function is not np.where or keywords:
            return NotImplemented
        return self._tracer.apply("select", *arguments)

    def look_up(self, table: Iterable[int]) -> Symbol:
        """Stand for a table's entry; called by ``fixed_point.look_up``."""
        return self._tracer.apply("lookup", self, immediate=tuple(int(entry) for entry in table))

    def __neg__(self) -> Symbol:
        return self._tracer.apply("-", 0, self)

    __add__, __radd__ = _binary("+"), _binary("+", swapped=True)
    __sub__, __rsub__ = _binary("-"), _binary("-", swapped=True)
    __mul__, __rmul__ = _binary("*"), _binary("*", swapped=True)
    __lshift__, __rlshift__ = _binary("<<"), _binary("<<", swapped=True)
    __rshift__, __rrshift__ = _binary(">>"), _binary(">>", swapped=True)
    __and__, __rand__ = _binary("&"), _binary("&", swapped=True)
    __or__, __ror__ = _binary("|"), _binary("|", swapped=True)
    __gt__, __lt__ = _binary(">"), _binary(">", swapped=True)
    # As of arrays: an operation.
    __eq__ = _binary("==")  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


#: What an operation takes.
Operand: TypeAlias = Symbol | int

_UFUNCS = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.left_shift: "<<", np.right_shift: ">>",
    np.bitwise_and: "&", np.bitwise_or: "|", np.minimum: "min", np.maximum: "max",
    np.absolute: "abs", np.greater: ">", np.equal: "==",
}  # fmt: skip


_CAN_DO_NOTHING = ("+", "-", "<<", ">>", "min", "max", "abs")


def _does_nothing(operation: str, operand: Symbol, operands: tuple[Symbol, ...]) -> bool:
    """Tell whether an operation returns ``operand`` for every input: a shift by 0, say."""
    if operation == "abs":
        return operand.interval[0] >= 0
    left, right = operands
    if operation == "min":
        other = right if operand is left else left
        return operand.interval[1] <= other.interval[0]
    if operation == "max":
        other = right if operand is left else left
        return operand.interval[0] >= other.interval[1]
    return operand is left and right.interval == (0, 0)


# --- intervals: of the operands and the immediate to that of the result --------------------------

_Rule: TypeAlias = Callable[..., Interval]


def _corners(function: Callable[[int, int], int]) -> _Rule:
    def interval(left: Interval, right: Interval, _: object) -> Interval:
        corners = [function(a, b) for a in left for b in right]
        return min(corners), max(corners)

    return interval


def _absolute(operand: Interval, _: object) -> Interval:
    low, high = operand
    return (max(low, -high, 0), max(-low, high))


_TRUTH = (0, 1)


def _is_truth(interval: Interval) -> bool:
    return interval[0] >= 0 and interval[1] <= 1


def _masked(left: Interval, right: Interval, _: object) -> Interval:
    """Of two truth values, or of anything and a mask that is not negative."""
    if _is_truth(left) and _is_truth(right):
        return _TRUTH
    masks = [side[1] for side in (left, right) if side[0] >= 0]
    if not masks:
        raise TypeError("a mask that may be negative has no simple interval")
    return 0, min(masks)


def _either(left: Interval, right: Interval, _: object) -> Interval:
    if not (_is_truth(left) and _is_truth(right)):
        raise TypeError("'|' is traced for truth values only")
    return _TRUTH


def _compared(possible_results: Callable[[Interval, Interval], set[int]]) -> _Rule:
    def interval(left: Interval, right: Interval, _: object) -> Interval:
        possible = possible_results(left, right)
        return min(possible), max(possible)

    return interval


def _greater(left: Interval, right: Interval) -> set[int]:
    return {int(left[0] > right[1]), int(left[1] > right[0])}


def _equal(left: Interval, right: Interval) -> set[int]:
    apart = left[1] < right[0] or right[1] < left[0]
    same = left == right and left[0] == left[1]
    return {int(same), int(not apart)}


_INTERVALS: dict[str, _Rule] = {
    "+": lambda left, right, _: (left[0] + right[0], left[1] + right[1]),
    "-": lambda left, right, _: (left[0] - right[1], left[1] - right[0]),
    "*": _corners(lambda a, b: a * b),
    "<<": _corners(lambda a, b: a << b),
    ">>": _corners(lambda a, b: a >> b),
    "&": _masked,
    "|": _either,
    ">": _compared(_greater),
    "==": _compared(_equal),
    "min": lambda left, right, _: (min(left[0], right[0]), min(left[1], right[1])),
    "max": lambda left, right, _: (max(left[0], right[0]), max(left[1], right[1])),
    "abs": _absolute,
    "select": lambda condition, left, right, _: (
        min(left[0], right[0]),
        max(left[1], right[1]),
    ),
    "lookup": lambda operand, table: (min(table), max(table)),
}
