"""The kernels of the fast simulator that know of no neuron: what messages do on their way.

Messages of a token are integers one after the other; of a block of tokens each has a row of
``BLOCK``. Accumulators are the same.
"""

from __future__ import annotations

import functools

from s5_to_loihi.simulators.loops import (
    BLOCK,
    CONTEXT,
    COUNTS,
    Argument,
    Kernel,
    Loops,
    Value,
)

#: Tokens whose sums stay in registers: 4 of 64 bytes, or 8 of 32.
_TILE = 64
_ROW = f"<{_TILE} x i32>"


def _loops(**places: str) -> Loops:
    return Loops([Argument(name, place) for name, place in places.items()])


def _nothing(loops: Loops) -> Value:
    """Return a row of zeros."""
    return Value(loops, _ROW, "zeroinitializer")


@functools.cache
def sequence() -> Kernel:
    """Call kernels one after the other, until one says to stop.

    ``calls`` holds, for each, its address and that of its arguments.
    """
    loops = _loops(context="context", calls="address", number="integer")
    going = loops.variable(loops.constant(1, "i32"))
    with loops.loop(0, loops["number"]) as index:
        with loops.when(loops.get(going, "i32").compared("ne", 0)):
            function = loops.load(loops["calls"], index * 2, "i64")
            arguments = loops.load(loops["calls"], index * 2 + 1, "i64")
            arguments = loops.assign("ptr", f"inttoptr i64 {arguments.text} to ptr")
            loops.put(loops.call(function, loops["context"], arguments), going)
    loops.returning(loops.get(going, "i32"))
    return loops.finished()


@functools.cache
def each_token(now: int) -> Kernel:
    """Call a kernel for each token of a block; ``now``: where the context says which one it is."""
    loops = _loops(context="context", count="count", function="integer", arguments="address")
    with loops.loop(0, loops["count"]) as token:
        loops.store(token, loops["context"], now)
        loops.call(loops["function"], loops["context"], loops["arguments"])
    return loops.finished()


#: Looks at how many threads have arrived, before a thread lets others have its processor.
_PATIENCE = 2000


@functools.cache
def meet() -> Kernel:
    """Wait until all threads of a stream are here.

    The context's ``meeting`` is the address of how many have arrived since it began, for all
    meetings together, and its ``turn`` how many that has to be. ``threads`` meet; ``give_way`` is
    the address of a function that lets others have the processor.
    """
    fields = {name: (*CONTEXT, *COUNTS).index(name) for name in ("meeting", "turn")}
    return Kernel(
        f"""define i32 @NAME(ptr %context, ptr %arguments) nounwind {{
entry:
  %threads = load i64, ptr %arguments
  %way.p = getelementptr ptr, ptr %arguments, i64 1
  %give_way = load ptr, ptr %way.p
  %meeting.p = getelementptr ptr, ptr %context, i64 {fields["meeting"]}
  %meeting = load ptr, ptr %meeting.p
  %turn.p = getelementptr i64, ptr %context, i64 {fields["turn"]}
  %before = load i64, ptr %turn.p
  %turn = add i64 %before, %threads
  store i64 %turn, ptr %turn.p
  %arrived = atomicrmw add ptr %meeting, i64 1 seq_cst
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ %more, %again ]
  %here = load atomic i64, ptr %meeting seq_cst, align 8
  %all = icmp sge i64 %here, %turn
  br i1 %all, label %end, label %wait
wait:
  %more = add i64 %looks, 1
  %long = icmp sgt i64 %more, {_PATIENCE}
  br i1 %long, label %polite, label %again
polite:
  %done = call i32 %give_way()
  br label %again
again:
  br label %look
end:
  ret i32 1
}}
"""
    )


# --- a token -------------------------------------------------------------------------------------


