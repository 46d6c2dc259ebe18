"""Random small float models of every variant, and what the quantizer makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from s5_to_loihi.float_model import (
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
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import Quantized, quantize_model

#: Calibration data: tokens a sequence, sequences.
TOKENS, SEQUENCES = 40, 2


@dataclass(frozen=True)
class FloatCase:
    """What varies between random float models.

    ``norm`` is ``batch``, ``layer`` or ``rms``; ``feed_forward`` makes s5-pytorch's blocks of all,
    ``gated`` or ``plain``; ``ends`` says which of encoder and decoder there are; ``mixed`` puts the
    norm of every second block before, whatever ``prenorm`` says;
    ``glus`` are those of the blocks, if they differ.
    """

    glu: GluVariant = GluVariant.HALF1
    activation: Activation = Activation.RELU
    conjugate_symmetric: bool = True
    discretization: Discretization = Discretization.ZERO_ORDER_HOLD
    rectified: bool = True
    rectified_encoder: bool = True
    readout: Readout = Readout.EACH_TOKEN
    sequence_length: int | None = None
    features_in: int = 3
    width: int = 5
    states: int = 4
    blocks: int = 2
    features_out: int = 2
    density: float = 0.6
    norm: str = "batch"
    prenorm: bool = True
    mixed: bool = False
    glus: tuple[GluVariant, ...] = ()
    feed_forward: str | None = None
    ends: str = "both"
    seed: int = 1
    precision: Precision = field(default=Precision(), hash=False)

    def __str__(self):
        return (
            f"{self.glu.value}-{self.activation.value}-{self.discretization.value}"
            f"-{'half' if self.conjugate_symmetric else 'all'}"
            f"-{'relu' if self.rectified else 'linear'}-{self.readout.value}"
            f"-{self.norm}-{'pre' if self.prenorm else 'post'}-{self.feed_forward or ''}"
            f"-{self.ends}"
            f"-w{self.precision.weights}a{self.precision.activations}-{self.seed}"
        )

    @property
    def has_encoder(self) -> bool:
        return self.ends in ("both", "encoder")

    @property
    def has_decoder(self) -> bool:
        return self.ends in ("both", "decoder")

    @property
    def token_width(self) -> int:
        return self.features_in if self.has_encoder else self.width


def pruned(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    """Normal floats of which some are exactly zero."""
    return rng.normal(size=shape) * (rng.random(shape) < density)


def complex_pruned(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    """Complex floats whose real and imaginary parts are zero independently of one another."""
    return pruned(rng, shape, density) + 1j * pruned(rng, shape, density)


def random_affine(rng: np.random.Generator, rows: int, columns: int, density: float) -> Affine:
    weight = pruned(rng, (rows, columns), density) / np.sqrt(columns)
    return Affine(weight, 0.3 * rng.normal(size=rows))


def random_norm(rng: np.random.Generator, width: int, kind: str = "batch") -> BatchNorm | LayerNorm:
    if kind != "batch":
        return LayerNorm(
            scale=rng.uniform(0.5, 1.5, width) * rng.choice([-1, 1], width),
            bias=0.3 * rng.normal(size=width),
            epsilon=float(10 ** rng.uniform(-6, -2)),
            centred=kind == "layer",
        )
    return BatchNorm(
        mean=0.3 * rng.normal(size=width),
        variance=rng.uniform(0.3, 2.0, width),
        scale=rng.uniform(0.5, 1.5, width) * rng.choice([-1, 1], width),
        bias=0.3 * rng.normal(size=width),
    )


def random_state_space(rng: np.random.Generator, case: FloatCase) -> StateSpaceModel:
    """A stable one; its slowest states decay within some hundred tokens."""
    width, states, density = case.width, case.states, case.density
    eigenvalues = -np.exp(rng.uniform(-2, 0, states)) + 1j * rng.uniform(-3, 3, states)
    return StateSpaceModel(
        eigenvalues=eigenvalues,
        step=np.exp(rng.uniform(np.log(0.02), np.log(0.5), states)),
        b=complex_pruned(rng, (states, width), density),
        c=complex_pruned(rng, (width, states), density) / np.sqrt(states),
        d=rng.normal(size=width),
        discretization=case.discretization,
        conjugate_symmetric=case.conjugate_symmetric,
    )


def random_block(
    rng: np.random.Generator, case: FloatCase, index: int = 0
) -> S5Block | FeedForwardBlock:
    ssm, width, density = random_state_space(rng, case), case.width, case.density
    glu = case.glus[index] if case.glus else case.glu
    if case.feed_forward is not None:
        gated, inner = case.feed_forward == "gated", width + 2
        norms = [random_norm(rng, width, "layer") for _ in range(2)]
        return FeedForwardBlock(
            norm=norms[0],
            ssm=ssm,
            feed_forward_norm=norms[1],
            expand=pruned(rng, (inner * (1 + gated), width), density) / np.sqrt(width),
            decode=pruned(rng, (width, inner), density) / np.sqrt(inner),
            gated=gated,
        )
    has_value, has_gate = glu is GluVariant.FULL, glu is not GluVariant.NONE
    return S5Block(
        norm=random_norm(rng, width, case.norm),
        ssm=ssm,
        activation=case.activation,
        glu=glu,
        value=random_affine(rng, width, width, density) if has_value else None,
        gate=random_affine(rng, width, width, density) if has_gate else None,
        prenorm=case.prenorm or (case.mixed and index % 2 == 1),
        rectified=case.rectified,
    )


def random_model(case: FloatCase) -> S5Model:
    rng = np.random.default_rng(case.seed)
    return S5Model(
        name="random",
        encoder=random_affine(rng, case.width, case.features_in, 1.0) if case.has_encoder else None,
        rectified_encoder=case.rectified_encoder and case.has_encoder,
        blocks=tuple(random_block(rng, case, index) for index in range(case.blocks)),
        decoder=random_affine(rng, case.features_out, case.width, case.density)
        if case.has_decoder
        else None,
        readout=case.readout,
    )


def calibration(case: FloatCase, tokens: int = TOKENS) -> np.ndarray:
    """(tokens, sequences, features) floats, slow and noisy, not centred."""
    rng = np.random.default_rng([case.seed, 77])
    steps = rng.normal(size=(tokens, SEQUENCES, case.token_width))
    return (
        0.4
        + 0.5 * steps
        + 0.3 * np.cumsum(steps, axis=0) / np.sqrt(1 + np.arange(tokens))[:, None, None]
    )


def quantized(case: FloatCase, model: S5Model | None = None) -> Quantized:
    """Quantize a case's random model on its calibration data."""
    return quantize_model(
        model or random_model(case), calibration(case), case.precision, case.sequence_length
    )
