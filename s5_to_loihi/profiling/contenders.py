"""Networks side by side on the same chip: the sparse one, its dense twin, another dense one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.bundle.core_mapping import CoreMapping
from s5_to_loihi.errors import CapacityError
from s5_to_loihi.loihi2.evaluation import MappingEvaluation
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.loihi2.mapper import map_on_cores
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import Recording
from s5_to_loihi.profiling.baselines import Baseline
from s5_to_loihi.profiling.dense_twin import dense_twin
from s5_to_loihi.profiling.estimate import LATENCY, MOST, TIMESTEP, Estimate, energy_name
from s5_to_loihi.profiling.profile import Profile, evaluate_recording, profile_recording
from s5_to_loihi.profiling.published import Published, published
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.simulators.activity import count

#: The scope that ratios of energies are given in: what the chip's own cores draw.
RATIO_SCOPE = "neurocore rails"
#: The scope beside a processor's or a GPU's own counter, which covers more than its cores.
DEVICE_SCOPE = "board"


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
    evaluation: MappingEvaluation
    profile: Profile

    @property
    def words(self) -> dict[Resource, int]:
        """Words of memory over all cores."""
        return dict(zip(Resource, self.evaluation.loads.words.sum(axis=0).tolist(), strict=True))


def contender(
    name: str,
    what: str,
    network: Network,
    recording: Recording,
    mapping: CoreMapping,
    system: System,
    seed: int,
    curve: bool = False,
) -> Contender:
    """Profile a network where it is mapped.

    Args:
        name, what: see ``Contender``.
        network: with phases.
        recording: of its messages.
        mapping: onto ``system``.
        system: whose constants to use.
        seed: of the drawn constants; with the same one, networks are compared for the same choices.
        curve: see ``profile_recording``.
    """
    evaluation = evaluate_recording(network, recording, mapping, system)
    profile = profile_recording(network, recording, mapping, system, seed=seed, curve=curve)
    return Contender(name, what, network, evaluation, profile)


def twins(sparse: Contender, recording: Recording, seed: int) -> tuple[Contender, ...]:
    """Return the dense twin with the messages of the network, and with all messages.

    It is mapped anew, onto as many cores as the network uses, or if its synapses need more, onto
    the fewest; on the same system, or if that is too small, on the smallest listed one.

    Args:
        sparse: the network.
        recording: of its messages.
        seed: of the mapping.

    Raises:
        CapacityError: the twin fits no listed system.
    """
    twin = dense_twin(sparse.network)
    same = replace(recording, activity=count(twin, recording.messages))
    cores = sparse.evaluation.loads.cores
    try:
        mapping, evaluation = map_on_cores(twin, same.rates, sparse.evaluation.system, cores, seed)
    except CapacityError:
        mapping, evaluation = map_on_cores(twin, same.rates, None, cores, seed)
    used, system = evaluation.loads.cores, evaluation.system
    place = f"on as many cores, {used:,}" if used == cores else f"on {used:,} cores, the fewest"
    return (
        contender(
            "dense twin",
            f"the same integers with every zero stored as a synapse, the same messages, {place}",
            *(twin, same, mapping, system, seed),
        ),
        contender(
            "dense twin, all active",
            f"every zero stored, and every neuron sends a message at every token, {place}",
            *(twin, always_active(twin, recording), mapping, system, seed),
        ),
    )


def always_active(network: Network, recording: Recording) -> Recording:
    """Return the recording of a token at which every neuron sends a message: nothing is silent.

    Args:
        network: of the recording.
        recording: whose messages to take.
    """
    active = replace(
        recording,
        origin="assumed: every neuron sends a message at every token",
        sent=np.ones((1, 1, recording.sent.shape[2]), dtype=bool),
    )
    return replace(active, activity=count(network, active.messages))


@dataclass(frozen=True)
class Ratio:
    """How much more the other network takes, or how much memory the sparse one saves.

    Attributes:
        name: of what.
        ratio: the number; of modelled times and energies the range holds nine of ten choices of the
            model's constants, the same ones for both networks.
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
    accuracy = (
        "paper: a wide sparse and a narrow dense network of equal accuracy; here: the dense twin is"
        " as wide as the sparse network and computes the same integers"
    )
    device = "paper: dense on Jetson Orin Nano, sparse on Loihi 2, measured; here: both on Loihi 2"
    source = f"{other.name} / {sparse.name}; {sparse.profile.source}"

    def saved(own: int, others: int, scope: str) -> Quantity:
        share = 100 * (1 - own / others)
        return Quantity.exact(share, "% saved", scope, Origin.MODELLED, source)

    def saved_words(resource: Resource, scope: str) -> Quantity:
        return saved(sparse.words[resource], other.words[resource], scope)

    def times(name: str, mode: str, figure: str, claim: str) -> Ratio:
        theirs, ours = (one.profile.estimates[mode] for one in (other, sparse))
        same = "a token at a time" if claim else ""
        different = f"{device}; {accuracy}" if claim else ""
        ratio = _ratio(figure, theirs, ours, source)
        return Ratio(f"{name}, {mode}", ratio, claims.get(claim), same, different)

    synops = other.profile.activity.synops.value / sparse.profile.activity.synops.value
    memory = claims["memory_saving"]
    return (
        Ratio(
            "synaptic operations",
            Quantity.exact(synops, "x", "a token, mean", Origin.MODELLED, source),
            claims["compute_ratio"],
            "operations of the networks, whatever runs them",
            accuracy,
        ),
        Ratio(
            "weights stored",
            saved(sparse.network.synapse_count, other.network.synapse_count, "synapses"),
            memory,
            "entries of the matrices, indices not counted",
            accuracy,
        ),
        Ratio(
            "synaptic memory",
            saved_words(Resource.SYNAPSES, "64-bit words of all cores"),
            memory,
            "memory for weights",
            f"here with indices, which dense rows need on this chip too; {accuracy}",
        ),
        Ratio(
            "all memory",
            saved_words(Resource.TOTAL, "words: synapses, neurons, axons"),
            None,
            "",
            "",
        ),
        times("latency", "fall-through", LATENCY, "latency_ratio"),
        times("time per token", "pipelined", TIMESTEP, ""),
        times("energy per token", "fall-through", energy_name(RATIO_SCOPE), "energy_ratio"),
        times("energy per token", "pipelined", energy_name(RATIO_SCOPE), ""),
    )


