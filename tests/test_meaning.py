"""What data mean: integers, axes, lengths, bad data; against an evaluation that is not ours."""

import hashlib
import inspect
import json
import multiprocessing
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from needs import needs_lava
from numpy.testing import assert_array_equal

import s5_to_loihi as s5
from s5_to_loihi import bundle
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.cli import COMMANDS
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import limits, to_floats
from s5_to_loihi.float_model import evaluate
from s5_to_loihi.inputs import REACHES, Layout, arranged, check_tokens, cut_for_mean, louder_said
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.network.network import Readout
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.simulation import read_data, simulate_file
from s5_to_loihi.simulators.interpreter import Interpreter

#: Their networks are compiled once, in one process.
pytestmark = pytest.mark.xdist_group("meaning")
DATA = Path(__file__).parent / "data"
MODEL = DATA / "checkpoints" / "s5_flax_rescaled.msgpack"
with np.load(DATA / "meaning.npz") as _loaded:
    COUNTS, COUNTS_EXPECTED, SEQUENCES, LAST_EXPECTED = (_loaded[one] for one in _loaded.files)
FEATURES, OUTPUTS = 6, 3
#: Commands that read no data.
WITHOUT_DATA = {"doctor", "cache", "study", "synthesise"}
#: dB below which outputs are another model's.
LEAST = 30


def ratio(wanted: np.ndarray, got: np.ndarray) -> float:
    return 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2))


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("meaning")


@pytest.fixture(scope="module")
def made(folder):
    """Return a function: readout -> path of a bundle, calibrated with ``SEQUENCES``."""
    bundles = {}

    def of(readout: Readout) -> Path:
        if readout not in bundles:
            path = folder / f"{readout.value}.bundle"
            options = s5.LoadOptions(readout=readout)
            result = s5.quantize(MODEL, SEQUENCES, options=options, name=readout.value)
            assert result.warnings == ()
            bundle.write(result.bundle, path)
            bundles[readout] = path
        return bundles[readout]

    return of


def float_model(readout: Readout):
    return s5.load(MODEL, s5.LoadOptions(readout=readout)).model


# What an integer means


def test_counts_are_values_from_calibration_to_output(call, tmp_path):
    source = saved(tmp_path / "counts.npy", COUNTS)
    path = tmp_path / "counts.bundle"
    options = ("--readout", "each_token", "--calibration", source, "-o", path)
    assert call("quantize", MODEL, *options)[0] == 0
    code, output, _ = call("run", path, source, "-o", tmp_path / "out.npy")
    assert code == 0
    assert "taken as values, 3 is 3.0" in " ".join(output.split())
    network = bundle.read(path).network
    got = to_floats(np.load(tmp_path / "out.npy")[:, 0], network.output_format)
    assert ratio(COUNTS_EXPECTED, got) > LEAST
    code, output, _ = call("profile", path, "--input", source, "--json")
    sent = json.loads(output)["activity"]["messages"]["value"]
    floats = saved(tmp_path / "floats.npy", COUNTS.astype(np.float32))
    _, output, _ = call("profile", path, "--input", floats, "--json")
    assert json.loads(output)["activity"]["messages"]["value"] == sent


def _values(network):
    """Float32 arrays (tokens, sequences, features) within the input format, and on its edges."""
    exponent = network.input_format.exponent
    lowest, highest = (float(np.ldexp(one, -exponent)) for one in limits(network.input_format.bits))
    within = st.floats(lowest, float(np.nextafter(np.float32(highest), np.float32(0))), width=32)
    shape = st.tuples(st.integers(1, 7), st.integers(1, 3), st.just(FEATURES))
    return shape.flatmap(lambda one: arrays(np.float32, one, elements=within))


