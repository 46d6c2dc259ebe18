"""Digests of files, which say what something was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def source_digest(files: Iterable[Path]) -> str:
    """Return a digest of files' names and contents, in the order of the names."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        total.update(file.name.encode() + bytes.fromhex(file_digest(file)))
    return total.hexdigest()


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's content, as ``sha256sum`` prints it."""
    content = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            content.update(chunk)
    return content.hexdigest()
