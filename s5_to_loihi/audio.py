"""Sound in, tokens out, sound back: the front end of a streaming denoiser.

The network hears magnitudes and answers with a mask; the phase goes round it:

    samples --analyse--> S --features--> |S| - 0.0007 --network--> m
                         |                                         |
                         +--------------apply_mask: S (1 + m)------+--synthesise--> samples

The transform is the one IntelLabs/SparseRNNs trains with (Apache-2.0, commit b623aea,
``train_helpers.py``: ``stft_splitter``, ``stft_mixer``). Everything here is float64; the rounding
of features to a token's format belongs to ``fixed_point``.
"""

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.io import wavfile

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.riff import WavHeader, read_wav_header
from s5_to_loihi.files.writing import replacing

Samples = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

# Source: IntelLabs/SparseRNNs b623aea, train_helpers.py (stft_splitter) and fxprun.py
# (stft_mag_mean: about the mean magnitude over its training set).
RATE = 16000  # Hz
WINDOW = 512  # samples; boxcar
HOP = 128  # samples, 8 ms: one token
BINS = WINDOW // 2 + 1
MAGNITUDE_OFFSET = 0.0007

# What a file may be. Beyond these it is more likely a broken header than a recording.
MIN_RATE, MAX_RATE = 8_000, 384_000  # Hz
MAX_CHANNELS = 8
MAX_SECONDS = 1800.0  # the spectrum of more would not fit in the memory of a small machine
MAX_FILE_BYTES = 2**32  # of a RIFF file: its size field has 32 bits; RF64 may have more

_FULL_SCALE = 32768.0  # of 16-bit PCM


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording.

    Attributes:
        samples: float64 (channels, samples); full scale is 1.
        rate: samples per second.
        notes: what was done to the samples on the way here, for the user to read.
    """

    samples: Samples
    rate: int
    notes: tuple[str, ...] = ()


def read_wav(path: str | os.PathLike, max_seconds: float = MAX_SECONDS) -> Audio:
    """Read a wav file: PCM of 8, 16, 24 or 32 bits, float, A-law or mu-law; RIFF, RIFX or RF64.

    Integers are divided by their full scale, so every sample is in [-1, 1]. Float samples beyond
    that range are all divided by the peak, which loses nothing, and a note says so. So do notes
    of more than one channel, and of a header that does not cover the file or does not know its end.

    Args:
        path: the file.
        max_seconds: longest recording accepted.

    Raises:
        InputError: the file is missing, empty, damaged, contradicts itself or is no wav file; it
            holds no samples, NaN or infinity; or its rate, channels or length are out of range.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(str(path), "no such file", "Check the path")
        if not path.is_file():
            raise InputError(str(path), "is a directory or a device", "Give a wav file")
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                what = f"got {size} bytes, limit {MAX_FILE_BYTES}"
                raise InputError(str(path), what, "Cut it into shorter files")
            header = read_wav_header(path, file, size)
            _check_header(path, header, max_seconds)
            samples = _decoded(path, file, header)
    except OSError as error:
        raise InputError(
            str(path), f"cannot be read ({error.strerror})", "Check the path and its rights"
        ) from error
    _check_finite(str(path), samples)
    notes = header.notes
    peak = float(np.max(np.abs(samples)))
    if peak > 1.0:
        samples = samples / peak
        notes += (f"peak {peak:g} beyond full scale: all divided by it",)
    if header.channels > 1:
        notes += (f"{header.channels} channels: each is a sequence of its own",)
    return Audio(samples, header.rate, notes)


def _check_header(path: Path, header: WavHeader, max_seconds: float) -> None:
    if not MIN_RATE <= header.rate <= MAX_RATE:
        raise InputError(
            str(path),
            f"the sample rate is {header.rate} Hz, outside {MIN_RATE} to {MAX_RATE} Hz",
            "Check the file's header, or resample the file",
        )
    if header.channels > MAX_CHANNELS:
        raise InputError(
            str(path), f"got {header.channels} channels, limit {MAX_CHANNELS}", "Split the file"
        )
    if header.frames == 0:
        raise InputError(str(path), "the file holds no samples", "Record or export it again")
    if header.frames > max_seconds * header.rate:
        raise InputError(
            str(path),
            f"the recording lasts {header.frames / header.rate:.1f} s, limit {max_seconds:g} s",
            "Cut it into shorter files",
        )


