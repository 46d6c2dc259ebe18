"""What a token demands of the busiest core and link in each timestep, and of all together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.loihi2.deliveries import Deliveries
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.kernels import row_words, weight_bits
from s5_to_loihi.loihi2.memory import rows_of
from s5_to_loihi.loihi2.placement import Traffic, grid_of, link_loads, routed
from s5_to_loihi.loihi2.resources import Term
from s5_to_loihi.loihi2.timing import Timing
from s5_to_loihi.profiling.activity import Recording
from s5_to_loihi.simulators.interpreter import Mode

#: Links looked at, those that carry most.
LINKS = 256
#: Counts messages on links; times nothing.
_UNIT = Timing(0, 0, 0, 0, message=1, chip_message=1, barrier=0, barrier_per_doubling=0, idle=0)
#: What a demand has arrays of, for each timestep.
COUNTS = ("synops", "words", "messages", "hops", "crossings")


class Operations(NamedTuple):
    """What a token makes the cores do, a mean over tokens: all together, or arrays of parts.

    Attributes:
        synops: synaptic operations.
        updates: of neurons.
        instructions: of those updates.
        idle: neurons in timesteps in which they must not update.
        messages: arriving at cores: one for each core and edge that a message goes to.
        hops: of messages between routers.
        crossings: of messages between chips.
    """

    synops: float | np.ndarray
    updates: float | np.ndarray
    instructions: float | np.ndarray
    idle: float | np.ndarray
    messages: float | np.ndarray
    hops: float | np.ndarray
    crossings: float | np.ndarray


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
        operations: of all cores, a token.
        busiest: what takes time on a core -> for each step the physical core that has most of it,
            in the mean; empty where that is not known.
        cores: in use.
        chips: in use.
        system_chips: of the system.
        gated: whether neurons wait for a token's marker (``network/gating.py``), which costs a
            synop and some instructions each, and a message for each part of a core.
    """

    latency: int
    synops: np.ndarray
    words: np.ndarray
    messages: np.ndarray
    hops: np.ndarray
    crossings: np.ndarray
    updates: tuple[np.ndarray, ...]
    operations: Operations
    busiest: Mapping[Term, tuple[int, ...]]
    cores: int
    chips: int
    system_chips: int
    gated: bool = False

    @property
    def steps(self) -> int:
        """Timesteps of a token's own."""
        return len(self.updates)


def demands(
    recording: Recording, evaluation: MappingEvaluation, table: Deliveries
) -> dict[Mode, Demand]:
    """Return what both modes demand, from recorded messages and a mapping.

    A message costs its synops in the timestep in which it is sent. Pipelined, every phase works on
    another token in a timestep; each sequence is taken as going round, so that every message is
    counted once. Falling through, the token that comes in, and the markers with it, share the last
    timestep of the one before it. Links: the mean of each phase, scaled with the messages of that
    phase and token.

    Args:
        recording: of a network's messages.
        evaluation: of its mapping, with the rates of the recording; the network has phases.
        table: of its messages.
    """
    work, loads, latency = evaluation.work, evaluation.loads, evaluation.work.network.latency
    phases = np.array([group.phase for group in work.network.groups])
    phase_of = np.where(work.sender >= 0, phases[work.group_of[work.sender]], 0)
    # Of markers there is memory only: what they take is added in fall-through.
    phase_of = phase_of[: recording.sent.shape[2]]
    recorded = table.message < len(phase_of)
    table = Deliveries(*(column[recorded] for column in table))
    order = np.argsort(phase_of[table.message], kind="stable")
    ends = np.searchsorted(phase_of[table.message[order]], np.arange(latency + 2))
    by_phase = [
        Deliveries(*(column[order[first:last]] for column in table))
        for first, last in itertools.pairwise(ends)
    ]
    links, crossing = _links(evaluation, by_phase)
    heaviest = np.argsort(-links.sum(axis=1), kind="stable")[:LINKS]

    together: list[np.ndarray] = []
    falling = []
    for phase in range(latency + 1):
        own = np.flatnonzero(phase_of == phase)
        sent = recording.sent[:, :, own].reshape(-1, len(own)).T.astype(np.float32)
        counts = _on_cores(by_phase[phase], work.sender, loads.core_of, own, sent, loads.cores)
        scale = sent.sum(axis=0) / max(sent.sum(axis=0).mean(), 1e-9)
        counts.append(links[heaviest, phase, None] * scale)
        if phase == 0:
            entering = list(map(np.add, counts, _markers(evaluation)))
        else:
            shared = list(map(np.add, counts, entering)) if phase == latency else counts
            falling.append(_busiest(shared, crossing[heaviest]))
        shape = (-1, *recording.sent.shape[:2])
        moved = [np.roll(one.reshape(shape), phase, axis=1) for one in counts]
        together = list(map(np.add, together, moved)) if together else moved
    flat = [one.reshape(len(one), -1) for one in together]

    on_links = (float(links[~crossing].sum()), float(links[crossing].sum()))
    pipelined, every = [_busiest(flat, crossing[heaviest])], np.ones(len(phases), dtype=bool)
    working = [phases == phase for phase in range(1, latency + 1)]
    return {
        Mode.PIPELINED: _demand(evaluation, pipelined, [every], on_links, gated=False),
        Mode.FALL_THROUGH: _demand(evaluation, falling, working, on_links, gated=True),
    }