@functools.cache
def enter() -> Kernel:
    """Take a token, unless it leaves its format."""
    loops = _loops(
        tokens="tokens", messages="messages", size="integer", lowest="integer", highest="integer"
    )
    low, high = (loops.variable(loops[name].to("i32")) for name in ("lowest", "highest"))
    with loops.loop(0, loops["size"]) as index:
        value = loops.load(loops["tokens"], index)
        for place, how in ((low, "smin"), (high, "smax")):
            found = loops.called(f"{how}.i32", "i32", loops.get(place, "i32"), value)
            loops.put(found, place)
    within = [
        loops.get(place, "i32").compared("eq", loops[name].to("i32"))
        for place, name in ((low, "lowest"), (high, "highest"))
    ]
    both = within[0] & within[1]
    with loops.when(both), loops.loop(0, loops["size"]) as index:
        loops.store(loops.load(loops["tokens"], index), loops["messages"], index)
    loops.returning(both.to("i32"))
    return loops.finished()


@functools.cache
def leave() -> Kernel:
    """Hand the output out."""
    loops = _loops(messages="messages", outputs="outputs", size="integer")
    with loops.loop(0, loops["size"]) as index:
        loops.store(loops.load(loops["messages"], index), loops["outputs"], index)
    return loops.finished()


@functools.cache
def clear() -> Kernel:
    """Begin with sums of zero."""
    loops = _loops(accumulators="accumulators", size="integer")
    with loops.loop(0, loops["size"]) as index:
        loops.store(loops.constant(0, "i32"), loops["accumulators"], index)
    return loops.finished()


@functools.cache
def count() -> Kernel:
    """Count the messages that are not zero, and what identities hand on of them.

    ``handed`` holds ``number`` times the index of a group and how often it is handed the message.
    """
    loops = _loops(
        messages="messages", size="integer", sent="sent",
        synops="synops", handed="address", number="integer",
    )  # fmt: skip
    hits = loops.variable(loops.constant(0))
    with loops.loop(0, loops["size"]) as index:
        there = loops.load(loops["messages"], index).compared("ne", 0).to("i64")
        loops.put(loops.get(hits, "i64") + there, hits)
    found = loops.get(hits, "i64")
    _add(loops, loops["sent"], 0, found)
    with loops.loop(0, loops["number"]) as index:
        target = loops.load(loops["handed"], index * 2, "i64")
        times = loops.load(loops["handed"], index * 2 + 1, "i64")
        _add(loops, loops["synops"], target, found * times)
    return loops.finished()


def _add(loops: Loops, pointer: Value, index: Value | int, value: Value) -> None:
    loops.store(loops.load(pointer, index, value.kind) + value, pointer, index)


@functools.cache
def push(
    wrapped: bool = False, kept: bool = False, column: bool = False, wide: bool = False
) -> Kernel:
    """Add the products of the messages that are not zero to the sums that they reach.

    Args:
        wrapped: products wrap to 32 - ``left`` bits.
        kept: the messages are those of the token before, which a register keeps and which were
            counted then.
        column: the sums are those of one token of a block.
        wide: targets have 32 bits, not 16.
    """
    places = {"messages": "state" if kept else "messages", "size": "integer"}
    places |= {"pointers": "address", "targets": "address", "weights": "address"}
    places |= {"accumulators": "accumulators"}
    places |= {} if kept else {"synops": "synops"}
    places |= {"left": "integer"} if wrapped else {}
    places |= {"now": "now"} if column else {}
    loops = _loops(**places)
    kind = "i32" if wide else "i16"
    reached = loops.variable(loops.constant(0))
    with loops.loop(0, loops["size"]) as index:
        message = loops.load(loops["messages"], index)
        with loops.when(message.compared("ne", 0)):
            start = loops.load(loops["pointers"], index, "i64")
            stop = loops.load(loops["pointers"], index + 1, "i64")
            loops.put(loops.get(reached, "i64") + (stop - start), reached)
            with loops.loop(start, stop) as k:
                weight = loops.load(loops["weights"], k, "i8").to("i32")
                target = loops.load(loops["targets"], k, kind).to("i64")
                place = target * BLOCK + loops["now"] if column else target
                product = weight * message
                if wrapped:
                    left = loops["left"].to("i32")
                    product = (product << left) >> left
                _add(loops, loops["accumulators"], place, product)
    if not kept:
        _add(loops, loops["synops"], 0, loops.get(reached, "i64"))
    return loops.finished()


