"""The reader of Intel's pickles reads what they hold, runs nothing, and fails in one way only."""

import collections
import os
import pickle
import re
import struct
from pathlib import Path

import intel_pickles
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from s5_to_loihi.checkpoints import restricted_pickle
from s5_to_loihi.checkpoints.restricted_pickle import ComplexFxpArray, FxpArray, read_pickle
from s5_to_loihi.errors import CheckpointError

PROTOCOL_4 = b"\x80\x04"
ARRAY_TYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    encoded = value.encode()
    return b"\x8c" + bytes([len(encoded)]) + encoded


def name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(attribute) + b"\x93"


def array_program(
    dtype: bytes = text("i4"),
    shape: bytes = b"K\x02\x85",
    data: bytes = b"C\x08" + bytes(8),
    dtype_rest: bytes = b"NNN",
    kind: bytes = name("numpy", "ndarray"),
) -> bytes:
    """The operations that make a numpy array; each part can be replaced by a wrong one."""
    numpy_type = name("numpy", "dtype") + dtype + b"\x89\x88\x87R"
    numpy_type += b"(K\x03" + text("<") + dtype_rest + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = name("numpy.core.multiarray", "_reconstruct") + kind + b"K\x00\x85C\x01b\x87R"
    return made + b"(K\x01" + shape + numpy_type + b"\x89" + data + b"tb"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "file.pkl"


def read_bytes(path: Path, content: bytes) -> object:
    path.write_bytes(content)
    return read_pickle(path)


def refusal(path: Path, content: bytes) -> str:
    """The message with which a file is refused; it always names the file."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_pickle(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    return message


def assert_same(got: object, want: object) -> None:
    """Equality with types; Intel's stand-ins are equal to the dataclasses that are read."""
    if isinstance(want, intel_pickles.FxpArray):
        assert type(got) is FxpArray
        assert (got.bits, got.exp, got.signed) == (want.bits, want.exp, want.signed)
        assert_same(got.data, want.data)
    elif isinstance(want, intel_pickles.ComplexFxpArray):
        assert type(got) is ComplexFxpArray
        assert_same(got.real, want.real)
        assert_same(got.imag, want.imag)
    elif isinstance(want, (np.ndarray, np.generic)):
        assert type(got) is type(want)
        assert got.dtype == want.dtype.newbyteorder("=")
        assert got.dtype.isnative
        assert not got.flags.writeable
        assert got.shape == want.shape
        np.testing.assert_array_equal(got, want)
    elif isinstance(want, dict):
        assert type(got) is dict
        assert list(got) == list(want)
        for key in want:
            assert_same(got[key], want[key])
    elif isinstance(want, (tuple, list)):
        assert type(got) is type(want)
        assert len(got) == len(want)
        for got_item, want_item in zip(got, want, strict=True):
            assert_same(got_item, want_item)
    else:
        assert type(got) is type(want)
        assert got == want


def export_tree() -> dict:
    """A tree with everything that an export holds."""
    shared = np.arange(6, dtype=np.int32).reshape(2, 3)
    part = intel_pickles.fxp_array(shared, 16, 14)
    other = intel_pickles.fxp_array(np.array(7, np.int32), 8, -2, signed=False)
    return {
        "intermediates": {"x": part, "Bu": intel_pickles.complex_fxp_array(part, other)},
        "weights": [shared, np.linspace(0, 1, 300, dtype=np.float32)],
        "scales": (np.float32(0.5), None, True, 3, -(2**40), 0.25, "exponent", b"bytes"),
        "empty": [{}, [], (), np.zeros((0, 3), np.float32)],
    }


# What is read


def test_tree_of_an_export(scratch):
    tree = export_tree()
    intel_pickles.write_pickle(scratch, tree)
    got = read_pickle(scratch)
    assert_same(got, tree)
    assert got["weights"][0] is got["intermediates"]["x"].data


def test_writer_refers_to_the_names_of_intels_exports(scratch):
    intel_pickles.write_pickle(scratch, export_tree())
    content = scratch.read_bytes()
    for module, attribute in (
        ("jax._src.array", "_reconstruct_array"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("sparseRNNs.fxparray", "FxpArray"),
    ):
        assert text(module) + b"\x94" + text(attribute) in content


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(ARRAY_TYPES), fortran=st.booleans())
def test_jax_arrays(scratch, data, dtype, fortran):
    shape = data.draw(numpy_strategies.array_shapes(min_dims=0, min_side=0))
    array = data.draw(numpy_strategies.arrays(np.dtype(dtype), shape))
    array = np.array(array, order="F" if fortran else "C")
    intel_pickles.write_pickle(scratch, {"array": array})
    assert_same(read_pickle(scratch)["array"], array)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ARRAY_TYPES)
