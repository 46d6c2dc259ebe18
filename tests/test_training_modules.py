"""The torch modules against the float model, the scan against its definition, pruning."""

import dataclasses

import numpy as np
import pytest
from float_models import FloatCase, random_model

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install 's5_to_loihi[train]'")

from s5_to_loihi import audio  # noqa: E402
from s5_to_loihi.errors import CheckpointError, InputError  # noqa: E402
from s5_to_loihi.float_model import (  # noqa: E402
    Activation,
    Discretization,
    GluVariant,
    evaluate,
    recur,
)
from s5_to_loihi.network.network import Readout  # noqa: E402
from s5_to_loihi.training import losses, spectra, synthetic  # noqa: E402
from s5_to_loihi.training.architecture import Architecture, initial_model  # noqa: E402
from s5_to_loihi.training.initialisation import hippo_normal, initial_state_space  # noqa: E402
from s5_to_loihi.training.modules import Model  # noqa: E402
from s5_to_loihi.training.pruning import (  # noqa: E402
    Distribution,
    Pruner,
    Pruning,
    final_sparsities,
)
from s5_to_loihi.training.scan import scan  # noqa: E402
from s5_to_loihi.training.slayer import S5  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


CASES = [
    FloatCase(
        glu=glu,
        activation=activation,
        discretization=discretization,
        conjugate_symmetric=symmetric,
        rectified=rectified,
        rectified_encoder=rectified,
        readout=readout,
    )
    for glu, activation, discretization, symmetric, rectified, readout in (
        (GluVariant.HALF1, Activation.RELU, "zoh", True, True, Readout.EACH_TOKEN),
        (GluVariant.HALF2, Activation.GELU_TANH, "bilinear", False, False, Readout.LAST),
        (GluVariant.FULL, Activation.GELU_ERF, "zoh", True, False, Readout.MEAN),
        (GluVariant.NONE, Activation.RELU, "bilinear", True, True, Readout.EACH_TOKEN),
        (GluVariant.HALF1, Activation.RELU, "dirac", False, True, Readout.EACH_TOKEN),
    )
    for discretization in [Discretization(discretization)]
]
CASES += [
    FloatCase(norm=norm, prenorm=prenorm, activation=activation, rectified=rectified)
    for norm, prenorm, activation, rectified in (
        ("layer", True, Activation.SILU, True),
        ("rms", True, Activation.TANH, False),
        ("layer", False, Activation.LEAKY_RELU, True),
        ("rms", False, Activation.RELU, False),
        ("batch", False, Activation.GELU_TANH, True),
    )
]
CASES += [
    FloatCase(norm="layer", prenorm=False, mixed=True, blocks=3),
    FloatCase(feed_forward="gated"),
    FloatCase(feed_forward="plain", readout=Readout.MEAN),
]


def relative(got, wanted):
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_modules_are_the_random_model(case):
    model = random_model(case)
    tokens = np.random.default_rng(0).normal(size=(37, 2, case.features_in))
    wanted = evaluate(model, tokens)
    module = Model(model).eval()
    with torch.no_grad():
        assert relative(module(torch.tensor(tokens)).numpy(), wanted) < 1e-12
        assert relative(evaluate(module.to_model(), tokens), wanted) < 1e-12
        single = module.float()(torch.tensor(tokens, dtype=torch.float32)).numpy()
    assert relative(single, wanted) < 1e-5


def test_gain_and_offset_of_the_input_are_in_the_encoder():
    model = random_model(FloatCase())
    rng = np.random.default_rng(1)
    gain, offset = rng.uniform(1, 9, 3), rng.normal(size=3)
    tokens = rng.normal(size=(9, 2, 3))
    module = Model(model, gain, offset).eval()
    wanted = evaluate(model, tokens * gain + offset)
    assert relative(evaluate(module.to_model(), tokens), wanted) < 1e-12
    assert relative(module(torch.tensor(tokens)).detach().numpy(), wanted) < 1e-12