class _Busiest(NamedTuple):
    """What the fullest core and link has in a timestep, (tokens,) each, and which cores those are.

    In the order of ``COUNTS``; cores are logical ones.
    """

    counts: tuple[np.ndarray, ...]
    cores: dict[Term, int]


def _demand(
    evaluation: MappingEvaluation,
    steps: list[_Busiest],
    active: list[np.ndarray],
    on_links: tuple[float, float],
    gated: bool,
) -> Demand:
    """Put a mode's demand together.

    Args:
        evaluation: of the mapping.
        steps: each timestep of a token.
        active: for each, (groups,) whether a group updates.
        on_links: hops and crossings of a token.
        gated: whether neurons wait for a token's marker.
    """
    loads, constants = evaluation.loads, evaluation.constants()
    updates = [_updates(evaluation, groups, gated) for groups in active]
    busiest = {term: [step.cores[term] for step in steps] for term in steps[0].cores}
    busiest[Term.UPDATES] = [int(constants.updates(*cores.T).argmax()) for cores in updates]
    neurons = evaluation.work.neurons
    return Demand(
        latency=evaluation.work.network.latency,
        **dict(zip(COUNTS, map(np.stack, zip(*(one.counts for one in steps), strict=True)),
                   strict=True)),
        updates=tuple(np.unique(cores, axis=0) for cores in updates),
        operations=Operations(
            synops=float(loads.synops.sum()) + gated * neurons,
            updates=float(neurons),
            instructions=float((loads.instructions + gated * gate_of_parts(evaluation)).sum()),
            idle=float(neurons * (len(steps) - 1)),
            messages=float(loads.arriving.sum()) + gated * len(loads.group_of_part),
            hops=on_links[0],
            crossings=on_links[1],
        ),
        busiest={
            term: tuple(evaluation.physical[cores].tolist()) for term, cores in busiest.items()
        },
        cores=loads.cores,
        chips=evaluation.chips,
        system_chips=int(evaluation.system.chips.value),
        gated=gated,
    )  # fmt: skip


def gate_of_parts(evaluation: MappingEvaluation) -> np.ndarray:
    """Return the instructions that gates add to the updates of each part of a core: (parts,)."""
    loads = evaluation.loads
    return loads.neurons_of_part * evaluation.work.gate_instructions[loads.group_of_part]


def _markers(evaluation: MappingEvaluation) -> list[np.ndarray]:
    """Return what the markers of a token cost each core, as ``_on_cores``, and links: (cores, 1).

    One message for each part of a core, with a synapse of one bit to each of its neurons. Links
    are left out, as for all that comes from the input.
    """
    loads = evaluation.loads
    own = loads.neurons_of_part
    words = row_words(own, weight_bits(1, 1), own, rows_of(evaluation.system.chip))
    on_parts = np.stack([own, words, np.ones_like(own), np.zeros_like(own)])
    on_cores = loads.of_cores(on_parts.T).T.astype(np.float32)
    return [*on_cores[:, :, None], np.zeros((1, 1), dtype=np.float32)]


