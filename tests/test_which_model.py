"""Files of others: which model is taken is said, and asked where a guess could be wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import RECORDED, assert_same_model, flat_arrays, relative_error, write_npz
from safetensors.numpy import load_file, save_file

from s5_to_loihi.checkpoints import flax_msgpack, s5_pytorch
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.options import Chooser, LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import BatchNorm, Discretization, evaluate
from s5_to_loihi.network.network import Readout

pytest.importorskip("msgpack", reason="pip install 's5_to_loihi[flax]'")

EACH = LoadOptions(readout=Readout.EACH_TOKEN)


def one_model() -> dict[str, np.ndarray]:
    return flax_msgpack.read(RECORDED / "s5_flax_rescaled.msgpack")


def moved(arrays: dict, change) -> dict:
    return {change(name): array for name, array in arrays.items()}


def without_name(model):
    return replace(model, name="")


def refusal(path: Path, options: LoadOptions = EACH) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, options)
    return str(caught.value)


def assert_is_the_model(path: Path, options: LoadOptions = EACH) -> tuple[str, ...]:
    """It is the one of ``s5_flax_rescaled.msgpack``; the notes are returned."""
    loaded = load(path, options)
    want = load(RECORDED / "s5_flax_rescaled.msgpack", EACH).model
    assert_same_model(without_name(loaded.model), without_name(want))
    return loaded.notes


# --- Flax ----------------------------------------------------------------------------------------


def test_steps_are_rescaled_by_an_option_and_one_is_said():
    """Against an evaluation in float64 that is not this project's, with steps doubled."""
    with np.load(RECORDED / "s5_flax_rescaled_vectors.npz") as archive:
        tokens, want = archive["tokens"], archive["output"]
    file = RECORDED / "s5_flax_rescaled.msgpack"
    doubled = load(file, replace(EACH, step_rescale=2.0))
    assert relative_error(evaluate(doubled.model, tokens), want) < 1e-14
    assert not any("step_rescale" in note for note in doubled.notes)
    plain = load(file, EACH)
    assert relative_error(evaluate(plain.model, tokens), want) > 0.1
    assert any(note.startswith("step_rescale: guessed 1 ") for note in plain.notes)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        assert "option step_rescale: is" in refusal(file, replace(EACH, step_rescale=wrong))


