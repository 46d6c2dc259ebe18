"""Steps of an optimiser; on a GPU recorded once and replayed.

The models of a study are small: a GPU computes their kernels faster than Python can launch them. A
CUDA graph launches a whole step at once, from the forward pass to the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from s5_to_loihi.training.optimisation import clip_gradients, rate_share
from s5_to_loihi.training.synthetic import Clips

#: Steps before a recording, in which libraries choose and load their kernels.
WARM_UP = 3


class Stepper:
    """Trains a module on batches of one size."""

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        loss: Callable[[Clips], Tensor],
        recorded: bool = True,
    ):
        """Take what is trained, and the loss of a batch.

        ``recorded`` counts on a GPU; there ``loss`` must do its work without the processor then.
        """
        self.module, self.optimiser, self.loss = module, optimiser, loss
        self.rates = [group["lr"] for group in optimiser.param_groups]
        self.recorded = recorded and next(module.parameters()).is_cuda
        if self.recorded:
            for group in optimiser.param_groups:
                group["capturable"] = True
                group["lr"] = torch.tensor(group["lr"], device="cuda")
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._held: Clips | None = None
        self._loss: Tensor | None = None
        self._stream = torch.cuda.Stream() if self.recorded else None

    def step(self, clips: Clips, progress: float) -> Tensor:
        """Take a step on a batch, ``progress`` (0 to 1) of the way; return the loss before it."""
        share = rate_share(progress)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            if self.recorded:
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share
        self._taken += 1
        if self._stream is None:
            return self._once(clips)
        if self._taken <= WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._once(clips)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._graph is None or self._held is None or self._loss is None:
            self._held = Clips(**{name: one.clone() for name, one in vars(clips).items()})
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._loss = self._once(self._held)
        for name, held in vars(self._held).items():
            held.copy_(getattr(clips, name))
        self._graph.replay()
        return self._loss

    def _once(self, clips: Clips) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(clips)
        loss.backward()
        clip_gradients(self.module)
        self.optimiser.step()
        return loss.detach()
