"""The quantizer: its integers are what they are said to be, its rounding and its bounds hold."""

import functools
import itertools
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import big_integer_network
import float_models
import numpy as np
import pytest
from float_models import FloatCase, quantized, random_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from random_networks import random_tokens
from scipy.special import expit

from s5_to_loihi import audio, float_model
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.errors import CapacityError, CheckpointError, InputError
from s5_to_loihi.fixed_point import Format, limits, to_floats, to_integers
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    Discretization,
    FeedForwardBlock,
    GluVariant,
    LayerNorm,
    normalise,
)
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.neurons.interpolation import interpolate
from s5_to_loihi.quantization.balancing import balanced_exponents
from s5_to_loihi.quantization.bounds import REMAINDER, state_bounds
from s5_to_loihi.quantization.folding import fold_block
from s5_to_loihi.quantization.formats import (
    best_exponent,
    channel_exponents,
    covering_exponent,
    multipliers,
    resolvable,
    spare_bits,
)
from s5_to_loihi.quantization.groups.state import eigenvalues
from s5_to_loihi.quantization.precision import ALLOWED, Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.quantization.rounding import (
    DESCENTS,
    Digits,
    choose_digits,
    largest_weight_sum,
    moments,
    round_rows,
)
from s5_to_loihi.quantization.tables import activation_table, sigmoid_table
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter

DATA = Path(float_model.__file__).parent / "data"

# The same integers ---------------------------------------------------------------------------

#: (weights, activations): one digit and several, narrow and wide.
WIDTHS = (
    (8, 16),
    (2, 8),
    (16, 24),
    (4, 12),
    (8, 24),
    (12, 16),
    (3, 20),
    (16, 8),
    (6, 10),
    (11, 22),
)
LENGTH = 6


def all_cases() -> list[FloatCase]:
    """Every variant of GLU, activation and readout, all else and the widths in turn."""
    others = itertools.cycle(itertools.product((True, False), Discretization, (True, False)))
    widths = itertools.cycle(WIDTHS)
    cases = []
    for seed, (glu, activation, readout) in enumerate(
        itertools.product(GluVariant, Activation, Readout)
    ):
        (symmetric, discretization, rectified), (weights, activations) = next(others), next(widths)
        cases.append(
            FloatCase(
                glu=glu,
                activation=activation,
                conjugate_symmetric=symmetric,
                discretization=discretization,
                rectified=rectified,
                rectified_encoder=seed % 3 > 0,
                readout=readout,
                sequence_length=LENGTH if readout is Readout.MEAN else None,
                features_in=1 + seed % 3,
                width=1 + seed % 5,
                states=1 + seed % 4,
                blocks=1 + seed % 2,
                seed=seed,
                precision=Precision(weights=weights, activations=activations),
            )
        )
    lean = [replace(one, precision=replace(one.precision, lean=True)) for one in cases[::5]]
    return cases + lean + norm_cases()


def norm_cases() -> list[FloatCase]:
    """Norms over all neurons, norms after the residual, s5-pytorch's blocks, missing ends."""
    widths = itertools.cycle(WIDTHS)
    options = [
        dict(glu=glu, norm=norm, prenorm=prenorm)
        for glu in GluVariant
        for norm, prenorm in (("layer", True), ("rms", True), ("layer", False), ("batch", False))
    ]
    options += [
        dict(feed_forward=which, ends=ends)
        for which in ("gated", "plain")
        for ends in ("both", "neither")
    ]
    options += [
        dict(norm="layer", prenorm=False, mixed=True, blocks=3),
        dict(norm="layer", ends="decoder"),
        dict(norm="batch", ends="encoder", rectified=False),
        dict(norm="rms", ends="neither", prenorm=False, readout=Readout.LAST),
        dict(norm="layer", ends="neither", readout=Readout.MEAN, sequence_length=LENGTH),
    ]
    cases = []
    activations = itertools.cycle(Activation)
    for seed, option in enumerate(options, start=100):
        weights, bits = next(widths)
        cases.append(
            FloatCase(
                activation=next(activations),
                conjugate_symmetric=seed % 2 == 0,
                width=2 + seed % 6,
                states=1 + seed % 4,
                seed=seed,
                precision=Precision(weights=weights, activations=bits),
                **{"rectified": seed % 3 == 0, "blocks": 1 + seed % 2, **option},
            )
        )
    return cases


CASES = all_cases()
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_second_case = pytest.mark.parametrize("case", CASES[::2], ids=str)


@functools.cache
def of(case: FloatCase):
    return quantized(case)


def tokens_for(case: FloatCase, count: int = LENGTH) -> np.ndarray:
    """Calibration data, then integers anywhere in the input's format: (tokens, 2, features)."""
    network = of(case).network
    usual, _ = to_integers(float_models.calibration(case, count), network.input_format)
    wild = random_tokens(case.seed, count, 1, case.token_width)
    lowest, highest = limits(network.input_format.bits)
    wild = np.clip(wild << (network.input_format.bits - 16), lowest, highest)
    return np.concatenate([usual[:, :1], wild], axis=1)


@every_case
def test_the_integers_are_those_of_an_independent_evaluation(case):
    network, tokens = of(case).network, tokens_for(case)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    for sequence in range(tokens.shape[1]):
        expected = big_integer_network.evaluate(network, tokens[:, sequence])
        assert set(expected) == set(values)
        for name, wanted in expected.items():
            assert_array_equal(values[name][:, sequence], wanted, err_msg=name)


def test_the_cases_have_every_kind_and_several_digits():
    networks = [of(case).network for case in CASES]
    used = {group.kind.name for network in networks for group in network.groups}
    assert used == set(big_integer_network.PROGRAMS)
    assert used <= set(KINDS)
    digits = {edge.target.name[-2:] for network in networks for edge in network.synapses}
    assert {"_1", "_2"} <= digits


