"""Decisions and predictions of a network on data with answers, beside its float model's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation.labelled import Labelled
from s5_to_loihi.evaluation.statistics import CONFIDENCE
from s5_to_loihi.files.records import Schema, Signed
from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.float_model import S5Model, evaluate
from s5_to_loihi.inputs import as_tokens, integers_said, largest_of, louder_said
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.profiling.profile import profile
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.quantization.report import signal_to_noise
from s5_to_loihi.simulators.which import Device, simulator_on

SCHEMA = Schema(
    name="result of an evaluation with answers",
    key="s5_to_loihi answers",
    version=1,
    largest=1 << 28,
    do="Give the results.json that 's5-to-loihi evaluate --data' wrote",
)
#: Values of inputs that are simulated at a time.
CHUNK_VALUES = 1 << 22
#: Tokens that activity is counted on, for energy and latency.
PROFILED_TOKENS = 4096
#: Sequences that an answer lists where integers and floats differ.
LISTED = 20


@dataclass(frozen=True)
class Share:
    """A part of a number of cases.

    Attributes:
        count, of: cases.
        value: the part, 0..1.
        low, high: its confidence interval (Wilson).
    """

    count: int
    of: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Decisions:
    """How a classifier decides.

    Attributes:
        accuracy: right decisions.
        top: right class among the best ``top_k`` outputs.
        confusion: row of the true class, column of the decision: cases.
        float_accuracy, agreement: of the float model, and decisions that both share; None
            without it.
        differing: first cases where they differ: sequence, true class, integers, floats.
    """

    accuracy: Share
    top: Share
    top_k: int
    confusion: tuple[tuple[int, ...], ...]
    float_accuracy: Share | None
    agreement: Share | None
    differing: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Predictions:
    """How near a regression comes.

    Attributes:
        mean_squared_error: of integers, in the targets' unit squared.
        float_mean_squared_error: of the float model; None without it.
    """

    mean_squared_error: float
    float_mean_squared_error: float | None


@dataclass(frozen=True)
class Answered:
    """What an evaluation on data with answers found.

    Attributes:
        network: its name.
        digest: of the bundle.
        data: the file.
        sequences, shortest, longest: that were evaluated, in tokens.
        excluded: sequences that were not, and why.
        saturated: input values that were clipped to the input format.
        values: input values in all.
        classes: names.
        decisions: for labels; None for targets.
        predictions: for targets; None for labels.
        signal_to_noise: of outputs against the float model's, dB; None without it, or if infinite.
        costs: mode -> what -> time and energy of an answer: a sequence, or a token where each has
            one; modelled.
        notes: what the user should know.
    """

    network: str
    digest: str
    data: str
    sequences: int
    shortest: int
    longest: int
    excluded: tuple[str, ...]
    saturated: int
    values: int
    classes: tuple[str, ...]
    decisions: Decisions | None
    predictions: Predictions | None
    signal_to_noise: Signed | None
    costs: Mapping[str, Mapping[str, Quantity]]
    notes: tuple[str, ...]


def answer(
    opened: Bundle,
    data: Labelled,
    *,
    where: str,
    digest: str,
    model: S5Model | None = None,
    top_k: int = 5,
    threads: int = 1,
    device: Device = Device.CPU,
    notes: tuple[str, ...] = (),
    raw: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answered:
    """Evaluate a network on data with answers.

    Args:
        opened: the network.
        data: for it.
        where: the data are from.
        digest: of the bundle.
        model: in floats, to compare with.
        top_k: of ``Decisions``; at most the number of outputs.
        threads: sequences at the same time.
        device: what simulates.
        notes: to keep with the result.
        raw: take integers as they are, as integers of the input format.
        on_progress: called with sequences done and in all.

    Raises:
        InputError: no sequence can be evaluated, the model does not suit the data, or values of the
            inputs are not finite, or the device cannot be used.
    """
    network = opened.network
    chosen, excluded = _usable(network, data)
    if not len(chosen):
        raise InputError(where, f"no sequence can be evaluated: {excluded[0]}")
    gathered, done = _Gathered(), 0
    simulator = simulator_on(device, network)
    for part in _parts(data, chosen):
        inputs = data.inputs[:, part]
        tokens, saturated = as_tokens(network, inputs, saturate=True, where=where, raw=raw)
        outputs = simulator.run(tokens, threads=threads).outputs
        floats = None
        if model is not None:
            values = to_floats(inputs, network.input_format) if raw else inputs
            floats = _floats(model, network, values, where)
        gathered.add(network, data, part, outputs, floats)
        gathered.saturated += saturated
        gathered.largest = max(gathered.largest, largest_of(network, tokens))
        done += len(part)
        on_progress(done, len(chosen))
    lengths = data.lengths[chosen]
    return Answered(
        network=network.name,
        digest=digest,
        data=where,
        sequences=len(chosen),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        excluded=excluded,
        saturated=gathered.saturated,
        values=data.inputs[:, chosen].size,
        classes=data.classes,
        decisions=None if data.labels is None else gathered.decisions(network, top_k),
        predictions=None if data.targets is None else gathered.predictions(),
        signal_to_noise=gathered.ratio(),
        costs=_costs(opened, data, chosen, raw),
        notes=(
            *data.notes,
            *integers_said(data.inputs, where, raw),
            *louder_said(opened.source, gathered.largest, where),
            *notes,
        ),
    )


def _usable(network: Network, data: Labelled) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the sequences that the network can be asked about, and why not the others."""
    length = network.sequence_length
    if network.readout is not Readout.MEAN or length is None:
        return np.arange(len(data.lengths)), ()
    other = data.lengths != length
    if not other.any():
        return np.arange(len(data.lengths)), ()
    reason = (
        f"{int(other.sum()):,} sequences are not of {length:,} tokens, which the network's mean is"
        " made for"
    )
    return np.flatnonzero(~other), (reason,)


