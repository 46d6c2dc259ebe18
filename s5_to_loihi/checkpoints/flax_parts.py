"""Parts that models in Flax have alike: maps before and after the blocks, norms, dense layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from s5_to_loihi.checkpoints.flax_places import PARAMETERS, STATISTICS, Located, map_name
from s5_to_loihi.checkpoints.options import NO_MAP, Chooser
from s5_to_loihi.checkpoints.parameters import (
    LARGEST_REAL_PART,
    Parameters,
    affine,
    batch_norm,
    table,
)
from s5_to_loihi.checkpoints.which import listed
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import Affine, BatchNorm, LayerNorm

#: Flax's own default epsilons, which no project here changes.
BATCH_NORM_EPSILON, LAYER_NORM_EPSILON = 1e-5, 1e-6


def of_the_model(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return parameters and statistics alone."""
    return {
        path: array for path, array in arrays.items() if path.startswith((PARAMETERS, STATISTICS))
    }


def read_encoder(parameters: Parameters, located: Located, chooser: Chooser) -> Affine | None:
    """Read the map before the blocks; an embedding is one, of tokens that are one-hot."""
    said = chooser.options.encoder
    if said == NO_MAP:
        return None
    path = PARAMETERS + map_name(located.arrays, located, said, f"{located.stack}encoder")
    if f"{path}/embedding" in parameters:
        return table(parameters, f"{path}/embedding", path, None, chooser.notes)
    _check_map(parameters, located, path, "encoder")
    return affine(parameters, path, None, None, flax=True)


def read_decoder(
    parameters: Parameters, located: Located, chooser: Chooser, width: int
) -> Affine | None:
    """Read the map after the blocks."""
    said = chooser.options.decoder
    if said == NO_MAP:
        return None
    path = PARAMETERS + map_name(located.arrays, located, said, "decoder")
    if (
        said is None
        and f"{path}/layer1/kernel" in parameters
        and f"{path}/kernel" not in parameters
    ):
        raise CheckpointError(
            parameters.where,
            f"has two layers in {path}, as lindermanlab/S5's retrieval models do, which compare two"
            " sequences: a network of one sequence is no such model",
            "Take a model of one sequence",
        )
    _check_map(parameters, located, path, "decoder")
    return affine(parameters, path, None, width, flax=True)


def _check_map(parameters: Parameters, located: Located, path: str, option: str) -> None:
    """Ask for the name of a map that is not there, and say which there are."""
    if f"{path}/kernel" in parameters:
        return
    blocks = tuple(f"{PARAMETERS}{located.stack}{name}_" for name in ("layers", "stages"))
    maps = [
        f"{name.removeprefix(PARAMETERS).removesuffix('/kernel')} {array.shape[0]} to"
        f" {array.shape[1]}"
        for name, array in located.arrays.items()
        if name.endswith("/kernel") and array.ndim == 2 and not name.startswith(blocks)
    ]
    raise CheckpointError(
        parameters.where,
        f"has no parameter '{path}/kernel'; maps beside the blocks are {listed(maps)}",
        f"Name the {option} with the option {option}, or say {NO_MAP}. What stands between maps and"
        " blocks besides, such as another non-linearity, is not known from a file",
    )


def count_blocks(where: str, arrays: Mapping, stack: str) -> int:
    """Return how many blocks ``layers_N`` there are.

    Raises:
        CheckpointError: none, or numbers are missing.
    """
    pattern = re.compile(rf"{PARAMETERS}{re.escape(stack)}layers_(\d{{1,9}})/")
    numbers = {int(match[1]) for path in arrays if (match := pattern.match(path))}
    if not numbers or numbers != set(range(len(numbers))):
        raise CheckpointError(
            where, f"has blocks {sorted(numbers)}, not 0 to n - 1", "Save it again"
        )
    return len(numbers)


def check_statistics(
    parameters: Parameters, chooser: Chooser, norms: Sequence[str], batch: bool
) -> None:
    """Refuse a lack of batch norm statistics, or note that it is taken for layer norm.

    Args:
        parameters: of the model.
        chooser: the note is added to its notes.
        norms: where they are below ``params/`` and ``batch_stats/``, one a block.
        batch: True if it must be batch norm.

    Raises:
        CheckpointError: statistics of some are missing, or of all where there must be some.
    """
    present = sum(f"{STATISTICS}{norm}/mean" in parameters for norm in norms)
    if present == len(norms):
        return
    if batch or present:
        raise CheckpointError(
            parameters.where,
            f"has batch norm statistics (batch_stats) of {present} blocks of {len(norms)}",
            "Save batch_stats beside params",
        )
    chooser.notes.append(
        "norm: guessed layer norm because there are no batch norm statistics; if it is batch norm,"
        " save batch_stats beside params"
    )


def is_normless(parameters: Parameters, norms: Sequence[str]) -> bool:
    """Tell whether there are neither parameters nor statistics of norms; see check_statistics."""
    return not any(
        name in parameters
        for norm in norms
        for name in (*(f"params/{norm}/{part}" for part in ("scale", "bias")),
                     f"batch_stats/{norm}/mean")
    )  # fmt: skip


def no_norm(width: int) -> BatchNorm:
    """Return a norm that leaves everything as it is."""
    zeros, ones = np.zeros(width), np.ones(width)
    return BatchNorm(mean=zeros, variance=zeros, scale=ones, bias=zeros, epsilon=1.0)


def read_norm(parameters: Parameters, path: str, width: int) -> BatchNorm | LayerNorm:
    """Read a norm: batch norm if there are statistics, else layer norm.

    Raises:
        CheckpointError: of another shape, or there is no norm.
    """
    scale = parameters.vector(f"params/{path}/scale", width, missing=1.0)
    bias = parameters.vector(f"params/{path}/bias", width, missing=0.0)
    mean, variance = f"batch_stats/{path}/mean", f"batch_stats/{path}/var"
    if mean not in parameters:
        if is_normless(parameters, [path]):
            raise CheckpointError(
                parameters.where, f"has no parameters of a norm in {path}", "Save it again"
            )
        return LayerNorm(scale, bias, LAYER_NORM_EPSILON)
    return batch_norm(parameters, mean, variance, scale, bias, BATCH_NORM_EPSILON)


def is_symmetric(parameters: Parameters, chooser: Chooser, paths: list[str]) -> bool:
    """Tell whether one of each conjugate pair is kept; ``paths`` are those of eigenvalues."""
    imaginary = np.concatenate([parameters.real(f"{path}/Lambda_im", (None,)) for path in paths])
    positive = float((imaginary > 0).mean())
    one_sided = min(positive, 1 - positive) < 0.25
    share = f"{positive:.0%} of the eigenvalues have a positive imaginary part"
    return chooser.choose("conjugate_symmetric", one_sided, share)


def clips(parameters: Parameters, chooser: Chooser, paths: list[str], intel: bool) -> bool:
    """Tell whether training clipped the eigenvalues in ``paths``."""
    highest = max(parameters.real(f"{path}/Lambda_re", (None,)).max() for path in paths)
    if highest <= LARGEST_REAL_PART:
        return False
    reason = "Intel's recipes do" if intel else "lindermanlab/S5 does not unless told to"
    reason += f"; the largest real part is {highest:.3g}"
    return chooser.choose("clip_eigenvalues", intel, reason)
