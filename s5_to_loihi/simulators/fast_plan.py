"""What the fast simulator calls, one kernel after the other, for a token or for a block of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.ranges import message_interval
from s5_to_loihi.network.ranges import program as program_of
from s5_to_loihi.network.tracing import Program
from s5_to_loihi.network.widths import WORD_BITS
from s5_to_loihi.simulators import fast_synapses, object_code
from s5_to_loihi.simulators.fast_layout import Layout, Push, Share, of_share
from s5_to_loihi.simulators.fast_programs import Places, neurons
from s5_to_loihi.simulators.loops import BLOCK, CONTEXT, COUNTS, Kernel

#: From which part of its entries on a matrix is multiplied densely. Measured: at Intel's size, a
#: tenth, a token takes 11 us so and 18 us if all products are scattered.
DENSE_FROM = 1 / 16
#: The most bytes of a network's dense matrices: what stays in a core's second-level cache.
DENSE_BYTES = 1 << 20
#: The bytes of an integer in messages, sums and states, and in the counts of a stream.
_WORD, _LONG = 4, 8
#: The address of what a thread does that waits for others for long: it lets others run.
_GIVE_WAY = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


@dataclass(frozen=True)
class Call:
    """A kernel and the integers that it is called with.

    Attributes:
        kernel: what is called.
        arguments: see ``loops.Argument``.
        each: calls for each token of a block, in place of arguments.
        group: whose neurons it updates; empty if it updates none.
    """

    kernel: Kernel
    arguments: tuple[int, ...] = ()
    each: tuple[Call, ...] = ()
    group: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """Calls made ready.

    Attributes:
        function, arguments: two addresses: what does them all, and what it wants beside a context.
        memory: what must not go away as long as these are used.
    """

    function: int
    arguments: int
    memory: list[np.ndarray] = field(repr=False)


class Planner:
    """Plans of a network, or of one thread's share; holds the constants of its neurons' tables."""

    def __init__(self, network: Network, layout: Layout, share: Share):
        """Prepare the plans of a verified network; the layout is whole."""
        self._network, self._layout, self._share = network, of_share(layout, share), share
        self._memory: list[np.ndarray] = []
        self._tables: dict[Table, int] = {}
        self._programs: dict[str, Program] = {}
        self._pushes = by_source(layout)
        self._room = DENSE_BYTES
        self._kept: dict[int, list[Push]] = {}
        for push in layout.pushes:
            if push.kept is not None and push.pointer is not None:
                self._kept.setdefault(push.target, []).append(push)

    def of_a_token(self) -> list[Call]:
        """Return what a stream does with a token, which several threads have let in before."""
        network, layout = self._network, self._layout
        self._room = DENSE_BYTES
        calls = [] if self._share.parts > 1 else self.of_entering()
        calls += [*self._cleared(), *self._sent(0, INPUT)]
        for index, group in enumerate(network.groups, start=1):
            if goes_nowhere(network, group):
                continue
            if self._is_here(group):
                calls += self._waits(group, block=False)
                calls += self._returned(index, column=False)
                calls.append(self._neurons(group, "token"))
            calls += self._meeting()
            calls += self._sent(index, group.name)
        output = layout.messages[network.output] * _WORD
        leaving = Call(fast_synapses.leave(), (output, 0, network.output_size))
        return [*calls, leaving] if self._is_first else calls

    def of_entering(self) -> list[Call]:
        """Return how a token comes in, which may be refused."""
        network = self._network
        lowest, highest = limits(network.input_format.bits)
        return [Call(fast_synapses.enter(), (0, 0, network.input_size, lowest, highest))]

    def _cleared(self) -> list[Call]:
        """Begin with sums of zero, each thread with its own: they stay in its cache."""
        if self._share.parts == 1:
            return [Call(fast_synapses.clear(), (0, max(1, self._layout.accumulator_rows)))]
        return [
            Call(fast_synapses.clear(), ((first + begin) * _WORD, end - begin))
            for port, (array, first) in self._layout.ports.items()
            if array == "accumulators"
            for begin, end in [self._share.rows[port.group]]
        ]

    def of_a_block(self, counting: bool) -> list[Call]:
        """Return what a sequence does with a block of tokens."""
        network, layout = self._network, self._layout
        counting &= self._is_first
        first, size = self._part_of(network.input_size)
        given = (first * _WORD, first * _WORD * BLOCK, size, network.input_size)
        calls = [Call(fast_synapses.enter_block(), given), *self._meeting()]
        calls += self._counted(0, INPUT) if counting else ()
        for index, group in enumerate(network.groups, start=1):
            if goes_nowhere(network, group):
                continue
            calls += self._updated(index, group) if self._is_here(group) else ()
            calls += self._meeting()
            calls += self._counted(index, group.name) if counting else ()
        first, size = self._part_of(network.output_size)
        output = (layout.messages[network.output] + first) * _WORD * BLOCK
        given = (output, first * _WORD, size, network.output_size)
        return [*calls, Call(fast_synapses.leave_block(), given)]

    def _updated(self, index: int, group: NeuronGroup) -> list[Call]:
        """Add up what a group receives in a block, and update its neurons."""
        calls: list[Call] = []
        for name in group.kind.ports:
            calls += self._pulled(Endpoint(group.name, name))
        calls += self._waits(group, block=True)
        if not any(edge.recurrent for edge in self._network.incoming(group.name)):
            return [*calls, self._neurons(group, "block")]
        now = (*CONTEXT, *COUNTS).index("now")
        each = (*self._returned(index, column=True), self._neurons(group, "column"))
        return [*calls, Call(fast_synapses.each_token(now), each=each, group=group.name)]

    def _part_of(self, size: int) -> tuple[int, int]:
        """Return where this thread's part of so many features begins, and how many it has."""
        first, end = (size * (self._share.part + one) // self._share.parts for one in (0, 1))
        return first, end - first

    @property
    def _is_first(self) -> bool:
        return self._share.part == 0

    def _is_here(self, group: NeuronGroup) -> bool:
        first, end = self._share.rows[group.name]
        return end > first

    def _meeting(self) -> list[Call]:
        """Wait for the other threads: what a group sends is read by all of them."""
        if self._share.parts == 1:
            return []
        return [Call(fast_synapses.meet(), (self._share.parts, _GIVE_WAY))]

    def plan(self, calls: list[Call]) -> Plan:
        """Return calls made ready; this makes the machine code that is not there yet."""
        everything = [*calls, *(inner for call in calls for inner in call.each)]
        kernels = [fast_synapses.sequence(), *(call.kernel for call in everything)]
        known = object_code.addresses(kernels)
        memory = [*self._memory, *vars(self._layout).values()]

        def kept(integers: list[int]) -> int:
            array = np.array(integers or [0], dtype=np.int64)
            memory.append(array)
            return array.ctypes.data

        def one_after_the_other(some: tuple[Call, ...]) -> int:
            table = []
            for call in some:
                given = list(call.arguments)
                if call.each:
                    given = [known[fast_synapses.sequence()], one_after_the_other(call.each)]
                table += [known[call.kernel], kept(given)]
            return kept([kept(table), len(some)])

        arguments = one_after_the_other(tuple(calls))
        return Plan(known[fast_synapses.sequence()], arguments, memory)

    # --- messages

    def _sent(self, index: int, group: str) -> list[Call]:
        """Count and multiply what a group sends in a token."""
        calls = []
        for first, size, pushes in sources(self._network, self._layout, self._pushes, group):
            rows = first * _WORD
            handed = [(push.target, push.handed_on) for push in pushes if push.handed_on]
            pairs = self._kept_integers(np.array(handed, dtype=np.int64)) if handed else 0
            if self._is_first:
                given = (rows, size, index * _LONG, 0, pairs, len(handed))
                calls.append(Call(fast_synapses.count(), given))
            for push in pushes:
                if push.pointer is None:
                    continue
                synops = push.target * _LONG
                if push.target == index:  # they are added up with the next token
                    calls.append(
                        Call(
                            fast_synapses.count_reached(),
                            (rows, size, self._columns(push), synops),
                        )
                    )
                    continue
                dense = self._multiplied(push, rows, synops)
                calls += dense or [self._pushed(push, rows, (synops,))]
        return calls

    def _multiplied(self, push: Push, rows: int, synops: int) -> list[Call]:
        """Return the calls that multiply densely, if that pays and is possible."""
        layout, network = self._layout, self._network
        assert push.pointer is not None  # it adds something up
        if push.product_bits is not None or not fits_16_bits(network, push.source):
            return []
        synapses = layout.synapses(push)
        if not 0 < synapses.stop - synapses.start <= self._room:
            return []
        pointers = layout.column_pointers[push.pointer : push.pointer + push.count + 1]
        targets = layout.column_targets[synapses].astype(np.int64) + push.base
        first, count = targets.min(), np.ptp(targets) + 1
        stride = -(-push.count // fast_synapses.PRODUCTS) * fast_synapses.PRODUCTS
        size = int(count) * stride
        if stride > fast_synapses.MOST_MESSAGES or size > self._room:
            return []
        if len(targets) < DENSE_FROM * size:
            return []
        matrix = np.zeros((count, stride), dtype=np.int64)
        fans = pointers[1:].astype(np.int32) - pointers[:-1].astype(np.int32)
        senders = np.repeat(np.arange(push.count), fans)
        np.add.at(matrix, (targets - first, senders), layout.column_weights[synapses])
        weights = matrix.astype(np.int8)
        if not np.array_equal(weights, matrix):  # synapses of the same ends
            return []
        self._room -= size
        calls = []
        for begin, end in self._runs(push, int(first), int(first + count)):
            rows_of = self._kept_integers(weights[begin - first : end - first])
            given = (rows, push.count, rows_of, end - begin, stride, self._kept_integers(fans))
            calls.append(Call(fast_synapses.multiply(), (*given, begin * _WORD, synops)))
            fans = np.zeros_like(fans)  # each message is counted once
        return calls

    def _runs(self, push: Push, first: int, end: int) -> list[tuple[int, int]]:
        """Return the rows that a push may touch, run by run: between them are other threads'."""
        if self._share.parts == 1:
            return [(first, end)]
        runs = []
        group = self._network.groups[push.target - 1]
        for name in group.kind.ports:
            array, of_port = self._layout.ports[Endpoint(group.name, name)]
            own = [of_port + one for one in self._share.rows[group.name]]
            run = max(first, own[0]), min(end, own[1])
            if array == "accumulators" and run[0] < run[1]:
                runs.append(run)
        return runs

    def _pushed(self, push: Push, rows: int, rest: tuple[int, ...], **how: bool) -> Call:
        layout, wraps = self._layout, push.product_bits is not None
        left = (WORD_BITS - push.product_bits,) if push.product_bits is not None else ()
        targets, weights = layout.column_targets, layout.column_weights
        given = (rows, push.count, self._columns(push), targets.ctypes.data, weights.ctypes.data)
        base = push.base * _WORD * (BLOCK if how.get("column") else 1)
        kernel = fast_synapses.push(wrapped=wraps, wide=targets.itemsize > 2, **how)
        return Call(kernel, (*given, base, *rest, *left))

    def _columns(self, push: Push) -> int:
        assert push.pointer is not None  # it adds something up
        return _address(self._layout.column_pointers, push.pointer)

    def _returned(self, index: int, column: bool) -> list[Call]:
        """Add up what a group sent to itself before."""
        return [
            self._pushed(push, push.kept * _WORD, (), kept=True, column=column)
            for push in self._kept.get(index, ())
            if push.kept is not None
        ]

    def _waits(self, group: NeuronGroup, block: bool) -> list[Call]:
        """Exchange the sums of a group for those that are due."""
        layout, row = self._layout, _WORD * (BLOCK if block else 1)
        begin, end = self._share.rows[group.name]
        return [
            Call(
                fast_synapses.wait(block),
                (
                    (layout.ports[one.port][1] + begin) * row,
                    end - begin,
                    _address(layout.parameter_values, one.lengths + begin),
                    (one.ring + int(group.waits[one.port.name][:begin].sum())) * _WORD,
                    (one.positions + begin) * _WORD,
                ),
            )
            for one in layout.waits
            if one.port.group == group.name
        ]

    def _pulled(self, port: Endpoint) -> list[Call]:
        """Add up the products at a port; of what a group sends to itself nothing is there yet."""
        layout = self._layout
        array, first = layout.ports[port]
        if array != "accumulators":
            return []
        begin, end = self._share.rows[port.group]
        first, size = first + begin, end - begin
        (wraps,) = {edge.product_bits for edge in self._network.incoming(port)} or {None}
        left = () if wraps is None else (WORD_BITS - wraps,)
        sources, weights = layout.row_sources, layout.row_weights
        pointers = _address(layout.row_pointers, first)
        given = (0, first * _WORD * BLOCK, size, pointers, sources.ctypes.data, weights.ctypes.data)
        return [Call(fast_synapses.pull(wrapped=wraps is not None), (*given, *left))]

    def _counted(self, index: int, group: str) -> list[Call]:
        row = _WORD * BLOCK
        calls = []
        for first, size, pushes in sources(self._network, self._layout, self._pushes, group):
            rows = first * row
            calls.append(Call(fast_synapses.count_block(fans=False), (rows, size, index * row)))
            calls += [
                Call(
                    fast_synapses.count_block(fans=True),
                    (rows, size, push.target * row, _address(self._layout.fans, push.fan)),
                )
                for push in pushes
            ]
        return calls

    # --- neurons

    def _neurons(self, group: NeuronGroup, way: str) -> Call:
        if group.name not in self._programs:
            self._programs[group.name] = program_of(self._network, group)
        program, layout = self._programs[group.name], self._layout
        places, firsts = places_of(self._network, layout, group, program)
        made = neurons(program, places, group.kind.state, way)
        rows = _WORD if way == "token" else _WORD * BLOCK
        begin, end = self._share.rows[group.name]
        given = [
            _address(layout.parameter_values, first + begin)
            if places.arrays[name] == "address"
            else (first + begin) * (_WORD if places.arrays[name] == "state" else rows)
            for name, first in firsts.items()
        ]
        tables = [self._table(table) for table in made.tables]
        return Call(made.kernel, (end - begin, *given, *made.constants, *tables), group=group.name)

    def _table(self, table: Table) -> int:
        if table not in self._tables:
            self._tables[table] = self._kept_integers(np.array(table, dtype=np.int32))
        return self._tables[table]

    def _kept_integers(self, array: np.ndarray) -> int:
        self._memory.append(array)
        return array.ctypes.data


def _address(array: np.ndarray, first: int) -> int:
    return array.ctypes.data + first * array.itemsize


# --- what every plan asks of a layout -------------------------------------------------------------


def goes_nowhere(network: Network, group: NeuronGroup) -> bool:
    """Tell whether nobody would notice if a group were not updated."""
    return not group.kind.state + network.sent_by(group)


def by_source(layout: Layout) -> dict[Endpoint, list[Push]]:
    """Return the pushes of each message."""
    pushes: dict[Endpoint, list[Push]] = {}
    for push in layout.pushes:
        pushes.setdefault(push.source, []).append(push)
    return pushes


def sources(
    network: Network, layout: Layout, pushes: dict[Endpoint, list[Push]], group: str
) -> Iterator[tuple[int, int, list[Push]]]:
    """Yield the messages of a group: first row, number of rows, and where they go."""
    names = (TOKEN,) if group == INPUT else network.sent_by(network.group(group))
    for source in (Endpoint(group, name) for name in names):
        goes = pushes.get(source, [])
        if group != INPUT or goes:
            yield layout.messages[source], layout.message_sizes[source], goes


def places_of(
    network: Network, layout: Layout, group: NeuronGroup, program: Program
) -> tuple[Places, dict[str, int]]:
    """Return where a group's kernel finds and puts what, and the first entry of each place."""
    names: dict[tuple[str, int], str] = {}

    def named(array: str, first: int) -> str:
        return names.setdefault((array, first), f"place{len(names)}")

    stores = {name: named("state", layout.registers[group.name, name]) for name in group.kind.state}
    for name in network.sent_by(group):
        stores[name] = named("messages", layout.messages[Endpoint(group.name, name)])
    loads = {}
    for index in sorted(program.needed(stores)):
        step = program.steps[index]
        if step.operation == "accumulator":
            loads[index] = named(*layout.ports[Endpoint(group.name, step.name)])
        elif step.operation == "register":
            loads[index] = named("state", layout.registers[group.name, step.name])
        elif step.operation == "parameter":
            loads[index] = named("address", layout.parameters[group.name, step.name])
    arrays = {name: array for (array, _), name in names.items()}
    firsts = {name: first for (_, first), name in names.items()}
    return Places(loads, stores, arrays), firsts


def fits_16_bits(network: Network, source: Endpoint) -> bool:
    """Tell whether a message fits 16 bits, whatever its group receives."""
    (lowest, highest), narrow = message_interval(network, source), limits(16)
    return narrow[0] <= lowest and highest <= narrow[1]
