"""Traced programs: executed in big integers they are the neurons, within the stated intervals."""

import itertools
from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
import pytest
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_to_try import OPERATIONS, anywhere, corners, every_kind, groups_of_all_kinds, updated
from random_networks import Case

from s5_to_loihi.fixed_point import Format, convert, limits, look_up, saturate, shift
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.ranges import port_intervals
from s5_to_loihi.network.ranges import program as program_of
from s5_to_loihi.network.tracing import SOURCES, Program, Step, parameters

# A program executed, in integers without a width


def value_of(step: Step, values: dict[int, int], sources: dict[str, int]) -> int:
    if step.operation in SOURCES:
        return sources[step.immediate]
    if step.operation == "constant":
        return step.immediate
    operands = [values[index] for index in step.operands]
    if step.operation == "lookup":
        return step.immediate[operands[0]]
    return OPERATIONS[step.operation](*operands)


def execute(program: Program, sources: dict[str, int], chosen=None) -> dict[int, int]:
    """Step -> value, for all steps or some; ``sources``: name -> value."""
    values: dict[int, int] = {}
    for index, step in enumerate(program.steps):
        if chosen is None or index in chosen:
            values[index] = value_of(step, values, sources)
    return values


def results_of(program: Program, values: dict[int, int]) -> dict[str, int]:
    return {name: values[index] for name, index in program.results.items()}


def assert_within_intervals(program: Program, values: dict[int, int]) -> None:
    for index, value in values.items():
        step = program.steps[index]
        assert step.lowest <= value <= step.highest, (index, step)


# Every kind of neuron


def source_intervals(network: Network, group: NeuronGroup) -> dict[str, tuple[int, int]]:
    return port_intervals(network, group) | {
        name: limits(group.formats[name].bits) for name in group.kind.state
    }


def all_sources(group: NeuronGroup, neuron: int, drawn: dict[str, int]) -> dict[str, int]:
    return drawn | {name: int(array[neuron]) for name, array in parameters(group).items()}


def test_the_models_have_every_kind():
    for name, groups in groups_of_all_kinds().items():
        assert len(groups) > (0 if KINDS[name].wraps else 1), name


@every_kind
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_the_program_is_the_neuron(kind, data):
    network, group, program = data.draw(st.sampled_from(groups_of_all_kinds()[kind]))
    neuron = data.draw(st.integers(0, group.size - 1))
    drawn = {
        name: data.draw(anywhere(*interval), label=name)
        for name, interval in source_intervals(network, group).items()
    }
    values = execute(program, all_sources(group, neuron, drawn))
    assert_within_intervals(program, values)
    assert results_of(program, values) == updated(group, neuron, drawn)


@every_kind
def test_extremes_of_all_sources_stay_within_the_intervals(kind):
    for network, group, program in groups_of_all_kinds()[kind]:
        intervals = source_intervals(network, group)
        for corner in corners(intervals):
            drawn = dict(zip(intervals, corner, strict=True))
            for neuron in (0, group.size - 1):
                values = execute(program, all_sources(group, neuron, drawn))
                assert_within_intervals(program, values)
            assert results_of(program, values) == updated(group, neuron, drawn)


@every_kind
def test_what_leaves_a_neuron_fits_its_format(kind):
    """So the next group's accumulators, whose worst case goes by the format, hold it.

    Sums that wrap have no worst case.
    """
    if KINDS[kind].wraps:
        pytest.skip("wraps as netx does")
    for _, group, program in groups_of_all_kinds()[kind]:
        for name in group.kind.state + group.kind.messages:
            step = program.steps[program.results[name]]
            lowest, highest = limits(group.formats[name].bits)
            assert lowest <= step.lowest, f"{group.name}.{name}"
            assert step.highest <= highest, f"{group.name}.{name}"


@every_kind
def test_the_sources_are_those_of_the_group(kind):
    for network, group, program in groups_of_all_kinds()[kind]:
        intervals = source_intervals(network, group) | {
            name: (array.min(), array.max()) for name, array in parameters(group).items()
        }
        for step in program.steps:
            if step.operation in SOURCES:
                assert (step.lowest, step.highest) == intervals[step.immediate]


