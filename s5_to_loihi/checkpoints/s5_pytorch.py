"""The ``state_dict`` of a stack of ``S5Block`` of i404788/s5-pytorch.

Source: i404788/s5-pytorch (commit c74be72, published as 0.2.1), ``s5/s5_model.py``; and its variant
in uzh-rpg/ssms_event_cameras, ``RVT/models/layers/s5/s5_model.py``, which keeps complex parameters
as pairs of real numbers. H: width, P: states, K: hidden width of the feed-forward map.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from s5_to_loihi.checkpoints.options import NO_MAP, Chooser
from s5_to_loihi.checkpoints.parameters import (
    Parameters,
    affine,
    output_matrices,
    time_step,
    torch_encoder,
    trained_state_space,
)
from s5_to_loihi.checkpoints.which import choose_model, is_optimizers, listed
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Discretization,
    FeedForwardBlock,
    LayerNorm,
    S5Model,
    StateSpaceModel,
)
from s5_to_loihi.network.network import Readout

_EIGENVALUES = "s5.seq.Lambda"
#: The default of ``torch.nn.LayerNorm``.
LAYER_NORM_EPSILON = 1e-5
#: Under which training programs keep the parameters beside whatever else.
_STATE_DICTS = ("state_dict", "model_state_dict", "model")
_READS = (
    "S5Blocks numbered in a torch.nn.Sequential or ModuleList, with at most one torch.nn.Linear"
    " before them ('encoder', its number, or what option encoder says) and one after ('decoder',"
    " its number, or what option decoder says); option select leaves out what is beside a model"
)


def is_state_dict(names: Iterable[str]) -> bool:
    """Tell whether names of tensors are those of such a stack, or of a part of one."""
    return any(re.search(r"(^|[./])(s5\.seq|seq)\.(Lambda|BH|BP)$", name) for name in names)


def to_model(where: str, name: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> S5Model:
    """Return the model of a stack of blocks.

    Args:
        where: the file, for messages.
        name: of the model.
        arrays: name -> tensor, as in ``0.s5.seq.B`` (P, H, 2); below a dictionary's key and a slash
            where the file nests them.
        chooser: answers what the tensors do not say.

    Raises:
        CheckpointError: missing, unknown or unsuitable tensors, or several models.
    """
    allowed = ("discretization", "readout", "clip_eigenvalues", "step_rescale")
    chooser.options.refuse_all_but(where, *allowed, "select", "encoder", "decoder")
    if any(re.search(r"s5\.seq\.(BH|BP)$", path) for path in arrays):
        raise CheckpointError(where, "has B and C in low-rank factors, which are not read",
                              "Multiply them, or train with bcInit='dense'")  # fmt: skip
    arrays = _of_one_model(where, arrays, chooser)
    prefixes = [path.removesuffix(_EIGENVALUES) for path in arrays if path.endswith(_EIGENVALUES)]
    stem, prefixes = _in_order(where, prefixes)
    parameters = Parameters(where, arrays)
    discretization = _discretization(parameters, chooser, prefixes[0])
    rescale = chooser.step_rescale("step_scale is 1 by default")
    chooser.notes.append(
        "liquid: guessed no, and degree: guessed 1, because both are S5Block's defaults and its"
        " tensors are the same with and without"
    )
    clip = bool(chooser.options.clip_eigenvalues)
    width = len(parameters.real(f"{prefixes[0]}s5.seq.D", (None,)))
    before, after = _linear_maps(arrays, stem, prefixes)
    parent = re.sub(r"[^.]+\.$", "", stem)
    before = _named_map(where, arrays, parent, "encoder", chooser.options.encoder, before)
    after = _named_map(where, arrays, parent, "decoder", chooser.options.decoder, after)
    _note_gaps(stem, [place for place in (before, *prefixes, after) if place], chooser.notes)
    model = S5Model(
        name=name,
        encoder=torch_encoder(parameters, before[:-1], width, chooser.notes) if before else None,
        rectified_encoder=False,
        blocks=tuple(
            _block(parameters, prefix, width, discretization, clip, rescale) for prefix in prefixes
        ),
        decoder=affine(parameters, after[:-1], None, width) if after else None,
        readout=chooser.choose("readout", Readout.EACH_TOKEN, "S5Block gives one output a token"),
    )
    parameters.refuse_unread(_READS)
    return model


def _discretization(parameters: Parameters, chooser: Chooser, prefix: str) -> Discretization:
    path = f"{prefix}{_EIGENVALUES}"
    if parameters.shape(path)[1:] != (2,):
        return chooser.choose(
            "discretization", Discretization.ZERO_ORDER_HOLD, "S5Block leaves no choice"
        )
    return chooser.choose(
        "discretization",
        Discretization.BILINEAR,
        f"{path} is made of pairs of real numbers, as in uzh-rpg/ssms_event_cameras, whose S5 is"
        " bilinear; that of s5-pytorch is complex",
    )


def _of_one_model(
    where: str, arrays: Mapping[str, np.ndarray], chooser: Chooser
) -> dict[str, np.ndarray]:
    """Return the tensors of one of the models, with dots for what the file nests."""
    own = {path: array for path, array in arrays.items() if not is_optimizers(path)}
    stems = {_stem(path.removesuffix(_EIGENVALUES)) for path in own if path.endswith(_EIGENVALUES)}
    if not stems:
        return {path.replace("/", "."): array for path, array in own.items()}
    chosen = choose_model(where, sorted(stems), chooser)
    stem = next(stem for stem in stems if stem.rstrip("./") == chosen)
    base = _state_dict_of(stem)
    others = [_model_of(other, stem) for other in stems if other != stem]
    # What a training program keeps beside the parameters is no part of the model, nor is what lies
    # outside of what the user says.
    container = stem.rpartition("/")[0]
    own = {path: array for path, array in own.items() if array.ndim or path.startswith(container)}
    start = (_model_of(stem, "") if chooser.options.select else "") or base
    return {
        path.removeprefix(base).replace("/", "."): array
        for path, array in own.items()
        if path.startswith(start) and not path.startswith(tuple(filter(None, others)))
    }


def _state_dict_of(stem: str) -> str:
    """Return the keys above the parameters, up to the one that says that those come now."""
    keys = stem.split("/")[:-1]
    last = max((at for at, key in enumerate(keys, start=1) if key in _STATE_DICTS), default=0)
    return "".join(f"{key}/" for key in keys[:last])


def _stem(prefix: str) -> str:
    """Return what comes before the number of a block; all of the prefix if it has no number."""
    match = re.fullmatch(r"(|.*[./])\d{1,9}\.", prefix, re.DOTALL)
    return match[1] if match else prefix


def _model_of(stem: str, chosen: str) -> str:
    """Return what the tensors of a model begin with: its module, if ``chosen`` is not in it too."""
    module = re.sub(r"[^./]+\.$", "", stem)
    return stem if not module or (chosen and chosen.startswith(module)) else module


def _named_map(
    where: str, arrays: Mapping, parent: str, option: str, said: str | None, found: str | None
) -> str | None:
    """Return the prefix of a map that the user names, else the one that was found."""
    if said is None:
        return found
    if said == NO_MAP:
        return None
    places = [f"{start}{said.rstrip('.')}." for start in (parent, "")]
    for place in places:
        if f"{place}weight" in arrays:
            return place
    maps = [
        path.removesuffix(".weight")
        for path, array in arrays.items()
        if array.ndim == 2 and path.endswith(".weight") and ".ff_" not in path
    ]
    raise CheckpointError(
        f"option {option}",
        f"is '{said}', and {where} has no '{places[0]}weight'",
        f"There is {listed(maps)}",
    )


def _in_order(where: str, prefixes: list[str]) -> tuple[str, list[str]]:
    """Return what comes before the number of every block, and the blocks' prefixes in order."""
    if not prefixes:
        raise CheckpointError(
            where,
            "holds a bare S5 layer, without the norm and the feed-forward map of an S5Block",
            "Save a stack of S5Blocks",
        )
    if len(prefixes) == 1 and not re.search(r"(^|\.)\d{1,9}\.$", prefixes[0]):
        return prefixes[0], prefixes
    matches = [re.fullmatch(r"(|.*\.)(\d{1,9})\.", prefix) for prefix in prefixes]
    parts = [match for match in matches if match]
    if len(parts) < len(prefixes) or len({part[1] for part in parts}) != 1:
        raise CheckpointError(
            where, f"has S5Blocks in different places: {', '.join(sorted(prefixes)[:3])}",
            f"This loader reads {_READS}",
        )  # fmt: skip
    return parts[0][1], [part[0] for part in sorted(parts, key=lambda part: int(part[2]))]


