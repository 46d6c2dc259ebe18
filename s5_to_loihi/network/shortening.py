"""Shortens neuron programs: fewer instructions, and the same integers for every input.

What a program does is written down anew, step by step, with what is known of each neuron: the
interval of each value, and the values of its constants. By that

* arithmetic on constants is done once, here, and not by every neuron in every timestep;
* a saturation falls away where no neuron can reach it, or where a later one hides it;
* saturations in a row become one, and so do shifts;
* a product and the shift after it are one instruction, as in Loihi 2's public list (MUL_SHR).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from s5_to_loihi.fixed_point import Integers, needed_bits
from s5_to_loihi.network.tracing import SOURCES, Immediate, Step
from s5_to_loihi.network.widths import NARROW_BITS

#: The lowest and the highest integer of each neuron, (n,) int64 both.
Bounds: TypeAlias = tuple[Integers, Integers]
#: A product, and a shift right of it by the third operand.
MULTIPLY_SHIFT = "mulshr"


@dataclass(frozen=True, eq=False)
class Node:
    """A step of a program that is being written.

    Attributes:
        operation, operands, immediate: as of a ``Step``; a constant's immediate is not used.
        lowest, highest: (n,) int64, the interval of each neuron's result.
        known: (n,) the result, where it hangs on constants only.
    """

    operation: str
    operands: tuple[int, ...]
    immediate: Immediate
    lowest: Integers
    highest: Integers
    known: Integers | None = None

    @property
    def bits(self) -> int:
        """Bits, sign included, that the result of any neuron needs."""
        return needed_bits(int(self.lowest.min()), int(self.highest.max()))


@dataclass
class Writer:
    """Writes nodes; equal ones once, and shorter ones for longer ones.

    Attributes:
        size: neurons that the program is for.
        reaching: whether an operation may be written anew behind an earlier saturation. That saves
            the saturation, unless its result is needed elsewhere: then it costs an operation.
        nodes: what has been written.
    """

    size: int
    reaching: bool = True
    nodes: list[Node] = field(default_factory=list)
    _written: dict[tuple[object, ...], int] = field(default_factory=dict)

    def source(self, operation: str, name: str, bounds: Bounds) -> int:
        """Write an accumulator or a register and return its index."""
        return self._write(operation, (), name, bounds)

    def constant(self, values: Integers, name: str | None = None) -> int:
        """Write a constant of each neuron, (n,) int64; with a name it is a parameter's."""
        key = ("constant", name, values.tobytes())
        if key not in self._written:
            # Any constant of these values will do for one without a name.
            self._written.setdefault(("constant", None, values.tobytes()), len(self.nodes))
            self._written[key] = len(self.nodes)
            self.nodes.append(Node("constant", (), name, values, values, values))
        return self._written[key]

    def lookup(self, index: int, name: str, lowest: Integers, highest: Integers) -> int:
        """Write the lookup in a table, called ``name``, whose entries lie in an interval."""
        return self._write("lookup", (index,), name, (lowest, highest))

    def write(self, operation: str, *operands: int) -> int:
        """Write an operation, or what is as good; return the index of the result."""
        nodes = [self.nodes[operand] for operand in operands]
        values = [node.known for node in nodes if node.known is not None]
        if len(values) == len(nodes) and _can_be_held(held := APPLIED[operation](*values)):
            return self.constant(held)
        if operation in _COMMUTATIVE and nodes[0].known is not None and nodes[1].known is None:
            return self.write(operation, operands[1], operands[0])
        if len(nodes) == 2 and nodes[1].known is not None:
            rule = _RULES.get(operation)
            if rule is not None and (better := rule(self, operands[0], nodes[1].known)) is not None:
                return better
        if operation == "abs" and nodes[0].lowest.min() >= 0:
            return operands[0]
        bounds = _BOUNDS[operation](*((node.lowest, node.highest) for node in nodes))
        return self._write(operation, operands, None, bounds)

    def _write(
        self, operation: str, operands: tuple[int, ...], immediate: Immediate, bounds: Bounds
    ) -> int:
        key = (operation, operands, immediate)
        if key not in self._written:
            lowest, highest = (np.broadcast_to(bound, self.size) for bound in bounds)
            same = (lowest == highest).all() and operation not in SOURCES
            if same and _can_be_held(lowest):
                return self.constant(np.array(lowest))
            self._written[key] = len(self.nodes)
            self.nodes.append(Node(operation, operands, immediate, lowest, highest))
        return self._written[key]

    def known(self, index: int) -> Integers | None:
        """Return the values of a constant, or None."""
        return self.nodes[index].known

    def chain(self, index: int) -> tuple[str, int, Integers] | None:
        """Return operation, first operand and constant of a step with a constant; else None."""
        node = self.nodes[index]
        if len(node.operands) != 2 or (constant := self.known(node.operands[1])) is None:
            return None
        return node.operation, node.operands[0], constant


