"""An S5 block with the conventions of lava-dl's SLAYER, to stand between its blocks.

Values are (N, C, T): sequences, neurons, time. What comes in and goes out are differences, as in
SLAYER's sigma-delta blocks: they are added up, the block computes with absolute values, and its
result is sent as differences that reach a threshold. lava-dl itself is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s5_to_loihi.float_model import Discretization, GluVariant, S5Model
from s5_to_loihi.network.network import Readout
from s5_to_loihi.training.architecture import Architecture, initial_model
from s5_to_loihi.training.modules import Block
from s5_to_loihi.training.straight_through import straight

#: A message of 2**-12 is one integer of netx.
MESSAGE_SCALE = 4096
#: Thresholds are whole multiples of 2**-6 there.
THRESHOLD_SCALE = 64


class S5(nn.Module):
    """Sigma, batch norm, S5, ReLU, gated linear unit, residual, ReLU, delta.

    Attributes:
        shape: of the neurons.
        threshold: of the differences that are sent, a multiple of 2**-6.
    """

    def __init__(
        self,
        neuron_params: Mapping[str, float],
        in_neurons: int,
        states: int | None = None,
        *,
        glu: GluVariant = GluVariant.HALF1,
        discretization: Discretization = Discretization.ZERO_ORDER_HOLD,
        steps: tuple[float, float] = (1e-3, 1e-1),
        pre_hook_fx: Callable[..., Tensor] | None = None,
        count_log: bool = False,
        seed: int = 0,
    ):
        """Make a block.

        Args:
            neuron_params: ``threshold``, as of SLAYER's blocks; more is for those.
            in_neurons: neurons in and out.
            states: complex states; half of the neurons by default.
            glu, discretization, steps: see ``Architecture``.
            pre_hook_fx: quantizes weights in every pass, straight through:
                ``pre_hook_fx(weight, descale=False)``.
            count_log: whether ``forward`` returns the share of messages that are sent as well.
            seed: of the initial weights.
        """
        super().__init__()
        architecture = Architecture(
            width=in_neurons,
            states=states,
            blocks=1,
            glu=glu,
            discretization=discretization,
            steps=steps,
        )
        start = initial_model("s5", architecture, 1, 1, Readout.EACH_TOKEN, seed)
        (block,) = start.blocks
        self.block = Block(block).float()  # type: ignore[arg-type]
        self.shape = torch.Size([in_neurons])
        self.threshold = int(neuron_params["threshold"] * THRESHOLD_SCALE) / THRESHOLD_SCALE
        self.count_log, self.pre_hook_fx = count_log, pre_hook_fx
        for weight in self._weights():
            weight.hook = pre_hook_fx

    def _weights(self) -> list[Any]:
        maps = [one.weight for one in (self.block.value, self.block.gate) if one is not None]
        return [self.block.ssm.b, self.block.ssm.c, *maps]

    def forward(self, differences: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the differences (N, C, T) that are sent, and their share if asked for."""
        hidden = differences.cumsum(-1).permute(2, 0, 1)
        result, _, _ = self.block(hidden)
        sent = delta(result, self.threshold).permute(1, 2, 0)
        return (sent, (sent != 0).float().mean()) if self.count_log else sent

    def clamp(self) -> None:
        """Do nothing: the parameters stay stable by themselves."""

    def export_hdf5(self, handle: Any) -> None:
        """Write the block as a layer of a netx file: its float model, and its threshold.

        netx refuses the layer by its neuron's type rather than leave it out without a word.

        Args:
            handle: a group of h5py, ``layer/N``.
        """
        handle.create_dataset("type", (1,), "S10", [b"dense"])
        handle.create_dataset("shape", data=np.array(self.shape))
        for name in ("inFeatures", "outFeatures"):
            handle.create_dataset(name, data=self.shape[0])
        handle.create_dataset("neuron/type", data="S5")
        mantissa = int(self.threshold * THRESHOLD_SCALE)
        handle.create_dataset("neuron/vThMant", data=mantissa)
        block = self.quantized_block()
        ssm, norm = block.ssm, block.norm
        arrays = {
            "norm/mean": norm.mean,
            "norm/variance": norm.variance,
            "norm/scale": norm.scale,
            "norm/bias": norm.bias,
            "ssm/eigenvalues": ssm.eigenvalues,
            "ssm/step": ssm.step,
            "ssm/b": ssm.b,
            "ssm/c": ssm.c,
            "ssm/d": ssm.d,
        }
        for name, affine in (("value", block.value), ("gate", block.gate)):
            if affine is not None:
                arrays |= {f"{name}/weight": affine.weight, f"{name}/bias": affine.bias}
        for name, array in arrays.items():
            if np.iscomplexobj(array):
                array = np.stack([array.real, array.imag], axis=-1)
            handle.create_dataset(f"model/{name}", data=array)
        handle["model"].attrs.update(
            schema="s5_to_loihi model",
            schema_version=1,
            kind="s5",
            discretization=ssm.discretization.value,
            conjugate_symmetric=ssm.conjugate_symmetric,
            norm="batch",
            epsilon=norm.epsilon,
            prenorm=True,
            activation=block.activation.value,
            glu=block.glu.value,
            rectified=block.rectified,
        )

    def quantized_block(self) -> Any:
        """Return the block as arrays, its weights as the hook makes them."""
        hooked = {}
        for weight in self._weights():
            if weight.hook is not None:
                hooked[weight] = weight.value.data
                weight.value.data = weight().detach()
        block = self.block.block()
        for weight, value in hooked.items():
            weight.value.data = value
        return block

    def model(self, name: str = "s5") -> S5Model:
        """Return the block as a model without encoder and decoder, for ``float_model.evaluate``."""
        return S5Model(name, None, False, (self.quantized_block(),), None)


def delta(values: Tensor, threshold: float) -> Tensor:
    """Return the differences of values (T, N, C) that are sent.

    A difference to what has been sent is sent if it reaches the threshold, as a multiple of 2**-12;
    what that cuts off stays in the next one: nothing adds up to a drift. The gradient is that of
    plain differences.
    """
    with torch.no_grad():
        sent, messages = torch.zeros_like(values[0]), []
        for value in values:
            message = torch.floor((value - sent) * MESSAGE_SCALE) / MESSAGE_SCALE
            message = torch.where((value - sent).abs() >= threshold, message, 0.0)
            sent = sent + message
            messages.append(message)
    smooth = torch.diff(values, dim=0, prepend=torch.zeros_like(values[:1]))
    return straight(torch.stack(messages), smooth)
