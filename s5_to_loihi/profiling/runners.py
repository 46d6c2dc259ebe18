"""The dense float model on its device: NumPy, JAX or PyTorch, with functions that run it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi.profiling import dense_float
from s5_to_loihi.profiling.dense_float import Sizes
from s5_to_loihi.profiling.energy import EnergyMeter, cpu_meter, gpu_meter


@dataclass(frozen=True, eq=False)
class Runner:
    """A library with the model on its device.

    Attributes:
        device, software: names.
        meter: of the device's energy.
        stream: computes the next token of one stream, and waits for it.
        whole: computes so many sequences at once, and waits: sequences -> call.
    """

    device: str
    software: str
    meter: EnergyMeter
    stream: Callable[[], object]
    whole: Callable[[int], Callable[[], object]]


def is_installed(name: str) -> bool:
    """Tell whether a library can be imported."""
    return importlib.util.find_spec(name) is not None


def _numpy_runner(sizes: Sizes, length: int) -> Runner:
    weights = dense_float.random_weights(sizes)
    states = [(np.zeros((1, sizes.states), np.float32),) * 2] * sizes.blocks
    token = _tokens(sizes, 1, 1)[0]

    def stream() -> None:
        _, states[:] = dense_float.step(np, sizes, weights, states, token)

    def whole(batch: int) -> Callable[[], object]:
        return functools.partial(
            dense_float.sequence, np, sizes, weights, _tokens(sizes, length, batch)
        )

    return Runner(_cpu(), f"NumPy {np.__version__}, float32", cpu_meter(), stream, whole)


def _jax_runner(sizes: Sizes, length: int) -> Runner:
    jax = importlib.import_module("jax")
    device = jax.devices()[0]
    gpu = device.platform == "gpu"
    weights = jax.device_put(dense_float.random_weights(sizes), device)
    states = [(jax.numpy.zeros((1, sizes.states)),) * 2] * sizes.blocks
    token = jax.device_put(_tokens(sizes, 1, 1)[0], device)
    step = jax.jit(functools.partial(dense_float.step, jax.numpy, sizes))
    recurrence = dense_float.scan if gpu else functools.partial(token_by_token, jax)
    sequence = jax.jit(
        functools.partial(dense_float.sequence, jax.numpy, sizes, recurrence=recurrence)
    )

    def stream() -> None:
        outputs, states[:] = step(weights, states, token)
        outputs.block_until_ready()

    def whole(batch: int) -> Callable[[], object]:
        tokens = jax.device_put(_tokens(sizes, length, batch), device)
        return lambda: sequence(weights, tokens).block_until_ready()

    return Runner(
        device.device_kind if gpu else _cpu(),
        f"JAX {jax.__version__}, float32 (default precision), jitted",
        gpu_meter(device.device_kind) if gpu else cpu_meter(),
        stream,
        whole,
    )


def token_by_token(jax, library, a, drive):
    """Do what ``dense_float.scan`` does, one token after the other: faster on a processor."""

    def body(before, now):
        state = dense_float.advance(a, before, now)
        return state, state

    start = tuple(library.zeros_like(part[0]) for part in drive)
    return jax.lax.scan(body, start, tuple(drive))[1]


def _torch_runner(sizes: Sizes, length: int) -> Runner:
    torch = importlib.import_module("torch")
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    weights = [
        {name: torch.tensor(values, device=device) for name, values in part.items()}
        for part in dense_float.random_weights(sizes)
    ]
    states = [
        tuple(torch.zeros((1, sizes.states), device=device) for _ in range(2))
        for _ in range(sizes.blocks)
    ]
    token = torch.tensor(_tokens(sizes, 1, 1)[0], device=device)

    def stream() -> None:
        _, after = dense_float.step(torch, sizes, weights, states, token)
        for before, now in zip(states, after, strict=True):
            for part, value in zip(before, now, strict=True):
                part.copy_(value)

    def whole(batch: int) -> Callable[[], object]:
        tokens = torch.tensor(_tokens(sizes, length, batch), device=device)
        call = functools.partial(dense_float.sequence, torch, sizes, weights, tokens)
        return _captured(torch, call) if gpu else call

    name = torch.cuda.get_device_name() if gpu else _cpu()
    return Runner(
        name,
        f"PyTorch {torch.__version__}, float32, {'CUDA graph' if gpu else 'eager'}",
        gpu_meter(name) if gpu else cpu_meter(),
        _captured(torch, stream) if gpu else stream,
        whole,
    )


def _captured(torch, call: Callable[[], object]) -> Callable[[], None]:
    """Record a call as a CUDA graph; the result replays it and waits for the device."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    def replay(_inputs=call) -> None:
        # The graph reads the memory of the call's arrays, which the call alone keeps.
        graph.replay()
        torch.cuda.synchronize()

    return replay


#: What makes the runner of a library: sizes, tokens of a sequence -> runner.
RUNNERS = {"numpy": _numpy_runner, "jax": _jax_runner, "torch": _torch_runner}


def _tokens(sizes: Sizes, count: int, batch: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.normal(size=(count, batch, sizes.features)).astype(np.float32)


def _cpu() -> str:
    """Return the name of this processor and how many of its cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name.strip()}, {cores} cores"