def _can_be_held(values: Integers) -> bool:
    """Tell whether each neuron can hold a constant; what all share is part of an instruction."""
    lowest, highest = int(values.min()), int(values.max())
    return lowest == highest or needed_bits(lowest, highest) <= NARROW_BITS


# --- rules: of a value and a constant; None where a rule has nothing to say -----------------------


def _add(writer: Writer, value: int, constant: Integers) -> int | None:
    return value if not constant.any() else None


def _subtract(writer: Writer, value: int, constant: Integers) -> int | None:
    if (constant != constant[0]).any():
        return None  # a neuron's own constant keeps its name
    return writer.write("+", value, writer.constant(-constant))


def _multiply(writer: Writer, value: int, constant: Integers) -> int | None:
    return value if (constant == 1).all() else None


def _shift_left(writer: Writer, value: int, constant: Integers) -> int | None:
    if not constant.any():
        return value
    match writer.chain(value):
        case "<<", inner, before:
            return writer.write("<<", inner, writer.constant(before + constant))
    return None


def _shift_right(writer: Writer, value: int, constant: Integers) -> int | None:
    if not constant.any():
        return value
    match writer.chain(value):
        case ">>", inner, before:
            return writer.write(">>", inner, writer.constant(before + constant))
        case "<<", inner, before if (before >= constant).all():
            return writer.write("<<", inner, writer.constant(before - constant))
        case "<<", inner, before if (before <= constant).all():
            return writer.write(">>", inner, writer.constant(constant - before))
        case ("min" | "max") as limiting, inner, limit if (
            writer.reaching and _below_limits(writer, inner) == ">>"
        ):
            kept = writer.write(">>", inner, writer.constant(constant))
            return writer.write(limiting, kept, writer.constant(limit >> constant))
    return None


def _below_limits(writer: Writer, value: int) -> str | None:
    """Return the operation, with a constant, that saturations in a row are applied to."""
    link = writer.chain(value)
    while link and link[0] in ("min", "max"):
        link = writer.chain(link[1])
    return link[0] if link else None


def _at_most(writer: Writer, value: int, limit: Integers) -> int | None:
    node = writer.nodes[value]
    if (node.highest <= limit).all():
        return value
    if node.operation == "abs":
        inner = _unclipped(writer, node.operands[0], -limit, limit)
        if inner != node.operands[0]:
            return writer.write("min", writer.write("abs", inner), writer.constant(limit))
    match writer.chain(value):
        case "min", inner, before:
            return writer.write("min", inner, writer.constant(np.minimum(before, limit)))
    return _without_hidden_saturation(writer, "min", value, limit)