def test_floats_and_the_integers_that_they_are_quantized_to_are_the_same_everywhere(
    made, call, tmp_path
):
    path = made(Readout.EACH_TOKEN)
    opened = bundle.read(path)
    network = opened.network

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_values(network))
    def check(values):
        # Floor of a power of two's multiple, written out apart from the converter.
        integers = np.floor(values.astype(np.float64) * 2.0**network.input_format.exponent)
        integers = integers.astype(np.int32)
        wanted = Interpreter(network).evaluate(integers).outputs
        files = (
            (saved(tmp_path / "f.npy", values), ()),
            (
                saved(tmp_path / "i.npy", integers),
                ("--raw",),
            ),
        )
        activity = []
        for source, options in files:
            target = tmp_path / "out.npy"
            layout = ("--layout", "tokens-first")
            assert call("run", path, source, "-o", target, *layout, *options)[0] == 0
            assert_array_equal(np.load(target), wanted)
            data, raw = np.load(source), bool(options)
            assert_array_equal(s5.simulate(opened, data, raw=raw).outputs, wanted)
            tokens, clipped = s5.as_tokens(network, data, raw=raw)
            assert clipped == 0
            assert_array_equal(tokens, integers)
            stream = s5.FastSimulator(network).stream()
            steps = [stream.step(token) for token in tokens[:, 0]]
            assert_array_equal(steps, wanted[:, 0])
            for backend in (Backend.FAST, Backend.INTERPRETER):
                assert_array_equal(s5.run(network, tokens, backend).outputs, wanted)
            activity.append(record(network, tokens).activity.messages)
        assert_array_equal(*activity)

    check()


def test_profile_and_evaluate_give_the_same_for_floats_and_raw_integers(made, call, tmp_path):
    path = made(Readout.EACH_TOKEN)
    network = bundle.read(path).network
    values = SEQUENCES.astype(np.float32)
    integers, _ = s5.as_tokens(network, values, saturate=True)
    labels = np.arange(values.shape[0] * values.shape[1]).reshape(values.shape[:2]) % OUTPUTS
    profiles, answers = [], []
    for data, options in ((values, ()), (integers, ("--raw",))):
        source = saved(tmp_path / "in.npy", data)
        code, output, _ = call("profile", path, "--input", source, "--json", *options)
        assert code == 0
        content = json.loads(output)
        profiles.append((content["activity"], content["modes"]))
        np.savez(tmp_path / "in.npz", inputs=data, labels=labels)
        command = ("evaluate", path, "--data", tmp_path / "in.npz", "--float", MODEL, "--json")
        code, output, _ = call(*command, *options)
        assert code == 0
        answers.append(json.loads(output)["decisions"]["confusion"])
    assert profiles[0] == profiles[1]
    assert answers[0] == answers[1]


def test_whole_floats_and_their_integers_are_the_same_without_the_option(made, call, tmp_path):
    opened = bundle.read(made(Readout.EACH_TOKEN))
    whole = np.rint(SEQUENCES).astype(np.int8)
    assert_array_equal(
        s5.simulate(opened, whole).outputs, s5.simulate(opened, whole.astype(float)).outputs
    )


def test_integers_that_were_meant_raw_are_refused_with_the_option(made, call, tmp_path):
    path = made(Readout.EACH_TOKEN)
    tokens = bundle.read(path).vectors.tokens
    source = saved(tmp_path / "tokens.npy", tokens)
    code, _, error = call("run", path, source, "-o", tmp_path / "out.npy")
    assert code == 1
    assert "Integers are values here" in error
    assert "--raw" in error
    code, _, error = call(
        "run", path, saved(tmp_path / "f.npy", SEQUENCES), "-o", tmp_path / "out.npy", "--raw"
    )
    assert code == 1
    assert "Leave out --raw" in error


def test_where_tokens_are_wanted_floats_are_refused(made):
    network = bundle.read(made(Readout.EACH_TOKEN)).network
    values = SEQUENCES[:4]
    message = (
        r"tokens are integers of the input format .* Convert values with s5_to_loihi.as_tokens"
    )
    for call_ in (
        lambda: s5.run(network, values, Backend.FAST),
        lambda: s5.run(network, values, Backend.LAVA_FUSED),
        lambda: s5.FastSimulator(network).run(values),
        lambda: s5.FastSimulator(network).stream().step(values[0, 0]),
        lambda: Interpreter(network).evaluate(values),
        lambda: record(network, values),
        lambda: check_tokens(network, values),
    ):
        with pytest.raises(InputError, match=message):
            call_()


