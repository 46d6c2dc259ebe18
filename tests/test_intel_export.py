"""Intel's exports: read to the last integer, or refused with what is wrong and where."""

import copy
import dataclasses
import json
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import golden
import intel_exports
import intel_pickles
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intel_exports import ACTIVATIONS, FILES, IO, MODEL, Shape, small_trees, write_files

import s5_to_loihi
from s5_to_loihi import intel_export
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.errors import CapacityError, CheckpointError
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.intel_export.lower import lower
from s5_to_loihi.intel_export.model import QuantizedS5
from s5_to_loihi.intel_export.wrapping import wrapping_limits, wrapping_notes
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.interpreter import Interpreter, Mode
from s5_to_loihi.verification import RunResult, verify_interpreter, verify_run

SHIPPED = Path(s5_to_loihi.__path__[0]) / "data" / "denoiser_small"
FROZEN = "exponents of batch norm and residual: frozen from fxpmodel_activations.pkl"
RECOMPUTED = (
    "exponents of batch norm and residual: recomputed with Intel's rule from fxpmodel_io.pkl"
)
GLU_GUESS = "GLU variant: half1, a guess (no file says half1 or half2; choose with --glu)"
SYMMETRY_GUESS = "conjugate symmetry: on, a guess (no file says; choose with --symmetric)"
BLOCK = "encoder/layers_1"


def assert_verified(result: RunResult, names: int | None = None) -> None:
    """No integer differs, and that many recorded names took part."""
    assert [tensor for tensor in result.tensors if tensor.differing] == []
    assert result.equal
    if names is not None:
        assert sum(len(tensor.recorded_as) for tensor in result.tensors) == names


def frozen_formats(model: QuantizedS5) -> list[tuple]:
    """The formats whose exponents depend on the data, block by block."""
    return [
        (
            block.norm.centred,
            block.norm.normalised,
            block.norm.scaled,
            block.norm.shifted,
            block.total,
        )
        for block in model.blocks
    ]


def without_wrapping(notes):
    """Leave out the note of where Intel's products of 32 bits wrap."""
    kept = [note for note in notes if not note.startswith("Intel's int32 product")]
    return type(notes)(kept)


# --- the shipped export --------------------------------------------------------------------------


def test_shipped_export_verifies_in_every_recorded_tensor():
    export = intel_export.read(SHIPPED)
    bundle = compile_export(SHIPPED)
    result = verify_interpreter(bundle.network, bundle.vectors)
    assert len(export.recorded) == 84
    assert_verified(result, names=84)
    assert {name for tensor in result.tensors for name in tensor.recorded_as} == set(
        export.recorded
    )
    assert sum(tensor.compared for tensor in result.tensors) == sum(
        tensor.size for tensor in bundle.vectors.expected.values()
    )
    assert without_wrapping(bundle.notes) == (FROZEN,)
    assert "wraps from |x| = 131,121 on" in bundle.notes[-1]
    assert bundle.source["name"] == "denoiser_small"
    assert all(name in bundle.source["files"] for name in FILES)


def test_shipped_export_without_activations_gives_the_same_network(tmp_path):
    directory = tmp_path / "denoiser_small"
    directory.mkdir()
    for name in FILES:
        if name != ACTIVATIONS:
            shutil.copy(SHIPPED / name, directory)
    bundle = compile_export(directory)
    assert without_wrapping(bundle.notes) == (
        GLU_GUESS,
        SYMMETRY_GUESS,
        f"{RECOMPUTED} (2 x 100 tokens)",
    )
    whole = compile_export(SHIPPED)
    assert to_text(bundle.network) == to_text(whole.network)
    for group, other in zip(bundle.network.groups, whole.network.groups, strict=True):
        assert group.formats == other.formats
    assert_verified(verify_interpreter(bundle.network, bundle.vectors), names=2)


def test_model_and_activations_are_enough(tmp_path):
    for name in (MODEL, ACTIVATIONS):
        shutil.copy(SHIPPED / name, tmp_path)
    bundle = compile_export(tmp_path)
    assert without_wrapping(bundle.notes) == (FROZEN,)
    assert_verified(verify_interpreter(bundle.network, bundle.vectors), names=82)


# --- the golden sets -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", golden.SETS)
def test_recomputed_exponents_are_the_frozen_ones(name):
    frozen, notes = intel_export.to_model(golden.export(name))
    recomputed, other_notes = intel_export.to_model(golden.export(name, activations=False))
    assert frozen_formats(recomputed) == frozen_formats(frozen)
    assert without_wrapping(notes) == [FROZEN]
    tokens = len(golden.load(name).tensors["INPUT_int"])
    assert without_wrapping(other_notes) == [
        GLU_GUESS,
        SYMMETRY_GUESS,
        f"{RECOMPUTED} (1 x {tokens} tokens)",
    ]


@pytest.mark.parametrize("name", golden.SETS)
def test_golden_set_verifies_in_every_recorded_tensor(name):
    export = golden.export(name)
    model, _ = intel_export.to_model(export)
    network = run_passes(lower(model))
    vectors, notes = intel_export.to_vectors(export, network)
    assert without_wrapping(notes) == []
    assert_verified(verify_interpreter(network, vectors), names=len(export.recorded))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", golden.SETS)
