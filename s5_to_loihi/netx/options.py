"""How a netx file is to be read: the arguments of ``netx.hdf5.Network``, and a few of ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.errors import InputError


@dataclass(frozen=True, eq=False)
class NetxOptions:
    """What a file does not say; the defaults are netx's.

    Attributes:
        skip_layers: how many layers of the file to leave out at the front.
        num_layers: how many layers of the file to take, skipped ones included; None: all.
        input_message_bits: 0 if what the first layer receives is cut to bits, where that layer is
            none of inputs; any other number takes it whole.
        input_shape: (width, height, channels) of the input, where the file does not say.
        reset_interval: timesteps from one reset of leaky neurons to the next; None: none.
        reset_offset: timestep of the first layer's first reset.
        spike_exp: of sigma-delta neurons; messages have this many fractional bits more than inputs.
        input_bias: (neurons,) integers added to the neurons of an input layer, which netx leaves to
            its caller; None: none.
        corrected: keep what a message cuts off for the next one, as netx does not.
        drop_unknown: leave out layers of unknown types, as netx does in silence.
    """

    skip_layers: int = 0
    num_layers: int | None = None
    input_message_bits: int = 0
    input_shape: tuple[int, ...] | None = None
    reset_interval: int | None = None
    reset_offset: int = 0
    spike_exp: int = 6
    input_bias: np.ndarray | None = None
    corrected: bool = False
    drop_unknown: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: one is out of range.
        """
        for name, lowest, highest in (
            ("skip_layers", 0, 1 << 20),
            ("num_layers", 1, 1 << 20),
            ("input_message_bits", 0, 32),
            ("reset_interval", 1, 1 << 23),
            ("reset_offset", 0, 1 << 23),
            ("spike_exp", 0, 12),
        ):
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise InputError(name, f"is {value} (allowed {lowest}..{highest})")
