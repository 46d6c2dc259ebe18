"""Files in which the processes of a run write down what they compute, one a neuron group."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s5_to_loihi.network.network import Network, NeuronGroup

FOLDER = "recordings"


def _file(job: Path, group: str) -> Path:
    return Path(job) / FOLDER / f"{group}.npy"


def create_recordings(job: Path, network: Network, tokens: int) -> None:
    """Create one file a group, (tokens, values of the kind, neurons) int32, in a job folder."""
    (Path(job) / FOLDER).mkdir()
    for group in network.groups:
        shape = (tokens, len(group.kind.values), group.size)
        np.lib.format.open_memmap(_file(job, group.name), mode="w+", dtype=np.int32, shape=shape)


def open_recording(job: str | Path | None, group: NeuronGroup) -> np.ndarray | None:
    """Open a group's file for writing; None if nothing is to be recorded."""
    if job is None or not _file(Path(job), group.name).exists():
        return None
    return np.load(_file(Path(job), group.name), mmap_mode="r+")


def read_recordings(job: Path, network: Network) -> dict[str, np.ndarray]:
    """Return ``group.value`` -> (tokens, 1, neurons) int64 of all groups."""
    values = {}
    for group in network.groups:
        recorded = np.load(_file(job, group.name)).astype(np.int64)
        for index, name in enumerate(group.kind.values):
            values[f"{group.name}.{name}"] = recorded[:, None, index]
    return values
