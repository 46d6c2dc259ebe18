"""Checks a host before a job is submitted from it: ok or problem, line by line.

    python program/deploy/preflight.py --target board --slurm --partition oheogulch program/bundle

Ends with exit code 0, 1 (a problem) or 2 (the network does not fit). What has to be imported is
imported in a process of its own, so that a module that hangs or ends its process is a line as well.
Only the standard library is needed to start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import job_files

PROGRAM = Path(__file__).resolve().parents[1]
#: Versions of Python that s5_to_loihi runs on: from, and up to but without.
PYTHONS = ((3, 10), (3, 14))
PACKAGES = ("numpy", "scipy", "networkx", "pyyaml", "safetensors", "numba")
#: Packages whose modules are called otherwise; how Lava is installed on any Python; what comes with
#: the job itself.
DISTRIBUTIONS = {"yaml": "pyyaml", "skimage": "scikit-image", "sklearn": "scikit-learn"}
LAVA = "--no-deps --ignore-requires-python lava-nc==0.10.0"
OWN_MODULES = ("s5_to_loihi", "process_models", "deploy")
OK, PROBLEM, DOES_NOT_FIT = "ok", "problem", "does not fit"
#: Importing takes seconds, also from a slow file system; mapping compiles first, for half a minute.
IMPORT_SECONDS, CAPACITY_SECONDS = 120, 300
#: A job folder with its result needs little; less than this is a full disk.
LEAST_FREE_BYTES = 64 << 20
#: The systems that INRC's partitions hold, by how their names begin (public INRC scripts).
SYSTEMS = {"oheogulch": "oheogulch", "kp": "kapohopoint"}
#: States of a SLURM node that takes jobs, now or when others are done.
NODE_STATES = ("idle", "mixed", "allocated", "completing", "planned", "reserved")

IMPORTS = """
from importlib.metadata import distributions
versions = {one.metadata["Name"]: one.version for one in distributions()}
import s5_to_loihi
import s5_to_loihi.backends.dispatch
print("imported", s5_to_loihi.__version__, "in", s5_to_loihi.__path__[0])
from s5_to_loihi.lava_runtime import shim
shim.install()
import lava.magma.core.run_configs, lava.magma.core.process.process
print("imported", versions.get("lava-nc", "version not known"))
"""
IMPORT_EXTENSION = """
from importlib import import_module
from s5_to_loihi.lava_runtime import extension
extension.require(measuring=True)
for module in extension.MODULES | extension.MEASURING:
    import_module(module)
print("imported", versions.get("lava-loihi", "version not known"))
"""
CHECK_MICROCODE = """
import sys
from pathlib import Path
from s5_to_loihi import bundle
from s5_to_loihi.lava_runtime import microcode_files, stock
network = bundle.read(Path(sys.argv[1])).network
folder = sys.argv[2] or None
lowered = stock.lower(network) if sys.argv[3] == "stock" else ()
without = [one.group for one in lowered if one.process is not None]
gate = sys.argv[4] == "fall-through"
programs = microcode_files.missing(network, folder, without, gate)
if programs:
    sys.exit(str(microcode_files.missing_error(programs, folder, gate)))
print("there for every neuron program" + (f", but for {len(without)} groups" if without else ""))
"""
CHECK_CAPACITY = """
import sys
from pathlib import Path
from s5_to_loihi import bundle
from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2 import rules
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates
network = bundle.read(Path(sys.argv[1])).network
system = load_system(sys.argv[2]) if sys.argv[2] else None
try:
    rates = assumed_rates(network, 1.0)
    mapping, evaluation = map_network(network, rates, system, Objective.CORES)
    rules.require(evaluation)
except CapacityError as error:
    print(error)
    sys.exit(2)