def _parts(data: Labelled, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield sequences to simulate together: as many as fit in memory."""
    count, _, features = data.inputs.shape
    step = max(1, CHUNK_VALUES // (count * features))
    for start in range(0, len(chosen), step):
        yield chosen[start : start + step]


def _floats(model: S5Model, network: Network, inputs: np.ndarray, where: str) -> np.ndarray:
    """Return the float model's output for each token, as the network has one for each.

    Padding behind a sequence's end changes nothing before it. The mean is over all tokens, which is
    why unequal lengths were refused.
    """
    # The network was made with this readout, whatever the checkpoint says on its own.
    mean = network.readout is Readout.MEAN
    model = dataclasses.replace(model, readout=Readout.MEAN if mean else Readout.EACH_TOKEN)
    try:
        outputs = evaluate(model, inputs)
    except ValueError as error:
        raise InputError(f"model {model.name}", f"does not take {where} ({error})") from None
    if outputs.shape[-1] != network.output_size:
        raise InputError(
            f"model {model.name}",
            f"has {outputs.shape[-1]} outputs, the network {network.output_size}",
            "Give the float checkpoint that the network was made from",
        )
    return outputs


class _Gathered:
    """Answers of part after part: rows of outputs, one a case."""

    def __init__(self) -> None:
        self.sequences: list[int] = []  # of each row
        self.saturated = 0
        self.largest = 0.0
        self.rows: list[np.ndarray] = []
        self.float_rows: list[np.ndarray] = []
        self.wanted: list[np.ndarray] = []

    def add(
        self,
        network: Network,
        data: Labelled,
        part: np.ndarray,
        outputs: np.ndarray,
        floats: np.ndarray | None,
    ) -> None:
        """Add sequences: the outputs of their tokens, or of the last one."""
        integers = to_floats(outputs, network.output_format)
        answers = data.targets if data.labels is None else data.labels
        assert answers is not None
        for place, sequence in enumerate(part):
            length = data.lengths[sequence]
            each = network.readout is Readout.EACH_TOKEN
            kept = slice(0, length) if each else slice(length - 1, length)
            self.rows.append(integers[kept, place])
            if each:
                self.wanted.append(answers[:length, sequence])
            elif data.labels is None:
                self.wanted.append(answers[:, sequence])
            else:
                self.wanted.append(answers[[sequence]])
            if floats is not None:
                self.float_rows.append(floats[kept if len(floats) > 1 else slice(1), place])
            self.sequences += [int(sequence)] * len(self.rows[-1])

    def decisions(self, network: Network, top_k: int) -> Decisions:
        """Compare classes."""
        outputs, labels = np.concatenate(self.rows), np.concatenate(self.wanted)
        decided = outputs.argmax(axis=1)
        score = np.take_along_axis(outputs, labels[:, None], axis=1)
        # Of equal outputs the first counts as the larger, as for a decision.
        better = (outputs > score).sum(axis=1)
        before = np.arange(outputs.shape[1]) < labels[:, None]
        better += ((outputs == score) & before).sum(axis=1)
        top_k = min(top_k, network.output_size)
        size = network.output_size
        confusion = np.bincount(labels * size + decided, minlength=size * size).reshape(size, size)
        right = decided == labels
        float_accuracy = agreement = None
        differing: tuple[tuple[int, ...], ...] = ()
        if self.float_rows:
            floats = np.concatenate(self.float_rows).argmax(axis=1)
            same = floats == decided
            float_accuracy, agreement = share(floats == labels), share(same)
            places = np.flatnonzero(~same)[:LISTED]
            differing = tuple(
                (self.sequences[one], int(labels[one]), int(decided[one]), int(floats[one]))
                for one in places
            )
        return Decisions(
            accuracy=share(right),
            top=share(better < top_k),
            top_k=top_k,
            confusion=tuple(tuple(map(int, row)) for row in confusion),
            float_accuracy=float_accuracy,
            agreement=agreement,
            differing=differing,
        )

    def predictions(self) -> Predictions:
        """Compare values."""
        wanted = np.concatenate(self.wanted)
        errors = [
            float(np.mean((np.concatenate(rows) - wanted) ** 2)) if rows else None
            for rows in (self.rows, self.float_rows)
        ]
        assert errors[0] is not None
        return Predictions(errors[0], errors[1])

    def ratio(self) -> float | None:
        """Return the ratio of the float model's outputs to what the integers change, in dB."""
        if not self.float_rows:
            return None
        found = signal_to_noise(np.concatenate(self.float_rows), np.concatenate(self.rows))
        return None if found is None or not math.isfinite(found) else found


def share(cases: np.ndarray) -> Share:
    """Return how many of some cases are true, with Wilson's interval."""
    count, of = int(np.count_nonzero(cases)), len(cases)
    quantile = float(ndtri((1 + CONFIDENCE) / 2))
    part = count / of
    weight = 1 + quantile**2 / of
    centre = (part + quantile**2 / (2 * of)) / weight
    reach = quantile * math.sqrt(part * (1 - part) / of + quantile**2 / (4 * of**2)) / weight
    return Share(count, of, part, max(0.0, centre - reach), min(1.0, centre + reach))


def _costs(
    opened: Bundle, data: Labelled, chosen: np.ndarray, raw: bool
) -> dict[str, dict[str, Quantity]]:
    """Return time and energy of an answer, by mode, from the activity of the first sequences."""
    count = data.inputs.shape[0]
    some = chosen[: max(1, PROFILED_TOKENS // count)]
    # Padding would look like silence.
    heard = data.inputs[: data.lengths[some].min(), some]
    tokens, _ = as_tokens(opened.network, heard, saturate=True, raw=raw)
    found = profile(opened, tokens=tokens)
    each = opened.network.readout is Readout.EACH_TOKEN
    length = 1.0 if each else float(data.lengths[chosen].mean())
    of = "an answer: a token" if each else f"an answer: a sequence of {length:,.0f} tokens"
    costs = {}
    for name, mode in found.modes.items():
        energy = mode.energy[SCOPES[0]].total
        rest = mode.latency if name == "fall-through" else mode.timestep
        costs[name] = {
            "latency": _scaled(mode.latency, 1.0, of, rest, length - 1),
            "energy": _scaled(energy, length, f"{of}, {SCOPES[0]}"),
        }
    return costs


def _scaled(
    first: Quantity, factor: float, scope: str, more: Quantity | None = None, times: float = 0.0
) -> Quantity:
    """Return ``factor * first + times * more``, its bounds from theirs."""
    value, low, high = (
        factor * getattr(first, name) + (times * getattr(more, name) if more else 0.0)
        for name in ("value", "low", "high")
    )
    return dataclasses.replace(first, value=value, low=low, high=high, scope=scope)
