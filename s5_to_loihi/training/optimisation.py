"""One optimiser for float models and for networks of integers, and its learning rate over time."""

from __future__ import annotations

import math

import torch
from torch import nn

#: What the state-space model's own parameters learn at, relative to weights: they are sensitive
#: (Smith et al., arXiv 2208.04933, appendix G.2.1 has a factor of 2.5 to 4).
STATE_SPACE_SHARE = 0.3
#: Gradients are scaled down to this norm.
LARGEST_GRADIENT = 1.0


def optimiser(module: nn.Module, rate: float, decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW: weights decay, state-space parameters learn more slowly."""
    slow: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        last = name.rpartition(".")[2]
        if last in ("log_decay", "frequency", "log_step"):
            slow.append(parameter)
        else:
            (weights if last == "value" else others).append(parameter)
    groups = [
        {"params": slow, "lr": rate * STATE_SPACE_SHARE, "weight_decay": 0.0},
        {"params": weights, "lr": rate, "weight_decay": decay},
        {"params": others, "lr": rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], foreach=True)


def rate_share(progress: float, warm_up: float = 0.05) -> float:
    """Return the learning rate after ``progress`` (0 to 1), as a share: up, then half a cosine."""
    if progress < warm_up:
        return max(progress / warm_up, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def clip_gradients(module: nn.Module) -> torch.Tensor:
    """Scale gradients down to ``LARGEST_GRADIENT`` and return their norm before."""
    return nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT, foreach=True)