cores = len(set(mapping.core_of(network).tolist()))
print(f"{cores} cores of {evaluation.system.name}, {evaluation.system.cores} are there")
"""


class Line(NamedTuple):
    """One check.

    Attributes:
        check: what was looked at.
        state: ok, problem or does not fit.
        found: what is there.
        do: what to do about a problem.
    """

    check: str
    state: str
    found: str
    do: str = ""


def checks(arguments: argparse.Namespace) -> Iterator[Line]:
    """Yield all checks, one after the other."""
    yield check_python()
    yield from check_packages()
    yield from check_imports(arguments.target)
    yield check_disk(arguments.bundle)
    if arguments.slurm:
        yield check_partition(arguments.partition)
        if arguments.board:
            yield check_board(arguments.board, arguments.partition)
    if arguments.target == "board":
        yield check_capacity(arguments.bundle, arguments.partition)
        if arguments.lowering != "embedded":
            yield check_microcode(
                arguments.bundle, arguments.microcode, arguments.lowering, arguments.mode
            )


def check_python() -> Line:
    """Check the version of this Python."""
    found = f"{platform.python_version()} ({sys.executable}, {platform.node()})"
    first, after = PYTHONS
    if first <= sys.version_info[:2] < after:
        return Line("Python", OK, found)
    return Line("Python", PROBLEM, found, "Choose Python 3.10 to 3.13 (--python)")


def check_packages() -> Iterator[Line]:
    """Check that the packages that s5_to_loihi imports are installed."""
    for package in PACKAGES:
        try:
            yield Line(package, OK, version(package))
        except PackageNotFoundError:
            do = f"{sys.executable} -m pip install {package}, or another Python (--python)"
            yield Line(package, PROBLEM, "not installed", do)


def check_imports(target: str) -> Iterator[Line]:
    """Check that the packages can be imported, in a process of its own: one after the other."""
    advice = {
        "s5_to_loihi": "Deploy again; if it stays, say what was found to those who wrote the tool",
        "lava-nc": f"{sys.executable} -m pip install {LAVA}",
    }
    if target == "board":
        advice["lava-loihi"] = (
            "It is for INRC members only: install their release for this Python, or choose the"
            " Python that has it (--python)"
        )
    code = IMPORTS + (IMPORT_EXTENSION if target == "board" else "")
    _, said = _python(code, [], IMPORT_SECONDS)
    imported = [line for line in said if line.startswith("imported ")]
    for index, (name, do) in enumerate(advice.items()):
        if index < len(imported):
            yield Line(name, OK, imported[index].removeprefix("imported "))
        elif index == len(imported):
            # What lava-loihi brings along is in no public registry.
            do = do if name == "lava-loihi" else remedy(said[-1], do)
            yield Line(name, PROBLEM, said[-1], do)
        else:
            yield Line(name, PROBLEM, "not tried after that", "Solve what is above first")


def remedy(found: str, otherwise: str) -> str:
    """Return what to do about an import that failed: of a missing package, to install that one."""
    match = re.search(r"No module named '([A-Za-z0-9_]+)", found)
    if not match or match[1] in OWN_MODULES:
        return otherwise
    module = match[1]
    if module == "lava":
        package = f"{LAVA}. It needs the packages that are checked above, and asteval"
    else:
        package = DISTRIBUTIONS.get(module, module)
    return f"{sys.executable} -m pip install {package}, or another Python (--python)"


def check_disk(folder: Path) -> Line:
    """Check the space where the job writes."""
    free = shutil.disk_usage(folder).free
    found = f"{free >> 20:,} MiB free"
    if free >= LEAST_FREE_BYTES:
        return Line("disk", OK, found)
    do = f"Free some (limit {LEAST_FREE_BYTES >> 20} MiB), or choose another --directory"
    return Line("disk", PROBLEM, found, do)


def check_partition(partition: str | None) -> Line:
    """Check that SLURM has a partition and that it is up."""
    try:
        listed = job_files.slurm("sinfo", "--noheader", "--format=%R|%a")
    except job_files.SlurmError as error:
        return Line("SLURM", PROBLEM, str(error), "Choose the host that you submit jobs from")
    states = dict(line.strip().split("|") for line in listed.splitlines() if "|" in line)
    names = ", ".join(sorted(states)) or "none"
    if partition is None:
        return Line("SLURM", OK, f"partitions {names}")
    if partition not in states:
        found = f"there is no partition {partition}; there are {names}"
        return Line("SLURM partition", PROBLEM, found, "Choose one of them (--partition)")
    if states[partition] != "up":
        found = f"{partition} is {states[partition]}"
        return Line("SLURM partition", PROBLEM, found, "Wait, or choose another (--partition)")
    return Line("SLURM partition", OK, f"{partition} is up")


def check_board(board: str, partition: str | None) -> Line:
    """Check that a board is a node of the partition, and that it takes jobs."""
    where = [f"--partition={partition}"] if partition else []
    try:
        listed = job_files.slurm("sinfo", "--noheader", "--Node", "--format=%N|%T", *where)
    except job_files.SlurmError as error:
        return Line("board", PROBLEM, str(error), "Choose the host that you submit jobs from")
    states = dict(line.strip().split("|") for line in listed.splitlines() if "|" in line)
    names = ", ".join(f"{name} ({state})" for name, state in sorted(states.items())) or "none"
    if board not in states:
        found = f"there is no board {board} in the partition; there are {names}"
        return Line("board", PROBLEM, found, "Choose one of them (--board)")
    # A trailing sign says more of a state: "*" is a node that does not answer.
    if states[board] not in NODE_STATES:
        found = f"{board} is {states[board]}; there are {names}"
        return Line("board", PROBLEM, found, "Choose another (--board), or ask INRC support")
    return Line("board", OK, f"{board} is {states[board]}")


def check_capacity(bundle: Path, partition: str | None) -> Line:
    """Check by the mapper's model that the network fits, on as few cores as possible."""
    system = next((SYSTEMS[key] for key in SYSTEMS if (partition or "").startswith(key)), "")
    exit_code, said = _python(CHECK_CAPACITY, [str(bundle), system], CAPACITY_SECONDS)
    if exit_code == 0:
        return Line("capacity (a model)", OK, said[-1])
    do = "See 's5-to-loihi map' for what is full, and by how much"
    if exit_code == 2:
        return Line("capacity (a model)", DOES_NOT_FIT, " ".join(said), do)
    return Line("capacity (a model)", PROBLEM, said[-1], do)


