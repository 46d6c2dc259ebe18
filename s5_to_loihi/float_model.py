"""What an S5 checkpoint means, independent of the framework that trained it, and its evaluation.

All classes are immutable; arrays are float64 or complex128. T: tokens, N: sequences, F: features of
a token, H: width of a block, P: complex states of a block (one of each conjugate pair if the model
is conjugate-symmetric).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.special import erf, expit

from s5_to_loihi.network.network import Readout


class GluVariant(str, Enum):
    """The gated linear unit of a block; y is the SSM's output, a = relu(y).

    Examples:
        >>> s5.load("model").model.blocks[0].glu
        <GluVariant.HALF1: 'half1'>
    """

    HALF1 = "half1"  #: a * sigmoid(W2 a + b2)
    HALF2 = "half2"  #: y * sigmoid(W2 a + b2)
    FULL = "full"  #: (W1 a + b1) * sigmoid(W2 a + b2)
    NONE = "none"  #: a


class Activation(str, Enum):
    """The non-linearity after the state-space model."""

    RELU = "relu"
    GELU_TANH = "gelu_tanh"  #: GELU by the tangent formula: the default of Flax
    GELU_ERF = "gelu_erf"  #: GELU by the error function: the default of PyTorch
    SILU = "silu"  #: y * sigmoid(y), also called swish
    TANH = "tanh"
    LEAKY_RELU = "leaky_relu"  #: y, or ``LEAKY_SLOPE`` times y where that is below zero


#: The slope of a leaky ReLU below zero: the default of PyTorch and of jax.
LEAKY_SLOPE = 0.01


class Discretization(str, Enum):
    """How the continuous state-space model becomes a recurrence."""

    ZERO_ORDER_HOLD = "zoh"
    BILINEAR = "bilinear"
    DIRAC = "dirac"  #: inputs are impulses, or B is that of the recurrence already


@dataclass(frozen=True, eq=False)
class Affine:
    """``weight @ x + bias``: weight (out, in), bias (out,)."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias``, each (H,)."""

    mean: np.ndarray
    variance: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    epsilon: float = 1e-5


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Like batch norm, with mean and variance of each token's own features.

    With ``centred`` false it is RMS norm: the mean is taken as zero.
    """

    scale: np.ndarray
    bias: np.ndarray
    epsilon: float = 1e-5
    centred: bool = True


@dataclass(frozen=True, eq=False)
class StateSpaceModel:
    """The continuous, diagonal state-space model of a block.

    Attributes:
        eigenvalues: (P,) complex, real parts below zero.
        step: (P,) the time step, positive.
        b: (P, H) complex; pruned entries are exactly zero in each part.
        c: (O, P) complex, pruned likewise; O is H unless ``d`` is a matrix.
        d: (H,), or (O, H) where the model has another width O behind it than before it.
        discretization: see there.
        conjugate_symmetric: True if the other half of the conjugate pairs is implied: the real
            part of C x counts twice.
        bidirectional_c: (O, P) complex of the states of the reversed sequence, or None.
    """

    eigenvalues: np.ndarray
    step: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    discretization: Discretization
    conjugate_symmetric: bool
    bidirectional_c: np.ndarray | None = None

    def discretized(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(a, gain)``, both (P,) complex: ``x[t] = a x[t-1] + gain * (B u[t])``.

        Zero-order hold: ``a = exp(eigenvalue step)``, ``gain = (a - 1) / eigenvalue``. Bilinear:
        ``a = (1 + h) / (1 - h)``, ``gain = step / (1 - h)`` with ``h = eigenvalue step / 2``.
        (Smith et al., "Simplified State Space Layers", arXiv 2208.04933, appendix.) Dirac:
        ``a = exp(eigenvalue step)``, ``gain = 1`` (Schoene et al., "Scalable Event-by-event
        Processing of Neuromorphic Sensory Signals", arXiv 2404.18508).
        """
        if self.discretization is Discretization.ZERO_ORDER_HOLD:
            exponent = self.eigenvalues * self.step
            # expm1 keeps the gain exact where a is close to 1.
            return np.exp(exponent), np.expm1(exponent) / self.eigenvalues
        if self.discretization is Discretization.DIRAC:
            return np.exp(self.eigenvalues * self.step), np.ones_like(self.eigenvalues)
        half = self.eigenvalues * self.step / 2
        return (1 + half) / (1 - half), self.step / (1 - half)


@dataclass(frozen=True, eq=False)
class S5Block:
    """A block: ``hidden + glu(activation(ssm(norm(hidden))))``.

    Attributes:
        norm: before the state-space model (``prenorm``), or after the residual addition.
        ssm: the state-space model.
        activation: the non-linearity after it.
        glu: the gated linear unit's variant.
        value: W1 and b1, for GLU ``full`` only.
        gate: W2 and b2; None for GLU ``none``.
        prenorm: where the norm is.
        rectified: True if the complex states (lexicographically) and the block's result are
            rectified.
        skip: the map of the residual, where the block has another width behind it than before it.
    """

    norm: BatchNorm | LayerNorm
    ssm: StateSpaceModel
    activation: Activation
    glu: GluVariant
    value: Affine | None
    gate: Affine | None
    prenorm: bool = True
    rectified: bool = False
    skip: Affine | None = None


