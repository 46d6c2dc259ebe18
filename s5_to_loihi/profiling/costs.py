"""Times and energies of a demand, for any number of choices of the constants at once.

The runtime model is that of ``loihi2/timing.py`` (arXiv 2601.10035): a timestep takes as long as
the busiest part of the chip. Energy is the sum of what was done, times what each takes, and of what
is drawn at rest, times how long it took. ``docs/profiling.md`` says what each constant rests on.
"""

from __future__ import annotations

import functools

import numpy as np

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.loihi2.resources import Term
from s5_to_loihi.loihi2.timing import barrier, core_times, timing_of
from s5_to_loihi.network.gating import IDLE_INSTRUCTIONS
from s5_to_loihi.profiling.constants import Constants
from s5_to_loihi.profiling.demand import Demand, Operations

RAILS, CHIP, BOARD = SCOPES
#: What an energy is split into.
PARTS = ("synaptic", "neuron", "communication", "static")
#: Picojoules in a microjoule, nanoseconds in a microsecond.
PICO, NANO = 1e6, 1e3


def term_times(demand: Demand, constants: Constants) -> dict[Term, np.ndarray]:
    """Return nanoseconds of all that a timestep may have to wait for.

    Args:
        demand: of a mode.
        constants: (cases,) each.

    Returns:
        By term, arrays that broadcast to (cases, steps, tokens).
    """
    along = timing_of({name: values[:, None, None] for name, values in constants.items()})
    updates = [
        timing_of(constants).updates(*cores.T[:, :, None]).max(axis=0) for cores in demand.updates
    ]
    return {
        **core_times(
            along,
            updates=np.stack(updates, axis=1)[:, :, None],
            synops=demand.synops,
            words=demand.words,
            messages=demand.messages,
        ),
        Term.MESH_LINK: demand.hops * along.message,
        Term.CHIP_LINK: demand.crossings * along.chip_message,
        Term.BARRIER: np.asarray(barrier(along, demand.chips)),
    }


def timesteps(demand: Demand, constants: Constants) -> np.ndarray:
    """Return microseconds of every timestep, (cases, steps, tokens)."""
    return functools.reduce(np.maximum, term_times(demand, constants).values()) / NANO


def dynamic_energies(done: Operations, constants: Constants) -> dict[str, np.ndarray]:
    """Return microjoules of what was done, by part.

    Args:
        done: numbers, or arrays that broadcast with the constants.
        constants: (cases,) each.
    """
    return {
        "synaptic": done.synops * constants["synop_energy"] / PICO,
        "neuron": (
            (done.updates + done.idle) * constants["update_energy"]
            + (done.instructions + done.idle * IDLE_INSTRUCTIONS) * constants["instruction_energy"]
        )
        / PICO,
        "communication": (
            done.messages * constants["message_energy"]
            + done.hops * constants["hop_energy"]
            + done.crossings * constants["crossing_energy"]
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
    """Return microjoules a token, by scope and by part and in all, (cases,) each.

    Args:
        demand: of a mode.
        constants: (cases,) each.
        busy: (cases,) microseconds that the cores in use run for a token.
        lasting: (cases,) microseconds from a token to the next: longer than ``busy`` where the
            chip waits for its input.
    """
    done = dynamic_energies(demand.operations, constants)
    running = demand.cores * constants["core_power"] * busy
    found = {}
    for scope, power in idle_power(demand, constants).items():
        parts = {**done, "static": power * lasting + running}
        found[scope] = {**parts, "total": np.sum(list(parts.values()), axis=0)}
    return found
