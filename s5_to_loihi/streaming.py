"""Denoising as an ear hears: sound in, in chunks of any size, sound out after a fixed delay."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace

import numpy as np

from s5_to_loihi import audio, bundle
from s5_to_loihi.audio import HOP, WINDOW, Samples
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.denoising import check_denoiser
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.fast import FastSimulator

HOP_SECONDS = HOP / audio.RATE
#: Of the histogram of times: its finest bucket in seconds, how much wider each next one is, and
#: how many there are, up to more than a second.
FINEST, STEP, BUCKETS = 1e-6, 1.05, 300


@dataclass(frozen=True, eq=False)
class StreamState:
    """All that a stream remembers; arrays that can be saved with ``numpy.savez``.

    Attributes:
        registers: (registers,) int32 of the network.
        heard: (512,) float64, the samples of the next frame: those before it is full are zeros or
            of the last one.
        overlap: (512,) float64, the sums of the frames so far, from the first sample that is not
            final.
        waiting: (n,) float64, what is final and not given out yet.
        received: samples so far.
        frames: tokens so far.
        clipped: integers that were saturated on the way in.
    """

    registers: np.ndarray
    heard: Samples
    overlap: Samples
    waiting: Samples
    received: int = 0
    frames: int = 0
    clipped: int = 0


class DenoiserStream:
    """One channel of sound at 16 kHz, cleaned by a compiled denoiser while it comes in.

    The samples are those of ``denoise`` on the whole recording, ``delay`` samples later. A frame of
    512 samples is a token; a sample is final when the last of the four frames that it is in is
    there.

    Attributes:
        delay: samples from what goes in to what comes out: 512 - 1 for chunks of any size; less if
            all chunks are a multiple of a larger ``grid``, 384 (24 ms) for whole hops of 128.

    Examples:
        >>> stream = s5.DenoiserStream("denoiser.bundle", grid=128)
        >>> stream.process(np.zeros(256)).shape
        (256,)
        >>> stream.finish().shape  # what is still due
        (384,)
    """

    def __init__(self, network: Network | Bundle | str | os.PathLike[str], grid: int = 1) -> None:
        """Begin a stream.

        Args:
            network: a denoiser: 257 STFT magnitudes in, 257 mask values out, one output a token; a
                bundle or its path will do.
            grid: samples that the length of every chunk is a multiple of.

        Raises:
            InputError: the network is no denoiser, or the grid is not at least 1.
            BundleError: there is no bundle.
        """
        network = bundle.network_of(network)
        check_denoiser(network)
        if grid < 1:
            raise InputError("grid", f"is {grid} samples (limit 1 or more)")
        self._network = network
        self._simulator = FastSimulator(network)
        self._grid = grid
        self.delay = WINDOW - math.gcd(grid, HOP)
        # Kernels are loaded by the first token: that must not be one that somebody waits for.
        self._simulator.stream().step(np.zeros(network.input_size, dtype=np.int32))
        self.reset()

    def reset(self) -> None:
        """Go back to the state before the first sample."""
        self.state = StreamState(
            registers=self._simulator.initial_state()[0],
            heard=np.zeros(WINDOW),
            overlap=np.zeros(WINDOW),
            waiting=np.zeros(self.delay),
        )

    @property
    def state(self) -> StreamState:
        """A copy of all that the stream remembers; assign one to go on from there."""
        return replace(self._state, registers=self._stream.state.copy())

    @state.setter
    def state(self, state: StreamState) -> None:
        self._stream = self._simulator.stream(state.registers)
        self._state = state

    def fork(self) -> DenoiserStream:
        """Return a stream that goes on from here on its own."""
        other = DenoiserStream(self._network, self._grid)
        other.state = self.state
        return other

    def process(self, chunk: np.ndarray) -> Samples:
        """Take in samples and give out as many.

        Args:
            chunk: (samples,) floats, full scale 1; a multiple of ``grid`` of them.

        Returns:
            (samples,) float64, those of ``delay`` samples before; zeros at the start.

        Raises:
            InputError: not one channel of finite floats, or not a multiple of the grid; the stream
                stays as it is.
        """
        samples = np.asarray(chunk)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            what = f"is {samples.dtype} of shape {samples.shape}"
            raise InputError("chunk", what, "Give floats of one channel (samples,), full scale 1")
        if len(samples) % self._grid:
            what = f"has {len(samples)} samples, no multiple of {self._grid}"
            raise InputError("chunk", what, "Begin the stream with a smaller grid")
        if not np.isfinite(samples).all():
            raise InputError("chunk", "holds NaN or infinities", "Remove or replace them")
        self._take(samples.astype(np.float64))
        given, kept = np.split(self._state.waiting, [len(samples)])
        self._state = replace(self._state, waiting=kept)
        return given

    def finish(self) -> Samples:
        """End the recording: return the last ``delay`` samples, and reset the stream.

        As in ``denoise``, zeros follow the last sample.
        """
        total = self._state.received
        if not total:
            return np.zeros(self.delay)
        self._take(np.zeros((audio.frame_count(total) - 1) * HOP + WINDOW // 2 - total))
        # What the frames after the last would add to is an average of fewer.
        first, left = self._state.frames * HOP - WINDOW // 2, self._state.overlap
        tail = _averaged(left[: max(0, total - first)], first, self._state.frames)
        waiting = np.concatenate([self._state.waiting, tail])[: self.delay]
        self.reset()
        return waiting

    def _take(self, samples: Samples) -> None:
        """Evaluate every frame that is full now."""
        state, taken = self._state, 0
        heard, overlap, finals = state.heard, state.overlap, [state.waiting]
        received, frames, clipped = state.received, state.frames, state.clipped
        while taken < len(samples):
            # The frame under way ends with this sample of the recording.
            missing = frames * HOP + WINDOW // 2 - received
            part = samples[taken : taken + missing]
            heard = np.concatenate([heard[len(part) :], part])
            taken, received = taken + len(part), received + len(part)
            if len(part) < missing:
                break
            frame, saturated = self._cleaned(heard)
            clipped += saturated
            overlap = overlap + frame
            first = frames * HOP - WINDOW // 2
            frames += 1
            final = _averaged(overlap[:HOP], first, frames)
            finals.append(final if first >= 0 else final[:0])
            overlap = np.concatenate([overlap[HOP:], np.zeros(HOP)])
        self._state = replace(
            state,
            heard=heard,
            overlap=overlap,
            waiting=np.concatenate(finals),
            received=received,
            frames=frames,
            clipped=clipped,
        )

    def _cleaned(self, heard: Samples) -> tuple[Samples, int]:
        """Return a frame's samples after the mask, and how many integers were saturated."""
        spectrum = audio.analyse_frame(heard)
        integers, clipped = to_integers(audio.features(spectrum), self._network.input_format)
        mask = to_floats(self._stream.step(integers.astype(np.int32)), self._network.output_format)
        return audio.synthesise_frame(audio.apply_mask(spectrum, mask)), clipped


