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
from typing import NamedTuple

from s5_to_loihi.loihi2.facts import Chip

#: Where in its range each constant is taken from: all fast, as given, all slow.
CASES = ("low", "value", "high")


class Timing(NamedTuple):
    """Nanoseconds.

    Attributes:
        update, long_update: of a neuron whose program is short, or long.
        synop: of a synaptic operation.
        word: of a read of a word of synapses.
        message: of a message on a link between routers, or between a core and its router.
        chip_message: of a message on a link between chips.
        barrier: of the barrier on one chip.
        barrier_per_doubling: more for twice as many chips.
    """

    update: float
    long_update: float
    synop: float
    word: float
    message: float
    chip_message: float
    barrier: float
    barrier_per_doubling: float


def timing(chip: Chip, case: str = "value") -> Timing:
    """Return the constants of one of ``CASES``; bandwidths are highest where times are low."""
    bandwidth = {"low": "high", "value": "value", "high": "low"}[case]
    bytes_of_message = getattr(chip.message_bits, case) / 8
    return Timing(
        update=getattr(chip.update_time, case),
        long_update=getattr(chip.long_update_time, case),
        synop=getattr(chip.synop_time, case),
        word=getattr(chip.memory_word_time, case),
        message=bytes_of_message / getattr(chip.link_bandwidth, bandwidth),
        chip_message=bytes_of_message / getattr(chip.chip_link_bandwidth, bandwidth),
        barrier=getattr(chip.barrier_time, case),
        barrier_per_doubling=getattr(chip.barrier_time_per_doubling, case),
    )


def barrier(constants: Timing, chips: int) -> float:
    """Return the nanoseconds of the barrier on so many chips."""
    return constants.barrier + constants.barrier_per_doubling * math.log2(max(1, chips))
