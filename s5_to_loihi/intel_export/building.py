"""From an export to its model, with every data-dependent exponent frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import Format, limits
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export.entries import Entries
from s5_to_loihi.intel_export.exponents import freeze, frozen_names
from s5_to_loihi.intel_export.export import (
    ACTIVATIONS_FILE,
    IO_FILE,
    MODEL_FILE,
    IntelExport,
    recorded_input,
)
from s5_to_loihi.intel_export.model import Block, Dense, Glu, Norm, QuantizedS5, StateSpace
from s5_to_loihi.intel_export.options import (
    ExportOptions,
    find_glu,
    find_symmetry,
    refuse_arguments,
)
from s5_to_loihi.network.network import Readout

#: (block, step) -> exponent, of the steps of ``frozen_names``.
Exponents = Mapping[tuple[int, str], int]


def to_model(
    export: IntelExport, options: ExportOptions = ExportOptions()
) -> tuple[QuantizedS5, list[str]]:
    """Return the model of an export and notes on what was found out, guessed or recomputed.

    Raises:
        CheckpointError: missing or unsuitable entries, or a model that the chip cannot run.
    """
    notes: list[str] = []
    entries = Entries(f"{export.name}/{MODEL_FILE}", export.params, export.qconfig)
    refuse_arguments(export)
    count = _count_blocks(entries)
    glu = options.glu or find_glu(export, entries, notes)
    symmetric = options.conjugate_symmetric
    if symmetric is None:
        symmetric = find_symmetry(export, notes)
    length = options.sequence_length
    tokens = recorded_input(export)
    if options.readout is Readout.MEAN and length is None:
        length = len(tokens)
        notes.append(f"sequence length: {length} tokens, taken from the recorded input")

    def build(exponents: Exponents) -> QuantizedS5:
        return QuantizedS5(
            name=export.name,
            encoder=entries.dense("encoder/encoder", None),
            blocks=tuple(
                _block(entries, index, glu, symmetric, exponents) for index in range(count)
            ),
            decoder=entries.dense("decoder", None),
            readout=options.readout,
            sequence_length=length,
        )

    _check_widths(build({}), tokens)
    exponents = _frozen_exponents(export, build, tokens, notes)
    return build(exponents), notes


def _count_blocks(entries: Entries) -> int:
    names = [name for name in entries.keys("encoder") if name.startswith("layers_")]
    if not names:
        raise CheckpointError(entries.where, "encoder has no entry 'layers_0'", "Export again")
    if sorted(names) != sorted(f"layers_{index}" for index in range(len(names))):
        raise CheckpointError(entries.where, f"has blocks {sorted(names)}, not 0 to n - 1")
    return len(names)


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


def _frozen_exponents(
    export: IntelExport,
    build: Callable[[Exponents], QuantizedS5],
    tokens: np.ndarray,
    notes: list[str],
) -> Exponents:
    if not export.has_activations:
        notes.append(
            "exponents of batch norm and residual: recomputed with Intel's rule from"
            f" {IO_FILE} ({tokens.shape[1]} x {tokens.shape[0]} tokens)"
        )
        return freeze(build, tokens)
    notes.append(f"exponents of batch norm and residual: frozen from {ACTIVATIONS_FILE}")
    exponents = {}
    for index, block in enumerate(build({}).blocks):
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


def _block(
    entries: Entries,
    index: int,
    glu: GluVariant,
    symmetric: bool,
    exponents: Exponents,
) -> Block:
    path = f"encoder/layers_{index}"
    ssm = _state_space(entries, path, symmetric)
    width = ssm.d.data.size

    def frozen(step: str) -> Format:
        # While exponents are still being found, any that can be lowered will do: the decoder
        # lowers a large one, products shift right to a small one.
        unknown = 15 if step == "total" else 0
        return Format(16, exponents.get((index, step), unknown))

    return Block(
        norm=_norm(entries, path, width, frozen),
        ssm=ssm,
        glu=_glu(entries, path, glu, width, ssm.y),
        total=frozen("total"),
    )


def _state_space(entries: Entries, path: str, symmetric: bool) -> StateSpace:
    mixer = f"{path}/mixer"
    if "B_bias_real" in entries.keys(mixer):
        raise entries.error(
            mixer,
            "has B_bias_real: batch norm was fused into B, which Intel's code computes wrongly",
            "Export without --fuse_batchnorm",
        )
    a_re = entries.tensor(f"{mixer}/A_real", (None,))
    states = a_re.data.size
    d = entries.tensor(f"{mixer}/D", (None,))
    width = d.data.size
    c_re = entries.get("params", f"{mixer}/C_real")
    if getattr(c_re, "shape", None) == (width, 2 * states):
        raise entries.error(
            f"{mixer}/C_real",
            f"has {2 * states} columns for {states} states, as a bidirectional model has: it reads"
            " the sequence backwards as well, so no output is known before the last token",
            "Train a unidirectional model",
        )
    return StateSpace(
        a_re=a_re,
        a_im=entries.tensor(f"{mixer}/A_imag", (states,)),
        b_re=entries.tensor(f"{mixer}/B_real", (states, width)),
        b_im=entries.tensor(f"{mixer}/B_imag", (states, width)),
        c_re=entries.tensor(f"{mixer}/C_real", (width, states)),
        c_im=entries.tensor(f"{mixer}/C_imag", (width, states)),
        d=d,
        u=entries.format(f"{mixer}/u"),
        bu_re=entries.format(f"{mixer}/Bu_re"),
        bu_im=entries.format(f"{mixer}/Bu_im"),
        x_re=entries.format(f"{mixer}/x_re"),
        x_im=entries.format(f"{mixer}/x_im"),
        y=entries.format(f"{mixer}/y"),
        conjugate_symmetric=symmetric,
    )


def _norm(entries: Entries, path: str, width: int, frozen: Callable[[str], Format]) -> Norm:
    keys = entries.keys(f"{path}/norm")
    if "mean" not in keys:
        raise entries.error(
            f"{path}/norm",
            f"has {', '.join(sorted(keys)) or 'nothing'} and no mean, as layer norm has, which"
            " Intel's fixed-point model does not compute",
            "Train with batch norm, or quantize the float checkpoint",
        )
    mean = entries.tensor(f"{path}/norm/mean", (width,), negated=True)
    scale = entries.tensor(f"{path}/norm/scale", (width,)) if "scale" in keys else None
    bias = entries.tensor(f"{path}/norm/bias", (width,)) if "bias" in keys else None
    return Norm(
        minus_mean=mean,
        inverse_deviation=entries.tensor(f"{path}/norm/invsq_var", (width,)),
        scale=scale,
        bias=bias,
        centred=frozen("centred"),
        normalised=frozen("normalised"),
        scaled=frozen("scaled") if scale else None,
        shifted=frozen("shifted") if bias else None,
    )


def _glu(entries: Entries, path: str, variant: GluVariant, width: int, y: Format) -> Glu:
    if variant is GluVariant.NONE:
        return Glu(variant, None, None, y, y, y)
    gate = _square(entries, f"{path}/out2", width)
    value = _square(entries, f"{path}/out1", width) if variant is GluVariant.FULL else None
    left, right, result = (entries.format(f"{path}/multgate/{name}") for name in ("l", "r", "res"))
    return Glu(variant, gate, value, left, right, result)


def _square(entries: Entries, path: str, width: int) -> Dense:
    dense = entries.dense(path, width)
    if dense.bias.data.size != width:
        what = f"has {dense.bias.data.size} outputs, the block is {width} wide"
        raise entries.error(f"{path}/weight", what)
    return dense
