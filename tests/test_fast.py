"""The fast simulator computes the interpreter's integers, streaming and in sequences."""

import errno
import functools
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import fast_networks
import float_models
import golden
import numpy as np
import pytest
import random_networks
from fast_networks import NETWORKS, RICH, dense_network
from float_models import FloatCase
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import limits
from s5_to_loihi.intel_export import to_vectors
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.network.ranges import worst_case
from s5_to_loihi.simulators import (
    activity,
    fast,
    fast_layout,
    fast_plan,
    fast_synapses,
    object_code,
)
from s5_to_loihi.simulators.fast import FastSimulator, Run, Stream
from s5_to_loihi.simulators.interpreter import Evaluation, Interpreter
from s5_to_loihi.simulators.loops import BLOCK
from s5_to_loihi.simulators.object_code import CACHE_VARIABLE

BATCH = 3
#: Two blocks of tokens and a part of a third.
TOKENS = 2 * BLOCK + 17


@dataclass(frozen=True, eq=False)
class Compared:
    """A network under both simulators, and what the interpreter computes for its tokens."""

    network: Network
    fast: FastSimulator
    interpreter: Interpreter
    tokens: np.ndarray
    expected: Evaluation


def compared(network: Network, tokens: np.ndarray) -> Compared:
    interpreter = Interpreter(network)
    expected = interpreter.evaluate(tokens, keep=None)
    return Compared(network, FastSimulator(network), interpreter, tokens, expected)


@functools.cache
def random_one(name: str) -> Compared:
    network = fast_networks.network(name)
    seed = list(NETWORKS).index(name)
    tokens = random_networks.random_tokens(seed, TOKENS, BATCH, network.input_size)
    return compared(network, tokens.astype(np.int32))


@functools.cache
def golden_one(name: str) -> Compared:
    tokens = golden.load(name).tensors["INPUT_int"][:, None]
    return compared(fast_networks.network(name), tokens)


every_network = pytest.mark.parametrize("name", NETWORKS)
every_golden_set = pytest.mark.parametrize("name", golden.SETS)


# Comparing


def registers_of(network: Network, evaluation: Evaluation) -> np.ndarray:
    """The interpreter's state in the order of the simulator's: (batch, registers)."""
    registers = [
        array for group in network.groups for array in evaluation.state.get(group.name, ())
    ]
    batch = evaluation.outputs.shape[1]
    return np.concatenate([np.zeros((batch, 0), dtype=np.int64), *registers], axis=1)


def sent_messages(one: Compared) -> dict[str, np.ndarray]:
    """What the interpreter sends over synapses or out of the network."""
    sources = {synapses.source for synapses in one.network.synapses}
    names = {f"{INPUT}.{TOKEN}"} | {str(source) for source in sources | {one.network.output}}
    values = one.expected.values | {f"{INPUT}.{TOKEN}": one.tokens}
    return {name: values[name] for name in names}


def assert_same_activity(got: activity.Activity, wanted: activity.Activity) -> None:
    assert got.groups == wanted.groups
    assert_array_equal(got.messages, wanted.messages)
    assert_array_equal(got.synops, wanted.synops)
    assert_array_equal(got.updates, wanted.updates)


def assert_same_run(one: Compared, run: Run) -> None:
    assert run.outputs.dtype == run.state.dtype == np.int32
    assert_array_equal(run.outputs, one.expected.outputs)
    assert_array_equal(run.state, registers_of(one.network, one.expected))
    wanted = sent_messages(one)
    assert set(run.messages) == set(wanted)
    for name, array in wanted.items():
        assert_array_equal(run.messages[name], array, err_msg=name)
    assert_same_activity(run.activity, activity.count(one.network, wanted))


def streamed(stream: Stream, tokens: np.ndarray) -> np.ndarray:
    """(tokens, output features) for tokens (tokens, input features)."""
    outputs = [stream.step(token) for token in tokens]
    return np.array(outputs).reshape(len(tokens), -1)


