"""Kernels of many lanes, for GPUs: the same loops, of which each lane does its own part.

A launch calls a kernel's body for every *row* and every *column* of a grid; what the two stand for
is the kernel's affair. Bodies know nothing of the machine: LLVM makes PTX of them, which NVIDIA's
driver translates for the GPU that is there, or code for this processor, which calls them in a loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s5_to_loihi.simulators.loops import METADATA, Argument, Loops, Value, given

#: Lanes that start together where nothing speaks for another number.
THREADS = 256
_METADATA = METADATA + '!2 = distinct !{!2, !3}\n!3 = !{!"llvm.loop.unroll.count", i32 4}\n'


@dataclass(frozen=True)
class LaneKernel:
    """A kernel of lanes.

    Attributes:
        body: a function ``NAME_body`` in LLVM's language: of the arguments, a row and a column.
        arguments: pointers (``address``) and integers.
        threads: lanes that start together, columns next to one another.
    """

    body: str
    arguments: tuple[Argument, ...]
    threads: int = THREADS

    def ordered(self, given: Mapping[str, int]) -> tuple[int, ...]:
        """Return what the kernel is to be called with, in its order; there may be more."""
        return tuple(given[one.name] for one in self.arguments)


class Lanes(Loops):
    """A kernel of lanes that is being written.

    Attributes:
        at_row, at_column: which lane it is; columns may lie beyond the last one.
    """

    def __init__(self, arguments: Sequence[Argument], threads: int = THREADS):
        """Begin a kernel."""
        super().__init__(arguments)
        self._threads = threads
        self.at_row = Value(self, "i64", "%row")
        self.at_column = Value(self, "i64", "%column")

    def kernel(self) -> LaneKernel:
        """Return the kernel."""
        lines = "\n".join(self._begin + self._lines)
        body = (
            f"define internal void @NAME_body({given(self._arguments)}, i64 %row, i64 %column)"
            f" alwaysinline nounwind {{\n{lines}\n  ret void\n}}\n"
        )
        text = "".join(sorted(self._declared)) + body + _METADATA
        return LaneKernel(text, self._arguments, self._threads)


def for_a_gpu(kernel: LaneKernel) -> str:
    """Return the text of a kernel ``NAME`` for NVPTX: rows are x of the grid, columns y."""
    passed = given(kernel.arguments).replace("noalias ", "")
    places = {"ctaid.x": "block_row", "ctaid.y": "block", "tid.x": "thread"}
    read = "".join(
        f"  %{name}.i = call i32 @llvm.nvvm.read.ptx.sreg.{register}()\n"
        f"  %{name} = zext i32 %{name}.i to i64\n"
        for register, name in places.items()
    )
    declared = "".join(f"declare i32 @llvm.nvvm.read.ptx.sreg.{one}()\n" for one in places)
    return (
        f"{kernel.body}{declared}"
        f"define ptx_kernel void @NAME({given(kernel.arguments)}) {{\n{read}"
        f"  %first = mul nuw nsw i64 %block, {kernel.threads}\n"
        "  %column = add nuw nsw i64 %first, %thread\n"
        f"  call void @NAME_body({passed}, i64 %block_row, i64 %column)\n"
        "  ret void\n}\n"
        f'!nvvm.annotations = !{{!4}}\n!4 = !{{ptr @NAME, !"maxntidx", i32 {kernel.threads}}}\n'
    )
