"""The suite of micro-benchmarks as a folder, what comes back into it, and a system as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import yaml

from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import MeasuredProfile, read_measured
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.writing import filling, write_json
from s5_to_loihi.loihi2.facts import Fact, System
from s5_to_loihi.profiling.comparison import BOARD
from s5_to_loihi.profiling.demand import Demand
from s5_to_loihi.profiling.fitting import Observation
from s5_to_loihi.profiling.suite import experiments
from s5_to_loihi.simulators.interpreter import Mode

#: Files of a suite, and of an experiment's folder; where a run leaves what it measured.
LISTING, SCRIPT = "suite.json", "run.sh"
BUNDLE, TOKENS, MEASURED = "bundle", "tokens.npy", Path("job", "result", "measured.json")
#: Files of a system.
SYSTEM, CHIP = "system.yaml", "chip.yaml"

_SCRIPT = """\
#!/bin/sh
# Runs all of this folder that has no result yet, on the board host. Options are those
# of run_on_board.py, --microcode FOLDER above all; PYTHON is one that has s5_to_loihi.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
python=${{PYTHON:-python3}}
find='from importlib.util import find_spec
print(find_spec("s5_to_loihi.deploy").submodule_search_locations[0])'
scripts=$("$python" -c "$find") || exit 1
failed=
for name in {names}; do
    if [ -e "$here/$name/{measured}" ]; then continue; fi
    echo "$name"
    rm -rf "$here/$name/job"
    mkdir "$here/$name/job" || exit 1
    "$python" "$scripts/run_on_board.py" "$here/$name/{bundle}" "$here/$name/{tokens}" \\
        --job "$here/$name/job" --mode {mode} "$@" || failed="$failed $name"
done
if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
"""


def write_suite(
    folder: Path, system: System, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[str, ...]:
    """Write the suite for a system into a new folder; return the names of its experiments.

    Args:
        folder: that there is not yet.
        system: to calibrate.
        on_progress: called with experiments done and how many there are.

    Raises:
        InputError: the folder exists already, or cannot be written.
    """
    if folder.exists():
        raise InputError(str(folder), "exists already", "Give the name of a new folder")
    suite = tuple(experiments(system))
    names = tuple(one.name for one in suite)
    with filling(folder) as temporary:
        for done, one in enumerate(suite):
            place = temporary / one.name
            place.mkdir()
            vectors = Vectors(one.tokens, {}, {}, "micro-benchmark")
            bundle.write(Bundle(one.network, vectors, mapping=one.mapping(system)), place / BUNDLE)
            np.save(place / TOKENS, one.tokens)
            on_progress(done + 1, len(suite))
        write_script(temporary, names)
        write_json(temporary / LISTING, {"system": system.name, "experiments": names})
    return names


def write_script(folder: Path, names: Sequence[str], mode: Mode = Mode.PIPELINED) -> None:
    """Write the script for the board host: it runs what has no result in folders of these names."""
    text = _SCRIPT.format(
        names=" ".join(names), measured=MEASURED, bundle=BUNDLE, tokens=TOKENS, mode=mode.value
    )
    (folder / SCRIPT).write_text(text)
    (folder / SCRIPT).chmod(0o755)


def read_result(folder: Path) -> MeasuredProfile | None:
    """Read what a run of one of these folders measured; None if there is no result yet.

    Raises:
        InputError: it is not of a board, not of the folder's bundle, or not what a run writes.
    """
    file = folder / MEASURED
    if not file.exists():
        return None
    measured = read_measured(file)
    if measured.target != BOARD:
        raise InputError(
            str(file), f"was made on {measured.target}, not on a board", "Run it on a board"
        )
    if measured.bundle_digest != bundle.digest(folder / BUNDLE):
        raise InputError(str(file), "is of another bundle", "Run this experiment again")
    return measured


def read_observations(folder: Path, system: System) -> tuple[Observation, ...]:
    """Read what came back of a suite: the experiments that have a result.

    Raises:
        InputError: the folder is no suite, or of another system; a result is of another bundle, or
            not what a run writes.
    """
    content = read_json(folder / LISTING)
    if not isinstance(content, dict) or "experiments" not in content:
        raise InputError(str(folder), "is no suite", "Write one with 's5-to-loihi calibrate DIR'")
    if content.get("system") != system.name:
        raise InputError(
            str(folder), f"is a suite for {content.get('system')!r:.60}", "Give it with --system"
        )
    found = []
    for one in experiments(system):
        measured = read_result(folder / one.name)
        if measured is None:
            continue
        demand = as_counted(one.demand(system), measured)
        found.append(Observation(one.name, demand, measured))
    return tuple(found)


def as_counted(demand: Demand, measured: MeasuredProfile) -> Demand:
    """Return a demand with the busiest core, and the cores in use, that a board's counters show.

    The board's compiler places neurons as it likes. What is not counted is scaled alike: words
    as synops, instructions as updates. Without counters or times the demand is as it was.
    """
    cores = [one for one in measured.activity if one.updates or one.synops]
    if not cores or measured.time is None:
        return demand
    steps = measured.time.steps

    def factor(counter: str, meant: float) -> float:
        counts = [getattr(one, counter) or 0 for one in cores]
        return max(counts) / steps / meant if meant > 0 and max(counts) > 0 else 1.0

    synops = factor("synops", float(demand.synops.max()))
    neurons = max(float(rows[:, 0].max()) for rows in demand.updates)
    return replace(
        demand,
        synops=demand.synops * synops,
        words=demand.words * synops,
        messages=demand.messages * factor("messages_in", float(demand.messages.max())),
        updates=tuple(rows * factor("updates", neurons) for rows in demand.updates),
        cores=len(cores),
        chips=len({one.chip for one in cores}),
    )


def write_system(system: System, folder: Path) -> Path:
    """Write a system and its chip as files that ``load_system`` reads; return the system's.

    Raises:
        InputError: the folder cannot be written.
    """
    with filling(folder) as temporary:
        for name, owner in ((CHIP, system.chip), (SYSTEM, system)):
            content: dict[str, object] = {"name": owner.name}
            if owner is system:
                content["chip"] = CHIP
            for field in fields(owner):
                one = getattr(owner, field.name)
                if isinstance(one, Fact):
                    content[field.name] = dataclasses.asdict(one)
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
            (temporary / name).write_text(f"# Made by s5-to-loihi calibrate.\n{text}")
    return folder / SYSTEM
