"""A network in the making: the groups so far, and what they send for the calibration data.

Each group is quantized on the integers that the groups before it really send, against what the
float model has there: what was lost before is compensated as far as the group's own biases can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import SQUARED, NeuronKind
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.neurons.squares import square_formats
from s5_to_loihi.network.widths import (
    ACCUMULATOR_BITS,
    MESSAGE_BITS,
    NARROW_BITS,
    SQUARE_DIGIT_BITS,
)
from s5_to_loihi.quantization.balancing import balanced_exponents
from s5_to_loihi.quantization.float_rounding import round_floats
from s5_to_loihi.quantization.float_weights import SHIFT_FACTOR_BITS, FloatFormat
from s5_to_loihi.quantization.formats import (
    channel_exponents,
    covering_exponents,
    fine_bits,
    rare_exponents,
    shared,
)
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import (
    Digits,
    Moments,
    RoundedRows,
    choose_digits,
    largest_weight_sum,
    round_rows,
)
from s5_to_loihi.simulators.interpreter import evaluate_group

#: A wider message has a square whose upper digit fits none.
MOST_SQUARED_BITS = (MESSAGE_BITS + SQUARE_DIGIT_BITS) // 2


@dataclass(frozen=True, eq=False)
class Message:
    """What a group sends for the calibration data.

    Attributes:
        endpoint: its name in the network.
        format: of the integers; its exponent is the least of ``exponents``.
        integers: (T, N, n) int64.
        exponents: (n,) fractional bits of each neuron's integers.
        rectified: whether a ReLU leaves nothing below zero.
        digits: of the weights that read it, where rows whose sums would not fit get coarser steps
            instead of more digits; None for as many digits as the sums need.
        squares: the messages of the two digits of its square, if a norm reads it.
    """

    endpoint: Endpoint
    format: Format
    integers: np.ndarray
    exponents: np.ndarray
    rectified: bool = False
    digits: int | None = None
    squares: tuple[Message, ...] = ()

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

    def settle(self, exponents: np.ndarray) -> np.ndarray:
        """Return the exponents (n,) that a message for it may have: any."""
        return exponents


@dataclass(frozen=True, eq=False)
class NormReader:
    """A layer norm that reads a message: it adds up all neurons, so they have one format.

    Attributes:
        neurons: how many.
        epsilon: of the norm.
    """

    neurons: int
    epsilon: float
    expected: float = 0.0

    def most_bits(self) -> int:
        """Return the bits with which squares fit their messages and sums their accumulators."""
        # The largest magnitudes of a value and of its square's upper digit are powers of two.
        room = ACCUMULATOR_BITS - 1 - self.neurons.bit_length()
        return min(MOST_SQUARED_BITS, room + 1, (room + SQUARE_DIGIT_BITS + 2) // 2)

    def settle(self, exponents: np.ndarray) -> np.ndarray:
        """Return the least of the exponents for all neurons."""
        return shared(exponents)

    def finest(self, bits: int) -> int:
        """Return the most fractional bits that are of use.

        Those with which the format ends at the root of epsilon: what is smaller is only multiplied
        by its inverse, and resolved as well as anything that is as large as the format.
        """
        return math.floor(bits - 1 - math.log2(self.epsilon) / 2)


@dataclass(frozen=True, eq=False)
class OutputReader:
    """The network's output: a message that leaves the network in one format."""

    expected: float = 0.0

    def settle(self, exponents: np.ndarray) -> np.ndarray:
        """Return the least of the exponents for all neurons."""
        return shared(exponents)


#: What the hidden value between blocks is for.
AnyReader: TypeAlias = Reader | NormReader | OutputReader


@dataclass(frozen=True, eq=False)
class TensorScale:
    """How a value's integers relate to the float model.

    Attributes:
        value: ``group.value`` in the network.
        reference: its name in ``float_model.evaluate``.
        exponents: (neurons,) fractional bits of each neuron's integers.
        part: ``real`` or ``imag`` of a complex one, else None.
    """

    value: str
    reference: str
    exponents: np.ndarray
    part: str | None = None


@dataclass(frozen=True)
class RoundedMatrix:
    """What happened to a weight matrix.

    Attributes:
        name: of the tensor, ``block0.B`` for example.
        bits: of an integer, or the name of a format in floating point.
        parameters: non-zero entries of the float matrix; real and imaginary parts count apart.
        zeroed: how many of them became zero.
    """

    name: str
    bits: int | str
    parameters: int
    zeroed: int


