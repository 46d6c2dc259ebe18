"""Writes export directories as IntelLabs/SparseRNNs does, and makes small random ones."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import big_integer_model
import intel_pickles
import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export import Recorded
from s5_to_loihi.intel_export.lower import state_bits

MODEL = "fxpmodel.pkl"
ACTIVATIONS = "fxpmodel_activations.pkl"
IO = "fxpmodel_io.pkl"
QCONFIG = "fxpmodel_fxp_qconfig.pkl"
FLOATS = "fxpmodel_modeldict.pkl"
FILES = (MODEL, ACTIVATIONS, IO, QCONFIG, FLOATS)
_IO_KEYS = {"INPUT": "input", "OUTPUT": "output"}


def file_trees(params: Mapping, qconfig: Mapping, recorded: Mapping[str, Recorded]) -> dict:
    """File name -> the tree that Intel's code pickles into it.

    ``recorded``: Intel's names, with INPUT and OUTPUT; complex tensors as ``.real`` and ``.imag``.
    """
    values = {name: _fxp_array(tensor) for name, tensor in recorded.items()}
    return {
        MODEL: {"params": params, "qconfig": qconfig},
        ACTIVATIONS: {"intermediates": _nested(values)},
        IO: {key: values[name] for name, key in _IO_KEYS.items()},
        QCONFIG: {"encoder": {}, "blocks": {}, "decoder": {}},
        FLOATS: {"decoder": {"kernel": np.zeros((2, 2), np.float32)}},
    }


def write_files(directory: Path, trees: Mapping[str, Any]) -> Path:
    """Write each tree to the file of its name; return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, tree in trees.items():
        intel_pickles.write_pickle(directory / name, tree)
    return directory


def _fxp_array(recorded: Recorded) -> intel_pickles.FxpArray:
    data = np.ascontiguousarray(recorded.data.transpose(1, 0, 2), dtype=np.int32)
    return intel_pickles.fxp_array(data, recorded.format.bits, recorded.format.exponent)


def _nested(values: Mapping[str, Any]) -> dict:
    tree: dict = {}
    for name, value in values.items():
        if name in _IO_KEYS or name.endswith(".imag"):
            continue
        if name.endswith(".real"):
            name = name.removesuffix(".real")
            value = intel_pickles.complex_fxp_array(value, values[f"{name}.imag"])
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


# --- a small random export -----------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """What varies between small exports: see ``big_integer_model.random_model``."""

    glu: str = "half1"
    norm_scale_bias: bool = False
    conjugate_symmetric: bool = True
    seed: int = 1
    features_in: int = 3
    width: int = 4
    states: int = 5
    features_out: int = 2
    blocks: int = 2
    tokens: int = 6
    batch: int = 2


def small_trees(shape: Shape = Shape()) -> dict:
    """Fresh trees of a small random export, recorded by the big-integer model."""
    return copy.deepcopy(file_trees(*small_model(shape)))


@functools.cache
def small_model(shape: Shape) -> tuple[dict, dict, dict[str, Recorded]]:
    """(params, qconfig, recorded) of a random model on random sequences; not to be changed."""
    rng = np.random.default_rng(shape.seed)
    params, qconfig, exponents = big_integer_model.random_model(
        rng,
        features_in=shape.features_in,
        width=shape.width,
        states=shape.states,
        blocks=shape.blocks,
        features_out=shape.features_out,
        glu=shape.glu,
        norm_scale_bias=shape.norm_scale_bias,
        density=0.7,
    )
    layers = [params["encoder"][f"layers_{index}"] for index in range(shape.blocks)]
    for layer in layers:
        # Intel quantizes the negated mean, so that the export never holds the lowest integer.
        layer["norm"]["mean"] = np.maximum(layer["norm"]["mean"], 1 - 2**15)
    sequences = [
        big_integer_model.evaluate(
            params,
            qconfig,
            exponents,
            big_integer_model.random_int16(rng, (shape.tokens, shape.features_in), 12),
            glu=shape.glu,
            conjugate_symmetric=shape.conjugate_symmetric,
            state_bits={
                index: state_bits(layer["mixer"]["C_real"], layer["mixer"]["C_imag"])
                for index, layer in enumerate(layers)
            },
        )
        for _ in range(shape.batch)
    ]
    recorded = {
        name.removesuffix("_int"): Recorded(
            np.stack([sequence[name] for sequence in sequences], axis=1),
            Format(16, _exponent(name, qconfig, exponents)),
        )
        for name in sequences[0]
    }
    return params, qconfig, recorded


_MIXER_EXPONENTS = {
    "Bu_elements.real": "Bu_re_exp",
    "Bu_elements.imag": "Bu_im_exp",
    "xs.real": "x_re_exp",
    "xs.imag": "x_im_exp",
    "xs_relu.real": "x_re_exp",
    "xs_relu.imag": "x_im_exp",
    "pre_C.real": "x_re_exp",
    "pre_C.imag": "x_im_exp",
    "pre_GLU": "y_exp",
}


def _exponent(name: str, qconfig: Mapping, exponents: Mapping[str, int]) -> int:
    """The exponent of a recorded tensor, from the export's configuration and the frozen ones."""
    encoder = qconfig["encoder"]
    if name in exponents:
        return exponents[name]
    if name in ("INPUT_int", "encoder/pre_encoder"):
        return encoder["encoder"]["inp_exp"]
    if name in ("output", "OUTPUT_int", "decoder/__call__"):
        return qconfig["decoder"]["out_exp"]
    if name == "encoder_output":
        return _hidden_exponent(len(encoder) - 1, qconfig, exponents)
    if name.startswith("encoder/enc"):
        return encoder["encoder"]["out_exp"]
    if name.startswith("encoder/layer_"):
        index = int(name.removeprefix("encoder/layer_").removesuffix("_output"))
        return _hidden_exponent(index + 1, qconfig, exponents)
    _, layer, *rest = name.split("/")
    config, index = encoder[layer], int(layer.removeprefix("layers_"))
    if rest[-1] in ("norm_output", "pre_s5"):
        # dicts keep their order: the last step of the norm
        return [exponents[key] for key in exponents if key.startswith(f"encoder/{layer}/norm")][-1]
    if rest[-1] in ("ssm_input", "norm_input"):
        return _hidden_exponent(index, qconfig, exponents)
    if rest[-1] == "output":
        return _hidden_exponent(index + 1, qconfig, exponents)
    if rest[-1] == "out2_sigmoid":
        return 14
    if rest[-1] == "post_GLU":
        return config["multgate"]["res_exp"] if "multgate" in config else config["mixer"]["y_exp"]
    if rest[-1] == "__call__":
        return config[rest[0]]["out_exp"]
    return config["mixer"][_MIXER_EXPONENTS.get(rest[-1], "y_exp")]


def _hidden_exponent(block: int, qconfig: Mapping, exponents: Mapping[str, int]) -> int:
    """The exponent of what enters a block, or leaves the one before."""
    if block == 0:
        return qconfig["encoder"]["encoder"]["out_exp"]
    return exponents[f"encoder/layers_{block - 1}/residadd"]
