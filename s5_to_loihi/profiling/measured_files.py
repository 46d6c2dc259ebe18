"""A mapping search with measurements as a folder: what to run on a board host, what came back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.records import Schema, read_record, write_record
from s5_to_loihi.files.writing import filling, write_json
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.profiling.measured_mapping import (
    Candidate,
    Subject,
    Tried,
    candidate_of,
    observe,
    repeated_tokens,
    subject,
)
from s5_to_loihi.profiling.suite_files import BUNDLE, TOKENS, read_result, write_script
from s5_to_loihi.simulators.interpreter import Mode

#: What a search is of, and what was predicted of a candidate.
FILE, PREDICTED = "search.json", "predicted.json"
_SCHEMA = Schema(
    name="mapping search", key="s5_to_loihi mapping search", version=1, largest=1 << 16,
    do="Give the folder of a search (map --measure), or a new one",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What a search is of.

    Attributes:
        network: digest of its arrays, so that it is not another bundle.
        system: as ``--system`` takes it.
        objective, mode, cores, seed: see ``measured_mapping.subject``.
    """

    network: str
    system: str
    objective: Objective
    mode: Mode
    cores: int | None
    seed: int


def begin(folder: Path, options: Options) -> None:
    """Make the folder of a search; of one that is there, check that it is of the same options.

    Raises:
        InputError: it is of other options, no folder of a search, or cannot be written.
    """
    if not folder.exists():
        with filling(folder) as temporary:
            write_record(options, temporary / FILE, _SCHEMA)
        return
    found = read_record(Options, folder / FILE, _SCHEMA)
    other = [name for name, value in asdict(options).items() if asdict(found)[name] != value]
    if other:
        raise InputError(
            str(folder), f"is a search with another {other[0]}", "Give the same, or a new folder"
        )


def subject_of(opened: Bundle, options: Options) -> Subject:
    """Return what a search is of."""
    return subject(
        opened, load_system(options.system), options.objective, options.mode, options.cores,
        options.seed,
    )  # fmt: skip


def add(folder: Path, opened: Bundle, searched: Subject, candidate: Candidate) -> Path:
    """Write a candidate as the next bundle to run, and the script anew; return its folder."""
    name = f"{len(_candidates(folder)) + 1:02}-cores-{candidate.cores}"
    tokens = repeated_tokens(opened, searched.mode)
    with filling(folder / name) as place:
        vectors = Vectors(tokens, {}, {}, "measured")
        mapped = replace(opened, vectors=vectors, mapping=candidate.mapping)
        bundle.write(mapped, place / BUNDLE)
        np.save(place / TOKENS, tokens)
        write_json(place / PREDICTED, {"us": candidate.predicted})
    write_script(folder, [one.name for one in _candidates(folder)], searched.mode)
    return folder / name


def read_tried(folder: Path, searched: Subject) -> tuple[tuple[Tried, ...], Path | None]:
    """Return what was measured, and the candidate that has no result yet.

    Raises:
        InputError: a result is of another bundle, not of a board, or without times.
    """
    tried: list[Tried] = []
    for place in _candidates(folder):
        measured = read_result(place)
        if measured is None:
            return tuple(tried), place
        mapping = bundle.read(place / BUNDLE).mapping
        content = read_json(place / PREDICTED)
        if mapping is None or not isinstance(content, dict):
            raise InputError(str(place), "is no candidate of a search", "Begin in a new folder")
        tried.append(observe(candidate_of(searched, mapping, float(content["us"])), measured))
    return tuple(tried), None


def _candidates(folder: Path) -> list[Path]:
    return sorted(one.parent for one in folder.glob(f"*-cores-*/{PREDICTED}"))
