"""Which neuron sent a message at which token: counted once, and all activity is read off it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s5_to_loihi.backends.activity import Activity, count
from s5_to_loihi.inputs import as_tokens
from s5_to_loihi.loihi2.rates import Rates, measured_origin, sent_in_chunks, sent_messages
from s5_to_loihi.network.network import Network

#: Bytes that a recording may take; of a longer input the first tokens are used, and it says so.
LARGEST_RECORDING = 250_000_000


@dataclass(frozen=True, eq=False)
class Recording:
    """The messages that a network sent for some tokens.

    Attributes:
        origin: what was run, for people.
        sizes: ``group.message`` -> neurons, in the order of the last axis of ``sent``.
        sent: (tokens, batch, messages of all neurons) bool.
        activity: messages, synops and updates of each group and token.
    """

    origin: str
    sizes: dict[str, int]
    sent: np.ndarray
    activity: Activity

    @cached_property
    def rates(self) -> Rates:
        """Messages a timestep of each neuron, means over all tokens."""
        means = self.sent.mean(axis=(0, 1))
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        return Rates(self.origin, dict(zip(self.sizes, np.split(means, ends), strict=True)))


def record(
    network: Network,
    tokens: np.ndarray,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    largest: int = LARGEST_RECORDING,
) -> Recording:
    """Run tokens and write down which messages were sent.

    Args:
        network: verified.
        tokens: (tokens, features) or (tokens, batch, features); see ``inputs.as_tokens``.
        on_progress: called with tokens done and in all.
        largest: bytes that the recording may take.

    Raises:
        InputError: the tokens do not suit the network.
    """
    tokens, _ = as_tokens(network, tokens, where="tokens")
    sizes = {str(one.source): one.weights.shape[1] for one in network.synapses}
    sizes[str(network.output)] = network.output_size
    sizes = {name: sizes[name] for name in sent_messages(network)}
    given, batch, _ = tokens.shape
    used = max(1, min(given, largest // (batch * sum(sizes.values()))))
    chunks = list(sent_in_chunks(network, tokens[:used], on_progress))
    sent = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in sizes}
    origin = measured_origin(used, batch) + (f", the first of {given}" if used < given else "")
    return Recording(
        origin, sizes, np.concatenate(list(sent.values()), axis=2), count(network, sent)
    )
