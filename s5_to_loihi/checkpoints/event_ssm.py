"""The parameter tree of event-ssm in Flax, for events that come at a constant rate.

Sources: Schoene et al., "Scalable Event-by-event Processing of Neuromorphic Sensory Signals with
Deep State-Space Models", arXiv 2404.18508; Efficient-Scalable-Machine-Learning/event-ssm (commit
d9ceb07) ``event_ssm/ssm.py``, ``event_ssm/layers.py``, ``event_ssm/seq_model.py``. H: width before
a block, O: behind it, P: states.

Its time steps are multiplied by the time since the last event. A network for Loihi 2 has one step a
token, so that this time is a constant here: ``step_rescale``. Stages that pool their events send
fewer tokens than they get, which no network here does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from s5_to_loihi.checkpoints.flax_parts import (
    check_statistics,
    clips,
    is_symmetric,
    of_the_model,
    read_decoder,
    read_encoder,
    read_norm,
)
from s5_to_loihi.checkpoints.flax_places import PARAMETERS, locate
from s5_to_loihi.checkpoints.options import Chooser
from s5_to_loihi.checkpoints.parameters import Parameters, affine, clipped, stable, time_step
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Activation,
    Discretization,
    GluVariant,
    S5Block,
    S5Model,
    StateSpaceModel,
)
from s5_to_loihi.network.network import Readout

_BLOCK = re.compile(r"stages_(\d{1,9})/SequenceLayer_(\d{1,9})/")
_READS = (
    "encoder/encoder, encoder/stages_N/SequenceLayer_M/{S5SSM_0, Dense_0, Dense_1, LayerNorm_0 or"
    " BatchNorm_0} and decoder; options encoder and decoder name other maps"
)
_KNOWN = (Discretization.ZERO_ORDER_HOLD, Discretization.DIRAC)
_ALLOWED = (
    "discretization", "conjugate_symmetric", "prenorm", "readout", "clip_eigenvalues",
    "step_rescale", "select", "encoder", "decoder",
)  # fmt: skip


def is_tree(names: Iterable[str]) -> bool:
    """Tell whether names of arrays are those of such a model."""
    return any(re.search(r"(^|/)SequenceLayer_\d+/S5SSM_\d+/", name) for name in names)


def to_model(where: str, name: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> S5Model:
    """Return the model of a parameter tree.

    Args:
        where: the file or directory, for messages.
        name: of the model.
        arrays: path -> array, as in ``params/encoder/stages_0/SequenceLayer_0/S5SSM_0/B``
            (P, H, 2).
        chooser: answers what the tree does not say; the discretization has to be said.

    Raises:
        CheckpointError: missing, unknown or unsuitable parameters, several models, or no word
            about the discretization.
    """
    chooser.options.refuse_all_but(where, *_ALLOWED)
    _check_discretization(where, chooser)
    located = locate(where, arrays, chooser)
    parameters = Parameters(where, of_the_model(located.arrays))
    paths = _blocks(where, located.arrays, located.stack)
    prenorm = chooser.choose("prenorm", True, "event-ssm's published settings have it")
    norms = [_norm_path(parameters, path) for path in paths]
    if norms[0].endswith("BatchNorm_0"):
        check_statistics(parameters, chooser, norms, batch=True)
    rescale = chooser.step_rescale("tokens are taken to be as far apart as training's unit of time")
    ssms = [f"{PARAMETERS}{path}/S5SSM_0" for path in paths]
    symmetric = is_symmetric(parameters, chooser, ssms)
    clip = clips(parameters, chooser, ssms, intel=False)
    encoder = read_encoder(parameters, located, chooser)
    blocks = tuple(
        S5Block(
            ssm=(ssm := _state_space(parameters, place, chooser, symmetric, clip, rescale)),
            norm=read_norm(parameters, norm, ssm.b.shape[1] if prenorm else len(ssm.d)),
            **_maps(parameters, path, ssm),
            activation=Activation.GELU_TANH,
            glu=GluVariant.HALF2,
            value=None,
            prenorm=prenorm,
        )
        for path, place, norm in zip(paths, ssms, norms, strict=True)
    )
    model = S5Model(
        name=name,
        encoder=encoder,
        rectified_encoder=False,
        blocks=blocks,
        decoder=read_decoder(parameters, located, chooser, len(blocks[-1].ssm.d)),
        readout=chooser.choose("readout", Readout.MEAN, "pooling is event-ssm's default"),
    )
    parameters.refuse_unread(_READS)
    return model


def _check_discretization(where: str, chooser: Chooser) -> None:
    """Ask for what makes a model of events one of tokens: nothing in a file says it."""
    said = chooser.options.discretization
    if said not in _KNOWN:
        what = "" if said is None else f" with {said.value}"
        raise CheckpointError(
            where,
            f"is a model of event-ssm{what}: its time steps depend on when events come (async), and"
            " its stages may pool events; a network for Loihi 2 has one step a token",
            "If it was trained with zoh or dirac on tokens at a constant rate and pools none"
            " (pooling_stride 1), say --discretization zoh or dirac, and --step-rescale for the"
            " time between tokens; else train one of the models that docs/checkpoints.md lists",
        )
    chooser.notes.append(
        "events: taken as tokens at a constant rate, none of which are pooled (pooling_stride 1)"
    )


def _blocks(where: str, names: Iterable[str], stack: str) -> list[str]:
    """Return the paths of blocks in order, below ``params/``."""
    start = f"{PARAMETERS}{stack}"
    found = {
        (int(match[1]), int(match[2]))
        for name in names
        if name.startswith(start) and (match := _BLOCK.match(name.removeprefix(start)))
    }
    stages = [[layer for at, layer in sorted(found) if at == stage] for stage, _ in sorted(found)]
    numbers = sorted({stage for stage, _ in found})
    if numbers != list(range(len(numbers))) or any(
        layers != list(range(len(layers))) for layers in stages
    ):
        raise CheckpointError(where, "has stages or layers of them that are not 0 to n - 1",
                              "Save it again")  # fmt: skip
    return [f"{stack}stages_{stage}/SequenceLayer_{layer}" for stage, layer in sorted(found)]


def _norm_path(parameters: Parameters, path: str) -> str:
    batch = f"{path}/BatchNorm_0"
    return batch if f"{PARAMETERS}{batch}/scale" in parameters else f"{path}/LayerNorm_0"


def _maps(parameters: Parameters, path: str, ssm: StateSpaceModel) -> dict:
    """Read the map before the sigmoid, and that of the residual if the width changes."""
    dense = partial(affine, parameters, flax=True)
    width, place = len(ssm.d), f"{PARAMETERS}{path}/Dense_"
    changes = ssm.d.ndim == 2
    return {
        "gate": dense(f"{place}0", width, width),
        "skip": dense(f"{place}1", width, ssm.b.shape[1]) if changes else None,
    }


def _state_space(
    parameters: Parameters,
    path: str,
    chooser: Chooser,
    symmetric: bool,
    clip: bool,
    rescale: float,
) -> StateSpaceModel:
    real = parameters.real(f"{path}/Lambda_re", (None,))
    states = len(real)
    eigenvalues = real + 1j * parameters.real(f"{path}/Lambda_im", (states,))
    b = parameters.complex(f"{path}/B", (states, None))
    width, is_matrix = b.shape[1], len(parameters.shape(f"{path}/D")) == 2
    d = parameters.real(f"{path}/D", (None, width) if is_matrix else (width,))
    ssm = StateSpaceModel(
        eigenvalues=clipped(eigenvalues) if clip else eigenvalues,
        step=time_step(parameters.real(f"{path}/log_step", (states, 1))[:, 0], rescale),
        b=b,
        c=parameters.complex(f"{path}/C", (len(d), states)),
        d=d,
        discretization=chooser.options.discretization or Discretization.DIRAC,
        conjugate_symmetric=symmetric,
    )
    return stable(f"{parameters.where}: {path}", ssm)
