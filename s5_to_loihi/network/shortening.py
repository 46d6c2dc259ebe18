"""Shortens neuron programs: fewer instructions, and the same integers for every input.

What a program does is written down anew, step by step, with what is known of each neuron: the
interval of each value, and the values of its constants. By that

* arithmetic on constants is done once, here, and not by every neuron in every timestep;
* a saturation falls away where no neuron can reach it, or where a later one hides it;
* saturations in a row become one, and so do shifts;
* a product and the shift after it are one instruction, as in Loihi 2's public list (MUL_SHR), and
  shifts that differ from neuron to neuron move into the factors where these stay narrow;
* what rounding adds, and offsets, are added up with biases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from s5_to_loihi.fixed_point import Integers, needed_bits
from s5_to_loihi.network.tracing import SOURCES, Immediate, Step
from s5_to_loihi.network.widths import NARROW_BITS, PRODUCT_BITS, STATE_BITS

#: The lowest and the highest integer of each neuron, (n,) int64 both.
Bounds: TypeAlias = tuple[Integers, Integers]
#: A product, and a shift right of it by the third operand.
MULTIPLY_SHIFT = "mulshr"
#: What the names of constants of each neuron begin with that were computed from others.
FOLDED = "folded"


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
        sizes: neurons of each group that the program is for; arrays hold one group's after the
            other's.
        reaching: whether an operation may be written anew behind an earlier saturation. That saves
            the saturation, unless its result is needed elsewhere: then it costs an operation.
        halving: whether the half of a rounding may move behind its shift, into a bias. That saves
            reading the half, unless it is needed elsewhere.
        nodes: what has been written.
    """

    sizes: Sequence[int]
    reaching: bool = True
    halving: bool = True
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
        if operation == MULTIPLY_SHIFT:  # parted, until all is written
            return self.write(">>", self.write("*", *operands[:2]), operands[2])
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
        if operation == "select":
            match self.chain(operands[0]):
                case "==", inner, constant if not constant.any():
                    return self.write("select", inner, operands[2], operands[1])
        bounds = _BOUNDS[operation](*((node.lowest, node.highest) for node in nodes))
        return self._write(operation, operands, None, bounds)

    def narrow(self, number: int, lowest: int, highest: int) -> None:
        """Note that a result is never outside of an interval, whatever is known of its operands."""
        node = self.nodes[number]
        if node.known is None:
            low, high = (np.clip(end, lowest, highest) for end in (node.lowest, node.highest))
            self.nodes[number] = replace(node, lowest=low, highest=high)

    def _write(
        self, operation: str, operands: tuple[int, ...], immediate: Immediate, bounds: Bounds
    ) -> int:
        key = (operation, operands, immediate)
        if key not in self._written:
            lowest, highest = (np.broadcast_to(bound, sum(self.sizes)) for bound in bounds)
            same = (lowest == highest).all() and operation not in SOURCES
            if same and _can_be_held(lowest):
                return self.constant(np.array(lowest))
            self._written[key] = len(self.nodes)
            self.nodes.append(Node(operation, operands, immediate, lowest, highest))
        return self._written[key]

    def shared(self, values: Integers) -> bool:
        """Tell whether all neurons of each group have one value: it is part of an instruction."""
        return all((part == part[0]).all() for part in self._of_groups(values))

    def largest(self, values: Integers) -> Integers:
        """Return the largest value of each group, (n,)."""
        return np.concatenate([np.full_like(p, p.max()) for p in self._of_groups(values)])

    def _of_groups(self, values: Integers) -> list[Integers]:
        return np.split(values, np.cumsum(self.sizes)[:-1])

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
    if not constant.any():
        return value
    if writer.nodes[value].operation == "select":
        return _into_select(writer, value, constant)
    match writer.chain(value):
        case "+", inner, before if _can_be_held(before + constant):
            return writer.write("+", inner, writer.constant(before + constant))
        case ">>", inner, shift:
            return _behind_shift(writer, inner, shift, constant)
    return None


