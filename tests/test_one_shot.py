"""Pruning in one shot: what is removed and what makes up for it, against least squares."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from float_models import FloatCase, calibration, random_model

from s5_to_loihi import bundle, float_model
from s5_to_loihi.checkpoints.description import save_model
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.quantization.one_shot import RIDGE, prune_model, prune_rows

CASE = FloatCase(width=10, states=8, blocks=2, glu=GluVariant.FULL, density=1.0)


def problem(seed: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix, correlated inputs, and their second moments with the ridge."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(400, columns)) @ rng.normal(size=(columns, columns))
    moments = inputs.T @ inputs / len(inputs)
    moments += np.diag(RIDGE * np.diag(moments) + 1e-6 * np.diag(moments).mean())
    return rng.normal(size=(rows, columns)), inputs, moments


def refitted(row: np.ndarray, moments: np.ndarray, kept: list[int]) -> tuple[np.ndarray, float]:
    """The weights that stay, by least squares, and what the removal of the others costs."""
    found = np.zeros(len(row))
    found[kept] = np.linalg.solve(moments[np.ix_(kept, kept)], moments[kept] @ row)
    return found, float((found - row) @ moments @ (found - row))


@pytest.mark.parametrize("seed", range(6))
def test_the_cheapest_weight_goes_and_the_rest_are_refitted(seed):
    weight, inputs, moments = problem(seed, 3, 6)
    found = prune_rows(weight, inputs, 1 / 18)
    options = [
        (*refitted(weight[row], moments, [j for j in range(6) if j != gone]), row, gone)
        for row, gone in itertools.product(range(3), range(6))
    ]
    best, _, row, gone = min(options, key=lambda option: option[1])
    assert list(zip(*np.nonzero(found == 0), strict=True)) == [(row, gone)]
    np.testing.assert_allclose(found[row], best, atol=1e-9)
    others = [other for other in range(3) if other != row]
    np.testing.assert_allclose(found[others], weight[others])


@pytest.mark.parametrize("seed", range(6))
def test_what_stays_is_refitted_however_many_go(seed):
    weight, inputs, moments = problem(seed, 4, 9)
    found = prune_rows(weight, inputs, 0.6, kept=1)
    assert np.count_nonzero(found == 0) == round(0.6 * 4 * 8)
    assert found[:, -1].all()
    for before, after in zip(weight, found, strict=True):
        kept = np.flatnonzero(after).tolist()
        np.testing.assert_allclose(after, refitted(before, moments, kept)[0], atol=1e-8)


def test_every_matrix_loses_its_share_and_the_model_less_than_by_magnitude():
    model, data = random_model(CASE), calibration(CASE, 600)
    pruned = prune_model(model, data, 0.5)
    wanted = float_model.evaluate(model, data)

    def parts(found):
        yield found.encoder.weight
        for block in found.blocks:
            yield np.stack([block.ssm.b.real, block.ssm.b.imag])
            yield np.stack([block.ssm.c.real, block.ssm.c.imag])
            yield block.value.weight
            yield block.gate.weight
        yield found.decoder.weight

    for before, after in zip(parts(model), parts(pruned), strict=True):
        assert after.shape == before.shape
        assert np.count_nonzero(after == 0) >= round(0.5 * before.size)

    def smallest_gone(weight):
        flat = np.ascontiguousarray(weight).view(float)
        return np.where(np.abs(flat) > np.median(np.abs(flat)), flat, 0).view(weight.dtype)

    def affine(found):
        return replace(found, weight=smallest_gone(found.weight))

    by_magnitude = replace(
        model,
        encoder=affine(model.encoder),
        decoder=affine(model.decoder),
        blocks=tuple(
            replace(
                block,
                ssm=replace(block.ssm, b=smallest_gone(block.ssm.b), c=smallest_gone(block.ssm.c)),
                value=affine(block.value),
                gate=affine(block.gate),
            )
            for block in model.blocks
        ),
    )
    errors = [
        np.square(float_model.evaluate(one, data) - wanted).mean() for one in (pruned, by_magnitude)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_what_cannot_be_pruned_is_refused():
    model, data = random_model(CASE), calibration(CASE, 100)
    with pytest.raises(InputError, match="sparsity"):
        prune_model(model, data, 1.0)
    ssm = model.blocks[0].ssm
    both_ways = replace(model.blocks[0], ssm=replace(ssm, bidirectional_c=ssm.c))
    with pytest.raises(CheckpointError, match="block0: has maps"):
        prune_model(replace(model, blocks=(both_ways,)), data, 0.5)


def test_the_command_line_prunes_quantizes_and_says_so(tmp_path, call):
    model = random_model(CASE)
    save_model(model, tmp_path / "dense")
    np.save(tmp_path / "frames.npy", calibration(CASE, tokens=300))
    given = ("quantize", tmp_path / "dense", "--calibration", tmp_path / "frames.npy")
    code, out, error = call(*given, "--prune", 0.5, "-o", tmp_path / "sparse.bundle")
    assert code == 0, error
    assert "dB, which the report leaves out" in " ".join(out.split())
    written = bundle.read(tmp_path / "sparse.bundle")
    assert any("pruned in one shot to 50% zeros" in note for note in written.notes)
    weights = [edge.weights for edge in written.network.synapses if edge.name == "encoder.weight"]
    assert weights[0].nnz <= 0.5 * np.prod(weights[0].shape)
    again = ("--again", tmp_path / "sparse.bundle", "-o", tmp_path / "again.bundle")
    assert call(*given, *again)[0] == 0
    for file in (tmp_path / "sparse.bundle").iterdir():
        assert file.read_bytes() == (tmp_path / "again.bundle" / file.name).read_bytes(), file