def assert_same_streams(one: Compared, threads: int = 1) -> None:
    wanted = activity.count(one.network, sent_messages(one))
    for index in range(one.tokens.shape[1]):
        stream = one.fast.stream(threads=threads)
        outputs = streamed(stream, one.tokens[:, index])
        assert_array_equal(outputs, one.expected.outputs[:, index])
        assert_array_equal(stream.state, registers_of(one.network, one.expected)[index])
        assert_array_equal(stream.sent, wanted.messages[:, index].sum(axis=0))
        assert_array_equal(stream.synops, wanted.synops[:, index].sum(axis=0))


# Intel's recordings


@every_golden_set
def test_golden_sequences(name):
    one = golden_one(name)
    run = one.fast.run(one.tokens, counting=True, record=True)
    assert_same_run(one, run)
    vectors, _ = to_vectors(golden.export(name), one.network)
    recorded = {value: array for value, array in vectors.expected.items() if value in run.messages}
    assert len(recorded) > 0.5 * len(run.messages)
    for value, array in recorded.items():
        assert_array_equal(run.messages[value], array, err_msg=value)
    assert_array_equal(run.outputs[:, 0], golden.load(name).tensors["OUTPUT_int"])


@every_golden_set
def test_golden_streams(name):
    one = golden_one(name)
    assert_same_streams(one)
    outputs = streamed(one.fast.stream(), one.tokens[:, 0])
    assert_array_equal(outputs, golden.load(name).tensors["OUTPUT_int"])


# Random networks


@every_network
def test_sequences(name):
    one = random_one(name)
    assert_same_run(one, one.fast.run(one.tokens, counting=True, record=True))


@every_network
def test_streams(name):
    assert_same_streams(random_one(name))


@pytest.mark.parametrize("name", ["half2, dense", RICH, "denoiser_intel_size"])
@pytest.mark.parametrize("least", [0, 2], ids=["dense", "scattered"])
def test_streams_whatever_is_multiplied_densely(name, least, monkeypatch):
    """Which matrices are is a question of time alone."""
    monkeypatch.setattr(fast_plan, "DENSE_FROM", least)
    monkeypatch.setattr(fast_plan, "DENSE_BYTES", 1 << 30)
    one = golden_one(name) if name in golden.SETS else random_one(name)
    again = replace(one, fast=FastSimulator(one.network))
    kernels = {call.kernel for call in again.fast.planners()[0].of_a_token()}
    assert (fast_synapses.multiply() in kernels) == (least == 0)
    assert_same_streams(again)


def test_weights_of_the_same_ends_that_leave_8_bits_are_scattered(monkeypatch):
    monkeypatch.setattr(fast_plan, "DENSE_FROM", 0)
    one = random_one("parallel synapses")
    kernels = {call.kernel for call in FastSimulator(one.network).planners()[0].of_a_token()}
    assert fast_synapses.multiply() not in kernels


@every_network
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_tokens_and_any_state(name, data):
    """Where a stream cannot get to by itself, too: registers anywhere in their format."""
    one = random_one(name)
    network = one.network
    count, batch = data.draw(st.integers(1, BLOCK + 3)), data.draw(st.integers(1, 3))
    seed = data.draw(st.integers(0, 2**32 - 1))
    tokens = random_networks.random_tokens(seed, count, batch, network.input_size)
    rng = np.random.default_rng(seed)
    state = {
        group.name: tuple(
            rng.integers(*limits(group.formats[register].bits), (batch, group.size), endpoint=True)
            for register in group.kind.state
        )
        for group in network.groups
        if group.kind.state
    }
    expected = one.interpreter.evaluate(tokens, state, keep=None)
    start = registers_of(network, Evaluation(expected.outputs, {}, state)).astype(np.int32)
    again = Compared(network, one.fast, one.interpreter, tokens, expected)
    assert_same_run(again, one.fast.run(tokens, start, counting=True, record=True))
    stream = one.fast.stream(start[0])
    outputs = streamed(stream, tokens[:, 0].astype(np.int32))
    assert_array_equal(outputs, expected.outputs[:, 0])
    assert_array_equal(stream.state, registers_of(network, expected)[0])


