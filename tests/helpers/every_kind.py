"""Networks that together have every kind of neuron, by name."""

import functools

import fast_networks
import golden
import numpy as np
from fast_networks import NETWORKS
from float_models import FloatCase, quantized
from random_networks import random_tokens

from s5_to_loihi.float_model import Activation, GluVariant
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.quantization.precision import Precision

TOKENS = 60

QUANTIZED = {
    "half2": FloatCase(glu=GluVariant.HALF2, blocks=1),
    "none, mean": FloatCase(
        glu=GluVariant.NONE, readout=Readout.MEAN, sequence_length=5, blocks=1
    ),
    "full, gelu, chained weights": FloatCase(
        glu=GluVariant.FULL, activation=Activation.GELU_ERF, rectified=False, blocks=1,
        precision=Precision(weights=12, activations=24),
    ),
    "layer norm after and before": FloatCase(
        norm="layer", prenorm=False, mixed=True, blocks=3, activation=Activation.LEAKY_RELU,
        glus=(GluVariant.HALF1, GluVariant.NONE, GluVariant.FULL),
    ),
    "feed-forward": FloatCase(feed_forward="gated", blocks=2, conjugate_symmetric=False),
    "lean": FloatCase(blocks=1, precision=Precision(lean=True)),
    "rms norm of tokens": FloatCase(
        norm="rms", ends="neither", blocks=1, glu=GluVariant.NONE, activation=Activation.TANH
    ),
    "weights in floating point": FloatCase(
        glu=GluVariant.FULL, blocks=1,
        precision=Precision(weights="e5m2", overrides={"*.C": "e4m3"}),
    ),
}  # fmt: skip
EVERY = (*golden.SETS, *NETWORKS, *QUANTIZED)


@functools.cache
def network_of(name: str) -> Network:
    if name in QUANTIZED:
        return quantized(QUANTIZED[name]).network
    return fast_networks.network(name)


def tokens_of(name: str, network: Network) -> np.ndarray:
    """(tokens, 1, features): recorded ones of a golden set, else random ones."""
    if name in golden.SETS:
        return golden.load(name).tensors["INPUT_int"][:, None].astype(np.int64)
    return random_tokens(3, TOKENS, 1, network.input_size)
