"""A neuron's arithmetic on PyTorch tensors: exact integers forward, straight through backward.

The one definition of each neuron's arithmetic (``network/neurons``) runs on ``Whole`` as it runs on
arrays: the forward pass computes the integers that are deployed. They are held in float64, which is
exact up to 53 bits; what needs more is computed in integers beside it (``quantized.py``). Where an
operation rounds, the gradient is that of the same operation without rounding
(Bengio et al., arXiv 1308.3432); where one saturates, it is zero beyond the limit.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5_to_loihi.network.widths import ARITHMETIC_BITS


def straight(exact: Tensor, smooth: Tensor) -> Tensor:
    """Return ``exact`` with the gradient of ``smooth``."""
    if not torch.is_grad_enabled():
        return exact
    # Not smooth + (exact - smooth): that would round.
    return _Straight.apply(exact, smooth)


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def rounded(value: Tensor) -> Tensor:
    """Return the nearest integers, halves to even; the gradient goes straight through."""
    return straight(torch.round(value.detach()), value)


class Whole:
    """Integers in a float64 tensor that compute as arrays of int64 do."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__" or keywords or ufunc not in _UFUNCS:
            return NotImplemented
        return _apply(_UFUNCS[ufunc], *inputs)

    def __array_function__(
        self, function: object, types: object, arguments: tuple[Any, ...], keywords: object
    ) -> Any:
        if function is not np.where or keywords:
            return NotImplemented
        return _apply(torch.where, *arguments)

    def look_up(self, table: Iterable[int]) -> Whole:
        """Return a table's entries; called by ``fixed_point.look_up``."""
        return Whole(_entries(tuple(table), self.tensor.device)[self.tensor.detach().long()])

    def __neg__(self) -> Whole:
        return Whole(-self.tensor)


@functools.lru_cache(maxsize=256)
def _entries(table: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(table, dtype=torch.float64, device=device)


def _operand(value: Any, beside: Tensor) -> Tensor | float:
    if isinstance(value, Whole):
        return value.tensor
    if isinstance(value, np.ndarray) and value.ndim:
        return torch.as_tensor(value.astype(np.float64), device=beside.device)
    return float(value)


def _apply(operation: Callable[..., Tensor], *values: Any) -> Whole:
    beside = next(value.tensor for value in values if isinstance(value, Whole))
    return Whole(operation(*(_operand(value, beside) for value in values)))


def power(bits: Any) -> Tensor | float:
    """Return ``2**bits`` of whole numbers, exactly: a library's exp2 may be off by a digit."""
    if isinstance(bits, float):
        return math.ldexp(1.0, int(bits))
    return _powers(bits.device)[bits.long() + ARITHMETIC_BITS]


@functools.cache
def _powers(device: torch.device) -> Tensor:
    table = [math.ldexp(1.0, bit) for bit in range(-ARITHMETIC_BITS, ARITHMETIC_BITS + 1)]
    return torch.tensor(table, dtype=torch.float64, device=device)


def _shift_left(value: Any, bits: Any) -> Tensor:
    shifted: Tensor = value * power(bits)
    return shifted


def _shift_right(value: Any, bits: Any) -> Tensor:
    smooth = value * power(-bits)
    return straight(torch.floor(smooth.detach()), smooth)


def _masked(value: Any, mask: Any) -> Tensor:
    """Of two truth values, or of integers >= 0 and ``2**k - 1``: what is left of a division."""
    if value.dtype == torch.bool:
        truth: Tensor = value & mask
        return truth
    with torch.no_grad():
        whole = torch.floor(value / (mask + 1)) * (mask + 1)
    left: Tensor = value - whole
    return left


def _minimum(left: Any, right: Any) -> Tensor:
    return torch.where(left <= right, left, right)


def _maximum(left: Any, right: Any) -> Tensor:
    return torch.where(left >= right, left, right)


def _method(operation: Callable[..., Tensor], swapped: bool = False) -> Any:
    def method(self: Whole, other: Any) -> Whole:
        return _apply(operation, other, self) if swapped else _apply(operation, self, other)

    return method


_UFUNCS: dict[Any, Callable[..., Tensor]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.left_shift: _shift_left,
    np.right_shift: _shift_right,
    np.bitwise_and: _masked,
    np.bitwise_or: operator.or_,
    np.minimum: _minimum,
    np.maximum: _maximum,
    np.absolute: torch.abs,
    np.greater: operator.gt,
    np.equal: operator.eq,
}

for _name, _ufunc in (
    ("add", np.add),
    ("sub", np.subtract),
    ("mul", np.multiply),
    ("lshift", np.left_shift),
    ("rshift", np.right_shift),
    ("and", np.bitwise_and),
    ("or", np.bitwise_or),
):
    setattr(Whole, f"__{_name}__", _method(_UFUNCS[_ufunc]))
    setattr(Whole, f"__r{_name}__", _method(_UFUNCS[_ufunc], swapped=True))
for _name, _operation, _swapped in (
    ("gt", operator.gt, False),
    ("lt", operator.gt, True),
    ("eq", operator.eq, False),
):
    setattr(Whole, f"__{_name}__", _method(_operation, _swapped))
