"""What an export does not say: options of the user, else found out, else guessed with a note."""

from __future__ import annotations

from dataclasses import dataclass

from s5_to_loihi.checkpoints.training_arguments import ARGUMENTS_FILE
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export.entries import Entries
from s5_to_loihi.intel_export.export import IntelExport
from s5_to_loihi.network.network import Readout


@dataclass(frozen=True)
class ExportOptions:
    """What an export does not say; None means: find out, or guess and say so.

    Attributes:
        glu: the gated linear unit.
        conjugate_symmetric: whether the other half of the conjugate pairs is implied.
        readout: what the output stands for.
        sequence_length: tokens a sequence, for the readout ``mean``.

    Examples:
        >>> options = s5.ExportOptions(readout=s5.Readout.LAST)
        >>> s5.compile_export("export", options).network.readout.value
        'last'
    """

    glu: GluVariant | None = None
    conjugate_symmetric: bool | None = None
    readout: Readout = Readout.EACH_TOKEN
    sequence_length: int | None = None


#: What notes of answers begin with that no file gives.
GLU_GUESSED, SYMMETRY_GUESSED = "GLU variant: half1, a guess", "conjugate symmetry: on, a guess"


def refuse_arguments(export: IntelExport) -> None:
    """Refuse what the training arguments say the chip cannot do (CheckpointError)."""
    where = f"{export.name}/{ARGUMENTS_FILE}"
    refusals = (
        ("bidirectional", True, "a bidirectional model reads the sequence backwards as well, so no"
         " output is known before the last token; the chip runs token by token"),
        ("batchnorm", False, "Intel's fixed-point model exists with batch norm only"),
        ("prenorm", False, "Intel's fixed-point model exists for norm before the block only"),
        ("relufication", False, "Intel's fixed-point model exists with ReLU only"),
    )  # fmt: skip
    for key, value, reason in refusals:
        if export.arguments.get(key, not value) is value:
            raise CheckpointError(where, f"{key} is {value}: {reason}", "Train without it")


def find_glu(export: IntelExport, entries: Entries, notes: list[str]) -> GluVariant:
    """Tell the gated linear unit by the maps that there are, the arguments or the recordings."""
    keys = entries.keys("encoder/layers_0")
    if "out1" in keys:
        return GluVariant.FULL
    if "out2" not in keys:
        return GluVariant.NONE
    if export.arguments.get("glu_variant") in (GluVariant.HALF1.value, GluVariant.HALF2.value):
        return GluVariant(export.arguments["glu_variant"])
    products = [
        recorded.data for name, recorded in export.recorded.items() if name.endswith("/post_GLU")
    ]
    if products:
        # half1 multiplies relu(y) by a sigmoid: never negative; half2 multiplies y itself.
        negative = any((data < 0).any() for data in products)
        return GluVariant.HALF2 if negative else GluVariant.HALF1
    notes.append(f"{GLU_GUESSED} (no file says half1 or half2; choose with --glu)")
    return GluVariant.HALF1


def find_symmetry(export: IntelExport, notes: list[str]) -> bool:
    """Tell whether only one half of the conjugate pairs is stored."""
    if isinstance(export.arguments.get("conj_sym"), bool):
        return export.arguments["conj_sym"]
    if export.has_activations:
        return any(name.endswith("mixer/2Cxs") for name in export.recorded)
    notes.append(f"{SYMMETRY_GUESSED} (no file says; choose with --symmetric)")
    return True
