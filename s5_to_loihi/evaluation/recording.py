"""A clip as it is evaluated: read, brought to 16 kHz, and listened to before anything is averaged.

What would make a mean worthless keeps a clip out of it, with the reason; what one only has to know
becomes a note.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.audio import Samples
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation.pairs import Pair

#: Quieter is nothing that one could judge: the last bit of 16 is at -90 dB of full scale.
SILENCE_DB = -80.0
#: Where the clean recording has less of a noisy one they do not belong together: the challenges mix
#: at -5 dB and more; recordings that have nothing in common are below -30 dB.
LEAST_SI_SNR = -20.0
#: Samples in a row at full scale: one alone is the peak that a recording was normalised to.
CLIPPED_RUN = 3
FULL_SCALE = 1.0 - 2.0**-15
#: Delays that a misplaced clean recording is looked for at, seconds.
LARGEST_DELAY = 1.0
#: How much better than as given a delay must fit to be the reason.
BETTER_DELAYED = 2.0


@dataclass(frozen=True, eq=False)
class Recording:
    """A clip, ready to evaluate.

    Attributes:
        noisy: (channels, samples) at ``audio.RATE``.
        clean: of the same shape; None if nobody has it.
        notes: what one has to know of it.
    """

    noisy: Samples
    clean: Samples | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.noisy.shape[1] / audio.RATE


def read(pair: Pair) -> Recording:
    """Read a clip and listen to it.

    Raises:
        InputError: a file cannot be read, or the clip must not be averaged: too short for a window
            of the transform, silent, or two recordings that do not belong together.
    """
    noisy, notes = _channels(pair.noisy, "noisy")
    if pair.clean is None:
        return Recording(noisy, None, notes)
    clean, more = _channels(pair.clean, "clean")
    if noisy.shape != clean.shape:
        raise InputError(
            pair.name,
            f"the noisy recording has {_shape(noisy)}, the clean one {_shape(clean)}",
            "Give two versions of the same recording",
        )
    for before, after in zip(noisy, clean, strict=True):
        more += _check_together(pair.name, before, after)
    return Recording(noisy, clean, tuple(dict.fromkeys((*notes, *more))))


def _channels(path, role: str) -> tuple[Samples, tuple[str, ...]]:
    recording = audio.resample(audio.read_wav(path))
    samples, notes = recording.samples, [f"{role}: {note}" for note in recording.notes]
    count, length = samples.shape
    if length < audio.WINDOW:
        raise InputError(
            str(path),
            f"has {length} samples at 16 kHz, a window of the transform takes {audio.WINDOW}",
            "Leave it out, or give a longer one",
        )
    level = 10 * np.log10(np.maximum(np.mean(samples**2, axis=1), 1e-30))
    if level.min() < SILENCE_DB:
        raise InputError(
            str(path),
            f"is silent: {level.min():.0f} dB of full scale (least {SILENCE_DB:.0f} dB)",
            "Leave it out, or record it again",
        )
    if count > 1:
        notes.append(f"{role}: scores are means over its channels")
    clipped = sum(_clipped(channel) for channel in samples)
    if clipped:
        notes.append(f"{role}: clipped at full scale in {clipped:,} places")
    return samples, tuple(notes)


def _clipped(channel: Samples) -> int:
    """Count runs of at least ``CLIPPED_RUN`` samples that are all at full scale."""
    full = np.concatenate(([0], (np.abs(channel) >= FULL_SCALE).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(full))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= CLIPPED_RUN))


def _check_together(name: str, noisy: Samples, clean: Samples) -> tuple[str, ...]:
    """Refuse a pair that has nothing in common, is delayed, or is one recording twice."""
    if np.array_equal(noisy, clean):
        raise InputError(name, "the noisy and the clean recording are the same", "Check the files")
    noisy, clean = noisy - noisy.mean(), clean - clean.mean()
    ratio = audio.si_snr(noisy, clean)
    lag, gain = _delay(noisy, clean)
    if lag and gain > BETTER_DELAYED:
        raise InputError(
            name,
            f"the clean recording fits {gain:.1f} times better when moved by"
            f" {lag / audio.RATE * 1e3:+.1f} ms",
            "Align the two recordings",
        )
    if ratio < LEAST_SI_SNR:
        raise InputError(
            name,
            f"the two recordings do not belong together: SI-SNR {ratio:.1f} dB, least"
            f" {LEAST_SI_SNR:.0f} dB",
            "Give the clean version of the same recording",
        )
    return ("clean: its polarity is inverted",) if noisy @ clean < 0 else ()


def _delay(noisy: Samples, clean: Samples) -> tuple[int, float]:
    """Return the delay at which the clean recording fits best, and how much better than at zero.

    Samples are positive where the noisy recording is later. The fit is the magnitude of the
    correlation; a single lag of recordings with nothing in common is arbitrarily bad, so that only
    a fit that would pass counts.
    """
    from scipy import signal  # takes half a second to import

    furthest = min(int(LARGEST_DELAY * audio.RATE), len(noisy) - 1)
    single = [samples.astype(np.float32) for samples in (noisy, clean)]  # it is only searched
    fits = np.abs(signal.correlate(single[0], single[1], "full", "fft"))
    around = fits[len(noisy) - 1 - furthest : len(noisy) + furthest]
    best = int(np.argmax(around))
    passing = 10 ** (LEAST_SI_SNR / 20) * np.sqrt((noisy @ noisy) * (clean @ clean))
    if around[best] < passing:
        return 0, 1.0
    return best - furthest, float(around[best] / max(around[furthest], 1e-30))


def _shape(samples: Samples) -> str:
    channels, length = samples.shape
    return f"{channels} channel{'s' * (channels > 1)} of {length:,} samples"
