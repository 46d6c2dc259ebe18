"""How a run is laid out in the chip's timesteps: resets, padding, and the integers that come back.

Pipelined, every group updates in every timestep from 0 on, and before its phase a group gets what
the biases of others make of nothing. So the registers of a group count as zero in the timestep in
which the first token of a sequence reaches it: every ``reset_interval`` timesteps, from its phase
on. The chip wants a power of two there, so sequences are padded with zero tokens.

In fall-through the programs have a gate (``network/gating.py``): a group updates in the timesteps
in which the marker of a token reaches it, one more feature of the input with a synapse to every
neuron, delayed by the group's phase. Tokens may come as late as they like. A marker of 2 begins a
sequence: nothing is padded, and no timestep is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import wrap
from s5_to_loihi.network.gating import FIRST, TOKEN
from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.widths import LONGEST_DELAY, MESSAGE_WIDTHS, RETURNED_BITS
from s5_to_loihi.simulators.interpreter import Interpreter, Mode, period


class Lowering(str, Enum):
    """What computes the neurons."""

    MICROCODE = "microcode"  #: neurocores, all programs in the user's microcode
    STOCK = "stock"  #: neurocores, Lava's own neurons where they are exact, microcode elsewhere
    EMBEDDED = "embedded"  #: an embedded processor, the whole network in generated C: slow


@dataclass(frozen=True)
class ChipPlan:
    """What the processes on the chip have to know besides the network.

    Attributes:
        reset_interval: timesteps from one sequence to the next, a power of two; of no use in
            fall-through, where sequences follow one another.
        input_latency: timesteps that the way from the host to the first synapses takes in
            addition to those of the network.
        output_latency: likewise from the last neurons to the host.
        microcode: folder with the microcode of the neuron programs, see ``microcode_files``.
        lowering: what computes the neurons.
        source: file of the generated C, for an embedded processor.
        mode: how tokens follow one another.
        readout: ``group.message`` that leaves the chip instead of the network's output, to probe
            it; the network, its programs and its time stay as they are.
        states: group whose registers are recorded in every timestep.
    """

    reset_interval: int = 1
    input_latency: int = 0
    output_latency: int = 0
    microcode: str | None = None
    lowering: Lowering = Lowering.MICROCODE
    source: str | None = None
    mode: Mode = Mode.PIPELINED
    readout: str | None = None
    states: str | None = None

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

    @property
    def gated(self) -> bool:
        """Whether neurons update only when a token's marker reaches them."""
        return self.mode is Mode.FALL_THROUGH

    def input_size(self, network: Network) -> int:
        """Return the features of the input: those of a token, and its marker where there is one."""
        return network.input_size + self.gated

    def period(self, network: Network) -> int:
        """Return the fewest timesteps from a token to the next."""
        return 1 if self.lowering is Lowering.EMBEDDED else period(network, self.mode)

    def leaving(self, network: Network) -> Endpoint:
        """Return the message that leaves the chip."""
        if self.readout is None:
            return network.output
        return Endpoint(*self.readout.rsplit(".", 1))

    def check(self, network: Network) -> None:
        """Check that a network can run in this mode, and be probed there.

        Raises:
            InputError: in fall-through, what its groups send to themselves or let wait would reach
                neurons that do not update then, a state does not begin at zero, or a marker cannot
                wait long enough; what is probed is not sent, has no registers, or lies on an
                embedded processor.
        """
        self._check_probes(network)
        if not self.gated:
            return
        begun = Interpreter(network).initial_state()
        reasons = {
            "sums that wait": {one.name for one in network.groups if one.waits},
            "synapses to itself": {one.source.group for one in network.synapses if one.recurrent},
            "a state that does not begin at zero": {
                name for name, state in begun.items() if any(one.any() for one in state)
            },
        }
        for what, groups in reasons.items():
            if groups:
                raise InputError(
                    "mode", f"is fall-through, and {min(groups)} has {what}", "Use pipelined"
                )
        if network.latency - 1 > LONGEST_DELAY:
            raise InputError(
                "mode",
                f"is fall-through, and the latency is {network.latency} timesteps (limit"
                f" {LONGEST_DELAY + 1}: a marker waits so long)",
                "Use pipelined",
            )

    def _check_probes(self, network: Network) -> None:
        if self.readout is None and self.states is None:
            return
        if self.lowering is Lowering.EMBEDDED:
            what = "is asked for on an embedded processor, which sends outputs only"
            raise InputError("probe", what, "Use microcode")
        probed = self.leaving(network)
        if probed.group == INPUT or probed not in network.sent:
            raise InputError("probe", f"is of {probed}, which no group sends")
        groups = {group.name: group for group in network.groups}
        if self.states is not None and not (
            self.states in groups and groups[self.states].kind.state
        ):
            raise InputError("probe", f"is of the registers of {self.states}, which has none")

    def reset_offset(self, group: NeuronGroup) -> int:
        """Return the timestep modulo the interval in which a group starts a sequence."""
        assert group.phase is not None  # delays are aligned
        return (group.phase + self.input_latency) % self.reset_interval

    def latency(self, network: Network) -> int:
        """Return the timesteps from a token's departure to its output's arrival at the host.

        An embedded processor evaluates a token in one timestep.
        """
        phase = network.group(self.leaving(network).group).phase
        assert phase is not None  # delays are aligned
        inside = 0 if self.lowering is Lowering.EMBEDDED else phase
        return inside + self.input_latency + self.output_latency


