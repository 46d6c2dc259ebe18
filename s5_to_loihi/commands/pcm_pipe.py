"""Sound through pipes: raw 16-bit PCM, or WAV whose length nobody knows yet."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO

import numpy as np

from s5_to_loihi.audio import MAX_CHANNELS, RATE
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.riff import EXTENSIBLE, FLOAT, LEAST_UNKNOWN, PCM

#: What is written as the size of what nobody knows the end of.
UNKNOWN = 0xFFFFFFFF
#: Chunks before the samples (titles, pictures) that are skipped; more is no sound.
MOST_HEADER_BYTES = 1 << 20
_FORMATS: dict[tuple[int, int], np.dtype[Any]] = {
    (PCM, 16): np.dtype("<i2"),
    (PCM, 32): np.dtype("<i4"),
    (FLOAT, 32): np.dtype("<f4"),
}


class Container(str, Enum):
    """What is around the samples."""

    RAW = "raw"  #: nothing: 16-bit little-endian PCM at 16 kHz
    WAV = "wav"  #: a RIFF header


@dataclass(frozen=True)
class Pipe:
    """What comes in.

    Attributes:
        stream: read up to the first sample.
        container: what is around the samples.
        channels: interleaved.
        dtype: of a sample.
        size: bytes of all samples; None if the header does not say.
        begun: bytes that were read already.
    """

    stream: BinaryIO
    container: Container
    channels: int
    dtype: np.dtype
    size: int | None = None
    begun: bytes = b""


def opened(stream: BinaryIO, channels: int) -> Pipe:
    """Look at the start of a pipe; ``channels`` are those of raw PCM, which does not say.

    Raises:
        InputError: a WAV that cannot be read, or of another rate than 16 kHz.
    """
    start = _read(stream, 4)
    if start != b"RIFF":
        return Pipe(stream, Container.RAW, channels, _FORMATS[PCM, 16], begun=start)
    if _read(stream, 8)[4:] != b"WAVE":
        raise InputError("standard input", "is RIFF, but no WAVE", "Give a .wav, or raw PCM")
    form: tuple[int, np.dtype] | None = None
    skipped = 0
    while True:
        name, size = _chunk(stream)
        if name == b"data":
            break
        skipped += size
        if skipped > MOST_HEADER_BYTES:
            what = f"has more than {MOST_HEADER_BYTES >> 20} MiB before its samples"
            raise InputError("standard input", what, "Give sound, without pictures")
        content = _read(stream, size + size % 2)
        if name == b"fmt ":
            form = _form(content)
    if form is None:
        raise InputError("standard input", "is WAV without a format", "Write it again")
    return Pipe(stream, Container.WAV, *form, None if size >= LEAST_UNKNOWN else size)


def _chunk(stream: BinaryIO) -> tuple[bytes, int]:
    header = _read(stream, 8)
    if len(header) < 8:
        raise InputError("standard input", "ends before its first sample", "Write it again")
    return header[:4], int.from_bytes(header[4:], "little")


def _form(content: bytes) -> tuple[int, np.dtype]:
    """Return channels and type of a ``fmt`` chunk."""
    if len(content) < 16:
        raise InputError("standard input", "is WAV with a damaged format", "Write it again")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        (tag,) = struct.unpack("<H", content[24:26])
    if (tag, bits) not in _FORMATS or not 1 <= channels <= MAX_CHANNELS:
        raise InputError(
            "standard input",
            f"has format {tag}, {bits} bits and {channels} channels (16 or 32-bit PCM or 32-bit"
            f" floats, 1 to {MAX_CHANNELS} channels)",
            "Convert it: sox IN -e signed -b 16 -t wav -",
        )
    if rate != RATE:
        do = f"Convert it: sox IN -r {RATE} -t wav -, or ffmpeg -i IN -ar {RATE} -f wav -"
        raise InputError("standard input", f"has {rate} Hz (16,000 needed)", do)
    return channels, _FORMATS[tag, bits]


def blocks(pipe: Pipe, samples: int) -> Iterator[np.ndarray]:
    """Yield (samples, channels) float64, full scale 1, as they come; the last may be shorter."""
    width = pipe.channels * pipe.dtype.itemsize
    left, begun = pipe.size, pipe.begun
    while left is None or left > 0:
        wanted = samples * width if left is None else min(samples * width, left)
        content = begun + _read(pipe.stream, wanted - len(begun))
        begun = b""
        if left is not None:
            left -= wanted
        whole = len(content) // width * width  # half a sample at the end is none
        if whole:
            values = np.frombuffer(content[:whole], dtype=pipe.dtype).astype(np.float64)
            if pipe.dtype.kind == "i":
                values /= 2.0 ** (8 * pipe.dtype.itemsize - 1)
            yield values.reshape(-1, pipe.channels)
        if len(content) < wanted:
            return


def header(container: Container, channels: int) -> bytes:
    """Return what comes before 16-bit samples whose number is not known."""
    if container is Container.RAW:
        return b""
    form = struct.pack("<HHIIHH", PCM, channels, RATE, RATE * channels * 2, channels * 2, 16)
    sizes = UNKNOWN.to_bytes(4, "little")
    return b"".join(
        (b"RIFF", sizes, b"WAVEfmt ", len(form).to_bytes(4, "little"), form, b"data", sizes)
    )


def _read(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes, or all there are: a pipe may give fewer at a time."""
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
