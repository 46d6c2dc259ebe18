"""New models: widths and words, and random numbers from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    BatchNorm,
    Discretization,
    GluVariant,
    LayerNorm,
    S5Block,
    S5Model,
)
from s5_to_loihi.network.network import Readout
from s5_to_loihi.training.initialisation import STEPS, initial_state_space


class Norm(str, Enum):
    """The norm of a block; see ``float_model``."""

    BATCH = "batch"  #: costs nothing before the state-space model, where it is folded into B and D
    LAYER = "layer"
    RMS = "rms"


@dataclass(frozen=True)
class Architecture:
    """What a model looks like; see ``float_model`` for what the words compute.

    Attributes:
        width: features H of a block.
        states: complex states P of a block, one of each conjugate pair; by default half of H.
        blocks: how many.
        hippo_blocks: copies of a smaller HiPPO matrix that the states are cut into.
        activation, glu, discretization: see ``float_model``.
        rectified: ReLUs on complex states, on blocks' results and on the encoder: messages are
            then often zero, which costs nothing on the chip (relufication).
        steps: least and largest initial time step.
        norm: of the blocks.
        prenorm: whether it is before the state-space model, or after the residual addition.
    """

    width: int = 64
    states: int | None = None
    blocks: int = 3
    hippo_blocks: int = 1
    activation: Activation = Activation.RELU
    glu: GluVariant = GluVariant.HALF1
    discretization: Discretization = Discretization.ZERO_ORDER_HOLD
    rectified: bool = True
    steps: tuple[float, float] = STEPS
    norm: Norm = Norm.BATCH
    prenorm: bool = True

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("blocks", self.blocks)):
            if not 1 <= value <= 4096:
                raise InputError(f"model, {name}", f"is {value} (allowed 1 to 4096)")
        if not 1 <= self.state_count <= 4096 or self.state_count % self.hippo_blocks:
            raise InputError(
                "model, states",
                f"are {self.state_count} in {self.hippo_blocks} HiPPO blocks",
                "Give 1 to 4096, a multiple of hippo_blocks",
            )
        if not 0 < self.steps[0] < self.steps[1]:
            raise InputError("model, steps", f"are {self.steps}", "Give 0 < least < largest")

    @property
    def state_count(self) -> int:
        """Complex states of a block."""
        return max(1, self.width // 2) if self.states is None else self.states


def initial_model(
    name: str,
    architecture: Architecture,
    inputs: int,
    outputs: int,
    readout: Readout,
    seed: int,
) -> S5Model:
    """Return a model to train from, in floats; the same seed gives the same model."""
    random = np.random.default_rng(seed)
    width = architecture.width

    def affine(rows: int, columns: int, bias: float = 0.0) -> Affine:
        weight = random.normal(0, columns**-0.5, (rows, columns))
        return Affine(weight, np.full(rows, bias))

    ones, zeros = np.ones(width), np.zeros(width)
    norm: BatchNorm | LayerNorm = BatchNorm(zeros, ones, ones, zeros)
    if architecture.norm is not Norm.BATCH:
        norm = LayerNorm(ones, zeros, centred=architecture.norm is Norm.LAYER)
    blocks = tuple(
        S5Block(
            norm=norm,
            ssm=initial_state_space(
                width,
                architecture.state_count,
                random,
                architecture.hippo_blocks,
                architecture.discretization,
                architecture.steps,
            ),
            activation=architecture.activation,
            glu=architecture.glu,
            value=affine(width, width) if architecture.glu is GluVariant.FULL else None,
            gate=None if architecture.glu is GluVariant.NONE else affine(width, width),
            prenorm=architecture.prenorm,
            rectified=architecture.rectified,
        )
        for _ in range(architecture.blocks)
    )
    return S5Model(
        name=name,
        encoder=affine(width, inputs),
        rectified_encoder=architecture.rectified,
        blocks=blocks,
        decoder=affine(outputs, width),
        readout=readout,
    )
