"""What a float checkpoint may not say about itself, and where each answer came from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import Activation, Discretization, GluVariant
from s5_to_loihi.network.network import Readout


@dataclass(frozen=True)
class LoadOptions:
    """What the user says about a checkpoint; None means: find out, or guess and note it.

    Attributes:
        discretization: how the continuous model becomes a recurrence.
        activation: the non-linearity after each state-space model.
        glu: the gated linear unit.
        conjugate_symmetric: whether the other half of the conjugate pairs is implied.
        prenorm: whether a block's norm comes before its state-space model or after the residual.
        rectified: whether encoder, complex states and blocks' results are rectified
            ("relufication").
        readout: what the output stands for.
        clip_eigenvalues: whether real parts above -1e-4 are set to it, as in training.
        pruning_sparsity: total sparsity of the magnitude pruning to apply again, 0 for none.
        step_rescale: what trained time steps are multiplied by, for data of another rate than that
            of training: ``step_rescale`` of lindermanlab/S5, ``step_scale`` of s5-pytorch.
        select: which of several models in a file: what names of its arrays begin with.
        encoder: what the map before the blocks is called in the file, or ``none``.
        decoder: what the map after the blocks is called in the file, or ``none``.

    Examples:
        >>> options = s5.LoadOptions(glu=s5.GluVariant.HALF2, step_rescale=2.0)
        >>> options.step_rescale
        2.0
    """

    discretization: Discretization | None = None
    activation: Activation | None = None
    glu: GluVariant | None = None
    conjugate_symmetric: bool | None = None
    prenorm: bool | None = None
    rectified: bool | None = None
    readout: Readout | None = None
    clip_eigenvalues: bool | None = None
    pruning_sparsity: float | None = None
    step_rescale: float | None = None
    select: str | None = None
    encoder: str | None = None
    decoder: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was said, as JSON can say it."""
        return {
            name: value.value if isinstance(value, Enum) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    def refuse_all_but(self, where: str, *names: str) -> None:
        """Refuse options that the format of ``where`` leaves no choice about.

        Raises:
            CheckpointError: another option than ``names`` is given.
        """
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in names:
                raise CheckpointError(
                    where,
                    f"option {field.name} is given, which this format leaves no choice about",
                    "Leave the option out",
                )


#: What the options ``encoder`` and ``decoder`` say of a model that has no such map.
NO_MAP = "none"

#: Nothing said: what a checkpoint is, is found out.
AS_IT_IS = LoadOptions()


@dataclass(frozen=True)
class Chooser:
    """Answers questions about a checkpoint: the user first, then a file beside it, then a guess.

    Attributes:
        options: what the user says.
        known: what a file says.
        known_from: the name of that file.
        notes: every answer that did not come from the user is added here.
    """

    options: LoadOptions
    known: LoadOptions
    known_from: str
    notes: list[str]

    def choose(self, name: str, guess: Any, reason: str) -> Any:
        """Return the answer for the option ``name``; ``reason`` says why it would be ``guess``."""
        said, known = getattr(self.options, name), getattr(self.known, name)
        if said is not None:
            return said
        if known is not None:
            self.notes.append(f"{name}: {shown(known)}, from {self.known_from}")
            return known
        self.notes.append(f"{name}: guessed {shown(guess)} because {reason} (option {name})")
        return guess

    def step_rescale(self, reason: str) -> float:
        """Return what time steps are multiplied by: 1 if nobody says, for the ``reason``.

        Raises:
            CheckpointError: no positive number.
        """
        factor = self.choose("step_rescale", 1.0, f"no file says it, and {reason}")
        if not 0 < factor < math.inf:
            raise CheckpointError("option step_rescale", f"is {factor} (any above 0 is allowed)")
        return float(factor)


def shown(value: object) -> str:
    """Return the text of an option's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.value if isinstance(value, Enum) else value)
