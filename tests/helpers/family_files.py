"""Random checkpoints of every family, in its own names, and what its published formulas give.

The formulas are written from the papers and from the frameworks' code, as ``docs/checkpoints.md``
names them, in float64 and with nothing of the package: states are sums over all tokens before, not
a recurrence, and S4D is the convolution with its kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np
import yaml
from safetensors.numpy import save_file
from scipy.special import ndtr

from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.float_model import Activation, Discretization, GluVariant
from s5_to_loihi.network.network import Readout

Arrays = dict[str, np.ndarray]
#: (T, N, F) floats -> (T, N, outputs).
Formula = Callable[[np.ndarray], np.ndarray]

# --- what varies ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choices:
    """What varies between checkpoints; a family takes what it has a choice about.

    ``ends`` says which of encoder and decoder there are, ``ids`` that the encoder is an embedding,
    ``widens`` that each block but the first has another width behind it.
    """

    seed: int = 0
    width: int = 4
    states: int = 3
    blocks: int = 1
    features: int = 3
    norm: str = "layer"
    prenorm: bool = True
    glu: str = "full"
    activation: str = "gelu_tanh"
    discretization: str = "zoh"
    symmetric: bool = True
    rectified: bool = False
    gated: bool = True
    widens: bool = False
    ids: bool = False
    ends: str = "both"
    readout: str = "each_token"
    rescale: float = 1.0
    density: float = 1.0
    container: str = "npz"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: of it.
        options: what it does not say.
        formula: what the family's published formulas make of tokens.
        features: of a token; with ``ids`` tokens are one-hot.
    """

    path: Path
    options: LoadOptions
    formula: Formula
    features: int
    ids: bool = False


# --- formulas ------------------------------------------------------------------------------------


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


ACTIVATIONS = {
    "relu": lambda x: x * (x > 0),
    # The tangent formula as a sigmoid; the normal distribution in the place of the error function.
    "gelu_tanh": lambda x: x * sigmoid(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "gelu_erf": lambda x: x * ndtr(x),
    "silu": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
}


def discretized(eigenvalues, step, b, how: str):
    """The recurrence's eigenvalues (P,) and input matrix (P, H)."""
    if how == "dirac":
        return np.exp(eigenvalues * step), b
    if how == "zoh":
        a = np.exp(eigenvalues * step)
        return a, ((a - 1) / eigenvalues)[:, None] * b
    inverse = 1 / (1 - step / 2 * eigenvalues)
    return inverse * (1 + step / 2 * eigenvalues), (inverse * step)[:, None] * b


def states_of(a, b, u):
    """``sum over s <= t of a**(t - s) b u[s]``: (T, N, P)."""
    lags = np.subtract.outer(np.arange(len(u)), np.arange(len(u)))
    powers = np.where(lags[..., None] >= 0, a ** np.maximum(lags, 0)[..., None], 0)
    return np.einsum("tsp,ph,snh->tnp", powers, b, u)


def state_space(u, a, b, c, d, pairs: bool, rectified: bool = False):
    x = states_of(a, b, u)
    if rectified:  # numpy orders complex numbers as jax does: by the real part, then the other
        x = np.maximum(x, 0)
    y = (x @ c.T).real * (1 + pairs)
    return y + (u @ d.T if d.ndim == 2 else u * d)


def glu_of(y, kind: str, activation, value, gate):
    """``value`` and ``gate``: (weight (out, in), bias), or None."""
    kept = activation(y)
    if kind == "none":
        return kept
    opening = sigmoid(kept @ gate[0].T + gate[1])
    if kind == "full":
        return (kept @ value[0].T + value[1]) * opening
    return (kept if kind == "half1" else y) * opening


def norm_of(kind: str, parts: Arrays, epsilon: float):
    scale, bias = parts["scale"], parts["bias"]
    if kind == "none":
        return lambda x: x
    if kind == "batch":
        return lambda x: scale * (x - parts["mean"]) / np.sqrt(parts["variance"] + epsilon) + bias
    if kind == "rms":
        return lambda x: scale * x / np.sqrt(np.mean(x**2, -1, keepdims=True) + epsilon) + bias
    return lambda x: (
        scale * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) + bias
    )


def block_of(norm, mix, prenorm: bool, rectified: bool = False, skip=None) -> Formula:
    """The block around ``mix``, the state-space model with its GLU."""

    def block(hidden):
        result = mix(norm(hidden) if prenorm else hidden)
        result = result + (hidden if skip is None else hidden @ skip[0].T + skip[1])
        result = result if prenorm else norm(result)
        return np.maximum(result, 0) if rectified else result

    return block


