"""Networks of lava-dl's netx: every integer of every layer, as lava-dl 0.6.0 computed it.

``tests/data/netx`` holds recordings of lava-dl (``tests/live/lava_dl.py``) for small files that
``helpers/netx_files.py`` writes.
"""

import functools
from pathlib import Path

import c_harness
import netx_files
import numpy as np
import pytest
from needs import needs_gcc, needs_h5py, needs_lava
from netx_files import CASES
from numpy.testing import assert_array_equal

from s5_to_loihi import bundle, netx
from s5_to_loihi.backends import lava
from s5_to_loihi.compiler import compile_netx
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.netx.lower import lower
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators import activity
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.simulators.loops import BLOCK

pytestmark = [needs_h5py, pytest.mark.timeout(300, func_only=True)]

RECORDINGS = Path(__file__).parent / "data" / "netx"
#: Layers of netx's own processes that have registers -> what they are called here.
REGISTERS = ("u", "v", "sigma", "act", "residue")


class Compiled:
    """A case compiled, its tokens, and what lava-dl recorded of it."""

    def __init__(self, name: str, folder: Path):
        case = CASES[name]()
        file = netx_files.write(folder / f"{name}.net", case.layers)
        options = NetxOptions(**case.arguments, input_bias=case.bias)
        read = netx.read(file, options)
        built, notes = lower(read, options, name)
        self.network = run_passes(built)
        self.notes = [*read.notes, *notes]
        self.tokens = case.tokens.reshape(len(case.tokens), 1, -1).astype(np.int64)
        self.recorded = dict(np.load(RECORDINGS / f"{name}.npz"))
        self.layers = [one for one in self.network.groups if one.kind.name != "relay"]
        #: Timesteps before a layer's first token: netx's layers all begin in the first timestep.
        first = 0 if case.layers[0]["type"] == "input" else 1
        self.ahead = [first + index for index in range(len(self.layers))]


@functools.cache
def compiled(name: str) -> Compiled:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return Compiled(name, Path(folder))


@functools.cache
def evaluated(name: str):
    one = compiled(name)
    return Interpreter(one.network).evaluate(one.tokens, keep=None)


every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_every_layer_and_timestep_is_what_lava_dl_computed(name):
    one, computed = compiled(name), evaluated(name)
    early = Interpreter(one.network).evaluate_early(keep=None).values
    timesteps, moved = len(one.tokens), 0
    for index, (group, ahead) in enumerate(zip(one.layers, one.ahead, strict=True)):
        wanted = one.recorded[f"layer{index}"].reshape(timesteps, -1)
        value = f"{group.name}.{group.kind.messages[0]}"
        before = np.zeros((ahead, group.size), dtype=np.int64)
        if group.early:
            assert group.early == ahead
            before = early[value][:, 0]
        got = np.concatenate([before, computed.values[value][:, 0]])[:timesteps]
        assert_array_equal(got, wanted, err_msg=value)
        moved += np.count_nonzero(wanted)
        for register in set(REGISTERS) & set(group.kind.values):
            name_of = f"{group.name}.{register}"
            last = computed.values[name_of][timesteps - 1 - ahead, 0]
            assert_array_equal(last, one.recorded[f"layer{index}_{register}"].ravel(), name_of)
    assert moved > timesteps  # what never sends would be equal to anything