def device_ratios(own: Contender, baseline: Baseline) -> tuple[Ratio, ...]:
    """Compare the float model, a token at a time on some device, with the network on the chip."""
    claims, falling = published(), own.profile.modes["fall-through"]
    pairs = [("latency", baseline.time, falling.latency, claims["latency_ratio"])]
    if baseline.energy is not None:
        total = falling.energy[DEVICE_SCOPE].total
        pairs.append(("energy per token", baseline.energy, total, claims["energy_ratio"]))
    return tuple(
        Ratio(
            f"{name}, dense float model on {baseline.device} / this network",
            Quantity(
                measured.value / modelled.value,
                measured.low / modelled.high,
                measured.high / modelled.low,
                "x",
                f"{measured.scope} / {modelled.scope}",
                Origin.MODELLED,
                f"{baseline.software}, measured; {modelled.source}",
            ),
            claim,
            "dense float model on another device / sparse one on Loihi 2, a token at a time",
            f"here: {baseline.device}, {baseline.software}, a model of the same sizes"
            f" ({measured.scope}), Loihi 2 by the model ({modelled.scope}); paper: Jetson Orin"
            " Nano, a narrower dense model, Loihi 2 measured",
        )
        for name, measured, modelled, claim in pairs
    )


def _ratio(figure: str, numerator: Estimate, denominator: Estimate, source: str) -> Quantity:
    """Divide a figure of the model, choice by choice of the constants."""
    nominal = numerator.quantity(figure)
    value = nominal.value / denominator.quantity(figure).value
    low, _, high = np.percentile(numerator.samples[figure] / denominator.samples[figure], MOST)
    scope = (
        f"{nominal.scope}; percentiles {MOST[0]} and {MOST[2]} of drawn constants, the same in both"
    )
    low, high = min(value, float(low)), max(value, float(high))
    return Quantity(value, low, high, "x", scope, Origin.MODELLED, source)