def model_of(encoder, blocks, decoder, readout: str, rectified: bool = False) -> Formula:
    def formula(tokens):
        hidden = tokens if encoder is None else tokens @ encoder[0].T + encoder[1]
        hidden = np.maximum(hidden, 0) if rectified else hidden
        for block in blocks:
            hidden = block(hidden)
        if readout == "mean":
            hidden = hidden.mean(axis=0)[None]
        elif readout == "last":
            hidden = hidden[-1][None]
        return hidden if decoder is None else hidden @ decoder[0].T + decoder[1]

    return formula


# --- random parameters ---------------------------------------------------------------------------


class Draws:
    """Random parameters that float32 holds exactly."""

    def __init__(self, choices: Choices):
        self.choices = choices
        self.rng = np.random.default_rng(choices.seed)

    def exact(self, values) -> np.ndarray:
        return np.asarray(values).astype(np.float32).astype(np.float64)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.exact(scale * self.rng.normal(size=shape))

    def matrix(self, rows: int, columns: int) -> np.ndarray:
        """Pruned to the density; every row keeps something."""
        kept = self.rng.random((rows, columns)) < self.choices.density
        kept[np.arange(rows), self.rng.integers(columns, size=rows)] = True
        return self.normal(rows, columns, scale=columns**-0.5) * kept

    def complex(self, rows: int, columns: int) -> np.ndarray:
        return self.matrix(rows, columns) + 1j * self.matrix(rows, columns)

    def affine(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        return self.matrix(rows, columns), self.normal(rows, scale=0.3)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.exact(self.rng.uniform(low, high, shape))

    def eigenvalues(self, *shape: int) -> np.ndarray:
        return -self.exact(np.exp(self.uniform(-2, 0, *shape))) + 1j * self.uniform(-3, 3, *shape)

    def log_step(self, *shape: int) -> np.ndarray:
        return self.uniform(np.log(0.02), np.log(0.5), *shape)

    def norm(self, width: int) -> Arrays:
        """All that any norm has; the scale has both signs."""
        sign = self.rng.choice([-1, 1], width)
        return {
            "scale": self.uniform(0.5, 1.5, width) * sign,
            "bias": self.normal(width, scale=0.3),
            "mean": self.normal(width, scale=0.3),
            "variance": self.uniform(0.3, 2, width),
        }

    def encoder(self) -> tuple[np.ndarray, np.ndarray]:
        choices = self.choices
        if choices.ids:
            # Not square, which PyTorch's names would not tell from a Linear.
            return self.normal(choices.width, choices.width + 3), np.zeros(choices.width)
        return self.affine(choices.width, choices.features)


def pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag], axis=-1)


# --- Flax: SparseRNNs, lindermanlab/S5, popjaxrl, LRU, event-ssm ---------------------------------


def flax_dense(path: str, affine) -> Arrays:
    return {f"{path}/kernel": affine[0].T, f"{path}/bias": affine[1]}


def flax_norm(path: str, parts: Arrays, kind: str) -> Arrays:
    arrays = {f"params/{path}/{name}": parts[name] for name in ("scale", "bias")}
    if kind == "batch":
        arrays[f"batch_stats/{path}/mean"] = parts["mean"]
        arrays[f"batch_stats/{path}/var"] = parts["variance"]
    return arrays


def flax_ends(draws: Draws, width: int) -> tuple[Arrays, tuple, tuple]:
    encoder, decoder = draws.encoder(), draws.affine(2, width)
    if draws.choices.ids:
        arrays = {"params/encoder/encoder/embedding": encoder[0].T}
    else:
        arrays = flax_dense("params/encoder/encoder", encoder)
    return arrays | flax_dense("params/decoder", decoder), encoder, decoder


#: Flax's own defaults.
FLAX_EPSILON = {"batch": 1e-5, "layer": 1e-6, "none": 0.0}