def takes_markers(network: Network) -> bool:
    """Tell whether a network can fall through on the chip, as far as its structure says."""
    phases = [group.phase for group in network.groups]
    return (
        None not in phases
        and network.latency - 1 <= LONGEST_DELAY
        and not any(group.waits or group.early for group in network.groups)
        and not any(one.recurrent for one in network.synapses)
    )


def message_width(bits: int) -> int:
    """Return the width in which the chip carries a message of so many bits."""
    return next(width for width in MESSAGE_WIDTHS if width >= bits)


def power_of_two(least: int) -> int:
    """Return the smallest power of two that is not below ``least`` >= 1."""
    return 1 << (least - 1).bit_length()


def arrivals(
    network: Network, plan: ChipPlan, count: int, batch: int, waits: np.ndarray | None = None
) -> np.ndarray:
    """Return the timesteps in which tokens leave the host, sequences one behind another.

    Args:
        network: with aligned delays.
        plan: pipelined, with an interval of at least ``count``.
        count: tokens a sequence.
        batch: sequences.
        waits: (count, batch) timesteps by which each token comes late; in fall-through only.

    Returns:
        (count, batch) int64.

    Raises:
        InputError: the sequences are longer than the interval, or tokens may not come late.
    """
    if plan.gated:
        late = np.zeros((count, batch), dtype=np.int64) if waits is None else np.asarray(waits)
        if late.shape != (count, batch) or late.min(initial=0) < 0:
            raise InputError("waits", "are not timesteps of 0 or more, one for each token")
        gaps = plan.period(network) + late.T.ravel()
        gaps[0] -= plan.period(network)
        return np.cumsum(gaps).reshape(batch, count).T
    if waits is not None:
        raise InputError(
            "waits", "are given, and pipelined a token comes in each timestep", "Use fall-through"
        )
    if count > plan.reset_interval:
        raise InputError(
            "reset interval",
            f"is {plan.reset_interval}, the sequences have {count} tokens",
            f"Use {power_of_two(count)}",
        )
    return np.arange(count)[:, None] + plan.reset_interval * np.arange(batch)


def stream(tokens: np.ndarray, times: np.ndarray, plan: ChipPlan) -> np.ndarray:
    """Lay sequences one behind another: zeros where there is no token.

    Args:
        tokens: (tokens, batch, features).
        times: of ``arrivals``.
        plan: of the run.

    Returns:
        (timesteps, features), the input of each timestep, with the marker where there is one.
    """
    rows = np.zeros((times.max() + 1, tokens.shape[2] + plan.gated), dtype=tokens.dtype)
    rows[times, : tokens.shape[2]] = tokens
    if plan.gated:
        rows[times, -1] = TOKEN
        rows[times[0], -1] = FIRST
    return rows


def unstream(rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Cut the outputs of ``stream`` into sequences, with their signs: (tokens, batch, features)."""
    return wrap(rows[times].astype(np.int64), RETURNED_BITS)
