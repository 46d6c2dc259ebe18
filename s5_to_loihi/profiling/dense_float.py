"""The float S5 model that a network stands for, as dense float32 matrices in any array library.

How long it takes depends on the sizes alone, so the weights are random. It does all that the float
model does, in the form that a CPU or GPU likes best: real and imaginary parts of B and C side by
side in one matrix, batch norm as one multiply-add, no matrix entry skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.network.network import Network


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model.

    Attributes:
        features, outputs: of a token.
        width: of a block.
        states: complex states of a block.
        blocks: how many.
        encoder, decoder: whether there is one.
        gate, value: whether blocks have W2, and W1.
    """

    features: int
    outputs: int
    width: int
    states: int
    blocks: int
    encoder: bool
    decoder: bool
    gate: bool
    value: bool

    def __str__(self):
        return f"{self.blocks} blocks of width {self.width} with {self.states} complex states"

    @property
    def weights(self) -> int:
        """Entries of all matrices, zeros included."""
        of_block = self.width * (4 * self.states + self.width * (self.gate + self.value))
        ends = self.features * self.encoder + self.outputs * self.decoder
        return self.blocks * of_block + self.width * ends


def sizes_of(network: Network) -> Sizes:
    """Return the sizes of the float model that a network stands for.

    Raises:
        InputError: it has no blocks with states, or neurons of netx's.
    """
    if not is_s5(network):
        raise InputError(
            f"network {network.name}", "has no state-space model", "Give an S5 network"
        )
    recurrent = [group for group in network.groups if group.kind.recurrence is not None]
    state = recurrent[0]
    width = next(
        network.group(synapses.target.group).size
        for synapses in network.synapses
        if synapses.source.group == state.name
    )
    groups = {group.name for group in network.groups}
    matrices = {part for synapses in network.synapses for part in synapses.name.split(".")}
    return Sizes(
        features=network.input_size,
        outputs=network.output_size,
        width=width,
        states=state.size,
        blocks=len(recurrent),
        encoder="encoder" in groups,
        decoder="decoder" in groups,
        gate="W2" in matrices,
        value="W1" in matrices,
    )


def is_s5(network: Network) -> bool:
    """Tell whether a network stands for an S5 model alone, without layers of netx."""
    states = any(group.kind.recurrence is not None for group in network.groups)
    return states and not any(group.kind.wraps for group in network.groups)


def weights_of(network: Network) -> int:
    """Return the entries of all matrices of a network's model, zeros included."""
    if is_s5(network):
        return sizes_of(network).weights
    return sum(int(np.prod(one.weights.shape)) for one in network.synapses)


def random_weights(sizes: Sizes, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Return float32 weights by name, of encoder and decoder, then of each block.

    Matrices are (in, out); eigenvalues lie within the unit circle.
    """
    random = np.random.default_rng(seed)
    h, p = sizes.width, sizes.states

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)

    def vector(size: int) -> np.ndarray:
        return random.normal(0, 0.1, size).astype(np.float32)

    ends: dict[str, np.ndarray] = {}
    blocks = []
    if sizes.encoder:
        ends |= {"encoder": matrix(sizes.features, h), "encoder_bias": vector(h)}
    if sizes.decoder:
        ends |= {"decoder": matrix(h, sizes.outputs), "decoder_bias": vector(sizes.outputs)}
    for _ in range(sizes.blocks):
        angle, radius = random.uniform(0, np.pi, p), random.uniform(0.8, 0.99, p)
        block = {
            "scale": 1 + vector(h),
            "shift": vector(h),
            "a_re": (radius * np.cos(angle)).astype(np.float32),
            "a_im": (radius * np.sin(angle)).astype(np.float32),
            # States of unit variance, and blocks that add little: nothing overflows behind many.
            "b": matrix(h, 2 * p) * np.tile(np.sqrt(1 - radius**2), 2).astype(np.float32),
            "c": matrix(2 * p, h) / np.float32(sizes.blocks),
            "d": vector(h),
        }
        for name, present in (("gate", sizes.gate), ("value", sizes.value)):
            if present:
                block |= {name: matrix(h, h), f"{name}_bias": vector(h)}
        blocks.append(block)
    return [ends, *blocks]


def advance(a, before, drive):
    """Return ``a x + drive``, all as pairs of real and imaginary part."""
    return (
        a[0] * before[0] - a[1] * before[1] + drive[0],
        a[0] * before[1] + a[1] * before[0] + drive[1],
    )


def scan(library, a, drive):
    """Return all states of a sequence from zero in log2(T) passes over its first axis.

    Each pass adds the states that lie ``offset`` tokens back: ``x[t] += a**offset x[t - offset]``.
    """
    offset = 1
    while offset < len(drive[0]):
        later = advance(a, [part[:-offset] for part in drive], [part[offset:] for part in drive])
        drive = [
            library.concatenate([before[:offset], after])
            for before, after in zip(drive, later, strict=True)
        ]
        a = (a[0] * a[0] - a[1] * a[1], 2 * a[0] * a[1])
        offset *= 2
    return drive


def sequence(library, sizes: Sizes, weights, tokens, recurrence=scan):
    """Return the outputs of whole sequences, (T, N, F) -> (T, N, outputs), from a zero state.

    Args:
        library: numpy, jax.numpy or torch.
        sizes: of the model.
        weights: of ``random_weights``, as arrays of the library.
        tokens: an array of the library.
        recurrence: ``scan``, or what does the same faster on some device.
    """

    def recur(block: int, drive):
        return recurrence(library, _eigenvalues(weights, block), drive)

    return _evaluate(library, sizes, weights, tokens, recur)


def step(library, sizes: Sizes, weights, states, tokens):
    """Return one token's outputs and the states after it: (N, F) -> (N, outputs), states.

    Args:
        library, sizes, weights: as for ``sequence``.
        states: for each block a pair of real and imaginary part, (N, P).
        tokens: one of each of N streams.
    """
    after = []

    def recur(block: int, drive):
        after.append(advance(_eigenvalues(weights, block), states[block], drive))
        return after[-1]

    return _evaluate(library, sizes, weights, tokens, recur), after


def _eigenvalues(weights, block: int):
    return weights[block + 1]["a_re"], weights[block + 1]["a_im"]


def _evaluate(library, sizes: Sizes, weights, hidden, recur):
    ends, *blocks = weights
    if sizes.encoder:
        hidden = library.clip(hidden @ ends["encoder"] + ends["encoder_bias"], 0, None)
    for index, block in enumerate(blocks):
        u = hidden * block["scale"] + block["shift"]
        drive = u @ block["b"]
        x_re, x_im = recur(index, (drive[..., : sizes.states], drive[..., sizes.states :]))
        keep = (x_re > 0) | ((x_re == 0) & (x_im > 0))
        y = library.concatenate([x_re * keep, x_im * keep], axis=-1) @ block["c"] + block["d"] * u
        product = y = library.clip(y, 0, None)
        if sizes.value:
            product = y @ block["value"] + block["value_bias"]
        if sizes.gate:
            product = product / (1 + library.exp(-(y @ block["gate"] + block["gate_bias"])))
        hidden = library.clip(product + hidden, 0, None)
    return hidden @ ends["decoder"] + ends["decoder_bias"] if sizes.decoder else hidden
