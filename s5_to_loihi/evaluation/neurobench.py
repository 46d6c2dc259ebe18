"""NeuroBench's metrics (2.3) of a network, counted by its own code on our messages.

NeuroBench looks at torch modules. A network is shown to it twice: as it is stored, for what does
not depend on data, and at work, where every matrix is a ``Linear`` layer (one to one connections a
``Conv1d`` of one group a neuron) that is given the messages that the simulator sent. A sample is a
token: one execution of the model.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s5_to_loihi import inspection
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import packages
from s5_to_loihi.evaluation.operations import CHUNK, shape_fan_out
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.fast import FastSimulator

#: Widths that torch has, of integers that are stored.
_TORCH_BITS = (8, 16, 32)


@dataclass(frozen=True)
class NeuroBench:
    """What NeuroBench says.

    Attributes:
        version: of NeuroBench.
        tokens: that were executed.
        parameter_count: weights that are not zero, and constants of neurons.
        footprint: bytes of these and of the registers of neurons; indices not counted.
        connection_sparsity: zeros in all matrices, 0..1.
        activation_sparsity: zeros in all messages, 0..1.
        effective_macs, effective_acs: synaptic operations a token, with and without a product.
        dense: if nothing were zero.
    """

    version: str
    tokens: int
    parameter_count: int
    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    effective_macs: float
    effective_acs: float
    dense: float


def measure(network: Network, tokens: np.ndarray) -> NeuroBench:
    """Run NeuroBench's benchmark on tokens of one sequence.

    Args:
        network: verified.
        tokens: (tokens, 1, input features) int32, see ``inputs.as_tokens``.

    Raises:
        InputError: torch or neurobench is not installed, or it computed no number.
    """
    packages.require("neurobench")
    with _quiet():
        import torch
        from neurobench.benchmarks import Benchmark
        from neurobench.metrics import static, workload
        from neurobench.models import NeuroBenchModel

        class Shown(NeuroBenchModel):
            """A torch module, as NeuroBench takes it."""

            def __init__(self, module: Any):
                super().__init__()
                self.module = module
                self.add_activation_module(torch.nn.Identity)

            def __call__(self, batch: Any) -> Any:
                return self.module(batch)

            def __net__(self) -> Any:
                return self.module

        def run(module: Any, given: Any, *metrics: list) -> dict[str, Any]:
            data = torch.utils.data.TensorDataset(given, given[:, :0])
            loader = torch.utils.data.DataLoader(data, batch_size=CHUNK)
            model = Shown(module)
            return Benchmark(model, loader, [], [], list(metrics)).run(quiet=True)

        batches = torch.as_tensor(tokens[:, 0])
        sizes = [static.ParameterCount, static.Footprint]
        stored = run(_stored(torch, network), batches[:0], sizes, [])
        found = run(
            _at_work(torch, network),
            batches,
            [static.ConnectionSparsity],
            [workload.ActivationSparsity, workload.SynapticOperations],
        )
    operations = found["SynapticOperations"]
    # NeuroBench catches what its metrics raise and goes on with None or zero.
    if None in stored.values() or not isinstance(operations, Mapping):
        raise InputError("NeuroBench", "computed nothing", "Install the version that is pinned")
    return NeuroBench(
        version=packages.versions("neurobench")["neurobench"],
        tokens=len(tokens),
        parameter_count=int(stored["ParameterCount"]),
        footprint=int(stored["Footprint"]),
        connection_sparsity=float(found["ConnectionSparsity"]),
        activation_sparsity=float(found["ActivationSparsity"]),
        effective_macs=float(operations["Effective_MACs"]),
        effective_acs=float(operations["Effective_ACs"]),
        dense=float(operations["Dense"]),
    )


def _stored(torch: Any, network: Network) -> Any:
    """Return a module with what is stored, in the narrowest integers that torch has."""
    module = torch.nn.Module()
    entries = [(one.weights.nnz, 8) for one in network.synapses]
    entries += [(row.size, row.format.bits) for row in inspection.constants(network)]
    for place, (size, bits) in enumerate(entries):
        array = torch.zeros(size, dtype=_integers(torch, bits))
        parameter = torch.nn.Parameter(array, requires_grad=False)
        module.register_parameter(f"array{place}", parameter)
    for place, group in enumerate(network.groups):
        registers = torch.zeros((len(group.kind.state), group.size), dtype=torch.int32)
        module.register_buffer(f"registers{place}", registers)
    return module


def _integers(torch: Any, bits: int) -> Any:
    width = next(width for width in _TORCH_BITS if bits <= width)
    return getattr(torch, f"int{width}")


def _at_work(torch: Any, network: Network) -> Any:
    """Return a module whose layers are given the messages of a simulation, chunk after chunk."""

    class AtWork(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.simulator = FastSimulator(network)
            self.state = self.simulator.initial_state()
            sources = dict.fromkeys(str(one.source) for one in network.synapses)
            self.sent = torch.nn.ModuleList(torch.nn.Identity() for _ in sources)
            self.place = {name: place for place, name in enumerate(sources)}
            self.layers = torch.nn.ModuleList(_layer(torch, one) for one in network.synapses)

        def forward(self, tokens: Any) -> Any:
            run = self.simulator.run(tokens.numpy()[:, None], self.state, record=True)
            self.state = run.state
            messages = {
                name: self.sent[place](torch.as_tensor(run.messages[name][:, 0]).float())
                for name, place in self.place.items()
            }
            for synapses, layer in zip(network.synapses, self.layers, strict=True):
                values = messages[str(synapses.source)]
                layer(values[:, :, None] if isinstance(layer, torch.nn.Conv1d) else values)
            return torch.as_tensor(run.outputs[:, 0])

    return AtWork()


def _layer(torch: Any, synapses: Any) -> Any:
    """Return synapses as a layer that NeuroBench knows."""
    targets, sources = synapses.weights.shape
    if shape_fan_out(synapses) == 1 and targets > 1:
        layer = torch.nn.Conv1d(sources, targets, 1, groups=sources, bias=False)
        weights = synapses.weights.diagonal()[:, None, None]
    else:
        layer = torch.nn.Linear(sources, targets, bias=False)
        weights = synapses.weights.toarray()
    layer.weight = torch.nn.Parameter(torch.as_tensor(weights).float(), requires_grad=False)
    return layer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what NeuroBench and its packages print and warn of while they start from the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
