"""Simulating arrays and files: in chunks as in one piece, whole or not at all, clear errors."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import fast_networks
import numpy as np
import pytest
import random_networks
from fast_networks import RICH
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from s5_to_loihi import Bundle, audio, bundle, simulate, simulation
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.inputs import as_tokens
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.simulation import CHUNK_TOKENS, Totals, simulate_file
from s5_to_loihi.simulators import activity
from s5_to_loihi.simulators.interpreter import Interpreter

#: With a group MEAN, but read at each token: a mean would want its number of tokens.
NETWORK = replace(fast_networks.network(RICH), readout=Readout.EACH_TOKEN, sequence_length=None)
FEATURES = NETWORK.input_size
LOWEST, HIGHEST = -(2**15), 2**15 - 1
TOKENS, BATCH = 50, 3


def integers(tokens: int = TOKENS, batch: int = BATCH, seed: int = 1) -> np.ndarray:
    return random_networks.random_tokens(seed, tokens, batch, FEATURES)


def floats(tokens: int = TOKENS, batch: int = BATCH) -> np.ndarray:
    """Floats within the input format, between its integers."""
    exact = np.ldexp(integers(tokens, batch).astype(np.float64), -NETWORK.input_format.exponent)
    return exact + np.ldexp(0.9, -NETWORK.input_format.exponent)


def expected(tokens: np.ndarray) -> np.ndarray:
    return Interpreter(NETWORK).evaluate(tokens).outputs


def simulated(inputs: np.ndarray, **options) -> simulation.Simulation:
    """Simulate; integers are raw here unless said otherwise."""
    return simulate(Bundle(NETWORK, None), inputs, **{"raw": is_raw(inputs)} | options)


def is_raw(inputs: np.ndarray) -> bool:
    return np.asarray(inputs).dtype.kind in "iu"


# Arrays


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_raw_integers_are_taken_as_they_are(threads):
    tokens = integers()
    result = simulated(tokens, threads=threads, raw=True)
    assert result.outputs.dtype == np.int32
    assert_array_equal(result.outputs, expected(tokens))
    assert (result.saturated, result.activity) == (0, None)


def test_floats_are_quantized():
    values = floats()
    tokens, clipped = to_integers(values, NETWORK.input_format)
    assert clipped == 0
    assert_array_equal(tokens, integers())
    assert_array_equal(simulated(values).outputs, expected(tokens))


def test_two_axes_are_one_sequence():
    tokens = integers(batch=1)
    result = simulated(tokens[:, 0])
    assert result.outputs.shape == (TOKENS, 1, NETWORK.output_size)
    assert_array_equal(result.outputs, expected(tokens))


def test_activity_is_counted_where_asked_for():
    tokens = integers()
    got = simulated(tokens, counting=True).activity
    values = Interpreter(NETWORK).evaluate(tokens, keep=None).values
    wanted = activity.count(NETWORK, values | {"input.token": tokens})
    assert_array_equal(got.messages, wanted.messages)
    assert_array_equal(got.synops, wanted.synops)


def test_lists_are_arrays():
    tokens = integers(4, 1)[:, 0]
    assert_array_equal(simulated(tokens.tolist()).outputs, simulated(tokens).outputs)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


#: The same numbers, stored differently.
STORED = {
    "read-only": read_only,
    "by columns": np.asfortranarray,
    "every second": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "backwards": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
@pytest.mark.parametrize("values", [integers, floats])
def test_arrays_however_they_are_stored(values, stored):
    array = stored(values())
    before = array.copy()
    assert_array_equal(simulated(array).outputs, expected(integers()))
    assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.uint64])
def test_integers_of_any_type(dtype):
    info = np.iinfo(dtype)
    ends = [max(info.min, LOWEST), 0, 1, min(info.max, HIGHEST)]
    array = np.resize(np.array(ends, dtype=dtype), (9, FEATURES))
    assert_array_equal(simulated(array).outputs, expected(array[:, None].astype(np.int64)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_floats_of_any_type(dtype):
    array = np.resize(np.array([0.0, -1.5, 0.3, 0.4999], dtype=dtype), (9, FEATURES))
    tokens, _ = to_integers(array.astype(np.float64), NETWORK.input_format)
    assert_array_equal(simulated(array).outputs, expected(tokens[:, None]))


#: What is wrong -> (data, a part of the message)
UNSUITABLE = {
    "too few features": (np.zeros((4, FEATURES - 1)), f"has {FEATURES - 1} features a token"),
    "too many features": (np.zeros((4, 2, FEATURES + 1)), f"the network takes {FEATURES}"),
    "no axes": (np.float64(1), "has 0 axes"),
    "one axis": (np.zeros(FEATURES), "has 1 axes"),
    "four axes": (np.zeros((2, 2, 2, FEATURES)), "has 4 axes"),
    "no features": (np.zeros((4, 0)), "has 0 features"),
    "no tokens": (np.zeros((0, FEATURES)), "is empty"),
    "no integers": (np.zeros((0, FEATURES), dtype=np.int16), "is empty"),
    "no sequences": (np.zeros((4, 0, FEATURES)), "is empty"),
    "truth values": (np.zeros((4, FEATURES), dtype=bool), "holds bool"),
    "complex numbers": (np.zeros((4, FEATURES), dtype=complex), "holds complex128"),
    "objects": (np.full((4, FEATURES), None), "holds object"),
    "texts": (np.full((4, FEATURES), "1"), "holds <U1"),
    "times": (np.zeros((4, FEATURES), dtype="m8[s]"), "neither integers nor floats"),
    "not a number": (np.full((4, FEATURES), np.nan), r"holds \d+ NaN"),
}


@pytest.mark.parametrize(("data", "message"), UNSUITABLE.values(), ids=UNSUITABLE)
@pytest.mark.parametrize("saturate", [False, True])
def test_unsuitable_data_is_refused(data, message, saturate):
    with pytest.raises(InputError, match=message):
        simulated(data, saturate=saturate)
    with pytest.raises(InputError, match=r"^the data: "):
        as_tokens(NETWORK, data, saturate, where="the data", raw=is_raw(data))


#: Values outside the format -> what they saturate to
OUTSIDE = {
    "just above": (np.int32(HIGHEST + 1), HIGHEST),
    "just below": (np.int32(LOWEST - 1), LOWEST),
    "largest": (np.int64(2**63 - 1), HIGHEST),
    "largest unsigned": (np.uint64(2**64 - 1), HIGHEST),
    "lowest": (np.int64(-(2**63)), LOWEST),
    "infinite": (np.float64(np.inf), HIGHEST),
    "minus infinite": (np.float32(-np.inf), LOWEST),
    "enormous": (np.float64(1e308), HIGHEST),
    "enormous below": (np.float64(-1e308), LOWEST),
    "float just above": (np.ldexp(np.float64(2**15), -NETWORK.input_format.exponent), HIGHEST),
}


@pytest.mark.parametrize(("value", "limit"), OUTSIDE.values(), ids=OUTSIDE)
def test_values_outside_the_format(value, limit):
    array = np.zeros((4, 2, FEATURES), dtype=np.asarray(value).dtype)
    array[1, 0, 0] = array[3, 1, FEATURES - 1] = value
    with pytest.raises(InputError, match="input: has 2 values outside the input format") as raised:
        simulated(array)
    assert "--saturate" in str(raised.value)
    tokens, clipped = as_tokens(NETWORK, array, saturate=True, raw=is_raw(array))
    assert clipped == 2
    assert tokens[1, 0, 0] == tokens[3, 1, FEATURES - 1] == limit
    assert np.count_nonzero(tokens) == 2
    result = simulated(array, saturate=True)
    assert result.saturated == 2
    assert_array_equal(result.outputs, expected(tokens))


def test_the_ends_of_the_format_are_inside():
    exponent = NETWORK.input_format.exponent
    array = np.resize(np.array([LOWEST, HIGHEST]), (4, FEATURES))
    for inside in (array, np.ldexp(array.astype(np.float64), -exponent)):
        tokens, clipped = as_tokens(NETWORK, inside, raw=is_raw(inside))
        assert clipped == 0
        assert_array_equal(tokens[:, 0], array)


def test_errors_count_with_separators_and_name_the_extremes():
    array = np.full((300, FEATURES), 70_000)
    array[0, 0] = -80_000
    with pytest.raises(InputError, match="has 2,100 values") as raised:
        simulated(array)
    assert "the largest 70000, the lowest -80000" in str(raised.value)


# Files


def from_file(source: Path, network: Network = NETWORK, **options) -> tuple[np.ndarray, Totals]:
    target = source.with_name("outputs.npy")
    options = {"raw": is_raw(simulation.read_array(source))} | options
    totals = simulate_file(network, source, target, **options)
    outputs = np.load(target)
    assert outputs.dtype == np.int32
    return outputs, totals


def saved(path: Path, *arrays: np.ndarray, **named: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez(path, *arrays, **named)
    else:
        np.save(path, *arrays)
    return path


@pytest.fixture
def small_chunks(monkeypatch):
    """Seven tokens of all sequences together."""
    monkeypatch.setattr(simulation, "CHUNK_TOKENS", 7)


@pytest.mark.parametrize("name", ["in.npy", "in.npz"])
@pytest.mark.parametrize("values", [integers, floats])
def test_a_file_is_its_array(tmp_path, name, values):
    outputs, totals = from_file(saved(tmp_path / name, values()))
    assert_array_equal(outputs, expected(integers()))
    assert (totals.tokens, totals.sequences, totals.saturated) == (TOKENS, BATCH, 0)


@pytest.mark.parametrize("chunk", [1, 3, 7, TOKENS * BATCH - 1, TOKENS * BATCH, CHUNK_TOKENS])
def test_chunks_are_the_whole(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(simulation, "CHUNK_TOKENS", chunk)
    source = saved(tmp_path / "in.npy", integers())
    progress = []
    outputs, totals = from_file(source, on_progress=lambda *one: progress.append(one))
    whole = simulated(integers(), counting=True)
    assert_array_equal(outputs, whole.outputs)
    assert totals.groups == whole.activity.groups
    assert_array_equal(totals.messages, whole.activity.messages.sum(axis=(0, 1)))
    assert_array_equal(totals.synops, whole.activity.synops.sum(axis=(0, 1)))
    assert_array_equal(totals.updates, whole.activity.updates)
    step = max(1, chunk // BATCH)
    assert progress == [(min(done, TOKENS), TOKENS) for done in range(step, TOKENS + step, step)]


def test_a_file_of_two_axes_is_one_sequence(tmp_path, small_chunks):
    outputs, totals = from_file(saved(tmp_path / "in.npy", integers(batch=1)[:, 0]))
    assert_array_equal(outputs, expected(integers(batch=1)))
    assert totals.sequences == 1


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_files_however_they_are_stored(tmp_path, small_chunks, stored):
    outputs, _ = from_file(saved(tmp_path / "in.npy", stored(floats().astype(np.float32))))
    tokens, _ = to_integers(floats().astype(np.float32), NETWORK.input_format)
    assert_array_equal(outputs, expected(tokens))


def test_a_compressed_file(tmp_path):
    np.savez_compressed(tmp_path / "in.npz", frames=integers())
    assert_array_equal(from_file(tmp_path / "in.npz")[0], expected(integers()))


def test_saturated_values_are_counted_over_all_chunks(tmp_path, small_chunks):
    array = integers()
    array[0, 0, 0] = array[TOKENS // 2, 1, 1] = array[-1, -1, -1] = 10**6
    source = saved(tmp_path / "in.npy", array)
    outputs, totals = from_file(source, saturate=True)
    assert totals.saturated == 3
    assert_array_equal(outputs, expected(np.minimum(array, HIGHEST)))


def test_the_output_may_take_the_place_of_the_input(tmp_path, small_chunks):
    source = saved(tmp_path / "in.npy", integers())
    simulate_file(NETWORK, source, source, raw=True)
    assert_array_equal(np.load(source), expected(integers()))


@pytest.fixture(scope="module")
def hears_sound():
    """A network of as many features as a recording has."""
    weights = np.zeros((2, audio.BINS), dtype=np.int64)
    weights[0, ::3], weights[1, 1::5] = 100, -60
    return fast_networks.dense_network(weights, shift=2)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording(tmp_path, monkeypatch, hears_sound, channels):
    monkeypatch.setattr(simulation, "CHUNK_TOKENS", 64)
    samples = np.random.default_rng(2).normal(0, 0.1, (channels, 32_000))
    audio.write_wav(tmp_path / "in.wav", samples)
    outputs, totals = from_file(tmp_path / "in.wav", hears_sound)
    read = audio.read_wav(tmp_path / "in.wav").samples
    features = [audio.features(audio.analyse(channel)) for channel in read]
    tokens, _ = to_integers(np.stack(features, axis=1), hears_sound.input_format)
    assert_array_equal(outputs, Interpreter(hears_sound).evaluate(tokens).outputs)
    assert (totals.tokens, totals.sequences) == (audio.frame_count(32_000), channels)
    assert np.ptp(outputs) > 0


def test_a_recording_for_another_network(tmp_path):
    audio.write_wav(tmp_path / "in.wav", np.zeros((1, 1000)))
    with pytest.raises(InputError, match=f"in.wav: has 257 features a token.*takes {FEATURES}"):
        from_file(tmp_path / "in.wav")


# Files that cannot be used


def refused(directory: Path, source: Path, message: str, **options) -> None:
    """Simulate a file, with an error that names it; nothing new is in the directory afterwards."""
    before = sorted(directory.rglob("*"))
    with pytest.raises(InputError, match=message) as raised:
        simulate_file(NETWORK, source, directory / "out.npy", **options)
    assert str(raised.value).startswith(str(source))
    assert sorted(directory.rglob("*")) == before


def test_several_arrays_are_refused(tmp_path):
    source = saved(tmp_path / "in.npz", noisy=integers(), clean=integers())
    refused(tmp_path, source, "holds noisy, clean. Give a file with one array")
    refused(tmp_path, saved(tmp_path / "none.npz"), "holds nothing")


@pytest.mark.parametrize("name", ["in.npy", "in.npz"])
def test_pickled_objects_are_refused(tmp_path, name):
    source = saved(tmp_path / name, np.array([{}, None], dtype=object))
    refused(tmp_path, source, "cannot be read")


@pytest.mark.parametrize("name", ["in.npy", "in.npz", "in.wav", "IN.WAV"])
def test_a_text_with_another_suffix_is_refused(tmp_path, name):
    (tmp_path / name).write_text("frames, some of them")
    refused(tmp_path, tmp_path / name, "cannot be read|not a wav file")


@pytest.mark.parametrize("name", ["in.npy", "in.npz", "in.wav", "IN.WAV"])
def test_missing_and_empty_files_and_directories_are_refused(tmp_path, name):
    source = tmp_path / name
    refused(tmp_path, source, "does not exist|no such file")
    source.touch()
    refused(tmp_path, source, "cannot be read|is empty")
    source.unlink()
    source.mkdir()
    refused(tmp_path, source, "is not a file|is a directory")


@pytest.mark.parametrize("name", ["in", "in.csv", "in.npy.gz", "in.mp3"])
def test_other_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"0")
    refused(tmp_path, tmp_path / name, "has the suffix .* Give .npy, .npz or .wav")


@pytest.mark.parametrize("name", ["in.npy", "in.npz"])
@pytest.mark.parametrize("left", [0.01, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, name, left):
    source = saved(tmp_path / name, integers())
    content = source.read_bytes()
    source.write_bytes(content[: int(left * len(content))])
    refused(tmp_path, source, "cannot be read")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    refused(tmp_path, tmp_path / "in.npz", "holds nothing. Give a file with one array")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), name=st.sampled_from(["in.npy", "in.npz", "compressed.npz"]))
def test_a_damaged_file_is_an_input_error_or_still_an_array(tmp_path_factory, data, name):
    directory = tmp_path_factory.mktemp("damaged")
    save = np.savez_compressed if name.startswith("compressed") else saved
    save(directory / name, integers(2, 1))
    content = bytearray((directory / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    (directory / name).write_bytes(content)
    try:
        tokens, _ = as_tokens(NETWORK, simulation.read_array(directory / name), saturate=True)
    except InputError:
        return
    assert tokens.dtype == np.int32


#: Objects are pickled, and refused as such.
UNSUITABLE_FILES = {name: one for name, one in UNSUITABLE.items() if name != "objects"}


@pytest.mark.parametrize(("data", "message"), UNSUITABLE_FILES.values(), ids=UNSUITABLE_FILES)
def test_files_of_unsuitable_data_are_refused(tmp_path, data, message):
    for name in ("in.npy", "in.npz"):
        source = saved(tmp_path / name, data)
        refused(tmp_path, source, message, saturate=True)


def test_an_error_in_the_last_chunk_leaves_nothing(tmp_path, small_chunks):
    array = floats()
    source = saved(tmp_path / "in.npy", array)
    array[-1, 0, 3] = np.nan
    saved(source, array)
    refused(tmp_path, source, "in.npy, tokens 48 to 49: holds 1 NaN")
    array[-1, 0, 3] = 1e9
    saved(source, array)
    refused(tmp_path, source, "in.npy, tokens 48 to 49: has 1 values outside")


def test_an_error_leaves_an_earlier_output_as_it_was(tmp_path, small_chunks):
    array = integers()
    array[-1] = 10**6
    source = saved(tmp_path / "in.npy", array)
    saved(tmp_path / "out.npy", np.arange(3))
    refused(tmp_path, source, "values outside")
    assert_array_equal(np.load(tmp_path / "out.npy"), np.arange(3))


def test_an_interrupt_leaves_nothing(tmp_path, small_chunks):
    source = saved(tmp_path / "in.npy", integers())

    def interrupt(done, total):
        if done > TOKENS // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_file(NETWORK, source, tmp_path / "out.npy", raw=True, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.txt", "has the suffix '.txt'. Name it [*].npy"),
        ("out", "has the suffix ''"),
        ("nowhere/out.npy", "no directory"),
        ("directory.npy", "cannot be written"),
    ],
)
def test_targets_that_cannot_be_written(tmp_path, target, message):
    source = saved(tmp_path / "in.npy", integers())
    (tmp_path / "directory.npy").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        simulate_file(NETWORK, source, tmp_path / target, raw=True)
    assert sorted(tmp_path.rglob("*")) == before


# The command line


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "network.bundle"
    bundle.write(Bundle(NETWORK, None), path)
    return path


def test_run_says_what_it_did(call, compiled, tmp_path):
    source = saved(tmp_path / "in.npy", integers())
    target = tmp_path / "out.npy"
    code, output, _ = call("run", compiled, source, "-o", target, "--raw", "--details")
    assert code == 0
    assert f"{BATCH} x {TOKENS} tokens, integers of {NETWORK.output_format}" in output
    assert "saturated  0 inputs" in output
    for group in ("input", "block0.state", "decoder", "all"):
        assert group in output
    assert_array_equal(np.load(tmp_path / "out.npy"), expected(integers()))


def test_run_json(call, compiled, tmp_path):
    source = saved(tmp_path / "in.npz", floats())
    target = tmp_path / "out.npy"
    code, output, _ = call("run", compiled, source, "-o", target, "--json", "--threads", 2)
    content = json.loads(output)
    assert code == 0
    assert content["output"] == str(target)
    assert content["format"] == NETWORK.output_format._asdict()
    assert (content["tokens"], content["sequences"], content["saturated"]) == (TOKENS, BATCH, 0)
    whole = simulated(integers(), counting=True).activity
    for index, group in enumerate(whole.groups):
        counted = content["activity_per_token"][group]
        assert counted["messages"] == pytest.approx(whole.messages[..., index].mean())
        assert counted["synops"] == pytest.approx(whole.synops[..., index].mean())
        assert counted["updates"] == whole.updates[index]
    assert_array_equal(np.load(target), expected(integers()))


def test_run_saturates_where_asked_to(call, compiled, tmp_path):
    array = integers()
    array[3, 0, :2] = 10**6
    source = saved(tmp_path / "in.npy", array)
    command = ("run", compiled, source, "-o", tmp_path / "out.npy", "--raw")
    code, output, error = call(*command)
    assert code == 1
    assert "has 2 values outside the input format" in error
    assert "--saturate" in error
    assert output == ""
    assert list(tmp_path.iterdir()) == [source]
    code, output, _ = call(*command, "--saturate")
    assert code == 0
    assert "saturated  2 inputs" in output
    assert_array_equal(np.load(tmp_path / "out.npy"), expected(np.minimum(array, HIGHEST)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, FEATURES + 1)), f"has {FEATURES + 1} features a token"),
        (np.zeros((4, FEATURES), dtype=bool), "holds bool"),
        (np.full((4, FEATURES), np.nan), f"in.npy: holds {FEATURES} NaN"),
        (np.zeros((0, FEATURES)), "is empty"),
        (np.zeros(()), "has 0 axes"),
    ],
)
def test_run_refuses_unsuitable_data(call, compiled, tmp_path, array, message):
    source = saved(tmp_path / "in.npy", array)
    code, output, error = call("run", compiled, source, "-o", tmp_path / "out.npy", "--json")
    assert code == 1
    assert output == ""
    assert message in error
    assert list(tmp_path.iterdir()) == [source]


def test_run_refuses_what_it_cannot_read_or_write(call, compiled, tmp_path):
    source = saved(tmp_path / "in.npy", integers())
    target = tmp_path / "out.npy"
    (tmp_path / "text.npy").write_text("no numbers")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        ((compiled, tmp_path / "missing.npy", "-o", target), "missing.npy: does not exist"),
        ((compiled, tmp_path / "text.npy", "-o", target), "text.npy: cannot be read"),
        ((compiled, tmp_path, "-o", target), "has the suffix ''"),
        ((compiled, source, "-o", tmp_path / "out.txt"), "has the suffix '.txt'"),
        ((compiled, source, "-o", tmp_path / "nowhere" / "out.npy"), "no directory"),
        ((tmp_path / "missing.bundle", source, "-o", target), "missing.bundle"),
        ((source, source, "-o", target), "in.npy"),
    ):
        code, output, error = call("run", *arguments)
        assert code == 1, arguments
        assert "error:" in error
        assert message in error
        assert output == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", [(), ("--threads", 0), ("--threads", "two"), ("--fast",)])
def test_run_refuses_a_wrong_call(call, compiled, tmp_path, arguments):
    source = saved(tmp_path / "in.npy", integers())
    target = ("-o", tmp_path / "out.npy") if arguments else ()
    code, output, error = call("run", compiled, source, *target, *arguments)
    assert code == 1
    assert output == ""
    assert "Usage" in error
    assert list(tmp_path.iterdir()) == [source]


def test_run_help(call):
    code, output, _ = call("run", "--help")
    assert code == 0
    assert "--saturate" in output