@dataclass
class HopTimes:
    """How long hops of 8 ms took, in a histogram: ten minutes and ten days take the same room.

    Attributes:
        interruptions: of a live stream, as the sound device counted them.
    """

    interruptions: int = 0
    _seconds: float = 0.0
    _worst: float = 0.0
    _missed: int = 0
    _counts: np.ndarray = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))

    def add(self, seconds: float, hops: int) -> None:
        """Count hops that were computed together."""
        if hops < 1:
            return
        self._seconds += seconds
        each = seconds / hops
        self._worst = max(self._worst, each)
        self._missed += hops if each > HOP_SECONDS else 0
        bucket = math.ceil(max(0.0, math.log(each / FINEST, STEP))) if each > 0 else 0
        self._counts[min(bucket, BUCKETS - 1)] += hops

    def summary(self) -> dict[str, float]:
        """Return hops, missed ones, and microseconds a hop: mean, 99.9 % (within 5 %), worst."""
        hops = int(self._counts.sum())
        place = int(np.searchsorted(self._counts.cumsum(), 0.999 * hops)) if hops else 0
        return {
            "hops": hops,
            "missed": self._missed,
            "interruptions": self.interruptions,
            "mean_us": self._seconds / max(1, hops) * 1e6,
            "p999_us": min(self._worst, FINEST * STEP**place) * 1e6,
            "worst_us": self._worst * 1e6,
        }

    def verdict(self, delay: int, saturated: int) -> str:
        """Say in one sentence whether a stream kept up."""
        of = self.summary()
        kept = "kept up" if not of["missed"] and not self.interruptions else "did not keep up"
        interrupted = f", {self.interruptions} interruptions" if self.interruptions else ""
        return (
            f"{kept}: {of['hops']:,.0f} hops of {HOP_SECONDS * 1e3:.0f} ms, {of['missed']:,.0f}"
            f" missed{interrupted}; {of['mean_us']:,.0f} µs a hop, 99.9 % within"
            f" {of['p999_us']:,.0f}, worst {of['worst_us']:,.0f}; delay"
            f" {delay / audio.RATE * 1e3:.0f} ms; {saturated:,} samples beyond full scale"
        )


def _averaged(sums: Samples, first: int, frames: int) -> Samples:
    """Divide sums of frames by how many there are: sample n is in those that begin within 512.

    Args:
        sums: (n,) from sample ``first`` of the recording on.
        first: a multiple of 128, may be negative.
        frames: tokens in all so far.
    """
    earliest = np.arange(first, first + len(sums)) // HOP - WINDOW // 2 // HOP + 1
    latest = np.minimum(earliest + WINDOW // HOP - 1, frames - 1)
    return sums / (latest - np.maximum(earliest, 0) + 1)
