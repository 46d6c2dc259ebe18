"""The exact recurrence of a group over whole sequences, on tensors.

Token by token it is thousands of small steps. Its one definition is traced instead and becomes a
kernel, for this processor or for an NVIDIA GPU (through CuPy; without it, the processor helps out).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5_to_loihi.network.network import NeuronGroup
from s5_to_loihi.network.neurons.constants import Constants
from s5_to_loihi.network.tracing import SOURCES, Program, trace_advance
from s5_to_loihi.simulators import object_code
from s5_to_loihi.simulators.fast import FUNCTION
from s5_to_loihi.simulators.fast_programs import Places, StepWriter
from s5_to_loihi.simulators.lanes import LaneKernel, Lanes, for_a_gpu, for_this_processor
from s5_to_loihi.simulators.loops import Argument


@dataclass(frozen=True)
class Advance:
    """A recurrence as a kernel.

    Attributes:
        kernel: a row is a sequence, a column a neuron.
        inputs, parameters, state: names of what it reads and writes, in this order.
        integers: constants that are passed, by name.
    """

    kernel: LaneKernel
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    state: tuple[str, ...]
    integers: dict[str, int]


def exact_states(group: NeuronGroup, inputs: list[Tensor], constants: Constants) -> list[Tensor]:
    """Return all states of a group from zero on.

    Args:
        group: of a kind with a recurrence.
        inputs: what ``drive`` returns, (T, N, n) whole numbers in float64 each.
        constants: with ``Whole`` in place of arrays.

    Returns:
        One tensor (T, N, n) float64 a register.
    """
    advance = _advance(group, len(inputs))
    device = inputs[0].device
    on_gpu = device.type == "cuda" and cupy() is not None
    place = device if on_gpu else torch.device("cpu")
    count, sequences, size = inputs[0].shape
    tensors = [one.to(place, torch.int32).contiguous() for one in inputs]
    for name in advance.parameters:
        value = attrgetter(name)(constants).tensor
        tensors.append(value.to(place, torch.int32).expand(size).contiguous())
    states = [torch.empty_like(tensors[0]) for _ in advance.state]
    named = dict(zip(advance.inputs + advance.parameters, tensors, strict=True))
    named |= dict(zip((f"next_{name}" for name in advance.state), states, strict=True))
    given = {name: tensor.data_ptr() for name, tensor in named.items()} | advance.integers
    given |= {"count": count, "sequences": sequences, "size": size}
    arguments = advance.kernel.ordered(given)
    if on_gpu:
        _launch(advance.kernel, sequences, size, arguments, device)
    else:
        _call(advance.kernel, sequences, size, arguments)
    return [one.to(device, torch.float64) for one in states]


@functools.cache
def cupy() -> Any:
    """Return CuPy; None if it is not installed."""
    try:
        import cupy as found
    except ImportError:
        return None
    return found


@functools.lru_cache(maxsize=256)
def _advance(group: NeuronGroup, inputs: int) -> Advance:
    program = trace_advance(group, inputs)
    return _Writer(program, group.kind.state).advance()


class _Writer(StepWriter):
    longest_chain = 0

    def __init__(self, program: Program, state: tuple[str, ...]):
        sources = {
            index: step.name
            for index, step in enumerate(program.steps)
            if step.operation in SOURCES
        }
        stores = {name: f"next_{name}" for name in state}
        super().__init__(program, Places(sources, stores, {}))
        self._state = state
        self._names = {
            operation: tuple(step.name for step in program.steps if step.operation == operation)
            for operation in SOURCES
        }
        pointers = [*self._names["accumulator"], *self._names["parameter"], *stores.values()]
        arguments = [Argument(name, "address") for name in pointers] + self.given_arguments()
        arguments += [Argument(name, "integer") for name in ("count", "sequences", "size")]
        self.loops: Lanes = Lanes(arguments)

    def advance(self) -> Advance:
        loops, steps = self.loops, self.program.steps
        assert not self.tables
        with loops.when(loops.at_column.compared("slt", loops["size"])):
            registers = {name: loops.variable(loops.constant(0, "i32")) for name in self._state}
            parameters = {
                index: loops.load(loops[name], loops.at_column)
                for index, name in self.places.loads.items()
                if steps[index].operation == "parameter"
            }
            with loops.loop(0, loops["count"]) as token:
                row = token * loops["sequences"] + loops.at_row
                place = row * loops["size"] + loops.at_column
                known = dict(parameters)
                for index, name in self.places.loads.items():
                    if steps[index].operation == "register":
                        known[index] = loops.get(registers[name], "i32")
                    elif steps[index].operation == "accumulator":
                        known[index] = loops.load(loops[name], place)
                self.write_steps(set(self.needed), known)
                for name, variable in registers.items():
                    value = self.result(name, known)
                    loops.store(value, loops[f"next_{name}"], place)
                    loops.put(value, variable)
        integers = dict(zip(self.constants.values(), self.given[0], strict=True))
        names = self._names
        return Advance(
            loops.kernel(), names["accumulator"], names["parameter"], self._state, integers
        )


def _call(kernel: LaneKernel, rows: int, columns: int, arguments: tuple[int, ...]) -> None:
    """Call a kernel on this processor."""
    (address,) = object_code.addresses([for_this_processor(kernel)]).values()
    given = np.array([*arguments, rows, columns], dtype=np.int64)
    FUNCTION(address)(None, given.ctypes.data)


def _launch(
    kernel: LaneKernel, rows: int, columns: int, arguments: tuple[int, ...], device: torch.device
) -> None:
    """Call a kernel on a GPU, in the order of PyTorch's work."""
    stream = torch.cuda.current_stream(device)
    grid = (rows, -(-columns // kernel.threads))
    with cupy().cuda.Device(stream.device_index):
        function = _function(kernel, stream.device_index)
        given = cupy().cuda.ExternalStream(stream.cuda_stream)
        function(grid, (kernel.threads,), arguments, stream=given)


@functools.cache
def _function(kernel: LaneKernel, device: int) -> Any:
    """Load a kernel onto the current GPU; ``device`` is its number."""
    code, name = object_code.ptx(for_a_gpu(kernel))
    module = cupy().cuda.function.Module()
    module.load(code)
    return module.get_function(name)
