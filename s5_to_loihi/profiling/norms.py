"""What norms cost a network: timesteps on a token's way, neurons, synapses and time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.layer_norm import LAYER_NORM, STATISTICS
from s5_to_loihi.network.neurons.norm import NORM, SCALED_NORM
from s5_to_loihi.network.neurons.squares import squared
from s5_to_loihi.profiling.quantity import Quantity

_LAYER_NORMS = (LAYER_NORM.name, squared(LAYER_NORM).name)
_EXPORTED = (NORM.name, SCALED_NORM.name)


@dataclass(frozen=True)
class NormRow:
    """What a norm that is computed on the chip takes.

    A batch norm before the state-space model is not: it is folded into other weights.

    Attributes:
        norm: its group.
        kind: for people.
        neurons: of its groups.
        synapses: that end at them.
        timesteps: by which a token's way is longer.
        time: us, these timesteps.
    """

    norm: str
    kind: str
    neurons: int
    synapses: int
    timesteps: int
    time: Quantity


def norm_rows(network: Network, timestep: Quantity) -> tuple[NormRow, ...]:
    """Return the norms of a network.

    Args:
        network: with phases.
        timestep: us of a timestep.
    """
    rows = []
    for group in network.groups:
        if group.kind.name in _LAYER_NORMS:
            mantissas = network.incoming(Endpoint(group.name, "mantissa"))
            names = {edge.source.group for edge in mantissas} - {INPUT}
            others = [network.group(name) for name in names]
            sums = [one for one in others if one.kind.name == STATISTICS.name]
            centred = network.incoming(Endpoint(group.name, "mean"))
            kind = "layer norm" if centred else "RMS norm"
            rows.append(_row(network, kind, [*sums, group], timestep))
        elif group.kind.name in _EXPORTED:
            rows.append(_row(network, "batch norm, not folded", [group], timestep))
        elif group.name.endswith(".norm"):
            rows.append(_row(network, "batch norm after the residual", [group], timestep))
    return tuple(rows)


def _row(network: Network, kind: str, groups: list[NeuronGroup], timestep: Quantity) -> NormRow:
    incoming = [edge for group in groups for edge in network.incoming(group.name)]
    first = min(group.phase or 0 for group in groups)
    timesteps = (groups[-1].phase or 0) - first + 1
    time = replace(
        timestep,
        value=timesteps * timestep.value,
        low=timesteps * timestep.low,
        high=timesteps * timestep.high,
        scope=f"{timesteps} timesteps",
    )
    return NormRow(
        norm=groups[-1].name,
        kind=kind,
        neurons=sum(group.size for group in groups),
        synapses=sum(edge.weights.nnz for edge in incoming),
        timesteps=timesteps,
        time=time,
    )