def test_golden_set_verifies_timestep_by_timestep(name, mode):
    export = golden.export(name)
    model, _ = intel_export.to_model(export)
    network = run_passes(lower(model))
    vectors, _ = intel_export.to_vectors(export, network)
    if name != "simple":
        vectors = vectors.first(40)
    result = verify_run(network, vectors, Backend.INTERPRETER, mode)
    assert (result.tokens, result.sequences) == vectors.tokens.shape[:2]
    assert_verified(result, names=len(export.recorded))
    # every value is compared, recorded or not: also what no recording has, as lowered messages
    assert {tensor.value for tensor in result.tensors} > set(vectors.expected)


# --- small exports on disk -----------------------------------------------------------------------


@pytest.mark.parametrize("conjugate_symmetric", [True, False])
@pytest.mark.parametrize("norm_scale_bias", [True, False])
@pytest.mark.parametrize("glu", GluVariant)
def test_small_export_is_found_out_and_verifies(
    tmp_path, glu, norm_scale_bias, conjugate_symmetric
):
    shape = Shape(glu.value, norm_scale_bias, conjugate_symmetric)
    _, _, recorded = intel_exports.small_model(shape)
    if glu is GluVariant.HALF2:
        assert (recorded["encoder/layers_0/post_GLU"].data < 0).any()
    directory = write_files(tmp_path / "small", small_trees(shape))
    model, notes = intel_export.to_model(intel_export.read(directory))
    assert without_wrapping(notes) == [FROZEN]
    assert [block.glu.variant for block in model.blocks] == [glu] * shape.blocks
    assert [block.ssm.conjugate_symmetric for block in model.blocks] == [
        conjugate_symmetric
    ] * shape.blocks
    bundle = compile_export(directory)
    assert without_wrapping(bundle.notes) == (FROZEN,)
    assert_verified(verify_interpreter(bundle.network, bundle.vectors), names=len(recorded))


def test_recordings_without_batch_axis_are_one_sequence(tmp_path):
    trees = small_trees(Shape(batch=1))
    for tensor in recorded_arrays(trees):
        tensor.data = tensor.data[0]
    bundle = compile_export(write_files(tmp_path, trees))
    assert bundle.vectors.tokens.shape == (6, 1, 3)
    assert_verified(verify_interpreter(bundle.network, bundle.vectors))


def recorded_arrays(trees: dict) -> Iterator[intel_pickles.FxpArray]:
    for _, value in leaves({name: trees[name] for name in (ACTIVATIONS, IO)}):
        parts = (value.real, value.imag) if hasattr(value, "real") else (value,)
        yield from parts


def test_bits_and_exponents_may_be_scalars_of_numpy(tmp_path):
    trees = small_trees()
    trees[MODEL]["qconfig"]["decoder"] = {
        key: np.array(value, np.int32) if key.endswith("_exp") else np.float32(value)
        for key, value in trees[MODEL]["qconfig"]["decoder"].items()
    }
    bundle = compile_export(write_files(tmp_path, trees))
    assert_verified(verify_interpreter(bundle.network, bundle.vectors))


def test_recorded_tensors_without_counterpart_are_named_in_the_notes(tmp_path):
    trees = small_trees()
    layer = trees[ACTIVATIONS]["intermediates"]["encoder"]["layers_0"]
    layer["surplus"] = layer["residadd"]
    # steps that this model does not have, so that its network has no value for them
    layer["norm"]["norm_output_scaled"] = layer["residadd"]
    layer["out1"] = {"__call__": layer["residadd"]}
    bundle = compile_export(write_files(tmp_path, trees))
    assert without_wrapping(bundle.notes) == (
        FROZEN,
        "recorded tensors without a counterpart, not compared: encoder/layers_0/"
        "norm/norm_output_scaled, encoder/layers_0/out1/__call__, encoder/layers_0/surplus",
    )
    assert_verified(verify_interpreter(bundle.network, bundle.vectors))


# --- guesses -------------------------------------------------------------------------------------


def guessed(tmp_path: Path, trees: dict, arguments: dict | None = None, **options):
    """(variant, symmetry, notes) of an export, which may have an args.json."""
    write_files(tmp_path, trees)
    if arguments is not None:
        (tmp_path / "args.json").write_text(json.dumps(arguments))
    model, notes = intel_export.to_model(intel_export.read(tmp_path), ExportOptions(**options))
    block = model.blocks[0]
    return block.glu.variant, block.ssm.conjugate_symmetric, notes


def trees_without_activations(shape: Shape = Shape()) -> dict:
    """An export from which the exponents are recomputed; it is also faster to read."""
    trees = small_trees(shape)
    del trees[ACTIVATIONS]
    return trees


def test_args_json_settles_the_guesses(tmp_path):
    arguments = {"glu_variant": "half2", "conj_sym": False, "batchnorm": True, "prenorm": True}
    variant, symmetric, notes = guessed(tmp_path, trees_without_activations(), arguments)
    assert (variant, symmetric) == (GluVariant.HALF2, False)
    assert without_wrapping(notes) == [f"{RECOMPUTED} (2 x 6 tokens)"]


