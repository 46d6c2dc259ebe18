"""Baselines: the dense float model is the float model, and its file is read strictly."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.errors import InputError
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    BatchNorm,
    Discretization,
    GluVariant,
    S5Block,
    S5Model,
    StateSpaceModel,
    evaluate,
)
from s5_to_loihi.profiling import dense_float, runners
from s5_to_loihi.profiling.baselines import (
    STOOD_STILL,
    measure,
    read_baselines,
    write_baselines,
)
from s5_to_loihi.profiling.dense_float import Sizes, random_weights, sizes_of
from s5_to_loihi.profiling.energy import EnergyMeter, cpu_meter
from s5_to_loihi.profiling.runners import token_by_token

SIZES = Sizes(7, 5, 6, 4, 2, encoder=True, decoder=True, gate=True, value=True)


def float_model(sizes: Sizes, weights) -> S5Model:
    """Return the float model that these dense matrices mean."""
    ends, *blocks = weights

    def affine(part, name):
        return Affine(part[name].T, part[f"{name}_bias"])

    def block(part) -> S5Block:
        a = part["a_re"] + 1j * part["a_im"].astype(np.float64)
        eigenvalues, (p, h) = np.log(a), (sizes.states, sizes.width)
        ssm = StateSpaceModel(
            eigenvalues=eigenvalues,
            step=np.ones(p),
            b=(part["b"][:, :p] + 1j * part["b"][:, p:]).T / ((a - 1) / eigenvalues)[:, None],
            c=(part["c"][:p] - 1j * part["c"][p:]).T,
            d=part["d"],
            discretization=Discretization.ZERO_ORDER_HOLD,
            conjugate_symmetric=False,
        )
        glu = GluVariant.FULL if sizes.value else GluVariant.HALF1
        return S5Block(
            norm=BatchNorm(np.zeros(h), np.ones(h), part["scale"], part["shift"], epsilon=0.0),
            ssm=ssm,
            activation=Activation.RELU,
            glu=glu if sizes.gate else GluVariant.NONE,
            value=affine(part, "value") if sizes.value else None,
            gate=affine(part, "gate") if sizes.gate else None,
            rectified=True,
        )

    return S5Model(
        name="dense",
        encoder=affine(ends, "encoder") if sizes.encoder else None,
        rectified_encoder=True,
        blocks=tuple(map(block, blocks)),
        decoder=affine(ends, "decoder") if sizes.decoder else None,
    )


@pytest.mark.parametrize(
    "sizes",
    [
        SIZES,
        dataclasses.replace(SIZES, value=False),
        dataclasses.replace(SIZES, value=False, gate=False, features=6, encoder=False),
        dataclasses.replace(SIZES, outputs=6, decoder=False),
    ],
)
def test_the_dense_model_computes_what_the_float_model_does(sizes):
    weights = random_weights(sizes)
    tokens = np.random.default_rng(2).normal(size=(37, 3, sizes.features)).astype(np.float32)
    expected = evaluate(float_model(sizes, weights), tokens)
    # float32 against float64, over a recurrence of 37 tokens.
    close = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(dense_float.sequence(np, sizes, weights, tokens), expected, **close)
    states = [(np.zeros((3, sizes.states), np.float32),) * 2] * sizes.blocks
    for token, wanted in zip(tokens, expected, strict=True):
        outputs, states = dense_float.step(np, sizes, weights, states, token)
        np.testing.assert_allclose(outputs, wanted, **close)


def test_tokens_one_after_the_other_give_the_same_states():
    jax = pytest.importorskip("jax")
    random = np.random.default_rng(3)
    a = tuple(random.uniform(-0.6, 0.6, (2, 4)).astype(np.float32))
    drive = tuple(random.normal(size=(2, 50, 3, 4)).astype(np.float32))
    for got, expected in zip(
        token_by_token(jax, jax.numpy, a, drive), dense_float.scan(np, a, drive), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_weights_are_counted():
    counted = sum(
        matrix.size
        for part in random_weights(SIZES)
        for matrix in part.values()
        if matrix.ndim == 2
    )
    assert SIZES.weights == counted


def test_sizes_are_those_of_the_network():
    sizes = sizes_of(compile_export(DENOISER).network)
    assert sizes == Sizes(257, 257, 48, 32, 3, encoder=True, decoder=True, gate=True, value=False)


def test_a_counter_that_stands_still_gives_no_energy(monkeypatch):
    meter = EnergyMeter(lambda: 7.0, "all", "a counter that stands still")
    monkeypatch.setattr(runners, "cpu_meter", lambda: meter)
    for row in measure(SIZES, ("numpy",), batch=2, seconds=1e-3).measured:
        assert row.energy is None
        assert row.energy_note == STOOD_STILL


@pytest.mark.parametrize("library", ["numpy", "jax", "torch"])
def test_what_was_measured_is_written_and_read_back(tmp_path, library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    baselines = measure(SIZES, (library,), batch=2, seconds=1e-3)
    streaming, sequence, batch = baselines.measured
    assert streaming.mode == "one token at a time"
    assert sequence.mode != batch.mode
    assert min(row.time.low for row in baselines.measured) > 0
    write_baselines(baselines, tmp_path / "baselines.json")
    assert read_baselines(tmp_path / "baselines.json") == baselines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 1e9}, "is not within"),
        ({"origin": "published"}, "published, not measured"),
        ({"origin": "guessed"}, "origin: is 'guessed'"),
        ({"value": "fast"}, "value: is 'fast'"),
    ],
)
def test_a_file_that_was_not_measured_is_refused(tmp_path, change, message):
    path = tmp_path / "baselines.json"
    write_baselines(measure(SIZES, ("numpy",), batch=1, seconds=1e-4), path)
    content = json.loads(path.read_text())
    content["measured"][0]["time"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_baselines(path)
    assert message in str(error.value)


def test_rapl_is_read_over_its_turns(tmp_path):
    package = tmp_path / "intel-rapl:0"
    (tmp_path / "intel-rapl:0:0").mkdir()
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("5")
    package.mkdir()
    (package / "max_energy_range_uj").write_text("10000000\n")
    (package / "energy_uj").write_text("9000000\n")
    meter = cpu_meter(tmp_path)
    assert meter.joules() == 9.0
    (package / "energy_uj").write_text("2000000\n")
    assert meter.joules() == 12.0


def test_a_machine_without_counters_says_so(tmp_path):
    meter = cpu_meter(tmp_path)
    assert meter.joules is None
    assert meter.source.startswith("no energy: ")
