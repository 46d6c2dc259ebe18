"""Files and names of strangers: nothing is overwritten, steered or waited for; errors are ours."""

import errno
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import fuzz
import numpy as np
import pytest
from needs import needs_lava

from s5_to_loihi import bundle
from s5_to_loihi.backends import lava
from s5_to_loihi.bundle import storage
from s5_to_loihi.checkpoints.flax_msgpack import read as read_msgpack
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.commands.console import network_name
from s5_to_loihi.errors import (
    BundleError,
    CheckpointError,
    InputError,
    LavaError,
    NetworkError,
    S5ToLoihiError,
)
from s5_to_loihi.files import writing
from s5_to_loihi.files.arrays import ANY_UNPACKED, LARGEST_DIRECTORY, check_zip, read_npz
from s5_to_loihi.files.names import is_name, is_title
from s5_to_loihi.files.tensors import LARGEST_HEADER, read_safetensors
from s5_to_loihi.lava_runtime import c_source, recording, supervisor
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.network.text import to_text
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.quantization.precision import read_precision
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.simulation import read_array, simulate_file
from s5_to_loihi.sweeping.plan import read_plan

BUNDLE = Path(__file__).parent / "data" / "bundles" / "version1_quantized"
NAMES = (
    *("/tmp/x", "../../x", "a/b", "a\\b", "..", ".a", "a..b", "-a", "a b", "a\nb", "a\x1b[2J", ""),
    *("a\0", "ä", "\u0130", "$(id)", "<b>", 'a"', "a'", "*/", "int x;", "a" * 101, None, 3),
)


