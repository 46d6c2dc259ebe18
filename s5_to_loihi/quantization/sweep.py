"""One sweep through a model from the input to the output, quantizing a group at a time.

Each group is quantized on the integers that the groups before it really send for the calibration
data, against what the float model has there: what was lost before is compensated as far as the
group's own weights and biases can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CapacityError, CheckpointError
from s5_to_loihi.fixed_point import Format, limits, to_integers
from s5_to_loihi.float_model import Activation, Affine, GluVariant
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    NeuronGroup,
    Synapses,
    frozen_weights,
    identity_weights,
)
from s5_to_loihi.network.neurons import (
    MEAN,
    SCALED_DENSE,
    SCALED_FULL_GATE,
    SCALED_GATE,
    SCALED_OUTPUT,
    SCALED_RESIDUAL,
    SCALED_STATE,
    TABLE_OUTPUT,
    NeuronKind,
)
from s5_to_loihi.network.neurons.constants import MULTIPLIER, constant_fields
from s5_to_loihi.network.neurons.mean import mean_constants
from s5_to_loihi.network.neurons.rescaling import Rescaling, digit_ports
from s5_to_loihi.network.neurons.scaled_dense import AffineConstants, ScaledDenseConstants
from s5_to_loihi.network.neurons.scaled_gate import (
    OPENING_EXPONENT,
    ScaledFullGateConstants,
    ScaledGateConstants,
    SumConstants,
)
from s5_to_loihi.network.neurons.scaled_output import ScaledOutputConstants, TableOutputConstants
from s5_to_loihi.network.neurons.scaled_state import ScaledStateConstants
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, LARGEST_SHIFT, STATE_BITS
from s5_to_loihi.quantization.bounds import state_bounds
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.formats import (
    best_exponent,
    best_format,
    channel_exponents,
    covering_exponent,
    fine_bits,
    multipliers,
    resolvable,
)
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.rounding import (
    Digits,
    Moments,
    RoundedRows,
    choose_digits,
    moments,
    round_rows,
)
from s5_to_loihi.quantization.tables import gelu_table, sigmoid_table

#: Bits that a state register keeps above the largest value of the calibration data.
STATE_HEADROOM_BITS = 3
#: What enters a sigmoid: within +-8, or coarser where the data go beyond.
GATE = Format(16, 12)
#: Bits of a state's resolution that may be given up so that its range is proven for every input.
BITS_FOR_PROOF = 4


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
class Reader:
    """What reads the hidden values.

    Attributes:
        matrix: its weights and their name.
        expected: (n,) magnitudes that training says will come, or zero.
    """

    matrix: tuple[np.ndarray, str]
    expected: np.ndarray | float


class Sweep:
    """Collects groups and synapses, and evaluates each group on the calibration data.

    Attributes:
        groups, synapses: of the network so far.
        scales, matrices, notes: for the report.
    """

    def __init__(
        self,
        reference: Mapping[str, np.ndarray],
        precision: Precision,
        on_group: Callable[[str], None],
    ):
        """Begin.

        Args:
            reference: the float model's values on the calibration data, (T, N, n) each.
            precision: bits of all tensors.
            on_group: called with the name of each group that is done.
        """
        self.groups: list[NeuronGroup] = []
        self.synapses: list[Synapses] = []
        self.scales: list[TensorScale] = []
        self.matrices: list[RoundedMatrix] = []
        self.notes: list[str] = []
        self._reference = reference
        self._precision = precision
        self._on_group = on_group
        #: message -> its integers (T, N, n), and the fractional bits of each neuron's.
        self._sent: dict[Endpoint, np.ndarray] = {}
        self._exponents: dict[Endpoint, np.ndarray] = {}
        self._formats: dict[Endpoint, Format] = {}

    # --- the parts of a model --------------------------------------------------------------------

    def input(self, tokens: np.ndarray, consumer: np.ndarray) -> Endpoint:
        """Choose the tokens' format; ``consumer`` is the encoder's weight."""
        bits = self._input_bits(consumer)
        bits = self._capped("input", bits, [(consumer, "encoder.weight")])
        source = Endpoint(INPUT, TOKEN)
        self._formats[source] = best_format(tokens, bits)
        self._exponents[source] = np.full(tokens.shape[-1], self._formats[source].exponent)
        self._sent[source] = to_integers(tokens, self._formats[source])[0]
        return source

    def _input_bits(self, consumer: np.ndarray) -> int:
        """Return the bits asked for, or as many as cost no more synapses than the messages' do."""
        bits = self._precision.bits("input", "input")
        fewest = max(16, self._precision.activations)
        if self._precision.inputs is not None or bits != self._precision.input_bits:
            return bits
        weight_bits = self._precision.bits("weight", "encoder.weight")

        def digits(message_bits: int) -> int:
            chosen = choose_digits(
                consumer, consumer.shape[1], weight_bits, _largest_sum(message_bits)
            )
            return chosen[0].count

        while bits > fewest and digits(bits) > digits(fewest):
            bits -= 1
        return bits

    def input_format(self) -> Format:
        """Return the tokens' format."""
        return self._formats[Endpoint(INPUT, TOKEN)]

    def encoder(
        self, affine: Affine, source: Endpoint, rectified: bool, reader: Reader
    ) -> Endpoint:
        """Quantize the encoder; ``reader`` says what its result enters."""
        values = self._reference["encoder.affine"]
        kept = np.maximum(values, 0) if rectified else values
        bits, exponents = self._message(
            "encoder.activation", kept, [reader.matrix], reader.expected
        )
        self._dense("encoder", affine.weight, source, source, values, bits, exponents, rectified)
        return Endpoint("encoder", "activation")

    def decoder(self, affine: Affine, source: Endpoint, hidden: Endpoint) -> Endpoint:
        """Quantize the decoder, which reads ``source``; it is fitted on the tokens' ``hidden``."""
        floats = self._reference["decoder.hidden"] @ affine.weight.T + affine.bias
        bits = self._precision.bits("activation", "decoder.activation")
        exponents = np.full(floats.shape[-1], best_exponent(floats, bits))
        self._dense("decoder", affine.weight, source, hidden, floats, bits, exponents, False)
        return Endpoint("decoder", "activation")

    def mean(self, source: Endpoint, length: int | None) -> Endpoint:
        """Add the mean over the tokens."""
        if not length or length < 1:
            raise CheckpointError(
                "readout",
                "the mean over the tokens needs their number",
                "Give the length of a sequence in tokens",
            )
        hidden = self._formats[source]
        constants = mean_constants(hidden, hidden, length)
        summed = Format(constants.sum_bits, hidden.exponent - constants.input_shift)
        self._hand_on("mean.hidden", source, "mean", "hidden")
        formats = {"sum": summed, "mean": hidden, "lowered": hidden}
        self._add("mean", MEAN, constants, formats, {"mean": self._exponents[source]})
        return Endpoint("mean", "mean")

    def block(self, name: str, folded: FoldedBlock, hidden: Endpoint, reader: Reader) -> Endpoint:
        """Quantize a block; ``reader`` says what its result enters."""
        states = self._state(name, folded, hidden)
        self._output(name, folded, hidden, states)
        return self._gate(name, folded, hidden, reader)

    def _dense(self, name, weight, source, fitted_on, wanted, bits, exponents, rectified) -> None:
        rows, bias = self._round(f"{name}.weight", weight, [fitted_on], wanted)
        exponents = _limited(exponents, bits, bias, rows.steps)
        if name == "decoder":
            # All outputs share a format: they leave the network.
            exponents = np.full(len(exponents), exponents.min())
        constants = _affine(name, rows, bias, bits, exponents)
        self._connect(
            f"{name}.weight", rows.integers, rows.digits, source, Endpoint(name, "weighted")
        )
        formats = {"activation": constants.result, "affine": constants.result}
        constants = ScaledDenseConstants(constants, int(rectified))
        self._add(name, SCALED_DENSE, constants, formats, {"activation": exponents})
        if source == fitted_on:
            reference = "output" if name == "decoder" else "encoder.affine"
            self._scale(f"{name}.affine", reference, exponents)

    def _state(self, name: str, folded: FoldedBlock, hidden: Endpoint) -> Endpoint:
        group = f"{name}.state"
        count = len(folded.a)
        bits = self._precision.bits("weight", f"{name}.B")
        # The drive before its gain, without the bias, which is added after the gain.
        drive = self._reference[f"{name}.drive"]
        messages = self._flat(hidden)
        both = moments(
            messages, np.concatenate([drive.real, drive.imag], -1).reshape(-1, 2 * count)
        )
        data = Moments(
            both.covariance,
            both.mean,
            np.concatenate([both.cross[:count], both.cross[count:]], axis=1),
            both.wanted,
        )
        scaled = np.exp2(-self._exponents[hidden])
        weight = np.concatenate([folded.b.real * scaled, folded.b.imag * scaled], axis=1)
        rows = self._rounded(f"{name}.B", weight, data, bits, [hidden])
        b_re, b_im = np.split(rows.integers, 2, axis=1)
        fitted = rows.steps[:, None] * (b_re + 1j * b_im)
        bias = both.wanted[:count] + 1j * both.wanted[count:] - fitted @ both.mean
        # Eigenvalues as a - 1, with the digits of the slowest part of each.
        decay = folded.a - 1
        decay_bits = self._precision.bits("eigenvalue", f"{name}.eigenvalues")
        parts, decay_shift = multipliers(
            np.stack([decay.real, decay.imag], axis=1), f"{name}.eigenvalues", decay_bits
        )
        decay_re, decay_im = _decaying(parts, decay_shift)
        a = (
            1
            + np.ldexp(decay_re.astype(float), -decay_shift)
            + 1j * np.ldexp(decay_im.astype(float), -decay_shift)
        )
        x = self._reference[f"{name}.x"]
        state_bits = self._precision.bits("state", f"{name}.x")
        exponents = self._state_exponents(
            x, state_bits, a, folded.gain[:, None] * fitted, folded.gain * bias, hidden
        )
        exponents = resolvable(exponents, np.abs(folded.gain) * rows.steps, 0)
        gains = folded.gain * rows.steps * np.exp2(exponents)
        gain, gain_shift = multipliers(
            np.stack([gains.real, gains.imag], axis=1), f"{name}.gain", MULTIPLIER.bits
        )
        bias_integers = np.rint(np.exp2(exponents) * (folded.gain * bias))
        message_bits, message_shift = self._state_messages(name, folded, x, exponents, state_bits)
        register = Format(state_bits, int(exponents.min()))
        message = Format(message_bits, int((exponents - message_shift).min()))
        rectified = int(folded.block.rectified)
        constants = ScaledStateConstants(
            decay_re=decay_re,
            decay_im=decay_im,
            decay_shift=decay_shift,
            gain_re=gain[:, 0],
            gain_im=gain[:, 1],
            gain_shift=gain_shift,
            bias_re=_within(bias_integers.real, register, f"{name}.B bias"),
            bias_im=_within(bias_integers.imag, register, f"{name}.B bias"),
            message_shift=message_shift,
            decay=Format(decay_bits, 0),
            x=register,
            g=message,
            rectified=rectified,
            digit_bits=rows.digits.bits,
        )
        self._connect(f"{name}.B_re", b_re, rows.digits, hidden, Endpoint(group, "bu_re"))
        self._connect(f"{name}.B_im", b_im, rows.digits, hidden, Endpoint(group, "bu_im"))
        formats = {name: register for name in ("x_re", "x_im", "drive_re", "drive_im")}
        formats |= {name: message for name in ("g_re", "g_im", "scaled_re", "scaled_im")}
        sent = exponents - message_shift
        self._add(group, SCALED_STATE, constants, formats, {"g_re": sent, "g_im": sent})
        for part, suffix in (("real", "re"), ("imag", "im")):
            self._scale(f"{group}.x_{suffix}", f"{name}.x", exponents, part)
            self._scale(f"{group}.g_{suffix}", f"{name}.g", sent, part)
        return group

    def _state_exponents(self, x, bits, a, columns, bias, hidden) -> np.ndarray:
        """Return the fractional bits of each state: proven for every input where that is cheap."""
        lowest, highest = self._interval(hidden)
        rows = [np.flatnonzero(row) for row in columns]
        bounds = state_bounds(
            a,
            [column[row] for column, row in zip(columns, rows, strict=True)],
            [np.full(len(row), lowest) for row in rows],
            [np.full(len(row), highest) for row in rows],
            bias,
            noise=0.0,
        )
        exponents = []
        for p in range(len(a)):
            largest = max(np.abs(x[..., p].real).max(), np.abs(x[..., p].imag).max())
            constant = max(abs(bias[p].real), abs(bias[p].imag))
            measured = min(
                covering_exponent(float(largest), bits - STATE_HEADROOM_BITS),
                covering_exponent(float(constant), bits),
            )
            # A little room for the rounding of every step, which the final proof counts exactly.
            proven = covering_exponent(float(np.abs(bounds[p]).max()) * 1.002, bits)
            near = measured - BITS_FOR_PROOF <= proven
            exponents.append(min(measured, proven) if near else measured)
        return np.array(exponents, dtype=np.int64)

    def _state_messages(self, name, folded, x, exponents, state_bits) -> tuple[int, np.ndarray]:
        """Return the bits of the messages and each state's right shift to them.

        They cover the state before its ReLU: one that was negative may not always be.
        """
        requested = self._precision.bits("activation", f"{name}.g")
        largest = np.maximum(np.abs(x.real), np.abs(x.imag)).max(axis=(0, 1))
        combined = np.concatenate([folded.c.real * largest, folded.c.imag * largest], axis=1)
        bits = self._capped(f"{name}.g", requested, [(combined, f"{name}.C")])
        wanted = [
            best_exponent(np.stack([x[..., p].real, x[..., p].imag]), bits)
            for p in range(x.shape[-1])
        ]
        shifts = np.maximum(exponents - np.array(wanted), 0)
        return bits, np.minimum(shifts, state_bits - 1).astype(np.int64)

    def _output(self, name: str, folded: FoldedBlock, hidden: Endpoint, states: str) -> None:
        group = f"{name}.output"
        g_re, g_im = Endpoint(states, "g_re"), Endpoint(states, "g_im")
        y = self._reference[f"{name}.y"]
        block = folded.block
        activation = self._reference[f"{name}.activation"]
        read = [
            (affine.weight, f"{name}.{which}")
            for which, affine in (("W1", block.value), ("W2", block.gate))
            if affine is not None
        ]
        kept = y if block.glu is GluVariant.HALF2 else np.stack([y, activation])
        if block.activation is Activation.RELU and block.glu is not GluVariant.HALF2:
            kept = activation
        bits, exponents = self._message(f"{name}.y", kept, read)
        # The feedthrough has a factor of 16 bits of its own; C compensates what that leaves.
        scale = np.exp2(-self._exponents[hidden])
        through, through_shift = multipliers(folded.d, f"{name}.D")
        wanted = y - self._sent[hidden] * (through * np.exp2(-through_shift) * scale)
        weight = np.concatenate([folded.c.real, -folded.c.imag], axis=1)
        rows, bias = self._round(f"{name}.C", weight, [g_re, g_im], wanted)
        exponents = _limited(exponents, bits, bias, rows.steps, folded.d * scale)
        if block.activation is not Activation.RELU:
            # One table serves all neurons.
            exponents = np.full(len(exponents), exponents.min())
        affine = _affine(f"{name}.C", rows, bias, bits, exponents, floors=2)
        fine = affine.rounding_shift
        through, through_shift = multipliers(
            folded.d * scale * np.exp2(exponents + fine), f"{name}.D"
        )
        c_re, minus_c_im = np.split(rows.integers, 2, axis=1)
        projection = Endpoint(group, "projection")
        self._connect(f"{name}.C_re", c_re, rows.digits, g_re, projection)
        self._connect(f"{name}.C_im", minus_c_im, rows.digits, g_im, projection)
        self._hand_on(f"{name}.D", hidden, group, "feedthrough")
        constants = ScaledOutputConstants(
            projection=affine.weighted,
            feedthrough=affine.weighted._replace(multiplier=through, shift=through_shift),
            bias=affine.bias,
            rounding_shift=fine,
            y=affine.result,
        )
        message = affine.result
        formats = {"y": message, "activation": message, "total": message}
        sent = {"y": exponents, "activation": exponents}
        if block.activation is Activation.RELU:
            self._add(group, SCALED_OUTPUT, constants, formats, sent)
        else:
            table, error = gelu_table(block.activation, message, self._precision.knots)
            self.notes.append(
                f"{name}: GELU by {len(table.knots) - 1} segments, off by at most {error:.2g}"
            )
            activated = TableOutputConstants(constants, table, odd=0)
            self._add(group, TABLE_OUTPUT, activated, formats, sent)
        if block.glu is GluVariant.HALF2:
            self._scale(f"{group}.y", f"{name}.y", exponents)
        self._scale(f"{group}.activation", f"{name}.activation", exponents)

    def _gate(self, name: str, folded: FoldedBlock, hidden: Endpoint, reader: Reader) -> Endpoint:
        block, group = folded.block, f"{name}.gate"
        y, activation = Endpoint(f"{name}.output", "y"), Endpoint(f"{name}.output", "activation")
        total = self._reference[f"{name}.total"]
        kept = np.maximum(total, 0) if block.rectified else total
        bits, exponents = self._message(f"{name}.hidden", kept, [reader.matrix], reader.expected)
        fine = fine_bits(bits)
        value_bits, value_exponents = self._formats[activation].bits, self._exponents[activation]
        if block.glu is GluVariant.FULL:
            value_exponents = channel_exponents(self._reference[f"{name}.value"], value_bits)
        # Nothing is gained by more fractional bits than the operands have.
        finest = np.minimum(value_exponents, self._exponents[hidden]) + OPENING_EXPONENT - fine
        exponents = np.minimum(exponents, finest)
        message = Format(bits, int(exponents.min()))
        end = SumConstants(
            value_shift=_right_shifts(
                value_exponents + OPENING_EXPONENT - exponents - fine, f"{name}.value"
            ),
            residual_shift=_right_shifts(
                self._exponents[hidden] + OPENING_EXPONENT - exponents - fine, f"{name}.residual"
            ),
            fine=Format(STATE_BITS, message.exponent + fine),
            rounding_shift=fine,
            hidden=message,
            rectified=int(block.rectified),
        )
        formats = {"hidden": message, "total": message}
        constants, kind = end, SCALED_RESIDUAL
        if block.glu is not GluVariant.NONE:
            gate, table = self._opening(name, block.gate, activation)
            constants, kind = ScaledGateConstants(gate, table, end), SCALED_GATE
            formats |= {"gate_affine": gate.result, "opening": Format(17, OPENING_EXPONENT)}
        if block.glu is GluVariant.FULL:
            wanted = self._reference[f"{name}.value"]
            value = self._map(
                (f"{name}.W1", group, "value"), block.value, activation, wanted, value_bits,
                value_exponents,
            )  # fmt: skip
            constants, kind = ScaledFullGateConstants(value, constants), SCALED_FULL_GATE
            formats["value_affine"] = value.result
        else:
            source = y if block.glu is GluVariant.HALF2 else activation
            self._hand_on(f"{name}.value", source, group, "value")
        self._hand_on(f"{name}.residual", hidden, group, "residual")
        self._add(group, kind, constants, formats, {"hidden": exponents})
        self._scale(f"{group}.total", f"{name}.total", exponents)
        return Endpoint(group, "hidden")

    def _opening(self, name: str, affine: Affine, activation: Endpoint):
        """Quantize the map before the sigmoid; return its constants and the sigmoid's table."""
        wanted = self._reference[f"{name}.gate"]
        matrix, group = f"{name}.W2", f"{name}.gate"
        rows, bias = self._round(matrix, affine.weight, [activation], wanted)
        self._connect(matrix, rows.integers, rows.digits, activation, Endpoint(group, "gate"))
        # Beyond the limit the gate saturates, where the sigmoid is flat.
        finest = GATE.exponent - (np.abs(wanted).max() > 8)
        exponents = _limited(np.full(len(bias), finest), GATE.bits, bias, rows.steps)
        exponents = np.full(len(bias), exponents.min())
        gate = _affine(matrix, rows, bias, GATE.bits, exponents)
        table, error = sigmoid_table(gate.result, self._precision.knots)
        self.notes.append(
            f"{name}: sigmoid by {len(table.knots) - 1} segments, off by at most {error:.2g}"
        )
        self._scale(f"{name}.gate.gate_affine", f"{name}.gate", exponents)
        return gate, table

    def _map(self, names, affine: Affine, source, wanted, bits, exponents) -> AffineConstants:
        """Quantize an affine map; ``names`` are those of its matrix, its group and its port."""
        name, group, port = names
        rows, bias = self._round(name, affine.weight, [source], wanted)
        self._connect(name, rows.integers, rows.digits, source, Endpoint(group, port))
        return _affine(name, rows, bias, bits, exponents)

    # --- matrices --------------------------------------------------------------------------------

    def _flat(self, *sources: Endpoint) -> np.ndarray:
        """Return the integers of messages side by side as floats (samples, in)."""
        parts = [self._sent[source] for source in sources]
        whole = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        return whole.reshape(-1, whole.shape[-1]).astype(np.float64)

    def _round(
        self, name: str, weight: np.ndarray, sources, wanted: np.ndarray
    ) -> tuple[RoundedRows, np.ndarray]:
        """Round the matrix between messages and the values (T, N, out) wanted of it.

        Returns:
            ``(integers, bias)``: the bias (out,) makes the mean over the calibration data exact.
        """
        data = moments(self._flat(*sources), wanted.reshape(-1, wanted.shape[-1]))
        exponents = np.concatenate([self._exponents[source] for source in sources])
        bits = self._precision.bits("weight", name)
        rows = self._rounded(name, weight * np.exp2(-exponents), data, bits, sources)
        return rows, data.wanted - rows.steps * (rows.integers @ data.mean)

    def _rounded(self, name, scaled, data: Moments, bits: int, sources) -> RoundedRows:
        rows = round_rows(scaled, data, bits, _largest_sum(self._widest(sources)))
        parameters = int(np.count_nonzero(scaled))
        kept = int(np.count_nonzero(rows.integers))
        self.matrices.append(RoundedMatrix(name, bits, parameters, parameters - kept))
        return rows

    def _widest(self, sources) -> int:
        return max(self._formats[source].bits for source in sources)

    def _message(
        self, tensor: str, values: np.ndarray, matrices, expected: np.ndarray | float = 0.0
    ) -> tuple[int, np.ndarray]:
        """Return a message's bits and the fractional bits of each neuron's."""
        bits = self._capped(tensor, self._precision.bits("activation", tensor), matrices)
        return bits, channel_exponents(values, bits, expected)

    def _capped(self, tensor: str, bits: int, matrices) -> int:
        """Return as many of a message's bits as the accumulators behind its matrices can take."""
        for matrix, name in matrices:
            weight_bits = self._precision.bits("weight", name)
            _, total = choose_digits(matrix, matrix.shape[1], weight_bits, _largest_sum(bits))
            most = bits
            while total > _largest_sum(most):
                most -= 1
            if most < bits:
                self.notes.append(
                    f"{tensor}: {most} bits instead of {bits}, more could overflow the"
                    f" accumulators of {name}"
                )
                bits = most
        return bits

    # --- the network -----------------------------------------------------------------------------

    def _connect(
        self, name: str, integers: np.ndarray, digits: Digits, source: Endpoint, target: Endpoint
    ) -> None:
        """Add the synapses of a matrix: one for each digit."""
        suffixes = digit_ports("")
        for place, digit in enumerate(digits.split(integers)):
            self.synapses.append(
                Synapses(
                    f"{name}{suffixes[place]}",
                    source,
                    Endpoint(target.group, f"{target.name}{suffixes[place]}"),
                    frozen_weights(csr_matrix(digit)),
                    -place * digits.bits,
                )
            )

    def _hand_on(self, name: str, source: Endpoint, group: str, port: str) -> None:
        size = self._sent[source].shape[-1]
        self.synapses.append(
            Synapses(name, source, Endpoint(group, port), identity_weights(size), 0)
        )

    def _add(
        self, name: str, kind: NeuronKind, constants: tuple, formats: dict, exponents: dict
    ) -> None:
        """Add a group whose synapses are there already, and evaluate it.

        ``exponents`` are the fractional bits of each neuron's messages that are read.
        """
        incoming = [edge for edge in self.synapses if edge.target.group == name]
        ports = {port: 0 for port in kind.ports}
        for edge in incoming:
            ports[edge.target.name] = self._formats[edge.source].exponent + edge.exponent
        group = NeuronGroup(name, kind, incoming[0].weights.shape[0], constants, formats, ports)
        self.groups.append(group)
        shape = (*self._sent[incoming[0].source].shape[:2], group.size)
        accumulators = {port: np.zeros(shape, dtype=np.int64) for port in kind.ports}
        for edge in incoming:
            messages = self._sent[edge.source]
            products = edge.weights.astype(np.int64) @ messages.reshape(-1, messages.shape[-1]).T
            accumulators[edge.target.name] += products.T.reshape(shape)
        messages = _evaluate(group, tuple(accumulators.values()))
        for message, values in zip(kind.messages, messages, strict=True):
            endpoint = Endpoint(name, message)
            self._sent[endpoint] = values
            self._formats[endpoint] = formats[message]
        for message, fractional in exponents.items():
            self._exponents[Endpoint(name, message)] = fractional
        self._on_group(name)

    def _interval(self, source: Endpoint) -> tuple[int, int]:
        """Return the limits of a message: those of its format, from zero on if it is rectified."""
        lowest, highest = limits(self._formats[source].bits)
        (group,) = (group for group in self.groups if group.name == source.group)
        fields = constant_fields(group.constants)
        rectified = any(one.value for one in fields if one.name.split(".")[-1] == "rectified")
        return (0 if rectified else lowest), highest

    def _scale(self, value: str, reference: str, exponents, part: str | None = None) -> None:
        self.scales.append(TensorScale(value, reference, part, exponents))


