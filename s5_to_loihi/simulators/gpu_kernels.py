"""The kernels of the GPU simulator: neurons as traced, and what messages do on their way.

Messages and accumulators of a block are rows, one a neuron; the columns are tokens, all sequences
of a token next to one another. A message that fits 16 bits is kept in so many: in a row of its own
array (``narrow``). States have a row for each entry and a column for each sequence.
"""

from __future__ import annotations

import functools

from s5_to_loihi.network.tracing import Program
from s5_to_loihi.simulators.fast_programs import (
    IN_ROWS,
    Neurons,
    Operands,
    Places,
    StepWriter,
)
from s5_to_loihi.simulators.lanes import THREADS, LaneKernel, Lanes
from s5_to_loihi.simulators.loops import Argument, Value

#: Columns of a tile, in which a row of messages takes 512 bytes; ``stride`` is a multiple of it.
TILE = 256
#: Lanes that add up together: what one of them loads, others find in the cache.
PULLING = 1024
#: Rows of sums that these take one after the other.
ROWS = 256
#: Lanes of a warp, which load at once.
_WARP = 32
#: Bytes that a lane loads at once.
_BYTES = 16
#: Features that a lane takes, or columns that it hands out.
TOGETHER = 16
#: Bytes of integers.
BYTES = {"i16": 2, "i32": 4}


def _lanes(threads: int = THREADS, /, **places: str) -> Lanes:
    return Lanes([Argument(name, place) for name, place in places.items()], threads)


def lanes(program: Program, places: Places, state: tuple[str, ...]) -> Neurons[LaneKernel]:
    """Return a group's kernel of lanes: a row is a neuron, a column a token or a sequence.

    Its arguments are, by name, the places, ``constant0`` and so on, ``table0`` and so on, and:

    * ``stride``: integers from one row of messages or accumulators to the next;
    * ``columns``: tokens of all sequences; if there is a state, sequences, whose tokens lie
      ``columns`` apart from one another;
    * ``count``: tokens of a sequence, if there is a state.
    """
    return _Neurons(program, places).written(state)


class _Neurons(StepWriter):
    #: Lanes of a GPU look up what a vector would select.
    longest_chain = 0

    def __init__(self, program: Program, places: Places):
        super().__init__(program, places)
        arguments = [Argument(name, "address") for name in places.arrays] + self.given_arguments()
        arguments += [Argument(name, "integer") for name in ("stride", "columns", "count")]
        self.loops: Lanes = Lanes(arguments)

    def written(self, state: tuple[str, ...]) -> Neurons[LaneKernel]:
        loops, arrays = self.loops, self.places.arrays
        with loops.when(loops.at_column.compared("slt", loops["columns"])):
            first = loops.at_row * loops["stride"] + loops.at_column
            rows = {
                name: loops.at(loops[name], first, IN_ROWS[array])
                for name, array in arrays.items()
                if array in IN_ROWS
            }
            common = {
                step: loops.load(loops[name], loops.at_row)
                for step, name in self.places.loads.items()
                if arrays[name] == "address"
            }
            if state:
                self._sequence(state, rows, common)
            else:
                self._token(rows, loops.constant(0), common)
        return Neurons(loops.kernel(), *self.given)

    def _sequence(self, state: tuple[str, ...], rows: dict[str, Value], common: Operands) -> None:
        """Write the loop over the tokens of a sequence."""
        loops, stores = self.loops, self.places.stores
        place = loops.at_row * loops["columns"] + loops.at_column
        registers = {name: loops.variable(loops.load(loops[stores[name]], place)) for name in state}
        with loops.loop(0, loops["count"], unrolled=4) as token:
            known = common | {
                index: loops.get(registers[step.name], "i32")
                for index, step in enumerate(self.program.steps)
                if index in self.places.loads and step.operation == "register"
            }
            self._token(rows, token * loops["columns"], known)
            for name, variable in registers.items():
                loops.put(self.result(name, known), variable)
        for name, variable in registers.items():
            loops.store(loops.get(variable, "i32"), loops[stores[name]], place)

    def _token(self, rows: dict[str, Value], place: Value, known: Operands) -> None:
        """Write a token's steps; ``known`` gets what they compute."""
        known |= self.of_rows(rows, place, self.needed)
        self.write_steps(set(self.needed), known)
        self.store_messages(rows, place, known)


