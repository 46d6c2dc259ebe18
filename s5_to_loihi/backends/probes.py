"""What the probes of Lava's extension measured, as parts of a ``MeasuredProfile``.

Attributes and units are those that public code reads (lava-dl's example ``yolo_kp``); they have not
been seen on a board by us.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from s5_to_loihi.backends.measured import CoreActivity, Power, StepTimes
from s5_to_loihi.errors import LavaError
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan
from s5_to_loihi.network.network import Network

#: What can be measured, each in a run of its own, with the name of its probe.
PROBES = {"time": "Loihi2ExecutionTime", "power": "Loihi2Power", "activity": "Loihi2Activity"}
#: The supplies that the power probe tells apart.
RAILS = ("vdd", "vddm", "vddio")


def step_times(probe, steps: int) -> StepTimes:
    """Return means of the time probe, which gives microseconds for each timestep."""
    return StepTimes(
        total=_mean(probe, "avg_time_per_step"),
        spiking=None,
        management=_optional_mean(probe, "management_time_per_step"),
        host=_optional_mean(probe, "host_time_per_step"),
        steps=steps,
    )


def power(probe, steps: int) -> Power:
    """Return means of the power probe, in watts, over all chips of the board."""
    rails = {rail: _optional_mean(probe, f"{rail}_power") for rail in RAILS}
    return Power(
        scope="board",
        total=_mean(probe, "total_power"),
        static=_optional_mean(probe, "static_total_power"),
        rails={rail: watts for rail, watts in rails.items() if watts is not None},
        steps=steps,
    )


def activity(probe, steps: int) -> tuple[CoreActivity, ...]:
    """Return the counters of every core in use, summed over the run."""
    cores = _values(probe, "core_idx").astype(int)
    columns = {
        name: _values(probe, name).astype(int)
        for name in ("chip_idx", "syn_ops", "dendrite_updates", "axon_out", "spikes_in")
        if getattr(probe, name, None) is not None
    }

    def of(name: str, index: int) -> int | None:
        return int(columns[name][index]) if name in columns else None

    return tuple(
        CoreActivity(
            chip=of("chip_idx", index) or 0,
            core=int(core),
            synops=of("syn_ops", index),
            updates=of("dendrite_updates", index),
            messages_out=of("axon_out", index),
            messages_in=of("spikes_in", index),
        )
        for index, core in enumerate(cores)
    )


def _values(probe, name: str) -> np.ndarray:
    value = getattr(probe, name, None)
    values = np.ravel(np.asarray([] if value is None else value, dtype=float))
    if not len(values) or not np.isfinite(values).all():
        raise LavaError(
            type(probe).__name__,
            f"gave no {name} (got {value!r:.60})",
            "Run again without this measurement",
        )
    return values


def _mean(probe, name: str) -> float:
    return float(_values(probe, name).mean())


def _optional_mean(probe, name: str) -> float | None:
    return None if getattr(probe, name, None) is None else _mean(probe, name)


class StateProbes:
    """The extension's probes of the registers of one group, if a plan asks for them.

    Assumed: a ``StateProbe(var)`` among ``callback_fxs`` has a ``time_series`` of the register in
    every timestep of the run, as public code reads it; and Lava has asked for the processes inside
    a network before it takes these.

    Attributes:
        probes: one a register, once Lava has built the network.
    """

    def __init__(self, network: Network, plan: ChipPlan, configuration):
        """Wait for a network to be built; ``configuration`` is Lava's, of the run."""
        self._group = None if plan.states is None else network.group(plan.states)
        self._configuration = configuration
        self.probes: list = []

    def found(self, processes: Mapping) -> None:
        """Probe the group's process, which Lava has built."""
        if self._group is None:
            return
        from lava.utils.loihi2_state_probes import StateProbe

        process = processes[self._group.name]
        self.probes = [StateProbe(getattr(process, name)) for name in self._group.kind.state]
        self._configuration.callback_fxs = [*self._configuration.callback_fxs, *self.probes]

    def series(self, steps: int) -> np.ndarray:
        """Return (timesteps, registers, neurons) int32.

        Raises:
            LavaError: a probe gave less.
        """
        assert self._group is not None
        columns = [_values(probe, "time_series").astype(np.int32) for probe in self.probes]
        wanted = steps * self._group.size
        for column in columns:
            if len(column) != wanted:
                what = f"gave {len(column)} values of {self._group.name}, not {wanted}"
                raise LavaError("StateProbe", what, "Probe its messages only")
        return np.stack([one.reshape(steps, self._group.size) for one in columns], axis=1)


READERS = {"time": step_times, "power": power, "activity": activity}
