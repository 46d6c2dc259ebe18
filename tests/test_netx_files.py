"""Files that are damaged, foreign or hostile, and what is said aloud of the others."""

import os
import sys

import netx_files
import numpy as np
import pytest
from needs import needs_h5py
from netx_files import FLATTEN, conv, cuba, dense, inputs, sdnn

from s5_to_loihi import netx
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.files import hdf5
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.netx.lower import lower
from s5_to_loihi.netx.options import read_netx_options

h5py = pytest.importorskip("h5py", reason="h5py is not installed (s5_to_loihi[netx])")
pytestmark = needs_h5py

ONES = np.ones((3, 4))
KERNEL = np.ones((1, 1, 2, 2))
SUM = sdnn(1, sigma_output=True)
LAYERS = (inputs(4, sdnn(1)), dense(2 * ONES, sdnn(1)))


def written(tmp_path, *layers):
    return netx_files.write(tmp_path / "some.net", layers or LAYERS)


def read_error(path, **options) -> str:
    with pytest.raises(CheckpointError) as caught:
        netx.read(path, NetxOptions(**options))
    return str(caught.value)


def lowered(tmp_path, *layers, **options):
    file = netx.read(written(tmp_path, *layers), NetxOptions(**options))
    network, notes = lower(file, NetxOptions(**options), "some")
    return network, [*file.notes, *notes]


# Hostile and damaged


def replaced(tmp_path, name: str, replace) -> str:
    """Write a file, replace one of its entries, and return the error of reading it."""
    path = written(tmp_path)
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        replace(file, name)
    return read_error(path)


def outside(tmp_path):
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["weight"] = 2 * ONES
    return path


def test_links_are_not_followed(tmp_path):
    secret = outside(tmp_path)
    link = h5py.ExternalLink(str(secret), "/weight")
    message = replaced(tmp_path, "layer/1/weight", lambda f, name: f.__setitem__(name, link))
    assert "layer/1/weight: is a link out of the file" in message
    link = h5py.SoftLink("/layer/0/shape")
    message = replaced(tmp_path, "layer/1/weight", lambda f, name: f.__setitem__(name, link))
    assert "layer/1/weight: is a link to somewhere else" in message
    link = h5py.SoftLink("/nowhere")
    message = replaced(tmp_path, "layer", lambda f, name: f.__setitem__(name, link))
    assert "/layer: is a link" in message


def test_data_of_other_files_are_not_read(tmp_path):
    secret = outside(tmp_path)
    size = 3 * 4 * 8

    def external(file, name):
        file.create_dataset(name, (3, 4), "f8", external=[(str(secret), 0, size)])

    assert "keeps its data in another file" in replaced(tmp_path, "layer/1/weight", external)

    def virtual(file, name):
        layout = h5py.VirtualLayout((3, 4), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "weight", (3, 4))
        file.create_virtual_dataset(name, layout)

    assert "keeps its data in another file" in replaced(tmp_path, "layer/1/weight", virtual)


def test_a_small_file_cannot_fill_the_memory(tmp_path):
    def huge(file, name):
        file.create_dataset(name, (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression=9)

    path = written(tmp_path)
    assert "unpacks to more than 1024 MiB" in replaced(tmp_path, "layer/1/weight", huge)
    assert path.stat().st_size < 1 << 20

    def many(file, name):
        for index in range(60):
            file.create_dataset(f"{name}/{index}", (1 << 25,), "i1", chunks=(1 << 20,))

    assert "unpacks to more than" in replaced(tmp_path, "other", many)

    def large_chunk(file, name):
        file.create_dataset(name, (4,), "f4", chunks=(1 << 29,), maxshape=(None,))

    assert "unpacks to more than" in replaced(tmp_path, "layer/1/weight", large_chunk)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([("a", 1)], dtype=[("name", "S1"), ("n", "i4")]), "neither numbers nor text"),
        (np.array([1j]), "neither numbers nor text"),
        (np.array([b"x" * 300]), "is 1 texts of .* (limit 1)"),
        ("y" * 300, "no text of at most 256 characters"),
        (h5py.Empty("f4"), "is empty"),
    ],
)
def test_types_that_are_no_numbers_or_texts_are_refused(tmp_path, data, message):
    found = replaced(tmp_path, "layer/1/weight", lambda f, name: f.__setitem__(name, data))
    assert message.split(".*")[0] in found