def _at_least(writer: Writer, value: int, limit: Integers) -> int | None:
    node = writer.nodes[value]
    if (node.lowest >= limit).all():
        return value
    match writer.chain(value):
        case "max", inner, before:
            return writer.write("max", inner, writer.constant(np.maximum(before, limit)))
        case "min", inner, upper if writer.reaching and (limit <= upper).all():
            kept = writer.write("max", inner, writer.constant(limit))
            return writer.write("min", kept, writer.constant(upper))
    return _without_hidden_saturation(writer, "max", value, limit)


def _greater(writer: Writer, value: int, constant: Integers) -> int | None:
    inner = _unclipped(writer, value, constant, constant + 1)
    return writer.write(">", inner, writer.constant(constant)) if inner != value else None


def _unclipped(writer: Writer, value: int, lowest: Integers, highest: Integers) -> int:
    """Return what saturations outside an interval were applied to, if that is narrow."""
    inner = value
    while writer.reaching and (link := writer.chain(inner)):
        name, below, limit = link
        outside = (name == "min" and (limit >= highest).all()) or (
            name == "max" and (limit <= lowest).all()
        )
        if not outside:
            break
        inner = below
    return inner if writer.nodes[inner].bits <= NARROW_BITS else value


def _without_hidden_saturation(
    writer: Writer, operation: str, value: int, limit: Integers
) -> int | None:
    """Leave out an earlier saturation whose every effect the one to ``limit`` has as well.

    Between both are operations that keep the order of integers: what the earlier one clips comes
    out beyond the limit then, clipped or not. Nothing may become wider than ``NARROW_BITS``.
    """
    between: list[tuple[str, Integers]] = []
    at = value
    if not writer.reaching:
        return None
    while (link := writer.chain(at)) and link[0] in ("+", "<<", ">>", "min", "max"):
        name, at, constant = link
        if name == operation:
            clipped = constant
            for step, other in reversed(between):
                clipped = APPLIED[step](clipped, other)
            hidden = clipped >= limit if operation == "min" else clipped <= limit
            if hidden.all() and _stays_narrow(writer.nodes[at], between):
                for step, other in reversed(between):
                    at = writer.write(step, at, writer.constant(other))
                return writer.write(operation, at, writer.constant(limit))
        between.append((name, constant))
    return None


def _stays_narrow(node: Node, between: Sequence[tuple[str, Integers]]) -> bool:
    lowest, highest = node.lowest, node.highest
    widest = node.bits
    for step, other in reversed(between):
        lowest, highest = APPLIED[step](lowest, other), APPLIED[step](highest, other)
        widest = max(widest, needed_bits(int(lowest.min()), int(highest.max())))
    return widest <= NARROW_BITS


_COMMUTATIVE = ("+", "*", "min", "max", "&", "|", "==")
_RULES: dict[str, Callable[[Writer, int, Integers], int | None]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "<<": _shift_left,
    ">>": _shift_right,
    "min": _at_most,
    "max": _at_least,
    ">": _greater,
}
#: Every operation on arrays but the lookup, which needs its table.
APPLIED: dict[str, Callable[..., Integers]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "<<": np.left_shift,
    ">>": np.right_shift,
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    ">": lambda left, right: np.greater(left, right).astype(np.int64),
    "==": lambda left, right: np.equal(left, right).astype(np.int64),
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.absolute,
    "select": np.where,
    MULTIPLY_SHIFT: lambda left, right, shift: (left * right) >> shift,
}


# --- intervals, neuron by neuron ------------------------------------------------------------------


def _corners(operation: str) -> Callable[[Bounds, Bounds], Bounds]:
    def bounds(left: Bounds, right: Bounds) -> Bounds:
        corners = [APPLIED[operation](a, b) for a in left for b in right]
        return np.minimum.reduce(corners), np.maximum.reduce(corners)

    return bounds


def _absolute(operand: Bounds) -> Bounds:
    low, high = operand
    return np.maximum(np.maximum(low, -high), 0), np.maximum(-low, high)


def _masked(left: Bounds, right: Bounds) -> Bounds:
    # As in tracing: of two truth values, or of anything and a mask that is not negative.
    masks = [high for low, high in (left, right) if low.min() >= 0]
    return np.zeros_like(masks[0]), np.minimum.reduce(masks)