def _decoded(path: Path, file: BinaryIO, header: WavHeader) -> Samples:
    """Return all samples (channels, samples), integers divided by their full scale."""
    import soundfile  # loads libsndfile; only sound needs it

    file.seek(0)
    # By its descriptor: what was checked is what is read, whatever the file is called.
    source: int | io.BytesIO = file.fileno()
    if header.zero_size is not None:
        # libsndfile reads to the end what it knows as an unknown size, which 0 is not.
        content = bytearray(file.read())
        content[header.zero_size : header.zero_size + 4] = b"\xff\xff\xff\xff"
        source = io.BytesIO(content)
    try:
        with soundfile.SoundFile(source, closefd=False) as sound:
            found = sound.samplerate, sound.channels
            samples = sound.read(dtype="float64", always_2d=True)
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise InputError(
            str(path), f"the wav file is damaged ({error})", "Export it again as 16-bit PCM"
        ) from error
    if (*found, len(samples)) != (header.rate, header.channels, header.frames):
        raise InputError(
            str(path),
            f"the wav file is damaged: it decodes to {len(samples)} frames of {found[1]} channels"
            f" at {found[0]} Hz, and its header says {header.frames}, {header.channels} and"
            f" {header.rate}",
            "Export it again as 16-bit PCM",
        )
    return np.ascontiguousarray(samples.T)


def resample(audio: Audio, rate: int = RATE) -> Audio:
    """Change the sample rate with a polyphase filter; the same audio if it has that rate already.

    The filter may overshoot full scale a little. A note names both rates.
    """
    from scipy import signal  # takes half a second to import; only sound needs it

    if audio.rate == rate:
        return audio
    ratio = Fraction(rate, audio.rate)
    samples = signal.resample_poly(audio.samples, ratio.numerator, ratio.denominator, axis=1)
    return Audio(samples, rate, (*audio.notes, f"resampled from {audio.rate} Hz to {rate} Hz"))


