"""Puts straight lines, chosen from a table, in the place of a function of one integer.

A sigmoid that is interpolated between knots, say: absolute value, saturation, segment, fraction,
two lookups, a product, rounding, the sign again; thirteen instructions. It is eight if the line of
each segment comes from two tables as ``(rise * x + start) >> shift``, below zero as above. Whether
that gives the same integers is tried for each value that the argument can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.fixed_point import Integers, needed_bits
from s5_to_loihi.network.tabulating import Region, regions, replaced
from s5_to_loihi.network.tracing import Interval, Step
from s5_to_loihi.network.widths import LONGEST_TABLE, NARROW_BITS

#: An argument may have this many values.
MOST_VALUES = 1 << 24
#: Binary logarithms of the lengths of segments that are tried.
SEGMENT_SHIFTS = range(12, 3, -1)
#: Rises beside that from the first to the last value of a segment.
_RISES_BESIDE = (0, 1, -1, 2, -2)
#: Instructions of lines, without saturations of the argument.
_INSTRUCTIONS = 6


@dataclass(frozen=True, eq=False)
class Lines:
    """A function of ``x = argument + offset``, where x is saturated or not.

    Attributes:
        offset: added to the argument.
        lowest, highest: what x is clipped to, or None.
        shift: binary logarithm of a segment's length, and the shift of the result.
        rises, starts: (segments,) of the lines.
    """

    offset: int
    lowest: int | None
    highest: int | None
    shift: int
    rises: Integers
    starts: Integers


def candidates(steps: tuple[Step, ...], results: Iterable[int]) -> list[Region]:
    """Return the regions that lines may be shorter than, and no table, the largest first."""
    found = [
        region
        for region in regions(steps, results, MOST_VALUES)
        if len(region.members) > _INSTRUCTIONS + 1
        and steps[region.argument].highest - steps[region.argument].lowest >= LONGEST_TABLE
    ]
    return sorted(found, key=lambda region: len(region.members), reverse=True)


def lines_of(functions: Sequence[Integers], lowest: int, most: int) -> list[Lines] | None:
    """Return lines that give exactly the values of functions, alike in shape; or None.

    Args:
        functions: (values,) of each, for ``lowest`` and all integers after it.
        lowest: argument.
        most: instructions that they may have.
    """
    changes = [np.flatnonzero(np.diff(values)) for values in functions]
    if not all(map(len, changes)):
        return None
    for clip_low, clip_high in ((False, False), (False, True), (True, False), (True, True)):
        if _INSTRUCTIONS + 1 + clip_low + clip_high > most:
            continue
        for shift in SEGMENT_SHIFTS:
            found = []
            for values, changed in zip(functions, changes, strict=True):
                # Beyond its first and last change a function is constant.
                first = int(changed[0]) if clip_low else 0
                end = int(changed[-1]) + 2 if clip_high else len(values)
                middle = int(changed[len(changed) // 2])
                domain = values[first:end]
                if (one := _fitted(domain, lowest + first, shift, middle - first)) is None:
                    break
                low = lowest + first + one.offset if clip_low else None
                high = lowest + end - 1 + one.offset if clip_high else None
                found.append(replace(one, lowest=low, highest=high))
            else:
                return found
    return None


def _fitted(values: Integers, lowest: int, shift: int, middle: int) -> Lines | None:
    """Return lines of segments of ``2**shift`` integers; ``middle`` is where to look at first."""
    base, length = (lowest >> shift) << shift, 1 << shift
    before = lowest - base
    segments = ((before + len(values) - 1) >> shift) + 1
    if 2 * segments > LONGEST_TABLE:
        return None
    x = np.arange(segments * length).reshape(segments, length)
    there = (x >= before) & (x < before + len(values))
    f = np.zeros(x.size, dtype=np.int64)
    f[before : before + len(values)] = values
    f = f.reshape(x.shape)
    one = slice((before + middle) >> shift, ((before + middle) >> shift) + 1)
    if _fit(f[one], x[one], there[one], shift) is None:
        return None
    if (fit := _fit(f, x, there, shift)) is None:
        return None
    rises, starts = fit
    widest = max(int(np.abs(rises * (x[:, -1] + 1)).max()), int(np.abs(starts).max()))
    if needed_bits(-widest, widest) > NARROW_BITS:
        return None
    return Lines(-base, None, None, shift, rises, starts)


def _fit(
    values: Integers, x: Integers, there: np.ndarray, shift: int
) -> tuple[Integers, Integers] | None:
    """Return rises and starts (segments,) of values (segments, length) at x, where they are."""
    rows, length = np.arange(len(x)), 1 << shift
    first, last = there.argmax(axis=1), length - 1 - there[:, ::-1].argmax(axis=1)
    climbed = (values[rows, last] - values[rows, first]) << shift
    rise = np.rint(climbed / np.maximum(last - first, 1)).astype(np.int64)
    starts, left = np.zeros_like(rise), np.ones(len(x), dtype=bool)
    for beside in _RISES_BESIDE:
        tried = rise[left] + beside
        # A line's start must be at least this, and less than that and a step.
        rest = (values[left] << shift) - tried[:, None] * x[left]
        top = np.where(there[left], rest, np.iinfo(np.int64).min).max(axis=1)
        bottom = np.where(there[left], rest, np.iinfo(np.int64).max).min(axis=1)
        fits = top - bottom < length
        at = np.flatnonzero(left)[fits]
        rise[at], starts[at] = tried[fits], top[fits]
        left[at] = False
        if not left.any():
            return rise, starts
    return None


def places(lines: Lines) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Return the constants and the tables of lines, under names of their own."""
    constants = {"offset": lines.offset, "lowest": lines.lowest, "highest": lines.highest}
    tables = {"rises": lines.rises, "starts": lines.starts}
    return (
        {name: one for name, one in constants.items() if one is not None} | {"shift": lines.shift},
        {name: tuple(map(int, one)) for name, one in tables.items()},
    )


