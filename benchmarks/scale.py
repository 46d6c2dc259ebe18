"""Would a language model fit? S5 models of up to 300 M weights, from checkpoint to report.

Random models with an embedding in front and logits behind, 90 % of all weights zero, in this
project's own format; tokens are random ids. Each is carried through every step that a user takes,
in a process of its own, and each step's seconds, processor seconds and largest memory are printed
with what it found. Random weights say nothing about quality; SQNR is against the float model.

    python benchmarks/scale.py [--size NAME]... [--tokens N] [--keep DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

# The parent imports nothing large: its children start small.


@dataclass(frozen=True)
class Size:
    """A language model: blocks of width H with P complex states, a vocabulary of V ids."""

    blocks: int
    width: int
    states: int
    vocabulary: int

    @property
    def weights(self) -> int:
        """All weights of matrices, pruned ones too."""
        block = 4 * self.states * self.width + self.width**2
        return self.blocks * block + 2 * self.width * self.vocabulary


SIZES = {
    "try": Size(4, 192, 96, 1000),
    "34M": Size(12, 768, 384, 8192),
    "110M": Size(24, 1024, 512, 16384),
    "300M": Size(48, 1280, 640, 25000),
}
#: Share of weights that is left.
DENSITY = 0.1
#: Tokens that are streamed, that are verified against the interpreter, and of a sequence.
STREAMED, VERIFIED, SEQUENCE = 16, 32, 256
#: How often what takes milliseconds is timed; the fastest counts.
ROUNDS = 3


def tensors_of(size: Size, seed: int = 0):
    """Return the tensors of a random model by their names in our own format, float32."""
    import numpy as np

    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, gain=1.0) -> np.ndarray:
        """Gaussian, pruned; a row's products with unit inputs have a variance of ``gain`` ** 2."""
        made = rng.standard_normal((rows, columns), dtype=np.float32)
        made *= rng.random((rows, columns), dtype=np.float32) < DENSITY
        return made * np.asarray(gain / np.sqrt(DENSITY * columns), dtype=np.float32)

    width, states = size.width, size.states
    tensors = {
        "encoder.weight": matrix(width, size.vocabulary, np.sqrt(size.vocabulary)),
        "decoder.weight": matrix(size.vocabulary, width),
    }
    for index in range(size.blocks):
        step = 10 ** rng.uniform(-3, -1, states)
        scale = 1 / np.sqrt(2 * step)[:, None]  # states of unit variance
        tensors |= {
            f"blocks.{index}.{name}": value
            for name, value in {
                "norm.mean": np.zeros(width, dtype=np.float32),
                "norm.variance": np.ones(width, dtype=np.float32),
                "ssm.eigenvalues": np.stack([np.full(states, -0.5), np.pi * np.arange(states)], -1),
                "ssm.step": step,
                "ssm.b": np.stack([matrix(states, width, scale) for _ in range(2)], -1),
                "ssm.c": np.stack([matrix(width, states, 0.5) for _ in range(2)], -1),
                "ssm.d": rng.standard_normal(width, dtype=np.float32) / 2,
                "gate.weight": matrix(width, width),
                "gate.bias": np.zeros(width, dtype=np.float32),
            }.items()
        }
        # What a block adds does not drown what comes in.
        tensors[f"blocks.{index}.ssm.c"] /= np.sqrt(size.blocks)
    return tensors


BLOCK = {
    "kind": "s5",
    "discretization": "zoh",
    "conjugate_symmetric": True,
    "rectified": True,
    "norm": {"kind": "batch"},
    "activation": "relu",
    "glu": "half1",
}


# --- steps ---------------------------------------------------------------------------------------


class Watch:
    """Prints each step with what it took and found."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    @contextmanager
    def step(self, name: str) -> Iterator[dict]:
        """Measure a step; what is put into the dictionary is printed with it."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        found: dict = {}
        wall, processor = time.perf_counter(), time.process_time()
        yield found
        row = {
            "step": name,
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "MiB": _peak(),
        }
        said = ", ".join(f"{key} {_shown(value)}" for key, value in found.items())
        print(
            f"{name:26}{row['seconds']:9.1f}{row['processor']:9.1f}{row['MiB']:8.0f}  {said}",
            flush=True,
        )
        self.rows.append(row | {"found": found})


