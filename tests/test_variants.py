"""Random models of every variant: the network computes what the big-integer model computes."""

import functools
import itertools
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from random_networks import NORMS, Case, Sample

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Evaluation, Interpreter, Mode

TOKENS, BATCH = 16, 2
VARIANTS = ("half1", "half2", "full", "none")
READOUTS = ("each_token", "last", "mean")
#: features in, width, states, blocks, features out, density of the weights
SIZES = (
    (3, 1, 1, 1, 1, 1.0),
    (5, 12, 10, 4, 7, 0.4),
    (1, 7, 3, 2, 4, 0.6),
    (4, 2, 10, 3, 1, 0.8),
    (2, 12, 1, 1, 12, 0.5),
)
#: The mean divides by these many tokens; beyond 256 it drops bits before it adds.
LENGTHS = (1, 16, 300, 1000, 7)


def all_cases() -> list[Case]:
    variants = itertools.product(VARIANTS, (True, False), READOUTS, NORMS)
    cases = []
    # Five sizes against 96 variants: every choice of a variant meets every size.
    for seed, (glu, symmetric, readout, norm) in enumerate(variants):
        features_in, width, states, blocks, features_out, density = SIZES[seed % len(SIZES)]
        cases.append(
            Case(
                glu=glu,
                conjugate_symmetric=symmetric,
                readout=readout,
                sequence_length=LENGTHS[seed // 12 % len(LENGTHS)] if readout == "mean" else None,
                norm=norm,
                features_in=features_in,
                width=width,
                states=states,
                blocks=blocks,
                features_out=features_out,
                density=density,
                seed=seed,
            )
        )
    return cases


CASES = all_cases()
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A random model evaluated in one go, and what it must compute."""

    sample: Sample
    interpreter: Interpreter
    tokens: np.ndarray
    evaluation: Evaluation
    expected: dict[str, np.ndarray]


@functools.cache
def evaluated(case: Case) -> Evaluated:
    sample = random_networks.sample(case)
    return evaluate(sample, sample.network, case.seed)


def evaluate(sample: Sample, network: Network, seed: int) -> Evaluated:
    interpreter = Interpreter(network)
    tokens = random_networks.random_tokens(seed, TOKENS, BATCH, sample.case.features_in)
    expected = random_networks.expected_values(sample, network, tokens)
    return Evaluated(sample, interpreter, tokens, interpreter.evaluate(tokens, keep=None), expected)


def assert_same(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], context="") -> None:
    for name in wanted:
        assert got[name].shape == wanted[name].shape, f"{name} {context}"
        assert_array_equal(got[name], wanted[name], err_msg=f"{name} {context}")


def assert_same_state(got: Evaluation, wanted: Evaluation) -> None:
    assert set(got.state) == set(wanted.state)
    for group, registers in wanted.state.items():
        for mine, theirs in zip(got.state[group], registers, strict=True):
            assert_array_equal(mine, theirs, err_msg=group)


def at_limits(network: Network, name: str, values: np.ndarray) -> tuple[int, int]:
    """How many integers are the lowest and the highest of the format of ``group.value``."""
    group, _, value = name.rpartition(".")
    lowest, highest = limits(network.group(group).formats[value].bits)
    return np.count_nonzero(values == lowest), np.count_nonzero(values == highest)


# The same integers


@every_case
def test_every_tensor_is_that_of_the_big_integer_model(case):
    one = evaluated(case)
    assert_same(one.evaluation.values, one.expected)
    assert_array_equal(one.evaluation.outputs, one.expected["decoder.activation"])


@settings(deadline=None, max_examples=60)
@given(
    st.builds(
        Case,
        glu=st.sampled_from(VARIANTS),
        conjugate_symmetric=st.booleans(),
        readout=st.sampled_from(READOUTS),
        sequence_length=st.integers(1, 5000),
        norm=st.sampled_from(sorted(NORMS)),
        features_in=st.integers(1, 12),
        width=st.integers(1, 12),
        states=st.integers(1, 10),
        blocks=st.integers(1, 4),
        features_out=st.integers(1, 12),
        density=st.floats(0.1, 1.0),
        seed=st.integers(0, 2**32 - 1),
    ),
    st.integers(2, 24),
)
def test_every_tensor_of_any_random_model(case, bits):
    sample = random_networks.sample(case)
    network = random_networks.narrowed(sample.network, bits)
    one = evaluate(sample, network, case.seed)
    assert_same(one.evaluation.values, one.expected, str(case))


# Narrow states


@pytest.mark.parametrize("bits", [2, 9, 14, 17])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_state_saturates_at_its_width(bits, symmetric):
    case = Case(
        conjugate_symmetric=symmetric, norm="scale_bias", width=8, states=10, blocks=3, seed=5
    )
    sample = random_networks.sample(case)
    one = evaluate(sample, random_networks.narrowed(sample.network, bits), bits)
    assert_same(one.evaluation.values, one.expected)
    for part in ("x_re", "x_im"):
        values = np.stack([one.expected[f"block{block}.state.{part}"] for block in range(3)])
        lowest, highest = limits(bits)
        assert np.count_nonzero(values == lowest) > 0.05 * values.size
        assert np.count_nonzero(values == highest) > 0.05 * values.size
        assert (values.min(), values.max()) == (lowest, highest)
    wide = evaluated(case).evaluation.values
    assert (wide["block0.state.x_re"] != one.expected["block0.state.x_re"]).any()


def test_large_weights_of_c_narrow_the_state():
    case = Case(width=5, states=10, blocks=2, density=1.0, seed=3)
    sample = random_networks.sample(case)
    params, qconfig = sample.params, sample.qconfig
    for block in range(case.blocks):
        mixer = params["encoder"][f"layers_{block}"]["mixer"]
        for part in ("real", "imag"):
            mixer[f"C_{part}"] = np.where(mixer[f"C_{part}"] > 0, 127, -128).astype(np.int32)
            config = qconfig["encoder"][f"layers_{block}"]["mixer"]
            config[f"x_{part[:2]}_exp"] = config[f"Bu_{part[:2]}_exp"] + 7
    sample = random_networks.compiled(case, params, qconfig, sample.exponents)
    one = evaluate(sample, sample.network, 3)
    assert_same(one.evaluation.values, one.expected)
    for block in range(case.blocks):
        name = f"block{block}.state.x_re"
        # Ten weights of 127 or 128 take 11 bits of the accumulator's 31.
        assert sample.network.group(f"block{block}.state").formats["x_re"].bits == 20
        assert min(at_limits(sample.network, name, one.expected[name])) > 0


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_two_products_of_c_saturate_one_by_one(symmetric):
    case = Case(conjugate_symmetric=symmetric, width=5, states=10, blocks=1, density=1.0, seed=9)
    sample = random_networks.sample(case)
    params, qconfig = sample.params, sample.qconfig
    mixer = params["encoder"]["layers_0"]["mixer"]
    signs = {part: np.where(mixer[f"C_{part}"] > 0, 1, -1) for part in ("real", "imag")}
    mixer |= {f"C_{part}": (127 * sign).astype(np.int32) for part, sign in signs.items()}
    config = qconfig["encoder"]["layers_0"]["mixer"]
    for part in ("real", "imag"):
        config[f"C_{part}_exp"] = config["y_exp"] + 4 - config[f"x_{part[:2]}_exp"]
    sample = random_networks.compiled(case, params, qconfig, sample.exponents)
    one = evaluate(sample, sample.network, 9)
    assert_same(one.evaluation.values, one.expected)
    unclipped = np.stack(
        [
            one.expected[f"block0.state.g_{part[:2]}"] @ mixer[f"C_{part}"].T >> 4
            for part in ("real", "imag")
        ]
    )
    clipped = np.clip(unclipped, -(2**15), 2**15 - 1)
    early, late = (np.clip(re - im, -(2**15), 2**15 - 1) for re, im in (clipped, unclipped))
    assert_array_equal(one.expected["block0.output.projection"], early)
    assert np.count_nonzero(early != late) > 0.05 * early.size


def test_the_mean_saturates_in_its_sum():
    """More tokens than it was made for: the sum of the largest values reaches 24 bits."""
    case = Case(glu="none", readout="mean", sequence_length=2, blocks=1, seed=8)
    sample = random_networks.sample(case)
    tokens = np.repeat(random_networks.random_tokens(8, 8, 1, case.features_in), 120, axis=0)
    got = Interpreter(sample.network).evaluate(tokens, keep=None).values
    assert_same(got, random_networks.expected_values(sample, sample.network, tokens))
    assert (got["mean.sum"] == 2**23 - 1).any(axis=0).any()
    assert (np.diff(got["mean.sum"], axis=0) > 0).any()


# Tokens in other portions


@every_case
def test_chunks_with_carried_state_are_the_whole(case):
    one = evaluated(case)
    rng = np.random.default_rng(case.seed)
    cuts = sorted(set(rng.integers(1, TOKENS, 3)))
    state, chunks = None, []
    for chunk in np.split(one.tokens, cuts):
        chunks.append(one.interpreter.evaluate(chunk, state, keep=None))
        state = chunks[-1].state
    for name, whole in one.evaluation.values.items():
        assert_array_equal(
            np.concatenate([chunk.values[name] for chunk in chunks]), whole, err_msg=name
        )
    assert_array_equal(np.concatenate([chunk.outputs for chunk in chunks]), one.evaluation.outputs)
    assert_same_state(chunks[-1], one.evaluation)


def test_single_tokens_with_carried_state_are_the_whole():
    one = evaluated(next(case for case in CASES if case.readout == "mean" and case.blocks == 4))
    state, outputs = None, []
    for token in one.tokens:
        step = one.interpreter.evaluate(token[None], state)
        state = step.state
        outputs.append(step.outputs[0])
    assert_array_equal(np.stack(outputs), one.evaluation.outputs)
    assert_same_state(step, one.evaluation)


@every_case
@pytest.mark.parametrize("mode", Mode)
def test_timesteps_compute_the_tokens(case, mode):
    one = evaluated(case)
    timed = one.interpreter.evaluate_timesteps(one.tokens, mode, keep=None)
    assert set(timed.values) == set(one.evaluation.values)
    assert_same(timed.values, one.evaluation.values)
    assert_array_equal(timed.outputs, one.evaluation.outputs)
    assert timed.state == {}


@every_case
def test_sequences_of_a_batch_do_not_meet(case):
    one = evaluated(case)
    for index in range(BATCH):
        alone = one.interpreter.evaluate(one.tokens[:, [index]], keep=None)
        assert_same(
            alone.values,
            {name: array[:, [index]] for name, array in one.evaluation.values.items()},
        )
        for group, registers in one.evaluation.state.items():
            for mine, theirs in zip(alone.state[group], registers, strict=True):
                assert_array_equal(mine, theirs[[index]], err_msg=group)


def test_readouts_differ_in_the_mean_only():
    case = replace(CASES[1], readout="each_token", sequence_length=None)
    each, last = (evaluated(replace(case, readout=name)) for name in ("each_token", "last"))
    assert_array_equal(each.evaluation.outputs, last.evaluation.outputs)
    mean = evaluated(replace(case, readout="mean", sequence_length=TOKENS))
    assert (mean.evaluation.outputs != each.evaluation.outputs).any()


# The models are worth comparing

#: Values that saturate at both ends, those that a ReLU follows at the upper one.
SATURATING = (
    "encoder.affine",
    "norm.centred",
    "norm.normalised",
    "norm.scaled",
    "norm.shifted",
    "norm.u",
    "state.drive_re",
    "state.drive_im",
    "output.feedthrough",
    "output.y",
    "gate.value_affine",
    "gate.gate_affine",
    "gate.product",
    "gate.total",
    "decoder.affine",
)
SATURATING_ABOVE = (
    "output.gate_input",
    "output.value_input",
    "gate.hidden",
    "gate.lowered",
    "mean.mean",
)


def test_the_models_saturate_but_not_all_the_time():
    lowest, highest, total = Counter(), Counter(), Counter()
    for case in CASES:
        one = evaluated(case)
        for name, values in one.evaluation.values.items():
            kind = ".".join(name.split(".")[-2:])
            low, high = at_limits(one.sample.network, name, values)
            lowest[kind] += low
            highest[kind] += high
            total[kind] += values.size
    assert set(SATURATING + SATURATING_ABOVE) <= set(total)
    for kind in SATURATING:
        assert lowest[kind] > 0.001 * total[kind], kind
    for kind in SATURATING + SATURATING_ABOVE:
        assert highest[kind] > 0.001 * total[kind], kind
        assert lowest[kind] + highest[kind] < 0.3 * total[kind], kind


def test_the_models_are_alive():
    alive = varied_gates = rectified = 0
    for case in CASES:
        values = evaluated(case).evaluation.values
        alive += np.ptp(values["decoder.affine"], axis=0).max() > 0
        kept = values["block0.state.g_re"] != 0
        rectified += kept.any() and not kept.all()
        if case.glu != "none":
            varied_gates += np.ptp(values["block0.gate.opening"]) > 2**10
    assert alive > 0.9 * len(CASES)
    assert rectified > 0.8 * len(CASES)
    assert varied_gates > 0.75 * len([case for case in CASES if case.glu != "none"])


def test_the_states_remember():
    """A first token changes what is computed for later ones."""
    remembering = 0
    for case in CASES:
        one = evaluated(case)
        other = one.tokens.copy()
        other[0] = -1 - other[0]
        values = one.interpreter.evaluate(other, keep=None).values
        before = one.evaluation.values
        remembering += (values["block0.output.y"][1:] != before["block0.output.y"][1:]).any()
    assert remembering > 0.8 * len(CASES)
