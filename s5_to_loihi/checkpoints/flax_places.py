"""Where in a Flax tree a model is: what is above its parameters, and what its parts are called.

Training programs wrap the tree that ``model.init`` returns: in a train state, beside averages of
it, with all collections below ``params``, or in another module. lindermanlab/S5 and
IntelLabs/SparseRNNs call the stack of blocks ``encoder``, and the maps around it
``encoder/encoder`` and ``decoder``; so do minimal-LRU and event-ssm, whose blocks have other names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from s5_to_loihi.checkpoints.options import Chooser
from s5_to_loihi.checkpoints.which import choose_model, is_optimizers, listed
from s5_to_loihi.errors import CheckpointError

PARAMETERS, STATISTICS, SPARSITIES = "params/", "batch_stats/", "opt_state/target_sparsities/"
_STACK = re.compile(
    r"((?:.*/)?)(?:layers_0/(?:mixer|seq)|stages_0/SequenceLayer_0/S5SSM_0)/.+", re.DOTALL
)
#: Where below its stack a model has the means of its batch norms.
_MEANS = r"(?:layers_\d+/norm(?:alization)?|stages_\d+/SequenceLayer_\d+/BatchNorm_0)/mean"
#: Until the last part of a name that says ``params``, as ``ema_params`` does.
_COLLECTION = re.compile(r"(?P<top>(?:.*/)?)(?P<name>[^/]*params[^/]*)/", re.DOTALL)


class Located(NamedTuple):
    """The arrays of one model.

    Attributes:
        arrays: with ``params/``, ``batch_stats/`` and ``opt_state/target_sparsities/`` on top.
        stack: what its stack of blocks is called below ``params/`` and ``batch_stats/``, with a
            slash at the end; empty if the blocks are on top.
        prefix: what was cut off before the names of parameters.
    """

    arrays: dict[str, np.ndarray]
    stack: str
    prefix: str


def holds_blocks(names: Iterable[str]) -> bool:
    """Tell whether names of arrays are those of such a model."""
    return any(_STACK.fullmatch(name) for name in names)


def locate(where: str, arrays: Mapping[str, np.ndarray], chooser: Chooser) -> Located:
    """Find the model, and name its arrays as a plain tree of variables does.

    Args:
        where: the file or directory, for messages.
        arrays: path -> array; ``holds_blocks`` is true of the paths.
        chooser: answers which of several.

    Raises:
        CheckpointError: several models, or parameters that may be part of this one or not.
    """
    own = {path: array for path, array in arrays.items() if not is_optimizers(path)}
    stacks = sorted({match[1] for path in own if (match := _STACK.fullmatch(path))})
    if not stacks:
        raise CheckpointError(where, "holds an optimizer's state, and no parameters", "Save params")
    chosen = choose_model(where, stacks, chooser)
    stack = f"{chosen}/" if chosen else ""
    others = [other for other in stacks if other != stack]
    base, module, body = _parts(stack)
    prefix = base + module
    statistics = _statistics(where, [*own], stack, others, chooser.notes)
    elsewhere = tuple(_model_of(other, stack) for other in others)
    found: dict[str, np.ndarray] = {}
    outside = []
    for path, array in own.items():
        if statistics is not None and path.startswith(statistics):
            found[STATISTICS + path.removeprefix(statistics)] = array
        elif path.startswith(elsewhere):
            continue
        elif path.startswith(prefix):
            found[PARAMETERS + path.removeprefix(prefix)] = array
        elif path.startswith(base) and array.ndim:
            outside.append(path)
    if outside and not f"{chooser.options.select or ''}/".startswith(prefix):
        raise CheckpointError(
            where,
            f"holds {len(outside)} parameters outside of {prefix[:-1]}: {listed(outside)}",
            f"If they are no part of the model, say so: --select {chosen}",
        )
    recorded = base.removesuffix("/").rpartition("/")[0]
    recorded = (f"{recorded}/" if recorded else "") + SPARSITIES + module
    for path, array in arrays.items():
        if path.startswith(recorded):
            found[SPARSITIES + path.removeprefix(recorded)] = array
    located = Located(found, body, prefix)
    selected = (chooser.options.select or "").rstrip("/")
    return _stack_alone(located, chooser) if body and selected == chosen else located


def _stack_alone(located: Located, chooser: Chooser) -> Located:
    """Leave out what is beside a stack of blocks that the user selects, but for its two maps."""
    options, arrays = chooser.options, located.arrays
    usual = (options.encoder, f"{located.stack}encoder"), (options.decoder, "decoder")
    maps = [f"{PARAMETERS}{map_name(arrays, located, *names)}/" for names in usual]
    kept = (f"{PARAMETERS}{located.stack}", f"{STATISTICS}{located.stack}", SPARSITIES, *maps)
    beside = [path for path in arrays if not path.startswith(kept)]
    if beside:
        chooser.notes.append(
            f"model: took {options.select}; {listed(beside)} beside it are left out (option select)"
        )
    kept_arrays = {path: array for path, array in arrays.items() if path not in beside}
    return located._replace(arrays=kept_arrays)


def _model_of(stack: str, chosen: str) -> str:
    """Return what another model's arrays begin with: its module, if ``chosen`` is not in it."""
    base, module, _ = _parts(stack)
    return stack if not module or chosen.startswith(base + module) else base + module


