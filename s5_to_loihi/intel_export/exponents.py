"""The exponents that Intel's model picks from its data, recomputed by its own rule.

The reference adds and multiplies in batch norm and at the residual with "compute_best": the
result's exponent follows from the largest magnitude over the whole tensor, batch and time
included (``fxparray.py``, ``fxp_add`` and ``fxp_mul``). Where an export holds no activations
these exponents can be found again only by running its recorded input through the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from s5_to_loihi.fixed_point import Format, to_floats
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import Norm, QuantizedS5
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint
from s5_to_loihi.simulators.interpreter import Interpreter, update_sequence

#: Width of every result of the reference's "compute_best" rule in exports.
RESULT_BITS = 16


def _exponent(largest: np.float32, guard: float) -> int:
    """Return ``bits - 1 - max(0, ceil(log2(largest + guard)))``, in float32 as the reference."""
    magnitude = np.float32(largest) + np.float32(guard)
    return RESULT_BITS - 1 - max(0, int(np.ceil(np.log2(magnitude))))


def sum_exponent(left, left_format: Format, right, right_format: Format) -> int:
    """Return the exponent that the reference picks for a sum of two integer tensors."""
    total = _float32(left, left_format) + _float32(right, right_format)
    return _exponent(np.abs(total).max(), 1e-6)


def product_exponent(left, left_format: Format, right, right_format: Format) -> int:
    """Return the exponent that the reference picks for a product of two integer tensors."""
    product = _float32(left, left_format) * _float32(right, right_format)
    return _exponent(np.abs(product).max(), 1e-6)


def _float32(integers, source: Format) -> np.ndarray:
    return to_floats(integers, source).astype(np.float32)


def frozen_names(norm_has_scale: bool, norm_has_bias: bool) -> tuple[str, ...]:
    """Return the steps of one block whose exponents depend on the data, in order."""
    return (
        "centred",
        "normalised",
        *(("scaled",) if norm_has_scale else ()),
        *(("shifted",) if norm_has_bias else ()),
        "total",
    )


def freeze(
    build: Callable[[Mapping[tuple[int, str], int]], QuantizedS5], tokens: np.ndarray
) -> dict[tuple[int, str], int]:
    """Find the data-dependent exponents by running the reference's rule.

    Args:
        build: makes the model from exponents given for (block, step); missing ones may be
            anything that can be lowered.
        tokens: the recorded input, (tokens, batch, features): the rule looks at all of it.

    Returns:
        (block, step) -> exponent, for every step of ``frozen_names``.
    """
    exponents: dict[tuple[int, str], int] = {}
    sent = {Endpoint(INPUT, TOKEN): tokens}
    for block in range(len(build(exponents).blocks)):
        for group_suffix in ("norm", "gate"):
            _freeze_group(build, exponents, sent, block, group_suffix)
    return exponents


def _freeze_group(build, exponents, sent, block: int, suffix: str) -> None:
    """Find the exponents of one group, in order; each needs the ones before it."""
    norm = build(exponents).blocks[block].norm
    steps = frozen_names(norm.scale is not None, norm.bias is not None)
    steps = steps[:-1] if suffix == "norm" else steps[-1:]
    for step in steps:
        model = build(exponents)
        accumulators, values = _evaluate_up_to(model, f"block{block}.{suffix}", sent)
        operation, *operands = _operands(model, block, step, accumulators, values)
        exponents[block, step] = operation(*operands)


def _evaluate_up_to(model: QuantizedS5, last: str, sent: dict):
    """Evaluate the groups up to ``last``, reusing the messages in ``sent``; return its values.

    The messages of ``last`` itself are not kept: its exponents are still to change.
    """
    network = lower(model)
    interpreter = Interpreter(network)
    batch = sent[Endpoint(INPUT, TOKEN)].shape[1]
    state = interpreter.initial_state(batch)
    for group in network.groups:
        if Endpoint(group.name, group.kind.messages[0]) in sent:
            continue
        accumulators = interpreter.accumulate(group, sent)
        _, results = update_sequence(group, accumulators, state.get(group.name, ()))
        values = dict(zip(group.kind.values, results, strict=True))
        if group.name == last:
            return accumulators, values
        sent.update({Endpoint(group.name, name): values[name] for name in group.kind.messages})
    raise KeyError(last)


def _operands(model: QuantizedS5, block: int, step: str, accumulators, values):
    """Return (rule, left, its format, right, its format) of one data-dependent operation."""
    norm: Norm = model.blocks[block].norm
    if step == "total":
        glu = model.blocks[block].glu
        product = values.get("product", accumulators[-2])
        return sum_exponent, product, glu.result, accumulators[-1], _hidden_format(model, block)
    if step == "centred":
        mean = norm.minus_mean
        hidden = _hidden_format(model, block)
        return sum_exponent, accumulators[0], hidden, mean.data, mean.format
    if step == "normalised":
        deviation = norm.inverse_deviation
        return product_exponent, values["centred"], norm.centred, deviation.data, deviation.format
    if step == "scaled":
        scale = norm.scale
        normalised = values["normalised"]
        return product_exponent, normalised, norm.normalised, scale.data, scale.format
    before, source = (
        ("scaled", norm.scaled) if norm.scale is not None else ("normalised", norm.normalised)
    )
    return sum_exponent, values[before], source, norm.bias.data, norm.bias.format


def _hidden_format(model: QuantizedS5, block: int) -> Format:
    return model.encoder.result if block == 0 else model.blocks[block - 1].total