def test_numpy_arrays_and_scalars(scratch, dtype, byte_order, order, protocol):
    wanted_type = np.dtype(dtype).newbyteorder(byte_order)
    array = np.array([[1, 0, 3], [4, 5, 6]], wanted_type, order=order)
    read_only = array.copy(order="K")
    read_only.flags.writeable = False
    tree = {"array": array, "again": array, "read_only": read_only, "scalar": array[1, 2]}
    assert_same(read_bytes(scratch, pickle.dumps(tree, protocol)), tree)


def test_both_spellings_of_numpy(scratch):
    program = array_program()
    for spelling in ("numpy.core.multiarray", "numpy._core.multiarray"):
        changed = program.replace(text("numpy.core.multiarray"), text(spelling))
        assert_same(read_bytes(scratch, PROTOCOL_4 + changed + b"."), np.zeros(2, np.int32))


def test_arrays_are_aligned(scratch):
    tree = [np.full(length, length, np.float64) for length in range(1, 50)]
    intel_pickles.write_pickle(scratch, tree)
    assert all(array.flags.aligned for array in read_pickle(scratch))


def test_ordered_dict_becomes_a_dict(scratch):
    want = {"b": 1, "a": [2]}
    assert_same(read_bytes(scratch, pickle.dumps(collections.OrderedDict(want), 4)), want)


def test_exponent_as_a_jax_scalar(scratch):
    part = intel_pickles.fxp_array(np.zeros(3, np.int32), 16, np.array(11, np.int32))
    intel_pickles.write_pickle(scratch, part)
    got = read_pickle(scratch)
    assert type(got.exp) is int
    assert got.exp == 11


NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False)
TREES = st.recursive(
    st.none() | NUMBERS | st.text() | st.binary(),
    lambda children: (
        st.lists(children)
        | st.lists(children).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**62), 2**62), children)
    ),
)


@settings(deadline=None)
@given(TREES, st.sampled_from([4, 5]))
def test_plain_values(scratch, value, protocol):
    assert_same(read_bytes(scratch, pickle.dumps(value, protocol)), value)


def test_containers_longer_than_a_batch_of_the_pickler(scratch):
    tree = {"list": list(range(2500)), "dict": {str(key): key for key in range(2500)}}
    assert_same(read_bytes(scratch, pickle.dumps(tree, 4)), tree)


# What must not run