def test_the_networks_are_what_they_are_meant_to_be():
    networks = {name: random_one(name).network for name in NETWORKS}
    kinds = {group.kind.name for network in networks.values() for group in network.groups}
    assert {"gate", "full_gate", "residual", "norm", "scaled_norm", "mean"} <= kinds
    narrow = networks["half1, narrow states"].group("block0.state")
    assert narrow.formats["x_re"].bits == 9
    empty = [one.name for one in networks["none, without memory"].synapses if not one.weights.nnz]
    assert empty == ["block0.C_im"]
    parallel = networks["parallel synapses"].synapses
    assert len({(one.source, one.target) for one in parallel}) == 1
    assert abs(sum(one.weights.astype(int) for one in parallel)).max() > 127
    constant = {
        name for name in NETWORKS if not np.ptp(random_one(name).expected.outputs, axis=0).any()
    }
    assert constant == {"half1, nothing arrives or leaves"}


# Sums just below the limit


@pytest.mark.parametrize("direction", [1, -1])
def test_sums_just_below_the_limit(direction):
    """Of 16-bit tokens: every sign of the weights meets the worst token for it."""
    signs = np.random.default_rng(6).choice([-1, 1], (6, 259))
    signs[0], signs[1] = 1, -1
    magnitudes = np.full(259, 127)
    magnitudes[-1] = 32767 - 258 * 127
    network = dense_network(signs * magnitudes, shift=7)
    port = Endpoint("sum", "weighted")
    assert worst_case(network, port) == 2**30 - 2**15
    lowest, highest = limits(16)
    worst = np.where(direction * signs > 0, highest, lowest)
    rng = np.random.default_rng(7)
    tokens = np.concatenate([worst, rng.choice([lowest, highest], (BLOCK, 259))])[:, None]
    one = compared(network, tokens.astype(np.int32))
    assert_same_run(one, one.fast.run(one.tokens, counting=True, record=True))
    assert_same_streams(one)
    sums = direction * (signs * magnitudes @ worst.T).diagonal()
    assert sums.min() > 2**30 - 2**16
    reached = np.diagonal(one.expected.outputs[:6, 0])
    assert_array_equal(reached, np.clip(direction * sums >> 7, *limits(24)))


def test_the_state_reaches_the_limit_of_its_sums():
    one = random_one("none, at the limit of the state")
    # Re g, which alone arrives there, is never negative.
    assert worst_case(one.network, Endpoint("block0.output", "c_re")) == 127 * (2**23 - 1)
    state = one.expected.values["block0.state.x_re"]
    assert (state.min(), state.max()) == limits(24)
    assert abs(one.expected.values["block0.state.g_re"]).max() == 2**23 - 1


# Tokens in other portions