@pytest.mark.parametrize(
    "name", ["sdnn_biased", "sdnn_wrapping", "recurrent_reset", "leaky_reset", "odd_weights"]
)
def test_the_fast_simulator_computes_the_same(name):
    one, expected = compiled(name), evaluated(name)
    simulator = FastSimulator(one.network)
    # More than a block of tokens, so that what waits goes over its end.
    tokens = np.concatenate([one.tokens] * (BLOCK // len(one.tokens) + 2))
    longer = Interpreter(one.network).evaluate(tokens, keep=None)
    run = simulator.run(tokens, counting=True, record=True)
    for value, array in run.messages.items():
        if value in longer.values:
            assert_array_equal(array, longer.values[value], err_msg=value)
    counts = activity.count(one.network, run.messages)
    assert_array_equal(run.activity.synops, counts.synops)
    assert_array_equal(run.activity.messages, counts.messages)
    stream = simulator.stream()
    half = len(one.tokens) // 2
    rows = [stream.step(token) for token in one.tokens[:half, 0].astype(np.int32)]
    other = stream.fork()
    for going_on in (stream, other):
        rest = [going_on.step(token) for token in one.tokens[half:, 0].astype(np.int32)]
        assert_array_equal(rows + rest, expected.outputs[:, 0])
    assert_array_equal(stream.synops, counts.synops[: len(one.tokens), 0].sum(axis=0))
    stream.reset()
    rows = [stream.step(token) for token in one.tokens[:half, 0].astype(np.int32)]
    assert_array_equal(rows, expected.outputs[:half, 0])


@every_case
def test_a_run_goes_on_from_its_state(name):
    one, expected = compiled(name), evaluated(name)
    interpreter, half = Interpreter(one.network), len(one.tokens) // 3
    first = interpreter.evaluate(one.tokens[:half])
    second = interpreter.evaluate(one.tokens[half:], first.state)
    got = np.concatenate([first.outputs, second.outputs])
    assert_array_equal(got, expected.outputs)
    for mode in Mode:
        timed = interpreter.evaluate_timesteps(one.tokens, mode, keep=None)
        for value, array in expected.values.items():
            assert_array_equal(timed.values[value], array, err_msg=f"{mode} {value}")


@needs_lava
@pytest.mark.xdist_group("lava")
@pytest.mark.parametrize(
    ("name", "fine_grained"),
    [
        *((name, True) for name in ("sdnn_delays", "sdnn_wrapping", "recurrent_reset")),
        *((name, False) for name in ("sdnn_biased", "recurrent")),
    ],
)
def test_it_runs_under_lava(name, fine_grained):
    one, expected = compiled(name), evaluated(name)
    tokens = one.tokens[:25]
    got = lava.run(one.network, tokens, fine_grained=fine_grained, record=fine_grained)
    assert_array_equal(got.outputs, expected.outputs[:25])
    for value, array in got.values.items():
        assert_array_equal(array, expected.values[value][:25], err_msg=value)


@needs_gcc
@pytest.mark.parametrize("name", ["sdnn_biased", "sdnn_wrapping", "recurrent_reset", "odd_weights"])
def test_it_is_written_in_c(name, tmp_path):
    one, expected = compiled(name), evaluated(name)
    program = c_harness.build(one.network, 128, tmp_path)
    nothing = {
        group.name: np.zeros((0, len(group.kind.ports), group.size)) for group in one.network.groups
    }
    _, together, outputs = c_harness.run(program, one.network, nothing, one.tokens[:, 0])
    for value, array in together.items():
        assert_array_equal(array, expected.values[value][:, 0], err_msg=value)
    assert_array_equal(outputs, expected.outputs[:, 0])


@every_case
def test_it_is_stored(name, tmp_path):
    one = compiled(name)
    path = tmp_path / "network.bundle"
    bundle.write(bundle.Bundle(one.network, None), path)
    opened = bundle.read(path).network
    got = Interpreter(opened).evaluate(one.tokens)
    assert_array_equal(got.outputs, evaluated(name).outputs)


@pytest.mark.parametrize("name", ["sdnn_columns", "recurrent_reset"])
def test_it_is_mapped_and_listed(name):
    network = compiled(name).network
    mapping, _ = map_network(network, assumed_rates(network))
    assert set(mapping.cores) == {group.name for group in network.groups}
    for program in neuron_programs(network):
        vectors = listing.neuron_vectors(network, program, compiled(name).tokens)
        assert program.kind.title in listing.to_text(network, program, vectors, "made up")


def test_intels_baseline_denoises_as_its_training_code(tmp_path, monkeypatch):
    """A network of its shape: masks are relu(1 + output), steps 1/64, magnitudes as PyTorch's."""
    from s5_to_loihi import audio
    from s5_to_loihi.evaluation import baselines, packages

    rng = np.random.default_rng(4)
    layers = (
        netx_files.inputs(257, netx_files.sdnn(1)),
        netx_files.dense(
            16 * np.eye(257), netx_files.sdnn(0), bias=np.full(257, -10, np.float32)
        ),
        netx_files.dense(-62 * np.eye(257), netx_files.sdnn(1, sigma_output=True)),
    )  # fmt: skip
    file = netx_files.write(tmp_path / "network.net", layers)
    with pytest.raises(InputError, match="S5_TO_LOIHI_NDNS_BASELINE"):
        packages.require("intel_sdnn")
    monkeypatch.setenv(packages.INTEL_SDNN_VARIABLE, str(file))
    packages.require("intel_sdnn")
    assert len(packages.versions("intel_sdnn")["intel_sdnn"]) == 64
    samples = 0.1 * rng.normal(size=4000)
    got = baselines.BASELINES["intel_sdnn"](samples)
    spectrum = audio.analyse(samples)
    heard = np.round((np.abs(spectrum) * 512 - 0.2) * 64) / 64
    mask = np.maximum(1 - 62 / 64 * np.maximum(heard / 4 - 10 / 64, 0), 0)
    wanted = audio.synthesise(spectrum * mask, len(samples))
    assert np.abs(got - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert np.abs(got - samples).max() > 0.01


@pytest.mark.parametrize("corrected", [False, True])
def test_what_is_cut_off_is_kept_where_that_is_asked_for(corrected, tmp_path):
    """netx loses up to 63/64 of a message's unit with each: what a receiver adds up drifts."""
    case = CASES["sdnn_delays"]()
    file = netx_files.write(tmp_path / "case.net", case.layers)
    network = compile_netx(file, NetxOptions(corrected=corrected)).network
    tokens = np.concatenate([case.tokens[:, None]] * 8).astype(np.int64)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    received = np.cumsum(values["layer3.difference"], axis=0) << 6
    unsent = values["layer3.act"] - received
    threshold = 1 << 12
    if corrected:
        assert_array_equal(unsent, values["layer3.residue"])
        assert np.abs(unsent).max() < threshold + 64
    else:
        assert np.abs(values["layer3.residue"]).max() < threshold  # it believes that all is well
        assert unsent.max() > 4 * threshold
