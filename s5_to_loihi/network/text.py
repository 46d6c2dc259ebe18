"""The text form of a network: one line a group, one line an edge; for reading and comparing."""

from __future__ import annotations

from s5_to_loihi.network.network import Network, NeuronGroup


def to_text(network: Network) -> str:
    """Return the network as text; the same network always gives the same text."""
    lines = [
        f"network {network.name}",
        f"input   {network.input_size} neurons, {network.input_format}",
    ]
    for group in network.groups:
        messages = ", ".join(f"{name} {group.formats[name]}" for name in group.kind.messages)
        phase = "-" if group.phase is None else group.phase
        lines.append(
            f"group   {group.name}: {group.kind.name}, {group.size} neurons, phase {phase},"
            f" sends {messages}{_times(group)}"
        )
    for synapses in network.synapses:
        targets, sources = synapses.weights.shape
        lines.append(
            f"synapses {synapses.name}: {synapses.source} -> {synapses.target},"
            f" {targets}x{sources}, {synapses.weights.nnz} of 2^{-synapses.exponent}"
            f" ({synapses.density:.1%}), delay {synapses.delay}"
            + ("" if synapses.product_bits is None else f", wraps at {synapses.product_bits} bits")
        )
    lines.append(
        f"output  {network.output}, {network.output_size} neurons, {network.output_format},"
        f" readout {network.readout.value}"
    )
    return "\n".join(lines) + "\n"


def _times(group: NeuronGroup) -> str:
    """Return what few groups have: what waits for how long, and updates before the first token."""
    waits = (
        f", {port} waits {array.min()}..{array.max()} tokens" for port, array in group.waits.items()
    )
    return "".join(waits) + (f", {group.early} updates early" if group.early else "")
