"""Where the fast simulator keeps what: flat arrays for the whole network.

Rows of messages (the input's first), rows of accumulators, registers and per-neuron constants are
numbered through the network. A port that one identity edge feeds has no accumulator of its own:
it reads the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import hstack, vstack

from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, Synapses, is_identity
from s5_to_loihi.network.tracing import parameters


@dataclass(frozen=True)
class Push:
    """The synapses from one message to one group.

    Attributes:
        source: the message.
        target: index of the group; the input is 0, groups count from 1.
        first, count: rows of the message.
        fan: where its counts begin in ``Layout.fans``.
        handed_on: identities among them whose port reads the message: nothing to add up there.
        pointer: where its columns begin in ``Layout.column_pointers``; None if it has none.
        base: the accumulator row that its columns count from.
        product_bits: to which each product wraps; None: none does.
        kept: where the register that keeps the message begins, of synapses from a group to itself.
    """

    source: Endpoint
    target: int
    first: int
    count: int
    fan: int
    handed_on: int
    pointer: int | None
    base: int
    product_bits: int | None = None
    kept: int | None = None


@dataclass(frozen=True)
class Wait:
    """A port at which sums wait for some tokens.

    Attributes:
        port: which.
        lengths: where the neurons' numbers of tokens begin in ``Layout.parameter_values``.
        ring, ring_size: where the waiting sums are in the state; of each neuron as many as it waits
            tokens, one neuron after the other.
        positions: where in the state each neuron's next sum is among its own.
    """

    port: Endpoint
    lengths: int
    ring: int
    ring_size: int
    positions: int


@dataclass(frozen=True, eq=False)
class Layout:
    """Offsets and synapses of a network.

    Attributes:
        messages, message_sizes: message -> its first row, and how many; ``message_rows`` in all.
        ports: port -> ("accumulators" or "messages", first row).
        registers, parameters: (group, name) -> first entry.
        accumulator_rows, register_count, parameter_count: totals.
        pushes: in the order of their sources.
        waits: of all ports at which sums wait.
        column_pointers, column_targets, column_weights: synapses by source, csc: uint64, int16 or
            int32 (accumulator row less the push's base), int8.
        fans: for each push and row, the synapses from it to the group, int32.
        row_pointers, row_sources, row_weights: the same synapses by target, csr; one row an
            accumulator row: uint64, uint32 (message row), int8.
        parameter_values: all per-neuron constants, int32.
    """

    messages: dict[Endpoint, int]
    message_sizes: dict[Endpoint, int]
    message_rows: int
    ports: dict[Endpoint, tuple[str, int]]
    accumulator_rows: int
    registers: dict[tuple[str, str], int]
    register_count: int
    parameters: dict[tuple[str, str], int]
    pushes: tuple[Push, ...]
    waits: tuple[Wait, ...]
    column_pointers: np.ndarray
    column_targets: np.ndarray
    column_weights: np.ndarray
    fans: np.ndarray
    row_pointers: np.ndarray
    row_sources: np.ndarray
    row_weights: np.ndarray
    parameter_values: np.ndarray

    def synapses(self, push: Push) -> slice:
        """Return where the synapses of a push are among those by source."""
        if push.pointer is None:
            return slice(0, 0)
        ends = self.column_pointers[[push.pointer, push.pointer + push.count]]
        return slice(int(ends[0]), int(ends[1]))


@dataclass(frozen=True)
class Share:
    """What one of several threads does of a network: some neurons of each group.

    Attributes:
        part, parts: which of how many.
        rows: group -> its first neuron, and the one behind its last.
    """

    part: int
    parts: int
    rows: dict[str, tuple[int, int]]


#: What a neuron's own update costs, in synapses, and neurons that stay together: those of a line.
_UPDATE, _TOGETHER = 32, 16


def shares(network: Network, layout: Layout, parts: int) -> list[Share]:
    """Divide the neurons of each group between threads, those of a group that reaches itself not.

    Each has about as many synapses to add up.
    """
    rows: list[dict[str, tuple[int, int]]] = [{} for _ in range(parts)]
    for group in network.groups:
        costs = np.full(group.size, _UPDATE, dtype=np.int64)
        for name in group.kind.ports:
            array, first = layout.ports[Endpoint(group.name, name)]
            if array == "accumulators":
                pointers = layout.row_pointers[first : first + group.size + 1].astype(np.int64)
                costs += pointers[1:] - pointers[:-1]
        running = np.cumsum(costs)
        ends = np.searchsorted(running, running[-1] * np.arange(1, parts) / parts)
        ends = np.minimum(-(-ends // _TOGETHER) * _TOGETHER, group.size)
        if any(edge.recurrent for edge in network.incoming(group.name)):
            ends[:] = group.size
        bounds = [0, *ends.tolist(), group.size]
        for part in range(parts):
            rows[part][group.name] = (bounds[part], bounds[part + 1])
    return [Share(part, parts, one) for part, one in enumerate(rows)]


def of_share(layout: Layout, share: Share) -> Layout:
    """Return a layout whose columns hold only the synapses that end at a share's neurons."""
    if share.parts == 1:
        return layout
    own = np.zeros(layout.accumulator_rows, dtype=bool)
    for port, (array, first) in layout.ports.items():
        if array == "accumulators":
            begin, end = share.rows[port.group]
            own[first + begin : first + end] = True
    kept = np.zeros(len(layout.column_targets), dtype=bool)
    for push in layout.pushes:
        synapses = layout.synapses(push)
        kept[synapses] = own[push.base + layout.column_targets[synapses].astype(np.int64)]
    kept = np.flatnonzero(kept)
    return replace(
        layout,
        column_pointers=np.searchsorted(kept, layout.column_pointers).astype(np.uint64),
        column_targets=layout.column_targets[kept],
        column_weights=layout.column_weights[kept],
    )


def lay_out(network: Network) -> Layout:
    """Return the layout of a verified network."""
    token = Endpoint(INPUT, TOKEN)
    messages, message_rows = {token: 0}, network.input_size
    registers, register_count = {}, 0
    places, values = {}, [np.zeros(0, dtype=np.int32)]
    for group in network.groups:
        for name in network.sent_by(group):
            messages[Endpoint(group.name, name)] = message_rows
            message_rows += group.size
        for name in group.kind.state:
            registers[group.name, name] = register_count
            register_count += group.size
        for name, array in parameters(group).items():
            places[group.name, name] = sum(map(len, values))
            values.append(array.astype(np.int32))
    ports, accumulator_rows = _place_ports(network, messages)
    waits, register_count = _place_waits(network, register_count, values)
    pushes, columns, fans = _place_synapses(network, messages, ports, registers)
    kind = columns[0][1].dtype if columns else np.int16
    column_pointers, column_targets, column_weights = _concatenated(columns, kind)
    rows = list(_rows(network, messages, ports))
    row_pointers, row_sources, row_weights = _concatenated(rows, np.uint32)
    return Layout(
        messages=messages,
        message_sizes={source: network.message_size(source) for source in messages},
        message_rows=message_rows,
        ports=ports,
        accumulator_rows=accumulator_rows,
        registers=registers,
        register_count=register_count,
        parameters=places,
        pushes=pushes,
        waits=waits,
        column_pointers=column_pointers,
        column_targets=column_targets,
        column_weights=column_weights,
        fans=fans,
        row_pointers=row_pointers,
        row_sources=row_sources,
        row_weights=row_weights,
        parameter_values=np.concatenate(values),
    )


def _place_ports(network: Network, messages):
    """Give every port its accumulator rows, or the rows of the message that it reads."""
    ports, rows = {}, 0
    for group in network.groups:
        for name in group.kind.ports:
            port = Endpoint(group.name, name)
            incoming = network.incoming(port)
            plain = name not in group.waits and all(
                edge.product_bits is None and not edge.recurrent for edge in incoming
            )
            if plain and len(incoming) == 1 and is_identity(incoming[0].weights):
                ports[port] = ("messages", messages[incoming[0].source])
            else:
                ports[port] = ("accumulators", rows)
                rows += group.size
    return ports, rows


def _place_waits(network: Network, count: int, values: list[np.ndarray]):
    """Return the waits, and how many entries the state has with them; add their lengths."""
    waits = []
    for group in network.groups:
        for name, lengths in group.waits.items():
            size = int(lengths.sum())
            first = sum(map(len, values))
            waits.append(Wait(Endpoint(group.name, name), first, count, size, count + size))
            values.append(lengths.astype(np.int32))
            count += size + group.size
    return tuple(waits), count


def _place_synapses(network: Network, messages, ports, registers):
    """Return the pushes, the csc parts of their columns and their fan-outs."""
    bases, kind = _bases(network, ports)
    pushes: list[Push] = []
    columns: list[tuple[np.ndarray, ...]] = []
    fans = [np.zeros(0, dtype=np.int32)]
    pointer, fan = 0, 0
    for source, target, edges in _sorted(network, messages):
        count = network.message_size(source)
        adding = [edge for edge in edges if ports[edge.target][0] == "accumulators"]
        base = bases[network.groups[target - 1].name]
        pointers, targets, weights = _columns(adding, ports, count, base, kind)
        handed_on = len(edges) - len(adding)
        adds = len(targets) > 0
        group = network.groups[target - 1]
        register = group.kind.kept(source.name) if source.group == group.name else None
        pushes.append(
            Push(
                source,
                target,
                messages[source],
                count,
                fan,
                handed_on,
                pointer if adds else None,
                base,
                edges[0].product_bits,
                None if register is None else registers[group.name, register],
            )
        )
        fans.append((np.diff(pointers) + handed_on).astype(np.int32))
        fan += count
        if adds:
            columns.append((pointers, targets, weights))
            pointer += count
    return tuple(pushes), columns, np.concatenate(fans)


def _sorted(network: Network, messages) -> Iterator[tuple[Endpoint, int, list[Synapses]]]:
    """Yield a message, the index of a group, and the synapses between that wrap alike."""
    found: dict[tuple[Endpoint, int], dict[int | None, list[Synapses]]] = {}
    for target, group in enumerate(network.groups, start=1):
        for edge in network.incoming(group.name):
            alike = found.setdefault((edge.source, target), {})
            alike.setdefault(edge.product_bits, []).append(edge)
    rows = {source: number for number, source in enumerate(messages)}
    for source, target in sorted(found, key=lambda ends: (rows[ends[0]], ends[1])):
        for edges in found[source, target].values():
            yield source, target, edges


def _bases(network: Network, ports) -> tuple[dict[str, int], type]:
    """Return the row that targets in a group are counted from, and a type for what they are then.

    16 bits nearly always do: what synapses take decides how fast a large network streams. They
    have a sign, so they are counted from the middle.
    """
    bases, most = {}, 0
    for group in network.groups:
        names = [Endpoint(group.name, name) for name in group.kind.ports]
        rows = [ports[one][1] for one in names if ports[one][0] == "accumulators"]
        first, count = min(rows, default=0), len(rows) * group.size
        bases[group.name], most = first + _MIDDLE, max(most, count)
    return bases, np.int16 if most <= 2 * _MIDDLE else np.int32


#: Half of what 16 bits can tell apart.
_MIDDLE = 1 << 15


def _columns(
    edges, ports, count: int, base: int, kind: type
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the synapses of edges from one message, by source: pointers, targets, weights.

    Every synapse stays one: two of the same ends are not added up, none of weight zero is lost.

    Args:
        edges: from the message.
        ports: where each has its rows.
        count: neurons that send the message.
        base, kind: of ``_bases``.
    """
    if not edges:
        return np.zeros(count + 1, dtype=np.int64), np.zeros(0, kind), np.zeros(0, np.int8)
    edges = sorted(edges, key=lambda edge: ports[edge.target][1])
    columns = vstack([edge.weights for edge in edges], format="csr").tocsc()
    rows = [ports[edge.target][1] + np.arange(edge.weights.shape[0]) for edge in edges]
    targets: np.ndarray = (np.concatenate(rows) - base).astype(kind)
    return columns.indptr, targets[columns.indices], columns.data


def _concatenated(parts, kind: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pointers, indices and weights of parts one after the other."""
    pointers, offset = [np.zeros(1, dtype=np.uint64)], 0
    for part, indices, _ in parts:
        pointers.append(part[1:].astype(np.uint64) + np.uint64(offset))
        offset += len(indices)
    indices, weights = (
        np.concatenate([np.zeros(0, dtype), *(part[place] for part in parts)])
        for place, dtype in enumerate((kind, np.int8), start=1)
    )
    return np.concatenate(pointers), indices, weights


def _rows(network: Network, messages, ports):
    """Yield, port by port, the synapses by target, as ``_columns`` by source; none recurrent."""
    for port, (array, _) in ports.items():
        if array != "accumulators":
            continue
        edges = [edge for edge in network.incoming(port) if not edge.recurrent]
        if not edges:
            size = network.group(port.group).size
            yield np.zeros(size + 1, dtype=np.int64), np.zeros(0, np.uint32), np.zeros(0, np.int8)
            continue
        rows = hstack([edge.weights for edge in edges], format="csr")
        sources = [messages[edge.source] + np.arange(edge.weights.shape[1]) for edge in edges]
        yield rows.indptr, np.concatenate(sources).astype(np.uint32)[rows.indices], rows.data
