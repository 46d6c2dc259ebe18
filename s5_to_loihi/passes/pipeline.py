"""The order of the passes, and the check after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from s5_to_loihi.model import QuantizedS5
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.align_delays import AlignDelays
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.passes.lower import lower
from s5_to_loihi.passes.prune import Prune


class Pass(Protocol):
    """A pure function from network to network; its fields are its options."""

    name: str

    def __call__(self, network: Network) -> Network:
        """Return the transformed network; the argument stays as it is."""


DEFAULT_PASSES: tuple[Pass, ...] = (Prune(), AlignDelays(), CheckRanges())


def run_passes(
    model: QuantizedS5,
    passes: Sequence[Pass] = DEFAULT_PASSES,
    observe: Callable[[str, Network], None] = lambda name, network: None,
) -> Network:
    """Lower a model and run passes over it, verifying the network after each.

    Args:
        model: what to compile.
        passes: in order.
        observe: called after every step with its name and result (to print or to measure).

    Raises:
        CheckpointError: the model cannot be lowered.
        NetworkError: a pass broke a rule (a defect of the pass).
        CapacityError: the network exceeds a width.
    """
    return run_network_passes(lower(model), passes, observe)


def run_network_passes(
    network: Network,
    passes: Sequence[Pass] = DEFAULT_PASSES,
    observe: Callable[[str, Network], None] = lambda name, network: None,
) -> Network:
    """Run passes over a network that has just been built, as ``run_passes`` does."""
    verify(network)
    observe("lower", network)
    for step in passes:
        network = step(network)
        verify(network)
        observe(step.name, network)
    return network
