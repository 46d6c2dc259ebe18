"""align_delays: all inputs of a group belong to the same token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from s5_to_loihi.network.network import INPUT, Network


@dataclass(frozen=True)
class AlignDelays:
    """Give every group its phase and every synapse its delay.

    The phase of a group is the longest path to it from the input, one timestep an edge; shorter
    paths wait: ``delay = phase(target) - phase(source) - 1``. A group that pruning has left
    without synapses comes after those before it, as if it had some: the output stays the last.
    """

    name = "align_delays"

    def __call__(self, network: Network) -> Network:
        """Return the network with phases and delays set."""
        phases = {INPUT: 0}
        for group in network.groups:
            phases[group.name] = 1 + max(
                (
                    phases[synapses.source.group]
                    for synapses in network.incoming(group.name)
                    if not synapses.recurrent
                ),
                default=max(phases.values()),
            )
        return replace(
            network,
            groups=tuple(replace(group, phase=phases[group.name]) for group in network.groups),
            synapses=tuple(
                replace(
                    synapses,
                    delay=0
                    if synapses.recurrent
                    else phases[synapses.target.group] - phases[synapses.source.group] - 1,
                )
                for synapses in network.synapses
            ),
        )
