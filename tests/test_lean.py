"""Lean networks: shorter programs, no wide results, integers as an independent model has them."""

import functools

import big_integer_network
import numpy as np
import pytest
from every_kind import network_of, tokens_of
from numpy.testing import assert_array_equal
from random_networks import random_tokens

from s5_to_loihi import audio
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.float_model import evaluate
from s5_to_loihi.network.neurons.lean_state import LEAN_STATE
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.network.widths import NARROW_BITS
from s5_to_loihi.quantization.precision import Precision, read_precision
from s5_to_loihi.quantization.proofs import prove
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.quantization.report import signal_to_noise
from s5_to_loihi.simulators.interpreter import Interpreter

DATA = DENOISER.parent


def instructions(network) -> int:
    return sum(
        binding.group.size * program.instructions
        for program in neuron_programs(network)
        for binding in program.bindings
    )


@functools.cache
def shipped(lean: bool):
    """The network, and the SQNR of its masks on speech that it was not calibrated with."""
    frames, held_out = (
        audio.features(audio.analyse(audio.read_wav(DATA / "speech" / name).samples[0]))[:, None]
        for name in ("calibration.wav", "noisy.wav")
    )
    model = load(DATA / "denoiser_small_float").model
    network = quantize_model(model, frames[:1500], Precision(lean=lean)).network
    integers, _ = to_integers(held_out[:800], network.input_format)
    outputs = Interpreter(network).evaluate(integers).outputs
    wanted = evaluate(model, held_out[:800])
    return network, signal_to_noise(wanted, to_floats(outputs, network.output_format))


def test_integers_are_those_of_an_independent_evaluation():
    network, tokens = network_of("lean"), tokens_of("lean", network_of("lean"))
    assert LEAN_STATE in {group.kind for group in network.groups}
    values = Interpreter(network).evaluate(tokens, keep=None).values
    for value, wanted in big_integer_network.evaluate(network, tokens[:, 0]).items():
        assert_array_equal(values[value][:, 0], wanted, err_msg=value)


def test_the_shipped_denoiser_takes_a_sixth_fewer_instructions_and_is_good_enough():
    (default, _), (lean, ratio) = shipped(False), shipped(True)
    assert instructions(lean) <= 5 / 6 * instructions(default)
    assert ratio > 33  # dB: what 8 and 16 bits have to keep


def test_no_result_is_wider_than_32_bits():
    for network in (network_of("lean"), shipped(True)[0]):
        steps = [step for program in neuron_programs(network) for step in program.steps]
        assert max(step.bits for step in steps) <= NARROW_BITS
    assert max(step.bits for one in neuron_programs(shipped(False)[0]) for step in one.steps) > 32


def test_proven_states_do_not_saturate():
    network = network_of("lean")
    tokens = random_tokens(8, 400, 1, network.input_size)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    states = [one for one in prove(network, values) if one.role == "state"]
    assert {one.where.rpartition(".")[2] for one in states} == {"x_re", "x_im"}
    assert all(one.saturated == 0 for one in states if one.proven)


def test_a_file_of_bits_may_ask_for_it(tmp_path):
    path = tmp_path / "bits.yaml"
    path.write_text("lean: true\nweights: 6\n")
    assert read_precision(path, {"weights": None}) == Precision(weights=6, lean=True)
    with pytest.raises(InputError, match="true or false"):
        Precision(lean=np.int64(1))  # type: ignore[arg-type]
