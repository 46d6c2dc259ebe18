"""Every simulator on the same networks and tokens: microseconds a token, and where they go.

Networks: the shipped denoiser, and Intel's published size (257 in and out, H 192, P 128, 3 blocks,
90 % sparse): the export that --export names, else the one recorded in tests/golden. The recorded
tokens are repeated to 30 s of sound. All ways run in turn, in rounds of changing order, each timed
run after one that is not timed; ratios are of the fastest runs, medians stand beside them. What is
compiled is compiled before, and its time printed apart. Outputs of integers must equal the
interpreter's; floats are compared with the integers that they stand for. With JAX installed
(pip install jax) a jitted float32 model runs too (dense matrices, lax.scan); with a checkout of
IntelLabs/SparseRNNs (--sparse-rnns PATH; pip install jax flax jaxtyping) Intel's fixed-point
model. --plot DIR measures cost against density, width and input activity on random networks.

    python benchmarks/simulators.py [--export DIR] [--sparse-rnns PATH] [--plot DIR] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

from s5_to_loihi import intel_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.fixed_point import Format, to_floats
from s5_to_loihi.intel_export import IntelExport
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    Glu,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.network.network import Network, is_identity
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.fast_source import BLOCK, write_source
from s5_to_loihi.simulators.interpreter import Interpreter

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = "denoiser_intel_size"
TOKENS = 3751  # 30 s of sound

STREAMING, SEQUENCES = "fast, streaming", "fast, sequences, 1 thread"
TWO_THREADS, COUNTING = "fast, 2 sequences, 2 threads", "fast, sequences, counting"
INTERPRETER, INTERPRETER_STEP = "interpreter, sequence", "interpreter, token by token"
FUSED, FINE = "Lava fused, a timestep", "Lava fine-grained, a timestep"
FLOAT, FLOAT_ONE = "JAX float32, scan, all cores", "JAX float32, scan, 1 core"
FLOAT_STEP = "JAX float32, jitted step"
INTEL, INTEL_STEP = "Intel fixed point, sequence", "Intel fixed point, T = 1 call"


@dataclass(frozen=True)
class Lengths:
    """Tokens and rounds of the ways; the slower a way, the fewer."""

    tokens: int = TOKENS
    rounds: int = 25
    slow_rounds: int = 3
    slow_tokens: int = 100
    lava_rounds: int = 2


QUICK = Lengths(tokens=1024, rounds=5, slow_rounds=1, slow_tokens=30, lava_rounds=1)


@dataclass(eq=False)
class Way:
    """One way to run the network.

    Attributes:
        name: what the tables call it.
        run: runs it once and returns microseconds a token.
        rounds: how often.
        outputs: how its outputs compare with the interpreter's.
        warm: whether each timed run follows one that is not.
        costs: what the timed runs returned.
    """

    name: str
    run: Callable[[], float]
    rounds: int
    outputs: str
    warm: bool = True
    costs: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.costs)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with what it is run on.

    Attributes:
        export, model, network: from file to network; export is None for random ones.
        tokens: (tokens, 2, input features) int32.
        expected: the interpreter's outputs on them.
        simulator: the fast one, compiled.
        seconds: that compiling it, or loading it from the cache, took.
    """

    export: IntelExport | None
    model: QuantizedS5
    network: Network
    tokens: np.ndarray
    expected: np.ndarray
    simulator: FastSimulator
    seconds: float


def timed(run: Callable[[], object], tokens: int) -> Callable[[], float]:
    """Return a function that runs and returns microseconds a token."""

    def measure() -> float:
        started = time.perf_counter()
        run()
        return (time.perf_counter() - started) / tokens * 1e6

    return measure


def measure_in_turn(ways: Sequence[Way], console: Console) -> None:
    """Run all ways in turn, so that whatever else the machine does meets all of them.

    Each round takes another order: nothing always follows the same thing.
    """
    order = random.Random(0)
    for index in range(max(way.rounds for way in ways)):
        left = [way for way in ways if index < way.rounds]
        for way in order.sample(left, len(left)):
            with console.status(f"round {index + 1}: {way.name}"):
                if way.warm:
                    way.run()
                way.costs.append(way.run())


# --- networks ------------------------------------------------------------------------------------


