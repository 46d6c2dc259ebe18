"""What runs kernels of lanes: an NVIDIA GPU, through CuPy, which is imported only here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.simulators import object_code
from s5_to_loihi.simulators.lanes import LaneKernel, for_a_gpu

#: The least compute capability that ``object_code.CAPABILITY`` asks for.
LEAST = tuple(map(int, object_code.CAPABILITY.removeprefix("sm_")))
#: Of the free memory of a device so much is used.
SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory of a device.

    Attributes:
        address: where it is.
        owner: what must not go away as long as it is used.
    """

    address: int
    owner: Any


@dataclass(frozen=True)
class Launch:
    """A kernel and what it is called with: see ``LaneKernel``; ``what`` it is, for people."""

    what: str
    kernel: LaneKernel
    rows: int
    columns: int
    arguments: tuple[int, ...]


class Mark(Protocol):
    """A moment in the order of a device's work."""

    def synchronize(self) -> None:
        """Wait until everything before it is done."""


class LaneDevice(Protocol):
    """What runs kernels of lanes, one after the other, while the caller goes on.

    Attributes:
        name: what people call it.
    """

    name: str

    def free_bytes(self) -> int:
        """Return how much memory may be used."""

    def memory(self, size: int) -> Memory:
        """Return ``size`` bytes of memory that hold anything."""

    def staging(self, size: int) -> np.ndarray:
        """Return ``size`` bytes (uint8) of this process to copy from and to."""

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the device, before the kernels that are called next.

        It may be done at once, beside earlier kernels; the array must stay until it is.
        """

    def clear(self, address: int, size: int) -> None:
        """Set ``size`` bytes to zero."""

    def prepared(self, launches: Iterable[Launch]) -> Callable[[], None]:
        """Return what calls kernels one after the other."""

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy into a contiguous array, after the kernels that were called."""

    def mark(self) -> Mark:
        """Return the moment at which all that was asked for until now is done."""


class Cuda:
    """An NVIDIA GPU: that which CUDA calls the current one."""

    def __init__(self) -> None:
        """Find it.

        Raises:
            InputError: there is none that can be used, or CuPy is missing.
        """
        with _said():
            import cupy

            runtime = cupy.cuda.runtime
            number = runtime.getDevice()
            properties = runtime.getDeviceProperties(number)
        self.name = properties["name"].decode()
        found = properties["major"], properties["minor"]
        if found < LEAST:
            raise InputError(
                "device cuda",
                f"{self.name} has compute capability {found[0]}.{found[1]}, at least"
                f" {LEAST[0]}.{LEAST[1]} is needed",
                "Use the processor: --device cpu",
            )
        self._cupy = cupy
        # What goes in and out does not wait for kernels, nor they for it, unless they must.
        self._in, self._stream, self._out = (cupy.cuda.Stream(non_blocking=True) for _ in range(3))
        self._functions: dict[LaneKernel, Any] = {}

    def free_bytes(self) -> int:
        """Return half of what is free."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(SHARE * (free + self._cupy.get_default_memory_pool().free_bytes()))

    def memory(self, size: int) -> Memory:
        """Return memory of the GPU."""
        try:
            memory = self._cupy.cuda.alloc(max(1, size))
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise InputError(
                "device cuda", f"{self.name}: {error}", "Free its memory, or use --device cpu"
            ) from None
        return Memory(memory.ptr, memory)

    def staging(self, size: int) -> np.ndarray:
        """Return memory from which the GPU copies by itself."""
        return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(max(1, size)), np.uint8, size)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy to the GPU."""
        runtime = self._cupy.cuda.runtime
        runtime.memcpyAsync(
            address, array.ctypes.data, array.nbytes, runtime.memcpyHostToDevice, self._in.ptr
        )
        self._stream.wait_event(self._in.record())

    def clear(self, address: int, size: int) -> None:
        """Set memory of the GPU to zero."""
        self._cupy.cuda.runtime.memsetAsync(address, 0, size, self._stream.ptr)

    def prepared(self, launches: Iterable[Launch]) -> Callable[[], None]:
        """Translate kernels that were not called before."""
        ready = []
        for one in launches:
            grid = (one.rows, -(-one.columns // one.kernel.threads))
            arguments = tuple(map(np.int64, one.arguments))
            ready.append((self._function(one.kernel), grid, (one.kernel.threads,), arguments))

        def call() -> None:
            for function, grid, block, arguments in ready:
                function(grid, block, arguments, stream=self._stream)

        return call

    def _function(self, kernel: LaneKernel) -> Any:
        if kernel not in self._functions:
            code, name = object_code.ptx(for_a_gpu(kernel))
            module = self._cupy.cuda.function.Module()
            module.load(code)
            self._functions[kernel] = module.get_function(name)
        return self._functions[kernel]

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the GPU."""
        runtime = self._cupy.cuda.runtime
        self._out.wait_event(self._stream.record())
        runtime.memcpyAsync(
            array.ctypes.data, address, array.nbytes, runtime.memcpyDeviceToHost, self._out.ptr
        )

    def mark(self) -> Mark:
        """Return an event."""
        for one in (self._in, self._stream):
            self._out.wait_event(one.record())
        return self._out.record()


@contextmanager
def _said() -> Iterator[None]:
    """Say what is missing.

    Raises:
        InputError: CuPy, or a GPU.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            "device cuda",
            f"needs CuPy, which cannot be imported ({error})",
            "pip install 's5_to_loihi[cuda13]', or [cuda12] for a driver of CUDA 12 (nvidia-smi"
            " says which), or use --device cpu",
        ) from None
    except RuntimeError as error:  # of CUDA's runtime
        raise InputError(
            "device cuda",
            f"no NVIDIA GPU can be used ({error})",
            "See whether nvidia-smi shows one, or use --device cpu",
        ) from None
