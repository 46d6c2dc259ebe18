"""Verification: integers are equal or wrong, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.backends import board, divergence
from s5_to_loihi.backends.dispatch import BOARDS, Backend, run
from s5_to_loihi.backends.divergence import Divergence
from s5_to_loihi.bundle.vectors import TOKEN_VALUE, Vectors
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

#: Tokens evaluated at a time, which bounds the memory of a verification.
CHUNK = 512


@dataclass(frozen=True)
class Difference:
    """One integer that is not what was recorded."""

    token: int
    sequence: int
    neuron: int
    got: int
    expected: int


@dataclass(frozen=True)
class TensorResult:
    """The comparison of one tensor.

    Attributes:
        value: ``group.value``.
        recorded_as: the tensor's names at its origin; empty if only backends were compared.
        compared: number of integers.
        differing: how many differ.
        largest: the largest difference in units of the last place.
        first: the first one that differs, by token.
    """

    value: str
    recorded_as: tuple[str, ...]
    compared: int
    differing: int
    largest: int
    first: Difference | None

    @property
    def group(self) -> str:
        """The neuron group that computes the tensor."""
        return self.value.rpartition(".")[0]


@dataclass(frozen=True)
class RunResult:
    """The comparison of all tensors of one run.

    Attributes:
        backend, mode: what ran.
        tokens, sequences: how much of the vectors.
        tensors: results in the order in which the network computes the tensors.
        divergence: on a board, where outputs differ: the first group that differs from the
            interpreter, found by probing.
    """

    backend: Backend
    mode: Mode
    tokens: int
    sequences: int
    tensors: tuple[TensorResult, ...]
    divergence: Divergence | None = None

    @property
    def equal(self) -> bool:
        """Whether every integer is equal."""
        return all(tensor.differing == 0 for tensor in self.tensors)

    @property
    def first(self) -> TensorResult | None:
        """The tensor in which the first difference arises: earliest token, then earliest group."""
        wrong = [(tensor.first.token, tensor) for tensor in self.tensors if tensor.first]
        return min(wrong, key=lambda found: found[0], default=(0, None))[1]


def value_order(network: Network) -> tuple[str, ...]:
    """Return all values in the order in which they depend on each other."""
    return (
        TOKEN_VALUE,
        *(
            f"{group.name}.{name}"
            for group in network.groups
            for name in group.kind.probes + group.kind.state + group.kind.messages
        ),
    )


def compare(
    network: Network,
    values: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    recorded_as: Mapping[str, tuple[str, ...]],
    first_token: int = 0,
) -> tuple[TensorResult, ...]:
    """Compare tensors of equal names; each (tokens, batch, neurons).

    Args:
        network: names the tensors and their order.
        values: what was computed.
        expected: what should have been.
        recorded_as: names at the origin.
        first_token: the number of the first token of these arrays, for the report.
    """
    results = []
    for name in value_order(network):
        if name not in expected:
            continue
        difference = values[name].astype(np.int64) - expected[name].astype(np.int64)
        wrong = np.argwhere(difference)
        first = None
        if len(wrong):
            token, sequence, neuron = (int(index) for index in wrong[0])
            got = int(values[name][token, sequence, neuron])
            wanted = int(expected[name][token, sequence, neuron])
            first = Difference(first_token + token, sequence, neuron, got, wanted)
        results.append(
            TensorResult(
                name,
                tuple(recorded_as.get(name, ())),
                difference.size,
                len(wrong),
                int(np.abs(difference).max()),
                first,
            )
        )
    return tuple(results)


def verify_interpreter(network: Network, vectors: Vectors) -> RunResult:
    """Compare the interpreter, token by token, with all recorded tensors.

    Memory stays bounded for recordings of any length.

    Examples:
        >>> s5.verify_interpreter(bundle.network, bundle.vectors).equal
        True
    """
    interpreter = Interpreter(network)
    tokens = vectors.tokens
    state = interpreter.initial_state(tokens.shape[1])
    merged: tuple[TensorResult, ...] = ()
    for start in range(0, len(tokens), CHUNK):
        chunk = slice(start, start + CHUNK)
        evaluation = interpreter.evaluate(tokens[chunk], state, keep=vectors.expected.keys())
        state = evaluation.state
        values = evaluation.values | {TOKEN_VALUE: tokens[chunk]}
        expected = {name: array[chunk] for name, array in vectors.expected.items()}
        results = compare(network, values, expected, vectors.recorded_as, start)
        merged = tuple(map(_merge, merged, results)) if merged else results
    return RunResult(Backend.INTERPRETER, Mode.PIPELINED, len(tokens), tokens.shape[1], merged)


def _merge(before: TensorResult, after: TensorResult) -> TensorResult:
    return TensorResult(
        before.value,
        before.recorded_as,
        before.compared + after.compared,
        before.differing + after.differing,
        max(before.largest, after.largest),
        before.first or after.first,
    )


def verify_run(
    network: Network,
    vectors: Vectors,
    backend: Backend,
    mode: Mode,
    timeout: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    probes: int = divergence.RUNS,
) -> RunResult:
    """Run a backend and compare every value that it gives: every message, or all of every group.

    A value that was recorded is compared with the recording, any other with the interpreter
    evaluated token by token. A board gives outputs only; where they differ, the first group that
    does is looked for in ``probes`` more runs at most.

    Examples:
        >>> s5.verify_run(bundle.network, bundle.vectors, s5.Backend.FAST, s5.Mode.PIPELINED).equal
        True
    """
    reference = Interpreter(network).evaluate(vectors.tokens, keep=None)
    computed = run(
        network,
        vectors.tokens,
        backend,
        mode=mode,
        record=True,
        timeout=timeout,
        on_progress=on_progress,
    )
    values = computed.values | {
        TOKEN_VALUE: vectors.tokens,
        str(network.output): computed.outputs,
    }
    expected = {
        name: array
        for name, array in (reference.values | dict(vectors.expected)).items()
        if name in values
    }
    results = compare(network, values, expected, vectors.recorded_as)
    found = RunResult(backend, mode, len(vectors.tokens), vectors.tokens.shape[1], results)
    if backend not in BOARDS or found.equal or not probes:
        return found

    def probe(readout: str, states: str | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        one = board.run(
            network, vectors.tokens, mode=mode, total_timeout=timeout, on_progress=on_progress,
            readout=readout, states=states, rehearsed=backend is Backend.REHEARSAL,
        ).evaluation  # fmt: skip
        return one.outputs, one.values

    return replace(
        found,
        divergence=divergence.locate(network, vectors.tokens, computed.outputs, probe, probes),
    )


def first_difference(results: Sequence[RunResult]) -> tuple[RunResult, TensorResult] | None:
    """Return the first run that differs and the tensor in which its first difference arises."""
    for result in results:
        if result.first:
            return result, result.first
    return None