def golden_export() -> IntelExport:
    """Return Intel's size as recorded in the golden vectors."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    return importlib.import_module("golden").export(GOLDEN)


def prepare(export: IntelExport | None, model: QuantizedS5, tokens: np.ndarray) -> Subject:
    """Compile a network and its kernels, run the interpreter, and hold the fast outputs to it."""
    network = run_passes(lower(model))
    started = time.perf_counter()
    simulator = FastSimulator(network)
    simulator.stream().step(tokens[0, 0])
    simulator.run(tokens[:1, :1])
    seconds = time.perf_counter() - started
    expected = Interpreter(network).evaluate(tokens).outputs
    subject = Subject(export, model, network, tokens, expected, simulator, seconds)
    require_equal(STREAMING, stream(simulator, tokens[:, 0]), expected[:, 0])
    require_equal(SEQUENCES, simulator.run(tokens).outputs, expected)
    return subject


def repeated(recorded: np.ndarray, count: int) -> np.ndarray:
    """Return two sequences (count, 2, features) int32 of the recorded tokens, over and over."""
    flat = recorded.transpose(1, 0, 2).reshape(-1, recorded.shape[2])
    rows = np.arange(count)
    pair = [flat[rows % len(flat)], flat[(rows + len(flat) // 2) % len(flat)]]
    return np.ascontiguousarray(np.stack(pair, axis=1), dtype=np.int32)


def require_equal(name: str, outputs: np.ndarray, expected: np.ndarray) -> None:
    differing = int((outputs != expected).sum())
    if differing:
        raise SystemExit(f"{name}: {differing} integers differ from the interpreter's")


# --- this project's ways -------------------------------------------------------------------------


def stream(simulator: FastSimulator, tokens: np.ndarray) -> np.ndarray:
    """Run one stream, one token at a time."""
    step = simulator.stream().step
    return np.array([step(token) for token in tokens])


def fast_ways(subject: Subject, lengths: Lengths) -> list[Way]:
    simulator, tokens = subject.simulator, subject.tokens
    one, count = np.ascontiguousarray(tokens[:, :1]), len(tokens)
    ways = {
        STREAMING: (lambda: stream(simulator, one[:, 0]), count),
        SEQUENCES: (lambda: simulator.run(one), count),
        TWO_THREADS: (lambda: simulator.run(tokens, threads=2), 2 * count),
        COUNTING: (lambda: simulator.run(one, counting=True), count),
    }
    return [Way(name, timed(*way), lengths.rounds, "equal") for name, way in ways.items()]


def interpreter_ways(subject: Subject, lengths: Lengths) -> list[Way]:
    interpreter, few = Interpreter(subject.network), subject.tokens[: lengths.slow_tokens, :1]

    def one_at_a_time() -> np.ndarray:
        state, outputs = None, []
        for token in few:
            evaluation = interpreter.evaluate(token[None], state)
            state = evaluation.state
            outputs.append(evaluation.outputs[0])
        return np.array(outputs)

    require_equal(INTERPRETER_STEP, one_at_a_time(), subject.expected[: len(few), :1])
    whole = timed(lambda: interpreter.evaluate(subject.tokens[:, :1]), len(subject.tokens))
    return [
        Way(INTERPRETER, whole, lengths.slow_rounds, "the reference"),
        Way(INTERPRETER_STEP, timed(one_at_a_time, len(few)), lengths.slow_rounds, "equal"),
    ]


def lava_ways(subject: Subject, lengths: Lengths, console: Console) -> list[Way]:
    """Lava's two ways, pipelined: one timestep takes in one token; without start and stop."""
    if not lava_shim.is_installed():
        commands = "; ".join(lava_shim.pip_commands(sys.version_info[:2]))
        console.print(f"Lava is left out. To install it: {commands}", soft_wrap=True)
        return []
    timed_run = importlib.import_module("lava_timesteps").timed_run

    def way(fine_grained: bool, count: int) -> Callable[[], float]:
        tokens = subject.tokens[:count, :1]

        def measure() -> float:
            milliseconds, _, outputs = timed_run(subject.network, tokens, fine_grained)
            require_equal("Lava", outputs, subject.expected[:count, :1])
            return milliseconds * 1e3

        return measure

    few = lengths.slow_tokens
    return [
        Way(FUSED, way(False, 10 * few), lengths.lava_rounds, "equal", warm=False),
        Way(FINE, way(True, few), lengths.lava_rounds, "equal", warm=False),
    ]


# --- float32 in JAX ------------------------------------------------------------------------------


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


# --- Intel's fixed-point model -------------------------------------------------------------------

#: Imported by Intel's package for training and fake quantization; the fixed-point model calls
#: nothing of it, and the published version lacks a name that Intel's fork has.
UNUSED = ("", ".jax", ".jax.v2", ".jax.v2.config", ".jax.v2.aqt_dot_general", ".jax.v2.flax")
UNUSED_MODULES = tuple(f"aqt{name}" for name in (*UNUSED, ".jax.v2.flax.aqt_flax"))


def intel_ways(subject: Subject, path: Path, lengths: Lengths, console: Console) -> list[Way]:
    """Intel's model, built from the integers of the export; its warnings are switched off."""
    try:
        fxpmodel, fxparray = import_intel(path)
    except ImportError as problem:
        console.print(
            f"Intel's model is left out: {problem}. It needs: pip install jax flax jaxtyping",
            soft_wrap=True,
        )
        return []
    with contextlib.redirect_stdout(io.StringIO()):
        model = intel_model(fxpmodel, fxparray, subject)
    jnp, bits, exponent = fxpmodel.np, *subject.network.input_format

    def run(tokens: np.ndarray) -> np.ndarray:
        given = fxparray.FxpArray(jnp.asarray(tokens, dtype=jnp.int32), bits, exponent, True)
        return np.asarray(model(given).data)

    assert subject.export
    recorded = subject.export.recorded
    answer = run(recorded["INPUT"].data.transpose(1, 0, 2)).transpose(1, 0, 2)
    differing = int((answer != recorded["OUTPUT"].data).sum())
    console.print(
        f"Intel's model on the recorded input: {differing} of {answer.size:,} integers differ from"
        " the recorded output."
    )
    tokens = subject.tokens[:, 0]
    unequal = float((run(tokens) != subject.expected[:, 0]).mean())
    run(tokens[:1])
    return [
        Way(
            INTEL,
            timed(lambda: run(tokens), len(tokens)),
            lengths.slow_rounds,
            "equal" if unequal == 0 else f"{100 * unequal:.2g} % differ: own exponents",
        ),
        Way(INTEL_STEP, timed(lambda: run(tokens[:1]), 1), lengths.slow_rounds, "no state kept"),
    ]


def import_intel(path: Path):
    """Import Intel's modules from a checkout, without the package for training."""
    sys.path.insert(0, str(path))
    stubs = {name: mock.MagicMock() for name in UNUSED_MODULES if name not in sys.modules}
    try:
        with mock.patch.dict(sys.modules, stubs):
            fxpmodel = importlib.import_module("sparseRNNs.fxpmodel")
            fxparray = importlib.import_module("sparseRNNs.fxparray")
            # What was imported for the first time meanwhile must stay imported.
            imported = {k: v for k, v in sys.modules.items() if k not in UNUSED_MODULES}
    finally:
        sys.path.remove(str(path))
    sys.modules.update(imported)
    logging.getLogger("ncl-dl-stack").setLevel(logging.CRITICAL)
    vars(fxparray)["print_call_stack"] = lambda: None
    return fxpmodel, fxparray


