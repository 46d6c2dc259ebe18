"""lower: a quantized S5 model becomes neuron groups and synapses.

A block becomes four groups: NORM, STATE, OUTPUT and a gate. Encoder and decoder are one group
each; the readout ``mean`` adds one. Formats that need a left shift where the reference only
shifts right are refused: the reference silently computes 0 or -1 there.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import (
    SIGMOID_FORMAT,
    SIGMOID_INPUT_EXPONENT,
    Format,
    limits,
)
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
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
from s5_to_loihi.network.neurons import (
    DENSE,
    FULL_GATE,
    GATE,
    MEAN,
    NORM,
    OUTPUT,
    RESIDUAL,
    SCALED_NORM,
    STATE,
    NeuronKind,
)
from s5_to_loihi.network.neurons.dense import DenseConstants
from s5_to_loihi.network.neurons.gate import FullGateConstants, GateConstants, ResidualConstants
from s5_to_loihi.network.neurons.mean import mean_constants
from s5_to_loihi.network.neurons.norm import NormConstants, ScaledNormConstants
from s5_to_loihi.network.neurons.output import OutputConstants
from s5_to_loihi.network.neurons.state import StateConstants
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, LARGEST_SHIFT, STATE_BITS


def lower(model: QuantizedS5) -> Network:
    """Return the network of a quantized model; phases and delays are not set yet.

    Raises:
        CheckpointError: a format would need a negative right shift, or the mean's length is
            missing; the message names the tensor.
    """
    if not model.blocks:
        raise CheckpointError(model.name, "has no S5 blocks", "Check the export")
    builder = _Builder()
    token = Endpoint(INPUT, TOKEN)
    hidden = builder.dense("encoder", model.encoder, token, model.encoder.input, rectified=1)
    residual_format = model.encoder.result
    last = len(model.blocks) - 1
    pooled = model.readout is Readout.MEAN
    for index, block in enumerate(model.blocks):
        lowered = None
        if index == last and not pooled:
            lowered = _lowered_to(block.total, model.decoder.input)
        name = f"block{index}"
        gate = builder.block(name, block, hidden, residual_format, lowered or block.total)
        hidden = Endpoint(gate, "lowered" if lowered else "hidden")
        residual_format = block.total
    decoder_input = _lowered_to(residual_format, model.decoder.input)
    if pooled:
        hidden = builder.mean(hidden, residual_format, decoder_input, model.sequence_length)
    output = builder.dense("decoder", model.decoder, hidden, decoder_input, rectified=0)
    return Network(
        name=model.name,
        input_size=model.encoder.weight.data.shape[1],
        input_format=model.encoder.input,
        groups=tuple(builder.groups),
        synapses=tuple(builder.synapses),
        output=output,
        readout=model.readout,
        sequence_length=model.sequence_length,
    )


def _lowered_to(source: Format, target: Format) -> Format:
    """Return the format in which a dense map takes its input.

    The reference converts only wider or finer inputs (``FxpDense.forward``).
    """
    return target if source.bits > target.bits or source.exponent > target.exponent else source


def _right_shift(where: str, source: int, target: int) -> int:
    if source < target:
        raise CheckpointError(
            where,
            f"would need a right shift by {source - target} bits (exponent {source} to {target});"
            " the reference computes only 0 and -1 there",
            "Lower the result's exponent, or raise the weights', and export again",
        )
    if source - target > LARGEST_SHIFT:
        raise CheckpointError(
            where,
            f"would need a right shift by {source - target} bits (limit {LARGEST_SHIFT}), which"
            " leaves nothing of any product",
            "Raise the result's exponent, or lower the weights', and export again",
        )
    return source - target


def state_bits(c_re: np.ndarray, c_im: np.ndarray) -> int:
    """Return the width of the state registers.

    The chip's 24 bits, or as many as C's accumulators can take without ever leaving
    ``ACCUMULATOR_BITS``: with L the largest sum of absolute weights of one output,
    ``L * 2**(bits-1) < 2**(ACCUMULATOR_BITS-1)``.
    """
    largest = max(int(np.abs(c_re).sum(axis=1).max()), int(np.abs(c_im).sum(axis=1).max()), 1)
    return min(STATE_BITS, ACCUMULATOR_BITS - math.ceil(math.log2(largest + 1)))


class _Builder:
    """Collects groups and synapses in topological order."""

    def __init__(self):
        self.groups: list[NeuronGroup] = []
        self.synapses: list[Synapses] = []

    def group(self, name: str, kind: NeuronKind, size: int, constants, formats, ports) -> str:
        self.groups.append(NeuronGroup(name, kind, size, constants, formats, ports))
        return name

    def connect(self, name: str, source: Endpoint, target: str, port: str, weight: Tensor):
        """Add synapses and return nothing; weights must be int8."""
        lowest, highest = limits(8)
        if weight.data.size and (weight.data.min() < lowest or weight.data.max() > highest):
            raise CheckpointError(
                name,
                f"weights lie in {weight.data.min()}..{weight.data.max()} (limit"
                f" {lowest}..{highest}, 8 bits)",
                "Export with 8-bit weights (w8a16)",
            )
        self.synapses.append(
            Synapses(
                name,
                source,
                Endpoint(target, port),
                frozen_weights(weight.data),
                weight.format.exponent,
            )
        )

    def hand_on(self, name: str, source: Endpoint, target: str, port: str, size: int):
        self.synapses.append(
            Synapses(name, source, Endpoint(target, port), identity_weights(size), 0)
        )

    def dense(
        self, name: str, dense: Dense, source: Endpoint, source_format: Format, rectified: int
    ) -> Endpoint:
        constants, exponent = _dense_constants(name, dense, source_format, rectified)
        formats = {"activation": dense.result, "affine": dense.result}
        self.group(name, DENSE, dense.bias.data.size, constants, formats, {"weighted": exponent})
        self.connect(f"{name}.weight", source, name, "weighted", dense.weight)
        return Endpoint(name, "activation")

    def mean(
        self, source: Endpoint, hidden: Format, lowered: Format, length: int | None
    ) -> Endpoint:
        if not length or length < 1:
            raise CheckpointError(
                "readout",
                "the mean over the tokens needs their number",
                "Give the length of a sequence in tokens",
            )
        size = self.groups[-1].size
        constants = mean_constants(hidden, lowered, length)
        sum_format = Format(constants.sum_bits, hidden.exponent - constants.input_shift)
        formats = {"sum": sum_format, "mean": hidden, "lowered": lowered}
        self.group("mean", MEAN, size, constants, formats, {"hidden": hidden.exponent})
        self.hand_on("mean.hidden", source, "mean", "hidden", size)
        return Endpoint("mean", "lowered")

    def block(
        self, name: str, block: Block, source: Endpoint, residual: Format, lowered: Format
    ) -> str:
        u = self.norm(name, block.norm, source, residual, block.ssm.u)
        g_re, g_im = self.state(name, block.ssm, u)
        output = self.output(name, block, u, g_re, g_im)
        return self.gate(name, block, source, residual, lowered, output)

    def norm(self, name: str, norm: Norm, source: Endpoint, hidden: Format, u: Format) -> Endpoint:
        group = f"{name}.norm"
        base = NormConstants(
            minus_mean=norm.minus_mean.data,
            inverse_deviation=norm.inverse_deviation.data,
            hidden=hidden,
            minus_mean_format=norm.minus_mean.format,
            inverse_deviation_format=norm.inverse_deviation.format,
            centred=norm.centred,
            normalised=norm.normalised,
            normalised_shift=_right_shift(
                f"{group}.normalised",
                norm.centred.exponent + norm.inverse_deviation.format.exponent,
                norm.normalised.exponent,
            ),
            u=u,
        )
        size = norm.minus_mean.data.size
        formats = {"u": u, "centred": norm.centred, "normalised": norm.normalised}
        ports = {"hidden": hidden.exponent}
        if norm.scale is None and norm.bias is None:
            self.group(group, NORM, size, base, formats, ports)
        else:
            constants = _scaled_norm_constants(group, norm, base, size)
            formats |= {"scaled": constants.scaled, "shifted": constants.shifted}
            self.group(group, SCALED_NORM, size, constants, formats, ports)
        self.hand_on(f"{group}.hidden", source, group, "hidden", size)
        return Endpoint(group, "u")

    def state(self, name: str, ssm: StateSpace, u: Endpoint) -> tuple[Endpoint, Endpoint]:
        group = f"{name}.state"
        bits = state_bits(ssm.c_re.data, ssm.c_im.data)
        x_re, x_im = Format(bits, ssm.x_re.exponent), Format(bits, ssm.x_im.exponent)
        ports = {
            "bu_re": ssm.u.exponent + ssm.b_re.format.exponent,
            "bu_im": ssm.u.exponent + ssm.b_im.format.exponent,
        }
        constants = StateConstants(
            a_re=ssm.a_re.data,
            a_im=ssm.a_im.data,
            a_re_format=ssm.a_re.format,
            a_im_format=ssm.a_im.format,
            bu_re_shift=_right_shift(f"{name}.B_re", ports["bu_re"], ssm.bu_re.exponent),
            bu_im_shift=_right_shift(f"{name}.B_im", ports["bu_im"], ssm.bu_im.exponent),
            bu_re=ssm.bu_re,
            bu_im=ssm.bu_im,
            x_re=x_re,
            x_im=x_im,
        )
        formats = {
            "x_re": x_re,
            "x_im": x_im,
            "g_re": x_re,
            "g_im": x_im,
            "drive_re": ssm.bu_re,
            "drive_im": ssm.bu_im,
        }
        self.group(group, STATE, ssm.a_re.data.size, constants, formats, ports)
        self.connect(f"{name}.B_re", u, group, "bu_re", ssm.b_re)
        self.connect(f"{name}.B_im", u, group, "bu_im", ssm.b_im)
        return Endpoint(group, "g_re"), Endpoint(group, "g_im")

    def output(self, name: str, block: Block, u: Endpoint, g_re: Endpoint, g_im: Endpoint) -> str:
        group = f"{name}.output"
        ssm, glu = block.ssm, block.glu
        ports = {
            "c_re": ssm.x_re.exponent + ssm.c_re.format.exponent,
            "c_im": ssm.x_im.exponent + ssm.c_im.format.exponent,
            "d": ssm.u.exponent + ssm.d.format.exponent,
        }
        y = ssm.y
        gate_input = _lowered_to(y, glu.gate.input) if glu.gate else y
        value_input = _lowered_to(y, glu.value.input) if glu.value else y
        doubling = int(ssm.conjugate_symmetric)
        constants = OutputConstants(
            c_re_shift=_right_shift(f"{name}.C_re", ports["c_re"], y.exponent),
            c_im_shift=_right_shift(f"{name}.C_im", ports["c_im"], y.exponent),
            d_shift=_right_shift(f"{name}.D", ports["d"], y.exponent),
            y=y,
            conjugate_shift=doubling,
            gate_input=gate_input,
            value_input=value_input,
        )
        formats = {
            "y": y,
            "activation": y,
            "gate_input": gate_input,
            "value_input": value_input,
            "projection": y,
            "doubled": Format(y.bits + doubling, y.exponent),
            "feedthrough": y,
        }
        size = ssm.d.data.size
        self.group(group, OUTPUT, size, constants, formats, ports)
        self.connect(f"{name}.C_re", g_re, group, "c_re", ssm.c_re)
        self.connect(f"{name}.C_im", g_im, group, "c_im", ssm.c_im)
        diagonal = csr_matrix(
            (ssm.d.data, np.arange(size), np.arange(size + 1)), shape=(size, size)
        )
        self.connect(f"{name}.D", u, group, "d", Tensor(diagonal, ssm.d.format))
        return group

    def gate(
        self,
        name: str,
        block: Block,
        hidden: Endpoint,
        residual: Format,
        lowered: Format,
        output: str,
    ) -> str:
        group = f"{name}.gate"
        glu, y = block.glu, block.ssm.y
        product = y if glu.variant is GluVariant.NONE else glu.result
        end = ResidualConstants(product, residual, block.total, lowered)
        size = block.ssm.d.data.size
        formats = {"hidden": block.total, "lowered": lowered, "total": block.total}
        ports = {"residual": residual.exponent}
        if glu.variant is GluVariant.NONE:
            self.group(group, RESIDUAL, size, end, formats, ports | {"value": y.exponent})
            self.hand_on(f"{name}.value", Endpoint(output, "activation"), group, "value", size)
        else:
            self._gated(name, group, block, end, formats, ports, output)
        self.hand_on(f"{name}.residual", hidden, group, "residual", size)
        return group

    def _gated(self, name, group, block, end, formats, ports, output):
        """Add GATE or FULL_GATE with the synapses of its gate and value ports."""
        glu, y = block.glu, block.ssm.y
        size = block.ssm.d.data.size
        gate_input = _lowered_to(y, glu.gate.input)
        gate, ports["gate"] = _dense_constants(f"{name}.W2", glu.gate, gate_input, 0)
        sigmoid_exponent = min(glu.gate.result.exponent, SIGMOID_INPUT_EXPONENT)
        if sigmoid_exponent < 0:
            raise CheckpointError(
                f"{name}.W2", f"the sigmoid's input has exponent {sigmoid_exponent} (limit 0)"
            )
        full = glu.variant is GluVariant.FULL
        value = glu.value.result if full else y
        base = GateConstants(
            gate=gate,
            sigmoid_input=Format(16, sigmoid_exponent),
            value=value,
            left=glu.left,
            right=glu.right,
            product_shift=_right_shift(
                f"{name}.gate.product",
                glu.left.exponent + glu.right.exponent,
                glu.result.exponent,
            ),
            end=end,
        )
        formats |= {
            "gate_affine": glu.gate.result,
            "opening": SIGMOID_FORMAT,
            "product": glu.result,
        }
        if full:
            value_input = _lowered_to(y, glu.value.input)
            constants, exponent = _dense_constants(f"{name}.W1", glu.value, value_input, 0)
            ports |= {"value": exponent}
            formats |= {"value_affine": glu.value.result}
            self.group(group, FULL_GATE, size, FullGateConstants(constants, base), formats, ports)
            source = Endpoint(output, "value_input" if value_input != y else "activation")
            self.connect(f"{name}.W1", source, group, "value", glu.value.weight)
        else:
            ports |= {"value": y.exponent}
            self.group(group, GATE, size, base, formats, ports)
            source = "activation" if glu.variant is GluVariant.HALF1 else "y"
            self.hand_on(f"{name}.value", Endpoint(output, source), group, "value", size)
        source = Endpoint(output, "gate_input" if gate_input != y else "activation")
        self.connect(f"{name}.W2", source, group, "gate", glu.gate.weight)


def _dense_constants(
    where: str, dense: Dense, source: Format, rectified: int
) -> tuple[DenseConstants, int]:
    exponent = source.exponent + dense.weight.format.exponent
    shift = _right_shift(f"{where}", exponent, dense.result.exponent)
    constants = DenseConstants(dense.bias.data, dense.bias.format, shift, dense.result, rectified)
    return constants, exponent


def _scaled_norm_constants(
    group: str, norm: Norm, base: NormConstants, size: int
) -> ScaledNormConstants:
    """Return the constants of SCALED_NORM; a missing scale is 1, a missing bias 0, both exact."""
    scale, scaled = norm.scale, norm.scaled
    if scale is None:
        scale = Tensor(np.ones(size, dtype=np.int64), Format(16, 0))
        scaled = norm.normalised
    bias, shifted = norm.bias, norm.shifted
    if bias is None:
        bias = Tensor(np.zeros(size, dtype=np.int64), scaled)
        shifted = scaled
    return ScaledNormConstants(
        base=base,
        scale=scale.data,
        bias=bias.data,
        scale_format=scale.format,
        bias_format=bias.format,
        scaled=scaled,
        scaled_shift=_right_shift(
            f"{group}.scaled", norm.normalised.exponent + scale.format.exponent, scaled.exponent
        ),
        shifted=shifted,
    )
