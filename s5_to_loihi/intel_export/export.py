"""Intel's fixed-point export: five pickles of integers, written by ``fxprun.py --export``.

Read without jax and without Intel's package. ``read`` gives the files' contents, ``to_model`` the
model with every data-dependent exponent frozen, ``to_vectors`` the recorded integers under this
project's names. Format: IntelLabs/SparseRNNs, commit b623aea, ``fxpmodel.py`` and ``fxprun.py``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s5_to_loihi.bundle.vectors import TOKEN_VALUE, Vectors
from s5_to_loihi.checkpoints.intel_conversion import EXPORT_FILE as MODEL_FILE
from s5_to_loihi.checkpoints.restricted_pickle import ComplexFxpArray, FxpArray, read_pickle
from s5_to_loihi.checkpoints.training_arguments import ARGUMENTS_FILE, read_arguments
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.intel_export.exponents import freeze, frozen_names
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    Glu,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
from s5_to_loihi.network.network import Network, Readout

ACTIVATIONS_FILE = "fxpmodel_activations.pkl"
IO_FILE = "fxpmodel_io.pkl"
QCONFIG_FILE = "fxpmodel_fxp_qconfig.pkl"
FLOATS_FILE = "fxpmodel_modeldict.pkl"

#: Exponents that can be meant: 16-bit tensors use 0 to 15; the rule for data-dependent ones may go
#: below zero. Within these, no alignment of 16-bit operands leaves 64 bits.
LOWEST_EXPONENT, LARGEST_EXPONENT = -16, 31


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded tensor.

    Attributes:
        data: (tokens, batch, features) integers.
        format: its format.
    """

    data: np.ndarray
    format: Format


@dataclass(frozen=True, eq=False)
class IntelExport:
    """The contents of an export directory.

    Attributes:
        name: the directory's name.
        params: nested dict of int32 arrays in natural orientation: B (P, H), C (H, P), dense
            (in, out).
        qconfig: nested dict of bits and exponents.
        recorded: Intel's name -> recorded tensor; complex ones as ``.real`` and ``.imag``.
        has_activations: whether the intermediate tensors were there.
        arguments: of the training run; empty if there is no such file.
        files: the files that were read.
    """

    name: str
    params: Mapping
    qconfig: Mapping
    recorded: Mapping[str, Recorded]
    has_activations: bool
    arguments: Mapping
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ExportOptions:
    """What an export does not say; None means: find out, or guess and say so.

    Attributes:
        glu: the gated linear unit.
        conjugate_symmetric: whether the other half of the conjugate pairs is implied.
        readout: what the output stands for.
        sequence_length: tokens a sequence, for the readout ``mean``.
    """

    glu: GluVariant | None = None
    conjugate_symmetric: bool | None = None
    readout: Readout = Readout.EACH_TOKEN
    sequence_length: int | None = None


# --- reading the files ---------------------------------------------------------------------------


