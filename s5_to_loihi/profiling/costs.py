"""Times and energies of a demand, for any number of choices of the constants at once.

The runtime model is that of ``loihi2/timing.py`` (arXiv 2601.10035): a timestep takes as long as
the busiest part of the chip. Energy is the sum of what was done, times what each takes, and of what
is drawn at rest, times how long it took. ``docs/profiling.md`` says what each constant rests on.
"""

from __future__ import annotations

import numpy as np

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.loihi2.timing import Timing, barrier, timing_of
from s5_to_loihi.profiling.constants import Constants
from s5_to_loihi.profiling.demand import Demand

RAILS, CHIP, BOARD = SCOPES
#: What an energy is split into.
PARTS = ("synaptic", "neuron", "communication", "static")
#: Picojoules in a microjoule, nanoseconds in a microsecond.
PICO, NANO = 1e6, 1e3


def term_times(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Return nanoseconds of all that a timestep may have to wait for.

    Args:
        demand: of a mode.
        constants: (cases,) each.

    Returns:
        By name, arrays that broadcast to (cases, steps, tokens).
    """
    each = timing_of(constants)
    along = Timing(*(np.asarray(value, dtype=float)[:, None, None] for value in each))
    idle = each.update + np.asarray(constants["gate_instructions"]) * each.instruction
    costs = np.stack([each.update, each.instruction, idle])
    updates = np.stack([(cores @ costs).max(axis=0) for cores in demand.updates], axis=1)
    return {
        "neuron updates": updates[:, :, None],
        "synops": demand.synops * along.synop,
        "memory words": demand.words * along.word,
        "core link": demand.messages * along.message,
        "mesh link": demand.hops * along.message,
        "chip link": demand.crossings * along.chip_message,
        "barrier": barrier(along, demand.chips),
    }


def timesteps(demand: Demand, constants: Constants) -> np.ndarray:
    """Return microseconds of every timestep, (cases, steps, tokens)."""
    longest = None
    for times in term_times(demand, constants).values():
        longest = times if longest is None else np.maximum(longest, times)
    return longest / NANO


def dynamic_energies(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Return microjoules a token of what was done, by part, (cases,) each."""
    total = demand.totals
    return {
        "synaptic": total.synops * constants["synop_energy"] / PICO,
        "neuron": (
            (total.updates + total.idle) * constants["update_energy"]
            + (total.instructions + total.idle * constants["gate_instructions"])
            * constants["instruction_energy"]
        )
        / PICO,
        "communication": (
            total.messages * constants["message_energy"]
            + total.hops * constants["hop_energy"]
            + total.crossings * constants["crossing_energy"]
        )
        / PICO,
    }


def idle_power(demand: Demand, constants: Constants) -> dict[str, np.ndarray]:
    """Return watts drawn with nothing running, by scope, (cases,) each.

    The neurocore rails and the processors of the chips in use; of a board all its chips.
    """
    chip = constants["static_power"] + constants["x86_power"]
    return {
        RAILS: demand.chips * constants["static_power"],
        CHIP: demand.chips * chip,
        BOARD: demand.system_chips * chip + constants["other_power"],
    }


def energies(
    demand: Demand, constants: Constants, busy: np.ndarray, lasting: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Return microjoules a token, by scope and by part, (cases,) each.

    Args:
        demand: of a mode.
        constants: (cases,) each.
        busy: (cases,) microseconds that the cores in use run for a token.
        lasting: (cases,) microseconds from a token to the next: longer than ``busy`` where the
            chip waits for its input.
    """
    done = dynamic_energies(demand, constants)
    running = demand.cores * constants["core_power"] * busy
    return {
        scope: {**done, "static": power * lasting + running}
        for scope, power in idle_power(demand, constants).items()
    }