def intel_model(fxpmodel, fxparray, subject: Subject):
    """Return a FxpRegressionModel that holds the integers of the export."""
    assert subject.export
    params, qconfig = subject.export.params, subject.export.qconfig
    blocks = range(len(subject.model.blocks))
    names = [f"layers_{index}" for index in blocks]
    layers = {
        name: intel_layer(params["encoder"][name], qconfig["encoder"][name]) for name in names
    }
    ssm = subject.model.blocks[0].ssm
    mixer_cls = fxpmodel.FxpSSM.init_fn(
        H=ssm.d.data.size,
        P=ssm.a_re.data.size,
        discretization="zoh",
        conj_sym=ssm.conjugate_symmetric,
    )
    encoder, decoder = (
        intel_dense(params[at][name] if name else params[at], config)
        for at, name, config in (
            ("encoder", "encoder", qconfig["encoder"]["encoder"]),
            ("decoder", "", qconfig["decoder"]),
        )
    )
    model = fxpmodel.FxpRegressionModel(
        modeldict={
            "encoder": {"encoder": encoder[0]} | {name: layer[0] for name, layer in layers.items()},
            "decoder": decoder[0],
        },
        fxp_qconfig={
            "encoder": encoder[1],
            "decoder": decoder[1],
            "blocks": {name: layer[1] for name, layer in layers.items()},
        },
        scope="model",
        store_intermediates=False,
        mixer_cls=mixer_cls,
        n_layers=len(names),
        d_model=ssm.d.data.size,
        prenorm=True,
        glu_variant=subject.model.blocks[0].glu.variant.value,
        relufication=True,
        dropout=0.0,
        training=False,
    )
    for name, layer in zip(names, model.encoder.seq_layers, strict=True):
        put_integers(fxparray, layer, params["encoder"][name], qconfig["encoder"][name])
    return model


def intel_dense(params, config) -> tuple[dict, dict]:
    """Return a dense layer's floats, which Intel's code turns back into integers, and formats."""
    floats = {
        "kernel": floats_of(params["weight"], config["weight_exp"]),
        "bias": floats_of(params["bias"], config["bias_exp"]),
    }
    names = {"w": "weight", "b": "bias", "inp": "inp", "out": "out"}
    return floats, {
        f"{short}_{part}": int(config[f"{name}_{part}"])
        for short, name in names.items()
        for part in ("bits", "exp")
    }


def floats_of(integers, exponent) -> np.ndarray:
    """Return the values of integers below 2**24: exact."""
    return np.asarray(integers, dtype=np.float32) / np.float32(2.0 ** int(exponent))


def formats_of(config, **names: str) -> dict:
    """Return name -> bits and exponent, as the constructors of Intel's model expect them."""
    return {
        own: {part: int(config[f"{name}_{part}"]) for part in ("bits", "exp")}
        for own, name in names.items()
    }


def intel_layer(params, config) -> tuple[dict, dict]:
    """Return a block's floats and formats; its norm and state space are put in afterwards."""
    norm, mixer = config["norm"], config["mixer"]
    states, width = params["mixer"]["B_real"].shape
    floats = {
        "norm": {
            name: floats_of(params["norm"][name], norm[f"{name}_exp"])
            for name in ("mean", "scale", "bias")
            if name in params["norm"]
        }
        | {"var": np.ones(width, dtype=np.float32)},
        "mixer": {
            "B": np.zeros((states, width, 2), dtype=np.float32),
            "C": np.zeros((width, states, 2), dtype=np.float32),
            "D": np.zeros(width, dtype=np.float32),
            "Lambda_re": -np.ones(states, dtype=np.float32),
            "Lambda_im": np.zeros(states, dtype=np.float32),
            "log_step": np.zeros((states, 1), dtype=np.float32),
        },
    }
    weights = {f"{m}_{part[:2]}": f"{m}_{part}" for m in "ABC" for part in ("real", "imag")}
    formats = {
        "norm": formats_of(
            norm, **{name.removesuffix("_exp"): name[:-4] for name in norm if name.endswith("_exp")}
        ),
        "ssm": {
            "weights": formats_of(mixer, **weights, D="D"),
            "activations": formats_of(
                mixer, **{name: name for name in ("u", "Bu_re", "Bu_im", "x_re", "x_im", "y")}
            ),
        },
    }
    for name in ("out1", "out2"):
        if name in params:
            floats[name], formats[name] = intel_dense(params[name], config[name])
    if "multgate" in config:
        formats["multgate"] = {name: int(number) for name, number in config["multgate"].items()}
    return floats, formats


def put_integers(fxparray, layer, params, config) -> None:
    """Put the exported integers where Intel's code would have discretized its own."""

    def tensor(section: str, name: str):
        data = fxparray.np.asarray(np.asarray(params[section][name]), dtype=np.int32)
        bits, exponent = (int(config[section][f"{name}_{part}"]) for part in ("bits", "exp"))
        return fxparray.FxpArray(data, bits, exponent, True)

    def pair(name: str):
        return fxparray.ComplexFxpArray(
            tensor("mixer", f"{name}_real"), tensor("mixer", f"{name}_imag")
        )

    layer.norm.invsq_var = tensor("norm", "invsq_var")
    layer.mixer.Lambda_bar, layer.mixer.B_bar, layer.mixer.C_tilde = map(pair, "ABC")
    layer.mixer.D = tensor("mixer", "D")


# --- what the processor could do, and where the time goes ----------------------------------------


@numba.njit(error_model="numpy")
def _peak_registers(repeats, weight, addend, values):
    """Chains of eight int32 multiply-adds on values in registers, independent of one another."""
    for _ in range(repeats):
        for t in range(len(values)):
            value = values[t]
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            value = np.int32(np.int32(value * weight) + addend)
            values[t] = value


