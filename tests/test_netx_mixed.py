"""S5 between netx layers: one file, one network, and Lava equal the composition of the parts."""

import itertools

import netx_files
import numpy as np
import pytest
import random_networks
from needs import needs_h5py, needs_lava
from netx_files import dense, even, inputs, sdnn
from numpy.testing import assert_array_equal
from random_networks import Case

from s5_to_loihi import bundle, netx
from s5_to_loihi.compiler import compile_netx
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.network.block import as_block
from s5_to_loihi.network.network import Network
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.netx.writing import contents, export, write_layers, write_mixed
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

pytestmark = [needs_h5py, pytest.mark.timeout(300, func_only=True)]
THRESHOLD = 3


def s5_network() -> Network:
    return random_networks.sample(Case(features_in=5, features_out=4, blocks=1, seed=3)).network


def pieces(folder, biased: bool):
    """Two netx files that fit around an S5 network."""
    rng = np.random.default_rng(20)

    def bias(size):
        return {"bias": 2 * rng.integers(-20, 60, size).astype(np.float32)} if biased else {}

    delays = rng.integers(0, 5, 9).astype(np.float32)
    front = (
        inputs(6, sdnn(1)),
        dense(even(rng, 9, 6), sdnn(1), delay=delays, **bias(9)),
        dense(even(rng, 5, 9), sdnn(2), **bias(5)),
    )
    back = (
        inputs(4, sdnn(1)),
        dense(even(rng, 7, 4), sdnn(1), **bias(7)),
        dense(even(rng, 3, 7), sdnn(1, sigma_output=True)),
    )
    return (
        netx_files.write(folder / "front.net", front),
        netx_files.write(folder / "back.net", back),
    )


def walk(size: int, step: int) -> np.ndarray:
    return netx_files.walk(np.random.default_rng(21), 40, size, step)[:, None]


def compiled(path, **options) -> Network:
    return compile_netx(path, NetxOptions(**options)).network


KINDS = ("netx-s5-netx", "s5-netx", "netx-s5")


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_one_network_is_the_composition_of_its_parts(kind, biased, tmp_path):
    """Of what each part computes by itself, what it does before its first token too."""
    front_file, back_file = pieces(tmp_path, biased)
    s5 = s5_network()
    parts = {"netx-s5-netx": (front_file, s5, back_file), "s5-netx": (s5, back_file),
             "netx-s5": (front_file, s5)}[kind]  # fmt: skip
    mixed = tmp_path / "mixed.net"
    write_mixed(parts, mixed, THRESHOLD)
    network = compiled(mixed, input_message_bits=24)
    tokens = walk(6, 40) if parts[0] is front_file else np.diff(walk(5, 900), axis=0)
    got = Interpreter(network).evaluate(tokens, keep=None)

    # What enters the block: sums of all that the front has sent, before its first token too.
    if parts[0] is front_file:
        front = Interpreter(compiled(front_file))
        before = front.evaluate_early(keep=None).values
        sent = front.evaluate(tokens).outputs
        early = before.get("layer2.difference", np.zeros((0, 1, 5)))
        total = early.sum(axis=0, dtype=np.int64) + np.cumsum(sent, axis=0)
    else:
        total = np.cumsum(tokens, axis=0)
    up = s5.input_format.exponent - 12
    in_tokens = total << up if up >= 0 else total >> -up
    lowest, highest = -(1 << (s5.input_format.bits - 1)), (1 << (s5.input_format.bits - 1)) - 1
    outputs = Interpreter(s5).evaluate(np.clip(in_tokens, lowest, highest)).outputs
    up = 12 - s5.output_format.exponent
    values = outputs << up if up >= 0 else outputs >> -up
    differences, told = [], np.zeros_like(values[0])
    for value in values:
        change = np.where(np.abs(value - told) >= THRESHOLD << 6, value - told, 0)
        told = told + change
        differences.append(change)
    differences = np.array(differences)
    assert np.count_nonzero(differences) > len(tokens)
    expected = differences
    if parts[-1] is back_file:
        layers = contents(back_file)[1:]
        write_layers(layers, tmp_path / "rest.net")
        rest = compiled(tmp_path / "rest.net", input_message_bits=24)
        # It has updated since the first timestep: while nothing came, too.
        quiet = network.group(f"layer{len(contents(mixed)) - 2}").phase or 0
        padded = np.concatenate([np.zeros((quiet, 1, 4), dtype=np.int64), differences])
        expected = Interpreter(rest).evaluate(padded).outputs[quiet:]
    assert_array_equal(got.outputs, expected)
    if biased and kind == KINDS[0]:
        assert_array_equal(FastSimulator(network).run(tokens).outputs, expected)
    for mode in Mode:
        timed = Interpreter(network).evaluate_timesteps(tokens, mode)
        assert_array_equal(timed.outputs, expected)


