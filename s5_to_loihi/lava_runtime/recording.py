"""Files in which the processes of a run write down what they compute, one a neuron group.

They are numbered in the order of the groups: a name is never part of a path.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.writing import allocated, write_json
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan
from s5_to_loihi.network.network import Network, NeuronGroup

FOLDER, GROUPS, STATES = "recordings", "groups.json", "states.npy"


def _file(job: Path, number: int) -> Path:
    return job / FOLDER / f"{number}.npy"


def create_recordings(job: Path, network: Network, tokens: int) -> None:
    """Create one file a group, (tokens, values of the kind, neurons) int32, in a job folder.

    Raises:
        OSError: there is no room for them.
    """
    (job / FOLDER).mkdir()
    write_json(job / FOLDER / GROUPS, [group.name for group in network.groups])
    for number, group in enumerate(network.groups):
        allocated(_file(job, number), np.int32, (tokens, len(group.kind.values), group.size))


def open_recording(job: str | Path | None, group: NeuronGroup) -> np.ndarray | None:
    """Open a group's file for writing; None if nothing is to be recorded."""
    if job is None or not (Path(job) / FOLDER).is_dir():
        return None
    names = read_json(Path(job) / FOLDER / GROUPS)
    assert isinstance(names, list)  # as it was written
    return np.load(_file(Path(job), names.index(group.name)), mmap_mode="r+")


def open_states(
    job: str | Path | None, plan: ChipPlan | None, group: NeuronGroup
) -> np.ndarray | None:
    """Open the file of a group's registers in every timestep, if a plan asks for them."""
    if job is None or plan is None or plan.states != group.name:
        return None
    return np.load(Path(job) / STATES, mmap_mode="r+")


def create_states(job: Path, group: NeuronGroup, steps: int) -> None:
    """Create that file: (timesteps, registers, neurons) int32.

    Raises:
        OSError: there is no room for it.
    """
    allocated(job / STATES, np.int32, (steps, len(group.kind.state), group.size))


def read_recordings(job: Path, network: Network) -> dict[str, np.ndarray]:
    """Return ``group.value`` -> (tokens, 1, neurons) int64 of all groups."""
    values = {}
    for number, group in enumerate(network.groups):
        recorded = np.load(_file(job, number)).astype(np.int64)
        for index, name in enumerate(group.kind.values):
            values[f"{group.name}.{name}"] = recorded[:, None, index]
    return values
