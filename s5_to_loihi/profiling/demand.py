"""What a token demands of the busiest core and link in each timestep, and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.loihi2.deliveries import Deliveries
from s5_to_loihi.loihi2.evaluation import Evaluation
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.placement import grid_of
from s5_to_loihi.loihi2.timing import Timing
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording
from s5_to_loihi.simulators.interpreter import Mode

#: Links looked at, those that carry most.
LINKS = 256
#: Counts messages on links; times nothing.
_UNIT = Timing(0, 0, 0, 0, message=1, chip_message=1, barrier=0, barrier_per_doubling=0)


@dataclass(frozen=True, eq=False)
class Totals:
    """What a token makes all cores do together, a mean over tokens.

    Attributes:
        synops: synaptic operations.
        updates: of neurons.
        instructions: of those updates.
        idle: neurons in timesteps in which they must not update.
        messages: arriving at cores: one for each core and edge that a message goes to.
        hops: of messages between routers.
        crossings: of messages between chips.
    """

    synops: float
    updates: float
    instructions: float
    idle: float
    messages: float
    hops: float
    crossings: float


@dataclass(frozen=True, eq=False)
class Demand:
    """A mode of a mapped network, as the cost model sees it.

    A token takes ``steps`` timesteps of its own: one if tokens are pipelined, as many as the
    latency if it falls through.

    Attributes:
        latency: timesteps from a token's entry to its output.
        synops, words, messages: (steps, tokens) of the core that has most of them.
        hops, crossings: (steps, tokens) messages on the fullest link between routers; chips.
        updates: for each step, (cores, 3) neurons that update on a core, instructions that they
            run, and idle neurons; cores alike are given once.
        totals: of all cores, a token.
        busiest: ``updates``, ``synops``, ``words`` or ``messages`` -> for each step the physical
            core that has most of them, in the mean; None where that is not known.
        cores: in use.
        chips: in use.
        system_chips: of the system.
    """

    latency: int
    synops: np.ndarray
    words: np.ndarray
    messages: np.ndarray
    hops: np.ndarray
    crossings: np.ndarray
    updates: tuple[np.ndarray, ...]
    totals: Totals
    busiest: Mapping[str, tuple[int, ...]] | None
    cores: int
    chips: int
    system_chips: int

    @property
    def steps(self) -> int:
        """Timesteps of a token's own."""
        return len(self.updates)


def demands(
    network: Network, recording: Recording, evaluation: Evaluation, table: Deliveries
) -> dict[Mode, Demand]:
    """Return what both modes demand, from recorded messages and a mapping.

    A message costs its synops in the timestep in which it is sent. Pipelined, every phase works on
    another token in a timestep; each sequence is taken as going round, so that every message is
    counted once. Falling through, the token that comes in shares the last timestep of the one
    before it. Links: the mean of each phase, scaled with the messages of that phase and token.

    Args:
        network: with phases.
        recording: of its messages.
        evaluation: of its mapping, with the rates of the recording.
        table: of its messages.
    """
    work, loads, latency = evaluation.work, evaluation.loads, network.latency
    phases = np.array([group.phase for group in network.groups])
    phase_of = np.where(work.sender >= 0, phases[work.group_of[work.sender]], 0)
    links, crossing = _links(evaluation, phase_of, latency)
    heaviest = np.argsort(-links.sum(axis=1), kind="stable")[:LINKS]

    together, falling = None, []
    for phase in range(latency + 1):
        own = np.flatnonzero(phase_of == phase)
        sent = recording.sent[:, :, own].reshape(-1, len(own)).T.astype(np.float32)
        counts = _on_cores(table, work.sender, loads.core_of, own, sent, loads.cores)
        scale = sent.sum(axis=0) / max(sent.sum(axis=0).mean(), 1e-9)
        counts.append(links[heaviest, phase, None] * scale)
        if phase == 0:
            entering = counts
        else:
            shared = list(map(np.add, counts, entering)) if phase == latency else counts
            falling.append(_largest(shared, crossing[heaviest]))
        shape = (-1, *recording.sent.shape[:2])
        moved = [np.roll(one.reshape(shape), phase, axis=1) for one in counts]
        together = moved if together is None else list(map(np.add, together, moved))
    flat = [one.reshape(len(one), -1) for one in together]

    work_on_links = (float(links[~crossing].sum()), float(links[crossing].sum()))
    every = np.ones(len(phases), dtype=bool)
    return {
        Mode.PIPELINED: _demand(
            evaluation, latency, [_largest(flat, crossing[heaviest])], [every], work_on_links
        ),
        Mode.FALL_THROUGH: _demand(
            evaluation,
            latency,
            falling,
            [phases == phase for phase in range(1, latency + 1)],
            work_on_links,
        ),
    }


