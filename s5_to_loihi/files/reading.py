"""Reading text files strictly: regular files only, within bounds, YAML and JSON, one key once.

All that a file can do to its reader is bounded here: its bytes before a parser sees them, what
aliases of YAML write out to before anything is built of them, and whatever the libraries
underneath raise becomes an error of this package.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import yaml

from s5_to_loihi.errors import InputError, S5ToLoihiError

#: Bytes of a text that a person wrote.
LARGEST_TEXT = 1 << 20
#: Values of a YAML file, with its aliases written out, and how deep they may lie in one another: a
#: large one has some thousands and a handful.
MOST_VALUES, MOST_LEVELS = 100_000, 100
#: Values of a JSON file: each takes up to some hundred bytes of memory.
MOST_JSON_VALUES = 2_000_000
#: PyYAML multiplies out numbers such as 1:59:59 digit by digit.
LONGEST_SEXAGESIMAL = 100

_MERGE = "tag:yaml.org,2002:merge"


@contextmanager
def opened(
    path: str | os.PathLike[str],
    error: type[S5ToLoihiError] = InputError,
    if_unreadable: str = "",
) -> Iterator[BinaryIO]:
    """Open a regular file for reading: pipes and devices might never end.

    Args:
        path: of the file.
        error: what to raise.
        if_unreadable: what to do if the file cannot be read.

    Raises:
        S5ToLoihiError: of the kind ``error``: it cannot be read, or is no regular file.
    """
    try:
        # Opening a pipe waits for who writes into it, unless told not to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is a pipe or a device")
            yield stream
    except MemoryError:
        raise error(os.fspath(path), "does not fit into memory", "Use a larger machine") from None
    except (OSError, ValueError) as failure:  # ValueError: no file can have its name
        reason = getattr(failure, "strerror", None) or failure
        raise error(os.fspath(path), f"cannot be read ({reason})", if_unreadable) from None


def read_bytes(
    path: str | os.PathLike[str],
    largest: int,
    error: type[S5ToLoihiError] = InputError,
    if_unreadable: str = "",
) -> bytes:
    """Read a regular file whole.

    Args:
        path: of the file.
        largest: bytes.
        error: what to raise.
        if_unreadable: what to do if the file cannot be read.

    Raises:
        S5ToLoihiError: of the kind ``error``: see ``opened``, or the file is too large.
    """
    with opened(path, error, if_unreadable) as stream:
        # No more memory is asked for than the file says to need.
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(min(largest, max(size, LARGEST_TEXT)) + 1)
    if len(content) > largest:
        raise error(os.fspath(path), f"is larger than {largest >> 20} MiB", if_unreadable)
    return content


def read_yaml(
    path: str | os.PathLike[str],
    *,
    largest: int = LARGEST_TEXT,
    error: type[S5ToLoihiError] = InputError,
    if_unreadable: str = "",
    if_damaged: str = "",
    damaged: str = "is not YAML",
) -> object:
    """Read a YAML file: what it says in plain values, lists and mappings of them.

    A key that is there twice is refused. Aliases are allowed as long as, written out, they do not
    stand for more than ``MOST_VALUES`` values; those of themselves are not.

    Args:
        path: of the file.
        largest: bytes.
        error: what to raise.
        if_unreadable: what to do if the file cannot be read.
        if_damaged: what to do if it holds something else.
        damaged: what to say then; the reason follows in parentheses.

    Raises:
        S5ToLoihiError: of the kind ``error``: as above, or too large.
    """
    return _parsed(_yaml, path, largest, error, if_unreadable, if_damaged, damaged)


def read_json(
    path: str | os.PathLike[str],
    *,
    largest: int = LARGEST_TEXT,
    error: type[S5ToLoihiError] = InputError,
    if_unreadable: str = "",
    if_damaged: str = "",
) -> object:
    """Read a JSON file as ``read_yaml`` reads YAML; a key that is there twice is refused too."""
    return _parsed(parse_json, path, largest, error, if_unreadable, if_damaged, "is not JSON")


def _parsed(
    parse: Callable[[bytes], object],
    path: str | os.PathLike[str],
    largest: int,
    error: type[S5ToLoihiError],
    if_unreadable: str,
    if_damaged: str,
    damaged: str,
) -> object:
    content = read_bytes(path, largest, error, if_unreadable)
    try:
        return parse(content)
    except Exception as failure:  # a damaged file surfaces as almost any exception of a parser
        reason = " ".join(str(failure).split())[:200] or type(failure).__name__
        raise error(os.fspath(path), f"{damaged} ({reason})", if_damaged) from None


# --- JSON ----------------------------------------------------------------------------------------


def parse_json(content: bytes) -> object:
    """Return what a text says in JSON; a key that is there twice is refused.

    Raises:
        ValueError: it is none.
        RecursionError, MemoryError: it is too much.
    """
    if content.count(b"{") + content.count(b"[") + content.count(b",") > MOST_JSON_VALUES:
        raise ValueError(f"more than {MOST_JSON_VALUES:,} values")
    return json.loads(content, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r:.60} is there twice")
    return found


# --- YAML ----------------------------------------------------------------------------------------


class _Size(NamedTuple):
    """Of a part of a YAML file: values, and levels that they lie in one another."""

    values: int
    levels: int


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which checks the tree of a file before it builds values from it."""

    def __init__(self, text: str):
        super().__init__(text)
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count the values of a file as they are read."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        return super().compose_node(parent, index)

    def get_single_data(self) -> object:
        """Build the values of a file whose tree is in order."""
        node = self.get_single_node()
        if node is None:
            return None
        self._check(node, {})
        return self.construct_document(node)

    def _check(self, node: yaml.Node, seen: dict[yaml.Node, _Size | None]) -> _Size:
        """Check a tree and return its size with all aliases written out.

        Args:
            node: the tree's root.
            seen: sizes of the trees that were checked before; None while one is.
        """
        if node in seen:
            found = seen[node]
            if found is None:
                raise _refusal("an alias stands for what it is a part of", node)
            return found
        seen[node] = None
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        values, levels = 1, 1
        for part in parts:
            size = self._check(part, seen)
            values, levels = values + size.values, max(levels, 1 + size.levels)
            if values > MOST_VALUES or levels > MOST_LEVELS:
                limits = f"{MOST_VALUES:,} values or {MOST_LEVELS} levels"
                raise _refusal(f"with its aliases written out, it has over {limits}", node)
        size = seen[node] = _Size(values, levels)
        return size

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        """Refuse what its type cannot mean, in words that PyYAML does not have for it."""
        kind = node.tag.rpartition(":")[2]
        sexagesimal = kind in ("int", "float") and ":" in node.value
        try:
            node.value.encode()  # halves of characters are no text
            if sexagesimal and len(node.value) > LONGEST_SEXAGESIMAL:
                raise ValueError
            if node.tag != _MERGE:
                self.construct_object(node)
        except (ValueError, LookupError, AttributeError):
            raise _refusal(f"{node.value[:60]!r} is no {kind}", node) from None

    def _check_keys(self, node: yaml.MappingNode) -> None:
        """Refuse a key that is there twice, however it is written, and keys that are no scalars."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal("a key is no plain name", key)
            self._check_scalar(key)
            found: Hashable = _MERGE if key.tag == _MERGE else self.construct_object(key)
            if found in seen:
                raise _refusal(f"the key {key.value!r:.60} is there twice", key)
            seen.add(found)


def _refusal(what: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, what, node.start_mark)


def _yaml(content: bytes) -> object:
    loader = _Loader(content.decode("utf-8"))
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