@pytest.fixture
def lava_may_begin(monkeypatch):
    """Lava sets how processes start when it is imported; other tests may have used some."""
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda method: None)


@needs_lava
@pytest.mark.xdist_group("lava")
def test_lava_refuses_floats_when_they_are_connected_and_takes_converted_ones(
    made, tmp_path, lava_may_begin
):
    lava_shim.install()
    from lava.proc.io.source import RingBuffer as Source

    from s5_to_loihi.process_models.process import S5Network, TokenStream

    network = bundle.read(made(Readout.EACH_TOKEN)).network
    values = SEQUENCES[:4, 0]
    for data in (values, values.astype(float), np.rint(values)):
        source, process = Source(data=data.T), S5Network(network=network)
        with pytest.raises(InputError, match="as_tokens"):
            source.s_out.connect(process.inp)
    with pytest.raises(InputError, match="got float32"):
        TokenStream(tokens=values, file="", output_size=OUTPUTS, latency=network.latency)
    tokens, _ = s5.as_tokens(network, values)
    Source(data=tokens[:, 0].T).s_out.connect(S5Network(network=network).inp)
    got = s5.run(network, tokens, Backend.LAVA_FUSED).outputs
    assert_array_equal(got, Interpreter(network).evaluate(tokens).outputs)


@needs_lava
@pytest.mark.xdist_group("lava")
def test_whole_numbers_that_lava_carries_as_floats_are_tokens(made, lava_may_begin):
    """Which is what it does where no tag is selected."""
    lava_shim.install()
    from s5_to_loihi.process_models.models import _integers

    network = bundle.read(made(Readout.EACH_TOKEN)).network
    assert_array_equal(_integers(np.array([3.0, -5.0]), network), [3, -5])
    with pytest.raises(InputError, match="as_tokens"):
        _integers(np.array([3.0, 0.5]), network)


# Axes and lengths


def test_sequences_first_is_the_same_data(made, call, tmp_path):
    path = made(Readout.LAST)
    wanted = s5.simulate(bundle.read(path), SEQUENCES).outputs
    turned = saved(tmp_path / "turned.npy", SEQUENCES.swapaxes(0, 1))
    target = tmp_path / "out.npy"
    assert call("run", path, turned, "-o", target, "--layout", "sequences-first")[0] == 0
    assert_array_equal(np.load(target), wanted)
    opened = bundle.read(path)
    again = s5.simulate(opened, SEQUENCES.swapaxes(0, 1), layout=Layout.SEQUENCES_FIRST)
    assert_array_equal(again.outputs, wanted)


def test_what_speaks_for_sequences_first_is_asked(made, call, tmp_path):
    turned = saved(tmp_path / "turned.npy", SEQUENCES.swapaxes(0, 1))
    path, target = made(Readout.MEAN), tmp_path / "out.npy"
    options = ("--readout", "mean", "--calibration", turned, "-o", tmp_path / "b.bundle")
    for command in (
        ("quantize", MODEL, *options, "--length", 100),
        ("run", path, turned, "-o", target),
        ("profile", path, "--input", turned),
    ):
        code, _, error = call(*command)
        assert code == 1, command
        assert "do tokens or sequences come first" in error
        assert "--layout sequences-first" in error
        assert not target.exists()
    code, _, _ = call("quantize", MODEL, *options, "--length", 100, "--layout", "sequences-first")
    assert code == 0
    opened = bundle.read(tmp_path / "b.bundle")
    assert opened.network.sequence_length == 100
    wanted = evaluate(float_model(Readout.MEAN), SEQUENCES)
    got = s5.simulate(opened, SEQUENCES).outputs[-1:]
    assert ratio(wanted, to_floats(got, opened.network.output_format)) > LEAST


