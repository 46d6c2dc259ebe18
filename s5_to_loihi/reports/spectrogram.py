"""One picture of what a denoiser did: spectrograms stacked over one time axis."""

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from s5_to_loihi.errors import InputError
from s5_to_loihi.reports.picture import drawn

WINDOW = 512  # samples
COLUMNS = 1000  # about the pixels of the time axis
LOUD = 99.9  # percentile of the levels at the top of the colour scale: a click does not set it
RANGE = 70.0  # dB from there to the bottom

_STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path"}


def draw_spectrograms(
    path: str | os.PathLike, panels: Sequence[tuple[str, npt.NDArray[np.float64]]], rate: int
) -> None:
    """Draw one spectrogram above the other, in one colour scale, as PNG or SVG.

    Args:
        path: the picture, ``.png`` or ``.svg``; replaced as a whole.
        panels: title and float64 (samples,) of each, from top to bottom; full scale is 1.
        rate: samples per second, of all of them.

    Raises:
        InputError: another suffix, no panels, a panel that is not one channel of finite samples,
            or the file cannot be written.
    """
    if not panels:
        raise InputError(str(path), "nothing to draw", "Give at least one recording")
    for title, samples in panels:
        if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
            raise InputError(title, f"got shape {samples.shape}, expected finite (samples,)")
    size = (10.0, 0.7 + 2.1 * len(panels))
    with drawn(path, size, dpi=120, layout="constrained", style=_STYLE) as figure:
        _draw(figure, panels, rate)


def _draw(figure: Figure, panels: Sequence[tuple[str, npt.NDArray[np.float64]]], rate: int) -> None:
    levels = [_levels(samples) for _, samples in panels]
    loudest = max(float(np.percentile(level, LOUD)) for level in levels)
    all_axes = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, level, (title, samples) in zip(all_axes, levels, panels, strict=True):
        image = axes.imshow(
            level,
            extent=(0.0, samples.size / rate, 0.0, rate / 2000.0),
            vmin=loudest - RANGE,
            vmax=loudest,
            cmap="magma",
            origin="lower",
            aspect="auto",
            interpolation="nearest",
        )
        axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    all_axes[0].set_xlim(0.0, max(samples.size for _, samples in panels) / rate)
    all_axes[-1].set_xlabel("time (s)")
    figure.supylabel("frequency (kHz)", fontsize=9)
    figure.colorbar(
        image,
        ax=list(all_axes),
        label="level (dB, full-scale sine = 0)",
        extend="both",
        aspect=12 * len(panels),
        pad=0.01,
    )


def _levels(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Level in dB, (257, at most COLUMNS): Hann windows spread evenly over the recording.

    Not the network's own transform: its boxcar window smears every tone over all frequencies.
    """
    window = np.hanning(WINDOW)
    padded = np.pad(samples, WINDOW // 2)
    starts = np.linspace(0, samples.size, min(COLUMNS, samples.size), endpoint=False).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[starts] * window
    amplitude = np.abs(np.fft.rfft(frames)).T * (2.0 / window.sum())
    return 20.0 * np.log10(np.maximum(amplitude, 1e-9))
