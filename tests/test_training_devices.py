"""Training on several devices and in other numbers: what one device and 32 bits would train."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install 's5_to_loihi[train]'")
pytest.importorskip("lightning", reason="Lightning is missing: pip install 's5_to_loihi[train]'")

from device_work import fails_on_the_second, gradients  # noqa: E402

from s5_to_loihi import bundle  # noqa: E402
from s5_to_loihi.errors import InputError  # noqa: E402
from s5_to_loihi.training import devices, loop  # noqa: E402
from s5_to_loihi.training.architecture import Architecture  # noqa: E402
from s5_to_loihi.training.data import Sound  # noqa: E402
from s5_to_loihi.training.pruning import Pruning  # noqa: E402
from s5_to_loihi.training.recipe import (  # noqa: E402
    Accelerator,
    Data,
    Integers,
    Machine,
    Numbers,
    Recipe,
    Schedule,
    read_recipe,
)
from s5_to_loihi.training.synthetic import clips  # noqa: E402
from s5_to_loihi.training.tasks import Denoising, task_of  # noqa: E402
from s5_to_loihi.training.training import new_module, train  # noqa: E402
from s5_to_loihi.verification import verify_interpreter  # noqa: E402

# Of Lightning's imports; what users see is quiet.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(120),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    """Everything that devices have to agree on: padding, noise, batch norm, masks by activity."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        labels = rng.integers(0, 2, 43)
        inputs = rng.normal(size=(9, 43, 3)) + 2 * labels[:, None]
        lengths = rng.integers(3, 10, 43)
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, labels=labels, lengths=lengths)
    return Recipe(
        name="small",
        data=Data(str(tmp_path / "train.npz"), str(tmp_path / "test.npz"), noise=0.1),
        model=Architecture(width=6, blocks=2),
        training=Schedule(epochs=3, batch=8),
        sparsity=Pruning(0.5, aware_of_chip=True, interval=2),
        integers=Integers(weights=4, epochs=1),
        machine=Machine(Accelerator.CPU),
    )


def on(recipe: Recipe, number: int = 1, numbers: Numbers = Numbers.SINGLE) -> Recipe:
    return replace(recipe, machine=Machine(Accelerator.CPU, number, numbers))


def assert_close(folder: Path, other: Path, name: str, tolerance: float):
    left, right = load_file(folder / name), load_file(other / name)
    assert left.keys() == right.keys()
    for tensor in left:
        np.testing.assert_allclose(
            left[tensor], right[tensor], rtol=tolerance, atol=tolerance, err_msg=tensor
        )
        # The same weights are pruned.
        np.testing.assert_array_equal(left[tensor] == 0, right[tensor] == 0, err_msg=tensor)


def assert_verified(path: Path):
    opened = bundle.read(path)
    assert verify_interpreter(opened.network, opened.vectors).equal


def test_two_devices_train_what_one_trains(recipe, tmp_path, capfd):
    told: list[tuple[str, int, int]] = []
    two = train(on(recipe, 2), tmp_path / "two", lambda *what: told.append(what))
    assert told == [("float", 1, 3), ("float", 2, 3), ("float", 3, 3), ("integers", 1, 1)]
    assert "Rank" not in capfd.readouterr().out, "other processes print into the output"
    one = train(recipe, tmp_path / "one")
    # Sums are in another order, nothing else differs.
    assert_close(two.folder, one.folder, "model/model.safetensors", 1e-4)
    assert two.sparsity == one.sparsity == pytest.approx(0.5, abs=0.02)
    for phase in ("float", "integers"):
        np.testing.assert_allclose(
            *(loop.read_history(loop.history_file(t.folder, phase)) for t in (one, two)), rtol=0.01
        )
    assert_verified(two.bundle)
    # A folder is gone on with on any number of devices: here there is nothing left to do.
    again = train(recipe, two.folder)
    assert again.scores == two.scores


