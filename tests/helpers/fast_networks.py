"""Networks to compare the fast simulator on."""

import functools
from collections.abc import Callable
from dataclasses import replace

import golden
import numpy as np
import random_networks
from random_networks import Case
from scipy.sparse import csr_matrix

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export import ExportOptions, to_model
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    frozen_weights,
    identity_weights,
)
from s5_to_loihi.network.neurons.dense import DENSE, DenseConstants
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.passes.pipeline import run_passes


def edited(network: Network, edit: Callable[[Synapses], Synapses | None]) -> Network:
    """The network with some synapses exchanged, or removed where ``edit`` returns None."""
    changed = (edit(synapses) for synapses in network.synapses)
    network = replace(network, synapses=tuple(one for one in changed if one is not None))
    verify(network)
    return network


def without_synapses(network: Network, *names: str) -> Network:
    return edited(network, lambda one: None if one.name in names else one)


def all_zero(network: Network, *names: str) -> Network:
    """The network with synapses that hold no weight; the passes would remove them."""

    def emptied(one: Synapses) -> Synapses:
        if one.name not in names:
            return one
        return replace(one, weights=frozen_weights(csr_matrix(one.weights.shape, dtype=np.int8)))

    return edited(network, emptied)


def without_memory(case: Case) -> Network:
    """A state that does not depend on the token before, so that its registers are not read."""
    sample = random_networks.sample(case)
    for index in range(case.blocks):
        mixer = sample.params["encoder"][f"layers_{index}"]["mixer"]
        mixer["A_real"][:] = mixer["A_imag"][:] = 0
    return random_networks.compiled(case, sample.params, sample.qconfig, sample.exponents).network


def at_the_limit_of_the_state(case: Case) -> Network:
    """One 24-bit state, and weights of C that make the most of the accumulator."""
    sample = random_networks.sample(case)
    mixer = sample.params["encoder"]["layers_0"]["mixer"]
    config = sample.qconfig["encoder"]["layers_0"]["mixer"]
    for part in ("real", "imag"):
        mixer[f"C_{part}"] = np.where(mixer[f"C_{part}"] > 0, 127, -127).astype(np.int32)
        config[f"x_{part[:2]}_exp"] = config[f"Bu_{part[:2]}_exp"] + 9
    return random_networks.compiled(case, sample.params, sample.qconfig, sample.exponents).network


def dense_network(
    weights: np.ndarray, bias=0, shift: int = 8, bits: int = 24, **more: np.ndarray
) -> Network:
    """One group that adds up its input; ``more``: weights of further synapses to its only port."""
    size, features = weights.shape
    result = Format(bits, 12 - shift)
    constants = DenseConstants(
        bias=np.full(size, bias, dtype=np.int64),
        bias_format=Format(16, max(0, result.exponent)),
        accumulator_shift=shift,
        result=result,
        rectified=0,
    )
    group = NeuronGroup(
        "sum", DENSE, size, constants, dict.fromkeys(("activation", "affine"), result),
        {"weighted": 12}, phase=1,
    )  # fmt: skip
    ends = Endpoint(INPUT, TOKEN), Endpoint("sum", "weighted")
    synapses = tuple(
        Synapses(name, *ends, frozen_weights(matrix), 2)
        for name, matrix in ({"weights": weights} | more).items()
    )
    output = Endpoint("sum", "activation")
    network = Network("sums", features, Format(16, 10), (group,), synapses, output)
    verify(network)
    return CheckRanges()(network)


def parallel_synapses() -> Network:
    """Synapses of the same ends whose weights together leave int8; some weights are zero."""
    weights = np.random.default_rng(4).integers(-128, 128, (3, 5))
    with_zeros = csr_matrix(np.ones((3, 5), dtype=np.int8))
    with_zeros.data[::2] = 0
    return dense_network(weights, again=weights, zeros=with_zeros)


def beside_an_identity() -> Network:
    """An identity whose port has other synapses too, so that it cannot be handed on."""
    weights = np.random.default_rng(5).integers(-128, 128, (4, 4))
    return dense_network(weights, shift=2, identity=identity_weights(4))


RICH = "full, mean"
#: name -> how to make it.
NETWORKS: dict[str, Callable[[], Network]] = {
    RICH: lambda: random_networks.sample(
        Case(
            glu="full", conjugate_symmetric=False, readout="mean", sequence_length=300,
            norm="scale_bias", blocks=1, features_in=7, width=6, states=5, seed=11,
        )
    ).network,
    "half1, narrow states": lambda: random_networks.narrowed(
        random_networks.sample(
            Case(norm="scale", readout="last", blocks=1, width=5, density=0.3, seed=12)
        ).network,
        9,
    ),
    "half2, dense": lambda: random_networks.sample(
        Case(
            glu="half2", conjugate_symmetric=False, norm="bias", blocks=1, features_in=2, width=9,
            states=7, features_out=5, density=1.0, seed=13,
        )
    ).network,
    "none, one of everything": lambda: random_networks.sample(
        Case(
            glu="none", readout="mean", sequence_length=5, blocks=1, features_in=1, width=1,
            states=1, features_out=1, density=1.0, seed=14,
        )
    ).network,
    "none, without memory": lambda: without_synapses(
        all_zero(without_memory(Case(glu="none", blocks=1, width=6, seed=18)), "block0.C_im"),
        "block0.D",
    ),
    "half1, nothing arrives or leaves": lambda: without_synapses(
        random_networks.sample(Case(blocks=1, states=3, seed=17)).network,
        "encoder.weight", "block0.B_re", "block0.B_im", "decoder.weight",
    ),
    "none, at the limit of the state": lambda: at_the_limit_of_the_state(
        Case(glu="none", blocks=1, states=1, width=3, features_in=2, density=1.0, seed=35)
    ),
    "parallel synapses": parallel_synapses,
    "beside an identity": beside_an_identity,
    "handed on only": lambda: dense_network(identity_weights(3), shift=0, bits=16),
}  # fmt: skip


@functools.cache
def network(name: str) -> Network:
    """One of ``NETWORKS`` or of the golden sets."""
    if name in NETWORKS:
        return NETWORKS[name]()
    model, _ = to_model(golden.export(name), ExportOptions())
    return run_passes(lower(model))