@every_kind
def test_steps_are_in_order_and_written_down_once(kind):
    for _, _, program in groups_of_all_kinds()[kind]:
        written = [(step.operation, step.operands, step.immediate) for step in program.steps]
        assert len(set(written)) == len(written)
        for index, step in enumerate(program.steps):
            assert all(operand < index for operand in step.operands)
            if step.operation != "constant":
                assert step.lowest < step.highest


def test_a_port_without_synapses_is_the_constant_zero():
    network = random_networks.sample(Case(blocks=1)).network
    kept = tuple(one for one in network.synapses if one.target.name != "d")
    network = replace(network, synapses=kept)
    program = program_of(network, network.group("block0.output"))
    assert program.steps[program.results["feedthrough"]] == Step("constant", (), 0, 0, 0)
    assert "d" not in [step.immediate for step in program.steps if step.operation in SOURCES]


# What depends on what


@every_kind
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_needed_steps_are_enough(kind, data):
    network, group, program = data.draw(st.sampled_from(groups_of_all_kinds()[kind]))
    names = data.draw(st.lists(st.sampled_from(group.kind.values), unique=True, max_size=3))
    drawn = {
        name: data.draw(anywhere(*interval))
        for name, interval in source_intervals(network, group).items()
    }
    needed = program.needed(names)
    values = execute(program, all_sources(group, 0, drawn), needed)
    assert set(values) == needed
    expected = updated(group, 0, drawn)
    for name in names:
        assert values[program.results[name]] == expected[name]
    users = {operand for index in needed for operand in program.steps[index].operands}
    assert needed == users | {program.results[name] for name in names}


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.state])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_other_steps_do_not_change_with_the_registers(kind, data):
    network, group, program = data.draw(st.sampled_from(groups_of_all_kinds()[kind]))
    intervals = source_intervals(network, group)
    drawn = {name: data.draw(anywhere(*interval)) for name, interval in intervals.items()}
    before = {name: data.draw(anywhere(*intervals[name])) for name in group.kind.state}
    first, second = (
        execute(program, all_sources(group, 0, one)) for one in (drawn, drawn | before)
    )
    changed = {index for index in first if first[index] != second[index]}
    assert changed <= program.depending_on_registers()


def test_what_depends_on_the_registers():
    (_, state, program), *_ = groups_of_all_kinds()["state"]
    late = program.depending_on_registers()
    for name in ("x_re", "x_im", "g_re", "g_im"):
        assert program.results[name] in late
    for name in ("drive_re", "drive_im"):
        assert program.results[name] not in late
    named = {step.immediate: index for index, step in enumerate(program.steps)}
    assert {named["x_re"], named["x_im"]} <= late
    assert late.isdisjoint(named[name] for name in parameters(state))
    (_, _, program), *_ = groups_of_all_kinds()["gate"]
    assert program.depending_on_registers() == set()


# One operation at a time, on operands of any interval


class Operands(NamedTuple):
    left: Annotated[np.ndarray, Format(64, 0)]
    right: Annotated[np.ndarray, Format(64, 0)]


def traced(function, left: tuple[int, int], right: tuple[int, int]) -> Program:
    """The program of a function of two per-neuron constants that lie in these intervals."""
    kind = NeuronKind(
        name="function",
        title="",
        ports=(),
        state=(),
        messages=("result",),
        probes=(),
        constants=Operands,
        update=lambda accumulators, state, constants: ((), (function(*constants),), ()),
    )
    constants = Operands(*(np.array(interval, dtype=np.int64) for interval in (left, right)))
    formats = {"result": Format(16, 0)}
    group = NeuronGroup("function", kind, 2, constants, formats, {})
    network = Network("one", 1, Format(16, 0), (group,), (), Endpoint("function", "result"))
    return program_of(network, group)


def result_step(program: Program) -> Step:
    return program.steps[program.results["result"]]


