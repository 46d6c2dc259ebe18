"""What a kind of neuron is: the names of its parts and one function, its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from s5_to_loihi.fixed_point import Integers
from s5_to_loihi.network.neurons.constants import Constants

#: Accumulators, registers, messages or probes, in the order of their names.
Values: TypeAlias = tuple[Integers, ...]
#: What an update computes: registers, messages, probes.
Update: TypeAlias = tuple[Values, Values, Values]


@dataclass(frozen=True)
class Recurrence:
    """The update of neurons with state, cut so that only one part needs tokens in order.

    Attributes:
        drive: ``(accumulators, constants) -> inputs``, what comes before the state.
        advance: ``(inputs, state, constants) -> state``; what ``emit`` needs of the old state
            besides may follow.
        emit: ``(inputs, state, constants) -> (messages, probes)`` from all that ``advance``
            returns.
    """

    drive: Callable[[Values, Any], Values]
    advance: Callable[[Values, Values, Any], Values]
    emit: Callable[[Values, Values, Any], tuple[Values, Values]]

    def __call__(self, accumulators: Values, state: Values, constants: Constants) -> Update:
        """Do all three."""
        inputs = self.drive(accumulators, constants)
        advanced = self.advance(inputs, state, constants)
        messages, probes = self.emit(inputs, advanced, constants)
        return advanced[: len(state)], messages, probes


@dataclass(frozen=True, kw_only=True)
class NeuronKind:
    """A neuron program, shared by all neurons of a group.

    ``update(accumulators, state, constants) -> (state, messages, probes)`` is the only definition
    of the arithmetic. Its arguments and results are tuples of integers (arrays of shape (..., n),
    or scalars for one neuron) in the order of the names below; ``constants`` is an instance of
    the named tuple ``constants``. It is pure and uses the primitives of ``fixed_point`` only.

    Attributes:
        name: the kind's name in texts and files.
        title: a few words for people.
        colour: of its groups in drawings.
        ports: dendritic accumulators; synapses end here.
        state: registers that live from one update to the next, zero at the start.
        messages: what a neuron can send; a message that no synapses carry is never sent.
        probes: values in between, computed for verification only.
        constants: the named tuple of the program's constants, whose annotations declare what they
            are, see ``constants.py``.
        update: the arithmetic; of kinds with state a ``Recurrence``.
        wraps: whether sums, registers and messages are words of 32 bits that wrap around, as those
            of Lava's neurons do, instead of narrower ones that are proven not to overflow. Of
            a sum, ``update`` may use no more than the lowest 32 bits.
        lasting: whether registers stand for what others have sent or been told, so that they go on
            over the end of a sequence: none of theirs are reset.
        keeps: pairs (message, register that it is kept in): synapses may lead such a message back
            to the group that sends it.
    """

    name: str
    title: str
    colour: str = "#e0e0e0"
    ports: tuple[str, ...]
    state: tuple[str, ...] = ()
    messages: tuple[str, ...]
    probes: tuple[str, ...] = ()
    constants: type[Constants]
    update: Callable[[Values, Values, Any], Update]
    wraps: bool = False
    lasting: bool = False
    keeps: tuple[tuple[str, str], ...] = ()

    def __deepcopy__(self, memo: object) -> NeuronKind:
        """Return itself: kinds are told apart with ``is``."""
        return self

    def kept(self, message: str) -> str | None:
        """Return the register that a message is kept in, None if it is not."""
        return dict(self.keeps).get(message)

    @property
    def recurrence(self) -> Recurrence | None:
        """The parts of ``update``, for kinds with state."""
        return self.update if isinstance(self.update, Recurrence) else None

    @property
    def values(self) -> tuple[str, ...]:
        """Every named result of an update, in the order in which ``update`` returns them."""
        return self.state + self.messages + self.probes
