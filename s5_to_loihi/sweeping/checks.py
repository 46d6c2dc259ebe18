"""Checks of what a YAML file says: each returns what is meant, or names the mistake.

A check takes where a value stands and the value. What is wrong is shown without writing out what
aliases of YAML may have made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_yaml

LARGEST_AXIS = 1000
LONGEST_TEXT = 500

Check = Callable[[str, Any], Any]


def read_mapping(path: Path) -> dict:
    """Read a mapping.

    Raises:
        InputError: no such file, too large, no YAML, or not a mapping.
    """
    content = read_yaml(path, if_unreadable="Check the path", if_damaged="See docs/sweep.md")
    if not isinstance(content, dict):
        raise InputError(str(path), f"is {shown(content)}", "Start from examples/sweep.yaml")
    return content


def check_keys(where: str, content: Any, known: Collection[str], required: Collection[str]) -> None:
    """Refuse anything but a mapping with all required keys and no unknown one."""
    if not isinstance(content, dict):
        raise InputError(where, f"is {shown(content)}", f"Give a mapping of {', '.join(known)}")
    for key in content:
        if key not in known:
            raise InputError(where, f"has the unknown key {shown(key)}", f"Use {', '.join(known)}")
    for key in required:
        if key not in content:
            raise InputError(where, f"has no {key}", "Start from examples/sweep.yaml")


def optional(where: str, name: str, content: dict, check: Check) -> Any:
    """Check an entry of a mapping; None if it is missing or null."""
    value = content.get(name)
    return None if value is None else check(f"{where}: {name}", value)


def list_of(where: str, values: Any, check: Check) -> tuple:
    """Check a list of different values."""
    if not isinstance(values, (list, tuple)) or not 0 < len(values) <= LARGEST_AXIS:
        raise InputError(
            where,
            f"is {shown(values)}",
            f"Give a list of 1 to {LARGEST_AXIS} values, [like, this]",
        )
    found = tuple(check(f"{where}[{index}]", value) for index, value in enumerate(values))
    for index, value in enumerate(found):
        if value in found[:index]:
            raise InputError(f"{where}[{index}]", f"{value} is there twice", "Give it once")
    return found


def text(where: str, value: Any) -> str:
    """Check a text of a sensible length."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or "\0" in value:
        raise InputError(where, f"is {shown(value)}", f"Give 1 to {LONGEST_TEXT} characters")
    return value


def file(suffixes: tuple[str, ...]) -> Check:
    """Check a file name by its suffix."""

    def check(where: str, value: Any) -> str:
        if Path(text(where, value)).suffix.lower() not in suffixes:
            raise InputError(where, f"is {shown(value)}", f"Give a file: {', '.join(suffixes)}")
        return value

    return check


def one_of(names: Collection) -> Check:
    """Check for one of some values of the same kind."""

    def check(where: str, value: Any) -> Any:
        if not any(value == name and type(value) is type(name) for name in names):
            raise InputError(
                where, f"is {shown(value)}", f"Use one of {', '.join(map(str, names))}"
            )
        return value

    return check


def choice(enumeration: type[Enum]) -> Check:
    """Check for the value of an enumeration; gives its member."""
    by_name: dict[Any, Enum] = {member.value: member for member in enumeration}
    check = one_of(tuple(by_name))
    return lambda where, value: by_name[check(where, value)]


def whole(fewest: int, most: int) -> Check:
    """Check for a whole number within limits, both included."""

    def check(where: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not fewest <= value <= most:
            what = f"Give a whole number from {fewest} to {most}"
            raise InputError(where, f"is {shown(value)}", what)
        return value

    return check


def whole_or(fewest: int, most: int, names: Iterable[str]) -> Check:
    """Check for a whole number within limits, or a name."""
    number, known = whole(fewest, most), tuple(names)

    def check(where: str, value: Any) -> int | str:
        if not isinstance(value, str):
            found: int = number(where, value)
            return found
        if value not in known:
            raise InputError(where, f"is {shown(value)}", f"Give a number, or {', '.join(known)}")
        return value

    return check


def share(where: str, value: Any) -> float:
    """Check for a number from 0 to below 1."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        what = "Give a number from 0 to below 1, or null for the checkpoint's own sparsity"
        raise InputError(where, f"is {shown(value)}", what)
    return float(value)


def positive(where: str, value: Any) -> float:
    """Check for a finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < 2**53:
        raise InputError(where, f"is {shown(value)}", "Give a number above 0")
    return float(value)


def flag(where: str, value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise InputError(where, f"is {shown(value)}", "Give true or false")
    return value


def or_none(check: Check) -> Check:
    """Allow null as well."""
    return lambda where, value: None if value is None else check(where, value)


def shown(value: Any) -> str:
    """Describe a value without writing out what aliases of YAML may have made of it."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}..."
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of many digits"
    if isinstance(value, (int, float)) or value is None:
        return "null" if value is None else repr(value)
    kinds: dict[type, str] = {dict: "a mapping", list: "a list", tuple: "a list"}
    return kinds.get(type(value), f"of the kind {type(value).__name__}")
