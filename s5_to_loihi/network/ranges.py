"""How large messages, accumulators and what is computed from them can become, for every input."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.tracing import Program, trace
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, WORD_BITS

_MESSAGES: WeakKeyDictionary[NeuronGroup, dict[str, tuple[int, int]]] = WeakKeyDictionary()


def message_interval(network: Network, endpoint: Endpoint) -> tuple[int, int]:
    """Return the interval that a message lies in, whatever its group receives.

    The limits of its format, or less: nothing below zero after a ReLU.
    """
    if endpoint.group == INPUT:
        return limits(network.input_format.bits)
    group = network.group(endpoint.group)
    if group not in _MESSAGES:
        bits = WORD_BITS if group.kind.wraps else ACCUMULATOR_BITS
        program = trace(group, dict.fromkeys(group.kind.ports, limits(bits)))
        _MESSAGES[group] = {
            name: (program.steps[index].lowest, program.steps[index].highest)
            for name, index in program.results.items()
        }
    lowest, highest = limits(network.message_format(endpoint).bits)
    possible = _MESSAGES[group][endpoint.name]
    return max(lowest, possible[0]), min(highest, possible[1])


def port_limits(network: Network, port: Endpoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest sum of each neuron at a port, (n,) int64 each.

    Messages that are all at the end of their interval that has the sign of the weight, or the
    other end, reach them.
    """
    size = network.group(port.group).size
    lowest, highest = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for synapses in network.incoming(port):
        low, high = message_interval(network, synapses.source)
        positive, negative = synapses.signed_sums
        lowest += positive * low + negative * high
        highest += positive * high + negative * low
    return lowest, highest


def port_intervals(network: Network, group: NeuronGroup) -> dict[str, tuple[int, int]]:
    """Return the interval that each accumulator of a group lies in, over all its neurons.

    Of kinds that wrap it is that of a word, whatever arrives.
    """
    if group.kind.wraps:
        return {
            port: limits(WORD_BITS) if network.incoming(Endpoint(group.name, port)) else (0, 0)
            for port in group.kind.ports
        }
    intervals = {}
    for port in group.kind.ports:
        lowest, highest = port_limits(network, Endpoint(group.name, port))
        intervals[port] = (int(lowest.min()), int(highest.max()))
    return intervals


def worst_case(network: Network, port: Endpoint) -> int:
    """Return the largest magnitude that a port can accumulate."""
    lowest, highest = port_limits(network, port)
    return int(max(-lowest.min(), highest.max()))


def program(network: Network, group: NeuronGroup) -> Program:
    """Return the traced program of a group in its network."""
    return trace(group, port_intervals(network, group))
