"""Which simulator: the fast one on the processor, or that on a GPU. Each is imported when used."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s5_to_loihi.network.network import Network
    from s5_to_loihi.simulators.fast import FastSimulator
    from s5_to_loihi.simulators.gpu import GpuSimulator


class Device(str, Enum):
    """What simulates; the integers are the same."""

    CPU = "cpu"  #: the fast simulator, on this processor
    CUDA = "cuda"  #: an NVIDIA GPU, for many sequences at a time


def simulator_on(device: Device | str, network: Network) -> FastSimulator | GpuSimulator:
    """Return the simulator of a network on a device, by its name if need be.

    Raises:
        InputError: the device cannot be used.
    """
    if Device(device) is Device.CPU:
        from s5_to_loihi.simulators.fast import FastSimulator

        return FastSimulator(network)
    from s5_to_loihi.simulators.gpu import GpuSimulator

    return GpuSimulator(network)
