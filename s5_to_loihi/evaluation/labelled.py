"""Data with answers: sequences, and the class or the values that each should give."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.arrays import NUMBERS, read_npz
from s5_to_loihi.inputs import Data, Layout, arranged
from s5_to_loihi.network.network import Network, Readout

KNOWN = ("inputs", "labels", "targets", "lengths", "classes")
FORM = (
    "Give an .npz with inputs (tokens, sequences, features) and labels (sequences,) or targets"
    " (tokens, sequences, outputs); see docs/evaluation.md"
)


#: Bytes and number of the arrays of a test set.
LARGEST_ARCHIVE, MOST_ARRAYS = 4 << 30, 100


@dataclass(frozen=True, eq=False)
class Labelled:
    """Sequences with answers; T tokens of the longest, N sequences.

    Attributes:
        inputs: (T, N, features) integers or floats; what lies behind a sequence's end is padding.
        lengths: (N,) tokens of each.
        labels: (N,) classes, or (T, N) where each token has one; None for regression.
        targets: (T, N, outputs) floats, or (1, N, outputs) with one answer a sequence; None for
            classification.
        classes: their names.
        notes: how the axes were read, where they could be read otherwise.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None
    targets: np.ndarray | None
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read(path: str | os.PathLike, network: Network, layout: Layout | None = None) -> Labelled:
    """Read data with answers from an .npz.

    Arrays: ``inputs`` (T, N, features); ``labels`` (N,) or, for a network with an output each
    token, (T, N); or ``targets`` (T, N, outputs), for one answer a sequence (N, outputs); and, if
    sequences are of unequal lengths, ``lengths`` (N,) with padding behind the shorter ones;
    ``classes``, names of the outputs.

    With the layout ``sequences-first`` inputs are (N, T, features), and so are labels and targets
    of each token.

    Raises:
        InputError: it is no such file, or an array does not suit the network or the others.
    """
    where = os.fspath(path)
    arrays = read_arrays(Path(path))
    inputs = arrays["inputs"]
    if inputs.dtype.kind not in "iuf" or inputs.ndim != 3 or 0 in inputs.shape:
        raise InputError(where, f"inputs are {inputs.dtype} of shape {inputs.shape}", FORM)
    if inputs.shape[-1] != network.input_size:
        what = f"inputs have {inputs.shape[-1]} features a token, the network takes"
        raise InputError(where, f"{what} {network.input_size}")
    if ("labels" in arrays) == ("targets" in arrays):
        raise InputError(where, "holds both labels and targets, or neither", FORM)
    data = _arranged(where, arrays, network, layout)
    inputs = arrays["inputs"] = data.values
    count, batch, _ = inputs.shape
    lengths = arrays.get("lengths", np.full(batch, count))
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise InputError(where, f"lengths are {lengths.dtype} of shape {lengths.shape}", FORM)
    if lengths.min() < 1 or lengths.max() > count:
        found = f"{lengths.min()} to {lengths.max()}"
        raise InputError(where, f"lengths are {found}, inputs have {count} tokens", FORM)
    each = network.readout is Readout.EACH_TOKEN
    labels = targets = None
    if "labels" in arrays:
        labels = _labels(where, arrays["labels"], (count, batch) if each else (batch,), network)
    else:
        answers = arrays["targets"]
        shape = (count, batch, network.output_size) if each else (batch, network.output_size)
        if answers.dtype.kind not in "iuf" or answers.shape != shape:
            got = f"targets are {answers.dtype} of shape {answers.shape}, expected {shape}"
            raise InputError(where, got, f"The network's readout is {network.readout.value}")
        targets = answers.astype(np.float64).reshape(-1, batch, network.output_size)
    return Labelled(inputs, lengths, labels, targets, _classes(where, arrays, network), data.notes)


def _arranged(
    where: str, arrays: dict[str, np.ndarray], network: Network, layout: Layout | None
) -> Data:
    """Return inputs with tokens first, and turn the answers of each token likewise.

    As many answers or lengths as the first axis has say that sequences come first.
    """
    name = "labels" if "labels" in arrays else "targets"
    of_each = arrays.get("lengths")
    if of_each is None and network.readout is not Readout.EACH_TOKEN:
        of_each = np.empty(arrays[name].shape[:1])
    asked = arranged(arrays["inputs"], f"{where}: inputs", layout, None, network.sequence_length)
    first, second, _ = arrays["inputs"].shape
    if layout is None and of_each is not None and of_each.shape == (first,) and first != second:
        raise InputError(
            where,
            f"has inputs {arrays['inputs'].shape} and {first:,} answers or lengths: do sequences"
            " come first",
            f"Say --layout {Layout.SEQUENCES_FIRST.value} (in Python: layout=)",
        )
    of_tokens = network.readout is Readout.EACH_TOKEN and arrays[name].ndim > 1
    if layout is Layout.SEQUENCES_FIRST and of_tokens:
        arrays[name] = arrays[name].swapaxes(0, 1)
    # Answers or lengths say how many sequences there are.
    doubtful = of_each is None or first == second
    return asked if doubtful else replace(asked, notes=())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz with answers; refuse one without inputs or with others."""
    if not path.is_file():
        raise InputError(str(path), "is not a file" if path.exists() else "does not exist", FORM)
    found = read_npz(path, LARGEST_ARCHIVE, MOST_ARRAYS, if_damaged=FORM, kinds=NUMBERS + "US")
    unknown = sorted(set(found) - set(KNOWN))
    arrays = {name: found[name] for name in found if name in KNOWN}
    if unknown or "inputs" not in arrays:
        names = ", ".join(unknown) if unknown else ", ".join(arrays) or "nothing"
        what = f"holds unknown arrays ({names:.80})" if unknown else f"holds {names}, no inputs"
        raise InputError(str(path), what, f"Known are {', '.join(KNOWN)}")
    return arrays


def _labels(where: str, labels: np.ndarray, shape: tuple[int, ...], network: Network) -> np.ndarray:
    if labels.dtype.kind not in "iu" or labels.shape != shape:
        raise InputError(
            where,
            f"labels are {labels.dtype} of shape {labels.shape}, expected integers {shape}",
            f"The network's readout is {network.readout.value}",
        )
    if labels.min() < 0 or labels.max() >= network.output_size:
        raise InputError(
            where,
            f"labels are {labels.min()} to {labels.max()}, the network has {network.output_size}"
            " outputs",
            "Number classes from 0 as in training",
        )
    return labels


def _classes(where: str, arrays: dict[str, np.ndarray], network: Network) -> tuple[str, ...]:
    if "classes" not in arrays:
        return tuple(map(str, range(network.output_size)))
    names = arrays["classes"]
    if names.dtype.kind not in "US" or names.shape != (network.output_size,):
        raise InputError(
            where,
            f"classes are {names.dtype} of shape {names.shape}, the network has"
            f" {network.output_size} outputs",
            "Give a name for each, as an array of texts",
        )
    return tuple(map(str, names))
