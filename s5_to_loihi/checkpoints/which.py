"""Which of several models of a checkpoint is meant: what the user says, or the one that can be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from s5_to_loihi.checkpoints.options import Chooser
from s5_to_loihi.errors import CheckpointError

#: Words in names of what training keeps beside the model that it trains: averages and older states.
_COPY = re.compile(
    r"(^|[._/-])(ema|swa|polyak|averaged?|avg|target|best|shadow|old|previous|prev|backup)"
    r"([._/-]|\d*$)",
    re.IGNORECASE,
)
#: What optimizers and schedulers of Flax, optax, PyTorch and Lightning keep their arrays under.
_OPTIMIZERS = frozenset(
    "opt_state opt_states opt optim optimizer optimizers optimizer_state optimizer_states"
    " optimizer_state_dict scheduler lr_scheduler lr_schedulers scheduler_state_dict".split()
)
_MOST_NAMES = 6


def is_optimizers(name: str) -> bool:
    """Tell by what is above it, between slashes, whether an array belongs to an optimizer."""
    above = itertools.takewhile(lambda part: "params" not in part, name.split("/")[:-1])
    return not _OPTIMIZERS.isdisjoint(above)


def choose_model(where: str, models: Sequence[str], chooser: Chooser) -> str:
    """Return which of several models to read, and note what else there is.

    Args:
        where: the checkpoint, for messages.
        models: where each is in it: what names of its arrays begin with, at least one.
        chooser: with the user's option ``select``, the beginning of a name. Without it one that is
            not called a copy of the model, such as ``ema_params``, is taken.

    Raises:
        CheckpointError: no model, or several, may be meant.
    """
    models = [model.rstrip("./") for model in models]
    said = chooser.options.select
    fitting = models
    if said is not None:
        start = said.rstrip("./")
        fitting = [model for model in models if model == start]
        fitting = fitting or [
            model for model in models if model.startswith((f"{start}/", f"{start}."))
        ]
        if not fitting:
            what = f"is '{said}', and no model in {where} begins with it"
            raise CheckpointError("option select", what, f"There is {listed(models)}")
    originals = [model for model in fitting if not _COPY.search(model)]
    candidates = originals or fitting
    if len(candidates) > 1:
        raise CheckpointError(
            where,
            f"holds {len(candidates)} models, or one with blocks in different places, which is not"
            f" read: {listed(candidates)}",
            f"Say which with the option select, as in --select {candidates[0] or 'NAME'}",
        )
    (chosen,) = candidates
    others = [model for model in models if model != chosen]
    if others and chosen != (said or "").rstrip("./"):
        chooser.notes.append(
            f"model: took {chosen or 'that on top'}; the file also holds {listed(others)}"
            " (option select)"
        )
    return chosen


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence; of many, the first."""
    shown = [name or "(the top)" for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else "none"
