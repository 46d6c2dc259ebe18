"""MEAN: the mean over the tokens."""

from __future__ import annotations

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import MEAN
from s5_to_loihi.network.neurons.mean import mean_constants
from s5_to_loihi.quantization.draft import Draft, Message


def add_mean(draft: Draft, source: Message, length: int | None) -> Message:
    """Add the mean over sequences of ``length`` tokens.

    Raises:
        CheckpointError: no length is given.
    """
    if not length or length < 1:
        raise CheckpointError(
            "readout",
            "the mean over the tokens needs their number",
            "Give the length of a sequence in tokens",
        )
    hidden = source.format
    constants = mean_constants(hidden, hidden, length)
    summed = Format(constants.sum_bits, hidden.exponent - constants.input_shift)
    draft.builder.hand_on("mean.hidden", source.endpoint, Endpoint("mean", "hidden"))
    formats = {"sum": summed, "mean": hidden, "lowered": hidden}
    return draft.add("mean", MEAN, constants, formats, [source], source.exponents)[0]
