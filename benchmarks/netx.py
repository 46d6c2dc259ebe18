"""Intel's N-DNS baseline beside Lava and beside S5, and sigma-delta messages around S5.

Speed: milliseconds a timestep of the baseline (a file of IntelLabs/IntelNeuromorphicDNSChallenge,
not ours to pass on) on the fast simulator; under Lava by lava-dl where that is installed, else the
figures measured before. Outputs of both must be equal. Denoising: SI-SNR, synaptic operations and
messages a token of the baseline, of the shipped S5 denoiser (or --network), and of the latter when
every message is sent as differences above a threshold.

    python benchmarks/netx.py --baseline network.net [--clips DIR] [--network BUNDLE] [--lava]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s5_to_loihi import audio, bundle
from s5_to_loihi.compiler import compile_export, compile_netx
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.denoising import masked, tokens_of
from s5_to_loihi.evaluation import intel_sdnn
from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.netx import NetxOptions
from s5_to_loihi.simulators.activity import count
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, update_sequence

#: Milliseconds a timestep of lava-dl 0.6.0 under lava-nc 0.10.0 on a quiet processor: with sparse
#: layers, and as it is, with a matrix a delay.
MEASURED_LAVA = (32.0, 81.0)
ROUNDS = 7
#: Thresholds as parts of the largest magnitude that a message has.
THRESHOLDS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def speed(file: Path, clip: np.ndarray, live: bool) -> None:
    simulator = FastSimulator(intel_sdnn.network_of(file))
    tokens = intel_sdnn.tokens_of(clip)
    outputs = simulator.run(tokens).outputs
    sequence = fastest(lambda: simulator.run(tokens)) / len(tokens) * 1e3

    def stream() -> np.ndarray:
        one = simulator.stream()
        return np.array([one.step(token) for token in tokens[:, 0].astype(np.int32)])

    assert np.array_equal(stream(), outputs[:, 0])
    streaming = fastest(stream) / len(tokens) * 1e3
    lava = under_lava(file, tokens[:200, 0], outputs[:, 0]) if live else MEASURED_LAVA
    how = "measured here" if live else "measured before"
    print(f"Timestep of the baseline, {len(tokens)} tokens of speech:")
    print(f"  Lava, sparse layers {lava[0]:.1f} ms, as it is {lava[1]:.1f} ms ({how})")
    for name, value in (("sequences", sequence), ("streaming", streaming)):
        print(f"  fast simulator, {name} {value * 1e3:.0f} us: {lava[0] / value:.0f} times faster")


def under_lava(file: Path, tokens: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Milliseconds a timestep under Lava: the difference of a long and a short run."""
    from s5_to_loihi.lava_runtime import shim

    shim.install()
    from lava.lib.dl import netx
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    results = []
    for sparse in (True, False):
        network = netx.hdf5.Network(str(file), sparse_fc_layer=sparse)
        source = io.source.RingBuffer(data=tokens.T.astype(np.int32))
        sink = io.sink.RingBuffer(shape=network.out.shape, buffer=len(tokens))
        source.s_out.connect(network.in_layer.neuron.a_in)
        network.out.connect(sink.a_in)
        configuration = Loihi2SimCfg(select_tag="fixed_pt")
        try:
            source.run(RunSteps(num_steps=20), configuration)
            started = time.perf_counter()
            source.run(RunSteps(num_steps=len(tokens) - 20), configuration)
            results.append((time.perf_counter() - started) / (len(tokens) - 20) * 1e3)
            got, late = sink.data.get().T, len(network) - 1
        finally:
            source.stop()
        assert np.array_equal(got[late:], expected[: len(tokens) - late])
    return results[0], results[1]


