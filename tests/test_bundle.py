"""Bundles: the same network gives the same bytes, and what is damaged is refused or located."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intel_exports import Shape, small_trees, write_files
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import s5_to_loihi
from s5_to_loihi.bundle import MANIFEST, VECTORS, WEIGHTS, Bundle, read, write
from s5_to_loihi.bundle import storage as bundle_module
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.errors import BundleError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.text import to_text
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.verification import verify_interpreter

SHIPPED = Path(s5_to_loihi.__path__[0]) / "data" / "denoiser_small"
BUNDLES = Path(__file__).parent / "data" / "bundles"
FILES = (MANIFEST, VECTORS, WEIGHTS)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    compiled = compile_export(SHIPPED)
    return replace(compiled, vectors=compiled.vectors.first(20))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Bundle:
    return compile_export(write_files(tmp_path_factory.mktemp("export") / "small", small_trees()))


@pytest.fixture
def written(small, tmp_path) -> Path:
    write(small, tmp_path / "bundle")
    return tmp_path / "bundle"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refusal(path: Path, lenient: bool = False) -> str:
    """The message with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        read(path, lenient)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


# --- what is written is what is read -------------------------------------------------------------


def assert_same_constants(got: tuple, want: tuple) -> None:
    assert type(got) is type(want)
    for name, value, other in zip(want._fields, got, want, strict=True):
        if isinstance(other, np.ndarray):
            assert value.dtype == other.dtype == np.int64
            assert not value.flags.writeable
            np.testing.assert_array_equal(value, other, err_msg=name)
        elif isinstance(other, tuple) and not isinstance(other, Format):
            assert_same_constants(value, other)
        else:
            assert (type(value), value) == (type(other), other)


def assert_same_bundle(got: Bundle, want: Bundle) -> None:
    assert to_text(got.network) == to_text(want.network)
    for name in ("name", "input_size", "input_format", "output", "readout", "sequence_length"):
        assert getattr(got.network, name) == getattr(want.network, name)
    for group, other in zip(got.network.groups, want.network.groups, strict=True):
        assert group.kind is other.kind
        for name in ("name", "size", "phase", "formats", "port_exponents"):
            assert getattr(group, name) == getattr(other, name)
        assert_same_constants(group.constants, other.constants)
    for synapses, other in zip(got.network.synapses, want.network.synapses, strict=True):
        for name in ("name", "source", "target", "exponent", "delay"):
            assert getattr(synapses, name) == getattr(other, name)
        for name in ("data", "indices", "indptr"):
            array, wanted = getattr(synapses.weights, name), getattr(other.weights, name)
            assert array.dtype == wanted.dtype
            assert not array.flags.writeable
            np.testing.assert_array_equal(array, wanted)
    assert (got.source, got.notes, got.changed) == (want.source, want.notes, want.changed)
    assert (got.vectors is None) == (want.vectors is None)
    if want.vectors:
        np.testing.assert_array_equal(got.vectors.tokens, want.vectors.tokens)
        assert got.vectors.tokens.dtype == np.int64
        assert set(got.vectors.expected) == set(want.vectors.expected)
        for name, array in want.vectors.expected.items():
            np.testing.assert_array_equal(got.vectors.expected[name], array)
        assert got.vectors.recorded_as == want.vectors.recorded_as
        assert got.vectors.origin == want.vectors.origin


def test_shipped_export_survives_the_round_trip(shipped, tmp_path):
    write(shipped, tmp_path / "bundle")
    got = read(tmp_path / "bundle")
    assert_same_bundle(got, shipped)
    assert verify_interpreter(got.network, got.vectors).equal


@pytest.mark.parametrize("readout", Readout)
@pytest.mark.parametrize("norm_scale_bias", [True, False])
@pytest.mark.parametrize("glu", GluVariant)
def test_every_kind_of_neuron_survives_the_round_trip(tmp_path, glu, norm_scale_bias, readout):
    trees = small_trees(Shape(glu.value, norm_scale_bias))
    directory = write_files(tmp_path / "small", trees)
    compiled = compile_export(directory, ExportOptions(readout=readout), name="another name")
    write(compiled, tmp_path / "bundle")
    assert_same_bundle(read(tmp_path / "bundle"), compiled)


