"""S5 networks of any size for mapping: random synapses and constants, nothing trained."""

import typing

import numpy as np
from scipy.sparse import csr_matrix

from s5_to_loihi.fixed_point import Format, Integers
from s5_to_loihi.loihi2.rates import Rates
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    identity_weights,
)
from s5_to_loihi.network.neurons import KINDS

MESSAGE, WEIGHT = Format(16, 8), Format(8, 6)


def synthetic_s5(
    width: int, states: int, blocks: int, density: float, features: int = 257, seed: int = 0
) -> Network:
    """A denoiser's graph without norms: encoder, (state, output, gate) a block, decoder.

    Args:
        width, states: H and P (complex states) of a block.
        blocks: how many.
        density: of every matrix.
        features: in and out.
        seed: of weights and constants.
    """
    rng = np.random.default_rng(seed)
    groups, synapses = [], []

    def group(name: str, kind_name: str, size: int) -> None:
        kind = KINDS[kind_name]
        groups.append(
            NeuronGroup(
                name,
                kind,
                size,
                _constants(rng, kind.constants, size),
                dict.fromkeys(kind.values, MESSAGE),
                dict.fromkeys(kind.ports, MESSAGE.exponent + WEIGHT.exponent),
            )
        )

    def edge(name: str, source: str, target: str, weights: csr_matrix, delay: int = 0) -> None:
        start, end = (Endpoint(*one.rsplit(".", 1)) for one in (source, target))
        synapses.append(Synapses(name, start, end, weights, WEIGHT.exponent, delay))

    group("encoder", "dense", width)
    token = f"{INPUT}.{TOKEN}"
    edge("encoder", token, "encoder.weighted", random_weights(rng, width, features, density))
    hidden = "encoder.activation"
    for block in range(blocks):
        state, output, gate = (f"block{block}.{name}" for name in ("state", "output", "gate"))
        group(state, "state", states)
        group(output, "output", width)
        group(gate, "gate", width)
        for part in ("re", "im"):
            drive = random_weights(rng, states, width, density)
            edge(f"block{block}.B_{part}", hidden, f"{state}.bu_{part}", drive)
            projection = random_weights(rng, width, states, density)
            edge(f"block{block}.C_{part}", f"{state}.g_{part}", f"{output}.c_{part}", projection)
        edge(f"block{block}.D", hidden, f"{output}.d", _diagonal(rng, width), 1)
        edge(f"block{block}.value", f"{output}.y", f"{gate}.value", identity_weights_of(width))
        gating = random_weights(rng, width, width, density)
        edge(f"block{block}.W2", f"{output}.gate_input", f"{gate}.gate", gating)
        edge(f"block{block}.residual", hidden, f"{gate}.residual", identity_weights_of(width), 2)
        hidden = f"{gate}.hidden"
    group("decoder", "dense", features)
    edge("decoder", hidden, "decoder.weighted", random_weights(rng, features, width, density))
    return Network(
        name=f"synthetic {width}x{states}x{blocks}",
        input_size=features,
        input_format=MESSAGE,
        groups=tuple(groups),
        synapses=tuple(synapses),
        output=Endpoint("decoder", "activation"),
    )


def random_weights(rng: np.random.Generator, rows: int, columns: int, density: float) -> csr_matrix:
    """(rows, columns) int8 weights other than zero, as many in each row, spread out."""
    count = max(1, round(density * columns))
    strata = np.arange(count, dtype=np.float32) * (columns / count)
    widths = np.diff(np.append(np.floor(strata), columns)).astype(np.int32)
    indices = (rng.random((rows, count), dtype=np.float32) * widths).astype(np.int32)
    indices += np.floor(strata).astype(np.int32)
    data = rng.integers(1, 128, (rows, count), dtype=np.int8)
    data *= rng.choice(np.array([-1, 1], dtype=np.int8), (rows, count))
    pointers = np.arange(rows + 1, dtype=np.int32) * count
    return csr_matrix((data.ravel(), indices.ravel(), pointers), shape=(rows, columns))


def identity_weights_of(size: int) -> csr_matrix:
    """The synapses that hand a message on."""
    return identity_weights(size) if size < 5000 else _diagonal(None, size)


def _diagonal(rng: np.random.Generator | None, size: int) -> csr_matrix:
    data = rng.integers(1, 128, size, dtype=np.int8) if rng else np.ones(size, dtype=np.int8)
    index = np.arange(size + 1, dtype=np.int32)
    return csr_matrix((data, index[:-1], index), shape=(size, size))


def _constants(rng: np.random.Generator, cls: type, size: int):
    values: dict[str, object] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if hint == Integers:
            values[name] = rng.integers(-(2**15), 2**15, size)
        elif hint is Format:
            values[name] = MESSAGE
        elif hint is int:
            values[name] = 1
        else:
            values[name] = _constants(rng, hint, size)
    return cls(**values)


def synthetic_rates(network: Network, seed: int = 0, shape: float = 0.5) -> Rates:
    """Uneven rates, beta distributed: some neurons are nearly silent, some nearly always active."""
    rng = np.random.default_rng(seed)
    rates = {str(one): rng.beta(shape, shape, network.message_size(one)) for one in network.sent}
    return Rates("synthetic, uneven", rates)