@dataclass(frozen=True, eq=False)
class FeedForwardBlock:
    """A block of i404788/s5-pytorch: S5 and a (gated) feed-forward map, each after a layer norm.

    ``n = norm(x)``, ``h = gelu(ssm(n)) + n``, ``m = feed_forward_norm(h)``,
    result ``decode(geglu(expand(m))) + m``.

    Attributes:
        norm, feed_forward_norm: the layer norms.
        ssm: the state-space model.
        expand: (K or 2K, H); decode: (H, K).
        gated: True if the expansion is split into value and gate: ``gelu(gate) * value``;
            otherwise there is no non-linearity between the two maps.
    """

    norm: LayerNorm
    ssm: StateSpaceModel
    feed_forward_norm: LayerNorm
    expand: np.ndarray
    decode: np.ndarray
    gated: bool


@dataclass(frozen=True, eq=False)
class S5Model:
    """A complete model in floats.

    Attributes:
        name: what the user calls it.
        encoder: the map before the blocks; None if tokens enter the first block as they are.
        rectified_encoder: True if a ReLU follows the encoder.
        blocks: in order.
        decoder: the map after the blocks; None if there is none.
        readout: what the output stands for.
    """

    name: str
    encoder: Affine | None
    rectified_encoder: bool
    blocks: tuple[S5Block | FeedForwardBlock, ...]
    decoder: Affine | None
    readout: Readout = Readout.EACH_TOKEN


#: Is called with the name of a value and the value.
Observer = Callable[[str, np.ndarray], None]


# --- evaluation ----------------------------------------------------------------------------------


def rectify_complex(values: np.ndarray) -> np.ndarray:
    """Keep complex numbers lexicographically above zero, else 0 (see ``fixed_point``)."""
    keep = (values.real > 0) | ((values.real == 0) & (values.imag > 0))
    return np.where(keep, values, 0)


def activate(values: np.ndarray, activation: Activation) -> np.ndarray:
    """Apply a non-linearity to floats of any shape."""
    if activation is Activation.RELU:
        return np.maximum(values, 0)
    if activation is Activation.GELU_ERF:
        return values * (0.5 + 0.5 * erf(values / np.sqrt(2)))
    if activation is Activation.SILU:
        return values * expit(values)
    if activation is Activation.TANH:
        return np.tanh(values)
    if activation is Activation.LEAKY_RELU:
        return np.where(values > 0, values, LEAKY_SLOPE * values)
    inner = np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)
    return 0.5 * values * (1 + np.tanh(inner))


def standardise(values: np.ndarray, norm: BatchNorm | LayerNorm) -> np.ndarray:
    """Apply a norm without its scale and its bias to the last axis of floats."""
    if isinstance(norm, BatchNorm):
        return (values - norm.mean) / np.sqrt(norm.variance + norm.epsilon)
    centred = values - values.mean(-1, keepdims=True) if norm.centred else values
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.epsilon)


def normalise(values: np.ndarray, norm: BatchNorm | LayerNorm) -> np.ndarray:
    """Apply a norm to the last axis of floats."""
    return standardise(values, norm) * norm.scale + norm.bias