@dataclass(frozen=True, eq=False)
class Unrounded:
    """A weight matrix before it was rounded: what training goes on from.

    Attributes:
        matrix: what happened to it.
        digits: how its integers are written.
        parts: names of the synapses that its columns became, side by side.
        weights: (out, parts * in) the float matrix in steps of its rows: what the integers are
            nearest to, but for what makes up for errors.
    """

    matrix: RoundedMatrix
    digits: Digits | FloatFormat
    parts: tuple[str, ...]
    weights: np.ndarray

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest integer that a weight may have."""
        if isinstance(self.digits, FloatFormat):
            return -self.digits.values[-1], self.digits.values[-1]
        assert isinstance(self.matrix.bits, int)
        return self.digits.ends(self.matrix.bits)


@dataclass(frozen=True, eq=False)
class Draft:
    """What all groups of a network in the making share.

    Attributes:
        builder: the groups and synapses so far.
        floats: the float model's values on the calibration data, (T, N, n) each.
        precision: bits of all tensors.
        on_group: called when a group is done.
        notes: what was capped or approximated, for people.
        scales, matrices: for the report, and for training.
    """

    builder: NetworkBuilder
    floats: Mapping[str, np.ndarray]
    precision: Precision
    on_group: Callable[[], None]
    notes: list[str]
    scales: list[TensorScale] = field(default_factory=list)
    matrices: list[Unrounded] = field(default_factory=list)

    def message_format(
        self,
        tensor: str,
        values: np.ndarray,
        readers: Sequence[AnyReader],
        alike: bool = False,
        before: np.ndarray | None = None,
    ) -> tuple[int, np.ndarray]:
        """Return the bits of a message that carries ``values`` (..., n), and its exponents (n,).

        All exponents are the same if the neurons are to send ``alike``. ``before`` (..., n) are the
        values before a ReLU that a norm reads.
        """
        bits = self.precision.bits("activation", tensor)
        bits = affordable_bits(tensor, bits, readers, self.precision, self.notes)
        exponents = channel_exponents(values, bits, readers[0].expected if readers else 0.0)
        if before is not None:
            exponents = rare_exponents(exponents, before, bits)
        exponents = shared(exponents) if alike else self.balanced(exponents, values, readers)
        for reader in readers:
            exponents = reader.settle(exponents)
            if isinstance(reader, NormReader):
                exponents = np.minimum(exponents, reader.finest(bits))
        return bits, exponents

    def fine_bits(self, bits: int) -> int:
        """Return how many more fractional bits a value has while it is summed up: lean, none.

        The projection always has them: factors of its feedthrough may be large.
        """
        return 0 if self.precision.lean else fine_bits(bits)

    def narrow(
        self,
        exponents: np.ndarray,
        fine: int,
        rows: RoundedRows,
        *sources: Message,
        gain: np.ndarray | float = 1.0,
    ) -> np.ndarray:
        """Limit fractional bits (n,) of rescaled sums: lean ones have 32 bits, whatever arrives.

        Args:
            exponents: wanted.
            fine: more of them, while the value is summed up, or bits for what else is.
            rows: the weights.
            sources: the messages that columns of weights read, side by side.
            gain: (n,) or of all, by which sums are multiplied besides.
        """
        if not self.precision.lean:
            return exponents
        ends = [np.full(len(one.exponents), max(map(abs, one.interval))) for one in sources]
        largest = np.abs(rows.integers) @ np.concatenate(ends) * np.abs(rows.steps) * gain
        return np.minimum(exponents, covering_exponents(largest, NARROW_BITS) - fine)

    def balanced(
        self, finest: np.ndarray, values: np.ndarray, readers: Sequence[AnyReader]
    ) -> np.ndarray:
        """Return exponents (n,) up to ``finest`` of messages ``values`` (..., n) for readers."""
        weights = []
        for reader in readers:
            # Weights in floating point have digits of their own, whatever the largest of the row.
            if isinstance(reader, Reader) and isinstance(
                bits := self.precision.weight(reader.name), int
            ):
                weights.append((reader.weight, limits(bits)[1]))
        if not weights:
            return finest
        variances = values.reshape(-1, values.shape[-1]).var(axis=0)
        return balanced_exponents(finest, variances, weights)

    def weigh(
        self,
        name: str,
        weight: np.ndarray,
        data: Moments,
        parts: Sequence[tuple[str, Message, Endpoint]],
        factor_bits: int = SHIFT_FACTOR_BITS,
    ) -> RoundedRows:
        """Round a matrix so that its sums change the least, and add its synapses.

        Args:
            name: of the tensor.
            weight: (out, in) floats; the columns of its parts, side by side.
            data: of the messages.
            parts: name of the synapses, message and port; each digit has synapses of its own.
            factor_bits: that the factor behind weights in floating point adds to their sums.
        """
        written = self.precision.weight(name)
        scaled = weight * np.concatenate([source.steps for _, source, _ in parts])
        widest = max(source.format.bits for _, source, _ in parts)
        digits = parts[0][1].digits
        most = largest_weight_sum(widest)
        if isinstance(written, FloatFormat):
            found = round_floats(name, scaled, data.covariance, written, most, factor_bits)
            rows = RoundedRows(*found, written)
        else:
            rows = round_rows(scaled, data.covariance, written, most, digits)
        parameters, kept = np.count_nonzero(scaled), np.count_nonzero(rows.integers)
        bits = written if isinstance(written, int) else written.name
        matrix = RoundedMatrix(name, bits, int(parameters), int(parameters - kept))
        in_steps = scaled / np.where(rows.steps != 0, rows.steps, 1)[:, None]
        names = tuple(part for part, _, _ in parts)
        self.matrices.append(Unrounded(matrix, rows.digits, names, in_steps))
        columns = np.split(rows.integers, len(parts), axis=1)
        for (part, source, target), integers in zip(parts, columns, strict=True):
            split = rows.digits.split(integers)
            for place, (digit, suffix) in enumerate(zip(split, digit_ports(""), strict=False)):
                port = Endpoint(target.group, target.name + suffix)
                exponent = -place * rows.digits.bits
                self.builder.connect(part + suffix, source.endpoint, port, digit, exponent)
        return rows

    def add(
        self,
        name: str,
        kind: NeuronKind,
        constants: tuple,
        formats: Mapping[str, Format],
        sources: Sequence[Message],
        exponents: np.ndarray,
        rectified: bool = False,
        reader: AnyReader | None = None,
    ) -> tuple[Message, ...]:
        """Add the group at which the synapses named ``name`` end, and evaluate it.

        Args:
            name, kind, constants, formats: see ``NetworkBuilder.group``.
            sources: the messages that arrive.
            exponents: (n,) fractional bits of each neuron's messages.
            rectified: whether a ReLU leaves nothing below zero in them.
            reader: what the first message is for; a norm gets its square as well.

        Returns:
            What the group sends, in the order of ``kind.messages``.
        """
        squares: dict[str, Format] = {}
        if isinstance(reader, NormReader):
            squares = square_formats(formats[kind.messages[0]])
            kind, formats = SQUARED[kind.name], {**formats, **squares}
        group = self.builder.group(name, kind, constants, formats)
        arriving = {source.endpoint: source.integers for source in sources}
        values = evaluate_group(group, self.builder.incoming(name), arriving)
        results = dict(zip(kind.values, map(np.ascontiguousarray, values), strict=True))
        self.on_group()
        first, *others = (
            Message(Endpoint(name, sent), formats[sent], results[sent], exponents, rectified)
            for sent in kind.messages
        )
        if squares:
            first = replace(first, squares=tuple(others[-len(squares) :]))
        return first, *others


def affordable_bits(
    tensor: str, bits: int, readers: Sequence[AnyReader], precision: Precision, notes: list[str]
) -> int:
    """Return as many of a message's bits as the accumulators behind its readers can take."""
    for reader in readers:
        if isinstance(reader, NormReader):
            most = min(bits, reader.most_bits())
            if most < bits:
                notes.append(f"{tensor}: {most} bits instead of {bits}, as squares are sent of it")
            bits = most
        if not isinstance(reader, Reader):
            continue
        weight_bits, most = precision.weight(reader.name), bits
        if isinstance(weight_bits, FloatFormat):
            total = weight_bits.band_sum(reader.weight)
        else:
            _, total = choose_digits(reader.weight, weight_bits, largest_weight_sum(bits))
        while total > largest_weight_sum(most):
            most -= 1
        if most < bits:
            notes.append(
                f"{tensor}: {most} bits instead of {bits}, more could overflow the"
                f" accumulators of {reader.name}"
            )
            bits = most
    return bits