WRAPPED = {
    "a train state whose params are all collections": lambda name: f"params/{name}",
    "a module of another": lambda name: name.replace("/", "/Classifier_0/", 1),
    "above": lambda name: f"state/{name}",
    "a state of its own for statistics": lambda name: name.replace("batch_stats/", "extra/stats/"),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_model_wrapped_by_a_training_program(tmp_path, how):
    arrays = moved(one_model(), WRAPPED[how])
    optimizer = {f"opt_state/0/mu/{name}": array for name, array in arrays.items()}
    notes = assert_is_the_model(write_npz(tmp_path / "a.npz", arrays | optimizer))
    assert any("statistics: from extra/stats" in note for note in notes) == (
        "extra" in str([*arrays])
    )


def test_averages_are_left_out_and_named(tmp_path):
    arrays = one_model()
    average = {
        name.replace("params/", "ema_params/"): array * 0.5
        for name, array in arrays.items()
        if name.startswith("params/")
    }
    path = write_npz(tmp_path / "a.npz", arrays | average)
    notes = assert_is_the_model(path)
    (note,) = [note for note in notes if note.startswith("model: ")]
    assert "took params/encoder; the file also holds ema_params/encoder" in note
    other = load(path, replace(EACH, select="ema_params"))
    want = arrays["params/decoder/bias"] * 0.5
    np.testing.assert_array_equal(other.model.decoder.bias, want)
    assert isinstance(other.model.blocks[0].norm, BatchNorm)
    assert any("statistics: from batch_stats" in note for note in other.notes)
    text = refusal(path, replace(EACH, select="params/x"))
    assert "no model in" in text
    assert "There is ema_params/encoder and params/encoder" in text


@pytest.mark.parametrize(
    "names",
    [
        ("params/actor/", "params/critic/"),
        ("first/params/", "second/params/"),
        ("ema_params/", "swa_params/"),
        ("one/", "two/"),
    ],
)
def test_models_that_may_all_be_meant_are_asked_for(tmp_path, names):
    arrays = one_model()
    both = {}
    for start in names:
        statistics = start.replace("params", "batch_stats") if "params" in start else "batch_stats/"
        for name, array in arrays.items():
            top, rest = name.split("/", 1)
            both[(start if top == "params" else statistics) + rest] = array
    path = write_npz(tmp_path / "a.npz", both)
    text = refusal(path)
    assert "holds 2 models" in text
    for start in names:
        assert f"{start}encoder" in text
        assert_is_the_model(path, replace(EACH, select=f"{start}encoder"))
        assert_is_the_model(path, replace(EACH, select=start.rstrip("/")))


def test_parameters_beside_a_wrapped_model_are_not_forgotten(tmp_path):
    arrays = moved(one_model(), lambda name: name.replace("/", "/body/", 1))
    head = {"params/head/kernel": np.ones((3, 2), np.float32)}
    path = write_npz(tmp_path / "a.npz", arrays | head)
    text = refusal(path)
    assert "holds 1 parameters outside of params/body: params/head/kernel" in text
    assert_is_the_model(path, replace(EACH, select="params/body"))


def renamed_maps(name: str) -> str:
    name = name.replace("/encoder/encoder/", "/encoder_0/")
    return name.replace("/decoder/", "/action_decoder/").replace("/encoder/", "/s5/")


def test_maps_of_other_names_are_asked_for(tmp_path):
    path = write_npz(tmp_path / "a.npz", moved(one_model(), renamed_maps))
    text = refusal(path)
    assert "maps beside the blocks are encoder_0 6 to 8 and action_decoder 8 to 3" in text
    assert "with the option encoder, or say none" in text
    said = replace(EACH, encoder="encoder_0", decoder="params/action_decoder")
    assert_is_the_model(path, said)
    assert "action_decoder" in refusal(path, replace(said, decoder=None))
    text = refusal(path, replace(said, decoder="none"))
    assert "2 unknown parameters: params/action_decoder/bias" in text


def test_a_bare_stack_of_blocks(tmp_path):
    arrays = {
        name.replace("/encoder/", "/"): array
        for name, array in one_model().items()
        if "/layers_" in name
    }
    path = write_npz(tmp_path / "a.npz", arrays)
    assert "maps beside the blocks are none" in refusal(path)
    model = load(path, replace(EACH, encoder="none", decoder="none")).model
    assert model.encoder is None
    assert model.decoder is None
    want = load(RECORDED / "s5_flax_rescaled.msgpack", EACH).model
    assert_same_model(model.blocks, want.blocks)


def test_an_embedding_is_a_map_of_one_hot_tokens(tmp_path):
    arrays = one_model()
    table = np.random.default_rng(3).normal(size=(7, 8)).astype(np.float32)
    del arrays["params/encoder/encoder/kernel"], arrays["params/encoder/encoder/bias"]
    arrays["params/encoder/encoder/embedding"] = table
    loaded = load(write_npz(tmp_path / "a.npz", arrays), EACH)
    assert any("one-hot vectors of 7 features" in note for note in loaded.notes)
    encoder = loaded.model.encoder
    np.testing.assert_array_equal(encoder.weight @ np.eye(7)[4] + encoder.bias, table[4])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda n: n.replace("decoder/", "decoder/layer1/"), "compare two sequences"),
        (
            lambda n: n.replace("layers_", "stages_").replace("/seq/", "/SequenceLayer_0/S5SSM_0/"),
            "is a model of event-ssm: its time steps depend on when events come",
        ),
        (lambda n: n.replace("/seq/", "/s5/"), "but not in layers_N/seq"),
    ],
)
def test_models_that_compute_something_else(tmp_path, change, what):
    assert what in refusal(write_npz(tmp_path / "a.npz", moved(one_model(), change)))


# --- PyTorch -------------------------------------------------------------------------------------


def torch_model() -> dict[str, np.ndarray]:
    return load_file(RECORDED / "s5_pytorch_encoder_decoder.safetensors")


def blocks(path: Path, **options):
    return load(path, LoadOptions(**options)).model


