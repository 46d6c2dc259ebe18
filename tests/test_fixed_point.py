"""The arithmetic contract against exact fractions: every primitive, on any shape, at the limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.testing import assert_array_equal

from s5_to_loihi import fixed_point
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import SIGMOID_FORMAT, SIGMOID_INPUT_EXPONENT, SIGMOID_KNOTS, Format

# The widest left shift below, 38 bits, keeps the widest operand, 24 bits, within int64.
EXPONENTS = st.integers(-15, 23)
FORMATS = st.builds(Format, st.integers(2, 24), EXPONENTS)
SHAPES = numpy_strategies.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


# The contract in exact numbers


def real(integer: int, exponent: int) -> Fraction:
    """What an integer of this exponent stands for."""
    return integer * Fraction(2) ** -exponent


def floored(value: Fraction, exponent: int) -> int:
    """The largest integer of this exponent that stands for at most the value."""
    return math.floor(value * Fraction(2) ** exponent)


def clipped(integer: int, bits: int) -> int:
    return sorted((-(2 ** (bits - 1)), integer, 2 ** (bits - 1) - 1))[1]


def converted(integer: int, source: Format, target: Format) -> int:
    if source.exponent != target.exponent:
        integer = clipped(floored(real(integer, source.exponent), target.exponent), source.bits)
    return clipped(integer, target.bits) if target.bits < source.bits else integer


def aligned(integer: int, source: Format, exponent: int) -> int:
    return converted(integer, source, Format(source.bits, exponent))


def interpolated(value: int, exponent: int) -> int:
    """The sigmoid between its values at 0, 1, ..., 7, whose last segment repeats beyond 7."""
    knots = [round(2**14 / (1 + math.exp(-k))) - 2**13 for k in range(8)]
    whole, fraction = divmod(Fraction(abs(value), 2**exponent), 1)
    segment = min(whole, 6)
    half = math.floor((1 - fraction) * knots[segment]) + math.floor(fraction * knots[segment + 1])
    return 2**13 + (half if value > 0 else -half)


# Operands


def integers_up_to(lowest: int, highest: int) -> st.SearchStrategy:
    """Integers in the range, often at its ends and around zero."""
    corners = {lowest, lowest + 1, -1, 0, 1, highest - 1, highest}
    inside = sorted(one for one in corners if lowest <= one <= highest)
    return st.integers(lowest, highest) | st.sampled_from(inside)


def integers_of(bits: int) -> st.SearchStrategy:
    return integers_up_to(*fixed_point.limits(bits))


def arrays(data, *elements: st.SearchStrategy) -> list[np.ndarray]:
    """One int64 array for each kind of elements, all of one shape."""
    shape = data.draw(SHAPES, label="shape")
    return [data.draw(numpy_strategies.arrays(np.int64, shape, elements=one)) for one in elements]


def assert_each(function, reference, *operands: np.ndarray) -> None:
    """The function agrees with the reference on whole arrays and on each element as a scalar."""
    elements = list(zip(*(operand.ravel() for operand in operands), strict=True))
    expected = [reference(*map(int, one)) for one in elements]
    results = function(*operands)
    assert np.shape(results) == operands[0].shape
    assert np.asarray(results).dtype == np.int64
    assert_array_equal(np.ravel(results), np.array(expected, dtype=np.int64))
    for one, wanted in zip(elements, expected, strict=True):
        assert int(function(*one)) == wanted
        assert int(function(*map(int, one))) == wanted


# Primitives


def test_format_and_limits():
    assert str(Format(16, 12)) == "int16·2^-12"
    assert [fixed_point.limits(bits) for bits in (2, 8, 24)] == [
        (-2, 1),
        (-128, 127),
        (-(2**23), 2**23 - 1),
    ]


@given(st.data(), st.integers(2, 62))
def test_saturate(data, bits):
    (values,) = arrays(data, integers_of(64) | integers_of(bits + 1))
    assert_each(
        lambda value: fixed_point.saturate(value, bits),
        lambda value: clipped(value, bits),
        values,
    )


@given(st.data(), st.integers(-63, 47))
def test_shift(data, left):
    (values,) = arrays(data, integers_of(64 - max(left, 0)))
    assert_each(
        lambda value: fixed_point.shift(value, left),
        lambda value: floored(Fraction(value), left),
        values,
    )


@given(st.data(), FORMATS, FORMATS)
def test_convert(data, source, target):
    # One bit more than the source has: doubled and unsaturated values come in, too.
    (values,) = arrays(data, integers_of(source.bits + 1))
    assert_each(
        lambda value: fixed_point.convert(value, source, target),
        lambda value: converted(value, source, target),
        values,
    )


def test_convert_saturates_at_the_old_width_first():
    wider = fixed_point.convert(np.array([-300, 7, 8]), Format(8, 0), Format(16, 4))
    assert_array_equal(wider, [-128, 112, 127])
    assert_array_equal(fixed_point.convert(300, Format(8, 4), Format(16, 4)), 300)
    assert_array_equal(fixed_point.convert(300, Format(9, 4), Format(8, 4)), 127)
    assert_array_equal(fixed_point.convert(-1, Format(8, 4), Format(8, 0)), -1)


@given(st.data(), FORMATS, FORMATS, FORMATS)
def test_add(data, left_format, right_format, result):
    operands = arrays(data, integers_of(left_format.bits), integers_of(right_format.bits))
    assert_each(
        lambda left, right: fixed_point.add(left, left_format, right, right_format, result),
        lambda left, right: clipped(
            aligned(left, left_format, result.exponent)
            + aligned(right, right_format, result.exponent),
            result.bits,
        ),
        *operands,
    )


@given(st.data(), FORMATS, FORMATS, FORMATS)
def test_add_widened(data, left_format, right_format, result):
    finest = max(left_format.exponent, right_format.exponent)
    operands = arrays(data, integers_of(left_format.bits), integers_of(right_format.bits))

    def reference(left, right):
        total = aligned(left, left_format, finest) + aligned(right, right_format, finest)
        return clipped(floored(real(total, finest), result.exponent), result.bits)

    assert_each(
        lambda left, right: fixed_point.add_widened(left, left_format, right, right_format, result),
        reference,
        *operands,
    )


@given(st.data(), FORMATS, FORMATS, FORMATS)
def test_add_widened_is_one_floor_of_the_exact_sum(data, left_format, right_format, result):
    """As long as no operand is clipped while it is aligned."""
    finest = max(left_format.exponent, right_format.exponent)
    left, right = (
        data.draw(integers_up_to(-(2 ** (one.bits - 1) >> rise), (2 ** (one.bits - 1) - 1) >> rise))
        for one in (left_format, right_format)
        for rise in [finest - one.exponent]
    )
    exact = real(left, left_format.exponent) + real(right, right_format.exponent)
    got = fixed_point.add_widened(left, left_format, right, right_format, result)
    assert int(got) == clipped(floored(exact, result.exponent), result.bits)


def test_operands_broadcast():
    hidden = np.arange(-12, 12).reshape(4, 2, 3)
    bias = np.array([100, -100, 0])
    formats = (Format(16, 3), bias, Format(16, 1), Format(8, 2))
    for function in (fixed_point.add, fixed_point.add_widened):
        assert_array_equal(
            function(hidden, *formats),
            function(hidden, formats[0], np.broadcast_to(bias, hidden.shape), *formats[2:]),
        )


@given(st.data(), st.integers(2, 32), st.integers(2, 32), st.integers(0, 63), st.integers(2, 32))
def test_multiply(data, left_bits, right_bits, right_shift, bits):
    operands = arrays(data, integers_of(left_bits), integers_of(right_bits))
    assert_each(
        lambda left, right: fixed_point.multiply(left, right, right_shift, bits),
        lambda left, right: clipped(floored(real(left * right, right_shift), 0), bits),
        *operands,
    )


@given(st.data())
def test_rectify(data):
    (values,) = arrays(data, integers_of(64))
    assert_each(fixed_point.rectify, lambda value: max(value, 0), values)


@given(st.data())
def test_rectify_complex_keeps_what_is_above_zero_in_order(data):
    operands = arrays(data, *[integers_of(24) | st.integers(-1, 1)] * 2)
    for part in (0, 1):
        assert_each(
            lambda re, im, part=part: fixed_point.rectify_complex(re, im)[part],
            lambda re, im, part=part: max((re, im), (0, 0))[part],
            *operands,
        )


def test_rectify_complex_is_no_relu_of_each_part():
    real_part, imaginary = fixed_point.rectify_complex(
        np.array([1, -1, 0, 0, 0]), np.array([-2, 5, 3, -3, 0])
    )
    assert_array_equal(real_part, [1, 0, 0, 0, 0])
    assert_array_equal(imaginary, [-2, 0, 3, 0, 0])


# Sigmoid


@given(st.data(), st.integers(0, SIGMOID_INPUT_EXPONENT))
def test_sigmoid(data, exponent):
    around_seven = st.integers(-(8 << exponent), 8 << exponent)
    (values,) = arrays(data, integers_of(24) | integers_of(16) | around_seven)
    assert_each(
        lambda value: fixed_point.sigmoid(value, exponent),
        lambda value: interpolated(value, exponent),
        values,
    )


@pytest.mark.parametrize("exponent", range(SIGMOID_INPUT_EXPONENT + 1))
def test_sigmoid_is_close_to_the_real_one(exponent):
    values = np.arange(-(2**15), 2**15)
    reals = fixed_point.to_floats(values, Format(16, exponent))
    got = fixed_point.to_floats(fixed_point.sigmoid(values, exponent), SIGMOID_FORMAT)
    error = np.abs(got - 0.5 * (1 + np.tanh(reals / 2)))
    distance = np.abs(reals)
    # A chord is off by up to max|sigmoid''| / 8 = 0.01203; the floors cost 2 of 2**-14.
    assert error[distance < 7].max() <= 0.01203 + 2 * 2.0**-14
    assert error[distance == 7].max() <= 0.0016
    # The last segment repeats, so beyond 7 it falls back to sigmoid(6) = 0.9975 at every integer.
    assert error[distance > 7].max() <= 0.0026
    if exponent:
        assert error[distance < 7].max() > 0.0116, "the bound is far from what happens"
    assert error[distance > 7].max() > 0.0025, "the bound is far from what happens"


@pytest.mark.parametrize("exponent", range(SIGMOID_INPUT_EXPONENT + 1))
def test_sigmoid_is_symmetric_and_all_but_rises_up_to_seven(exponent):
    values = np.arange(-(2**15) + 1, 2**15)
    results = fixed_point.sigmoid(values, exponent)
    assert_array_equal(results + results[::-1], np.full(values.shape, 2**14))
    # The two terms are floored separately, so that one step down by the last bit is possible.
    assert np.diff(results[np.abs(values) < 7 << exponent]).min() >= -1
    assert results.min() > 0
    assert results.max() < 2**14


def test_the_knots_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        SIGMOID_KNOTS[0] = 1


# From floats and back


def floats_between(lowest: float, highest: float) -> st.SearchStrategy:
    """Far enough from zero that scaling by a power of two is exact."""
    return st.floats(lowest, highest).filter(lambda value: value == 0 or abs(value) > 1e-290)


@given(st.data(), st.integers(2, 53), st.integers(-30, 60))
def test_to_integers(data, bits, exponent):
    target = Format(bits, exponent)
    lowest, highest = (math.ldexp(limit, -exponent) for limit in fixed_point.limits(bits))
    around_the_limits = floats_between(1.5 * lowest, 1.5 * highest)
    elements = around_the_limits | floats_between(-1e280, 1e280)
    values = data.draw(numpy_strategies.arrays(np.float64, SHAPES, elements=elements))
    exact = [floored(Fraction(float(value)), exponent) for value in values.ravel()]
    expected = np.array([clipped(one, bits) for one in exact], dtype=np.int64)
    integers, count = fixed_point.to_integers(values, target)
    assert (integers.dtype, integers.shape) == (np.int64, values.shape)
    assert_array_equal(integers.ravel(), expected)
    assert count == sum(clipped(one, bits) != one for one in exact)
    for value, wanted in zip(values.ravel(), expected, strict=True):
        assert int(fixed_point.to_integers(float(value), target)[0]) == wanted


@given(st.data(), st.integers(2, 53), st.integers(-60, 60))
def test_to_floats_is_exact_and_comes_back(data, bits, exponent):
    (integers,) = arrays(data, integers_of(bits))
    source = Format(bits, exponent)
    floats = fixed_point.to_floats(integers, source)
    for integer, value in zip(integers.ravel(), np.ravel(floats), strict=True):
        assert Fraction(float(value)) == real(int(integer), exponent)
    back, count = fixed_point.to_integers(floats, source)
    assert_array_equal(back, integers)
    assert count == 0


def test_infinities_are_clipped_and_counted():
    integers, count = fixed_point.to_integers(np.array([np.inf, -np.inf, 1.0]), Format(16, 4))
    assert_array_equal(integers, [2**15 - 1, -(2**15), 16])
    assert count == 2


@given(st.data())
def test_nan_is_refused(data):
    values = data.draw(numpy_strategies.arrays(np.float64, (2, 3), elements=st.floats(width=16)))
    values[data.draw(st.integers(0, 1)), data.draw(st.integers(0, 2))] = np.nan
    with pytest.raises(InputError, match=f"{np.count_nonzero(np.isnan(values))} NaN"):
        fixed_point.to_integers(values, Format(16, 4))
