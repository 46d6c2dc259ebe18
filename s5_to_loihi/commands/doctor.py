"""``doctor``: what works here, what is missing, and how to get it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

from s5_to_loihi.commands import choices, console
from s5_to_loihi.lava_runtime import shim
from s5_to_loihi.reports.summary import Summary
from s5_to_loihi.reports.table import Cell, Mark, of_rows
from s5_to_loihi.version import VERSION

PACKAGE = "s5_to_loihi"
OK, MISSING, BROKEN = "ok", "missing", "broken"
_MARKS = {OK: Mark.GOOD, MISSING: Mark.NOTICE, BROKEN: Mark.BAD}
#: Extras that people who use the package have no use for.
_OF_DEVELOPERS = ("test", "check")
#: What an extra is for.
_PURPOSE = {
    "bench": "benchmarks against JAX",
    "cuda12": "run --device cuda, with a driver of CUDA 12",
    "cuda13": "run --device cuda",
    "dask": "sweeps on a cluster",
    "evaluate": "DNSMOS and STOI",
    "flax": "Flax checkpoints",
    "gpu": "energy of a GPU",
    "live": "stream --live",
    "mapping": "benchmarks of mappings",
    "netx": "networks of lava-dl (.net), evaluate --baseline intel_sdnn",
    "neurobench": "evaluate --neurobench",
    "nsnet2": "evaluate --baseline nsnet2",
    "orbax": "Orbax checkpoints",
    "pesq": "PESQ",
    "rnnoise": "evaluate --baseline rnnoise",
    "train": "train and synthesise",
}
#: Program -> what it is for, and where it comes from.
_PROGRAMS = {
    "ssh": ("deploy", "Install OpenSSH: apt install openssh-client"),
    "sbatch": (
        "deploy from here",
        "SLURM; not needed here if the host that you name has it",
    ),
    "cc": (
        "embedded C, PESQ",
        "Install a C compiler: apt install gcc",
    ),
    "chromium": ("tests of reports", "Install Chromium: apt install chromium"),
}
_ALSO_CALLED = {"cc": ("gcc", "clang"), "chromium": ("chromium-browser", "google-chrome")}


class Check(NamedTuple):
    """What was looked for: its state, and what was found or what to do."""

    name: str
    state: str
    found: str


def doctor(as_json: choices.JsonOption = False) -> None:
    """Say what works here, what is missing, and how to get it.

    Looks at Python, the packages, Lava and its repair for Python 3.11, the cache, the extras, and
    the programs that some commands call. Ends with exit code 1 if something is broken that every
    command needs; what is only missing is for some.
    """
    with console.spinner("Looking"):
        checks = [*_needed(), _lava(), _cache(), *_programs(), *_extras()]
    broken = [check for check in checks if check.state == BROKEN]
    missing = sum(check.state == MISSING for check in checks)
    if as_json:
        console.print_json(
            {"version": VERSION, "usable": not broken, "checks": [one._asdict() for one in checks]}
        )
    verdict = "everything that every command needs is here"
    if broken:
        verdict = f"broken: {', '.join(check.name for check in broken)}"
    console.summarise(
        Summary(
            f"s5_to_loihi {VERSION}: {verdict}; {missing} of {len(checks)} parts that some"
            " commands need are missing",
            mark=Mark.BAD if broken else Mark.GOOD,
            next="" if broken else "s5-to-loihi demo",
        ),
        asked=(
            of_rows(
                "What was looked for",
                ("part", "state", "found, or what to do"),
                (
                    (check.name, Cell(check.state, _MARKS[check.state]), check.found)
                    for check in checks
                ),
            ),
        ),
    )
    if broken:
        raise typer.Exit(1)


def _needed() -> Iterator[Check]:
    """Yield Python and the packages that are needed in any case."""
    fits = (3, 10) <= sys.version_info[:2] <= (3, 13)
    version = f"{platform.python_version()} ({sys.executable})"
    yield Check("Python", OK if fits else BROKEN, version if fits else f"{version}; 3.10 to 3.13")
    absent = [name for name, extra in _requirements() if extra is None and not _version(name)]
    if absent:
        do = f"{sys.executable} -m pip install {' '.join(absent)}"
        yield Check("packages", BROKEN, do)
        return
    numbers = ("numpy", "scipy", "numba")
    yield Check("packages", OK, ", ".join(f"{name} {_version(name)}" for name in numbers))


def _lava() -> Check:
    if not shim.is_installed():
        return Check("Lava", MISSING, "; ".join(shim.pip_commands(sys.version_info[:2])))
    try:
        shim.install()
        importlib.import_module(shim.REPAIRED_MODULE)
    except Exception as error:
        return Check("Lava", MISSING, f"cannot be imported ({error}); install it again")
    repaired = sys.version_info >= shim.FIRST_PYTHON_TO_REPAIR
    found = f"lava-nc {_version('lava-nc') or '(of unknown version)'}"
    return Check("Lava", OK, found + ", repaired for this Python when it is imported" * repaired)


def _cache() -> Check:
    from s5_to_loihi.commands.cache import kernels
    from s5_to_loihi.simulators.object_code import CACHE_VARIABLE, cache_directory

    try:
        directory = cache_directory()
        exists = next(one for one in (directory, *directory.parents) if one.exists())
        if not (exists.is_dir() and os.access(exists, os.W_OK)):
            raise PermissionError(directory)
        size = sum(file.stat().st_size for file in kernels(directory))
    except (OSError, RuntimeError, StopIteration):
        do = f"cannot be written, so that each run compiles; set {CACHE_VARIABLE}"
        return Check("cache", MISSING, do)
    return Check("cache", OK, f"{size / 1e6:,.1f} MB in {directory}")


def _programs() -> Iterator[Check]:
    for name, (purpose, do) in _PROGRAMS.items():
        found = next(filter(None, map(shutil.which, (name, *_ALSO_CALLED.get(name, ())))), None)
        state, text = (MISSING, do) if found is None else (OK, str(Path(found)))
        yield Check(f"{name}: {purpose}", state, text)


def _extras() -> Iterator[Check]:
    """Yield the extras of this package, of which each is for some commands."""
    extras: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra is not None and extra not in _OF_DEVELOPERS:
            extras.setdefault(extra, []).append(name)
    for extra, names in sorted(extras.items()):
        purpose = f": {_PURPOSE[extra]}" if extra in _PURPOSE else ""
        absent = [name for name in names if not _version(name)]
        if absent:
            do = f"pip install '{PACKAGE}[{extra}]' brings {', '.join(absent)}"
            yield Check(f"{extra}{purpose}", MISSING, do)
        else:
            found = ", ".join(f"{name} {_version(name)}" for name in names)
            yield Check(f"{extra}{purpose}", OK, found)


def _requirements() -> list[tuple[str, str | None]]:
    """Return the packages that this one declares, each with the extra that it belongs to."""
    try:
        declared = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in declared:
        named = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra == [\"']([^\"']+)[\"']", line)
        elsewhere = re.search(r"python_version (<|>=) [\"']3\.(\d+)[\"']", line)
        if elsewhere is not None:
            below = sys.version_info[1] < int(elsewhere.group(2))
            if below != (elsewhere.group(1) == "<"):
                continue
        if named is not None and named.group() not in (PACKAGE, "lava-nc"):
            found.append((named.group(), extra.group(1) if extra else None))
    return found


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