def test_pairs_of_real_numbers_are_the_bilinear_variant():
    loaded = load(RECORDED / "event_camera_pairs.pt")
    assert {block.ssm.discretization for block in loaded.model.blocks} == {Discretization.BILINEAR}
    (note,) = [note for note in loaded.notes if note.startswith("discretization")]
    assert "uzh-rpg/ssms_event_cameras" in note
    said = load(
        RECORDED / "event_camera_pairs.pt",
        LoadOptions(discretization=Discretization.ZERO_ORDER_HOLD, step_rescale=0.5),
    ).model
    assert said.blocks[0].ssm.discretization is Discretization.ZERO_ORDER_HOLD
    np.testing.assert_array_equal(said.blocks[0].ssm.step, loaded.model.blocks[0].ssm.step / 2)


@pytest.mark.parametrize("file", ["lightning_namespace.ckpt", "training_numpy_scalar.pt"])
def test_settings_beside_tensors_are_left_out(file):
    model = load(RECORDED / file).model
    assert len(model.blocks) == 2
    assert (model.encoder.weight.shape, model.decoder.weight.shape) == ((8, 6), (3, 8))


@pytest.mark.parametrize("start", ["module.", "_orig_mod.", "net.model."])
def test_wrappers_around_a_module(tmp_path, start):
    wrapped = {start + name: tensor for name, tensor in torch_model().items()}
    save_file(wrapped, tmp_path / "a.safetensors")
    want = blocks(RECORDED / "s5_pytorch_encoder_decoder.safetensors")
    assert_same_model(without_name(blocks(tmp_path / "a.safetensors")), without_name(want))


def test_several_models_of_pytorch(tmp_path):
    tensors = torch_model()
    want = without_name(blocks(RECORDED / "s5_pytorch_encoder_decoder.safetensors"))

    def path(*starts: str, **more: np.ndarray) -> Path:
        named = {start + name: tensor for start in starts for name, tensor in tensors.items()}
        save_file(named | more, tmp_path / "a.safetensors")
        return tmp_path / "a.safetensors"

    loaded = load(path("net.", "ema_net."))
    assert_same_model(without_name(loaded.model), want)
    assert any("took net.layers; the file also holds ema_net.layers" in n for n in loaded.notes)
    text = refusal(path("student.", "teacher."), LoadOptions())
    assert "holds 2 models" in text
    assert "--select student.layers" in text
    assert_same_model(without_name(blocks(path("student.", "teacher."), select="teacher")), want)
    extra = path("net.", **{"loss.weight": np.ones((2, 2), np.float32)})
    assert "unknown parameters: loss.weight" in refusal(extra, LoadOptions())
    assert_same_model(without_name(blocks(extra, select="net")), want)


def test_what_a_program_keeps_beside_the_model_of_pytorch():
    """Keys of nested dictionaries end with slashes in what is read of a ``.pt``."""
    tensors = torch_model()
    want = without_name(blocks(RECORDED / "s5_pytorch_encoder_decoder.safetensors"))

    def model(arrays: dict, **options):
        chooser = Chooser(LoadOptions(**options), LoadOptions(), "", [])
        return without_name(s5_pytorch.to_model("file", "", arrays, chooser)), chooser.notes

    def within(*starts: str) -> dict:
        return {start + name: tensor for start in starts for name, tensor in tensors.items()}

    beside = {"optimizer/state/0/exp_avg": np.ones((2, 2)), "best_score": np.float32(3)[()]}
    beside = {name: np.asarray(array) for name, array in beside.items()}
    assert_same_model(model(within("net/") | beside)[0], want)
    # Nested by parts of the model, which must not be taken for something beside it.
    parts = {name.replace(".", "/", 1): tensor for name, tensor in tensors.items()}
    assert_same_model(model(parts)[0], want)
    found, notes = model(within("model/", "model_ema/") | {"loss/weight": np.ones((2, 2))})
    assert_same_model(found, want)
    assert any("took model/layers; the file also holds model_ema/layers" in n for n in notes)
    with pytest.raises(CheckpointError, match="--select state_dict/layers"):
        model(within("state_dict/", "teacher_state_dict/"))
    assert_same_model(model(within("a/", "b/"), select="b")[0], want)


