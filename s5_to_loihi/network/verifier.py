"""The rules that every network keeps; checked after each pass and when a bundle is read."""

from __future__ import annotations

import typing
from collections import Counter

import numpy as np

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.files.names import RULE, is_name, is_title
from s5_to_loihi.fixed_point import Format, Integers, limits
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
)
from s5_to_loihi.network.neurons.constants import Allowed, Table, constant_fields
from s5_to_loihi.network.widths import (
    ARITHMETIC_BITS,
    LARGEST_EXPONENT,
    LARGEST_GROUP,
    LONGEST_DELAY,
    LONGEST_TABLE,
    MESSAGE_BITS,
    MOST_EARLY,
    STATE_BITS,
    WIDEST,
    WORD_BITS,
)

#: Tokens of a sequence, timesteps before a group's first token: more are a mistake.
LONGEST_SEQUENCE, LARGEST_PHASE = (1 << 31) - 1, 1 << 20


def verify(network: Network) -> None:
    """Check a network against the rules of the intermediate representation.

    Raises:
        NetworkError: naming the group or synapses, what was found and what the rule is.
    """
    _check_names(network)
    _check_whole("input", network.input_size, Allowed(1, LARGEST_GROUP, "has {} features"))
    _check_format("input", network.input_format, MESSAGE_BITS)
    if network.sequence_length is not None:
        _check_whole("sequence length", network.sequence_length, Allowed(1, LONGEST_SEQUENCE))
    for group in network.groups:
        _check_group(group)
    known = {INPUT}
    for synapses in network.synapses:
        _check_synapses(network, synapses)
    for group in network.groups:
        for synapses in network.incoming(group.name):
            if synapses.source.group not in known and not synapses.recurrent:
                raise NetworkError(
                    synapses.name,
                    f"comes from {synapses.source.group}, which is not before {group.name}",
                    "Order the groups so that messages only go forward",
                )
        known.add(group.name)
    _check_endpoint(network, "output", network.output)
    if network.output.group == INPUT:
        raise NetworkError("output", "is the network's own input")
    if len({group.phase is None for group in network.groups}) > 1:
        raise NetworkError(network.name, "some groups have a phase and some have none")


def _check_names(network: Network) -> None:
    for label, names in (
        ("groups", [group.name for group in network.groups] + [INPUT]),
        ("synapses", [synapses.name for synapses in network.synapses]),
    ):
        for name, count in Counter(names).items():
            if not is_name(name):
                raise NetworkError(network.name, f"{label} are called {name!r:.60}", RULE)
            if count > 1:
                raise NetworkError(network.name, f"two {label} are called {name}")
    if not is_title(network.name):
        raise NetworkError(
            "network",
            f"is called {network.name!r:.60}",
            "Give it a short name of printable characters",
        )


def _check_whole(where: str, value: object, allowed: Allowed) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not allowed.lowest <= typing.cast(int, value) <= allowed.highest:
        what = allowed.found.format(repr(value)[:60])
        raise NetworkError(where, f"{what} (allowed {allowed.lowest}..{allowed.highest})")


def _check_group(group: NeuronGroup) -> None:
    _check_whole(group.name, group.size, Allowed(1, LARGEST_GROUP, "has {} neurons"))
    if group.phase is not None:
        _check_whole(group.name, group.phase, Allowed(0, LARGEST_PHASE, "has phase {}"))
    if not isinstance(group.constants, group.kind.constants):
        raise NetworkError(group.name, f"constants are not {group.kind.constants.__name__}")
    if set(group.formats) != set(group.kind.values):
        raise NetworkError(group.name, f"formats are given for {sorted(group.formats)}")
    if set(group.port_exponents) != set(group.kind.ports):
        raise NetworkError(group.name, f"exponents are given for {sorted(group.port_exponents)}")
    wraps = group.kind.wraps
    for port, exponent in group.port_exponents.items():
        _check_exponent(f"{group.name}.{port}", exponent)
    for name, limit in (
        *((name, WORD_BITS if wraps else STATE_BITS) for name in group.kind.state),
        *((name, WORD_BITS if wraps else MESSAGE_BITS) for name in group.kind.messages),
        *((name, ARITHMETIC_BITS) for name in group.kind.probes),
    ):
        _check_format(f"{group.name}.{name}", group.formats[name], limit)
    constants = tuple(constant_fields(group.constants))
    for field, value in constants:
        if field.type is Format:
            _check_format(f"{group.name}.{field.name}", value, WORD_BITS if wraps else WIDEST)
        elif field.type is int:
            _check_whole(f"{group.name}.{field.name}", value, Allowed(*limits(ARITHMETIC_BITS)))
    _check_times(group)
    for field, value in constants:
        where = f"{group.name}.{field.name}"
        if isinstance(field.format, Format):
            _check_array(where, value, group.size, field.format)
        if field.allowed is not None:
            _check_allowed(where, value, field.allowed)
        if field.type == Table:
            _check_table(where, value)


def _check_times(group: NeuronGroup) -> None:
    """Check what a group does before its tokens, and what waits for them."""
    early = Allowed(0, MOST_EARLY, "updates {} times before its tokens")
    _check_whole(group.name, group.early, early)
    for port, waits in group.waits.items():
        where = f"{group.name}.{port}"
        if port not in group.kind.ports:
            raise NetworkError(where, "waits, but is no port")
        if waits.shape != (group.size,) or waits.dtype != np.int64:
            raise NetworkError(where, f"waits {waits.dtype}{waits.shape}, not int64({group.size},)")
        _check_allowed(where, waits, Allowed(0, LONGEST_DELAY, "waits {} tokens"))


def _check_format(where: str, value: Format, widest: int) -> None:
    _check_whole(where, value.bits, Allowed(2, widest, "is {} bits wide"))
    _check_exponent(where, value.exponent)


