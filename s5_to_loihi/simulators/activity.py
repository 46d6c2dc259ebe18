"""What a network did in each token: messages, synaptic operations and updates of each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.network.network import INPUT, Endpoint, Network


@dataclass(frozen=True, eq=False)
class Activity:
    """Counts for each token, sequence and group.

    Attributes:
        groups: ``input`` and the names of the groups.
        messages: (tokens, batch, groups) non-zero integers that a group sends, over synapses or
            out of the network; zero is never sent.
        synops: (tokens, batch, groups) synaptic operations at a group: the synapses of the
            non-zero messages that arrive there.
        updates: (groups,) neuron updates of each token.
    """

    groups: tuple[str, ...]
    messages: np.ndarray
    synops: np.ndarray
    updates: np.ndarray


def joined(parts: list[Activity]) -> Activity:
    """Return the activity of runs that follow one another in time."""
    return Activity(
        parts[0].groups,
        np.concatenate([part.messages for part in parts]),
        np.concatenate([part.synops for part in parts]),
        parts[0].updates,
    )


def count(network: Network, messages: Mapping[str, np.ndarray]) -> Activity:
    """Count the activity of recorded messages.

    Args:
        network: that sent them.
        messages: ``group.message`` -> (tokens, batch, neurons), of the input (``input.token``) and
            of every message that synapses carry or that leaves the network.
    """
    groups = (INPUT, *(group.name for group in network.groups))
    shape = (*next(iter(messages.values())).shape[:2], len(groups))
    sent, synops = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    for source in network.sent:
        sent[..., groups.index(source.group)] += _non_zero(messages, source).sum(axis=2)
    for synapses in network.synapses:
        reached = np.bincount(synapses.weights.indices, minlength=synapses.weights.shape[1])
        index = groups.index(synapses.target.group)
        synops[..., index] += _non_zero(messages, synapses.source) @ reached
    return Activity(groups, sent, synops, np.array([0, *(g.size for g in network.groups)]))


def _non_zero(messages: Mapping[str, np.ndarray], source: Endpoint) -> np.ndarray:
    return messages[str(source)] != 0
