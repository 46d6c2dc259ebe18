"""Messages with as many fractional bits as their readers' weights want.

A weight counts in integers of its message: the coarser a message's step, the larger its weights. A
row's largest weight sets the grid of the row, so one loud channel with a large weight makes all
other weights of a row coarse, and a quiet one with tiny weights gets integers of few digits. Steps
of messages are powers of two of each neuron's own; giving up some of their resolution is free where
the rounding of weights loses more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s5_to_loihi.machine_code import compiled

#: How many fractional bits of a message may be given up, and how often all of them are tried.
BITS_GIVEN_UP, SWEEPS = 7, 6


def balanced_exponents(
    finest: np.ndarray, variances: np.ndarray, readers: Sequence[tuple[np.ndarray, int]]
) -> np.ndarray:
    """Return fractional bits with which messages and weights lose the least together.

    What is minimised is the sum, over the rows w of all readers, of the expected squared error of
    the row's sum by its variance, with independent messages of variances v and steps s, errors that
    are uniform within a step, and the step ``max |w| s / largest integer`` for the row's weights:
    ``(sum of w^2 s^2 + step^2 sum of v / s^2) / sum of w^2 v``. Each message by itself counts as a
    row too, since the residual connection takes it as it is.

    Args:
        finest: (n,) the most fractional bits that each message's range allows.
        variances: (n,) of the messages.
        readers: weights (out, n) of each, and its largest integer.

    Returns:
        (n,) int64, none above ``finest``.
    """
    weight = np.concatenate([np.abs(weight) for weight, _ in readers]).astype(np.float64)
    largest = np.concatenate([np.full(len(weight), float(one)) for weight, one in readers])
    power = weight**2 @ variances
    heard = power > 0
    weight, largest, power = weight[heard], largest[heard], power[heard]
    alone = np.divide(1, variances, out=np.zeros(len(variances)), where=variances > 0)
    own_cost = (weight**2 / power[:, None]).sum(axis=0) + alone
    return _balance(
        np.ascontiguousarray(weight.T),
        1 / (largest**2 * power),
        own_cost,
        np.asarray(variances, dtype=np.float64),
        np.asarray(finest, dtype=np.int64),
    )


@compiled(nogil=True, error_model="numpy")
def _balance(weight, cost_of_step, own_cost, variances, finest):
    """Change exponents one by one while that helps; weight: (n, rows) magnitudes."""
    messages, rows = weight.shape
    exponents = finest.copy()
    # Of each row: the largest weight in integers of its message, whose it is, and the runner-up.
    first, second = np.zeros(rows), np.zeros(rows)
    owner = np.full(rows, -1)
    spread = np.zeros(rows)
    for j in range(messages):
        step = 2.0 ** -exponents[j]
        for i in range(rows):
            if weight[j, i] > 0:
                spread[i] += variances[j] / step**2
                _enter(first, second, owner, i, j, weight[j, i] * step)
    for _ in range(SWEEPS):
        moved = False
        for j in range(messages):
            (entries,) = np.nonzero(weight[j])
            if len(entries) == 0:
                continue
            before = variances[j] * 4.0 ** exponents[j]
            chosen, least = 0, np.inf
            for given_up in range(BITS_GIVEN_UP + 1):
                step = 2.0 ** (given_up - finest[j])
                after = variances[j] / step**2
                cost = own_cost[j] * step**2
                for row in entries:
                    other = second[row] if owner[row] == j else first[row]
                    widest = max(other, weight[j, row] * step)
                    cost += widest**2 * (spread[row] - before + after) * cost_of_step[row]
                # The sums are rounded: what is as good as another is no reason to move.
                if cost < least * (1 - 1e-9):
                    chosen, least = given_up, cost
            if finest[j] - chosen != exponents[j]:
                moved = True
                exponents[j] = finest[j] - chosen
                for row in entries:
                    spread[row] += variances[j] * 4.0 ** exponents[j] - before
                    _find(weight, exponents, first, second, owner, row, j)
        if not moved:
            break
    return exponents


@compiled(nogil=True)
def _enter(first, second, owner, row, message, value):
    if value > first[row]:
        first[row], second[row], owner[row] = value, first[row], message
    elif value > second[row]:
        second[row] = value


@compiled(nogil=True)
def _find(weight, exponents, first, second, owner, row, changed):
    """Find a row's largest weights again, if the changed one is among them or may be now."""
    value = weight[changed, row] * 2.0 ** -exponents[changed]
    if owner[row] != changed and value <= second[row] and value < first[row]:
        return
    first[row], second[row], owner[row] = 0.0, 0.0, -1
    for j in range(len(weight)):
        if weight[j, row] > 0:
            _enter(first, second, owner, row, j, weight[j, row] * 2.0 ** -exponents[j])
