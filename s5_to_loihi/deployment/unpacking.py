"""Unpacks a tar archive inside a folder and nowhere else; also a program for the board host.

    python unpacking.py FOLDER < ARCHIVE.tar.gz

Only ordinary files and directories with relative names are accepted, within limits, and all of the
archive is there under the folder's name or nothing is. Needs nothing but the standard library: the
file is copied to the host as it is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

#: A bundle of a large network is tens of megabytes; more than this is a mistake or an attack.
LARGEST_ARCHIVE = 4 << 30
MOST_MEMBERS = 10_000
#: Long names come in headers of their own, which tarfile reads at once.
LONGEST_HEADER = 1 << 14
DEEPEST_NAME = 32


class UnpackingError(Exception):
    """An archive is refused, or there is no room for it; the message says which."""


class _Header(tarfile.TarInfo):
    """A header that is looked at before tarfile reads what it announces."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Refuse sizes that would fill the memory, and sparse files, which tarfile would expand."""
        header = super().frombuf(buf, encoding, errors)
        ordinary = header.type in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise UnpackingError(f"the archive holds {header.name!r}, which is a sparse file")
        if header.size < 0 or (not ordinary and header.size > LONGEST_HEADER):
            raise UnpackingError(f"the archive is damaged (a header of {header.size} bytes)")
        return header


def unpack(stream, folder: Path, largest: int = LARGEST_ARCHIVE) -> bool:
    """Unpack a tar stream, compressed or not, into a folder that is not there yet.

    Args:
        stream: binary, read once from start to end.
        folder: to make; its parents are made as well.
        largest: bytes that all files may have in all.

    Returns:
        False if the folder is there already; then the stream is left unread.

    Raises:
        UnpackingError: a member is no ordinary file or directory, has an absolute name or one with
            "..", comes twice, or is too much; or the folder cannot be written.
    """
    if folder.exists():
        return False
    # Of this process alone, so that a second upload at the same time does no harm.
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as archive:
            _unpack_members(archive, draft, largest)
        os.rename(draft, folder)
    except OSError as error:
        raise UnpackingError(f"{folder}: cannot be written ({error.strerror or error})") from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UnpackingError(f"the archive is damaged or cut off ({error})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _unpack_members(archive: tarfile.TarFile, folder: Path, largest: int) -> None:
    count = 0
    for member in archive:
        count += 1
        largest -= member.size
        path = folder / _checked_name(member)
        if count > MOST_MEMBERS or member.size < 0 or largest < 0:
            raise UnpackingError(f"the archive is too large (at {member.name!r})")
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = archive.extractfile(member)
            assert content is not None, "it is an ordinary file"
            with content, open(path, "xb") as file:
                shutil.copyfileobj(content, file)
        except FileExistsError:
            raise UnpackingError(f"the archive holds {member.name!r} twice") from None


def _checked_name(member: tarfile.TarInfo) -> str:
    """Return a member's name if it is a file or directory inside the folder."""
    path = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        raise UnpackingError(f"the archive holds {member.name!r}, which is a link or a device")
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise UnpackingError(f"the archive holds {member.name!r}, which leads out of its folder")
    if len(path.parts) > DEEPEST_NAME:
        raise UnpackingError(f"the archive is too deep (at {member.name[:60]!r})")
    return member.name


if __name__ == "__main__":
    try:
        made = unpack(sys.stdin.buffer, Path(sys.argv[1]))
    except UnpackingError as refused:
        sys.exit(f"not unpacked: {refused}")
    print("unpacked" if made else "there already")