TABLE = np.array([4, -7, 12, 0, 5, 5, -1], dtype=np.int64)
#: name -> (on symbols, on integers, whether the interval is as narrow as can be)
FUNCTIONS = {
    "add": (lambda a, b: a + b, lambda a, b: a + b, True),
    "add constant": (lambda a, b: 5 + a, lambda a, b: 5 + a, True),
    "subtract": (lambda a, b: a - b, lambda a, b: a - b, True),
    "subtract from constant": (lambda a, b: 5 - a, lambda a, b: 5 - a, True),
    "negate": (lambda a, b: -a, lambda a, b: -a, True),
    "multiply": (lambda a, b: a * b, lambda a, b: a * b, True),
    "multiply by constant": (lambda a, b: -3 * a, lambda a, b: -3 * a, True),
    "shift left": (lambda a, b: a << 3, lambda a, b: a << 3, True),
    "shift right": (lambda a, b: a >> 2, lambda a, b: a >> 2, True),
    "shift either way": (lambda a, b: shift(a, -1), lambda a, b: a >> 1, True),
    "minimum": (np.minimum, min, True),
    "maximum": (np.maximum, max, True),
    "minimum with constant": (lambda a, b: np.minimum(2, a), lambda a, b: min(2, a), True),
    "saturate": (lambda a, b: saturate(a, 3), lambda a, b: max(-4, min(3, a)), True),
    "absolute": (lambda a, b: np.abs(a), lambda a, b: abs(a), True),
    "greater": (lambda a, b: a > b, lambda a, b: int(a > b), True),
    "less": (lambda a, b: a < b, lambda a, b: int(a < b), True),
    "equal": (lambda a, b: a == b, lambda a, b: int(a == b), True),
    "equal to constant": (lambda a, b: a == 0, lambda a, b: int(a == 0), True),
    "mask": (lambda a, b: a & 3, lambda a, b: a & 3, False),
    "and": (
        lambda a, b: (a > 0) & (b > 0),
        lambda a, b: int(a > 0 and b > 0),
        False,
    ),
    "or": (
        lambda a, b: (a > 0) | (b > 0),
        lambda a, b: int(a > 0 or b > 0),
        False,
    ),
    "select": (lambda a, b: np.where(a > b, a, 7), lambda a, b: a if a > b else 7, False),
    "look up": (
        lambda a, b: look_up(TABLE, np.minimum(np.abs(a), 6)),
        lambda a, b: int(TABLE[min(abs(a), 6)]),
        False,
    ),
}
small_interval = st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(
    lambda ends: (ends[0], ends[0] + ends[1])
)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None)
@given(left=small_interval, right=small_interval)
def test_an_operation_on_all_operands_of_an_interval(name, left, right):
    on_symbols, on_integers, narrowest = FUNCTIONS[name]
    program = traced(on_symbols, left, right)
    outcomes = set()
    for a, b in itertools.product(range(left[0], left[1] + 1), range(right[0], right[1] + 1)):
        values = execute(program, {"left": a, "right": b})
        assert_within_intervals(program, values)
        assert values[program.results["result"]] == on_integers(a, b)
        outcomes.add(on_integers(a, b))
    if narrowest:
        step = result_step(program)
        assert (step.lowest, step.highest) == (min(outcomes), max(outcomes))


