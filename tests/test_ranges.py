"""Ranges: what is proven is never beaten, and signs that are aligned reach the bounds."""

import numpy as np
import pytest
from float_models import FloatCase, calibration, quantized

from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.network import INPUT, Endpoint, Readout
from s5_to_loihi.network.neurons import SCALED_STATE
from s5_to_loihi.network.ranges import message_interval, port_limits, program
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.proofs import prove, state_limits
from s5_to_loihi.simulators.interpreter import Interpreter

CASES = (
    FloatCase(seed=3),
    FloatCase(glu=GluVariant.FULL, seed=4, precision=Precision(weights=12, activations=20)),
    FloatCase(
        activation=Activation.GELU_TANH,
        rectified=False,
        rectified_encoder=False,
        seed=5,
        precision=Precision(weights=4, activations=10),
    ),
    FloatCase(readout=Readout.MEAN, sequence_length=40, glu=GluVariant.NONE, seed=6),
    FloatCase(norm="layer", prenorm=False, mixed=True, seed=7),
    FloatCase(feed_forward="gated", ends="neither", seed=8),
)
NETWORKS = {str(case): quantized(case).network for case in CASES}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


def adversarial_tokens(network, rng, tokens=400, sequences=6):
    """Tokens at the ends of their format: random, constant, alternating and slowly changing."""
    tokens = network.sequence_length or tokens
    lowest, highest = message_interval(network, Endpoint(INPUT, "token"))
    signs = rng.choice([lowest, highest], (tokens, sequences, network.input_size))
    signs[:, 0] = rng.choice([lowest, highest], network.input_size)
    signs[:, 1] = np.where(np.arange(tokens)[:, None] % 2, lowest, highest)
    signs[:, 2] = np.where(np.arange(tokens)[:, None] // 20 % 2, lowest, highest)
    return signs


def test_no_adversarial_input_beats_a_proof(network):
    values = (
        Interpreter(network)
        .evaluate(adversarial_tokens(network, np.random.default_rng(1)), keep=None)
        .values
    )
    for group in network.groups:
        steps = program(network, group)
        for name in group.kind.values:
            step = steps.steps[steps.results[name]]
            found = values[f"{group.name}.{name}"]
            assert step.lowest <= found.min(), name
            assert found.max() <= step.highest, name
    proofs = prove(network, values)
    assert any(proof.proven for proof in proofs)
    assert all(proof.saturated == 0 for proof in proofs if proof.proven and proof.role == "state")


def test_aligned_messages_reach_the_limits_of_every_accumulator(network):
    for group in network.groups:
        for port in group.kind.ports:
            lowest, highest = port_limits(network, Endpoint(group.name, port))
            reached_low, reached_high = np.zeros_like(lowest), np.zeros_like(highest)
            for synapses in network.synapses:
                if synapses.target == Endpoint(group.name, port):
                    low, high = message_interval(network, synapses.source)
                    weights = synapses.weights.toarray().astype(np.int64)
                    reached_high += np.where(weights > 0, weights * high, weights * low).sum(axis=1)
                    reached_low += np.where(weights > 0, weights * low, weights * high).sum(axis=1)
            np.testing.assert_array_equal(reached_low, lowest)
            np.testing.assert_array_equal(reached_high, highest)


def test_aligned_messages_reach_the_limits_of_the_states_and_none_beat_them(network):
    """The group alone, its registers as wide as they need: messages aligned backwards in time."""
    rng = np.random.default_rng(2)
    for group in network.groups:
        if group.kind is not SCALED_STATE:
            continue
        limits_found = state_limits(network, group)
        constants = group.constants._replace(x=group.constants.x._replace(bits=60))
        source, weights = _weights(network, group)
        low, high = message_interval(network, source)
        a = 1 + (constants.decay_re + 1j * constants.decay_im) * np.exp2(-constants.decay_shift)
        gain = (constants.gain_re + 1j * constants.gain_im) * np.exp2(-constants.gain_shift)
        bias = constants.bias_re + 1j * constants.bias_im
        for p in range(2):
            # Until less than a thousandth of the first step is left.
            ages = np.arange(int(7 / -np.log(abs(a[p]))) + 1)
            response = a[p] ** ages[:, None] * np.append(gain[p] * weights[p], bias[p])
            for part, component in enumerate((response.real, response.imag)):
                for side, wanted in ((1, component), (0, -component)):
                    # The bias cannot be turned around: some number of steps reaches furthest.
                    best = np.where(wanted[:, :-1] > 0, wanted[:, :-1] * high, wanted[:, :-1] * low)
                    steps = 1 + int(np.cumsum(best.sum(axis=1) + wanted[:, -1]).argmax())
                    messages = np.where(wanted[:steps, :-1] > 0, high, low)[::-1]
                    reached = _run(group, constants, weights, messages)[p][part]
                    bound = limits_found[p, part, side]
                    spare = 2e-3 * abs(limits_found[p]).max() + 8 / (1 - abs(a[p]))
                    if side:
                        assert bound - spare <= reached <= bound, (group.name, p, part)
                    else:
                        assert bound <= reached <= bound + spare, (group.name, p, part)
        messages = rng.choice([low, high], (300, weights.shape[1]))
        final = _run(group, constants, weights, messages)
        for part in range(2):
            assert (final[:, part] <= limits_found[:, part, 1]).all()
            assert (final[:, part] >= limits_found[:, part, 0]).all()


def _weights(network, group):
    """Return the source and the complex weights (P, n) of a state group, digits put together."""
    weights = 0
    for synapses in network.synapses:
        if synapses.target.group == group.name:
            part, _, digit = synapses.target.name.partition(
                "e_" if "_re_" in synapses.target.name else "m_"
            )
            place = int(digit or 0) * group.constants.digit_bits
            factor = 1j if part.startswith("bu_i") else 1
            weights = weights + synapses.weights.toarray() * (factor * 2.0**place)
            source = synapses.source
    return source, weights


def _run(group, constants, weights, messages):
    """Return the states (P, 2) after some messages (T, n), with Python's integers for the sums."""
    sums = messages @ weights.T
    recurrence = group.kind.recurrence
    ports = dict.fromkeys(group.kind.ports, 0)
    state = (np.zeros(group.size, np.int64), np.zeros(group.size, np.int64))
    for token in sums:
        ports |= {"bu_re": token.real.astype(np.int64), "bu_im": token.imag.astype(np.int64)}
        inputs = recurrence.drive(tuple(ports.values()), constants)
        state = recurrence.advance(inputs, state, constants)
    return np.stack(state, axis=1)


def test_what_is_measured_says_how_often_it_saturated():
    case = FloatCase(seed=7, precision=Precision(activations=8))
    made = quantized(case)
    loud = np.clip(
        np.rint(calibration(case) * 40 * 2.0**made.network.input_format.exponent),
        -128 * 256,
        127 * 256,
    ).astype(np.int64)
    low, high = message_interval(made.network, Endpoint(INPUT, "token"))
    values = Interpreter(made.network).evaluate(np.clip(loud, low, high), keep=None).values
    proofs = {proof.where: proof for proof in prove(made.network, values)}
    measured = [proof for proof in proofs.values() if not proof.proven]
    assert measured
    assert any(proof.saturated for proof in measured)
    for proof in measured:
        assert proof.needed > proof.bits
        data = values[proof.where]
        limit = 2 ** (proof.bits - 1)
        assert proof.saturated == ((data == limit - 1) | (data == -limit)).sum()


def test_a_part_that_saturates_turns_the_other_so_neither_is_proven():
    for network in NETWORKS.values():
        values = (
            Interpreter(network)
            .evaluate(adversarial_tokens(network, np.random.default_rng(4)), keep=None)
            .values
        )
        proofs = {proof.where: proof for proof in prove(network, values)}
        for group in network.groups:
            if group.kind is SCALED_STATE:
                parts = [proofs[f"{group.name}.{name}"] for name in ("x_re", "x_im")]
                assert len({part.proven for part in parts}) == 1
                assert all(part.saturated == 0 for part in parts if part.proven)
