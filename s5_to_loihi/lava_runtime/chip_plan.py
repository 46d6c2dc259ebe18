"""How a run is laid out in the chip's timesteps: resets, padding, and the integers that come back.

On the chip every group updates in every timestep from 0 on, pipelined, and before its phase a group
receives what the biases of others make of nothing. So the registers of a group count as zero in the
timestep in which the first token of a sequence reaches it: every ``reset_interval`` timesteps, from
its phase on. The chip wants a power of two there, so sequences are padded with zero tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.widths import MESSAGE_WIDTHS, RETURNED_BITS


class Lowering(str, Enum):
    """What computes the neurons."""

    MICROCODE = "microcode"  #: neurocores, all programs in the user's microcode
    STOCK = "stock"  #: neurocores, Lava's own neurons where they are exact, microcode elsewhere
    EMBEDDED = "embedded"  #: an embedded processor, the whole network in generated C: slow


@dataclass(frozen=True)
class ChipPlan:
    """What the processes on the chip have to know besides the network.

    Attributes:
        reset_interval: timesteps from one sequence to the next, a power of two.
        input_latency: timesteps that the way from the host to the first synapses takes in
            addition to those of the network.
        output_latency: likewise from the last neurons to the host.
        microcode: folder with the microcode of the neuron programs, see ``microcode_files``.
        lowering: what computes the neurons.
        source: file of the generated C, for an embedded processor.
    """

    reset_interval: int
    input_latency: int = 0
    output_latency: int = 0
    microcode: str | None = None
    lowering: Lowering = Lowering.MICROCODE
    source: str | None = None

    def __post_init__(self):
        """Check the numbers.

        Raises:
            InputError: the interval is not a power of two, or a latency is negative.
        """
        interval = self.reset_interval
        if interval < 1 or interval & (interval - 1):
            do = f"Use {power_of_two(max(1, interval))}"
            raise InputError("reset interval", f"is {interval}, not a power of two", do)
        if min(self.input_latency, self.output_latency) < 0:
            raise InputError(
                "input or output latency",
                f"is {self.input_latency} and {self.output_latency} (limit 0 or more)",
            )

    def reset_offset(self, group: NeuronGroup) -> int:
        """Return the timestep modulo the interval in which a group starts a sequence."""
        assert group.phase is not None  # delays are aligned
        return (group.phase + self.input_latency) % self.reset_interval

    def latency(self, network: Network) -> int:
        """Return the timesteps from a token's departure to its output's arrival at the host.

        An embedded processor evaluates a token in one timestep.
        """
        inside = 0 if self.lowering is Lowering.EMBEDDED else network.latency
        return inside + self.input_latency + self.output_latency


def message_width(bits: int) -> int:
    """Return the width in which the chip carries a message of so many bits."""
    return next(width for width in MESSAGE_WIDTHS if width >= bits)


def power_of_two(least: int) -> int:
    """Return the smallest power of two that is not below ``least`` >= 1."""
    return 1 << (least - 1).bit_length()


def stream(tokens: np.ndarray, plan: ChipPlan) -> np.ndarray:
    """Lay sequences one behind another, each padded with zero tokens but the last.

    Args:
        tokens: (tokens, batch, features).
        plan: with an interval of at least ``tokens``.

    Returns:
        (timesteps, features), the input of each timestep.

    Raises:
        InputError: the sequences are longer than the interval.
    """
    count, batch, features = tokens.shape
    if count > plan.reset_interval:
        raise InputError(
            "reset interval",
            f"is {plan.reset_interval}, the sequences have {count} tokens",
            f"Use {power_of_two(count)}",
        )
    rows = np.zeros((batch, plan.reset_interval, features), dtype=tokens.dtype)
    rows[:, :count] = tokens.swapaxes(0, 1)
    return rows.reshape(-1, features)[: (batch - 1) * plan.reset_interval + count]


def unstream(rows: np.ndarray, count: int, batch: int, plan: ChipPlan) -> np.ndarray:
    """Cut the outputs of ``stream`` into sequences, with their signs: (tokens, batch, features)."""
    starts = plan.reset_interval * np.arange(batch)
    picked = starts[None, :] + np.arange(count)[:, None]
    return wrap(rows.astype(np.int64)[picked], RETURNED_BITS)
