"""Calibration data: what is fit to choose formats with, and what is held back to measure with."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.folding import FoldedModel

#: Fewer tokens than this say nothing about ranges.
FEWEST_TOKENS = 64
#: Largest magnitudes outside this are a mistake: exponents would leave what networks may have.
SMALLEST, LARGEST = 1e-9, 1e9
#: The share of the calibration data that is held back if no other data are given: one in this many.
HELD_OUT_SHARE = 5


def check_data(model: FoldedModel, data: np.ndarray, where: str) -> np.ndarray:
    """Return calibration or held-out data as (T, N, F) float64.

    Args:
        model: that they are for.
        data: (T, F) or (T, N, F) floats or integers.
        where: what to call them in an error.

    Raises:
        InputError: another shape or width, empty, too few tokens, not finite, or silent.
    """
    data = np.asarray(data)
    if data.dtype.kind not in "iuf" or data.ndim not in (2, 3):
        raise InputError(
            where,
            f"holds {data.dtype} with {data.ndim} axes",
            "Give floats (tokens, features) or (tokens, sequences, features)",
        )
    if not data.size:
        raise InputError(where, f"is empty (shape {data.shape})", "Give some thousands of tokens")
    features = model.features
    if data.shape[-1] != features:
        raise InputError(
            where,
            f"has {data.shape[-1]} features a token, the model takes {features}",
            "Give the features that the model was trained with",
        )
    data = data.reshape(len(data), -1, features).astype(np.float64)
    _check_content(data, where)
    return data


def _check_content(data: np.ndarray, where: str) -> None:
    tokens = data.shape[0] * data.shape[1]
    if tokens < FEWEST_TOKENS:
        raise InputError(
            where,
            f"has {tokens} tokens (at least {FEWEST_TOKENS})",
            "Give some thousands of tokens of typical data",
        )
    if not np.isfinite(data).all():
        count = int(np.count_nonzero(~np.isfinite(data)))
        raise InputError(where, f"holds {count} values that are not finite", "Remove them")
    largest = float(np.abs(data).max())
    if largest and not SMALLEST <= largest <= LARGEST:
        raise InputError(
            where,
            f"reaches {largest:.3g} (allowed {SMALLEST:.0e} to {LARGEST:.0e})",
            "Scale the data as in training",
        )
    if (data == data[0, 0]).all():
        raise InputError(
            where,
            f"is silent: all {tokens:,} tokens are equal",
            "Give data as loud and as varied as those that the network will see",
        )


def calibration_and_held_out(
    model: FoldedModel,
    calibration: np.ndarray,
    held_out: np.ndarray | None,
    where: tuple[str, str] = ("calibration data", "held-out data"),
) -> tuple[np.ndarray, np.ndarray]:
    """Return what to calibrate and what to measure with, (T, N, F) float64 each.

    Args:
        model: that they are for.
        calibration: (T, F) or (T, N, F) floats or integers.
        held_out: the same; None to hold back a part of the calibration data, see ``split``.
        where: what to call the two in an error.

    Raises:
        InputError: see ``check_data``.
    """
    data = check_data(model, calibration, where[0])
    if held_out is not None:
        return data, check_data(model, held_out, where[1])
    data, measured = split(model.model, data)
    # What is left may be too little.
    _check_content(data, where[0])
    return data, measured


def split(model: S5Model, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return calibration and held-out data: the last fifth of the tokens, or of the sequences.

    Sequences are kept whole where only their last token counts; a single one then serves as both.
    """
    if model.readout is Readout.EACH_TOKEN:
        kept = len(data) - len(data) // HELD_OUT_SHARE
        return data[:kept], data[kept:]
    kept = max(1, data.shape[1] - data.shape[1] // HELD_OUT_SHARE)
    return data[:, :kept], data[:, kept:] if kept < data.shape[1] else data
