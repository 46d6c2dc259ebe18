"""The recorded integers of an export under this project's names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from s5_to_loihi.bundle.vectors import TOKEN_VALUE, Vectors
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.intel_export.export import IntelExport, Recorded, recorded_input
from s5_to_loihi.network.network import Network, Readout

#: Recorded around the blocks -> ``group.value``.
_NAMES = {
    "INPUT": TOKEN_VALUE,
    "encoder/pre_encoder": TOKEN_VALUE,
    "encoder/encoder/__call__": "encoder.affine",
    "encoder/encoder_output": "encoder.affine",
    "encoder/encoder_output_relu": "encoder.activation",
    "decoder/__call__": "decoder.affine",
    "output": "decoder.affine",
    "OUTPUT": "decoder.activation",
}
#: The same of a block with all that batch norm and gate can have.
_BLOCK_NAMES = {
    "norm/norm_input_minus_mean": "norm.centred",
    "norm/norm_output_raw": "norm.normalised",
    "norm/norm_output_scaled": "norm.scaled",
    "norm/norm_output_scaled_bias": "norm.shifted",
    "norm/norm_output": "norm.shifted",
    "pre_s5": "norm.shifted",
    "mixer/Bu_elements.real": "state.drive_re",
    "mixer/Bu_elements.imag": "state.drive_im",
    "mixer/xs.real": "state.x_re",
    "mixer/xs.imag": "state.x_im",
    "mixer/xs_relu.real": "state.g_re",
    "mixer/xs_relu.imag": "state.g_im",
    "pre_C.real": "state.g_re",
    "pre_C.imag": "state.g_im",
    "mixer/Cxs": "output.projection",
    "mixer/2Cxs": "output.doubled",
    "mixer/Du": "output.feedthrough",
    "mixer/ys": "output.y",
    "pre_GLU": "output.y",
    "out1/__call__": "gate.value_affine",
    "out2/__call__": "gate.gate_affine",
    "out2_sigmoid": "gate.opening",
    "post_GLU": "gate.product",
    "residadd": "gate.total",
    "output": "gate.hidden",
}


def value_names(network: Network, recorded: Mapping[str, object]) -> dict[str, str]:
    """Return Intel's tensor names -> ``group.value`` of a lowered network.

    Names that the network has no value for are left out.
    """
    values = {TOKEN_VALUE} | {
        f"{group.name}.{value}" for group in network.groups for value in group.kind.values
    }
    names = dict(_NAMES)
    hidden = "encoder.activation"
    for index in range(sum(group.name.endswith(".state") for group in network.groups)):
        block, path = f"block{index}", f"encoder/layers_{index}"
        names |= {f"{path}/ssm_input": hidden, f"{path}/norm/norm_input": hidden}
        names |= {f"{path}/{name}": f"{block}.{value}" for name, value in _BLOCK_NAMES.items()}
        if f"{block}.norm.shifted" not in values:
            normalised = f"{block}.norm.normalised"
            names |= {f"{path}/norm/norm_output": normalised, f"{path}/pre_s5": normalised}
        if f"{block}.gate.product" not in values:
            names[f"{path}/post_GLU"] = f"{block}.output.activation"
        hidden = f"{block}.gate.hidden"
        names[f"encoder/layer_{index}_output"] = hidden
    names["encoder_output"] = hidden
    if network.readout is Readout.MEAN:
        # Intel's code decodes every token, and only has a stub for the mean.
        for name in ("decoder/__call__", "output", "OUTPUT"):
            del names[name]
    return {name: value for name, value in names.items() if name in recorded and value in values}


def to_vectors(export: IntelExport, network: Network) -> tuple[Vectors, list[str]]:
    """Return the recorded integers under the network's names, and notes on what is left out.

    Raises:
        CheckpointError: a recorded tensor has another shape or exponent than the network's value,
            or two recordings of one value differ.
    """
    tokens = recorded_input(export)
    names = value_names(network, export.recorded)
    notes: list[str] = []
    unknown = sorted(set(export.recorded) - set(names))
    if unknown:
        notes.append(f"recorded tensors without a counterpart, not compared: {', '.join(unknown)}")
    expected: dict[str, np.ndarray] = {}
    recorded_as: dict[str, tuple[str, ...]] = {}
    for name, value in names.items():
        recorded = export.recorded[name]
        _check_recorded(f"{export.name}: recorded {name}", network, value, recorded, tokens)
        if value in expected and not np.array_equal(expected[value], recorded.data):
            raise CheckpointError(
                f"{export.name}: {name}",
                f"differs from {recorded_as[value][0]}, which records the same value",
                "Take all files from one export",
            )
        expected.setdefault(value, recorded.data)
        recorded_as[value] = (*recorded_as.get(value, ()), name)
    return Vectors(tokens, expected, recorded_as, f"Intel fixed-point export {export.name}"), notes


def _check_recorded(
    where: str, network: Network, value: str, recorded: Recorded, tokens: np.ndarray
) -> None:
    if value == TOKEN_VALUE:
        size, exponent = network.input_size, network.input_format.exponent
    else:
        group, _, part = value.rpartition(".")
        size = network.group(group).size
        exponent = network.group(group).formats[part].exponent
    shape = (*tokens.shape[:2], size)
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