def test_bundle_without_vectors(small, tmp_path):
    write(replace(small, vectors=None), tmp_path / "bundle")
    got = read(tmp_path / "bundle")
    assert got.vectors is None
    assert_same_bundle(got, replace(small, vectors=None))


def test_names_outside_ascii(small, tmp_path):
    network = replace(small.network, name="Entrauscher für Büros 静か")
    write(replace(small, network=network), tmp_path / "bündel")
    assert read(tmp_path / "bündel").network.name == network.name


def test_same_input_gives_the_same_bytes(shipped, tmp_path):
    for name in ("first", "second"):
        compiled = compile_export(SHIPPED)
        write(replace(compiled, vectors=compiled.vectors.first(20)), tmp_path / name)
    write(read(tmp_path / "first"), tmp_path / "copied")
    assert sorted(contents(tmp_path / "first")) == sorted(FILES)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "copied")


def test_files_have_the_ordinary_rights(written, tmp_path):
    (tmp_path / "ordinary").write_text("")
    ordinary = stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.iterdir()} == {ordinary}


# --- writing: whole or not at all ----------------------------------------------------------------


def assert_only(directory: Path, *names: str) -> None:
    """Nothing else lies in the directory, hidden or not."""
    assert sorted(path.name for path in directory.iterdir()) == sorted(names)


def test_directories_above_are_made(small, tmp_path):
    write(small, tmp_path / "some" / "where" / "bundle")
    assert_same_bundle(read(tmp_path / "some" / "where" / "bundle"), small)


def test_bundle_is_replaced(small, shipped, written):
    write(shipped, written)
    assert_same_bundle(read(written), shipped)
    assert_only(written.parent, "bundle")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / MANIFEST).write_text('{"schema": "s5_to_'),
        lambda path: (path / WEIGHTS).unlink(),
        lambda path: (path / VECTORS).write_bytes(b""),
    ],
)
def test_damaged_bundle_is_replaced(small, written, damage):
    damage(written)
    refusal(written)
    write(small, written)
    assert_same_bundle(read(written), small)


