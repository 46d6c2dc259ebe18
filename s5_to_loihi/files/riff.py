"""What the header of a WAV file says, and whether the file is as it says.

Decoders read what they can of a header that contradicts itself or the file, without a word. Here it
is checked before anything is decoded. RIFF, RIFX (big-endian) and RF64 (sizes of 64 bits, EBU Tech
3306) have the same chunks; programs that write into a pipe do not know the sizes in advance and
write 0xFFFFFFFF (ffmpeg), nearly 2 GiB (sox) or 0 for them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from s5_to_loihi.errors import InputError

#: Sizes from here on stand for "until the end" in a file that is smaller.
LEAST_UNKNOWN = 0x7FFFF000
#: Tags of formats (RIFF registry): integers, floats, A-law, mu-law; one that names it further on.
PCM, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64), A_LAW: (8,), MU_LAW: (8,)}
_MOST_CHUNKS = 10_000
_AGAIN = "Copy or export it again"
_AS_PCM = "Export it again as 16-bit PCM: ffmpeg -i IN -c:a pcm_s16le OUT.wav"


@dataclass(frozen=True)
class WavHeader:
    """A header that agrees with its file.

    Attributes:
        channels: interleaved in a frame.
        rate: frames per second.
        frames: that the file holds.
        notes: what of the file is not what one would expect.
        zero_size: where the size of the samples stands, if it is 0 and they are there; else None.
    """

    channels: int
    rate: int
    frames: int
    notes: tuple[str, ...]
    zero_size: int | None = None


@dataclass(frozen=True)
class _Chunks:
    """What was found up to the samples: the ``fmt`` chunk, and where samples begin and end."""

    form: bytes
    start: int
    size: int
    known: bool
    is_zero: bool = False


def read_wav_header(path: Path, file: BinaryIO, size: int) -> WavHeader:
    """Read the header of a WAV file.

    Args:
        path: for messages.
        file: open at its start.
        size: of the file, bytes.

    Raises:
        InputError: it is no WAV file, ends before its samples do, contradicts itself, or is
            compressed.
    """
    head = file.read(12)
    if size == 0:
        raise InputError(str(path), "the file is empty", "Record or export it again")
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or (len(head) == 12 and head[8:] != b"WAVE"):
        raise InputError(
            str(path),
            f"not a wav file: it begins with {head!r}, not with RIFF....WAVE",
            "Convert it to wav; a new suffix is not enough",
        )
    order = ">" if head[:4] == b"RIFX" else "<"
    if len(head) < 12:
        raise _truncated(path, 12, size)
    announced = 8 + struct.unpack(f"{order}I", head[4:8])[0]
    if head[:4] != b"RF64" and size < announced < LEAST_UNKNOWN:
        raise _truncated(path, announced, size)
    chunks = _find_samples(path, file, order, size)
    return _checked(path, chunks, order, _after(path, file, order, chunks, size))


def _truncated(path: Path, announced: int, size: int) -> InputError:
    what = f"truncated: its header takes or announces {announced} bytes, the file has {size}"
    return InputError(str(path), what, _AGAIN)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(str(path), f"the wav file is damaged: {what}", _AGAIN)


def _find_samples(path: Path, file: BinaryIO, order: str, size: int) -> _Chunks:
    """Walk the chunks up to that of the samples."""
    form, long_size, position = b"", None, 12
    for _ in range(_MOST_CHUNKS):
        name, length = _chunk(file, order, position)
        start = position + 8
        if name == b"":
            raise _damaged(path, "it has no chunk of samples")
        if name == b"data":
            if long_size is not None and length == 0xFFFFFFFF:
                length = long_size
            elif length >= LEAST_UNKNOWN and start + length > size:
                return _Chunks(form, start, size - start, False)
            elif length == 0 and not _are_chunks(file, order, start, size):
                return _Chunks(form, start, size - start, False, is_zero=True)
            if start + length > size:
                raise _truncated(path, start + length, size)
            return _Chunks(form, start, length, True)
        content = file.read(min(length, 64)) if name in (b"fmt ", b"ds64") else b""
        if name == b"fmt ":
            form = content
        elif name == b"ds64" and len(content) >= 16:
            long_size = int(struct.unpack(f"{order}Q", content[8:16])[0])
        position = start + length + length % 2
    raise _damaged(path, f"it has more than {_MOST_CHUNKS} chunks before its samples")


def _chunk(file: BinaryIO, order: str, position: int) -> tuple[bytes, int]:
    """Return name and length of the chunk at a position; an empty name if there is none."""
    file.seek(position)
    head = file.read(8)
    if len(head) < 8:
        return b"", 0
    return head[:4], int(struct.unpack(f"{order}I", head[4:])[0])


def _are_chunks(file: BinaryIO, order: str, position: int, size: int) -> bool:
    """Tell whether the rest of a file is made of chunks, or of nothing."""
    for _ in range(_MOST_CHUNKS):
        if size - position <= 1:
            return True
        name, length = _chunk(file, order, position)
        position += 8 + length + length % 2
        if not (name and all(32 <= letter < 127 for letter in name)) or position > size + 1:
            return False
    return False


def _after(path: Path, file: BinaryIO, order: str, chunks: _Chunks, size: int) -> list[str]:
    """Say what follows the samples that the header announces, where it is no chunk."""
    if not chunks.known:
        return ["the header does not say how long it is, as of sound from a pipe: read to the end"]
    end = chunks.start + chunks.size + chunks.size % 2
    if _are_chunks(file, order, end, size):
        return []
    return [
        f"the header covers {chunks.size:,} bytes of samples; {size - end:,} bytes that follow are"
        " left out"
    ]


def _checked(path: Path, chunks: _Chunks, order: str, notes: list[str]) -> WavHeader:
    """Check the format against itself."""
    if len(chunks.form) < 16:
        raise _damaged(path, "it has no format before its samples")
    tag, channels, rate, _, block, bits = struct.unpack(f"{order}HHIIHH", chunks.form[:16])
    if tag == EXTENSIBLE and len(chunks.form) >= 26:
        (tag,) = struct.unpack(f"{order}H", chunks.form[24:26])
    if tag not in _BITS:
        what = f"is of an unsupported kind (format {tag:#x}): PCM, float and A- or mu-law are read"
        raise InputError(str(path), what, _AS_PCM)
    if bits not in _BITS[tag]:
        allowed = ", ".join(map(str, _BITS[tag]))
        raise InputError(str(path), f"has samples of {bits} bits (allowed {allowed})", _AS_PCM)
    if channels == 0:
        raise _damaged(path, "it has 0 channels")
    if block != channels * bits // 8:
        raise InputError(
            str(path),
            f"the header contradicts itself: {channels} channel(s) of {bits} bits take"
            f" {channels * bits // 8} bytes, and it says {block}",
            "Export it again, with the number of channels and bits that it really has",
        )
    if chunks.size % block:
        notes.append(f"the last {chunks.size % block} bytes are no whole frame and are left out")
    zero_size = chunks.start - 4 if chunks.is_zero else None
    return WavHeader(channels, rate, chunks.size // block, tuple(notes), zero_size)