#: operation -> (on symbols, on integers); enough to write any straight line with
CHAINED = {
    "+": (lambda a, b: a + b, OPERATIONS["+"]),
    "-": (lambda a, b: a - b, OPERATIONS["-"]),
    "*": (lambda a, b: a * b, OPERATIONS["*"]),
    "min": (np.minimum, min),
    "max": (np.maximum, max),
    "abs": (lambda a, b: np.abs(a), lambda a, b: abs(a)),
    ">>": (lambda a, b: a >> 3, lambda a, b: a >> 3),
    "<<": (lambda a, b: a << 2, lambda a, b: a << 2),
    "0 +": (lambda a, b: 0 + a, lambda a, b: a),
    ">> 0": (lambda a, b: a >> 0, lambda a, b: a),
    "saturate": (lambda a, b: saturate(a, 6), lambda a, b: max(-32, min(31, a))),
    "select": (lambda a, b: np.where(a > b, b, a), lambda a, b: b if a > b else a),
    "select equal": (lambda a, b: np.where(a == b, 3, b), lambda a, b: 3 if a == b else b),
}
chains = st.lists(
    st.tuples(st.sampled_from(sorted(CHAINED)), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=9,
)


def run_chain(chain, which: int, left, right):
    """Apply a chain of operations, each to two of the values so far."""
    values = [left, right]
    for name, first, second in chain:
        operands = values[first % len(values)], values[second % len(values)]
        values.append(CHAINED[name][which](*operands))
    return values[-1]


@settings(deadline=None, max_examples=300)
@given(chain=chains, left=small_interval, right=small_interval, data=st.data())
def test_any_straight_line(chain, left, right, data):
    program = traced(lambda a, b: run_chain(chain, 0, a, b), left, right)
    a, b = (data.draw(st.integers(*interval)) for interval in (left, right))
    values = execute(program, {"left": a, "right": b})
    assert_within_intervals(program, values)
    assert values[program.results["result"]] == run_chain(chain, 1, a, b)


# Steps that cannot do anything are not written down

NOTHING_TO_DO = {
    "saturation of what fits": lambda a, b: saturate(a, 5),
    "saturation at the same width twice": lambda a, b: saturate(saturate(a, 5), 5),
    "conversion to the same format": lambda a, b: convert(a, Format(5, 2), Format(5, 2)),
    "minimum with what is larger": lambda a, b: np.minimum(a, b),
    "minimum the other way round": lambda a, b: np.minimum(b, a),
    "maximum with what is smaller": lambda a, b: np.maximum(a, -20),
    "maximum the other way round": lambda a, b: np.maximum(-20, a),
    "minimum that may be equal": lambda a, b: np.minimum(a, 15),
    "maximum that may be equal": lambda a, b: np.maximum(a, -16),
    "shift by nothing": lambda a, b: shift(a, 0),
    "right shift by nothing": lambda a, b: a >> 0,
    "sum with nothing": lambda a, b: a + 0,
    "difference to nothing": lambda a, b: a - 0,
}


@pytest.mark.parametrize("name", NOTHING_TO_DO)
def test_nothing_to_do(name):
    program = traced(NOTHING_TO_DO[name], (-16, 15), (20, 30))
    assert result_step(program) == Step("parameter", (), "left", -16, 15)


def test_the_magnitude_of_what_is_not_negative_is_itself():
    assert result_step(traced(lambda a, b: np.abs(b), (0, 1), (0, 9))).immediate == "right"


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: saturate(a, 4),
        lambda a, b: np.minimum(a, 14),
        lambda a, b: np.maximum(a, -15),
        lambda a, b: np.minimum(a, b),
        lambda a, b: np.maximum(a, b),
        lambda a, b: np.abs(a),
        lambda a, b: a - b,
        lambda a, b: a >> 1,
    ],
)
def test_something_to_do(function):
    program = traced(function, (-16, 15), (0, 1))
    assert result_step(program).immediate not in ("left", "right")


def test_results_of_one_value_are_constants():
    assert result_step(traced(lambda a, b: a, (3, 3), (0, 1))) == Step("constant", (), 3, 3, 3)
    for function, expected in (
        (lambda a, b: a * 0, 0),
        (lambda a, b: a > 9, 0),
        (lambda a, b: a < 9, 1),
        (lambda a, b: a == 9, 0),
        (lambda a, b: np.minimum(a, -9), -9),
        (lambda a, b: saturate(a + 100, 5), 15),
        (lambda a, b: np.where(a > 9, a, 4) & 0, 0),
    ):
        step = result_step(traced(function, (-4, 4), (0, 1)))
        assert (step.operation, step.immediate) == ("constant", expected)


def test_what_cannot_be_traced_is_refused():
    for function in (
        lambda a, b: np.sqrt(a),
        lambda a, b: np.add.reduce(a),
        lambda a, b: np.add(a, b, dtype=np.int32),
        lambda a, b: np.concatenate([a, b]),
        lambda a, b: a ^ b,
    ):
        with pytest.raises(TypeError):
            traced(function, (-4, 4), (0, 1))