def _peak() -> float:
    """Return the most memory since the peak was reset, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1024


def _shown(value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def integers(size: Size, folder: Path, watch: Watch) -> None:
    """Write a bundle of random integers in place of a quantized model."""
    import numpy as np

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
    from synthetic_networks import synthetic_s5

    import s5_to_loihi as s5
    from s5_to_loihi.compiler import own_vectors
    from s5_to_loihi.fixed_point import Format
    from s5_to_loihi.passes.pipeline import run_passes

    rng = np.random.default_rng(1)
    with watch.step("random integers"):
        made = synthetic_s5(size.width, size.states, size.blocks, DENSITY, size.vocabulary)
        network = run_passes(replace(made, input_format=Format(8, 8)))
    with watch.step("record vectors"):
        ids = rng.integers(size.vocabulary, size=(64, 1))
        vectors = own_vectors(network, s5.one_hot(ids, size.vocabulary) * 0.5)
    with watch.step("write the bundle"):
        s5.write(s5.Bundle(network, vectors, {}, ()), folder / "model.bundle")


def carry(size: Size, calibration_tokens: int, folder: Path, watch: Watch) -> None:
    """Carry a model through every step."""
    import numpy as np

    import s5_to_loihi as s5

    rng = np.random.default_rng(1)
    checkpoint, bundle_path = folder / "checkpoint", folder / "model.bundle"
    if not calibration_tokens and not bundle_path.exists():
        integers(size, folder, watch)
    if calibration_tokens and not checkpoint.exists():
        with watch.step("write the checkpoint") as found:
            blocks = [BLOCK] * size.blocks
            s5.save_from_torch(tensors_of(size), checkpoint, f"language {size.weights:,}", blocks)
            found["weights"] = size.weights
    if not bundle_path.exists():
        ids = rng.integers(size.vocabulary, size=(calibration_tokens * 5 // 4, 1))
        with watch.step(f"quantize, {calibration_tokens} tokens") as found:
            made = s5.quantize(checkpoint, s5.one_hot(ids, size.vocabulary))
            found["SQNR dB"] = made.report.signal_to_noise
            found["synapses"] = made.bundle.network.synapse_count
            proofs = made.report.proofs
            found["ranges proven"] = f"{sum(one.proven for one in proofs)} of {len(proofs)}"
        with watch.step("write the bundle"):
            s5.write(made.bundle, bundle_path)
        del made
    with watch.step("read the bundle") as found:
        bundle = s5.read(bundle_path)
        network = bundle.network
        found["groups"], found["timesteps"] = len(network.groups), network.latency
        found["synapses"] = network.synapse_count
        found["neurons"] = sum(group.size for group in network.groups)
    simulate(bundle, size, rng, watch)
    price(bundle, bundle_path, folder, watch)


def simulate(bundle, size: Size, rng, watch: Watch) -> None:
    """Run the network on the fast simulator, and compare it with the interpreter."""
    import numpy as np

    import s5_to_loihi as s5
    from s5_to_loihi.fixed_point import limits
    from s5_to_loihi.simulators.fast import processors

    network = bundle.network
    ids = rng.integers(size.vocabulary, size=(SEQUENCE, 2))
    highest = limits(network.input_format.bits)[1] / 2.0**network.input_format.exponent
    tokens, _ = s5.as_tokens(network, s5.one_hot(ids, size.vocabulary) * min(1.0, highest))
    with watch.step("first token"):
        simulator = s5.FastSimulator(network)
        stream = simulator.stream()
        stream.step(tokens[0, 0])
    threads = processors()
    for count in (1, threads):
        streams = [simulator.stream(stream.state.copy(), count) for _ in range(ROUNDS)]
        with watch.step(f"stream {STREAMED} tokens, {count} threads") as found:
            costs = []
            for again in streams:
                wall = time.perf_counter()
                streamed = np.array([again.step(token) for token in tokens[1 : STREAMED + 1, 0]])
                costs.append((time.perf_counter() - wall) / STREAMED * 1e6)
            found["µs a token"] = min(costs)
            found["synops a token"] = int(again.synops.sum()) // STREAMED
    simulator.run(tokens[:1, :1])  # kernels
    one = np.ascontiguousarray(tokens[:, :1])
    for count, given in ((1, one), (threads, one), (threads, tokens)):
        name = f"{given.shape[1]} x {SEQUENCE} tokens, {count} threads"
        with watch.step(name) as found:
            costs, each = [], 1e6 / (given.shape[0] * given.shape[1])
            for _ in range(ROUNDS):
                wall = time.perf_counter()
                outputs = simulator.run(given, threads=count).outputs
                costs.append((time.perf_counter() - wall) * each)
            found["µs a token"] = min(costs)
            equal = np.array_equal(outputs[1 : STREAMED + 1, 0], streamed)
            found["streaming's integers"] = "equal" if equal else "DIFFERENT"
    with watch.step("verify against the interpreter") as found:
        vectors = bundle.vectors.first(VERIFIED, 1)
        result = s5.verify_run(network, vectors, s5.Backend.FAST, s5.Mode.PIPELINED)
        found["integers"] = sum(one.compared for one in result.tensors)
        found["differing"] = sum(one.differing for one in result.tensors)


def price(bundle, bundle_path: Path, folder: Path, watch: Watch) -> None:
    """Map the network, profile it, and write the report."""
    import s5_to_loihi as s5
    from s5_to_loihi.loihi2.deliveries import deliveries
    from s5_to_loihi.loihi2.facts import load_system
    from s5_to_loihi.profiling.activity import record
    from s5_to_loihi.profiling.copies import copied
    from s5_to_loihi.profiling.demand import demands
    from s5_to_loihi.profiling.profile import (
        evaluate_recording,
        map_recording,
        profile_recording,
        recorded_tokens,
    )

    network = bundle.network
    with watch.step("count activity") as found:
        recording = record(network, recorded_tokens(bundle))
        found["of"] = recording.origin
    with watch.step("map") as found:
        mapping, system = map_recording(network, recording, None)
    with watch.step("estimate") as found:
        profile = profile_recording(network, recording, mapping, system)
        found["system"] = profile.system
        found["cores"], found["chips"] = profile.mapping.cores, profile.mapping.chips
        for name, mode in profile.modes.items():
            energy = mode.energy["board"].total
            found[name] = (
                f"{mode.latency.value:,.0f} µs ({mode.latency.low:,.0f} to"
                f" {mode.latency.high:,.0f}), {mode.throughput.value:,.0f} tokens/s,"
                f" {energy.value:,.0f} µJ ({energy.low:,.0f} to {energy.high:,.0f})"
            )
    with watch.step("copies on Hala Point") as found:
        large = load_system("halapoint")
        evaluation = evaluate_recording(network, recording, mapping, large)
        table = deliveries(evaluation.work, evaluation.loads.core_of)
        for kind, demand in demands(recording, evaluation, table).items():
            every = copied(demand, large)
            found[kind.value] = (
                f"{every.count} on {every.chips} chips: {every.throughput.value:,.0f} tokens/s,"
                f" {every.energy['board'].value:,.0f} µJ"
            )
    with watch.step("write the mapped bundle"):
        s5.write(replace(bundle, mapping=mapping), folder / "mapped.bundle")
    with watch.step("report, nothing measured"):
        s5.report(folder / "mapped.bundle", output=folder / "report.html", measure=False)


def main() -> None:
    """Run each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=SIZES, action="append", help="default: 34M; may be repeated"
    )
    parser.add_argument(
        "--tokens",
        type=int,
        default=256,
        help="to calibrate with; 0: random integers in place of a model",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="what is there is not made again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.size or ["34M"]
    if options.child:
        watch = Watch()
        carry(SIZES[names[0]], options.tokens, options.keep, watch)
        options.json.write_text(json.dumps(watch.rows))
        return
    measured = {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="scale_") as temporary:
            folder = (options.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            rows = Path(temporary) / "rows.json"
            print(f"\n{name}: {SIZES[name]}, {SIZES[name].weights:,} weights")
            print(f"{'':26}{'seconds':>9}{'cpu s':>9}{'MiB':>8}", flush=True)
            command = [sys.executable, __file__, "--child", "--size", name, "--json", str(rows)]
            command += ["--tokens", str(options.tokens), "--keep", str(folder)]
            subprocess.run(command, check=True)
            measured[name] = asdict(SIZES[name]) | {"steps": json.loads(rows.read_text())}
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