class Attack:
    """An object whose unpickling would create a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


class Foreign:
    """An object of a class that is not on the list; Python would import its module."""


def call(module: str, attribute: str, argument: str) -> bytes:
    """The operations that call a function with one str."""
    return name(module, attribute) + text(argument) + b"\x85R"


def operations(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol)[2:-1]


def attacks(marker: Path) -> dict[str, bytes]:
    """Programs that would create the file ``marker``, or use an operation that may run code."""
    command = f"touch '{marker}'"
    os_system = name("os", "system")
    system = call("os", "system", command)
    fxp_array = name("sparseRNNs.fxparray", "FxpArray")
    jax_array = name("jax._src.array", "_reconstruct_array")
    return {
        "reduce": operations(Attack(marker)),
        "reduce in a dict": operations({"weights": [Attack(marker)]}),
        "reduce in protocol 5": operations((1, Attack(marker)), 5),
        "GLOBAL": b"cposix\nsystem\n" + text(command) + b"\x85R",
        "INST": b"(" + text(command) + b"iposix\nsystem\n",
        "OBJ": b"(cposix\nsystem\n" + text(command) + b"o",
        "STACK_GLOBAL": system,
        "dotted name": call("numpy", "core.os.system", command),
        "dotted name in a listed module": call("numpy.core.multiarray", "os.system", command),
        "eval": call("builtins", "eval", f"open({str(marker)!r}, 'w')"),
        "function of a jax array": jax_array + b"(" + os_system + text(command) + b"\x85N}tR",
        "class of an array": array_program(kind=system),
        "shape of an array": array_program(shape=system),
        "bytes of an array": array_program(data=system),
        "object array": operations(np.array([Attack(marker)], object)),
        "state of an FxpArray": fxp_array + b")\x81}" + text("data") + system + b"sb",
        "NEWOBJ": name("subprocess", "Popen") + text(command) + b"\x85\x81",
        "NEWOBJ of a function": os_system + text(command) + b"\x85\x81",
        "NEWOBJ_EX": fxp_array + b")}\x92",
        "foreign class": operations(Foreign()),
        "BUILD that sets an attribute": name("numpy", "dtype") + b"}" + text("x") + b"Nsb",
        "extension registry": b"\x82\x01",
        "persistent id": b"Pexport\n",
        "persistent id on the stack": text("export") + b"Q",
        "out-of-band buffer": b"\x97",
    }


@pytest.mark.parametrize("attack", attacks(Path("marker")))
def test_attack_runs_nothing(scratch, tmp_path, attack):
    marker = tmp_path / "marker"
    assert "byte" in refusal(scratch, PROTOCOL_4 + attacks(marker)[attack] + b".")
    assert not marker.exists()


def test_attack_works_on_python(scratch, tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Attack(marker), 4))
    assert marker.exists()


def test_message_names_what_was_found(scratch):
    message = refusal(scratch, PROTOCOL_4 + call("os", "system", "true") + b".")
    assert "byte 14: the pickle refers to os.system, which a checkpoint has no reason" in message
    assert "Nothing of it was run" in message
    assert "byte 2: the pickle uses EXT1," in refusal(scratch, PROTOCOL_4 + b"\x82\x01.")
    strange = refusal(scratch, PROTOCOL_4 + name("os\n\x1b[31m", "système") + b".")
    assert "os\\n\\x1b[31m.syst\\xe8me" in strange


# What is refused


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_pickle(tmp_path / "missing.pkl")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        read_pickle(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        read_pickle(tmp_path / "pipe")


def test_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(1, 4))

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        read_pickle(path)


def test_memory_that_does_not_suffice(scratch, monkeypatch):
    def fail(*_):
        raise MemoryError

    scratch.write_bytes(pickle.dumps(np.zeros(3), 4))
    monkeypatch.setattr(restricted_pickle, "_array", fail)
    with pytest.raises(CheckpointError, match="does not fit in memory"):
        read_pickle(scratch)


def test_size_limit(scratch):
    scratch.write_bytes(pickle.dumps(bytes(100), 4))
    assert read_pickle(scratch, max_bytes=scratch.stat().st_size) == bytes(100)
    with pytest.raises(CheckpointError, match="more than the limit of 50"):
        read_pickle(scratch, max_bytes=50)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"name: denoiser\n", "it begins with b'na'"),
        (pickle.dumps([1.5], 0), "protocol 4 or 5"),
        (pickle.dumps([1.5], 1), "protocol 4 or 5"),
        (pickle.dumps([1.5], 2), "protocol 4 or 5"),
        (pickle.dumps([1.5], 3), "protocol 4 or 5"),
        (b"\x80\x06.", "protocol 4 or 5"),
        (b"\x80", "protocol 4 or 5"),
        (PROTOCOL_4, "exhausted before seeing STOP"),
        (PROTOCOL_4 + b".", "not on the stack"),
        (PROTOCOL_4 + b"NN.", "values left over"),
        (PROTOCOL_4 + b"(N.", "not on the stack|left over"),
        (PROTOCOL_4 + b"N.N", "1 bytes follow the end"),
        (PROTOCOL_4 + b"\xff.", "opcode b'.xff' unknown"),
        (PROTOCOL_4 + b"\x80\x04N.", "uses PROTO"),
        (PROTOCOL_4 + b"I01\n.", "uses INT,"),
        (PROTOCOL_4 + b"L" + b"9" * 10**6 + b"L\n.", "uses LONG,"),
        (PROTOCOL_4 + b"cnumpy\ndtype\n.", "uses GLOBAL"),
        (PROTOCOL_4 + b"S'\\<'\n.", "uses STRING"),
        (PROTOCOL_4 + b"\x8b\x01\x00\x00\x00\x01.", "uses LONG4"),
        (PROTOCOL_4 + b"\x8f.", "uses EMPTY_SET"),
        (PROTOCOL_4 + b"h\x00.", "stored value 0 is used, of 0"),
        (PROTOCOL_4 + b"\x94.", "not on the stack"),
        (PROTOCOL_4 + b"t.", "a mark is used"),
        (PROTOCOL_4 + b"N(\x85.", "not on the stack"),
        (PROTOCOL_4 + b"}NNs.", "neither a str nor an int"),
        (PROTOCOL_4 + b"}\x8a\x09" + bytes(8) + b"\x01Ns.", "neither a str nor an int"),
        (PROTOCOL_4 + b"}(Nu.", "neither a str nor an int"),
        (PROTOCOL_4 + b"}(K\x01u.", "has no value"),
        (PROTOCOL_4 + b"]K\x01Ns.", "added to a value of type list as if to a dict"),
        (PROTOCOL_4 + b"}Na.", "added to a value of type dict as if to a list"),
        (PROTOCOL_4 + b"NNb.", "the state of a value of type NoneType is set"),
        (PROTOCOL_4 + b"N)R.", "a value of type NoneType is called"),
        (PROTOCOL_4 + text("numpy.dtype") + b")R.", "a value of type str is called"),
        (PROTOCOL_4 + b"NN\x93.", "a name is not a str"),
        (PROTOCOL_4 + name("numpy", "dtype") + b".", "in the place of a value"),
        (PROTOCOL_4 + name("numpy", "dtype") + b"\x85.", "in the place of a value"),
        (PROTOCOL_4 + b"]" + name("numpy", "dtype") + b"a.", "in the place of a value"),
        (PROTOCOL_4 + name("numpy", "dtype") + b")R.", "a tuple of 3"),
        (PROTOCOL_4 + name("numpy", "ndarray") + b")R.", "numpy.ndarray is called"),
        (PROTOCOL_4 + name("sparseRNNs.fxparray", "FxpArray") + b")\x81.", "place of a value"),
        (PROTOCOL_4 + name("sparseRNNs.fxparray", "FxpArray") + b")\x81}b.", "fields data, bits"),
        (PROTOCOL_4 + b"\x96" + bytes(8) + b".", "in the place of a value"),
    ],
)
def test_damaged_program(scratch, content, what):
    assert re.search(what, refusal(scratch, content))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"data": b"C\x07" + bytes(7)}, "an array (2,) of int32 has 7 bytes instead of 8"),
        ({"data": b"]"}, "a value of type list as its bytes"),
        ({"data": b"N"}, "a value of type NoneType as its bytes"),
        ({"dtype": text("O8")}, "has the type 'O8'"),
        ({"dtype": text("V8")}, "has the type 'V8'"),
        ({"dtype": text("M8")}, "has the type 'M8'"),
        ({"dtype": text("i4,i4")}, "has the type 'i4,i4'"),
        ({"dtype": b"K\x04"}, "has the type a value of type int"),
        ({"dtype_rest": b"N" + text("x") + b"\x85}"}, "fields or a subarray"),
        ({"shape": b"K\x02"}, "the shape of an array"),
        ({"shape": b"J\xfe\xff\xff\xff\x85"}, "not made of lengths"),
        ({"shape": b"\x88\x85"}, "not made of lengths"),
        ({"shape": b"(" + b"K\x01" * 33 + b"t"}, "a tuple of at most 32"),
        ({"shape": b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"}, "with 8 bytes|has 8 bytes instead of"),
        ({"shape": b"\x8a\xff" + b"\x01" * 255 + b"\x85"}, "not made of lengths"),
        ({"kind": name("numpy", "dtype")}, "an array is made of numpy.dtype"),
    ],
)
def test_damaged_array(scratch, wrong, what):
    message = refusal(scratch, PROTOCOL_4 + array_program(**wrong) + b".")
    assert any(part in message for part in what.split("|"))


def test_numpy_arrays_that_are_not_numbers(scratch):
    for dtype in (object, "i4,f4", "U3", "S3", complex, "M8[s]"):
        assert "has the type" in refusal(scratch, pickle.dumps(np.zeros(2, dtype), 4))


def test_arrays_that_share_bytes(scratch):
    shared = b"B" + struct.pack("<I", 4000) + bytes(4000) + b"\x94"
    array = array_program(shape=b"M\xe8\x03\x85", data=b"h\x00")
    message = refusal(scratch, PROTOCOL_4 + shared + array + array + b"\x87.")
    assert "the arrays have more bytes than the file" in message


@pytest.mark.parametrize(
    "part",
    [
        intel_pickles.fxp_array(np.zeros(2, np.float32), 16, 3),
        intel_pickles.fxp_array(5, 16, 3),
        intel_pickles.fxp_array(np.zeros(2, np.int32), 16.0, 3),
        intel_pickles.fxp_array(np.zeros(2, np.int32), 16, np.zeros(2, np.int32)),
        intel_pickles.fxp_array(np.zeros(2, np.int32), 16, True),
        intel_pickles.fxp_array(np.zeros(2, np.int32), 16, 3, signed=1),
        intel_pickles.complex_fxp_array(np.zeros(2, np.int32), np.zeros(2, np.int32)),
    ],
)
def test_fxp_array_with_wrong_fields(scratch, part):
    intel_pickles.write_pickle(scratch, part)
    assert "FxpArray" in refusal(scratch, scratch.read_bytes())


def test_containers_that_contain_themselves(scratch):
    own_list: list = []
    own_list.append(own_list)
    own_dict: dict = {}
    own_dict["a"] = {"b": own_dict}
    for value in (own_list, own_dict):
        assert "contains itself" in refusal(scratch, pickle.dumps(value, 4))
    part = intel_pickles.fxp_array(np.zeros(2, np.int32), 16, 3)
    part.data = part
    intel_pickles.write_pickle(scratch, part)
    assert "in the place of a value" in refusal(scratch, scratch.read_bytes())


def test_limits_of_structure(scratch, monkeypatch):
    deep: list = []
    for _ in range(restricted_pickle.MAX_DEPTH):
        deep = [deep]
    assert "nested 65 deep" in refusal(scratch, pickle.dumps(deep, 4))
    assert_same(read_bytes(scratch, pickle.dumps(deep[0], 4)), deep[0])
    assert "deep" in refusal(scratch, PROTOCOL_4 + b")" + b"\x85" * 100_000 + b".")

    doubled: tuple = (1, 1)
    for _ in range(40):
        doubled = (doubled, doubled)
    assert "elements" in refusal(scratch, pickle.dumps(doubled, 4))

    monkeypatch.setattr(restricted_pickle, "MAX_OPERATIONS", 50)
    assert "more than 50 operations" in refusal(scratch, pickle.dumps(list(range(100)), 4))


@pytest.mark.parametrize("opcode", [b"B", b"\x8e", b"X", b"\x8d", b"\x96", b"\x8b", b"T"])
def test_false_length_allocates_nothing(scratch, opcode):
    for length in (struct.pack("<I", 2**31 - 1), struct.pack("<Q", 2**62), b"\xff" * 8):
        assert "byte" in refusal(scratch, PROTOCOL_4 + opcode + length + bytes(20))


# Fuzzing: every byte string gives a value or a CheckpointError


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        read_pickle(path)
    except CheckpointError as error:
        message = str(error)
    else:
        return
    assert str(path) in message


@pytest.fixture(scope="module")
def valid_content(scratch) -> bytes:
    intel_pickles.write_pickle(scratch, export_tree())
    return scratch.read_bytes()


def test_every_truncation_is_refused(scratch, valid_content):
    for length in range(0, len(valid_content), 3):
        refusal(scratch, valid_content[:length])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes(scratch, content):
    read_or_refuse(scratch, content)
    read_or_refuse(scratch, PROTOCOL_4 + content + b".")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_mutation(scratch, valid_content, data):
    content = bytearray(valid_content)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        removed = data.draw(st.integers(0, 8))
        content[start : start + removed] = data.draw(st.binary(max_size=8))
    read_or_refuse(scratch, bytes(content))


PIECES = [bytes([code]) for code in b"N\x88\x89)]}(\x85\x86\x87taesubR\x81\x94\x93"]
PIECES += [b"K\x00", b"K\x02", b"h\x00", b"h\x01", b"C\x04abcd"]
PIECES += [text("i4"), text("<"), text("data")]
PIECES += [name("numpy", "ndarray"), array_program(), b"\x96\x04" + bytes(11)]
PIECES += [
    name(*words.rsplit(".", 1))
    for words in (*restricted_pickle._FUNCTIONS, *restricted_pickle._CLASSES)
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_program_of_known_operations(scratch, pieces):
    read_or_refuse(scratch, PROTOCOL_4 + b"".join(pieces) + b".")
