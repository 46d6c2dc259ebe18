"""``stream``: sound in, cleaned sound out, while it lasts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from typer import Option

from s5_to_loihi.audio import HOP, RATE, to_pcm16
from s5_to_loihi.commands import console, pcm_pipe
from s5_to_loihi.commands.settings import settings
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import check_target, write_json
from s5_to_loihi.network.network import Network
from s5_to_loihi.streaming import DenoiserStream, HopTimes

#: How often the meter is drawn, and how low it goes.
METER_SECONDS, METER_FLOOR = 0.1, -60.0


class Cleaner:
    """All channels of a stream, with a bypass of the same delay.

    Attributes:
        bypassed: whether the sound goes past the network; may be changed at any time.
        times: of the hops so far.
        saturated: samples beyond full scale so far.
        levels: peaks of the last block before and after, in dB of full scale.
    """

    def __init__(self, network: Network, channels: int, bypassed: bool):
        self.bypassed = bypassed
        self.times = HopTimes()
        self.saturated = 0
        self.levels = (METER_FLOOR, METER_FLOOR)
        self._streams = [DenoiserStream(network, grid=HOP) for _ in range(channels)]
        self.delay = self._streams[0].delay
        self._passed = np.zeros((self.delay, channels))

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take in (samples, channels) floats, whole hops, and give out as many."""
        started = time.perf_counter()
        cleaned = np.stack(
            [one.process(block[:, index]) for index, one in enumerate(self._streams)], axis=1
        )
        self.times.add(time.perf_counter() - started, len(block) // HOP)
        past = np.concatenate([self._passed, block])
        passed, self._passed = past[: len(block)], past[len(block) :]
        out = passed if self.bypassed else cleaned
        self.levels = (_decibels(block), _decibels(out))
        return out

    def finish(self) -> np.ndarray:
        """Return the last (delay, channels) samples."""
        if self.bypassed:
            return self._passed
        return np.stack([one.finish() for one in self._streams], axis=1)

    def as_pcm(self, block: np.ndarray) -> bytes:
        """Return interleaved 16-bit samples; what is beyond full scale is counted."""
        samples, saturated = to_pcm16(block)
        self.saturated += saturated
        return samples.tobytes()


def stream(
    model: Path | None = Option(
        None, "--bundle", help="A compiled denoiser. Default: the one that is shipped."
    ),
    live: bool = Option(
        False, "--live", help="From a microphone to headphones (needs sounddevice), until Ctrl-C."
    ),
    device: str | None = Option(
        None, metavar="NAME", help="With --live: the sound device, by name or number."
    ),
    channels: int = Option(1, min=1, max=8, help="Channels of raw PCM, or of a live stream."),
    bypass: bool = Option(False, "--bypass", help="Begin with the sound going past the network."),
    align: bool = Option(
        False, "--align", help="Leave the delay out at the start: for files, not for ears."
    ),
    statistics: Path | None = Option(
        None, metavar="FILE.json", help="Write times and delay into this file."
    ),
) -> None:
    """Denoise sound while it comes: from standard input to standard output, or live.

    Takes WAV or raw 16-bit PCM of 16 kHz, and gives the same. In a terminal a meter shows levels,
    'b' lets the sound past the network and back, 'q' ends. What comes out is what 'denoise' gives,
    24 ms later. Examples:

        arecord -q -f S16_LE -r 16000 | s5-to-loihi stream | aplay -q -f S16_LE -r 16000

        sox noisy.wav -r 16000 -b 16 -t wav - | s5-to-loihi stream --align > cleaned.wav

        s5-to-loihi stream --live --bundle denoiser.bundle
    """
    check_target(statistics, (".json",))
    if device is not None and not live:
        raise InputError("--device", "is given without --live", "Pipes have no device")
    if live and align:
        raise InputError("--align", "is given with --live", "Live sound cannot come earlier")
    network = _network(model)
    if live:
        cleaner = Cleaner(network, channels, bypass)
        _live(cleaner, channels, device)
    else:
        if sys.stdin.isatty():
            do = "Pipe WAV or raw PCM into it, or use --live"
            raise InputError("standard input", "is a terminal, which has no sound", do)
        pipe = pcm_pipe.opened(sys.stdin.buffer, channels)
        cleaner = Cleaner(network, pipe.channels, bypass)
        try:
            _piped(cleaner, pipe, align)
        except BrokenPipeError:
            pass  # who listened has left
    if not settings.quiet:
        verdict = cleaner.times.verdict(cleaner.delay, cleaner.saturated)
        console.stderr.print(verdict, highlight=False)
    if statistics is not None:
        write_json(statistics, cleaner.times.summary() | {"delay_ms": cleaner.delay / RATE * 1e3})


def _network(model: Path | None) -> Network:
    from s5_to_loihi import bundle
    from s5_to_loihi.compiler import compile_export
    from s5_to_loihi.demo import DENOISER

    return (compile_export(DENOISER) if model is None else bundle.read(model)).network


def _piped(cleaner: Cleaner, pipe: pcm_pipe.Pipe, align: bool) -> None:
    """Clean what comes from standard input until it ends, or until an interrupt."""
    # Of its own: what else is printed is dropped when the reader leaves, here it is the end.
    out = open(sys.stdout.fileno(), "wb", closefd=False)
    out.write(pcm_pipe.header(pipe.container, pipe.channels))
    dropped = cleaner.delay if align else 0
    count = 0
    with _keys(cleaner) as ended, suppress(KeyboardInterrupt):
        for block in pcm_pipe.blocks(pipe, HOP):
            count += len(block)
            if len(block) < HOP:
                block = np.pad(block, ((0, HOP - len(block)), (0, 0)))
            cleaned = cleaner.process(block)
            out.write(cleaner.as_pcm(cleaned[min(dropped, HOP) :]))
            out.flush()
            dropped -= min(dropped, HOP)
            if ended():
                break
    if count:
        rest = cleaner.finish()[dropped:][: _rest(count, cleaner.delay, align)]
        out.write(cleaner.as_pcm(rest))
    out.flush()


def _rest(count: int, delay: int, align: bool) -> int:
    """Return how many samples are left to give after whole hops went out."""
    given = -(-count // HOP) * HOP
    return max(0, delay - (given - count)) if not align else max(0, count - max(0, given - delay))


def _live(cleaner: Cleaner, channels: int, device: str | None) -> None:
    """Clean what a microphone hears until an interrupt or 'q'."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise InputError(
            "--live",
            f"needs the package sounddevice and PortAudio ({error})",
            "Run: pip install 's5_to_loihi[live]'; on Debian also: apt install libportaudio2",
        ) from None

    def hear(heard: np.ndarray, said: np.ndarray, frames: int, when: object, status: object):
        if status:
            cleaner.times.interruptions += 1
        said[:] = cleaner.process(heard)

    chosen = int(device) if device is not None and device.isdigit() else device
    try:
        with (
            sounddevice.Stream(
                samplerate=RATE, blocksize=HOP, device=chosen, channels=channels,
                dtype="float32", latency="low", callback=hear,
            ),
            _keys(cleaner) as ended,
            suppress(KeyboardInterrupt),
        ):  # fmt: skip
            console.stderr.print("Listening; 'b' bypasses, 'q' or Ctrl-C ends", highlight=False)
            while not ended():
                time.sleep(METER_SECONDS)
    except (sounddevice.PortAudioError, ValueError) as error:
        do = "List devices with: python -m sounddevice"
        raise InputError("--live", f"cannot use the sound device ({error})", do) from None


@contextmanager
def _keys(cleaner: Cleaner) -> Iterator[Callable[[], bool]]:
    """Read keys and draw the meter where there is a terminal; yields whether 'q' was pressed."""
    ended = threading.Event()
    if not sys.stderr.isatty():
        yield ended.is_set
        return
    try:
        import termios
        import tty

        terminal = open("/dev/tty", "rb", buffering=0)
    except (ImportError, OSError):
        yield ended.is_set
        return
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal.fileno())
    threads = (
        threading.Thread(target=_listen, args=(terminal, cleaner, ended), daemon=True),
        threading.Thread(target=_draw, args=(cleaner, ended), daemon=True),
    )
    try:
        for thread in threads:
            thread.start()
        yield ended.is_set
    finally:
        ended.set()
        threads[1].join()
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _listen(terminal, cleaner: Cleaner, ended: threading.Event) -> None:
    while not ended.is_set():
        key = terminal.read(1)
        if key == b"b":
            cleaner.bypassed = not cleaner.bypassed
        elif key in (b"q", b""):
            ended.set()


def _draw(cleaner: Cleaner, ended: threading.Event) -> None:
    """Draw levels in one line until the end, then clear it."""
    while not ended.wait(METER_SECONDS):
        before, after = cleaner.levels
        mode = "bypassed" if cleaner.bypassed else "cleaned "
        sys.stderr.write(f"\rin {_bar(before)} {before:6.1f} dB  out {_bar(after)} {after:6.1f} dB"
                         f"  {mode}")  # fmt: skip
        sys.stderr.flush()
    sys.stderr.write("\r" + " " * 78 + "\r")
    sys.stderr.flush()


def _bar(level: float) -> str:
    full = round((level - METER_FLOOR) / -METER_FLOOR * 15)
    return "#" * full + "." * (15 - full)


def _decibels(block: np.ndarray) -> float:
    peak = float(np.abs(block).max(initial=0.0))
    return min(0.0, max(METER_FLOOR, 20 * float(np.log10(max(peak, 1e-9)))))
