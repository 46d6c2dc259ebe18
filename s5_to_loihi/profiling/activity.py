"""Which neuron sent a message at which token: counted once, and all activity is read off it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.loihi2.rates import Rates, measured_origin, sent_in_chunks
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.simulators.activity import Activity, count

#: Bytes that a recording may take; of a longer input the first tokens are used, and it says so.
LARGEST_RECORDING = 250_000_000
#: Points of the series over time, for plots.
SERIES_POINTS = 200


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

    @property
    def messages(self) -> dict[str, np.ndarray]:
        """Name of a message -> (tokens, batch, neurons) bool: whether it was sent."""
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        return dict(zip(self.sizes, np.split(self.sent, ends, axis=2), strict=True))

    @cached_property
    def rates(self) -> Rates:
        """Messages a timestep of each neuron, means over all tokens."""
        means = {name: sent.mean(axis=(0, 1)) for name, sent in self.messages.items()}
        return Rates(self.origin, means)


@dataclass(frozen=True)
class ActivityProfile:
    """What the input made the network do.

    Attributes:
        origin: what was run.
        tokens, sequences: how much.
        synops, messages, updates: a token, over all groups; ranges are percentiles 5 and 95.
        series: evenly spaced parts of the input: first token, mean synops, mean messages a token.
    """

    origin: str
    tokens: int
    sequences: int
    synops: Quantity
    messages: Quantity
    updates: Quantity
    series: tuple[tuple[int, float, float], ...]


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
    tokens = check_tokens(network, tokens)
    sizes = {str(one): network.message_size(one) for one in network.sent}
    given, batch, _ = tokens.shape
    used = max(1, min(given, largest // (batch * sum(sizes.values()))))
    chunks = list(sent_in_chunks(network, tokens[:used], on_progress))
    sent = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in sizes}
    origin = measured_origin(used, batch) + (f", the first of {given}" if used < given else "")
    return Recording(
        origin, sizes, np.concatenate(list(sent.values()), axis=2), count(network, sent)
    )


def activity_profile(recording: Recording) -> ActivityProfile:
    """Summarise what was counted."""
    counts, source = recording.activity, f"simulation, {recording.origin}"
    tokens, batch = counts.synops.shape[:2]
    synops, messages = counts.synops.sum(axis=2), counts.messages.sum(axis=2)

    def spread(values: np.ndarray, unit: str) -> Quantity:
        low, high = np.percentile(values, (5, 95))
        mean = float(values.mean())
        scope = "a token: mean, percentiles 5 and 95 over tokens"
        return Quantity(
            mean, min(mean, low), max(mean, high), unit, scope, Origin.MEASURED, source
        )  # fmt: skip

    starts = np.unique(np.linspace(0, tokens, SERIES_POINTS + 1).astype(int))[:-1]
    lengths = np.diff(np.append(starts, tokens))
    means = [np.add.reduceat(one.mean(axis=1), starts) / lengths for one in (synops, messages)]
    return ActivityProfile(
        origin=recording.origin,
        tokens=tokens,
        sequences=batch,
        synops=spread(synops, "synops"),
        messages=spread(messages, "messages"),
        updates=spread(np.full(1, counts.updates.sum()), "updates"),
        series=tuple(
            (int(start), float(one), float(other))
            for start, one, other in zip(starts, *means, strict=True)
        ),
    )