def test_the_fast_simulator_computes_the_same():
    """One network with most kinds, since every group costs a second to compile."""
    case = FloatCase(
        glu=GluVariant.FULL,
        activation=Activation.GELU_TANH,
        rectified=False,
        blocks=1,
        precision=Precision(weights=12, activations=20),
    )
    model = random_model(case)
    other = random_model(replace(case, glu=GluVariant.HALF2, activation=Activation.RELU, seed=2))
    model = replace(model, blocks=(*model.blocks, replace(other.blocks[0], rectified=True)))
    network = quantized(case, model).network
    tokens, _ = to_integers(float_models.calibration(case, 20), network.input_format)
    tokens[:, 1] *= 50
    tokens = np.clip(tokens, *limits(network.input_format.bits))
    expected = Interpreter(network).evaluate(tokens, keep=None)
    run = FastSimulator(network).run(tokens.astype(np.int32), record=True)
    assert_array_equal(run.outputs, expected.outputs)
    assert_array_equal(run.messages.pop("input.token"), tokens)
    assert set(run.messages) < set(expected.values)
    for name, values in run.messages.items():
        assert_array_equal(values, expected.values[name], err_msg=name)
    stream = FastSimulator(network).stream()
    for token, wanted in zip(tokens[:, 1].astype(np.int32), expected.outputs[:, 1], strict=True):
        assert_array_equal(stream.step(token), wanted)


# What the integers stand for -----------------------------------------------------------------


def sqnr(reference: np.ndarray, got: np.ndarray) -> float:
    """In dB; infinite where nothing is lost or nothing is there."""
    error = np.sum(np.abs(reference - got) ** 2)
    return 10 * math.log10(np.sum(np.abs(reference) ** 2) / error) if error > 0 else math.inf


PRECISE = Precision(weights=16, activations=24, eigenvalues=24, knots=1024)


@every_second_case
def test_every_scale_leads_back_to_the_floats(case):
    """Fine formats: what remains is far below any mistake of an exponent or of a sign."""
    case = replace(case, precision=PRECISE)
    result, data = of(case), float_models.calibration(case)
    tokens, _ = to_integers(data, result.network.input_format)
    values = Interpreter(result.network).evaluate(tokens, keep=None).values
    floats = dict(float_model.captured(random_model(case), data))
    first = {"encoder"} if case.has_encoder else set()
    assert {scale.value.split(".")[0] for scale in result.scales} >= {"block0", *first}
    for scale in result.scales:
        reference = floats[scale.reference]
        if scale.part is not None:
            reference = getattr(reference, scale.part)
        got = values[scale.value] * np.exp2(-scale.exponents)
        if len(reference) == len(got):
            assert sqnr(reference, got) > 40, scale


@every_second_case
def test_the_output_is_in_the_networks_format(case):
    case = replace(case, precision=PRECISE)
    result, data = of(case), float_models.calibration(case, LENGTH)
    tokens, _ = to_integers(data, result.network.input_format)
    outputs = to_floats(
        Interpreter(result.network).evaluate(tokens).outputs, result.network.output_format
    )
    expected = float_model.evaluate(random_model(case), data)
    assert sqnr(expected, outputs[-len(expected) :]) > 35


# Synapses ------------------------------------------------------------------------------------


def parameters_of(case: FloatCase) -> dict[str, np.ndarray]:
    """Name of synapses -> the parameters of the checkpoint that they stand for."""
    model = random_model(case)
    ends = {"encoder.weight": model.encoder, "decoder.weight": model.decoder}
    found = {name: affine.weight for name, affine in ends.items() if affine is not None}
    for index, block in enumerate(model.blocks):
        found |= {
            f"block{index}.B_re": block.ssm.b.real,
            f"block{index}.B_im": block.ssm.b.imag,
            f"block{index}.C_re": block.ssm.c.real,
            f"block{index}.C_im": block.ssm.c.imag,
        }
        if isinstance(block, FeedForwardBlock):
            last = block.decode if block.gated else block.decode @ block.expand
            found[f"block{index}.decode"] = last
            if block.gated:
                halves = np.split(block.expand, 2)
                found[f"block{index}.expand_value"] = halves[0]
                found[f"block{index}.expand_gate"] = halves[1]
            continue
        for name, affine in (("W1", block.value), ("W2", block.gate)):
            if affine is not None:
                found[f"block{index}.{name}"] = affine.weight
    return found


@every_case
def test_a_pruned_weight_never_becomes_a_synapse(case):
    result = of(case)
    found = {name: np.zeros(array.shape, dtype=bool) for name, array in parameters_of(case).items()}
    for edge in result.network.synapses:
        name = edge.name if edge.name in found else edge.name.rpartition("_")[0]
        if name in found:
            digit = edge.weights.toarray() != 0
            assert not (digit & (parameters_of(case)[name] == 0)).any(), edge.name
            assert digit.sum() == edge.weights.nnz
            found[name] |= digit
    matrices = {matrix.name: matrix for matrix in result.matrices}
    for name, array in parameters_of(case).items():
        if name.endswith(("_re", "_im")):
            continue
        kept = int(found[name].sum())
        assert kept == np.count_nonzero(array) - matrices[name].zeroed, name
    for block, which in itertools.product(range(case.blocks), "BC"):
        name = f"block{block}.{which}"
        kept = int(found[f"{name}_re"].sum() + found[f"{name}_im"].sum())
        given = sum(np.count_nonzero(parameters_of(case)[f"{name}_{p}"]) for p in ("re", "im"))
        assert (kept, matrices[name].parameters) == (given - matrices[name].zeroed, given)


