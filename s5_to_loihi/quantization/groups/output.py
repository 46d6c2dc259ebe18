"""SCALED_OUTPUT and TABLE_OUTPUT: the projection of a block's states, feedthrough, activation."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons.scaled_output import (
    SCALED_OUTPUT,
    TABLE_OUTPUT,
    ScaledOutputConstants,
    TableOutputConstants,
)
from s5_to_loihi.quantization.draft import Draft, Message, Reader, TensorScale
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.formats import limited, multipliers, shared
from s5_to_loihi.quantization.groups.dense import affine_constants
from s5_to_loihi.quantization.rounding import moments
from s5_to_loihi.quantization.tables import gelu_table


def add_output(
    draft: Draft, name: str, folded: FoldedBlock, hidden: Message, states: tuple[Message, Message]
) -> tuple[Message, Message]:
    """Quantize the projection of both parts of a block's states; return y and activation."""
    block, group = folded.block, f"{name}.output"
    bits, exponents = _format(draft, name, folded)
    # The feedthrough has a factor of 16 bits of its own; the bias makes up for what that leaves.
    through, through_shift = multipliers(folded.d, f"{name}.D")
    fed = hidden.integers * (through * np.exp2(-through_shift) * hidden.steps)
    integers = np.concatenate([state.integers for state in states], axis=-1)
    data = moments(integers, draft.floats[f"{name}.y"] - fed)
    weight = np.concatenate([folded.c.real, -folded.c.imag], axis=1)
    port = Endpoint(group, "projection")
    synapses = ((f"{name}.C_re", states[0], port), (f"{name}.C_im", states[1], port))
    rows = draft.weigh(f"{name}.C", weight, data, synapses)
    bias = rows.bias(data)
    exponents = limited(exponents, bits, bias, rows.steps, folded.d * hidden.steps)
    if block.activation is not Activation.RELU:
        exponents = shared(exponents)
    affine = affine_constants(f"{name}.C", rows, bias, bits, exponents, floors=2)
    through, through_shift = multipliers(
        folded.d * hidden.steps * np.exp2(exponents + affine.rounding_shift), f"{name}.D"
    )
    draft.builder.hand_on(f"{name}.D", hidden.endpoint, Endpoint(group, "feedthrough"))
    constants = ScaledOutputConstants(
        projection=affine.weighted,
        feedthrough=affine.weighted._replace(multiplier=through, shift=through_shift),
        bias=affine.bias,
        rounding_shift=affine.rounding_shift,
        y=affine.result,
    )
    formats = dict.fromkeys(("y", "activation", "total"), affine.result)
    if block.glu is GluVariant.HALF2:
        draft.scales.append(TensorScale(f"{group}.y", f"{name}.y", exponents))
    draft.scales.append(TensorScale(f"{group}.activation", f"{name}.activation", exponents))
    sources = (*states, hidden)
    if block.activation is Activation.RELU:
        sent = draft.add(group, SCALED_OUTPUT, constants, formats, sources, exponents)
    else:
        table, error = gelu_table(block.activation, affine.result, draft.precision.knots)
        draft.notes.append(
            f"{name}: GELU by {len(table.knots) - 1} segments, off by at most {error:.2g}"
        )
        with_table = TableOutputConstants(constants, table, odd=0)
        sent = draft.add(group, TABLE_OUTPUT, with_table, formats, sources, exponents)
    y, activation = sent
    return y, activation


def _format(draft: Draft, name: str, folded: FoldedBlock) -> tuple[int, np.ndarray]:
    """Return the bits of y and of the activation, and the fractional bits of each neuron's."""
    block = folded.block
    y, activation = draft.floats[f"{name}.y"], draft.floats[f"{name}.activation"]
    readers = [
        Reader(affine.weight, f"{name}.{which}")
        for which, affine in (("W1", block.value), ("W2", block.gate))
        if affine is not None
    ]
    kept = np.stack([y, activation])
    if block.glu is GluVariant.HALF2:
        kept = y
    elif block.activation is Activation.RELU:
        kept = activation
    # One table serves all neurons.
    alike = block.activation is not Activation.RELU
    return draft.message_format(f"{name}.y", kept, readers, alike)
