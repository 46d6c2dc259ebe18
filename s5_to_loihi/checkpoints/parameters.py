"""The arrays of a checkpoint by name: typed access, with errors that name the array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import Affine, BatchNorm, Discretization, StateSpaceModel

_TYPES = tuple(map(np.dtype, ("f2", "f4", "f8", "c8", "c16")))


class Parameters:
    """The parameters of one model.

    Every array is checked when this is made: floating-point and finite, or complex and finite.
    """

    def __init__(self, where: str, arrays: Mapping[str, np.ndarray]):
        """Check the arrays.

        Args:
            where: the file or directory, for messages.
            arrays: name -> array of any shape.

        Raises:
            CheckpointError: an array that is not of finite floating-point numbers, or is empty.
        """
        self.where = where
        self._arrays = dict(arrays)
        self._read: set[str] = set()
        for name, array in self._arrays.items():
            if array.dtype not in _TYPES:
                raise CheckpointError(
                    f"{where}: {name}", f"holds {array.dtype}, not floating-point numbers"
                )
            if array.size == 0:
                raise CheckpointError(f"{where}: {name}", f"is empty (shape {array.shape})")
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise CheckpointError(
                    f"{where}: {name}",
                    f"holds {bad} NaN or infinite values of {array.size}",
                    "Take an earlier checkpoint, from before the training diverged",
                )

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array.

        Raises:
            CheckpointError: there is none of this name.
        """
        return self._get(name).shape

    def real(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return an array in float64.

        Args:
            name: which.
            shape: what it has to be; None for any length.

        Raises:
            CheckpointError: missing, of another shape, or complex.
        """
        array = self._get(name)
        if array.dtype.kind == "c":
            raise self._error(name, "holds complex numbers where real ones are needed")
        self._check_shape(name, array.shape, shape)
        return array.astype(np.float64)

    def complex(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return an array in complex128.

        It may be stored as complex numbers, or as real ones with a last axis of length 2 for real
        and imaginary part.

        Args:
            name: which.
            shape: what it has to be, without that last axis; None for any length.

        Raises:
            CheckpointError: missing, of another shape, or real without that last axis.
        """
        array = self._get(name)
        if array.dtype.kind != "c":
            if fits(array.shape, shape):
                raise self._error(
                    name,
                    f"holds real numbers of shape {array.shape} where complex ones are needed",
                    f"Store complex numbers, or real ones of shape {(*array.shape, 2)} with real"
                    " and imaginary part",
                )
            self._check_shape(name, array.shape, (*shape, 2))
            return array[..., 0].astype(np.float64) + 1j * array[..., 1].astype(np.float64)
        self._check_shape(name, array.shape, shape)
        return array.astype(np.complex128)

    def vector(self, name: str, size: int, missing: float) -> np.ndarray:
        """Return an array (size,) in float64 as ``real`` does; ``missing`` where there is none."""
        return self.real(name, (size,)) if name in self else np.full(size, missing)

    def refuse_unread(self, reads: str) -> None:
        """Refuse arrays that nothing asked for: they belong to a layer that is not known.

        Args:
            reads: what the loader reads, for the message.

        Raises:
            CheckpointError: there are some.
        """
        unread = sorted(set(self._arrays) - self._read)
        if unread:
            names = ", ".join(unread[:3]) + (f" and {len(unread) - 3} more" if unread[3:] else "")
            raise CheckpointError(
                self.where,
                f"holds {len(unread)} unknown parameters: {names}",
                f"This loader reads {reads}",
            )

    def _get(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise CheckpointError(self.where, f"has no parameter '{name}'", "Save it again")
        self._read.add(name)
        return self._arrays[name]

    def _check_shape(self, name: str, got: tuple, expected: tuple) -> None:
        if fits(got, expected):
            return
        text = str(tuple("any" if size is None else size for size in expected)).replace("'", "")
        swapped = (expected[1], expected[0], *expected[2:]) if len(expected) > 1 else None
        if swapped and fits(got, swapped):
            raise self._error(
                name, f"has shape {got}, expected {text}: it is transposed", "Swap its axes"
            )
        raise self._error(name, f"has shape {got}, expected {text}")

    def _error(self, name: str, what: str, do: str = "") -> CheckpointError:
        return CheckpointError(f"{self.where}: {name}", what, do)


def fits(got: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Tell whether a shape is the expected one, in which None stands for any length."""
    return len(got) == len(expected) and all(
        want in (None, size) for size, want in zip(got, expected, strict=True)
    )


def affine(
    parameters: Parameters,
    path: str,
    outputs: int | None,
    inputs: int | None,
    flax: bool = False,
) -> Affine:
    """Read an affine map; a missing bias is zero.

    Args:
        parameters: where from.
        path: of the map: ``path.weight`` and ``path.bias``.
        outputs, inputs: sizes; None for any.
        flax: True if it is as in Flax: ``path/kernel``, stored (in, out), and ``path/bias``.

    Raises:
        CheckpointError: missing, or of another shape.
    """
    if flax:
        weight = np.ascontiguousarray(parameters.real(f"{path}/kernel", (inputs, outputs)).T)
    else:
        weight = parameters.real(f"{path}.weight", (outputs, inputs))
    bias = f"{path}/bias" if flax else f"{path}.bias"
    return Affine(weight, parameters.vector(bias, len(weight), missing=0.0))


def table(
    parameters: Parameters, name: str, path: str, width: int | None, notes: list[str]
) -> Affine:
    """Read an embedding, whose rows are those of a map of one-hot tokens; say so in ``notes``.

    Args:
        parameters: where from.
        name: of the array, (tokens, width).
        path: what to call it.
        width: of a row; None for any.
        notes: what it was taken for is added here.

    Raises:
        CheckpointError: missing, or of another shape.
    """
    rows = parameters.real(name, (None, width))
    notes.append(
        f"encoder: {path} is an embedding of {len(rows)} numbers: tokens are one-hot vectors"
        f" of {len(rows)} features, 1 at the number (s5_to_loihi.one_hot makes them)"
    )
    return Affine(np.ascontiguousarray(rows.T), np.zeros(rows.shape[1]))


def torch_encoder(parameters: Parameters, path: str, width: int, notes: list[str]) -> Affine:
    """Read the map before the blocks of a model in PyTorch: a ``Linear``, or an ``Embedding``.

    The latter is known by its shape: rows of the width of a block, and no bias. A square one cannot
    be told from a ``Linear`` without bias, which it is taken for, with a note.

    Raises:
        CheckpointError: missing, or of another shape.
    """
    name = f"{path}.weight"
    shape = parameters.shape(name)
    if f"{path}.bias" not in parameters and len(shape) == 2 and shape[1] == width:
        if shape[0] != width:
            return table(parameters, name, path, width, notes)
        notes.append(
            f"encoder: {path} is square and has no bias: taken as a Linear, not as an Embedding,"
            " whose matrix would be the other way around"
        )
    return affine(parameters, path, width, None)


def batch_norm(
    parameters: Parameters,
    mean: str,
    variance: str,
    scale: np.ndarray,
    bias: np.ndarray,
    epsilon: float,
) -> BatchNorm:
    """Read the statistics of a batch norm by their names and add them to the rest, (H,) each.

    Raises:
        CheckpointError: missing, of another shape, or a variance below zero.
    """
    means, variances = (parameters.real(name, scale.shape) for name in (mean, variance))
    if (variances < 0).any():
        raise CheckpointError(
            f"{parameters.where}: {variance}", f"goes down to {variances.min():g}"
        )
    return BatchNorm(means, variances, scale, bias, epsilon)


#: Training keeps real parts of eigenvalues at or below this (``clip_eigs``; in float32).
LARGEST_REAL_PART = np.float32(-1e-4)


def clipped(eigenvalues: np.ndarray) -> np.ndarray:
    """Return complex eigenvalues with real parts of at most ``LARGEST_REAL_PART``."""
    return np.minimum(eigenvalues.real, LARGEST_REAL_PART) + 1j * eigenvalues.imag


def output_matrices(
    parameters: Parameters, name: str, width: int, states: int, bidirectional: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read C (H, P), and that of the reversed sequence (H, P), if its columns follow in one matrix.

    Raises:
        CheckpointError: missing, or of another shape.
    """
    c = parameters.complex(name, (width, 2 * states if bidirectional else states))
    return c[:, :states], c[:, states:] if bidirectional else None


def time_step(logarithm: np.ndarray, rescale: float) -> np.ndarray:
    """Return time steps of any shape: the trained ones, times what sets another rate of tokens."""
    with np.errstate(over="ignore"):
        return rescale * np.exp(logarithm)


def trained_state_space(
    parameters: Parameters,
    prefix: str,
    eigenvalues: np.ndarray,
    step: np.ndarray,
    outputs: tuple[np.ndarray, np.ndarray | None],
    discretization: Discretization,
    conjugate_symmetric: bool,
    clip: bool,
) -> StateSpaceModel:
    """Put together what training of S5 has as parameters, and read B and D.

    Args:
        parameters: where from.
        prefix: of the names ``B`` (P, H) and ``D`` (H,), with what separates them.
        eigenvalues: (P,) complex.
        step: (P,) from ``time_step``.
        outputs: from ``output_matrices``.
        discretization, conjugate_symmetric: as in ``StateSpaceModel``.
        clip: whether the eigenvalues are clipped, as in training.

    Raises:
        CheckpointError: missing, of another shape, or not stable.
    """
    c, backward = outputs
    ssm = StateSpaceModel(
        eigenvalues=clipped(eigenvalues) if clip else eigenvalues,
        step=step,
        b=parameters.complex(f"{prefix}B", c.shape[::-1]),
        c=c,
        d=parameters.real(f"{prefix}D", c.shape[:1]),
        discretization=discretization,
        conjugate_symmetric=conjugate_symmetric,
        bidirectional_c=backward,
    )
    return stable(f"{parameters.where}: {prefix[:-1]}", ssm)


def stable(where: str, ssm: StateSpaceModel) -> StateSpaceModel:
    """Return a state-space model that may be one; ``where`` names the block in errors.

    Raises:
        CheckpointError: an unstable eigenvalue, or a step that is no positive number.
    """
    reals, step = ssm.eigenvalues.real, ssm.step
    unstable = int(np.count_nonzero(reals >= 0))
    if unstable:
        raise CheckpointError(
            where,
            f"{unstable} of {len(reals)} eigenvalues have a real part of 0 or more (largest"
            f" {reals.max():g}): the state grows without limit",
            "Load with clip_eigenvalues if the model was trained with it, or train it with it",
        )
    if not (np.isfinite(step) & (step > 0)).all():
        raise CheckpointError(where, f"has time steps from {step.min():g} to {step.max():g}")
    return ssm
