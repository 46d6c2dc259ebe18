"""Puts a table in the place of several steps that compute a function of one small integer.

A piecewise-linear sigmoid of 12 bits, say: twenty instructions, or one lookup in 4,096 entries that
all neurons of a group share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.fixed_point import Integers, look_up
from s5_to_loihi.network.shortening import APPLIED
from s5_to_loihi.network.tracing import SOURCES, Step
from s5_to_loihi.network.widths import LONGEST_TABLE


@dataclass(frozen=True)
class Region:
    """Steps that compute a function.

    Attributes:
        argument: the step that the function is of.
        members: the steps, in order; the last is the function's value.
    """

    argument: int
    members: tuple[int, ...]


def worthwhile_region(steps: tuple[Step, ...], results: Iterable[int]) -> Region | None:
    """Return the largest region that a table is shorter than, or None.

    A table's entries have 32 bits at most.
    """

    def saved(region: Region) -> int:
        return len(region.members) - 1 - (steps[region.argument].lowest != 0)

    found = regions(steps, results, LONGEST_TABLE)
    worthwhile = (region for region in found if saved(region) > 0)
    return max(worthwhile, key=lambda region: len(region.members), default=None)


def regions(steps: tuple[Step, ...], results: Iterable[int], most: int) -> Iterator[Region]:
    """Yield the regions of arguments that have up to ``most`` values.

    Of what the steps of a region compute only the last may be used outside of it, and that has 32
    bits at most.
    """
    results = set(results)
    for argument, step in enumerate(steps):
        if step.operation == "constant" or step.highest - step.lowest >= most:
            continue
        functions = _functions_of(steps, argument)
        for value in functions:
            members = _leading_to(steps, value, functions)
            if steps[value].narrow and _used_outside(steps, members, results) == {value}:
                yield Region(argument, tuple(sorted(members)))


def _functions_of(steps: tuple[Step, ...], argument: int) -> set[int]:
    """Return the steps that hang on one step, and on constants, only."""
    members: set[int] = set()
    for index, step in enumerate(steps[argument + 1 :], start=argument + 1):
        inputs = {one for one in step.operands if steps[one].operation != "constant"}
        if step.operation not in SOURCES and inputs and inputs <= members | {argument}:
            members.add(index)
    return members


def _leading_to(steps: tuple[Step, ...], value: int, among: set[int]) -> set[int]:
    members, waiting = set(), [value]
    while waiting:
        index = waiting.pop()
        members.add(index)
        waiting.extend(among.intersection(steps[index].operands) - members)
    return members


def _used_outside(steps: tuple[Step, ...], members: set[int], results: set[int]) -> set[int]:
    outside = (step.operands for index, step in enumerate(steps) if index not in members)
    return results.union(*outside) & members


def table_of(
    steps: tuple[Step, ...],
    region: Region,
    constants: dict[str, int],
    tables: dict[str, tuple[int, ...]],
) -> tuple[int, ...]:
    """Return a region's values for all values of its argument, the lowest first."""
    return tuple(int(value) for value in values_of(steps, region, constants, tables))


def values_of(
    steps: tuple[Step, ...],
    region: Region,
    constants: dict[str, int],
    tables: dict[str, tuple[int, ...]],
) -> Integers:
    """Return the same as an array (values,) int64."""
    lowest, highest = steps[region.argument].lowest, steps[region.argument].highest
    parts = [
        _values_at(
            steps, region, np.arange(at, min(at + _TOGETHER, highest + 1)), constants, tables
        )
        for at in range(lowest, highest + 1, _TOGETHER)
    ]
    return np.concatenate(parts)


#: Values of an argument that are computed at a time.
_TOGETHER = 1 << 16


def _values_at(
    steps: tuple[Step, ...],
    region: Region,
    arguments: Integers,
    constants: dict[str, int],
    tables: dict[str, tuple[int, ...]],
) -> Integers:
    values: dict[int, Integers] = {region.argument: arguments}
    for index in region.members:
        step = steps[index]
        operands = [
            values[one] if one in values else np.array(constants[steps[one].name])
            for one in step.operands
        ]
        if step.operation == "lookup":
            # The steps' ranges are those of all groups with this program: beyond this group's own
            # table are values that its argument never has.
            table = tables[step.name]
            values[index] = look_up(table, np.clip(operands[0], 0, len(table) - 1))
        else:
            values[index] = APPLIED[step.operation](*operands)
    return values[region.members[-1]]


def with_table(
    steps: tuple[Step, ...], region: Region, table: str, offset: str
) -> tuple[tuple[Step, ...], dict[int, int]]:
    """Return steps with a lookup in the place of a region, and old index -> new index.

    Args:
        steps, region: of a program.
        table: the name of the table's place.
        offset: the name of the place of the constant that brings the argument to 0, if one is
            needed.
    """
    argument, value = steps[region.argument], steps[region.members[-1]]

    def write(written: list[Step], at: int) -> None:
        if (low := argument.lowest) != 0:
            written.append(Step("constant", (), offset, -low, -low))
            operands = at, len(written) - 1
            at = len(written)
            written.append(Step("+", operands, None, 0, argument.highest - low))
        written.append(replace(value, operation="lookup", operands=(at,), immediate=table))

    return replaced(steps, region, write)


def replaced(
    steps: tuple[Step, ...], region: Region, write: Callable[[list[Step], int], None]
) -> tuple[tuple[Step, ...], dict[int, int]]:
    """Return steps with others in the place of a region, and old index -> new index.

    Args:
        steps, region: of a program.
        write: appends the others to those that are written, the region's value last; gets the
            index of its argument there.
    """
    written: list[Step] = []
    index: dict[int, int] = {}
    value, inside = region.members[-1], region.members[:-1]
    kept = [step for number, step in enumerate(steps) if number not in region.members]
    used = {region.argument}.union(*(step.operands for step in kept))
    for number, step in enumerate(steps):
        if number in inside or (step.operation == "constant" and number not in used):
            continue
        if number == value:
            write(written, index[region.argument])
        else:
            written.append(replace(step, operands=tuple(index[one] for one in step.operands)))
        index[number] = len(written) - 1
    return tuple(written), index
