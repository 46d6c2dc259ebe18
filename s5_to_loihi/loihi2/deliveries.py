"""What each message costs on each core: the table behind the timestep of a single token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5_to_loihi.loihi2.kernels import row_words, weight_bits
from s5_to_loihi.loihi2.memory import rows_of
from s5_to_loihi.loihi2.workload import Workload


class Deliveries(NamedTuple):
    """A row for each input axon of each core: a message, an edge, and a core with its synapses.

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
    arrays, groups = work.arrays, len(work.words_of_group)
    parts, part_of = np.unique(core_of * groups + work.group_of, return_inverse=True)
    part_of_segment = np.repeat(part_of, np.diff(arrays.segments))
    edges = len(arrays.edge_bits)
    pieces, piece_of_segment = np.unique(
        part_of_segment * edges + arrays.edges, return_inverse=True
    )
    low, high = np.zeros(len(pieces), dtype=np.int64), np.zeros(len(pieces), dtype=np.int64)
    np.minimum.at(low, piece_of_segment, arrays.lows)
    np.maximum.at(high, piece_of_segment, arrays.highs)
    bits = np.array(list(map(weight_bits, low.tolist(), high.tolist())), dtype=np.int64)

    axons = len(arrays.edge_of_axon)
    keys = np.repeat(part_of_segment * axons, np.diff(arrays.firsts)) + arrays.axons
    keys, synapses = np.unique(keys, return_counts=True)
    part, axon = np.divmod(keys, axons)
    own_bits = bits[np.searchsorted(pieces, part * edges + arrays.edge_of_axon[axon])]
    words = row_words(synapses, own_bits, np.bincount(part_of)[part], rows_of(work.chip))
    core, group = np.divmod(parts[part], groups)
    return Deliveries(arrays.message_of_axon[axon], core, group, synapses, words)
