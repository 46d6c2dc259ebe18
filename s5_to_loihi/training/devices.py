"""Several devices: a process each, and what they tell each other.

The processes are started here, not by Lightning. Its ``ddp`` starts the command again for each
device, with whatever this program's arguments are; its ``ddp_spawn`` hands errors back as text and
neither the progress nor the pruner's rates; and forks are not safe behind threads or CUDA. Each
process does one piece of work, in which Lightning finds itself started by others, and writes what
is to stay to files.
"""

from __future__ import annotations

import contextlib
import copyreg
import multiprocessing
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from s5_to_loihi.errors import InputError, S5ToLoihiError
from s5_to_loihi.network.neurons import NeuronKind, known_kinds
from s5_to_loihi.tasks.workers import die_with_parent, how_it_ended, interrupt_put_off

#: Work of a process: what it is given, its number, and a function that tells of its progress.
Work = Callable[[Any, int, Callable[..., None]], Any]


def count() -> int:
    """Return how many devices train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """Return the sum over all devices, with its gradient."""
    if count() == 1:
        return tensor
    summed: Tensor = _Total.apply(tensor)
    return summed


class _Total(torch.autograd.Function):
    """Each device's result depends on what all have put in, so gradients add up too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        distributed.all_reduce(summed)
        return summed


# --- processes -----------------------------------------------------------------------------------


def run(
    work: Work, given: Any, devices: int, on_gpus: bool, on_told: Callable[..., None]
) -> list[Any]:
    """Do a piece of work in a process for each device.

    Args:
        work: a function of a module.
        given: what it is called with.
        devices: how many.
        on_gpus: a GPU each; else they share the processor.
        on_told: called with what the processes tell.

    Returns:
        What the work returned, for each device.

    Raises:
        S5ToLoihiError: the work raised it on a device; all are stopped.
        InputError: a process died, as for want of memory.
        RuntimeError: the work raised something else.
    """
    context = multiprocessing.get_context("spawn")
    started: list[Process] = []
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "given").open("wb") as stream:
            _Pickler(stream, protocol=5).dump((work, given))
        try:
            # An interrupt is for this process alone.
            with interrupt_put_off():
                for rank in range(devices):
                    ours, theirs = context.Pipe(duplex=False)
                    process = context.Process(
                        target=_main, args=(theirs, folder, rank, devices, on_gpus), daemon=True
                    )
                    process.start()
                    theirs.close()
                    started.append(Process(process, ours))
            results = _results(started, on_told)
        finally:
            # One that waits for another would not heed a signal that can be handled.
            for one in started:
                one.process.kill()
                one.process.join()
    return results


class Process(NamedTuple):
    """The process of a device, and what it tells through."""

    process: SpawnProcess
    pipe: Connection


def _results(started: list[Process], on_told: Callable[..., None]) -> list[Any]:
    """Follow processes until all have ended; raise what one of them raises."""
    results: dict[int, Any] = {}
    left: dict[Any, int] = {one.pipe: rank for rank, one in enumerate(started)}
    while left:
        for pipe in wait(list(left)):
            assert isinstance(pipe, Connection)
            rank = left[pipe]
            try:
                what, *content = pipe.recv()
            except EOFError:
                del left[pipe]
                started[rank].process.join()
                if rank not in results:
                    raise _died(rank, started) from None
                continue
            if what == "told":
                on_told(*content)
            elif what == "done":
                results[rank] = content[0]
            else:
                error_type, text = content
                dead = [r for r, one in enumerate(started) if (one.process.exitcode or 0) < 0]
                if dead and error_type is RuntimeError:  # it missed one that has died
                    raise _died(dead[0], started)
                raise error_type.__new__(error_type, text)
    return [results[rank] for rank in range(len(started))]


def _died(rank: int, started: list[Process]) -> InputError:
    how = how_it_ended(started[rank].process.exitcode or 0)
    return InputError(
        "machine: devices",
        f"the process of device {rank} {how}",
        "See whether there is memory for the data on each device, and go on with the same command",
    )


def _main(pipe: Connection, folder: str, rank: int, devices: int, on_gpus: bool) -> None:
    """Be the process of a device."""
    die_with_parent()
    # Lightning takes these for the work of another launcher.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", RANK=str(rank), WORLD_SIZE=str(devices))
    try:
        work, given = pickle.loads((Path(folder) / "given").read_bytes())
        if on_gpus:
            torch.cuda.set_device(rank)
        distributed.init_process_group(
            "nccl" if on_gpus else "gloo",
            # A file, since a port that is free now may be taken a moment later.
            store=distributed.FileStore(str(Path(folder) / "meeting"), devices),
            rank=rank,
            world_size=devices,
            device_id=torch.device("cuda", rank) if on_gpus else None,
        )
        result = work(given, rank, lambda *told: pipe.send(("told", *told)))
        distributed.barrier()
        pipe.send(("done", result))
    except S5ToLoihiError as error:
        pipe.send(("failed", type(error), str(error)))
    except BaseException:  # whatever it is, the others must not wait for this process
        pipe.send(("failed", RuntimeError, f"on device {rank}:\n{traceback.format_exc()}"))
    pipe.close()
    with contextlib.suppress(Exception):
        distributed.destroy_process_group()


def _kind(name: str) -> NeuronKind:
    return known_kinds()[name]


def _read_only(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


class _Pickler(pickle.Pickler):
    """Copies of kinds of neurons are those of the process that reads them: ``is`` tells them apart.

    It is no pickler of multiprocessing, where all processes would share the tensors and train one
    module.
    """

    dispatch_table = copyreg.dispatch_table | {
        MappingProxyType: lambda mapping: (_read_only, (dict(mapping),)),
        NeuronKind: lambda kind: (_kind, (kind.name,)),
    }
