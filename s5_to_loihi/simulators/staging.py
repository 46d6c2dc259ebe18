"""Copying integers from one width to another, in threads: what goes to a GPU and comes from it."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.simulators import object_code
from s5_to_loihi.simulators.fast import FUNCTION
from s5_to_loihi.simulators.loops import Argument, Kernel, Loops

_KINDS = {np.dtype(np.int16): "i16", np.dtype(np.int32): "i32"}


@functools.cache
def _copy(source: str, target: str) -> Kernel:
    """Copy rows; say whether all integers are within limits."""
    pointers = [Argument(name, "address") for name in ("source", "target")]
    integers = ("rows", "size", "source_step", "target_step", "lowest", "highest")
    loops = Loops([*pointers, *(Argument(name, "integer") for name in integers)])
    low, high = (loops.variable(loops[name].to("i32")) for name in ("lowest", "highest"))
    with loops.loop(0, loops["rows"]) as row:
        read = loops.at(loops["source"], row * loops["source_step"], source)
        written = loops.at(loops["target"], row * loops["target_step"], target)
        with loops.loop(0, loops["size"]) as index:
            value = loops.load(read, index, source).to("i32")
            for place, how in ((low, "smin"), (high, "smax")):
                loops.put(loops.called(f"{how}.i32", "i32", loops.get(place, "i32"), value), place)
            loops.store(value.to(target), written, index)
    within = [
        loops.get(place, "i32").compared("eq", loops[name].to("i32"))
        for place, name in ((low, "lowest"), (high, "highest"))
    ]
    loops.returning((within[0] & within[1]).to("i32"))
    return loops.finished()


def copy(
    target: np.ndarray, source: np.ndarray, pool: ThreadPoolExecutor, threads: int, bits: int = 32
) -> bool:
    """Copy (rows, ...) int16 or int32, rows of which are contiguous, to such of the other width.

    Args:
        target, source: of the same shape.
        pool: whose threads copy,
        threads: so many.
        bits: what the integers are to fit.

    Returns:
        Whether they do.
    """
    rows = len(source)
    if not source.size:
        return True
    kernel = _copy(_KINDS[source.dtype], _KINDS[target.dtype])
    function = FUNCTION(*object_code.addresses([kernel]).values())
    # Threads of Python are to do no more than call.
    firsts = np.arange(0, rows, -(-rows // threads))
    arguments = np.empty((len(firsts), 8), dtype=np.int64)
    for place, one in enumerate((source, target)):
        arguments[:, place] = one.ctypes.data + firsts * one.strides[0]
        arguments[:, 4 + place] = one.strides[0] // one.itemsize
    arguments[:, 2] = np.diff([*firsts, rows])
    arguments[:, 3] = source.size // rows
    arguments[:, 6:] = limits(bits)
    addresses = arguments.ctypes.data + np.arange(len(firsts)) * arguments.strides[0]
    return all(list(pool.map(function, [None] * len(firsts), addresses.tolist())))
