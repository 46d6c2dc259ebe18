"""Sparsity while training: iterative magnitude pruning with straight-through masks.

The smallest weights are masked more and more often, along a cubic schedule (Zhu and Gupta,
arXiv 1710.01878); until the schedule ends, masked weights go on learning behind their masks and may
come back. A total sparsity is distributed over the matrices uniformly or by the
Erdos-Renyi-kernel rule. Real and imaginary parts are pruned one by one, as in Intel's recipes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType

import torch

from s5_to_loihi.checkpoints.magnitude_pruning import erdos_renyi_sparsities
from s5_to_loihi.errors import InputError
from s5_to_loihi.training import devices
from s5_to_loihi.training.modules import Model

#: Of a message's rate, what every synapse costs whether it is used or not: its word of memory.
WORD = 0.25


class Distribution(str, Enum):
    """How a total sparsity becomes one of each matrix."""

    UNIFORM = "uniform"
    ERK = "erk"  #: Erdos-Renyi-kernel: larger matrices are sparser


@dataclass(frozen=True)
class Pruning:
    """What to prune, and when.

    Attributes:
        sparsity: share of zeros in all matrices together at the end, from 0 to below 1.
        distribution: over the matrices.
        start, end: of the schedule, as shares of the steps of the training.
        interval: steps from one mask to the next.
        densities: pattern of matrix names -> share of weights left, instead of what
            ``distribution`` gives it; the last that matches counts.
        straight_through: whether masked weights go on learning until the schedule ends, and may
            come back; else what is masked stays as it was.
        aware_of_chip: rank a weight by its magnitude divided by the square root of what its
            synapse costs: a word of memory, and an operation for each message. Weights of neurons
            that hardly ever send are then kept rather than those of busy ones.
    """

    sparsity: float
    distribution: Distribution = Distribution.ERK
    start: float = 0.05
    end: float = 0.9
    interval: int = 10
    densities: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    straight_through: bool = True
    aware_of_chip: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InputError("sparsity", f"is {self.sparsity} (allowed 0 to below 1)", "Try 0.9")
        if not 0 <= self.start < self.end <= 1:
            what = f"runs from {self.start} to {self.end} of the steps"
            raise InputError(
                "pruning schedule", what, "Give 0 <= start < end <= 1, as 0.05 and 0.9"
            )
        for name, density in self.densities.items():
            if not 0 < density <= 1:
                raise InputError(f"density of {name}", f"is {density}", "Give above 0 and up to 1")

    def share(self, progress: float) -> float:
        """Return which share of the final sparsity holds after ``progress`` (0 to 1)."""
        done = min(1.0, max(0.0, (progress - self.start) / (self.end - self.start)))
        return 1 - (1 - done) ** 3


class Pruner:
    """Masks a model along the schedule; it holds what each matrix ends with."""

    def __init__(self, model: Model, pruning: Pruning):
        self.pruning, self.model = pruning, model
        self.sparsities = final_sparsities(model, pruning)
        #: Name of a matrix -> (inputs,) how often each of its inputs is not zero.
        self.rates: dict[str, torch.Tensor] = {}
        self._set_fixed(not pruning.straight_through)

    def update(self, progress: float) -> None:
        """Mask for ``progress`` (0 to 1) of the training; weights stay masked once it ends."""
        share = self.pruning.share(progress)
        with torch.no_grad():
            for name, weight in self.model.weights():
                score = weight.value.abs()
                if self.pruning.aware_of_chip and name in self.rates:
                    score = score / self._cost(name, score)
                weight.mask.copy_(_largest(score, 1 - share * self.sparsities[name]))
        self._set_fixed(share == 1 or not self.pruning.straight_through)

    def observe(
        self, messages: Mapping[str, torch.Tensor], lengths: torch.Tensor | None = None
    ) -> None:
        """Learn from messages (T, N, n) of a forward pass how often each neuron sends.

        ``lengths`` (N,) are the tokens of each sequence, with padding behind; all T if not given.
        Those of all devices count, so that their masks do not differ.
        """
        found = senders(self.model)
        with torch.no_grad():
            some = messages[next(iter(found.values()))]
            valid = torch.ones(some.shape[:2], dtype=torch.bool, device=some.device)
            if lengths is not None:
                valid = torch.arange(len(some), device=some.device)[:, None] < lengths
            sent = [((messages[one] != 0) & valid[..., None]).sum((0, 1)) for one in found.values()]
            together = devices.total(torch.cat([*sent, valid.sum()[None]]).double())
            rates = together[:-1] / together[-1]
        for name, rate in zip(found, rates.split([len(one) for one in sent]), strict=True):
            before = self.rates.get(name, rate).to(rate.device)
            self.rates[name] = 0.9 * before + 0.1 * rate

    def _cost(self, name: str, score: torch.Tensor) -> torch.Tensor:
        cost = (WORD + self.rates[name].to(score.device)).sqrt()
        return cost.reshape(1, -1, *[1] * (score.ndim - 2))

    def _set_fixed(self, fixed: bool) -> None:
        for _, weight in self.model.weights():
            weight.fixed = fixed


def senders(model: Model) -> dict[str, str]:
    """Return which message each matrix reads, for those whose messages may be zero."""
    found = {"decoder.weight": "hidden"}
    for name, _ in model.weights():
        block, _, kind = name.partition(".")
        if block != "encoder" and block != "decoder":
            message = {"B": "hidden", "C": "g", "W1": "activation", "W2": "activation"}.get(kind)
            if message is not None:
                found[name] = f"{block}.{message}"
    return found


def final_sparsities(model: Model, pruning: Pruning) -> dict[str, float]:
    """Return the share of zeros that each matrix ends with.

    Raises:
        InputError: a pattern of ``densities`` matches no matrix, or what it leaves cannot be had.
    """
    shapes = {name: tuple(weight.value.shape) for name, weight in model.weights()}
    for pattern in pruning.densities:
        if not any(fnmatchcase(name, pattern) for name in shapes):
            raise InputError(
                f"density of {pattern}", "matches no matrix", f"There are {', '.join(shapes)}"
            )
    given = {
        name: 1 - density
        for name in shapes
        for pattern, density in pruning.densities.items()
        if fnmatchcase(name, pattern)
    }
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    left = {name: shape for name, shape in shapes.items() if name not in given}
    zeros = pruning.sparsity * sum(sizes.values())
    zeros -= sum(share * sizes[name] for name, share in given.items())
    share = zeros / max(1, sum(sizes[name] for name in left))
    if left and not 0 <= share < 1:
        raise InputError(
            "densities",
            f"leave a sparsity of {share:.3f} to the other matrices",
            "Change the total sparsity, or give densities for fewer matrices",
        )
    if pruning.distribution is Distribution.UNIFORM:
        return {**dict.fromkeys(left, share), **given}
    return {**(erdos_renyi_sparsities(left, share) if left else {}), **given}


def _largest(score: torch.Tensor, density: float) -> torch.Tensor:
    """Return a mask that keeps the largest scores, equal ones in order."""
    kept = max(1, round(density * score.numel()))
    mask = torch.zeros(score.numel(), dtype=score.dtype, device=score.device)
    order = torch.argsort(score.reshape(-1), descending=True, stable=True)
    mask[order[:kept]] = 1
    return mask.reshape(score.shape)