# --- messages ------------------------------------------------------------------------------------


@functools.cache
def enter(kind: str) -> LaneKernel:
    """Take tokens (columns, features) as rows of messages; a row is some features."""
    loops = _lanes(
        tokens="address", messages="address", size="integer", stride="integer", columns="integer"
    )
    with loops.when(loops.at_column.compared("slt", loops["columns"])):
        first, last = _some(loops, "size")
        tokens = loops.at(loops["tokens"], loops.at_column * loops["size"], kind)
        messages = loops.at(loops["messages"], loops.at_column, kind)
        with loops.loop(first, last) as feature:
            loops.store(loops.load(tokens, feature, kind), messages, feature * loops["stride"])
    return loops.kernel()


@functools.cache
def leave(kind: str, to: str) -> LaneKernel:
    """Hand rows of messages out as (columns, ``width``); a row is some columns, a column a feature.

    So neighbours write next to one another, and what each reads is in the cache.
    """
    loops = _lanes(
        messages="address", outputs="address",
        size="integer", width="integer", stride="integer", columns="integer",
    )  # fmt: skip
    with loops.when(loops.at_column.compared("slt", loops["size"])):
        first, last = _some(loops, "columns")
        messages = loops.at(loops["messages"], loops.at_column * loops["stride"], kind)
        outputs = loops.at(loops["outputs"], loops.at_column, to)
        with loops.loop(first, last) as column:
            value = loops.load(messages, column, kind).to("i32").to(to)
            loops.store(value, outputs, column * loops["width"])
    return loops.kernel()


def _some(loops: Lanes, name: str) -> tuple[Value, Value]:
    """Return the first and the last of what a row stands for, of so many in all."""
    first = loops.at_row * TOGETHER
    last = loops.called("smin.i64", "i64", first + TOGETHER, loops[name])
    return first, last


def per_lane(kind: str) -> int:
    """Return the columns of messages that a lane of ``pull`` loads at once."""
    return _BYTES // BYTES[kind]