def test_guesses_without_any_word_are_notes(tmp_path):
    variant, symmetric, notes = guessed(tmp_path, trees_without_activations())
    assert (variant, symmetric) == (GluVariant.HALF1, True)
    assert without_wrapping(notes) == [GLU_GUESS, SYMMETRY_GUESS, f"{RECOMPUTED} (2 x 6 tokens)"]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("glu", [GluVariant.HALF1, GluVariant.HALF2])
def test_a_guess_that_does_not_give_the_recorded_output_is_not_kept(tmp_path, glu, symmetric):
    trees, options = trees_without_activations(), ExportOptions(glu, symmetric)
    wanted = compile_export(write_files(tmp_path / "said", trees), options, "network")
    output = Interpreter(wanted.network).evaluate(wanted.vectors.tokens).outputs
    trees[IO]["output"].data = np.ascontiguousarray(output.transpose(1, 0, 2), dtype=np.int32)
    compiled = compile_export(write_files(tmp_path / "found", trees), name="network")
    assert verify_interpreter(compiled.network, compiled.vectors).equal
    assert to_text(compiled.network) == to_text(wanted.network)
    if options == ExportOptions(GluVariant.HALF1, True):
        assert not any("found out" in note for note in compiled.notes)
    else:
        state = "on" if symmetric else "off"
        assert compiled.notes[0].startswith(
            f"glu {glu.value}, conjugate_symmetric {state}: found out"
        )


def test_a_guess_that_no_other_reading_betters_is_named(tmp_path):
    trees = trees_without_activations()
    trees[IO]["output"].data = -trees[IO]["output"].data - 1
    write_files(tmp_path, trees)
    compiled = compile_export(tmp_path)
    assert not verify_interpreter(compiled.network, compiled.vectors).equal
    assert "no reading of what was guessed (glu, conjugate_symmetric)" in compiled.notes[0]


def test_products_beyond_int32_are_counted():
    compiled = compile_export(SHIPPED)
    network, vectors = compiled.network, compiled.vectors
    limits = wrapping_limits(network)
    assert sorted(limits) == ["block0.state", "block1.state", "block2.state"]
    loud = {}
    for name, limit in limits.items():
        constants = network.group(name).constants
        largest = max(abs(int(one)) for part in (constants.a_re, constants.a_im) for one in part)
        # In Python's integers: the limit is the first magnitude whose product leaves int32.
        assert largest * limit >= 2**31 > largest * (limit - 1)
        loud[f"{name}.x_re"] = np.full((2, 1, len(constants.a_re)), limit, dtype=np.int64)
    assert ", 0 of " in wrapping_notes(network, vectors)[0]
    (note,) = wrapping_notes(network, dataclasses.replace(vectors, expected=loud))
    factors = [network.group(name).constants for name in limits]
    # Two tokens each.
    beyond = sum(
        2
        for limit, constants in zip(limits.values(), factors, strict=True)
        for part in (constants.a_re, constants.a_im)
        for one in part
        if abs(int(one)) * limit >= 2**31
    )
    assert f", {beyond} of " in note


def test_options_are_not_overruled(tmp_path):
    arguments = {"glu_variant": "half2", "conj_sym": False}
    variant, symmetric, notes = guessed(
        tmp_path, small_trees(), arguments, glu=GluVariant.HALF1, conjugate_symmetric=True
    )
    assert (variant, symmetric, notes) == (GluVariant.HALF1, True, [FROZEN])


def test_words_in_args_json_that_mean_nothing_here_are_passed_over(tmp_path):
    arguments = {"glu_variant": ["half2"], "conj_sym": "yes", "bidirectional": None, "lr": 1e-3}
    assert guessed(tmp_path, small_trees(), arguments) == (GluVariant.HALF1, True, [FROZEN])


def test_length_of_the_mean_is_taken_from_the_recording(tmp_path):
    write_files(tmp_path, small_trees())
    model, notes = intel_export.to_model(
        intel_export.read(tmp_path), ExportOptions(readout=Readout.MEAN)
    )
    assert model.sequence_length == 6
    assert "sequence length: 6 tokens, taken from the recorded input" in notes


# --- refusals ------------------------------------------------------------------------------------


def refusal(directory: Path, options: ExportOptions = ExportOptions()) -> str:
    """The message with which an export is refused."""
    with pytest.raises(CheckpointError) as caught:
        compile_export(directory, options)
    message = str(caught.value)
    assert re.match(r"\S.*: \S.*\.$", message, re.DOTALL)
    assert len(message) < 1000
    return message


def assert_refused(tmp_path: Path, trees: dict, *parts: str) -> None:
    """The export in the trees is refused with a message that has these parts."""
    message = refusal(write_files(tmp_path / "small", trees))
    for part in parts:
        assert part in message


