"""Reads the pickles of Intel's SparseRNNs as data: nothing in a file is ever run or imported.

A pickle is a program for a small stack machine. The one here knows only the operations and names
that a checkpoint needs, builds numpy arrays from their bytes itself, and refuses everything else by
name and byte position. Neither jax nor Intel's package has to be installed. ``torch_archive`` runs
the index of PyTorch's files on the same machine, with names of its own.
"""

import math
import os
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast

import numpy as np

from s5_to_loihi.errors import CheckpointError

MAX_FILE_BYTES = 16 * 2**30
# An operation adds at most one value to the stack and one to the memo, so this bounds both. The
# exports of a three-block network have 9 thousand operations.
MAX_OPERATIONS = 2_000_000
MAX_DEPTH = 64
# Counted with every shared container unfolded: what a walk over the result would visit.
MAX_ELEMENTS = 2_000_000
MAX_DIMENSIONS = 32
ARRAY_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

_OPERATIONS = {operation.code: operation.name for operation in pickletools.opcodes}
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8"
    " SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_EXPORT_AGAIN = "Copy or export it again with SparseRNNs; pickles of protocol 4 and 5 are read"
_DISTRUST = "Nothing of it was run; get the checkpoint from a source that you trust"


@dataclass(frozen=True, eq=False)
class FxpArray:
    """Intel's fixed-point array: value = data * 2^-exp.

    Args:
        data: integers of any shape (int32 in Intel's exports), read-only.
        bits: width of an element, sign included.
        exp: number of fractional bits.
        signed: whether an element has a sign.
    """

    data: np.ndarray
    bits: int
    exp: int
    signed: bool


@dataclass(frozen=True, eq=False)
class ComplexFxpArray:
    """Intel's complex fixed-point array, as two real ones whose formats may differ."""

    real: FxpArray
    imag: FxpArray