def test_sums_of_differences_do_not_drift():
    network = run_passes(as_block(s5_network(), 1))
    rng = np.random.default_rng(3)
    tokens = rng.integers(-300, 301, (400, 1, 5))
    got = Interpreter(network).evaluate(tokens, keep=None)
    values = got.values["block.differences.act"]
    assert np.abs(np.cumsum(got.outputs, axis=0) - values).max() < 64


def test_a_bundle_survives_the_file(tmp_path):
    s5 = s5_network()
    path = tmp_path / "s5.net"
    write_mixed([s5], path)
    (layer,) = netx.read(path).layers
    from s5_to_loihi.netx.s5_layers import unpacked

    again = unpacked(layer.bundle, "here")
    tokens = random_networks.random_tokens(1, 20, 1, 5)
    assert_array_equal(
        Interpreter(again).evaluate(tokens).outputs, Interpreter(s5).evaluate(tokens).outputs
    )


def test_damaged_and_strange_bundles_are_refused(tmp_path):
    path = tmp_path / "s5.net"
    write_mixed([s5_network()], path)
    whole = contents(path)[0]

    def error(changes) -> str:
        write_layers([whole | changes], path)
        with pytest.raises(CheckpointError) as caught:
            compiled(path, input_message_bits=24)
        return str(caught.value)

    weights = whole["bundle/weights.safetensors"].copy()
    weights[-1] ^= 1
    assert "its bundle" in error({"bundle/weights.safetensors": weights})
    assert "which no bundle has" in error({"bundle/evil.pkl": np.zeros(3, np.uint8)})
    assert "list of bytes" in error({"bundle/manifest.json": np.zeros(3)})
    assert "has the shape (9,)" in error({"shape": np.array([9])})


def test_what_comes_before_must_be_differences(tmp_path):
    front, _ = pieces(tmp_path, False)
    layers = [
        *contents(front)[:2],
        dense(even(np.random.default_rng(1), 5, 9), netx_files.cuba(9, 1, 2)),
    ]
    write_layers(layers, tmp_path / "spikes.net")
    with pytest.raises(CheckpointError, match="sends bits"):
        write_mixed([tmp_path / "spikes.net", s5_network()], tmp_path / "mixed.net")
    write_mixed([s5_network()], tmp_path / "s5.net")
    with pytest.raises(CheckpointError, match="input_message_bits"):
        compiled(tmp_path / "s5.net")
    with pytest.raises(CheckpointError, match="Give sequences"):
        compiled(tmp_path / "s5.net", input_message_bits=24, reset_interval=9)
    assert not (tmp_path / "mixed.net").exists()


@pytest.mark.parametrize("name", netx_files.CASES)
def test_an_unchanged_network_is_exported_as_the_file_it_was(name, tmp_path):
    case = netx_files.CASES[name]()
    path = netx_files.write(tmp_path / "a.net", case.layers)
    options = NetxOptions(**case.arguments, input_bias=case.bias)
    network = compile_netx(path, options).network
    if name == "odd_weights":
        with pytest.raises(CheckpointError, match="no synapses left"):
            export(network, path, tmp_path / "b.net", options)
        return
    export(network, path, tmp_path / "b.net", options)
    for layer, other in zip(contents(path), contents(tmp_path / "b.net"), strict=True):
        for key in layer:
            if key in ("weight", "weight_rec", "bias", "neuron/vThMant"):
                assert_array_equal(np.trunc(layer[key]).reshape(other[key].shape), other[key])


def test_what_was_changed_is_exported(tmp_path):
    """Small weights set to zero, a threshold raised: stock netx could run the result."""
    from dataclasses import replace

    from s5_to_loihi.network.network import frozen_weights

    case = netx_files.CASES["sdnn_delays"]()
    path = netx_files.write(tmp_path / "a.net", case.layers)
    network = compile_netx(path).network

    def pruned(synapses):
        weights = synapses.weights.copy()
        weights.data = np.where(np.abs(weights.data) < 20, 0, weights.data)
        weights.eliminate_zeros()
        return replace(synapses, weights=frozen_weights(weights))

    synapses = tuple(e if e.source.group == "input" else pruned(e) for e in network.synapses)
    changed = replace(network, synapses=synapses)
    assert changed.synapse_count < network.synapse_count / 1.5
    export(changed, path, tmp_path / "b.net")
    again = compile_netx(tmp_path / "b.net").network
    tokens = case.tokens[:, None].astype(np.int64)
    assert_array_equal(
        Interpreter(again).evaluate(tokens).outputs, Interpreter(changed).evaluate(tokens).outputs
    )