def leaves(tree: dict, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Every entry that is no dictionary, with its path."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def parent_of(tree: dict, path: str) -> tuple[dict, str]:
    *parents, leaf = path.split("/")
    for key in parents:
        tree = tree[key]
    return tree, leaf


def entry(tree: dict, path: str) -> object:
    node, leaf = parent_of(tree, path)
    return node[leaf]


def replace_entry(tree: dict, path: str, value: object) -> None:
    node, leaf = parent_of(tree, path)
    node[leaf] = value


FULL = Shape(glu="full", norm_scale_bias=True)
PARAMETERS = [
    "/".join(path)
    for path, _ in leaves(small_trees(FULL)[MODEL]["params"])
    if "layers_0" not in path
]
FORMATS = [
    "/".join(path)
    for path, _ in leaves(small_trees(FULL)[MODEL]["qconfig"])
    if "layers_0" not in path and "sigmoid" not in path and not path[-1].endswith("_signed")
]
#: These may be missing from an export: a map without bias, a norm without scale or bias.
OPTIONAL = ("bias", "scale")


def test_directory_missing(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert message == (
        f"{tmp_path / 'nowhere'}: does not exist. Give the directory that holds fxpmodel.pkl."
    )


def test_directory_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'}: is not a directory. Give the dir" in refusal(tmp_path / "file")


def test_directory_empty(tmp_path):
    message = refusal(tmp_path)
    assert f"{tmp_path}: holds no fxpmodel.pkl. Give the directory that Intel's" in message


def test_model_missing(tmp_path):
    trees = small_trees()
    del trees[MODEL]
    assert_refused(tmp_path, trees, "holds no fxpmodel.pkl", "fxprun.py --export")


def test_neither_activations_nor_io(tmp_path):
    trees = small_trees()
    del trees[ACTIVATIONS], trees[IO]
    assert_refused(
        tmp_path,
        trees,
        f"holds neither {ACTIVATIONS} nor {IO}",
        "follow from the data",
        "Copy one of them beside the model",
    )


def test_entries_of_the_files_missing(tmp_path):
    for file, key in (
        (MODEL, "params"),
        (MODEL, "qconfig"),
        (ACTIVATIONS, "intermediates"),
        (IO, "input"),
        (IO, "output"),
    ):
        trees = small_trees()
        del trees[file][key]
        assert_refused(tmp_path, trees, f"{file}: has no entry '{key}'", "Export again")


@pytest.mark.parametrize("tree", [None, [], 3, "text", np.zeros(3, np.int32)])
@pytest.mark.parametrize("file", FILES)
def test_file_that_holds_no_dictionary(tmp_path, file, tree):
    assert_refused(tmp_path, small_trees() | {file: tree}, f"{file}: holds a ", "not a dictionary")


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameter_missing(tmp_path, path):
    trees = small_trees(FULL)
    node, leaf = parent_of(trees[MODEL]["params"], path)
    del node[leaf]
    if leaf == "mean":
        assert_refused(tmp_path, trees, f"{BLOCK}/norm", "layer norm", "Train with batch norm")
    elif leaf in OPTIONAL:
        # A model without it is a model, but another one than was recorded.
        bundle = compile_export(write_files(tmp_path, trees))
        assert not verify_interpreter(bundle.network, bundle.vectors).equal
    else:
        assert_refused(tmp_path, trees, f"{MODEL}: params has no entry '{path}'", "Export again")


@pytest.mark.parametrize("path", ["encoder", "decoder", "encoder/encoder", f"{BLOCK}/mixer"])
@pytest.mark.parametrize("tree", ["params", "qconfig"])
def test_section_missing_or_no_dictionary(tmp_path, tree, path):
    trees = small_trees()
    node, leaf = parent_of(trees[MODEL][tree], path)
    del node[leaf]
    assert_refused(tmp_path, trees, f"{MODEL}: {tree} has no entry '{path}")
    for value in (None, 7, np.zeros(3, np.int32)):
        node[leaf] = value
        assert_refused(tmp_path, trees, MODEL, path)


@pytest.mark.parametrize("path", FORMATS)
def test_format_missing(tmp_path, path):
    trees = trees_without_activations(FULL)
    node, leaf = parent_of(trees[MODEL]["qconfig"], path)
    del node[leaf]
    assert_refused(tmp_path, trees, f"{MODEL}: qconfig has no entry '{path}'", "Export again")


@pytest.mark.parametrize("path", PARAMETERS)
def test_shape_wrong(tmp_path, path):
    for change in (
        lambda array: array[..., None],
        lambda array: array[0],
        lambda array: array[:0],
        lambda array: np.concatenate([array, array[:1]]),
        lambda array: np.concatenate([array, array[..., :1]], axis=-1),
    ):
        trees = trees_without_activations(FULL)
        replace_entry(trees[MODEL]["params"], path, change(entry(trees[MODEL]["params"], path)))
        message = refusal(write_files(tmp_path / "small", trees))
        # Of two tensors that do not go together, either may be the one that is named.
        assert "small" in message
        assert re.search(r"shape|features|outputs|is empty|not an array", message)


@pytest.mark.parametrize(
    ("path", "change", "parts"),
    [
        (f"{BLOCK}/mixer/B_real", (5, 6), ["mixer/B_real: has shape (5, 6), expected (5, 4)"]),
        (f"{BLOCK}/mixer/A_imag", (4,), ["mixer/A_imag: has shape (4,), expected (5,)"]),
        (f"{BLOCK}/mixer/A_real", (2, 5), ["mixer/A_real: has shape (2, 5), expected ('any',)"]),
        (f"{BLOCK}/mixer/C_imag", (5, 4), ["mixer/C_imag: has shape (5, 4), expected (4, 5)"]),
        (f"{BLOCK}/norm/mean", (5,), ["norm/mean: has shape (5,), expected (4,)"]),
        (f"{BLOCK}/norm/invsq_var", (1,), ["norm/invsq_var: has shape (1,), expected (4,)"]),
        (f"{BLOCK}/out2/weight", (5, 4), ["out2/weight: has shape (5, 4), expected (4, 'any')"]),
        (f"{BLOCK}/out2/bias", (1, 4), ["out2/bias: has shape (1, 4), expected (4,)"]),
        ("encoder/encoder/weight", (5, 4), ["recorded input: has 3 features", "takes 5"]),
        ("encoder/encoder/bias", (9,), ["encoder/encoder/bias: has shape (9,), expected (4,)"]),
        ("decoder/weight", (3, 2), ["decoder/weight: takes 3 features, the encoder gives 4"]),
    ],
)  # fmt: skip
def test_shape_wrong_in_words(tmp_path, path, change, parts):
    trees = trees_without_activations()
    replace_entry(trees[MODEL]["params"], path, np.ones(change, np.int32))
    assert_refused(tmp_path, trees, *parts)


def test_blocks_of_different_widths(tmp_path):
    """Each block fits itself, and none of them fits the next."""
    for activations in (True, False):
        trees = small_trees()
        wider = small_trees(Shape(width=6))
        for tree in ("params", "qconfig"):
            trees[MODEL][tree]["encoder"]["layers_1"] = wider[MODEL][tree]["encoder"]["layers_1"]
        if not activations:
            del trees[ACTIVATIONS]
        assert_refused(
            tmp_path / str(activations),
            trees,
            f"{MODEL}: {BLOCK}: takes 6 features, the encoder gives 4",
        )


def test_square_map_with_more_outputs_than_the_block_is_wide(tmp_path):
    trees = small_trees()
    out2 = trees[MODEL]["params"]["encoder"]["layers_1"]["out2"]
    out2["weight"], out2["bias"] = np.ones((4, 7), np.int32), np.ones(7, np.int32)
    assert_refused(tmp_path, trees, f"{BLOCK}/out2/weight: has 7 outputs, the block is 4 wide")


@pytest.mark.parametrize("path", PARAMETERS)
def test_weight_outside_its_bits(tmp_path, path):
    trees = trees_without_activations(FULL)
    bits = entry(trees[MODEL]["qconfig"], f"{path}_bits")
    # The mean is kept with the other sign.
    beyond = -(2 ** (bits - 1)) if path.endswith("mean") else 2 ** (bits - 1)
    for value in (beyond, -beyond - 1 if beyond > 0 else 1 - beyond):
        array = entry(trees[MODEL]["params"], path).copy()
        array.flat[-1] = value
        replace_entry(trees[MODEL]["params"], path, array)
        assert_refused(
            tmp_path,
            trees,
            f"{MODEL}: {path}: lies in ",
            str(value).removeprefix("-"),
            f"{bits} bits",
        )


def test_unsigned_weight_that_would_wrap_around(tmp_path):
    trees = small_trees()
    weight = entry(trees[MODEL]["params"], "decoder/weight")
    replace_entry(
        trees[MODEL]["params"], "decoder/weight", np.full(weight.shape, 2**64 - 1, np.uint64)
    )
    assert_refused(tmp_path, trees, "decoder/weight", "18446744073709551615")


def test_weights_of_more_than_8_bits(tmp_path):
    trees = small_trees()
    weight = entry(trees[MODEL]["params"], f"{BLOCK}/mixer/B_real").copy()
    weight.flat[0] = 200
    replace_entry(trees[MODEL]["params"], f"{BLOCK}/mixer/B_real", weight)
    replace_entry(trees[MODEL]["qconfig"], f"{BLOCK}/mixer/B_real_bits", 16)
    assert_refused(tmp_path, trees, "block1.B_re", "200", "-128..127", "8-bit weights")


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameter_of_a_wrong_type(tmp_path, path):
    trees = trees_without_activations(FULL)
    integers = entry(trees[MODEL]["params"], path)
    broken = integers.astype(np.float32)
    broken.flat[:2] = (np.nan, np.inf)
    for value, part in (
        (integers.astype(np.float32), "holds float32, not integers"),
        (broken, "holds 2 NaN or infinite values"),
        (integers > 0, "holds bool, not integers"),
        (None, "is a NoneType, not an array"),
        ([1, [2, 3]], "is a list, not an array"),
        ({"data": integers}, "is a dict, not an array"),
    ):
        replace_entry(trees[MODEL]["params"], path, value)
        assert_refused(tmp_path, trees, f"{MODEL}: {path}: {part}")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (float("nan"), "is nan, not an integer"),
        (float("inf"), "is inf, not an integer"),
        (2.5, "is 2.5, not an integer"),
        (np.float32(2.5), "2.5"),
        ("14", "is '14', not an integer"),
        ("14" * 5000, "not an integer"),
        (None, "is None, not an integer"),
        (True, "is True, not an integer"),
        ([14], "is [14], not an integer"),
        (np.arange(3, dtype=np.int32), "not an integer"),
        (np.zeros((40, 40), np.int32), "not an integer"),
        (np.array(float("nan")), "is nan, not an integer"),
        (65, "is 65 (allowed "),
        (-1, "is -1 (allowed "),
        (10**30, f"is {10**30} (allowed "),
    ],
)
@pytest.mark.parametrize("path", ["decoder/out", f"{BLOCK}/mixer/x_re", f"{BLOCK}/norm/mean"])
def test_bits_or_exponent_wrong(tmp_path, path, value, part):
    for end in ("bits", "exp"):
        trees = trees_without_activations()
        replace_entry(trees[MODEL]["qconfig"], f"{path}_{end}", value)
        assert_refused(tmp_path, trees, f"{MODEL}: {path}_{end}: ", part)


