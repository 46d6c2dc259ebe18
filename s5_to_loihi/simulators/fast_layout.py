"""Where the fast simulator keeps what: flat arrays for the whole network.

Rows of messages (the input's first), rows of accumulators, registers and per-neuron constants are
numbered through the network. A port that one identity edge feeds has no accumulator of its own:
it reads the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
        column_pointers, column_targets, column_weights: synapses by source, csc: uint64, uint32
            (accumulator row), int8. Unsigned: numba checks signed indices for being negative.
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
    column_pointers, column_targets, column_weights = _concatenate(columns)
    row_pointers, row_sources, row_weights = _rows(network, messages, ports, accumulator_rows)
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
        column_pointers=column_pointers.astype(np.uint64),
        column_targets=column_targets.astype(np.uint32),
        column_weights=column_weights.astype(np.int8),
        fans=fans,
        row_pointers=row_pointers.astype(np.uint64),
        row_sources=row_sources.astype(np.uint32),
        row_weights=row_weights.astype(np.int8),
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
    pushes: list[Push] = []
    columns: list[tuple[np.ndarray, ...]] = []
    fans = [np.zeros(0, dtype=np.int32)]
    pointer, fan = 0, 0
    for source, target, edges in _sorted(network, messages):
        count = network.message_size(source)
        adding = [edge for edge in edges if ports[edge.target][0] == "accumulators"]
        rows, sources, weights = _entries(adding, ports, {source: 0})
        pointers, targets, weights = _compressed(sources, rows, weights, count)
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


def _entries(edges, ports, messages) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the accumulator rows, message rows and weights of all synapses of some edges."""
    parts = [np.zeros((3, 0), dtype=np.int64)]
    for edge in edges:
        entries = edge.weights.tocoo()
        rows = entries.row + ports[edge.target][1]
        parts.append(np.stack([rows, entries.col + messages[edge.source], entries.data]))
    return tuple(np.concatenate(parts, axis=1))


def _compressed(major, minor, weights, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return synapses as pointers, indices and weights, by ``major`` index.

    Every synapse stays one: two of the same ends are not added up, none of weight zero is lost.
    """
    order = np.lexsort((minor, major))
    pointers = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=count))])
    return pointers, minor[order], weights[order]


def _concatenate(columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nothing = np.zeros(0, dtype=np.int64)
    pointers, offset = [np.zeros(1, dtype=np.int64)], 0
    for part, targets, _ in columns:
        pointers.append(part[1:] + offset)
        offset += len(targets)
    return (
        np.concatenate(pointers),
        np.concatenate([nothing, *(targets for _, targets, _ in columns)]),
        np.concatenate([nothing, *(weights for _, _, weights in columns)]),
    )


def _rows(network: Network, messages, ports, accumulator_rows):
    """Return the synapses by target: accumulator rows over all message rows."""
    adding = [
        edge
        for edge in network.synapses
        if ports[edge.target][0] == "accumulators" and not edge.recurrent
    ]
    rows, sources, weights = _entries(adding, ports, messages)
    return _compressed(rows, sources, weights, accumulator_rows)
