"""Where the microcode of neuron programs comes from: from the user; none of it is in this package.

A program's microcode is a file whose name without its suffix is the program's (``kind-digest``, see
``network/programs.py``). It is looked for in the folder that is given, else in the one that the
environment variable ``S5_TO_LOIHI_MICROCODE`` names, then in those of installed plug-ins: entry
points of the group ``s5_to_loihi.microcode``, each a folder or a function without arguments that
returns one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from importlib.metadata import entry_points
from pathlib import Path

from s5_to_loihi.errors import LavaError
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import Network

VARIABLE = "S5_TO_LOIHI_MICROCODE"
ENTRY_POINTS = "s5_to_loihi.microcode"


def folders(folder: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the folders that microcode is looked for in, the first one first."""
    chosen = folder or os.environ.get(VARIABLE)
    if chosen:
        yield Path(chosen)
    for point in entry_points(group=ENTRY_POINTS):
        provided = point.load()
        yield Path(provided() if callable(provided) else provided)


def find(program: str, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the microcode file of a program, or None.

    Raises:
        LavaError: there are several in one folder.
    """
    for place in folders(folder):
        found = sorted(file for file in place.glob("*") if file.stem == program and file.is_file())
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise LavaError(str(place), f"holds {names} for one program", "Leave one of them")
        if found:
            return found[0].resolve()
    return None


def require(
    program: str, group: str, folder: str | os.PathLike[str] | None = None, gate: bool = False
) -> Path:
    """Return the microcode file of a program.

    Args:
        program: its name.
        group: one that runs it, for the error.
        folder: where to look first.
        gate: whether the program is one of fall-through.

    Raises:
        LavaError: there is none; says where it was looked for and how its listing is printed.
    """
    found = find(program, folder)
    if found is None:
        raise missing_error({program: group}, folder, gate)
    return found


def missing(
    network: Network,
    folder: str | os.PathLike[str] | None = None,
    without: Collection[str] = (),
    gate: bool = False,
) -> dict[str, str]:
    """Return the programs of a network without microcode: name -> first group that runs it.

    Args:
        network: verified.
        folder: where to look first.
        without: groups that need none.
        gate: whether the programs are those of fall-through.
    """
    needed = {}
    for program in gating.programs(network, gate):
        groups = [binding.group.name for binding in program.bindings]
        using = [name for name in groups if name not in without]
        if using and find(program.name, folder) is None:
            needed[program.name] = using[0]
    return needed


def missing_error(
    programs: dict[str, str], folder: str | os.PathLike[str] | None = None, gate: bool = False
) -> LavaError:
    """Return the error for programs without microcode, given as name -> group."""
    looked = ", ".join(map(str, folders(folder))) or "nowhere: no folder is given"
    mode = " --mode fall-through" if gate else ""
    listings = ", ".join(
        f"{name} (s5-to-loihi microcode BUNDLE --group {group}{mode})"
        for name, group in programs.items()
    )
    return LavaError(
        "microcode",
        f"there is none for {len(programs)} programs: {listings}; looked in {looked}",
        f"Write each after its listing and put it, named like its program, into a folder; name"
        f" that with --microcode or the environment variable {VARIABLE}",
    )
