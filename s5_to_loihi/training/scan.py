"""A diagonal linear recurrence over a whole sequence at once: a parallel scan.

``x[t] = a x[t-1] + drive[t]``. The eigenvalues do not change over time, so the associative scan
(Smith et al., arXiv 2208.04933, appendix H) needs no scan of the eigenvalues: after ``k`` rounds
each state holds the sum of the last ``2**k`` drives, and ``x += a**(2**k) x[t - 2**k]`` doubles
that. ``log2 T`` rounds do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scan(a: Tensor, drive: Tensor, state: Tensor | None = None) -> Tensor:
    """Return all states of a recurrence.

    Args:
        a: (P,) complex eigenvalues.
        drive: (T, ..., P) complex.
        state: (..., P) the state before the first token; zero if not given.

    Returns:
        (T, ..., P) complex; the last entry is the state to go on from.
    """
    if state is not None:
        drive = torch.cat([(drive[0] + a * state)[None], drive[1:]])
    states: Tensor = _Scan.apply(a, drive)
    return states


def _doubling(a: Tensor, drive: Tensor) -> Tensor:
    states, power, reach = drive, a, 1
    while reach < len(drive):
        longer = torch.empty_like(states)
        longer[:reach] = states[:reach]
        # In one pass: on whole sequences, memory decides.
        torch.addcmul(states[reach:], power, states[:-reach], out=longer[reach:])
        states = longer
        power, reach = power * power, 2 * reach
    return states


class _Scan(torch.autograd.Function):
    """The gradient of a recurrence is one too, from the last token to the first."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, drive: Tensor) -> Tensor:
        states = _doubling(a, drive)
        ctx.save_for_backward(a, states)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        a, states = ctx.saved_tensors
        adjoint = _doubling(a.conj(), gradients[0].flip(0)).flip(0)
        products = states[:-1].conj() * adjoint[1:]
        return products.reshape(-1, a.shape[0]).sum(0), adjoint