def _into_select(writer: Writer, value: int, constant: Integers) -> int | None:
    """Write ``select(condition, a, before - a) + constant``: the rest may be in a's table."""
    condition, left, right = writer.nodes[value].operands
    node = writer.nodes[right]
    if node.operation != "-" or node.operands[1] != left:
        return None
    if (before := writer.known(node.operands[0])) is None or not _can_be_held(before + constant):
        return None
    moved = writer.write("+", left, writer.constant(constant))
    other = writer.write("-", writer.constant(before + 2 * constant), moved)
    return writer.write("select", condition, moved, other)


def _behind_shift(writer: Writer, value: int, shift: Integers, constant: Integers) -> int | None:
    """Write ``(value >> shift) + constant`` where value is a sum with a constant of its own."""
    match writer.chain(value):
        case "+", inner, half if writer.halving and _rounds(writer, inner, half, shift):
            # Of (inner + half >> shift) + constant, everything is doubled but the last shift.
            operations = [("+", 2 * constant + 1), (">>", np.maximum(shift - 1, 0))]
            if _narrow_along(writer.nodes[inner], _links(operations)):
                for name, one in reversed(operations):
                    inner = writer.write(name, inner, writer.constant(one))
                return writer.write(">>", inner, writer.constant(np.ones_like(shift)))
        case "+", inner, before if needed_bits(*_ends(constant)) + shift.max() <= NARROW_BITS:
            moved = before + (constant << shift)
            links = _links([("+", moved)])
            if _can_be_held(moved) and _narrow_along(writer.nodes[inner], links):
                total = writer.write("+", inner, writer.constant(moved))
                return writer.write(">>", total, writer.constant(shift))
    return None


def _rounds(writer: Writer, value: int, half: Integers, shift: Integers) -> bool:
    """Tell whether neurons round by halves of their own: that takes a constant of each."""
    node = writer.nodes[value]
    nothing = (node.lowest == 0) & (node.highest == 0)
    rounding = (half == (1 << shift) >> 1) & ((shift > 0) | nothing)
    return bool(rounding.all()) and not writer.shared(half)


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
        case "*", inner, factor if not writer.shared(constant):
            return _shared_shift(writer, inner, factor, constant)
        case ">>", inner, before:
            return writer.write(">>", inner, writer.constant(before + constant))
        case "<<", inner, before if (before >= constant).all():
            return writer.write("<<", inner, writer.constant(before - constant))
        case "<<", inner, before if (before <= constant).all():
            return writer.write(">>", inner, writer.constant(constant - before))
        case "<<", inner, before if not writer.shared(constant - before):
            return _shared_shift(writer, inner, np.ones_like(constant), constant - before)
        case ("min" | "max") as limiting, inner, limit if (
            writer.reaching and _below_limits(writer, inner) == ">>"
        ):
            kept = writer.write(">>", inner, writer.constant(constant))
            return writer.write(limiting, kept, writer.constant(limit >> constant))
    return None


def _shared_shift(writer: Writer, value: int, factor: Integers, shift: Integers) -> int | None:
    """Write ``value * factor >> shift`` with one shift for all neurons of a group.

    What a neuron shifts less goes into its factor; shifts may be to the left.
    """
    node = writer.nodes[value]
    zero = (factor == 0) | ((node.lowest == 0) & (node.highest == 0))
    common = np.maximum(writer.largest(np.where(zero, np.iinfo(np.int64).min, shift)), 0)
    factor = factor * ~zero
    left = (common - shift) * ~zero
    if left.max() > STATE_BITS or not _fits(factor << left, STATE_BITS):
        return None
    fits = node.bits <= PRODUCT_BITS - 1  # or their ends could leave 64 bits
    ends = [end * (factor << left) for end in (node.lowest, node.highest)]
    if not fits or not all(_fits(end, PRODUCT_BITS) for end in ends):
        return None
    product = writer.write("*", value, writer.constant(factor << left))
    return writer.write(">>", product, writer.constant(common))


def _ends(values: Integers) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _fits(values: Integers, bits: int) -> bool:
    return needed_bits(*_ends(values)) <= bits


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


