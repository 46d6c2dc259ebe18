"""Quantization-aware training: the network of integers itself, with gradients.

A quantized network becomes a module whose forward pass computes its integers: weights, their steps,
biases and gains are parameters that are rounded in every pass, straight through; formats, shifts,
tables and eigenvalues stay. ``network()`` gives the same integers back as a ``Network``: what is
trained is what is deployed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Readout,
    Synapses,
    frozen_weights,
    is_identity,
)
from s5_to_loihi.network.neurons.constants import MULTIPLIER, Constants, declared_fields
from s5_to_loihi.network.neurons.mean import MEAN
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.neurons.scaled_state import SCALED_STATE
from s5_to_loihi.network.neurons.squares import SQUARES
from s5_to_loihi.network.ranges import program
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.draft import Unrounded
from s5_to_loihi.quantization.float_weights import (
    GAIN_FACTOR_BITS,
    PRODUCT_BITS,
    SHIFT_FACTOR_BITS,
    FloatFormat,
    largest_total,
)
from s5_to_loihi.quantization.quantizer import Quantized
from s5_to_loihi.quantization.rounding import largest_weight_sum
from s5_to_loihi.training.modules import read_out
from s5_to_loihi.training.recurrence import exact_states
from s5_to_loihi.training.scan import scan
from s5_to_loihi.training.straight_through import Whole, power, rounded, straight

#: Whole numbers up to this many bits, sign included, are exact in float64.
PRODUCT_BITS = PRODUCT_BITS
#: A latent weight starts at most this share of a step from its integer. Those that make up for
#: errors of others would else lie where another integer is nearest, and leave with the first noisy
#: gradient.
FARTHEST = 0.25
#: Field that holds the shift of a product -> the fields that hold its factors.
SHIFT_OF = {
    "shift": ("multiplier",),
    "multiplier_shift": ("multiplier",),
    "gain_shift": ("gain_re", "gain_im"),
}
#: Bits by which a factor may grow in training.
MOST_GROWTH = 4


@dataclass(frozen=True, eq=False)
class Run:
    """What a forward pass gives.

    Attributes:
        integers: (T, N, outputs), or (1, N, outputs) with a readout other than ``each_token``.
        output: the same as real values.
        messages: name -> (T, N, n) integers, of all messages that are sent.
    """

    integers: Tensor
    output: Tensor
    messages: dict[str, Tensor]


class _Matrix(nn.Module):
    """A matrix of integers: ``round(highest * value)``, zero where the float model has a zero.

    Weights in floating point are rounded to a value of their format instead.
    """

    mask: Tensor
    values: Tensor
    thresholds: Tensor

    def __init__(self, matrix: Unrounded, integers: np.ndarray, largest_sum: int):
        super().__init__()
        self.matrix, self.largest_sum = matrix, largest_sum
        self.lowest, self.highest = matrix.ends
        # What a row may add up to before its factor; integers cannot be as large.
        factor = GAIN_FACTOR_BITS if matrix.matrix.name.endswith(".B") else SHIFT_FACTOR_BITS
        self.largest_total = largest_total(largest_sum, factor)
        # The quantizer's integers, and as near as they allow to the float weights.
        farthest = FARTHEST * self._spacing(integers)
        off = np.clip((matrix.weights - integers) * 2 * FARTHEST, -farthest, farthest)
        latent = integers + off
        latent = np.clip(latent, self.lowest, self.highest)
        self.value = nn.Parameter(torch.tensor(latent / self.highest))
        self.register_buffer("mask", torch.tensor((matrix.weights != 0).astype(np.float64)))
        if isinstance(matrix.digits, FloatFormat):
            values = torch.tensor(matrix.digits.values, dtype=torch.float64)
            self.register_buffer("values", values, persistent=False)
            thresholds = torch.tensor(matrix.digits.thresholds())
            self.register_buffer("thresholds", thresholds, persistent=False)

    def forward(self) -> Tensor:
        """Return the integers, float64."""
        latent = torch.clamp(self.value * self.highest, self.lowest, self.highest)
        return self._rounded(latent) * self.mask

    def _rounded(self, latent: Tensor) -> Tensor:
        if not isinstance(self.matrix.digits, FloatFormat):
            return rounded(latent)
        with torch.no_grad():
            codes = torch.searchsorted(self.thresholds, latent.abs())
            nearest = self.values[codes] * latent.sign()
        return straight(nearest, latent)

    def _spacing(self, integers: np.ndarray) -> np.ndarray | int:
        """Return from an integer to the next nearer to zero, or to one if there is none."""
        digits = self.matrix.digits
        if not isinstance(digits, FloatFormat):
            return 1
        values = np.array(digits.values)
        codes = np.maximum(np.searchsorted(values, np.abs(integers)), 1)
        return values[codes] - values[codes - 1]

    def fit(self) -> None:
        """Bring weights within their bits, and shrink rows whose sums could leave their port."""
        with torch.no_grad():
            self.value.clamp_(self.lowest / self.highest, 1)
            while True:
                over = (self._sums() > self.largest_sum) | (self._total() > self.largest_total)
                if not over.any():
                    return
                self.value[over] *= 0.98

    def _total(self) -> Tensor:
        """Return the largest sum of absolute weights of each row that a factor takes."""
        integers = self().abs()
        total: Tensor = integers.reshape(len(integers), len(self.matrix.parts), -1).sum(2)
        return total.sum(1) if self._one_port else total.amax(1)

    def _sums(self) -> Tensor:
        """Return the largest sum of absolute digits at a port, of each row."""
        if self.matrix.digits.count == 1:
            digits = [self()]
        else:
            digits = [torch.tensor(digit, device=self.value.device) for digit in self.digits()]
        sums = []
        for digit in digits:
            parts = digit.abs().reshape(len(digit), len(self.matrix.parts), -1).sum(2)
            # Parts that end in one port add up there.
            sums.append(parts.sum(1) if self._one_port else parts.amax(1))
        return torch.stack(sums).amax(0)

    @property
    def _one_port(self) -> bool:
        return self.matrix.matrix.name.endswith(".C")

    def digits(self) -> list[np.ndarray]:
        """Return the digits of the integers, the lowest first."""
        with torch.no_grad():
            integers = self().cpu().numpy().astype(np.int64)
        return self.matrix.digits.split(integers)


class _Group(nn.Module):
    """The constants of a group; those that are trained are parameters that start at zero."""

    unit: Tensor

    def __init__(self, group: NeuronGroup):
        super().__init__()
        self.group = group
        self.changes = nn.ParameterDict()
        #: What a change of 1 of an integer that is added up means: 1 in the value's own unit.
        unit = np.ones(group.size)
        if group.kind is SCALED_STATE:
            # Of a state: 1 once it has settled; slow ones add their bias up for long.
            c: Any = group.constants
            unit = np.hypot(c.decay_re, c.decay_im) * np.exp2(-c.decay_shift)
        self.register_buffer("unit", torch.tensor(unit))
        self._formats = {name: format for name, _, format in _trained(group.constants)}
        for name, value, _ in _trained(group.constants):
            self.changes[name.replace(".", "/")] = nn.Parameter(torch.zeros(len(value)).double())
            self.register_buffer(f"start_{name.replace('.', '_')}", torch.tensor(value).double())
        self._fixed: dict[tuple[str, str], Whole] = {}

    def constants(self) -> Constants:
        """Return the constants as ``Whole``, rounded and within their formats."""
        return self._built(self.group.constants, "")

    def _built(self, constants: Constants, prefix: str) -> Constants:
        fields = declared_fields(type(constants))
        values: dict[str, Any] = {}
        for field in fields:
            name, value = f"{prefix}{field.name}", getattr(constants, field.name)
            if field.is_nested:
                value = self._built(value, f"{name}.")
            elif name in self._formats:
                value = self._changed(name)
            elif field.is_array:
                value = self._whole(name, value)
            values[field.name] = value
        for shift, factors in SHIFT_OF.items():
            if shift in values and isinstance(values.get(factors[0]), Tensor):
                wanted = [values[factor] for factor in factors]
                *whole, values[shift] = _fitting(wanted, values[shift].tensor)
                values.update(zip(factors, whole, strict=True))
        ready: list[Any] = [
            Whole(value) if isinstance(value, Tensor) else value for value in values.values()
        ]
        return type(constants)(*ready)

    def _changed(self, name: str) -> Tensor:
        """Return a constant: a factor before it is rounded, anything else as an integer."""
        start = getattr(self, f"start_{name.replace('.', '_')}")
        change, format = self.changes[name.replace(".", "/")], self._formats[name]
        if format == MULTIPLIER:
            factor: Tensor = start * (1 + change)
            return factor
        wanted = start + self.unit * change * 2.0**format.exponent
        return rounded(torch.clamp(wanted, *limits(format.bits)))

    def _whole(self, name: str, value: np.ndarray) -> Whole:
        """Return a constant that is not trained, on the device of the others."""
        device = next(iter(self.changes.values())).device if len(self.changes) else "cpu"
        key = (name, str(device))
        if key not in self._fixed:
            self._fixed[key] = Whole(torch.tensor(value, dtype=torch.float64, device=device))
        return self._fixed[key]

    def integers(self) -> Constants:
        """Return the constants as a network holds them."""
        with torch.no_grad():
            return _as_arrays(self.constants())


def _fitting(factors: list[Tensor], shift: Tensor) -> list[Tensor]:
    """Return factors as multipliers, and their shift: less of it where a factor has grown."""
    with torch.no_grad():
        largest = torch.stack([factor.abs() for factor in factors]).amax(0)
        fewer = torch.zeros_like(largest)
        for _ in range(MOST_GROWTH):
            grown = torch.round(largest * power(-fewer)) > limits(MULTIPLIER.bits)[1]
            fewer += grown & (fewer < shift)
    whole = [
        rounded(torch.clamp(factor * power(-fewer), *limits(MULTIPLIER.bits))) for factor in factors
    ]
    return [*whole, shift - fewer]


def _trained(constants: Constants, prefix: str = "") -> Iterator[tuple[str, np.ndarray, Format]]:
    """Yield name, integers and format of the constants that are trained.

    Factors and biases are; amounts of shifts are not, nor are eigenvalues, which would have to stay
    inside the unit circle.
    """
    for field in declared_fields(type(constants)):
        value = getattr(constants, field.name)
        if field.is_nested:
            yield from _trained(value, f"{prefix}{field.name}.")
        elif field.format == MULTIPLIER and not (value & (value - 1)).any():
            continue  # powers of two: shifts, behind weights in floating point
        elif field.is_array and not field.name.startswith("decay") and field.allowed is None:
            held: Any = field.format
            if isinstance(held, str):
                held = attrgetter(held)(constants)
            yield f"{prefix}{field.name}", value, held


def _as_arrays(value: Any) -> Any:
    if isinstance(value, Whole):
        array = value.tensor.cpu().numpy().astype(np.int64)
        array.flags.writeable = False
        return array
    if hasattr(value, "_fields") and not isinstance(value, Format):
        return type(value)(*(_as_arrays(part) for part in value))
    return value


class QuantizedNetwork(nn.Module):
    """A network of our own quantizer as a module; see the file's head."""

    def __init__(self, quantized: Quantized):
        """Take over a network with all its integers."""
        super().__init__()
        self.source = quantized
        network = quantized.network
        #: Groups that compute with more bits than float64 has, as statistics of a norm do.
        self.wide = {
            group.name
            for group in network.groups
            if max(step.bits for step in program(network, group).steps) > PRODUCT_BITS
        }
        self._fixed: dict[tuple[str, str], Tensor] = {}
        self.matrices = nn.ModuleDict()
        #: Synapses that stand for all digits of their part of a matrix: those of the lowest one
        #: that there is. Name -> (matrix, part, their digit).
        self.part_of: dict[str, tuple[str, int, int]] = {}
        self.digits_of: set[str] = set()
        edges = {edge.name: edge for edge in network.synapses}
        for matrix in quantized.unrounded:
            integers = _integers(matrix, edges)
            found = [
                [place for place, end in enumerate(digit_ports("")) if part + end in edges]
                for part in matrix.parts
            ]
            assert all(found), f"{matrix.matrix.name} has a part without weights"
            names = [
                part + digit_ports("")[places[0]]
                for part, places in zip(matrix.parts, found, strict=True)
            ]
            bits = max(network.message_format(edges[name].source).bits for name in names)
            key = matrix.matrix.name.replace(".", "/")
            self.matrices[key] = _Matrix(matrix, integers, largest_weight_sum(bits))
            for index, (name, places) in enumerate(zip(names, found, strict=True)):
                self.part_of[name] = (key, index, places[0])
            self.digits_of |= {part + end for part in matrix.parts for end in digit_ports("")}
        self.groups = nn.ModuleDict(
            {group.name.replace(".", "/"): _Group(group) for group in network.groups}
        )

    def tokens(self, values: Tensor) -> Tensor:
        """Return floats (T, N, F) as the integers that enter: floor, then clip."""
        format = self.source.network.input_format
        scaled = torch.floor(values.double() * 2.0**format.exponent)
        return torch.clamp(scaled, *limits(format.bits))

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the outputs for floats (T, N, F), as real values; see ``run``."""
        return self.run(values, lengths).output

    def run(self, values: Tensor, lengths: Tensor | None = None) -> Run:
        """Run from a zero state over floats (T, N, F).

        ``lengths`` (N,) are the tokens of each sequence, with padding behind; all T if not given.
        """
        network = self.source.network
        sent = {Endpoint(INPUT, TOKEN): self.tokens(values)}
        weights = {key: matrix() for key, matrix in self.matrices.items()}
        for group in network.groups:
            constants = self.groups[group.name.replace(".", "/")].constants()
            arriving = self._accumulate(group, sent, weights)
            for name, value in self._update(group, arriving, constants).items():
                sent[Endpoint(group.name, name)] = value
        outputs = sent[network.output]
        if network.readout is not Readout.EACH_TOKEN:
            # The mean is complete at the last token.
            outputs = read_out(outputs, Readout.LAST, lengths)
        return Run(
            outputs,
            outputs * 2.0**-network.output_format.exponent,
            {str(endpoint): sent[endpoint] for endpoint in network.sent},
        )

    def _accumulate(
        self, group: NeuronGroup, sent: Mapping[Endpoint, Tensor], weights: Mapping[str, Tensor]
    ) -> tuple[Whole, ...]:
        """Return what each port adds up; all digits of a matrix are one sum at its first port."""
        totals: dict[str, Tensor] = {}
        for edge in self._edges(group.name):
            message = sent[edge.source]
            if edge.name in self.part_of:
                key, part, _ = self.part_of[edge.name]
                columns = message.shape[-1]
                own = weights[key][:, part * columns : (part + 1) * columns]
                message = message @ own.T
            elif not is_identity(edge.weights):
                message = message @ self._untrained(edge, message.device).T
            port = self._port_of(edge)
            before = totals.get(port)
            totals[port] = message if before is None else before + message
        first = next(iter(sent.values()))
        zero = first.new_zeros((*first.shape[:2], group.size))
        return tuple(Whole(totals.get(port, zero)) for port in group.kind.ports)

    def _untrained(self, edge: Synapses, device: torch.device) -> Tensor:
        """Return the weights of synapses that add up, or hand on to many: they stay."""
        key = (edge.name, str(device))
        if key not in self._fixed:
            weights = edge.weights.toarray().astype(np.float64)
            self._fixed[key] = torch.tensor(weights, device=device)
        return self._fixed[key]

    def _edges(self, group: str) -> list[Synapses]:
        """Return a group's synapses, each matrix once."""
        found = []
        for edge in self.source.network.incoming(group):
            if edge.name in self.part_of or edge.name not in self.digits_of:
                found.append(edge)
        return found

    def _port_of(self, edge: Synapses) -> str:
        """Return the port that synapses end at, or that of the lowest digit of a matrix."""
        if edge.name not in self.part_of:
            return edge.target.name
        return edge.target.name.removesuffix(digit_ports("")[self.part_of[edge.name][2]])

    def _update(
        self, group: NeuronGroup, arriving: tuple[Whole, ...], constants: Constants
    ) -> dict[str, Tensor]:
        """Return the messages of a group, and how they depend on what arrives."""
        recurrence = group.kind.recurrence
        if recurrence is None:

            def update(sums: Any, own: Any) -> Any:
                return group.kind.update(sums, (), own)[1]

            messages = self._computed(group, update, arriving, constants)
        else:
            inputs = self._computed(group, recurrence.drive, arriving, constants)
            states: Any = tuple(map(Whole, self._states(group, inputs, constants)))
            wholes: Any = tuple(map(Whole, inputs))
            messages = [one.tensor for one in recurrence.emit(wholes, states, constants)[0]]  # type: ignore[attr-defined]
        sent = dict(zip(group.kind.messages, messages, strict=True))
        low, high = SQUARES
        if high in sent:
            # The upper digit says how the square changes; what the lower one says it says again.
            sent[low] = sent[low].detach()
        return sent

    def _computed(
        self, group: NeuronGroup, function: Any, arriving: tuple[Whole, ...], constants: Constants
    ) -> list[Tensor]:
        """Return what a part of a neuron's arithmetic makes of sums: the integers, with gradients.

        Where float64 does not hold all bits, the same on int64 gives the integers.
        """
        found: list[Tensor] = [one.tensor for one in function(arriving, constants)]
        if group.name not in self.wide:
            return found
        with torch.no_grad():
            whole = tuple(one.tensor.cpu().numpy().astype(np.int64) for one in arriving)
            exact = function(whole, _as_arrays(constants))
        return [
            straight(torch.tensor(one, dtype=torch.float64, device=near.device), near)
            for one, near in zip(exact, found, strict=True)
        ]

    def _states(
        self, group: NeuronGroup, inputs: list[Tensor], constants: Constants
    ) -> list[Tensor]:
        """Return all states: exact, with the gradients of the recurrence without rounding."""
        with torch.no_grad():
            exact = exact_states(group, [one.detach() for one in inputs], constants)
        if group.kind is MEAN:
            smooth = [inputs[0].cumsum(0)]
        else:
            assert group.kind is SCALED_STATE, f"no gradient of {group.kind.name}"
            c: Any = constants
            decay = torch.complex(c.decay_re.tensor, c.decay_im.tensor)
            a = 1 + decay * torch.exp2(-c.decay_shift.tensor)
            states = scan(a, torch.complex(*inputs))
            smooth = [states.real, states.imag]
        return [straight(one, other) for one, other in zip(exact, smooth, strict=True)]

    def fan_out(self) -> dict[str, Tensor]:
        """Return how many synapses could read each neuron, by name of its message."""
        counts: dict[str, Tensor] = {}
        for edge in self.source.network.synapses:
            if edge.name in self.part_of:
                key, part, _ = self.part_of[edge.name]
                mask: Any = self.matrices[key].mask
                size = edge.weights.shape[1]
                own = mask[:, part * size : (part + 1) * size].sum(0)
                counts[str(edge.source)] = counts.get(str(edge.source), 0) + own
        return counts

    def fit(self) -> None:
        """Keep every sum of weights within its accumulator; call it after each step."""
        for matrix in self.matrices.values():
            matrix.fit()

    def network(self) -> Network:
        """Return the network of integers that the forward pass computes.

        Raises:
            CapacityError: a range does not fit; ``fit`` has not been called.
        """
        network = self.source.network
        synapses: list[Synapses] = []
        for edge in network.synapses:
            if edge.name in self.part_of:
                synapses += self._written(edge)
            elif edge.name not in self.digits_of:
                synapses.append(edge)
        groups = tuple(
            replace(group, constants=self.groups[group.name.replace(".", "/")].integers())
            for group in network.groups
        )
        return run_passes(replace(network, groups=groups, synapses=tuple(synapses)))

    def _written(self, edge: Synapses) -> list[Synapses]:
        """Return the synapses of a part of a matrix, one for each digit."""
        key, part, _ = self.part_of[edge.name]
        matrix: Any = self.matrices[key]
        name, port = matrix.matrix.parts[part], self._port_of(edge)
        found = []
        digits = matrix.matrix.digits
        for place, (digit, suffix) in enumerate(
            zip(matrix.digits(), digit_ports(""), strict=False)
        ):
            own = np.split(digit, len(matrix.matrix.parts), axis=1)[part]
            found.append(
                replace(
                    edge,
                    name=name + suffix,
                    target=Endpoint(edge.target.group, port + suffix),
                    weights=frozen_weights(csr_matrix(own)),
                    exponent=-place * digits.bits,
                )
            )
        return found

    def quantized(self) -> Quantized:
        """Return the network with what is known of it; its matrices' counts are those of now."""
        matrices = []
        for key in self.matrices:
            module: Any = self.matrices[key]
            with torch.no_grad():
                integers = module().cpu().numpy()
            left = int(np.count_nonzero(integers))
            own = module.matrix
            latent = module.value.detach().cpu().numpy() * module.highest
            zeroed = own.matrix.parameters - left
            matrices.append(
                replace(
                    own,
                    matrix=replace(own.matrix, zeroed=zeroed),
                    weights=np.where(module.mask.cpu().numpy(), latent, 0),
                )
            )
        return replace(self.source, network=self.network(), unrounded=tuple(matrices))


def _integers(matrix: Unrounded, edges: Mapping[str, Synapses]) -> np.ndarray:
    """Return a matrix's integers (out, parts * in), put together from its digits."""
    rows, columns = matrix.weights.shape
    parts = []
    for part in matrix.parts:
        total = np.zeros((rows, columns // len(matrix.parts)), dtype=np.int64)
        for place, suffix in enumerate(digit_ports("")):
            if part + suffix in edges:
                digit = edges[part + suffix].weights.toarray().astype(np.int64)
                total += digit << (place * matrix.digits.bits)
        parts.append(total)
    return np.concatenate(parts, axis=1)
