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
from typing import NamedTuple

from s5_to_loihi.loihi2.facts import Chip

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
    """

    update: float
    instruction: float
    synop: float
    word: float
    message: float
    chip_message: float
    barrier: float
    barrier_per_doubling: float


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
    )


def barrier(constants: Timing, chips: int) -> float:
    """Return the nanoseconds of the barrier on so many chips."""
    return constants.barrier + constants.barrier_per_doubling * math.log2(max(1, chips))