def set_formats(trees: dict, **exponents: int) -> None:
    """Set exponents of the second block; ``section_name=value`` for ``section/name_exp``."""
    for name, value in exponents.items():
        section, _, leaf = name.partition("_")
        replace_entry(trees[MODEL]["qconfig"], f"{BLOCK}/{section}/{leaf}_exp", value)


@pytest.mark.parametrize(
    ("exponents", "where"),
    [
        ({"mixer_Bu_re": 31}, "block1.B_re"),
        ({"mixer_Bu_im": 31}, "block1.B_im"),
        ({"mixer_y": 31}, "block1.C_re"),
        ({"mixer_x_im": 0, "mixer_C_imag": 0}, "block1.C_im"),
        ({"mixer_u": 0, "mixer_D": 0, "mixer_Bu_re": 0, "mixer_Bu_im": 0}, "block1.D"),
        ({"out1_out": 31}, "block1.W1"),
        ({"out2_out": 31}, "block1.W2"),
        ({"multgate_res": 31}, "block1.gate.product"),
    ],
)
def test_negative_right_shift_in_a_block(tmp_path, exponents, where):
    trees = small_trees(FULL)
    set_formats(trees, **exponents)
    assert_refused(
        tmp_path, trees, f"{where}: would need a right shift by -", "Lower the result's exponent"
    )