def _peak_block_source() -> str:
    """Eight rows of a block in the first-level cache, multiplied and added to one row."""
    rows = range(8)
    products = [f"i32(w{k} * m{k}[t])" for k in rows]
    while len(products) > 1:
        pairs = zip(products[::2], products[1::2], strict=True)
        products = [f"i32({left} + {right})" for left, right in pairs]
    lines = [
        "def peak_block(repeats, weights, messages, sums):",
        "    for _ in range(repeats):",
        "        for k in range(0, 64, 8):",
        *(f"            w{k}, m{k} = weights[k + {k}], messages[k + {k}]" for k in rows),
        "            for t in range(64):",
        f"                sums[t] += {products[0]}",
    ]
    return "\n".join(lines)


def peak(rounds: int) -> dict[str, float]:
    """Return int32 multiply-adds a nanosecond that this processor reaches."""
    names: dict = {"i32": np.int32}
    exec(_peak_block_source(), names)
    block = numba.njit(error_model="numpy")(names["peak_block"])
    values, sums = np.arange(512, dtype=np.int32), np.zeros(64, dtype=np.int32)
    messages, weights = np.ones((64, 64), dtype=np.int32), np.ones(64, dtype=np.int32)
    repeats = 5000

    def in_registers():
        _peak_registers(repeats, np.int32(3), np.int32(5), values)

    def in_cache():
        block(repeats, weights, messages, sums)

    rates = {}
    for name, run, count in (
        ("registers", in_registers, repeats * len(values) * 8),
        ("first-level cache", in_cache, repeats * messages.size),
    ):
        run()
        rates[name] = count / 1e3 / min(timed(run, 1)() for _ in range(4 * rounds))
    return rates


CACHE_LINE = 64
#: Tokens over which the parts of streaming are measured: their messages stay in the caches, and
#: are too many for the branch predictor to learn.
DISSECTED = 64
SYNAPSES = "synapses, and counting them"


@dataclass(frozen=True)
class Part:
    """One part of a kernel: its name, microseconds a token, and multiply-accumulates a token."""

    name: str
    microseconds: float
    macs: float = 0.0


class Dissection:
    """Times the calls inside the generated functions, many times each in a compiled loop.

    The blocks of sequences lie at multiples of a cache line here.
    """

    def __init__(self, subject: Subject, rounds: int):
        self._subject, self._rounds = subject, rounds
        self._layout, self._kernels = subject.simulator._layout, subject.simulator._kernels
        self._source = write_source(subject.network, self._layout)

    def sequences(self) -> list[Part]:
        """Return the parts of ``block``: synapses and neurons of each kind of group, the rest."""
        layout, subject = self._layout, self._subject
        groups = len(subject.simulator.groups)
        arrays = {
            "tokens": np.ascontiguousarray(subject.tokens[:BLOCK, 0]),
            "messages": aligned_rows(layout.message_rows),
            "accumulators": aligned_rows(max(1, layout.accumulator_rows)),
            "state": subject.simulator.initial_state()[0],
            "parameters": layout.parameter_values,
            "pointers": layout.row_pointers,
            "sources": layout.row_sources,
            "weights": layout.row_weights,
            "fans": layout.fans,
            "counting": False,
            "unused": np.zeros(BLOCK, dtype=np.int32),
            "sent": aligned_rows(groups),
            "synops": aligned_rows(groups),
            "outputs": np.empty((BLOCK, subject.network.output_size), dtype=np.int32),
        }
        parts = self._split("block", "pull(")
        parts["whole"] = [f"block({', '.join(arrays)})"]
        runs = {
            name: self._run(["count = len(tokens)", *lines], arrays, repeats=20, tokens=20 * BLOCK)
            for name, lines in parts.items()
        }
        costs = self._measured(runs)
        whole = costs.pop("whole")
        found = [Part(name, cost, self._synapses_to(name)) for name, cost in costs.items()]
        return with_the_rest(found, whole)

    def streaming(self) -> list[Part]:
        """Return the parts of ``step``; messages are those of real tokens, one after the other."""
        layout, subject = self._layout, self._subject
        tokens = np.ascontiguousarray(subject.tokens[:DISSECTED, 0])
        arrays = {
            "messages": np.zeros(layout.message_rows, dtype=np.int32),
            "accumulators": np.zeros(max(1, layout.accumulator_rows), dtype=np.int32),
            "state": subject.simulator.initial_state()[0],
            "parameters": layout.parameter_values,
            "column_pointers": layout.column_pointers,
            "targets": layout.column_targets,
            "weights": layout.column_weights,
            "sent": np.zeros(len(subject.simulator.groups), dtype=np.int64),
            "synops": np.zeros(len(subject.simulator.groups), dtype=np.int64),
            "out": np.empty(subject.network.output_size, dtype=np.int32),
        }
        parts = self._split("step", "hits = ", "sent[", "synops[")
        parts[SYNAPSES].insert(0, f"messages = recorded[repeat % {DISSECTED}]")
        parts["whole"] = [f"step(tokens[repeat % {DISSECTED}], {', '.join(arrays)})"]
        arrays |= {"tokens": tokens, "recorded": self._messages(tokens)}
        repeats = 16 * DISSECTED
        runs = {
            name: self._run(lines, arrays, repeats, tokens=repeats) for name, lines in parts.items()
        }
        arrays["synops"][:] = 0
        runs[SYNAPSES]()
        synops = float(arrays["synops"].sum()) / repeats
        costs = self._measured(runs)
        whole = costs.pop("whole")
        found = [Part(name, cost, synops * (name == SYNAPSES)) for name, cost in costs.items()]
        return with_the_rest(found, whole)

    def _messages(self, tokens: np.ndarray) -> np.ndarray:
        """Return (tokens, message rows): what is sent in each token."""
        layout = self._layout
        messages = self._subject.simulator.run(tokens[:, None], record=True).messages
        rows = np.empty((len(tokens), layout.message_rows), dtype=np.int32)
        for source, first in layout.messages.items():
            rows[:, first : first + layout.message_sizes[source]] = messages[str(source)][:, 0]
        return rows

    def _split(self, function: str, *synaptic: str) -> dict[str, list[str]]:
        """Return part -> its lines in a generated function.

        Lines that begin with one of ``synaptic`` belong to the synapses to the next group's kind
        (sequences) or to all synapses (streaming).
        """
        body = self._source.split(f"\ndef {function}(")[1].split("\n@_jit")[0]
        groups, waiting = iter(self._subject.network.groups), []
        parts: dict[str, list[str]] = {}
        for line in map(str.strip, body.splitlines()):
            if line.startswith(synaptic):
                waiting.append(line)
            elif line.startswith("kernel_"):
                kind = next(groups).kind.name
                if function == "block" and waiting:
                    parts.setdefault(f"synapses to {kind}", []).extend(waiting)
                    waiting = []
                parts.setdefault(f"neurons {kind}", []).append(line)
        return {SYNAPSES: waiting} | parts if function == "step" else parts

    def _synapses_to(self, part: str) -> int:
        network = self._subject.network
        return sum(
            edge.weights.nnz
            for edge in network.synapses
            if part == f"synapses to {network.group(edge.target.group).kind.name}"
            and not is_identity(edge.weights)
        )

    def _run(self, lines: list[str], arrays, repeats: int, tokens: int) -> Callable[[], float]:
        """Return a function that runs some lines and returns microseconds a token."""
        text = [f"def driver(repeats, {', '.join(arrays)}):", "    for repeat in range(repeats):"]
        text += [f"        {line}" for line in lines]
        namespace = dict(vars(self._kernels))
        exec("\n".join(text), namespace)
        driver = numba.njit(error_model="numpy")(namespace["driver"])
        driver(1, *arrays.values())
        return timed(lambda: driver(repeats, *arrays.values()), tokens)

    def _measured(self, runs: dict[str, Callable[[], float]]) -> dict[str, float]:
        """Return the lowest cost of each, run in turn."""
        costs = dict.fromkeys(runs, float("inf"))
        for _ in range(4 * self._rounds):
            for name, run in runs.items():
                costs[name] = min(costs[name], run())
        return costs


