"""The parameter tree of S5 models in Flax: IntelLabs/SparseRNNs and lindermanlab/S5.

Both name parameters alike; Intel calls the state-space model of a block ``mixer``, lindermanlab/S5
``seq``. Sources: IntelLabs/SparseRNNs (commit b623aea) ``model/``, lindermanlab/S5 (commit 3c18fdb)
``s5/ssm.py``, ``s5/layers.py``, ``s5/seq_model.py``. H: width, P: states, F: features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import partial

import numpy as np

from s5_to_loihi.checkpoints.flax_parts import (
    check_statistics,
    clips,
    count_blocks,
    is_normless,
    is_symmetric,
    no_norm,
    of_the_model,
    read_decoder,
    read_encoder,
    read_norm,
)
from s5_to_loihi.checkpoints.flax_places import (
    PARAMETERS,
    SPARSITIES,
    STATISTICS,
    holds_blocks,
    locate,
)
from s5_to_loihi.checkpoints.magnitude_pruning import (
    CLEAR_GAP,
    erdos_renyi_sparsities,
    find_recipe,
    gap,
    masked,
)
from s5_to_loihi.checkpoints.options import Chooser, LoadOptions
from s5_to_loihi.checkpoints.parameters import (
    Parameters,
    affine,
    output_matrices,
    time_step,
    trained_state_space,
)
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
    "encoder/encoder, encoder/layers_N/{norm, mixer or seq, out1, out2} and decoder; options"
    " encoder and decoder name other maps, and option select, given the stack of blocks, leaves out"
    " what is beside it"
)


def is_tree(names: Iterable[str]) -> bool:
    """Tell whether names of arrays are those of such a model."""
    return holds_blocks(names)


def to_model(where: str, name: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> S5Model:
    """Return the model of a parameter tree.

    Args:
        where: the file or directory, for messages.
        name: of the model.
        arrays: path -> array, as in ``params/encoder/layers_0/mixer/B`` (P, H, 2); paths outside
            ``params/``, ``batch_stats/`` and the pruner's target sparsities are ignored. Without
            ``params/`` on top, everything is taken as parameters; what is above it, as in
            ``state/params/``, is left out.
        chooser: answers what the tree does not say.

    Raises:
        CheckpointError: missing, unknown or unsuitable parameters, or several models.
    """
    located = locate(where, arrays, chooser)
    arrays, stack = located.arrays, located.stack
    parameters = Parameters(where, of_the_model(arrays))
    intel = any(f"{stack}layers_0/mixer/" in path for path in arrays)
    if intel:
        # After the check above: ordering by magnitude relies on finite numbers.
        parameters = Parameters(where, _pruned(where, arrays, chooser))
    else:
        known = {field.name for field in fields(LoadOptions)}
        chooser.options.refuse_all_but(where, *known - {"rectified", "pruning_sparsity"})
    paths = [f"{stack}layers_{index}" for index in range(count_blocks(where, arrays, stack))]
    norms = [f"{path}/norm" for path in paths]
    if not intel and is_normless(parameters, norms):
        chooser.notes.append(
            "norm: none, as there are neither parameters nor statistics of one"
            " (luchris429/popjaxrl with S5_DO_NORM off)"
        )
    else:
        # Layer norm exists in Intel's code, and fails there before a first step.
        check_statistics(parameters, chooser, norms, intel)
    ssm = "mixer" if intel else "seq"
    encoder = read_encoder(parameters, located, chooser)
    feedthrough = parameters.real(f"params/{paths[0]}/{ssm}/D", (None,))
    width = len(feedthrough if encoder is None else encoder.bias)
    rectified = intel and _is_rectified(parameters, chooser, paths)
    model = S5Model(
        name=name,
        encoder=encoder,
        rectified_encoder=rectified,
        blocks=_blocks(parameters, chooser, paths, width, rectified, ssm),
        decoder=read_decoder(parameters, located, chooser, width),
        readout=_readout(chooser, intel),
    )
    parameters.refuse_unread(_READS)
    return model


# --- pruning -------------------------------------------------------------------------------------


def _pruned(
    where: str, arrays: Mapping[str, np.ndarray], chooser: Chooser
) -> dict[str, np.ndarray]:
    """Return parameters and statistics with the pruning mask applied."""
    kept = of_the_model(arrays)
    # jaxpruner's rule for what is pruned: everything with more than one axis.
    weights = {
        path: array
        for path, array in kept.items()
        if path.startswith(PARAMETERS) and array.ndim > 1
    }
    shares = _sparsities(where, arrays, weights, chooser)
    if not shares:
        return kept
    smallest = min((gap(weights[path], share) for path, share in shares.items()), default=np.inf)
    if smallest < CLEAR_GAP:
        chooser.notes.append(
            f"pruning: some removed weights are only {smallest:.3g} times smaller than some that"
            " stay, so perhaps training had not reached this sparsity yet (option"
            " pruning_sparsity)"
        )
    return kept | {path: masked(weights[path], share) for path, share in shares.items()}


def _sparsities(
    where: str, arrays: Mapping, weights: Mapping, chooser: Chooser
) -> dict[str, float]:
    """Return the share of zeros of each pruned array; nothing if there is no pruning."""
    recorded = {
        path: arrays[record]
        for path in weights
        if (record := path.replace(PARAMETERS, SPARSITIES, 1)) in arrays
    }
    if chooser.options.pruning_sparsity is None and recorded:
        for path, share in recorded.items():
            if share.shape != () or not 0 <= share < 1:
                raise CheckpointError(
                    f"{where}: {path}", f"has a target sparsity of {str(share)[:50]}"
                )
        chooser.notes.append(
            "pruning: mask applied again by magnitude, with the sparsities that the checkpoint's"
            " optimizer state records"
        )
        return {path: float(share) for path, share in recorded.items()}
    recipe = None
    if chooser.options.pruning_sparsity is None and chooser.known.pruning_sparsity is None:
        recipe = find_recipe(weights)
    sparsity = chooser.choose(
        "pruning_sparsity",
        recipe or 0.0,
        f"the mask of that recipe separates weights by a factor of {CLEAR_GAP:.0f} or more"
        if recipe
        else "no pruning recipe leaves a clear gap between small and large weights",
    )
    if not 0 <= sparsity < 1:
        raise CheckpointError("option pruning_sparsity", f"is {sparsity} (allowed 0 to below 1)")
    if sparsity == 0:
        return {}
    return erdos_renyi_sparsities({path: array.shape for path, array in weights.items()}, sparsity)


# --- the parts -----------------------------------------------------------------------------------


def _is_rectified(parameters: Parameters, chooser: Chooser, blocks: list[str]) -> bool:
    """Find out whether a ReLU stands before every block, by the means that batch norm saw."""
    means = [parameters.real(f"{STATISTICS}{block}/norm/mean", (None,)) for block in blocks]
    lowest, highest = min(map(np.min, means)), max(map(np.max, means))
    # A tenth leaves room for rounding; GELU gives about as much below zero as above.
    if lowest > -0.1 * highest:
        return chooser.choose("rectified", True, "the means of all blocks' inputs are above zero")
    reason = f"means of blocks' inputs go down to {lowest:.3g} (up to {highest:.3g})"
    return chooser.choose("rectified", False, reason)


def _readout(chooser: Chooser, intel: bool) -> Readout:
    if intel:
        return chooser.choose("readout", Readout.EACH_TOKEN, "Intel's models are denoisers")
    chooser.notes.append("log softmax after the decoder is left out: outputs are logits")
    return chooser.choose("readout", Readout.MEAN, "pooling is the default of lindermanlab/S5")


def _blocks(
    parameters: Parameters,
    chooser: Chooser,
    blocks: list[str],
    width: int,
    rectified: bool,
    ssm: str,
) -> tuple[S5Block, ...]:
    paths = [PARAMETERS + block for block in blocks]
    normless = is_normless(parameters, [f"{block}/norm" for block in blocks])
    default = "both code bases use it unless told otherwise"
    discretization = chooser.choose("discretization", Discretization.ZERO_ORDER_HOLD, default)
    symmetric = is_symmetric(parameters, chooser, [f"{path}/{ssm}" for path in paths])
    clip = clips(parameters, chooser, [f"{path}/{ssm}" for path in paths], ssm == "mixer")
    activation = _activation(chooser, rectified, ssm == "mixer")
    glu = _glu_variant(parameters, chooser, paths[0])
    prenorm = chooser.choose("prenorm", True, default)
    rescale = 1.0
    if ssm == "seq" or chooser.options.step_rescale is not None:  # Intel's code knows no other
        rescale = chooser.step_rescale("1 is the default of lindermanlab/S5")
    square = partial(affine, parameters, outputs=width, inputs=width, flax=True)
    return tuple(
        S5Block(
            norm=no_norm(width) if normless else read_norm(parameters, f"{block}/norm", width),
            ssm=_state_space(
                parameters, f"{path}/{ssm}", width, discretization, symmetric, clip, rescale
            ),
            activation=activation,
            glu=glu,
            value=square(f"{path}/out1") if glu is GluVariant.FULL else None,
            gate=square(f"{path}/out2") if glu is not GluVariant.NONE else None,
            prenorm=prenorm,
            rectified=rectified,
        )
        for block, path in zip(blocks, paths, strict=True)
    )


def _activation(chooser: Chooser, rectified: bool, intel: bool) -> Activation:
    if not intel:
        return chooser.choose("activation", Activation.GELU_TANH, "lindermanlab/S5 has no other")
    known = Activation.RELU if rectified else Activation.GELU_TANH
    reason = f"the model is {'' if rectified else 'not '}rectified, and Intel's code ties the two"
    return chooser.choose("activation", known, reason)


def _glu_variant(parameters: Parameters, chooser: Chooser, path: str) -> GluVariant:
    """Find the gated linear unit; which maps there are leaves only two of them open."""
    maps = (f"{path}/out1/kernel" in parameters, f"{path}/out2/kernel" in parameters)
    possible = {
        (True, True): (GluVariant.FULL,),
        (False, True): (GluVariant.HALF1, GluVariant.HALF2),
        (False, False): (GluVariant.NONE,),
    }.get(maps, ())
    if not possible:
        raise CheckpointError(parameters.where, f"{path} has out1 but no out2", "Save it again")
    said = chooser.options.glu or chooser.known.glu
    if said is not None and said not in possible:
        fits = " or ".join(variant.value for variant in possible)
        raise CheckpointError(
            parameters.where, f"glu is {said.value}, but the parameters are those of {fits}"
        )
    if len(possible) == 1:
        return possible[0]
    return chooser.choose("glu", GluVariant.HALF1, "half1 and half2 have the same parameters")


def _state_space(
    parameters: Parameters,
    path: str,
    width: int,
    discretization: Discretization,
    symmetric: bool,
    clip: bool,
    rescale: float,
) -> StateSpaceModel:
    real = parameters.real(f"{path}/Lambda_re", (None,))
    states = len(real)
    eigenvalues = real + 1j * parameters.real(f"{path}/Lambda_im", (states,))
    step = time_step(parameters.real(f"{path}/log_step", (states, 1))[:, 0], rescale)
    outputs = _output_matrices(parameters, path, width, states)
    return trained_state_space(
        parameters, f"{path}/", eigenvalues, step, outputs, discretization, symmetric, clip
    )


def _output_matrices(
    parameters: Parameters, path: str, width: int, states: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read C; a bidirectional model may store both as C1 and C2."""
    if f"{path}/C1" in parameters:
        c, backward = (parameters.complex(f"{path}/C{n}", (width, states)) for n in (1, 2))
        return c, backward
    bidirectional = parameters.shape(f"{path}/C")[:2] == (width, 2 * states)
    return output_matrices(parameters, f"{path}/C", width, states, bidirectional)
