"""Loads a float checkpoint of any known format: finds out which one it is, and reads it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from s5_to_loihi.checkpoints import formats, intel_conversion
from s5_to_loihi.checkpoints.containers import refusing_damage
from s5_to_loihi.checkpoints.magnitude_pruning import densities
from s5_to_loihi.checkpoints.named_arrays import LoadedCheckpoint, UnknownNames
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.arrays import ZIP_START, check_zip
from s5_to_loihi.files.reading import opened
from s5_to_loihi.float_model import S5Model

#: How notes begin that say which of several things was taken, though another may be meant.
CHOICES = ("directory: ", "items: ", "model: ", "batch norm statistics: ", "step_rescale: ")


def load(path: str | os.PathLike[str], options: LoadOptions = LoadOptions()) -> LoadedCheckpoint:
    """Load a float checkpoint.

    Args:
        path: a file or directory of one of the formats of ``docs/checkpoints.md``.
        options: what the checkpoint does not say.

    Raises:
        CheckpointError: no known format, damaged, or a model that no loader knows.

    Examples:
        >>> loaded = s5.load("model")
        >>> loaded.model.name, len(loaded.model.blocks)
        ('denoiser_small', 3)
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(str(path), "does not exist", "Give a checkpoint")
    try:
        loaded = _read(path, options)
    except OSError as error:
        raise CheckpointError(str(path), f"cannot be read ({error.strerror or error})") from None
    except UnknownNames as unknown:
        raise CheckpointError(unknown.where, unknown.what, formats.known_formats()) from None
    more = (*_limitations(loaded.model), _density_note(loaded.model))
    return replace(loaded, notes=loaded.notes + more)


def _read(path: Path, options: LoadOptions) -> LoadedCheckpoint:
    start = b""
    if not path.is_dir():
        with opened(path, CheckpointError) as file:
            start = file.read(8)
            if start.startswith(ZIP_START):
                with refusing_damage(path, "zip archive"):
                    check_zip(file)
    for known in formats.FORMATS:
        if known.sniff(path, start):
            return known.read(path, options)
    if path.is_dir() and (path / intel_conversion.EXPORT_FILE).exists():
        raise CheckpointError(
            str(path),
            "is Intel's fixed-point export: it holds integers, there is nothing to quantize",
            "Compile it as it is, or give the float checkpoint that it was made from",
        )
    children = sorted(path.iterdir()) if path.is_dir() else ()
    inside = [child.name for child in children if _looks_loadable(child)]
    do = f"Inside it, try {' or '.join(inside)}" if inside else formats.known_formats()
    raise CheckpointError(str(path), "is no checkpoint of a known format", do)


def _looks_loadable(path: Path) -> bool:
    """Tell by names alone whether something in a directory may be what the user meant."""
    if path.is_dir():
        return any(known.sniff(path, b"") for known in formats.FORMATS)
    if any(path.suffix in known.suffixes for known in formats.FORMATS):
        return True
    # Flax's older files have no suffix.
    return re.fullmatch(r"checkpoint_\d+", path.name) is not None


def _limitations(model: S5Model) -> tuple[str, ...]:
    """Say what of a model the chip cannot do."""
    notes = []
    if any(block.ssm.bidirectional_c is not None for block in model.blocks):
        notes.append(
            "bidirectional: in floats only; no output is known before a sequence's last token"
        )
    return tuple(notes)


def _density_note(model: S5Model) -> str:
    shares = ", ".join(f"{kind} {share:.4f}" for kind, share in densities(model).items())
    return f"density (share of weights that are not zero): {shares}"
