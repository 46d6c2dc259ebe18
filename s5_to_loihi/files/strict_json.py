"""Files of JSON that hold one value of a dataclass: written whole, read strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import replacing

#: No count, time or power comes near it, and products of numbers up to it are finite.
LARGEST_NUMBER = 1e15
#: Allowed texts of a field: (class, field) -> texts.
Allowed = Mapping[tuple[type, str], tuple[str, ...]]


def write_value(value, path: Path, schema: str, version: int) -> None:
    """Write a dataclass as JSON with its schema, whole or not at all."""
    content = {"schema": schema, "schema_version": version, **dataclasses.asdict(value)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def read_value(
    cls: type,
    path: Path,
    schema: str,
    version: int,
    largest: int,
    kind: str,
    origin: str,
    allowed: Allowed = types.MappingProxyType({}),
):
    """Read a value and check all of it.

    Args:
        cls: a dataclass of texts, numbers, other dataclasses, and tuples and mappings of them.
        path: of the file.
        schema, version: that it must have.
        largest: bytes.
        kind: what such a file is, for people: ``measured profile``.
        origin: what writes such files, for people.
        allowed: the texts that a field may have, if not any.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    path = Path(path)
    give = f"Give the file that {origin} wrote"
    try:
        if path.stat().st_size > largest:
            raise InputError(str(path), f"is larger than {largest >> 20} MiB")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(str(path), "is not JSON", give) from None
    if not isinstance(content, dict) or content.pop("schema", None) != schema:
        raise InputError(str(path), f"is no {kind}", give)
    found = content.pop("schema_version", None)
    if found != version:
        what = f"has schema version {found} (limit {version})"
        raise InputError(str(path), what, "Use the version of s5_to_loihi that wrote it")
    return _built(cls, content, str(path), allowed)


def _built(cls: type, content, where: str, allowed: Allowed):
    """Make a dataclass of a JSON object."""
    if not isinstance(content, dict):
        raise InputError(where, f"is {_shown(content)}", "Give an object")
    hints = typing.get_type_hints(cls)
    for name in sorted(content.keys() ^ hints.keys()):
        known = "is missing" if name in hints else "is unknown"
        raise InputError(f"{where}: {name}", known, "Give the file as it was written")
    parts = {}
    for name, hint in hints.items():
        place = f"{where}: {name}"
        parts[name] = _value(hint, content[name], place, allowed)
        texts = allowed.get((cls, name), (parts[name],))
        if parts[name] not in texts:
            raise InputError(place, f"is {_shown(parts[name])}", f"Use one of {', '.join(texts)}")
    try:
        return cls(**parts)
    except ValueError as error:  # what the class itself demands
        raise InputError(where, str(error)) from None


def _value(hint, value, where: str, allowed: Allowed):
    """Check one value against the type that its field is annotated with."""
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return None if value is None else _value(arguments[0], value, where, allowed)
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(where, f"is {_shown(value)}", "Give a list")
        entries = enumerate(value)
        return tuple(_value(arguments[0], one, f"{where}[{i}]", allowed) for i, one in entries)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise InputError(where, f"is {_shown(value)}", "Give an object")
        entries = value.items()
        return {
            name: _value(arguments[1], one, f"{where}: {name}", allowed) for name, one in entries
        }
    if dataclasses.is_dataclass(hint):
        return _built(hint, value, where, allowed)
    if issubclass(hint, str):
        texts = tuple(member.value for member in hint) if issubclass(hint, Enum) else None
        if not isinstance(value, str) or (texts and value not in texts):
            what = f"Use one of {', '.join(texts)}" if texts else "Give a text"
            raise InputError(where, f"is {_shown(value)}", what)
        return hint(value)
    number = isinstance(value, int) or (hint is float and isinstance(value, float))
    if not number or isinstance(value, bool) or not 0 <= value <= LARGEST_NUMBER:
        what = f"Give a number ({hint.__name__}) from 0 to {LARGEST_NUMBER:g}"
        raise InputError(where, f"is {_shown(value)}", what)
    return hint(value)


def _shown(value) -> str:
    return repr(value)[:60]
