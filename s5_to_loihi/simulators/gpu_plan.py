"""What the GPU simulator launches, one kernel after the other, for a block of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import hstack

from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup, Synapses
from s5_to_loihi.network.neurons.constants import Table
from s5_to_loihi.network.ranges import program as program_of
from s5_to_loihi.network.widths import WORD_BITS
from s5_to_loihi.simulators import gpu_kernels
from s5_to_loihi.simulators.devices import LaneDevice, Launch, Memory
from s5_to_loihi.simulators.fast_layout import Layout
from s5_to_loihi.simulators.fast_plan import (
    by_source,
    fits_16_bits,
    goes_nowhere,
    places_of,
    sources,
)
from s5_to_loihi.simulators.fast_programs import IN_ROWS
from s5_to_loihi.simulators.gpu_kernels import BYTES, ROWS, TOGETHER
from s5_to_loihi.simulators.lanes import LaneKernel


@dataclass(frozen=True)
class Room:
    """Memory of a device for a block of tokens of some sequences.

    Attributes:
        sequences: how many; their tokens lie next to one another.
        stride: columns that there is room for, a multiple of ``gpu_kernels.TILE``.
        addresses: of arrays, see ``GpuPlanner.sizes``.
    """

    sequences: int
    stride: int
    addresses: dict[str, int]

    def row(self, array: str, row: int) -> int:
        """Return the address of a row; ``state`` has one for each entry of each sequence's."""
        size = self.sequences * 4 if array == "state" else self.stride * BYTES[kind_of(array)]
        return self.addresses[array] + row * size


@dataclass(frozen=True)
class _Sums:
    """Synapses to a port from messages of one kind, or from registers."""

    kernel: LaneKernel
    given: dict[str, int]
    array: str
    row: int


@dataclass(frozen=True)
class _Group:
    """What is launched for a group; ``places`` are arrays and rows, ``given`` the rest."""

    number: int
    group: NeuronGroup
    pulled: tuple[_Sums, ...]
    returned: tuple[_Sums, ...]
    kernel: LaneKernel
    places: dict[str, tuple[str, int]]
    given: dict[str, int]


