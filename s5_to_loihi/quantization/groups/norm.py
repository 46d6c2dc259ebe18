"""STATISTICS and LAYER_NORM: layer norm and RMS norm of what a group sends; and a norm of a sum.

A batch norm after the residual addition is a SCALED_DENSE whose synapses hand on what they get.
"""

from __future__ import annotations

import math

import numpy as np

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import BatchNorm, LayerNorm
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons.inverse_root import (
    ERROR,
    MANTISSA_EXPONENT,
    RADICAND_BITS,
    TABLE,
)
from s5_to_loihi.network.neurons.layer_norm import (
    LARGEST_EXPONENT,
    LAYER_NORM,
    MOST_NEURONS,
    STATISTICS,
    LayerNormConstants,
    StatisticsConstants,
)
from s5_to_loihi.network.neurons.squares import SQUARES
from s5_to_loihi.network.widths import MESSAGE_BITS, STATE_BITS
from s5_to_loihi.quantization.bounds import norm_bound
from s5_to_loihi.quantization.draft import (
    AnyReader,
    Draft,
    Message,
    TensorScale,
    affordable_bits,
)
from s5_to_loihi.quantization.formats import (
    covering_exponents,
    limited,
    multipliers,
    within,
)
from s5_to_loihi.quantization.groups.dense import add_affine, affine_constants
from s5_to_loihi.quantization.rounding import Digits, RoundedRows

#: Bits of the mean beyond those of what it is a mean of, at most.
CENTRING_BITS = 8
#: Bits of the reciprocal of the number of neurons.
RECIPROCAL_BITS = 30
#: The mantissa goes up to 1.
MANTISSA = Format(MANTISSA_EXPONENT + 2, MANTISSA_EXPONENT)
EXPONENT = Format(LARGEST_EXPONENT.bit_length() + 1, 0)
#: What rounding may add to the bound of a normalised value and of what it becomes, relative to it.
BOUND_MARGIN = 2.0**-10


def add_layer_norm(
    draft: Draft,
    block: str,
    place: str,
    norm: LayerNorm,
    source: Message,
    reference: str,
    reader: AnyReader,
    rectified: bool = False,
) -> Message:
    """Add the two groups of a layer norm, or of an RMS norm, and its scale and bias.

    The range of what they send is proven: no token whatever makes it saturate.

    Args:
        draft: the network so far.
        block: its name in it.
        place: of the norm: the groups are called ``block.place`` and ``block.place_statistics``.
        norm: with the scale and the bias that are not folded into what reads it.
        source: what is normalised; it has one format, and sends its squares.
        reference: the result's name in ``float_model.evaluate``.
        reader: what reads the result.
        rectified: whether a ReLU follows.
    """
    name, neurons = f"{block}.{place}", source.integers.shape[-1]
    centring, mean = _mean_format(source)
    epsilon = _epsilon(norm, neurons, source.format)
    power = neurons.bit_length() - 1
    # The least right shift is that of the smallest radicand, epsilon alone.
    doublings = (RADICAND_BITS - epsilon.bit_length()) // 2
    offset = centring + MANTISSA_EXPONENT + RADICAND_BITS // 2 - 1 - power
    bound = norm_bound(neurons, norm.centred, centring, epsilon) * (1 + BOUND_MARGIN)
    fraction = min(offset - doublings, STATE_BITS - 1 - max(0, math.ceil(math.log2(bound))))
    normalised = Format(STATE_BITS, fraction)
    statistics = _add_statistics(
        draft, f"{name}_statistics", norm, source, epsilon, mean, offset - fraction
    )
    constants, exponents = _constants(draft, name, norm, bound, reader, rectified, normalised)
    constants = constants._replace(centring=centring)
    builder = draft.builder
    builder.hand_on(f"{name}.hidden", source.endpoint, Endpoint(name, "hidden"))
    for message in statistics:
        port = Endpoint(name, message.endpoint.name)
        if norm.centred or port.name != "mean":
            ones = np.ones((neurons, 1), dtype=np.int8)
            builder.connect(f"{name}.{port.name}", message.endpoint, port, ones)
    draft.notes.append(
        f"{name}: {'layer' if norm.centred else 'RMS'} norm, inverse root by"
        f" {len(TABLE.knots) - 1} segments, off by at most {ERROR:.2g} of itself"
    )
    formats = {"u": constants.u, "total": constants.u}
    formats |= {"centred": Format(mean.bits + 1, mean.exponent), "normalised": normalised}
    draft.scales.append(TensorScale(f"{name}.total", reference, exponents))
    sources = (source, *statistics)
    return draft.add(name, LAYER_NORM, constants, formats, sources, exponents, rectified, reader)[0]


def _mean_format(source: Message) -> tuple[int, Format]:
    centring = min(CENTRING_BITS, MESSAGE_BITS - source.format.bits)
    return centring, Format(source.format.bits + centring, source.format.exponent + centring)