def read_pickle(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> object:
    """Read a pickle written by SparseRNNs.

    Args:
        path: the file.
        max_bytes: size of the largest file accepted.

    Returns:
        None, bool, int, float, str, bytes, tuple, list, dict (keys str or int), numpy scalars,
        ``FxpArray``, ``ComplexFxpArray``, and read-only numpy arrays in the byte order of the
        machine, which jax arrays turn into too.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or holds anything else.
    """
    source = None
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise Refused(what, "Give the path of a .pkl file of the checkpoint")
        with path.open("rb") as file:
            source = Source(file, os.fstat(file.fileno()).st_size)
            if source.size > max_bytes:
                what = f"the file has {source.size} bytes, more than the limit of {max_bytes}"
                raise Refused(what, "Export fewer time steps, or raise the limit")
            return run(source, INTEL, source.size)
    except Refused as refusal:
        what, do = refusal.args
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        do = "Check the file and its permissions"
    except MemoryError:
        what, do = "does not fit in memory", "Export fewer time steps, or use a larger machine"
    except (ValueError, OverflowError, struct.error) as error:
        what, do = f"the pickle is damaged: {str(error)[:200]}", _EXPORT_AGAIN
    start = source.operation_start if source else 0
    raise CheckpointError(f"{path}, byte {start}" if start else f"{path}", what, do)


def read_tree(path: Path) -> dict:
    """Read a pickle that holds a dictionary; otherwise as ``read_pickle``."""
    tree = read_pickle(path)
    if not isinstance(tree, dict):
        raise CheckpointError(str(path), f"holds a {type(tree).__name__}, not a dictionary")
    return tree


class Refused(Exception):
    """What is wrong and what to do about it; ``read_pickle`` adds where."""

    def __init__(self, what: str, do: str = _EXPORT_AGAIN):
        super().__init__(what[:300], do)


def _unknown_operation(name: str) -> Refused:
    what = f"the pickle uses {name}, which a checkpoint has no reason to use"
    return Refused(what, _DISTRUST)


#: What a name may do, with its number of arguments; None for any.
_Callables = Mapping[str, tuple[Callable, int | None]]


@dataclass(frozen=True)
class Dialect:
    """What the pickles of one program may use.

    Args:
        headers: the first two bytes: which protocols there are.
        functions: name -> what stands in for the function, and its number of arguments.
        classes: likewise for classes.
        names: names that are arguments only.
        persistent: makes a value of a persistent id; None if there are none. With it come the
            operations of protocol 2.
    """

    headers: tuple[bytes, ...]
    functions: _Callables
    classes: _Callables
    names: frozenset[str]
    persistent: Callable[[object], object] | None = None


@dataclass
class Source:
    """The file as ``genops`` reads it: a false length costs no more than the rest of the file.

    The file is read, not mapped: arrays over a map would be unaligned, and shortening a mapped file
    kills the process that maps it.
    """

    file: BinaryIO
    size: int
    has_lines: bool = False
    position: int = 0
    operation_start: int = 0
    latest: bytes = b""

    def tell(self) -> int:
        """Return the position."""
        return self.position

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end of the file."""
        self.latest = self.file.read(min(count, self.size - self.position))
        self.position += len(self.latest)
        return self.latest

    def readline(self) -> bytes:
        """Called for the operations of protocol 0, right after the byte that says which."""
        if self.has_lines and self.latest in (b"c", b""):
            # A GLOBAL has two lines, and only names that are on the list are of any use.
            line = self.file.readline(200)
            self.position += len(line)
            self.latest = b""
            return line
        raise _unknown_operation(_OPERATIONS[self.latest.decode("latin-1")])


@dataclass(frozen=True)
class _Name:
    """A name on the whitelist. It stands for itself: nothing is looked up in Python."""

    text: str


@dataclass(frozen=True, eq=False)
class _Unfinished:
    """An object before its BUILD; it may only be memoized meanwhile."""

    build: Callable[[object], object]
    memo_positions: list[int] = field(default_factory=list)


class _Arguments(tuple):
    """A tuple that holds parts of objects, not data: good for REDUCE and BUILD only."""


class Part:
    """Base of what persistent ids stand for: part of an object, not data."""


_PARTS = (_Name, _Unfinished, _Arguments, Part, np.dtype, bytearray)


def run(source: Source, dialect: Dialect, max_array_bytes: int) -> object:
    """Run the operations of a pickle and return the one value that they leave.

    Raises:
        Refused: the pickle uses something else than the dialect has.
        ValueError, OverflowError, struct.error: it is damaged.
    """
    header = source.read(2)
    if header not in dialect.headers:
        found = f"it begins with {header!r}" if header else "it is empty"
        protocols = " or ".join(str(header[1]) for header in dialect.headers)
        raise Refused(f"the file is not a pickle of protocol {protocols}: {found}")
    machine = _Machine(dialect, max_array_bytes)
    operations = pickletools.genops(cast(IO[bytes], source))
    for _ in range(MAX_OPERATIONS):
        source.operation_start = source.position
        opcode, argument, _ = next(operations)
        if opcode.name != "STOP":
            machine.step(opcode.name, argument)
            continue
        result = machine.pop()
        if machine.stack or machine.marks:
            raise Refused("the pickle ends with values left over")
        if source.position != source.size:
            raise Refused(f"{source.size - source.position} bytes follow the end of the pickle")
        machine.store(result)
        return result
    raise Refused(f"the pickle has more than {MAX_OPERATIONS} operations")


_Container = TypeVar("_Container", list, dict)


class _Machine:
    """The stack machine.

    A value put into a container is sealed: it may not change any more. Python's pickler fills
    containers before it stores them, so nothing is lost, and no container can contain itself.
    """

    def __init__(self, dialect: Dialect, max_array_bytes: int) -> None:
        self.dialect = dialect
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: list = []
        # id -> (container, depth, unfolded elements); holding the container keeps the id its own.
        self.sealed: dict[int, tuple[object, int, int]] = {}
        self.array_bytes_left = max_array_bytes

    def step(self, operation: str, argument: Any) -> None:
        """Do one operation, named as in ``pickletools``."""
        match operation:
            case "FRAME":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(operation == "NEWTRUE")
            case _ if operation in _LITERALS:
                self.stack.append(argument)
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_TUPLE":
                self.push_tuple([])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push_tuple([self.pop() for _ in range(int(operation[-1]))][::-1])
            case "TUPLE":
                self.push_tuple(self.pop_to_mark())
            case "APPEND":
                self.extend_list([self.pop()])
            case "APPENDS":
                self.extend_list(self.pop_to_mark())
            case "SETITEM":
                self.update_dict([self.pop(), self.pop()][::-1])
            case "SETITEMS":
                self.update_dict(self.pop_to_mark())
            case "MEMOIZE":
                self.memoize()
            case "BINGET" | "LONG_BINGET":
                if argument >= len(self.memo):
                    raise Refused(f"stored value {argument} is used, of {len(self.memo)}")
                self.stack.append(self.memo[argument])
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                self.stack.append(_name(self.dialect, module, name))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.push_object(_call(self.dialect.functions, function, arguments))
            case "NEWOBJ":
                arguments, kind = self.pop(), self.pop()
                self.stack.append(_call(self.dialect.classes, kind, arguments))
            case "GLOBAL" if self.dialect.persistent:
                self.stack.append(_name(self.dialect, *argument.split(" ", 1)))
            case "BINPUT" | "LONG_BINPUT" if self.dialect.persistent:
                if argument != len(self.memo):
                    raise Refused(f"value {argument} is stored after {len(self.memo)} others")
                self.memoize()
            case "BINPERSID" if self.dialect.persistent:
                self.stack.append(self.dialect.persistent(self.pop()))
            case "BUILD":
                self.build()
            case _:
                raise _unknown_operation(operation)

    def memoize(self) -> None:
        value = self.top()
        if isinstance(value, _Unfinished):
            value.memo_positions.append(len(self.memo))
        self.memo.append(value)

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        if self.dialect.persistent and type(target) is dict and isinstance(state, dict):
            # PyTorch hangs the versions of its modules on an OrderedDict.
            self.stack.append(target)
            return
        if not isinstance(target, _Unfinished):
            raise Refused(f"the state of {_shown(target)} is set, which has none")
        value = target.build(state)
        for position in target.memo_positions:
            self.memo[position] = value
        self.push_object(value)

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refused("a value is used that is not on the stack")
        return self.stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self.stack.pop()
        return value

    def pop_to_mark(self) -> list:
        if not self.marks:
            raise Refused("a mark is used that is not on the stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push_tuple(self, items: list) -> None:
        is_data = not any(isinstance(item, _PARTS) for item in items)
        value = tuple(items) if is_data else _Arguments(items)
        self.seal(value)
        self.stack.append(value)

    def push_object(self, value: object) -> None:
        # The pickler writes the bytes of each array. If arrays could share them, a small file could
        # fill the memory.
        if isinstance(value, np.ndarray):
            self.array_bytes_left -= value.nbytes
            if self.array_bytes_left < 0:
                raise Refused("the arrays have more bytes than the file")
        self.stack.append(value)

    def extend_list(self, items: list) -> None:
        for item in items:
            self.store(item)
        self.unsealed(list).extend(items)

    def update_dict(self, items: list) -> None:
        keys, values = items[::2], items[1::2]
        # Wider integers can be chosen to have one hash, which makes a dict quadratically slow.
        if not all(
            type(key) is str or (type(key) is int and key.bit_length() < 64) for key in keys
        ):
            raise Refused("a key of a dict is neither a str nor an int of 64 bits")
        if len(keys) != len(values):
            raise Refused("a key of a dict has no value")
        for value in values:
            self.store(value)
        self.unsealed(dict).update(zip(keys, values, strict=True))

    def unsealed(self, kind: type[_Container]) -> _Container:
        """The list or dict on top of the stack, which may still change."""
        container = self.top()
        if type(container) is not kind:
            raise Refused(f"items are added to {_shown(container)} as if to a {kind.__name__}")
        if id(container) in self.sealed:
            raise Refused(f"a {kind.__name__} contains itself, or changes after its use")
        return container

    def store(self, value: object) -> None:
        """Seal a value that becomes part of the result."""
        if isinstance(value, _PARTS):
            raise Refused(f"{_shown(value)} is in the place of a value")
        self.seal(value)

    def seal(self, value: object) -> tuple[int, int]:
        """Forbid changes of a value; return its depth and the number of its elements."""
        if not isinstance(value, (tuple, list, dict)):
            return 0, 1
        if id(value) not in self.sealed:
            # The items were sealed when they were put in, so this goes down one level only.
            items = value.values() if isinstance(value, dict) else value
            measures = [self.seal(item) for item in items]
            depth = 1 + max((depth for depth, _ in measures), default=0)
            elements = 1 + sum(elements for _, elements in measures)
            if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
                limits = f"the limits are {MAX_DEPTH} levels and {MAX_ELEMENTS} elements"
                raise Refused(f"containers are nested {depth} deep with {elements}; {limits}")
            self.sealed[id(value)] = (value, depth, elements)
        return self.sealed[id(value)][1:]


def _name(dialect: Dialect, module: object, name: object) -> _Name:
    """The whitelisted name; both spellings of numpy's inner package become the older one."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Refused("a name is not a str")
    text = f"{module}.{name}".replace("numpy._core.", "numpy.core.", 1)
    if not any(text in known for known in (dialect.functions, dialect.classes, dialect.names)):
        shown = ascii(f"{module}.{name}"[:100])[1:-1]
        what = f"the pickle refers to {shown}, which a checkpoint has no reason to use"
        raise Refused(what, _DISTRUST)
    return _Name(text)


def _call(callables: _Callables, name: object, arguments: object) -> object:
    function, count = callables.get(_shown(name), (None, 0))
    if function is None:
        raise Refused(f"{_shown(name)} is called or made into an object")
    return function(*_unpack(arguments, count))


def _shown(value: object) -> str:
    """The text of a name; of anything else a description, which no name is equal to."""
    return value.text if isinstance(value, _Name) else f"a value of type {type(value).__name__}"


def _unpack(value: object, count: int | None) -> tuple:
    if not (isinstance(value, tuple) and count in (None, len(value))):
        raise Refused(f"{_shown(value)} is in the place of a tuple of {count}")
    return value


def _dtype(name: object, align: object, copy: object) -> _Unfinished:
    if not (isinstance(name, str) and name in ARRAY_TYPES):
        shown = ascii(name)[:50] if isinstance(name, str) else _shown(name)
        raise Refused(f"an array has the type {shown}; only {', '.join(ARRAY_TYPES)} are read")
    return _Unfinished(partial(_dtype_from_state, name))


def _dtype_from_state(name: str, state: object) -> np.dtype:
    _, order, subarray, names, fields, *_ = _unpack(state, 8)
    if not (isinstance(order, str) and order in ("<", ">", "|", "=")):
        raise Refused("the byte order of an array is unknown")
    if not (subarray is None and names is None and fields is None):
        raise Refused("an array has fields or a subarray as elements, not numbers")
    return np.dtype(order + name)


def _reconstruct(kind: object, shape: object, code: object) -> _Unfinished:
    if _shown(kind) != "numpy.ndarray":
        raise Refused(f"an array is made of {_shown(kind)}")
    return _Unfinished(_array_from_state)


def _array_from_state(state: object) -> np.ndarray:
    _, shape, dtype, fortran, data = _unpack(state, 5)
    return _array(data, dtype, shape, "F" if fortran is True else "C")


def _jax_array(function: object, arguments: object, state: object, aval: object) -> np.ndarray:
    if _shown(function) != "numpy.core.multiarray._reconstruct":
        raise Refused(f"a jax array is made with {_shown(function)}")
    _reconstruct(*_unpack(arguments, 3))
    return _array_from_state(state)


def _scalar(dtype: object, data: object) -> object:
    return _array(data, dtype, (), "C")[()]


def _array(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """The read-only array over ``data`` itself; a copy only if the byte order is foreign."""
    if not (isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS):
        raise Refused(f"the shape of an array is not a tuple of at most {MAX_DIMENSIONS}")
    if not all(type(length) is int and 0 <= length < 2**63 for length in shape):
        raise Refused("the shape of an array is not made of lengths")
    if not (isinstance(dtype, np.dtype) and isinstance(data, (bytes, bytearray))):
        raise Refused(f"an array has {_shown(data)} as its bytes and {_shown(dtype)} as its type")
    if not (isinstance(order, str) and order in ("C", "F")):
        raise Refused("the axes of an array are in neither C nor Fortran order")
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise Refused(f"an array {shape} of {dtype} has {len(data)} bytes instead of {expected}")
    array = np.frombuffer(data, dtype).reshape(shape, order="C" if order == "C" else "F")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def _fxp_array(state: object) -> FxpArray:
    data, bits, exponent, signed = _fields(state, "data", "bits", "exp", "signed")
    if not (isinstance(data, np.ndarray) and data.dtype.kind in "iu"):
        raise Refused("the data of an FxpArray are not an array of integers")
    if not isinstance(signed, (bool, np.bool_)):
        raise Refused("the sign flag of an FxpArray is not a bool")
    return FxpArray(data, _integer(bits), _integer(exponent), bool(signed))


def _complex_fxp_array(state: object) -> ComplexFxpArray:
    real, imag = _fields(state, "real", "imag")
    if not (isinstance(real, FxpArray) and isinstance(imag, FxpArray)):
        raise Refused("the parts of a ComplexFxpArray are not FxpArrays")
    return ComplexFxpArray(real, imag)


def _fields(state: object, *names: str) -> list:
    if not (isinstance(state, dict) and set(state) == set(names)):
        raise Refused(f"an object does not have the fields {', '.join(names)} and no other")
    return [state[name] for name in names]


def _integer(value: object) -> int:
    # An exponent that Intel's code picks at run time may be an array without dimensions.
    if isinstance(value, (np.ndarray, np.integer)) and value.shape == ():
        value = value.item() if value.dtype.kind in "iu" else None
    if type(value) is not int:
        raise Refused("the bits or the exponent of an FxpArray are not an integer")
    return value


_FUNCTIONS: _Callables = {
    "collections.OrderedDict": (dict, 0),
    "jax._src.array._reconstruct_array": (_jax_array, 4),
    "numpy.core.multiarray._reconstruct": (_reconstruct, 3),
    "numpy.core.multiarray.scalar": (_scalar, 2),
    "numpy.core.numeric._frombuffer": (_array, 4),
    "numpy.dtype": (_dtype, 3),
}
_CLASSES: _Callables = {
    "sparseRNNs.fxparray.FxpArray": (lambda: _Unfinished(_fxp_array), 0),
    "sparseRNNs.fxparray.ComplexFxpArray": (lambda: _Unfinished(_complex_fxp_array), 0),
}

#: What scalars of numpy are made with, which training programs keep beside tensors.
NUMPY_SCALARS: _Callables = {
    name: _FUNCTIONS[name] for name in ("numpy.core.multiarray.scalar", "numpy.dtype")
}

#: The pickles of IntelLabs/SparseRNNs: numpy and jax arrays, and its fixed-point arrays.
INTEL = Dialect(
    headers=(b"\x80\x04", b"\x80\x05"),
    functions=_FUNCTIONS,
    classes=_CLASSES,
    names=frozenset(["numpy.ndarray"]),
)