some_lengths = st.lists(
    st.one_of(st.sampled_from([1, BLOCK - 1, BLOCK, BLOCK + 1]), st.integers(1, TOKENS)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=40)
@given(some_lengths, st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_chunks_with_carried_state_are_the_whole(lengths, streaming):
    """Each chunk by either way: what one of them leaves, the other goes on from."""
    one = random_one(RICH)
    cuts = [cut for cut in itertools.accumulate(lengths) if cut < TOKENS]
    state, outputs, parts = None, [], []
    for chunk, stream_it in zip(np.split(one.tokens, cuts), streaming, strict=False):
        if stream_it:
            streams = [
                one.fast.stream(None if state is None else state[index]) for index in range(BATCH)
            ]
            each = [streamed(stream, chunk[:, index]) for index, stream in enumerate(streams)]
            outputs.append(np.stack(each, axis=1))
            state = np.stack([stream.state for stream in streams])
        else:
            run = one.fast.run(chunk, state, counting=True)
            outputs.append(run.outputs)
            parts.append(run.activity)
            state = run.state
    assert_array_equal(np.concatenate(outputs), one.expected.outputs)
    assert_array_equal(state, registers_of(one.network, one.expected))
    if len(parts) == len(outputs):
        whole = activity.count(one.network, sent_messages(one))
        assert_same_activity(activity.joined(parts), whole)


@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_sequences_of_any_length_are_a_beginning(length):
    one = random_one(RICH)
    run = one.fast.run(one.tokens[:length], counting=True, record=True)
    expected = one.interpreter.evaluate(one.tokens[:length], keep=None)
    assert_same_run(replace(one, tokens=one.tokens[:length], expected=expected), run)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [1, 2, BATCH, 9])
def test_any_number_of_threads_and_sequences(threads, batch):
    one = random_one(RICH)
    order = np.arange(batch) % BATCH
    run = one.fast.run(one.tokens[:, order], threads=threads, counting=True, record=True)
    expected = one.fast.run(one.tokens, counting=True, record=True)
    assert_array_equal(run.outputs, expected.outputs[:, order])
    assert_array_equal(run.state, expected.state[order])
    assert_array_equal(run.activity.messages, expected.activity.messages[:, order])
    assert_array_equal(run.activity.synops, expected.activity.synops[:, order])
    for name, array in expected.messages.items():
        assert_array_equal(run.messages[name], array[:, order], err_msg=name)


@pytest.mark.parametrize("threads", [2, 3])
@every_network
def test_threads_that_share_a_stream_compute_the_same(name, threads, monkeypatch):
    """Even if neurons that stand side by side are of different threads."""
    monkeypatch.setattr(fast, "LARGE", 0)
    monkeypatch.setattr(fast_layout, "_TOGETHER", 1)
    one = random_one(name)
    one = replace(one, fast=FastSimulator(one.network))
    first = replace(one.expected, outputs=one.expected.outputs[:, :1])
    alone = one.fast.run(one.tokens[:, :1], threads=threads, counting=True, record=True)
    assert_array_equal(alone.outputs, first.outputs)
    monkeypatch.setattr(fast, "VAST", 0)
    assert_same_run(one, one.fast.run(one.tokens, threads=threads, counting=True, record=True))
    assert_same_streams(one, threads)


def test_a_refused_token_leaves_threads_that_share_a_stream_as_they_are(monkeypatch):
    monkeypatch.setattr(fast, "LARGE", 0)
    one = random_one(RICH)
    stream = FastSimulator(one.network).stream(threads=2)
    stream.step(one.tokens[0, 0])
    state, synops = stream.state.copy(), stream.synops
    with pytest.raises(InputError):
        stream.step(np.full(one.network.input_size, 1 << 30, dtype=np.int32))
    assert_array_equal(stream.state, state)
    assert_array_equal(stream.synops, synops)
    assert_array_equal(stream.step(one.tokens[1, 0]), one.expected.outputs[1, 0])


@every_network
def test_targets_of_32_bits_are_the_same(name, monkeypatch):
    monkeypatch.setattr(fast_layout, "_MIDDLE", 1)
    one = random_one(name)
    assert_same_streams(replace(one, fast=FastSimulator(one.network)))


@every_network
def test_sequences_of_a_batch_are_those_alone(name):
    one = random_one(name)
    whole = one.fast.run(one.tokens)
    for index in range(BATCH):
        alone = one.fast.run(one.tokens[:, [index]])
        assert_array_equal(alone.outputs, whole.outputs[:, [index]])
        assert_array_equal(alone.state, whole.state[[index]])


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy(order="K")
    array.flags.writeable = False
    return array


#: Integers that mean the same, stored differently.
STORED = {
    "int64": lambda array: array.astype(np.int64),
    "big-endian": lambda array: array.astype(">i4"),
    "by columns": np.asfortranarray,
    "every second": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "backwards": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "read-only": read_only,
}


@pytest.mark.parametrize("name", STORED)
def test_tokens_and_states_however_they_are_stored(name):
    one, stored = random_one(RICH), STORED[name]
    tokens = stored(one.tokens)
    middle = one.fast.run(tokens[:40]).state
    run = one.fast.run(stored(one.tokens[40:]), stored(middle.copy()))
    assert_array_equal(run.outputs, one.expected.outputs[40:])
    alone = one.fast.run(stored(one.tokens[:, :1]))
    assert_array_equal(alone.outputs, one.expected.outputs[:, :1])
    stream = one.fast.stream(stored(middle[0].copy()))
    outputs = [stream.step(stored(token)) for token in one.tokens[40:, 0]]
    assert_array_equal(np.array(outputs), one.expected.outputs[40:, 0])


def test_only_what_was_asked_for():
    one = random_one(RICH)
    run = one.fast.run(one.tokens)
    assert run.activity is None
    assert run.messages == {}
    assert one.fast.run(one.tokens, record=True).activity is None
    assert one.fast.run(one.tokens, counting=True).messages == {}


# Streams and their state


def test_a_stream_goes_on_from_a_saved_state():
    one = random_one(RICH)
    stream = one.fast.stream()
    first = streamed(stream, one.tokens[:40, 0])
    saved = stream.state.copy()
    for _ in range(2):
        again = one.fast.stream(saved)
        rest = streamed(again, one.tokens[40:, 0])
        assert_array_equal(np.concatenate([first, rest]), one.expected.outputs[:, 0])
        assert_array_equal(again.state, registers_of(one.network, one.expected)[0])
    assert_array_equal(saved, stream.state)


def test_a_fork_and_its_origin_do_not_disturb_one_another():
    one = random_one(RICH)
    origin = one.fast.stream()
    streamed(origin, one.tokens[:40, 0])
    fork = origin.fork()
    assert fork.sent.sum() == fork.synops.sum() == 0
    kept, counted = origin.state.copy(), origin.sent.copy()
    streamed(fork, one.tokens[:7, 1])
    assert_array_equal(origin.state, kept)
    assert_array_equal(origin.sent, counted)
    assert (fork.state != kept).any()
    rest = streamed(origin, one.tokens[40:, 0])
    assert_array_equal(rest, one.expected.outputs[40:, 0])


def test_a_reset_stream_begins_again():
    one = random_one(RICH)
    stream = one.fast.stream()
    streamed(stream, one.tokens[:40, 1])
    assert stream.state.any()
    stream.reset()
    assert not stream.state.any()
    assert_array_equal(streamed(stream, one.tokens[:, 0]), one.expected.outputs[:, 0])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, BATCH - 1), max_size=200))
