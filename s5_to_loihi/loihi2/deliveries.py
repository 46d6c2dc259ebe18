"""What each message costs on each core: the table behind the timestep of a single token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2 import kernels
from s5_to_loihi.loihi2.loads import parts_of
from s5_to_loihi.loihi2.memory import rows_of
from s5_to_loihi.loihi2.workload import Workload


class Deliveries(NamedTuple):
    """A row for each input axon of each core, by core: a message, and a core with its synapses.

    Attributes:
        message: (rows,) number of the message, in the order of ``Workload.sender``.
        core: (rows,) logical core.
        group: (rows,) group of the neurons that it reaches.
        synapses: (rows,) synops when the message is sent.
        words: (rows,) words of synapses read when it is sent.
    """

    message: np.ndarray
    core: np.ndarray
    group: np.ndarray
    synapses: np.ndarray
    words: np.ndarray


def deliveries(work: Workload, core_of: np.ndarray) -> Deliveries:
    """List what every message does.

    Summed with the rates of the messages, the rows are what ``loads.measure`` counts.

    Args:
        work: what is mapped.
        core_of: (neurons,) logical core.
    """
    arrays = work.arrays
    order, first_of_part, core_of_part = parts_of(work, core_of)
    part, axon, synapses, words = kernels.deliver(order, first_of_part, arrays, rows_of(work.chip))
    group_of_part = work.group_of[order[first_of_part[:-1]]]
    return Deliveries(
        arrays.message_of_axon[axon], core_of_part[part], group_of_part[part], synapses, words
    )
