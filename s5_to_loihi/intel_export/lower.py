"""lower: a quantized S5 model becomes neuron groups and synapses.

A block becomes four groups: NORM, STATE, OUTPUT and a gate. Encoder and decoder are one group
each; the readout ``mean`` adds one. Formats that need a left shift where the reference only
shifts right are refused: the reference silently computes 0 or -1 there.

Each function that returns messages adds one group and the synapses that end at it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import SIGMOID_FORMAT, SIGMOID_INPUT_EXPONENT, Format
from s5_to_loihi.intel_export.fitting import connect, lowered_to, right_shift
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import Endpoint, Network, Readout
from s5_to_loihi.network.neurons.dense import DENSE, DenseConstants
from s5_to_loihi.network.neurons.gate import (
    FULL_GATE,
    GATE,
    RESIDUAL,
    FullGateConstants,
    GateConstants,
    ResidualConstants,
)
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.mean import MEAN, mean_constants, mean_formats
from s5_to_loihi.network.neurons.norm import NORM, SCALED_NORM, NormConstants, ScaledNormConstants
from s5_to_loihi.network.neurons.output import OUTPUT, OutputConstants
from s5_to_loihi.network.neurons.state import STATE, StateConstants
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, STATE_BITS


def lower(model: QuantizedS5) -> Network:
    """Return the network of a quantized model; phases and delays are not set yet.

    Raises:
        CheckpointError: a format would need a negative right shift, or the mean's length is
            missing; the message names the tensor.
    """
    if not model.blocks:
        raise CheckpointError(model.name, "has no S5 blocks", "Check the export")
    network = NetworkBuilder(model.name, model.encoder.weight.data.shape[1], model.encoder.input)
    hidden = _dense(network, "encoder", model.encoder, network.token, rectified=1)
    last = len(model.blocks) - 1
    pooled = model.readout is Readout.MEAN
    for index, block in enumerate(model.blocks):
        enters_decoder = index == last and not pooled
        lowered = lowered_to(block.total, model.decoder.input) if enters_decoder else block.total
        gate = _block(network, f"block{index}", block, hidden, lowered)
        hidden = Endpoint(gate, "lowered" if enters_decoder else "hidden")
    if pooled:
        hidden = _mean(network, hidden, model.decoder.input, model.sequence_length)
    output = _dense(network, "decoder", model.decoder, hidden, rectified=0)
    return network.readout(output, model.readout, model.sequence_length)


# --- encoder, decoder and mean -------------------------------------------------------------------


def _dense(
    network: NetworkBuilder, name: str, dense: Dense, source: Endpoint, rectified: int
) -> Endpoint:
    constants = _affine(network, name, dense, source, rectified)
    connect(network, f"{name}.weight", source, Endpoint(name, "weighted"), dense.weight)
    network.group(name, DENSE, constants, {"activation": dense.result, "affine": dense.result})
    return Endpoint(name, "activation")


def _affine(
    network: NetworkBuilder, where: str, dense: Dense, source: Endpoint, rectified: int = 0
) -> DenseConstants:
    shift = right_shift(where, network.format(source), dense.weight.format, dense.result)
    return DenseConstants(dense.bias.data, dense.bias.format, shift, dense.result, rectified)


def _mean(
    network: NetworkBuilder, source: Endpoint, decoder_input: Format, length: int | None
) -> Endpoint:
    hidden = network.format(source)
    constants = mean_constants(hidden, lowered_to(hidden, decoder_input), length)
    network.hand_on("mean.hidden", source, Endpoint("mean", "hidden"))
    network.group("mean", MEAN, constants, mean_formats(constants))
    return Endpoint("mean", "lowered")


# --- a block -------------------------------------------------------------------------------------


def _block(
    network: NetworkBuilder, name: str, block: Block, hidden: Endpoint, lowered: Format
) -> str:
    """Add the groups of a block; return the name of its gate."""
    u = _norm(network, f"{name}.norm", block.norm, hidden, block.ssm.u)
    g_re, g_im = _state(network, name, block.ssm, u)
    output = _output(network, name, block, u, g_re, g_im)
    return _gate(network, name, block, hidden, output, lowered)


def _norm(network: NetworkBuilder, group: str, norm: Norm, source: Endpoint, u: Format) -> Endpoint:
    base = NormConstants(
        minus_mean=norm.minus_mean.data,
        inverse_deviation=norm.inverse_deviation.data,
        hidden=network.format(source),
        minus_mean_format=norm.minus_mean.format,
        inverse_deviation_format=norm.inverse_deviation.format,
        centred=norm.centred,
        normalised=norm.normalised,
        normalised_shift=right_shift(
            f"{group}.normalised", norm.centred, norm.inverse_deviation.format, norm.normalised
        ),
        u=u,
    )
    formats = {"u": u, "centred": norm.centred, "normalised": norm.normalised}
    network.hand_on(f"{group}.hidden", source, Endpoint(group, "hidden"))
    if norm.scale is None and norm.bias is None:
        network.group(group, NORM, base, formats)
    else:
        constants = _scaled_norm(group, norm, base)
        formats |= {"scaled": constants.scaled, "shifted": constants.shifted}
        network.group(group, SCALED_NORM, constants, formats)
    return Endpoint(group, "u")


def _scaled_norm(group: str, norm: Norm, base: NormConstants) -> ScaledNormConstants:
    """Return the constants of SCALED_NORM; a missing scale is 1, a missing bias 0, both exact."""
    size = norm.minus_mean.data.size
    scale, scaled, bias, shifted = norm.scale, norm.scaled, norm.bias, norm.shifted
    if scale is None or scaled is None:
        scale, scaled = Tensor(np.ones(size, dtype=np.int64), Format(16, 0)), norm.normalised
    if bias is None or shifted is None:
        bias, shifted = Tensor(np.zeros(size, dtype=np.int64), scaled), scaled
    return ScaledNormConstants(
        base=base,
        scale=scale.data,
        bias=bias.data,
        scale_format=scale.format,
        bias_format=bias.format,
        scaled=scaled,
        scaled_shift=right_shift(f"{group}.scaled", norm.normalised, scale.format, scaled),
        shifted=shifted,
    )


def _state(
    network: NetworkBuilder, name: str, ssm: StateSpace, u: Endpoint
) -> tuple[Endpoint, Endpoint]:
    group = f"{name}.state"
    bits = state_bits(ssm.c_re.data, ssm.c_im.data)
    x_re, x_im = Format(bits, ssm.x_re.exponent), Format(bits, ssm.x_im.exponent)
    constants = StateConstants(
        a_re=ssm.a_re.data,
        a_im=ssm.a_im.data,
        a_re_format=ssm.a_re.format,
        a_im_format=ssm.a_im.format,
        bu_re_shift=right_shift(f"{name}.B_re", ssm.u, ssm.b_re.format, ssm.bu_re),
        bu_im_shift=right_shift(f"{name}.B_im", ssm.u, ssm.b_im.format, ssm.bu_im),
        bu_re=ssm.bu_re,
        bu_im=ssm.bu_im,
        x_re=x_re,
        x_im=x_im,
    )
    connect(network, f"{name}.B_re", u, Endpoint(group, "bu_re"), ssm.b_re)
    connect(network, f"{name}.B_im", u, Endpoint(group, "bu_im"), ssm.b_im)
    formats = {"x_re": x_re, "x_im": x_im, "g_re": x_re, "g_im": x_im}
    formats |= {"drive_re": ssm.bu_re, "drive_im": ssm.bu_im}
    network.group(group, STATE, constants, formats)
    return Endpoint(group, "g_re"), Endpoint(group, "g_im")


def state_bits(c_re: np.ndarray, c_im: np.ndarray) -> int:
    """Return the width of the state registers.

    The chip's 24 bits, or as many as C's accumulators can take without ever leaving
    ``ACCUMULATOR_BITS``: with L the largest sum of absolute weights of one output,
    ``L * 2**(bits-1) < 2**(ACCUMULATOR_BITS-1)``.
    """
    largest = max(int(np.abs(c_re).sum(axis=1).max()), int(np.abs(c_im).sum(axis=1).max()), 1)
    return min(STATE_BITS, ACCUMULATOR_BITS - math.ceil(math.log2(largest + 1)))


def _output(
    network: NetworkBuilder, name: str, block: Block, u: Endpoint, g_re: Endpoint, g_im: Endpoint
) -> str:
    """Add OUTPUT; return its name: the gate chooses among its messages."""
    group = f"{name}.output"
    ssm, glu = block.ssm, block.glu
    y = ssm.y
    constants = OutputConstants(
        c_re_shift=right_shift(f"{name}.C_re", ssm.x_re, ssm.c_re.format, y),
        c_im_shift=right_shift(f"{name}.C_im", ssm.x_im, ssm.c_im.format, y),
        d_shift=right_shift(f"{name}.D", ssm.u, ssm.d.format, y),
        y=y,
        conjugate_shift=int(ssm.conjugate_symmetric),
        gate_input=lowered_to(y, glu.gate.input) if glu.gate else y,
        value_input=lowered_to(y, glu.value.input) if glu.value else y,
    )
    connect(network, f"{name}.C_re", g_re, Endpoint(group, "c_re"), ssm.c_re)
    connect(network, f"{name}.C_im", g_im, Endpoint(group, "c_im"), ssm.c_im)
    size = ssm.d.data.size
    diagonal = csr_matrix((ssm.d.data, np.arange(size), np.arange(size + 1)), shape=(size, size))
    connect(network, f"{name}.D", u, Endpoint(group, "d"), ssm.d, diagonal)
    formats = dict.fromkeys(("y", "activation", "projection", "feedthrough"), y)
    formats |= {"gate_input": constants.gate_input, "value_input": constants.value_input}
    formats["doubled"] = Format(y.bits + constants.conjugate_shift, y.exponent)
    network.group(group, OUTPUT, constants, formats)
    return group


def _gate(
    network: NetworkBuilder,
    name: str,
    block: Block,
    hidden: Endpoint,
    output: str,
    lowered: Format,
) -> str:
    """Add RESIDUAL, GATE or FULL_GATE after the group ``output``; return its name."""
    group, glu = f"{name}.gate", block.glu
    end = ResidualConstants(glu.result, network.format(hidden), block.total, lowered)
    formats = {"hidden": block.total, "lowered": lowered, "total": block.total}
    kind: NeuronKind
    constants: ResidualConstants | GateConstants | FullGateConstants
    if glu.gate is None:
        kind, constants = RESIDUAL, end
        value = Endpoint(output, "activation")
        network.hand_on(f"{name}.value", value, Endpoint(group, "value"))
    else:
        source = _activation(network, output, "gate_input")
        kind, constants = GATE, _gate_constants(network, name, block, glu.gate, source, end)
        formats |= {
            "gate_affine": glu.gate.result,
            "opening": SIGMOID_FORMAT,
            "product": glu.result,
        }
        if glu.value is None:
            value = Endpoint(output, "activation" if glu.variant is GluVariant.HALF1 else "y")
            network.hand_on(f"{name}.value", value, Endpoint(group, "value"))
        else:
            value = _activation(network, output, "value_input")
            affine = _affine(network, f"{name}.W1", glu.value, value)
            kind, constants = FULL_GATE, FullGateConstants(affine, constants)
            formats["value_affine"] = glu.value.result
            connect(network, f"{name}.W1", value, Endpoint(group, "value"), glu.value.weight)
        connect(network, f"{name}.W2", source, Endpoint(group, "gate"), glu.gate.weight)
    network.hand_on(f"{name}.residual", hidden, Endpoint(group, "residual"))
    network.group(group, kind, constants, formats)
    return group


def _activation(network: NetworkBuilder, output: str, message: str) -> Endpoint:
    """Return which message of OUTPUT brings the activation in the format of ``message``."""
    plain, converted = Endpoint(output, "activation"), Endpoint(output, message)
    return plain if network.format(plain) == network.format(converted) else converted


def _gate_constants(
    network: NetworkBuilder,
    name: str,
    block: Block,
    gate: Dense,
    source: Endpoint,
    end: ResidualConstants,
) -> GateConstants:
    glu = block.glu
    affine = _affine(network, f"{name}.W2", gate, source)
    sigmoid_exponent = min(gate.result.exponent, SIGMOID_INPUT_EXPONENT)
    if sigmoid_exponent < 0:
        raise CheckpointError(
            f"{name}.W2", f"the sigmoid's input has exponent {sigmoid_exponent} (limit 0)"
        )
    return GateConstants(
        gate=affine,
        sigmoid_input=Format(16, sigmoid_exponent),
        value=glu.value.result if glu.value else block.ssm.y,
        left=glu.left,
        right=glu.right,
        product_shift=right_shift(f"{name}.gate.product", glu.left, glu.right, glu.result),
        end=end,
    )
