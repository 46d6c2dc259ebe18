"""The only way to make a network: connect what exists to a group's ports, then add the group.

A front end names messages, weights, constants and formats; sizes and the exponents in which ports
accumulate follow from the synapses. Phases and delays are left to ``passes.align_delays``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Readout,
    Synapses,
    frozen_weights,
    identity_weights,
)
from s5_to_loihi.network.neurons.constants import Constants
from s5_to_loihi.network.neurons.kind import NeuronKind


class NetworkBuilder:
    """Collects groups and synapses in topological order.

    Attributes:
        name: what the user calls the network.
        token: the message that the network's input sends.
    """

    def __init__(self, name: str, input_size: int, input_format: Format):
        """Begin a network whose tokens have ``input_size`` integers of ``input_format``."""
        self.name = name
        self.token = Endpoint(INPUT, TOKEN)
        self._groups: dict[str, NeuronGroup] = {}
        self._synapses: list[Synapses] = []
        self._sizes = {self.token: input_size}
        self._formats = {self.token: input_format}

    def size(self, message: Endpoint) -> int:
        """Return the number of neurons behind a message (KeyError if there is no such message)."""
        return self._sizes[message]

    def format(self, message: Endpoint) -> Format:
        """Return the format of a message (KeyError if there is no such message)."""
        return self._formats[message]

    def connect(
        self,
        name: str,
        source: Endpoint,
        target: Endpoint,
        weights: np.ndarray | csr_matrix,
        exponent: int = 0,
        delay: int = 0,
        product_bits: int | None = None,
    ) -> None:
        """Add synapses to a port of a group that is added later.

        Args:
            name: unique in the network.
            source: a message of the input, of a group that was added before, or of the target
                itself.
            target: the port.
            weights: (target neurons, source neurons) integers within int8.
            exponent: fractional bits of the weights.
            delay: timesteps in addition to the one that every synapse costs.
            product_bits: each product wraps to so many bits, see ``Synapses``.

        Raises:
            NetworkError: there is no such message yet, or the group was added before.
            ValueError: a weight is outside int8; callers check first and say which tensor it is.
        """
        if source not in self._sizes and source.group != target.group:
            raise NetworkError(name, f"comes from {source}, which no group before it sends")
        if target.group in self._groups:
            raise NetworkError(name, f"ends at {target.group}, which was added before")
        self._synapses.append(
            Synapses(name, source, target, frozen_weights(weights), exponent, delay, product_bits)
        )

    def hand_on(self, name: str, source: Endpoint, target: Endpoint) -> None:
        """Add synapses that hand every message on unchanged."""
        self.connect(name, source, target, identity_weights(self.size(source)))

    def incoming(self, group: str) -> tuple[Synapses, ...]:
        """Return the synapses that end at a group, in the order in which they were added."""
        return tuple(edge for edge in self._synapses if edge.target.group == group)

    def group(
        self,
        name: str,
        kind: NeuronKind,
        constants: Constants,
        formats: Mapping[str, Format],
        waits: Mapping[str, np.ndarray] | None = None,
        early: int = 0,
    ) -> NeuronGroup:
        """Add the group at which the synapses named ``name`` end.

        Args:
            name: unique in the network.
            kind: the program.
            constants: an instance of ``kind.constants``.
            formats: the format of each of ``kind.values``.
            waits, early: see ``NeuronGroup``.

        Returns:
            The group; a port without synapses accumulates in exponent 0.

        Raises:
            NetworkError: no synapses end at it.
        """
        incoming = self.incoming(name)
        if not incoming:
            raise NetworkError(name, "receives nothing", "Connect its ports before adding it")
        ports = dict.fromkeys(kind.ports, 0)
        for edge in incoming:
            sent = formats[edge.source.name] if edge.recurrent else self.format(edge.source)
            ports[edge.target.name] = sent.exponent + edge.exponent
        size = incoming[0].weights.shape[0]
        group = NeuronGroup(
            name, kind, size, constants, formats, ports, waits=waits or {}, early=early
        )
        self._groups[name] = group
        for message in kind.messages:
            self._sizes[Endpoint(name, message)] = size
            self._formats[Endpoint(name, message)] = formats[message]
        return group

    def readout(
        self,
        output: Endpoint,
        readout: Readout = Readout.EACH_TOKEN,
        sequence_length: int | None = None,
    ) -> Network:
        """Return the network whose output is a message; see ``Network`` for the arguments."""
        return Network(
            name=self.name,
            input_size=self.size(self.token),
            input_format=self.format(self.token),
            groups=tuple(self._groups.values()),
            synapses=tuple(self._synapses),
            output=output,
            readout=readout,
            sequence_length=sequence_length,
        )
