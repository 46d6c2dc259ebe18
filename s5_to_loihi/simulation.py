"""Simulating a network on data of any length: in memory, or from file to file in chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.bundle import Bundle, opened
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.arrays import ANY_PLAIN, read_npz
from s5_to_loihi.files.writing import allocated, replacing
from s5_to_loihi.inputs import (
    Data,
    Layout,
    arranged,
    as_tokens,
    check_length,
    integers_said,
    largest_of,
    louder_said,
    saturated_said,
)
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.simulators.activity import Activity
from s5_to_loihi.simulators.which import Device, simulator_on

#: Tokens of all sequences together that are in memory at a time; on a GPU many times as many.
CHUNK_TOKENS, ON_A_GPU = 16_384, 16
#: Bytes and number of the arrays in an .npz, which are unpacked into memory; an .npy is not.
LARGEST_ARCHIVE, MOST_ARRAYS = 4 << 30, 100
#: Arrays of an .npz with sequences of unequal lengths.
INPUTS, LENGTHS = "inputs", "lengths"


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulation computed.

    Attributes:
        outputs: (tokens, batch, output features) int32, in ``network.output_format``.
        saturated: input values that were clipped.
        activity: counts, if they were asked for.
        warnings: what may be wrong with the data, for people.
    """

    outputs: np.ndarray
    saturated: int
    activity: Activity | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Totals:
    """What a simulation from file to file counted.

    Attributes:
        tokens, sequences: how much was simulated.
        saturated: input values that were clipped.
        groups: ``input`` and the names of the groups.
        messages, synops: (groups,) totals over all tokens and sequences.
        updates: (groups,) neuron updates of one token.
        notes: how the data were understood.
        largest: magnitude of the input, as a value.
    """

    tokens: int
    sequences: int
    saturated: int
    groups: tuple[str, ...]
    messages: np.ndarray
    synops: np.ndarray
    updates: np.ndarray
    notes: tuple[str, ...] = ()
    largest: float = 0.0


def simulate(
    source: Bundle | str | os.PathLike[str],
    inputs: np.ndarray,
    *,
    saturate: bool = False,
    threads: int | None = None,
    counting: bool = False,
    raw: bool = False,
    layout: Layout = Layout.TOKENS_FIRST,
    lengths: np.ndarray | None = None,
    device: Device | str = Device.CPU,
) -> Simulation:
    """Simulate sequences that fit in memory, from a zero state.

    Args:
        source: the bundle whose network to simulate, or its path.
        inputs: (tokens, features) or (tokens, batch, features) values; see ``inputs.as_tokens``.
        saturate: clip values outside the input format instead of refusing them.
        threads: sequences at the same time; by default as many as there are processors.
        counting: count activity, for each token and group.
        raw: take integers as they are, as integers of the input format.
        layout: of inputs with three axes.
        lengths: (batch,) tokens of each sequence, where there is padding behind the shorter ones;
            see ``behind_the_ends``.
        device: what simulates; the integers are the same.

    Raises:
        InputError: the data does not suit the network, or the device cannot be used.

    Examples:
        >>> simulation = s5.simulate("denoiser.bundle", frames, counting=True)
        >>> simulation.outputs.shape, simulation.saturated
        ((200, 1, 257), 0)
        >>> simulation.activity.synops.shape  # tokens, sequences, input and groups
        (200, 1, 15)
    """
    bundle = opened(source)
    data = arranged(inputs, "input", Layout(layout), lengths)
    check_length(bundle.network, data, "input")
    values = data.padded_with_zeros(0, len(data.values))
    tokens, saturated = as_tokens(bundle.network, values, saturate, raw=raw)
    run = simulator_on(device, bundle.network).run(
        tokens, threads=threads or os.cpu_count() or 1, counting=counting
    )
    behind_the_ends(bundle.network, data, run.outputs)
    warnings = (
        *saturated_said(saturated, tokens.size, "input"),
        *louder_said(bundle.source, largest_of(bundle.network, tokens), "input"),
    )
    return Simulation(run.outputs, saturated, run.activity, warnings)


def behind_the_ends(network: Network, data: Data, outputs: np.ndarray) -> None:
    """Overwrite outputs (tokens, batch, features) of padding in place.

    With zeros; where only a sequence's last token counts with its answer, so that the last row
    holds all answers.
    """
    if data.lengths is None:
        return
    for sequence, length in enumerate(data.lengths):
        each = network.readout is Readout.EACH_TOKEN
        outputs[length:, sequence] = 0 if each else outputs[length - 1, sequence]


