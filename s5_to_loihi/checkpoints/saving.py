"""From a trained module that is still in memory to this project's own format, without any file.

No framework is imported: what a tensor of PyTorch's can do is asked of it by name.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from s5_to_loihi.checkpoints import description
from s5_to_loihi.checkpoints.named_arrays import UnknownNames, load_arrays
from s5_to_loihi.checkpoints.options import AS_IT_IS, LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import S5Model

_SEE = "See docs/checkpoints.md"


def save_from_torch(
    source: Any,
    directory: str | os.PathLike[str],
    name: str = "model",
    blocks: Sequence[Mapping[str, Any]] | None = None,
    options: LoadOptions = AS_IT_IS,
    **entries: Any,
) -> tuple[str, ...]:
    """Write a trained PyTorch module in this project's own format.

    Args:
        source: a module of a family that ``load`` reads, or tensors by name: those of such a
            family, or with ``blocks`` those of our own format (``blocks.0.ssm.b``).
        directory: made if it is not there.
        name: of the model.
        blocks: what ``model.yaml`` says of each block, for modules of one's own.
        options: what names and tensors do not say, for modules of a family.
        entries: with ``blocks``, what else ``model.yaml`` says: ``readout``,
            ``rectified_encoder``.

    Returns:
        What was found out or guessed.

    Raises:
        CheckpointError: names, shapes or numbers are not those of such a model; nothing is
            written.

    Examples:
        >>> tensors = {"blocks.0.norm.mean": np.zeros(4), "blocks.0.norm.variance": np.ones(4)}
        >>> ssm = {"eigenvalues": np.array([-0.5 + 1j, -0.5 + 2j]), "step": np.full(2, 0.1)}
        >>> ssm |= {"b": np.ones((2, 4)) + 0j, "c": np.ones((4, 2)) + 0j, "d": np.ones(4)}
        >>> tensors |= {f"blocks.0.ssm.{name}": value for name, value in ssm.items()}
        >>> block = {"kind": "s5", "discretization": "zoh", "conjugate_symmetric": True}
        >>> block |= {"norm": {"kind": "batch"}, "activation": "relu", "glu": "none"}
        >>> s5.save_from_torch(tensors, "mine", name="mine", blocks=[block])
        ()
        >>> s5.load("mine").model.name
        'mine'
    """
    tensors = source.state_dict() if hasattr(source, "state_dict") else source
    arrays = {key: _array(f"{name}: {key}", value) for key, value in tensors.items()}
    return _save(arrays, directory, name, blocks, options, entries)


def save_from_tree(
    tree: Any,
    directory: str | os.PathLike[str],
    name: str = "model",
    blocks: Sequence[Mapping[str, Any]] | None = None,
    options: LoadOptions = AS_IT_IS,
    separator: str = "/",
    **entries: Any,
) -> tuple[str, ...]:
    """Write a tree of arrays, as Flax and Equinox have them, in this project's own format.

    Args:
        tree: mappings, sequences and dataclasses (Equinox's modules are some) with arrays at their
            ends; everything else at an end is passed over.
        directory, name, blocks, options, entries: as in ``save_from_torch``.
        separator: between the parts of an array's name: Flax's is ``/``.

    Raises:
        CheckpointError: as there.

    Examples:
        >>> variables = {"params": {"encoder": {"kernel": np.ones((3, 4))}}}
        >>> try:
        ...     s5.save_from_tree(variables, "no_model")
        ... except s5.S5ToLoihiError:
        ...     print("not all of a model: nothing is written")
        not all of a model: nothing is written
    """
    arrays = {separator.join(path): array for path, array in _leaves(tree)}
    return _save(arrays, directory, name, blocks, options, entries)


def _save(
    arrays: Mapping[str, np.ndarray],
    directory: str | os.PathLike[str],
    name: str,
    blocks: Sequence[Mapping[str, Any]] | None,
    options: LoadOptions,
    entries: Mapping[str, Any],
) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if blocks is not None:
        model = _described(arrays, name, blocks, entries)
    else:
        if entries:
            raise CheckpointError(f"{name}: {next(iter(entries))}", "is given without blocks", _SEE)
        try:
            loaded = load_arrays(Path(name), name, arrays, (), options)
        except UnknownNames as error:
            raise CheckpointError(error.where, error.what, f"Give blocks. {_SEE}") from None
        model, notes = loaded.model, loaded.notes
    description.save_model(model, directory)
    return notes


def _described(
    arrays: Mapping[str, np.ndarray],
    name: str,
    blocks: Sequence[Mapping[str, Any]],
    entries: Mapping[str, Any],
) -> S5Model:
    """Return the model of a description, read as one that a trainer has written."""
    written = {
        "schema": description.SCHEMA,
        "schema_version": description.SCHEMA_VERSION,
        "name": name,
        "weights": description.WEIGHTS,
        "blocks": [dict(block) for block in blocks],
        **entries,
    }
    with tempfile.TemporaryDirectory() as folder:
        narrow = {key: description.narrow(array) for key, array in arrays.items()}
        save_file(narrow, Path(folder) / description.WEIGHTS)
        path = Path(folder) / description.DESCRIPTION
        path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        model, _ = description.load_model(path)
    return model


def _array(where: str, value: Any) -> np.ndarray:
    """Return a tensor as a plain array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if "bfloat16" in str(value.dtype):
            value = value.float()
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fciub":
        raise CheckpointError(where, f"is no tensor of numbers ({type(value).__name__})", _SEE)
    return np.ascontiguousarray(array)


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the arrays of a tree with the way to each."""
    if isinstance(tree, Mapping):
        children = [(str(key), value) for key, value in tree.items()]
    elif is_dataclass(tree) and not isinstance(tree, type):
        children = [(field.name, getattr(tree, field.name, None)) for field in fields(tree)]
    elif isinstance(tree, (list, tuple)):
        children = [(str(index), value) for index, value in enumerate(tree)]
    else:
        if hasattr(tree, "shape") and hasattr(tree, "dtype"):
            yield path, _array("/".join(path), tree)
        return
    for key, value in children:
        yield from _leaves(value, (*path, key))