def _epsilon(norm: LayerNorm, neurons: int, source: Format) -> int:
    """Return epsilon in the unit of the radicand; at least 1, so that nothing divides by zero."""
    return max(1, round(math.ldexp(norm.epsilon * neurons**2, 2 * source.exponent)))


def _add_statistics(
    draft: Draft,
    group: str,
    norm: LayerNorm,
    source: Message,
    epsilon: int,
    mean: Format,
    exponent: int,
) -> tuple[Message, ...]:
    neurons = source.integers.shape[-1]
    if neurons > MOST_NEURONS:
        raise CapacityError(
            group,
            f"adds up {neurons:,} neurons (limit {MOST_NEURONS:,})",
            "Train a narrower model, or one with batch norm",
        )
    centring = mean.exponent - source.format.exponent
    # The reciprocal has its top bit set: 2**29 <= it <= 2**30.
    reciprocal_shift = RECIPROCAL_BITS - 1 + (neurons - 1).bit_length() - centring
    constants = StatisticsConstants(
        neurons=neurons,
        epsilon=epsilon,
        reciprocal=_rounded_quotient(1 << (reciprocal_shift + centring), neurons),
        reciprocal_shift=reciprocal_shift,
        exponent=exponent,
        mean=mean,
    )
    ones = np.ones((1, neurons), dtype=np.int8)
    if norm.centred:
        draft.builder.connect(f"{group}.sum", source.endpoint, Endpoint(group, "sum"), ones)
    for digit, port in zip(source.squares, SQUARES, strict=True):
        draft.builder.connect(f"{group}.{port}", digit.endpoint, Endpoint(group, port), ones)
    formats = {"mean": mean, "mantissa": MANTISSA, "exponent": EXPONENT}
    arriving = (source, *source.squares)
    return draft.add(group, STATISTICS, constants, formats, arriving, np.zeros(1, dtype=np.int64))


def _rounded_quotient(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor)


def _constants(
    draft: Draft,
    name: str,
    norm: LayerNorm,
    bound: float,
    reader: AnyReader,
    rectified: bool,
    normalised: Format,
) -> tuple[LayerNormConstants, np.ndarray]:
    """Return the constants, all but one, and the fractional bits of each neuron's u."""
    bits = draft.precision.bits("activation", f"{name}")
    bits = affordable_bits(name, bits, [reader], draft.precision, draft.notes)
    neurons = len(norm.scale)
    exponents = covering_exponents(np.abs(norm.scale) * bound + np.abs(norm.bias), bits)
    left_over = norm.scale * neurons * 2.0 ** (1 - neurons.bit_length() - normalised.exponent)
    extra = draft.fine_bits(bits)
    exponents = reader.settle(limited(exponents, extra, norm.bias, left_over))
    u = Format(bits, int(exponents.min()))
    fine = Format(STATE_BITS, u.exponent + extra)
    scale = np.exp2(exponents + extra)
    multiplier, shift = multipliers(left_over * scale, f"{name} scale")
    half = ((1 << extra) >> 1) + 1 / 2
    constants = LayerNormConstants(
        centring=0,
        normalised=normalised,
        multiplier=multiplier,
        multiplier_shift=shift,
        bias=within(np.rint(norm.bias * scale + half), fine, f"{name} bias"),
        fine=fine,
        rounding_shift=extra,
        u=u,
        rectified=int(rectified),
    )
    return constants, exponents


def add_batch_norm(
    draft: Draft,
    block: str,
    norm: BatchNorm,
    source: Message,
    rectified: bool,
    reader: AnyReader,
) -> Message:
    """Add the group of a batch norm after the residual addition."""
    name, values = f"{block}.norm", draft.floats[f"{block}.total"]
    kept = np.maximum(values, 0) if rectified else values
    bits, finest = draft.message_format(name, kept, [reader])
    factor = norm.scale / np.sqrt(norm.variance + norm.epsilon)
    neurons = len(factor)
    rows = RoundedRows(
        np.sign(factor).astype(np.int64) * np.eye(neurons, dtype=np.int64),
        np.abs(factor) * source.steps,
        Digits(1, 8),
    )
    signs = np.diag(rows.integers).copy()
    bias = values.mean(axis=(0, 1)) - rows.steps * signs * source.integers.mean(axis=(0, 1))
    extra = draft.fine_bits(bits)
    exponents = reader.settle(limited(finest, extra, bias, rows.steps))
    affine = affine_constants(name, rows, bias, bits, extra, exponents)
    draft.builder.connect(
        f"{name}.sum", source.endpoint, Endpoint(name, "weighted"), np.diag(signs)
    )
    draft.scales.append(TensorScale(f"{name}.affine", f"{block}.total", exponents))
    return add_affine(draft, name, affine, source, exponents, rectified, reader)
