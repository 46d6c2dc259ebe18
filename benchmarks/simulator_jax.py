"""A float model in JAX, jitted: what most people would run instead; see simulators.py."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
from collections.abc import Callable

import numpy as np
from rich.console import Console
from simulator_ways import (
    FLOAT,
    FLOAT_ONE,
    FLOAT_STEP,
    Lengths,
    Subject,
    Way,
    timed,
)

from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    GluVariant,
    QuantizedS5,
    Tensor,
)


def float_ways(subject: Subject, lengths: Lengths, console: Console) -> list[Way]:
    """A jitted float32 model; weights are constants of the program, which is fastest."""
    try:
        jax = importlib.import_module("jax")
    except ImportError:
        console.print("JAX is left out. To install it: pip install jax")
        return []
    sequence, step, state = float_model(jax, subject.model)
    tokens = to_floats(subject.tokens[:, 0], subject.network.input_format).astype(np.float32)
    few = tokens[: 10 * lengths.slow_tokens]

    def one_at_a_time() -> np.ndarray:
        now, outputs = state, []
        for token in few:
            now, output = step(now, token)
            outputs.append(np.asarray(output))
        return np.array(outputs)

    def whole() -> np.ndarray:
        return np.asarray(sequence(tokens))

    expected = to_floats(subject.expected[:, 0], subject.network.output_format)
    alike = error(whole(), expected)
    alike_step = error(one_at_a_time(), expected[: len(few)])
    one_core = OneCore(subject.model, tokens)
    return [
        Way(FLOAT, timed(whole, len(tokens)), lengths.rounds, alike),
        Way(FLOAT_ONE, one_core.run, lengths.rounds, alike),
        Way(FLOAT_STEP, timed(one_at_a_time, len(few)), lengths.slow_rounds, alike_step),
    ]


class OneCore:
    """The jitted sequence in a process that may use one core only, which JAX asks at its start."""

    def __init__(self, model: QuantizedS5, tokens: np.ndarray):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        context.Process(target=run_on_one_core, args=(theirs, model, tokens), daemon=True).start()

    def run(self) -> float:
        self._connection.send("run")
        return self._connection.recv()


def run_on_one_core(connection, model: QuantizedS5, tokens: np.ndarray) -> None:
    """Answer every message with microseconds a token of one run."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sequence, _, _ = float_model(importlib.import_module("jax"), model)
    run = timed(lambda: np.asarray(sequence(tokens)), len(tokens))
    run()
    with contextlib.suppress(EOFError):
        while connection.recv():
            connection.send(run())


def error(outputs: np.ndarray, expected: np.ndarray) -> str:
    """Describe how far floats are from the integers: root mean square, against the signal's."""
    relative = np.sqrt(np.mean((outputs - expected) ** 2) / np.mean(expected**2))
    return f"rms {100 * relative:.1f} % off"


def float_model(jax, model: QuantizedS5):
    """Return ``(sequence(tokens), step(state, token), initial state)``, jitted.

    The sequence is computed as Intel's float model does: matrices on all tokens at once, lax.scan
    over the elementwise recurrence of each block.
    """
    jnp = jax.numpy

    def value(tensor: Tensor):
        return jnp.asarray(np.asarray(to_floats(tensor.data, tensor.format), dtype=np.float32))

    def dense(layer: Dense) -> Callable:
        matrix, bias = value(layer.weight).T, value(layer.bias)
        return lambda values: values @ matrix + bias

    def block(part: Block) -> Callable:
        """Return a function of (hidden, recurrence) that returns (hidden, last state)."""
        norm, ssm, glu = part.norm, part.ssm, part.glu
        mean, deviation = value(norm.minus_mean), value(norm.inverse_deviation)
        scale = value(norm.scale) if norm.scale else 1.0
        bias = value(norm.bias) if norm.bias else 0.0
        b_re, b_im, c_re, c_im = (value(m).T for m in (ssm.b_re, ssm.b_im, ssm.c_re, ssm.c_im))
        a, d, factor = (value(ssm.a_re), value(ssm.a_im)), value(ssm.d), 1 + ssm.conjugate_symmetric
        gate = dense(glu.gate) if glu.gate else None
        left = dense(glu.value) if glu.value else None

        def forward(hidden, recurrence):
            u = (hidden + mean) * deviation * scale + bias
            last, x_re, x_im = recurrence(a, u @ b_re, u @ b_im)
            keep = (x_re > 0) | ((x_re == 0) & (x_im > 0))
            g_re, g_im = jnp.where(keep, x_re, 0), jnp.where(keep, x_im, 0)
            y = factor * (g_re @ c_re - g_im @ c_im) + d * u
            rectified = jnp.maximum(y, 0)
            z = y if glu.variant is GluVariant.HALF2 else rectified
            z = left(rectified) if left else z
            z = z * jax.nn.sigmoid(gate(rectified)) if gate else z
            return jnp.maximum(z + hidden, 0), last

        return forward

    encoder, decoder = dense(model.encoder), dense(model.decoder)
    blocks = [block(part) for part in model.blocks]
    state = [(np.zeros(part.ssm.a_re.data.size, np.float32),) * 2 for part in model.blocks]

    def advance(a, x, drive):
        re = a[0] * x[0] - a[1] * x[1] + drive[0]
        return re, a[0] * x[1] + a[1] * x[0] + drive[1]

    def scan(start) -> Callable:
        def recurrence(a, drive_re, drive_im):
            def body(x, drive):
                x = advance(a, x, drive)
                return x, x

            last, (x_re, x_im) = jax.lax.scan(body, start, (drive_re, drive_im))
            return last, x_re, x_im

        return recurrence

    def one_step(start) -> Callable:
        def recurrence(a, drive_re, drive_im):
            x = advance(a, start, (drive_re, drive_im))
            return x, *x

        return recurrence

    def network(recurrence_from: Callable, now, tokens):
        hidden, after = jnp.maximum(encoder(tokens), 0), []
        for forward, start in zip(blocks, now, strict=True):
            hidden, last = forward(hidden, recurrence_from(start))
            after.append(last)
        return after, decoder(hidden)

    sequence = jax.jit(lambda tokens: network(scan, state, tokens)[1])
    return sequence, jax.jit(lambda now, token: network(one_step, now, token)), state
