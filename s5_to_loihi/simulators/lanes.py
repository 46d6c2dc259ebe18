"""Kernels of many lanes, for GPUs: the same loops, of which each lane does its own part.

A launch calls a kernel's body for every *row* and every *column* of a grid; what the two stand for
is the kernel's affair. Bodies know nothing of the machine: LLVM makes PTX of them, which NVIDIA's
driver translates for the GPU that is there, or code for this processor, which calls them in a loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s5_to_loihi.simulators.loops import (
    METADATA,
    Argument,
    Kernel,
    Loops,
    Value,
    given,
    is_pointer,
)

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


def for_this_processor(kernel: LaneKernel) -> Kernel:
    """Return a kernel that calls every lane in a loop: its arguments, then rows and columns."""
    lines, passed = [], []
    for number, one in enumerate([*kernel.arguments, None, None]):
        lines += [
            f"  %p{number} = getelementptr i64, ptr %arguments, i64 {number}",
            f"  %a{number} = load i64, ptr %p{number}",
        ]
        if one is not None and is_pointer(one):
            lines.append(f"  %q{number} = inttoptr i64 %a{number} to ptr")
            passed.append(f"ptr %q{number}")
        elif one is not None:
            passed.append(f"i64 %a{number}")
    rows, columns = f"%a{len(passed)}", f"%a{len(passed) + 1}"
    loop = f"""
  br label %row
row:
  %r = phi i64 [0, %entry], [%r1, %next]
  %more = icmp slt i64 %r, {rows}
  br i1 %more, label %column, label %end
column:
  %c = phi i64 [0, %row], [%c1, %lane]
  %on = icmp slt i64 %c, {columns}
  br i1 %on, label %lane, label %next
lane:
  call void @NAME_body({", ".join(passed)}, i64 %r, i64 %c)
  %c1 = add i64 %c, 1
  br label %column
next:
  %r1 = add i64 %r, 1
  br label %row
end:
  ret i32 1
"""
    body = kernel.body.replace("alwaysinline", "noinline")
    head = "define i32 @NAME(ptr %context, ptr %arguments) nounwind {\nentry:\n"
    return Kernel(f"{body}{head}" + "\n".join(lines) + loop + "}\n")