def test_a_kernel_that_is_not_shared_cannot_be_said(tmp_path):
    from dataclasses import replace

    case = netx_files.CASES["sdnn_convolution"]()
    path = netx_files.write(tmp_path / "a.net", case.layers)
    options = NetxOptions(**case.arguments)
    network = compile_netx(path, options).network
    edges = list(network.synapses)
    place = next(n for n, edge in enumerate(edges) if edge.name == "layer1.weight")
    weights = edges[place].weights.copy()
    weights.data = weights.data.copy()
    weights.data[-1] += 1
    edges[place] = replace(edges[place], weights=weights)
    with pytest.raises(CheckpointError, match="cannot say"):
        export(replace(network, synapses=tuple(edges)), path, tmp_path / "b.net", options)
    assert not (tmp_path / "b.net").exists()


# Under Lava


def run_lava(parts, tokens, fine_grained: bool) -> np.ndarray:
    """Connect Processes in a row, send tokens (T, n), and return what the last one sends."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    source = io.source.RingBuffer(data=tokens.T.astype(np.int32))
    sink = io.sink.RingBuffer(shape=parts[-1].out.shape, buffer=len(tokens))
    source.s_out.connect(parts[0].inp)
    for one, other in itertools.pairwise(parts):
        one.out.connect(other.inp)
    parts[-1].out.connect(sink.a_in)
    configuration = Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=fine_grained)
    try:
        source.run(RunSteps(num_steps=len(tokens)), configuration)
        return sink.data.get().T.astype(np.int64)
    finally:
        source.stop()


@needs_lava
@pytest.mark.xdist_group("lava")
@pytest.mark.parametrize("fine_grained", [False, True])
def test_starts_and_resets_under_lava(fine_grained):
    """Differences before the start count; at a reset the state begins anew, sums do not."""
    from s5_to_loihi.process_models.process import S5Block

    s5, start, interval, offset, steps = s5_network(), 3, 8, 6, 40
    block = S5Block(network=s5, threshold=THRESHOLD, start=start, reset_interval=interval,
                    reset_offset=offset)  # fmt: skip
    tokens = np.random.default_rng(8).integers(-900, 900, (steps, 5))
    total = np.cumsum(tokens, axis=0)[start:]
    up = s5.input_format.exponent - 12
    in_tokens = np.clip(total << up if up >= 0 else total >> -up, -(1 << 15), (1 << 15) - 1)
    interpreter, state, outputs = Interpreter(s5), None, []
    for index, token in enumerate(in_tokens):
        if (index + start - offset) % interval == 0:
            state = None
        result = interpreter.evaluate(token[None, None], state)
        state = result.state
        outputs.append(result.outputs[0, 0])
    up = 12 - s5.output_format.exponent
    values = [value << up if up >= 0 else value >> -up for value in outputs]
    told, expected = 0, np.zeros((steps, 4), dtype=np.int64)
    for index, value in enumerate(values):
        change = np.where(np.abs(value - told) >= THRESHOLD << 6, value - told, 0)
        told = told + change
        if index + start + block.latency < steps:
            expected[index + start + block.latency] = change
    assert np.count_nonzero(expected) > steps / 2
    assert_array_equal(run_lava([block], tokens, fine_grained), expected)


@needs_lava
@pytest.mark.xdist_group("lava")
@pytest.mark.parametrize("fine_grained", [False, True])
def test_a_block_between_layers_under_lava(fine_grained, tmp_path):
    from s5_to_loihi.process_models.process import S5Block, S5Network

    front_file, back_file = pieces(tmp_path, False)
    s5 = s5_network()
    write_mixed([front_file, s5, back_file], tmp_path / "mixed.net", THRESHOLD)
    network = compiled(tmp_path / "mixed.net")
    write_layers(contents(back_file)[1:], tmp_path / "rest.net")
    front, rest = compiled(front_file), compiled(tmp_path / "rest.net", input_message_bits=24)
    parts = [
        S5Network(network=front, name="front"),
        S5Block(network=s5, threshold=THRESHOLD, start=front.latency),
        S5Network(network=rest, name="rest"),
    ]
    tokens = walk(6, 40)[:, 0]
    got = run_lava(parts, tokens, fine_grained)
    late = sum(network.latency for network in (front, rest)) + parts[1].latency
    expected = Interpreter(network).evaluate(tokens[:, None]).outputs[:, 0]
    assert_array_equal(got[late:], expected[: len(tokens) - late])
    assert not got[:late].any()


@needs_lava
def test_differences_are_no_tokens():
    lava_shim.install()
    from lava.proc.sdn.process import Delta, Sigma

    from s5_to_loihi.process_models.process import S5Block, S5Network

    network = s5_network()
    delta = Delta(shape=(5,), vth=1)
    with pytest.raises(InputError, match=r"takes tokens, Delta sends differences.*S5Block"):
        delta.s_out.connect(S5Network(network=network).inp)
    delta.s_out.connect(S5Block(network=network, threshold=1).inp)
    Sigma(shape=(5,)).s_out.connect(S5Network(network=network).inp)
    with pytest.raises(InputError, match="sends bits"):
        S5Block(network=network, threshold=1, input_message_bits=0)
    with pytest.raises(InputError, match="reset interval: is 0"):
        S5Network(network=network, reset_interval=0)


def test_the_commands_take_and_write_such_files(call, tmp_path):
    front, back = pieces(tmp_path, False)
    s5, made = tmp_path / "s5.bundle", tmp_path / "mixed.bundle"
    bundle.write(bundle.Bundle(s5_network(), None), s5)
    code, _, error = call("join", front, s5, back, "-o", tmp_path / "mixed.net")
    assert code == 0, error
    code, output, error = call("compile", tmp_path / "mixed.net", "-o", made)
    assert code == 0, error
    assert "layers in netx's integers" in output
    code, output, _ = call("verify", made, "-b", "interpreter", "--mode", "pipelined")
    assert code == 0, output
    code, output, _ = call("inspect", made)
    assert code == 0
    assert "wrap at 32 bits" in output
    code, _, error = call("compile", back, "-o", made, "--netx", "colour=1")
    assert code == 1
    assert "is no argument of a netx network" in error
    only_front = tmp_path / "front.bundle"
    assert call("compile", front, "-o", only_front)[0] == 0
    code, _, error = call("export", only_front, "--like", front, "-o", tmp_path / "again.net")
    assert code == 0, error
    code, _, error = call("export", only_front, "--like", back, "-o", tmp_path / "no.net")
    assert code == 1
    assert "compiles to other groups" in error
    assert not (tmp_path / "no.net").exists()


def test_a_board_is_refused():
    from s5_to_loihi.backends import board

    network = run_passes(as_block(s5_network(), 1))
    with pytest.raises(InputError, match="words have 32 bits"):
        board.run(network, np.zeros((3, 1, 5), dtype=np.int32))


def test_a_block_of_torch_is_quantized_where_it_stands(tmp_path):
    """Exported by SLAYER's conventions, between netx layers, on what these send."""
    pytest.importorskip("torch", reason="PyTorch is not installed (s5_to_loihi[train])")
    import h5py

    from s5_to_loihi.float_model import evaluate
    from s5_to_loihi.training.slayer import S5

    front, _ = pieces(tmp_path, False)
    block = S5({"threshold": 1 / 64}, 5, states=6)
    with h5py.File(tmp_path / "block.net", "w") as file:
        block.export_hdf5(file.create_group("layer/0"))
    (layer,) = netx.read(tmp_path / "block.net").layers
    model = block.model()
    with h5py.File(front, "a") as file:
        block.export_hdf5(file.create_group(f"layer/{len(file['layer'])}"))
    with pytest.raises(CheckpointError, match="Give --calibration"):
        compiled(front)
    write_layers(contents(front), front)  # attributes and all
    tokens = np.concatenate([walk(6, 40)] * 5)
    network = compile_netx(front, tokens=tokens).network
    values = Interpreter(network).evaluate(tokens, keep=None).values
    heard = np.cumsum(values["layer2.difference"], axis=0) / 4096
    got = np.cumsum(values[str(network.output)], axis=0) / 4096
    for one in (model, layer.model):
        wanted = evaluate(one, heard)
        assert wanted.std() > 0.1
        noise = (got - wanted).std() / wanted.std()
        assert noise < 0.05, noise