def test_interleaved_streams(order):
    one = random_one(RICH)
    streams = [one.fast.stream() for _ in range(BATCH)]
    seen = [0] * BATCH
    for index in order:
        if seen[index] == TOKENS:
            continue
        output = streams[index].step(one.tokens[seen[index], index])
        assert_array_equal(output, one.expected.outputs[seen[index], index])
        seen[index] += 1


def test_an_output_stays_what_it_was():
    one = random_one(RICH)
    stream = one.fast.stream()
    outputs = [stream.step(token) for token in one.tokens[:20, 0]]
    assert_array_equal(np.array(outputs), one.expected.outputs[:20, 0])


def test_what_is_given_is_not_modified():
    one = random_one(RICH)
    tokens = one.tokens.copy()
    middle = one.fast.run(tokens[:40]).state
    given_state = middle.copy()
    one.fast.run(tokens[40:], given_state)
    one.fast.run(tokens[40:], given_state, threads=2, counting=True, record=True)
    streamed(one.fast.stream(given_state[0]), tokens[40:, 0])
    assert_array_equal(given_state, middle)
    assert_array_equal(tokens, one.tokens)
    assert not one.fast.initial_state(2).any()
    assert one.fast.initial_state(2).shape == (2, middle.shape[1])


def test_tokens_and_states_of_other_shapes_are_refused():
    """Kernels would not notice where they read and write."""
    one = random_one(RICH)
    registers = one.fast.initial_state().shape[1]
    for state in (
        np.zeros((BATCH, registers - 1), dtype=np.int32),
        np.zeros((BATCH - 1, registers), dtype=np.int32),
        np.zeros(registers, dtype=np.int32),
    ):
        with pytest.raises(InputError, match="state: has shape"):
            one.fast.run(one.tokens, state)
    for shape in ((registers + 1,), (1, registers), ()):
        with pytest.raises(InputError, match="state: has shape"):
            one.fast.stream(np.zeros(shape, dtype=np.int32))
    for features in (0, 1, 6, 8):
        wrong = np.zeros((4, 1, features), dtype=np.int32)
        with pytest.raises(InputError, match=f"tokens: has {features} features a token"):
            one.fast.run(wrong)
        with pytest.raises(InputError, match=f"token: has {features} features a token"):
            one.fast.stream().step(wrong[0, 0])
    with pytest.raises(InputError, match="is empty"):
        one.fast.run(one.tokens[:0])