def flax_ssm(draws: Draws, path: str, width: int, outputs: int, how: str):
    """Parameters of a state-space model of S5, and it as a function of u."""
    choices, states = draws.choices, draws.choices.states
    eigenvalues, log_step = draws.eigenvalues(states), draws.log_step(states)
    b, c = draws.complex(states, width), draws.complex(outputs, states)
    d = draws.normal(width) if width == outputs else draws.matrix(outputs, width)
    arrays = {
        f"{path}/Lambda_re": eigenvalues.real, f"{path}/Lambda_im": eigenvalues.imag,
        f"{path}/log_step": log_step[:, None], f"{path}/B": pairs(b), f"{path}/C": pairs(c),
        f"{path}/D": d,
    }  # fmt: skip
    a, b = discretized(eigenvalues, choices.rescale * np.exp(log_step), b, how)
    rectified = choices.rectified
    return arrays, lambda u: state_space(u, a, b, c, d, choices.symmetric, rectified)


def flax_s5_block(draws: Draws, path: str, layer: str, norm: str) -> tuple[Arrays, Formula]:
    choices, width = draws.choices, draws.choices.width
    ssm_arrays, ssm = flax_ssm(
        draws, f"params/{path}/{layer}", width, width, choices.discretization
    )
    parts, arrays = draws.norm(width), dict(ssm_arrays)
    if norm != "none":
        arrays |= flax_norm(f"{path}/norm", parts, norm)
    value, gate = draws.affine(width, width), draws.affine(width, width)
    if choices.glu == "full":
        arrays |= flax_dense(f"params/{path}/out1", value)
    if choices.glu != "none":
        arrays |= flax_dense(f"params/{path}/out2", gate)
    activation = ACTIVATIONS[choices.activation]
    return arrays, block_of(
        norm_of(norm, parts, FLAX_EPSILON[norm]),
        lambda u: glu_of(ssm(u), choices.glu, activation, value, gate),
        choices.prenorm,
        choices.rectified,
    )


def s5_options(choices: Choices, **more) -> LoadOptions:
    return LoadOptions(
        **{
            "discretization": Discretization(choices.discretization),
            "activation": Activation(choices.activation),
            "glu": GluVariant(choices.glu),
            "conjugate_symmetric": choices.symmetric,
            "prenorm": choices.prenorm,
            "readout": Readout(choices.readout),
            "step_rescale": choices.rescale,
        }
        | more
    )


def lindermanlab(choices: Choices, folder: Path) -> Checkpoint:
    return flax_s5(choices, folder, "seq", choices.norm, s5_options(choices))


def intel(choices: Choices, folder: Path) -> Checkpoint:
    more = {"rectified": choices.rectified, "pruning_sparsity": 0.0}
    return flax_s5(choices, folder, "mixer", "batch", s5_options(choices, **more))


def flax_s5(choices, folder, layer: str, norm: str, options: LoadOptions) -> Checkpoint:
    draws = Draws(choices)
    arrays, encoder, decoder = flax_ends(draws, choices.width)
    blocks = []
    for index in range(choices.blocks):
        more, block = flax_s5_block(draws, f"encoder/layers_{index}", layer, norm)
        arrays |= more
        blocks.append(block)
    formula = model_of(encoder, blocks, decoder, choices.readout, choices.rectified)
    return stored(choices, folder, arrays, options, formula, encoder)


def popjaxrl(choices: Choices, folder: Path) -> Checkpoint:
    draws, arrays, blocks = Draws(choices), {}, []
    for index in range(choices.blocks):
        more, block = flax_s5_block(draws, f"s5/layers_{index}", "seq", "none")
        arrays |= more
        blocks.append(block)
    for index in range(2):  # what is outside of the stack
        arrays |= flax_dense(f"params/Dense_{index}", draws.affine(choices.width, choices.width))
    options = s5_options(choices, encoder="none", decoder="none", select="params/s5")
    formula = model_of(None, blocks, None, choices.readout)
    return stored(choices, folder, arrays, options, formula, None)


