"""Networks with every kind of neuron, and the integers that their programs are tried on."""

import functools
import itertools
import math
from dataclasses import replace

import netx_networks
import numpy as np
import pytest
import random_networks
from float_models import FloatCase, quantized
from hypothesis import strategies as st
from netx_files import CASES
from random_networks import Case

from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.block import as_block
from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.ranges import program as program_of
from s5_to_loihi.network.tracing import Program
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.quantization.precision import Precision

#: Tokens are how S5 takes differences from a netx layer: test_netx_mixed has them.
every_kind = pytest.mark.parametrize("kind", [name for name in KINDS if name != "tokens"])

#: In integers without a width.
OPERATIONS = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "<<": lambda left, right: left << right,
    ">>": lambda left, right: left >> right,
    "&": lambda left, right: left & right,
    "|": lambda left, right: left | right,
    ">": lambda left, right: int(left > right),
    "==": lambda left, right: int(left == right),
    "min": min,
    "max": max,
    "abs": abs,
    "select": lambda condition, left, right: left if condition else right,
}


@functools.cache
def groups_of_all_kinds() -> dict[str, list[tuple[Network, NeuronGroup, Program]]]:
    found = {name: [] for name in KINDS}
    variants = itertools.product(("half1", "half2", "full", "none"), (True, False))
    for seed, (glu, symmetric) in enumerate(variants):
        case = Case(
            glu=glu,
            conjugate_symmetric=symmetric,
            readout="mean",
            sequence_length=(3, 16, 300, 5000)[seed % 4],
            norm=("plain", "scale_bias", "scale", "bias")[seed % 3],
            seed=seed,
        )
        network = random_networks.sample(case).network
        if seed % 2:
            network = random_networks.narrowed(network, 7 + seed)
        for group in network.groups:
            found[group.kind.name].append((network, group, program_of(network, group)))
    blocks = [
        run_passes(as_block(random_networks.sample(Case(seed=seed)).network, seed))
        for seed in (1, 2)
    ]
    for network in (*quantized_networks(), *map(netx_networks.network, CASES), *blocks):
        for group in network.groups:
            found[group.kind.name].append((network, group, program_of(network, group)))
    return found


def quantized_networks() -> list[Network]:
    """Networks of our own quantizer: with one digit, with several, with and without ReLUs."""
    activations = itertools.cycle(Activation)
    precisions = itertools.cycle(
        [Precision(), Precision(weights=12), Precision(weights=8, activations=24), Precision(4, 10)]
    )
    cases = [
        FloatCase(
            glu,
            activation,
            symmetric,
            rectified=rectified,
            blocks=1,
            seed=seed,
            precision=precision,
        )
        for seed, (glu, symmetric, rectified, activation, precision) in enumerate(
            (*variant, next(activations), next(precisions))
            for variant in itertools.product(GluVariant, (True, False), (True, False))
        )
    ]
    cases += [
        FloatCase(
            norm=norm, glus=(GluVariant.HALF1, GluVariant.NONE, GluVariant.FULL), blocks=3,
            prenorm=False, mixed=True, activation=Activation.LEAKY_RELU, seed=seed,
            precision=next(precisions),
        )
        for seed, norm in enumerate(("layer", "rms"))
    ]  # fmt: skip
    cases += [
        FloatCase(feed_forward="gated", blocks=2, ends=ends, seed=seed, precision=next(precisions))
        for seed, ends in enumerate(("neither", "both"))
    ]
    # Groups of these kinds are rarer.
    cases += [FloatCase(norm="rms", glu=GluVariant.NONE, blocks=2, seed=seed) for seed in (1, 2)]
    cases += [
        FloatCase(blocks=1, rectified=rectified, seed=seed, precision=replace(one, lean=True))
        for seed, (rectified, one) in enumerate(
            [(True, Precision()), (False, Precision(weights=12, activations=24))]
        )
    ]
    return [quantized(case).network for case in cases]


def updated(group: NeuronGroup, neuron: int, sources: dict[str, int]) -> dict[str, int]:
    """What the neuron's own definition computes."""
    accumulators, registers = (
        tuple(np.full(group.size, sources[name], dtype=np.int64) for name in names)
        for names in (group.kind.ports, group.kind.state)
    )
    state, messages, probes = group.kind.update(accumulators, registers, group.constants)
    values = zip(group.kind.values, state + messages + probes, strict=True)
    return {name: int(np.broadcast_to(value, group.size)[neuron]) for name, value in values}


#: More corners than this are drawn from at random.
MOST_CORNERS = 700


def corners(intervals: dict[str, tuple[int, int]]) -> list[tuple[int, ...]]:
    """Combinations of extreme values of all sources: all of them or many, always the outermost."""
    values = [extremes(*interval) for interval in intervals.values()]
    if math.prod(map(len, values)) <= MOST_CORNERS:
        return list(itertools.product(*values))
    rng = np.random.default_rng(len(intervals))
    outermost = [(one[0], one[-1]) for one in values]
    chosen = [
        tuple(one[rng.integers(len(one))] for one in which)
        for which, count in ((outermost, MOST_CORNERS // 2), (values, MOST_CORNERS // 2))
        for _ in range(count)
    ]
    return [tuple(one[0] for one in values), tuple(one[-1] for one in values), *chosen]


def extremes(lowest: int, highest: int) -> list[int]:
    return sorted({max(lowest, min(highest, one)) for one in (lowest, -1, 0, 1, highest)})


def anywhere(lowest: int, highest: int):
    """Integers of an interval, of all magnitudes: a shift leaves nothing of the small ones."""
    near_zero = [
        st.integers(max(lowest, -(1 << bits)), min(highest, 1 << bits))
        for bits in (2, 10, 17, 24)
        if lowest <= 1 << bits
    ]
    return st.one_of(st.integers(lowest, highest), st.sampled_from([lowest, highest]), *near_zero)
