"""Float checkpoints: outputs equal the frameworks' that wrote them, and nothing else gets through.

The recorded files are described in ``tests/data/README.md``.
"""

import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkpoint_files import (
    RECORDED,
    assert_same_model,
    copy_tree,
    flat_arrays,
    relative_error,
    rewrite_zip,
    write_npz,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax

import s5_to_loihi
from s5_to_loihi.checkpoints import flax_msgpack, formats, numpy_archive, orbax, torch_archive
from s5_to_loihi.checkpoints.description import load_model, save_model
from s5_to_loihi.checkpoints.formats import CheckpointFormat
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.magnitude_pruning import (
    densities,
    erdos_renyi_sparsities,
    find_recipe,
    masked,
)
from s5_to_loihi.checkpoints.named_arrays import of_file
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.float_model import (
    Activation,
    Discretization,
    GluVariant,
    LayerNorm,
    captured,
    evaluate,
)
from s5_to_loihi.network.network import Readout

POSTNORM = LoadOptions(
    glu=GluVariant.HALF2,
    prenorm=False,
    discretization=Discretization.BILINEAR,
    readout=Readout.LAST,
)
#: name of the vectors -> (file, what it does not say).
RECORDINGS = {
    "denoiser_small": ("denoiser_small_orbax", LoadOptions()),
    "tiny_batchnorm": ("tiny_batchnorm_conversion", LoadOptions()),
    "intel_gelu_postnorm": (
        "intel_gelu_postnorm.npz",
        replace(POSTNORM, readout=None, rectified=False),
    ),
    "intel_relu_full": ("intel_relu_full.npz", LoadOptions(rectified=True)),
    "intel_relu_none": ("intel_relu_none.npz", LoadOptions(rectified=True, prenorm=False)),
    "s5_flax_prenorm": ("s5_flax_prenorm.msgpack", LoadOptions()),
    "s5_flax_postnorm": ("s5_flax_postnorm_orbax", POSTNORM),
    "s5_flax_gelu": ("s5_flax_gelu.msgpack", LoadOptions()),
    "s5_flax_bidirectional": (
        "s5_flax_bidirectional.msgpack",
        LoadOptions(clip_eigenvalues=True),
    ),
    "s5_pytorch_sequential": ("s5_pytorch_sequential.pt", LoadOptions()),
    "s5_pytorch_encoder_decoder": ("s5_pytorch_encoder_decoder.pt", LoadOptions()),
}


def load_recorded(name: str):
    file, options = RECORDINGS[name]
    return load(RECORDED / file, options)


def message(path: Path, options: LoadOptions = LoadOptions()) -> str:
    """The message with which a checkpoint is refused: one paragraph that names the place."""
    with pytest.raises(CheckpointError) as caught:
        load(path, options)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


# --- the frameworks' own outputs -----------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDINGS)
def test_outputs_are_the_frameworks(name):
    """Each tensor's relative error in the Euclidean norm, against what the framework computed.

    In float32 the frameworks themselves are off by up to 5e-6 in a state (1 - a cancels where a is
    close to 1) and 1e-6 in an output. In float64 the same code differs from ours by its clipping of
    eigenvalues at a -1e-4 that is not a float32.
    """
    with np.load(RECORDED / f"{name}_vectors.npz") as archive:
        recorded = dict(archive)
    values = captured(load_recorded(name).model, recorded.pop("tokens"))
    if name.startswith("s5_flax"):
        values["output"] = log_softmax(values["output"], axis=-1)
    double = recorded.pop("output_double", None)
    assert "output" in recorded
    for key, want in recorded.items():
        assert values[key].shape == want.shape, key
        assert relative_error(values[key], want) < 1e-5, key
    if double is not None:
        assert relative_error(values["output"], double) < 1e-11


def test_recordings_tell_variants_apart():
    """A parity test that a wrong variant would pass proves nothing."""
    file, options = RECORDINGS["intel_gelu_postnorm"]
    with np.load(RECORDED / "intel_gelu_postnorm_vectors.npz") as archive:
        tokens, want = archive["tokens"], archive["output"]
    for wrong in (
        {"glu": GluVariant.HALF1},
        {"prenorm": True},
        {"discretization": Discretization.ZERO_ORDER_HOLD},
        {"activation": Activation.RELU},
        {"activation": Activation.GELU_ERF},
        {"conjugate_symmetric": False},
    ):
        model = load(RECORDED / file, replace(options, **wrong)).model
        assert relative_error(evaluate(model, tokens), want) > 5e-5, wrong


@pytest.mark.parametrize("name", ["s5_pytorch_sequential", "s5_pytorch_encoder_decoder"])
def test_torch_and_safetensors_hold_the_same_model(name):
    assert_same_model(
        load(RECORDED / f"{name}.safetensors").model, load(RECORDED / f"{name}.pt").model
    )


def test_parameters_beside_an_optimizer():
    model = load(RECORDED / "s5_pytorch_training.pt").model
    want = load_recorded("s5_pytorch_sequential").model
    assert_same_model(model, replace(want, name="s5_pytorch_training"))


def test_models_are_in_double_precision():
    for name in RECORDINGS:
        for block in load_recorded(name).model.blocks:
            assert block.ssm.b.dtype == np.complex128
            assert block.ssm.step.dtype == block.norm.scale.dtype == np.float64


# --- pruning -------------------------------------------------------------------------------------


def test_mask_is_that_of_intels_conversion():
    """The parameters masked by Intel's code, recorded, against the checkpoint that has no mask."""
    with np.load(RECORDED / "denoiser_small_masked.npz") as archive:
        want = dict(archive)
    model = load(RECORDED / "denoiser_small_orbax").model
    np.testing.assert_array_equal(model.encoder.weight, want["params/encoder/encoder/kernel"].T)
    np.testing.assert_array_equal(model.decoder.weight, want["params/decoder/kernel"].T)
    for index, block in enumerate(model.blocks):
        prefix = f"params/encoder/layers_{index}"
        np.testing.assert_array_equal(block.gate.weight, want[f"{prefix}/out2/kernel"].T)
        for name, matrix in (("B", block.ssm.b), ("C", block.ssm.c)):
            parts = np.stack([matrix.real, matrix.imag], -1)
            np.testing.assert_array_equal(parts, want[f"{prefix}/mixer/{name}"])
    nonzero = sum(np.count_nonzero(array) for name, array in want.items() if "params" in name)
    assert nonzero == 5809


def test_sparsities_are_those_that_the_checkpoint_records():
    arrays = orbax.read(
        RECORDED / "denoiser_small_orbax" / "36" / "state", lambda name: not name.endswith("/step")
    )
    shapes = {
        name.removeprefix("params/"): array.shape
        for name, array in arrays.items()
        if name.startswith("params/") and array.ndim > 1
    }
    shares = erdos_renyi_sparsities(shapes, 0.9)
    assert shares["encoder/layers_0/mixer/log_step"] == 0
    for name, share in shares.items():
        assert share == pytest.approx(
            float(arrays[f"opt_state/target_sparsities/{name}"]), abs=1e-7
        )


def test_recipe_is_found_by_the_gap(tmp_path):
    arrays = orbax.read(
        RECORDED / "denoiser_small_orbax" / "36" / "state",
        lambda name: name.startswith(("params/", "batch_stats/")),
    )
    loaded = load(write_npz(tmp_path / "unmasked.npz", arrays))
    assert any("pruning_sparsity: guessed 0.9" in note for note in loaded.notes)
    recorded = load(RECORDED / "denoiser_small_orbax").model
    assert_same_model(loaded.model, replace(recorded, name="unmasked"))
    kept = load(tmp_path / "unmasked.npz", LoadOptions(pruning_sparsity=0.0))
    assert densities(kept.model)["C"] > 0.9
    half = load(tmp_path / "unmasked.npz", LoadOptions(pruning_sparsity=0.5))
    assert any("only" in note and "times smaller" in note for note in half.notes)
    assert "is 1.5" in message(tmp_path / "unmasked.npz", LoadOptions(pruning_sparsity=1.5))


def test_no_recipe_fits_dense_weights():
    rng = np.random.default_rng(0)
    assert find_recipe({"a": rng.normal(size=(40, 30)), "b": rng.normal(size=(30, 20))}) is None


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.floats(0, 0.99))
def test_mask_keeps_the_largest(values, sparsity):
    array = np.array([values], dtype=np.float32)
    kept = masked(array, sparsity)
    removed = (kept == 0) & (array != 0)
    if removed.any() and kept.any():
        assert np.abs(array[removed]).max() <= np.abs(kept[kept != 0]).min()
    # A half may be rounded either way: the count is a product in float32, as in jax.
    assert np.count_nonzero(kept) <= max(1, len(values) * (1 - sparsity) + 0.5001)
    np.testing.assert_array_equal(kept[kept != 0], array[kept != 0])