def lru(choices: Choices, folder: Path) -> Checkpoint:
    draws, width, states = Draws(choices), choices.width, choices.states
    arrays, encoder, decoder = flax_ends(draws, width)
    blocks = []
    for index in range(choices.blocks):
        path = f"encoder/layers_{index}"
        nu, theta, gamma = (
            draws.uniform(*ends, states) for ends in ((-4, -0.5), (-3, 1), (-1.5, 0))
        )
        b, c = draws.complex(states, width), draws.complex(width, states)
        d, parts = draws.normal(width), draws.norm(width)
        value, gate = draws.affine(width, width), draws.affine(width, width)
        seq = {
            "nu_log": nu, "theta_log": theta, "gamma_log": gamma, "B_re": b.real, "B_im": b.imag,
            "C_re": c.real, "C_im": c.imag, "D": d,
        }  # fmt: skip
        arrays |= {f"params/{path}/seq/{name}": array for name, array in seq.items()}
        arrays |= flax_norm(f"{path}/normalization", parts, choices.norm)
        arrays |= flax_dense(f"params/{path}/out1", value) | flax_dense(f"params/{path}/out2", gate)
        a, gained = np.exp(-np.exp(nu) + 1j * np.exp(theta)), np.exp(gamma)[:, None] * b

        def mix(u, a=a, b=gained, c=c, d=d, value=value, gate=gate):
            y = state_space(u, a, b, c, d, False)
            return glu_of(y, "full", ACTIVATIONS["gelu_tanh"], value, gate)

        norm = norm_of(choices.norm, parts, FLAX_EPSILON[choices.norm])
        blocks.append(block_of(norm, mix, choices.prenorm))
    options = LoadOptions(prenorm=choices.prenorm, readout=Readout(choices.readout))
    formula = model_of(encoder, blocks, decoder, choices.readout)
    return stored(choices, folder, arrays, options, formula, encoder)


def event_ssm(choices: Choices, folder: Path) -> Checkpoint:
    """Stages of one block each; an embedding unless ``ids`` is off."""
    draws, width = Draws(choices), choices.width
    widths = [width] + [width + choices.widens * index for index in range(choices.blocks)]
    arrays, encoder, decoder = flax_ends(draws, widths[-1])
    blocks, kind = [], "BatchNorm_0" if choices.norm == "batch" else "LayerNorm_0"
    for index, (before, behind) in enumerate(itertools.pairwise(widths)):
        path = f"encoder/stages_{index}/SequenceLayer_0"
        ssm_arrays, ssm = flax_ssm(
            draws, f"params/{path}/S5SSM_0", before, behind, choices.discretization
        )
        parts = draws.norm(before if choices.prenorm else behind)
        gate, skip = draws.affine(behind, behind), draws.affine(behind, before)
        arrays |= ssm_arrays | flax_norm(f"{path}/{kind}", parts, choices.norm)
        arrays |= flax_dense(f"params/{path}/Dense_0", gate)
        if before != behind:
            arrays |= flax_dense(f"params/{path}/Dense_1", skip)

        def mix(u, ssm=ssm, gate=gate):
            return glu_of(ssm(u), "half2", ACTIVATIONS["gelu_tanh"], None, gate)

        norm = norm_of(choices.norm, parts, FLAX_EPSILON[choices.norm])
        skip = skip if before != behind else None
        blocks.append(block_of(norm, mix, choices.prenorm, skip=skip))
    options = LoadOptions(
        discretization=Discretization(choices.discretization),
        conjugate_symmetric=choices.symmetric,
        prenorm=choices.prenorm,
        readout=Readout(choices.readout),
        step_rescale=choices.rescale,
    )
    formula = model_of(encoder, blocks, decoder, choices.readout)
    return stored(choices, folder, arrays, options, formula, encoder)


# --- PyTorch: S5Block, its variant with pairs, S4D -----------------------------------------------

TORCH_EPSILON = 1e-5


def torch_linear(path: str, affine) -> Arrays:
    return {f"{path}.weight": affine[0], f"{path}.bias": affine[1]}


def torch_encoder(draws: Draws, arrays: Arrays, path: str) -> tuple:
    encoder = draws.encoder()
    arrays |= torch_linear(path, encoder)
    if draws.choices.ids:
        arrays[f"{path}.weight"] = encoder[0].T
        del arrays[f"{path}.bias"]
    return encoder


