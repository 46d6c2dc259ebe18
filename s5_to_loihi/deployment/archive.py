"""The archive that goes to the board host: all that a run needs, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.deployment.slurm import HOST_SCRIPTS
from s5_to_loihi.errors import InputError

PACKAGES = Path(__file__).resolve().parents[2]
#: Folders of the archive and what of them a run needs; pictures, sound and checkpoints it does not.
SOURCES = {
    "s5_to_loihi": ("*.py", "loihi2/*.yaml"),
    "process_models": ("*.py", "*.c", "*.h"),
    "deploy": ("*.py", "*.md", "*.template"),
}
BUNDLE, TOKENS, JOB_SCRIPT = "bundle", "tokens.npy", "job.sh"
_BUNDLE_FILES = (bundle.MANIFEST, bundle.WEIGHTS, bundle.VECTORS, bundle.MAPPING)


def pack(bundle_path: str | os.PathLike[str], tokens: np.ndarray, script: str) -> bytes:
    """Return a tar.gz with this package, the host's scripts, a bundle and its tokens.

    The bundle's own files are taken as they are, anything else in its folder is left behind. No
    times, users or absolute names get in.

    Args:
        bundle_path: read, and so checked, before.
        tokens: (tokens, batch, input features) integers.
        script: the job script.

    Raises:
        InputError: the host's scripts are not where they were installed, or a file cannot be read.
    """
    if not (HOST_SCRIPTS / "run_on_board.py").is_file():
        raise InputError(
            str(HOST_SCRIPTS), "does not hold the scripts for the board host", "Install again"
        )
    members = dict(_source_files())
    for name in _BUNDLE_FILES:
        file = Path(bundle_path, name)
        if file.is_file():
            members[f"{BUNDLE}/{name}"] = _content(file)
    array = io.BytesIO()
    np.save(array, np.ascontiguousarray(tokens, dtype=np.int32))
    members[TOKENS] = array.getvalue()
    members[JOB_SCRIPT] = script.encode()
    return gzip.compress(_tar(members), mtime=0)


def _source_files() -> Iterator[tuple[str, bytes]]:
    for folder, patterns in SOURCES.items():
        for pattern in patterns:
            for file in (PACKAGES / folder).rglob(pattern):
                yield file.relative_to(PACKAGES).as_posix(), _content(file)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})") from None


def _tar(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(members[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(members[name]))
    return packed.getvalue()