def recur(a: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """Return ``x[t] = a x[t-1] + drive[t]`` from zero; drive (T, N, P) complex."""
    states = np.empty_like(drive)
    state = np.zeros_like(drive[0])
    for token in range(len(drive)):
        state = a * state + drive[token]
        states[token] = state
    return states


def evaluate(
    model: S5Model,
    tokens: np.ndarray,
    observe: Observer = lambda name, values: None,
) -> np.ndarray:
    """Evaluate a model from a zero state.

    Args:
        model: any.
        tokens: (T, N, F) floats.
        observe: called with the name of every value in between and the value (T, N, ...):
            ``encoder.affine``, ``block0.hidden`` (what enters the block), ``block0.normalised``
            (of a layer norm before the state-space model, without scale and bias), ``block0.u``,
            ``block0.drive`` (B u, before the gain), ``block0.x``, ``block0.g``,
            ``block0.through`` (D u), ``block0.y``,
            ``block0.activation``, ``block0.value``, ``block0.gate`` (before the sigmoid or the
            GELU), ``block0.product``, ``block0.residual`` (of a block with a map for
            it), ``block0.sum`` (with the residual), ``block0.total`` (that
            after a norm, before a ReLU); of a ``FeedForwardBlock`` also ``block0.middle`` (after
            its second norm), and ``block0.sum`` is before that; ``decoder.hidden`` (of every
            token), ``decoder.input`` (after the readout).

    Returns:
        (T, N, outputs) floats; with a readout other than ``each_token``, (1, N, outputs).
    """
    hidden = np.asarray(tokens, dtype=np.float64)
    if model.encoder is not None:
        hidden = _affine(hidden, model.encoder)
        observe("encoder.affine", hidden)
        if model.rectified_encoder:
            hidden = np.maximum(hidden, 0)
    for index, block in enumerate(model.blocks):
        observe_block = _prefixed(observe, f"block{index}.")
        if isinstance(block, FeedForwardBlock):
            hidden = _feed_forward_block(block, hidden, observe_block)
        else:
            hidden = _s5_block(block, hidden, observe_block)
    observe("decoder.hidden", hidden)
    if model.readout is Readout.LAST:
        hidden = hidden[-1:]
    elif model.readout is Readout.MEAN:
        hidden = hidden.mean(axis=0, keepdims=True)
    observe("decoder.input", hidden)
    if model.decoder is None:
        return hidden
    return _affine(hidden, model.decoder)


def _affine(values: np.ndarray, map_: Affine) -> np.ndarray:
    return _times(values, map_.weight) + map_.bias


def _times(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply values (..., in) by a real matrix (out, in), at once.

    Of values with more axes numpy makes a product each, of tokens one by one.
    """
    flat = values.reshape(-1, values.shape[-1])
    product = np.ascontiguousarray(flat) @ np.ascontiguousarray(matrix).T
    return product.reshape(*values.shape[:-1], len(matrix))


def _prefixed(observe: Observer, prefix: str) -> Observer:
    return lambda name, values: observe(prefix + name, values)


def _state_space(
    ssm: StateSpaceModel, u: np.ndarray, rectified: bool, observe: Observer
) -> np.ndarray:
    a, gain = ssm.discretized()
    observe("u", u)
    # In real products: half of a complex one with real numbers would be with zero.
    drive = _times(u, ssm.b.real) + 1j * _times(u, ssm.b.imag)
    observe("drive", drive)
    x = recur(a, drive * gain)
    observe("x", x)
    g = rectify_complex(x) if rectified else x
    observe("g", g)
    projection = _times(g.real, ssm.c.real) - _times(g.imag, ssm.c.imag)
    if ssm.bidirectional_c is not None:
        backward = recur(a, (drive * gain)[::-1])[::-1]
        back = ssm.bidirectional_c
        projection = projection + _times(backward.real, back.real)
        projection = projection - _times(backward.imag, back.imag)
    through = ssm.d * u if ssm.d.ndim == 1 else _times(u, ssm.d)
    observe("through", through)
    y = projection * (2 if ssm.conjugate_symmetric else 1) + through
    observe("y", y)
    return y


def _s5_block(block: S5Block, hidden: np.ndarray, observe: Observer) -> np.ndarray:
    observe("hidden", hidden)
    u = _normalised(hidden, block.norm, observe) if block.prenorm else hidden
    y = _state_space(block.ssm, u, block.rectified, observe)
    activation = activate(y, block.activation)
    observe("activation", activation)
    if block.gate is None:
        product = activation
    else:
        value = y if block.glu is GluVariant.HALF2 else activation
        if block.value is not None:
            value = _affine(activation, block.value)
        observe("value", value)
        gate = _affine(activation, block.gate)
        observe("gate", gate)
        product = value * expit(gate)
    observe("product", product)
    residual = hidden
    if block.skip is not None:
        residual = _affine(hidden, block.skip)
        observe("residual", residual)
    total = product + residual
    observe("sum", total)
    if not block.prenorm:
        total = normalise(total, block.norm)
    observe("total", total)
    return np.maximum(total, 0) if block.rectified else total


def _feed_forward_block(
    block: FeedForwardBlock, hidden: np.ndarray, observe: Observer
) -> np.ndarray:
    observe("hidden", hidden)
    u = _normalised(hidden, block.norm, observe)
    y = _state_space(block.ssm, u, False, observe)
    activation = activate(y, Activation.GELU_ERF)
    observe("activation", activation)
    observe("sum", activation + u)
    middle = normalise(activation + u, block.feed_forward_norm)
    observe("middle", middle)
    expanded = _times(middle, block.expand)
    if block.gated:
        value, gate = np.split(expanded, 2, axis=-1)
        observe("value", value)
        observe("gate", gate)
        expanded = activate(gate, Activation.GELU_ERF) * value
    observe("product", expanded)
    total = _times(expanded, block.decode) + middle
    observe("total", total)
    return total


def _normalised(hidden: np.ndarray, norm: BatchNorm | LayerNorm, observe: Observer) -> np.ndarray:
    if isinstance(norm, BatchNorm):
        return normalise(hidden, norm)
    standard = standardise(hidden, norm)
    observe("normalised", standard)
    return standard * norm.scale + norm.bias


def captured(model: S5Model, tokens: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return every value in between by name, and the result as ``output`` (see ``evaluate``)."""
    values: dict[str, np.ndarray] = {}
    values["output"] = evaluate(model, tokens, values.__setitem__)
    return values
