"""Text files are read within bounds, by one reader: hostile ones end in the caller's error."""

import json
import os
import time
from dataclasses import dataclass
from enum import Enum

import pytest

from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.files import reading
from s5_to_loihi.files.reading import read_bytes, read_json, read_yaml
from s5_to_loihi.files.records import Schema, built, read_record, write_record

LEVELS = "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 11)
)
MERGED = "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n"
    for level in range(1, 11)
)


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_blocks_that_are_equal_may_be_aliases_of_one(file):
    text = "blocks:\n- &block {kind: s5, norm: {kind: batch}}\n- *block\n- *block\n"
    block = {"kind": "s5", "norm": {"kind": "batch"}}
    assert read_yaml(file(text)) == {"blocks": [block] * 3}


def test_merged_mappings_are_overridden_by_their_own_keys(file):
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\nd: {<<: [*b, *a], z: 4}"
    assert read_yaml(file(text)) == {
        "a": {"x": 1, "y": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 3, "y": 2},
        "d": {"x": 1, "y": 2, "z": 4},
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is there twice"),
        ("8: 1\n0x8: 2\n", "the key '0x8' is there twice"),
        ("a: {b: {c: 1, c: 1}}", "the key 'c' is there twice"),
        ("? [a]\n: 1", "a key is no plain name"),
        ("a: &a {b: *a}", "an alias stands for what it is a part of"),
        (f"a0: &a0 [x]\n{LEVELS}", "over 100,000 values"),
        (f"a0: &a0 {{x: 1}}\n{MERGED}", "over 100,000 values"),
        ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200)), "levels"),
        (f"[{'a,' * 400_000}]", "more than 100,000 values"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("a: !!timestamp x", "'x' is no timestamp"),
        ("a: 2001-99-99", "'2001-99-99' is no timestamp"),
        ("a: !!bool maybe", "'maybe' is no bool"),
        (f"a: {'9' * 5000}", "is no int"),
        (f"a: 1{':1' * 200_000}", "is no int"),
        (f"a: 1{':1' * 200_000}.5", "is no float"),
        ('a: "\\ud800"', "is no str"),
        ("!!python/object/apply:os.system [false]", "could not determine a constructor"),
        (b"\xff\xfe", "can't decode byte"),
        ("\0", "special characters are not allowed"),
    ],
)
def test_what_is_no_sensible_yaml_is_refused_soon(file, content, reason):
    path = file(content)
    started = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        read_yaml(path, error=CheckpointError, if_damaged="Repair it")
    assert time.process_time() - started < 10
    message = str(caught.value)
    assert message.startswith(f"{path}: is not YAML (")
    assert reason in message
    assert message.endswith("). Repair it.")
    assert len(message) < 500


def test_an_error_without_words_is_named_by_its_kind(file, monkeypatch):
    def full(content):
        raise MemoryError

    monkeypatch.setattr(reading, "_yaml", full)
    with pytest.raises(InputError, match=r"is not YAML \(MemoryError\)"):
        read_yaml(file("a: 1"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": [{"b": 1, "c": 2, "b": 3}]}', "the key 'b' is there twice"),
        (b"9" * 5000, "4300 digits"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (b"\xff\xfe\x00", "can't decode byte"),
    ],
)
def test_what_is_no_json_is_refused(file, content, reason):
    with pytest.raises(InputError) as caught:
        read_json(file(content), if_damaged="Repair it")
    assert "is not JSON (" in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("). Repair it.")


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "pipe", "it is a pipe or a device"),
        ("/dev/zero", "it is a pipe or a device"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        ("\ud800", "surrogates not allowed"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            read(path, if_unreadable="Check it")
        assert str(caught.value).endswith("). Check it.")


def test_sizes_are_bounded_before_anything_is_parsed(file):
    path = file(b" " * 2048)
    assert len(read_bytes(path, 2048)) == 2048
    with pytest.raises(InputError, match="is larger than 0 MiB"):
        read_bytes(path, 2047)
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read_yaml(file(b"#" * ((1 << 20) + 1)))


# Records


class Colour(str, Enum):
    """Of a part."""

    RED = "red"


@dataclass(frozen=True)
class Part:
    """Of a whole."""

    colour: Colour
    size: float
    hidden: bool


@dataclass(frozen=True)
class Whole:
    """All kinds of fields that no other test reads."""

    count: int | None
    parts: tuple[Part, ...]


WHOLE = Whole(None, (Part(Colour.RED, 0.5, True), Part(Colour.RED, 2.0, False)))
SCHEMA = Schema(name="whole", key="test", version=None, largest=1 << 20, do="Look elsewhere")


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(WHOLE, tmp_path / "whole.json", SCHEMA)
    assert "schema_version" not in json.loads((tmp_path / "whole.json").read_text())
    assert read_record(Whole, str(tmp_path / "whole.json"), SCHEMA) == WHOLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 1}, "parts[0]: hidden: is 1. Give true or false"),
        ({"hidden": "true"}, "parts[0]: hidden: is 'true'. Give true or false"),
        ({"colour": "blue"}, "parts[0]: colour: is 'blue'. Use one of red"),
        ({"size": True}, "parts[0]: size: is True. Give a number (float)"),
        ({"size": -1}, "parts[0]: size: is -1. Give a number (float)"),
        ({"weight": 1}, "parts[0]: weight: is unknown"),
    ],
)
def test_a_part_of_another_type_is_named(change, message):
    part = {"colour": "red", "size": 1, "hidden": True} | change
    with pytest.raises(InputError) as caught:
        built(Whole, {"count": 3, "parts": [part]}, "here")
    assert str(caught.value).startswith(f"here: {message}")
