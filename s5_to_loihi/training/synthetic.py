"""Synthetic noisy speech: tones that are shaped like a voice, and noises of many kinds.

Nobody's recordings: everything follows from a seed. A voice is a glottal tone with a wandering
pitch and formants that jump from sound to sound, hisses, and pauses; noises are coloured noise,
hum, babble of such voices, clicks, and gusts. (Formants: Peterson and Barney 1952's ranges.)
Generated in batches, on a GPU as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from s5_to_loihi.audio import RATE

#: Of the tracks that pitch, formants and loudness follow.
CONTROL_RATE = 100
HARMONICS = 28
#: Kinds of sounds: voiced, hissed, silent; and how likely each is.
SOUNDS = (0.62, 0.2, 0.18)
#: Lowest and highest centre in Hz of each formant, and its bandwidth.
FORMANTS = ((280.0, 850.0, 90.0), (800.0, 2300.0, 130.0), (2300.0, 3300.0, 200.0))
#: Ranges in dB of the ratio of voice to noise, and of the mixture's level to full scale.
SNRS, LEVELS = (-5.0, 15.0), (-35.0, -18.0)


@dataclass(frozen=True)
class Clips:
    """Pairs of clips.

    Attributes:
        noisy, clean: (N, samples) float32 at ``audio.RATE``, within full scale.
        snr: (N,) dB.
    """

    noisy: Tensor
    clean: Tensor
    snr: Tensor


def clips(count: int, seconds: float, seed: int, device: str = "cpu") -> Clips:
    """Return pairs that follow from the seed (and from the kind of device)."""
    random = torch.Generator(device).manual_seed(seed)
    samples = round(seconds * RATE)
    return mix(voices(count, samples, random), noises(count, samples, random), random)


def mix(speech: Tensor, other: Tensor, random: torch.Generator) -> Clips:
    """Mix speech with noises (N, samples) at random ratios and levels."""
    count = len(speech)
    snr = _uniform((count, 1), *SNRS, random)
    level = _uniform((count, 1), *LEVELS, random)
    clean, noise = _level(speech), _level(other) * 10 ** (-snr / 20)
    noisy = clean + noise
    gain = 10 ** (level / 20) / noisy.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
    gain = torch.minimum(gain, 0.99 / noisy.abs().amax(-1, keepdim=True).clamp_min(1e-6))
    gain = torch.minimum(gain, 0.99 / clean.abs().amax(-1, keepdim=True).clamp_min(1e-6))
    return Clips(noisy * gain, clean * gain, snr[:, 0])


def voices(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Return voices alone, (N, samples)."""
    device, frames = random.device, math.ceil(samples / RATE * CONTROL_RATE) + 1
    kind, position = _sounds(count, frames, random)
    # One formant triple, loudness and hiss for each sound; tracks glide from one to the next.
    number = position.amax() + 1
    tracks = []
    for low, high, _ in FORMANTS:
        tracks.append(_uniform((count, int(number)), low, high, random).gather(1, position))
    centres = _smooth(torch.stack(tracks, 1), 5)
    loudness = 10 ** (_uniform((count, int(number)), -14, 0, random) / 20)
    loudness = loudness.gather(1, position)
    base = _uniform((count, 1), math.log(80), math.log(260), random).exp()
    wander = _smooth(torch.randn(count, 1, frames, generator=random, device=device), 31)[:, 0]
    pitch = base * torch.exp2(2.2 * wander)
    voiced = _smooth(((kind == 0) * loudness)[:, None], 3)
    hissed = _smooth(((kind == 1) * loudness)[:, None], 3)[:, 0]
    result = _harmonics(pitch, centres, voiced, samples, random)
    result = result + 0.25 * _hiss(hissed, samples, random)
    breath = torch.randn(count, samples, generator=random, device=device)
    return result + 0.003 * breath * _stretch(voiced, samples)[:, 0]


