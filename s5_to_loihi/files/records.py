"""Files of JSON that hold one value of a dataclass: written whole, read strictly."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from enum import Enum

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.writing import write_json

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: No count, time or power comes near it, and products of numbers up to it are finite.
LARGEST_NUMBER = 1e15
#: A number that may be negative, as a field of a record; others are counts, times and powers.
Signed = typing.Annotated[float, "signed"]
SignedInteger = typing.Annotated[int, "signed"]
#: Allowed texts of a field: (class, field) -> texts.
Allowed = Mapping[tuple[type, str], tuple[str, ...]]
_ANY: Allowed = types.MappingProxyType({})
Record = typing.TypeVar("Record")


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a kind of file says of itself.

    Attributes:
        name: for people: ``measured profile``.
        key, version: that such a file says; without a version if None.
        largest: bytes.
        do: what to do about another file.
    """

    name: str
    key: str
    version: int | None
    largest: int
    do: str


def write_record(value: DataclassInstance, path: str | os.PathLike[str], schema: Schema) -> None:
    """Write a dataclass as JSON with its schema, whole or not at all."""
    version = {} if schema.version is None else {"schema_version": schema.version}
    write_json(path, {"schema": schema.key, **version, **dataclasses.asdict(value)})


def read_record(
    cls: type[Record], path: str | os.PathLike[str], schema: Schema, allowed: Allowed = _ANY
) -> Record:
    """Read a value and check all of it.

    Args:
        cls: a dataclass of texts, numbers, flags, enumerations of texts, other dataclasses, and
            tuples and mappings of them.
        path: of the file.
        schema: that it must have.
        allowed: the texts that a field may have, if not any.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    where = os.fspath(path)
    content = read_json(path, largest=schema.largest, if_damaged=schema.do)
    if not isinstance(content, dict) or content.pop("schema", None) != schema.key:
        raise InputError(where, f"is no {schema.name}", schema.do)
    found = content.pop("schema_version", None)
    if found != schema.version:
        what = f"has schema version {found!r:.20} (limit {schema.version})"
        raise InputError(where, what, "Use the version of s5_to_loihi that wrote it")
    return built(cls, content, where, allowed)


def built(cls: type[Record], content: object, where: str, allowed: Allowed = _ANY) -> Record:
    """Make a dataclass of a mapping that names all its fields and nothing else.

    Args:
        cls: see ``read_record``.
        content: as JSON or YAML say it.
        where: it stands, for messages.
        allowed: see ``read_record``.

    Raises:
        InputError: a part is missing, unknown or not what it should be.
    """
    if not isinstance(content, dict):
        raise InputError(where, f"is {_shown(content)}", "Give an object")
    hints = typing.get_type_hints(cls, include_extras=True)
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


def _value(hint: typing.Any, value: object, where: str, allowed: Allowed) -> typing.Any:
    """Check one value against the type that its field is annotated with."""
    lowest = 0.0
    if hint in (Signed, SignedInteger):
        hint, lowest = typing.get_args(hint)[0], -LARGEST_NUMBER
    arguments = typing.get_args(hint)
    if set(arguments) == {int, str}:
        return _value(str if isinstance(value, str) else int, value, where, allowed)
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
        pairs = value.items()
        return {name: _value(arguments[1], one, f"{where}: {name}", allowed) for name, one in pairs}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return built(hint, value, where, allowed)
    if issubclass(hint, str):
        texts = tuple(member.value for member in hint) if issubclass(hint, Enum) else None
        if not isinstance(value, str) or (texts and value not in texts):
            what = f"Use one of {', '.join(texts)}" if texts else "Give a text"
            raise InputError(where, f"is {_shown(value)}", what)
        return hint(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise InputError(where, f"is {_shown(value)}", "Give true or false")
        return value
    is_number = isinstance(value, (int, float) if hint is float else int)
    if isinstance(value, bool) or not is_number or not lowest <= hint(value) <= LARGEST_NUMBER:
        what = f"Give a number ({hint.__name__}) from {lowest:g} to {LARGEST_NUMBER:g}"
        raise InputError(where, f"is {_shown(value)}", what)
    return hint(value)


def _shown(value: object) -> str:
    return repr(value)[:60]