@pytest.mark.parametrize("value", [-(2**15) - 1, 2**15, 2**31 - 1, -(2**31)])
def test_a_token_outside_the_format_leaves_the_stream_as_it_is(value):
    one = random_one(RICH)
    stream = one.fast.stream()
    first = streamed(stream, one.tokens[:40, 0])
    for index in (0, one.network.input_size - 1):
        token = one.tokens[40, 0].copy()
        token[index] = value
        sent, synops = stream.sent.copy(), stream.synops.copy()
        with pytest.raises(InputError, match="1 values outside the input format"):
            stream.step(token)
        assert_array_equal(stream.sent, sent)
        assert_array_equal(stream.synops, synops)
    rest = streamed(stream, one.tokens[40:, 0])
    assert_array_equal(np.concatenate([first, rest]), one.expected.outputs[:, 0])


# Machine code, made once

SMALL = np.array([[100, 0, -3], [0, 5, 90]])


@pytest.fixture
def made(monkeypatch):
    """As after a start: no machine code in this process. The names of what is made are kept."""
    names = []

    def compiled(kernel, name):
        names.append(name)
        return compile_kernel(kernel, name)

    compile_kernel = object_code.compiled
    monkeypatch.setattr(object_code, "compiled", compiled)
    monkeypatch.setattr(object_code, "_KNOWN", {})
    monkeypatch.setattr(object_code, "_engine", functools.cache(object_code._engine.__wrapped__))
    return names


@pytest.fixture
def cache(monkeypatch, tmp_path, made):
    """An empty cache of its own."""
    directory = tmp_path / "below" / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(directory))
    return directory


def forget(made: list[str]) -> None:
    """Forget machine code as if the program had ended."""
    object_code._KNOWN.clear()
    object_code._engine.cache_clear()
    made.clear()


def assert_works(network: Network) -> None:
    tokens = random_networks.random_tokens(1, 5, 1, network.input_size)
    expected = Interpreter(network).evaluate(tokens).outputs
    simulator = FastSimulator(network)
    assert_array_equal(simulator.run(tokens, counting=True).outputs, expected)
    stream = simulator.stream()
    assert_array_equal(streamed(stream, tokens[:, 0]), expected[:, 0])


def test_machine_code_is_made_once(cache, made):
    assert_works(dense_network(SMALL))
    files = {file.name: file.read_bytes() for file in cache.iterdir()}
    assert set(files) == {f"{name}.o" for name in made}
    forget(made)
    assert_works(dense_network(SMALL))
    assert made == []
    assert {file.name: file.read_bytes() for file in cache.iterdir()} == files