@pytest.mark.parametrize(("path", "where"), [("encoder/encoder", "encoder"), ("decoder",) * 2])
def test_negative_right_shift_in_encoder_and_decoder(tmp_path, path, where):
    trees = small_trees()
    replace_entry(trees[MODEL]["qconfig"], f"{path}/out_exp", 31)
    assert_refused(tmp_path, trees, f"{where}: would need a right shift by -", "export again")


@pytest.mark.parametrize(
    ("step", "where"),
    [("norm_output_raw", "block1.norm.normalised"), ("norm_output_scaled", "block1.norm.scaled")],
)
def test_negative_right_shift_in_the_norm(tmp_path, step, where):
    trees = small_trees(FULL)
    trees[ACTIVATIONS]["intermediates"]["encoder"]["layers_1"]["norm"][step].exp = 31
    assert_refused(tmp_path, trees, f"{where}: would need a right shift by -")


def test_shift_that_no_product_has(tmp_path):
    trees = small_trees()
    set_formats(trees, mixer_u=31, mixer_B_real=31, mixer_Bu_re=0)
    assert_refused(tmp_path, trees, "block1.B_re: would need a right shift by 62", "(limit 47)")


def test_accumulator_that_could_overflow(tmp_path):
    trees = small_trees(Shape(width=700))
    with pytest.raises(CapacityError, match=r"block0\.state\.bu_im: can accumulate \d+ \(limit"):
        compile_export(write_files(tmp_path, trees))


def test_bidirectional_model(tmp_path):
    trees = small_trees()
    mixer = trees[MODEL]["params"]["encoder"]["layers_1"]["mixer"]
    for name in ("C_real", "C_imag"):
        mixer[name] = np.concatenate([mixer[name], mixer[name]], axis=1)
    assert_refused(
        tmp_path,
        trees,
        f"{BLOCK}/mixer/C_real: has 10 columns for 5 states",
        "bidirectional",
        "Train a unidirectional model",
    )


def test_layer_norm(tmp_path):
    trees = small_trees(Shape(norm_scale_bias=True))
    norm = trees[MODEL]["params"]["encoder"]["layers_1"]["norm"]
    del norm["mean"], norm["invsq_var"]
    assert_refused(tmp_path, trees, f"{BLOCK}/norm: has bias, scale and no mean", "layer norm")
    norm.clear()
    assert_refused(tmp_path, trees, f"{BLOCK}/norm: has nothing and no mean")
    norm[7] = norm["x"] = np.zeros(4, np.int32)
    assert_refused(tmp_path, trees, f"{BLOCK}/norm: has 7, x and no mean")


