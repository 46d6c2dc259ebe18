"""What this processor could do, what a token takes, and where the time goes; see simulators.py."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numba
import numpy as np
from simulator_ways import (
    Subject,
    timed,
)

from s5_to_loihi.network.network import is_identity
from s5_to_loihi.simulators.fast import FUNCTION, context_of
from s5_to_loihi.simulators.fast_plan import Call
from s5_to_loihi.simulators.loops import BLOCK


@numba.njit(error_model="numpy")
def _peak_registers(repeats, weight, addend, values):
    """Chains of eight int32 multiply-adds on values in registers, independent of one another."""
    for _ in range(repeats):
        for t in range(len(values)):
            value = values[t]
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            values[t] = value


def _peak_block_source() -> str:
    """Eight rows of a block in the first-level cache, multiplied and added to one row."""
    rows = range(8)
    products = [f"i32(w{k} * m{k}[t])" for k in rows]
    while len(products) > 1:
        pairs = zip(products[::2], products[1::2], strict=True)
        products = [f"i32({left} + {right})" for left, right in pairs]
    lines = [
        "def peak_block(repeats, weights, messages, sums):",
        "    for _ in range(repeats):",
        "        for k in range(0, 64, 8):",
        *(f"            w{k}, m{k} = weights[k + {k}], messages[k + {k}]" for k in rows),
        "            for t in range(64):",
        f"                sums[t] += {products[0]}",
    ]
    return "\n".join(lines)


def peak(rounds: int) -> dict[str, float]:
    """Return int32 multiply-adds a nanosecond that this processor reaches."""
    names: dict = {"i32": np.int32}
    exec(_peak_block_source(), names)
    block = numba.njit(error_model="numpy")(names["peak_block"])
    values, sums = np.arange(512, dtype=np.int32), np.zeros(64, dtype=np.int32)
    messages, weights = np.ones((64, 64), dtype=np.int32), np.ones(64, dtype=np.int32)
    repeats = 5000

    def in_registers():
        _peak_registers(repeats, np.int32(3), np.int32(5), values)

    def in_cache():
        block(repeats, weights, messages, sums)

    rates = {}
    for name, run, count in (
        ("registers", in_registers, repeats * len(values) * 8),
        ("first-level cache", in_cache, repeats * messages.size),
    ):
        run()
        rates[name] = count / 1e3 / min(timed(run, 1)() for _ in range(4 * rounds))
    return rates


#: Tokens over which the parts of streaming are measured: their messages stay in the caches, and
#: are too many for the branch predictor to learn.
DISSECTED = 64
SYNAPSES = "synapses, and counting them"


@dataclass(frozen=True)
class Part:
    """One part of the calls: its name, microseconds a token, and multiply-accumulates a token."""

    name: str
    microseconds: float
    macs: float = 0.0


class Dissection:
    """Times some of a network's calls, again and again, less what calling nothing takes."""

    def __init__(self, subject: Subject, rounds: int):
        self._subject, self._rounds = subject, rounds
        self._simulator = subject.simulator
        self._planner = subject.simulator.planners()[0]

    def sequences(self) -> list[Part]:
        """Return synapses to and neurons of each kind of group, and the rest."""
        calls = self._planner.of_a_block(counting=False)
        messages = np.ascontiguousarray(self._messages(BLOCK).T)
        parts = self._split(calls)
        costs = self._measured(parts | {"whole": calls}, [messages], BLOCK)
        whole = costs.pop("whole")
        found = [Part(name, cost, self._synapses_to(name)) for name, cost in costs.items()]
        return with_the_rest(found, whole)

    def streaming(self) -> list[Part]:
        """Return the parts of a token; messages are those of real ones, one after the other."""
        calls = self._planner.of_a_token()
        parts: dict[str, list[Call]] = {SYNAPSES: []}
        for name, some in self._split(calls).items():
            neurons = name.startswith("neurons")
            parts.setdefault(name if neurons else SYNAPSES, []).extend(some)
        costs = self._measured(parts | {"whole": calls}, list(self._messages(DISSECTED)), 1)
        whole = costs.pop("whole")
        run = self._simulator.run(self._subject.tokens[:DISSECTED, :1], counting=True)
        assert run.activity
        synops = float(run.activity.synops.sum(axis=2).mean())
        found = [Part(name, cost, synops * (name == SYNAPSES)) for name, cost in costs.items()]
        return with_the_rest(found, whole)

    def _messages(self, count: int) -> np.ndarray:
        """Return (tokens, message rows): what is sent in each token."""
        layout, tokens = self._simulator.layout, self._subject.tokens[:count, :1]
        messages = self._simulator.run(tokens, record=True).messages
        rows = np.empty((count, layout.message_rows), dtype=np.int32)
        for source, first in layout.messages.items():
            rows[:, first : first + layout.message_sizes[source]] = messages[str(source)][:, 0]
        return rows

    def _split(self, calls: list[Call]) -> dict[str, list[Call]]:
        """Return part -> its calls; those before a group's neurons bring it what it adds up."""
        parts: dict[str, list[Call]] = {}
        waiting: list[Call] = []
        for call in calls[1:-1]:  # without what takes tokens in and hands outputs out
            if not call.group:
                waiting.append(call)
                continue
            kind = self._subject.network.group(call.group).kind.name
            if waiting:
                parts.setdefault(f"synapses to {kind}", []).extend(waiting)
            parts.setdefault(f"neurons {kind}", []).append(call)
            waiting = []
        return parts

    def _synapses_to(self, part: str) -> int:
        network = self._subject.network
        return sum(
            edge.weights.nnz
            for edge in network.synapses
            if part == f"synapses to {network.group(edge.target.group).kind.name}"
            and not is_identity(edge.weights)
        )

    def _measured(
        self, parts: dict[str, list[Call]], messages: list[np.ndarray], tokens: int
    ) -> dict[str, float]:
        """Return the lowest cost of each part, microseconds a token, measured in turn."""
        layout, network = self._simulator.layout, self._subject.network
        groups = len(self._simulator.groups)
        others = [
            np.zeros(tokens * max(1, layout.accumulator_rows), dtype=np.int32),
            self._simulator.initial_state()[0],
            *(np.zeros(tokens * groups, dtype=np.int64) for _ in range(2)),
            np.ascontiguousarray(self._subject.tokens[:tokens, 0]),
            np.empty(tokens * network.output_size, dtype=np.int32),
        ]
        contexts = [context_of(rows, *others, count=tokens) for rows in messages]
        plans = {
            name: self._planner.plan(calls) for name, calls in (parts | {"nothing": []}).items()
        }
        functions = {name: FUNCTION(plan.function) for name, plan in plans.items()}
        repeats = max(1, 20 // len(contexts))
        addresses = [context.ctypes.data for context in contexts] * repeats
        costs = dict.fromkeys(plans, float("inf"))
        for _ in range(4 * self._rounds):
            for name, plan in plans.items():
                function, arguments = functions[name], plan.arguments
                started = time.perf_counter()
                for address in addresses:
                    function(address, arguments)
                each = (time.perf_counter() - started) / len(addresses) / tokens * 1e6
                costs[name] = min(costs[name], each)
        nothing = costs.pop("nothing")
        return {name: cost - nothing for name, cost in costs.items()}


def with_the_rest(parts: list[Part], whole: float) -> list[Part]:
    """Add what the parts leave, and the sum."""
    rest = Part("the rest", whole - sum(part.microseconds for part in parts))
    return [*parts, rest, Part("compiled code", whole, sum(part.macs for part in parts))]


@dataclass(frozen=True)
class Work:
    """What a token takes.

    Attributes:
        synops: synaptic operations, mean over the tokens, hand-ons included.
        macs: stored synapses that sequences multiply, whatever the messages.
        dense_macs: the same if every matrix were dense (the feed-through is diagonal).
        updates: of neurons.
        messages: that are not zero, mean over the tokens.
        sent: the same as a fraction of all.
        streaming_bytes, sequence_bytes: read and written in all levels of the memory.
        network_bytes: of the synapses, one of the two ways.
    """

    synops: float
    macs: int
    dense_macs: int
    updates: int
    messages: float
    sent: float
    streaming_bytes: float
    sequence_bytes: float
    network_bytes: int


def work_of(subject: Subject) -> Work:
    """Count what a token takes, on the subject's first sequence."""
    simulator, network = subject.simulator, subject.network
    layout = simulator.layout
    activity = simulator.run(subject.tokens[:, :1], counting=True).activity
    assert activity
    synops = float(activity.synops.sum(axis=2).mean())
    messages = float(activity.messages.sum(axis=2).mean())
    edges = [edge for edge in network.synapses if not is_identity(edge.weights)]
    macs = sum(edge.weights.nnz for edge in edges)
    dense = sum(
        max(edge.weights.shape) if edge.source.name == "u" and edge.target.name == "d"
        else edge.weights.shape[0] * edge.weights.shape[1]
        for edge in edges
    )  # fmt: skip
    neurons = len(layout.parameter_values) + 2 * (layout.register_count + layout.message_rows)
    # A weight and an index, and an accumulator read and written; a column pointer a message. For
    # blocks: weight and index once for all, a message each; sums stay in registers.
    streaming = 13 * synops + 4 * (neurons + 2 * layout.accumulator_rows + 2 * layout.message_rows)
    sequence = (5 / BLOCK + 4) * macs + 4 * (neurons + layout.accumulator_rows)
    return Work(
        synops,
        macs,
        dense,
        int(activity.updates.sum()),
        messages,
        messages / layout.message_rows,
        streaming,
        sequence,
        5 * macs + 8 * layout.message_rows,
    )