def test_how_three_axes_were_read_is_said(made, call, tmp_path):
    source = saved(tmp_path / "in.npy", SEQUENCES)
    code, output, _ = call("run", made(Readout.LAST), source, "-o", tmp_path / "out.npy", "--json")
    assert code == 0
    (note,) = json.loads(output)["notes"]
    assert "20 sequences of 100 tokens of 6 features" in note
    assert "--layout sequences-first" in note
    data = read_data(source, Layout.TOKENS_FIRST)
    assert data.notes == ()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 50, 6), {}, "sequences of one token each would be 50"),
        ((20, 100, 6), {"length": 100}, "sequences have 100 tokens"),
        ((20, 100, 6), {"lengths": np.full(20, 9)}, "there are 20 lengths"),
        ((100, 20, 6), {"lengths": np.full(19, 9)}, r"lengths that are int64 of shape \(19,\)"),
        ((100, 20, 6), {"lengths": np.full(20, 101)}, "lengths of 101 to 101"),
        ((100, 20, 6), {"lengths": np.zeros(20, int)}, "lengths of 0 to 0"),
        ((100, 20, 6), {"lengths": np.ones(20)}, "lengths that are float64"),
    ],
)
def test_axes_that_are_in_doubt_are_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        arranged(np.zeros(shape), "in.npy", **options)


def test_the_mean_takes_its_length_from_the_data_and_refuses_others(made, call, tmp_path):
    path = made(Readout.MEAN)
    opened = bundle.read(path)
    assert opened.network.sequence_length == len(SEQUENCES)
    wanted = evaluate(float_model(Readout.MEAN), SEQUENCES)
    got = s5.simulate(opened, SEQUENCES).outputs[-1:]
    assert ratio(wanted, to_floats(got, opened.network.output_format)) > LEAST
    message = "has sequences of 60 tokens; the network divides by 100"
    with pytest.raises(InputError, match=message):
        s5.simulate(opened, SEQUENCES[:60])
    for command in (("run", "-o", tmp_path / "o.npy"), ("profile",)):
        source = saved(tmp_path / "short.npy", SEQUENCES[:60])
        given_ = (source,) if command[0] == "run" else ("--input", source)
        code, _, error = call(command[0], path, *given_, *command[1:])
        assert code == 1
        assert message in error
    with pytest.raises(InputError, match="has sequences of 60 tokens, the mean is of 80"):
        s5.quantize(
            MODEL,
            SEQUENCES[:60],
            options=s5.LoadOptions(readout=Readout.MEAN),
            sequence_length=80,
        )


def test_longer_calibration_is_cut_into_sequences_and_said():
    data = arranged(np.arange(2 * 7 * 6).reshape(7, 2, 6), "in.npy", Layout.TOKENS_FIRST)
    cut = cut_for_mean(data, "in.npy", 3)
    assert cut.values.shape == (3, 4, 6)
    assert_array_equal(cut.values[:, :2], data.values[:3])
    assert_array_equal(cut.values[:, 2:], data.values[3:6])
    assert "2 sequences of 7 tokens are cut into 4 of 3" in cut.notes[0]
    assert "1 tokens of each are left out" in cut.notes[0]


@pytest.mark.parametrize("readout", [Readout.EACH_TOKEN, Readout.LAST])
def test_sequences_of_unequal_lengths_come_out_as_if_alone(made, call, tmp_path, readout):
    lengths = np.random.default_rng(3).integers(1, 101, 20)
    lengths[0] = 100
    padded = np.array(SEQUENCES)
    padded[np.arange(100)[:, None] >= lengths] = np.nan
    np.savez(tmp_path / "in.npz", inputs=padded, lengths=lengths)
    opened = bundle.read(made(readout))
    target = tmp_path / "out.npy"
    assert call("run", made(readout), tmp_path / "in.npz", "-o", target)[0] == 0
    outputs = np.load(target)
    assert_array_equal(s5.simulate(opened, padded, lengths=lengths).outputs, outputs)
    for place, length in enumerate(lengths):
        alone = s5.simulate(opened, SEQUENCES[:length, place]).outputs[:, 0]
        assert_array_equal(outputs[:length, place], alone)
        if readout is Readout.LAST:
            assert_array_equal(outputs[-1, place], alone[-1])
        else:
            assert not outputs[length:, place].any()


