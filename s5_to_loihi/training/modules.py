"""The float model as PyTorch modules, which compute what ``float_model.evaluate`` computes.

A module is made from an ``S5Model`` and gives one back; what its words mean is in
``float_model.py``. Weights that pruning may empty are ``Weight``: a mask hides them in the forward
pass and lets their gradients through, so that one that was pruned may come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    LEAKY_SLOPE,
    Activation,
    Affine,
    BatchNorm,
    Discretization,
    FeedForwardBlock,
    GluVariant,
    LayerNorm,
    S5Block,
    S5Model,
    StateSpaceModel,
)
from s5_to_loihi.network.network import Readout
from s5_to_loihi.training import devices
from s5_to_loihi.training.scan import scan

#: The least decay of a state, as training clips it (see docs/checkpoints.md).
LEAST_DECAY = 1e-4
#: How much of batch norm's statistics a batch replaces.
MOMENTUM = 0.1


class Weight(nn.Module):
    """A matrix with a mask.

    Attributes:
        value: the weights; complex ones have a last axis of two.
        mask: of the same shape: 1 where a weight is there, 0 where it is pruned.
        fixed: whether pruned weights stay pruned: their gradient is zero then.
        hook: quantizes the weights in every pass, as SLAYER's ``pre_hook_fx``; None for none.
    """

    mask: Tensor

    def __init__(self, value: np.ndarray):
        super().__init__()
        if np.iscomplexobj(value):
            value = np.stack([value.real, value.imag], axis=-1)
        self.value = nn.Parameter(torch.tensor(value))
        self.register_buffer("mask", torch.tensor((value != 0).astype(value.dtype)))
        self.fixed = True
        self.hook: Callable[..., Tensor] | None = None

    def forward(self) -> Tensor:
        """Return the weights that are left."""
        kept = self.value * self.mask
        if self.hook is not None:
            kept = self.hook(kept, descale=False)
        return kept if self.fixed else self.value + (kept - self.value).detach()

    def array(self) -> np.ndarray:
        """Return the weights that are left, float64 or complex128."""
        with torch.no_grad():
            kept = _array(self.value * self.mask)
        return kept


class Map(nn.Module):
    """An affine map."""

    def __init__(self, affine: Affine):
        super().__init__()
        self.weight = Weight(affine.weight)
        self.bias = nn.Parameter(torch.tensor(affine.bias))

    def forward(self, values: Tensor) -> Tensor:
        """Return ``weight @ values + bias``."""
        return linear(values, self.weight(), self.bias)

    def affine(self) -> Affine:
        """Return it as arrays."""
        return Affine(self.weight.array(), _array(self.bias))


class StateSpace(nn.Module):
    """The state-space model of a block, with parameters that keep it stable."""

    def __init__(self, ssm: StateSpaceModel):
        super().__init__()
        if ssm.bidirectional_c is not None:
            raise CheckpointError("model", "reads sequences backwards", "Train it unidirectional")
        self.discretization = ssm.discretization
        self.factor = 2 if ssm.conjugate_symmetric else 1
        decay = np.maximum(-ssm.eigenvalues.real, LEAST_DECAY)
        self.log_decay = nn.Parameter(torch.tensor(np.log(decay)))
        self.frequency = nn.Parameter(torch.tensor(ssm.eigenvalues.imag))
        self.log_step = nn.Parameter(torch.tensor(np.log(ssm.step)))
        self.b, self.c = Weight(ssm.b), Weight(ssm.c)
        self.d = nn.Parameter(torch.tensor(ssm.d))

    def discretized(self) -> tuple[Tensor, Tensor]:
        """Return ``(a, gain)``, (P,) complex; computed in float64, where nothing cancels."""
        decay = self.log_decay.double().exp().clamp_min(LEAST_DECAY)
        eigenvalues = torch.complex(-decay, self.frequency.double())
        step = self.log_step.double().exp()
        if self.discretization is Discretization.ZERO_ORDER_HOLD:
            exponent = eigenvalues * step
            a, gain = torch.exp(exponent), torch.expm1(exponent) / eigenvalues
        elif self.discretization is Discretization.DIRAC:
            a, gain = torch.exp(eigenvalues * step), torch.ones_like(eigenvalues)
        else:
            half = eigenvalues * step / 2
            a, gain = (1 + half) / (1 - half), step / (1 - half)
        kind = torch.complex64 if self.d.dtype == torch.float32 else torch.complex128
        return a.to(kind), gain.to(kind)

    def forward(
        self, u: Tensor, rectified: bool, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``(y, messages, last state)``: (T, N, H), (T, N, P) complex, (N, P) complex."""
        a, gain = self.discretized()
        drive = torch.complex(*(linear(u, part) for part in self.b().unbind(-1)))
        states = scan(a, drive * gain, state)
        messages = rectify_complex(states) if rectified else states
        c = self.c()
        projected = linear(messages.real, c[..., 0]) - linear(messages.imag, c[..., 1])
        return self.factor * projected + self.d * u, messages, states[-1]

    def state_space(self) -> StateSpaceModel:
        """Return it as arrays."""
        decay = np.maximum(np.exp(_array(self.log_decay)), LEAST_DECAY)
        return StateSpaceModel(
            eigenvalues=-decay + 1j * _array(self.frequency),
            step=np.exp(_array(self.log_step)),
            b=self.b.array() @ np.array([1, 1j]),
            c=self.c.array() @ np.array([1, 1j]),
            d=_array(self.d),
            discretization=self.discretization,
            conjugate_symmetric=self.factor == 2,
        )


