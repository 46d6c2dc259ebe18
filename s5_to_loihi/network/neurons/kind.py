"""What a kind of neuron is: the names of its parts and one function, its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Recurrence:
    """The arithmetic of neurons with state, cut so that only one part needs tokens in order.

    Attributes:
        drive: ``(accumulators, constants) -> inputs``, what comes before the state.
        advance: ``(inputs, state, constants) -> state``.
        emit: ``(inputs, state, constants) -> (messages, probes)`` from the new state.
    """

    drive: Callable
    advance: Callable
    emit: Callable

    def update(self, accumulators, state, constants):
        """Do all three: the ``update`` of the kind."""
        inputs = self.drive(accumulators, constants)
        state = self.advance(inputs, state, constants)
        messages, probes = self.emit(inputs, state, constants)
        return state, messages, probes


@dataclass(frozen=True)
class NeuronKind:
    """A neuron program, shared by all neurons of a group.

    ``update(accumulators, state, constants) -> (state, messages, probes)`` is the only definition
    of the arithmetic. Its arguments and results are tuples of integers (arrays of shape (..., n),
    or scalars for one neuron) in the order of the names below; ``constants`` is an instance of
    the named tuple ``constants``. It is pure and uses the primitives of ``fixed_point`` only.

    Attributes:
        name: the kind's name in texts and files.
        title: a few words for people.
        ports: dendritic accumulators; synapses end here.
        state: registers that live from one update to the next, zero at the start.
        messages: what a neuron can send; a message that no synapses carry is never sent.
        probes: values in between, computed for verification only.
        constants: the named tuple of the program's constants, whose annotations declare what they
            are, see ``constants.py``.
        update: the arithmetic.
        recurrence: the parts of ``update``, for kinds with state.
    """

    name: str
    title: str
    ports: tuple[str, ...]
    state: tuple[str, ...]
    messages: tuple[str, ...]
    probes: tuple[str, ...]
    constants: type
    update: Callable
    recurrence: Recurrence | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """Every named result of an update, in the order in which ``update`` returns them."""
        return self.state + self.messages + self.probes
