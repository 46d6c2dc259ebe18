"""How large a layer norm's results can become: what intervals alone do not see.

An interval of h and one of the inverse deviation say nothing about their product. That a value is
at most the root of n deviations from the mean does, where the norm is one of what it gets.
"""

from __future__ import annotations

import math

import numpy as np

from s5_to_loihi.fixed_point import needed_bits
from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.inverse_root import MANTISSA_EXPONENT, RADICAND_BITS
from s5_to_loihi.network.neurons.layer_norm import LayerNormConstants, StatisticsConstants
from s5_to_loihi.network.neurons.squares import SQUARES
from s5_to_loihi.quantization.bounds import norm_bound


def norm_bits(network: Network, group: NeuronGroup) -> dict[str, int]:
    """Return the bits that the results of a LAYER_NORM group need, whatever the input.

    Nothing if its statistics are not those of what it normalises.
    """
    c = group.constants
    assert isinstance(c, LayerNormConstants)
    statistics = _statistics(network, group)
    if statistics is None:
        return {}
    centred = bool(network.incoming(Endpoint(group.name, "mean")))
    bound = norm_bound(statistics.neurons, centred, c.centring, statistics.epsilon)
    scale = c.centring + MANTISSA_EXPONENT + RADICAND_BITS // 2 - 1 - statistics.exponent
    normalised = math.ceil(bound * 2.0**scale / statistics.neurons + 0.5)
    factor = np.abs(c.multiplier) * np.exp2(-c.multiplier_shift)
    fine = np.ceil(normalised * factor) + 1 + np.abs(c.bias)
    total = int(np.ceil(fine.max() * 2.0**-c.rounding_shift))
    result = needed_bits(-total, total)
    bits = {"u": result, "total": result}
    return bits | {"normalised": needed_bits(-normalised, normalised)}


def _statistics(network: Network, group: NeuronGroup) -> StatisticsConstants | None:
    """Return what adds up exactly what a group normalises, or None."""
    (hidden, mantissa, exponent) = (
        network.incoming(Endpoint(group.name, port)) for port in ("hidden", "mantissa", "exponent")
    )
    mean = network.incoming(Endpoint(group.name, "mean"))
    if not len(hidden) == len(mantissa) == len(exponent) == 1 or len(mean) > 1:
        return None
    names = {edge.source.group for edge in (*mantissa, *exponent, *mean)}
    first = network.group(mantissa[0].source.group)
    if len(names) > 1 or not isinstance(first.constants, StatisticsConstants):
        return None
    source = hidden[0].source
    if source.group == INPUT or network.group(source.group).kind.messages[0] != source.name:
        return None
    wanted = [("sum", source)] if mean else []
    wanted += [(port, Endpoint(source.group, port)) for port in SQUARES]
    every = (*hidden, *mantissa, *exponent, *mean)
    for port, endpoint in wanted:
        edges = network.incoming(Endpoint(first.name, port))
        if [edge.source for edge in edges] != [endpoint]:
            return None
        every = (*every, *edges)
    if any(edge.weights.nnz != group.size or (edge.weights.data != 1).any() for edge in every):
        return None
    return first.constants if first.constants.neurons == group.size else None
