"""Intel's fixed-point model (IntelLabs/SparseRNNs) on the same integers; see simulators.py."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from rich.console import Console
from simulator_ways import (
    INTEL,
    INTEL_STEP,
    Lengths,
    Subject,
    Way,
    timed,
)

#: Imported by Intel's package for training and fake quantization; the fixed-point model calls
#: nothing of it, and the published version lacks a name that Intel's fork has.
UNUSED = ("", ".jax", ".jax.v2", ".jax.v2.config", ".jax.v2.aqt_dot_general", ".jax.v2.flax")
UNUSED_MODULES = tuple(f"aqt{name}" for name in (*UNUSED, ".jax.v2.flax.aqt_flax"))


def intel_ways(subject: Subject, path: Path, lengths: Lengths, console: Console) -> list[Way]:
    """Intel's model, built from the integers of the export; its warnings are switched off."""
    try:
        fxpmodel, fxparray = import_intel(path)
    except ImportError as problem:
        console.print(
            f"Intel's model is left out: {problem}. It needs: pip install jax flax jaxtyping",
            soft_wrap=True,
        )
        return []
    with contextlib.redirect_stdout(io.StringIO()):
        model = intel_model(fxpmodel, fxparray, subject)
    jnp, bits, exponent = fxpmodel.np, *subject.network.input_format

    def run(tokens: np.ndarray) -> np.ndarray:
        given = fxparray.FxpArray(jnp.asarray(tokens, dtype=jnp.int32), bits, exponent, True)
        return np.asarray(model(given).data)

    assert subject.export
    recorded = subject.export.recorded
    answer = run(recorded["INPUT"].data.transpose(1, 0, 2)).transpose(1, 0, 2)
    differing = int((answer != recorded["OUTPUT"].data).sum())
    console.print(
        f"Intel's model on the recorded input: {differing} of {answer.size:,} integers differ from"
        " the recorded output."
    )
    tokens = subject.tokens[:, 0]
    unequal = float((run(tokens) != subject.expected[:, 0]).mean())
    run(tokens[:1])
    return [
        Way(
            INTEL,
            timed(lambda: run(tokens), len(tokens)),
            lengths.slow_rounds,
            "equal" if unequal == 0 else f"{100 * unequal:.2g} % differ: own exponents",
        ),
        Way(INTEL_STEP, timed(lambda: run(tokens[:1]), 1), lengths.slow_rounds, "no state kept"),
    ]


def import_intel(path: Path):
    """Import Intel's modules from a checkout, without the package for training."""
    sys.path.insert(0, str(path))
    stubs = {name: mock.MagicMock() for name in UNUSED_MODULES if name not in sys.modules}
    try:
        with mock.patch.dict(sys.modules, stubs):
            fxpmodel = importlib.import_module("sparseRNNs.fxpmodel")
            fxparray = importlib.import_module("sparseRNNs.fxparray")
            # What was imported for the first time meanwhile must stay imported.
            imported = {k: v for k, v in sys.modules.items() if k not in UNUSED_MODULES}
    finally:
        sys.path.remove(str(path))
    sys.modules.update(imported)
    logging.getLogger("ncl-dl-stack").setLevel(logging.CRITICAL)
    vars(fxparray)["print_call_stack"] = lambda: None
    return fxpmodel, fxparray


def intel_model(fxpmodel, fxparray, subject: Subject):
    """Return a FxpRegressionModel that holds the integers of the export."""
    assert subject.export
    params, qconfig = subject.export.params, subject.export.qconfig
    blocks = range(len(subject.model.blocks))
    names = [f"layers_{index}" for index in blocks]
    layers = {
        name: intel_layer(params["encoder"][name], qconfig["encoder"][name]) for name in names
    }
    ssm = subject.model.blocks[0].ssm
    mixer_cls = fxpmodel.FxpSSM.init_fn(
        H=ssm.d.data.size,
        P=ssm.a_re.data.size,
        discretization="zoh",
        conj_sym=ssm.conjugate_symmetric,
    )
    encoder, decoder = (
        intel_dense(params[at][name] if name else params[at], config)
        for at, name, config in (
            ("encoder", "encoder", qconfig["encoder"]["encoder"]),
            ("decoder", "", qconfig["decoder"]),
        )
    )
    model = fxpmodel.FxpRegressionModel(
        modeldict={
            "encoder": {"encoder": encoder[0]} | {name: layer[0] for name, layer in layers.items()},
            "decoder": decoder[0],
        },
        fxp_qconfig={
            "encoder": encoder[1],
            "decoder": decoder[1],
            "blocks": {name: layer[1] for name, layer in layers.items()},
        },
        scope="model",
        store_intermediates=False,
        mixer_cls=mixer_cls,
        n_layers=len(names),
        d_model=ssm.d.data.size,
        prenorm=True,
        glu_variant=subject.model.blocks[0].glu.variant.value,
        relufication=True,
        dropout=0.0,
        training=False,
    )
    for name, layer in zip(names, model.encoder.seq_layers, strict=True):
        put_integers(fxparray, layer, params["encoder"][name], qconfig["encoder"][name])
    return model


