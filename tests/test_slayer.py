"""The S5 block between blocks of the real lava-dl: it trains; its file, compiled, computes that.

lava-dl's object detection pulls in torchvision and OpenCV, which are not used here. For a Python of
its own that has lava-dl (docs/netx.md), as ``tests/live``.
"""

import importlib.util
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install 's5_to_loihi[train]'")
h5py = pytest.importorskip("h5py", reason="h5py is missing: pip install 's5_to_loihi[netx]'")

from s5_to_loihi.compiler import compile_netx  # noqa: E402
from s5_to_loihi.fixed_point import to_floats, to_integers  # noqa: E402
from s5_to_loihi.simulators.interpreter import Interpreter  # noqa: E402
from s5_to_loihi.training.slayer import S5  # noqa: E402


def has_lava_dl() -> bool:
    try:
        return importlib.util.find_spec("lava.lib.dl") is not None
    except ModuleNotFoundError:
        return False


pytestmark = [
    pytest.mark.skipif(
        not has_lava_dl(), reason="lava-dl is missing: docs/netx.md says how to install it"
    ),
    pytest.mark.filterwarnings("ignore"),
]
NEURON = {"threshold": 1 / 64, "tau_grad": 0.1, "scale_grad": 1, "activation": torch.relu}
SIZES, STATES = (4, 10, 3), 6


@pytest.fixture(scope="module")
def blocks():
    """SLAYER's blocks for sigma-delta neurons."""
    from s5_to_loihi.lava_runtime import shim

    missing = [one for one in ("torchvision", "cv2") if importlib.util.find_spec(one) is None]
    for name in missing:
        for part in ("", ".ops", ".transforms", ".transforms.functional"):
            sys.modules[name + part] = MagicMock()
    shim.install()
    from lava.lib.dl.slayer.block import sigma_delta

    return sigma_delta


class Net(torch.nn.Module):
    """Input, dense, S5, dense: lava-dl's own blocks but for the third."""

    def __init__(self, blocks, hook=None):
        super().__init__()
        inputs, hidden, outputs = SIZES
        self.blocks = torch.nn.ModuleList(
            [
                blocks.Input(NEURON),
                blocks.Dense(NEURON, inputs, hidden),
                S5(NEURON, hidden, STATES, pre_hook_fx=hook, seed=1),
                blocks.Output(NEURON, hidden, outputs),
            ]
        )

    def forward(self, values):
        for block in self.blocks:
            values = block(values)
        return values

    def write(self, path):
        with h5py.File(path, "w") as file:
            for number, block in enumerate(self.blocks):
                block.export_hdf5(file.create_group(f"layer/{number}"))


def walks(count, length, seed):
    """Values (N, C, T) in steps of 2**-6 that change slowly, and a delayed mixture of them."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0, 0.15, (count, SIZES[0], length)), axis=-1)
    values = np.rint(np.clip(values, -2, 2) * 64) / 64
    mixing = np.random.default_rng(9).normal(0, 0.5, (SIZES[2], SIZES[0]))
    delayed = np.pad(values, ((0, 0), (0, 0), (4, 0)))[..., :length]
    wanted = np.einsum("oc,nct->not", mixing, delayed)
    return (torch.tensor(one, dtype=torch.float32) for one in (values, wanted))


def trained(blocks, steps=60):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net, losses = Net(blocks), []
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(steps):
        values, wanted = walks(8, 40, seed=step)
        loss = (net(values) - wanted).square().mean() / wanted.square().mean()
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            for name, parameter in net.named_parameters():
                if parameter.requires_grad and "blocks.2" in name:
                    assert torch.isfinite(parameter.grad).all(), name
                    assert parameter.grad.abs().max() > 0, name
            assert net.blocks[1].synapse.weight.grad.abs().max() > 0
        optimiser.step()
        losses.append(float(loss))
    return net.eval(), losses


def test_it_trains_between_their_blocks_and_its_file_is_compiled(blocks, tmp_path):
    net, losses = trained(blocks)
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:3])
    net.write(tmp_path / "mixed.net")
    values, _ = walks(3, 60, seed=1000)
    with torch.no_grad():
        wanted = net(values).numpy()
    tokens = values.permute(2, 0, 1).double().numpy()  # (T, N, C)
    network = compile_netx(tmp_path / "mixed.net", tokens=tokens).network
    integers, clipped = to_integers(tokens, network.input_format)
    assert not clipped
    outputs = Interpreter(network).evaluate(integers).outputs
    got = to_floats(outputs, network.output_format).transpose(1, 2, 0)
    assert wanted.std() > 0.1
    # SLAYER's floats are not cut to what messages and weights have as integers.
    assert (got - wanted).std() < 0.05 * wanted.std()


def test_hooks_and_counts_are_theirs(blocks):
    """``pre_hook_fx`` takes their quantizer; ``count_log`` gives a share, ``shape`` their size."""
    dense = blocks.Dense(NEURON, *SIZES[:2])
    block = S5(NEURON, SIZES[1], STATES, pre_hook_fx=dense.neuron.quantize_8bit, count_log=True)
    values, _ = walks(2, 30, seed=1)
    sent, share = block(dense(values))
    assert sent.shape == (2, SIZES[1], 30)
    assert 0 < float(share) <= 1
    assert block.shape == dense.shape == torch.Size([SIZES[1]])
    weight = block.model().blocks[0].gate.weight * 64
    np.testing.assert_array_equal(weight, np.rint(weight))
    sent.square().sum().backward()
    assert dense.synapse.weight.grad.abs().max() > 0
