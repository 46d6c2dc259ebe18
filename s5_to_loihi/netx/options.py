"""How a netx file is to be read: the arguments of ``netx.hdf5.Network``, and a few of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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

    Examples:
        >>> s5.NetxOptions(skip_layers=1, spike_exp=6).spike_exp
        6
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
        shape = self.input_shape
        if shape is not None and (len(shape) not in (1, 3) or min(shape) < 1):
            raise InputError("input_shape", f"is {shape} (expected width, height, channels)")


def read_netx_options(arguments: Iterable[str]) -> NetxOptions:
    """Return the options that texts ``NAME=VALUE`` give.

    Args:
        arguments: values are integers; of ``input_shape`` several, with commas between them.

    Raises:
        InputError: there is no such argument, or the value is no number.
    """
    fields = {field.name for field in dataclasses.fields(NetxOptions)} - {"input_bias"}
    given: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        name = name.strip().replace("-", "_")
        if name not in fields or not equals:
            raise InputError(
                f"--netx {argument:.80}",
                "is no argument of a netx network",
                f"Give NAME=VALUE with one of {', '.join(sorted(fields))}",
            )
        try:
            numbers = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"--netx {argument:.80}", "has no integer", "Give a number") from None
        if name == "input_shape":
            given[name] = numbers
        elif name in ("corrected", "drop_unknown"):
            given[name] = bool(numbers[0])
        else:
            given[name] = numbers[0]
    return NetxOptions(**given)
