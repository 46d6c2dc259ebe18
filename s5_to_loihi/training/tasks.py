"""What is asked of a model: its data, its loss, and how well it does.

Batches are drawn from ``(seed, epoch)`` alone, so that a training that was killed goes on with
those that it would have had.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from s5_to_loihi import audio
from s5_to_loihi.errors import InputError
from s5_to_loihi.inputs import Data
from s5_to_loihi.network.network import Readout
from s5_to_loihi.training import losses, spectra
from s5_to_loihi.training.data import Sequences, Sound, read_sequences, read_sound
from s5_to_loihi.training.recipe import Recipe

#: Tokens that formats are chosen on, about.
CALIBRATION_TOKENS = 4000
#: Cuts of each recording in an epoch, at most: long recordings give more.
MOST_CUTS = 64
#: A whole batch, of which a device may make its part alone.
WHOLE = slice(None)
#: Seconds of a test clip that are cleaned at a time.
LONGEST_TEST = 30.0


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step learns from.

    Attributes:
        tokens: (T, N, F) float32.
        lengths: (N,) tokens of each sequence; None if all have T.
        answers: labels (N,), targets (T, N, outputs), or clean samples (N, samples).
        spectrum: (T, N, 257) of the noisy samples; None but for sound.
    """

    tokens: Tensor
    lengths: Tensor | None
    answers: Tensor
    spectrum: Tensor | None = None

    @property
    def size(self) -> int:
        """How many sequences it has."""
        return self.tokens.shape[1]

    def to(self, device: Any) -> Batch:
        """Return it on a device."""
        parts = (self.tokens, self.lengths, self.answers, self.spectrum)
        return Batch(*(part if part is None else part.to(device) for part in parts))


class Maker(Protocol):
    """Makes a batch, or the sequences of it that a slice chooses."""

    def __call__(self, part: slice = WHOLE) -> Batch:
        """Return it."""