def aligned_rows(count: int) -> np.ndarray:
    """Return (count, BLOCK) int32 zeros at a multiple of a cache line."""
    raw = np.zeros(4 * count * BLOCK + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + 4 * count * BLOCK].view(np.int32).reshape(count, BLOCK)


def with_the_rest(parts: list[Part], whole: float) -> list[Part]:
    """Add what the parts leave, and the sum."""
    rest = Part("the rest", whole - sum(part.microseconds for part in parts))
    return [*parts, rest, Part("compiled code", whole, sum(part.macs for part in parts))]


@dataclass(frozen=True)
class Work:
    """What a token takes.

    Attributes:
        synops: synaptic operations, mean over the tokens, hand-ons included.
        macs: stored synapses that sequences multiply, whatever the messages.
        dense_macs: the same if every matrix were dense (the feed-through is diagonal).
        updates: of neurons.
        messages: that are not zero, mean over the tokens.
        sent: the same as a fraction of all.
        streaming_bytes, sequence_bytes: read and written in all levels of the memory.
        network_bytes: of the synapses, one of the two ways.
    """

    synops: float
    macs: int
    dense_macs: int
    updates: int
    messages: float
    sent: float
    streaming_bytes: float
    sequence_bytes: float
    network_bytes: int


def work_of(subject: Subject) -> Work:
    """Count what a token takes, on the subject's first sequence."""
    simulator, network = subject.simulator, subject.network
    layout = simulator._layout
    activity = simulator.run(subject.tokens[:, :1], counting=True).activity
    assert activity
    synops = float(activity.synops.sum(axis=2).mean())
    messages = float(activity.messages.sum(axis=2).mean())
    edges = [edge for edge in network.synapses if not is_identity(edge.weights)]
    macs = sum(edge.weights.nnz for edge in edges)
    dense = sum(
        max(edge.weights.shape) if edge.source.name == "u" and edge.target.name == "d"
        else edge.weights.shape[0] * edge.weights.shape[1]
        for edge in edges
    )  # fmt: skip
    neurons = len(layout.parameter_values) + 2 * (layout.register_count + layout.message_rows)
    # A weight and an index, and an accumulator read and written; a column pointer a message. For
    # blocks: weight and index once for all, a message each, a sum read and written every fourth.
    streaming = 13 * synops + 4 * (neurons + 2 * layout.accumulator_rows + 2 * layout.message_rows)
    sequence = (5 / BLOCK + 4 + 8 / 4) * macs + 4 * (neurons + layout.accumulator_rows)
    return Work(
        synops,
        macs,
        dense,
        int(activity.updates.sum()),
        messages,
        messages / layout.message_rows,
        streaming,
        sequence,
        5 * macs + 8 * layout.message_rows,
    )


# --- tables --------------------------------------------------------------------------------------


def table(title: str, first: str, *headings: str) -> Table:
    result = Table(title=title, title_justify="left")
    result.add_column(first, no_wrap=True)
    for heading in headings:
        result.add_column(heading, justify="right", no_wrap=True)
    return result


def print_ways(ways: Sequence[Way], subject: Subject, console: Console) -> None:
    tokens = len(subject.tokens)
    rows = table(
        f"{subject.network.name}: {tokens} tokens",
        "",
        "best\nus/token",
        "median\nus/token",
        "ratio to\nstreaming",
        "ratio to\nsequences",
        "runs",
        "outputs",
    )
    by_name = {way.name: way for way in ways}
    for way in ways:
        rows.add_row(
            way.name,
            f"{way.best:,.2f}",
            f"{statistics.median(way.costs):,.2f}",
            f"{way.best / by_name[STREAMING].best:,.2f}",
            f"{way.best / by_name[SEQUENCES].best:,.2f}",
            str(len(way.costs)),
            way.outputs,
        )
    console.print(rows)
    costs = zip(by_name[COUNTING].costs, by_name[SEQUENCES].costs, strict=True)
    extra = 100 * (statistics.median(with_ / without for with_, without in costs) - 1)
    best = 100 * (by_name[COUNTING].best / by_name[SEQUENCES].best - 1)
    console.print(
        f"Counting activity costs {best:.1f} % (best runs), {extra:.1f} % (median of the ratios of"
        " neighbouring runs)."
    )


