"""Functions compiled by numba, with their machine code kept on disk where that is possible.

Numba trusts what it finds in its cache: a file that was cut off or damaged ends every later run.
Here each file ends with a digest of the rest. A file that is not whole is as good as none, and a
cache that cannot be written is none: the function is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_DIGEST_BYTES = hashlib.sha256().digest_size


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Return a decorator that compiles a function.

    Args:
        options: of ``numba.njit``.
    """

    def decorate(function: Callable) -> Callable:
        dispatcher = numba.njit(**options)(function)
        # No place to write to, or one that cannot be read: neither beside the file nor at home.
        with contextlib.suppress(RuntimeError, OSError):
            dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


class _Cache(FunctionCache):
    """A cache that is optional: whatever is wrong with it, the function is compiled."""

    def __init__(self, function: Callable):
        super().__init__(function)
        plain = self._cache_file
        self._cache_file = _Files.__new__(_Files)
        self._cache_file.__dict__.update(plain.__dict__)

    def load_overload(self, sig: object, target_context: object) -> object:
        """Return what was compiled before, None if it is not there or not whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # of another version, say
            return None

    def save_overload(self, sig: object, data: object) -> None:
        """Keep what was compiled, if that is possible."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


class _Files(IndexDataCacheFile):
    """Numba's files, with a digest at the end: what unpickles them stops before it."""

    def _load_index(self) -> dict:
        return super()._load_index() if _is_whole(self._index_path) else {}

    def _load_data(self, name: str) -> object:
        if not _is_whole(self._data_path(name)):
            raise FileNotFoundError(name)
        return super()._load_data(name)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[IO[bytes]]:
        with super()._open_for_write(filepath) as file:
            yield file
            file.flush()
            with open(file.name, "rb") as written:
                file.write(hashlib.sha256(written.read()).digest())


def _is_whole(path: str | os.PathLike[str]) -> bool:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]