class Task(Protocol):
    """A task."""

    recipe: Recipe
    inputs: int
    outputs: int
    readout: Readout
    sequence_length: int | None
    #: Name of what is better the higher it is, and its unit.
    score_name: str
    score_unit: str

    def scale(self) -> tuple[np.ndarray | float, np.ndarray | float]:
        """Return gain and offset that make features about 0, give or take 1."""

    def batches(self, epoch: int) -> list[Maker]:
        """Return what makes the batches of an epoch, in order."""

    def test_batches(self) -> list[Maker]:
        """Return what makes the batches of the test data."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return what training makes small."""

    def weight(self, batch: Batch) -> float:
        """Return how many answers the loss is the mean of."""

    def scores(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the score of each sequence, (N,)."""

    def calibration(self) -> np.ndarray:
        """Return training tokens (T, N, F) float64 that formats are chosen on."""

    def held_out(self) -> np.ndarray:
        """Return test tokens (T, N, F) float64."""

    def digest(self) -> str:
        """Return what tells these data from others."""


def task_of(
    recipe: Recipe, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Task:
    """Read the data of a recipe.

    Raises:
        InputError: see ``data``; or test data that do not suit the training data.
    """
    data = recipe.data
    if Path(data.train).is_dir():
        return Denoising(recipe, read_sound(data.train, on_progress), read_sound(data.test))
    train = read_sequences(data.train)
    test = read_sequences(data.test, train.classes)
    if test.inputs.shape[2] != train.inputs.shape[2] or test.outputs != train.outputs:
        raise InputError(
            data.test,
            f"has {test.inputs.shape[2]} features and {test.outputs} outputs, the training data"
            f" {train.inputs.shape[2]} and {train.outputs}",
            "Give test data of the same kind",
        )
    return Answering(recipe, train, test)


class Answering:
    """Classification, or regression each token."""

    def __init__(self, recipe: Recipe, train: Sequences, test: Sequences):
        self.recipe, self.train, self.test = recipe, train, test
        self.inputs, self.outputs = train.inputs.shape[2], train.outputs
        classifies = train.labels is not None
        self.readout = recipe.readout if classifies else Readout.EACH_TOKEN
        if classifies and self.readout is Readout.EACH_TOKEN:
            what = "is each_token, the data have one label a sequence"
            raise InputError("readout", what, "Use last or mean")
        self.score_name = "accuracy" if classifies else "signal to error"
        self.score_unit = "%" if classifies else "dB"
        self.sequence_length: int | None = None
        if self.readout is Readout.MEAN:
            lengths = {int(n) for one in (train, test) for n in np.unique(one.lengths)}
            if len(lengths) > 1:
                what = f"is mean, sequences have {min(lengths)} to {max(lengths)} tokens"
                raise InputError("readout", what, "Use last, or cut sequences to one length")
            self.sequence_length = lengths.pop()

    def _valid(self) -> np.ndarray:
        """Return all training tokens that are no padding, (tokens, F)."""
        rows = np.arange(len(self.train.inputs))[:, None] < self.train.lengths
        return self.train.inputs[rows]

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """See ``Task``."""
        values = self._valid().astype(np.float64)
        deviation = values.std(axis=0)
        gain = 1 / np.where(deviation > 0, deviation, 1)
        return gain, -values.mean(axis=0) * gain

    def batches(self, epoch: int) -> list[Maker]:
        """See ``Task``."""
        schedule = self.recipe.training
        random = np.random.default_rng([schedule.seed, epoch])
        order = random.permutation(self.train.inputs.shape[1])
        noise = self.recipe.data.noise
        deviation = self._valid().std(axis=0) * noise if noise else None

        def batch(chosen: np.ndarray, seed: int, part: slice = WHOLE) -> Batch:
            made = _sequence_batch(self.train, chosen, part)
            if deviation is None:
                return made
            # Each sequence has the noise that it has where one device makes the whole batch.
            shape = (self.train.lengths[chosen].max(), len(chosen), self.inputs)
            drawn = np.random.default_rng([schedule.seed, epoch, seed]).standard_normal(
                shape, dtype=np.float32
            )
            noises = drawn[: len(made.tokens), part] * deviation.astype(np.float32)
            return Batch(made.tokens + torch.tensor(noises), made.lengths, made.answers)

        parts = _parts(len(order), self.recipe)
        return [functools.partial(batch, order[part], index) for index, part in enumerate(parts)]

    def test_batches(self) -> list[Maker]:
        """See ``Task``."""
        count = self.test.inputs.shape[1]
        parts = np.split(np.arange(count), range(256, count, 256))
        return [functools.partial(_sequence_batch, self.test, part) for part in parts]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Cross entropy, or the squared error of tokens that are no padding."""
        if self.train.labels is not None:
            smoothing = self.recipe.training.label_smoothing
            return functional.cross_entropy(output[0], batch.answers, label_smoothing=smoothing)
        error = (output - batch.answers).square().mean(-1)
        valid = _valid_tokens(output, batch)
        return (error * valid).sum() / valid.sum()

    def weight(self, batch: Batch) -> float:
        """Sequences, or tokens that are no padding."""
        if self.train.labels is not None:
            return batch.size
        assert batch.lengths is not None
        return float(batch.lengths.sum())

    def scores(self, output: Tensor, batch: Batch) -> Tensor:
        """100 or 0 for a class; for targets the ratio of their power to the error's, in dB."""
        if self.train.labels is not None:
            return 100.0 * (output[0].argmax(-1) == batch.answers).double()
        valid = _valid_tokens(output, batch)[..., None]
        power = (batch.answers.square() * valid).sum((0, 2)) + losses.EPSILON
        error = ((output - batch.answers).square() * valid).sum((0, 2)) + losses.EPSILON
        return 10 * torch.log10(power / error)

    def calibration(self) -> np.ndarray:
        """Whole sequences; behind their ends they begin again."""
        count = self.train.inputs.shape[1]
        chosen = np.random.default_rng(self.recipe.training.seed).permutation(count)
        wanted = max(8, CALIBRATION_TOKENS // len(self.train.inputs))
        return _padded(self.train, np.sort(chosen[:wanted]))

    def held_out(self) -> np.ndarray:
        """See ``Task``."""
        return _padded(self.test, np.arange(min(64, self.test.inputs.shape[1])))

    def digest(self) -> str:
        """See ``Task``."""
        return _digest([self.train.inputs, self.test.inputs])


def _parts(count: int, recipe: Recipe) -> list[slice]:
    """Cut what an epoch takes into batches, each of at least as many sequences as devices."""
    size, devices = recipe.training.batch, recipe.machine.devices
    if count < devices:
        what = f"has {count} sequences or cuts, and there are {devices} devices"
        raise InputError(recipe.data.train, what, "Use fewer devices (machine: devices)")
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] < devices:
        del starts[-1]
    return [slice(*ends) for ends in zip(starts, [*starts[1:], count], strict=True)]


def _sequence_batch(data: Sequences, chosen: np.ndarray, part: slice = WHOLE) -> Batch:
    chosen = chosen[part]
    lengths = data.lengths[chosen]
    inputs = torch.tensor(data.inputs[: lengths.max(), chosen])
    if data.labels is not None:
        answers = torch.tensor(data.labels[chosen])
    else:
        assert data.targets is not None
        answers = torch.tensor(data.targets[: lengths.max(), chosen])
    return Batch(inputs, torch.tensor(lengths), answers)


def _valid_tokens(output: Tensor, batch: Batch) -> Tensor:
    """Return which tokens are no padding, (T, N)."""
    assert batch.lengths is not None
    return torch.arange(len(output), device=output.device)[:, None] < batch.lengths


def _padded(data: Sequences, chosen: np.ndarray) -> np.ndarray:
    sequences = Data(data.inputs[:, chosen], data.lengths[chosen])
    return sequences.padded_with_themselves().astype(np.float64)


class Denoising:
    """Noisy sound to clean."""

    def __init__(self, recipe: Recipe, train: Sound, test: Sound):
        self.recipe, self.train, self.test = recipe, train, test
        self.inputs = self.outputs = audio.BINS
        self.readout = Readout.EACH_TOKEN
        self.sequence_length: int | None = None
        self.score_name, self.score_unit = "SI-SNR", "dB"
        self.length = round(recipe.data.seconds * audio.RATE / audio.HOP) * audio.HOP

    def scale(self) -> tuple[float, float]:
        """See ``Task``."""
        values = self.calibration()
        return float(1 / values.std()), 0.0

    def batches(self, epoch: int) -> list[Maker]:
        """Random cuts, of each recording as many as it is long."""
        schedule = self.recipe.training
        random = np.random.default_rng([schedule.seed, epoch])
        counts = [min(MOST_CUTS, max(1, len(clip) // self.length)) for clip in self.train.noisy]
        order = random.permutation(np.repeat(np.arange(len(counts)), counts))
        starts = random.random(len(order))
        cuts = list(zip(order.tolist(), starts.tolist(), strict=True))
        return [
            functools.partial(self._batch, self.train, cuts[part], self.length)
            for part in _parts(len(cuts), self.recipe)
        ]

    def test_batches(self) -> list[Maker]:
        """Each recording whole, or its beginning."""
        longest = round(LONGEST_TEST * audio.RATE)
        return [
            functools.partial(self._batch, self.test, [(index, 0.0)], min(len(clip), longest))
            for index, clip in enumerate(self.test.noisy)
        ]

    def _batch(
        self,
        sound: Sound,
        cuts: Sequence[tuple[int, float]],
        length: int,
        part: slice = WHOLE,
    ) -> Batch:
        chosen = cuts[part]
        noisy, clean = (
            torch.tensor(np.stack([_cut(clips[index], start, length) for index, start in chosen]))
            for clips in (sound.noisy, sound.clean)
        )
        spectrum = spectra.analyse(noisy)
        return Batch(spectra.features(spectrum), None, clean, spectrum)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Minus SI-SNR, and a spectral loss."""
        assert batch.spectrum is not None
        spectral = self.recipe.training.spectral
        return losses.denoising_loss(batch.spectrum, output, batch.answers, spectral)

    def weight(self, batch: Batch) -> float:
        """Clips."""
        return batch.size

    def scores(self, output: Tensor, batch: Batch) -> Tensor:
        """SI-SNR in dB."""
        assert batch.spectrum is not None
        length = batch.answers.shape[-1]
        return losses.si_snr(spectra.denoised(batch.spectrum, output, length), batch.answers)

    def _tokens(self, sound: Sound) -> np.ndarray:
        count = max(2, round(CALIBRATION_TOKENS * audio.HOP / self.length))
        random = np.random.default_rng(self.recipe.training.seed)
        chosen = random.integers(0, len(sound.noisy), count).tolist()
        batch = self._batch(sound, [(index, random.random()) for index in chosen], self.length)
        return batch.tokens.double().numpy()

    def calibration(self) -> np.ndarray:
        """See ``Task``."""
        return self._tokens(self.train)

    def held_out(self) -> np.ndarray:
        """See ``Task``."""
        return self._tokens(self.test)

    def digest(self) -> str:
        """See ``Task``."""
        return _digest([*self.train.noisy, *self.train.clean, *self.test.noisy])


def _cut(samples: np.ndarray, start: float, length: int) -> np.ndarray:
    """Return ``length`` samples; ``start`` is 0 to 1. A short recording has zeros behind it."""
    first = int(start * (max(0, len(samples) - length) + 1))
    part = samples[first : first + length]
    return np.pad(part, (0, length - len(part)))


def _digest(arrays: Sequence[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
