"""Speech denoising with a compiled network: sound to tokens, through a backend, and back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.backends.dispatch import Backend, run
from s5_to_loihi.bundle import Bundle, network_of
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.inputs import largest_of
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.simulators.interpreter import Mode


@dataclass(frozen=True, eq=False)
class Denoised:
    """A cleaned recording and how it came about.

    Attributes:
        samples: float64 (channels, samples) at ``audio.RATE``.
        tokens: STFT frames of each channel.
        clipped_inputs: token integers that were saturated on the way in.
        seconds: wall-clock time in the backend.
        largest: magnitude of the tokens, as a value.
    """

    samples: np.ndarray
    tokens: int
    clipped_inputs: int
    seconds: float
    largest: float = 0.0

    @property
    def audio_seconds(self) -> float:
        """Duration of the recording."""
        return self.samples.shape[1] / audio.RATE

    @property
    def real_time_factor(self) -> float:
        """Seconds in the backend for a second of sound (all channels); below 1 keeps up."""
        return self.seconds / self.audio_seconds


def tokens_of(network: Network, samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the tokens of a recording and how many integers were saturated.

    Args:
        network: a denoiser, 257 features in and out.
        samples: (channels, samples) at ``audio.RATE``.

    Returns:
        ``((tokens, channels, 257) int64, saturated)``.
    """
    check_denoiser(network)
    features = [audio.features(audio.analyse(channel)) for channel in samples]
    return to_integers(np.stack(features, axis=1), network.input_format)


def denoise(
    source: Network | Bundle | str | os.PathLike[str],
    samples: np.ndarray,
    backend: Backend = Backend.FAST,
    mode: Mode = Mode.PIPELINED,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Denoised:
    """Denoise a recording; channels are cleaned independently.

    Args:
        source: a denoiser: 257 STFT magnitudes in, 257 mask values out, one output a token; a
            network, a bundle or its path.
        samples: (channels, samples) at ``audio.RATE``.
        backend: where to run it.
        mode: how tokens follow one another.
        on_progress: called with timesteps done and in all (Lava only).

    Raises:
        InputError: the network is no denoiser of this kind.
        LavaError: see ``backends.lava.run``.

    Examples:
        >>> from s5_to_loihi import audio
        >>> noisy = audio.resample(audio.read_wav("noisy.wav")).samples[:, :16000]
        >>> s5.denoise("denoiser.bundle", noisy).samples.shape
        (1, 16000)
    """
    network = network_of(source)
    tokens, clipped = tokens_of(network, samples)
    started = time.perf_counter()
    outputs = run(network, tokens, backend, mode=mode, on_progress=on_progress).outputs
    seconds = time.perf_counter() - started
    cleaned = masked(samples, to_floats(outputs, network.output_format))
    return Denoised(cleaned, len(tokens), clipped, seconds, largest_of(network, tokens))


def masked(samples: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Apply masks (tokens, channels, 257) to a recording (channels, samples) at ``audio.RATE``."""
    spectra = (
        audio.apply_mask(audio.analyse(channel), masks[:, index])
        for index, channel in enumerate(samples)
    )
    return np.stack([audio.synthesise(spectrum, samples.shape[1]) for spectrum in spectra])


def denoise_in_floats(model: S5Model, samples: np.ndarray) -> np.ndarray:
    """Denoise a recording (channels, samples) at ``audio.RATE`` with a float model.

    Raises:
        InputError: the model is no denoiser.
    """
    ends = {len(model.decoder.bias)} if model.decoder else set()
    ends |= {model.encoder.weight.shape[1]} if model.encoder else set()
    if ends != {audio.BINS} or model.readout is not Readout.EACH_TOKEN:
        raise InputError(
            f"model {model.name}",
            f"is no denoiser: one takes and gives {audio.BINS} features each token",
            "Give the float checkpoint that the network was made from",
        )
    features = [audio.features(audio.analyse(channel)) for channel in samples]
    return masked(samples, evaluate(model, np.stack(features, axis=1)))


@dataclass(frozen=True)
class Score:
    """SI-SNR of one channel in dB: as it came, cleaned by the float model, by the integers."""

    noisy: float
    floats: float
    integers: float


#: A noisy recording below this ratio to its clean version, in dB, is of something else.
UNRELATED = -20.0


def unrelated(ratios: Sequence[float], clean: str) -> tuple[str, ...]:
    """Say that a clean recording does not seem to belong to the noisy one.

    Args:
        ratios: SI-SNR of the noisy recording to the clean one, dB, one a channel.
        clean: what to call the clean one.
    """
    return tuple(
        f"{clean}: SI-SNR of the noisy recording to it is {ratio:.1f} dB in channel {channel}"
        f" (below {UNRELATED:.0f}): the two do not seem to belong together, or are shifted; give"
        " the clean version of the same recording"
        for channel, ratio in enumerate(ratios)
        if ratio < UNRELATED
    )


def read_pair(
    noisy: str | os.PathLike[str], clean: str | os.PathLike[str]
) -> tuple[audio.Audio, audio.Audio]:
    """Read a noisy recording and its clean version, resampled to ``audio.RATE`` if need be.

    Notes of the clean one are among those of the noisy one, too, behind ``clean:``.

    Raises:
        InputError: one cannot be read, or they do not match.
    """
    pair = audio.resample(audio.read_wav(noisy)), audio.resample(audio.read_wav(clean))
    _check_pair(*pair, str(noisy), str(clean))
    before, after = pair
    notes = (*before.notes, *(f"clean: {note}" for note in after.notes))
    return replace(before, notes=notes), after


def _check_pair(noisy: audio.Audio, clean: audio.Audio, noisy_name: str, clean_name: str) -> None:
    if noisy.samples.shape != clean.samples.shape:
        raise InputError(
            clean_name,
            f"has {clean.samples.shape} channels and samples, {noisy_name} has"
            f" {noisy.samples.shape}",
            "Give the clean version of the same recording",
        )


def compare_denoising(
    model: S5Model, network: Network, noisy: audio.Audio, clean: audio.Audio
) -> tuple[Score, ...]:
    """Clean a recording with a float model and with its network of integers.

    Args:
        model, network: denoisers, see ``denoise``.
        noisy, clean: the same recording; resampled to ``audio.RATE`` if need be.

    Raises:
        InputError: the network is no denoiser, or the recordings do not match.
    """
    noisy, clean = audio.resample(noisy), audio.resample(clean)
    _check_pair(noisy, clean, "the noisy one", "the clean recording")
    integers = denoise(network, noisy.samples, Backend.INTERPRETER).samples
    floats = denoise_in_floats(model, noisy.samples)
    return tuple(
        Score(*(audio.si_snr(each, target) for each in (before, *after)))
        for before, target, *after in zip(
            noisy.samples, clean.samples, floats, integers, strict=True
        )
    )


def is_denoiser(network: Network) -> bool:
    """Tell whether a network takes and gives the spectra of sound, one each token."""
    sizes = (network.input_size, network.output_size)
    return sizes == (audio.BINS, audio.BINS) and network.readout is Readout.EACH_TOKEN


def check_denoiser(network: Network) -> None:
    """Refuse a network that is no denoiser.

    Raises:
        InputError: it takes or gives other than 257 features, or not one output a token.
    """
    if not is_denoiser(network):
        sizes = (network.input_size, network.output_size)
        raise InputError(
            f"network {network.name}",
            f"takes {sizes[0]} and gives {sizes[1]} features, readout {network.readout.value};"
            f" a denoiser takes and gives {audio.BINS} each token",
            "Use a network trained on STFT magnitudes (window 512, hop 128)",
        )
