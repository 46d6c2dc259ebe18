"""Simulating a network on data of any length: in memory, or from file to file in chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.inputs import as_tokens
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.fast import FastSimulator

#: Tokens of all sequences together that are in memory at a time.
CHUNK_TOKENS = 16_384


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulation computed.

    Attributes:
        outputs: (tokens, batch, output features) int32, in ``network.output_format``.
        saturated: input values that were clipped.
        activity: counts, if they were asked for.
    """

    outputs: np.ndarray
    saturated: int
    activity: Activity | None


@dataclass(frozen=True, eq=False)
class Totals:
    """What a simulation from file to file counted.

    Attributes:
        tokens, sequences: how much was simulated.
        saturated: input values that were clipped.
        groups: ``input`` and the names of the groups.
        messages, synops: (groups,) totals over all tokens and sequences.
        updates: (groups,) neuron updates of one token.
    """

    tokens: int
    sequences: int
    saturated: int
    groups: tuple[str, ...]
    messages: np.ndarray
    synops: np.ndarray
    updates: np.ndarray


def simulate(
    bundle: Bundle,
    inputs: np.ndarray,
    *,
    saturate: bool = False,
    threads: int | None = None,
    counting: bool = False,
) -> Simulation:
    """Simulate sequences that fit in memory, from a zero state, on the fast simulator.

    Args:
        bundle: whose network to simulate.
        inputs: (tokens, features) or (tokens, batch, features); see ``inputs.as_tokens``.
        saturate: clip values outside the input format instead of refusing them.
        threads: sequences at the same time; by default as many as there are processors.
        counting: count activity, for each token and group.

    Raises:
        InputError: the data does not suit the network.
    """
    tokens, saturated = as_tokens(bundle.network, inputs, saturate)
    run = FastSimulator(bundle.network).run(
        tokens, threads=threads or os.cpu_count() or 1, counting=counting
    )
    return Simulation(run.outputs, saturated, run.activity)


def simulate_file(
    network: Network,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    saturate: bool = False,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Totals:
    """Simulate a file of any length in bounded memory.

    Args:
        network: of a bundle.
        source: .npy, .npz (one array) or .wav (16 kHz STFT magnitudes of each channel).
        target: the .npy to write, (tokens, batch, output features) int32; whole or not at all.
        saturate: clip values outside the input format instead of refusing them.
        threads: sequences at the same time.
        on_progress: called with tokens done and in all.

    Raises:
        InputError: the data does not suit the network, or a file cannot be read or written.
    """
    data, target = read_array(source), Path(target)
    if target.suffix != ".npy":
        raise InputError(str(target), f"has the suffix '{target.suffix}'", "Name it *.npy")
    as_tokens(network, data[:1] if data.ndim else data, saturate=True, where=str(source))
    batch = data.shape[1] if data.ndim == 3 else 1
    simulator = FastSimulator(network)
    state, saturated = simulator.initial_state(batch), 0
    messages, synops = (np.zeros(len(simulator.groups), dtype=np.int64) for _ in range(2))
    shape = (len(data), batch, network.output_size)
    with replacing(target) as temporary:
        outputs = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int32, shape=shape)
        for start, stop in _chunks(len(data), batch):
            where = f"{source}, tokens {start} to {stop - 1}"
            tokens, clipped = as_tokens(network, data[start:stop], saturate, where)
            run = simulator.run(tokens, state, threads or os.cpu_count() or 1, counting=True)
            outputs[start:stop], state = run.outputs, run.state
            saturated += clipped
            assert run.activity is not None  # counted
            activity = run.activity
            messages += activity.messages.sum(axis=(0, 1))
            synops += activity.synops.sum(axis=(0, 1))
            on_progress(stop, len(data))
        outputs.flush()
    groups, updates = simulator.groups, activity.updates
    return Totals(len(data), batch, saturated, groups, messages, synops, updates)


def _chunks(tokens: int, batch: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK_TOKENS // batch)
    for start in range(0, tokens, step):
        yield start, min(start + step, tokens)


def read_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Open a file's data without loading all of it, where its format allows.

    Returns:
        The array of an .npy (memory-mapped) or of an .npz with one array, or the features of a
        .wav: (tokens, channels, 257) floats.

    Raises:
        InputError: missing, damaged, of another kind, or several arrays.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".wav":
        recording = audio.resample(audio.read_wav(path))
        features = [audio.features(audio.analyse(channel)) for channel in recording.samples]
        return np.stack(features, axis=1)
    if suffix not in (".npy", ".npz"):
        raise InputError(str(path), f"has the suffix '{path.suffix}'", "Give .npy, .npz or .wav")
    if not path.is_file():
        raise InputError(str(path), "is not a file" if path.exists() else "does not exist")
    try:
        if suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream) as archive:
            names = archive.files
            if len(names) == 1:
                return np.asarray(archive[names[0]])
    except Exception as error:  # a broken header surfaces as almost any exception
        raise InputError(str(path), f"cannot be read ({error})", "Save it with numpy") from None
    raise InputError(
        str(path), f"holds {', '.join(names) or 'nothing'}", "Give a file with one array"
    )