def s5_pytorch(choices: Choices, folder: Path) -> Checkpoint:
    """Of s5-pytorch, or with bilinear discretization the variant that has pairs of numbers."""
    draws, width, inner = Draws(choices), choices.width, choices.width + 1
    as_pairs = choices.discretization == "bilinear"
    arrays, encoder, decoder, blocks = {}, None, None, []
    if choices.ends in ("both", "encoder"):
        encoder = torch_encoder(draws, arrays, "encoder")
    for index in range(choices.blocks):
        path = f"layers.{index}"
        eigenvalues, log_step = draws.eigenvalues(choices.states), draws.log_step(choices.states)
        b, c = draws.complex(choices.states, width), draws.complex(width, choices.states)
        d, first, second = draws.normal(width), draws.norm(width), draws.norm(width)
        expand = draws.matrix(inner * (1 + choices.gated), width)
        decode = draws.matrix(width, inner)
        split = pairs if as_pairs or choices.container == "safetensors" else np.asarray
        # Pairs are a sign of the variant. Safetensors may hold s5-pytorch's as pairs too, and an
        # option says which they are.
        seq = {"Lambda": split(eigenvalues), "B": pairs(b), "C": split(c), "D": d,
               "log_step": log_step}  # fmt: skip
        arrays |= {f"{path}.s5.seq.{name}": array for name, array in seq.items()}
        for name, parts in (("attn_norm", first), ("ff_norm", second)):
            arrays |= torch_linear(f"{path}.{name}", (parts["scale"], parts["bias"]))
        arrays |= {f"{path}.ff_enc.weight": expand, f"{path}.ff_dec.weight": decode}
        step = choices.rescale * np.exp(log_step)
        a, b = discretized(eigenvalues, step, b, choices.discretization)
        norms = [norm_of("layer", parts, TORCH_EPSILON) for parts in (first, second)]

        def block(x, a=a, b=b, c=c, d=d, norms=norms, expand=expand, decode=decode):
            gelu = ACTIVATIONS["gelu_erf"]
            x = norms[0](x)
            x = norms[1](gelu(state_space(x, a, b, c, d, False)) + x)
            wide = x @ expand.T
            if choices.gated:
                wide, gates = wide[..., :inner], wide[..., inner:]
                wide = gelu(gates) * wide
            return wide @ decode.T + x

        blocks.append(block)
    if choices.ends in ("both", "decoder"):
        decoder = draws.affine(2, width)
        arrays |= torch_linear("decoder", decoder)
    options = LoadOptions(
        discretization=Discretization(choices.discretization),
        readout=Readout(choices.readout),
        step_rescale=choices.rescale,
    )
    formula = model_of(encoder, blocks, decoder, choices.readout)
    return stored(choices, folder, arrays, options, formula, encoder)


def s4d(choices: Choices, folder: Path) -> Checkpoint:
    draws, width, count = Draws(choices), choices.width, choices.states
    arrays, blocks = {}, []
    encoder = torch_encoder(draws, arrays, "encoder")
    for index in range(choices.blocks):
        path = f"s4_layers.{index}"
        log_a, imaginary = draws.uniform(-2, 0, width, count), draws.uniform(-3, 3, width, count)
        log_dt, c = draws.log_step(width), draws.complex(width, count)
        d, parts, linear = draws.normal(width), draws.norm(width), draws.affine(2 * width, width)
        kernel = {"log_dt": log_dt, "log_A_real": log_a, "A_imag": imaginary, "C": pairs(c)}
        arrays |= {f"{path}.kernel.{name}": array for name, array in kernel.items()}
        arrays |= {f"{path}.D": d, f"{path}.output_linear.0.bias": linear[1]}
        arrays[f"{path}.output_linear.0.weight"] = linear[0][..., None]
        arrays |= torch_linear(f"norms.{index}", (parts["scale"], parts["bias"]))
        a = -np.exp(log_a) + 1j * imaginary
        exponent = a * (choices.rescale * np.exp(log_dt))[:, None]

        def mix(u, a=a, exponent=exponent, c=c, d=d, linear=linear):
            lags = np.exp(exponent[..., None] * np.arange(len(u)))
            kernel = 2 * np.einsum("hn,hnl->hl", c * (np.exp(exponent) - 1) / a, lags).real
            y = u * d
            for lag in range(len(u)):
                y[lag:] += kernel[:, lag] * u[: len(u) - lag]
            both = ACTIVATIONS["gelu_erf"](y) @ linear[0].T + linear[1]
            return both[..., :width] * sigmoid(both[..., width:])

        blocks.append(block_of(norm_of("layer", parts, TORCH_EPSILON), mix, choices.prenorm))
    decoder = draws.affine(2, width)
    arrays |= torch_linear("decoder", decoder)
    options = LoadOptions(
        prenorm=choices.prenorm, readout=Readout(choices.readout), step_rescale=choices.rescale
    )
    formula = model_of(encoder, blocks, decoder, choices.readout)
    return stored(choices, folder, arrays, options, formula, encoder)


# --- this project's own format -------------------------------------------------------------------