def check_microcode(bundle: Path, folder: Path | None, lowering: str, mode: str) -> Line:
    """Check that there is a microcode file for every neuron program that needs one."""
    arguments = [str(bundle), "" if folder is None else str(folder), lowering, mode]
    exit_code, said = _python(CHECK_MICROCODE, arguments, IMPORT_SECONDS)
    if exit_code == 0:
        return Line("microcode", OK, said[-1])
    return Line("microcode", PROBLEM, said[-1], "Give its folder on this host (--microcode)")


def _python(code: str, arguments: list[str], seconds: int) -> tuple[int, list[str]]:
    """Run Python code beside this archive's packages; return exit code and lines, at least one."""
    search_path = os.pathsep.join(filter(None, [str(PROGRAM), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            # Unbuffered: the last line is then the one that was printed last.
            [sys.executable, "-u", "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": search_path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return 1, [f"did not end within {seconds} s"]
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, said or [f"ended with exit code {done.returncode}"]


def main() -> int:
    """Print all lines; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--target", choices=("board", "lava-cpu", "rehearsal"), default="board")
    parser.add_argument("--slurm", action="store_true", help="check SLURM, too")
    parser.add_argument("--partition", help="of SLURM")
    parser.add_argument("--board", help="node of SLURM")
    parser.add_argument("--microcode", type=Path, help="folder of your microcode files")
    parser.add_argument(
        "--lowering", choices=("microcode", "stock", "embedded"), default="microcode"
    )
    parser.add_argument("--mode", choices=("pipelined", "fall-through"), default="pipelined")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    arguments = parser.parse_args()
    lines = []
    for line in checks(arguments):
        lines.append(line)
        if not arguments.json:
            print(f"{line.state:12} {line.check:20} {line.found}", flush=True)
            if line.do:
                print(f"{'':12} {'-> ' + line.do}", flush=True)
    if arguments.json:
        print(json.dumps([line._asdict() for line in lines]))
    states = {line.state for line in lines}
    return 1 if PROBLEM in states else 2 if DOES_NOT_FIT in states else 0


if __name__ == "__main__":
    sys.exit(main())