#: Products that one or two instructions add up where there are registers of 64 bytes, and the most
#: messages of ``multiply``, for which it has memory.
PRODUCTS, MOST_MESSAGES = 32, 4096


@functools.cache
def multiply() -> Kernel:
    """Add the products of messages of 16 bits and a dense matrix of 8 to the sums.

    LLVM makes instructions of it that add up pairs of products (x86's pmaddwd, vpdpwssd).
    ``weights`` holds the matrix by rows of ``stride`` entries, a multiple of ``PRODUCTS``; ``fans``
    the synapses of each message.
    """
    loops = _loops(
        messages="messages", size="integer", weights="address", rows="integer", stride="integer",
        fans="address", accumulators="accumulators", synops="synops",
    )  # fmt: skip
    narrow = loops.memory(f"[{MOST_MESSAGES} x i16]")
    reached = loops.variable(loops.constant(0, "i32"))
    with loops.loop(0, loops["size"]) as index:
        message = loops.load(loops["messages"], index)
        loops.store(message.to("i16"), narrow, index)
        fan, zero = loops.load(loops["fans"], index), loops.constant(0, "i32")
        there = loops.choose(message.compared("ne", 0), fan, zero)
        loops.put(loops.get(reached, "i32") + there, reached)
    with loops.loop(loops["size"], loops["stride"]) as index:
        loops.store(loops.constant(0, "i16"), narrow, index)
    row_of = f"<{PRODUCTS} x i32>"
    with loops.loop(0, loops["rows"]) as row:
        sums = loops.variable(Value(loops, row_of, "zeroinitializer"))
        first = row * loops["stride"]
        # Of an unrolled loop LLVM does not see that it adds up products.
        with loops.loop(0, loops["stride"], PRODUCTS, unrolled=False) as index:
            weights = loops.load(loops["weights"], first + index, f"<{PRODUCTS} x i8>").to(row_of)
            some = loops.load(narrow, index, f"<{PRODUCTS} x i16>").to(row_of)
            loops.put(loops.get(sums, row_of) + weights * some, sums)
        function = f"vector.reduce.add.v{PRODUCTS}i32"
        _add(
            loops,
            loops["accumulators"],
            row,
            loops.called(function, "i32", loops.get(sums, row_of)),
        )
    _add(loops, loops["synops"], 0, loops.get(reached, "i32").to("i64"))
    return loops.finished()


@functools.cache
def count_reached() -> Kernel:
    """Count the synapses that the messages reach: of those that are added up a token later."""
    loops = _loops(messages="messages", size="integer", pointers="address", synops="synops")
    reached = loops.variable(loops.constant(0))
    with loops.loop(0, loops["size"]) as index:
        with loops.when(loops.load(loops["messages"], index).compared("ne", 0)):
            start = loops.load(loops["pointers"], index, "i64")
            stop = loops.load(loops["pointers"], index + 1, "i64")
            loops.put(loops.get(reached, "i64") + (stop - start), reached)
    _add(loops, loops["synops"], 0, loops.get(reached, "i64"))
    return loops.finished()


@functools.cache
def wait(block: bool) -> Kernel:
    """Exchange each sum for the one that was there as many tokens ago as its neuron waits.

    Args:
        block: of a block of tokens.
    """
    places = {"sums": "accumulators", "size": "integer", "lengths": "address"}
    places |= {"ring": "state", "positions": "state"}
    loops = _loops(**places, **({"count": "count"} if block else {}))
    first = loops.variable(loops.constant(0))
    with loops.loop(0, loops["size"]) as index:
        length = loops.load(loops["lengths"], index)
        with loops.when(length.compared("sgt", 0)):
            position = loops.variable(loops.load(loops["positions"], index))
            start = loops.get(first, "i64")
            stop = loops["count"] if block else 1
            with loops.loop(0, stop) as token:
                sum_at = index * BLOCK + token if block else index
                now = loops.get(position, "i32")
                place = start + now.to("i64")
                before = loops.load(loops["ring"], place)
                loops.store(loops.load(loops["sums"], sum_at), loops["ring"], place)
                loops.store(before, loops["sums"], sum_at)
                following = now + 1
                around = following.compared("eq", length)
                zero = loops.constant(0, "i32")
                loops.put(loops.choose(around, zero, following), position)
            loops.store(loops.get(position, "i32"), loops["positions"], index)
            loops.put(start + length.to("i64"), first)
    return loops.finished()