def _sounds(count: int, frames: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what kind of sound each frame has and the number of the sound, (N, frames)."""
    device = random.device
    # A sound ends in a frame with a probability that gives 110 ms on average.
    ends = torch.rand(count, frames, generator=random, device=device) < 1 / 11
    position = ends.long().cumsum(1)
    shares = torch.tensor(SOUNDS, device=device).cumsum(0)[:-1]
    drawn = torch.rand(count, frames + 1, generator=random, device=device)
    kinds = torch.bucketize(drawn, shares)
    return kinds.gather(1, position), position


def _harmonics(
    pitch: Tensor, centres: Tensor, voiced: Tensor, samples: int, random: torch.Generator
) -> Tensor:
    phase = 2 * math.pi * torch.cumsum(_stretch(pitch[:, None], samples)[:, 0] / RATE, 1).double()
    tilt = _uniform((len(pitch), 1), 0.8, 1.6, random)
    result = torch.zeros_like(phase, dtype=torch.float32)
    for harmonic in range(1, HARMONICS + 1):
        frequency = harmonic * pitch
        shape = 0.02
        for index, (_, _, bandwidth) in enumerate(FORMANTS):
            distance = (frequency - centres[:, index]) / bandwidth
            shape = shape + 0.6**index / (1 + distance**2)
        amplitude = shape * harmonic**-tilt * (frequency < 0.48 * RATE)
        amplitude = _stretch(amplitude[:, None] * voiced, samples)[:, 0]
        result += amplitude * torch.sin((harmonic * phase).remainder(2 * math.pi)).float()
    return result


def _hiss(hissed: Tensor, samples: int, random: torch.Generator) -> Tensor:
    """Return noise around a centre of the hisses of each voice."""
    white = torch.randn(len(hissed), samples, generator=random, device=random.device)
    centre = _uniform((len(hissed), 1), 2500, 6500, random)
    frequency = torch.fft.rfftfreq(samples, 1 / RATE, device=random.device)
    shape = 1 / (1 + ((frequency - centre) / 1200) ** 2)
    return _stretch(hissed[:, None], samples)[:, 0] * _filtered(white, shape)


def noises(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Return noises, (N, samples): each a sum of two kinds."""
    device = random.device
    kinds = torch.stack(
        [
            _level(make(count, samples, random))
            for make in (_coloured, _coloured, _gusts, _hum, _babble, _clicks)
        ]
    )
    first = torch.randint(0, len(kinds), (count,), generator=random, device=device)
    second = torch.randint(0, len(kinds), (count,), generator=random, device=device)
    rows = torch.arange(count, device=device)
    share = _uniform((count, 1), 0, 0.7, random)
    return kinds[first, rows] + share * kinds[second, rows]


def _coloured(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Noise with a random tilt and a few bumps in its spectrum."""
    white = torch.randn(count, samples, generator=random, device=random.device)
    frequency = torch.fft.rfftfreq(samples, 1 / RATE, device=random.device).clamp_min(30)
    tilt = _uniform((count, 1), 0, 1.3, random)
    shape = (frequency / 1000) ** -tilt
    for _ in range(3):
        centre = _uniform((count, 1), 100, 7000, random)
        width = _uniform((count, 1), 100, 1500, random)
        height = _uniform((count, 1), 0, 3, random)
        shape = shape * (1 + height / (1 + ((frequency - centre) / width) ** 2))
    return _filtered(white, shape)


def _gusts(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Coloured noise that comes and goes."""
    frames = math.ceil(samples / RATE * CONTROL_RATE) + 1
    wander = torch.randn(count, 1, frames, generator=random, device=random.device)
    loudness = 10 ** (_smooth(wander, 41) * 3)
    return _coloured(count, samples, random) * _stretch(loudness, samples)[:, 0]


def _hum(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Machines: steady harmonics, with a little noise."""
    time = torch.arange(samples, device=random.device) / RATE
    base = _uniform((count, 1), 50, 500, random)
    result = 0.05 * _coloured(count, samples, random)
    for harmonic in range(1, 9):
        strength = _uniform((count, 1), 0, 1, random) / harmonic
        phase = _uniform((count, 1), 0, 2 * math.pi, random)
        result += strength * torch.sin(2 * math.pi * harmonic * base * time + phase)
    return result


def _babble(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Other voices: each the sum of four, taken in other orders from as many as there are."""
    one = _level(voices(max(4, count // 4), samples, random))
    rows = torch.randint(0, len(one), (count, 4), generator=random, device=random.device)
    shifts = torch.randint(0, samples, (count,), generator=random, device=random.device)
    ahead = (torch.arange(samples, device=random.device) + shifts[:, None]) % samples
    return one[rows].sum(1).gather(1, ahead)


def _clicks(count: int, samples: int, random: torch.Generator) -> Tensor:
    """Short bursts of coloured noise."""
    device = random.device
    starts = torch.rand(count, 1, samples, generator=random, device=device) < 6 / RATE
    kernel = torch.exp(-torch.arange(1600, device=device) / 250).flip(0)[None, None]
    envelope = functional.conv1d(functional.pad(starts.float(), (1599, 0)), kernel)[:, 0]
    return (envelope + 0.01) * _coloured(count, samples, random)


def _filtered(samples: Tensor, shape: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(samples) * shape, samples.shape[-1])


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random, device=random.device)


def _smooth(track: Tensor, frames: int) -> Tensor:
    """Return moving averages of a track (N, channels, frames)."""
    edges = functional.pad(track.float(), (frames // 2, frames // 2), mode="replicate")
    return functional.avg_pool1d(edges, frames, 1)


def _stretch(track: Tensor, samples: int) -> Tensor:
    """Return a track (N, channels, frames) at the rate of the samples."""
    wanted = (track.shape[-1] - 1) * RATE // CONTROL_RATE
    longer = functional.interpolate(track.float(), wanted + 1, mode="linear", align_corners=True)
    return longer[..., :samples]


def _level(samples: Tensor) -> Tensor:
    """Return clips of the same power."""
    return samples / samples.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
