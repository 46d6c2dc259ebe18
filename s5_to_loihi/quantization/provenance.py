"""What a quantization was made from, written down so that it can be made again."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import safetensors
import scipy

from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import BundleError, InputError, S5ToLoihiError
from s5_to_loihi.files.digest import file_digest
from s5_to_loihi.float_model import Activation, Discretization, GluVariant
from s5_to_loihi.inputs import Layout
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.version import VERSION

#: The entry of a bundle's source that holds ``Choices``.
CHOICES = "options"
#: What entries with a file's digest end with.
DIGEST = " sha256"
#: Options of a checkpoint that have names for their values.
_ENUMS = {
    "discretization": Discretization,
    "activation": Activation,
    "glu": GluVariant,
    "readout": Readout,
}


@dataclass(frozen=True)
class Choices:
    """All that was chosen for a quantization.

    Attributes:
        name: of the network.
        options: what the checkpoint does not say.
        precision: bits of all tensors.
        sparsity: share of zeros that was pruned to first; None: as it was.
        one_shot: the same of each matrix, where the rest made up for it.
        sequence_length: tokens a sequence that were asked for; None: those of the data.
        layout: of data with three axes; None: tokens first.
        force: whether constant outputs were accepted.
    """

    name: str
    options: LoadOptions
    precision: Precision
    sparsity: float | None = None
    one_shot: float | None = None
    sequence_length: int | None = None
    layout: Layout | None = None
    force: bool = False

    def as_text(self) -> str:
        """Return it as JSON in one line; what was not chosen is left out."""
        precision = {
            field.name: value
            for field in dataclasses.fields(Precision)
            if (value := getattr(self.precision, field.name)) is not None
        }
        content = {
            "name": self.name,
            "checkpoint": self.options.as_json(),
            "precision": precision | {"overrides": dict(self.precision.overrides)},
            "sparsity": self.sparsity,
            "one_shot": self.one_shot,
            "sequence_length": self.sequence_length,
            "layout": None if self.layout is None else self.layout.value,
            "force": self.force or None,
        }
        kept = {name: value for name, value in content.items() if value is not None}
        return json.dumps(kept, sort_keys=True)


def read_choices(source: Mapping[str, str], where: str) -> Choices:
    """Return what was chosen for a bundle.

    Args:
        source: of the bundle.
        where: what to call it in an error.

    Raises:
        BundleError: it does not say, since it is of another kind or of an older version, or it says
            what cannot be chosen.
    """
    text = source.get(CHOICES)
    if text is None:
        what = "does not say what was chosen for it"
        raise BundleError(where, what, "Give one that 'quantize' of this version wrote")
    try:
        content: dict[str, Any] = json.loads(text)
        said = content.get("checkpoint", {})
        said |= {name: kind(said[name]) for name, kind in _ENUMS.items() if name in said}
        layout = content.get("layout")
        return Choices(
            name=str(content["name"]),
            options=LoadOptions(**said),
            precision=Precision(**content.get("precision", {})),
            sparsity=content.get("sparsity"),
            one_shot=content.get("one_shot"),
            sequence_length=content.get("sequence_length"),
            layout=None if layout is None else Layout(layout),
            force=bool(content.get("force", False)),
        )
    except (LookupError, TypeError, ValueError, AttributeError, S5ToLoihiError) as error:
        what = f"says something that cannot be chosen ({type(error).__name__}: {error})"
        raise BundleError(where, what[:200], "Quantize with options instead") from None


def source_of(
    checkpoint: Mapping[str, str],
    choices: Choices,
    data: Mapping[str, tuple[int, ...]],
    files: Mapping[str, str | os.PathLike[str]],
    scores: Mapping[str, float | None],
) -> dict[str, str]:
    """Return the source of a bundle: texts by their names, the same for the same input.

    Args:
        checkpoint: format, name, files and digest of the checkpoint.
        choices: what was chosen.
        data: role -> (tokens, sequences, features) that were used.
        files: role -> the file that it was read from, where it was one.
        scores: what -> dB.
    """
    found = dict(checkpoint)
    for role, shape in data.items():
        found[role] = " x ".join(map(str, shape)) + " (tokens, sequences, features)"
    for role, path in files.items():
        found[f"{role} file"] = Path(path).name
        found[f"{role}{DIGEST}"] = file_digest(Path(path))
    found[CHOICES] = choices.as_text()
    found["made with"] = (
        f"s5_to_loihi {VERSION}, Python {platform.python_version()}, numpy {numpy.__version__},"
        f" scipy {scipy.__version__}, safetensors {safetensors.__version__}"
    )
    found["scores"] = ", ".join(
        f"{what} {value:.2f} dB" for what, value in scores.items() if value is not None
    )
    return found


def require_same_files(wanted: Mapping[str, str], got: Mapping[str, str], where: str) -> None:
    """Refuse to make a bundle again from other files.

    Args:
        wanted: source of the bundle.
        got: source of the one that was made now.
        where: what to call the first in an error.

    Raises:
        InputError: a file is another one, or missing.
    """
    digests = [name for name in wanted if name.endswith(DIGEST) or name == DIGEST.strip()]
    for name in digests:
        if got.get(name) != wanted[name]:
            role = name.removesuffix(DIGEST).strip() if name.endswith(DIGEST) else "checkpoint"
            file = wanted.get(f"{role} file") or wanted.get("name", "")
            what = f"was made with another {role}: {file}, sha256 {wanted[name][:16]}"
            raise InputError(where, what, "Give the same files, all of them")
