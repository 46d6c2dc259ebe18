"""A network in the making: the groups so far, and what they send for the calibration data.

Each group is quantized on the integers that the groups before it really send, against what the
float model has there: what was lost before is compensated as far as the group's own weights and
biases can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import NeuronKind
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.quantization.formats import channel_exponents
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import (
    Digits,
    Moments,
    RoundedRows,
    choose_digits,
    largest_weight_sum,
    moments,
    round_rows,
)
from s5_to_loihi.simulators.interpreter import evaluate_group


@dataclass(frozen=True, eq=False)
class Message:
    """What a group sends for the calibration data.

    Attributes:
        endpoint: its name in the network.
        format: of the integers; its exponent is the least of ``exponents``.
        integers: (T, N, n) int64.
        exponents: (n,) fractional bits of each neuron's integers.
        rectified: whether a ReLU leaves nothing below zero.
    """

    endpoint: Endpoint
    format: Format
    integers: np.ndarray
    exponents: np.ndarray
    rectified: bool = False

    @property
    def steps(self) -> np.ndarray:
        """The value of one integer of each neuron, (n,)."""
        return np.exp2(-self.exponents)

    @property
    def interval(self) -> tuple[int, int]:
        """The lowest and the highest integer, whatever the input."""
        lowest, highest = limits(self.format.bits)
        return (0 if self.rectified else lowest), highest


@dataclass(frozen=True, eq=False)
class Reader:
    """A matrix that reads a message.

    Attributes:
        weight: (out, n) floats.
        name: of the tensor.
        expected: (n,) magnitudes that training says will come, or zero.
    """

    weight: np.ndarray
    name: str
    expected: np.ndarray | float = 0.0


@dataclass(frozen=True, eq=False)
class TensorScale:
    """How a value's integers relate to the float model.

    Attributes:
        value: ``group.value`` in the network.
        reference: its name in ``float_model.evaluate``.
        part: ``real`` or ``imag`` of a complex one, else None.
        exponents: (neurons,) fractional bits of each neuron's integers.
    """

    value: str
    reference: str
    part: str | None
    exponents: np.ndarray


@dataclass(frozen=True)
class RoundedMatrix:
    """What happened to a weight matrix.

    Attributes:
        name: of the tensor, ``block0.B`` for example.
        bits: of an integer.
        parameters: non-zero entries of the float matrix; real and imaginary parts count apart.
        zeroed: how many of them became zero.
    """

    name: str
    bits: int
    parameters: int
    zeroed: int


@dataclass(frozen=True, eq=False)
class Draft:
    """What all groups of a network in the making share.

    Attributes:
        builder: the groups and synapses so far.
        floats: the float model's values on the calibration data, (T, N, n) each.
        precision: bits of all tensors.
        on_group: called when a group is done.
        notes: what was capped or approximated, for people.
        scales, matrices: for the report.
    """

    builder: NetworkBuilder
    floats: Mapping[str, np.ndarray]
    precision: Precision
    on_group: Callable[[], None]
    notes: list[str]
    scales: list[TensorScale] = field(default_factory=list)
    matrices: list[RoundedMatrix] = field(default_factory=list)

    def scale(
        self, value: str, reference: str, exponents: np.ndarray, part: str | None = None
    ) -> None:
        """Note how a value's integers relate to the float model; see ``TensorScale``."""
        self.scales.append(TensorScale(value, reference, part, exponents))

    def message_format(
        self, tensor: str, values: np.ndarray, readers: Sequence[Reader]
    ) -> tuple[int, np.ndarray]:
        """Return a message's bits and the fractional bits (n,) of each neuron's integers.

        Args:
            tensor: its name.
            values: (..., n) that are to be sent.
            readers: what they enter.
        """
        bits = affordable_bits(
            tensor, self.precision.bits("activation", tensor), readers, self.precision, self.notes
        )
        expected = readers[0].expected if readers else 0.0
        return bits, channel_exponents(values, bits, expected)

    def fit(
        self, name: str, weight: np.ndarray, sources: Sequence[Message], wanted: np.ndarray
    ) -> tuple[RoundedRows, np.ndarray]:
        """Round the matrix between messages and what is wanted of it.

        Args:
            name: of the tensor.
            weight: (out, in) floats; the messages' neurons side by side are its columns.
            sources: the messages.
            wanted: (T, N, out) floats.

        Returns:
            ``(rows, bias)``: the bias (out,) makes the mean over the calibration data exact.
        """
        integers = np.concatenate([source.integers for source in sources], axis=-1)
        data = moments(integers, wanted)
        steps = np.concatenate([source.steps for source in sources])
        rows = self.round(name, weight * steps, data, sources)
        return rows, data.wanted - rows.steps * (rows.integers @ data.mean)

    def weigh(
        self,
        name: str,
        weight: np.ndarray,
        source: Message,
        target: Endpoint,
        wanted: np.ndarray,
    ) -> tuple[RoundedRows, np.ndarray]:
        """Fit the matrix between one message and a port, and add its synapses; see ``fit``."""
        rows, bias = self.fit(name, weight, [source], wanted)
        self.connect(name, rows.integers, rows.digits, source, target)
        return rows, bias

    def round(
        self, name: str, scaled: np.ndarray, data: Moments, sources: Sequence[Message]
    ) -> RoundedRows:
        """Round a matrix whose entries are already those of one integer of the messages."""
        bits = self.precision.bits("weight", name)
        widest = max(source.format.bits for source in sources)
        rows = round_rows(scaled, data, bits, largest_weight_sum(widest))
        parameters = int(np.count_nonzero(scaled))
        kept = int(np.count_nonzero(rows.integers))
        self.matrices.append(RoundedMatrix(name, bits, parameters, parameters - kept))
        return rows

    def connect(
        self, name: str, integers: np.ndarray, digits: Digits, source: Message, target: Endpoint
    ) -> None:
        """Add the synapses of a matrix: one for each digit, with a port of its own."""
        split = digits.split(integers)
        for place, (digit, suffix) in enumerate(zip(split, digit_ports(""), strict=False)):
            port = Endpoint(target.group, f"{target.name}{suffix}")
            exponent = -place * digits.bits
            self.builder.connect(f"{name}{suffix}", source.endpoint, port, digit, exponent)

    def add(
        self,
        name: str,
        kind: NeuronKind,
        constants: tuple,
        formats: Mapping[str, Format],
        sources: Sequence[Message],
        exponents: np.ndarray,
        rectified: bool = False,
    ) -> tuple[Message, ...]:
        """Add the group at which the synapses named ``name`` end, and evaluate it.

        Args:
            name: unique in the network.
            kind: the program.
            constants: an instance of ``kind.constants``.
            formats: the format of each of ``kind.values``.
            sources: the messages that arrive.
            exponents: (n,) fractional bits of each neuron's messages.
            rectified: whether a ReLU leaves nothing below zero in them.

        Returns:
            What the group sends, in the order of ``kind.messages``.
        """
        group = self.builder.group(name, kind, constants, formats)
        sent = {source.endpoint: source.integers for source in sources}
        values = evaluate_group(group, self.builder.incoming(name), sent)
        results = dict(zip(kind.values, values, strict=True))
        self.on_group()
        return tuple(
            Message(
                Endpoint(name, message),
                formats[message],
                np.ascontiguousarray(results[message]),
                exponents,
                rectified,
            )
            for message in kind.messages
        )


def affordable_bits(
    tensor: str, bits: int, readers: Sequence[Reader], precision: Precision, notes: list[str]
) -> int:
    """Return as many of a message's bits as the accumulators behind its readers can take."""
    for reader in readers:
        weight, weight_bits = reader.weight, precision.bits("weight", reader.name)
        _, total = choose_digits(weight, weight.shape[1], weight_bits, largest_weight_sum(bits))
        most = bits
        while total > largest_weight_sum(most):
            most -= 1
        if most < bits:
            notes.append(
                f"{tensor}: {most} bits instead of {bits}, more could overflow the"
                f" accumulators of {reader.name}"
            )
            bits = most
    return bits
