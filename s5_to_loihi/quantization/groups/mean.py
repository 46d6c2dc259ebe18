"""MEAN: the mean over the tokens."""

from __future__ import annotations

from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons.mean import MEAN, mean_constants, mean_formats
from s5_to_loihi.quantization.draft import Draft, Message


def add_mean(draft: Draft, source: Message, length: int | None) -> Message:
    """Add the mean over sequences of ``length`` tokens.

    Raises:
        CheckpointError: no length is given.
    """
    constants = mean_constants(source.format, source.format, length)
    formats = mean_formats(constants)
    draft.builder.hand_on("mean.hidden", source.endpoint, Endpoint("mean", "hidden"))
    return draft.add("mean", MEAN, constants, formats, [source], source.exponents)[0]