def frame_count(length: int) -> int:
    """The number of frames (tokens) that ``analyse`` makes of ``length`` samples."""
    return -(-length // HOP) + 1


def analyse(samples: Samples) -> Spectrum:
    """Short-time Fourier transform of one channel at ``RATE``.

    Frame k covers the samples 128 k - 256 to 128 k + 255, zeros outside the recording, and is
    divided by 512 ('spectrum' scaling): a sine of amplitude a in the middle of a bin has
    magnitude a / 2.

    Args:
        samples: float64 (samples,), at least one.

    Returns:
        complex128 (frame_count(samples), 257).

    Raises:
        InputError: not one channel, no samples, NaN or infinity.
    """
    from scipy import signal  # takes half a second to import; only sound needs it

    _check_channel("samples", samples)
    # scipy shrinks its window to a signal shorter than that; the zeros' frames are dropped again.
    padded = np.pad(samples, (0, max(0, WINDOW - samples.size)))
    _, _, spectrum = signal.stft(padded, window="boxcar", nperseg=WINDOW, noverlap=WINDOW - HOP)
    return spectrum.T[: frame_count(samples.size)]


def features(spectrum: Spectrum) -> npt.NDArray[np.float64]:
    """What the network hears, float64 (frames, 257): the magnitude less its mean in training."""
    return np.abs(spectrum) - MAGNITUDE_OFFSET


def apply_mask(spectrum: Spectrum, mask: npt.NDArray[np.float64]) -> Spectrum:
    """Multiply every magnitude by 1 + mask and keep the noisy phase.

    The mask is not limited: where 1 + mask < 0 the phase turns by half a turn, as in training.

    Args:
        spectrum: complex128 (frames, 257).
        mask: float64 (frames, 257), the network's output; -1 silences, 0 leaves.

    Raises:
        InputError: the shapes differ.
    """
    if spectrum.shape != mask.shape:
        raise InputError("mask", f"got shape {mask.shape}, the spectrum has {spectrum.shape}")
    return spectrum * (1.0 + mask)


def synthesise(spectrum: Spectrum, length: int) -> Samples:
    """Inverse of ``analyse``: overlapping frames are averaged.

    Args:
        spectrum: complex128 (frame_count(length), 257).
        length: number of samples wanted.

    Returns:
        float64 (length,); full scale may be exceeded.

    Raises:
        InputError: the spectrum does not belong to so many samples.
    """
    from scipy import signal  # takes half a second to import; only sound needs it

    expected = (frame_count(length), BINS)
    if length < 1 or spectrum.shape != expected:
        raise InputError(
            "spectrum", f"got shape {spectrum.shape}, {length} samples need {expected}"
        )
    _, samples = signal.istft(spectrum.T, window="boxcar", nperseg=WINDOW, noverlap=WINDOW - HOP)
    return samples[:length]


def analyse_frame(samples: Samples) -> Spectrum:
    """Transform one frame (512,) as ``analyse`` does all of them: complex128 (257,)."""
    return np.asarray(scipy.fft.rfft(samples)) / WINDOW


def synthesise_frame(spectrum: Spectrum) -> Samples:
    """Return what a frame (257,) adds to the samples, float64 (512,); see ``synthesise``."""
    return np.asarray(scipy.fft.irfft(spectrum, WINDOW)) * WINDOW


def to_pcm16(samples: Samples) -> tuple[npt.NDArray[np.int16], int]:
    """Round samples to the nearest 1/32768 and saturate; return them and how many saturated."""
    scaled = np.rint(samples * _FULL_SCALE)
    limits = np.iinfo(np.int16)
    saturated = np.clip(scaled, limits.min, limits.max)
    return saturated.astype(np.int16), int(np.count_nonzero(saturated != scaled))


def write_wav(path: str | os.PathLike, samples: Samples, rate: int = RATE) -> int:
    """Write 16-bit PCM; the file appears whole or not at all.

    Args:
        path: the file; its directory must exist.
        samples: float64 (channels, samples), rounded to the nearest 1/32768 and saturated.
        rate: samples per second.

    Returns:
        The number of samples that saturated.

    Raises:
        InputError: the samples have another shape, more than 8 channels, NaN or infinity; or
            the file cannot be written.
    """
    if samples.ndim != 2 or 0 in samples.shape or samples.shape[0] > MAX_CHANNELS:
        raise InputError(
            str(path), f"got samples of shape {samples.shape}, expected (channels, samples)"
        )
    _check_finite(str(path), samples)
    rounded, saturated = to_pcm16(samples)
    with replacing(path) as temporary:
        wavfile.write(temporary, rate, rounded.T)
    return saturated


def si_snr(estimate: Samples, clean: Samples, epsilon: float = 0.0) -> float:
    """Scale-invariant signal-to-noise ratio of one channel, in dB.

    With both means removed, s = (<e, c> / <c, c>) c and the ratio is 10 log10(|s|^2 / |e - s|^2).
    (Le Roux et al., "SDR - half-baked or well done?", 2019. The training code computes it with
    the two arguments exchanged.) With an epsilon E it is 10 log10(|s|^2 / (|e - s|^2 + E) + E).

    Args:
        estimate: float64 (samples,).
        clean: float64 (samples,), the reference.
        epsilon: keeps the ratio finite.

    Returns:
        dB; without epsilon inf for a perfect estimate, -inf for one that has nothing of ``clean``.

    Raises:
        InputError: ``clean`` is silent, the lengths differ, or as for ``analyse``.
    """
    _check_channel("estimate", estimate)
    _check_channel("clean", clean)
    if estimate.shape != clean.shape:
        raise InputError(
            "SI-SNR", f"the estimate has {estimate.size} samples, the reference {clean.size}"
        )
    if np.ptp(clean) == 0.0:
        raise InputError("SI-SNR", "the clean reference is silent", "Give the clean recording")
    if np.ptp(estimate) == 0.0:
        return float(10.0 * np.log10(epsilon)) if epsilon else -np.inf
    estimate = estimate - estimate.mean()
    clean = clean - clean.mean()
    target = (estimate @ clean) / (clean @ clean) * clean
    noise = estimate - target
    with np.errstate(divide="ignore"):
        if epsilon:
            ratio = (target @ target) / (noise @ noise + epsilon) + epsilon
            return float(10.0 * np.log10(ratio))
        return float(10.0 * (np.log10(target @ target) - np.log10(noise @ noise)))


def _check_channel(name: str, samples: Samples) -> None:
    """Refuse anything but one channel of finite samples, at least one."""
    if samples.ndim != 1 or samples.size == 0:
        raise InputError(name, f"got shape {samples.shape}, expected (samples,) of one channel")
    _check_finite(name, samples)


def _check_finite(where: str, samples: npt.NDArray) -> None:
    broken = samples.size - np.count_nonzero(np.isfinite(samples))
    if broken:
        raise InputError(
            where,
            f"{broken} of {samples.size} samples are NaN or infinite",
            "Record or export them again",
        )
