"""This project's own float format: parameters in a ``.safetensors`` file, the rest in a ``.yaml``.

``docs/checkpoints.md`` describes it for programs that want to write it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import save_file

from s5_to_loihi.checkpoints import safetensors_file
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.checkpoints.parameters import Parameters, affine, batch_norm, stable
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.reading import opened, read_yaml
from s5_to_loihi.float_model import (
    Activation,
    BatchNorm,
    Discretization,
    FeedForwardBlock,
    GluVariant,
    LayerNorm,
    S5Block,
    S5Model,
    StateSpaceModel,
)
from s5_to_loihi.network.network import Readout

SCHEMA = "s5_to_loihi model"
SCHEMA_VERSION = 1
DESCRIPTION, WEIGHTS = "model.yaml", "model.safetensors"
_READS = "the tensors that docs/checkpoints.md lists for the kinds of blocks in the description"


# --- writing -------------------------------------------------------------------------------------


def save_model(model: S5Model, directory: str | os.PathLike) -> None:
    """Write a model as ``model.yaml`` and ``model.safetensors``.

    Tensors are stored in float32 where that loses nothing, else in float64: reading gives the same
    numbers back.

    Args:
        model: any.
        directory: made if it is not there; files of these two names in it are replaced.

    Raises:
        CheckpointError: the directory or a file cannot be written.
    """
    directory = Path(directory)
    tensors: dict[str, np.ndarray] = {}
    description = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": model.name,
        "weights": WEIGHTS,
        "readout": model.readout.value,
        "rectified_encoder": model.rectified_encoder,
        "blocks": [
            _describe_block(block, f"blocks.{index}", tensors)
            for index, block in enumerate(model.blocks)
        ],
    }
    for name, part in (("encoder", model.encoder), ("decoder", model.decoder)):
        if part is not None:
            _describe(part, name, tensors)
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Both files or neither: written beside, then moved.
        with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as temporary:
            written = Path(temporary)
            (written / DESCRIPTION).write_text(text, encoding="utf-8")
            save_file({name: narrow(array) for name, array in tensors.items()}, written / WEIGHTS)
            # safetensors makes files that nobody else may read.
            os.chmod(written / WEIGHTS, (written / DESCRIPTION).stat().st_mode)
            for name in (WEIGHTS, DESCRIPTION):
                os.replace(written / name, directory / name)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            str(directory), f"cannot be written ({reason})", "Choose another place"
        ) from None


def narrow(array: np.ndarray) -> np.ndarray:
    """Return complex numbers as pairs, and everything in float32 if that loses nothing."""
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag], axis=-1)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return np.ascontiguousarray(narrow if np.array_equal(narrow, array) else array)


#: The order in which the entries of a block are written.
_WRITTEN = (
    *("kind", "discretization", "conjugate_symmetric", "norm", "feed_forward_norm", "gated"),
    *("prenorm", "activation", "glu", "rectified"),
)


def _describe_block(
    block: S5Block | FeedForwardBlock, prefix: str, tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    entries = _describe(block, prefix, tensors)
    entries["kind"] = "feed_forward" if isinstance(block, FeedForwardBlock) else "s5"
    return {name: entries[name] for name in _WRITTEN if name in entries}


def _describe(part: Any, prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what of a part of a model is no tensor; add the tensors under their paths."""
    entries: dict[str, Any] = {}
    for field in fields(part):
        value, path = getattr(part, field.name), f"{prefix}.{field.name}"
        if isinstance(value, np.ndarray):
            tensors[path] = value
        elif isinstance(value, (BatchNorm, LayerNorm)):
            entry = _describe(value, path, tensors)
            kind = "batch"
            if isinstance(value, LayerNorm):
                kind = "layer" if entry.pop("centred") else "rms"
            entries[field.name] = {"kind": kind, **entry}
        elif is_dataclass(value):
            entries |= _describe(value, path, tensors)
        elif value is not None:
            entries[field.name] = value.value if isinstance(value, Enum) else value
    return entries


# --- reading -------------------------------------------------------------------------------------


def sniff(path: Path, start: bytes) -> bool:
    """Tell whether this is a directory with a description, one, or the tensors beside one."""
    return _description_of(path) is not None


