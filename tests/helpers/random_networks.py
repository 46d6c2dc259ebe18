"""Random models with their networks, and what the big-integer model says that they compute."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import big_integer_model
import numpy as np

from s5_to_loihi.bundle.vectors import TOKEN_VALUE
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export import (
    ExportOptions,
    IntelExport,
    Recorded,
    to_model,
    value_names,
)
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import QuantizedS5
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.network.verifier import verify
from s5_to_loihi.passes.pipeline import run_passes

NORMS = {"plain": (), "scale": ("scale",), "bias": ("bias",), "scale_bias": ("scale", "bias")}


@dataclass(frozen=True)
class Case:
    """What varies between random models; ``norm`` is one of ``NORMS``."""

    glu: str = "half1"
    conjugate_symmetric: bool = True
    readout: str = "each_token"
    sequence_length: int | None = None
    norm: str = "plain"
    features_in: int = 3
    width: int = 4
    states: int = 5
    blocks: int = 2
    features_out: int = 2
    density: float = 0.7
    seed: int = 1

    def __str__(self):
        return (
            f"{self.glu}-{'half' if self.conjugate_symmetric else 'all'}-{self.readout}"
            f"-{self.norm}-{self.width}x{self.states}x{self.blocks}"
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """A random model: as an export would hold it, and compiled."""

    case: Case
    params: Mapping[str, Any]
    qconfig: Mapping[str, Any]
    exponents: Mapping[str, int]
    model: QuantizedS5
    network: Network


def sample(case: Case) -> Sample:
    """Make the random model of a case and compile it as an export is."""
    params, qconfig, exponents = big_integer_model.random_model(
        np.random.default_rng(case.seed),
        features_in=case.features_in,
        width=case.width,
        states=case.states,
        blocks=case.blocks,
        features_out=case.features_out,
        glu=case.glu,
        norm_scale_bias=case.norm != "plain",
        density=case.density,
    )
    for name, layer in params["encoder"].items():
        if name.startswith("layers_"):
            norm = layer["norm"]
            # Intel quantizes the negated mean, so that the export never holds the lowest integer.
            norm["mean"] = np.maximum(norm["mean"], 1 - 2**15)
            kept = ("mean", "invsq_var", *NORMS[case.norm])
            layer["norm"] = {key: norm[key] for key in norm if key in kept}
    return compiled(case, params, qconfig, exponents)


def compiled(case: Case, params, qconfig, exponents) -> Sample:
    """Compile a model given as an export would hold it."""
    anything = np.zeros((1, 1, case.features_in), dtype=np.int64)
    recorded = {"INPUT": Recorded(anything, Format(16, 0))}
    recorded |= {name: Recorded(anything, Format(16, one)) for name, one in exponents.items()}
    export = IntelExport("random", params, qconfig, recorded, True, {}, ())
    options = ExportOptions(
        GluVariant(case.glu),
        case.conjugate_symmetric,
        Readout(case.readout),
        case.sequence_length,
    )
    model, _ = to_model(export, options)
    return Sample(case, params, qconfig, exponents, model, run_passes(lower(model)))


def narrowed(network: Network, bits: int) -> Network:
    """The network with state registers of at most so many bits."""
    groups = []
    for group in network.groups:
        if group.kind.name == "state":
            widths = {
                name: Format(min(bits, group.formats[name].bits), group.formats[name].exponent)
                for name in ("x_re", "x_im", "g_re", "g_im")
            }
            constants = group.constants._replace(x_re=widths["x_re"], x_im=widths["x_im"])
            group = replace(group, constants=constants, formats={**group.formats, **widths})
        groups.append(group)
    network = replace(network, groups=tuple(groups))
    verify(network)
    return network


def random_tokens(seed: int, count: int, batch: int, features: int) -> np.ndarray:
    """(count, batch, features) int16 of all kinds: moderate, anywhere, all at one end, zero."""
    rng = np.random.default_rng(seed)
    shape = (count, batch, features)
    kinds = (
        big_integer_model.random_int16(rng, shape, 12),
        rng.integers(-(2**15), 2**15, shape),
        rng.choice([-(2**15), 2**15 - 1], shape),
        np.broadcast_to(rng.choice([-(2**15), 2**15 - 1], (count, batch, 1)), shape),
        np.zeros(shape, dtype=np.int64),
    )
    picked = rng.choice(len(kinds), (count, batch, 1), p=[0.5, 0.2, 0.1, 0.1, 0.1])
    return np.choose(picked, kinds).astype(np.int64)


def expected_values(sample: Sample, network: Network, tokens: np.ndarray) -> dict:
    """``group.value`` -> (tokens, batch, neurons) by the big-integer model, state widths as the
    network has them."""
    case = sample.case
    sequences = [
        big_integer_model.evaluate(
            sample.params,
            sample.qconfig,
            sample.exponents,
            tokens[:, index],
            glu=case.glu,
            conjugate_symmetric=case.conjugate_symmetric,
            readout=case.readout,
            sequence_length=case.sequence_length,
            state_bits={
                block: network.group(f"block{block}.state").formats["x_re"].bits
                for block in range(case.blocks)
            },
        )
        for index in range(tokens.shape[1])
    ]
    recorded = {
        name.removesuffix("_int"): np.stack([one[name] for one in sequences], axis=1)
        for name in sequences[0]
    }
    names = value_names(network, recorded)
    if case.readout == "mean":
        # Of the mean there are no recordings of Intel's; these names are the big-integer model's.
        names |= {
            "mean": "mean.mean",
            "decoder/__call__": "decoder.affine",
            "output": "decoder.affine",
            "OUTPUT": "decoder.activation",
        }
    assert set(names) == set(recorded), "a tensor has no counterpart in the network"
    values: dict[str, np.ndarray] = {}
    for name, value in names.items():
        np.testing.assert_array_equal(values.setdefault(value, recorded[name]), recorded[name])
    np.testing.assert_array_equal(values.pop(TOKEN_VALUE), tokens)
    return values
