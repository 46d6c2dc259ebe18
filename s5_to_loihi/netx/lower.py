"""From the layers of a netx file to a network: one group a layer, named by its number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError, NetworkError
from s5_to_loihi.fixed_point import Format, wrap
from s5_to_loihi.network.block import as_block, join
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint, Network
from s5_to_loihi.network.neurons.constants import Constants
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.leaky import (
    LEAKY,
    LIFT,
    RECURRENT_LEAKY,
    RESETTING_LEAKY,
    RESETTING_RECURRENT_LEAKY,
    LeakyConstants,
    RecurrentConstants,
    Reset,
    ResettingConstants,
    ResettingRecurrentConstants,
    leaky_formats,
)
from s5_to_loihi.network.neurons.relay import RELAY, RelayConstants
from s5_to_loihi.network.neurons.sigma_delta import (
    DELTA,
    SIGMA,
    SIGMA_DELTA,
    DeltaConstants,
    Encoder,
    SigmaConstants,
    SigmaDeltaConstants,
    delta_formats,
    sigma_delta_formats,
    sigma_formats,
)
from s5_to_loihi.network.neurons.words import DIGIT_BITS, WHOLE, Synaptic
from s5_to_loihi.network.widths import MESSAGE_BITS, WORD_BITS
from s5_to_loihi.netx.layers import Layer, LayerType, NetxFile, Neuron, Spiking
from s5_to_loihi.netx.options import NetxOptions
from s5_to_loihi.netx.s5_layers import unpacked
from s5_to_loihi.netx.weights import Scaled, convolution, digits, scaled
from s5_to_loihi.passes.pipeline import run_passes

#: Fractional bits of sigma-delta networks: of inputs, and of weights.
INPUT_EXPONENT, WEIGHT_EXPONENT = 6, 6
#: ``state_exp`` of every sigma-delta neuron of netx.
STATE_EXP = 6
#: To which the sums of a convolution wrap.
CONVOLUTION_BITS = 24


@dataclass
class Position:
    """Where lowering has come to.

    Attributes:
        message: what the layer before sends.
        outlet: its shape, (width, height, channels) or (neurons,).
        bits: 0 if the next layer takes messages as bits.
        updates: timesteps from a network's first to the one in which the layer before sees the
            first token.
        index: of layers with neurons.
    """

    message: Endpoint
    outlet: tuple[int, ...]
    bits: int
    updates: int
    index: int = 0


def restless(layer: Layer, options: NetxOptions) -> bool:
    """Tell whether a layer does something on no input."""
    neuron, bias = layer.neuron, layer.bias
    if layer.type is LayerType.INPUT:
        bias = options.input_bias
    if neuron is None or neuron.sigma_output:
        return False
    fires = neuron.spiking is Spiking.LEAKY and neuron.threshold < 0
    return fires or (bias is not None and bool(bias.any()))


def lower(file: NetxFile, options: NetxOptions, name: str) -> tuple[Network, list[str]]:
    """Return the network of a file, without phases, and notes.

    Raises:
        CheckpointError: the layers do not suit each other, or there are none.
    """
    return _Lowering(file, options, name).network()


class _Lowering:
    """Lowers a file layer by layer."""

    def __init__(self, file: NetxFile, options: NetxOptions, name: str):
        self.file = file
        self.options = options
        self.notes: list[str] = []
        self.layers = tuple(one for one in file.layers if one.number >= options.skip_layers)
        self.early = any(restless(layer, options) for layer in self.layers)
        skipped = tuple(one for one in file.layers if one.number < options.skip_layers)
        self.builder, self.position = self._begin(name, skipped)

    def where(self, layer: Layer) -> str:
        return f"{self.file.name}: layer {layer.number}"

    def _begin(self, name: str, skipped: tuple[Layer, ...]) -> tuple[NetworkBuilder, Position]:
        bits, outlet = self.options.input_message_bits, self.options.input_shape
        for layer in skipped:
            if layer.neuron is not None:
                bits = layer.neuron.message_bits
            if layer.shape:
                outlet = layer.outlet
        first = next((one for one in self.layers if one.type is not LayerType.FLATTEN), None)
        if first is not None and first.type is LayerType.INPUT:
            outlet = first.outlet
        elif first is not None and outlet is None and first.weight is not None:
            outlet = (first.weight.shape[1],) if first.weight.ndim == 2 else None
        elif first is not None and first.bundle is not None:
            outlet = (unpacked(first.bundle, self.where(first)).input_size,)
        if first is None or outlet is None:
            what = "has no layers" if first is None else "does not say the shape of its input"
            raise CheckpointError(
                self.file.name, what, "Give input_shape (width, height, channels)"
            )
        spiking = any(one.neuron and one.neuron.spiking is Spiking.LEAKY for one in self.layers)
        has_inputs = first.type is LayerType.INPUT and first.neuron is not None
        exponent = 0 if spiking else INPUT_EXPONENT
        if not has_inputs and not spiking:
            exponent += self.options.spike_exp
        builder = NetworkBuilder(name, int(np.prod(outlet)), Format(MESSAGE_BITS, exponent))
        # An input layer sees a token when it comes, another one a timestep later.
        return builder, Position(builder.token, outlet, bits, 0 if has_inputs else 1)

    def network(self) -> tuple[Network, list[str]]:
        flatten = False
        for layer in self.layers:
            if layer.type is LayerType.FLATTEN:
                flatten = True
            elif layer.type is LayerType.INPUT and layer.neuron is None:
                continue
            else:
                self._add(layer, flatten)
                flatten = False
        if not self.position.index:
            raise CheckpointError(self.file.name, "has no layers with neurons", "")
        return self.builder.readout(self.position.message), self.notes

    def _add(self, layer: Layer, flatten: bool) -> None:
        name, position = f"layer{layer.number}", self.position
        neuron = layer.neuron
        if layer.type is LayerType.S5:
            self._join(layer, name)
            return
        assert neuron is not None  # every other layer has
        if layer.type is LayerType.INPUT:
            self.builder.hand_on(f"{name}.input", position.message, Endpoint(name, "low"))
            synaptic: tuple[Synaptic, ...] = (WHOLE,)
            waits: dict[str, np.ndarray] = {}
        else:
            synaptic, waits = self._connect(layer, name, flatten)
        kind, constants, formats = self._neurons(layer, neuron, synaptic, name)
        self.builder.group(
            name, kind, constants, formats, waits, position.updates if self.early else 0
        )
        position.message = Endpoint(name, kind.messages[0])
        position.outlet, position.bits = layer.outlet, neuron.message_bits
        position.updates += 1
        position.index += 1

    def _join(self, layer: Layer, name: str) -> None:
        """Add the network of an S5 layer."""
        position, where = self.position, self.where(layer)
        assert layer.neuron is not None
        if layer.bundle is None:
            raise CheckpointError(
                where,
                "holds a float model, which has to be quantized",
                "Give --calibration: tokens of the whole network",
            )
        if self.options.reset_interval is not None:
            raise CheckpointError(
                where, "is an S5 layer, and reset_interval is given", "Give sequences instead"
            )
        opened = unpacked(layer.bundle, where)
        if position.bits == 0 or not self._graded():
            raise CheckpointError(
                where,
                "adds up differences, and what comes before it sends bits",
                "Give input_message_bits, or sigma-delta neurons",
            )
        if opened.output_size != layer.size:
            raise CheckpointError(
                where, f"has the shape {layer.shape}, its network {opened.output_size} outputs"
            )
        early = position.updates if self.early else 0
        threshold = layer.neuron.threshold
        try:
            position.message = join(self.builder, opened, position.message, name, threshold, early)
        except NetworkError as error:
            raise CheckpointError(where, str(error)) from None
        block = run_passes(as_block(opened, threshold))
        position.outlet, position.bits = layer.outlet, layer.neuron.message_bits
        position.updates += block.latency
        position.index += 1

    # --- synapses --------------------------------------------------------------------------------

    def _connect(
        self, layer: Layer, name: str, flatten: bool
    ) -> tuple[tuple[Synaptic, ...], dict[str, np.ndarray]]:
        """Add a layer's synapses; return how its sums are taken, and what waits."""
        assert layer.weight is not None
        inlet = self.position.outlet
        if layer.type is LayerType.CONVOLUTION:
            if len(inlet) != 3:
                raise CheckpointError(
                    self.where(layer),
                    f"is a convolution of {inlet}, not of (width, height, channels)",
                )
            assert layer.kernel is not None
            self._as_bits(layer, name, None)
            matrix = convolution(layer.weight, layer.kernel, inlet, layer.outlet, self.where(layer))
            left = self._synapses(name, "", matrix, None, 0)
            return (Synaptic(left, CONVOLUTION_BITS, 0),), {}
        weight, parts = layer.weight, [slice(None)]
        columns = weight.shape[1]
        if columns != int(np.prod(inlet)) or (len(inlet) == 3) > flatten:
            do = "Put a flatten layer before it" if len(inlet) == 3 else ""
            raise CheckpointError(
                self.where(layer), f"takes {columns} inputs, the layer before has {inlet}", do
            )
        if layer.back is not None:
            weight = np.hstack([weight, layer.back])
            parts = [slice(columns), slice(columns, None)]
        made = scaled(weight, tuple(parts))
        self._say(layer, weight, made)
        return self._dense(layer, name, made)

    def _dense(
        self, layer: Layer, name: str, made: tuple[Scaled, ...]
    ) -> tuple[tuple[Synaptic, ...], dict[str, np.ndarray]]:
        delay, rows = layer.delay, layer.size
        waits: dict[str, np.ndarray] = {}
        of_sources = delay is not None and delay.size != rows
        self._as_bits(layer, name, delay if of_sources else None)
        forward = csr_matrix(self._flattened(made[0].weights))
        left, right = 0, made[0].shift
        if delay is not None:
            left = self._synapses(name, "", forward, WORD_BITS, right)
            if left >= right:  # products wrap, what they add up to is shifted before it does
                left, right = left - right, 0
            if not of_sources and delay.any():
                ports = {edge.target.name for edge in self.builder.incoming(name)}
                waits = {port: delay for port in sorted(ports)}
        else:
            left = self._synapses(name, "", forward, None, right)
        synaptic = [Synaptic(left, WORD_BITS, right)]
        if layer.back is not None:
            left = self._synapses(name, "back_", csr_matrix(made[1].weights), None, made[1].shift)
            synaptic.append(Synaptic(left, WORD_BITS, made[1].shift))
        return tuple(synaptic), waits

    def _flattened(self, weights: np.ndarray) -> np.ndarray:
        """Return a matrix over (channel, height, width) as one over neurons in Lava's order."""
        inlet = self.position.outlet
        if len(inlet) != 3:
            return weights
        order = np.arange(weights.shape[1]).reshape(inlet[::-1]).transpose(2, 1, 0).ravel()
        return weights[:, order]

    def _synapses(
        self, name: str, prefix: str, matrix: csr_matrix, product_bits: int | None, right: int
    ) -> int:
        """Add the synapses of a matrix of 9 bits, digit by digit; return the left shift."""
        matrix = matrix.copy()
        matrix.eliminate_zeros()
        wide = matrix.data.astype(np.int64)
        left, low, high = digits(wide) if len(wide) else (0, wide, None)
        source = Endpoint(name, "spike") if prefix else self.position.message
        exponent = (WEIGHT_EXPONENT if self._graded() else 0) + right - left
        for port, part, up in (("low", low, 0), ("high", high, DIGIT_BITS)):
            if part is None:
                continue
            weights = csr_matrix((part, matrix.indices, matrix.indptr), shape=matrix.shape)
            if port == "high":
                weights.eliminate_zeros()
            wraps = product_bits is not None and high is None
            self.builder.connect(
                f"{name}.{prefix}weight{'' if port == 'low' else '_high'}",
                source, Endpoint(name, f"{prefix}{port}"), weights, exponent - up,
                product_bits=WORD_BITS - left if wraps else None,
            )  # fmt: skip
        return left

    def _graded(self) -> bool:
        return all(
            one.neuron is None or one.neuron.spiking is Spiking.SIGMA_DELTA for one in self.layers
        )

    def _as_bits(self, layer: Layer, name: str, delay: np.ndarray | None) -> None:
        """Put a relay before a layer that takes messages as bits, or delays what leaves others."""
        position = self.position
        graded = self.builder.format(position.message).bits > 2
        binary = position.bits == 0 and graded
        if binary:
            self.notes.append(
                f"layer {layer.number} takes what it receives as bits, as in netx"
                " (input_message_bits, messageBits)"
            )
        if not binary and delay is None:
            return
        before, size = f"{name}.before", self.builder.size(position.message)
        self.builder.hand_on(f"{before}.input", position.message, Endpoint(before, "received"))
        exponent = self.builder.format(position.message).exponent
        sent = Format(2, 0) if binary else Format(WORD_BITS, exponent)
        waits = {} if delay is None else {"received": delay}
        self.builder.group(
            before, RELAY, RelayConstants(int(binary)), {"message": sent}, waits,
            position.updates if self.early else 0,
        )  # fmt: skip
        assert size == self.builder.size(Endpoint(before, "message"))
        position.message = Endpoint(before, "message")

    def _say(self, layer: Layer, weight: np.ndarray, made: tuple[Scaled, ...]) -> None:
        """Note where what is multiplied by is not what the file says."""
        if not weight.any():
            self.notes.append(
                f"layer {layer.number}: all weights are zero; netx fails on it, here its sums are 0"
            )
        elif not all(part.exact for part in made):
            self.notes.append(
                f"layer {layer.number}: its weights, {weight.min()}..{weight.max()}, are clipped or"
                " truncated to what Lava's synapses hold, as in netx"
            )

    # --- neurons ---------------------------------------------------------------------------------

    def _neurons(
        self, layer: Layer, neuron: Neuron, synaptic: tuple[Synaptic, ...], name: str
    ) -> tuple[NeuronKind, Constants, dict[str, Format]]:
        bias = self._bias(layer)
        if neuron.spiking is Spiking.LEAKY:
            return self._leaky(layer, neuron, synaptic, bias)
        e, cut = self.options.spike_exp, STATE_EXP
        if self.options.reset_interval is not None:
            self.notes.append(f"layer {layer.number}: resets are ignored, as in netx")
        encoder = Encoder(
            min(neuron.threshold << (e + cut), 1 << 31), cut, int(self.options.corrected)
        )
        edge = self.builder.incoming(name)[0]
        exponent = self.builder.format(edge.source).exponent + edge.exponent
        exponent += synaptic[0].left - synaptic[0].right
        if layer.type is LayerType.INPUT:
            return (
                DELTA,
                DeltaConstants(synaptic[0], e + cut, encoder),
                delta_formats(exponent + e + cut, cut),
            )
        if neuron.sigma_output:
            if layer.bias is not None:
                raise CheckpointError(
                    self.where(layer), "is a sum with a bias, which netx fails on", "Leave it out"
                )
            return SIGMA, SigmaConstants(synaptic[0]), sigma_formats(exponent)
        constants = SigmaDeltaConstants(
            synaptic[0], wrap(bias << (e + cut), WORD_BITS), encoder, rectified=1
        )
        return SIGMA_DELTA, constants, sigma_delta_formats(exponent, cut)

    def _bias(self, layer: Layer) -> np.ndarray:
        bias = self.options.input_bias if layer.type is LayerType.INPUT else layer.bias
        if bias is None:
            return np.zeros(layer.size, dtype=np.int64)
        if layer.type is LayerType.INPUT and np.size(bias) != layer.size:
            raise CheckpointError(
                self.where(layer), f"has {layer.size} neurons, input_bias {np.size(bias)} entries"
            )
        bias = np.asarray(bias, dtype=np.int64).ravel()
        return np.tile(bias, layer.size // bias.size)

    def _leaky(
        self, layer: Layer, neuron: Neuron, synaptic: tuple[Synaptic, ...], bias: np.ndarray
    ) -> tuple[NeuronKind, Constants, dict[str, Format]]:
        leaky = LeakyConstants(
            synaptic[0], neuron.current_decay, neuron.voltage_decay, bias, neuron.threshold << LIFT
        )
        interval = self.options.reset_interval
        kind: NeuronKind
        constants: Constants
        if interval is None and layer.back is None:
            kind, constants = LEAKY, leaky
        elif interval is None:
            kind, constants = RECURRENT_LEAKY, RecurrentConstants(leaky, synaptic[1])
        else:
            # Lava counts timesteps from 1; the first update is in that or with the first token.
            start = 1 if self.early else 1 + self.position.updates
            first = (self.options.reset_offset + 1 + self.position.index - start) % interval
            reset = Reset(interval, first)
            if layer.back is None:
                kind, constants = RESETTING_LEAKY, ResettingConstants(leaky, reset)
            else:
                kind = RESETTING_RECURRENT_LEAKY
                constants = ResettingRecurrentConstants(leaky, synaptic[1], reset)
        return kind, constants, leaky_formats(kind)