# --- where a checkpoint is, and what it does not say ---------------------------------------------


@pytest.mark.parametrize("level", ["", "36", "36/state"])
def test_every_level_of_an_orbax_directory(level):
    loaded = load(RECORDED / "denoiser_small_orbax" / level)
    assert_same_model(loaded.model, load(RECORDED / "denoiser_small_orbax").model)
    assert loaded.model.name == "denoiser_small_orbax"
    assert loaded.files


def test_newest_step_is_taken_and_named(tmp_path):
    loaded = load_recorded("s5_flax_postnorm")
    assert any("12/default" in note for note in loaded.notes)
    run = copy_tree("s5_flax_postnorm_orbax", tmp_path / "run")
    (run / "120.orbax-checkpoint-tmp-1").mkdir()
    (run / "13").mkdir()
    assert_same_model(load(run, POSTNORM).model, replace(loaded.model, name="run"))
    older = load(run / "3", replace(POSTNORM, clip_eigenvalues=True)).model
    assert not older.encoder.weight.any()


def test_orbax_without_a_database(tmp_path):
    """Orbax can also write one directory an array."""
    tensorstore = pytest.importorskip("tensorstore")
    arrays = flat_arrays()
    for name, array in arrays.items():
        path = f"{tmp_path / 'plain' / name.replace('/', '.')}/"
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": path}}
        tensorstore.open(spec, create=True, dtype=array.dtype, shape=array.shape).result().write(
            array
        ).result()
    options = RECORDINGS["intel_relu_full"][1]
    want = load_recorded("intel_relu_full").model
    assert_same_model(load(tmp_path / "plain", options).model, replace(want, name="plain"))


