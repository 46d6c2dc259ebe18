"""The GPU simulator: batches of sequences, the same integers as everywhere.

Layer after layer over whole blocks of time: a lane multiplies some tokens of a message by a weight,
or updates a neuron for a token, or for all tokens of a sequence where it has a state. While the
device computes a block, threads of this process copy the one before out and the next one in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.simulators import staging
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.devices import Cuda, LaneDevice, Mark, Memory
from s5_to_loihi.simulators.fast import FastSimulator, Run
from s5_to_loihi.simulators.gpu_kernels import TILE
from s5_to_loihi.simulators.gpu_plan import GpuPlanner, Room

#: Tokens of all sequences together that are computed at a time, if there is memory for so many.
COLUMNS = 1 << 17
#: Bytes of this process, at most, in which one block's tokens, or its results, wait to be copied.
STAGED = 1 << 28
#: Threads that copy, at most: more only wait for one another.
THREADS = 16
#: Blocks that are on their way at a time: one in, one out.
_SLOTS = 2
_TYPES: dict[str, np.dtype] = {"i16": np.dtype(np.int16), "i32": np.dtype(np.int32)}


class GpuSimulator:
    """A network on a GPU.

    States are those of the fast simulator: either goes on from what the other leaves.

    Examples:
        >>> simulator = GpuSimulator(bundle.network)  # doctest: +SKIP
        >>> simulator.run(tokens).outputs.shape  # doctest: +SKIP
        (200, 256, 257)
    """

    def __init__(self, network: Network, device: LaneDevice | None = None):
        """Lay a verified network out on a device; that is CUDA's current one if none is given.

        Raises:
            InputError: there is no GPU that can be used, or CuPy is missing.
        """
        self.network = network
        self.device = Cuda() if device is None else device
        self._fast = FastSimulator(network)
        self.groups = self._fast.groups
        self.layout = self._fast.layout

    @cached_property
    def planner(self) -> GpuPlanner:
        """What is launched; it holds the network's constants on the device."""
        return GpuPlanner(self.network, self.layout, self.device)

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first token, (batch, registers) int32."""
        return self._fast.initial_state(batch)

    def run(
        self,
        tokens: np.ndarray,
        state: np.ndarray | None = None,
        threads: int | None = None,
        counting: bool = False,
        record: bool = False,
    ) -> Run:
        """Run sequences; see ``FastSimulator.run``.

        Args:
            tokens: (tokens, batch, input features) integers.
            state: (batch, registers), where to start; zero if not given.
            threads: that copy tokens and outputs; by default, and at most, as many as there are
                processors, up to ``THREADS``.
            counting: count activity.
            record: keep all messages.

        Raises:
            InputError: the tokens do not suit the network, the state has another shape, or the
                device has too little memory.
        """
        tokens = self._suitable(tokens)
        count, batch, _ = tokens.shape
        state = self._fast.started(state, batch)
        results = {
            name: np.empty((count, batch, width), dtype=np.int32)
            for name, (width, _) in self.planner.leaving(counting, record).items()
        }
        sequences, length = self.portion(count, batch, counting, record)
        threads = min(threads or os.cpu_count() or 1, THREADS)
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, batch, sequences):
                some = slice(first, min(first + sequences, batch))
                here = {name: array[:, some] for name, array in results.items()}
                # Its memory is free before the next one wants its own.
                part = Part(self, length, here, pool, threads)
                if not part.go(tokens[:, some], state[some]):
                    check_tokens(self.network, tokens)
                del part
        activity = None
        if counting:
            counts = results["sent"], results["synops"]
            activity = Activity(self.groups, *counts, self._fast.updates)
        messages = {}
        if record:
            for source, row in self.layout.messages.items():
                rows = slice(row, row + self.layout.message_sizes[source])
                messages[str(source)] = results["recorded"][..., rows]
        return Run(results["outputs"], state, activity, messages)

    def _suitable(self, tokens: np.ndarray) -> np.ndarray:
        """Return tokens, each sequence's features next to one another; most are checked later."""
        tokens = np.asarray(tokens)
        if tokens.dtype != np.int32 or tokens.ndim != 3 or not tokens.flags.c_contiguous:
            return np.ascontiguousarray(check_tokens(self.network, tokens))
        if not tokens.size or tokens.shape[2] != self.network.input_size:
            check_tokens(self.network, tokens)
        return tokens

    def portion(self, count: int, batch: int, counting: bool, record: bool) -> tuple[int, int]:
        """Return how many sequences, and how many tokens of each, are computed at a time."""
        sizes = self.planner.sizes(counting, record)
        state = sizes.pop("state")
        leaving = sum(sizes[name] for name in self.planner.leaving(counting, record))
        column = sum(sizes.values()) + (_SLOTS - 1) * (sizes["tokens"] + leaving)
        free = self.device.free_bytes()
        # A sequence takes its state and a column at least; columns come in tiles.
        sequences = max(1, min(batch, (free - TILE * column) // (state + column)))
        most = (free - sequences * state) // column - TILE
        columns = min(COLUMNS, STAGED // max(sizes["tokens"], leaving), most)
        return sequences, max(1, min(count, columns // sequences))


class Part:
    """Some sequences, block after block of their tokens.

    Attributes:
        rooms: where they are on the device; one for each block that is on its way.
    """

    def __init__(
        self,
        simulator: GpuSimulator,
        length: int,
        results: dict[str, np.ndarray],
        pool: ThreadPoolExecutor,
        threads: int,
    ):
        """Take memory for ``length`` tokens at a time.

        Args:
            simulator: of the network.
            length: tokens of a sequence.
            results: see ``GpuPlanner.leaving``, each (tokens, sequences, integers) int32.
            pool: whose threads copy,
            threads: so many.
        """
        self._network, self._device = simulator.network, simulator.device
        self._planner = planner = simulator.planner
        self._results, self._length = results, length
        self._pool, self._threads = pool, threads
        self._what = "sent" in results, "recorded" in results
        sequences = results["outputs"].shape[1]
        stride = -(-length * sequences // TILE) * TILE
        leaving = planner.leaving(*self._what)
        self._memory: dict[str, list[Memory]] = {}
        for name, size in planner.sizes(*self._what).items():
            size *= sequences if name == "state" else stride
            copies = _SLOTS if name == "tokens" or name in leaving else 1
            self._memory[name] = [self._device.memory(size) for _ in range(copies)]
        self.rooms = []
        for slot in range(_SLOTS):
            here = {name: one[slot % len(one)].address for name, one in self._memory.items()}
            self.rooms.append(Room(sequences, stride, here))
        self._calls: dict[tuple[int, int], Callable[[], None]] = {}

        def staged(width: int, kind: str) -> list[np.ndarray]:
            shape, dtype = (length, sequences, width), _TYPES[kind]
            size = length * sequences * width * dtype.itemsize
            slots = (self._device.staging(size) for _ in range(_SLOTS))
            return [one.view(dtype).reshape(shape) for one in slots]

        token = planner.kind(Endpoint(INPUT, TOKEN))
        self._in = staged(self._network.input_size, token)
        self._out = {name: staged(*one) for name, one in leaving.items()}

    def go(self, tokens: np.ndarray, state: np.ndarray) -> bool:
        """Run sequences; ``state`` is exchanged for what they leave.

        Returns whether all tokens are within the input format; else it stops early.
        """
        device, address = self._device, self.rooms[0].addresses["state"]
        entries = np.ascontiguousarray(state.T)
        if entries.size:
            device.upload(address, entries)
        waiting: tuple[int, slice, Mark] | None = None
        bits = self._network.input_format.bits
        for number, start in enumerate(range(0, len(tokens), self._length)):
            block = slice(start, min(start + self._length, len(tokens)))
            slot = number % _SLOTS
            if not self._copy(self._in[slot][: block.stop - start], tokens[block], bits):
                device.mark().synchronize()
                return False
            mark = self._compute(block.stop - start, slot)
            if waiting is not None:
                self._unload(*waiting)
            waiting = slot, block, mark
        assert waiting is not None  # there is a token
        self._unload(*waiting)
        if entries.size:
            device.download(entries, address)
            device.mark().synchronize()
            state[:] = entries.T
        return True

    def _compute(self, count: int, slot: int) -> Mark:
        """Ask the device for so many tokens of each sequence."""
        device, room = self._device, self.rooms[slot]
        if (count, slot) not in self._calls:
            launches = self._planner.block(room, count, *self._what)
            self._calls[count, slot] = device.prepared(launches)
        device.upload(room.addresses["tokens"], self._in[slot][:count])
        for name in ("sent", "synops"):
            if name in self._out:
                device.clear(room.addresses[name], self._out[name][slot].nbytes)
        self._calls[count, slot]()
        for name, staged in self._out.items():
            device.download(staged[slot][:count], room.addresses[name])
        return device.mark()

    def _unload(self, slot: int, block: slice, mark: Mark) -> None:
        mark.synchronize()
        for name, staged in self._out.items():
            target = self._results[name][block]
            self._copy(target, staged[slot][: len(target)])

    def _copy(self, target: np.ndarray, source: np.ndarray, bits: int = 32) -> bool:
        return staging.copy(target, source, self._pool, self._threads, bits)