def _demand(
    evaluation: Evaluation,
    latency: int,
    steps: list[dict[str, np.ndarray | int]],
    active: list[np.ndarray],
    work_on_links: tuple[float, float],
) -> Demand:
    """Put a mode's demand together.

    Args:
        evaluation: of the mapping.
        latency: timesteps from a token's entry to its output.
        steps: what ``_largest`` returned for each timestep of a token.
        active: for each, (groups,) whether a group updates.
        work_on_links: hops and crossings of a token.
    """
    loads, constants = evaluation.loads, evaluation.constants()
    updates = [_updates(evaluation, groups) for groups in active]
    times = [constants.update, constants.instruction, constants.update]
    busiest = {"updates": [int((cores @ times).argmax()) for cores in updates]}
    for name in ("synops", "words", "messages"):
        busiest[name] = [step[f"{name}_core"] for step in steps]
    counts = ("synops", "words", "messages", "hops", "crossings")
    neurons = evaluation.work.neurons
    return Demand(
        latency=latency,
        **{name: np.stack([step[name] for step in steps]) for name in counts},
        updates=tuple(np.unique(cores, axis=0) for cores in updates),
        totals=Totals(
            synops=float(loads.synops.sum()),
            updates=float(neurons),
            instructions=float(loads.instructions.sum()),
            idle=float(neurons * (len(steps) - 1)),
            messages=float(loads.arriving.sum()),
            hops=work_on_links[0],
            crossings=work_on_links[1],
        ),
        busiest={
            name: tuple(evaluation.physical[cores].tolist()) for name, cores in busiest.items()
        },
        cores=loads.cores,
        chips=evaluation.chips,
        system_chips=int(evaluation.system.chips.value),
    )


def _on_cores(
    table: Deliveries,
    sender: np.ndarray,
    core_of: np.ndarray,
    own: np.ndarray,
    sent: np.ndarray,
    cores: int,
) -> list[np.ndarray]:
    """Return synops, words, messages arriving and messages leaving, each (cores, tokens)."""
    rows = np.isin(table.message, own)
    column = np.searchsorted(own, table.message[rows])
    shape, ones = (cores, len(own)), np.ones(rows.sum())

    def counted(values: np.ndarray, at: np.ndarray, where=slice(None)) -> np.ndarray:
        entries = (values[where].astype(np.float32), (at[where], column[where]))
        return csr_matrix(entries, shape=shape) @ sent

    neuron = sender[table.message[rows]]
    return [
        counted(table.synapses[rows], table.core[rows]),
        counted(table.words[rows], table.core[rows]),
        counted(ones, table.core[rows]),
        counted(ones, core_of[neuron], neuron >= 0),
    ]


def _largest(counts: list[np.ndarray], crossing: np.ndarray) -> dict[str, np.ndarray | int]:
    """Return what the fullest core and link has, (tokens,) each, and which core that is."""
    synops, words, arriving, leaving, links = counts
    of_cores = {"synops": synops, "words": words, "messages": np.maximum(arriving, leaving)}
    return {
        **{name: one.max(axis=0) for name, one in of_cores.items()},
        **{f"{name}_core": int(one.sum(axis=1).argmax()) for name, one in of_cores.items()},
        "hops": links[~crossing].max(axis=0, initial=0),
        "crossings": links[crossing].max(axis=0, initial=0),
    }


def _updates(evaluation: Evaluation, active: np.ndarray) -> np.ndarray:
    """Return neurons that update, their instructions, and idle neurons, (cores, 3).

    Args:
        evaluation: of the mapping.
        active: (groups,) whether a group updates.
    """
    loads = evaluation.loads
    updating = active[loads.group_of_part]
    columns = (
        loads.neurons_of_part * updating,
        loads.instructions * updating,
        loads.neurons_of_part * ~updating,
    )
    return loads.of_cores(np.stack(columns, axis=1))


def _links(
    evaluation: Evaluation, phase_of: np.ndarray, latency: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean messages on links by the phase that sends them, (links, latency + 1).

    Also (links,) whether a link is between chips.
    """
    work, system = evaluation.work, evaluation.system
    crossing = grid_of(system, _UNIT._replace(message=0)).nanoseconds > 0
    links = np.zeros((len(crossing), latency + 1))
    for phase in range(1, latency + 1):
        rates = np.where(phase_of == phase, work.arrays.rates, 0.0)
        masked = replace(work, arrays=work.arrays._replace(rates=rates))
        loads = measure(masked, evaluation.loads.core_of, system.chip)
        links[:, phase] = replace(evaluation, work=masked, loads=loads).links(_UNIT)
    return links, crossing
