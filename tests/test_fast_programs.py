"""The fast simulator's kernels of neurons compute what the neurons' own definition says."""

import itertools

import every_kind
import numpy as np
import pytest
import random_networks
from numpy.testing import assert_array_equal
from programs_to_try import OPERATIONS, corners, groups_of_all_kinds

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.tracing import Program, Step, parameters
from s5_to_loihi.simulators import object_code
from s5_to_loihi.simulators.fast import FUNCTION, FastSimulator, context_of
from s5_to_loihi.simulators.fast_programs import LONGEST_CHAIN, Neurons, Places, neurons
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.simulators.loops import BLOCK, CONTEXT, COUNTS

#: Groups of a kind that are tried; more are alike.
GROUPS = 3


def called(made: Neurons, size: int, arrays: list[tuple[str, np.ndarray]], context, now: int = 0):
    """Call a kernel with its places, all of which have an array of their own."""
    tables = [np.array(table, dtype=np.int32) for table in made.tables]
    bases = dict(zip(("messages", "accumulators", "state"), context, strict=True))
    given = [
        array.ctypes.data - (bases[place].ctypes.data if place in bases else 0)
        for place, array in arrays
    ]
    addresses = [table.ctypes.data for table in tables]
    arguments = np.array([size, *given, *made.constants, *addresses], dtype=np.int64)
    (address,) = object_code.addresses([made.kernel]).values()
    nothing = np.zeros(1, dtype=np.int64)
    memory = context_of(*context, nothing, nothing, nothing, nothing, count=BLOCK)
    memory[(*CONTEXT, *COUNTS).index("now")] = now
    assert FUNCTION(address)(memory.ctypes.data, arguments.ctypes.data) == 1


def sources_of(group: NeuronGroup, program: Program) -> dict[str, tuple[int, int]]:
    """The intervals of accumulators and registers, by name."""
    found = {
        step.name: (step.lowest, step.highest)
        for step in program.steps
        if step.operation in ("accumulator", "register")
    }
    return found | {name: limits(group.formats[name].bits) for name in group.kind.state}