def peak_megabytes(code: str) -> int:
    """Run a line of Python that may raise our errors only; return the peak of its memory."""
    program = (
        "import sys\nfrom s5_to_loihi.errors import S5ToLoihiError\n"
        f"try:\n    {code}\nexcept S5ToLoihiError: pass\nelse: sys.exit('nothing was refused')\n"
        # Not ru_maxrss: a process begins with the peak of the one that it was forked from.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) >> 10


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize("name", ["a", "block0.B_re_1", "a-b", "0", "_", "a" * 100])
def test_names(name):
    assert is_name(name)


@pytest.mark.parametrize("title", ["", "a\x1b", "a\nb", "\ud800", "x" * 1001, None])
def test_what_is_no_title(title):
    assert is_title(title) == (title == "")


@pytest.mark.parametrize("name", NAMES)
def test_groups_and_synapses_have_names(name):
    network = bundle.read(BUNDLE).network
    group = replace(network.groups[0], name=name)
    with pytest.raises(NetworkError, match="are called"):
        verify(replace(network, groups=(group, *network.groups[1:])))
    synapses = replace(network.synapses[0], name=name)
    with pytest.raises(NetworkError, match="are called"):
        verify(replace(network, synapses=(synapses, *network.synapses[1:])))


def renamed(tmp_path: Path, old: str, new: str) -> Path:
    """A bundle in which a group has another name everywhere, with digests that are right."""
    path = tmp_path / "b.bundle"
    bundle.write(bundle.Bundle(bundle.read(BUNDLE).network, bundle.read(BUNDLE).vectors), path)
    for file in (storage.WEIGHTS, storage.VECTORS):
        content = (path / file).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        text = json.dumps({key.replace(old, new): value for key, value in header.items()}).encode()
        (path / file).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    manifest = (path / storage.MANIFEST).read_text().replace(old, json.dumps(new)[1:-1])
    (path / storage.MANIFEST).write_text(manifest)
    fuzz._mend_bundle(path)
    return path


def test_a_renamed_bundle_is_one(tmp_path):
    assert bundle.read(renamed(tmp_path, "encoder", "begin")).network.groups[0].name == "begin"


@pytest.mark.parametrize("name", ["PATH", "../../../../../PATH", "a\x1b[2J"])
def test_a_bundle_cannot_name_files(tmp_path, name):
    target = tmp_path / "overwritten"
    name = name.replace("PATH", str(target))
    with pytest.raises(BundleError, match="groups are called"):
        bundle.read(renamed(tmp_path, "encoder", name))
    assert not list(tmp_path.glob("overwritten*"))


def test_files_of_workers_are_numbered(tmp_path):
    network = bundle.read(BUNDLE).network
    recording.create_recordings(tmp_path, network, 3)
    names = sorted(file.name for file in (tmp_path / recording.FOLDER).iterdir())
    assert names == sorted([*(f"{i}.npy" for i in range(len(network.groups))), recording.GROUPS])
    for value, group in enumerate(network.groups):
        opened = recording.open_recording(str(tmp_path), group)
        assert opened is not None
        opened[:] = value
        opened.flush()
    values = recording.read_recordings(tmp_path, network)
    for value, group in enumerate(network.groups):
        assert (values[f"{group.name}.{group.kind.values[-1]}"] == value).all()


@pytest.mark.parametrize(
    "name", ["*/ int main(void)", "$\\frac{$ <script>", "a' $(id) \"", "日本", "x" * 1000]
)
def test_a_name_of_a_network_is_data(tmp_path, name):
    network = replace(bundle.read(BUNDLE).network, name=name)
    verify(network)
    assert to_text(network).splitlines()[0] == f"network {name}"
    comment = c_source.write_source(network, 1024).splitlines()[0]
    assert comment.endswith(" */")
    assert comment.count("*/") == 1
    draw_network(network, tmp_path / "net.svg")
    drawn = (tmp_path / "net.svg").read_text("utf-8")
    assert "<script>" not in drawn
    if "frac" in name:
        assert "$\\frac{$ &lt;script&gt;: 5 neuron groups" in drawn
    bundle.write(bundle.Bundle(network, None), tmp_path / "b")
    assert bundle.read(tmp_path / "b").network.name == name


def test_a_path_gives_a_name_that_can_be_shown():
    assert network_name(Path("a\x1b[2J\udcff.bundle")) == "a_[2J_"


# --- bundles whose parts contradict each other ---------------------------------------------------


@pytest.fixture
def forged(tmp_path):
    """Change the manifest and the vectors of a bundle; return the message of the refusal."""

    def forge(change=lambda network: None, vectors=None, section="network"):
        path = tmp_path / "b"
        opened = bundle.read(BUNDLE)
        bundle.write(bundle.Bundle(opened.network, opened.vectors), path)
        manifest = json.loads((path / storage.MANIFEST).read_text())
        change(manifest[section])
        (path / storage.MANIFEST).write_text(json.dumps(manifest))
        if vectors is not None:
            from safetensors.numpy import load_file, save_file

            tensors = load_file(path / storage.VECTORS)
            vectors(tensors)
            save_file(tensors, path / storage.VECTORS)
        fuzz._mend_bundle(path)
        with pytest.raises(BundleError) as caught:
            bundle.read(path)
        return str(caught.value)

    return forge


def setting(*keys, to):
    def change(tree):
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("input", "size", to=1 << 40), "input: has 1099511627776 features"),
        (setting("input", "format", to=[16.0, 3]), "is 16.0 bits wide"),
        (setting("groups", 0, "size", to=1 << 40), "has 1099511627776 neurons"),
        (setting("groups", 0, "size", to=True), "has True neurons"),
        (setting("groups", 0, "phase", to="1"), "has phase '1'"),
        (setting("groups", 1, "formats", "x_re", to=[24, 1e-300]), "has exponent 1e-300"),
        (setting("groups", 1, "port_exponents", "b_re", to=10**30), "exponent"),
        (setting("synapses", 0, "delay", to=0.5), "has a delay of 0.5"),
        (setting("synapses", 0, "name", to="../x"), "damaged"),
        (setting("name", to="\ud800"), "is called"),
        (setting("sequence_length", to=-1), "sequence length: is -1"),
    ],
)
def test_numbers_of_a_network_are_whole_and_bounded(forged, change, message):
    assert message in forged(change)