def test_b_has_the_synapses_of_the_pruned_parameter_not_of_the_discretized_one():
    case = FloatCase(width=12, states=10, blocks=1, density=0.4)
    result, (block,) = of(case), random_model(case).blocks
    stored = sum(
        edge.weights.nnz
        for edge in result.network.synapses
        if edge.name in ("block0.B_re", "block0.B_im")
    )
    parameters = np.count_nonzero(block.ssm.b.real) + np.count_nonzero(block.ssm.b.imag)
    (matrix,) = (matrix for matrix in result.matrices if matrix.name == "block0.B")
    assert stored == parameters - matrix.zeroed
    discretized = block.ssm.b * block.ssm.discretized()[1][:, None]
    assert stored < 0.8 * (np.count_nonzero(discretized.real) + np.count_nonzero(discretized.imag))


# Folding -------------------------------------------------------------------------------------


@every_second_case
def test_folding_leaves_a_bias_and_nothing_else(case):
    model, data = random_model(case), float_models.calibration(case)
    values = float_model.captured(model, data)
    for index, block in enumerate(model.blocks):
        folded, hidden = fold_block(block, "block"), values[f"block{index}.hidden"]
        if folded.norm is not None:
            hidden = normalise(hidden, folded.norm)
        drive, y = values[f"block{index}.drive"], values[f"block{index}.y"]
        x, g = values[f"block{index}.x"], values[f"block{index}.g"]
        # What is left is a bias, the same for all tokens.
        drive_left = drive - hidden @ folded.b.T
        y_left = y - (g @ folded.c.T).real - folded.d * hidden
        for left, whole in ((drive_left, drive), (y_left, y)):
            bias = np.broadcast_to(left[:1, :1], left.shape)
            np.testing.assert_allclose(left, bias, rtol=0, atol=1e-12 * np.abs(whole).max())
        again = float_model.recur(folded.a, folded.gain * (hidden @ folded.b.T + drive_left[0, 0]))
        np.testing.assert_allclose(again, x, rtol=0, atol=1e-12 * np.abs(x).max())
        assert_array_equal(folded.b.real != 0, block.ssm.b.real != 0)
        assert_array_equal(folded.b.imag != 0, block.ssm.b.imag != 0)


# Rounding ------------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


class Rows:
    """A random matrix and the covariance of messages."""

    def __init__(self, seed: int, bits: int, parts: int = 1, largest_sum: float = math.inf):
        rng = np.random.default_rng(seed)
        inputs, outputs = rng.integers(1, 9), rng.integers(1, 6)
        messages = rng.normal(size=(50, inputs)) @ rng.normal(size=(inputs, inputs))
        messages = 100 * messages + rng.normal(size=inputs)
        messages[:, rng.random(inputs) < 0.1] = 0  # silent, all the time
        size = (outputs, parts * inputs)
        self.weight = rng.normal(size=size) * (rng.random(size) < 0.7)
        self.bits, self.inputs, self.parts = bits, int(inputs), parts
        self.covariance = moments(messages, messages).covariance
        self.rounded = round_rows(self.weight, self.covariance, bits, largest_sum)

    def quadratic(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A row's support, the matrix of its error and its weights."""
        (support,) = np.nonzero(self.weight[row])
        whole = np.kron(np.eye(self.parts), self.covariance)
        matrix = whole[np.ix_(support, support)]
        return support, matrix, self.weight[row, support]

    def error(self, row: int, integers: np.ndarray) -> float:
        support, matrix, target = self.quadratic(row)
        away = self.rounded.steps[row] * integers[support] - target
        return float(away @ matrix @ away)


@settings(deadline=None, max_examples=150)
@given(seed=seeds, bits=st.integers(2, 12), parts=st.integers(1, 2))
def test_rounding_is_no_worse_than_rounding_each_weight(seed, bits, parts):
    rows = Rows(seed, bits, parts)
    lowest, highest = rows.rounded.digits.ends(bits)
    for row, step in enumerate(rows.rounded.steps):
        support, _, target = rows.quadratic(row)
        if len(support) == 0:
            continue
        plain = np.zeros(rows.weight.shape[1])
        plain[support] = np.clip(np.rint(target / step), lowest, highest)
        found = rows.error(row, rows.rounded.integers[row])
        scale = rows.error(row, np.zeros(rows.weight.shape[1]))
        assert found <= rows.error(row, plain) + 1e-9 * scale


@settings(deadline=None, max_examples=60)
@given(seed=seeds, bits=st.integers(2, 8))
def test_no_single_step_of_a_rounded_weight_is_better(seed, bits):
    rows = Rows(seed, bits)
    lowest, highest = rows.rounded.digits.ends(bits)
    for row, integers in enumerate(rows.rounded.integers):
        found = rows.error(row, integers)
        scale = rows.error(row, np.zeros(len(integers)))
        for index, change in itertools.product(np.nonzero(rows.weight[row])[0], (-1, 1)):
            other = integers.copy()
            other[index] += change
            if lowest <= other[index] <= highest:
                assert found <= rows.error(row, other) + 1e-9 * scale


@settings(deadline=None, max_examples=80)
@given(seed=seeds, bits=st.integers(2, 16), parts=st.integers(1, 2), share=st.floats(0.05, 2))
def test_sums_fit_their_accumulators(seed, bits, parts, share):
    largest_sum = max(1, int(share * (1 << min(bits, 8))))
    rows = Rows(seed, bits, parts, largest_sum)
    digits = rows.rounded.digits
    for digit in digits.split(rows.rounded.integers):
        assert np.abs(digit).max() <= 1 << (digits.bits - 1)
        sums = np.abs(digit).reshape(len(digit), parts, rows.inputs).sum(axis=2)
        assert sums.max() <= largest_sum
    assert not rows.rounded.integers[rows.weight == 0].any()
    assert (rows.rounded.steps != 0).tolist() == rows.weight.any(axis=1).tolist()


def rounded_by_the_book(rows: Rows, row: int, step: float, lowest: int, highest: int) -> np.ndarray:
    """Nearest plane, then single steps, as they are defined: one entry after the other."""
    support, matrix, target = rows.quadratic(row)
    order = np.argsort(np.diag(matrix), kind="stable")
    support, matrix, target = support[order], matrix[np.ix_(order, order)], target[order]
    factor = np.linalg.cholesky(matrix)
    nearest, left = np.zeros(len(target)), np.zeros(len(target))
    for k in reversed(range(len(target))):
        wanted = target[k] + factor[k + 1 :, k] @ left[k + 1 :] / factor[k, k]
        nearest[k] = np.clip(np.rint(wanted / step), lowest, highest)
        left[k] = target[k] - step * nearest[k]
    plain = np.clip(np.rint(target / step), lowest, highest)

    def error(q):
        return (step * q - target) @ matrix @ (step * q - target)

    def descended(q):
        for _ in range(DESCENTS):
            for k in range(len(q)):
                slope = matrix[k] @ (step * q - target)
                q[k] = np.clip(q[k] - np.rint(slope / (matrix[k, k] * step)), lowest, highest)
        return q

    q = descended(nearest)
    if error(plain) < error(q):
        q = descended(plain)
    found = np.zeros(rows.weight.shape[1])
    found[support] = q
    return found


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_all_steps_at_once_give_what_each_gives_alone(bits):
    """The integers of before the kernel: of each entry in turn, with a whole factor."""
    for seed in range(40):
        rows = Rows(seed, bits)
        for row, step in enumerate(rows.rounded.steps):
            if step:
                ends = rows.rounded.digits.ends(bits)
                wanted = rounded_by_the_book(rows, row, step, *ends)
                assert_array_equal(rows.rounded.integers[row], wanted)


def test_rows_do_not_depend_on_what_they_share_cores_with():
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(23, 40)) * (rng.random((23, 40)) < 0.5)
    messages = rng.normal(size=(200, 20)) @ rng.normal(size=(20, 20))
    covariance = moments(messages, messages).covariance
    whole = round_rows(weight, covariance, 5, math.inf)
    for row in range(len(weight)):
        alone = round_rows(weight[row : row + 1], covariance, 5, math.inf)
        assert_array_equal(alone.integers[0], whole.integers[row])


