"""Range proofs: which registers cannot overflow for any input, and which the data did not fill.

A sum that could leave its accumulator, or an intermediate that could leave the arithmetic, is never
let through (``passes/check_ranges.py``), so those are always proven. A state or a message saturates
at its width where the proof does not hold; then what the data did is reported instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s5_to_loihi.fixed_point import limits, needed_bits
from s5_to_loihi.network.network import Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.layer_norm import LayerNormConstants
from s5_to_loihi.network.neurons.lean_state import LeanStateConstants
from s5_to_loihi.network.neurons.mean import MeanConstants
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.neurons.scaled_state import ScaledStateConstants
from s5_to_loihi.network.ranges import message_interval, program, worst_case
from s5_to_loihi.network.tracing import Program
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, ARITHMETIC_BITS
from s5_to_loihi.quantization.bounds import state_bounds
from s5_to_loihi.quantization.norm_proofs import norm_bits

#: Two products and two drives are rounded in a step, each part by at most half an integer.
ROUNDING_NOISE = math.sqrt(2)
#: In a lean step four products are floored in each part: two of them are subtracted in the real
#: one, and all added in the imaginary one.
LEAN_NOISE = math.hypot(2, 4)


@dataclass(frozen=True)
class RangeProof:
    """What is known about the range of a register.

    Attributes:
        where: ``group.port``, ``group.value``, or the group for its widest intermediate result.
        role: ``accumulator``, ``intermediate``, ``state``, ``message``, or ``value`` for what
            saturates inside a neuron and has a name.
        bits: its width.
        needed: bits that the worst case over all inputs needs; more than ``bits`` if not proven.
        proven: True if no input can leave the width; False if only the data say so.
        headroom: bits between the largest value of the data and the limit; None if there are none.
        saturated: integers of the data at a limit; of: how many integers there were.
    """

    where: str
    role: str
    bits: int
    needed: int
    proven: bool
    headroom: float | None = None
    saturated: int = 0
    of: int = 0


def prove(network: Network, values: Mapping[str, np.ndarray]) -> tuple[RangeProof, ...]:
    """Prove what can be proven about a quantized network's ranges, and count the rest.

    Args:
        network: verified; its kinds with state are those of our own quantizer.
        values: ``group.value`` -> (T, N, n) integers of some data, as the interpreter gives them.

    Returns:
        In the order of the network.
    """
    proofs = []
    for group in network.groups:
        for port in group.kind.ports:
            if largest := worst_case(network, Endpoint(group.name, port)):
                where, needed = f"{group.name}.{port}", needed_bits(-largest, largest)
                proofs.append(RangeProof(where, "accumulator", ACCUMULATOR_BITS, needed, True))
        traced = program(network, group)
        widest = max(step.bits for step in traced.steps)
        proofs.append(RangeProof(group.name, "intermediate", ARITHMETIC_BITS, widest, True))
        states = _register_bits(network, group)
        roles = {
            "state": group.kind.state,
            "message": network.sent_by(group),
            "value": group.kind.probes,
        }
        for role, names in roles.items():
            for name in names:
                bits = group.formats[name].bits
                beyond = states.get(name) or _saturated_bits(traced, name, bits)
                if beyond or role != "value":
                    needed = beyond or traced.steps[traced.results[name]].bits
                    proofs.append(_counted(f"{group.name}.{name}", role, bits, needed, values))
    return tuple(proofs)


def _counted(
    where: str, role: str, bits: int, needed: int, values: Mapping[str, np.ndarray]
) -> RangeProof:
    data = values[where]
    lowest, highest = limits(bits)
    largest = int(np.abs(data).max())
    headroom = max(0.0, math.log2(highest / largest)) if largest else float(bits - 1)
    saturated = int(np.count_nonzero((data == lowest) | (data == highest)))
    return RangeProof(where, role, bits, needed, needed <= bits, headroom, saturated, data.size)


def _saturated_bits(traced: Program, name: str, bits: int) -> int | None:
    """Return what a value would need without its saturation, or None if it cannot saturate.

    The tracer drops a comparison that cannot change anything: where one with the limit of the
    format is left, what is compared may be beyond it.
    """
    limit_steps = {"min": limits(bits)[1], "max": limits(bits)[0]}
    widest, index = None, traced.results[name]
    while traced.steps[index].operation in limit_steps:
        step = traced.steps[index]
        operands = [(traced.steps[operand], operand) for operand in step.operands]
        constants = [one.immediate for one, _ in operands if one.operation == "constant"]
        others = [operand for one, operand in operands if one.operation != "constant"]
        if not constants or not others:
            break
        (index,) = others
        if constants[0] == limit_steps[step.operation]:
            widest = max(widest or 0, traced.steps[index].bits)
    return widest


def _register_bits(network: Network, group: NeuronGroup) -> dict[str, int]:
    """Return the bits that states, and results of norms, need whatever the input."""
    constants = group.constants
    if isinstance(constants, LayerNormConstants):
        return norm_bits(network, group)
    if isinstance(constants, MeanConstants) and network.sequence_length is not None:
        port = Endpoint(group.name, "hidden")
        largest = (worst_case(network, port) >> constants.input_shift) * network.sequence_length
        return {"sum": needed_bits(-largest, largest)}
    if not group.kind.state:
        return {}
    bounds = state_limits(network, group)
    # One part that saturates turns the other: both fit, or neither is proven.
    bits = needed_bits(math.floor(bounds[..., 0].min()), math.ceil(bounds[..., 1].max()))
    return dict.fromkeys(group.kind.state, bits)


def state_limits(network: Network, group: NeuronGroup) -> np.ndarray:
    """Return the limits of the states of a group of our own quantizer without saturation.

    Returns:
        (P, 2, 2) floats: for each state and part (real, imaginary) the lowest and highest integer.
    """
    c = group.constants
    if isinstance(c, LeanStateConstants):
        a, noise = (c.a_re + 1j * c.a_im) * np.exp2(-float(c.a.exponent)), LEAN_NOISE
    else:
        assert isinstance(c, ScaledStateConstants)
        a, noise = 1 + (c.decay_re + 1j * c.decay_im) * np.exp2(-c.decay_shift), ROUNDING_NOISE
    gain = (c.gain_re + 1j * c.gain_im) * np.exp2(-c.gain_shift)
    scales = {
        f"{part}{suffix}": factor * 2.0 ** (digit * c.digit_bits)
        for part, factor in (("bu_re", 1), ("bu_im", 1j))
        for digit, suffix in enumerate(digit_ports(""))
    }
    weights, lowest, highest = np.zeros((group.size, 1)), 0, 0
    for synapses in network.incoming(group.name):
        scale = scales[synapses.target.name]
        weights = weights + synapses.weights.toarray().astype(np.float64) * scale
        lowest, highest = message_interval(network, synapses.source)
    return state_bounds(
        a, gain[:, None] * weights, lowest, highest, c.bias_re + 1j * c.bias_im, noise
    )
