"""``audio.analyse`` and its kin on batches in PyTorch, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from s5_to_loihi.audio import HOP, MAGNITUDE_OFFSET, WINDOW, frame_count


def analyse(samples: Tensor) -> Tensor:
    """Return spectra (T, N, 257) complex of samples (N, samples); see ``audio.analyse``."""
    frames = frame_count(samples.shape[-1])
    behind = (frames - 1) * HOP + WINDOW // 2 - samples.shape[-1]
    padded = functional.pad(samples, (WINDOW // 2, behind))
    return torch.fft.rfft(padded.unfold(-1, WINDOW, HOP)).transpose(0, 1) / WINDOW


def features(spectrum: Tensor) -> Tensor:
    """Return what the network hears, (T, N, 257)."""
    return spectrum.abs() - MAGNITUDE_OFFSET


def synthesise(spectrum: Tensor, length: int) -> Tensor:
    """Return samples (N, length): overlapping frames are averaged; see ``audio.synthesise``."""
    frames = torch.fft.irfft(spectrum.transpose(0, 1), WINDOW) * WINDOW
    samples = _added(frames) / _added(torch.ones_like(frames[:1]))
    start = WINDOW // 2
    return samples[:, start : start + length]


def _added(frames: Tensor) -> Tensor:
    """Add up frames (N, T, WINDOW), each a hop later than the one before: (N, samples)."""
    parts = WINDOW // HOP
    hops = frames.unflatten(-1, (parts, HOP))
    shifted = [
        functional.pad(hops[:, :, part], (0, 0, part, parts - 1 - part)) for part in range(parts)
    ]
    return torch.stack(shifted).sum(0).flatten(1)


def denoised(spectrum: Tensor, mask: Tensor, length: int) -> Tensor:
    """Apply a network's mask (T, N, 257) and return samples (N, length)."""
    return synthesise(spectrum * (1 + mask), length)