def _check_exponent(where: str, exponent: int) -> None:
    _check_whole(where, exponent, Allowed(-LARGEST_EXPONENT, LARGEST_EXPONENT, "has exponent {}"))


def _check_allowed(where: str, value: int | Integers, allowed: Allowed) -> None:
    lowest, highest, found = allowed
    for one in (np.min(value), np.max(value)):
        if not lowest <= one <= highest:
            raise NetworkError(where, f"{found.format(one)} (allowed {lowest}..{highest})")


def _check_table(where: str, table: Table) -> None:
    lowest, highest = limits(WIDEST)
    if not 1 < len(table) <= LONGEST_TABLE:
        raise NetworkError(where, f"has {len(table)} entries (allowed 2..{LONGEST_TABLE})")
    if min(table) < lowest or max(table) > highest:
        raise NetworkError(
            where, f"lies in {min(table)}..{max(table)} (limit {lowest}..{highest}, {WIDEST} bits)"
        )


def _check_array(where: str, value: Integers, size: int, its_format: Format) -> None:
    if value.shape != (size,) or value.dtype != np.int64:
        raise NetworkError(where, f"has {value.dtype}{value.shape}, not int64({size},)")
    lowest, highest = limits(its_format.bits)
    if value.min() < lowest or value.max() > highest:
        raise NetworkError(
            where,
            f"lies in {value.min()}..{value.max()} (limit {lowest}..{highest}, {its_format})",
        )


def _check_endpoint(network: Network, where: str, endpoint: Endpoint) -> None:
    if endpoint == Endpoint(INPUT, TOKEN):
        return
    if endpoint.group not in {group.name for group in network.groups}:
        raise NetworkError(where, f"refers to {endpoint.group}, which is no group")
    if endpoint.name not in network.group(endpoint.group).kind.messages:
        raise NetworkError(where, f"refers to {endpoint}, which is no message")


def _check_synapses(network: Network, synapses: Synapses) -> None:
    _check_endpoint(network, synapses.name, synapses.source)
    if synapses.target.group not in {group.name for group in network.groups}:
        raise NetworkError(synapses.name, f"ends at {synapses.target.group}, which is no group")
    target = network.group(synapses.target.group)
    if synapses.target.name not in target.kind.ports:
        raise NetworkError(synapses.name, f"ends at {synapses.target}, which is no port")
    weights = synapses.weights
    expected = (target.size, network.message_size(synapses.source))
    if weights.shape != expected:
        raise NetworkError(synapses.name, f"has shape {weights.shape}, its ends have {expected}")
    if weights.dtype != np.int8:
        raise NetworkError(synapses.name, f"weights are {weights.dtype} (limit int8)")
    if not storage_is_sound(weights.data, weights.indices, weights.indptr, weights.shape):
        raise NetworkError(synapses.name, "sparse storage is damaged (indices out of order)")
    if synapses.product_bits is not None:
        if not target.kind.wraps:
            raise NetworkError(
                synapses.name, f"has products that wrap; those of {target.kind.name} do not"
            )
        if {edge.product_bits for edge in network.incoming(synapses.target)} != {
            synapses.product_bits
        }:
            raise NetworkError(synapses.name, "shares a port with synapses that wrap otherwise")
        _check_whole(
            synapses.name, synapses.product_bits, Allowed(2, WORD_BITS, "wraps to {} bits")
        )
    if synapses.recurrent:
        _check_recurrent(network, synapses, target)
    _check_exponent(synapses.name, synapses.exponent)
    exponent = network.message_format(synapses.source).exponent + synapses.exponent
    if exponent != target.port_exponents[synapses.target.name]:
        raise NetworkError(
            synapses.name,
            f"delivers products of exponent {exponent} to {synapses.target}, which expects"
            f" {target.port_exponents[synapses.target.name]}",
        )
    delays = Allowed(0, LONGEST_DELAY, "has a delay of {} timesteps")
    _check_whole(synapses.name, synapses.delay, delays)
    if target.phase is not None and not synapses.recurrent:
        sent = 0 if synapses.source.group == INPUT else network.group(synapses.source.group).phase
        if sent is None or sent + 1 + synapses.delay != target.phase:
            raise NetworkError(
                synapses.name,
                f"leaves in phase {sent} with delay {synapses.delay} and misses phase"
                f" {target.phase} of {target.name}",
                "Align the delays again",
            )


def _check_recurrent(network: Network, synapses: Synapses, group: NeuronGroup) -> None:
    """Check synapses from a group to itself: what they carry has to be a register as well."""
    if group.kind.kept(synapses.source.name) not in group.kind.state:
        raise NetworkError(
            synapses.name,
            f"leads {synapses.source} back, which no register of {group.kind.name} keeps",
            "Use a kind that keeps what it sends",
        )
    if len(network.incoming(synapses.target)) > 1 or synapses.delay:
        raise NetworkError(
            synapses.name, f"shares the port {synapses.target} with other synapses, or is delayed"
        )


def storage_is_sound(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> bool:
    """Tell whether three arrays are a canonical csr matrix: in bounds, sorted, no duplicates."""
    rows, columns = shape
    # In int64: differences of narrower integers can wrap around.
    pointers: Integers = np.asarray(indptr, dtype=np.int64)
    counts = pointers[1:] - pointers[:-1]
    if (
        len(indptr) != rows + 1
        or indptr[0] != 0
        or (counts < 0).any()
        or not indptr[-1] == len(indices) == len(data)
    ):
        return False
    if len(indices) == 0:
        return True
    row_of = np.repeat(np.arange(rows), counts)
    positions = row_of * columns + indices
    return bool(indices.min() >= 0 and indices.max() < columns and (np.diff(positions) > 0).all())