def intel_dense(params, config) -> tuple[dict, dict]:
    """Return a dense layer's floats, which Intel's code turns back into integers, and formats."""
    floats = {
        "kernel": floats_of(params["weight"], config["weight_exp"]),
        "bias": floats_of(params["bias"], config["bias_exp"]),
    }
    names = {"w": "weight", "b": "bias", "inp": "inp", "out": "out"}
    return floats, {
        f"{short}_{part}": int(config[f"{name}_{part}"])
        for short, name in names.items()
        for part in ("bits", "exp")
    }


def floats_of(integers, exponent) -> np.ndarray:
    """Return the values of integers below 2**24: exact."""
    return np.asarray(integers, dtype=np.float32) / np.float32(2.0 ** int(exponent))


def formats_of(config, **names: str) -> dict:
    """Return name -> bits and exponent, as the constructors of Intel's model expect them."""
    return {
        own: {part: int(config[f"{name}_{part}"]) for part in ("bits", "exp")}
        for own, name in names.items()
    }


def intel_layer(params, config) -> tuple[dict, dict]:
    """Return a block's floats and formats; its norm and state space are put in afterwards."""
    norm, mixer = config["norm"], config["mixer"]
    states, width = params["mixer"]["B_real"].shape
    floats = {
        "norm": {
            name: floats_of(params["norm"][name], norm[f"{name}_exp"])
            for name in ("mean", "scale", "bias")
            if name in params["norm"]
        }
        | {"var": np.ones(width, dtype=np.float32)},
        "mixer": {
            "B": np.zeros((states, width, 2), dtype=np.float32),
            "C": np.zeros((width, states, 2), dtype=np.float32),
            "D": np.zeros(width, dtype=np.float32),
            "Lambda_re": -np.ones(states, dtype=np.float32),
            "Lambda_im": np.zeros(states, dtype=np.float32),
            "log_step": np.zeros((states, 1), dtype=np.float32),
        },
    }
    weights = {f"{m}_{part[:2]}": f"{m}_{part}" for m in "ABC" for part in ("real", "imag")}
    formats = {
        "norm": formats_of(
            norm, **{name.removesuffix("_exp"): name[:-4] for name in norm if name.endswith("_exp")}
        ),
        "ssm": {
            "weights": formats_of(mixer, **weights, D="D"),
            "activations": formats_of(
                mixer, **{name: name for name in ("u", "Bu_re", "Bu_im", "x_re", "x_im", "y")}
            ),
        },
    }
    for name in ("out1", "out2"):
        if name in params:
            floats[name], formats[name] = intel_dense(params[name], config[name])
    if "multgate" in config:
        formats["multgate"] = {name: int(number) for name, number in config["multgate"].items()}
    return floats, formats


def put_integers(fxparray, layer, params, config) -> None:
    """Put the exported integers where Intel's code would have discretized its own."""

    def tensor(section: str, name: str):
        data = fxparray.np.asarray(np.asarray(params[section][name]), dtype=np.int32)
        bits, exponent = (int(config[section][f"{name}_{part}"]) for part in ("bits", "exp"))
        return fxparray.FxpArray(data, bits, exponent, True)

    def pair(name: str):
        return fxparray.ComplexFxpArray(
            tensor("mixer", f"{name}_real"), tensor("mixer", f"{name}_imag")
        )

    layer.norm.invsq_var = tensor("norm", "invsq_var")
    layer.mixer.Lambda_bar, layer.mixer.B_bar, layer.mixer.C_tilde = map(pair, "ABC")
    layer.mixer.D = tensor("mixer", "D")