@dataclass(frozen=True, eq=False)
class _Link:
    """An operation on the way from a value to a later saturation.

    Attributes:
        operation: with ``others`` in the places of the other operands, None in the value's own.
        bounds: of the others, likewise.
    """

    operation: str
    others: tuple[int | None, ...]
    bounds: tuple[Bounds | None, ...]

    def of(self, value: Bounds) -> Bounds:
        """Return the interval of the result for that of the value."""
        return _BOUNDS[self.operation](*(value if one is None else one for one in self.bounds))

    def write(self, writer: Writer, value: int) -> int:
        """Write the operation on another value."""
        operands = (value if one is None else one for one in self.others)
        return writer.write(self.operation, *operands)


def _without_hidden_saturation(
    writer: Writer, operation: str, value: int, limit: Integers
) -> int | None:
    """Leave out an earlier saturation whose every effect the one to ``limit`` has as well.

    Between both are operations that keep the order of integers, or turn it round: what the earlier
    one clips comes out beyond the limit then, clipped or not. That is so for each neuron that it
    clips at all. Nothing may become wider than ``NARROW_BITS``.
    """
    for earlier, links in _ways_down(writer, value, operation == "min"):
        name, inner, clipped = earlier
        bounds = clipped, clipped
        for link in reversed(links):
            bounds = link.of(bounds)
        hidden = bounds[0] >= limit if operation == "min" else bounds[1] <= limit
        node = writer.nodes[inner]
        never = node.highest <= clipped if name == "min" else node.lowest >= clipped
        if (hidden | never).all() and _narrow_along(node, links):
            for link in reversed(links):
                inner = link.write(writer, inner)
            return writer.write(operation, inner, writer.constant(limit))
    return None


def _ways_down(
    writer: Writer, value: int, upper: bool, links: tuple[_Link, ...] = ()
) -> Iterator[tuple[tuple[str, int, Integers], tuple[_Link, ...]]]:
    """Yield earlier saturations of the same side as ``chain`` does, with the operations between.

    Args:
        writer: of what is written.
        value: where to begin.
        upper: whether values are clipped from above there.
        links: what is between so far, the last operation first.
    """
    if not writer.reaching or len(links) > _FARTHEST:
        return
    node = writer.nodes[value]
    link = writer.chain(value)
    if link and link[0] == ("min" if upper else "max"):
        yield link, links
    if node.operation not in ("+", "-", "<<", ">>", "min", "max"):
        return
    for place, operand in enumerate(node.operands):
        if writer.known(operand) is not None or (node.operation in ("<<", ">>") and place):
            continue
        others = tuple(None if at == place else one for at, one in enumerate(node.operands))
        bounds = tuple(
            None if one is None else (writer.nodes[one].lowest, writer.nodes[one].highest)
            for one in others
        )
        turned = node.operation == "-" and place == 1
        further = (*links, _Link(node.operation, others, bounds))
        yield from _ways_down(writer, operand, upper != turned, further)


#: Operations between two saturations that are looked behind.
_FARTHEST = 8


def _narrow_along(node: Node, links: Sequence[_Link]) -> bool:
    """Tell whether operations on a value, the last one first, give nothing wide."""
    bounds = node.lowest, node.highest
    for link in reversed(links):
        bounds = link.of(bounds)
        if needed_bits(int(bounds[0].min()), int(bounds[1].max())) > NARROW_BITS:
            return False
    return True


def _links(between: Iterable[tuple[str, Integers]]) -> list[_Link]:
    """Return links of operations with constants, the last one first."""
    return [_Link(name, (None, 0), (None, (other, other))) for name, other in between]


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


def finished(writer: Writer, results: Iterable[int]) -> Shortened:
    """Return the steps that results depend on, products joined with their shifts.

    What all neurons of each group share is no parameter.

    Args:
        writer: what was written.
        results: indices of nodes.
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
            operation, immediate = _place(writer, node, counts)
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


def _place(writer: Writer, node: Node, counts: Counter[str]) -> tuple[str, str]:
    """Return the operation that brings a constant, and the name of its place."""
    assert node.known is not None
    if writer.shared(node.known):
        operation, prefix = "constant", "c"
    elif isinstance(node.immediate, str):
        return "parameter", node.immediate
    else:
        operation, prefix = "parameter", FOLDED
    counts[operation] += 1
    return operation, f"{prefix}{counts[operation] - 1}"