def differences(values: np.ndarray, threshold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what is sent of (tokens, 1, n) values, and what a receiver adds up to."""
    told, sent, received = np.zeros_like(values[0]), [], []
    for value in values:
        change = np.where(np.abs(value - told) > threshold, value - told, 0)
        told = told + change
        sent.append(change)
        received.append(told)
    return np.array(sent), np.array(received)


def by_differences(
    network: Network, tokens: np.ndarray, part: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return outputs and messages of a network all of whose messages are sent as differences."""
    interpreter, received, messages = Interpreter(network), {}, {}

    def send(source: Endpoint, values: np.ndarray) -> None:
        threshold = int(part * np.abs(values).max())
        messages[str(source)], received[source] = differences(values, threshold)

    send(Endpoint(INPUT, TOKEN), tokens.astype(np.int64))
    state, outputs = interpreter.initial_state(), None
    for group in network.groups:
        sums = interpreter.accumulate(group, received)
        _, results = update_sequence(group, sums, state.get(group.name, ()))
        for name, values in zip(group.kind.values, results, strict=True):
            source = Endpoint(group.name, name)
            if source == network.output:
                outputs = values
            if source in network.sent:
                send(source, np.broadcast_to(values, (len(tokens), 1, group.size)))
    assert outputs is not None
    return outputs, messages


def denoising(file: Path, clips: Path, network: Network) -> None:
    pairs = read_pairs(clips)
    baseline = FastSimulator(intel_sdnn.network_of(file))
    corrected = FastSimulator(compile_netx(file, NetxOptions(corrected=True)).network)
    ratios = {"noisy": [audio.si_snr(noisy, clean, 1e-8) for noisy, clean in pairs]}
    costs: dict[str, list[tuple[float, float]]] = {}

    def judge(name: str, cleaned: np.ndarray, clean: np.ndarray, of: Network, messages) -> None:
        ratios.setdefault(name, []).append(audio.si_snr(cleaned, clean, 1e-8))
        activity = count(of, messages)
        costs.setdefault(name, []).append(
            (
                activity.synops.sum() / len(activity.synops),
                activity.messages.sum() / len(activity.messages),
            )
        )

    for noisy, clean in pairs:
        run = baseline.run(intel_sdnn.tokens_of(noisy), record=True)
        cleaned = intel_sdnn.masked(noisy, baseline.network, run.outputs)
        judge("Intel's baseline, sigma-delta", cleaned, clean, baseline.network, run.messages)
        run = corrected.run(intel_sdnn.tokens_of(noisy), record=True)
        cleaned = intel_sdnn.masked(noisy, corrected.network, run.outputs)
        judge("  without drift (corrected)", cleaned, clean, corrected.network, run.messages)
        tokens, _ = tokens_of(network, noisy[None])
        run = FastSimulator(network).run(tokens, record=True)
        cleaned = masked(noisy[None], to_floats(run.outputs, network.output_format))[0]
        judge("S5", cleaned, clean, network, run.messages)
        for part in THRESHOLDS:
            outputs, messages = by_differences(network, tokens, part)
            cleaned = masked(noisy[None], to_floats(outputs, network.output_format))[0]
            judge(f"S5, differences above {part:.1%}", cleaned, clean, network, messages)
    print(f"\nDenoising, means over {len(pairs)} clips of {clips}")
    print(f"{'':34}{'SI-SNR dB':>10}{'synops':>10}{'messages a token':>18}")
    for name, values in ratios.items():
        synops, sent = np.mean(costs[name], axis=0) if name in costs else (0.0, 0.0)
        print(f"{name:34}{np.mean(values):10.2f}{synops:10,.0f}{sent:18,.0f}")


def read_pairs(clips: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read recordings of a folder ``noisy`` and those of ``clean`` with the same number."""
    pairs = []
    for noisy in sorted((clips / "noisy").glob("*.wav")):
        clean = clips / "clean" / f"clean_fileid_{noisy.stem.rpartition('_')[2]}.wav"
        pairs.append((audio.read_wav(noisy).samples[0], audio.read_wav(clean).samples[0]))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--lava", action="store_true", help="run lava-dl, too")
    given = parser.parse_args()
    network = bundle.read(given.network).network if given.network else None
    pairs = read_pairs(given.clips)
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    speed(given.baseline, pairs[0][0], given.lava)
    denoising(given.baseline, given.clips, network or compile_export(DENOISER).network)


if __name__ == "__main__":
    main()