def _on_cores(
    table: Deliveries,
    sender: np.ndarray,
    core_of: np.ndarray,
    own: np.ndarray,
    sent: np.ndarray,
    cores: int,
) -> list[np.ndarray]:
    """Return synops, words, messages arriving and messages leaving, each (cores, tokens)."""
    column = np.searchsorted(own, table.message)
    shape, ones = (cores, len(own)), np.ones(len(column))

    def counted(values: np.ndarray, at: np.ndarray, where=slice(None)) -> np.ndarray:
        entries = (values[where].astype(np.float32), (at[where], column[where]))
        return csr_matrix(entries, shape=shape) @ sent

    neuron = sender[table.message]
    return [
        counted(table.synapses, table.core),
        counted(table.words, table.core),
        counted(ones, table.core),
        counted(ones, core_of[neuron], neuron >= 0),
    ]


def _busiest(counts: list[np.ndarray], crossing: np.ndarray) -> _Busiest:
    """Return the largest of what ``_on_cores`` returned and of the links."""
    synops, words, arriving, leaving, links = counts
    messages = np.maximum(arriving, leaving)
    on_links = (links[~crossing].max(axis=0, initial=0), links[crossing].max(axis=0, initial=0))
    on_cores = {Term.SYNOPS: synops, Term.WORDS: words, Term.CORE_LINK: messages}
    return _Busiest(
        (*(one.max(axis=0) for one in on_cores.values()), *on_links),
        {term: int(one.sum(axis=1).argmax()) for term, one in on_cores.items()},
    )


def _updates(evaluation: MappingEvaluation, active: np.ndarray, gated: bool) -> np.ndarray:
    """Return neurons that update, their instructions, and idle neurons, (cores, 3).

    Args:
        evaluation: of the mapping.
        active: (groups,) whether a group updates.
        gated: whether neurons wait for a token's marker.
    """
    loads = evaluation.loads
    instructions = loads.instructions + gated * gate_of_parts(evaluation)
    updating = active[loads.group_of_part]
    columns = (
        loads.neurons_of_part * updating,
        instructions * updating,
        loads.neurons_of_part * ~updating,
    )
    return loads.of_cores(np.stack(columns, axis=1))


def _links(
    evaluation: MappingEvaluation, phases: list[Deliveries]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean messages on links by the phase that sends them, (links, phases).

    Also (links,) whether a link is between chips.

    Args:
        evaluation: of the mapping.
        phases: its messages by the phase that sends them.
    """
    work, system, chip_of_core = evaluation.work, evaluation.system, evaluation.chip_of_core
    rates, sender = work.arrays.rates, work.sender_core(evaluation.loads.core_of)

    def traffic(messages: np.ndarray, ends: np.ndarray) -> Traffic:
        shape = (evaluation.loads.cores, evaluation.loads.cores)  # chips are fewer
        sums = csr_matrix((rates[messages], (sender[messages], ends)), shape=shape).tocoo()
        return Traffic(sums.row, sums.col, sums.data)

    crossing = grid_of(system, _UNIT._replace(message=0)).nanoseconds > 0
    links = np.zeros((len(crossing), len(phases)))
    for phase, table in enumerate(phases):
        sent = (sender[table.message] >= 0) & (rates[table.message] > 0)
        message, core = table.message[sent], table.core[sent]
        away = chip_of_core[core] != chip_of_core[sender[message]]
        # One copy of a message to each chip.
        ends = (message[away], chip_of_core[core[away]])
        copies = csr_matrix(
            (np.ones(len(ends[0]), dtype=bool), ends),
            shape=(len(rates), int(chip_of_core.max()) + 1),
        )
        leaving = traffic(*copies.nonzero())
        flows = routed(traffic(message, core), leaving, evaluation.loads, chip_of_core, system)
        links[:, phase] = link_loads(flows, evaluation.physical, system, _UNIT)
    return links, crossing