def test_foreign_directory_is_left_alone(small, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for files in (
        {},
        {"thesis.tex": b"\\documentclass{book}"},
        {"manifest.json": b'{"name": "a browser extension", "manifest_version": 3}'},
        {"manifest.json": b"not even JSON", "thesis.tex": b"\\documentclass{book}"},
        {"manifest.json": b"[]"},
    ):
        for name, content in files.items():
            (foreign / name).write_bytes(content)
        before = contents(foreign)
        with pytest.raises(BundleError, match="exists and is not a bundle"):
            write(small, foreign)
        assert contents(foreign) == before
        assert_only(tmp_path, "foreign")


def test_file_is_left_alone(small, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write(small, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(BundleError, match="cannot be written"):
        write(small, tmp_path / "file" / "below")
    assert_only(tmp_path, "file")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("full")])
@pytest.mark.parametrize("failing", [WEIGHTS, VECTORS])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_half_written_stays(
    small, shipped, tmp_path, monkeypatch, replaced, failing, error
):
    path = tmp_path / "bundle"
    if replaced:
        write(shipped, path)

    def save(tensors, file):
        if Path(file).name == failing:
            Path(file).write_bytes(b"half")
            raise error
        save_file(tensors, file)

    monkeypatch.setattr(bundle_module, "save_file", save)
    with pytest.raises(BundleError, match=r"cannot be written \((No space left|full)"):
        write(small, path)
    assert_only(tmp_path, *(["bundle"] if replaced else []))
    if replaced:
        assert_same_bundle(read(path), shipped)


def test_old_bundle_comes_back_if_the_new_one_cannot_be_moved(
    small, shipped, tmp_path, monkeypatch
):
    path = tmp_path / "bundle"
    write(shipped, path)
    rename = os.rename

    def rename_all_but_the_new_one(source, target):
        if Path(source).name == "new":
            raise PermissionError(1, "Operation not permitted")
        rename(source, target)

    monkeypatch.setattr(bundle_module, "exchange", lambda new, old: False)
    monkeypatch.setattr(os, "rename", rename_all_but_the_new_one)
    with pytest.raises(BundleError, match=r"cannot be written \(Operation not permitted"):
        write(small, path)
    assert_only(tmp_path, "bundle")
    assert_same_bundle(read(path), shipped)


def test_a_replaced_bundle_is_exchanged_in_one_step(small, shipped, tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    write(shipped, path)
    renamed = []
    monkeypatch.setattr(os, "rename", lambda source, target: renamed.append(source))
    write(small, path)
    assert renamed == []
    assert_only(tmp_path, "bundle")
    assert_same_bundle(read(path), small)


def test_where_names_cannot_be_exchanged_a_killed_write_says_where_the_old_bundle_is(
    shipped, tmp_path
):
    path = tmp_path / "bundle"
    write(shipped, path)
    killed = f"""
import os
from s5_to_loihi.bundle import storage
storage.exchange = lambda new, old: False
rename = os.rename
def rename_once(source, target):
    if str(source) != {str(path)!r}:
        os._exit(9)
    rename(source, target)
os.rename = rename_once
storage.write(storage.read({str(path)!r}), {str(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", killed]).returncode == 9
    message = refusal(path)
    assert "does not exist. It was being replaced when that was killed: rename " in message
    old = Path(message.partition("rename ")[2].partition(" to it")[0])
    old.rename(path)
    assert_same_bundle(read(path), shipped)


def test_a_link_to_a_bundle_stays_one(small, shipped, tmp_path):
    write(shipped, tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write(small, tmp_path / "link")
    assert_only(tmp_path, "real", "link")
    assert (tmp_path / "link").is_symlink()
    assert_same_bundle(read(tmp_path / "real"), small)
    (tmp_path / "to_nothing").symlink_to("new")
    write(small, tmp_path / "to_nothing")
    assert_same_bundle(read(tmp_path / "new"), small)


# --- a damaged manifest --------------------------------------------------------------------------


def edit_manifest(path: Path, change: Callable[[dict], object], digest: bool = False) -> None:
    """Change the manifest; with ``digest``, also correct its digest, as a forger would."""
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    if digest:
        manifest["digest"] = bundle_module._manifest_digest(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_path_missing(tmp_path):
    message = refusal(tmp_path / "no")
    assert message.startswith(f"{tmp_path / 'no'}: does not exist. Make one with 's5-to-loihi comp")


def test_path_is_a_file(tmp_path):
    (tmp_path / "file").write_text("{}")
    assert "is not a bundle: it has no manifest.json" in refusal(tmp_path / "file")


def test_manifest_missing(written):
    (written / MANIFEST).unlink()
    assert "is not a bundle: it has no manifest.json. Make one with" in refusal(written)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is not JSON"),
        (b"# A manifest\n", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"schema": ' + b"9" * 5000 + b"}", ""),
        (b"[]", "is not a manifest of s5_to_loihi"),
        (b"null", "is not a manifest of s5_to_loihi"),
        (b'{"name": "another program"}', "is not a manifest of s5_to_loihi"),
        (b'{"schema": "s5_to_loihi bundle"}', "has schema version None"),
    ],
)
def test_manifest_with_foreign_content(written, content, part):
    (written / MANIFEST).write_bytes(content)
    message = refusal(written)
    assert MANIFEST in message
    assert part in message


def test_manifest_truncated(written):
    content = (written / MANIFEST).read_bytes()
    for length in (1, len(content) // 2, len(content) - 3):
        (written / MANIFEST).write_bytes(content[:length])
        assert "is not JSON" in refusal(written)


def test_manifest_too_large(written, monkeypatch):
    monkeypatch.setattr(bundle_module, "LARGEST_MANIFEST", 1000)
    assert "is larger than 0 MiB" in refusal(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["network"]["synapses"][3].update(delay=7),
        lambda manifest: manifest["network"]["groups"][0]["formats"].update(activation=[16, 3]),
        lambda manifest: manifest["source"].update(name="other"),
        lambda manifest: manifest["notes"].append("all is well"),
        lambda manifest: manifest.update(digest="0" * 64),
        lambda manifest: manifest.pop("digest"),
        lambda manifest: manifest.update(tool_version="99"),
        lambda manifest: manifest.update(surplus=1),
    ],
)
def test_edited_manifest(written, change):
    edit_manifest(written, change)
    for lenient in (False, True):
        message = refusal(written, lenient)
        assert f"{MANIFEST}: was changed or damaged after it was written" in message
        assert "Compile it again" in message


@pytest.mark.parametrize("name", ["export", "quantized"])
def test_a_bundle_of_schema_version_1_opens_and_computes_what_it_did(name):
    """Version 1 had formats that nothing read, and GELU as a kind of its own."""
    opened = read(BUNDLES / f"version1_{name}")
    assert verify_interpreter(opened.network, opened.vectors).equal
    if name == "quantized":
        state = opened.network.group("block0.state").constants
        assert state.decay == Format(16, 0)
        output = opened.network.group("block0.output")
        assert output.kind is KINDS["table_output"]
        assert (len(output.constants.table.knots), output.constants.odd) == (9, 0)


@pytest.mark.parametrize("version", [3, 10**30, "1", None, 1.0])
def test_newer_schema_version(written, version):
    edit_manifest(written, lambda manifest: manifest.update(schema_version=version), digest=True)
    message = refusal(written)
    assert f"has schema version {version!r:.20} (this program reads up to 2)" in message
    assert "Update s5_to_loihi" in message


def all_paths(node: object, path: tuple = ()) -> list[tuple]:
    """The path of every entry of a JSON document."""
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    found = [path] if path else []
    for key, child in children:
        found += all_paths(child, (*path, key))
    return found


FOREIGN_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([float("nan"), 0.5, -1, 0, 1, 2, 10**30, -(10**30), 2**63, 2**31]),
    st.builds(list),
    st.builds(dict),
    st.lists(st.integers(-3, 40), max_size=3),
)


@pytest.fixture(scope="module")
def small_bundle_files(small, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "bundle"
    write(small, path)
    return path


@pytest.mark.parametrize("value", [None, 3, "text", [3], "deleted"])
@pytest.mark.parametrize("key", ["network", "tensors", "vectors", "source"])
def test_forged_section(written, key, value):
    def change(manifest: dict) -> None:
        manifest[key] = value
        if value == "deleted":
            del manifest[key]

    edit_manifest(written, change, digest=True)
    if (key, value) == ("vectors", None):
        assert read(written).vectors is None
    else:
        assert "Compile it again" in refusal(written)


@pytest.mark.parametrize("size", [10**30, -(10**30), 2**62, 0, -1, None, "4", 4.5])
@pytest.mark.parametrize("axis", [0, 1])
def test_forged_shape(written, axis, size):
    def change(manifest: dict) -> None:
        manifest["network"]["synapses"][3]["shape"][axis] = size

    edit_manifest(written, change, digest=True)
    assert "Compile it again" in refusal(written)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_forged_manifest_is_read_or_refused(small_bundle_files, data):
    """A value of the manifest is deleted or replaced and the digest corrected: never a crash."""
    path = small_bundle_files
    original = (path / MANIFEST).read_bytes()
    paths = [entry for entry in all_paths(json.loads(original)) if entry[0] != "digest"]
    *parents, leaf = data.draw(st.sampled_from(paths))
    delete = data.draw(st.integers(0, 3)) == 0
    value = data.draw(FOREIGN_VALUES)

    def change(manifest: dict) -> None:
        node = manifest
        for key in parents:
            node = node[key]
        if delete:
            del node[leaf]
        else:
            node[leaf] = value

    try:
        edit_manifest(path, change, digest=True)
        read(path)
    except BundleError:
        pass
    finally:
        (path / MANIFEST).write_bytes(original)


# --- damaged tensors -----------------------------------------------------------------------------


def edit_tensors(
    path: Path, file: str, change: Callable[[dict], object], digest: bool = False
) -> None:
    """Change the tensors of a file; with ``digest``, correct the digests, as a forger would."""
    tensors = load_file(path / file)
    change(tensors)
    save_file(tensors, path / file)
    if digest:
        digests = bundle_module._digests(tensors)
        edit_manifest(path, lambda manifest: manifest["tensors"].update({file: digests}), True)


@pytest.mark.parametrize("file", [WEIGHTS, VECTORS])
def test_tensor_file_missing(written, file):
    (written / file).unlink()
    assert f"{written / file}: is missing. Compile it again" in refusal(written)
    (written / file).mkdir()
    assert f"{written / file}: cannot be read (Is a directory). Comp" in refusal(written)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("file", [WEIGHTS, VECTORS])
def test_tensor_file_truncated(written, file, lenient):
    content = (written / file).read_bytes()
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        (written / file).write_bytes(content[:length])
        assert f"{written / file}: is damaged" in refusal(written, lenient)


@pytest.mark.parametrize("file", [WEIGHTS, VECTORS])
def test_tensor_file_with_other_content(written, file):
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    for content in (
        b"x" * 500,
        b"\xff" * 500,
        bytes(500),
        len(header).to_bytes(8, "little") + header + b"12",
    ):
        (written / file).write_bytes(content)
        assert str(written / file) in refusal(written)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("file", [WEIGHTS, VECTORS])
def test_tensor_too_many_or_too_few(written, file, lenient):
    original = (written / file).read_bytes()
    edit_tensors(written, file, lambda tensors: tensors.update(surplus=np.zeros(3, np.int8)))
    assert "does not hold the tensors of the manifest (surplus)" in refusal(written, lenient)
    (written / file).write_bytes(original)
    name = sorted(load_file(written / file))[0]
    edit_tensors(written, file, lambda tensors: tensors.pop(name))
    assert f"does not hold the tensors of the manifest ({name})" in refusal(written, lenient)


def test_files_of_two_bundles(written, shipped, tmp_path):
    write(shipped, tmp_path / "other")
    for file in (WEIGHTS, VECTORS):
        original = (written / file).read_bytes()
        shutil.copy(tmp_path / "other" / file, written)
        assert f"{file}: " in refusal(written)
        (written / file).write_bytes(original)


def test_flipped_weight(written):
    def flip(tensors: dict) -> None:
        tensors["block1.C_re/data"][0] ^= 1

    edit_tensors(written, WEIGHTS, flip)
    message = refusal(written)
    assert f"{WEIGHTS}: tensor block1.C_re/data is not what was written" in message
    assert "Run 's5-to-loihi verify'" in message
    assert read(written, lenient=True).changed == ("block1.C_re/data",)


def test_every_changed_tensor_is_listed(written):
    def flip(name: str) -> Callable[[dict], None]:
        return lambda tensors: tensors[name].__setitem__(Ellipsis, tensors[name] ^ 1)

    edit_tensors(written, WEIGHTS, flip("decoder/bias"))
    edit_tensors(written, WEIGHTS, flip("block0.state/a_re"))
    edit_tensors(written, VECTORS, flip("expected/decoder.affine"))
    assert read(written, lenient=True).changed == (
        "block0.state/a_re",
        "decoder/bias",
        "expected/decoder.affine",
    )


@pytest.mark.parametrize(
    ("name", "index", "group"),
    [
        ("encoder.weight/data", 0, "encoder"),
        ("block0.norm/inverse_deviation", 1, "block0.norm"),
        ("block1.B_im/data", 0, "block1.state"),
        ("block1.state/a_re", 0, "block1.state"),
        ("block1.C_re/data", 0, "block1.output"),
        ("block2.D/data", 3, "block2.output"),
        ("block2.W2/data", 0, "block2.gate"),
        ("block2.gate/gate/bias", 1, "block2.gate"),
        ("decoder/bias", 4, "decoder"),
    ],
)
def test_verification_locates_a_flipped_weight(shipped, tmp_path, name, index, group):
    path = tmp_path / "bundle"
    write(shipped, path)

    def flip(tensors: dict) -> None:
        tensors[name][index] ^= 64

    edit_tensors(path, WEIGHTS, flip)
    damaged = read(path, lenient=True)
    assert damaged.changed == (name,)
    result = verify_interpreter(damaged.network, damaged.vectors)
    assert not result.equal
    assert result.first.group == group
    difference = result.first.first
    where = (difference.token, difference.sequence, difference.neuron)
    evaluation = Interpreter(damaged.network).evaluate(shipped.vectors.tokens, keep=None)
    assert difference.got == evaluation.values[result.first.value][where]
    assert difference.expected == shipped.vectors.expected[result.first.value][where]
    assert difference.got != difference.expected
    # and everything that comes before it is as it was recorded
    for tensor in result.tensors[: result.tensors.index(result.first)]:
        assert tensor.first is None or tensor.first.token > difference.token


def test_changed_recording_is_located_too(shipped, tmp_path):
    path = tmp_path / "bundle"
    write(shipped, path)

    def flip(tensors: dict) -> None:
        tensors["expected/block1.output.y"][7, 1, 5] += 3

    edit_tensors(path, VECTORS, flip)
    damaged = read(path, lenient=True)
    assert damaged.changed == ("expected/block1.output.y",)
    result = verify_interpreter(damaged.network, damaged.vectors)
    assert [tensor.value for tensor in result.tensors if tensor.differing] == ["block1.output.y"]
    tensor = result.first
    assert (tensor.differing, tensor.largest) == (1, 3)
    assert (tensor.first.token, tensor.first.sequence, tensor.first.neuron) == (7, 1, 5)
    assert tensor.first.expected == tensor.first.got + 3


def changed(part: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], None]:
    """A change of one array of the sparse matrix B of the second block."""

    def edit(tensors: dict) -> None:
        name = f"block1.B_re/{part}"
        tensors[name] = np.ascontiguousarray(change(tensors[name].copy()))

    return edit


def with_entry(index: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


SPARSE_DAMAGE = {
    "column beyond the matrix": changed("indices", with_entry(0, 4)),
    "negative column": changed("indices", with_entry(0, -1)),
    "huge column": changed("indices", with_entry(-1, 2**31 - 1)),
    "columns out of order": changed("indices", lambda array: array[::-1]),
    "same column twice": changed("indices", lambda array: array * 0),
    "too few columns": changed("indices", lambda array: array[:-1]),
    "too few weights": changed("data", lambda array: array[:-1]),
    "no weights": changed("data", lambda array: array[:0]),
    "weights beyond int8": changed("data", lambda array: array.astype(np.int16) + 1000),
    "floating weights": changed("data", lambda array: array.astype(np.float32) + 0.5),
    "NaN weights": changed("data", lambda array: array * np.float32("nan")),
    "floating columns": changed("indices", lambda array: array.astype(np.float64)),
    "start not 0": changed("indptr", with_entry(0, 1)),
    "rows backwards": changed("indptr", lambda array: array[::-1]),
    "end beyond the weights": changed("indptr", with_entry(-1, 2**31 - 1)),
    "negative end": changed("indptr", with_entry(-1, -1)),
    "too few rows": changed("indptr", lambda array: array[:-1]),
    "no rows": changed("indptr", lambda array: array[:0]),
    "rows as a scalar": changed("indptr", lambda array: array[0]),
    "rows as a matrix": changed("indptr", lambda array: array[:, None]),
    "weights as a matrix": changed("data", lambda array: array[None]),
    # differences of these wrap around to small positive numbers, or to 4 thousand million
    "rows that wrap around": changed(
        "indptr", lambda array: np.array([0, 2**31 - 1, -(2**31), -1, 0, array[-1]], np.int32)
    ),
    "unsigned rows backwards": changed("indptr", lambda array: array[::-1].astype(np.uint32)),
    "rows of uint64": changed("indptr", lambda array: array.astype(np.uint64)),
    "bits": changed("data", lambda array: array > 0),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("damage", SPARSE_DAMAGE)
def test_damaged_sparse_storage(written, damage, lenient):
    """Caught without the digests too: they are corrected, or not looked at."""
    edit_tensors(written, WEIGHTS, SPARSE_DAMAGE[damage], digest=not lenient)
    assert "Compile it again" in refusal(written, lenient)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("decoder/bias", lambda array: array[:-1]),
        ("decoder/bias", lambda array: array[None]),
        ("decoder/bias", lambda array: array.astype(np.float64)),
        ("block0.state/a_re", lambda array: array[0]),
        ("block0.norm/minus_mean", lambda array: array * np.float32("nan")),
    ],
)
def test_damaged_constants(written, name, change, lenient):
    def edit(tensors: dict) -> None:
        tensors[name] = np.ascontiguousarray(change(tensors[name]))

    edit_tensors(written, WEIGHTS, edit, digest=not lenient)
    assert "Compile it again" in refusal(written, lenient)