def read(directory: Path) -> IntelExport:
    """Read an export directory.

    All five pickles are read if they are there; ``fxpmodel.pkl`` and one of the activations and
    input/output files are needed.

    Raises:
        CheckpointError: a file is missing, damaged, or holds what it has no reason to hold.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(
            str(directory),
            "is not a directory" if directory.exists() else "does not exist",
            f"Give the directory that holds {MODEL_FILE}",
        )
    found = {
        name: directory / name
        for name in (MODEL_FILE, ACTIVATIONS_FILE, IO_FILE, QCONFIG_FILE, FLOATS_FILE)
        if (directory / name).exists()
    }
    if MODEL_FILE not in found:
        raise CheckpointError(
            str(directory),
            f"holds no {MODEL_FILE}",
            "Give the directory that Intel's 'fxprun.py --export' wrote (its --data_dir)",
        )
    if ACTIVATIONS_FILE not in found and IO_FILE not in found:
        raise CheckpointError(
            str(directory),
            f"holds neither {ACTIVATIONS_FILE} nor {IO_FILE}; the exponents of batch norm and"
            " residual follow from the data and are in no other file",
            "Copy one of them beside the model",
        )
    trees = {name: _read_dict(path) for name, path in found.items()}
    recorded = {}
    if ACTIVATIONS_FILE in trees:
        path = found[ACTIVATIONS_FILE]
        recorded |= _flatten(path, _child(path, trees[ACTIVATIONS_FILE], "intermediates"))
    if IO_FILE in trees:
        path = found[IO_FILE]
        recorded |= {
            label: _recorded(path, key, _child(path, trees[IO_FILE], key))
            for label, key in (("INPUT", "input"), ("OUTPUT", "output"))
        }
    model = trees[MODEL_FILE]
    arguments_path = directory / ARGUMENTS_FILE
    return IntelExport(
        name=directory.resolve().name,
        params=_child(found[MODEL_FILE], model, "params"),
        qconfig=_child(found[MODEL_FILE], model, "qconfig"),
        recorded=recorded,
        has_activations=ACTIVATIONS_FILE in trees,
        arguments=read_arguments(arguments_path) if arguments_path.exists() else {},
        files=tuple(found.values()),
    )


def _read_dict(path: Path) -> dict:
    tree = read_pickle(path)
    if not isinstance(tree, dict):
        raise CheckpointError(str(path), f"holds a {type(tree).__name__}, not a dictionary")
    return tree


def _child(path: Path, tree: dict, key: str):
    if not isinstance(tree, dict) or key not in tree:
        raise CheckpointError(str(path), f"has no entry '{key}'", "Export again")
    return tree[key]


def _flatten(path: Path, tree, prefix: str = "") -> dict[str, Recorded]:
    if isinstance(tree, ComplexFxpArray):
        return {
            f"{prefix}.{part}": _recorded(path, f"{prefix}.{part}", getattr(tree, part))
            for part in ("real", "imag")
        }
    if not isinstance(tree, dict):
        return {prefix: _recorded(path, prefix, tree)}
    flat = {}
    for key, value in tree.items():
        flat |= _flatten(path, value, f"{prefix}/{key}" if prefix else str(key))
    return flat


def _recorded(path: Path, name: str, value) -> Recorded:
    where = f"{path}: {name}"
    if not isinstance(value, FxpArray):
        raise CheckpointError(where, f"is a {type(value).__name__}, not a fixed-point array")
    data = _integers(where, value.data)
    if data.ndim not in (2, 3) or 0 in data.shape:
        raise CheckpointError(
            where, f"has shape {data.shape}, not (batch, time, features) or (time, features)"
        )
    batched = data if data.ndim == 3 else data[None]
    bits = _checked_integer(f"{where}.bits", value.bits, 1, 64)
    exponent = _checked_integer(f"{where}.exp", value.exp, LOWEST_EXPONENT, LARGEST_EXPONENT)
    return Recorded(batched.transpose(1, 0, 2), Format(bits, exponent))


def _integers(where: str, value) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise CheckpointError(where, f"is a {type(value).__name__}, not an array")
    if value.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(value)))
        raise CheckpointError(
            where,
            f"holds {bad} NaN or infinite values" if bad else f"holds {value.dtype}, not integers",
            "Export again with the fixed-point model",
        )
    if value.dtype.kind not in "iu":
        raise CheckpointError(where, f"holds {value.dtype}, not integers")
    # Everything is computed in int64, where a larger one would turn into another number.
    if value.dtype == np.uint64 and value.size and value.max() > np.iinfo(np.int64).max:
        raise CheckpointError(where, f"holds {value.max()}, more than 64 bits with a sign")
    return value


def _checked_integer(where: str, value, lowest: int, highest: int) -> int:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    whole = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not whole or value != value or value in (np.inf, -np.inf) or int(value) != value:
        shown = reprlib.repr(value)
        raise CheckpointError(where, f"is {shown}, not an integer", "Export again")
    if not lowest <= value <= highest:
        raise CheckpointError(where, f"is {int(value)} (allowed {lowest}..{highest})")
    return int(value)


# --- the model -----------------------------------------------------------------------------------


def to_model(
    export: IntelExport, options: ExportOptions = ExportOptions()
) -> tuple[QuantizedS5, list[str]]:
    """Return the model of an export and notes on what was found out, guessed or recomputed.

    Raises:
        CheckpointError: missing or unsuitable entries, or a model that the chip cannot run.
    """
    notes: list[str] = []
    reader = _Reader(f"{export.name}/{MODEL_FILE}", export.params, export.qconfig)
    _refuse_arguments(export)
    count = _count_blocks(reader)
    glu = options.glu or _find_glu(export, reader, notes)
    symmetric = options.conjugate_symmetric
    if symmetric is None:
        symmetric = _find_symmetry(export, notes)
    length = options.sequence_length
    tokens = _recorded_input(export)
    if options.readout is Readout.MEAN and length is None:
        length = len(tokens)
        notes.append(f"sequence length: {length} tokens, taken from the recorded input")

    def build(exponents: Mapping[tuple[int, str], int]) -> QuantizedS5:
        return QuantizedS5(
            name=export.name,
            encoder=reader.dense("encoder/encoder", None),
            blocks=tuple(
                _block(reader, index, glu, symmetric, exponents) for index in range(count)
            ),
            decoder=reader.dense("decoder", None),
            readout=options.readout,
            sequence_length=length,
        )

    _check_widths(build({}), tokens)
    exponents = _frozen_exponents(export, build, tokens, notes)
    return build(exponents), notes


def _refuse_arguments(export: IntelExport) -> None:
    """Refuse what the training arguments say the chip cannot do."""
    where = f"{export.name}/{ARGUMENTS_FILE}"
    refusals = (
        ("bidirectional", True, "a bidirectional model reads the sequence backwards as well, so no"
         " output is known before the last token; the chip runs token by token"),
        ("batchnorm", False, "layer norm needs the mean over all features at every token, which"
         " neurons that see only their own input cannot form"),
        ("prenorm", False, "Intel's fixed-point model exists for norm before the block only"),
        ("relufication", False, "Intel's fixed-point model exists with ReLU only"),
    )  # fmt: skip
    for key, value, reason in refusals:
        if export.arguments.get(key, not value) is value:
            raise CheckpointError(where, f"{key} is {value}: {reason}", "Train without it")


def _count_blocks(reader: _Reader) -> int:
    names = [name for name in reader.keys("encoder") if name.startswith("layers_")]
    if not names:
        raise CheckpointError(reader.where, "encoder has no entry 'layers_0'", "Export again")
    if sorted(names) != sorted(f"layers_{index}" for index in range(len(names))):
        raise CheckpointError(reader.where, f"has blocks {sorted(names)}, not 0 to n - 1")
    return len(names)


def _find_glu(export: IntelExport, reader: _Reader, notes: list[str]) -> GluVariant:
    keys = reader.keys("encoder/layers_0")
    if "out1" in keys:
        return GluVariant.FULL
    if "out2" not in keys:
        return GluVariant.NONE
    if export.arguments.get("glu_variant") in (GluVariant.HALF1.value, GluVariant.HALF2.value):
        return GluVariant(export.arguments["glu_variant"])
    products = [
        recorded.data for name, recorded in export.recorded.items() if name.endswith("/post_GLU")
    ]
    if products:
        # half1 multiplies relu(y) by a sigmoid: never negative; half2 multiplies y itself.
        negative = any((data < 0).any() for data in products)
        return GluVariant.HALF2 if negative else GluVariant.HALF1
    notes.append("GLU variant: half1, a guess (no file says half1 or half2; choose with --glu)")
    return GluVariant.HALF1


def _find_symmetry(export: IntelExport, notes: list[str]) -> bool:
    if isinstance(export.arguments.get("conj_sym"), bool):
        return export.arguments["conj_sym"]
    if export.has_activations:
        return any(name.endswith("mixer/2Cxs") for name in export.recorded)
    notes.append("conjugate symmetry: on, a guess (no file says; choose with --symmetric)")
    return True


def _recorded_input(export: IntelExport) -> np.ndarray:
    for name in ("INPUT", "encoder/pre_encoder"):
        if name in export.recorded:
            return export.recorded[name].data.astype(np.int64)
    raise CheckpointError(export.name, "no file holds the recorded input", f"Add {IO_FILE}")


def _check_widths(model: QuantizedS5, tokens: np.ndarray) -> None:
    lowest, highest = limits(model.encoder.input.bits)
    features = model.encoder.weight.data.shape[1]
    if tokens.shape[2] != features:
        raise CheckpointError(
            f"{model.name}: recorded input",
            f"has {tokens.shape[2]} features, the encoder takes {features}",
            "Take all files from one export",
        )
    if tokens.min() < lowest or tokens.max() > highest:
        raise CheckpointError(
            f"{model.name}: recorded input",
            f"lies in {tokens.min()}..{tokens.max()} (limit {lowest}..{highest})",
        )
    width = model.encoder.bias.data.size
    taken = [
        *((f"encoder/layers_{n}", block.ssm.d.data.size) for n, block in enumerate(model.blocks)),
        ("decoder/weight", model.decoder.weight.data.shape[1]),
    ]
    for path, size in taken:
        if size != width:
            raise CheckpointError(
                f"{model.name}/{MODEL_FILE}: {path}",
                f"takes {size} features, the encoder gives {width}",
                "Export again",
            )


def _frozen_exponents(export, build, tokens, notes) -> Mapping[tuple[int, str], int]:
    blocks = build({}).blocks
    if not export.has_activations:
        notes.append(
            "exponents of batch norm and residual: recomputed with Intel's rule from"
            f" {IO_FILE} ({tokens.shape[1]} x {tokens.shape[0]} tokens)"
        )
        return freeze(build, tokens)
    notes.append(f"exponents of batch norm and residual: frozen from {ACTIVATIONS_FILE}")
    exponents = {}
    for index, block in enumerate(blocks):
        for step in frozen_names(block.norm):
            name = f"encoder/layers_{index}/{_RECORDED_STEPS[step]}"
            if name not in export.recorded:
                raise CheckpointError(
                    f"{export.name}/{ACTIVATIONS_FILE}",
                    f"has no tensor '{name}'",
                    "Take all files from one export",
                )
            exponents[index, step] = export.recorded[name].format.exponent
    return exponents


#: Where the exponent of each data-dependent step is recorded.
_RECORDED_STEPS = {
    "centred": "norm/norm_input_minus_mean",
    "normalised": "norm/norm_output_raw",
    "scaled": "norm/norm_output_scaled",
    "shifted": "norm/norm_output_scaled_bias",
    "total": "residadd",
}


class _Reader:
    """Typed access to the two trees of ``fxpmodel.pkl``, with errors that name the entry."""

    def __init__(self, where: str, params, qconfig):
        self.where = where
        self._trees = {"params": params, "qconfig": qconfig}

    def _entry(self, tree: str, path: str):
        node = self._trees[tree]
        for key in path.split("/"):
            if not isinstance(node, dict) or key not in node:
                raise CheckpointError(self.where, f"{tree} has no entry '{path}'", "Export again")
            node = node[key]
        return node

    def keys(self, path: str) -> tuple[str, ...]:
        entry = self._entry("params", path)
        if not isinstance(entry, dict):
            raise CheckpointError(self.where, f"'{path}' is not a dictionary", "Export again")
        return tuple(map(str, entry))

    def format(self, path: str) -> Format:
        """Read ``path_bits`` and ``path_exp``."""
        bits, exponent = (self._entry("qconfig", f"{path}_{part}") for part in ("bits", "exp"))
        return Format(
            _checked_integer(f"{self.where}: {path}_bits", bits, 2, 24),
            _checked_integer(f"{self.where}: {path}_exp", exponent, 0, LARGEST_EXPONENT),
        )

    def tensor(self, path: str, shape: tuple[int | None, ...], negated: bool = False) -> Tensor:
        """Read an integer tensor with its format; ``negated`` if the file holds its negative."""
        where = f"{self.where}: {path}"
        data = _integers(where, self._entry("params", path))
        expected = tuple("any" if size is None else size for size in shape)
        if data.ndim != len(shape) or any(
            size is not None and size != got for size, got in zip(shape, data.shape, strict=True)
        ):
            raise CheckpointError(
                where, f"has shape {data.shape}, expected {expected}", "Export again"
            )
        if 0 in data.shape:
            raise CheckpointError(where, f"is empty (shape {data.shape})", "Export again")
        data = -data.astype(np.int64) if negated else data.astype(np.int64)
        target = self.format(path)
        lowest, highest = limits(target.bits)
        if data.min() < lowest or data.max() > highest:
            raise CheckpointError(
                where,
                f"lies in {data.min()}..{data.max()} (limit {lowest}..{highest}, {target.bits}"
                " bits)",
                "Export again",
            )
        return Tensor(data, target)

    def dense(self, path: str, width: int | None) -> Dense:
        """Read a dense map; ``width`` inputs, any number if None. Stored (in, out)."""
        weight = self.tensor(f"{path}/weight", (width, None))
        outputs = weight.data.shape[1]
        result = self.format(f"{path}/out")
        bias = Tensor(np.zeros(outputs, dtype=np.int64), result)
        if "bias" in self.keys(path):
            bias = self.tensor(f"{path}/bias", (outputs,))
        return Dense(replace(weight, data=weight.data.T), bias, self.format(f"{path}/inp"), result)


def _block(
    reader: _Reader,
    index: int,
    glu: GluVariant,
    symmetric: bool,
    exponents: Mapping[tuple[int, str], int],
) -> Block:
    path = f"encoder/layers_{index}"
    ssm = _state_space(reader, path, symmetric)
    width = ssm.d.data.size

    def frozen(step: str) -> Format:
        # While exponents are still being found, any that can be lowered will do: the decoder
        # lowers a large one, products shift right to a small one.
        unknown = 15 if step == "total" else 0
        return Format(16, exponents.get((index, step), unknown))

    return Block(
        norm=_norm(reader, path, width, frozen),
        ssm=ssm,
        glu=_glu(reader, path, glu, width, ssm.y),
        total=frozen("total"),
    )


def _state_space(reader: _Reader, path: str, symmetric: bool) -> StateSpace:
    mixer = f"{path}/mixer"
    if "B_bias_real" in reader.keys(mixer):
        raise CheckpointError(
            f"{reader.where}: {mixer}",
            "has B_bias_real: batch norm was fused into B, which Intel's code computes wrongly",
            "Export without --fuse_batchnorm",
        )
    a_re = reader.tensor(f"{mixer}/A_real", (None,))
    states = a_re.data.size
    d = reader.tensor(f"{mixer}/D", (None,))
    width = d.data.size
    c_re = reader._entry("params", f"{mixer}/C_real")
    if getattr(c_re, "shape", None) == (width, 2 * states):
        raise CheckpointError(
            f"{reader.where}: {mixer}/C_real",
            f"has {2 * states} columns for {states} states, as a bidirectional model has: it reads"
            " the sequence backwards as well, so no output is known before the last token",
            "Train a unidirectional model",
        )
    return StateSpace(
        a_re=a_re,
        a_im=reader.tensor(f"{mixer}/A_imag", (states,)),
        b_re=reader.tensor(f"{mixer}/B_real", (states, width)),
        b_im=reader.tensor(f"{mixer}/B_imag", (states, width)),
        c_re=reader.tensor(f"{mixer}/C_real", (width, states)),
        c_im=reader.tensor(f"{mixer}/C_imag", (width, states)),
        d=d,
        u=reader.format(f"{mixer}/u"),
        bu_re=reader.format(f"{mixer}/Bu_re"),
        bu_im=reader.format(f"{mixer}/Bu_im"),
        x_re=reader.format(f"{mixer}/x_re"),
        x_im=reader.format(f"{mixer}/x_im"),
        y=reader.format(f"{mixer}/y"),
        conjugate_symmetric=symmetric,
    )


def _norm(reader: _Reader, path: str, width: int, frozen) -> Norm:
    keys = reader.keys(f"{path}/norm")
    if "mean" not in keys:
        raise CheckpointError(
            f"{reader.where}: {path}/norm",
            f"has {', '.join(sorted(keys)) or 'nothing'} and no mean, as layer norm has: it needs"
            " the mean over all features at every token, which neurons that see only their own"
            " input cannot form",
            "Train with batch norm",
        )
    mean = reader.tensor(f"{path}/norm/mean", (width,), negated=True)
    scale = reader.tensor(f"{path}/norm/scale", (width,)) if "scale" in keys else None
    bias = reader.tensor(f"{path}/norm/bias", (width,)) if "bias" in keys else None
    return Norm(
        minus_mean=mean,
        inverse_deviation=reader.tensor(f"{path}/norm/invsq_var", (width,)),
        scale=scale,
        bias=bias,
        centred=frozen("centred"),
        normalised=frozen("normalised"),
        scaled=frozen("scaled") if scale else None,
        shifted=frozen("shifted") if bias else None,
    )


def _glu(reader: _Reader, path: str, variant: GluVariant, width: int, y: Format) -> Glu:
    if variant is GluVariant.NONE:
        return Glu(variant, None, None, y, y, y)
    gate, value = (
        _square(reader, f"{path}/{name}", width)
        if name == "out2" or variant is GluVariant.FULL
        else None
        for name in ("out2", "out1")
    )
    return Glu(
        variant,
        gate,
        value,
        reader.format(f"{path}/multgate/l"),
        reader.format(f"{path}/multgate/r"),
        reader.format(f"{path}/multgate/res"),
    )


def _square(reader: _Reader, path: str, width: int) -> Dense:
    dense = reader.dense(path, width)
    if dense.bias.data.size != width:
        raise CheckpointError(
            f"{reader.where}: {path}/weight",
            f"has {dense.bias.data.size} outputs, the block is {width} wide",
            "Export again",
        )
    return dense


# --- the recorded vectors ------------------------------------------------------------------------


def value_names(network: Network, recorded: Mapping[str, object]) -> dict[str, str]:
    """Return Intel's tensor names -> ``group.value`` of a lowered network.

    Names that the network has no value for are left out.
    """
    names = {
        "INPUT": TOKEN_VALUE,
        "encoder/pre_encoder": TOKEN_VALUE,
        "encoder/encoder/__call__": "encoder.affine",
        "encoder/encoder_output": "encoder.affine",
        "encoder/encoder_output_relu": "encoder.activation",
        "decoder/__call__": "decoder.affine",
        "output": "decoder.affine",
        "OUTPUT": "decoder.activation",
    }
    hidden = "encoder.activation"
    blocks = sum(group.name.endswith(".state") for group in network.groups)
    for index in range(blocks):
        block, path = f"block{index}", f"encoder/layers_{index}"
        norm = network.group(f"{block}.norm").kind.probes[-1]
        gated = "product" in network.group(f"{block}.gate").kind.probes
        names |= {
            f"{path}/ssm_input": hidden,
            f"{path}/norm/norm_input": hidden,
            f"{path}/norm/norm_input_minus_mean": f"{block}.norm.centred",
            f"{path}/norm/norm_output_raw": f"{block}.norm.normalised",
            f"{path}/norm/norm_output_scaled": f"{block}.norm.scaled",
            f"{path}/norm/norm_output_scaled_bias": f"{block}.norm.shifted",
            f"{path}/norm/norm_output": f"{block}.norm.{norm}",
            f"{path}/pre_s5": f"{block}.norm.{norm}",
            f"{path}/mixer/Bu_elements.real": f"{block}.state.drive_re",
            f"{path}/mixer/Bu_elements.imag": f"{block}.state.drive_im",
            f"{path}/mixer/xs.real": f"{block}.state.x_re",
            f"{path}/mixer/xs.imag": f"{block}.state.x_im",
            f"{path}/mixer/xs_relu.real": f"{block}.state.g_re",
            f"{path}/mixer/xs_relu.imag": f"{block}.state.g_im",
            f"{path}/pre_C.real": f"{block}.state.g_re",
            f"{path}/pre_C.imag": f"{block}.state.g_im",
            f"{path}/mixer/Cxs": f"{block}.output.projection",
            f"{path}/mixer/2Cxs": f"{block}.output.doubled",
            f"{path}/mixer/Du": f"{block}.output.feedthrough",
            f"{path}/mixer/ys": f"{block}.output.y",
            f"{path}/pre_GLU": f"{block}.output.y",
            f"{path}/out1/__call__": f"{block}.gate.value_affine",
            f"{path}/out2/__call__": f"{block}.gate.gate_affine",
            f"{path}/out2_sigmoid": f"{block}.gate.opening",
            f"{path}/post_GLU": f"{block}.gate.product" if gated else f"{block}.output.activation",
            f"{path}/residadd": f"{block}.gate.total",
            f"{path}/output": f"{block}.gate.hidden",
            f"encoder/layer_{index}_output": f"{block}.gate.hidden",
        }
        hidden = f"{block}.gate.hidden"
    names["encoder_output"] = hidden
    if network.readout is Readout.MEAN:
        # Intel's code decodes every token, and only has a stub for the mean.
        for name in ("decoder/__call__", "output", "OUTPUT"):
            del names[name]
    values = {TOKEN_VALUE} | {
        f"{group.name}.{value}" for group in network.groups for value in group.kind.values
    }
    return {name: value for name, value in names.items() if name in recorded and value in values}


def to_vectors(export: IntelExport, network: Network) -> tuple[Vectors, list[str]]:
    """Return the recorded integers under the network's names, and notes on what is left out.

    Raises:
        CheckpointError: a recorded tensor has another shape or exponent than the network's value,
            or two recordings of one value differ.
    """
    tokens = _recorded_input(export)
    names = value_names(network, export.recorded)
    notes = []
    unknown = sorted(set(export.recorded) - set(names))
    if unknown:
        notes.append(f"recorded tensors without a counterpart, not compared: {', '.join(unknown)}")
    expected: dict[str, np.ndarray] = {}
    recorded_as: dict[str, tuple[str, ...]] = {}
    for name, value in names.items():
        recorded = export.recorded[name]
        _check_recorded(export, network, name, value, recorded, tokens.shape)
        if value in expected and not np.array_equal(expected[value], recorded.data):
            raise CheckpointError(
                f"{export.name}: {name}",
                f"differs from {recorded_as[value][0]}, which records the same value",
                "Take all files from one export",
            )
        expected.setdefault(value, recorded.data)
        recorded_as[value] = (*recorded_as.get(value, ()), name)
    return Vectors(tokens, expected, recorded_as, f"Intel fixed-point export {export.name}"), notes


def _check_recorded(export, network, name, value, recorded: Recorded, token_shape) -> None:
    where = f"{export.name}: recorded {name}"
    if value == TOKEN_VALUE:
        size, exponent = network.input_size, network.input_format.exponent
    else:
        group, _, part = value.rpartition(".")
        size = network.group(group).size
        exponent = network.group(group).formats[part].exponent
    shape = (*token_shape[:2], size)
    if recorded.data.shape != shape:
        raise CheckpointError(
            where,
            f"has (time, batch, features) {recorded.data.shape}, the model has {shape}",
            "Take all files from one export",
        )
    if recorded.format.exponent != exponent:
        raise CheckpointError(
            where,
            f"has exponent {recorded.format.exponent}, the model computes {exponent}",
            "Take all files from one export",
        )