def test_rows_of_zeros_stay_zero():
    rounded = round_rows(np.array([[0.0, 0, 0], [1, 0, -1]]), np.eye(3), 8, math.inf)
    assert_array_equal(rounded.integers[0], 0)
    assert rounded.steps[0] == 0
    assert (rounded.integers[1] != 0).tolist() == [True, False, True]
    nothing = round_rows(np.zeros((2, 3)), np.eye(3), 8, math.inf)
    assert_array_equal(nothing.integers, np.zeros((2, 3)))


def test_messages_that_never_came_are_rounded_to_the_nearest():
    """Nothing is known of them: that they might come keeps their weights where they were."""
    weight = np.array([[1.0, 0.26, -0.74]])
    for messages in (np.zeros((4, 3)), np.array([[-1.0, 0, 0], [1, 0, 0]])):
        rounded = round_rows(weight, moments(messages, messages).covariance, 9, math.inf)
        assert_array_equal(rounded.integers[0], np.rint(weight[0] / rounded.steps[0]))


#: Every way in which weights of 2 to 16 bits may be written with digits of at most 8 bits.
WAYS = [
    (weight_bits, Digits(count, max(2, -(-weight_bits // count))))
    for weight_bits in range(2, 17)
    for count in range(-(-weight_bits // 8), 5)
]


@settings(deadline=None, max_examples=300)
@given(way=st.sampled_from(WAYS), data=st.data())
def test_digits_stand_for_the_integers(way, data):
    weight_bits, digits = way
    largest = digits.largest(weight_bits)
    assert 1 <= largest < 1 << (weight_bits - 1)
    value = data.draw(st.integers(-largest, largest) | st.sampled_from([-largest, largest]))
    split = digits.split(np.array([[value]]))
    assert len(split) == digits.count
    assert sum(int(digit) << (k * digits.bits) for k, digit in enumerate(np.ravel(split))) == value
    lowest, highest = limits(digits.bits)
    assert all(lowest <= digit <= highest for digit in np.ravel(split))
    assert digits.bits <= 8


def test_wide_messages_take_more_digits():
    weight = np.ones((1, 40))
    few, total = choose_digits(weight, 8, largest_weight_sum(16))
    assert (few, total <= largest_weight_sum(16)) == (Digits(1, 8), True)
    more, total = choose_digits(weight, 8, largest_weight_sum(24))
    assert more.count > 1
    assert total <= largest_weight_sum(24)
    _, total = choose_digits(np.ones((1, 4000)), 8, largest_weight_sum(24))
    assert total > largest_weight_sum(24)


# Formats -------------------------------------------------------------------------------------

positive = st.floats(1e-12, 1e12)
widths = st.integers(8, 24)


def scaled(value: float, exponent: int) -> Fraction:
    return Fraction(float(value)) * Fraction(2) ** exponent


@given(largest=positive, bits=widths)
def test_the_covering_exponent_is_the_finest_that_covers(largest, bits):
    exponent, highest = covering_exponent(largest, bits), limits(bits)[1]
    assert round(scaled(largest, exponent)) <= highest < round(scaled(largest, exponent + 1))


@given(bits=widths, exponent=st.integers(-30, 30), beside=st.sampled_from([-1, 0, 1]))
def test_the_covering_exponent_at_the_limits_of_rounding(bits, exponent, beside):
    """At ``highest + 1/2``, and at the next floats on both sides."""
    edge = limits(bits)[1] + 0.5
    value = {-1: np.nextafter(edge, 0), 0: edge, 1: np.nextafter(edge, np.inf)}[beside]
    found = covering_exponent(float(np.ldexp(value, -exponent)), bits)
    # Halves go to even, which is beyond the limit.
    assert found == (exponent if beside < 0 else exponent - 1)


def squared_error(values: list[float], exponent: int, bits: int) -> Fraction:
    lowest, highest = limits(bits)
    clipped = (max(lowest, min(highest, round(scaled(value, exponent)))) for value in values)
    pairs = zip(values, clipped, strict=True)
    return sum((Fraction(v) - Fraction(q) / Fraction(2) ** exponent) ** 2 for v, q in pairs)


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), bits=widths)
def test_the_best_exponent_has_the_least_error(values, bits):
    assume(max(map(abs, values)) > 1e-9)
    found = best_exponent(np.array(values), bits)
    covering = covering_exponent(max(map(abs, values)), bits)
    if spare_bits(bits):
        assert found == covering - spare_bits(bits)
        return
    error = squared_error(values, found, bits)
    for other in range(covering - 3, covering + 4):
        assert error <= squared_error(values, other, bits) * Fraction(1 + 1e-9) + Fraction(1e-30)


@given(
    factors=st.lists(st.lists(st.floats(-900, 900), min_size=2, max_size=2), min_size=1),
    bits=st.integers(8, 24),
)
def test_multipliers_have_the_most_digits(factors, bits):
    factors = np.array(factors)
    largest = np.abs(factors).max(axis=1)
    assume(largest.max() < limits(bits)[1])
    found, shifts = multipliers(factors, "here", bits)
    assert found.shape == factors.shape
    for row, integers, shift in zip(factors, found, shifts, strict=True):
        assert np.abs(integers).max() <= limits(bits)[1]
        assert 0 <= shift <= 47
        for factor, integer in zip(row, integers, strict=True):
            assert abs(scaled(factor, int(shift)) - int(integer)) <= Fraction(1, 2)
        if shift < 47 and row.any():
            assert np.abs(integers).max() >= 1 << (bits - 2)


def test_factors_beyond_any_multiplier_are_refused():
    with pytest.raises(
        CapacityError, match=r"^here: needs a factor of 4e\+04 .*limit 32767.* Give"
    ):
        multipliers(np.array([1.0, 4e4]), "here")


@given(step=st.floats(1e-9, 1e9), wanted=st.integers(-40, 60), extra=st.integers(0, 14))
def test_resolvable_exponents_leave_room_for_the_multiplier(step, wanted, extra):
    (found,) = resolvable(np.array([wanted]), np.array([step]), extra)
    limit = Fraction(limits(16)[1])
    assert found <= wanted
    # A floating-point logarithm decides: at the edge it may be off by its own rounding.
    assert scaled(step, int(found) + extra) <= limit * Fraction(1 + 1e-12)
    if found < wanted:
        assert scaled(step, int(found) + 1 + extra) > limit * Fraction(1 - 1e-12)
    assert resolvable(np.array([wanted]), np.array([0.0]), extra) == wanted


@settings(deadline=None)
@given(seed=seeds, bits=widths)
def test_the_formats_of_channels(seed, bits):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(20, 5)) * 2.0 ** rng.integers(-20, 5, 5)
    values[:, 2] = 0
    together = best_exponent(values, bits)
    expected = np.abs(values).max(axis=0) * np.array([0, 0, 7, 64, 0.1])
    found = channel_exponents(values, bits, expected)
    assert (found <= together + np.where(expected > 0, 9, 3)).all()
    for channel, exponent, magnitude in zip(values.T, found, expected, strict=True):
        assert exponent == together if not channel.any() else True
        if spare_bits(bits):
            assert round(scaled(magnitude, int(exponent))) <= limits(bits)[1]


def balance_cost(exponents, variances, readers) -> float:
    """What ``balanced_exponents`` minimises, written out row by row."""
    steps, cost = 2.0**-exponents, 0.0
    for weight, largest in readers:
        for row in weight:
            power = np.sum(row**2 * variances)
            if power > 0:
                grid = np.abs(row * steps).max() / largest
                rounding = sum(
                    grid**2 * v / s**2 for w, v, s in zip(row, variances, steps, strict=True) if w
                )
                cost += (np.sum(row**2 * steps**2) + rounding) / power
    return cost + sum(s**2 / v for s, v in zip(steps, variances, strict=True) if v > 0)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, bits=st.integers(2, 16))
def test_balanced_exponents_cannot_be_bettered_one_by_one(seed, bits):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    sizes = 4.0 ** rng.integers(-4, 5, count)
    readers = [
        (rng.normal(size=(3, count)) * sizes * (rng.random((3, count)) < 0.7), limits(bits)[1]),
        (rng.normal(size=(2, count)), limits(8)[1]),
    ]
    variances = rng.random(count) * 16.0 ** rng.integers(-3, 4, count)
    variances[rng.random(count) < 0.1] = 0
    finest = rng.integers(8, 15, count)
    found = balanced_exponents(finest, variances, readers)
    assert (found <= finest).all()
    least = balance_cost(found, variances, readers)
    assert least <= balance_cost(finest, variances, readers) * (1 + 1e-6)
    for index, given_up in itertools.product(range(count), range(8)):
        other = found.copy()
        other[index] = finest[index] - given_up
        assert least <= balance_cost(other, variances, readers) * (1 + 1e-6)


# Tables --------------------------------------------------------------------------------------

#: Those that are a ReLU and something even in y.
GELUS = (Activation.GELU_ERF, Activation.GELU_TANH, Activation.SILU)
Y_FORMATS = (
    *(Format(8, 4), Format(8, 7), Format(12, 6), Format(16, 11), Format(16, 3)),
    *(Format(16, 0), Format(16, -2), Format(16, 20), Format(20, 16), Format(24, 20)),
)


@pytest.mark.parametrize("knots", [2, 64, 1024])
@pytest.mark.parametrize("source", Y_FORMATS, ids=str)
@pytest.mark.parametrize("activation", GELUS)
def test_the_stated_error_of_gelu_is_that_of_the_worst_integer(activation, source, knots):
    table, stated = activation_table(activation, source, knots)
    highest = limits(source.bits)[1]
    magnitudes = np.arange(0, highest + 2, max(1, (highest + 1) >> 19))
    got = to_floats(interpolate(magnitudes, table), source)
    floats = to_floats(magnitudes, source)
    error = 0.0
    for sign in (-1, 1):
        gelu = np.maximum(sign * floats, 0) + got
        wanted = float_model.activate(sign * floats, activation)
        error = max(error, np.abs(gelu - wanted).max())
    one = 2.0**-source.exponent
    assert error <= stated + 1e-12 <= error + 2e-12 + one
    assert got[0] == 0
    # The last value stays, which is off by what GELU still differs from a ReLU there.
    worst = {2: 0.15, 64: 4e-4, 1024: 1.4e-4}
    if activation is Activation.SILU:
        # Four times as far.
        worst = {2: 0.3, 64: 5e-3, 1024: 3e-5}
    assert stated <= worst[knots] + one


@pytest.mark.parametrize("knots", [8, 64, 1024])
@pytest.mark.parametrize("source", Y_FORMATS, ids=str)
def test_the_stated_error_of_the_tangent_is_that_of_the_worst_integer(source, knots):
    table, stated = activation_table(Activation.TANH, source, knots)
    highest = limits(source.bits)[1]
    magnitudes = np.arange(0, highest + 2, max(1, (highest + 1) >> 19))
    got = to_floats(interpolate(magnitudes, table), source)
    error = np.abs(got - np.tanh(to_floats(magnitudes, source))).max()
    one = 2.0**-source.exponent
    assert got[0] == 0
    assert error <= stated + 1e-12 <= max(error, 1 - np.tanh(8)) + one + 2e-12
    assert stated <= {8: 0.062, 64: 1.3e-3, 1024: 6e-6}[knots] + 2 * one


@pytest.mark.parametrize("knots", [8, 16, 64, 256, 1024])
@pytest.mark.parametrize("exponent", [12, 11, 9, 4])
def test_the_stated_error_of_the_sigmoid_is_that_of_the_worst_integer(exponent, knots):
    source = Format(16, exponent)
    table, stated = sigmoid_table(source, knots)
    values = np.arange(*limits(source.bits))
    half = interpolate(np.abs(values), table) / 2**15
    opening = 0.5 + np.where(values > 0, half, -half)
    assert half[values == 0] == 0
    assert (np.diff(opening) >= 0).all()
    assert 0 <= opening.min() <= opening.max() <= 1
    error = np.abs(opening - expit(to_floats(values, source))).max()
    # Beyond the format the table keeps its last value, and the sigmoid goes on to 1.
    error = max(error, 1 - opening.max())
    assert error == pytest.approx(stated, abs=2.0**-15)


def test_more_knots_are_more_exact():
    errors = [sigmoid_table(Format(16, 11), 2**k)[1] for k in range(3, 10)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 6e-4


# States --------------------------------------------------------------------------------------


def random_states(seed: int):
    rng = np.random.default_rng(seed)
    count = 4
    modulus = 1 - 10.0 ** rng.uniform(-2.5, -0.2, count)
    a = modulus * np.exp(1j * rng.uniform(-np.pi, np.pi, count) * rng.choice([0.01, 1], count))
    inputs = 3
    columns = rng.normal(size=(count, inputs)) + 1j * rng.normal(size=(count, inputs))
    columns *= rng.choice([0, 1], (count, inputs))
    lowest, highest = rng.choice([0.0, -1.0, -3.0], inputs), rng.choice([1.0, 2.0], inputs)
    bias = (rng.normal(size=count) + 1j * rng.normal(size=count)) * rng.choice([0, 0.3, 3], count)
    return a, columns, lowest, highest, bias


def last_state(a: complex, drive: np.ndarray) -> complex:
    state = 0j
    for one in drive.tolist():
        state = a * state + one
    return state


@settings(deadline=None, max_examples=25)
@given(seed=seeds, noise=st.sampled_from([0.0, 0.7]))
def test_the_worst_messages_reach_the_bounds_and_never_exceed_them(seed, noise):
    a, columns, lowest, highest, bias = random_states(seed)
    bounds = state_bounds(a, columns, lowest, highest, bias, noise)
    rng = np.random.default_rng(seed)
    for p, part, sign in itertools.product(range(len(a)), (0, 1), (-1, 1)):
        one, turn = complex(a[p]), sign * (1, -1j)[part]
        # What a message does to the last state, by the number of tokens in between.
        effects = turn * one ** np.arange(4000)
        signs = (effects[:, None] * columns[p]).real > 0
        messages = np.where(signs, highest, lowest)
        drive = messages @ columns[p] + bias[p]
        # The rounding of every step, at its worst as well.
        drive = drive + noise * np.exp(-1j * np.angle(effects))
        sums = np.cumsum((effects * drive).real)
        bound = sign * bounds[p, part, (1 + sign) // 2]
        reached = 0.0
        for tokens in {1, 2, 9, int(sums.argmax()) + 1}:
            reached = max(reached, (turn * last_state(one, drive[:tokens][::-1])).real)
        slack = 1e-9 * (1 + bound)
        assert reached <= bound + slack
        # Both parts of the noise are bounded by its modulus: only one can be reached.
        assert reached >= bound - 2 * REMAINDER * np.abs(bounds[p]).max() - slack - (
            noise / (1 - abs(one)) if noise else 0
        )
        drive = rng.uniform(lowest, highest, (60, len(lowest))) @ columns[p] + bias[p]
        assert (turn * last_state(one, drive)).real <= bound + slack


def test_a_bias_that_the_state_soon_cancels_counts_at_its_largest():
    """x is 1 after the first token and goes to 0.53."""
    nothing = np.zeros((1, 1), complex)
    bounds = state_bounds(np.array([-0.9 + 0j]), nothing, 0, 1, np.array([1 + 0j]), 0.0)
    assert 1 <= bounds[0, 0, 1] < 1.01
    nothing = np.zeros((1, 0), complex)
    without = state_bounds(np.array([0.5 + 0j]), nothing, 0, 0, np.array([1j]), 0.0)
    np.testing.assert_allclose(without[0], [[0, 0], [0, 2]], atol=0.01)


def test_a_state_that_decays_for_ever_has_a_bound_still():
    slow = np.array([1 - 1e-7 + 0j])
    bounds = state_bounds(slow, np.ones((1, 1), complex), 0, 1, np.zeros(1), 0)
    assert 1e7 * (1 - 1e-6) <= bounds[0, 0, 1] < 1.01e7


@settings(deadline=None, max_examples=400)
@given(
    modulus=st.floats(0.9, 1, exclude_max=True) | st.floats(1 - 1e-9, 1, exclude_max=True),
    angle=st.floats(-math.pi, math.pi) | st.floats(-1e-6, 1e-6) | st.sampled_from([0.5, 1, -0.5]),
    bits=st.sampled_from([8, 16, 24]),
)
def test_eigenvalues_stay_inside_the_unit_circle(modulus, angle, bits):
    a = modulus * np.exp(1j * angle * (math.pi if angle in (0.5, 1, -0.5) else 1))
    parts, shifts = multipliers(np.array([[(a - 1).real, (a - 1).imag]]), "a", bits)
    inside, _ = eigenvalues(np.array([a]), "a", bits)
    ((re, im),) = inside
    one = 1 << int(shifts[0])
    assert (one + int(re)) ** 2 + int(im) ** 2 < one**2
    lowest, highest = limits(bits)
    assert lowest <= min(re, im) <= max(re, im) <= highest
    # Moved by no more than it takes.
    moved = np.abs([re - parts[0, 0], im - parts[0, 1]]).max()
    most = max(3, math.ceil(im * im / one) + 2)
    assert moved <= most


# Accuracy ------------------------------------------------------------------------------------


@functools.cache
def denoiser():
    model = load(DATA / "denoiser_small_float").model
    noisy, clean, spoken = (
        audio.read_wav(DATA / "speech" / f"{name}.wav").samples[0]
        for name in ("noisy", "clean", "calibration")
    )
    spectrum = audio.analyse(noisy)
    features = audio.features(spectrum)[:, None]
    mask = float_model.evaluate(model, features)[:, 0]

    def quality(mask):
        cleaned = audio.synthesise(audio.apply_mask(spectrum, mask), len(noisy))
        return audio.si_snr(cleaned, clean)

    return model, audio.features(audio.analyse(spoken))[:, None], features, mask, quality


#: (weights, activations) -> lowest SQNR of the masks, largest loss of SI-SNR, both in dB.
@pytest.mark.parametrize(
    ("weights", "activations", "lowest", "loss"),
    [(8, 16, 33, 0.01), (16, 24, 40, 0.005), (4, 16, 21, 0.2)],
)
def test_the_shipped_denoiser_loses_next_to_nothing(weights, activations, lowest, loss):
    """On speech that it was not calibrated with."""
    model, calibration, features, mask, quality = denoiser()
    network = quantize_model(model, calibration, Precision(weights, activations)).network
    tokens, clipped = to_integers(features, network.input_format)
    outputs = to_floats(Interpreter(network).evaluate(tokens).outputs, network.output_format)[:, 0]
    assert clipped == 0
    assert sqnr(mask, outputs) >= lowest
    assert quality(outputs) >= quality(mask) - loss


# Errors --------------------------------------------------------------------------------------

DEFAULT = FloatCase(blocks=1)


def with_block(**changes):
    model = random_model(DEFAULT)
    return replace(model, blocks=(replace(model.blocks[0], **changes),))


def with_ssm(**changes):
    return with_block(ssm=replace(random_model(DEFAULT).blocks[0].ssm, **changes))


def poisoned(array, value):
    array = array.copy()
    array.flat[1] = value
    return array


MODEL = random_model(DEFAULT)
(BLOCK,) = MODEL.blocks
UNSUITABLE = {
    "a negative epsilon": (
        with_block(norm=LayerNorm(np.ones(5), np.zeros(5), -1e-5)),
        r"random, block0, norm epsilon: is -1e-05 \(allowed: above 0, up to 1e\+06\)\. Without",
    ),
    "bidirectional": (
        with_ssm(bidirectional_c=BLOCK.ssm.c),
        "random, block0: reads the sequence backwards.* Train it unidirectional",
    ),
    "no blocks": (replace(MODEL, blocks=()), "random: has no S5 blocks. Check the checkpoint"),
    "unstable": (
        with_ssm(eigenvalues=poisoned(BLOCK.ssm.eigenvalues, 0.1 + 1j)),
        r"random, block0, eigenvalues: state 1 does not decay: \|a\| = 1\.\d+ .*limit.* Clip",
    ),
    "on the unit circle": (
        with_ssm(eigenvalues=poisoned(BLOCK.ssm.eigenvalues, 1j)),
        "state 1 does not decay",
    ),
    "not finite in B": (
        with_ssm(b=poisoned(BLOCK.ssm.b, np.nan)),
        "random, block0, B: holds 1 numbers that are not finite. Train again",
    ),
    "not finite in the time steps": (with_ssm(step=poisoned(BLOCK.ssm.step, np.nan)), "block0, A"),
    "not finite in the norm": (
        with_block(norm=replace(BLOCK.norm, bias=poisoned(BLOCK.norm.bias, np.inf))),
        "random, block0, norm bias: holds 1 numbers that are not finite",
    ),
    "a negative variance": (
        with_block(norm=replace(BLOCK.norm, variance=poisoned(BLOCK.norm.variance, -1.0))),
        r"random, block0, norm variance: is -1 with its epsilon .*above 0.*\. Check",
    ),
    "not finite in W2": (
        with_block(gate=Affine(poisoned(BLOCK.gate.weight, np.inf), BLOCK.gate.bias)),
        "block0, W2 weight: holds 1",
    ),
    "not finite in the encoder": (
        replace(MODEL, encoder=Affine(MODEL.encoder.weight, poisoned(MODEL.encoder.bias, np.nan))),
        "random, encoder bias: holds 1",
    ),
}


@pytest.mark.parametrize("what", UNSUITABLE)
def test_unsuitable_models_are_refused(what):
    model, message = UNSUITABLE[what]
    with pytest.raises(CheckpointError, match=message):
        quantized(DEFAULT, model)


CALIBRATION = float_models.calibration(DEFAULT)
UNSUITABLE_DATA = {
    "too few features": (CALIBRATION[..., :2], "has 2 features a token, the model takes 3. Give"),
    "too many axes": (CALIBRATION[None], "holds float64 with 4 axes. Give"),
    "text": (np.array([["a"]]), "holds <U1 with 2 axes. Give"),
    "no tokens": (CALIBRATION[:0], r"is empty \(shape \(0, 2, 3\)\). Give"),
    "few tokens": (CALIBRATION[:5], r"has 10 tokens \(at least 64\). Give"),
    "NaN": (poisoned(CALIBRATION, np.nan), "holds 1 values that are not finite. Remove them"),
    "infinity": (poisoned(CALIBRATION, np.inf), "holds 1 values that are not finite"),
    "silence": (0 * CALIBRATION, "is silent: all 80 tokens are equal. Give"),
}


@pytest.mark.parametrize("what", UNSUITABLE_DATA)
def test_unsuitable_calibration_data_are_refused(what):
    data, message = UNSUITABLE_DATA[what]
    with pytest.raises(InputError, match=f"^calibration data: {message}"):
        quantize_model(MODEL, data)


@pytest.mark.parametrize("role", ALLOWED)
def test_precision_out_of_range_is_refused(role):
    name = {"weight": "weights", "activation": "activations", "input": "inputs"}.get(
        role, f"{role}s"
    )
    fewest, most = ALLOWED[role]
    for bits in (fewest, most):
        Precision(**{name: bits})
    for bits in (fewest - 1, most + 1, float(fewest)):
        with pytest.raises(
            InputError, match=f"^{role} bits: is given {bits} bits .allowed {fewest}"
        ):
            Precision(**{name: bits})


@pytest.mark.parametrize("knots", [0, 1, 4, 65, 2048])
def test_knots_that_are_no_power_of_two_are_refused(knots):
    with pytest.raises(InputError, match=f"^knots: are {knots} .allowed: powers of two .* Use 64"):
        Precision(knots=knots)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"block0.B": 17}, "block0.B: is given 17 bits .allowed 2 to 16 for weights"),
        ({"*.C": 1}, "block0.C: is given 1 bits .allowed 2 to 16 for weights"),
        ({"block0.y": 7}, "block0.y: is given 7 bits .allowed 8 to 24 for activations"),
        ({"block0.B": "8"}, "block0.B: is given '8' bits"),
    ],
)
def test_an_override_out_of_range_is_refused(overrides, message):
    case = replace(DEFAULT, precision=Precision(overrides=overrides))
    with pytest.raises(InputError, match=f"^{message}"):
        quantized(case)


def test_overrides_set_the_bits_of_the_tensors_that_they_match():
    overrides = {"*.C": 4, "block1.C": 6, "block0.g": 12, "decoder.activation": 20, "input": 20}
    case = replace(DEFAULT, blocks=2, precision=Precision(overrides=overrides))
    result = of(case)
    bits = {matrix.name: matrix.bits for matrix in result.matrices}
    assert (bits["block0.C"], bits["block1.C"], bits["block0.B"]) == (4, 6, 8)
    network = result.network
    assert network.group("block0.state").formats["g_re"].bits == 12
    assert network.group("block1.state").formats["g_re"].bits == 16
    assert (network.output_format.bits, network.input_format.bits) == (20, 20)
    for edge in network.synapses:
        if edge.name.startswith("block0.C"):
            assert abs(edge.weights.astype(int)).max() <= 8