def test_arguments_beside_a_checkpoint_are_believed():
    notes = load_recorded("tiny_batchnorm").notes
    for note in ("glu: half1", "rectified: yes", "prenorm: yes", "pruning_sparsity: 0.9"):
        assert f"{note}, from args.json" in notes


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("glu_variant", "half3", "glu_variant: is 'half3'"),
        ("glu_variant", "full", "glu is full, but the parameters are those of half1 or half2"),
        ("prenorm", "yes", "prenorm: is 'yes', not true or false"),
        ("topk", 0.5, "topk: is 0.5"),
        ("pruning", "random", "pruning: is 'random'"),
        ("discretization", ["zoh"], "discretization: is ['zoh']"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, key, value, what):
    directory = copy_tree("tiny_batchnorm_conversion", tmp_path / "conversion")
    arguments = json.loads((directory / "args.json").read_text())
    (directory / "args.json").write_text(json.dumps(arguments | {key: value}))
    assert what in message(directory)


def test_conversion_without_statistics(tmp_path):
    directory = copy_tree("tiny_batchnorm_conversion", tmp_path / "conversion")
    (directory / "sc_cal_stats.pkl").unlink()
    assert "sc_cal_stats.pkl: does not exist" in message(directory)


def test_every_guess_is_noted_with_its_option():
    notes = load_recorded("s5_flax_prenorm").notes
    for option in ("discretization", "conjugate_symmetric", "glu", "prenorm", "step_rescale"):
        assert any(note.endswith(f"(option {option})") for note in notes), option
    said = load(
        RECORDED / "s5_flax_prenorm.msgpack",
        LoadOptions(
            discretization=Discretization.ZERO_ORDER_HOLD,
            conjugate_symmetric=True,
            glu=GluVariant.HALF1,
            prenorm=True,
            readout=Readout.MEAN,
            activation=Activation.GELU_TANH,
            step_rescale=1.0,
        ),
    )
    assert not any("guessed" in note for note in said.notes)


@pytest.mark.parametrize("top", ["", "state/", "model/state/"])
def test_trees_inside_of_other_trees(tmp_path, top):
    arrays = {f"{top}{name}": array for name, array in flat_arrays().items()}
    arrays[f"{top}opt_state/params/encoder/encoder/kernel"] = np.ones(3, np.float32)
    save_file(arrays, tmp_path / "intel_relu_full.safetensors")
    loaded = load(tmp_path / "intel_relu_full.safetensors", LoadOptions(rectified=True))
    assert_same_model(loaded.model, load_recorded("intel_relu_full").model)


def test_bare_parameters(tmp_path):
    """Without statistics, batch norm cannot be told from layer norm."""
    bare = {
        name.removeprefix("params/"): array
        for name, array in flat_arrays().items()
        if name.startswith("params/")
    }
    path = write_npz(tmp_path / "bare.npz", bare)
    assert "has batch norm statistics (batch_stats) of 0 blocks of 2" in message(path)
    write_npz(path, {name.replace("mixer", "seq"): array for name, array in bare.items()})
    loaded = load(path, LoadOptions(clip_eigenvalues=True))
    assert isinstance(loaded.model.blocks[0].norm, LayerNorm)
    assert any(note.startswith("norm: guessed layer norm") for note in loaded.notes)


