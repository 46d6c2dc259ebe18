"""Weights in e4m3 and e5m2: ml_dtypes' values, by bands that are one int8 synapse a weight."""

from dataclasses import replace

import big_integer_network
import float_models
import numpy as np
import pytest
from float_models import FloatCase, quantized, random_model
from numpy.testing import assert_array_equal
from random_networks import random_tokens

from s5_to_loihi.errors import CapacityError, InputError
from s5_to_loihi.fixed_point import limits, to_integers
from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.neurons.constants import array_constants
from s5_to_loihi.network.neurons.rescaling import digit_ports
from s5_to_loihi.network.ranges import program
from s5_to_loihi.quantization.float_rounding import round_floats
from s5_to_loihi.quantization.float_weights import (
    E4M3,
    E5M2,
    FLOAT_FORMATS,
    PRODUCT_BITS,
)
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.quantization.rounding import largest_weight_sum
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter

ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes: pip install 's5_to_loihi[orbax]'")
TYPES = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}
every_format = pytest.mark.parametrize("form", FLOAT_FORMATS.values(), ids=str)

CASES = [
    FloatCase(precision=Precision(weights="e4m3")),
    FloatCase(precision=Precision(weights="e5m2", activations=12), width=9, states=7),
    FloatCase(
        glu=GluVariant.FULL,
        activation=Activation.GELU_ERF,
        rectified=False,
        conjugate_symmetric=False,
        precision=Precision(weights="e4m3", activations=20),
    ),
    FloatCase(
        glu=GluVariant.HALF2,
        readout=Readout.MEAN,
        sequence_length=6,
        precision=Precision(weights="e5m2", overrides={"*.C": "e4m3", "encoder.weight": 6}),
    ),
    FloatCase(norm="layer", prenorm=False, mixed=True, precision=Precision(weights="e4m3")),
    FloatCase(feed_forward="gated", precision=Precision(weights="e5m2")),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def reference(form, values):
    """Values, float64, as ml_dtypes rounds them; those beyond the largest saturate."""
    largest = np.ldexp(float(form.values[-1]), -form.exponent)
    clipped = np.clip(np.asarray(values, dtype=np.float32), -largest, largest)
    return clipped.astype(TYPES[form.name]).astype(np.float64)


@every_format
def test_the_integers_are_the_finite_values(form):
    every = np.arange(128, dtype=np.uint8).view(TYPES[form.name]).astype(np.float64)
    finite = every[np.isfinite(every)]
    own = np.ldexp(np.array(form.values, dtype=np.float64), -form.exponent)
    assert_array_equal(own, finite[: len(own)])
    # All of e4m3; of e5m2 the lower 20 of its 30 exponents and all subnormals.
    assert len(own) == {"e4m3": len(finite), "e5m2": 4 * 21}[form.name]


@every_format
def test_rounding_is_that_of_the_reference(form):
    values = np.ldexp(np.array(form.values, dtype=np.float64), -form.exponent)
    middles = (values[1:] + values[:-1]) / 2
    rng = np.random.default_rng(0)
    spread = np.exp2(rng.uniform(-form.exponent - 3, np.log2(values[-1]) + 2, 100_000))
    beside = [np.nextafter(middles.astype(np.float32), np.float32(end)) for end in (0, 1e9)]
    wanted = np.concatenate([values, middles, *beside, spread]).astype(np.float32).astype(float)
    wanted = np.concatenate([wanted, -wanted])
    found = np.ldexp(form.nearest(np.ldexp(wanted, form.exponent)).astype(float), -form.exponent)
    assert_array_equal(found, reference(form, wanted))


@every_format
def test_every_value_is_one_int8_in_one_band(form):
    values = np.array(form.values)
    values = np.concatenate([values, -values])
    bands = form.split(values)
    assert len(bands) == 4
    assert_array_equal(sum((band != 0).astype(int) for band in bands), values != 0)
    assert_array_equal(sum(band << (place * form.bits) for place, band in enumerate(bands)), values)
    for band in bands:
        assert np.abs(band).max() <= limits(8)[1]


@every_format
@pytest.mark.parametrize("factor_bits", [1, 13])
def test_steps_are_powers_of_two_and_sums_fit(form, factor_bits):
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((40, 300)) * np.exp2(rng.uniform(-9, 9, (40, 1)))
    weight *= rng.random((40, 300)) < rng.random((40, 1))
    weight[3] = 0
    most = largest_weight_sum(16)
    integers, steps = round_floats("w", weight, np.eye(150), form, most, factor_bits)
    kept = steps > 0
    assert_array_equal(kept, weight.any(axis=1))
    assert_array_equal(np.frexp(steps[kept])[0], 0.5)
    unit = np.where(kept, steps, 1)[:, None] * 2.0**form.exponent
    assert_array_equal(
        np.ldexp(integers.astype(float), -form.exponent), reference(form, weight / unit)
    )
    for band in form.split(integers):
        assert np.abs(band).reshape(40, 2, -1).sum(axis=2).max() <= most
    # An accumulator times its factor is exact in float64.
    total = np.abs(integers).reshape(40, 2, -1).sum(axis=2).max()
    assert int(total) << (15 + factor_bits) < 1 << (PRODUCT_BITS - 1)


def test_bands_that_no_accumulator_can_hold_are_refused():
    with pytest.raises(CapacityError, match=r"^w: has weights of e4m3 that add up to more than 40"):
        round_floats("w", np.ones((1, 20)), np.eye(20), E4M3, 40, 1)


@every_format
def test_rounding_is_better_than_each_weight_by_itself(form):
    rng = np.random.default_rng(3)
    mixed = rng.standard_normal((400, 5)) @ rng.standard_normal((5, 20))
    mixed += 0.1 * rng.standard_normal((400, 20))
    covariance = np.cov(mixed.T)
    covariance += 3 * np.diag(np.diag(covariance))
    weight = rng.standard_normal((30, 40)) * (rng.random((30, 40)) < 0.8)
    integers, steps = round_floats("w", weight, covariance, form, 1 << 20, 1)
    unit = np.ldexp(steps, form.exponent)[:, None]
    plain = reference(form, weight / unit) * unit
    for first in (0, 20):
        columns = slice(first, first + 20)
        errors = [
            np.einsum("ri,ij,rj->r", off, covariance, off)
            for off in (
                (integers * steps[:, None] - weight)[:, columns],
                (plain - weight)[:, columns],
            )
        ]
        assert (errors[0] <= errors[1] * (1 + 1e-6)).all()
        assert errors[0].sum() < 0.95 * errors[1].sum()
    assert not integers[weight == 0].any()
    # What they become are values of the format still.
    values = np.ldexp(integers.astype(np.float64), -form.exponent)
    assert_array_equal(values, reference(form, values))


def synapse_sums(network, matrix, sent):
    """What the ports of a matrix's parts stand for, from the synapses: (parts, T, N, out)."""
    sums = []
    for part in matrix.parts:
        total = 0
        for place, suffix in enumerate(digit_ports("")):
            for edge in network.synapses:
                if edge.name == part + suffix:
                    band = sent[str(edge.source)] @ edge.weights.toarray().astype(np.int64).T
                    total = total + (band << (place * matrix.digits.bits))
        sums.append(total)
    return sums


@every_case
def test_sums_are_those_of_the_references_weights(case):
    """In float64, with weights that are ml_dtypes' own, times a power of two a row: exactly."""
    result = quantized(case)
    network, compared = result.network, 0
    tokens, _ = to_integers(float_models.calibration(case, 8), network.input_format)
    every = {f"{group.name}.{name}" for group in network.groups for name in group.kind.messages}
    sent = Interpreter(network).evaluate(tokens, keep=every).values | {"input.token": tokens}
    edges = {edge.name: edge for edge in network.synapses}
    for matrix in result.unrounded:
        form = FLOAT_FORMATS.get(matrix.matrix.bits)
        if form is None:
            continue
        for part, sums in zip(matrix.parts, synapse_sums(network, matrix, sent), strict=True):
            total = sum(
                edges[part + suffix].weights.toarray() * 2.0 ** (place * form.bits)
                for place, suffix in enumerate(digit_ports(""))
                if part + suffix in edges
            )
            values = np.ldexp(total, -form.exponent)
            weights = values.astype(TYPES[form.name]).astype(np.float64)
            assert_array_equal(weights, values)
            source = next(
                str(edges[part + suffix].source)
                for suffix in digit_ports("")
                if part + suffix in edges
            )
            wanted = sent[source].astype(np.float64) @ weights.T
            assert_array_equal(np.ldexp(sums.astype(np.float64), -form.exponent), wanted)
            compared += 1
            # No weight is two synapses.
            count = sum(edges[part + s].weights.nnz for s in digit_ports("") if part + s in edges)
            assert count == np.count_nonzero(weights)
    assert compared > 2
    for group in network.groups:
        for name, value, _ in array_constants(group.constants):
            of_matrix = name.endswith("multiplier") and "feedthrough" not in name
            if of_matrix and "layer_norm" not in group.kind.name and not case.precision.overrides:
                assert not (value & (value - 1)).any(), (group.name, name)  # a shift
    for group in network.groups:
        if not group.name.endswith("_statistics"):
            assert max(step.bits for step in program(network, group).steps) <= PRODUCT_BITS


@every_case
def test_the_integers_are_those_of_an_independent_evaluation(case):
    network = quantized(case).network
    usual, _ = to_integers(float_models.calibration(case, 6), network.input_format)
    wild = random_tokens(case.seed, 6, 1, case.token_width)
    wild = np.clip(wild << (network.input_format.bits - 16), *limits(network.input_format.bits))
    tokens = np.concatenate([usual[:, :1], wild], axis=1)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    for sequence in range(2):
        expected = big_integer_network.evaluate(network, tokens[:, sequence])
        for name, wanted in expected.items():
            assert_array_equal(values[name][:, sequence], wanted, err_msg=name)


def test_the_fast_simulator_computes_the_same():
    case = replace(CASES[0], blocks=1)
    network = quantized(case).network
    tokens, _ = to_integers(float_models.calibration(case, 20), network.input_format)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    run = FastSimulator(network).run(tokens.astype(np.int32), record=True)
    assert_array_equal(run.outputs, expected.outputs)
    for name in set(run.messages) - {"input.token"}:
        assert_array_equal(run.messages[name], expected.values[name], err_msg=name)


@pytest.mark.parametrize("form", [E4M3, E5M2], ids=str)
def test_weights_that_are_of_the_format_stay_as_they_are(form):
    """Every finite value, in rows with powers of two of their own."""
    case = FloatCase(width=6, features_in=len(form.values), blocks=1)
    model, rng = random_model(case), np.random.default_rng(2)
    values = np.ldexp(np.array(form.values, dtype=np.float64), -form.exponent)
    rows = [np.ldexp(rng.permutation(values), power) for power in (-9, -3, 0, 1, 5, 12)]
    weight = np.array(rows) * rng.choice([-1, 1], (6, len(values)))
    model = replace(model, encoder=replace(model.encoder, weight=weight))
    data = float_models.calibration(case, 40)
    result = quantize_model(model, data, Precision(weights=form.name, inputs=16))
    matrix = next(one for one in result.unrounded if one.matrix.name == "encoder.weight")
    assert_array_equal(matrix.weights, form.nearest(matrix.weights))
    total = np.zeros(weight.shape)
    for edge in result.network.synapses:
        if edge.name.startswith("encoder.weight"):
            place = digit_ports("encoder.weight").index(edge.name)
            total += edge.weights.toarray().astype(np.int64) << (place * form.bits)
    shared = np.abs(weight).max(axis=1) / np.abs(total).max(axis=1)
    assert_array_equal(total * shared[:, None], weight)
    assert_array_equal(np.frexp(shared)[0], 0.5)


@pytest.mark.parametrize("name", ["e4m4", "fp8", "", "E4M3"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="allowed 2 to 16 for weights, or e4m3, e5m2"):
        Precision(weights=name)
    with pytest.raises(InputError, match="activation bits: is given 'e4m3' bits"):
        Precision(activations="e4m3")