def test_padding_is_not_calibrated_with(call, tmp_path):
    lengths = np.full(20, 50)
    lengths[0] = 100
    padded = np.array(SEQUENCES)
    padded[50:, 1:] = 1e6
    np.savez(tmp_path / "in.npz", inputs=padded, lengths=lengths)
    options = ("--readout", "last", "--calibration", tmp_path / "in.npz", "--strict")
    code, _, error = call("quantize", MODEL, *options, "-o", tmp_path / "b.bundle")
    assert code == 0, error
    network = bundle.read(tmp_path / "b.bundle").network
    tokens, _ = s5.as_tokens(network, SEQUENCES)
    got = Interpreter(network).evaluate(tokens).outputs[-1]
    assert ratio(LAST_EXPECTED, to_floats(got, network.output_format)) > LEAST


# Every readout, every way in, one sequence or many


def _run_file(call, path, source, data, tmp_path):
    assert call("run", path, source, "-o", tmp_path / "out.npy")[0] == 0
    return np.load(tmp_path / "out.npy")


WAYS = {
    "run": _run_file,
    "simulate": lambda call, path, source, data, tmp_path: (
        s5.simulate(bundle.read(path), data).outputs
    ),
    "simulate_file": lambda call, path, source, data, tmp_path: (
        simulate_file(bundle.read(path).network, source, tmp_path / "o.npy"),
        np.load(tmp_path / "o.npy"),
    )[1],
    "fast": lambda call, path, source, data, tmp_path: _backend(path, data, Backend.FAST),
    "interpreter": lambda call, path, source, data, tmp_path: _backend(
        path, data, Backend.INTERPRETER
    ),
    "stream": lambda call, path, source, data, tmp_path: _streamed(path, data),
}


def _backend(path, data, backend):
    network = bundle.read(path).network
    return s5.run(network, s5.as_tokens(network, data)[0], backend).outputs


def _streamed(path, data):
    network = bundle.read(path).network
    tokens, simulator = s5.as_tokens(network, data)[0], s5.FastSimulator(network)
    sequences = []
    for index in range(tokens.shape[1]):
        stream = simulator.stream()
        sequences.append([stream.step(token) for token in tokens[:, index]])
    return np.array(sequences).swapaxes(0, 1)


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("readout", Readout)
def test_every_readout_runs_every_way(made, call, tmp_path, readout, way, batch):
    path = made(readout)
    data = SEQUENCES if batch else SEQUENCES[:, 0]
    source = saved(tmp_path / "in.npy", data)
    outputs = WAYS[way](call, path, source, data, tmp_path)
    assert outputs.shape == (100, 20 if batch else 1, OUTPUTS)
    wanted = evaluate(float_model(readout), SEQUENCES[:, : outputs.shape[1]])
    network = bundle.read(path).network
    got = to_floats(outputs[-len(wanted) :], network.output_format)
    assert ratio(wanted, got) > LEAST
    if readout is Readout.LAST:
        assert ratio(LAST_EXPECTED[: len(got[0])], got[0]) > LEAST


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
@pytest.mark.parametrize("readout", Readout)
@pytest.mark.parametrize("command", ["quantize", "compile"])
def test_every_readout_is_quantized_and_looked_at_by_every_command(
    call, tmp_path, readout, command, batch
):
    data = SEQUENCES if batch else SEQUENCES.swapaxes(0, 1).reshape(-1, FEATURES)[:300]
    source, path = saved(tmp_path / "in.npy", data), tmp_path / "b.bundle"
    options = ("--readout", readout.value, "--calibration", source, "-o", path)
    code, _, error = call(command, MODEL, *options)
    assert code == 0, error
    looks = [("inspect", path), ("verify", path, "-b", "interpreter")]
    # Mapping takes seconds.
    looks += [("profile", path)] * (batch and command == "quantize")
    for looked in looks:
        code, _, error = call(*looked)
        assert code == 0, error


# Bad data


def outlying(value: float) -> np.ndarray:
    data = SEQUENCES.swapaxes(0, 1).reshape(-1, FEATURES)[:1000].copy()
    data[17, 3] = value
    return data