def _statistics(
    where: str,
    names: Iterable[str],
    stack: str,
    others: Iterable[str],
    notes: list[str],
) -> str | None:
    """Return what is above the statistics of batch norm; None if there are none of this model.

    Args:
        where: the checkpoint, for messages.
        names: of all arrays but an optimizer's.
        stack: of the model: what is above the numbers of its blocks.
        others: those of other models.
        notes: what was guessed is added here.

    Raises:
        CheckpointError: there are several, none of which is in the usual place.
    """
    base, module, body = _parts(stack)
    found = _above_statistics(names, module + body) - {base}
    usual = STATISTICS
    if base:
        head, _, name = base.rstrip("/").rpartition("/")
        usual = "/".join(filter(None, (head, name.replace("params", "batch_stats")))) + "/"
    if usual in found:
        return usual + module
    found = {place + module for place in found}
    if not found and module:
        # In no such module, but not another model's either.
        theirs = {place + _parts(other)[1] for other in others
                  for place in _above_statistics(names, "".join(_parts(other)[1:]))}  # fmt: skip
        found = _above_statistics(names, body) - theirs - {base + module}
    if len(found) > 1:
        raise CheckpointError(
            where,
            f"holds several statistics of batch norm: {listed(sorted(found))}, none of them in"
            f" {usual}{module}",
            "Save parameters and statistics of one model",
        )
    for only in found:
        place = only.rstrip("/") or "the top"
        notes.append(f"batch norm statistics: from {place}, the only ones of such a model")
        return only
    return None


def _above_statistics(names: Iterable[str], inside: str) -> set[str]:
    pattern = re.compile(rf"((?:.*/)?){re.escape(inside)}{_MEANS}", re.DOTALL)
    return {match[1] for name in names if (match := pattern.fullmatch(name))}


def _parts(stack: str) -> tuple[str, str, str]:
    """Split into what ends with ``params/``, the module that holds the model, and its stack."""
    match = _COLLECTION.match(stack)
    base = match[0] if match else ""
    inside = stack.removeprefix(base)
    body = inside.rstrip("/").rpartition("/")[2]
    body = f"{body}/" if body else ""
    return base, inside.removesuffix(body), body


def map_name(parameters: Mapping, located: Located, said: str | None, usual: str) -> str:
    """Return what a map beside the blocks is called below ``params/``.

    Args:
        parameters: of the model, by name.
        located: see there.
        said: the user's option: that name, or the whole of it in the file.
        usual: its name in both code bases.
    """
    if said is None:
        return usual
    name = said.strip("/")
    whole = name.removeprefix(located.prefix)
    return whole if any(path.startswith(f"{PARAMETERS}{whole}/") for path in parameters) else name
