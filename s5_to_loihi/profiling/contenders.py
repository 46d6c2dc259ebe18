"""Networks side by side on the same chip: the sparse one, its dense twin, another dense one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.backends.activity import count
from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2 import rules
from s5_to_loihi.loihi2.core_mapping import CoreMapping, Objective
from s5_to_loihi.loihi2.evaluation import Evaluation, evaluate
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.loads import COLUMNS
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording
from s5_to_loihi.profiling.published import Published, published
from s5_to_loihi.profiling.profile import Profile, profile_recording
from s5_to_loihi.profiling.quantity import Origin, Quantity

#: The scope that ratios of energies are given in: what the chip's own cores draw.
RATIO_SCOPE = "neurocore rails"


@dataclass(frozen=True, eq=False)
class Contender:
    """A network with what it costs by the model.

    Attributes:
        name: for people.
        what: it is, in a sentence.
        network: itself.
        evaluation: of its mapping.
        profile: its costs.
    """

    name: str
    what: str
    network: Network
    evaluation: Evaluation
    profile: Profile

    @property
    def words(self) -> dict[str, int]:
        """Words of memory over all cores, by resource."""
        return dict(zip(COLUMNS, self.evaluation.loads.words.sum(axis=0).tolist(), strict=True))


def contender(
    name: str,
    what: str,
    network: Network,
    recording: Recording,
    system: System | None,
    objective: Objective,
    seed: int,
    mapping: CoreMapping | None = None,
) -> Contender:
    """Map and profile a network.

    Args:
        name, what: see ``Contender``.
        network: with phases.
        recording: of its messages.
        system: to map onto; if it does not fit, or by default, the smallest listed one that it
            fits.
        objective, seed: of the mapping.
        mapping: onto ``system``, if there is one.

    Raises:
        CapacityError: it fits no listed system.
    """
    if mapping is None:
        try:
            mapping, evaluation = map_network(
                network, recording.rates, system, objective, seed=seed
            )
        except CapacityError:
            mapping, evaluation = map_network(network, recording.rates, None, objective, seed=seed)
        rules.require(evaluation)
    else:
        work = workload(network, recording.rates, system.chip)
        evaluation = evaluate(work, mapping.core_of(network), system)
    profile = profile_recording(network, recording, mapping, evaluation.system, seed=seed)
    return Contender(name, what, network, evaluation, profile)


def always_active(network: Network, recording: Recording) -> Recording:
    """Return the recording of a token at which every neuron sends a message: nothing is silent.

    Args:
        network: of the recording.
        recording: whose messages to take.
    """
    ones = {name: np.ones((1, 1, size), dtype=bool) for name, size in recording.sizes.items()}
    return replace(
        recording,
        origin="assumed: every neuron sends a message at every token",
        sent=np.ones((1, 1, recording.sent.shape[2]), dtype=bool),
        activity=count(network, ones),
    )


@dataclass(frozen=True)
class Ratio:
    """How much more the other network takes, or how much memory the sparse one saves.

    Attributes:
        name: of what.
        ratio: the number; its range is that of the model's constants, the same for both networks.
        claim: what the paper says of it; None if it says nothing.
        same, different: what the two numbers have in common, and what not.
    """

    name: str
    ratio: Quantity
    claim: Published | None
    same: str
    different: str


def ratios(sparse: Contender, other: Contender) -> tuple[Ratio, ...]:
    """Compare a sparse network with another one, beside what arXiv 2502.01330 says."""
    claims = published()
    device = "ours: two networks on Loihi 2 by the model; paper: Loihi 2 against Jetson Orin Nano"
    accuracy = (
        "ours: other network as given; paper: a wide sparse and a narrow dense network of equal"
        " accuracy"
    )
    falling, other_falling = (one.profile.modes["fall-through"] for one in (sparse, other))
    flowing, other_flowing = (one.profile.modes["pipelined"] for one in (sparse, other))
    source = f"{other.name} / {sparse.name}; {sparse.profile.source}"
    counted = "a token, mean over the same input"

    def exact(name: str, value: float, unit: str, scope: str) -> Quantity:
        return Quantity(value, value, value, unit, scope, Origin.MODELLED, source)

    words, other_words = sparse.words, other.words
    return (
        Ratio(
            "synaptic operations",
            exact(
                "synops",
                other.profile.activity.synops.value / sparse.profile.activity.synops.value,
                "x",
                counted,
            ),
            claims["compute_ratio"],
            "operations of the networks, whatever runs them",
            accuracy,
        ),
        Ratio(
            "weights stored",
            exact("", 100 * (1 - sparse.network.synapse_count / other.network.synapse_count), "% saved", "synapses, without where they lead"),
            claims["memory_saving"],
            "entries of the matrices, indices not counted",
            accuracy,
        ),
        Ratio(
            "synaptic memory",
            exact("", 100 * (1 - words["Synapses"] / other_words["Synapses"]), "% saved", "64-bit words of all cores, with indices and headers"),
            claims["memory_saving"],
            "memory for weights",
            "ours counts indices, which sparse rows need as dense ones do on this chip; " + accuracy,
        ),
        Ratio(
            "all memory",
            exact("", 100 * (1 - words["Total"] / other_words["Total"]), "% saved", "words of all cores: synapses, neurons, axons"),
            None,
            "",
            "",
        ),
        Ratio(
            "latency, fall-through",
            _ratio(other_falling.latency, falling.latency, source),
            claims["latency_ratio"],
            "time from a token to its output, a token at a time",
            device + "; " + accuracy,
        ),
        Ratio(
            "time per token, pipelined",
            _ratio(other_flowing.timestep, flowing.timestep, source),
            None,
            "",
            "",
        ),
        Ratio(
            "energy per token, fall-through",
            _ratio(
                other_falling.energy[RATIO_SCOPE].total, falling.energy[RATIO_SCOPE].total, source
            ),
            claims["energy_ratio"],
            "energy of a token, a token at a time",
            device + "; " + accuracy,
        ),
        Ratio(
            "energy per token, pipelined",
            _ratio(
                other_flowing.energy[RATIO_SCOPE].total, flowing.energy[RATIO_SCOPE].total, source
            ),
            None,
            "",
            "",
        ),
    )


def _ratio(numerator: Quantity, denominator: Quantity, source: str) -> Quantity:
    """Divide two numbers of the model, case by case: all constants low, as given, high."""
    cases = [
        getattr(numerator, case) / getattr(denominator, case) for case in ("low", "value", "high")
    ]
    scope = f"{numerator.scope}; the same constants in both"
    return Quantity(cases[1], min(cases), max(cases), "x", scope, Origin.MODELLED, source)