def test_loops_of_links_end(tmp_path):
    for name in ("1", "2", "state"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    assert "is no checkpoint" in message(tmp_path)


def test_conjugate_pairs_are_recognised():
    assert load_recorded("s5_flax_prenorm").model.blocks[0].ssm.conjugate_symmetric
    assert not load_recorded("s5_flax_postnorm").model.blocks[0].ssm.conjugate_symmetric


def test_rectification_is_recognised():
    small = load(RECORDED / "denoiser_small_orbax").model
    assert small.rectified_encoder
    assert small.blocks[0].rectified
    assert small.blocks[0].activation is Activation.RELU


def test_limitations_are_noted():
    notes = load_recorded("s5_flax_bidirectional").notes
    assert any(note.startswith("bidirectional: in floats only") for note in notes)
    assert not any("floats only" in note for note in load_recorded("denoiser_small").notes)


def test_source_has_a_digest(tmp_path):
    first = load(RECORDED / "s5_pytorch_sequential.pt").source
    shutil.copy(RECORDED / "s5_pytorch_sequential.pt", tmp_path)
    assert load(tmp_path / "s5_pytorch_sequential.pt").source == first
    assert load(RECORDED / "s5_pytorch_encoder_decoder.pt").source["sha256"] != first["sha256"]


@pytest.mark.parametrize(
    ("file", "option"),
    [
        ("s5_pytorch_sequential.pt", {"glu": GluVariant.HALF1}),
        ("s5_pytorch_sequential.pt", {"prenorm": False}),
        ("s5_flax_gelu.msgpack", {"pruning_sparsity": 0.5}),
        ("s5_flax_gelu.msgpack", {"rectified": True}),
    ],
)
def test_options_without_a_choice_are_refused(file, option):
    assert f"option {next(iter(option))} is given" in message(
        RECORDED / file, LoadOptions(**option)
    )


# --- paths that are no checkpoint ----------------------------------------------------------------


def test_a_format_is_one_entry_of_the_table(tmp_path, monkeypatch):
    """Nothing else knows which formats there are."""

    def sniff(path, start):
        return start == b"RAW32\0\0\0"

    def read(path):
        text, _, numbers = path.read_bytes()[8:].partition(b"\n")
        values = np.frombuffer(numbers, np.float32)
        arrays = {}
        for name, shape in json.loads(text):
            size = int(np.prod(shape))
            arrays[name], values = values[:size].reshape(shape), values[size:]
        return arrays

    arrays = {name: array.astype(np.float32) for name, array in flat_arrays().items()}
    stored = write_npz(tmp_path / "model.npz", arrays)
    shapes = [(name, array.shape) for name, array in arrays.items()]
    numbers = b"".join(array.tobytes() for array in arrays.values())
    (tmp_path / "model.raw").write_bytes(
        b"RAW32\0\0\0" + json.dumps(shapes).encode() + b"\n" + numbers
    )
    assert "is no checkpoint of a known format" in message(tmp_path / "model.raw")
    entry = CheckpointFormat("files of raw numbers", sniff, of_file(read), (".raw",))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, entry))
    assert_same_model(load(tmp_path / "model.raw").model, load(stored).model)
    assert "Inside it, try model.npz or model.raw" in message(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"")
    assert "Known are: files of raw numbers; Orbax" in message(tmp_path / "model.bin")


def test_unknown_paths(tmp_path):
    assert "does not exist" in message(tmp_path / "missing")
    assert "Known are: Orbax directories" in message(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert "is no checkpoint of a known format" in message(text)
    text.write_bytes(b"")
    assert "is no checkpoint of a known format" in message(text)
    arrays = write_npz(tmp_path / "a.npz", {"weights": np.zeros(3)})
    assert "Inside it, try a.npz" in message(tmp_path)
    assert "not those of a known S5 model (first: weights)" in message(arrays)
    old = tmp_path / "old.pt"
    old.write_bytes(pickle.dumps({"a": 1}, 2))
    assert "is not a zip archive" in message(old)


def test_export_of_integers_is_pointed_elsewhere():
    export = Path(s5_to_loihi.__file__).parent / "data" / "denoiser_small"
    assert "holds integers" in message(export)


@pytest.mark.parametrize(
    ("module", "file", "extra"),
    [
        ("tensorstore", "denoiser_small_orbax", "orbax"),
        ("msgpack", "s5_flax_gelu.msgpack", "flax"),
    ],
)
def test_missing_extra_is_named(monkeypatch, module, file, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"s5_to_loihi[{extra}]" in message(RECORDED / file)


# --- parameters that are not what they should be -------------------------------------------------

SSM = "params/encoder/layers_0/mixer"


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        (f"{SSM}/B", lambda b: b[..., 0], "holds real numbers of shape (4, 6) where complex ones"),
        (f"{SSM}/C", lambda c: c.swapaxes(0, 1), "expected (6, 4, 2): it is transposed"),
        (f"{SSM}/B", lambda b: b.swapaxes(0, 1), "expected (4, 6, 2): it is transposed"),
        (f"{SSM}/B", lambda b: b[..., :1], "has shape (4, 6, 1), expected (4, 6, 2)"),
        (f"{SSM}/B", lambda b: b.astype(np.int32), "holds int32, not floating-point numbers"),
        (f"{SSM}/B", lambda b: b[:, :5], "has shape (4, 5, 2), expected (4, 6, 2)"),
        (f"{SSM}/B", lambda b: b * np.nan, "holds 48 NaN or infinite values of 48"),
        (f"{SSM}/D", lambda d: d * 1j, "holds complex numbers where real ones"),
        (f"{SSM}/D", lambda d: d[:5], "has shape (5,), expected (6,)"),
        (f"{SSM}/Lambda_im", lambda v: v[:3], "has shape (3,), expected (4,)"),
        (f"{SSM}/Lambda_im", lambda v: v[:0], "is empty"),
        (f"{SSM}/log_step", lambda v: v[:, 0], "has shape (4,), expected (4, 1)"),
        (f"{SSM}/log_step", lambda v: v + 1000, "has time steps from inf to inf"),
        ("params/encoder/layers_1/out2/kernel", lambda w: w[:, :4], "expected (6, 6)"),
        ("params/decoder/kernel", lambda w: w[:4], "has shape (4, 3), expected (6, any)"),
        ("batch_stats/encoder/layers_0/norm/var", lambda v: -v, "goes down to -"),
        (f"{SSM}/C", None, f"has no parameter '{SSM}/C'"),
        ("params/encoder/encoder/kernel", None, "has no parameter 'params/encoder/encoder/kernel'"),
        ("params/encoder/layers_0/out2/kernel", None, "has out1 but no out2"),
        ("params/encoder/layers_0/conv/kernel", 3, "holds 1 unknown parameters: params/encoder/l"),
        ("params/decoder/layer1/kernel", 3, "unknown parameters: params/decoder/layer1/kernel"),
        ("params/encoder/layers_3/mixer/D", 3, "has blocks [0, 1, 3], not 0 to n - 1"),
    ],
)
def test_unsuitable_parameters(tmp_path, name, change, what):
    arrays = flat_arrays()
    if change is None:
        del arrays[name]
    elif change == 3:
        arrays[name] = np.ones((3, 3), np.float32)
    else:
        arrays[name] = change(arrays[name])
    text = message(write_npz(tmp_path / "changed.npz", arrays), LoadOptions(rectified=True))
    assert what in text
    assert str(tmp_path) in text


