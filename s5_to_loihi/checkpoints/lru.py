"""The parameter tree of linear recurrent units (LRU) in Flax: NicolasZucchet/minimal-LRU.

Sources: Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv
2303.06349; NicolasZucchet/minimal-LRU (commit bbd71b1) ``lru/model.py``. H: width, P: states.

The eigenvalues of the recurrence are ``exp(-exp(nu_log) + i exp(theta_log))``, and each row of B is
multiplied by ``exp(gamma_log)``: a recurrence of this project without a time step (Dirac).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from s5_to_loihi.checkpoints.flax_parts import (
    check_statistics,
    count_blocks,
    of_the_model,
    read_decoder,
    read_encoder,
    read_norm,
)
from s5_to_loihi.checkpoints.flax_places import PARAMETERS, locate
from s5_to_loihi.checkpoints.options import Chooser
from s5_to_loihi.checkpoints.parameters import Parameters, affine, stable
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

_READS = (
    "encoder/encoder, encoder/layers_N/{normalization, seq, out1, out2} and decoder; options"
    " encoder and decoder name other maps"
)


def is_tree(names: Iterable[str]) -> bool:
    """Tell whether names of arrays are those of such a model."""
    return any(re.search(r"(^|/)layers_0/seq/nu_log$", name) for name in names)


def to_model(where: str, name: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> S5Model:
    """Return the model of a parameter tree.

    Args:
        where: the file or directory, for messages.
        name: of the model.
        arrays: path -> array, as in ``params/encoder/layers_0/seq/B_re`` (P, H).
        chooser: answers what the tree does not say.

    Raises:
        CheckpointError: missing, unknown or unsuitable parameters, or several models.
    """
    chooser.options.refuse_all_but(where, "prenorm", "readout", "select", "encoder", "decoder")
    located = locate(where, arrays, chooser)
    parameters = Parameters(where, of_the_model(located.arrays))
    stack = located.stack
    paths = [f"{stack}layers_{n}" for n in range(count_blocks(where, located.arrays, stack))]
    check_statistics(parameters, chooser, [f"{path}/normalization" for path in paths], False)
    encoder = read_encoder(parameters, located, chooser)
    width = len(parameters.real(f"{PARAMETERS}{paths[0]}/seq/D", (None,)))
    prenorm = chooser.choose("prenorm", False, "it is minimal-LRU's default")
    chooser.notes.append("log softmax after the decoder is left out: outputs are logits")
    model = S5Model(
        name=name,
        encoder=encoder,
        rectified_encoder=False,
        blocks=tuple(_block(parameters, path, width, prenorm) for path in paths),
        decoder=read_decoder(parameters, located, chooser, width),
        readout=chooser.choose("readout", Readout.MEAN, "pooling is minimal-LRU's default"),
    )
    parameters.refuse_unread(_READS)
    return model


def _block(parameters: Parameters, path: str, width: int, prenorm: bool) -> S5Block:
    square = partial(affine, parameters, outputs=width, inputs=width, flax=True)
    return S5Block(
        norm=read_norm(parameters, f"{path}/normalization", width),
        ssm=_state_space(parameters, f"{PARAMETERS}{path}/seq", width),
        activation=Activation.GELU_TANH,
        glu=GluVariant.FULL,
        value=square(f"{PARAMETERS}{path}/out1"),
        gate=square(f"{PARAMETERS}{path}/out2"),
        prenorm=prenorm,
    )


def _state_space(parameters: Parameters, path: str, width: int) -> StateSpaceModel:
    decay = parameters.real(f"{path}/nu_log", (None,))
    states = len(decay)
    phase, gain = (parameters.real(f"{path}/{log}_log", (states,)) for log in ("theta", "gamma"))
    b, c = (
        parameters.real(f"{path}/{letter}_re", shape)
        + 1j * parameters.real(f"{path}/{letter}_im", shape)
        for letter, shape in (("B", (states, width)), ("C", (width, states)))
    )
    with np.errstate(over="ignore"):
        decay, phase, gain = np.exp(decay), np.exp(phase), np.exp(gain)
    if not np.isfinite([decay, phase, gain]).all():
        raise CheckpointError(
            f"{parameters.where}: {path}", "has nu_log, theta_log or gamma_log above 709",
            "Take an earlier checkpoint, from before the training diverged",
        )  # fmt: skip
    ssm = StateSpaceModel(
        eigenvalues=-decay + 1j * phase,
        step=np.ones(states),
        b=gain[:, None] * b,
        c=c,
        d=parameters.real(f"{path}/D", (width,)),
        discretization=Discretization.DIRAC,
        conjugate_symmetric=False,
    )
    return stable(f"{parameters.where}: {path}", ssm)
