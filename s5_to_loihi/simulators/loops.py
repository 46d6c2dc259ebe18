"""Loops, written down for LLVM: the little that the fast simulator's kernels are made of.

A kernel is a function of a *context*, the addresses of what one stream or sequence works on, and
of *arguments*, integers that say where in it and with which sizes, shifts, limits and constants. So
its text depends on none of these, and everything of one structure shares one machine code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Tokens that a sequence kernel handles at a time. Measured: twice as fast as 32, as fast as 256.
BLOCK = 128

#: The fields of a context, 8 bytes each: addresses, then integers.
CONTEXT = ("messages", "accumulators", "state", "sent", "synops", "tokens", "outputs")
COUNTS = ("count", "now", "meeting", "turn")

#: LLVM's ways to say how often a loop is to be unrolled; what they mean goes below a kernel.
_UNROLLED = {True: "", False: ", !llvm.loop !0", 4: ", !llvm.loop !2"}
METADATA = '!0 = distinct !{!0, !1}\n!1 = !{!"llvm.loop.unroll.disable"}\n'

_BYTES = {"i8": 1, "i16": 2, "i32": 4, "i64": 8}


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel.

    Attributes:
        name: how the kernel calls it.
        place: what it means: a field of the context (the integer is an offset there in bytes),
            ``address`` (the integer is one) or ``integer``; of ``COUNTS`` none is given.
    """

    name: str
    place: str


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        text: a function ``NAME`` in LLVM's language, and another that it calls.
    """

    text: str


class Value:
    """An integer while a kernel runs, or a row of them; computes as Python's do, in its width."""

    def __init__(self, loops: Loops, kind: str, text: str):
        self.loops, self.kind, self.text = loops, kind, text

    def _with(self, operation: str, other: Value | int) -> Value:
        text = other.text if isinstance(other, Value) else str(other)
        return self.loops.assign(self.kind, f"{operation} {self.kind} {self.text}, {text}")

    def __add__(self, other: Value | int) -> Value:
        return self._with("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._with("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._with("mul", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._with("shl", other)

    def __rshift__(self, other: Value | int) -> Value:
        return self._with("ashr", other)

    def __and__(self, other: Value | int) -> Value:
        return self._with("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._with("or", other)

    def compared(self, how: str, other: Value | int) -> Value:
        """Return a truth value (or a row); ``how`` is one of LLVM's: eq, ne, sgt, sle, slt."""
        truth = self.kind.replace("i32", "i1").replace("i64", "i1")
        compared = self._with(f"icmp {how}", other)
        return Value(self.loops, truth, compared.text)

    def to(self, kind: str) -> Value:
        """Return the integer in another width; its value must fit there."""
        if kind == self.kind:
            return self
        of, to = (int(one.split("i")[-1].rstrip(">")) for one in (self.kind, kind))
        how = "trunc" if to < of else "zext" if of == 1 else "sext"
        return self.loops.assign(kind, f"{how} {self.kind} {self.text} to {kind}")

    def spread(self, kind: str) -> Value:
        """Return a row of this integer everywhere."""
        one = self.loops.assign(
            kind, f"insertelement {kind} poison, {self.kind} {self.text}, i64 0"
        )
        mask = f"<{kind[1:].split(' x ')[0]} x i32> zeroinitializer"
        return self.loops.assign(kind, f"shufflevector {kind} {one.text}, {kind} poison, {mask}")


class Loops:
    """A kernel that is being written."""

    def __init__(self, arguments: Sequence[Argument]):
        """Begin a kernel; its arguments are ``self[name]``: pointers, or integers (i64)."""
        self._arguments = tuple(arguments)
        self._begin: list[str] = []
        self._lines: list[str] = []
        self._declared: set[str] = set()
        self._names = 0
        self._result = "1"
        self._values = {
            one.name: Value(self, "ptr" if is_pointer(one) else "i64", f"%{one.name}")
            for one in self._arguments
        }

    def __getitem__(self, name: str) -> Value:
        """Return an argument."""
        return self._values[name]

    def constant(self, value: int, kind: str = "i64") -> Value:
        """Return an integer that is part of the kernel."""
        return Value(self, kind, str(value))

    def assign(self, kind: str, text: str) -> Value:
        """Return what one of LLVM's instructions computes."""
        name = self._name("v")
        self._lines.append(f"  {name} = {text}")
        return Value(self, kind, name)

    def choose(self, truth: Value, left: Value, right: Value) -> Value:
        """Return ``left`` where something holds, else ``right``."""
        given = ", ".join(f"{one.kind} {one.text}" for one in (truth, left, right))
        return self.assign(left.kind, f"select {given}")

    def called(self, function: str, kind: str, *values: Value | str) -> Value:
        """Return what one of LLVM's own functions computes."""
        given = [f"{one.kind} {one.text}" if isinstance(one, Value) else one for one in values]
        kinds = ", ".join(one.rsplit(" ", 1)[0] for one in given)
        self._declared.add(f"declare {kind} @llvm.{function}({kinds})\n")
        return self.assign(kind, f"call {kind} @llvm.{function}({', '.join(given)})")

    def at(self, pointer: Value, index: Value | int, kind: str = "i32") -> Value:
        """Return the pointer to an entry."""
        text = index.text if isinstance(index, Value) else str(index)
        return self.assign("ptr", f"getelementptr inbounds {kind}, ptr {pointer.text}, i64 {text}")

    def load(
        self, pointer: Value, index: Value | int = 0, kind: str = "i32", align: int = 0
    ) -> Value:
        """Return an entry, or from there on a row of them; ``align``: its bytes, if not one's."""
        element = _element(kind)
        place = self.at(pointer, index, element)
        return self.assign(kind, f"load {kind}, ptr {place.text}, align {align or _BYTES[element]}")

    def store(self, value: Value, pointer: Value, index: Value | int = 0, align: int = 0) -> None:
        """Put an entry, or a row of them."""
        element = _element(value.kind)
        place = self.at(pointer, index, element)
        self._lines.append(
            f"  store {value.kind} {value.text}, ptr {place.text}, align {align or _BYTES[element]}"
        )

    def row(self, kind: str) -> Value:
        """Return memory for a value of each token of a block."""
        return self.memory(f"[{BLOCK} x {kind}]")

    def variable(self, initial: Value) -> Value:
        """Return memory for one value; ``get`` and ``put`` exchange it."""
        place = self.memory(initial.kind)
        self.put(initial, place)
        return place

    def get(self, variable: Value, kind: str) -> Value:
        """Return what a variable holds."""
        return self.assign(kind, f"load {kind}, ptr {variable.text}")

    def put(self, value: Value, variable: Value) -> None:
        """Change what a variable holds."""
        self._lines.append(f"  store {value.kind} {value.text}, ptr {variable.text}")

    @contextlib.contextmanager
    def loop(
        self, start: Value | int, stop: Value | int, step: int = 1, unrolled: bool | int = True
    ) -> Iterator[Value]:
        """Repeat what is written inside for an index (i64) from ``start`` up to below ``stop``.

        LLVM may unroll it, or not, or in kernels of lanes is to do so 4 times.
        """
        first = start if isinstance(start, Value) else self.constant(start)
        place = self.variable(first)
        head, body, end = (self._label(one) for one in ("head", "body", "end"))
        self._lines += [f"  br label %{head}", f"{head}:"]
        index = self.get(place, "i64")
        more = index.compared("slt", stop)
        self._lines += [f"  br i1 {more.text}, label %{body}, label %{end}", f"{body}:"]
        yield index
        following = self.assign("i64", f"add nuw nsw i64 {index.text}, {step}")
        self.put(following, place)
        self._lines += [f"  br label %{head}{_UNROLLED[unrolled]}", f"{end}:"]

    @contextlib.contextmanager
    def when(self, truth: Value) -> Iterator[None]:
        """Do what is written inside only if something holds."""
        then, end = self._label("then"), self._label("end")
        self._lines += [f"  br i1 {truth.text}, label %{then}, label %{end}", f"{then}:"]
        yield
        self._lines += [f"  br label %{end}", f"{end}:"]

    def call(self, function: Value, *values: Value) -> Value:
        """Call the kernel at an address; return whether to go on."""
        address = self.assign("ptr", f"inttoptr i64 {function.text} to ptr")
        given = ", ".join(f"{one.kind} {one.text}" for one in values)
        return self.assign("i32", f"call i32 {address.text}({given})")

    def returning(self, result: Value) -> None:
        """Let the kernel say whether to go on: not if it is 0 (i32)."""
        self._result = result.text

    def finished(self) -> Kernel:
        """Return the kernel.

        What it does is a function of its own, whose pointers lead to memory of their own
        (``noalias``): only so can all loops become vector code.
        """
        body = "\n".join(self._begin + self._lines)
        inner = (
            f"define internal i32 @NAME_body({given(self._arguments)}) noinline nounwind {{\n"
            f"{body}\n  ret i32 {self._result}\n}}\n"
        )
        unpacked: list[str] = []
        passed, position = [], 0
        for number, one in enumerate(self._arguments):
            found, position = _unpacked(number, one, position)
            unpacked += found
            passed.append(f"{'ptr' if is_pointer(one) else 'i64'} %a{number}")
        lines = "\n".join(unpacked)
        outer = (
            f"define i32 @NAME(ptr %context, ptr %arguments) nounwind {{\n{lines}\n"
            f"  %done = call i32 @NAME_body({', '.join(passed)})\n  ret i32 %done\n}}\n"
        )
        return Kernel("".join(sorted(self._declared)) + inner + outer + METADATA)

    def memory(self, kind: str) -> Value:
        """Return memory for something of LLVM's types."""
        name = self._name("m")
        self._begin.append(f"  {name} = alloca {kind}, align 64")
        return Value(self, "ptr", name)

    def _name(self, prefix: str) -> str:
        self._names += 1
        return f"%{prefix}{self._names}"

    def _label(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"


def _element(kind: str) -> str:
    return kind.split(" x ")[-1].rstrip(">")


def given(arguments: Sequence[Argument]) -> str:
    """Return what a function that takes arguments says of them."""
    return ", ".join(
        f"ptr noalias %{one.name}" if is_pointer(one) else f"i64 %{one.name}" for one in arguments
    )


def is_pointer(argument: Argument) -> bool:
    """Tell whether an argument leads to memory."""
    return argument.place in ("address", "context", *CONTEXT)


def _unpacked(number: int, argument: Argument, position: int) -> tuple[list[str], int]:
    """Return the lines that find an argument, and the position of the next one."""
    name = f"%a{number}"
    if argument.place == "context":
        return [f"  {name} = getelementptr i8, ptr %context, i64 0"], position
    if argument.place in COUNTS:
        field = (*CONTEXT, *COUNTS).index(argument.place)
        return [
            f"  {name}.p = getelementptr i64, ptr %context, i64 {field}",
            f"  {name} = load i64, ptr {name}.p",
        ], position
    lines = [
        f"  {name}.p = getelementptr i64, ptr %arguments, i64 {position}",
        f"  {name}{'' if argument.place == 'integer' else '.i'} = load i64, ptr {name}.p",
    ]
    if argument.place == "address":
        lines.append(f"  {name} = inttoptr i64 {name}.i to ptr")
    elif argument.place != "integer":
        lines += [
            f"  {name}.f = getelementptr ptr, ptr %context, i64 {CONTEXT.index(argument.place)}",
            f"  {name}.b = load ptr, ptr {name}.f",
            f"  {name} = getelementptr i8, ptr {name}.b, i64 {name}.i",
        ]
    return lines, position + 1
