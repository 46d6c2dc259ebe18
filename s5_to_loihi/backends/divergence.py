"""Where a board run begins to differ: the first group, found by probing messages, then its state.

A board gives one message at a time: what is probed leaves the chip in place of the output. Groups
are halved between the last that is known to send what it should and the first that does not; then
the other sources of that group are looked at. What is left is a group that gets what it should and
sends something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.files.records import Schema, SignedInteger, read_record, write_record
from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup
from s5_to_loihi.simulators.interpreter import Interpreter

#: Runs that a search may take by default.
RUNS = 16
_SCHEMA = Schema(
    name="divergence",
    key="s5_to_loihi divergence",
    version=1,
    largest=1 << 20,
    do="Give the file that a board run wrote",
)
#: ``probe(readout, states)`` makes a run: what the message is, (tokens, batch, neurons), and of a
#: group's registers ``group.register`` -> the same. See ``board.run``.
Probe = Callable[[str, str | None], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Divergence:
    """The first integer that differs, as far as a search came.

    Attributes:
        value: ``group.message`` or ``group.register``.
        token, sequence, neuron: which; the earliest token of what differs in the group.
        got, expected: the integers.
        runs: how many were made.
        after: the groups whose messages were found right.
        unsure: groups before this one that the runs did not suffice for; empty: what the group
            gets is right.
    """

    value: str
    token: int
    sequence: int
    neuron: int
    got: SignedInteger
    expected: SignedInteger
    runs: int
    after: tuple[str, ...]
    unsure: tuple[str, ...]

    @property
    def group(self) -> str:
        """The group that computes the value."""
        return self.value.rpartition(".")[0]

    def __str__(self) -> str:
        found = (
            f"the first difference is in group {self.group}, {self.value}, at token {self.token} of"
            f" sequence {self.sequence}, neuron {self.neuron}: got {self.got}, expected"
            f" {self.expected} ({self.runs} runs)"
        )
        if self.unsure:
            found += f"; not looked at, and before it: {', '.join(self.unsure)}"
        return found


def write_divergence(value: Divergence, path: str | os.PathLike[str]) -> None:
    """Write it as JSON, whole or not at all."""
    write_record(value, path, _SCHEMA)


def read_divergence(path: str | os.PathLike[str]) -> Divergence:
    """Read what ``write_divergence`` wrote.

    Raises:
        InputError: the file is not what was written.
    """
    return read_record(Divergence, path, _SCHEMA)


def locate(
    network: Network, tokens: np.ndarray, outputs: np.ndarray, probe: Probe, runs: int = RUNS
) -> Divergence | None:
    """Find the first group that differs from the interpreter.

    Args:
        network: verified, with aligned delays.
        tokens: (tokens, batch, input features), of a run.
        outputs: that it gave, (tokens, batch, features).
        probe: makes a run.
        runs: how many at most. A message takes one, a group's registers one; a group is looked at
            once. Halving takes about the logarithm of the number of groups, times the messages
            that a group sends.

    Returns:
        None if the outputs are right.
    """
    search = _Search(network, tokens, probe, runs)
    groups = list(network.groups)
    place = {group.name: index for index, group in enumerate(groups)}
    first = place[network.output.group]
    if not search.differs(groups[first], str(network.output), outputs):
        return None
    while True:
        good = max((place[one] for one in search.good if place[one] < first), default=-1)
        while first - good > 1:
            middle = (good + first) // 2
            right = search.right(groups[middle])
            if right is None:
                break
            good, first = (middle, first) if right else (good, middle)
        suspects = _sources(network, groups[first]) - search.good
        wrong = [one for one in suspects if search.right(network.group(one)) is False]
        if not wrong:
            return search.found(groups[first], _sources(network, groups[first]) - search.good)
        first = min(place[one] for one in wrong)


class _Search:
    """The runs that were made, and what they showed."""

    def __init__(self, network: Network, tokens: np.ndarray, probe: Probe, runs: int):
        self._network, self._probe, self._left = network, probe, runs
        self._runs = 0
        self._expected = Interpreter(network).evaluate(tokens, keep=None).values
        self._differences: dict[str, tuple[str, np.ndarray]] = {}
        self.good: set[str] = set()

    def right(self, group: NeuronGroup) -> bool | None:
        """Tell whether all that a group sends is right; None if there are no runs left."""
        if group.name in self.good or group.name in self._differences:
            return group.name in self.good
        for message in self._network.sent_by(group):
            name = str(Endpoint(group.name, message))
            if self._left == 0:
                return None
            if self.differs(group, name, self._run(name, None)[0]):
                return False
        self.good.add(group.name)
        return True

    def differs(self, group: NeuronGroup, name: str, got: np.ndarray) -> bool:
        """Tell whether a message of a group is wrong, and remember it."""
        wrong = bool((got != self._expected[name]).any())
        if wrong:
            self._differences[group.name] = name, got
        return wrong

    def found(self, group: NeuronGroup, unsure: set[str]) -> Divergence:
        """Look at the registers of a group that sends something wrong; say what differs first."""
        name, got = self._differences[group.name]
        values = {name: got}
        if group.kind.state and self._left:
            values = {**self._run(name, group.name)[1], name: got}
        wrong = {
            name: places[0].tolist()
            for name, array in values.items()
            if len(places := np.argwhere(array != self._expected[name]))
        }
        first = min(wrong, key=lambda name: wrong[name][0])  # of one token, registers before it
        token, sequence, neuron = wrong[first]
        return Divergence(
            value=first,
            token=token,
            sequence=sequence,
            neuron=neuron,
            got=int(values[first][token, sequence, neuron]),
            expected=int(self._expected[first][token, sequence, neuron]),
            runs=self._runs,
            after=tuple(one.name for one in self._network.groups if one.name in self.good),
            unsure=tuple(sorted(unsure)),
        )

    def _run(self, readout: str, states: str | None):
        self._left, self._runs = self._left - 1, self._runs + 1
        return self._probe(readout, states)


def _sources(network: Network, group: NeuronGroup) -> set[str]:
    """Return the other groups that a group gets messages of."""
    return {one.source.group for one in network.incoming(group.name)} - {INPUT, group.name}