def test_complex_types_are_accepted(tmp_path):
    arrays = flat_arrays()
    for name in [name for name in arrays if name.endswith(("/B", "/C"))]:
        arrays[name] = arrays[name][..., 0] + 1j * arrays[name][..., 1]
    path = write_npz(tmp_path / "intel_relu_full.npz", arrays)
    want = load_recorded("intel_relu_full").model
    # Half of the numbers a matrix has: pruning counts real and imaginary parts one by one.
    options = LoadOptions(rectified=True, pruning_sparsity=0.0)
    assert_same_model(load(path, options).model, want)


def test_unstable_eigenvalues_ask_for_an_option(tmp_path):
    text = message(RECORDED / "s5_flax_bidirectional.msgpack")
    assert "1 of 4 eigenvalues have a real part of 0 or more" in text
    assert "Load with clip_eigenvalues" in text


def test_layer_norm_of_flax_is_read_with_its_own_epsilon():
    assert load_recorded("s5_flax_bidirectional").model.blocks[0].norm.epsilon == 1e-6
    assert load_recorded("s5_pytorch_sequential").model.blocks[0].norm.epsilon == 1e-5
    assert load_recorded("s5_flax_prenorm").model.blocks[0].norm.epsilon == 1e-5


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"1.s5.seq.C": lambda c: c.T.copy()}, "expected (6, 8): it is transposed"),
        ({"1.s5.seq.B": lambda b: b[..., 0].copy()}, "holds real numbers of shape (8, 6)"),
        ({"1.ff_enc.weight": lambda w: w[:5]}, "gives 5 values, 1.ff_dec.weight takes 6"),
        ({"1.s5.seq.D": None}, "has no parameter '1.s5.seq.D'"),
        ({"9.weight": lambda _: np.ones((3, 3), np.float32)}, "9.weight: has shape (3, 3)"),
        ({"1.extra": lambda _: np.ones(3, np.float32)}, "unknown parameters: 1.extra"),
        ({"1.s5.seq.Lambda": lambda v: -v}, "8 of 8 eigenvalues have a real part of 0 or more"),
        ({"x.s5.seq.Lambda": lambda _: np.ones(3, np.complex64)}, "blocks in different places"),
    ],
)
def test_unsuitable_state_dict(tmp_path, change, what):
    tensors = load_file(RECORDED / "s5_pytorch_sequential.safetensors")
    for name, function in change.items():
        old = tensors.pop(name, None)
        if function is not None:
            tensors[name] = np.ascontiguousarray(function(old))
    save_file(tensors, tmp_path / "changed.safetensors")
    assert what in message(tmp_path / "changed.safetensors")


