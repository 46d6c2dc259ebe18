"""What training makes small."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from s5_to_loihi.training import spectra

#: Keeps ratios finite where a clip is silent or cleaned perfectly.
EPSILON = 1e-8


def si_snr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-noise ratio in dB of each clip (N, samples): (N,).

    See ``audio.si_snr``, which this is but for an epsilon.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    clean = clean - clean.mean(-1, keepdim=True)
    power = (clean * clean).sum(-1, keepdim=True) + EPSILON
    target = (estimate * clean).sum(-1, keepdim=True) / power * clean
    noise = estimate - target
    signal = (target * target).sum(-1) + EPSILON
    return 10 * torch.log10(signal / ((noise * noise).sum(-1) + EPSILON))


def denoising_loss(spectrum: Tensor, mask: Tensor, clean: Tensor, spectral: float) -> Tensor:
    """Return minus SI-SNR in dB plus a spectral loss.

    Args:
        spectrum: (T, N, 257) of the noisy clips.
        mask: (T, N, 257) the network's output.
        clean: (N, samples).
        spectral: weight of the squared error of magnitudes, in relation to the clean clip's power.
    """
    estimate = spectra.denoised(spectrum, mask, clean.shape[-1])
    loss = -si_snr(estimate, clean).mean()
    if spectral:
        wanted = spectra.analyse(clean).abs()
        error = (spectrum.abs() * (1 + mask) - wanted).square().sum((0, 2))
        loss = loss + spectral * (error / (wanted.square().sum((0, 2)) + EPSILON)).mean()
    return loss


def distillation_loss(spectrum: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Return how far a mask is from another model's, as power of the sound it makes of a clip.

    It falls to zero where the masks agree: near there its gradients are less noisy than those of
    ``denoising_loss``.

    Args:
        spectrum: (T, N, 257) of the noisy clips.
        mask, wanted: (T, N, 257).
    """
    power = spectrum.abs().square()
    error = (power * (mask - wanted).square()).sum((0, 2))
    return (error / ((power * (1 + wanted).square()).sum((0, 2)) + EPSILON)).mean()


def activity(messages: Mapping[str, Tensor], costs: Mapping[str, Tensor]) -> Tensor:
    """Return what messages cost: an L1 on each neuron's, in its own scale, by its synapses.

    Args:
        messages: name -> (T, N, n).
        costs: name -> (n,) synapses that read each neuron, as shares of all.
    """
    total = torch.zeros((), device=next(iter(messages.values())).device)
    for name, cost in costs.items():
        magnitude = messages[name].abs()
        scale = magnitude.detach().mean((0, 1)) + EPSILON
        total = total + (magnitude.mean((0, 1)) / scale.mean() * cost).sum()
    return total
