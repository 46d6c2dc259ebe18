"""``cache``: machine code that is kept between calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from typer import Option

import s5_to_loihi.version
from s5_to_loihi.commands import choices, console
from s5_to_loihi.reports.summary import Summary
from s5_to_loihi.simulators.object_code import (
    CACHE_VARIABLE,
    PREFIX,
    PTX_SUFFIX,
    SUFFIX,
    cache_directory,
)

#: What numba calls its files.
_OF_NUMBA = (".nbi", ".nbc")


def cache(
    clear: bool = Option(False, "--clear", help="Delete what is kept; it is compiled again."),
    as_json: choices.JsonOption = False,
) -> None:
    """Say where compiled kernels are kept and how large they are, or delete them.

    S5_TO_LOIHI_CACHE names another place. Deleting is safe at any time: the next run compiles
    again, which takes less than a second a network.
    """
    directory = cache_directory()
    places = {
        "networks": (directory, kernels(directory)),
        "package": (_package(), _of_package()),
    }
    sizes = {name: _size(files) for name, (_, files) in places.items()}
    if clear:
        for _, files in places.values():
            for file in files:
                file.unlink(missing_ok=True)
    if as_json:
        console.print_json(
            {
                name: {"directory": str(where), "files": len(files), "bytes": sizes[name]}
                for name, (where, files) in places.items()
            }
            | {"cleared": clear}
        )
        return
    count, total = sum(len(files) for _, files in places.values()), sum(sizes.values())
    done = "Deleted" if clear else "Kept:"
    console.summarise(
        Summary(
            f"{done} {count:,} files, {total / 1e6:,.1f} MB of machine code",
            (
                ("networks", f"{sizes['networks'] / 1e6:,.1f} MB in {directory}"),
                ("package", f"{sizes['package'] / 1e6:,.1f} MB in {_package()}"),
                ("elsewhere", f"{CACHE_VARIABLE}=DIRECTORY keeps those of networks there"),
            ),
            next="" if clear or not count else "s5-to-loihi cache --clear",
        )
    )


def kernels(directory: Path) -> list[Path]:
    """Return our files in a cache directory, which may hold others: those are left alone.

    Earlier versions kept sources and what numba made of them.
    """
    files: Iterable[Path] = directory.rglob("*") if directory.is_dir() else ()
    return [
        file
        for file in files
        if file.name.startswith(PREFIX)
        and file.suffix in (SUFFIX, PTX_SUFFIX, ".py", ".pyc", *_OF_NUMBA)
    ]


def _package() -> Path:
    return Path(s5_to_loihi.version.__file__).parent


def _of_package() -> list[Path]:
    return [file for file in _package().rglob("__pycache__/*") if file.suffix in _OF_NUMBA]


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.exists())
