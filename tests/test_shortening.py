"""Shortened programs: the same integers as the neurons they are of, in fewer instructions."""

import itertools

import family_files
import numpy as np
import pytest
from family_files import Choices
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_to_try import OPERATIONS as TRACED
from programs_to_try import anywhere, corners, every_kind, groups_of_all_kinds, updated

from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.lines import lines_of
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.programs import (
    NeuronProgram,
    instruction_count,
    neuron_programs,
    program_of,
)
from s5_to_loihi.network.ranges import port_intervals, port_limits
from s5_to_loihi.network.ranges import program as traced
from s5_to_loihi.network.shortening import Writer, finished
from s5_to_loihi.network.tabulating import table_of, with_table, worthwhile_region
from s5_to_loihi.network.tracing import Step
from s5_to_loihi.network.widths import LONGEST_TABLE
from s5_to_loihi.quantization.quantizer import quantize_model

OPERATIONS = TRACED | {"mulshr": lambda a, b, c: a * b >> c}


def execute(program: NeuronProgram, neuron: int, sources: dict[str, int]) -> dict[str, int]:
    """Registers and messages of one neuron, in integers without a width."""
    (binding,) = program.bindings
    given = sources | {name: int(values[neuron]) for name, values in binding.parameters.items()}
    values: list[int] = []
    for step in program.steps:
        operands = [values[index] for index in step.operands]
        match step.operation:
            case "accumulator" | "register" | "parameter":
                value = given[step.name]
            case "constant":
                value = binding.constants[step.name]
            case "lookup":
                value = binding.tables[step.name][operands[0]]
            case operation:
                value = OPERATIONS[operation](*operands)
        assert step.lowest <= value <= step.highest, step
        values.append(value)
    return {name: values[at] for name, at in (program.registers | program.messages).items()}


def intervals_of(network: Network, group: NeuronGroup, neuron: int) -> dict[str, tuple[int, int]]:
    """Of what one neuron may receive, nothing included, and of its registers."""
    registers = {name: limits(group.formats[name].bits) for name in group.kind.state}
    if group.kind.wraps:
        return port_intervals(network, group) | registers
    sums = {port: port_limits(network, Endpoint(group.name, port)) for port in group.kind.ports}
    return registers | {
        port: (min(int(lowest[neuron]), 0), max(int(highest[neuron]), 0))
        for port, (lowest, highest) in sums.items()
    }


def check(network: Network, group: NeuronGroup, neuron: int, sources: dict[str, int]) -> None:
    program = program_of(network, group)
    expected = updated(group, neuron, sources)
    found = execute(program, neuron, sources)
    assert found == {name: expected[name] for name in found}


@every_kind
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_the_short_program_is_the_neuron(kind, data):
    network, group, _ = data.draw(st.sampled_from(groups_of_all_kinds()[kind]))
    neuron = data.draw(st.integers(0, group.size - 1))
    intervals = intervals_of(network, group, neuron)
    sources = {
        name: data.draw(anywhere(*interval), label=name) for name, interval in intervals.items()
    }
    check(network, group, neuron, sources)