def _evaluate(group: NeuronGroup, accumulators: tuple) -> tuple:
    """Return a group's messages for accumulators (T, N, n), from a zero state."""
    kind, constants = group.kind, group.constants
    if kind.recurrence is None:
        return kind.update(accumulators, (), constants)[1]
    inputs = kind.recurrence.drive(accumulators, constants)
    state = tuple(np.zeros(inputs[0].shape[1:], dtype=np.int64) for _ in kind.state)
    states = tuple(np.empty(inputs[0].shape, dtype=np.int64) for _ in kind.state)
    for token in range(len(inputs[0])):
        state = kind.recurrence.advance(tuple(part[token] for part in inputs), state, constants)
        for kept, register in zip(states, state, strict=True):
            kept[token] = register
    return kind.recurrence.emit(inputs, states, constants)[0]


def _decaying(parts: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues' integers ``a - 1``, moved inwards where rounding left the unit circle."""
    decay_re, decay_im = parts[:, 0].copy(), parts[:, 1].copy()
    for p, shift in enumerate(shifts):
        # In integers without a width: these squares have up to 95 bits.
        one = 1 << int(shift)
        re, im = one + int(decay_re[p]), int(decay_im[p])
        while re * re + im * im >= one * one:
            if abs(re) >= abs(im):
                re -= 1 if re > 0 else -1
            else:
                im -= 1 if im > 0 else -1
        decay_re[p], decay_im[p] = re - one, im
    return decay_re, decay_im


def _largest_sum(message_bits: int) -> int:
    """Return what absolute weights may add up to, so that no accumulator can overflow."""
    return ((1 << (ACCUMULATOR_BITS - 1)) - 1) >> (message_bits - 1)


def _limited(exponents: np.ndarray, bits: int, bias: np.ndarray, *steps: np.ndarray) -> np.ndarray:
    """Limit fractional bits to what the operands resolve and to what the bias leaves room for."""
    extra = fine_bits(bits)
    for step in steps:
        exponents = resolvable(exponents, step, extra)
    room = [covering_exponent(float(value), STATE_BITS - 1) - extra for value in np.abs(bias)]
    return np.where(bias != 0, np.minimum(exponents, room), exponents)


def _affine(name, rows: RoundedRows, bias, bits, exponents, floors: int = 1) -> AffineConstants:
    """Return the constants of an affine map.

    Args:
        name: for errors.
        rows: the weights.
        bias: (n,) floats.
        bits, exponents: width and fractional bits (n,) of the results.
        floors: how many right shifts come before the sum.
    """
    # Fewer where an integer of the accumulator is worth so much that no multiplier could widen it.
    worth = rows.steps * np.exp2(exponents)
    extra = max(0, int(resolvable(np.full(len(worth), fine_bits(bits)), worth, 0).min()))
    result = Format(bits, int(exponents.min()))
    fine = Format(STATE_BITS, result.exponent + extra)
    multiplier, shift = multipliers(rows.steps * np.exp2(exponents + extra), name)
    # The half of the rounding at the end, and the mean of what the floors before it take.
    half = ((1 << extra) >> 1) + floors / 2
    integers = _within(np.rint(bias * np.exp2(exponents + extra) + half), fine, f"{name} bias")
    return AffineConstants(
        Rescaling(multiplier, shift, fine, rows.digits.bits), integers, extra, result
    )


def _right_shifts(shifts: np.ndarray, where: str) -> np.ndarray:
    if shifts.min() < 0:
        raise CapacityError(
            where,
            f"would need a left shift by {-shifts.min()} bits",
            "Give the block's result fewer bits, or its operands more",
        )
    return np.minimum(shifts, LARGEST_SHIFT)


def _within(integers: np.ndarray, target: Format, where: str) -> np.ndarray:
    lowest, highest = limits(target.bits)
    if integers.min() < lowest or integers.max() > highest:
        raise CapacityError(
            where,
            f"needs {int(np.abs(integers).max())} in a register of {target.bits} bits (limit"
            f" {highest})",
            "Calibrate with louder data, or give the tensor fewer bits",
        )
    return integers.astype(np.int64)