def print_work(
    subject: Subject, ways: Sequence[Way], rates: dict[str, float], console: Console
) -> None:
    """Print operations and bytes of a token, and the fraction of the processor's peak."""
    work = work_of(subject)
    best = {way.name: way.best for way in ways}
    highest = max(rates.values())
    rows = table("What a token takes", "", "streaming", "sequences")
    attained = work.synops / best[STREAMING] / 1e3, work.macs / best[SEQUENCES] / 1e3
    for name, *cells in (
        ("multiply-accumulates", f"{work.synops:,.0f} synops", f"{work.macs:,}"),
        ("the same, all matrices dense", f"{work.dense_macs:,}", f"{work.dense_macs:,}"),
        ("neuron updates", f"{work.updates:,}", f"{work.updates:,}"),
        ("bytes read and written", f"{work.streaming_bytes:,.0f}", f"{work.sequence_bytes:,.0f}"),
        ("bytes/ns", *(f"{b / best[n] / 1e3:.1f}" for b, n in (
            (work.streaming_bytes, STREAMING), (work.sequence_bytes, SEQUENCES)))),
        ("multiply-accumulates/ns", *(f"{rate:.2f}" for rate in attained)),
        ("fraction of the peak", *(f"{100 * rate / highest:.1f} %" for rate in attained)),
        ("floor at the peak, us/token", *(
            f"{macs / highest / 1e3:.2f}" for macs in (work.synops, work.macs))),
    ):  # fmt: skip
        rows.add_row(name, *cells)
    console.print(rows)
    console.print(
        f"{100 * work.sent:.0f} % of the messages are not zero; synapses take"
        f" {work.network_bytes / 1e3:,.0f} kB. Peak (int32 multiply-adds/ns, 1 core): "
        + ", ".join(f"{rate:.1f} in {name}" for name, rate in rates.items())
        + ".",
        highlight=False,
    )


def print_parts(subject: Subject, ways: Sequence[Way], rounds: int, console: Console) -> None:
    """Print where the time goes: inside the kernels, in compiled loops, and in Python."""
    dissection = Dissection(subject, rounds)
    best = {way.name: way.best for way in ways}
    for title, parts, name in (
        ("Sequences: where the time goes", dissection.sequences(), SEQUENCES),
        ("Streaming: where the time goes", dissection.streaming(), STREAMING),
    ):
        rows = table(title, "", "us/token", "%", "multiply-\naccumulates", "MAC/ns")
        whole = parts[-1]
        python = Part("Python, memory around it", best[name] - whole.microseconds)
        for part in [*parts, python, Part(name, best[name], whole.macs)]:
            rows.add_row(
                part.name,
                f"{part.microseconds:.3f}",
                f"{100 * part.microseconds / best[name]:.1f}",
                f"{part.macs:,.0f}" if part.macs else "",
                f"{part.macs / part.microseconds / 1e3:.2f}" if part.macs else "",
                style="bold" if part.name in (whole.name, name) else "",
            )
        console.print(rows)


def print_targets(ways: Sequence[Way], console: Console) -> None:
    best = {way.name: way.best for way in ways}
    streaming, sequences = best[STREAMING], best[SEQUENCES]
    rows = table("Targets (best runs)", "", "target", "measured", "")
    goals = [
        (f"{STREAMING}, us/token", 25, streaming, True),
        (f"{SEQUENCES}, us/token", 5, sequences, True),
        ("counting activity, %", 10, 100 * (best[COUNTING] / sequences - 1), True),
    ] + [
        (f"{other} / {own}", least, best[other] / best[own], False)
        for other, own, least in (
            (FLOAT_ONE, SEQUENCES, 5),
            (INTEL, SEQUENCES, 40),
            (INTEL_STEP, STREAMING, 5000),
            (FINE, SEQUENCES, 1000),
            (FINE, STREAMING, 1000),
        )
        if other in best
    ]
    for name, goal, measured, at_most in goals:
        met = measured <= goal if at_most else measured >= goal
        sign = "<=" if at_most else ">="
        rows.add_row(name, f"{sign} {goal:,}", f"{measured:,.2f}", "met" if met else "MISSED")
    console.print(rows)


# --- random networks -----------------------------------------------------------------------------

#: One format for all that neurons send, and shifts instead of small weights: results keep the size
#: of their operands, whatever the density, so about half the rectified messages are zero.
ACTIVATION = Format(16, 8)
FEATURES = 257


def random_network_model(
    width: int, states: int, density: float, seed: int = 1, biased: bool = True
) -> QuantizedS5:
    """Return one block of random int8 weights; without biases, silence stays silence."""
    rng = np.random.default_rng(seed)
    largest = min(127, round(7 / np.sqrt(density)))

    def weights(outputs: int, inputs: int) -> Tensor:
        shape = (outputs, inputs)
        data = rng.integers(1, largest + 1, shape) * rng.choice([-1, 1], shape)
        data *= rng.random(shape) < density
        gain = 7 / np.sqrt(3) * np.sqrt(inputs / 2)
        return Tensor(data, Format(8, max(0, round(np.log2(gain)))))

    def bias(size: int) -> Tensor:
        return Tensor(rng.integers(-256, 257, size) * biased, ACTIVATION)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weights(outputs, inputs), bias(outputs), ACTIVATION, ACTIVATION)

    angle, radius = rng.uniform(-np.pi, np.pi, states), rng.uniform(0.3, 0.97, states)
    eigenvalues = radius * np.exp(1j * angle) * 2**14
    encoder = dense(width, FEATURES)
    norm = Norm(
        bias(width),
        Tensor(np.full(width, 2**14), Format(16, 14)),
        *(None, None, ACTIVATION, ACTIVATION, None, None),
    )
    ssm = StateSpace(
        a_re=Tensor(np.trunc(eigenvalues.real).astype(np.int64), Format(16, 14)),
        a_im=Tensor(np.trunc(eigenvalues.imag).astype(np.int64), Format(16, 14)),
        b_re=weights(states, width),
        b_im=weights(states, width),
        c_re=weights(width, states),
        c_im=weights(width, states),
        d=Tensor(rng.integers(-64, 65, width), Format(8, 7)),
        u=ACTIVATION,
        bu_re=ACTIVATION,
        bu_im=ACTIVATION,
        x_re=ACTIVATION,
        x_im=ACTIVATION,
        y=ACTIVATION,
        conjugate_symmetric=True,
    )
    glu = Glu(GluVariant.HALF1, dense(width, width), None, ACTIVATION, Format(16, 14), ACTIVATION)
    block = Block(norm, ssm, glu, ACTIVATION)
    return QuantizedS5(f"random{width}", encoder, (block,), dense(FEATURES, width))