def _description_of(path: Path) -> Path | None:
    if path.is_dir():
        return path / DESCRIPTION if (path / DESCRIPTION).exists() else None
    if path.suffix not in (".yaml", ".yml", ".safetensors"):
        return None
    description = path.with_suffix(".yaml") if path.suffix == ".safetensors" else path
    try:
        # It need not be whole: what begins as one is read as one.
        with opened(description, CheckpointError) as file:
            return description if SCHEMA.encode() in file.read(4096) else None
    except CheckpointError:
        return None


def load(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    """Load the model of a description, given in any way in which ``sniff`` knows it."""
    description = _description_of(path) or path
    options.refuse_all_but(str(description))
    model, files = load_model(description)
    return LoadedCheckpoint(model, SCHEMA, (), files)


def load_model(path: Path) -> tuple[S5Model, tuple[Path, ...]]:
    """Read a model.

    Args:
        path: the ``.yaml`` file; the ``.safetensors`` file that it names lies beside it.

    Returns:
        The model and the files that were read.

    Raises:
        CheckpointError: a file is missing or damaged, or description and tensors do not agree.
    """
    root = _Entry(str(path), _read_tree(path))
    if root.take("schema", str) != SCHEMA:
        raise root.error("schema", f"is not '{SCHEMA}'")
    version = root.take("schema_version", int)
    if version != SCHEMA_VERSION:
        raise root.error(
            "schema_version", f"is {version} (this program reads {SCHEMA_VERSION})",
            "Update s5_to_loihi",
        )  # fmt: skip
    weights = root.take("weights", str)
    if not re.fullmatch(r"[^/\\]+\.safetensors", weights):
        raise root.error("weights", "is not the name of a .safetensors file beside this one")
    file = path.parent / weights
    parameters = Parameters(str(file), safetensors_file.read(file))
    entries = root.entries("blocks")
    has_encoder, has_decoder = (f"{name}.weight" in parameters for name in ("encoder", "decoder"))
    encoder = affine(parameters, "encoder", None, None) if has_encoder else None
    width = len(encoder.bias) if encoder else None
    blocks = []
    for index, entry in enumerate(entries):
        blocks.append(_block(parameters, f"blocks.{index}", entry, width))
        width = len(blocks[-1].ssm.d)
    model = S5Model(
        name=root.take("name", str),
        encoder=encoder,
        rectified_encoder=root.take("rectified_encoder", bool, False),
        blocks=tuple(blocks),
        decoder=affine(parameters, "decoder", None, width) if has_decoder else None,
        readout=root.choice("readout", Readout, Readout.EACH_TOKEN),
    )
    root.refuse_rest()
    parameters.refuse_unread(_READS)
    return model, (path, file)


def _read_tree(path: Path) -> dict:
    tree = read_yaml(path, error=CheckpointError, damaged="cannot be read as YAML")
    if not isinstance(tree, dict):
        raise CheckpointError(str(path), "is not a mapping", "See docs/checkpoints.md")
    return tree


class _Entry:
    """A mapping of the description: typed access, with errors that name the key."""

    def __init__(self, where: str, values: Mapping):
        self.where = where
        self._rest = dict(values)

    def error(self, key: str, what: str, do: str = "See docs/checkpoints.md") -> CheckpointError:
        return CheckpointError(f"{self.where}: {key}", what, do)

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value = self._rest.pop(key, default)
        if value is None:
            raise self.error(key, "is missing")
        if type(value) is not kind:
            raise self.error(key, f"is {value!r:.50}, not of type {kind.__name__}")
        return value

    def choice(self, key: str, kind: type[Enum], default: Enum | None = None) -> Any:
        value = self._rest.pop(key, default)
        if value is None:
            raise self.error(key, "is missing")
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(member.value for member in kind)
            raise self.error(key, f"is {value!r:.50} (known: {known})") from None

    def number(self, key: str, default: float) -> float:
        value = self._rest.pop(key, default)
        try:
            # YAML reads 1e-5, without a point, as text.
            number = float(value)
        except (TypeError, ValueError):
            raise self.error(key, f"is {value!r:.50}, not a number") from None
        if not 0 <= number < float("inf"):
            raise self.error(key, f"is {number} (allowed 0 and above)")
        return number

    def entry(self, key: str) -> _Entry:
        return _Entry(f"{self.where}: {key}", self.take(key, dict))

    def entries(self, key: str) -> list[_Entry]:
        values = self.take(key, list)
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(key, f"entry {index} is not a mapping")
        return [
            _Entry(f"{self.where}: {key}[{index}]", value) for index, value in enumerate(values)
        ]

    def refuse_rest(self) -> None:
        if self._rest:
            raise self.error(str(next(iter(self._rest)))[:50], "is an unknown key")


def _block(
    parameters: Parameters, prefix: str, entry: _Entry, width: int | None
) -> S5Block | FeedForwardBlock:
    kind = entry.take("kind", str)
    if kind not in ("s5", "feed_forward"):
        raise entry.error("kind", f"is {kind!r:.50} (known: s5, feed_forward)")
    ssm = _state_space(parameters, f"{prefix}.ssm", entry, width)
    # A block may have another width behind it than before it.
    before, width = ssm.b.shape[1], len(ssm.d)
    prenorm = kind != "s5" or entry.take("prenorm", bool, True)
    normed = before if prenorm else width
    norm = _norm(parameters, f"{prefix}.norm", entry.entry("norm"), normed)
    if kind == "feed_forward":
        if ssm.d.ndim != 1:
            raise entry.error("kind", "is feed_forward, whose blocks have one width: d is a matrix")
        block: S5Block | FeedForwardBlock = _feed_forward_block(
            parameters, prefix, entry, norm, ssm
        )
    else:
        glu = entry.choice("glu", GluVariant)
        square = partial(affine, parameters, outputs=width, inputs=width)
        value = square(f"{prefix}.value") if glu is GluVariant.FULL else None
        gate = square(f"{prefix}.gate") if glu is not GluVariant.NONE else None
        block = S5Block(
            norm=norm,
            ssm=ssm,
            activation=entry.choice("activation", Activation),
            glu=glu,
            value=value,
            gate=gate,
            prenorm=prenorm,
            rectified=entry.take("rectified", bool, False),
            skip=affine(parameters, f"{prefix}.skip", width, before) if ssm.d.ndim == 2 else None,
        )
    entry.refuse_rest()
    return block


def _feed_forward_block(
    parameters: Parameters, prefix: str, entry: _Entry, norm, ssm: StateSpaceModel
) -> FeedForwardBlock:
    width = len(ssm.d)
    second = _norm(
        parameters, f"{prefix}.feed_forward_norm", entry.entry("feed_forward_norm"), width
    )
    if not isinstance(norm, LayerNorm) or not isinstance(second, LayerNorm):
        raise entry.error("norm", "is not a layer norm, as both norms of a feed_forward block are")
    gated = entry.take("gated", bool)
    decode = parameters.real(f"{prefix}.decode", (width, None))
    rows = decode.shape[1] * (2 if gated else 1)
    expand = parameters.real(f"{prefix}.expand", (rows, width))
    return FeedForwardBlock(norm, ssm, second, expand, decode, gated)


def _state_space(
    parameters: Parameters, prefix: str, entry: _Entry, width: int | None
) -> StateSpaceModel:
    is_matrix = len(parameters.shape(f"{prefix}.d")) == 2
    d = parameters.real(f"{prefix}.d", (None, width) if is_matrix else (width,))
    eigenvalues = parameters.complex(f"{prefix}.eigenvalues", (None,))
    states, before, width = len(eigenvalues), d.shape[-1], len(d)
    c = parameters.complex(f"{prefix}.c", (width, states))
    backward = f"{prefix}.bidirectional_c"
    ssm = StateSpaceModel(
        eigenvalues=eigenvalues,
        bidirectional_c=parameters.complex(backward, (width, states))
        if backward in parameters
        else None,
        step=parameters.real(f"{prefix}.step", (states,)),
        b=parameters.complex(f"{prefix}.b", (states, before)),
        c=c,
        d=d,
        discretization=entry.choice("discretization", Discretization),
        conjugate_symmetric=entry.take("conjugate_symmetric", bool),
    )
    return stable(f"{parameters.where}: {prefix}", ssm)


def _norm(parameters: Parameters, prefix: str, entry: _Entry, width: int) -> BatchNorm | LayerNorm:
    kind = entry.take("kind", str)
    epsilon = entry.number("epsilon", 1e-5)
    entry.refuse_rest()

    scale = parameters.vector(f"{prefix}.scale", width, missing=1.0)
    bias = parameters.vector(f"{prefix}.bias", width, missing=0.0)
    if kind in ("layer", "rms"):
        return LayerNorm(scale, bias, epsilon, centred=kind == "layer")
    if kind != "batch":
        raise entry.error("kind", f"is {kind!r:.50} (known: batch, layer, rms)")
    mean, variance = f"{prefix}.mean", f"{prefix}.variance"
    return batch_norm(parameters, mean, variance, scale, bias, epsilon)