class GpuPlanner:
    """Launches of a network; holds its constants on a device."""

    def __init__(self, network: Network, layout: Layout, device: LaneDevice):
        """Copy the constants of a verified network to a device."""
        self._network, self._layout, self._device = network, layout, device
        self._memory: list[Memory] = []
        self._uploading: list[np.ndarray] = []
        self._tables: dict[Table, int] = {}
        self._pushes = by_source(layout)
        self._rows, self._counts = _rows_of_messages(network, layout)
        self._sources = {row: source for source, row in layout.messages.items()}
        self._parameters = self._kept(layout.parameter_values)
        self._fans = self._kept(layout.fans)
        self._firsts = {one: self._kept(_firsts(network, one.port)) for one in layout.waits}
        self._groups = [
            self._prepared(number, group)
            for number, group in enumerate(network.groups, start=1)
            if not goes_nowhere(network, group)
        ]
        device.mark().synchronize()
        self._uploading.clear()

    def row_of(self, source: Endpoint) -> tuple[str, int]:
        """Return the array and the row in which a message begins."""
        return self._rows[source]

    def leaving(self, counting: bool, record: bool) -> dict[str, tuple[int, str]]:
        """Return what a block leaves: name -> integers of a column, and their kind."""
        found = {"outputs": (self._network.output_size, self.kind(self._network.output))}
        if counting:
            found |= dict.fromkeys(("sent", "synops"), (len(self._network.groups) + 1, "i32"))
        if record:
            found["recorded"] = (self._layout.message_rows, "i32")
        return found

    def sizes(self, counting: bool, record: bool) -> dict[str, int]:
        """Return the bytes that a column takes in each array; a sequence in ``state``."""
        token = self.kind(Endpoint(INPUT, TOKEN))
        leaving = self.leaving(counting, record).items()
        return {
            "tokens": self._network.input_size * BYTES[token],
            "messages": self._counts["messages"] * BYTES["i32"],
            "narrow": self._counts["narrow"] * BYTES["i16"],
            "accumulators": self._layout.accumulator_rows * BYTES["i32"],
            "state": self._layout.register_count * BYTES["i32"],
            **{name: width * BYTES[kind] for name, (width, kind) in leaving},
        }

    def kind(self, source: Endpoint) -> str:
        """Return the integers in which a message is kept."""
        return kind_of(self._rows[source][0])

    def block(self, room: Room, tokens: int, counting: bool, record: bool) -> Iterator[Launch]:
        """Yield what is done with so many tokens of each sequence."""
        network, columns = self._network, tokens * room.sequences
        token = Endpoint(INPUT, TOKEN)
        given = {"stride": room.stride, "columns": columns, "size": network.input_size}
        given["messages"] = room.row(*self._rows[token])
        given["tokens"] = room.addresses["tokens"]
        kernel = gpu_kernels.enter(self.kind(token))
        rows = -(-network.input_size // TOGETHER)
        yield Launch("tokens in", kernel, rows, columns, kernel.ordered(given))
        if counting:
            yield from self._counted(room, columns, 0, INPUT)
        for one in self._groups:
            yield from self._pulling(room, columns, one)
            yield from self._waited(room, tokens, one.group)
            if one.returned:
                for now in range(tokens):
                    yield from self._returned(room, now, one)
                    yield self._updated(room, 1, now, one)
            else:
                yield self._updated(room, tokens, 0, one)
            if counting:
                yield from self._counted(room, columns, one.number, one.group.name)
        yield self._left(room, columns, network.output, "outputs", 0)
        if record:
            for source, first in self._layout.messages.items():
                yield self._left(room, columns, source, "recorded", first)

    def _left(self, room: Room, columns: int, source: Endpoint, target: str, first: int) -> Launch:
        """Hand a message out, from an integer of each column on."""
        width, to = self.leaving(True, True)[target]
        size = self._layout.message_sizes[source]
        given = {"stride": room.stride, "columns": columns, "size": size, "width": width}
        given["messages"] = room.row(*self._rows[source])
        given["outputs"] = room.addresses[target] + first * BYTES[to]
        kernel = gpu_kernels.leave(self.kind(source), to)
        rows = -(-columns // TOGETHER)
        return Launch(f"{target} out", kernel, rows, size, kernel.ordered(given))

    def _pulling(self, room: Room, columns: int, one: _Group) -> Iterator[Launch]:
        given = {"stride": room.stride, "columns": columns}
        for sums in one.pulled:
            to = {"sums": room.row("accumulators", sums.row), "messages": room.row(sums.array, 0)}
            yield Launch(
                f"synapses to {one.group.kind.name}",
                sums.kernel,
                -(-one.group.size // ROWS),
                gpu_kernels.pulling(kind_of(sums.array), columns),
                sums.kernel.ordered(given | sums.given | to),
            )

    def _updated(self, room: Room, tokens: int, now: int, one: _Group) -> Launch:
        """Return the update of a group, from one token of the block on."""
        columns = room.sequences if one.group.kind.state else tokens * room.sequences
        given = {"stride": room.stride, "columns": columns, "count": tokens, **one.given}
        for name, (array, row) in one.places.items():
            given[name] = room.row(array, row)
            if array in IN_ROWS:
                given[name] += now * room.sequences * BYTES[IN_ROWS[array]]
        return Launch(
            f"neurons {one.group.kind.name}",
            one.kernel,
            one.group.size,
            columns,
            one.kernel.ordered(given),
        )

    def _returned(self, room: Room, now: int, one: _Group) -> Iterator[Launch]:
        for sums in one.returned:
            given = {"stride": room.stride, "columns": room.sequences, **sums.given}
            given["kept"] = room.row("state", given["kept"])
            given["sums"] = room.row("accumulators", sums.row) + now * room.sequences * 4
            arguments = sums.kernel.ordered(given)
            yield Launch(
                f"synapses to {one.group.kind.name}",
                sums.kernel,
                one.group.size,
                room.sequences,
                arguments,
            )

    def _waited(self, room: Room, tokens: int, group: NeuronGroup) -> Iterator[Launch]:
        kernel, layout = gpu_kernels.wait(), self._layout
        for one in layout.waits:
            if one.port.group != group.name:
                continue
            given = {
                "sums": room.row("accumulators", layout.ports[one.port][1]),
                "ring": room.row("state", one.ring),
                "positions": room.row("state", one.positions),
                "lengths": self._parameters + one.lengths * 4,
                "firsts": self._firsts[one],
                "stride": room.stride,
                "columns": room.sequences,
                "count": tokens,
            }
            yield Launch("waiting", kernel, group.size, room.sequences, kernel.ordered(given))

    def _counted(self, room: Room, columns: int, number: int, group: str) -> Iterator[Launch]:
        network, layout = self._network, self._layout
        width, _ = self.leaving(True, False)["sent"]
        for first, size, pushes in sources(network, layout, self._pushes, group):
            array, row = self._rows[self._sources[first]]
            given = {"stride": room.stride, "columns": columns, "size": size, "width": width}
            given["messages"] = room.row(array, row)
            for fan, counts, place in (
                (None, "sent", number),
                *((push.fan, "synops", push.target) for push in pushes),
            ):
                kernel = gpu_kernels.count(kind_of(array), fans=fan is not None)
                given["counts"] = room.addresses[counts] + place * BYTES["i32"]
                given["fans"] = self._fans + (fan or 0) * BYTES["i32"]
                yield Launch("counting", kernel, 1, columns, kernel.ordered(given))

    # --- what stays the same

    def _prepared(self, number: int, group: NeuronGroup) -> _Group:
        network, layout = self._network, self._layout
        program = program_of(network, group)
        places, firsts = places_of(network, layout, group, program)
        found = {
            name: self._rows[self._sources[firsts[name]]]
            if array == "messages"
            else (array, firsts[name])
            for name, array in places.arrays.items()
        }
        places = replace(places, arrays={name: array for name, (array, _) in found.items()})
        made = gpu_kernels.lanes(program, places, group.kind.state)
        given = {f"constant{place}": value for place, value in enumerate(made.constants)}
        for place, table in enumerate(made.tables):
            if table not in self._tables:
                self._tables[table] = self._kept(np.array(table, dtype=np.int32))
            given[f"table{place}"] = self._tables[table]
        for name in [name for name, (array, _) in found.items() if array == "address"]:
            given[name] = self._parameters + found.pop(name)[1] * BYTES["i32"]
        pulled: list[_Sums] = []
        returned: list[_Sums] = []
        for port in (Endpoint(group.name, name) for name in group.kind.ports):
            if layout.ports[port][0] == "accumulators":
                pulled += self._pulled(port, group.size)
                returned += self._given_back(group, port)
        return _Group(number, group, tuple(pulled), tuple(returned), made.kernel, found, given)

    def _pulled(self, port: Endpoint, size: int) -> Iterator[_Sums]:
        """Yield what is added up at a port, by the array in which its messages are."""
        by_array: dict[str, list[Synapses]] = {}
        for edge in self._network.incoming(port):
            if not edge.recurrent:
                by_array.setdefault(self._rows[edge.source][0], []).append(edge)
        _, row = self._layout.ports[port]
        for number, (array, edges) in enumerate((by_array or {"narrow": []}).items()):
            left = _shift(self._network, port)
            kernel = gpu_kernels.pull(kind_of(array), wrapped=bool(left), adding=number > 0)
            first_rows = [self._rows[edge.source][1] for edge in edges]
            given = self._synapses(edges, first_rows, size)
            yield _Sums(kernel, given | {"size": size} | left, array, row)

    def _given_back(self, group: NeuronGroup, port: Endpoint) -> Iterator[_Sums]:
        """Yield what a group sends to itself, message by message."""
        _, row = self._layout.ports[port]
        for edge in self._network.incoming(port):
            register = group.kind.kept(edge.source.name) if edge.recurrent else None
            if register is not None:
                left = _shift(self._network, port)
                kernel = gpu_kernels.give_back(wrapped=bool(left))
                given = self._synapses([edge], [0], group.size)
                given["kept"] = self._layout.registers[group.name, register]
                yield _Sums(kernel, given | left, "state", row)

    def _synapses(self, edges: list[Synapses], rows: list[int], size: int) -> dict[str, int]:
        """Return where the synapses of edges are, by target; ``rows``: where sources begin."""
        pointers, synapses = np.zeros(size + 1), np.zeros(0, dtype=np.int64)
        if edges:
            side_by_side = hstack([edge.weights for edge in edges], format="csr")
            ends = [
                first + np.arange(edge.weights.shape[1])
                for edge, first in zip(edges, rows, strict=True)
            ]
            pointers = side_by_side.indptr
            synapses = side_by_side.data.astype(np.int64) << 32
            synapses |= np.concatenate(ends)[side_by_side.indices]
        return {
            "pointers": self._kept(pointers.astype(np.int32)),
            "synapses": self._kept(synapses),
        }

    def _kept(self, array: np.ndarray) -> int:
        """Copy constants to the device; return where they are."""
        memory = self._device.memory(array.nbytes)
        array = np.ascontiguousarray(array)
        if array.size:
            self._device.upload(memory.address, array)
            self._uploading.append(array)
        self._memory.append(memory)
        return memory.address


def kind_of(array: str) -> str:
    """Return the integers of an array."""
    return IN_ROWS.get(array, "i32")


def _rows_of_messages(
    network: Network, layout: Layout
) -> tuple[dict[Endpoint, tuple[str, int]], dict[str, int]]:
    """Return the array and first row of each message, and the rows of each array."""
    counts = {"messages": 0, "narrow": 0}
    rows = {}
    for source, size in layout.message_sizes.items():
        array = "narrow" if fits_16_bits(network, source) else "messages"
        rows[source] = (array, counts[array])
        counts[array] += size
    return rows, counts


def _firsts(network: Network, port: Endpoint) -> np.ndarray:
    """Return where in a port's ring the sums of each neuron begin."""
    lengths = network.group(port.group).waits[port.name]
    return (np.cumsum(lengths) - lengths).astype(np.int32)


def _shift(network: Network, port: Endpoint) -> dict[str, int]:
    """Return the argument of kernels whose products wrap, if those at a port do."""
    (bits,) = {edge.product_bits for edge in network.incoming(port)} or {None}
    return {} if bits is None else {"left": WORD_BITS - bits}