# --- a block of tokens ---------------------------------------------------------------------------


@functools.cache
def enter_block() -> Kernel:
    """Take tokens (tokens, features) as rows of messages; ``size`` of ``features`` features."""
    loops = _loops(
        tokens="tokens", messages="messages", size="integer", features="integer", count="count"
    )
    with loops.loop(0, loops["size"]) as index, loops.loop(0, loops["count"]) as token:
        value = loops.load(loops["tokens"], token * loops["features"] + index)
        loops.store(value, loops["messages"], index * BLOCK + token)
    return loops.finished()


@functools.cache
def leave_block() -> Kernel:
    """Hand out (tokens, features); ``size`` of ``features`` features."""
    loops = _loops(
        messages="messages", outputs="outputs", size="integer", features="integer", count="count"
    )
    with loops.loop(0, loops["count"]) as token, loops.loop(0, loops["size"]) as index:
        value = loops.load(loops["messages"], index * BLOCK + token)
        loops.store(value, loops["outputs"], token * loops["features"] + index)
    return loops.finished()


@functools.cache
def pull(wrapped: bool = False) -> Kernel:
    """Add up the products of a block of tokens.

    Args:
        wrapped: products wrap to 32 - ``left`` bits.
    """
    places = {"messages": "messages", "accumulators": "accumulators", "size": "integer"}
    places |= {"pointers": "address", "sources": "address", "weights": "address"}
    loops = _loops(**places, **({"left": "integer"} if wrapped else {}))
    with loops.loop(0, loops["size"]) as index:
        start = loops.load(loops["pointers"], index, "i64")
        stop = loops.load(loops["pointers"], index + 1, "i64")
        for tile in range(0, BLOCK, _TILE):
            sums = loops.variable(_nothing(loops))
            with loops.loop(start, stop) as k:
                weight = loops.load(loops["weights"], k, "i8").to("i32").spread(_ROW)
                source = loops.load(loops["sources"], k).to("i64")
                product = loops.load(loops["messages"], source * BLOCK + tile, _ROW) * weight
                if wrapped:
                    left = loops["left"].to("i32").spread(_ROW)
                    product = (product << left) >> left
                loops.put(loops.get(sums, _ROW) + product, sums)
            loops.store(loops.get(sums, _ROW), loops["accumulators"], index * BLOCK + tile)
    return loops.finished()


@functools.cache
def count_block(fans: bool) -> Kernel:
    """Count, token by token, the messages that are not zero.

    Args:
        fans: count each as often as ``fans`` says, to ``synops``.
    """
    places = {"messages": "messages", "size": "integer", "counts": "synops" if fans else "sent"}
    loops = _loops(**places, **({"fans": "address"} if fans else {}))
    for tile in range(0, BLOCK, _TILE):
        counts = loops.variable(loops.load(loops["counts"], tile, _ROW))
        with loops.loop(0, loops["size"]) as index:
            message = loops.load(loops["messages"], index * BLOCK + tile, _ROW)
            there = message.compared("ne", _nothing(loops))
            added = there.to(_ROW)
            if fans:
                fan = loops.load(loops["fans"], index).spread(_ROW)
                added = loops.choose(there, fan, _nothing(loops))
            loops.put(loops.get(counts, _ROW) + added, counts)
        loops.store(loops.get(counts, _ROW), loops["counts"], tile)
    return loops.finished()