def random_tokens(count: int, active: float = 1.0, seed: int = 2) -> np.ndarray:
    """Return (count, 1, FEATURES) int32, a fraction of them not zero."""
    rng = np.random.default_rng(seed)
    shape = (count, 1, FEATURES)
    values = np.clip(np.rint(rng.normal(0, 2.0**11, shape)), -(2**15), 2**15 - 1)
    values[values == 0] = 1
    return (values * (rng.random(shape) < active)).astype(np.int32)


@dataclass(eq=False)
class Point:
    """One point of a curve: where it lies, what is run, and what it costs."""

    place: float
    subject: Subject
    work: Work
    streaming: Way
    sequences: Way


#: Tokens of a curve's sequences and of its streams.
CURVE_TOKENS, CURVE_STREAM = 4 * BLOCK, 200


def point_of(place: float, subject: Subject, rounds: int) -> Point:
    simulator, tokens = subject.simulator, subject.tokens
    few = tokens[:CURVE_STREAM, 0]
    streaming = timed(lambda: stream(simulator, few), len(few))
    sequences = timed(lambda: simulator.run(tokens), len(tokens))
    return Point(
        place,
        subject,
        work_of(subject),
        Way(f"streaming {place:g}", streaming, rounds, "equal"),
        Way(f"sequences {place:g}", sequences, rounds, "equal"),
    )


@dataclass(frozen=True)
class Fit:
    """A straight line through costs against operations."""

    nanoseconds: float
    intercept: float
    r_squared: float

    def __str__(self) -> str:
        return f"{self.nanoseconds:.4f} ns each + {self.intercept:.2f} us, R^2 {self.r_squared:.5f}"


def fit(operations: Sequence[float], microseconds: Sequence[float]) -> Fit:
    slope, intercept = np.polyfit(operations, microseconds, 1)
    residuals = np.asarray(microseconds) - slope * np.asarray(operations) - intercept
    total = np.sum((np.asarray(microseconds) - np.mean(microseconds)) ** 2)
    return Fit(slope * 1e3, intercept, 1 - float(np.sum(residuals**2) / total))


def print_curve(title: str, place: str, points: Sequence[Point], console: Console) -> None:
    rows = table(
        title, place, "streaming\nus/token", "synops\na token", "ns/synop", "sequences\nus/token",
        "synapses", "MAC/ns", "messages\nnot zero", "compile s",
    )  # fmt: skip
    for one in points:
        rows.add_row(
            f"{one.place:g}",
            f"{one.streaming.best:,.2f}",
            f"{one.work.synops:,.0f}",
            f"{one.streaming.best / one.work.synops * 1e3:.3f}" if one.work.synops else "",
            f"{one.sequences.best:,.2f}",
            f"{one.work.macs:,}",
            f"{one.work.macs / one.sequences.best / 1e3:.1f}",
            f"{100 * one.work.sent:.0f} %",
            f"{one.subject.seconds:.1f}",
        )
    console.print(rows)
    streaming = fit([p.work.synops for p in points], [p.streaming.best for p in points])
    console.print(f"Streaming against synops: {streaming}", highlight=False)
    if len({one.work.macs for one in points}) > 1:
        sequences = fit([p.work.macs for p in points], [p.sequences.best for p in points])
        console.print(f"Sequences against synapses: {sequences}", highlight=False)


@dataclass(frozen=True)
class Places:
    """Where the curves are measured."""

    densities: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
    widths: tuple[int, ...] = (48, 96, 192, 384, 768, 1536)
    active: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.0)
    dense_widths: tuple[int, ...] = (1536,)
    rounds: int = 9


QUICK_PLACES = Places((1.0, 0.1, 0.02), (48, 192, 768), (1.0, 0.2, 0.0), (), 3)


