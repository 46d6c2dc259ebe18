"""The ``state_dict`` of S4D models in PyTorch: the stand-alone layer of state-spaces/s4.

Sources: Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models",
arXiv 2206.11893; state-spaces/s4 (commit e757cef) ``models/s4/s4d.py`` and the model of its
``example.py``. H: width, N: conjugate pairs of a feature, P = H N.

Every feature has a state-space model of its own: B and C are block-diagonal, the input matrix of
each is ones, and all states of a feature share its time step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from s5_to_loihi.checkpoints.options import Chooser
from s5_to_loihi.checkpoints.parameters import Parameters, affine, stable, time_step, torch_encoder
from s5_to_loihi.checkpoints.which import choose_model, is_optimizers
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    Discretization,
    GluVariant,
    LayerNorm,
    S5Block,
    S5Model,
    StateSpaceModel,
)
from s5_to_loihi.network.network import Readout

#: The default of ``torch.nn.LayerNorm``.
LAYER_NORM_EPSILON = 1e-5
#: B is stored with its zeros: more numbers than this are a mistake.
LARGEST_MATRIX = 1 << 26
_LAYER = re.compile(r"(.*?)s4_layers[./](\d{1,9})[./]kernel[./]log_A_real", re.DOTALL)
_READS = (
    "encoder, s4_layers.N.{D, kernel.{log_dt, log_A_real, A_imag, C}, output_linear.0}, norms.N and"
    " decoder, as the model of state-spaces/s4's example.py names them"
)


def is_state_dict(names: Iterable[str]) -> bool:
    """Tell whether names of tensors are those of such a model."""
    return any(_LAYER.fullmatch(name) for name in names)


def to_model(where: str, name: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> S5Model:
    """Return the model of a ``state_dict``.

    Args:
        where: the file, for messages.
        name: of the model.
        arrays: name -> tensor, as in ``s4_layers.0.kernel.C`` (H, N, 2); below a dictionary's key
            and a slash where the file nests them.
        chooser: answers what the tensors do not say.

    Raises:
        CheckpointError: missing, unknown or unsuitable tensors, or several models.
    """
    chooser.options.refuse_all_but(where, "prenorm", "readout", "select", "step_rescale")
    own = {path: array for path, array in arrays.items() if not is_optimizers(path)}
    stems = {match[1] for path in own if (match := _LAYER.fullmatch(path))}
    if not stems:
        raise CheckpointError(where, "holds an optimizer's state, and no parameters", "Save them")
    chosen = choose_model(where, sorted(stems), chooser)
    stem = next(stem for stem in stems if stem.rstrip("./") == chosen)
    others = tuple(other for other in stems if not stem.startswith(other))
    parameters = Parameters(
        where,
        {
            path.removeprefix(stem).replace("/", "."): array
            for path, array in own.items()
            if path.startswith(stem) and not path.startswith(others) and array.ndim
        },
    )
    layers = _layers(where, own, stem)
    width = len(parameters.real("s4_layers.0.D", (None,)))
    prenorm = chooser.choose("prenorm", False, "it is the default of state-spaces/s4's example")
    rescale = chooser.step_rescale("S4D knows no other")
    model = S5Model(
        name=name,
        encoder=torch_encoder(parameters, "encoder", width, chooser.notes),
        rectified_encoder=False,
        blocks=tuple(_block(parameters, n, width, prenorm, rescale) for n in range(layers)),
        decoder=affine(parameters, "decoder", None, width),
        readout=chooser.choose("readout", Readout.MEAN, "the example pools over the sequence"),
    )
    parameters.refuse_unread(_READS)
    return model


def _layers(where: str, names: Iterable[str], stem: str) -> int:
    """Return how many layers there are."""
    found = [match for name in names if (match := _LAYER.fullmatch(name)) and match[1] == stem]
    numbers = {int(match[2]) for match in found}
    if numbers != set(range(len(numbers))):
        raise CheckpointError(
            where, f"has layers {sorted(numbers)}, not 0 to n - 1", "Save it again"
        )
    return len(numbers)


def _block(
    parameters: Parameters, number: int, width: int, prenorm: bool, rescale: float
) -> S5Block:
    """Read a layer: GELU, then both halves of its GLU, a convolution of one token each."""
    path, norm = f"s4_layers.{number}", f"norms.{number}"
    mixing = parameters.real(f"{path}.output_linear.0.weight", (2 * width, width, 1))[..., 0]
    bias = parameters.vector(f"{path}.output_linear.0.bias", 2 * width, missing=0.0)
    scale, shift = (parameters.real(f"{norm}.{part}", (width,)) for part in ("weight", "bias"))
    return S5Block(
        norm=LayerNorm(scale, shift, LAYER_NORM_EPSILON),
        ssm=_state_space(parameters, path, width, rescale),
        activation=Activation.GELU_ERF,
        glu=GluVariant.FULL,
        value=Affine(mixing[:width], bias[:width]),
        gate=Affine(mixing[width:], bias[width:]),
        prenorm=prenorm,
    )


def _state_space(parameters: Parameters, path: str, width: int, rescale: float) -> StateSpaceModel:
    kernel = f"{path}.kernel"
    decay = parameters.real(f"{kernel}.log_A_real", (width, None))
    pairs = decay.shape[1]
    states = width * pairs
    if states * width > LARGEST_MATRIX:
        raise CheckpointError(
            f"{parameters.where}: {kernel}.log_A_real",
            f"has {states:,} states for {width:,} features (limit: {LARGEST_MATRIX:,} pairs of"
            " both)",
            "Train a narrower model",
        )
    with np.errstate(over="ignore"):
        decay = np.exp(decay)
    eigenvalues = -decay + 1j * parameters.real(f"{kernel}.A_imag", (width, pairs))
    b, c = np.zeros((states, width), complex), np.zeros((width, states), complex)
    feature = np.repeat(np.arange(width), pairs)
    b[np.arange(states), feature] = 1
    c[feature, np.arange(states)] = parameters.complex(f"{kernel}.C", (width, pairs)).ravel()
    ssm = StateSpaceModel(
        eigenvalues=eigenvalues.ravel(),
        step=np.repeat(time_step(parameters.real(f"{kernel}.log_dt", (width,)), rescale), pairs),
        b=b,
        c=c,
        d=parameters.real(f"{path}.D", (width,)),
        discretization=Discretization.ZERO_ORDER_HOLD,
        conjugate_symmetric=True,
    )
    return stable(f"{parameters.where}: {kernel}", ssm)