@functools.cache
def pull(kind: str, wrapped: bool, adding: bool) -> LaneKernel:
    """Add up the products of messages; a row is ``ROWS`` rows of sums, a column see ``pulling``.

    ``synapses`` holds, for each, the source's row and, above it, the weight (32 bits each);
    ``pointers`` where those of each sum begin.

    Args:
        kind: of the messages.
        wrapped: products wrap to 32 - ``left`` bits.
        adding: to the sums that are there.
    """
    places = {"messages": "address", "sums": "address", "pointers": "address"}
    places |= {"synapses": "address", "size": "integer"}
    places |= {"stride": "integer", "columns": "integer"}
    loops = _lanes(PULLING, **places, **({"left": "integer"} if wrapped else {}))
    count = per_lane(kind)
    some, sums_of = f"<{count} x {kind}>", f"<{count} x i32>"
    lane, warp = loops.at_column & (_WARP - 1), (loops.at_column >> 5) & (PULLING // _WARP - 1)
    tile = loops.at_column >> (PULLING.bit_length() - 1)
    column = (tile * _WARP + lane) * count
    with loops.when(column.compared("slt", loops["columns"])):
        messages = loops.at(loops["messages"], column, kind)
        sums = loops.at(loops["sums"], column)
        first = loops.at_row * ROWS
        last = loops.called("smin.i64", "i64", first + ROWS, loops["size"])
        with loops.loop(first + warp, last, PULLING // _WARP, unrolled=False) as row:
            start = loops.load(loops["pointers"], row).to("i64")
            stop = loops.load(loops["pointers"], row + 1).to("i64")
            place = row * loops["stride"]
            nothing = Value(loops, sums_of, "zeroinitializer")
            before = loops.load(sums, place, sums_of, align=_BYTES) if adding else nothing
            total = loops.variable(before)
            with loops.loop(start, stop) as k:
                synapse = loops.load(loops["synapses"], k, "i64")
                weight = (synapse >> 32).to("i32").spread(sums_of)
                source = synapse & 0xFFFFFFFF
                found = loops.load(messages, source * loops["stride"], some, align=_BYTES)
                product = found.to(sums_of) * weight
                if wrapped:
                    left = loops["left"].to("i32").spread(sums_of)
                    product = (product << left) >> left
                loops.put(loops.get(total, sums_of) + product, total)
            loops.store(loops.get(total, sums_of), sums, place, align=_BYTES)
    return loops.kernel()


def pulling(kind: str, columns: int) -> int:
    """Return the lanes that ``pull`` takes for so many columns of a row."""
    return -(-columns // (_WARP * per_lane(kind))) * PULLING


@functools.cache
def give_back(wrapped: bool) -> LaneKernel:
    """Add what a group sent to itself before to its sums; a row is a neuron, a column a sequence.

    ``kept``: registers that hold what was sent; the rest as of ``pull``.
    """
    places = {"kept": "address", "sums": "address", "pointers": "address", "synapses": "address"}
    places |= {"stride": "integer", "columns": "integer"}
    loops = _lanes(**places, **({"left": "integer"} if wrapped else {}))
    with loops.when(loops.at_column.compared("slt", loops["columns"])):
        start = loops.load(loops["pointers"], loops.at_row).to("i64")
        stop = loops.load(loops["pointers"], loops.at_row + 1).to("i64")
        place = loops.at_row * loops["stride"] + loops.at_column
        total = loops.variable(loops.load(loops["sums"], place))
        with loops.loop(start, stop) as k:
            synapse = loops.load(loops["synapses"], k, "i64")
            source = (synapse & 0xFFFFFFFF) * loops["columns"] + loops.at_column
            product = loops.load(loops["kept"], source) * (synapse >> 32).to("i32")
            if wrapped:
                left = loops["left"].to("i32")
                product = (product << left) >> left
            loops.put(loops.get(total, "i32") + product, total)
        loops.store(loops.get(total, "i32"), loops["sums"], place)
    return loops.kernel()


@functools.cache
def wait() -> LaneKernel:
    """Exchange each sum for the one that was there as many tokens ago as its neuron waits.

    A row is a neuron, a column a sequence. Of the waiting sums (``ring``) a neuron has ``lengths``,
    from ``firsts`` on; ``positions`` says which is next.
    """
    places = {"sums": "address", "ring": "address", "positions": "address"}
    places |= {"lengths": "address", "firsts": "address"}
    loops = _lanes(**places, stride="integer", columns="integer", count="integer")
    with loops.when(loops.at_column.compared("slt", loops["columns"])):
        length = loops.load(loops["lengths"], loops.at_row)
        with loops.when(length.compared("sgt", 0)):
            start = loops.load(loops["firsts"], loops.at_row).to("i64")
            sums = loops.at(loops["sums"], loops.at_row * loops["stride"] + loops.at_column)
            own = loops.at_row * loops["columns"] + loops.at_column
            position = loops.variable(loops.load(loops["positions"], own))
            with loops.loop(0, loops["count"]) as token:
                now = loops.get(position, "i32")
                place = (start + now.to("i64")) * loops["columns"] + loops.at_column
                before = loops.load(loops["ring"], place)
                at = token * loops["columns"]
                loops.store(loops.load(sums, at), loops["ring"], place)
                loops.store(before, sums, at)
                following = now + 1
                around = following.compared("eq", length)
                zero = loops.constant(0, "i32")
                loops.put(loops.choose(around, zero, following), position)
            loops.store(loops.get(position, "i32"), loops["positions"], own)
    return loops.kernel()


@functools.cache
def count(kind: str, fans: bool) -> LaneKernel:
    """Count, column by column, the messages that are not zero; there is one row.

    ``counts`` is (columns, ``width``).

    Args:
        kind: of the messages.
        fans: count each as often as ``fans`` says.
    """
    places = {"messages": "address", "counts": "address"} | ({"fans": "address"} if fans else {})
    loops = _lanes(**places, size="integer", width="integer", stride="integer", columns="integer")
    with loops.when(loops.at_column.compared("slt", loops["columns"])):
        place = loops.at_column * loops["width"]
        counts = loops.variable(loops.load(loops["counts"], place))
        messages = loops.at(loops["messages"], loops.at_column, kind)
        with loops.loop(0, loops["size"]) as row:
            message = loops.load(messages, row * loops["stride"], kind).to("i32")
            added = message.compared("ne", 0).to("i32")
            if fans:
                added = added * loops.load(loops["fans"], row)
            loops.put(loops.get(counts, "i32") + added, counts)
        loops.store(loops.get(counts, "i32"), loops["counts"], place)
    return loops.kernel()
