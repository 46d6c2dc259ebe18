"""The exponents that Intel's model picks from its data, recomputed by its own rule.

The reference adds and multiplies in batch norm and at the residual with "compute_best": the
result's exponent follows from the largest magnitude over the whole tensor, batch and time
included (``fxparray.py``, ``fxp_add`` and ``fxp_mul``). Where an export holds no activations
these exponents can be found again only by running its recorded input through the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import Norm, QuantizedS5, Tensor
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.simulators.interpreter import evaluate_group

#: Width of every result of the reference's "compute_best" rule in exports.
RESULT_BITS = 16

#: The steps of batch norm, in order: operation, and the constant that is its second operand. The
#: first is the result of the step before, of the first step the block's input.
_NORM_STEPS: Mapping[str, tuple[np.ufunc, str]] = {
    "centred": (np.add, "minus_mean"),
    "normalised": (np.multiply, "inverse_deviation"),
    "scaled": (np.multiply, "scale"),
    "shifted": (np.add, "bias"),
}


def best_exponent(operation: np.ufunc, left: Tensor, right: Tensor) -> int:
    """Return the exponent that the reference picks for a sum or a product of two tensors.

    ``bits - 1 - max(0, ceil(log2(largest + 1e-6)))``, in float32 as the reference.
    """
    operands = (to_floats(one.data, one.format).astype(np.float32) for one in (left, right))
    magnitude = np.float32(np.abs(operation(*operands)).max()) + np.float32(1e-6)
    return RESULT_BITS - 1 - max(0, int(np.ceil(np.log2(magnitude))))


def frozen_names(norm: Norm) -> tuple[str, ...]:
    """Return the steps of a block whose exponents depend on the data, in order."""
    steps = (step for step, (_, constant) in _NORM_STEPS.items() if getattr(norm, constant))
    return (*steps, "total")


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
    for index, block in enumerate(build(exponents).blocks):
        for step in frozen_names(block.norm):
            # Each step needs the exponents of the ones before it.
            exponents[index, step] = _step_exponent(build(exponents), index, step, sent)
    return exponents


def _step_exponent(
    model: QuantizedS5, index: int, step: str, sent: dict[Endpoint, np.ndarray]
) -> int:
    """Return the exponent of one step of a block; ``sent`` as in ``_evaluate_up_to``."""
    network, norm = lower(model), model.blocks[index].norm
    group = network.group(f"block{index}.{'gate' if step == 'total' else 'norm'}")
    values = _evaluate_up_to(network, group.name, sent)

    def message(endpoint: Endpoint) -> Tensor:
        return Tensor(sent[endpoint], network.message_format(endpoint))

    def value(name: str) -> Tensor:
        return Tensor(values[name], group.formats[name])

    before = Endpoint(f"block{index - 1}.gate", "hidden")
    hidden = message(before if index else Endpoint("encoder", "activation"))
    if step == "total":
        activation = Endpoint(f"block{index}.output", "activation")
        product = value("product") if "product" in values else message(activation)
        return best_exponent(np.add, product, hidden)
    operation, constant = _NORM_STEPS[step]
    steps = list(_NORM_STEPS)
    left = hidden if step == steps[0] else value(steps[steps.index(step) - 1])
    return best_exponent(operation, left, getattr(norm, constant))


def _evaluate_up_to(
    network: Network, last: str, sent: dict[Endpoint, np.ndarray]
) -> dict[str, np.ndarray]:
    """Evaluate the groups up to ``last`` and return its values by name.

    Messages in ``sent`` are not computed again, new ones are added; those of ``last`` itself are
    not: its exponents are still to change.
    """
    for group in network.groups:
        if Endpoint(group.name, group.kind.messages[0]) in sent:
            continue
        results = evaluate_group(group, network.synapses, sent)
        values = dict(zip(group.kind.values, results, strict=True))
        if group.name == last:
            return values
        sent.update({Endpoint(group.name, name): values[name] for name in group.kind.messages})
    raise KeyError(last)