def expected_of(group: NeuronGroup, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the definition computes of (rows, neurons)."""
    shape = next(iter(values.values())).shape
    absent = np.zeros(shape, dtype=np.int64)
    kind = group.kind
    accumulators = tuple(values.get(name, absent) for name in kind.ports)
    registers = tuple(values[name] for name in kind.state)
    results = zip(
        (*kind.state, *kind.messages, *kind.probes),
        sum(kind.update(accumulators, registers, group.constants), ()),
        strict=True,
    )
    return {name: np.broadcast_to(value, shape) for name, value in results}


def laid_out(group: NeuronGroup, intervals) -> dict[str, np.ndarray]:
    """(rows, neurons) of each source: combinations of extreme values, row by row."""
    combinations = list(itertools.islice(itertools.cycle(corners(intervals)), BLOCK * group.size))
    table = np.array(combinations, dtype=np.int64).reshape(BLOCK, group.size, len(intervals))
    return {name: table[..., number] for number, name in enumerate(intervals)}


def places_of(group: NeuronGroup, program: Program) -> Places:
    stores = {name: name for name in group.kind.state}
    stores |= {name: f"to_{name}" for name in group.kind.messages}
    arrays = {name: "state" for name in group.kind.state}
    arrays |= {f"to_{name}": "messages" for name in group.kind.messages}
    loads = {}
    for index in sorted(program.needed(stores)):
        step = program.steps[index]
        name = f"from_{step.immediate}".replace(".", "_")
        if step.operation == "register":
            loads[index] = step.name
        elif step.operation in ("accumulator", "parameter"):
            loads[index] = name
            arrays[name] = "address" if step.operation == "parameter" else "accumulators"
    return Places(loads, stores, arrays)


def run(group: NeuronGroup, program: Program, values, way: str) -> dict[str, np.ndarray]:
    """The results of a kernel, (rows, neurons), of rows that each start from given registers."""
    places = places_of(group, program)
    made = neurons(program, places, group.kind.state, way)
    constants = {
        f"from_{name}".replace(".", "_"): np.ascontiguousarray(value, dtype=np.int32)
        for name, value in parameters(group).items()
    }
    results = {name: np.zeros((BLOCK, group.size), dtype=np.int32) for name in places.stores}
    in_rows = way != "token"
    for row in range(1 if way == "block" else BLOCK):
        memory = {}
        for name, place in places.arrays.items():
            if place == "address":
                memory[name] = constants[name]
            elif place == "state":
                memory[name] = values[name][row].astype(np.int32)
            else:
                source = values.get(name.removeprefix("from_"), np.zeros((BLOCK, group.size)))
                whole = source.T if in_rows else source[row]
                memory[name] = np.ascontiguousarray(whole, dtype=np.int32)
        nothing = [np.zeros(1, dtype=np.int32) for _ in range(3)]
        arrays = [(place, memory[name]) for name, place in places.arrays.items()]
        called(made, group.size, arrays, nothing, row)
        for result, name in places.stores.items():
            if places.arrays[name] == "state":
                results[result][row] = memory[name]
            elif way == "block":
                results[result] = memory[name].T
            else:
                results[result][row] = memory[name][:, row] if in_rows else memory[name]
    return results


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (name, way)
        for name, kind in KINDS.items()
        for way in ("token", "column", "block")
        # A block's registers follow from one another: compared as sequences.
        if way != "block" or not kind.state
    ],
)
def test_kernels_compute_what_the_definition_says(kind, way):
    """At the ends of what can arrive."""
    tried = [(group, program) for _, group, program in groups_of_all_kinds()[kind]]
    for group, program in tried[:: max(1, len(tried) // GROUPS)]:
        intervals = sources_of(group, program)
        if not intervals:
            continue
        values = laid_out(group, intervals)
        expected = expected_of(group, values)
        for name, got in run(group, program, values, way).items():
            assert_array_equal(got, expected[name], err_msg=f"{group.name} {name}")


#: Operations, the intervals of two operands, and values of these.
WIDE = [
    (">>", (-(2**31), 2**31 - 1), (0, 63), [(-(2**31), 63), (2**31 - 1, 40), (-5, 32), (7, 0)]),
    ("<<", (-3, 3), (0, 40), [(3, 40), (-3, 31), (1, 0)]),
    ("*", (-(2**31), 2**31 - 1), (-(2**31), 2**31 - 1), [(-(2**31), -(2**31)), (2**31 - 1, 2)]),
    ("+", (-(2**31), 2**31 - 1), (-(2**31), 2**31 - 1), [(2**31 - 1, 2**31 - 1), (-(2**31), -1)]),
    ("-", (-(2**31), 2**31 - 1), (-(2**31), 2**31 - 1), [(-(2**31), 2**31 - 1), (0, -(2**31))]),
]


@pytest.mark.parametrize(("operation", "left", "right", "values"), WIDE, ids=lambda one: str(one))
def test_what_leaves_32_bits_is_computed_in_more(operation, left, right, values):
    """The upper and the lower half of a result are compared: messages have 32 bits."""
    ends = [OPERATIONS[operation](a, b) for a in left for b in right]
    interval = (min(ends), max(ends))
    steps = (
        Step("accumulator", (), "left", *left),
        Step("accumulator", (), "right", *right),
        Step(operation, (0, 1), None, *interval),
        Step("constant", (), 32, 32, 32),
        Step(">>", (2, 3), None, interval[0] >> 32, interval[1] >> 32),
        Step("constant", (), 2**16 - 1, 2**16 - 1, 2**16 - 1),
        Step("&", (2, 5), None, 0, 2**16 - 1),
    )
    program = Program(steps, {"high": 4, "low": 6})
    names = {"left": "accumulators", "right": "accumulators", "high": "messages"}
    places = Places(
        {0: "left", 1: "right"}, {"high": "high", "low": "low"}, names | {"low": "messages"}
    )
    given = {
        name: np.array(column, dtype=np.int32)
        for name, column in zip(("left", "right"), zip(*values, strict=True), strict=True)
    }
    memory = given | {name: np.zeros(len(values), dtype=np.int32) for name in ("high", "low")}
    made = neurons(program, places, (), "token")
    nothing = [np.zeros(1, dtype=np.int32) for _ in range(3)]
    called(
        made, len(values), [(places.arrays[name], memory[name]) for name in places.arrays], nothing
    )
    exact = [OPERATIONS[operation](a, b) for a, b in values]
    assert memory["high"].tolist() == [one >> 32 for one in exact]
    assert memory["low"].tolist() == [one & 0xFFFF for one in exact]


@pytest.mark.parametrize("entries", [1, 2, LONGEST_CHAIN, LONGEST_CHAIN + 1, 300])
def test_tables_of_any_length(entries):
    table = tuple(int(one) for one in np.random.default_rng(1).integers(-(2**30), 2**30, entries))
    steps = (
        Step("accumulator", (), "index", 0, entries - 1),
        Step("lookup", (0,), table, min(table), max(table)),
    )
    places = Places(
        {0: "index"}, {"found": "found"}, {"index": "accumulators", "found": "messages"}
    )
    index, found = np.arange(entries, dtype=np.int32), np.zeros(entries, dtype=np.int32)
    made = neurons(Program(steps, {"found": 1}), places, (), "token")
    nothing = [np.zeros(1, dtype=np.int32) for _ in range(3)]
    called(made, entries, [("accumulators", index), ("messages", found)], nothing)
    assert tuple(found.tolist()) == table


@pytest.mark.parametrize("name", every_kind.QUANTIZED)
def test_networks_of_our_quantizer(name):
    network = every_kind.network_of(name)
    tokens = random_networks.random_tokens(3, BLOCK + 40, 2, network.input_size).astype(np.int32)
    expected = Interpreter(network).evaluate(tokens).outputs
    simulator = FastSimulator(network)
    assert_array_equal(simulator.run(tokens, threads=2).outputs, expected)
    stream = simulator.stream()
    assert_array_equal([stream.step(token) for token in tokens[:, 1]], expected[:, 1])