def with_lines(
    steps: tuple[Step, ...],
    region: Region,
    of_groups: Sequence[Lines],
    names: Mapping[str, str],
    value: Interval,
) -> tuple[tuple[Step, ...], dict[int, int]]:
    """Return steps with lines in the place of a region, and old index -> new index.

    Args:
        steps, region: of a program.
        of_groups: the lines of each group that runs it.
        names: of the places in the program, for those of ``places``.
        value: the lowest and the highest value of the region.
    """
    argument = steps[region.argument]

    def write(written: list[Step], x: int) -> None:
        def put(
            operation: str, operands: tuple[int, ...], ends: Interval, name: str | None = None
        ) -> int:
            place = None if name is None else names[name]
            written.append(Step(operation, operands, place, *ends))
            return len(written) - 1

        def constant(name: str) -> tuple[int, Interval]:
            ends = _ends([places(one)[0][name] for one in of_groups])
            return put("constant", (), ends, name), ends

        offset, (low, high) = constant("offset")
        ends = argument.lowest + low, argument.highest + high
        x = put("+", (x, offset), ends)
        for name, operation, nearer in (("lowest", "max", max), ("highest", "min", min)):
            if getattr(of_groups[0], name) is not None:
                limit, own = constant(name)
                ends = nearer(ends[0], own[0]), nearer(ends[1], own[1])
                x = put(operation, (x, limit), ends)
        shift, (amount, _) = constant("shift")
        segment = put(">>", (x, shift), (ends[0] >> amount, ends[1] >> amount))
        rise = put("lookup", (segment,), _ends([one.rises for one in of_groups]), "rises")
        start = put("lookup", (segment,), _ends([one.starts for one in of_groups]), "starts")
        product = put("*", (rise, x), _ends([_products(one, ends) for one in of_groups]))
        total = value[0] << amount, ((value[1] + 1) << amount) - 1
        put(">>", (put("+", (product, start), total), shift), value)

    return replaced(steps, region, write)


def _products(lines: Lines, inside: Interval) -> Integers:
    first = np.arange(len(lines.rises)) << lines.shift
    ends = first, first + (1 << lines.shift) - 1
    return np.concatenate([lines.rises * np.clip(end, *inside) for end in ends])


def _ends(values: Sequence[Integers] | Sequence[int]) -> Interval:
    return min(int(np.min(one)) for one in values), max(int(np.max(one)) for one in values)