def _linear_maps(arrays: Mapping, stem: str, prefixes: list[str]) -> tuple[str | None, str | None]:
    """Find the prefixes of the linear maps before and after the blocks."""
    parent = re.sub(r"[^.]+\.$", "", stem)
    numbers = [number for prefix in prefixes if (number := _number(stem, prefix)) is not None]
    before = after = None
    for path, array in arrays.items():
        prefix = path.removesuffix("weight")
        if array.ndim != 2 or prefix == path:
            continue
        number = _number(stem, prefix) if numbers else None
        if prefix == f"{parent}encoder." or (number is not None and number < numbers[0]):
            before = prefix
        elif prefix == f"{parent}decoder." or (number is not None and number > numbers[-1]):
            after = prefix
    return before, after


def _number(stem: str, prefix: str) -> int | None:
    """Return the number of a module in its container; None if it has none."""
    match = re.fullmatch(re.escape(stem) + r"(\d{1,9})\.", prefix)
    return int(match[1]) if match else None


def _note_gaps(stem: str, places: list[str], notes: list[str]) -> None:
    """Note numbers in between that hold no parameters."""
    numbers = [number for place in places if (number := _number(stem, place)) is not None]
    if numbers and len(numbers) <= numbers[-1] - numbers[0]:
        notes.append(
            f"modules without parameters stand between {places[0]}* and {places[-1]}*: guessed that"
            " they do nothing, as dropout does"
        )


