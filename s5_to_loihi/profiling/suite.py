"""Micro-benchmarks that tell the constants of the cost model apart on a board.

Each is a small network that makes one term of ``loihi2/timing.py`` the longest: the barrier on
more and more cores and chips, updates of programs of several lengths, synaptic operations, words
of synapses, and messages on links. All run pipelined and get the same token in every timestep.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.bundle.core_mapping import CoreMapping
from s5_to_loihi.fixed_point import Format, Integers
from s5_to_loihi.loihi2.deliveries import deliveries
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.profiling.demand import Demand, demands
from s5_to_loihi.profiling.estimate import shortened
from s5_to_loihi.profiling.profile import evaluate_recording
from s5_to_loihi.simulators.interpreter import Mode

#: Timesteps that a board repeats while it measures (``backends/board_worker.py``).
TOKENS = 64
#: Kinds of neurons whose programs have from 1 to 74 instructions, most with all ports connected.
PROGRAMS = ("gate", "residual", "norm", "output", "state", "full_gate", "scaled_state")
FIRST_PORT_ONLY = ("gate", "residual")
_MESSAGE = Format(16, 8)


@dataclass(frozen=True, eq=False)
class Experiment:
    """A network to run on a board.

    Attributes:
        name: of its folder: the family, and what differs within it.
        network: with phases.
        active: whether input tokens are other than zero.
        cores: group -> (neurons,) core; a board's own compiler may place them differently.
    """

    name: str
    network: Network
    active: bool
    cores: dict[str, np.ndarray]

    @property
    def family(self) -> str:
        """What is varied in experiments of this family."""
        return self.name.split("-")[0]

    @property
    def tokens(self) -> np.ndarray:
        """(TOKENS, 1, features) the input."""
        return np.full((TOKENS, 1, self.network.input_size), 100 * self.active, dtype=np.int64)

    def mapping(self, system: System) -> CoreMapping:
        """Return where its neurons are meant to lie."""
        return CoreMapping(
            system=system.name,
            cores_per_chip=int(system.chip.cores.value),
            objective="latency",
            seed=0,
            rates="the same token in every timestep",
            cores=self.cores,
            timestep=(0.0, 0.0, 0.0),
        )

    def demand(self, system: System) -> Demand:
        """Return what a timestep demands, where its neurons lie as they are meant to."""
        recording = record(self.network, self.tokens)
        evaluation = evaluate_recording(self.network, recording, self.mapping(system), system)
        table = deliveries(evaluation.work, evaluation.loads.core_of)
        found = demands(recording, evaluation, table)[Mode.PIPELINED]
        return shortened(found, 1)


def experiments(system: System) -> Iterator[Experiment]:
    """Yield the suite for a system; what needs several chips only where there are."""
    usable, chips = int(system.chip.usable_cores.value), int(system.chips.value)
    for cores in (1, 8, 32, min(100, usable)):
        yield _updating(f"barrier-{cores}", "residual", 4, range(cores))
    for kind in PROGRAMS:
        for neurons in (300, 900):
            yield _updating(f"updates-{kind}-{neurons}", kind, neurons, range(4))
    for features in (96, 192, 384):
        yield _fed(f"synops-{features}", features, 64, 64)
    for features, fan in ((4000, 1), (8000, 1), (6000, 2)):
        yield _fed(f"words-{features}-{fan}", features, 64, fan)
    for neurons, cores in ((300, 60), (400, 50), (400, 60)):
        yield _sending(f"links-{neurons}-{cores}", neurons, range(4, 4 + cores))
    per_chip = int(system.chip.cores.value)
    for count in (2, 4, 8, 16, 32):
        if count <= chips:
            first = [chip * per_chip for chip in range(count)]
            yield _updating(f"chips-{count}", "residual", 4, first)


def _updating(name: str, kind: str, neurons: int, cores) -> Experiment:
    """So many neurons of a kind on each core, which update on nothing."""
    cores = list(cores)
    size = neurons * len(cores)
    builder = NetworkBuilder(name, 1, _MESSAGE)
    _group(builder, "group", kind, {None: np.ones((size, 1), dtype=np.int8)})
    placed = {"group": np.repeat(np.array(cores, dtype=np.int32), neurons)}
    return Experiment(name, _finished(builder, "group"), False, placed)


def _fed(name: str, features: int, neurons: int, fan: int) -> Experiment:
    """Neurons of one core, with so many synapses from each feature of the input."""
    builder = NetworkBuilder(name, features, _MESSAGE)
    columns = np.repeat(np.arange(features), fan)
    rows = (columns * fan + np.tile(np.arange(fan), features)) % neurons
    weights = np.random.default_rng(0).choice([-20, 20], len(rows)).astype(np.int8)
    matrix = csr_matrix((weights, (rows, columns)), shape=(neurons, features))
    _group(builder, "group", "residual", {None: matrix})
    return Experiment(
        name, _finished(builder, "group"), True, {"group": np.zeros(neurons, dtype=np.int32)}
    )


def _sending(name: str, neurons: int, cores) -> Experiment:
    """Neurons of one core that all send to one neuron of each of other cores."""
    cores = list(cores)
    builder = NetworkBuilder(name, 1, _MESSAGE)
    _group(builder, "from", "dense", {None: np.ones((neurons, 1), dtype=np.int8)})
    source = Endpoint("from", "activation")
    _group(builder, "to", "residual", {source: np.ones((len(cores), neurons), dtype=np.int8)})
    placed = {
        "from": np.zeros(neurons, dtype=np.int32),
        "to": np.array(cores, dtype=np.int32),
    }
    return Experiment(name, _finished(builder, "to"), False, placed)


def _group(builder: NetworkBuilder, name: str, kind_name: str, synapses: dict) -> None:
    """Add a group with the same synapses at its ports, and constants that matter to nothing.

    ``synapses``: source (None: the input) -> weights.
    """
    kind = KINDS[kind_name]
    ports = kind.ports[:1] if kind_name in FIRST_PORT_ONLY else kind.ports
    for source, weights in synapses.items():
        start = source or Endpoint(INPUT, TOKEN)
        for port in ports:
            builder.connect(f"{name}.{port}", start, Endpoint(name, port), weights)
    size = builder.incoming(name)[0].weights.shape[0]
    constants = _constants(kind.constants, size, np.random.default_rng(0))
    builder.group(name, kind, constants, dict.fromkeys(kind.values, _MESSAGE))


def _constants(cls: type, size: int, rng: np.random.Generator):
    """Return constants of a kind: small positive integers, so that what is sent is not zero."""
    values: dict[str, object] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if hint == Integers:
            values[name] = rng.integers(1, 12, size)
        elif hint is Format:
            values[name] = _MESSAGE
        elif hint is int:
            values[name] = 7 if name == "digit_bits" else 1
        else:
            values[name] = _constants(hint, size, rng)
    return cls(**values)


def _finished(builder: NetworkBuilder, group: str) -> Network:
    kind = builder.readout(Endpoint(group, "")).group(group).kind
    return run_passes(builder.readout(Endpoint(group, kind.messages[0])))