def test_an_outlier_is_said_with_its_place_and_refused_where_asked(call, tmp_path):
    source, path = saved(tmp_path / "in.npy", outlying(1e6)), tmp_path / "b.bundle"
    command = ("quantize", MODEL, "--readout", "each_token", "--calibration", source, "-o", path)
    # It leaves nothing of the outputs, so that not even a warning will do.
    code, _, error = call(*command)
    assert (code, path.exists()) == (1, False)
    assert "token 17 of sequence 0, feature 3" in error
    source = saved(tmp_path / "in.npy", outlying(3e4))
    code, _, error = call(*command, "--strict")
    assert code == 3
    assert not path.exists()
    assert "token 17 of sequence 0, feature 3" in error
    code, output, _ = call(*command)
    assert code == 0
    said = " ".join(output.split())
    assert "Warning: output SQNR is -" in said
    assert "token 17 of sequence 0, feature 3" in said
    code, output, error = call(*command, "--json")
    assert any("token 17" in one for one in json.loads(output)["warnings"])


def test_good_data_is_not_warned_about(call, tmp_path):
    source = saved(tmp_path / "in.npy", outlying(0.5))
    options = ("--readout", "each_token", "--calibration", source, "-o", tmp_path / "b.bundle")
    code, output, error = call("quantize", MODEL, *options, "--strict")
    assert code == 0, error
    assert "Warning" not in output + error


def test_many_values_outside_the_format_are_warned_about(made, call, tmp_path):
    path, source = made(Readout.EACH_TOKEN), saved(tmp_path / "in.npy", SEQUENCES[:, 0] * 1e4)
    command = ("run", path, source, "-o", tmp_path / "out.npy", "--saturate")
    code, _, error = call(*command)
    assert code == 0
    assert "of the values of" in error
    assert "are outside the input format and were clipped" in " ".join(error.split())
    assert call(*command, "--strict")[0] == 3
    assert call("profile", path, "--input", source, "--strict")[0] == 3


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 15])
def test_no_result_is_off_without_a_word(made, call, tmp_path, factor):
    """Up to four times the calibration's values the loss is as stated; beyond, it is said."""
    path, data = made(Readout.EACH_TOKEN), SEQUENCES[:, 0] * factor
    source = saved(tmp_path / "in.npy", data)
    command = ("run", path, source, "-o", tmp_path / "out.npy")
    code, _, error = call(*command)
    if code:
        assert (code, factor) == (1, 15)
        assert "values outside the input format" in error
        return
    warned = "beyond 4 times that values in between saturate" in " ".join(error.split())
    network = bundle.read(path).network
    wanted = evaluate(float_model(Readout.EACH_TOKEN), data[:, None])
    got = to_floats(np.load(tmp_path / "out.npy"), network.output_format)
    assert warned or ratio(wanted, got) > LEAST
    assert warned == (np.abs(data).max() > 4 * np.abs(SEQUENCES).max() * 0.99)
    assert call(*command, "--strict")[0] == (3 if warned else 0)
    assert bool(s5.simulate(bundle.read(path), data).warnings) == warned


def test_nothing_is_called_loud_where_the_calibration_is_not_known(compiled):
    assert louder_said(bundle.read(compiled).source, 1e9, "in") == ()
    assert louder_said({REACHES: "loud"}, 1e9, "in") == ()
    assert louder_said({REACHES: "2"}, 8.1, "in")
    assert not louder_said({REACHES: "2"}, 8.0, "in")


def test_a_clean_recording_of_something_else_is_warned_about(call, tmp_path):
    from s5_to_loihi import audio

    random = np.random.default_rng(1)
    noisy, other = (random.normal(0, 0.1, (1, 16_000)) for _ in range(2))
    for name, samples in (("noisy.wav", noisy), ("other.wav", other), ("same.wav", noisy * 0.5)):
        audio.write_wav(tmp_path / name, samples)
    command = ("denoise", tmp_path / "noisy.wav", tmp_path / "out.wav", "-b", "interpreter")
    code, _, error = call(*command, "--clean", tmp_path / "other.wav")
    assert code == 0
    assert "do not seem to belong together" in " ".join(error.split())
    assert call(*command, "--clean", tmp_path / "other.wav", "--strict")[0] == 3
    code, _, error = call(*command, "--clean", tmp_path / "same.wav", "--strict")
    assert code == 0, error