def test_networks_share_machine_code(cache, made, monkeypatch):
    """Of other sizes, weights, formats, shifts and constants: what is done is the same."""
    monkeypatch.setattr(fast_plan, "DENSE_FROM", 0)
    assert_works(dense_network(SMALL, bias=3))
    forget(made)
    for network in (
        dense_network(SMALL[::-1] * [[1, -1, 1], [-1, -1, 0]], bias=3),
        dense_network(SMALL.T, bias=3),
        dense_network(np.tile(SMALL, (40, 13)), bias=3),
        dense_network(SMALL, bias=3, shift=9),
        dense_network(SMALL, bias=4),
    ):
        assert_works(network)
    assert made == []


def test_blocks_and_their_number_share_machine_code(cache, made):
    def case(blocks: int, width: int) -> FloatCase:
        return FloatCase(blocks=blocks, width=width, seed=blocks)

    assert_works(float_models.quantized(case(2, 5)).network)
    few = len(made)
    forget(made)
    assert_works(float_models.quantized(case(6, 9)).network)
    assert len(made) < few  # for three times as many blocks


def test_a_stream_makes_nothing_for_sequences(cache, made):
    network = dense_network(SMALL)
    FastSimulator(network).stream().step(np.zeros(3, dtype=np.int32))
    for_streams = len(made)
    FastSimulator(network).run(np.zeros((1, 1, 3), dtype=np.int32))
    assert 0 < for_streams < len(made)


def test_another_processor_has_its_own_machine_code(cache, made, monkeypatch):
    assert_works(dense_network(SMALL))
    count = len(made)
    forget(made)
    machine = ("another", *object_code._machine()[1:])
    monkeypatch.setattr(object_code, "_machine", lambda: machine)
    assert_works(dense_network(SMALL))
    assert len(made) == count
    assert len(list(cache.iterdir())) == 2 * count


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


DAMAGES = {
    "cut": cut,
    "flipped": flipped,
    "emptied": lambda content: b"",
    "other": lambda content: b"cos\nsystem\n(S'exit 1'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_machine_code_is_made_again(cache, made, damage):
    assert_works(dense_network(SMALL))
    files = {file: file.read_bytes() for file in cache.iterdir()}
    for file, content in files.items():
        file.write_bytes(DAMAGES[damage](content))
    forget(made)
    assert_works(dense_network(SMALL))
    assert len(made) == len(files)
    assert {file: file.read_bytes() for file in cache.iterdir()} == files


def test_a_full_disk_under_the_cache(cache, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(object_code.os, "replace", full)
    assert_works(dense_network(SMALL))
    assert list(cache.iterdir()) == []


def test_an_empty_variable_is_none(monkeypatch):
    before = object_code.cache_directory()
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert object_code.cache_directory() != Path()
    monkeypatch.delenv(CACHE_VARIABLE)
    assert before.is_absolute()
    monkeypatch.setenv(CACHE_VARIABLE, "~/kernels")
    assert object_code.cache_directory() == Path.home() / "kernels"


def test_a_cache_that_is_a_file(monkeypatch, tmp_path, made):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert_works(dense_network(SMALL))
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_cache_that_cannot_be_written_is_not_read(cache, made, monkeypatch):
    assert_works(dense_network(SMALL))
    files = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    forget(made)
    # The superuser may write everywhere, so rights alone would prove nothing.
    monkeypatch.setattr(object_code.os, "access", lambda path, mode: False)
    assert_works(dense_network(SMALL))
    assert len(made) == len(files)
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == files


def test_a_directory_in_the_place_of_machine_code(cache, made):
    assert_works(dense_network(SMALL))
    for file in cache.iterdir():
        file.unlink()
        file.mkdir()
    forget(made)
    assert_works(dense_network(SMALL))
    assert made


def test_no_home_to_keep_machine_code_in(monkeypatch, made):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(object_code.Path, "home", nowhere)
    assert_works(dense_network(SMALL))


def test_where_machine_code_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert object_code.cache_directory() == tmp_path / "mine"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert object_code.cache_directory() == tmp_path / "s5_to_loihi"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(object_code.Path, "home", lambda: tmp_path)
    assert object_code.cache_directory() == tmp_path / ".cache" / "s5_to_loihi"