def _selected(condition: Bounds, left: Bounds, right: Bounds) -> Bounds:
    return np.minimum(left[0], right[0]), np.maximum(left[1], right[1])


def _truth(left: Bounds, right: Bounds) -> Bounds:
    return np.zeros_like(left[0]), np.ones_like(left[0])


_BOUNDS: dict[str, Callable[..., Bounds]] = {
    "+": lambda left, right: (left[0] + right[0], left[1] + right[1]),
    "-": lambda left, right: (left[0] - right[1], left[1] - right[0]),
    "*": _corners("*"),
    "<<": _corners("<<"),
    ">>": _corners(">>"),
    "&": _masked,
    "|": _truth,
    ">": lambda left, right: (
        (left[0] > right[1]).astype(np.int64),
        (left[1] > right[0]).astype(np.int64),
    ),
    "==": _truth,
    "min": lambda left, right: (np.minimum(left[0], right[0]), np.minimum(left[1], right[1])),
    "max": lambda left, right: (np.maximum(left[0], right[0]), np.maximum(left[1], right[1])),
    "abs": _absolute,
    "select": _selected,
}


# --- from nodes back to steps ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Shortened:
    """A program as steps.

    Attributes:
        steps: the immediate of a ``constant`` is the name of its place, as of a lookup.
        index: node -> step, of those that were asked for.
        values: name of a place or of a parameter -> (n,) values.
    """

    steps: tuple[Step, ...]
    index: Mapping[int, int]
    values: Mapping[str, Integers]


def finished(writer: Writer, results: Iterable[int], sizes: Sequence[int]) -> Shortened:
    """Return the steps that results depend on, products joined with their shifts.

    Args:
        writer: what was written.
        results: indices of nodes.
        sizes: neurons of each group, in order; what all neurons of each group share is no
            parameter.
    """
    results = tuple(results)
    needed = _needed(writer, results)
    uses = Counter(operand for one in needed for operand in writer.nodes[one].operands)
    uses.update(results)
    joined = {
        node.operands[0]
        for node in (writer.nodes[one] for one in needed)
        if node.operation == ">>"
        and writer.nodes[node.operands[0]].operation == "*"
        and uses[node.operands[0]] == 1
    }
    steps: list[Step] = []
    index: dict[int, int] = {}
    values: dict[str, Integers] = {}
    counts: Counter[str] = Counter()
    for number in sorted(needed - joined):
        node = writer.nodes[number]
        operation, operands, immediate = node.operation, node.operands, node.immediate
        if node.known is not None:
            operation, immediate = _place(node.known, node.immediate, sizes, counts)
            values[immediate] = node.known
        elif operands and operands[0] in joined and operation == ">>":
            operation, operands = (
                MULTIPLY_SHIFT,
                (*writer.nodes[operands[0]].operands, operands[1]),
            )
        index[number] = len(steps)
        lowest, highest = int(node.lowest.min()), int(node.highest.max())
        mapped = tuple(index[operand] for operand in operands)
        steps.append(Step(operation, mapped, immediate, lowest, highest))
    return Shortened(tuple(steps), index, values)


def _needed(writer: Writer, results: Iterable[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(results)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting.extend(writer.nodes[number].operands)
    return found


def _place(
    values: Integers, name: Immediate, sizes: Sequence[int], counts: Counter[str]
) -> tuple[str, str]:
    """Return the operation that brings a constant, and the name of its place."""
    parts = np.split(values, np.cumsum(sizes)[:-1])
    if all((part == part[0]).all() for part in parts):
        operation, prefix = "constant", "c"
    elif isinstance(name, str):
        return "parameter", name
    else:
        operation, prefix = "parameter", "folded"
    counts[operation] += 1
    return operation, f"{prefix}{counts[operation] - 1}"
