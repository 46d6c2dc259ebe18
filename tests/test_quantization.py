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
from s5_to_loihi.backends.fast import FastSimulator
from s5_to_loihi.backends.interpreter import Interpreter
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.errors import CapacityError, CheckpointError, InputError
from s5_to_loihi.fixed_point import Format, interpolate, limits, to_floats, to_integers
from s5_to_loihi.float_model import Activation, Affine, Discretization, LayerNorm
from s5_to_loihi.model import GluVariant
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.quantization.bounds import REMAINDER, state_bounds
from s5_to_loihi.quantization.folding import fold
from s5_to_loihi.quantization.formats import (
    best_exponent,
    channel_exponents,
    covering_exponent,
    multipliers,
    resolvable,
    spare_bits,
)
from s5_to_loihi.quantization.precision import ALLOWED, Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.quantization.rounding import (
    DAMPING,
    Digits,
    Moments,
    choose_digits,
    moments,
    round_rows,
)
from s5_to_loihi.quantization.sweep import _decaying, _largest_sum
from s5_to_loihi.quantization.tables import gelu_table, sigmoid_table

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
    wild = random_tokens(case.seed, count, 1, case.features_in)
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


FAST_CASES = (
    FloatCase(glu=GluVariant.HALF2, blocks=1),
    FloatCase(
        glu=GluVariant.FULL,
        activation=Activation.GELU_TANH,
        rectified=False,
        readout=Readout.MEAN,
        sequence_length=LENGTH,
        blocks=1,
        precision=Precision(weights=12, activations=24),
    ),
    FloatCase(glu=GluVariant.NONE, blocks=1, readout=Readout.LAST, precision=Precision(4, 12)),
)


@pytest.mark.parametrize("case", FAST_CASES, ids=str)
def test_the_fast_simulator_computes_the_same(case):
    network, tokens = of(case).network, tokens_for(case, 20)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    run = FastSimulator(network).run(tokens.astype(np.int32), record=True)
    assert_array_equal(run.outputs, expected.outputs)
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
    assert {scale.value.split(".")[0] for scale in result.scales} >= {"encoder", "block0"}
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
    found = {"encoder.weight": model.encoder.weight, "decoder.weight": model.decoder.weight}
    for index, block in enumerate(model.blocks):
        found |= {
            f"block{index}.B_re": block.ssm.b.real,
            f"block{index}.B_im": block.ssm.b.imag,
            f"block{index}.C_re": block.ssm.c.real,
            f"block{index}.C_im": block.ssm.c.imag,
        }
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
def test_folding_changes_nothing(case):
    model, data = random_model(case), float_models.calibration(case)
    values = float_model.captured(model, data)
    for index, block in enumerate(model.blocks):
        folded, hidden = fold(block), values[f"block{index}.hidden"]
        drive = (hidden @ folded.b.T + folded.drive_bias) * folded.gain
        x = float_model.recur(folded.a, drive)
        g = float_model.rectify_complex(x) if block.rectified else x
        y = (g @ folded.c.T).real + folded.d * hidden + folded.output_bias
        for name, got in (("x", x), ("y", y)):
            wanted = values[f"block{index}.{name}"]
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
        assert_array_equal(folded.b.real != 0, block.ssm.b.real != 0)
        assert_array_equal(folded.b.imag != 0, block.ssm.b.imag != 0)