def test_bare_layers_are_refused(tmp_path):
    tensors = load_file(RECORDED / "s5_pytorch_sequential.safetensors")
    bare = {k.removeprefix("1.s5."): v for k, v in tensors.items() if k.startswith("1.s5.")}
    save_file(bare, tmp_path / "bare.safetensors")
    assert "holds a bare S5 layer" in message(tmp_path / "bare.safetensors")


def test_places_in_a_sequence(tmp_path):
    """What stands between blocks is refused if it has parameters, and noted if it has none."""
    tensors = load_file(RECORDED / "s5_pytorch_sequential.safetensors")
    spread = {re.sub(r"^2\.", "4.", name): tensor for name, tensor in tensors.items()}
    last = {"5.weight": np.ones((3, 6), np.float32), "5.bias": np.ones(3, np.float32)}
    save_file(spread | last, tmp_path / "spread.safetensors")
    loaded = load(tmp_path / "spread.safetensors")
    assert_same_model(loaded.model.blocks, load_recorded("s5_pytorch_sequential").model.blocks)
    assert loaded.model.decoder.weight.shape == (3, 6)
    assert any(note.startswith("modules without parameters") for note in loaded.notes)
    assert not any("modules" in note for note in load_recorded("s5_pytorch_sequential").notes)
    between = {"3.weight": np.ones((6, 6), np.float32), "3.bias": np.ones(6, np.float32)}
    save_file(spread | between, tmp_path / "between.safetensors")
    assert "unknown parameters: 3.bias, 3.weight" in message(tmp_path / "between.safetensors")


def test_a_single_block(tmp_path):
    tensors = load_file(RECORDED / "s5_pytorch_sequential.safetensors")
    alone = {k.removeprefix("1."): v for k, v in tensors.items() if k.startswith("1.")}
    save_file(alone, tmp_path / "alone.safetensors")
    model = load(tmp_path / "alone.safetensors").model
    assert_same_model(model.blocks, load_recorded("s5_pytorch_sequential").model.blocks[:1])
    assert model.encoder is None


# --- damaged and hostile files -------------------------------------------------------------------

FILES = [
    "s5_flax_prenorm.msgpack",
    "intel_relu_full.npz",
    "s5_pytorch_sequential.pt",
    "s5_pytorch_sequential.safetensors",
]