def test_fused_batch_norm(tmp_path):
    trees = small_trees()
    mixer = trees[MODEL]["params"]["encoder"]["layers_1"]["mixer"]
    mixer["B_bias_real"] = mixer["A_real"]
    assert_refused(tmp_path, trees, f"{BLOCK}/mixer: has B_bias_real", "without --fuse_batchnorm")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"bidirectional": True}, "bidirectional is True: a bidirectional model reads"),
        (
            {"batchnorm": False},
            "batchnorm is False: Intel's fixed-point model exists with batch norm",
        ),
        ({"prenorm": False}, "prenorm is False: Intel's fixed-point model exists for norm before"),
        ({"relufication": False}, "relufication is False: Intel's fixed-point model exists"),
    ],
)
def test_training_arguments_that_the_chip_cannot_follow(tmp_path, arguments, part):
    write_files(tmp_path, small_trees())
    (tmp_path / "args.json").write_text(json.dumps(arguments))
    assert f"{tmp_path.name}/args.json: {part}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"glu: half1", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 500_000, "is not JSON"),
        (b"[1, 2]", "is not a JSON object"),
        (b" " * (2 << 20), "is larger than 1 MiB"),
    ],
)
def test_damaged_args_json(tmp_path, content, part):
    write_files(tmp_path, small_trees())
    (tmp_path / "args.json").write_bytes(content)
    message = refusal(tmp_path)
    assert f"{tmp_path / 'args.json'}: {part}" in message
    assert "Remove" in message


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("layers_0", "layers_2"), "has blocks ['layers_0', 'layers_2'], not 0 to n - 1"),
        (("layers_1", "layers_2"), "has blocks ['layers_1', 'layers_2'], not 0 to n - 1"),
        (("layers_0", "layers_01"), "has blocks ['layers_0', 'layers_01'], not 0 to n - 1"),
        (("layers_0", "layers_"), "has blocks ['layers_', 'layers_0'], not 0 to n - 1"),
        (("block0", 1), "encoder has no entry 'layers_0'"),
    ],
)
def test_blocks_not_numbered_from_0(tmp_path, names, part):
    trees = small_trees()
    for tree in ("params", "qconfig"):
        encoder = trees[MODEL][tree]["encoder"]
        blocks = [encoder.pop(f"layers_{index}") for index in range(2)]
        encoder.update(zip(names, blocks, strict=True))
    assert_refused(tmp_path, trees, f"{MODEL}: {part}")


# --- recordings that do not belong to the model --------------------------------------------------


def layer_of(trees: dict) -> dict:
    return trees[ACTIVATIONS]["intermediates"]["encoder"]["layers_1"]


def test_activations_of_another_export(tmp_path):
    for shape in (Shape(seed=2), Shape(width=6), Shape(tokens=5), Shape(batch=3)):
        trees = small_trees() | {ACTIVATIONS: small_trees(shape)[ACTIVATIONS]}
        assert_refused(tmp_path, trees, "small: ", "record", "Take all files from one export")


def test_recorded_input_and_output_of_another_export(tmp_path):
    trees = small_trees() | {IO: small_trees(Shape(tokens=5))[IO]}
    assert_refused(tmp_path, trees, "recorded", "(6, 2, 3)", "(5, 2, 3)")


def test_recorded_tensor_of_another_shape(tmp_path):
    for change in (
        lambda data: data[:, :-1],
        lambda data: data[:1],
        lambda data: data[..., :-1],
        lambda data: data[0],
    ):
        trees = small_trees()
        layer_of(trees)["residadd"].data = change(layer_of(trees)["residadd"].data)
        assert_refused(
            tmp_path,
            trees,
            f"small: recorded {BLOCK}/residadd: has (time, batch, features) (",
            "the model has (6, 2, 4)",
            "Take all files from one export",
        )


def test_recorded_tensor_with_another_exponent(tmp_path):
    trees = small_trees()
    ys = layer_of(trees)["mixer"]["ys"]
    ys.exp += 1
    assert_refused(
        tmp_path,
        trees,
        f"recorded {BLOCK}/mixer/ys: has exponent {ys.exp}, the model computes {ys.exp - 1}",
    )


def test_two_recordings_of_one_value_differ(tmp_path):
    trees = small_trees()
    data = layer_of(trees)["pre_GLU"].data.copy()
    data[0, 0, 0] += 1
    layer_of(trees)["pre_GLU"].data = data
    assert_refused(tmp_path, trees, f"{BLOCK}/pre_GLU: differs from {BLOCK}/mixer/ys", "one export")


def test_recorded_tensor_missing_that_freezes_an_exponent(tmp_path):
    for path in ("residadd", "norm/norm_input_minus_mean", "norm/norm_output_raw"):
        trees = small_trees()
        node, leaf = parent_of(layer_of(trees), path)
        del node[leaf]
        assert_refused(tmp_path, trees, f"small/{ACTIVATIONS}: has no tensor '{BLOCK}/{path}'")


def test_activations_without_the_input_and_no_io(tmp_path):
    trees = small_trees()
    del trees[IO], trees[ACTIVATIONS]["intermediates"]["encoder"]["pre_encoder"]
    assert_refused(tmp_path, trees, "small: no file holds the recorded input", f"Add {IO}")