def simulate_file(
    network: Network,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    saturate: bool = False,
    raw: bool = False,
    layout: Layout | None = None,
    threads: int | None = None,
    device: Device | str = Device.CPU,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Totals:
    """Simulate a file of any length in bounded memory.

    Args:
        network: of a bundle.
        source: see ``read_data``.
        target: the .npy to write, (tokens, batch, output features) int32; whole or not at all.
        saturate: clip values outside the input format instead of refusing them.
        raw: take integers as they are, as integers of the input format.
        layout: of three axes; None: tokens first, unless something speaks against it.
        threads: sequences at the same time.
        device: what simulates; the integers are the same.
        on_progress: called with tokens done and in all.

    Raises:
        InputError: the data does not suit the network, a file cannot be read or written, or the
            device cannot be used.
    """
    target = Path(target)
    data = read_data(source, layout, network.sequence_length)
    if target.suffix != ".npy":
        raise InputError(str(target), f"has the suffix '{target.suffix}'", "Name it *.npy")
    count, batch = data.values.shape[:2]
    as_tokens(network, data.padded_with_zeros(0, 1), saturate=True, where=str(source), raw=raw)
    check_length(network, data, str(source))
    simulator = simulator_on(device, network)
    most = CHUNK_TOKENS * (ON_A_GPU if Device(device) is Device.CUDA else 1)
    state, saturated, largest = simulator.initial_state(batch), 0, 0.0
    messages, synops = (np.zeros(len(simulator.groups), dtype=np.int64) for _ in range(2))
    shape = (count, batch, network.output_size)
    with replacing(target) as temporary:
        outputs = allocated(temporary, np.int32, shape)
        for start, stop in _chunks(count, batch, most):
            where = f"{source}, tokens {start} to {stop - 1}"
            values = data.padded_with_zeros(start, stop)
            tokens, clipped = as_tokens(network, values, saturate, where, raw)
            run = simulator.run(tokens, state, threads or os.cpu_count() or 1, counting=True)
            outputs[start:stop], state = run.outputs, run.state
            saturated += clipped
            largest = max(largest, largest_of(network, tokens))
            assert run.activity is not None  # counted
            activity = run.activity
            messages += activity.messages.sum(axis=(0, 1))
            synops += activity.synops.sum(axis=(0, 1))
            on_progress(stop, count)
        behind_the_ends(network, data, outputs)
        outputs.flush()
    groups, updates = simulator.groups, activity.updates
    notes = (*data.notes, *integers_said(data.values, str(source), raw))
    return Totals(count, batch, saturated, groups, messages, synops, updates, notes, largest)


def _chunks(tokens: int, batch: int, most: int) -> Iterator[tuple[int, int]]:
    step = max(1, most // batch)
    for start in range(0, tokens, step):
        yield start, min(start + step, tokens)


def read_data(
    path: str | os.PathLike[str], layout: Layout | None = None, length: int | None = None
) -> Data:
    """Open a file's data, with its axes in order.

    Args:
        path: .npy; .npz with one array, or with ``inputs`` and ``lengths`` (sequences,) for
            sequences of unequal lengths; .wav (16 kHz STFT magnitudes of each channel).
        layout: of three axes; None: tokens first, unless something speaks against it.
        length: tokens a sequence, where that is known otherwise.

    Raises:
        InputError: missing, damaged, of another kind, or the axes are in doubt.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".wav":
        # The axes of its features are ours.
        return _read_sound(path)
    values = read_array(path)
    lengths = read_array(path, LENGTHS) if suffix == ".npz" else None
    return arranged(values, str(path), layout, lengths, length)


def _read_sound(path: Path) -> Data:
    """Return the features of a recording, a sequence for each channel, and what was done to it."""
    recording = audio.resample(audio.read_wav(path))
    features = [audio.features(audio.analyse(channel)) for channel in recording.samples]
    notes = tuple(f"{path.name}: {note}" for note in recording.notes)
    return Data(np.stack(features, axis=1), notes=notes)


@dataclass(frozen=True, eq=False)
class Typical:
    """Tokens to count activity with.

    Attributes:
        tokens: (tokens, batch, features) int32; where sequences have ended they begin again.
        saturated: input values that were clipped.
        notes: how the data were understood.
    """

    tokens: np.ndarray
    saturated: int
    notes: tuple[str, ...]


def read_typical(
    network: Network,
    path: str | os.PathLike[str],
    raw: bool = False,
    layout: Layout | None = None,
) -> Typical:
    """Open a file's data as tokens to count activity with; see ``read_data`` and ``as_tokens``.

    Raises:
        InputError: the data does not suit the network, or the file cannot be read.
    """
    data = read_data(path, layout, network.sequence_length)
    check_length(network, data, str(path))
    values = data.padded_with_themselves()
    tokens, saturated = as_tokens(network, values, True, str(path), raw)
    return Typical(tokens, saturated, (*data.notes, *integers_said(values, str(path), raw)))


@overload
def read_array(path: str | os.PathLike[str]) -> np.ndarray: ...


@overload
def read_array(path: str | os.PathLike[str], beside: str) -> np.ndarray | None: ...


def read_array(path: str | os.PathLike[str], beside: str | None = None) -> np.ndarray | None:
    """Open a file's data without loading all of it, where its format allows.

    Args:
        path: of the file.
        beside: the name of another array of an .npz, to be opened instead; None if it has none.

    Returns:
        The array of an .npy (memory-mapped), of an .npz with one array or with ``inputs`` and
        ``lengths``, or the features of a .wav: (tokens, channels, 257) floats.

    Raises:
        InputError: missing, damaged, of another kind, or several arrays.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".wav":
        return _read_sound(path).values
    if suffix not in (".npy", ".npz"):
        raise InputError(str(path), f"has the suffix '{path.suffix}'", "Give .npy, .npz or .wav")
    if not path.is_file():
        raise InputError(str(path), "is not a file" if path.exists() else "does not exist")
    if suffix == ".npy":
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # a broken header surfaces as almost any exception
            raise InputError(str(path), f"cannot be read ({error})", "Save it with numpy") from None
    do = "Save it with numpy"
    arrays = read_npz(path, LARGEST_ARCHIVE, MOST_ARRAYS, if_damaged=do, kinds=ANY_PLAIN)
    names = tuple(arrays)
    if beside is not None:
        return arrays.get(beside)
    if len(names) == 1:
        return arrays[names[0]]
    if set(names) == {INPUTS, LENGTHS}:
        return arrays[INPUTS]
    raise InputError(
        str(path),
        f"holds {', '.join(names) or 'nothing'}",
        f"Give a file with one array, or with {INPUTS} and {LENGTHS}",
    )
