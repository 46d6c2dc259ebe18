"""Lava's CPU simulator against the interpreter and Intel's recorded integers, 0 LSB."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import golden
import numpy as np
import pytest
from float_models import FloatCase, quantized
from needs import needs_lava
from random_networks import Case, random_tokens, sample

from s5_to_loihi import intel_export
from s5_to_loihi.backends import lava
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.errors import InputError, LavaError
from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.lava_runtime import supervisor
from s5_to_loihi.network.network import Readout, identity_weights
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import verify_run

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "lava_network.py"

pytestmark = [
    needs_lava,
    # What is left over is looked for on the whole machine: one Lava at a time.
    pytest.mark.xdist_group("lava"),
]


def golden_network(name):
    export = golden.export(name)
    model, _ = intel_export.to_model(export)
    network = run_passes(lower(model))
    return network, intel_export.to_vectors(export, network)[0]


def our_workers():
    """The Lava workers of this test run that are alive."""
    mark = f"{supervisor.PARENT_VARIABLE}={os.getpid()}".encode()
    workers = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (process / "environ").read_bytes().split(b"\0")
            if mark in environment and int(process.name) != os.getpid():
                workers.append(process.name)
    return workers


def unowned_memory():
    """Shared memory that no living process maps.

    Other programs on this machine make and remove segments meanwhile: only what was there before
    the processes were looked at, and still is afterwards, can be unowned.
    """
    segments = {str(path) for path in Path("/dev/shm").iterdir()}
    processes = [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    mapped = set().union(*(supervisor.shared_memory_of(process) for process in processes))
    return {segment for segment in segments - mapped if os.path.exists(segment)}


@pytest.fixture
def _nothing_left():
    before = unowned_memory()
    yield
    assert our_workers() == []
    # Another program may be between making a segment and mapping it.
    deadline = time.monotonic() + 10
    while not unowned_memory() <= before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert unowned_memory() <= before


#: Tokens with one process a group: the pipelined ones fill the pipeline, the others pass it.
FINE_GRAINED_TOKENS = {Mode.PIPELINED: 24, Mode.FALL_THROUGH: 3}


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", golden.SETS)
def test_every_recorded_integer_fine_grained(name, mode):
    network, vectors = golden_network(name)
    result = verify_run(network, vectors.first(FINE_GRAINED_TOKENS[mode]), Backend.LAVA, mode)
    assert result.first is None
    assert {tensor.value for tensor in result.tensors} >= set(vectors.expected)


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", golden.SETS)
def test_every_recorded_integer_fused(name, mode):
    network, vectors = golden_network(name)
    result = verify_run(network, vectors, Backend.LAVA_FUSED, mode)
    assert result.first is None
    assert result.tokens == len(vectors.tokens)


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ["stress_simple", "denoiser_small"])
def test_fused_without_recording_runs_the_fast_simulator_to_the_same_outputs(name, mode):
    network, vectors = golden_network(name)
    outputs = lava.run(network, vectors.tokens, mode=mode).outputs
    np.testing.assert_array_equal(outputs, vectors.expected["decoder.activation"])


@pytest.mark.parametrize(
    "case",
    [
        Case(glu="full", norm="scale_bias", readout="mean", sequence_length=5, blocks=1),
        Case(glu="none", conjugate_symmetric=False, readout="last", seed=5),
        Case(glu="half2", norm="bias", width=7, states=2, blocks=3, seed=2),
    ],
    ids=str,
)
def test_variants_without_recorded_vectors(case):
    network = sample(case).network
    tokens = random_tokens(3, 12, 1, case.features_in)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    for mode in Mode:
        for fine_grained in (False, True):
            got = lava.run(network, tokens, mode=mode, fine_grained=fine_grained, record=True)
            np.testing.assert_array_equal(got.outputs, expected.outputs)
            for name, values in expected.values.items():
                np.testing.assert_array_equal(got.values[name], values, err_msg=name)


#: Together they have every kind of neuron of our own quantizer.
QUANTIZED = (
    FloatCase(glu=GluVariant.HALF2, blocks=1),
    FloatCase(glu=GluVariant.NONE, readout=Readout.MEAN, sequence_length=5, blocks=1),
    FloatCase(
        glu=GluVariant.FULL, activation=Activation.GELU_ERF, rectified=False, blocks=1,
        precision=Precision(weights=12, activations=24),
    ),
    FloatCase(
        norm="layer", prenorm=False, mixed=True, blocks=2, activation=Activation.LEAKY_RELU,
        glus=(GluVariant.HALF1, GluVariant.NONE),
    ),
    FloatCase(feed_forward="gated", blocks=1),
    FloatCase(norm="rms", ends="neither", blocks=1, glu=GluVariant.NONE),
    FloatCase(blocks=1, precision=Precision(weights="e5m2", overrides={"*.C": "e4m3"})),
    FloatCase(blocks=1, precision=Precision(lean=True)),
)  # fmt: skip


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("case", QUANTIZED, ids=str)
def test_quantized_models(case):
    network = quantized(case).network
    tokens = random_tokens(3, 7, 1, case.token_width)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    for fine_grained in (False, True):
        got = lava.run(network, tokens, fine_grained=fine_grained, record=True)
        np.testing.assert_array_equal(got.outputs, expected.outputs)
        for name, values in expected.values.items():
            np.testing.assert_array_equal(got.values[name], values, err_msg=name)
    if case.norm == "rms":
        falling = lava.run(network, tokens, mode=Mode.FALL_THROUGH, fine_grained=True)
        np.testing.assert_array_equal(falling.outputs, expected.outputs)
    fused = lava.run(network, tokens)
    np.testing.assert_array_equal(fused.outputs, expected.outputs)


def test_quantized_models_have_every_kind():
    used = {group.kind.name for case in QUANTIZED for group in quantized(case).network.groups}
    exports = {"dense", "norm", "scaled_norm", "state", "output", "gate", "full_gate", "residual"}
    # The squares are added to every kind in one way.
    assert {name.removesuffix("_squared") for name in used} >= {
        name
        for name in set(KINDS) - exports
        if not name.endswith("_squared") and not KINDS[name].wraps  # those are netx's
    }
    assert sum(name.endswith("_squared") for name in used) > 4


def test_no_weight_loses_its_lowest_bit():
    """Lava's Sparse clears it in mixed matrices unless it is told otherwise."""
    network = sample(Case(width=9, density=1.0)).network
    encoder = network.synapses[0]
    assert encoder.name == "encoder.weight"
    weights = encoder.weights.copy()
    weights.data[:] = np.resize([-128, 127, -127, 1, -1, 3, 77], weights.nnz)
    odd = replace(network, synapses=(replace(encoder, weights=weights), *network.synapses[1:]))
    tokens = random_tokens(4, 6, 1, network.input_size)
    expected = Interpreter(odd).evaluate(tokens, keep=None)
    got = lava.run(odd, tokens, fine_grained=True, record=True)
    np.testing.assert_array_equal(got.values["encoder.affine"], expected.values["encoder.affine"])
    assert (expected.values["encoder.affine"] % 2 == 1).any()


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("fine_grained", [False, True], ids=["fused", "fine-grained"])
def test_an_exception_in_a_process_model_comes_back_with_its_name(fine_grained, monkeypatch):
    network = sample(Case()).network
    norm = network.group("block1.norm")
    broken = norm.constants._replace(minus_mean=np.zeros(norm.size + 1, dtype=np.int64))
    groups = tuple(
        replace(group, constants=broken) if group is norm else group for group in network.groups
    )
    # The bundle on the way to the worker would be refused; the defect has to arise there.
    monkeypatch.setattr("s5_to_loihi.bundle.storage.verify", lambda network: None)
    monkeypatch.setattr(lava, "WORKER", "unverified_lava_worker")
    with pytest.raises(LavaError) as caught:
        lava.run(replace(network, groups=groups), random_tokens(1, 30, 1, 3),
                 fine_grained=fine_grained, record=True, stall_timeout=60)  # fmt: skip
    message = str(caught.value)
    assert "broadcast" in message
    assert "Traceback" in message
    assert ("'block1.norm'" if fine_grained else "'network'") in message