def test_references_and_lists_of_any_length_are_refused(tmp_path):
    def references(file, name):
        file.create_dataset(name, (1,), h5py.ref_dtype)

    assert "neither numbers nor text" in replaced(tmp_path, "layer/1/weight", references)

    def lists(file, name):
        file.create_dataset(name, (2,), h5py.vlen_dtype(np.int32))

    assert "neither numbers nor text" in replaced(tmp_path, "layer/1/weight", lists)

    def named_type(file, name):
        file[name] = np.dtype("f4")

    assert "neither a group nor data" in replaced(tmp_path, "layer/1/weight", named_type)


def test_attributes_are_single_numbers_and_texts(tmp_path):
    for value, message in (
        (np.zeros(3), "more than one number or text"),
        (np.array(b"x" * 300), "more than one number or text"),
        ("y" * 300, "longer than 256 characters"),
        (np.complex128(1j), "neither a number nor text"),
    ):

        def add(file, name, value=value):
            file.create_group(name).attrs["schema"] = value

        assert message in replaced(tmp_path, "layer/1/model", add)

    def many(file, name):
        for index in range(100):
            file.require_group(name).attrs[f"a{index}"] = index

    assert "has 100 attributes" in replaced(tmp_path, "layer/1/model", many)


def test_groups_that_contain_themselves_end(tmp_path):
    def itself(file, name):
        file[name] = file["layer"]

    assert "groups deep" in replaced(tmp_path, "layer/1/again", itself)


def test_damaged_files_and_others_are_refused(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"PK\3\4", whole[:600], whole[: len(whole) // 2]):
        path.write_bytes(content)
        message = read_error(path)
        assert "some.net" in message
    assert "cannot be read" in read_error(tmp_path / "missing.net")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "pipe or a device" in read_error(pipe)


def test_bytes_changed_anywhere_end_in_an_error_or_a_network(tmp_path):
    """The library that reads them, in C, does not survive all of it: it has its own process."""
    path, rng = written(tmp_path), np.random.default_rng(3)
    whole, refused = path.read_bytes(), 0
    for _ in range(25):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 60)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            lower(netx.read(path), NetxOptions(), "changed")
        except CheckpointError:
            refused += 1
    assert 5 < refused < 25


def test_a_library_that_dies_is_an_error(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setattr(hdf5.sys, "executable", "/bin/false")
    assert "the HDF5 library fails on it (ended with 1)" in read_error(path)


# Foreign


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "no group 'layer'"),
        ((inputs(4, sdnn(1)), {"type": "pool", "shape": np.array([2])}), "has the type 'pool'"),
        ((inputs(4, sdnn(1)), {"shape": np.array([2])}), "layer 1: has no type"),
        ((dense(ONES, sdnn(1)) | {"shape": np.array([5])},), "weight is (3, 4) for 5 neurons"),
        ((dense(ONES * np.nan, sdnn(1)),), "not finite"),
        ((dense(ONES * 1e12, sdnn(1)),), "beyond 32 bits"),
        ((dense(ONES, sdnn(1, type="RF_IZ")),), "neurons of the type 'RF_IZ'"),
        ((dense(ONES, cuba(1, 5000, 2)),), "decays by (5000, 2)"),
        ((dense(ONES, sdnn(-1)),), "vThMant is -1"),
        ((dense(ONES, sdnn(1), delay=np.ones(5, np.float32)),), "delay has 5 entries"),
        ((dense(ONES, sdnn(1), bias=np.ones(2, np.float32)),), "bias has 2 entries"),
        ((inputs((0, 1, 1), sdnn(1)),), "has the shape [0, 1, 1]"),
        ((inputs((1 << 20, 1 << 20, 9), sdnn(1)),), "has the shape"),
    ],
)
def test_parts_that_are_missing_or_wrong_are_named(tmp_path, layers, message):
    path = netx_files.write(tmp_path / "some.net", layers)
    assert message in read_error(path)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ((inputs(5, sdnn(1)), dense(ONES, sdnn(1))), {}, "takes 4 inputs, the layer before has"),
        ((FLATTEN,), {}, "has no layers"),
        ((inputs(4),), {}, "has no layers with neurons"),
        ((inputs((1, 2, 2), sdnn(1)), dense(ONES, sdnn(1))), {}, "Put a flatten layer before it"),
        ((inputs(4, sdnn(1)), conv(KERNEL, (1, 1, 1), sdnn(1))), {}, "a convolution of"),
        ((conv(KERNEL, (1, 1, 1), sdnn(1)),), {}, "shape of its input"),
        (
            (inputs((1, 3, 3), sdnn(1)), conv(KERNEL, (1, 3, 3), sdnn(1))), {},
            "makes (width, height, channels) (2, 2, 1)",
        ),
        ((dense(ONES, SUM, bias=np.ones(3, np.float32)),), {}, "a sum with a bias"),
    ],
)  # fmt: skip
def test_layers_that_do_not_suit_each_other_are_refused(tmp_path, layers, options, message):
    with pytest.raises(CheckpointError) as caught:
        lowered(tmp_path, *layers, **options)
    assert message in str(caught.value)


