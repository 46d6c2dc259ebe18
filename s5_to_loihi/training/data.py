"""What models are trained on: sequences with answers, or noisy and clean sound.

Sequences come as ``.npz`` (see docs/evaluation.md) or ``.ts`` (the archives of time series
classification), sound as folders in the layout of the N-DNS challenge. All of it is held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import pairs, recording
from s5_to_loihi.evaluation.labelled import FORM, Labelled, read_arrays
from s5_to_loihi.files.reading import read_bytes

#: A .ts file is text; larger ones are a mistake or another kind of file.
LARGEST_TS = 1 << 30
#: Sound that is held in memory at most, in samples: 10 hours.
MOST_SAMPLES = 10 * 3600 * audio.RATE
TS_FORM = "Give a .ts file of the UEA/UCR archive: headers with '@', then series:...:class"


@dataclass(frozen=True, eq=False)
class Sequences(Labelled):
    """Sequences with answers: float32 inputs and targets, int64 labels (N,).

    Targets (T, N, outputs) are a value each token; padding lies behind a sequence's end.
    """

    @property
    def outputs(self) -> int:
        """Outputs that a model needs."""
        return len(self.classes) if self.targets is None else self.targets.shape[2]


@dataclass(frozen=True, eq=False)
class Sound:
    """Pairs of recordings of one channel at ``audio.RATE``, float32 (samples,) each."""

    noisy: tuple[np.ndarray, ...]
    clean: tuple[np.ndarray, ...]


def read_sequences(path: str | os.PathLike[str], classes: tuple[str, ...] = ()) -> Sequences:
    """Read sequences from an ``.npz`` or a ``.ts`` file.

    Args:
        path: of the file.
        classes: of the data that were trained with; a label must be one of them.

    Raises:
        InputError: it cannot be read, is empty, holds NaN, or only one class.
    """
    where, suffix = os.fspath(path), Path(path).suffix.lower()
    if suffix not in (".ts", ".npz"):
        raise InputError(where, f"has the suffix '{suffix}'", "Give an .npz or a .ts file")
    found = _read_ts(path, classes) if suffix == ".ts" else _read_npz(path, classes)
    if broken := int(np.count_nonzero(~np.isfinite(found.inputs))):
        raise InputError(where, f"holds {broken:,} inputs that are NaN or infinite", "Remove them")
    if found.targets is not None and not np.isfinite(found.targets).all():
        raise InputError(where, "holds targets that are NaN or infinite", "Remove them")
    if found.labels is not None and not classes and len(np.unique(found.labels)) < 2:
        raise InputError(
            where,
            f"holds only one class ({found.classes[int(found.labels[0])]!r:.40})",
            "Give data of at least two classes: there is nothing to tell apart",
        )
    return found


def _read_npz(path: str | os.PathLike[str], classes: tuple[str, ...]) -> Sequences:
    where, arrays = os.fspath(path), read_arrays(Path(path))
    inputs = arrays["inputs"]
    if inputs.dtype.kind not in "iuf" or inputs.ndim != 3 or 0 in inputs.shape:
        raise InputError(where, f"inputs are {inputs.dtype} of shape {inputs.shape}", FORM)
    if ("labels" in arrays) == ("targets" in arrays):
        raise InputError(where, "holds both labels and targets, or neither", FORM)
    count, batch, _ = inputs.shape
    lengths = arrays.get("lengths", np.full(batch, count)).astype(np.int64)
    if lengths.shape != (batch,) or lengths.min() < 1 or lengths.max() > count:
        raise InputError(where, f"lengths do not fit inputs of shape {inputs.shape}", FORM)
    inputs = inputs.astype(np.float32)
    if "targets" in arrays:
        targets = arrays["targets"]
        if targets.dtype.kind not in "iuf" or targets.shape[:2] != (count, batch):
            what = f"targets are {targets.dtype} of shape {targets.shape}"
            raise InputError(where, f"{what}, expected numbers ({count}, {batch}, outputs)", FORM)
        targets = targets.astype(np.float32).reshape(count, batch, -1)
        return Sequences(inputs, lengths, None, targets, ())
    labels = arrays["labels"]
    if labels.dtype.kind not in "iu" or labels.shape != (batch,):
        what = f"labels are {labels.dtype} of shape {labels.shape}, expected integers ({batch},)"
        raise InputError(where, what, FORM)
    names = tuple(map(str, arrays.get("classes", range(int(labels.max()) + 1))))
    names = classes or names
    if labels.min() < 0 or labels.max() >= len(names):
        what = f"labels are {labels.min()} to {labels.max()}, there are {len(names)} classes"
        raise InputError(where, what, "Number classes from 0, the same in all files")
    return Sequences(inputs, lengths, labels.astype(np.int64), None, names)


def _read_ts(path: str | os.PathLike[str], classes: tuple[str, ...]) -> Sequences:
    where = os.fspath(path)
    content = read_bytes(path, largest=LARGEST_TS, if_unreadable="Check the path")
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(where, f"is no text in UTF-8 ({error})", TS_FORM) from None
    names: tuple[str, ...] = ()
    series: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            key, *words = line[1:].split()
            if key.lower() == "classlabel" and words and words[0].lower() == "true":
                names = tuple(words[1:])
            continue
        *dimensions, label = line.split(":")
        series.append(_series(dimensions, f"{where}, line {number}"))
        labels.append(label.strip())
    if not series:
        raise InputError(where, "holds no series", TS_FORM)
    names = classes or names or tuple(sorted(set(labels)))
    unknown = sorted(set(labels) - set(names))
    if unknown:
        what = f"has the class {unknown[0]!r:.40}, which is none of {', '.join(names):.80}"
        raise InputError(where, what, "Use files of one data set")
    widths = {one.shape[1] for one in series}
    if len(widths) > 1:
        what = f"has series of {min(widths)} and of {max(widths)} dimensions"
        raise InputError(where, what, TS_FORM)
    lengths = np.array([len(one) for one in series])
    inputs = np.zeros((lengths.max(), len(series), widths.pop()), dtype=np.float32)
    for index, one in enumerate(series):
        inputs[: len(one), index] = one
    return Sequences(inputs, lengths, np.array([names.index(one) for one in labels]), None, names)


def _series(dimensions: list[str], where: str) -> np.ndarray:
    """Return a series (tokens, dimensions) from the texts of its dimensions."""
    try:
        rows = [np.array(one.split(","), dtype=np.float64) for one in dimensions]
    except ValueError:
        raise InputError(where, "holds something that is no number", TS_FORM) from None
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        found = f"{sorted(lengths)[:3]} values" if rows else "no values"
        raise InputError(where, f"has dimensions of {found}", "All need as many values")
    return np.stack(rows, axis=1)


def read_sound(
    folder: str | os.PathLike[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sound:
    """Read a folder with the subfolders ``noisy`` and ``clean``; pairs are found by their names.

    Channels become clips of their own; recordings are resampled to ``audio.RATE``.

    Raises:
        InputError: no such folder, no pairs, lengths that differ, silence, or NaN; or more than is
            held in memory.
    """
    root = Path(folder)
    for name in ("noisy", "clean"):
        if not (root / name).is_dir():
            raise InputError(
                str(root),
                f"has no folder {name}",
                "Give a folder with noisy/ and clean/, as the N-DNS challenge's training set",
            )
    clips = pairs.from_folders(root / "noisy", root / "clean").clips
    noisy, clean, total = [], [], 0
    for done, pair in enumerate(clips, start=1):
        clip = recording.read(pair)
        assert clip.clean is not None
        total += clip.noisy.size
        if total > MOST_SAMPLES:
            raise InputError(
                str(root),
                f"holds more than {MOST_SAMPLES / audio.RATE / 3600:.0f} hours of sound, which are"
                " held in memory",
                "Give a folder with fewer recordings",
            )
        noisy += list(clip.noisy.astype(np.float32))
        clean += list(clip.clean.astype(np.float32))
        on_progress(done, len(clips))
    return Sound(tuple(noisy), tuple(clean))