def test_streaming_carries_the_state():
    model = random_model(FloatCase())
    tokens = torch.tensor(np.random.default_rng(2).normal(size=(11, 2, 3)))
    module = Model(model).eval()
    whole, states, outputs = module(tokens), None, []
    for token in tokens:
        run = module.step(token, states)
        states = run.states
        outputs.append(run.output)
    torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-12, atol=1e-12)
    first = module.run(tokens[:5])
    second = module.run(tokens[5:], first.states)
    parts = torch.cat([first.output, second.output])
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("readout", [Readout.LAST, Readout.MEAN])
def test_padding_changes_neither_outputs_nor_statistics(readout):
    model = random_model(FloatCase(readout=readout))
    rng = np.random.default_rng(3)
    short, long = (torch.tensor(rng.normal(size=(count, 1, 3))) for count in (6, 9))
    behind = torch.full((3, 1, 3), 1e3, dtype=torch.float64)
    both = torch.cat([torch.cat([short, behind]), long], dim=1)
    lengths = torch.tensor([6, 9])
    module = Model(model).eval()
    alone = torch.cat([module(short), module(long)], dim=1)
    torch.testing.assert_close(module(both, lengths), alone, rtol=1e-12, atol=1e-12)
    module.train()
    module(both, lengths)
    # The first block's norm sees what the encoder makes of the 15 tokens.
    hidden = torch.relu(module.encoder(torch.cat([short, long])))[:, 0]
    mean = 0.9 * torch.tensor(model.blocks[0].norm.mean) + 0.1 * hidden.mean(0)
    torch.testing.assert_close(module.blocks[0].norm.running_mean, mean)


@pytest.mark.parametrize("tokens", [1, 2, 7, 64])
def test_scan_is_the_recurrence_with_its_gradients(tokens):
    rng = np.random.default_rng(tokens)
    a = np.exp(rng.uniform(-0.5, -0.01, 4) + 1j * rng.uniform(-3, 3, 4))
    drive = rng.normal(size=(tokens, 2, 4)) + 1j * rng.normal(size=(tokens, 2, 4))
    given = [torch.tensor(one, requires_grad=True) for one in (a, drive)]
    states = scan(*given)
    np.testing.assert_allclose(states.detach().numpy(), recur(a, drive), rtol=1e-10, atol=1e-12)
    weights = torch.tensor(rng.normal(size=states.shape) + 1j * rng.normal(size=states.shape))
    gradients = torch.autograd.grad((states * weights).real.sum(), given)
    state, expected = torch.zeros(2, 4, dtype=torch.complex128), 0
    for token in range(tokens):
        state = given[0] * state + given[1][token]
        expected = expected + (state * weights[token]).real.sum()
    wanted = torch.autograd.grad(expected, given)
    for got, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