def own(choices: Choices, folder: Path) -> Checkpoint:
    draws, width = Draws(choices), choices.width
    tensors, described, blocks = {}, [], []
    encoder = draws.encoder() if choices.ends in ("both", "encoder") else None
    if encoder is not None:
        tensors |= torch_linear("encoder", encoder)
    widths = [width] + [width + choices.widens * index for index in range(choices.blocks)]
    epsilon = float(10 ** draws.rng.uniform(-6, -2))
    for index, (before, behind) in enumerate(itertools.pairwise(widths)):
        more, block = own_block(draws, f"blocks.{index}", before, behind, epsilon)
        tensors |= more
        blocks.append(block)
        described.append(
            {
                "kind": "s5", "discretization": choices.discretization,
                "conjugate_symmetric": choices.symmetric, "prenorm": choices.prenorm,
                "norm": {"kind": choices.norm, "epsilon": epsilon}, "glu": choices.glu,
                "activation": choices.activation, "rectified": choices.rectified,
            }
        )  # fmt: skip
    decoder = draws.affine(2, widths[-1]) if choices.ends in ("both", "decoder") else None
    if decoder is not None:
        tensors |= torch_linear("decoder", decoder)
    rectified = choices.rectified and encoder is not None
    description = {
        "schema": "s5_to_loihi model", "schema_version": 1, "name": "random",
        "weights": "model.safetensors", "readout": choices.readout,
        "rectified_encoder": rectified, "blocks": described,
    }  # fmt: skip
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(contiguous, folder / "model.safetensors")
    (folder / "model.yaml").write_text(yaml.safe_dump(description))
    formula = model_of(encoder, blocks, decoder, choices.readout, rectified)
    features = width if encoder is None else encoder[0].shape[1]
    return Checkpoint(folder / "model.yaml", LoadOptions(), formula, features, choices.ids)


def own_block(
    draws: Draws, path: str, before: int, behind: int, epsilon: float
) -> tuple[Arrays, Formula]:
    choices, states, same = draws.choices, draws.choices.states, before == behind
    eigenvalues, step = draws.eigenvalues(states), draws.exact(np.exp(draws.log_step(states)))
    b, c = draws.complex(states, before), draws.complex(behind, states)
    d = draws.normal(before) if same else draws.matrix(behind, before)
    parts = draws.norm(before if choices.prenorm else behind)
    value, gate, skip = (draws.affine(behind, size) for size in (behind, behind, before))
    ssm = {"eigenvalues": pairs(eigenvalues), "step": step, "b": pairs(b), "c": pairs(c), "d": d}
    tensors = {f"{path}.ssm.{name}": array for name, array in ssm.items()}
    kept = parts if choices.norm == "batch" else {name: parts[name] for name in ("scale", "bias")}
    tensors |= {f"{path}.norm.{name}": array for name, array in kept.items()}
    if choices.glu == "full":
        tensors |= torch_linear(f"{path}.value", value)
    if choices.glu != "none":
        tensors |= torch_linear(f"{path}.gate", gate)
    if not same:
        tensors |= torch_linear(f"{path}.skip", skip)
    a, b = discretized(eigenvalues, step, b, choices.discretization)

    def mix(u):
        y = state_space(u, a, b, c, d, choices.symmetric, choices.rectified)
        return glu_of(y, choices.glu, ACTIVATIONS[choices.activation], value, gate)

    norm = norm_of(choices.norm, parts, epsilon)
    return tensors, block_of(norm, mix, choices.prenorm, choices.rectified, None if same else skip)


# --- files ---------------------------------------------------------------------------------------


def stored(
    choices: Choices,
    folder: Path,
    arrays: Arrays,
    options: LoadOptions,
    formula: Formula,
    encoder: tuple | None,
) -> Checkpoint:
    """Write arrays in float32 or complex64, which hold them exactly."""
    small = {
        name: np.ascontiguousarray(array, np.complex64 if np.iscomplexobj(array) else np.float32)
        for name, array in arrays.items()
    }
    path = folder / f"model.{choices.container}"
    if choices.container == "npz":
        np.savez(path, **small)
    elif choices.container == "safetensors":
        save_file(small, path)
    else:
        path.write_bytes(flax_bytes(small))
    features = choices.width if encoder is None else encoder[0].shape[1]
    return Checkpoint(path, options, formula, features, choices.ids and encoder is not None)


def flax_bytes(arrays: Arrays) -> bytes:
    """What ``flax.serialization.to_bytes`` makes of the tree with these paths."""
    tree: dict = {}
    for path, array in arrays.items():
        *above, name = path.split("/")
        place = tree
        for key in above:
            place = place.setdefault(key, {})
        content = msgpack.packb((array.shape, array.dtype.name, array.tobytes()))
        place[name] = msgpack.ExtType(1, content)
    return msgpack.packb(tree)