# What netx does in silence


@pytest.mark.parametrize(
    ("layers", "options", "note"),
    [
        ((dense(ONES, sdnn(1, activation="identity")),), {}, "'identity' is run as a ReLU"),
        ((dense(ONES, sdnn(1)),), {}, "takes what it receives as bits"),
        ((dense(ONES, sdnn(1), delay=np.full(3, 99, np.float32)),), {}, "3 delays are longer"),
        ((dense(np.ones((4, 4)), sdnn(1), delay=np.ones(4, np.float32)),), {}, "square ones"),
        ((dense(ONES, sdnn(1)),), {"reset_interval": 9}, "resets are ignored"),
        ((dense(0 * ONES, sdnn(1)),), {}, "all weights are zero"),
        ((dense(-ONES, sdnn(1)),), {}, "clipped or truncated"),
        ((dense(ONES * 1.5, sdnn(1)),), {}, "12 of 12 entries of weight are no integers"),
        ((dense(ONES),), {}, "integrates for ever"),
        ((dense(ONES, cuba(1, 2, 3, refDelay=4)),), {}, "refDelay of the neurons are not read"),
        ((dense(ONES, cuba(1, 2, 3, gradedSpike=True)),), {}, "gradedSpike is not read"),
        ((inputs(4, sdnn(1)) | {"weight": np.array([3.0])}, *LAYERS[1:]), {}, "left to the caller"),
        (({"type": "dream"}, *LAYERS), {"drop_unknown": True}, "'dream' is left out, as netx does"),
    ],
)  # fmt: skip
def test_what_netx_does_in_silence_is_said(tmp_path, layers, options, note):
    _, notes = lowered(tmp_path, *layers, **options)
    assert any(note in one for one in notes), notes


def test_options_are_read_from_texts():
    options = read_netx_options(["skip-layers=1", "input_shape=4,5,2", "corrected=1"])
    assert (options.skip_layers, options.input_shape, options.corrected) == (1, (4, 5, 2), True)
    for argument, message in (
        ("colour=1", "is no argument of a netx network"),
        ("skip_layers", "is no argument"),
        ("skip_layers=x", "has no integer"),
        ("spike_exp=50", "is 50 (allowed 0..12)"),
        ("input_shape=4,5", "expected width, height, channels"),
    ):
        with pytest.raises(InputError) as caught:
            read_netx_options([argument])
        assert message in str(caught.value)


def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"s5_to_loihi\[netx\]"):
        hdf5.read(path)
