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
from scipy.sparse import csc_matrix, csr_matrix

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
    by_row, by_message = csr_matrix(weight), csc_matrix(weight)
    return _balance(
        (by_row.indptr, by_row.indices, by_row.data),
        (by_message.indptr, by_message.indices, by_message.data),
        1 / (largest**2 * power),
        own_cost,
        np.asarray(variances, dtype=np.float64),
        np.asarray(finest, dtype=np.int64),
    )


@compiled(nogil=True, error_model="numpy")
def _balance(by_row, by_message, cost_of_step, own_cost, variances, finest):
    """Change exponents one by one while that helps; magnitudes of weights as CSR and as CSC."""
    pointers, readers, weight = by_message
    messages, rows = len(finest), len(cost_of_step)
    exponents = finest.copy()
    # Of each row: the largest weight in integers of its message, whose it is, and the runner-up.
    first, second = np.zeros(rows), np.zeros(rows)
    owner = np.full(rows, -1)
    spread = np.zeros(rows)
    for j in range(messages):
        step = 2.0 ** -exponents[j]
        for entry in range(pointers[j], pointers[j + 1]):
            spread[readers[entry]] += variances[j] / step**2
            _enter(first, second, owner, readers[entry], j, weight[entry] * step)
    for _ in range(SWEEPS):
        moved = False
        for j in range(messages):
            entries = range(pointers[j], pointers[j + 1])
            if len(entries) == 0:
                continue
            before = variances[j] * 4.0 ** exponents[j]
            chosen, least = 0, np.inf
            for given_up in range(BITS_GIVEN_UP + 1):
                step = 2.0 ** (given_up - finest[j])
                after = variances[j] / step**2
                cost = own_cost[j] * step**2
                for entry in entries:
                    row = readers[entry]
                    other = second[row] if owner[row] == j else first[row]
                    widest = max(other, weight[entry] * step)
                    cost += widest**2 * (spread[row] - before + after) * cost_of_step[row]
                # The sums are rounded: what is as good as another is no reason to move.
                if cost < least * (1 - 1e-9):
                    chosen, least = given_up, cost
            if finest[j] - chosen != exponents[j]:
                moved = True
                exponents[j] = finest[j] - chosen
                for entry in entries:
                    row = readers[entry]
                    spread[row] += variances[j] * 4.0 ** exponents[j] - before
                    value = weight[entry] * 2.0 ** -exponents[j]
                    # Found again if it is among a row's largest or may be now.
                    if owner[row] == j or value > second[row] or value >= first[row]:
                        _find(by_row, exponents, first, second, owner, row)
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
def _find(by_row, exponents, first, second, owner, row):
    """Find a row's largest weights again."""
    pointers, messages, weight = by_row
    first[row], second[row], owner[row] = 0.0, 0.0, -1
    for entry in range(pointers[row], pointers[row + 1]):
        j = messages[entry]
        _enter(first, second, owner, row, j, weight[entry] * 2.0 ** -exponents[j])
