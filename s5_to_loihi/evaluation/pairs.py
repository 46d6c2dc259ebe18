"""Which recordings belong together: by the file ids of N-DNS, by equal names, or by a CSV."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_bytes

#: As the data of the Intel N-DNS and Microsoft DNS challenges name their files.
FILE_ID = re.compile(r"fileid_(\d+)")
CLEAN_PREFIX = "clean_"
#: A list of a million clips is shorter.
LARGEST_CSV = 1 << 28
#: Names that an error shows.
SHOWN = 3


@dataclass(frozen=True)
class Pair:
    """A noisy recording, and the clean one under it.

    Attributes:
        name: of the clip, unique in its set.
        noisy: the recording as a microphone hears it.
        clean: the same without noise; None if nobody has it.
    """

    name: str
    noisy: Path
    clean: Path | None


@dataclass(frozen=True)
class Pairs:
    """The clips of a test set.

    Attributes:
        clips: in the order of their ids or names.
        how: what pairs were found by, for people.
        notes: what the user should know of the folders.
    """

    clips: tuple[Pair, ...]
    how: str
    notes: tuple[str, ...] = ()


def from_folders(noisy: str | os.PathLike, clean: str | os.PathLike | None) -> Pairs:
    """Pair the wav files of two folders.

    Files with ``fileid_N`` in their names belong together if N is equal, as in the N-DNS and DNS
    challenges; where no file of either folder has it, files of equal names do.

    Args:
        noisy: a folder.
        clean: a folder; without it every clip stands alone.

    Raises:
        InputError: a folder cannot be read or has no wav files, the names are of both sorts, an id
            stands twice, a noisy recording has no clean one, or the folders look exchanged.
    """
    before = _wav_files(Path(noisy))
    if clean is None:
        clips = tuple(Pair(file.stem, file, None) for file in before)
        return Pairs(clips, "no clean recordings")
    after = _wav_files(Path(clean))
    if all(file.name.startswith(CLEAN_PREFIX) for file in before):
        raise InputError(
            str(noisy), f"holds clean recordings ({before[0].name})", "Exchange --noisy and --clean"
        )
    by_id = _ids(before, after)
    key = _file_id if by_id else _name
    wanted, found = _by_key(before, key), _by_key(after, key)
    missing = [str(file) for name, file in wanted.items() if name not in found]
    if missing:
        raise InputError(
            str(clean),
            f"has no recording of {'this file id' if by_id else 'this name'} for"
            f" {len(missing):,} of {len(wanted):,} noisy ones ({_some(missing)})",
            "Give all, or list pairs in a CSV with the columns noisy and clean (--pairs)",
        )
    clips = tuple(
        Pair(name, file, found[name]) for name, file in sorted(wanted.items(), key=_order)
    )
    spare = len(found) - len(wanted)
    notes = (f"{spare:,} clean recordings have no noisy one and are left out",) if spare else ()
    return Pairs(clips, "file ids" if by_id else "equal file names", notes)


def from_csv(path: str | os.PathLike) -> Pairs:
    """Read pairs from a CSV with the columns ``noisy`` and ``clean``, paths relative to it.

    A column ``name`` names the clips; without it the noisy files' names do. An empty ``clean`` is a
    clip whose clean recording nobody has.

    Raises:
        InputError: it cannot be read, lacks a column, or a row or a name is not complete or unique.
    """
    path = Path(path)
    content = read_bytes(path, LARGEST_CSV)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), f"is no CSV in UTF-8 ({error})") from None
    columns = "Give a first line with the columns noisy and clean, and a row for each pair"
    if not rows or not {"noisy", "clean"} <= rows[0].keys():
        got = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise InputError(str(path), f"has not the columns noisy and clean (got {got})", columns)
    clips: dict[str, Pair] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        if not row["noisy"] or row["clean"] is None or None in row:
            raise InputError(where, "has not as many cells as the first line", columns)
        noisy = path.parent / row["noisy"]
        clean = path.parent / row["clean"] if row["clean"] else None
        name = row.get("name") or noisy.stem
        if name in clips:
            raise InputError(where, f"the clip {name!r:.60} stands twice", "Add a column name")
        for file in filter(None, (noisy, clean)):
            if not file.is_file():
                raise InputError(where, f"no such file: {file}", "Paths are relative to the CSV")
        clips[name] = Pair(name, noisy, clean)
    return Pairs(tuple(clips.values()), path.name)


def _wav_files(folder: Path) -> list[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".wav")
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be read as a folder ({error.strerror})", "Give a folder of wavs"
        ) from None
    if not files:
        raise InputError(str(folder), "holds no wav files", "Give a folder of recordings (.wav)")
    return files


def _ids(before: list[Path], after: list[Path]) -> bool:
    """Tell whether files are named by ids; all or none must be."""
    files = before + after
    without = [str(file) for file in files if not FILE_ID.search(file.name)]
    if without and len(without) < len(files):
        raise InputError(
            without[0],
            f"has no fileid_N in its name, {len(files) - len(without):,} other files have",
            "Rename or remove it, or list pairs in a CSV (--pairs)",
        )
    return not without


def _file_id(file: Path) -> str:
    match = FILE_ID.search(file.name)
    assert match is not None  # as _ids found out
    return str(int(match.group(1)))


def _name(file: Path) -> str:
    return file.stem


def _by_key(files: Iterable[Path], key) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        other = found.setdefault(key(file), file)
        if other is not file:
            raise InputError(
                str(file),
                f"has the same id as {other.name} ({key(file)})",
                "Remove one, or list pairs in a CSV (--pairs)",
            )
    return found


def _order(item: tuple[str, Path]) -> tuple[int, str]:
    """Ids go by their number, names by the alphabet."""
    return (int(item[0]) if item[0].isdigit() else 0, item[0])


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