def _block(
    parameters: Parameters,
    prefix: str,
    width: int,
    discretization: Discretization,
    clip: bool,
    rescale: float,
) -> FeedForwardBlock:
    decode = parameters.real(f"{prefix}ff_dec.weight", (width, None))
    expand = parameters.real(f"{prefix}ff_enc.weight", (None, width))
    rows, hidden = len(expand), decode.shape[1]
    if rows not in (hidden, 2 * hidden):
        raise CheckpointError(
            f"{parameters.where}: {prefix}ff_enc.weight",
            f"gives {rows} values, {prefix}ff_dec.weight takes {hidden} (or twice that with GLU)",
        )
    return FeedForwardBlock(
        norm=_layer_norm(parameters, f"{prefix}attn_norm", width),
        ssm=_state_space(parameters, f"{prefix}s5.seq", width, discretization, clip, rescale),
        feed_forward_norm=_layer_norm(parameters, f"{prefix}ff_norm", width),
        expand=expand,
        decode=decode,
        gated=rows == 2 * hidden,
    )


def _layer_norm(parameters: Parameters, path: str, width: int) -> LayerNorm:
    scale, bias = (parameters.real(f"{path}.{name}", (width,)) for name in ("weight", "bias"))
    return LayerNorm(scale, bias, LAYER_NORM_EPSILON)


def _state_space(
    parameters: Parameters,
    path: str,
    width: int,
    discretization: Discretization,
    clip: bool,
    rescale: float,
) -> StateSpaceModel:
    eigenvalues = parameters.complex(f"{path}.Lambda", (None,))
    states = len(eigenvalues)
    step = time_step(parameters.real(f"{path}.log_step", (states,)), rescale)
    bidirectional = parameters.shape(f"{path}.C")[1:2] == (2 * states,)
    outputs = output_matrices(parameters, f"{path}.C", width, states, bidirectional)
    # S5 of s5-pytorch keeps both of each conjugate pair.
    return trained_state_space(
        parameters, f"{path}.", eigenvalues, step, outputs, discretization, False, clip
    )
