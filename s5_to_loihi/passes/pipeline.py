"""The order of the passes, and the check after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from s5_to_loihi.network.network import Network
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.align_delays import AlignDelays
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.passes.drop_zeros import DropZeros


class Pass(Protocol):
    """A pure function from network to network; its fields are its options."""

    name: str

    def __call__(self, network: Network) -> Network:
        """Return the transformed network; the argument stays as it is."""


DEFAULT_PASSES: tuple[Pass, ...] = (DropZeros(), AlignDelays(), CheckRanges())


def run_passes(
    network: Network,
    passes: Sequence[Pass] = DEFAULT_PASSES,
    observe: Callable[[str, Network], None] = lambda name, network: None,
) -> Network:
    """Run passes over a network that has just been built, verifying it after each.

    Args:
        network: what a front end built.
        passes: in order.
        observe: called after every step with its name and result (to print or to measure); the
            first step is ``lower``, the network as it was built.

    Raises:
        NetworkError: a front end or a pass broke a rule (a defect of theirs).
        CapacityError: the network exceeds a width.
    """
    verify(network)
    observe("lower", network)
    for step in passes:
        network = step(network)
        verify(network)
        observe(step.name, network)
    return network
