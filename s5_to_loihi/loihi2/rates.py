"""How often each neuron sends a message: measured on recorded tokens, or assumed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.bundle import Bundle, network_of, opened
from s5_to_loihi.bundle.vectors import TOKEN_VALUE
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Interpreter

#: Tokens of all sequences together that are evaluated at a time.
CHUNK_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class Rates:
    """Messages a timestep, when tokens are pipelined (one each timestep).

    Attributes:
        origin: where the numbers come from, for people.
        of: ``group.message`` -> (neurons,) float64 within 0..1, of every message that synapses
            carry or that leaves the network.
    """

    origin: str
    of: Mapping[str, np.ndarray]


def sent_in_chunks(
    network: Network,
    tokens: np.ndarray,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[dict[str, np.ndarray]]:
    """Evaluate tokens in chunks and yield which messages are not zero, hence sent.

    Args:
        network: verified.
        tokens: (tokens, batch, input features) integers, from a zero state on.
        on_progress: called with tokens done and in all.

    Yields:
        ``group.message`` -> (tokens of the chunk, batch, neurons) bool, of ``network.sent``.
    """
    count, batch, _ = tokens.shape
    names = tuple(map(str, network.sent))
    interpreter = Interpreter(network)
    state = interpreter.initial_state(batch)
    step = max(1, CHUNK_TOKENS // batch)
    for start in range(0, count, step):
        chunk = tokens[start : start + step]
        evaluation = interpreter.evaluate(chunk, state, keep=names)
        state = evaluation.state
        values = evaluation.values | {TOKEN_VALUE: chunk}
        yield {name: values[name] != 0 for name in names}
        on_progress(min(start + step, count), count)


def measured_rates(
    network: Network,
    tokens: np.ndarray,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rates:
    """Count the messages that are not zero on recorded tokens, neuron by neuron.

    Args:
        network: verified.
        tokens: (tokens, batch, input features) integers, from a zero state on.
        on_progress: called with tokens done and in all.
    """
    count, batch, _ = tokens.shape
    sums: dict[str, np.ndarray] = {}
    for sent in sent_in_chunks(network, tokens, on_progress):
        for name, messages in sent.items():
            sums[name] = sums.get(name, 0) + messages.sum(axis=(0, 1))
    return Rates(
        measured_origin(count, batch),
        {name: total / (count * batch) for name, total in sums.items()},
    )


def measured_origin(tokens: int, batch: int) -> str:
    """Return where rates come from that were counted."""
    return f"measured on {batch} x {tokens} recorded tokens"


def assumed_rates(network: Network, rate: float = 1.0) -> Rates:
    """Return the same rate for every neuron; 1 is the worst case, a message every timestep."""
    return Rates(
        f"assumed, {rate:g} messages a neuron and timestep",
        {str(one): np.full(network.message_size(one), rate) for one in network.sent},
    )


def rates_of(
    source: Network | Bundle | str | os.PathLike[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rates:
    """Return the rates that a bundle's recorded tokens have; where there are none, assumed ones."""
    if not isinstance(source, Network):
        source = opened(source)
        if source.vectors is not None:
            return measured_rates(source.network, source.vectors.tokens, on_progress)
    return assumed_rates(network_of(source))