def test_maps_of_other_names_in_pytorch(tmp_path):
    other = {"encoder": "embedding", "decoder": "head", "layers": "layers"}
    tensors = {
        other[name.split(".", 1)[0]] + "." + name.split(".", 1)[1]: tensor
        for name, tensor in torch_model().items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    assert "what option encoder says" in refusal(tmp_path / "a.safetensors", LoadOptions())
    want = blocks(RECORDED / "s5_pytorch_encoder_decoder.safetensors")
    said = blocks(tmp_path / "a.safetensors", encoder="embedding", decoder="head")
    assert_same_model(without_name(said), without_name(want))
    text = refusal(tmp_path / "a.safetensors", LoadOptions(encoder="x", decoder="head"))
    assert "option encoder: is 'x'" in text
    assert "There is embedding and head" in text.replace("head and embedding", "embedding and head")


# --- Orbax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        *("s5_flax_items_orbax", "s5_flax_items_orbax/10", "s5_flax_items_orbax/10/params"),
        *("s5_flax_train_state_orbax", "s5_flax_train_state_orbax/10/train_state"),
    ],
)
def test_items_of_any_name_are_joined(place):
    pytest.importorskip("tensorstore", reason="pip install 's5_to_loihi[orbax]'")
    notes = assert_is_the_model(RECORDED / place)
    assert load(RECORDED / place, EACH).model.name == place.split("/")[0]
    joined = "items: joined batch_stats and params" in notes
    assert joined == place.startswith("s5_flax_items")


def write_orbax(directory: Path, arrays: dict, driver: str = "zarr", database: bool = True) -> None:
    """Write arrays as Orbax does: in one database, or in a directory each; zarr 2 or 3."""
    tensorstore = pytest.importorskip("tensorstore", reason="pip install 's5_to_loihi[orbax]'")
    for name, array in arrays.items():
        path, base = name.replace("/", ".") + "/", f"{directory}/"
        store = {"driver": "file", "path": base + path}
        if database:
            store = {"driver": "ocdbt", "base": {"driver": "file", "path": base}, "path": path}
        spec = {"driver": driver, "kvstore": store}
        opened = tensorstore.open(spec, create=True, dtype=array.dtype, shape=array.shape).result()
        opened.write(array).result()


def test_older_files_of_flax_are_pointed_at(tmp_path):
    for step in (10, 20):
        source = RECORDED / "s5_flax_rescaled.msgpack"
        (tmp_path / f"checkpoint_{step}").write_bytes(source.read_bytes())
    assert "Inside it, try checkpoint_10 or checkpoint_20" in refusal(tmp_path)
    assert_is_the_model(tmp_path / "checkpoint_20")


@pytest.mark.parametrize("database", [True, False])
@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_every_way_to_store_arrays(tmp_path, driver, database):
    write_orbax(tmp_path / "run/step_7/anything", one_model(), driver, database)
    notes = assert_is_the_model(tmp_path / "run")
    assert "directory: step_7/anything, the newest" in notes
    assert load(tmp_path / "run", EACH).model.name == "run"


def test_other_steps_are_named_and_unfinished_ones_are_none(tmp_path):
    arrays = one_model()
    older = {name: array * 0.5 for name, array in arrays.items()}
    write_orbax(tmp_path / "mine-3/default", older)
    write_orbax(tmp_path / "mine-12/default", arrays)
    write_orbax(tmp_path / "mine-20.orbax-checkpoint-tmp-1/default", older)
    for step in (3, 12):
        (tmp_path / f"mine-{step}/_CHECKPOINT_METADATA").write_text("{}")
    notes = assert_is_the_model(tmp_path)
    text = "directory: mine-12/default, the newest; there are also mine-3 (give the directory"
    assert any(note.startswith(text) for note in notes)


def test_items_that_are_models_of_their_own_are_asked_for(tmp_path):
    arrays = {name: array for name, array in one_model().items() if name.startswith("params/")}
    for item in ("actor", "critic"):
        write_orbax(tmp_path / "10" / item, arrays)
    text = refusal(tmp_path)
    assert "holds 2 models" in text
    assert "actor/params/encoder and critic/params/encoder" in text
    model = load(tmp_path, replace(EACH, select="critic")).model
    assert_same_model(model.blocks, load(tmp_path / "10/actor", EACH).model.blocks)


def test_intel_models_have_these_options_too(tmp_path):
    options = LoadOptions(rectified=True)
    want = load(write_npz(tmp_path / "a.npz", flat_arrays()), options).model
    wrapped = {f"state/{name}": array for name, array in flat_arrays().items()}
    halved = load(write_npz(tmp_path / "b.npz", wrapped), replace(options, step_rescale=0.5)).model
    np.testing.assert_array_equal(halved.blocks[1].ssm.step, want.blocks[1].ssm.step / 2)
