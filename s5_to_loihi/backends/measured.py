"""What a run measured: the file that a board run writes and ``profile --measured`` reads.

Described in ``docs/profiling.md``. Times and power come from separate runs, as the profiler on the
board demands; whatever was not measured is null.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from s5_to_loihi.files.records import Schema, read_record, write_record

#: A result is text about one run; counts of every core of a large system are a few megabytes.
LARGEST_FILE = 64 << 20
_SCHEMA = Schema(
    name="measured profile",
    key="s5_to_loihi measured profile",
    version=1,
    largest=LARGEST_FILE,
    do="Give the file that a board run wrote",
)
#: What a run may have been made on. Only the first is a measurement of the chip.
TARGETS = ("board", "lava-cpu")
#: Which supplies a power covers.
SCOPES = ("neurocore rails", "chip with x86", "board")


@dataclass(frozen=True)
class StepTimes:
    """Microseconds of a timestep, means over a run.

    Attributes:
        total: of a timestep in all.
        spiking, management, host: what it is spent on; None where the profiler did not say.
        steps: timesteps that the means are over.
    """

    total: float
    spiking: float | None
    management: float | None
    host: float | None
    steps: int


@dataclass(frozen=True)
class Power:
    """Watts, means over a run.

    Attributes:
        scope: one of ``SCOPES``.
        total: in all.
        static: with nothing running.
        rails: name of a supply (``vdd``, ``vddm``, ``vddio``) -> watts, in all.
        steps: timesteps that the means are over.
    """

    scope: str
    total: float
    static: float | None
    rails: Mapping[str, float]
    steps: int


@dataclass(frozen=True)
class CoreActivity:
    """What the counters of a core counted over a run.

    Attributes:
        chip, core: where.
        synops, updates, messages_out, messages_in: counts; None where there is no such counter.
    """

    chip: int
    core: int
    synops: int | None
    updates: int | None
    messages_out: int | None
    messages_in: int | None


@dataclass(frozen=True)
class MeasuredProfile:
    """A run and what it measured.

    Attributes:
        target: one of ``TARGETS``; times of ``lava-cpu`` are those of a simulator.
        network: name of the network.
        bundle_digest: the ``digest`` of the bundle's manifest.
        mode: ``pipelined`` or ``fall-through``.
        tokens: of the run.
        timesteps: of the run.
        wall_seconds: from start to end, as the host saw it.
        environment: host, board, partition, chip generation, versions: name -> text.
        time: None if not measured.
        power: None if not measured.
        activity: of the cores in use; empty if not measured.
    """

    target: str
    network: str
    bundle_digest: str
    mode: str
    tokens: int
    timesteps: int
    wall_seconds: float
    environment: Mapping[str, str]
    time: StepTimes | None = None
    power: Power | None = None
    activity: tuple[CoreActivity, ...] = ()


def write_measured(profile: MeasuredProfile, path: str | os.PathLike[str]) -> None:
    """Write a measured profile as JSON, whole or not at all."""
    write_record(profile, path, _SCHEMA)


def read_measured(path: str | os.PathLike[str]) -> MeasuredProfile:
    """Read a measured profile and check all of it.

    Raises:
        InputError: not such a file, of another version, or a part is missing, unknown or not what
            it should be.
    """
    allowed = {(MeasuredProfile, "target"): TARGETS, (Power, "scope"): SCOPES}
    return read_record(MeasuredProfile, path, _SCHEMA, allowed)