def reshaped(name, shape):
    def change(tensors):
        tensors[name] = np.resize(tensors[name], shape)

    return change


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tokens", (4, 3)),
        ("tokens", (4, 1, 3, 1)),
        ("tokens", (4, 1, 2)),
        ("tokens", (0, 1, 3)),
        ("expected/encoder.activation", (4, 5)),
        ("expected/encoder.activation", (5, 1, 4)),
        ("expected/encoder.activation", (4, 2, 5)),
        ("expected/encoder.nothing", (4, 1, 5)),
    ],
)
def test_vectors_suit_their_network(forged, name, shape):
    def change(tensors):
        tensors.setdefault(name, np.zeros(1, dtype=np.int8))
        reshaped(name, shape)(tensors)

    assert "vectors, " in forged(vectors=change)


def test_tokens_lie_in_the_format_of_the_input(forged):
    def change(tensors):
        tensors["tokens"] = tensors["tokens"].astype(np.int64) + (1 << 40)

    assert "vectors, tokens: lie in" in forged(vectors=change)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('weights: 8\nactivations: "x"', "is given 'x' bits"),
        ("inputs: '16'", "is given '16' bits"),
        ("activations: [1]", "is given .1. bits"),
        ("knots: '64'", "are '64'"),
        ("weights: true", "is given True bits"),
        ("weights: 8\nweights: 4", "is there twice"),
    ],
)
def test_bits_are_whole_numbers(tmp_path, text, message):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_precision(tmp_path / "p.yaml", {})


# --- files that eat the machine ------------------------------------------------------------------


