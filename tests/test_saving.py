"""From modules in memory to our own format."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from needs import needs_torch

import s5_to_loihi as s5
from s5_to_loihi import float_model
from s5_to_loihi.checkpoints import flax_msgpack, torch_archive
from s5_to_loihi.checkpoints.description import load_model
from s5_to_loihi.errors import CheckpointError

RECORDED = Path(__file__).parent / "data" / "checkpoints"
S5_PYTORCH = RECORDED / "s5_pytorch_sequential.pt"
BLOCK = {
    "kind": "s5", "discretization": "zoh", "conjugate_symmetric": False,
    "norm": {"kind": "layer"}, "activation": "silu", "glu": "none",
}  # fmt: skip


def saved(folder: Path) -> float_model.S5Model:
    return load_model(folder / "model.yaml")[0]


def assert_computes_the_recorded(model, name: str) -> None:
    vectors = np.load(RECORDED / f"{name}_vectors.npz")
    got = float_model.evaluate(model, vectors["tokens"].astype(float))
    np.testing.assert_allclose(got, vectors["output_double"], rtol=1e-9, atol=1e-9)


def test_a_module_of_s5_pytorch(tmp_path):
    class Module:
        """What is asked of a module."""

        def state_dict(self):
            return torch_archive.read(S5_PYTORCH)

    notes = s5.save_from_torch(Module(), tmp_path / "made")
    assert any("discretization" in note for note in notes)
    assert_computes_the_recorded(saved(tmp_path / "made"), "s5_pytorch_sequential")


def tensors(width=3, states=2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "blocks.0.ssm.eigenvalues": -0.5 + 1j * np.arange(states),
        "blocks.0.ssm.step": np.full(states, 0.1),
        "blocks.0.ssm.b": rng.normal(size=(states, width, 2)),
        "blocks.0.ssm.c": rng.normal(size=(width, states, 2)),
        "blocks.0.ssm.d": np.ones(width),
    }


@needs_torch
def test_real_tensors(tmp_path):
    import torch

    made = {name: torch.tensor(array, requires_grad=True) for name, array in tensors().items()}
    made["blocks.0.ssm.d"] = torch.ones(3, dtype=torch.bfloat16)
    made["blocks.0.ssm.eigenvalues"] = made["blocks.0.ssm.eigenvalues"].conj()
    s5.save_from_torch(made, tmp_path / "made", blocks=[BLOCK], readout="last")
    model = saved(tmp_path / "made")
    np.testing.assert_array_equal(model.blocks[0].ssm.eigenvalues, -0.5 - 1j * np.arange(2))
    assert model.readout is s5.Readout.LAST
    assert model.blocks[0].activation is float_model.Activation.SILU


def test_a_tree_of_flax(tmp_path):
    """Nested mappings of arrays, as ``flax.serialization`` gives them, and dataclasses."""
    pytest.importorskip("msgpack", reason="install msgpack (pip install s5_to_loihi[flax])")
    arrays = flax_msgpack.read(RECORDED / "s5_flax_prenorm.msgpack")
    tree: dict = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    s5.save_from_tree(tree, tmp_path / "made")
    assert saved(tmp_path / "made").blocks

    @dataclass
    class Module:
        blocks: list
        activation: object = np.tanh

    part: dict = {}
    for name, array in tensors().items():
        _, _, *path, last = name.split(".")
        node = part
        for one in path:
            node = node.setdefault(one, {})
        node[last] = array
    s5.save_from_tree(Module([part]), tmp_path / "other", blocks=[BLOCK], separator=".")
    assert len(saved(tmp_path / "other").blocks[0].ssm.d) == 3


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {}, "holds arrays that are not those of a known S5 model"),
        ({}, {"readout": "last"}, "readout: is given without blocks"),
        ({"blocks.0.ssm.d": np.ones(4)}, {"blocks": [BLOCK]}, "expected"),
        ({"other": np.ones(4)}, {"blocks": [BLOCK]}, "unknown parameters: other"),
        ({"other": "text"}, {"blocks": [BLOCK]}, "other: is no tensor of numbers"),
        ({}, {"blocks": [{**BLOCK, "norm": {"kind": "group"}}]}, "known: batch, layer, rms"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing(tmp_path, changes, options, message):
    with pytest.raises(CheckpointError, match=message):
        s5.save_from_torch({**tensors(), **changes}, tmp_path / "made", **options)
    assert not (tmp_path / "made").exists()
