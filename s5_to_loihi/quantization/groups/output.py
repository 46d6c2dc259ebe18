"""SCALED_OUTPUT and its kin: the projection of a block's states, feedthrough, activation."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import LEAKY_SLOPE, Activation, GluVariant, S5Block
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import NeuronKind
from s5_to_loihi.network.neurons.feed_forward import RESIDUAL_OUTPUT, ResidualOutputConstants
from s5_to_loihi.network.neurons.interpolation import Interpolation
from s5_to_loihi.network.neurons.scaled_output import (
    LEAKY_OUTPUT,
    SCALED_OUTPUT,
    TABLE_OUTPUT,
    LeakyOutputConstants,
    ScaledOutputConstants,
    TableOutputConstants,
)
from s5_to_loihi.quantization.draft import AnyReader, Draft, Message, Reader, TensorScale
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.formats import fine_bits, limited, multipliers, shared
from s5_to_loihi.quantization.groups.dense import affine_constants
from s5_to_loihi.quantization.groups.gate import residual_sum
from s5_to_loihi.quantization.rounding import moments
from s5_to_loihi.quantization.tables import TABULATED, activation_table


def add_output(
    draft: Draft, name: str, folded: FoldedBlock, source: Message, states: tuple[Message, Message]
) -> tuple[Message, Message]:
    """Quantize the projection of both parts of a block's states; return y and activation.

    ``source`` is what the state-space model reads.
    """
    group = f"{name}.output"
    assert isinstance(folded.block, S5Block)
    constants, exponents = _projection(draft, name, folded, source, states)
    y_format = constants.y
    formats = dict.fromkeys(("y", "activation", "total"), y_format)
    if folded.block.glu is GluVariant.HALF2:
        draft.scales.append(TensorScale(f"{group}.y", f"{name}.y", exponents))
    draft.scales.append(TensorScale(f"{group}.activation", f"{name}.activation", exponents))
    kind, activated = _activated(draft, name, folded.activation, constants)
    sources = (*states, source)
    y, activation = draft.add(group, kind, activated, formats, sources, exponents)
    return y, activation


def add_residual_output(
    draft: Draft,
    name: str,
    folded: FoldedBlock,
    source: Message,
    states: tuple[Message, Message],
    reader: AnyReader,
) -> Message:
    """Quantize the same with the addition of ``source`` to the activation."""
    group = f"{name}.output"
    constants, exponents = _projection(draft, name, folded, source, states)
    table = _table(draft, name, folded.activation, constants.y)
    end, summed = residual_sum(draft, name, False, exponents, source, reader, "middle_sum", "sum")
    formats = dict.fromkeys(("y", "activation"), constants.y)
    formats |= {"hidden": end.hidden, "total": end.hidden}
    draft.builder.hand_on(f"{name}.middle_residual", source.endpoint, Endpoint(group, "residual"))
    draft.scales.append(TensorScale(f"{group}.activation", f"{name}.activation", exponents))
    draft.scales.append(TensorScale(f"{group}.total", f"{name}.sum", summed))
    both = ResidualOutputConstants(TableOutputConstants(constants, *table), end)
    sources = (*states, source)
    return draft.add(group, RESIDUAL_OUTPUT, both, formats, sources, summed, reader=reader)[0]


def _projection(
    draft: Draft, name: str, folded: FoldedBlock, source: Message, states: tuple[Message, Message]
) -> tuple[ScaledOutputConstants, np.ndarray]:
    """Quantize C and D, and add their synapses; return the fractional bits of each neuron's y."""
    group = f"{name}.output"
    bits, exponents = _format(draft, name, folded)
    # The feedthrough has a factor of 16 bits of its own; the bias makes up for what that leaves.
    through, through_shift = multipliers(folded.d, f"{name}.D")
    fed = source.integers * (through * np.exp2(-through_shift) * source.steps)
    integers = np.concatenate([state.integers for state in states], axis=-1)
    data = moments(integers, draft.floats[f"{name}.y"] - fed)
    weight = np.concatenate([folded.c.real, -folded.c.imag], axis=1)
    port = Endpoint(group, "projection")
    synapses = ((f"{name}.C_re", states[0], port), (f"{name}.C_im", states[1], port))
    rows = draft.weigh(f"{name}.C", weight, data, synapses)
    bias, fine = rows.bias(data), fine_bits(bits)
    exponents = draft.narrow(exponents, fine, rows, *states)
    exponents = limited(exponents, fine, bias, rows.steps, folded.d * source.steps)
    if folded.activation is not Activation.RELU:
        exponents = shared(exponents)
    affine = affine_constants(f"{name}.C", rows, bias, bits, fine, exponents, floors=2)
    through, through_shift = multipliers(
        folded.d * source.steps * np.exp2(exponents + affine.rounding_shift), f"{name}.D"
    )
    draft.builder.hand_on(f"{name}.D", source.endpoint, Endpoint(group, "feedthrough"))
    constants = ScaledOutputConstants(
        projection=affine.weighted,
        feedthrough=affine.weighted._replace(multiplier=through, shift=through_shift),
        bias=affine.bias,
        rounding_shift=affine.rounding_shift,
        y=affine.result,
    )
    return constants, exponents


def _activated(
    draft: Draft, name: str, activation: Activation, constants: ScaledOutputConstants
) -> tuple[NeuronKind, ScaledOutputConstants | TableOutputConstants | LeakyOutputConstants]:
    if activation is Activation.RELU:
        return SCALED_OUTPUT, constants
    if activation is Activation.LEAKY_RELU:
        (slope,), (slope_shift,) = multipliers(np.array([LEAKY_SLOPE]), f"{name}.slope")
        return LEAKY_OUTPUT, LeakyOutputConstants(constants, int(slope), int(slope_shift))
    return TABLE_OUTPUT, TableOutputConstants(
        constants, *_table(draft, name, activation, constants.y)
    )


def _table(
    draft: Draft, name: str, activation: Activation, source: Format
) -> tuple[Interpolation, int]:
    """Tabulate an activation; return the table, and 1 if it is odd."""
    table, error = activation_table(activation, source, draft.precision.knots)
    draft.notes.append(
        f"{name}: {TABULATED[activation].title} by {len(table.knots) - 1} segments, off by at most"
        f" {error:.2g}"
    )
    return table, int(TABULATED[activation].odd)


def _format(draft: Draft, name: str, folded: FoldedBlock) -> tuple[int, np.ndarray]:
    """Return the bits of y and of the activation, and the fractional bits of each neuron's."""
    y, activation = draft.floats[f"{name}.y"], draft.floats[f"{name}.activation"]
    block, readers = folded.block, []
    kept = np.stack([y, activation])
    if isinstance(block, S5Block):
        readers = [
            Reader(affine.weight, f"{name}.{which}")
            for which, affine in (("W1", block.value), ("W2", block.gate))
            if affine is not None
        ]
        if block.glu is GluVariant.HALF2:
            kept = y
        elif folded.activation is Activation.RELU:
            kept = activation
        elif (how := TABULATED.get(folded.activation)) and how.odd:
            # Beyond its reach an odd one is flat: y may saturate.
            kept = np.clip(y, -how.reach, how.reach)
    # One table serves all neurons.
    alike = folded.activation is not Activation.RELU
    return draft.message_format(f"{name}.y", kept, readers, alike)