def curves(directory: Path, places: Places, console: Console) -> None:
    """Measure all curves in turn, print them, and draw two of them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens = random_tokens(CURVE_TOKENS)

    def random_point(place: float, width: int, density: float) -> Point:
        model = random_network_model(width, 2 * width // 3, density)
        return point_of(place, prepare(None, model, tokens), places.rounds)

    with console.status("compiling random networks"):
        by_density = [random_point(density, 768, density) for density in places.densities]
        by_width = [random_point(width, width, 0.1) for width in places.widths]
        dense = [random_point(width, width, 1.0) for width in places.dense_widths]
        by_activity = activity_points(places)
    networks = [*by_density, *by_width, *dense]
    measure_in_turn(
        [way for one in [*networks, *by_activity] for way in (one.streaming, one.sequences)],
        console,
    )
    one_block = "P = 2/3 H, 1 block, random weights"
    print_curve(f"Cost against density: H 768, {one_block}", "density", by_density, console)
    print_curve(f"Cost against width: 10 % dense, {one_block}", "H", by_width, console)
    title = f"Cost against input activity: H 768, 10 % dense, no biases, {one_block}"
    print_curve(title, "active inputs", by_activity, console)
    print_joint_fit([*networks, *by_activity], console)
    print_sparse_ratios([*by_density, *by_width, *dense], console)
    shape = f"P = 2/3 H, {FEATURES} in and out, 1 block"
    for name, points, place, title in (
        ("density", by_density, "density of all matrices", f"density: H = 768, {shape}"),
        ("width", by_width, "width H", f"width: 10 % dense, {shape}"),
    ):
        draw(directory / f"cost_{name}.png", points, place, f"Cost against {title}")
        console.print(f"Written: {directory / f'cost_{name}.png'}", soft_wrap=True)


def activity_points(places: Places) -> list[Point]:
    """One network, on inputs more or less of which are zero."""
    model = random_network_model(768, 512, 0.1, biased=False)
    return [
        point_of(active, prepare(None, model, random_tokens(CURVE_TOKENS, active)), places.rounds)
        for active in places.active
    ]


def density_of(one: Point) -> float:
    return round(one.work.macs / one.work.dense_macs, 2)


def print_joint_fit(points: Sequence[Point], console: Console) -> None:
    """Print streaming as a sum over operations, fitted to the relative errors of all points."""
    operations = np.array(
        [[p.work.synops, p.work.messages, p.work.updates] for p in points], dtype=float
    )
    costs = np.array([p.streaming.best for p in points])
    each, *_ = np.linalg.lstsq(operations / costs[:, None], np.ones(len(costs)), rcond=None)
    off = np.abs(operations @ each / costs - 1)
    console.print(
        f"All networks and inputs together, streaming: {each[0] * 1e3:.3f} ns a synop +"
        f" {each[1] * 1e3:.2f} ns a message + {each[2] * 1e3:.2f} ns a neuron update;"
        f" off by {100 * np.median(off):.1f} % (median), {100 * off.max():.1f} % (most).",
        highlight=False,
    )


def print_sparse_ratios(points: Sequence[Point], console: Console) -> None:
    """Print what networks of 10 % density cost as a part of dense ones, where both are there."""
    title = "90 % sparse / dense: <= 0.2 in streaming"
    rows = table(title, "H", "streaming", "sequences", "synops", "")
    by_shape = {(one.subject.model.encoder.bias.data.size, density_of(one)): one for one in points}
    for (width, density), dense in by_shape.items():
        sparse = by_shape.get((width, 0.1))
        if density != 1 or not sparse:
            continue
        ratio = sparse.streaming.best / dense.streaming.best
        rows.add_row(
            f"{width:g}",
            f"{ratio:.3f}",
            f"{sparse.sequences.best / dense.sequences.best:.3f}",
            f"{sparse.work.synops / dense.work.synops:.3f}",
            "met" if ratio <= 0.2 else "MISSED",
        )
    console.print(rows)


def draw(path: Path, points: Sequence[Point], place: str, title: str) -> None:
    """Draw both costs with the lines fitted against operations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    places = [one.place for one in points]
    for name, marker, costs, operations, unit in (
        ("streaming", "o", [p.streaming.best for p in points],
         [p.work.synops for p in points], "synop"),
        ("sequences", "s", [p.sequences.best for p in points],
         [p.work.macs for p in points], "synapse"),
    ):  # fmt: skip
        line = fit(operations, costs)
        label = (
            f"{name}; line: {line.intercept:.1f} us + {line.nanoseconds:.3f} ns a {unit}"
            f" (R² = {line.r_squared:.4f})"
        )
        (drawn,) = axes.plot(places, costs, marker, label=label)
        fitted = np.array(operations) * line.nanoseconds / 1e3 + line.intercept
        above = fitted > 0
        axes.plot(np.array(places)[above], fitted[above], "-", color=drawn.get_color(), alpha=0.5)
        for where, cost in zip(places, costs, strict=True):
            axes.annotate(
                f"{cost:.3g}", (where, cost), xytext=(0, 8), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=place, ylabel="µs a token, one core", title=title)
    axes.set_xticks(places, [f"{value:g}" for value in places])
    axes.minorticks_off()
    axes.margins(0.08)
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


# --- the run -------------------------------------------------------------------------------------


def compare(export: IntelExport, options, rates: dict[str, float], console: Console) -> list[Way]:
    """Measure all ways on one export and print what is known about it."""
    lengths = QUICK if options.quick else Lengths()
    model, _ = intel_export.to_model(export)
    recorded = export.recorded["INPUT"].data
    states, width = model.blocks[0].ssm.b_re.data.shape
    console.rule(f"{export.name}: H {width}, P {states}, {len(model.blocks)} blocks")
    with console.status("compiling kernels"):
        subject = prepare(export, model, repeated(recorded, lengths.tokens))
    console.print(f"Kernels compiled, or loaded from the cache, in {subject.seconds:.1f} s.")
    ways = fast_ways(subject, lengths) + interpreter_ways(subject, lengths)
    ways += lava_ways(subject, lengths, console)
    ways += float_ways(subject, lengths, console)
    if options.sparse_rnns:
        ways += intel_ways(subject, options.sparse_rnns, lengths, console)
    measure_in_turn(ways, console)
    print_ways(ways, subject, console)
    print_work(subject, ways, rates, console)
    print_parts(subject, ways, lengths.rounds, console)
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, metavar="DIR", help="Intel's fixed-point export")
    parser.add_argument(
        "--sparse-rnns", type=Path, metavar="PATH", help="a checkout of IntelLabs/SparseRNNs"
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="measure curves, draw them here")
    parser.add_argument("--quick", action="store_true", help="fewer tokens, rounds and points")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; numba"
        f" {numba.__version__}, {numba.get_num_threads()} threads for numba and JAX"
    )
    rates = peak(QUICK.rounds if options.quick else Lengths.rounds)
    compare(intel_export.read(DENOISER), options, rates, console)
    export = intel_export.read(options.export) if options.export else golden_export()
    print_targets(compare(export, options, rates, console), console)
    if options.plot:
        console.rule("Cost against density, width and input activity")
        curves(options.plot, QUICK_PLACES if options.quick else Places(), console)
    console.print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