@pytest.mark.parametrize("file", FILES)
def test_truncated_files(tmp_path, file):
    content = (RECORDED / file).read_bytes()
    target = tmp_path / file
    for length in range(0, len(content), max(1, len(content) // 60)):
        target.write_bytes(content[:length])
        message(target, RECORDINGS.get(Path(file).stem, (file, LoadOptions()))[1])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mutated")


@pytest.mark.parametrize("file", FILES)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_mutated_files(scratch, file, data):
    """Any change gives a model or a CheckpointError."""
    content = bytearray((RECORDED / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (scratch / file).write_bytes(content)
    try:
        load(scratch / file)
    except CheckpointError as error:
        assert str(scratch) in str(error)  # noqa: PT017


def test_damaged_orbax_directories(tmp_path):
    source = RECORDED / "s5_flax_postnorm_orbax" / "12" / "default"
    needed = 0
    for number, file in enumerate(file for file in sorted(source.rglob("*")) if file.is_file()):
        for damage in ("truncate", "remove"):
            copy = tmp_path / f"{number}{damage}"
            shutil.copytree(source, copy)
            victim = copy / file.relative_to(source)
            if damage == "remove":
                victim.unlink()
            else:
                victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
            try:
                model = load(copy, POSTNORM).model
            except CheckpointError:
                needed += 1
            else:
                # Orbax stores some pieces twice; a loss must never change a number.
                want = load_recorded("s5_flax_postnorm").model
                assert_same_model(model, replace(want, name=model.name))
    assert needed >= 4


def test_deep_metadata(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(RECORDED / "s5_flax_postnorm_orbax" / "12" / "default", copy)
    (copy / "_METADATA").write_text("[" * 200_000)
    assert "is damaged" in message(copy)


class Attack:
    """An object whose unpickling would create a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def hostile_index(marker: Path) -> dict[str, bytes]:
    command = f"touch '{marker}'".encode()
    text = b"X" + len(command).to_bytes(4, "little") + command
    return {
        "reduce": pickle.dumps({"weights": Attack(marker)}, 2),
        "global": b"\x80\x02cposix\nsystem\n" + text + b"\x85R.",
        "builtin": b"\x80\x02c__builtin__\neval\n" + text + b"\x85R.",
        "instance": b"\x80\x02(" + text + b"iposix\nsystem\n.",
        "storage type": b"\x80\x02(X\x07\x00\x00\x00storagecposix\nsystem\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x1etQ.",
        "rebuild by name": b"\x80\x02ctorch._utils\n_rebuild_from_type_v2\n.",
        "protocol 4": pickle.dumps({"weights": Attack(marker)}, 4),
    }


@pytest.mark.parametrize("attack", hostile_index(Path("marker")))
def test_hostile_index_runs_nothing(tmp_path, attack):
    marker = tmp_path / "marker"
    index = hostile_index(marker)[attack]
    path = rewrite_zip(
        RECORDED / "s5_pytorch_sequential.pt", tmp_path / "hostile.pt", {"data.pkl": index}
    )
    assert "Nothing of it was run" in message(path)
    assert not marker.exists()


def test_attack_works_on_python(tmp_path):
    pickle.loads(hostile_index(tmp_path / "marker")["reduce"])
    assert (tmp_path / "marker").exists()


def test_whole_models_are_refused_by_name(tmp_path):
    index = b"\x80\x02cs5.s5_model\nS5Block\n)\x81."
    path = rewrite_zip(
        RECORDED / "s5_pytorch_sequential.pt", tmp_path / "model.pt", {"data.pkl": index}
    )
    text = message(path)
    assert "refers to s5.s5_model.S5Block" in text
    assert "torch.save(model.state_dict(), PATH)" in text


def torch_index(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{path.stem}/data.pkl")


@pytest.mark.parametrize(
    ("changed", "options", "what"),
    [
        ({"data/3": bytes(380)}, {}, "does not hold 96 numbers of <f4"),
        ({"data/3": bytes(381)}, {}, "buffer size must be a multiple"),
        ({"constants.pkl": b""}, {}, "perhaps TorchScript"),
        ({"inner/data.pkl": b""}, {}, "is no file of torch.save"),
        ({"byteorder": b"big"}, {}, "was written on a big-endian machine"),
        ({}, {"compression": zipfile.ZIP_DEFLATED}, "has packed entries"),
    ],
)
def test_unsuitable_torch_archives(tmp_path, changed, options, what):
    source = RECORDED / "s5_pytorch_sequential.pt"
    assert what in message(rewrite_zip(source, tmp_path / "changed.pt", changed, **options))


def test_tensors_stay_within_their_storage(tmp_path):
    source = RECORDED / "s5_pytorch_sequential.pt"
    index = torch_index(source)
    # 0.weight: size (6, 5), strides (5, 1), as BININT1s.
    size = b"K\x06K\x05\x86"
    assert size in index
    for wrong in (b"K\x07K\x05\x86", b"K\xffK\xff\x86", b"K\x06K\xff\x86"):
        changed = {"data.pkl": index.replace(size, wrong, 1)}
        text = message(rewrite_zip(source, tmp_path / "changed.pt", changed))
        assert "lies outside of its storage of 30" in text


def test_sizes_are_bounded_before_anything_is_unpacked(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("params/encoder/layers_0/mixer/B.npy", bytes(3_000_000))
    monkeypatch.setattr(numpy_archive, "LARGEST_BYTES", 2_000_000)
    assert "unpacks to 3,000,000 bytes" in message(bomb)
    monkeypatch.setattr(flax_msgpack, "LARGEST_BYTES", 1000)
    assert "is larger than 0 MiB" in message(RECORDED / "s5_flax_gelu.msgpack")
    monkeypatch.setattr(torch_archive, "LARGEST_BYTES", 1000)
    assert "limits 1000" in message(RECORDED / "s5_pytorch_sequential.pt")
    monkeypatch.setattr(orbax, "LARGEST_BYTES", 1000)
    assert "bytes of parameters (limit 1,000" in message(RECORDED / "denoiser_small_orbax")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", "in 78 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "is damaged"),
        ("{'descr': '<f4'", "is damaged"),
        ("(" * 5000, "is damaged"),
        ('"' * 3, "is damaged"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Python 2:UserWarning")
def test_false_headers(tmp_path, header, what):
    content = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little")
    with zipfile.ZipFile(tmp_path / "false.npz", "w") as archive:
        archive.writestr(f"{SSM}/B.npy", content + header.encode() + b"\n")
    assert what in message(tmp_path / "false.npz")


def test_objects_are_not_read(tmp_path):
    objects = {"params/encoder/layers_0/mixer/B": np.array([Attack(tmp_path / "marker")], object)}
    assert "not of numbers" in message(write_npz(tmp_path / "objects.npz", objects))
    assert not (tmp_path / "marker").exists()


# --- our own format ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDINGS)
def test_saved_models_are_read_back(tmp_path, name):
    model = load_recorded(name).model
    save_model(model, tmp_path / "saved")
    for path in ("", "model.yaml", "model.safetensors"):
        assert_same_model(load(tmp_path / "saved" / path).model, model)
    save_model(model, tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "model.safetensors",
        "model.yaml",
    ]


def test_shipped_model_is_the_recorded_checkpoint():
    shipped = Path(s5_to_loihi.__file__).parent / "data" / "denoiser_small_float"
    got, want = load(shipped).model, load(RECORDED / "denoiser_small_orbax").model
    blocks = []
    for block, wanted in zip(got.blocks, want.blocks, strict=True):
        # Steps are exponentials, in whose last bit versions of numpy differ.
        np.testing.assert_allclose(block.ssm.step, wanted.ssm.step, rtol=5e-16)
        blocks.append(replace(block, ssm=replace(block.ssm, step=wanted.ssm.step)))
    assert_same_model(replace(got, blocks=tuple(blocks)), replace(want, name="denoiser_small"))


def saved(tmp_path: Path, name: str = "intel_relu_full") -> tuple[Path, dict]:
    save_model(load_recorded(name).model, tmp_path)
    path = tmp_path / "model.yaml"
    return path, yaml.safe_load(path.read_text())


def test_what_may_be_left_out(tmp_path):
    path, description = saved(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for key in ("readout", "rectified_encoder"):
        del description[key]
    del description["blocks"][0]["norm"]["epsilon"]
    for name in ("encoder.bias", "blocks.0.norm.scale", "blocks.0.gate.bias"):
        del tensors[name]
    path.write_text(yaml.safe_dump(description))
    save_file(tensors, tmp_path / "model.safetensors")
    model, _ = load_model(path)
    assert not model.rectified_encoder
    assert not model.encoder.bias.any()
    np.testing.assert_array_equal(model.blocks[0].norm.scale, np.ones(6))
    assert model.blocks[0].norm.epsilon == 1e-5


def test_numbers_without_a_point_are_numbers(tmp_path):
    path, _ = saved(tmp_path)
    path.write_text(path.read_text().replace("1.0e-05", "1e-3"))
    assert load(path).model.blocks[0].norm.epsilon == 1e-3


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("schema_version: 1", "schema_version: 2", "is 2 (this program reads 1)"),
        ("schema_version: 1", "", "schema_version: is missing"),
        ("glu: full", "glu: fuller", "glu: is 'fuller' (known: half1, half2, full, none)"),
        ("glu: full", "glu: none", "unknown parameters: blocks.0.gate.bias"),
        ("prenorm: true", "prenorm: 3", "prenorm: is 3, not of type bool"),
        ("prenorm: true", "prenorn: true", "prenorn: is an unknown key"),
        ("kind: s5", "kind: s4", "kind: is 's4' (known: s5, feed_forward)"),
        ("kind: batch", "kind: group", "kind: is 'group' (known: batch, layer, rms)"),
        ("kind: batch", "kind: layer", "unknown parameters: blocks.0.norm.mean"),
        ("epsilon: 1.0e-05", "epsilon: small", "epsilon: is 'small', not a number"),
        ("epsilon: 1.0e-05", "epsilon: .nan", "epsilon: is nan"),
        ("readout: each_token", "readout: first", "readout: is 'first'"),
        ("model.safetensors", "../model.safetensors", "is not the name of a .safetensors file"),
        ("model.safetensors", "other.safetensors", "other.safetensors: is missing"),
        ("blocks:", "blocks: &a [*a]\nmore:", "an alias stands for what it is a part of"),
        ("readout:", "readout: each_token\nreadout:", "the key 'readout' is there twice"),
        ("schema: ", "other: ", "schema: is missing"),
        ("name: ", "name: !!python/object/apply:os.system [true] #", "cannot be read as YAML"),
        ("blocks:", "blocks: [", "cannot be read as YAML"),
    ],
)
def test_unsuitable_descriptions(tmp_path, old, new, what):
    path, _ = saved(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert what in str(caught.value)


def test_the_documented_program_writes_a_model(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "docs" / "checkpoints.md").read_text()
    blocks = re.findall(r"```(python|yaml)\n(.*?)```", text, re.DOTALL)
    (program,) = (code for kind, code in blocks if kind == "python" and "save_file(" in code)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    model = load(tmp_path).model
    assert evaluate(model, np.ones((4, 2, 5))).shape == (4, 2, 3)
    # The documented description, with tensors for its two blocks.
    (description,) = (code for kind, code in blocks if kind == "yaml")
    first, second = (
        load_recorded(name).model.blocks[0] for name in ("s5_flax_prenorm", "s5_pytorch_sequential")
    )
    save_model(replace(model, encoder=None, blocks=(first, second), decoder=None), tmp_path)
    (tmp_path / "model.yaml").write_text(description)
    assert_same_model(load(tmp_path).model.blocks, (first, second))


def test_options_for_our_own_format_are_refused(tmp_path):
    path, _ = saved(tmp_path)
    assert "option glu is given" in message(path, LoadOptions(glu=GluVariant.HALF1))


def test_types_that_are_not_read(tmp_path):
    path, _ = saved(tmp_path)
    file = tmp_path / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"F32"', b'"BF16"', 1))
    assert str(file) in message(path)


def test_model_cannot_be_saved_over_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(load_recorded("intel_relu_full").model, tmp_path / "taken")