class FeatureNorm(nn.BatchNorm1d):
    """Batch norm: each feature by its mean and variance over a batch, or over the training."""

    def __init__(self, norm: BatchNorm):
        super().__init__(len(norm.mean), eps=norm.epsilon, momentum=MOMENTUM)
        for target, source in (
            (self.weight, norm.scale),
            (self.bias, norm.bias),
            (self.running_mean, norm.mean),
            (self.running_var, norm.variance),
        ):
            target.data = torch.tensor(source)

    def forward(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise (T, N, H); statistics are of tokens that are ``valid`` (T, N), no padding."""
        normalise = super().forward
        if self.training and devices.count() > 1:
            normalise = self._normalised_together
        if valid is None or not self.training:
            return normalise(values.reshape(-1, values.shape[-1])).reshape(values.shape)
        result = torch.zeros_like(values)
        result[valid] = normalise(values[valid])
        return result

    def _normalised_together(self, values: Tensor) -> Tensor:
        """Normalise (tokens, H) by mean and variance over the tokens of all devices."""
        count = devices.total(values.new_tensor(len(values)))
        mean = devices.total(values.sum(0)) / count
        centred = values - mean
        variance = devices.total(centred.square().sum(0)) / count
        assert self.momentum is not None
        with torch.no_grad():
            for running, new in (
                (self.running_mean, mean),
                (self.running_var, variance * count / (count - 1)),
            ):
                assert running is not None
                running.lerp_(new, self.momentum)
            self.num_batches_tracked += 1
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias

    def arrays(self) -> BatchNorm:
        """Return it as arrays."""
        assert self.running_mean is not None
        assert self.running_var is not None
        return BatchNorm(
            mean=_array(self.running_mean),
            variance=_array(self.running_var),
            scale=_array(self.weight),
            bias=_array(self.bias),
            epsilon=self.eps,
        )


class TokenNorm(nn.Module):
    """Layer norm or RMS norm: each token by the mean and the variance of its own features."""

    def __init__(self, norm: LayerNorm):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(norm.scale))
        self.bias = nn.Parameter(torch.tensor(norm.bias))
        self.epsilon, self.centred = norm.epsilon, norm.centred

    def forward(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise (T, N, H); padding is as good as any token."""
        if self.centred:
            values = values - values.mean(-1, keepdim=True)
        variance = values.square().mean(-1, keepdim=True)
        return values * torch.rsqrt(variance + self.epsilon) * self.weight + self.bias

    def arrays(self) -> LayerNorm:
        """Return it as arrays."""
        return LayerNorm(_array(self.weight), _array(self.bias), self.epsilon, self.centred)


def _norm(norm: BatchNorm | LayerNorm) -> FeatureNorm | TokenNorm:
    return FeatureNorm(norm) if isinstance(norm, BatchNorm) else TokenNorm(norm)


class Block(nn.Module):
    """``hidden + glu(activation(ssm(norm(hidden))))``, or the norm of the sum instead."""

    def __init__(self, block: S5Block):
        super().__init__()
        self.norm, self.prenorm = _norm(block.norm), block.prenorm
        self.ssm = StateSpace(block.ssm)
        self.value = Map(block.value) if block.value is not None else None
        self.gate = Map(block.gate) if block.gate is not None else None
        self.activation, self.glu, self.rectified = block.activation, block.glu, block.rectified

    def forward(
        self, hidden: Tensor, state: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Any]:
        """Return ``(hidden (T, N, H), last state (N, P), the messages in between)``.

        ``valid`` (T, N) says which tokens are no padding: batch norm's statistics are of these.
        The messages are what B, C and the gate read.
        """
        u = self.norm(hidden, valid) if self.prenorm else hidden
        y, states, state = self.ssm(u, self.rectified, state)
        active = activate(y, self.activation)
        product = active
        if self.gate is not None:
            value = y if self.glu is GluVariant.HALF2 else active
            if self.value is not None:
                value = self.value(active)
            product = value * torch.sigmoid(self.gate(active))
        total = product + hidden
        if not self.prenorm:
            total = self.norm(total, valid)
        result = functional.relu(total) if self.rectified else total
        # Batch norm is folded: B then reads what the norm reads.
        read = hidden if isinstance(self.norm, FeatureNorm) else u
        return result, state, (read, states, active)

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """Yield its matrices under the names that the quantizer has for them in a block."""
        yield "B", self.ssm.b
        yield "C", self.ssm.c
        for name, map_ in (("W1", self.value), ("W2", self.gate)):
            if map_ is not None:
                yield name, map_.weight

    def block(self) -> S5Block:
        """Return it as arrays."""
        return S5Block(
            norm=self.norm.arrays(),
            ssm=self.ssm.state_space(),
            activation=self.activation,
            glu=self.glu,
            value=self.value and self.value.affine(),
            gate=self.gate and self.gate.affine(),
            prenorm=self.prenorm,
            rectified=self.rectified,
        )


class FeedForward(nn.Module):
    """s5-pytorch's block: S5 and a (gated) feed-forward map, each after a layer norm."""

    def __init__(self, block: FeedForwardBlock):
        super().__init__()
        self.norm, self.feed_forward_norm = map(TokenNorm, (block.norm, block.feed_forward_norm))
        self.ssm = StateSpace(block.ssm)
        self.expand, self.decode = Weight(block.expand), Weight(block.decode)
        self.gated = block.gated

    def forward(
        self, hidden: Tensor, state: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Any]:
        """Return the same as ``Block.forward``."""
        u = self.norm(hidden, valid)
        y, states, state = self.ssm(u, False, state)
        active = activate(y, Activation.GELU_ERF)
        middle = self.feed_forward_norm(active + u, valid)
        expanded = linear(middle, self.expand())
        if self.gated:
            value, gate = expanded.chunk(2, -1)
            expanded = activate(gate, Activation.GELU_ERF) * value
        result = linear(expanded, self.decode()) + middle
        return result, state, (u, states, active)

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """Yield its matrices by name; the quantizer has ``expand`` in two halves, if gated."""
        yield "B", self.ssm.b
        yield "C", self.ssm.c
        yield "expand", self.expand
        yield "decode", self.decode

    def block(self) -> FeedForwardBlock:
        """Return it as arrays."""
        return FeedForwardBlock(
            norm=self.norm.arrays(),
            ssm=self.ssm.state_space(),
            feed_forward_norm=self.feed_forward_norm.arrays(),
            expand=self.expand.array(),
            decode=self.decode.array(),
            gated=self.gated,
        )


@dataclass(frozen=True, eq=False)
class Forward:
    """What a forward pass gives.

    Attributes:
        output: (T, N, outputs), or (1, N, outputs) with a readout other than ``each_token``.
        states: after the last token, to go on from, one a block, (N, P) complex each.
        messages: name of a message -> (T, N, n): what groups would send, for losses.
    """

    output: Tensor
    states: tuple[Tensor, ...]
    messages: dict[str, Tensor]


def resumed(model: S5Model, gain: np.ndarray | float, offset: np.ndarray | float = 0.0) -> Model:
    """Return the module of a finished model, whose encoder has gain and offset in it.

    Raises:
        CheckpointError: see ``Model``.
    """
    if model.encoder is None:
        raise CheckpointError(model.name, "has no encoder", "Add one")
    weight = model.encoder.weight / gain
    full = np.broadcast_to(np.asarray(offset, dtype=np.float64), weight.shape[1])
    encoder = replace(model.encoder, weight=weight, bias=model.encoder.bias - weight @ full)
    return Model(replace(model, encoder=encoder), gain, offset)


class Model(nn.Module):
    """A whole model.

    Attributes:
        input_gain, input_offset: (F,) what features are multiplied by, and what is then added,
            before the encoder: learning is easier if they are about 0, give or take 1. They are in
            the encoder of ``to_model``.
    """

    input_gain: Tensor
    input_offset: Tensor

    def __init__(
        self,
        model: S5Model,
        input_gain: np.ndarray | float = 1.0,
        input_offset: np.ndarray | float = 0.0,
    ):
        """Take over a model; its encoder must not have gain and offset in it yet.

        Raises:
            CheckpointError: it has no encoder or decoder, or blocks that change their width.
        """
        super().__init__()
        if model.encoder is None or model.decoder is None:
            raise CheckpointError(model.name, "has no encoder or no decoder", "Add them")
        self.name, self.readout = model.name, model.readout
        self.rectified_encoder = model.rectified_encoder
        self.encoder, self.decoder = Map(model.encoder), Map(model.decoder)
        self.blocks = nn.ModuleList(_block(model.name, block) for block in model.blocks)
        features = model.encoder.weight.shape[1]
        for name, value in (("input_gain", input_gain), ("input_offset", input_offset)):
            full = np.broadcast_to(np.asarray(value, dtype=np.float64), features)
            self.register_buffer(name, torch.tensor(full.copy()))

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return outputs (T, N, outputs), or (1, N, outputs), from a zero state; see ``run``."""
        return self.run(tokens, lengths=lengths).output

    def run(
        self,
        tokens: Tensor,
        states: tuple[Tensor, ...] | None = None,
        lengths: Tensor | None = None,
    ) -> Forward:
        """Run over tokens.

        With a readout other than ``each_token`` the output is that of these tokens alone.

        Args:
            tokens: (T, N, F).
            states: to go on from; zero if not given.
            lengths: (N,) tokens of each sequence, with padding behind; all T if not given.
        """
        given = states if states is not None else (None,) * len(self.blocks)
        valid = None
        if lengths is not None:
            valid = torch.arange(len(tokens), device=tokens.device)[:, None] < lengths
        kind = self.encoder.bias.dtype
        tokens = tokens.to(kind)
        hidden = self.encoder(tokens * self.input_gain.to(kind) + self.input_offset.to(kind))
        if self.rectified_encoder:
            hidden = functional.relu(hidden)
        messages, last = {}, []
        for index, (block, state) in enumerate(zip(self.blocks, given, strict=True)):
            hidden, state, (before, complex_states, active) = block(hidden, state, valid)
            last.append(state)
            messages[f"block{index}.hidden"] = before
            messages[f"block{index}.g"] = complex_states
            messages[f"block{index}.activation"] = active
        messages["hidden"] = hidden
        return Forward(self.decoder(read_out(hidden, self.readout, lengths)), tuple(last), messages)

    def step(self, token: Tensor, states: tuple[Tensor, ...] | None = None) -> Forward:
        """Run over one token (N, F): streaming."""
        return self.run(token[None], states)

    def to_model(self) -> S5Model:
        """Return it as arrays in float64."""
        encoder = self.encoder.affine()
        bias = encoder.bias + encoder.weight @ _array(self.input_offset)
        return S5Model(
            name=self.name,
            encoder=Affine(encoder.weight * _array(self.input_gain), bias),
            rectified_encoder=self.rectified_encoder,
            blocks=tuple(block.block() for block in self.blocks),
            decoder=self.decoder.affine(),
            readout=self.readout,
        )

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """Yield every matrix under the name that the quantizer has for it (``block0.B``)."""
        yield "encoder.weight", self.encoder.weight
        for index, block in enumerate(self.blocks):
            for name, weight in block.weights():
                yield f"block{index}.{name}", weight
        yield "decoder.weight", self.decoder.weight


def read_out(hidden: Tensor, readout: Readout, lengths: Tensor | None = None) -> Tensor:
    """Return what the decoder reads of (T, N, H): all tokens, the last, or their mean."""
    if readout is Readout.EACH_TOKEN:
        return hidden
    if lengths is None:
        return hidden[-1:] if readout is Readout.LAST else hidden.mean(0, keepdim=True)
    if readout is Readout.LAST:
        rows = torch.arange(hidden.shape[1], device=hidden.device)
        return hidden[lengths - 1, rows][None]
    valid = torch.arange(len(hidden), device=hidden.device)[:, None] < lengths
    return (hidden * valid[..., None]).sum(0, keepdim=True) / lengths[None, :, None]


def _block(name: str, block: S5Block | FeedForwardBlock) -> Block | FeedForward:
    if isinstance(block, FeedForwardBlock):
        return FeedForward(block)
    if block.skip is not None or block.ssm.d.ndim != 1:
        raise CheckpointError(name, "has blocks that change their width", "Train all of one width")
    return Block(block)


def rectify_complex(values: Tensor) -> Tensor:
    """Keep complex numbers lexicographically above zero, else 0 (see ``fixed_point``)."""
    real, imaginary = values.real, values.imag
    return values * ((real > 0) | ((real == 0) & (imaginary > 0)))


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``weight @ values + bias`` in the numbers of the weights.

    In mixed precision the product alone has 16 bits: there are no complex numbers in bfloat16, and
    states and what residuals add up need more.
    """
    return functional.linear(values, weight, bias).to(weight.dtype)


def activate(values: Tensor, activation: Activation) -> Tensor:
    """Apply the non-linearity after the state-space model."""
    if activation is Activation.RELU:
        return functional.relu(values)
    if activation is Activation.SILU:
        return functional.silu(values)
    if activation is Activation.TANH:
        return torch.tanh(values)
    if activation is Activation.LEAKY_RELU:
        return functional.leaky_relu(values, LEAKY_SLOPE)
    tangent = activation is Activation.GELU_TANH
    return functional.gelu(values, approximate="tanh" if tangent else "none")


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().copy()
