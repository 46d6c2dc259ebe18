"""Pruning of a finished model in one shot, with second-order information from calibration data.

For a row w and its inputs x with second moments K, other weights v change the row's sum by an
expected ``(v - w)^T K (v - w)``. Weights go one by one, each time the one that costs the least
after all others of its row have made up for it: that is ``w_j^2 / [K^-1]_jj``, and the others
change by ``-w_j / [K^-1]_jj`` times the j-th column of the inverse (the optimal brain surgeon,
Hassibi and Stork 1993; row by row in Frantar and Alistarh, arXiv 2208.11580). Of all rows of a
matrix, those weights go that cost the least.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.float_model import Affine, FeedForwardBlock, S5Block, S5Model, captured
from s5_to_loihi.machine_code import compiled

#: The ridge on the second moments, relative to their diagonal: what few data do not tell.
RIDGE = 0.1
#: Longer rows would take minutes each.
LONGEST_ROW = 4096


def prune_model(
    model: S5Model,
    tokens: np.ndarray,
    sparsity: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> S5Model:
    """Remove the same share of the weights of every matrix, and let the rest make up for them.

    Matrices are pruned in the order of the model, each on what those before it leave of the
    calibration data. Real and imaginary parts count as weights of their own; weights that are zero
    stay zero, and count. The time grows with the outputs and the cube of the inputs of a matrix.

    Args:
        model: causal, with blocks of the kind ``S5Block``.
        tokens: (T, F) or (T, N, F) floats, some thousands of them.
        sparsity: share of zeros in each matrix, from 0 to below 1.
        on_progress: called with matrices done and in all.

    Raises:
        InputError: the share is none.
        CheckpointError: the model is of another kind, or a matrix too wide.
    """
    if not 0 <= sparsity < 1:
        raise InputError("sparsity", f"is {sparsity} (allowed 0 to below 1)", "Try 0.6")
    for index, block in enumerate(model.blocks):
        if isinstance(block, FeedForwardBlock) or block.ssm.bidirectional_c is not None:
            raise CheckpointError(
                f"{model.name}, block{index}",
                "has maps that pruning in one shot does not know",
                "Prune while you train",
            )
    tokens = np.asarray(tokens, dtype=np.float64).reshape(len(tokens), -1, tokens.shape[-1])
    steps = 2 + len(model.blocks) * 3
    if model.encoder is not None:
        model = replace(model, encoder=_affine(model.encoder, tokens, sparsity))
    on_progress(1, steps)
    for index in range(len(model.blocks)):
        for part, prune in enumerate((_prune_b, _prune_c, _prune_gates)):
            values = captured(model, tokens)
            found = {name: values[f"block{index}.{name}"] for name in ("u", "g", "activation")}
            blocks = list(model.blocks)
            block = blocks[index]
            assert isinstance(block, S5Block)
            blocks[index] = prune(block, found, sparsity)
            model = replace(model, blocks=tuple(blocks))
            on_progress(2 + 3 * index + part, steps)
    if model.decoder is not None:
        hidden = captured(model, tokens)["decoder.hidden"]
        model = replace(model, decoder=_affine(model.decoder, hidden, sparsity))
    on_progress(steps, steps)
    return model


def _prune_b(block: S5Block, values: dict[str, np.ndarray], sparsity: float) -> S5Block:
    count = len(block.ssm.b)
    both = prune_rows(np.concatenate([block.ssm.b.real, block.ssm.b.imag]), values["u"], sparsity)
    return replace(block, ssm=replace(block.ssm, b=both[:count] + 1j * both[count:]))


def _prune_c(block: S5Block, values: dict[str, np.ndarray], sparsity: float) -> S5Block:
    count, g = block.ssm.c.shape[1], values["g"]
    inputs = np.concatenate([g.real, -g.imag], axis=-1)
    both = prune_rows(np.concatenate([block.ssm.c.real, block.ssm.c.imag], 1), inputs, sparsity)
    return replace(block, ssm=replace(block.ssm, c=both[:, :count] + 1j * both[:, count:]))


def _prune_gates(block: S5Block, values: dict[str, np.ndarray], sparsity: float) -> S5Block:
    value, gate = (
        None if affine is None else _affine(affine, values["activation"], sparsity)
        for affine in (block.value, block.gate)
    )
    return replace(block, value=value, gate=gate)


def _affine(affine: Affine, inputs: np.ndarray, sparsity: float) -> Affine:
    """Prune an affine map; its bias stays, and makes up for what is lost as weights do."""
    ones = np.ones((*inputs.shape[:-1], 1))
    weight = np.concatenate([affine.weight, affine.bias[:, None]], axis=1)
    found = prune_rows(weight, np.concatenate([inputs, ones], axis=-1), sparsity, kept=1)
    return Affine(found[:, :-1], found[:, -1])


def prune_rows(
    weight: np.ndarray, inputs: np.ndarray, sparsity: float, kept: int = 0
) -> np.ndarray:
    """Return a matrix (out, in) with a share of zeros, for inputs (..., in).

    Args:
        weight: floats.
        inputs: floats that enter it.
        sparsity: share of zeros among the weights that may go.
        kept: how many of the last columns stay.

    Raises:
        CheckpointError: rows are too long.
    """
    rows, columns = weight.shape
    if columns > LONGEST_ROW:
        what = f"{columns} inputs (limit {LONGEST_ROW})"
        raise CheckpointError("a matrix", f"has {what}", "Prune while you train")
    inputs = inputs.reshape(-1, columns)
    moments = inputs.T @ inputs / len(inputs)
    diagonal = np.diag(moments)
    ridge = RIDGE * diagonal + 1e-6 * diagonal.mean() + np.finfo(float).tiny
    inverse = np.linalg.inv(moments + np.diag(ridge))
    removable = columns - kept
    everything = np.full(rows, removable)
    costs = np.concatenate(
        [cost for _, cost in _on_all_cores(weight, inverse, everything, removable)]
    )
    # A row's weights go in its own order: none is cheaper than those that went before it.
    ranked = np.argsort(np.maximum.accumulate(costs, axis=1), axis=None, kind="stable")
    going = ranked[: round(sparsity * rows * removable)] // removable
    counts = np.bincount(going, minlength=rows)
    return np.concatenate([part for part, _ in _on_all_cores(weight, inverse, counts, removable)])


def _on_all_cores(
    weight: np.ndarray, inverse: np.ndarray, counts: np.ndarray, removable: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what ``_remove`` does to all rows, a block of them for each core."""
    cores = max(1, min(len(weight), os.cpu_count() or 1))
    blocks = np.array_split(np.ascontiguousarray(weight, dtype=np.float64), cores)
    with ThreadPoolExecutor(cores) as threads:
        return list(
            threads.map(
                lambda block, count: _remove(block, inverse, count, removable),
                blocks,
                np.array_split(counts, cores),
            )
        )


@compiled(nogil=True, error_model="numpy")
def _remove(weight, inverse, counts, removable):
    """Remove as many weights of each row as ``counts`` say.

    Returns:
        ``(weights, costs of the removals in their order (rows, removable))``.
    """
    weight = weight.copy()
    costs = np.zeros((len(weight), removable))
    for row in range(len(weight)):
        left = inverse.copy()
        alive = np.ones(removable, dtype=np.bool_)
        for count in range(counts[row]):
            chosen, least = -1, np.inf
            for j in range(removable):
                cost = weight[row, j] ** 2 / left[j, j]
                if alive[j] and cost < least:
                    chosen, least = j, cost
            costs[row, count] = least
            alive[chosen] = False
            column = left[chosen].copy()
            factor = 1 / column[chosen]
            weight[row] -= weight[row, chosen] * factor * column
            for i in range(len(left)):
                left[i] -= column[i] * factor * column
            # What is gone changes no more.
            left[chosen, :] = 0.0
            left[:, chosen] = 0.0
            left[chosen, chosen] = 1.0
            for j in range(removable):
                if not alive[j]:
                    weight[row, j] = 0.0
    return weight, costs
