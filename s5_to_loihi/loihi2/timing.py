"""The runtime model: a timestep takes as long as the busiest part of the chip.

The max-affine form of arXiv 2601.10035::

    T_step = max(most updates of a core  x time of an update,
                 most synops of a core   x time of a synop,
                 most words that a core reads x time of a word,
                 bits on the busiest link / bandwidth,
                 barrier)

The paper's constants are not public; ours are facts with a range (``loihi2.yaml``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.resources import Term
from s5_to_loihi.network.gating import IDLE_INSTRUCTIONS

Amount = TypeVar("Amount", float, np.ndarray)
#: Where in its range each constant is taken from: all fast, as given, all slow.
CASES = ("low", "value", "high")
#: The facts of a chip that times are computed from.
TIMING_FACTS = (
    *("update_time", "instruction_time", "synop_time", "memory_word_time", "message_bits"),
    *("link_bandwidth", "chip_link_bandwidth", "barrier_time", "barrier_time_per_doubling"),
)


class Timing(NamedTuple):
    """Nanoseconds.

    Attributes:
        update: of beginning a neuron's update: all of one that is hard-coded.
        instruction: of each instruction of its program.
        synop: of a synaptic operation.
        word: of a read of a word of synapses.
        message: of a message on a link between routers, or between a core and its router.
        chip_message: of a message on a link between chips.
        barrier: of the barrier on one chip.
        barrier_per_doubling: more for twice as many chips.
        idle: of a neuron that finds that it must not update.
    """

    update: float
    instruction: float
    synop: float
    word: float
    message: float
    chip_message: float
    barrier: float
    barrier_per_doubling: float
    idle: float

    def updates(self, neurons, instructions, idle=0):
        """Return the nanoseconds of updates: numbers or arrays, as are the constants.

        Args:
            neurons: that update.
            instructions: that they run, all together.
            idle: neurons that must not update.
        """
        return neurons * self.update + instructions * self.instruction + idle * self.idle


def timing(chip: Chip, case: str = "value") -> Timing:
    """Return the constants of one of ``CASES``; bandwidths are highest where times are low."""
    bandwidth = {"low": "high", "value": "value", "high": "low"}[case]
    facts = {
        name: getattr(getattr(chip, name), bandwidth if name.endswith("bandwidth") else case)
        for name in TIMING_FACTS
    }
    return timing_of(facts)


def timing_of(facts: Mapping) -> Timing:
    """Return the constants from the numbers of ``TIMING_FACTS``, or from arrays of them."""
    bytes_of_message = facts["message_bits"] / 8
    return Timing(
        update=facts["update_time"],
        instruction=facts["instruction_time"],
        synop=facts["synop_time"],
        word=facts["memory_word_time"],
        message=bytes_of_message / facts["link_bandwidth"],
        chip_message=bytes_of_message / facts["chip_link_bandwidth"],
        barrier=facts["barrier_time"],
        barrier_per_doubling=facts["barrier_time_per_doubling"],
        idle=facts["update_time"] + IDLE_INSTRUCTIONS * facts["instruction_time"],
    )


def core_times(
    constants: Timing, updates: Amount, synops: Amount, words: Amount, messages: Amount
) -> dict[Term, Amount]:
    """Return the nanoseconds of what a core does, by what takes them.

    Args:
        constants: of the runtime model.
        updates: nanoseconds of updates, see ``Timing.updates``.
        synops: of the core.
        words: of synapses that it reads.
        messages: on the link between it and its router, in the direction that has more.
    """
    return {
        Term.UPDATES: updates,
        Term.SYNOPS: synops * constants.synop,
        Term.WORDS: words * constants.word,
        Term.CORE_LINK: messages * constants.message,
    }


def barrier(constants: Timing, chips: int) -> float:
    """Return the nanoseconds of the barrier on so many chips."""
    return constants.barrier + constants.barrier_per_doubling * math.log2(max(1, chips))
