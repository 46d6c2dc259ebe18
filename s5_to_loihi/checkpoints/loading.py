"""Loads a float checkpoint of any known format: finds out which one it is, and reads it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi.checkpoints import (
    description,
    flax_model,
    flax_msgpack,
    intel_conversion,
    numpy_archive,
    orbax,
    s5_pytorch,
    safetensors_file,
    torch_archive,
)
from s5_to_loihi.checkpoints.magnitude_pruning import densities
from s5_to_loihi.checkpoints.options import Chooser, LoadOptions
from s5_to_loihi.checkpoints.training_arguments import (
    ARGUMENTS_FILE,
    known_options,
    read_arguments,
)
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.float_model import LayerNorm, S5Model

KNOWN_FORMATS = (
    "Orbax directories of Intel's SparseRNNs and lindermanlab/S5 (of a run, an epoch or a state);"
    f" directories of Intel's conversion ({intel_conversion.PARAMETERS_FILE}); Flax msgpack files;"
    " .npz files of Flax parameters; .pt and .safetensors files of s5-pytorch; and this project's"
    " own model.yaml with a .safetensors file"
)


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """A model and what is known about where it came from.

    Attributes:
        model: framework-free.
        format: what kind of checkpoint it was, for people.
        notes: what was found out, guessed (with the option to say otherwise) or left out.
        files: every file that was read, or that lies in the directory that was read.
    """

    model: S5Model
    format: str
    notes: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def source(self) -> Mapping[str, str]:
        """Format, name and digest of the files, as bundles record them."""
        return {
            "format": self.format,
            "name": self.model.name,
            "sha256": source_digest(self.files),
        }


def load(path: str | Path, options: LoadOptions = LoadOptions()) -> LoadedCheckpoint:
    """Load a float checkpoint.

    Args:
        path: a file or directory of one of the formats of ``docs/checkpoints.md``.
        options: what the checkpoint does not say.

    Raises:
        CheckpointError: no known format, damaged, or a model that no loader knows.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(str(path), "does not exist", "Give a checkpoint")
    try:
        loaded = (_load_directory if path.is_dir() else _load_file)(path, options)
    except OSError as error:
        raise CheckpointError(str(path), f"cannot be read ({error.strerror or error})") from None
    more = (*_limitations(loaded.model), _density_note(loaded.model))
    return LoadedCheckpoint(loaded.model, loaded.format, loaded.notes + more, loaded.files)


# --- which format --------------------------------------------------------------------------------