@every_kind
def test_at_the_ends_of_all_ranges(kind):
    for network, group, _ in groups_of_all_kinds()[kind][:6]:
        for neuron in (0, group.size - 1):
            intervals = intervals_of(network, group, neuron)
            for values in itertools.islice(corners(intervals), 60):
                check(network, group, neuron, dict(zip(intervals, values, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_program_gets_longer(kind):
    for network, group, _ in groups_of_all_kinds()[kind]:
        long, short = traced(network, group), program_of(network, group)
        wanted = group.kind.state + network.sent_by(group)
        needed = [long.steps[index] for index in long.needed(wanted)]
        assert short.instructions <= instruction_count(needed, len(wanted))


# Single rules, tried on every integer of an interval


def written(build, low: int, high: int) -> tuple[Step, ...]:
    """The steps of a function of one accumulator x; ``build(writer, x, constant)``."""
    writer = Writer([1])
    interval = np.array([low]), np.array([high])
    x = writer.source("accumulator", "x", interval)
    result = build(writer, x, lambda value: writer.constant(np.array([value])))
    return finished(writer, [result]).steps


def run(steps: tuple[Step, ...], x: int) -> int:
    values: list[int] = []
    for step in steps:
        operands = [values[index] for index in step.operands]
        if step.operation == "accumulator":
            values.append(x)
        elif step.operation == "constant":
            values.append(step.lowest)
        else:
            values.append(OPERATIONS[step.operation](*operands))
    return values[-1]


def computed(steps: tuple[Step, ...]) -> list[str]:
    return [one.operation for one in steps if one.operation not in ("accumulator", "constant")]


def clamp(writer, x, constant, low, high):
    return writer.write("min", writer.write("max", x, constant(low)), constant(high))


RULES = {
    # name: (built, computed otherwise, what is left)
    "clamps in a row": (
        lambda w, x, c: clamp(w, clamp(w, x, c, -20, 20), c, -5, 9),
        lambda x: min(max(min(max(x, -20), 20), -5), 9),
        ["max", "min"],
    ),
    "a clamp that a later one hides": (
        lambda w, x, c: clamp(
            w, w.write(">>", w.write("+", clamp(w, x, c, -40, 40), c(3)), c(1)), c, -9, 9
        ),
        lambda x: min(max((min(max(x, -40), 40) + 3) >> 1, -9), 9),
        ["+", ">>", "max", "min"],
    ),
    "a clamp that nothing hides": (
        lambda w, x, c: clamp(w, w.write("+", clamp(w, x, c, -40, 40), c(-35)), c, -9, 9),
        lambda x: min(max(min(max(x, -40), 40) - 35, -9), 9),
        # From below it is hidden, and above it the later one has nothing left to do.
        ["min", "+", "max"],
    ),
    "shifts there and back": (
        lambda w, x, c: w.write(">>", w.write("<<", x, c(2)), c(5)),
        lambda x: (x << 2) >> 5,
        [">>"],
    ),
    "a shift of a clamped shift": (
        lambda w, x, c: w.write(">>", clamp(w, w.write(">>", x, c(1)), c, -21, 21), c(2)),
        lambda x: min(max(x >> 1, -21), 21) >> 2,
        [">>", "max", "min"],
    ),
    "a product with its shift": (
        lambda w, x, c: w.write(">>", w.write("*", x, c(7)), c(2)),
        lambda x: (x * 7) >> 2,
        ["mulshr"],
    ),
    "the magnitude of a clamped value": (
        lambda w, x, c: w.write("min", w.write("abs", clamp(w, x, c, -32, 31)), c(31)),
        lambda x: min(abs(min(max(x, -32), 31)), 31),
        ["abs", "min"],
    ),
    "the sign of a clamped value": (
        lambda w, x, c: w.write(">", clamp(w, x, c, -4, 4), c(0)),
        lambda x: int(min(max(x, -4), 4) > 0),
        [">"],
    ),
    "a condition that something is zero": (
        lambda w, x, c: w.write("select", w.write("==", x, c(0)), c(7), x),
        lambda x: 7 if x == 0 else x,
        ["select"],
    ),
    "sums with constants in a row": (
        lambda w, x, c: w.write("+", w.write("+", x, c(4)), c(9)),
        lambda x: x + 13,
        ["+"],
    ),
    "an offset behind a shift": (
        lambda w, x, c: w.write("+", w.write(">>", w.write("+", x, c(3)), c(2)), c(9)),
        lambda x: ((x + 3) >> 2) + 9,
        ["+", ">>"],
    ),
    "clamps of a difference that a later one hides": (
        lambda w, x, c: clamp(
            w, w.write("-", clamp(w, x, c, -40, 40), clamp(w, x, c, -60, 60)), c, 0, 0
        ),
        lambda x: 0,
        [],
    ),
    "an offset of one of two signs": (
        lambda w, x, c: w.write(
            "+", w.write("select", w.write(">", x, c(0)), x, w.write("-", c(0), x)), c(5)
        ),
        lambda x: abs(x) + 5,
        [">", "+", "-", "select"],
    ),
    "a comparison at a limit": (
        lambda w, x, c: w.write(">", clamp(w, x, c, -4, 4), c(4)),
        lambda x: int(min(max(x, -4), 4) > 4),
        [],
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule(name):
    build, expected, left = RULES[name]
    steps = written(build, -100, 90)
    assert [
        one.operation for one in steps if one.operation not in ("accumulator", "constant")
    ] == left
    for x in range(-100, 91):
        assert run(steps, x) == expected(x)


def test_a_clamp_that_another_sum_hides():
    """What is added is too small to bring a clipped value back below the later limit."""
    for added, left in ((20, ["+", "max", "min"]), (50, ["max", "min", "+", "max", "min"])):
        writer = Writer([1])
        x, y = (
            writer.source("accumulator", name, (np.array([-end]), np.array([end])))
            for name, end in (("x", 100), ("y", added))
        )
        total = writer.write("+", clamp(writer, x, one_constant(writer), -40, 40), y)
        steps = finished(writer, [clamp(writer, total, one_constant(writer), -9, 9)]).steps
        assert computed(steps) == left


def one_constant(writer):
    return lambda value: writer.constant(np.array([value]))


def two_groups(interval=(-5000, 5000)):
    writer = Writer([2, 2])
    low, high = (np.full(4, end) for end in interval)
    return writer, writer.source("accumulator", "x", (low, high))


def in_python(short, x, neuron):
    values = []
    for step in short.steps:
        operands = [values[one] for one in step.operands]
        if step.operation == "accumulator":
            values.append(x)
        elif step.operation in ("constant", "parameter"):
            values.append(int(short.values[step.name][neuron]))
        else:
            values.append(OPERATIONS[step.operation](*operands))
    return values[-1]


def test_shifts_of_neurons_move_into_their_factors():
    """Those of each group become one; a neuron without a factor has any."""
    writer, x = two_groups()
    factor, shift = np.array([5, -7, 0, 9]), np.array([3, 5, 20, 2])
    product = writer.write("*", x, writer.constant(factor, "factor"))
    short = finished(writer, [writer.write(">>", product, writer.constant(shift, "shift"))])
    assert computed(short.steps) == ["parameter", "mulshr"]
    for value in range(-5000, 5001, 7):
        for neuron in range(4):
            expected = value * int(factor[neuron]) >> int(shift[neuron])
            assert in_python(short, value, neuron) == expected
    (shared,) = (short.values[one.name] for one in short.steps if one.operation == "constant")
    assert shared.tolist() == [5, 5, 2, 2]


def test_shifts_of_neurons_stay_where_factors_would_be_wide():
    writer, x = two_groups()
    factor, shift = np.array([1 << 14, 1, 1, 1]), np.array([0, 20, 3, 3])
    product = writer.write("*", x, writer.constant(factor))
    short = finished(writer, [writer.write(">>", product, writer.constant(shift))])
    assert computed(short.steps) == ["parameter", "parameter", "mulshr"]


def test_shifts_to_either_side_are_a_product():
    writer, x = two_groups()
    left, right = writer.constant(np.full(4, 6)), np.array([2, 9, 6, 8])
    moved = writer.write(">>", writer.write("<<", x, left), writer.constant(right, "shift"))
    short = finished(writer, [moved])
    assert computed(short.steps) == ["parameter", "mulshr"]
    for value in range(-5000, 5001, 7):
        for neuron in range(4):
            assert in_python(short, value, neuron) == (value << 6) >> int(right[neuron])


def test_halves_of_roundings_move_into_biases():
    for shift in (np.array([4, 7, 2, 3]), np.array([4, 7, 1, 3])):
        writer, x = two_groups()
        half = writer.constant((1 << shift) >> 1)
        rounded = writer.write(">>", writer.write("+", x, half), writer.constant(shift, "shift"))
        bias = np.array([9, -4, 0, 77])
        short = finished(writer, [writer.write("+", rounded, writer.constant(bias, "bias"))])
        assert computed(short.steps).count("parameter") == 2
        for value in range(-5000, 5001, 7):
            for neuron in range(4):
                by = int(shift[neuron])
                expected = ((value + (1 << by >> 1)) >> by) + int(bias[neuron])
                assert in_python(short, value, neuron) == expected


def test_nothing_gets_wider_than_32_bits():
    """A saturation right after a wide product stays, though a later one hides it."""
    limit, wide = 1 << 15, 1 << 40

    def build(w, x, c):
        inner = clamp(w, w.write(">>", w.write("*", x, c(3)), c(1)), c, -(limit << 3), limit << 3)
        return clamp(w, w.write(">>", inner, c(2)), c, -limit, limit)

    assert len(computed(written(build, -wide, wide))) > len(computed(written(build, -99, 99)))


def test_constants_of_neurons_are_computed_once():
    writer = Writer([3])
    shift = writer.constant(np.array([2, 4, 6]), "shift")
    x = writer.source("accumulator", "x", (np.full(3, -99), np.full(3, 99)))
    half = writer.write(
        ">>",
        writer.write("<<", writer.constant(np.ones(3, int)), shift),
        writer.constant(np.ones(3, int)),
    )
    short = finished(writer, [writer.write(">>", writer.write("+", x, half), shift)])
    assert [step.operation for step in short.steps] == [
        "parameter",
        "accumulator",
        "parameter",
        "+",
        ">>",
    ]
    np.testing.assert_array_equal(short.values["folded0"], [2, 8, 32])


def test_a_function_of_a_small_integer_becomes_a_table():
    steps = (
        Step("accumulator", (), "x", -3, 4),
        Step("constant", (), "c0", 5, 5),
        Step("*", (0, 0), None, 0, 16),
        Step("*", (2, 1), None, 0, 80),
        Step("abs", (3,), None, 0, 80),
    )
    region = worthwhile_region(steps, [4])
    assert region is not None
    table = table_of(steps, region, {"c0": 5}, {})
    assert table == tuple(5 * x * x for x in range(-3, 5))
    short, index = with_table(steps, region, "t0", "c1")
    assert [step.operation for step in short] == ["accumulator", "constant", "+", "lookup"]
    assert index[4] == 3
    # Where a step of it is needed elsewhere, or a table is no shorter, all stays.
    assert worthwhile_region(steps, [3, 4]) is None
    assert worthwhile_region(steps[:3], [2]) is None


# Lines in the place of a function


def sigmoid_like(x, knots=16, shift=9):
    """Interpolated between knots, the magnitude saturated, as gates have it."""
    heights = np.rint(16384 + 16384 * np.tanh(np.arange(knots + 1) / 5)).astype(int)
    magnitude = np.minimum(abs(x), (knots << shift) - 1)
    knot, rest = magnitude >> shift, magnitude & ((1 << shift) - 1)
    entry = heights[knot] + (((heights[knot + 1] - heights[knot]) * rest + 256) >> shift)
    return np.where(x > 0, entry, 32768 - entry)


def of_lines(lines, x):
    moved = x + lines.offset
    if lines.lowest is not None:
        moved = np.maximum(moved, lines.lowest)
    if lines.highest is not None:
        moved = np.minimum(moved, lines.highest)
    segment = moved >> lines.shift
    return (lines.rises[segment] * moved + lines.starts[segment]) >> lines.shift


@pytest.mark.parametrize(
    ("low", "high", "clipped"), [(-20000, 9000, False), (-3_000_000, 9000, True), (77, 9000, False)]
)
def test_lines_are_the_function_for_every_argument(low, high, clipped):
    x = np.arange(low, high + 1)
    values = sigmoid_like(x)
    (lines,) = lines_of([values], low, 13)
    np.testing.assert_array_equal(of_lines(lines, x), values)
    assert (lines.lowest is not None) == clipped
    assert lines.highest is None
    assert 2 * len(lines.rises) <= LONGEST_TABLE


def test_what_is_not_made_of_lines_stays():
    x = np.arange(-9000, 9001)
    assert lines_of([x * x % 977], -9000, 13) is None
    assert lines_of([np.full_like(x, 3)], -9000, 13) is None
    # Nor is what would take as many instructions as there are.
    assert lines_of([sigmoid_like(x)], -9000, 6) is None


# Groups that share a program, with other tables and other arguments


def test_a_table_that_is_shorter_than_the_steps_ranges_say():
    """They are those of all groups: what this group's argument never is, is not looked up."""
    steps = (
        Step("accumulator", (), "x", 0, 9),
        Step("lookup", (0,), "t0", -3, 90),
        Step("constant", (), "c0", 4, 5),
        Step("+", (1, 2), None, 1, 95),
    )
    region = worthwhile_region(steps, [3])
    assert region is not None
    long, short = tuple(range(0, 100, 10)), (7, -3, 8)
    assert table_of(steps, region, {"c0": 5}, {"t0": long}) == tuple(one + 5 for one in long)
    made = table_of(steps, region, {"c0": 4}, {"t0": short})
    assert made[:3] == (11, 1, 12)
    # Groups that share a program have tables of one length, and entries within its ranges.
    assert len(made) == len(long)
    assert set(made) <= {11, 1, 12}


def test_an_argument_that_only_other_groups_have():
    """A group that shifts less than another never has the large arguments of that."""
    steps = (
        Step("accumulator", (), "x", 0, 9),
        Step("constant", (), "c0", 0, 1),
        Step(">>", (0, 1), None, 0, 4),
        Step("lookup", (2,), "t0", 0, 40),
    )
    region = worthwhile_region(steps, [3])
    assert region is not None
    table = {"t0": (0, 10, 20, 30, 40)}
    assert table_of(steps, region, {"c0": 1}, table) == (0, 0, 10, 10, 20, 20, 30, 30, 40, 40)
    assert table_of(steps, region, {"c0": 0}, table)[:5] == table["t0"]


def test_programs_of_groups_of_other_scales(tmp_path):
    """In two of three blocks GELU has one program, and in one of them the smaller arguments."""
    choices = Choices(seed=12, blocks=3, activation="gelu_erf")
    checkpoint = family_files.own(choices, tmp_path)
    data = 0.4 + np.random.default_rng([12, 5]).normal(size=(36, 2, checkpoint.features))
    network = quantize_model(load(checkpoint.path).model, data).network
    shared = [
        [binding.group for binding in program.bindings]
        for program in neuron_programs(network)
        if len(program.bindings) > 1
    ]
    assert ["block1.output", "block2.output"] in [[one.name for one in all_] for all_ in shared]
    rng = np.random.default_rng(0)
    for group in itertools.chain(*shared):
        for neuron in range(group.size):
            intervals = intervals_of(network, group, neuron)
            ends = list(itertools.islice(corners(intervals), 20))
            inner = [[rng.integers(a, b + 1) for a, b in intervals.values()] for _ in range(20)]
            for values in (*ends, *inner):
                check(network, group, neuron, dict(zip(intervals, map(int, values), strict=True)))