def test_recorded_input_outside_its_format(tmp_path):
    trees = small_trees()
    trees[IO]["input"].data = trees[IO]["input"].data.copy()
    trees[IO]["input"].data[0, 0, 0] = 2**15
    assert_refused(tmp_path, trees, "recorded input: lies in", "32768 (limit -32768..32767)")


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4), (0, 3), (2, 0, 3), (2, 6, 0)])
def test_recorded_tensor_with_wrong_axes(tmp_path, shape):
    trees = small_trees()
    layer_of(trees)["residadd"].data = np.zeros(shape, np.int32)
    assert_refused(
        tmp_path,
        trees,
        f"{ACTIVATIONS}: {BLOCK}/residadd: has shape {shape}, not (batch, time, features)",
    )


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (None, "is a NoneType, not a fixed-point array"),
        (np.zeros((2, 6, 4), np.int32), "is a ndarray, not a fixed-point array"),
        ([], "is a list, not a fixed-point array"),
        (intel_pickles.fxp_array(np.zeros((2, 6, 4), np.int32), 0, 3), "bits: is 0 (allowed"),
        (intel_pickles.fxp_array(np.zeros((2, 6, 4), np.int32), 16, 99), "exp: is 99 (allowed"),
    ],
)
def test_recorded_tensor_that_is_none(tmp_path, value, part):
    trees = small_trees()
    layer_of(trees)["residadd"] = value
    assert_refused(tmp_path, trees, f"{ACTIVATIONS}: {BLOCK}/residadd", part)


# --- files that are no pickles, or dangerous ones ------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_text_file_under_the_name(tmp_path, file):
    write_files(tmp_path, small_trees())
    (tmp_path / file).write_text("This is no pickle.\n")
    message = refusal(tmp_path)
    assert str(tmp_path / file) in message
    assert "is not a pickle of protocol 4 or 5" in message


@pytest.mark.parametrize("file", FILES)
def test_directory_under_the_name(tmp_path, file):
    write_files(tmp_path, small_trees())
    (tmp_path / file).unlink()
    (tmp_path / file).mkdir()
    assert f"{tmp_path / file}: is not a regular file" in refusal(tmp_path)


@pytest.mark.parametrize("file", FILES)
def test_truncated_file(tmp_path, file):
    write_files(tmp_path, small_trees())
    content = (tmp_path / file).read_bytes()
    for length in (0, 1, 2, 11, len(content) // 2, len(content) - 1):
        (tmp_path / file).write_bytes(content[:length])
        assert str(tmp_path / file) in refusal(tmp_path)


class Command:
    """What runs a command when Python's own unpickler meets it."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("file", FILES)
def test_malicious_pickle_runs_nothing(tmp_path, file, hidden):
    marker = tmp_path / "marker"
    trees = small_trees()
    payload = Command(f"touch '{marker}'")
    trees[file] = trees[file] | {"surplus": payload} if hidden else payload
    directory = write_files(tmp_path / "small", trees)
    assert pickle.loads(pickle.dumps(payload)) == 0
    assert marker.exists(), "the payload is harmless, so this test would prove nothing"
    marker.unlink()
    message = refusal(directory)
    assert str(directory / file) in message
    assert "Nothing of it was run" in message
    assert not marker.exists()


# --- whatever the trees hold ---------------------------------------------------------------------

ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill, np.int64).astype(dtype),
    st.lists(st.integers(0, 6), max_size=4).map(tuple),
    st.sampled_from(["int8", "int32", "int64", "uint8", "uint64", "float32", "float64", "bool"]),
    st.integers(-3, 300),
)
FIXED_POINT = st.builds(
    intel_pickles.fxp_array,
    st.tuples(st.sampled_from([(2, 6, 4), (2, 6, 5), (6, 4), (2, 6, 2), (2, 6, 3)])).map(
        lambda shape: np.ones(shape[0], np.int32)
    ),
    st.integers(0, 66),
    st.integers(-70, 70),
)
REPLACEMENTS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=4),
    st.sampled_from([float("nan"), float("inf"), 2.5, 10**30, -(10**30), 2**63, -1, {}, {0: 1}]),
    st.integers(0, 70),
    st.integers(0, 24),
    ARRAYS,
    FIXED_POINT,
)
SHAPES = (Shape(), Shape(glu="full", norm_scale_bias=True), Shape("none"), Shape("half2"))


def all_paths(tree: object, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from all_paths(value, (*path, key))


MUTABLE = {
    shape: {file: small_trees(shape)[file] for file in (MODEL, ACTIVATIONS, IO)} for shape in SHAPES
}


@st.composite
def mutated_trees(draw) -> dict:
    """The trees of an export with one to three entries deleted or replaced."""
    shape = draw(st.sampled_from(SHAPES))
    trees = copy.deepcopy(MUTABLE[shape])
    if draw(st.booleans()):
        del trees[ACTIVATIONS]
    for _ in range(draw(st.integers(1, 3))):
        # The model is what matters most: half of all mutations go there.
        file = draw(st.sampled_from([MODEL, *trees]))
        paths = list(all_paths(trees[file]))
        if not paths:
            continue
        *parents, leaf = draw(st.sampled_from(paths))
        node = trees[file]
        for key in parents:
            node = node[key]
        if draw(st.integers(0, 3)) == 0:
            del node[leaf]
        else:
            node[leaf] = copy.deepcopy(draw(REPLACEMENTS))
    return trees


@settings(max_examples=300, deadline=None)
@given(mutated_trees())
def test_mutated_export_works_or_is_refused(trees):
    with tempfile.TemporaryDirectory() as directory:
        write_files(Path(directory), trees)
        try:
            bundle = compile_export(Path(directory))
        except (CheckpointError, CapacityError):
            return
    verify_interpreter(bundle.network, bundle.vectors)
