"""What is in a network: weights, accumulators and values, with what is saturated, zero or dead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.fixed_point import Format, limits, needed_bits
from s5_to_loihi.network.network import Endpoint, Network, is_identity
from s5_to_loihi.network.neurons.constants import array_constants
from s5_to_loihi.network.ranges import worst_case
from s5_to_loihi.network.widths import WEIGHT_BITS
from s5_to_loihi.simulators.interpreter import Interpreter


@dataclass(frozen=True)
class WeightSummary:
    """One weight matrix.

    Attributes:
        name: of the synapses.
        shape: (targets, sources).
        format: of the weights.
        synapses: stored, all non-zero.
        density: as a fraction of the matrix.
        lowest, highest: range used.
        saturated: weights at the limit of their format.
        silent_targets: target neurons without a synapse here.
        unused_sources: source neurons without a synapse here.
    """

    name: str
    shape: tuple[int, int]
    format: Format
    synapses: int
    density: float
    lowest: int
    highest: int
    saturated: int
    silent_targets: int
    unused_sources: int


@dataclass(frozen=True)
class ConstantSummary:
    """One array of per-neuron constants.

    Attributes:
        name: ``group.constant``.
        size: neurons.
        format: of the integers.
        lowest, highest: range used.
        saturated: integers at the limit of the format.
        zeros: integers that are zero.
    """

    name: str
    size: int
    format: Format
    lowest: int
    highest: int
    saturated: int
    zeros: int


@dataclass(frozen=True)
class PortSummary:
    """One accumulator: the largest sum that any input can cause, and the bits it needs."""

    name: str
    exponent: int
    worst_case: int
    bits: int


@dataclass(frozen=True)
class ValueSummary:
    """One value of a group over the tokens evaluated.

    Attributes:
        name: ``group.value``.
        neurons: size of the group.
        format: of the value.
        lowest, highest: range used.
        saturated: integers at the limit of the format.
        nonzero: fraction of integers that are not zero; for a message, of those that are sent.
        dead: neurons that were zero for all tokens.
        constant: neurons that had one value other than zero for all tokens.
    """

    name: str
    neurons: int
    format: Format
    lowest: int
    highest: int
    saturated: int
    nonzero: float
    dead: int
    constant: int


def weights(network: Network) -> tuple[WeightSummary, ...]:
    """Summarise all weight matrices but identities, which only hand messages on."""
    summaries = []
    for synapses in network.synapses:
        matrix = synapses.weights
        if is_identity(matrix):
            continue
        weight_format = Format(WEIGHT_BITS, synapses.exponent)
        lowest, highest = limits(weight_format.bits)
        sources = matrix.shape[1]
        summaries.append(
            WeightSummary(
                name=synapses.name,
                shape=matrix.shape,
                format=weight_format,
                synapses=matrix.nnz,
                density=synapses.density,
                lowest=int(matrix.data.min(initial=0)),
                highest=int(matrix.data.max(initial=0)),
                saturated=int(((matrix.data == lowest) | (matrix.data == highest)).sum()),
                silent_targets=int((np.diff(matrix.indptr) == 0).sum()),
                unused_sources=sources - len(np.unique(matrix.indices)),
            )
        )
    return tuple(summaries)


def constants(network: Network) -> tuple[ConstantSummary, ...]:
    """Summarise the per-neuron constants of all groups."""
    summaries = []
    for group in network.groups:
        for name, value, its_format in array_constants(group.constants):
            lowest, highest = limits(its_format.bits)
            summaries.append(
                ConstantSummary(
                    name=f"{group.name}.{name}",
                    size=value.size,
                    format=its_format,
                    lowest=int(value.min()),
                    highest=int(value.max()),
                    saturated=int(((value == lowest) | (value == highest)).sum()),
                    zeros=int((value == 0).sum()),
                )
            )
    return tuple(summaries)


def ports(network: Network) -> tuple[PortSummary, ...]:
    """Summarise all accumulators: the proof that none of them overflows.

    Those of kinds whose sums wrap, as netx's do, are left out.
    """
    return tuple(
        PortSummary(
            f"{group.name}.{port}",
            group.port_exponents[port],
            largest := worst_case(network, Endpoint(group.name, port)),
            needed_bits(-largest, largest),
        )
        for group in network.groups
        if not group.kind.wraps
        for port in group.kind.ports
    )


def values(network: Network, tokens: np.ndarray) -> tuple[ValueSummary, ...]:
    """Evaluate tokens (tokens, batch, features) and summarise every value of every group."""
    evaluated = Interpreter(network).evaluate(tokens, keep=None).values
    return tuple(
        _summarise(f"{group.name}.{name}", evaluated[f"{group.name}.{name}"], group.formats[name])
        for group in network.groups
        for name in group.kind.values
    )


def _summarise(name: str, data: np.ndarray, source: Format) -> ValueSummary:
    flat = data.reshape(-1, data.shape[-1])
    lowest, highest = limits(source.bits)
    still = (flat == flat[0]).all(axis=0)
    return ValueSummary(
        name=name,
        neurons=flat.shape[1],
        format=source,
        lowest=int(flat.min()),
        highest=int(flat.max()),
        saturated=int(((flat == lowest) | (flat == highest)).sum()),
        nonzero=float((flat != 0).mean()),
        dead=int((still & (flat[0] == 0)).sum()),
        constant=int((still & (flat[0] != 0)).sum()),
    )