def compressed(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def npy_header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    stream = io.BytesIO()
    description = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def test_a_small_archive_does_not_become_a_large_array(tmp_path):
    count = 320 << 20
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as file:
            file.write(npy_header((count // 4,)))
            for _ in range(count >> 20):
                file.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    assert count > ANY_UNPACKED
    for code in (
        f"from s5_to_loihi.checkpoints.loading import load; load({str(path)!r})",
        f"from s5_to_loihi.simulation import read_array; read_array({str(path)!r})",
    ):
        assert peak_megabytes(code) < 400


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_archives_are_packed_as_numpy_packs_them(tmp_path, method):
    path = tmp_path / "x.npz"
    path.write_bytes(compressed("x.npy", npy_header((1000,)) + bytes(4000), method))
    with pytest.raises(CheckpointError, match="packed in a way that NumPy does not"):
        load(path)


def test_a_list_of_entries_has_a_limit():
    content = compressed("x.npy", npy_header((1,)) + bytes(4))
    check_zip(io.BytesIO(content))
    end = content.rindex(b"PK\5\6")
    for size in (LARGEST_DIRECTORY + 1, 0xFFFFFFFF):
        false = content[: end + 12] + size.to_bytes(4, "little") + content[end + 16 :]
        with pytest.raises(ValueError, match="a list of entries of"):
            check_zip(io.BytesIO(false))
    larger = b"PK\6\6" + bytes(36) + (1 << 30).to_bytes(8, "little") + bytes(8)
    locator = b"PK\6\7" + bytes(4) + end.to_bytes(8, "little") + bytes(4)
    with pytest.raises(ValueError, match="a list of entries of 1,073,741,824 bytes"):
        check_zip(io.BytesIO(content[:end] + larger + locator + content[end:]))
    elsewhere = b"PK\6\7" + bytes(16)
    with pytest.raises(ValueError, match="is not where it is said to be"):
        check_zip(io.BytesIO(content[:end] + elsewhere + content[end:]))
    with pytest.raises(ValueError, match="the end of the archive is missing"):
        check_zip(io.BytesIO(b"PK\3\4"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"x.npy": npy_header((2**40,))}, "in 128 bytes"),
        ({"x.npy": npy_header((2,)) + bytes(9)}, "has not 8 bytes"),
        ({"x.npy": npy_header((2,), "|O") + bytes(16)}, "not of numbers"),
        ({"x.npy": b"\x93NUMPY\x03\x00" + bytes(100)}, r"version \(3, 0\)"),
    ],
)
def test_false_arrays(tmp_path, entries, message):
    ((name, content),) = entries.items()
    (tmp_path / "x.npz").write_bytes(compressed(name, content))
    with pytest.raises(InputError, match=message):
        read_npz(tmp_path / "x.npz", 1 << 30, 10)


@pytest.mark.parametrize("values", ["maps", "lists", "strings"])
def test_what_a_flax_file_holds_is_counted(tmp_path, values):
    msgpack = pytest.importorskip("msgpack", reason="pip install 's5_to_loihi[flax]'")
    path = tmp_path / "x.msgpack"
    count = 6_000_000
    row = {"maps": b"\x80", "lists": b"\x90", "strings": b"\xa2ab"}[values] * 15
    content = b"\x81\xa1a\xdc\x40\x00" + (b"\x9f" + row) * 16384
    path.write_bytes(content + (b"\x9f" + row) * (count // 15 - 16384))
    code = "from pathlib import Path; from s5_to_loihi.checkpoints.flax_msgpack import read"
    assert peak_megabytes(f"{code}; read(Path({str(path)!r}))") < 300
    path.write_bytes(msgpack.packb({"a": {"b": 1}}) + b"\x01")
    with pytest.raises(CheckpointError):
        read_msgpack(path)
    path.write_bytes(b"\x82\xa1a\x01\xa1a\x02")
    with pytest.raises(CheckpointError, match="a key is there twice"):
        read_msgpack(path)


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def one_tensor(kind: str, shape: list, offsets: list, data: int) -> bytes:
    entry = {"dtype": kind, "shape": shape, "data_offsets": offsets}
    return safetensors({"a": entry}, bytes(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header of 0 bytes"),
        ((LARGEST_HEADER + 1).to_bytes(8, "little") + b"{}", "a header of"),
        (safetensors([1]), "no mapping"),
        (safetensors({"a": 1}), "is damaged"),
        (one_tensor("F4", [1], [0, 4], 4), "F4"),
        (one_tensor("F32", [2], [0, 4], 4), "has 4"),
        (one_tensor("F32", [-1], [0, 4], 4), "shape"),
        (one_tensor("F32", [1], [4, 8], 8), "lies at"),
        (one_tensor("F32", [1], [0, 4], 8), "it has 8"),
        (safetensors(b'{"a": 1, "a": 2}'), "is there twice"),
        (safetensors(b"[" * 100_000), "recursion"),
        (safetensors(b"[" + b"{}," * 3_000_000 + b"{}]"), "more than 2,000,000 values"),
    ],
)
def test_false_headers_of_tensors(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_safetensors(tmp_path / "x", 1 << 30, BundleError)


def test_tensors_are_what_their_own_library_writes(tmp_path):
    from safetensors.numpy import save_file

    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array(7, dtype=np.int64),
        "c": np.zeros((0, 3), dtype=np.uint8),
        "d": np.array([True, False]),
        "e": np.array([1 + 2j], dtype=np.complex64),
        "f": np.arange(3, dtype=np.float16),
    }
    save_file(arrays, tmp_path / "x", metadata={"format": "np"})
    found = read_safetensors(tmp_path / "x", 1 << 20)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    copied = tmp_path / "b"
    shutil.copytree(BUNDLE, copied)
    for name in (storage.MANIFEST, storage.WEIGHTS):
        (copied / name).unlink()
        os.mkfifo(copied / name)
        with pytest.raises(BundleError, match=r"pipe or a device|no manifest"):
            bundle.read(copied)
        (copied / name).unlink()
        shutil.copyfile(BUNDLE / name, copied / name)
    suffixes = (".npz", ".pt", ".msgpack", ".safetensors", ".yaml", ".npy", ".wav")
    pipes = [tmp_path / f"x{suffix}" for suffix in suffixes]
    readers = (load, read_array, read_plan, load_system, lambda path: read_precision(path, {}))
    for path in pipes:
        os.mkfifo(path)
        for read in readers:
            with pytest.raises(S5ToLoihiError):
                read(path)
    (tmp_path / "system.yaml").write_text("name: a\nchip: /dev/zero\n")
    with pytest.raises(InputError, match="/dev/zero: cannot be read"):
        load_system(tmp_path / "system.yaml")


def test_a_pipe_inside_of_an_orbax_checkpoint(tmp_path):
    pytest.importorskip("tensorstore", reason="pip install 's5_to_loihi[orbax]'")
    source = Path(__file__).parent / "data" / "checkpoints" / "s5_flax_postnorm_orbax"
    shutil.copytree(source, tmp_path / "run")
    os.mkfifo(tmp_path / "run" / "12" / "default" / "d" / "pipe")
    with pytest.raises(CheckpointError, match="pipe is a pipe or a device"):
        load(tmp_path / "run")


# --- disks without room --------------------------------------------------------------------------


def test_a_file_is_allocated_before_it_is_mapped(tmp_path):
    array = writing.allocated(tmp_path / "x.npy", np.int32, (1000, 1000))
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= array.nbytes
    array[:] = 7
    array.flush()
    assert (np.load(tmp_path / "x.npy") == 7).all()


def test_where_nothing_can_be_allocated_zeros_are_written(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    array = writing.allocated(tmp_path / "x.npy", np.int32, (1000, 1001))
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= array.nbytes
    assert not array.any()


def test_run_on_a_full_disk(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((100_000, 3), dtype=np.int16))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written \(File too large\)"):
            simulate_file(bundle.read(BUNDLE).network, tmp_path / "x.npy", tmp_path / "y.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("there", [True, False])
def test_listings_get_into_their_folder_together(tmp_path, there):
    folder = tmp_path / "listings"
    if there:
        folder.mkdir()
        (folder / "other").write_text("mine")

    def fill_the_disk():
        with writing.filling(folder) as temporary:
            (temporary / "a").write_text("a")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="No space"):
        fill_the_disk()
    assert [file.name for file in tmp_path.rglob("*")] == (["listings", "other"] if there else [])
    with writing.filling(folder) as temporary:
        (temporary / "a").write_text("a")
    assert sorted(file.name for file in folder.iterdir()) == (["a", "other"] if there else ["a"])


@needs_lava
def test_a_full_temporary_folder_is_blamed(monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    network = bundle.read(BUNDLE).network
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(LavaError, match=r"cannot write into .* \(No space left.*TMPDIR"):
        lava.run(network, np.zeros((2, 1, 3), dtype=np.int32))


def test_a_worker_that_cannot_write_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "waits.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(supervisor, "DISK_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "ROOM", 1 << 60)
    (tmp_path / "job").mkdir()
    with pytest.raises(LavaError, match="No space left on device"):
        supervisor.run_worker(
            "waits", tmp_path / "job", name="test", total_timeout=50, stall_timeout=50
        )


# --- mutated files -------------------------------------------------------------------------------


def test_cases_can_be_made_again(tmp_path):
    reader = fuzz.READERS["precision"]
    valid = fuzz.prepare(reader, tmp_path / "it")
    made = [
        [
            fuzz.make_case(reader, valid, tmp_path / f"{turn}", str(number)).read_bytes()
            for number in range(20)
        ]
        for turn in range(2)
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 10


def test_what_is_not_ours_is_found(tmp_path):
    def wrong(path):
        raise KeyError(path.name)

    assert "KeyError at test_hostile.py" in fuzz.read_case(fuzz.Reader(list, wrong), tmp_path)


@pytest.mark.parametrize("name", fuzz.READERS)
def test_mutated_files_end_in_a_value_or_in_our_own_error(name):
    if name == "orbax":
        pytest.importorskip("tensorstore", reason="pip install 's5_to_loihi[orbax]'")
    if name in ("own", "msgpack"):
        pytest.importorskip("msgpack", reason="pip install 's5_to_loihi[flax]'")
    program = [sys.executable, fuzz.__file__, "--readers", name, "--cases", "25", "--seed", "99"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