def test_targets_of_unequal_lengths_weigh_the_same_on_all_devices(recipe, tmp_path):
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(9, 43, 3)), rng.normal(size=(9, 43, 2))
    lengths = rng.integers(2, 10, 43)
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, targets=targets, lengths=lengths)
    wanted = on(recipe, 3)
    module = new_module(wanted, task_of(wanted)).train()
    shared = devices.run(gradients, (wanted, module), 3, False, print)
    alone = gradients((wanted, module), 0, print)
    for found in shared:
        for parts, whole in zip(found, alone, strict=True):
            for part, one in zip(parts, whole, strict=True):
                np.testing.assert_allclose(part, one, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("refused", InputError, "^training, float: diverged"),
        ("killed", InputError, "the process of device 1 was killed by SIGKILL"),
        ("bug", RuntimeError, "(?s)on device 1:.*ValueError: a bug"),
    ],
)
def test_a_device_that_fails_ends_the_others(how, error, said):
    with pytest.raises(error, match=said):
        devices.run(fails_on_the_second, how, 2, False, print)


@pytest.mark.parametrize("numbers", [Numbers.MIXED_BFLOAT, Numbers.DOUBLE], ids=lambda n: n.value)
def test_numbers(numbers, recipe, tmp_path):
    other = train(on(recipe, numbers=numbers), tmp_path / "other")
    single = train(recipe, tmp_path / "single")
    curves = [
        np.array(loop.read_history(loop.history_file(made.folder, "float")))[:, 1]
        for made in (other, single)
    ]
    # They do compute in other numbers, and reach the same.
    assert (curves[0] != curves[1]).any()
    tolerance = 0.02 if numbers is Numbers.MIXED_BFLOAT else 1e-5
    np.testing.assert_allclose(*curves, rtol=tolerance)
    for name, score in single.scores.items():
        assert other.scores[name] == pytest.approx(score, abs=5)  # two of 43
    assert_verified(other.bundle)


def test_sound_in_mixed_precision(recipe, tmp_path):
    """States, spectra and losses are complex, which bfloat16 is not."""
    made = [clips(count, 1.0, seed, "cpu") for count, seed in ((6, 1), (2, 2))]
    sounds = [Sound(tuple(one.noisy.numpy()), tuple(one.clean.numpy())) for one in made]
    task = Denoising(
        replace(
            on(recipe, numbers=Numbers.MIXED_BFLOAT),
            data=replace(recipe.data, seconds=0.5),
            training=Schedule(epochs=4, batch=6, rate=0.02),
        ),
        *sounds,
    )
    module = new_module(task.recipe, task)
    loop.fit(task, module, loop.Phase("float", 4, 0.02, 0.0, 0.01), tmp_path / "out")
    assert {one.dtype for one in module.parameters()} == {torch.float32}
    history = loop.read_history(loop.history_file(tmp_path / "out", "float"))
    assert history[-1][1] < history[0][1]
    assert loop.evaluate(task, module) == pytest.approx(history[-1][2], abs=0.2)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ("{accelerator: cpu, devices: 9}", "are 9, which share batches of 8 sequences"),
        ("{accelerator: cpu, numbers: 16-mixed}", "is 16-mixed, which is for GPUs"),
    ],
)
def test_what_cannot_be_is_refused(machine, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    text = "data: {train: a.npz, test: b.npz}\ntraining: {batch: 8}"
    file.write_text(f"{text}\nmachine: {machine}\n")
    with pytest.raises(InputError, match=said):
        read_recipe(file)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_needs_a_gpu(recipe, tmp_path):
    machine = Machine(Accelerator.AUTO, numbers=Numbers.MIXED_HALF)
    with pytest.raises(InputError, match="a processor computes"):
        train(replace(recipe, machine=machine), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_devices_than_sequences(recipe):
    wanted = replace(recipe, training=Schedule(batch=64), machine=Machine(Accelerator.CPU, 44))
    with pytest.raises(InputError, match="has 43 sequences or cuts, and there are 44 devices"):
        task_of(wanted).batches(0)
    # The last batch has three sequences: too few for five devices, it joins the one before.
    batches = task_of(on(recipe, 5)).batches(0)
    assert [make().size for make in batches] == [8, 8, 8, 8, 11]
