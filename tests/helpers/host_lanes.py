"""A stand-in for a GPU: the same bodies of kernels, called in a loop on this processor."""

import ctypes
import weakref
from collections.abc import Callable, Iterable

import numpy as np

from s5_to_loihi.simulators import object_code
from s5_to_loihi.simulators.devices import Launch, Memory
from s5_to_loihi.simulators.fast import FUNCTION
from s5_to_loihi.simulators.lanes import for_this_processor

#: What memory holds that nobody wrote.
POISON = 0x5A


class Now:
    """All is done at once."""

    def synchronize(self) -> None:
        pass


class Host:
    """A device that is this processor.

    Attributes:
        free: bytes that it says may be used.
        taken: most bytes that were used at a time, constants included.
    """

    name = "this processor"

    def __init__(self, free: int = 1 << 28):
        self.free, self.taken, self._used = free, 0, 0

    def free_bytes(self) -> int:
        return self.free

    def memory(self, size: int) -> Memory:
        # Vectors want addresses that are multiples of their size.
        array = np.full(size + 64, POISON, dtype=np.uint8)
        address = array.ctypes.data
        self._used += size
        self.taken = max(self.taken, self._used)
        weakref.finalize(array, self._freed, size)
        return Memory(address + -address % 64, array)

    def _freed(self, size: int) -> None:
        self._used -= size

    def staging(self, size: int) -> np.ndarray:
        return np.full(size, POISON, dtype=np.uint8)

    def upload(self, address: int, array: np.ndarray) -> None:
        assert array.flags.c_contiguous
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: np.ndarray, address: int) -> None:
        assert array.flags.c_contiguous
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def clear(self, address: int, size: int) -> None:
        ctypes.memset(address, 0, size)

    def prepared(self, launches: Iterable[Launch]) -> Callable[[], None]:
        ready = []
        for one in launches:
            function = FUNCTION(*object_code.addresses([for_this_processor(one.kernel)]).values())
            lanes = -(-one.columns // one.kernel.threads) * one.kernel.threads
            ready.append((function, np.array([*one.arguments, one.rows, lanes], dtype=np.int64)))

        def call() -> None:
            for function, arguments in ready:
                function(None, arguments.ctypes.data)

        return call

    def mark(self) -> Now:
        return Now()