def _load_directory(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    if (path / intel_conversion.PARAMETERS_FILE).exists():
        return _load_conversion(path, options)
    if (path / description.DESCRIPTION).exists():
        return _load_description(path / description.DESCRIPTION, options)
    found = orbax.find(path)
    if found:
        return _load_orbax(path, found, options)
    if (path / intel_conversion.EXPORT_FILE).exists():
        raise CheckpointError(
            str(path),
            "is Intel's fixed-point export: it holds integers, there is nothing to quantize",
            "Compile it as it is, or give the float checkpoint that it was made from",
        )
    raise _unknown(path)


def _load_file(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    if path.name in (intel_conversion.PARAMETERS_FILE, intel_conversion.STATISTICS_FILE):
        return _load_conversion(path.parent, options)
    with path.open("rb") as file:
        start = file.read(8)
    if path.suffix in (".yaml", ".yml") and description.is_description(path):
        return _load_description(path, options)
    if path.suffix == ".safetensors":
        beside = path.with_suffix(".yaml")
        if description.is_description(beside):
            return _load_description(beside, options)
        return _load_arrays(path, path.stem, safetensors_file.read(path), (path,), options)
    if start.startswith(b"PK\x03\x04"):
        read = torch_archive.read if _is_torch(path) else numpy_archive.read
        return _load_arrays(path, path.stem, read(path), (path,), options)
    if path.suffix in (".pt", ".pth"):
        raise CheckpointError(
            str(path),
            "is not a zip archive, as torch.save writes since version 1.6",
            "Save it again with torch.save(model.state_dict(), PATH)",
        )
    # Maps of msgpack: small ones, then those of 16 and 32 bits. An empty small one is 0x80, with
    # which pickles begin too.
    if start[:1] and (0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)):
        return _load_arrays(path, path.stem, flax_msgpack.read(path), (path,), options)
    raise _unknown(path)


def _is_torch(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            str(path), f"is a damaged zip archive ({error})", "Save it again"
        ) from None


def _unknown(path: Path) -> CheckpointError:
    children = sorted(path.iterdir()) if path.is_dir() else ()
    inside = [child.name for child in children if _looks_loadable(child)]
    do = f"Inside it, try {' or '.join(inside)}" if inside else f"Known are: {KNOWN_FORMATS}"
    return CheckpointError(str(path), "is no checkpoint of a known format", do)


def _looks_loadable(path: Path) -> bool:
    """Tell by names alone whether something in a directory may be what the user meant."""
    if path.is_dir():
        files = (intel_conversion.PARAMETERS_FILE, description.DESCRIPTION)
        return any((path / name).exists() for name in files) or orbax.find(path) is not None
    return path.suffix in (".safetensors", ".npz", ".msgpack", ".pt")


# --- the formats ---------------------------------------------------------------------------------


def _load_description(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    options.refuse_all_but(str(path))
    model, files = description.load_model(path)
    return LoadedCheckpoint(model, "s5_to_loihi model", (), files)


def _load_conversion(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    arrays, files = intel_conversion.read(path)
    return _load_arrays(
        path, path.resolve().name, arrays, files, options, (path,), "Intel conversion, "
    )


def _load_orbax(path: Path, found: Path, options: LoadOptions) -> LoadedCheckpoint:
    wanted = (flax_model.PARAMETERS, flax_model.STATISTICS, flax_model.SPARSITIES)
    # Optimizer states are the larger part; a tree without "params" on top is one of parameters.
    arrays = orbax.read(found, lambda name: name.startswith(wanted)) or orbax.read(
        found, lambda name: not name.startswith("opt_state/")
    )
    # Up to the run's directory, which holds the arguments, and no further.
    levels = [found, *found.parents][: len(found.parts) - len(path.parts) + 1]
    notes = [] if found == path else [f"directory: {found.relative_to(path)}, the newest"]
    files = tuple(sorted(file for file in found.rglob("*") if file.is_file()))
    return _load_arrays(path, _run_name(found), arrays, files, options, levels, "Orbax, ", notes)


def _run_name(directory: Path) -> str:
    """Return the name of the run that a directory of arrays belongs to."""
    directory = directory.resolve()
    while directory.name in orbax.ITEMS or directory.name.isdigit():
        directory = directory.parent
    return directory.name


def _load_arrays(
    path: Path,
    name: str,
    arrays: Mapping[str, np.ndarray],
    files: tuple[Path, ...],
    options: LoadOptions,
    argument_directories=(),
    container: str = "",
    notes: list[str] | None = None,
) -> LoadedCheckpoint:
    """Build the model from named arrays, by the convention that their names follow."""
    build: Callable
    if flax_model.is_tree(arrays):
        convention, build = "Flax parameters", flax_model.to_model
    elif s5_pytorch.is_state_dict(arrays):
        convention, build = "s5-pytorch state_dict", s5_pytorch.to_model
    else:
        names = ", ".join(sorted(arrays)[:3]) or "none"
        raise CheckpointError(
            str(path),
            f"holds arrays that are not those of a known S5 model (first: {names})",
            f"Known are: {KNOWN_FORMATS}",
        )
    found = [place / ARGUMENTS_FILE for place in argument_directories]
    found = [file for file in found if file.is_file()][:1]
    known = known_options(found[0], read_arguments(found[0])) if found else LoadOptions()
    chooser = Chooser(options, known, ARGUMENTS_FILE, notes or [])
    model = build(str(path), name, arrays, chooser)
    return LoadedCheckpoint(model, container + convention, tuple(chooser.notes), (*files, *found))


# --- notes on any model --------------------------------------------------------------------------


def _limitations(model: S5Model) -> tuple[str, ...]:
    """Say what of a model the chip cannot do."""
    notes = []
    if any(isinstance(block.norm, LayerNorm) for block in model.blocks):
        notes.append(
            "layer norm: in floats only; it needs the mean over all features of a token, which"
            " neurons that see only their own input cannot form, so it cannot be quantized"
        )
    if any(block.ssm.bidirectional_c is not None for block in model.blocks):
        notes.append(
            "bidirectional: in floats only; no output is known before a sequence's last token"
        )
    return tuple(notes)


def _density_note(model: S5Model) -> str:
    shares = ", ".join(f"{kind} {share:.4f}" for kind, share in densities(model).items())
    return f"density (share of weights that are not zero): {shares}"