@pytest.mark.usefixtures("_nothing_left")
def test_a_run_that_takes_too_long_is_stopped():
    network = sample(Case()).network
    with pytest.raises(LavaError, match=r"not done after 3 s, \d+ steps done"):
        lava.run(network, random_tokens(1, 200_000, 1, 3), total_timeout=3)


@pytest.mark.usefixtures("_nothing_left")
def test_an_interrupt_in_the_middle_leaves_nothing():
    network = sample(Case()).network

    def interrupt(done, total):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lava.run(network, random_tokens(1, 100_000, 1, 3), on_progress=interrupt)


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize("fine_grained", [False, True], ids=["fused", "fine-grained"])
def test_a_killed_process_is_reported(fine_grained):
    """By the kernel, for want of memory, say: Lava itself would wait for it for ever."""
    network = sample(Case()).network
    killed = []

    def kill_one(done, total):
        if done > 20 and not killed:
            killed.append(max(int(worker) for worker in our_workers()))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(LavaError, match=r"process \d+ was killed by SIGKILL"):
        lava.run(network, random_tokens(1, 100_000, 1, 3), fine_grained=fine_grained,
                 on_progress=kill_one, stall_timeout=60)  # fmt: skip


def test_more_than_one_sequence_is_refused():
    network = sample(Case()).network
    with pytest.raises(InputError, match="2 sequences"):
        lava.run(network, random_tokens(1, 4, 2, 3))


@pytest.mark.parametrize("arguments", [[], ["--fine-grained"]])
def test_the_network_runs_between_the_users_own_processes(arguments):
    """The example of the documentation, as a user would start it."""
    finished = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "equal to the interpreter: True" in finished.stdout


def test_identity_weights_hand_messages_on_exactly():
    weights = identity_weights(4)
    assert weights.nnz == 4
    messages = np.array([-(2**23), 2**23 - 1, 0, -1])
    np.testing.assert_array_equal(weights.astype(np.int64) @ messages, messages)