def test_hippo_is_diagonalised():
    size = 8
    values, vectors = hippo_normal(size)
    n = np.arange(size)
    legs = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1))
    legs = np.tril(legs, -1) - np.diag(n + 1)
    low_rank = np.sqrt(n + 0.5)
    normal = legs + np.outer(low_rank, low_rank)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.conj().T, normal, atol=1e-10)
    assert (values.imag[: size // 2] > 0).all()
    ssm = initial_state_space(3, 6, np.random.default_rng(0), blocks=2)
    np.testing.assert_allclose(ssm.eigenvalues[:3], hippo_normal(6)[0][:3])
    np.testing.assert_array_equal(ssm.eigenvalues[:3], ssm.eigenvalues[3:])


def test_what_cannot_be_trained_is_refused():
    model = random_model(FloatCase())
    block = dataclasses.replace(model.blocks[0], skip=model.encoder)
    for changed in (
        dataclasses.replace(model, encoder=None),
        dataclasses.replace(model, blocks=(block,)),
    ):
        with pytest.raises(CheckpointError):
            Model(changed)
    with pytest.raises(InputError, match="multiple of hippo_blocks"):
        Architecture(width=8, states=5, hippo_blocks=2)


# --- pruning -------------------------------------------------------------------------------------


def fresh(width=12):
    start = initial_model("m", Architecture(width=width, blocks=1), 4, 3, Readout.EACH_TOKEN, 0)
    return Model(start)


def test_schedule_is_cubic():
    pruning = Pruning(0.9, start=0.2, end=0.8)
    assert [pruning.share(progress) for progress in (0, 0.2, 0.8, 1)] == [0, 0, 1, 1]
    assert pruning.share(0.5) == pytest.approx(1 - 0.5**3)


@pytest.mark.parametrize("distribution", Distribution)
def test_total_sparsity_is_reached_with_the_largest_weights(distribution):
    module = fresh()
    pruner = Pruner(module, Pruning(0.8, distribution))
    pruner.update(1.0)
    weights = dict(module.weights())
    total = sum(weight.mask.numel() for weight in weights.values())
    left = sum(float(weight.mask.sum()) for weight in weights.values())
    assert left / total == pytest.approx(0.2, abs=0.01)
    for weight in weights.values():
        kept = weight.value[weight.mask == 1].abs().min()
        gone = weight.value[weight.mask == 0].abs()
        assert not gone.numel() or kept >= gone.max()
    shares = [1 - float(weight.mask.mean()) for weight in weights.values()]
    assert (max(shares) - min(shares) < 0.03) == (distribution is Distribution.UNIFORM)
    assert np.count_nonzero(module.to_model().blocks[0].gate.weight == 0)


def test_masked_weights_learn_until_the_schedule_ends():
    module = fresh()
    pruner = Pruner(module, Pruning(0.5))
    pruner.update(0.5)
    weight = module.encoder.weight
    assert (weight.mask == 0).any()
    for progress, learns in ((0.5, True), (1.0, False)):
        pruner.update(progress)
        module.zero_grad()
        module(torch.ones(5, 2, 4, dtype=torch.float64)).square().sum().backward()
        assert bool((weight.value.grad[weight.mask == 0] != 0).any()) is learns
    # One that has grown behind its mask comes back.
    place = tuple(torch.argwhere(weight.mask == 0)[0])
    weight.value.data[place] = 99.0
    pruner.update(0.5)
    assert weight.mask[place] == 1


def test_densities_of_single_matrices():
    module = fresh()
    pruning = Pruning(0.5, densities={"decoder.weight": 1.0, "block0.B": 0.25})
    shares = final_sparsities(module, pruning)
    assert shares["decoder.weight"] == 0
    assert shares["block0.B"] == 0.75
    sizes = {name: weight.value.numel() for name, weight in module.weights()}
    zeros = sum(shares[name] * size for name, size in sizes.items())
    assert zeros / sum(sizes.values()) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(InputError, match=r"matches no matrix.*block0\.W2"):
        final_sparsities(module, Pruning(0.5, densities={"block9.*": 1.0}))
    with pytest.raises(InputError, match="leave a sparsity"):
        final_sparsities(module, Pruning(0.9, densities={"*.C": 1.0, "*.B": 1.0}))
    with pytest.raises(InputError, match="allowed 0 to below 1"):
        Pruning(1.0)


def test_pruning_aware_of_the_chip_keeps_synapses_of_quiet_neurons():
    module = fresh()
    with torch.no_grad():
        module.decoder.weight.value.fill_(1.0)
    pruner = Pruner(module, Pruning(0.5, Distribution.UNIFORM, aware_of_chip=True))
    hidden = torch.ones(10, 2, 12)
    hidden[..., 6:] = 0  # the last half never sends
    run = module.run(torch.ones(10, 2, 4, dtype=torch.float64))
    pruner.observe({**run.messages, "hidden": hidden})
    pruner.update(1.0)
    mask = module.decoder.weight.mask
    assert not mask[:, :6].any()
    assert mask[:, 6:].all()


# --- sound ---------------------------------------------------------------------------------------


def test_spectra_and_si_snr_are_those_of_audio():
    rng = np.random.default_rng(5)
    samples = rng.normal(size=(2, 1500)) * 0.1
    spectrum = spectra.analyse(torch.tensor(samples))
    wanted = np.stack([audio.analyse(one) for one in samples], axis=1)
    np.testing.assert_allclose(spectrum.numpy(), wanted, atol=1e-15)
    np.testing.assert_allclose(
        spectra.features(spectrum)[:, 0].numpy(), audio.features(wanted[:, 0])
    )
    mask = rng.normal(size=wanted.shape) * 0.3
    got = spectra.denoised(spectrum, torch.tensor(mask), 1500)
    for index in range(2):
        masked = audio.apply_mask(wanted[:, index], mask[:, index])
        expected = audio.synthesise(masked, 1500)
        np.testing.assert_allclose(got[index].numpy(), expected, atol=1e-12)
        ratio = losses.si_snr(got[index : index + 1], torch.tensor(samples[index : index + 1]))
        assert float(ratio[0]) == pytest.approx(audio.si_snr(expected, samples[index]), abs=1e-4)


def test_synthetic_clips_follow_from_their_seed():
    made = synthetic.clips(4, 1.0, 7)
    again = synthetic.clips(4, 1.0, 7)
    assert torch.equal(made.noisy, again.noisy)
    assert not torch.equal(made.noisy, synthetic.clips(4, 1.0, 8).noisy)
    assert made.noisy.shape == (4, audio.RATE)
    assert float(made.noisy.abs().max()) < 1
    noise = made.noisy - made.clean
    power = [one.double().square().mean(-1) for one in (made.clean, noise)]
    ratios = 10 * torch.log10(power[0] / power[1])
    np.testing.assert_allclose(ratios.numpy(), made.snr.numpy(), atol=0.01)


# --- SLAYER's conventions ------------------------------------------------------------------------


class Handle(dict):
    """A group of h5py, as far as it is needed."""

    def __init__(self):
        super().__init__()
        self.attrs = {}

    def create_dataset(self, name, shape=None, dtype=None, data=None):
        self[name] = data
        self.setdefault(name.split("/")[0], Handle())


def steps_of_64ths(weight, descale=False):
    """Quantize as SLAYER's hooks do, straight through."""
    return weight + (torch.round(weight * 64) / 64 - weight).detach()


def test_slayer_block_is_the_float_model_of_what_it_adds_up():
    module = S5({"threshold": 0.02}, 6, 4, pre_hook_fx=steps_of_64ths, count_log=True).eval()
    rng = np.random.default_rng(0)
    values = np.cumsum(0.1 * rng.normal(size=(50, 2, 6)), axis=0)
    differences = np.diff(values, axis=0, prepend=np.zeros((1, 2, 6)))
    sent, share = module(torch.tensor(differences, dtype=torch.float32).permute(1, 2, 0))
    assert sent.shape == (2, 6, 50)
    assert 0 < float(share) < 1
    got = sent.detach().numpy().astype(np.float64).cumsum(-1).transpose(2, 0, 1)
    wanted = evaluate(module.model(), values)
    # What has not been sent yet is below the threshold, 1/64: it was cut to a multiple of that.
    assert module.threshold == 1 / 64
    assert np.abs(got - wanted).max() < 1 / 64 + 1 / 4096 + 1e-4
    weight = module.model().blocks[0].gate.weight * 64
    np.testing.assert_array_equal(weight, np.rint(weight))


def test_slayer_block_learns_and_exports():
    module = S5({"threshold": 0.0}, 4, 2, glu=GluVariant.FULL)
    differences = torch.randn(2, 4, 20)
    module(differences).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    handle = Handle()
    module.export_hdf5(handle)
    assert handle["neuron/type"] == "S5"
    assert handle["model/ssm/b"].shape == (2, 4, 2)
    assert handle["model/value/weight"].shape == (4, 4)
    assert handle["model"].attrs["glu"] == "full"