# Provenance


def test_a_bundle_says_what_it_was_made_from_and_is_made_again_to_the_same_bytes(call, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        place.mkdir()
        shutil.copy(MODEL, place / "model.msgpack")
        saved(place / "x.npy", SEQUENCES)
    options = ("--readout", "mean", "--weights", 6, "--knots", 32)
    data = ("--calibration", here / "x.npy")
    first = here / "first.bundle"
    assert call("quantize", here / "model.msgpack", *data, *options, "-o", first)[0] == 0
    source = bundle.read(first).source
    digest = hashlib.sha256((here / "x.npy").read_bytes()).hexdigest()
    assert source["calibration sha256"] == digest
    assert source["calibration file"] == "x.npy"
    assert len(source["sha256"]) == 64
    assert json.loads(source["options"])["precision"]["weights"] == 6
    assert np.__version__ in source["made with"]
    assert "output SQNR on held-out data" in source["scores"]
    second = there / "another.bundle"
    command = ("quantize", there / "model.msgpack", "--again", first, "-o", second)
    code, _, error = call(*command, "--calibration", there / "x.npy")
    assert code == 0, error
    files = sorted(file.name for file in first.iterdir())
    assert files == sorted(file.name for file in second.iterdir())
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    code, _, error = call(*command, "--calibration", saved(there / "y.npy", SEQUENCES + 1))
    assert code == 1
    assert "was made with another calibration: x.npy" in error
    _, output, _ = call("inspect", first, "--details")
    assert digest in output
    _, output, _ = call("inspect", first, "--json")
    assert json.loads(output)["source"]["calibration sha256"] == digest


def test_a_bundle_that_does_not_say_its_options_is_not_made_again(call, compiled, tmp_path):
    source = saved(tmp_path / "x.npy", SEQUENCES)
    command = ("quantize", MODEL, "--calibration", source, "-o", tmp_path / "b.bundle")
    code, _, error = call(*command, "--again", compiled)
    assert code == 1
    assert "does not say what was chosen for it" in error


# The table of the documentation


def _documented() -> dict[str, str]:
    """First cells of ``docs/data.md``'s table of commands -> the rest of their rows."""
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    table = text.split("| command |", 1)[1].split("\n\n", 1)[0]
    rows = (line.strip("| ").split(" | ", 1) for line in table.splitlines()[2:])
    return {name.strip("`"): rest for name, rest in rows}


def test_the_documentation_says_of_every_command_what_data_mean():
    assert set(_documented()) == {name for name in COMMANDS if name not in WITHOUT_DATA}


@pytest.mark.parametrize("name", sorted(_documented()))
def test_the_options_that_the_documentation_names_are_those_of_the_code(name):
    command = COMMANDS[name]
    function = getattr(import_module(f"s5_to_loihi.commands.{command.module}"), command.function)
    parameters, row = inspect.signature(function).parameters, _documented()[name]
    for option, parameter in (
        ("--raw", "raw"),
        ("--layout", "layout"),
        ("--length", "sequence_length"),
        ("--hop", "hop"),
        ("--calibration", "calibration"),
        ("--held-out", "held_out"),
        ("--data", "data"),
        ("--noisy", "noisy"),
        ("--pairs", "pairs"),
    ):
        assert (f"`{option}`" in row) == (parameter in parameters), option
    integers = row.split(" | ")[1]
    # What may be raw is a value otherwise; what is a value is not called a token.
    takes_values = name in ("sweep", "train") or "calibration" in parameters or "raw" in parameters
    assert integers.startswith("values") == takes_values


@pytest.mark.parametrize("name", ["run", "profile", "simulate", "as_tokens"])
def test_the_documentation_says_what_python_takes(name):
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    table = text.split("In Python:")[1].splitlines()
    row = next(line for line in table if line.startswith(f"| `{name}` |"))
    parameters = inspect.signature(getattr(s5, name)).parameters
    taken = row.split("|")[2].strip(" `")
    assert taken in parameters
    assert ("`raw=True`" in row) == ("raw" in parameters) == (taken == "inputs")
