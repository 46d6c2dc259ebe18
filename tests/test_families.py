"""Relatives of S5: outputs are the frameworks', integers are the same wherever they are computed.

The recorded files are described in ``tests/data/README.md``.
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import big_integer_network
import c_harness
import numpy as np
import pytest
from checkpoint_files import RECORDED, assert_same_model, relative_error, write_npz
from documented_families import documented
from needs import needs_gcc, needs_lava
from numpy.testing import assert_array_equal
from scipy.special import log_softmax

from s5_to_loihi.backends import lava
from s5_to_loihi.checkpoints import torch_archive
from s5_to_loihi.checkpoints.description import load_model, save_model
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.errors import CheckpointError, InputError
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.float_model import (
    Activation,
    Discretization,
    GluVariant,
    S5Model,
    captured,
    evaluate,
)
from s5_to_loihi.inputs import as_tokens, one_hot
from s5_to_loihi.loihi2 import rules
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

# Machine code of a network is compiled once for all tests of it.
pytestmark = pytest.mark.xdist_group("lava")


class Recording(NamedTuple):
    """A recorded model.

    Attributes:
        file: of its parameters.
        options: what that does not say.
        softmax: whether the framework's code ends with one.
        block: with the kinds of groups that the others have too; it alone becomes a network, since
            every group costs a second to compile.
    """

    file: str
    options: LoadOptions
    softmax: bool = False
    block: int = 0


RECORDINGS = {
    "lru_layer_norm": Recording(
        "lru_layer_norm.npz", LoadOptions(readout=Readout.EACH_TOKEN), softmax=True
    ),
    "lru_batch_norm": Recording("lru_batch_norm.npz", LoadOptions(prenorm=True), softmax=True),
    # Events 0.7 units of time apart, in the recording's float32; the second of two stages is wider.
    "event_ssm_dirac": Recording(
        "event_ssm_dirac.npz",
        LoadOptions(
            discretization=Discretization.DIRAC, step_rescale=float(np.float32(0.7)), prenorm=True
        ),
        block=2,
    ),
    "event_ssm_zoh": Recording(
        "event_ssm_zoh.npz",
        LoadOptions(
            discretization=Discretization.ZERO_ORDER_HOLD, prenorm=False, readout=Readout.LAST
        ),
    ),
    "popjaxrl": Recording(
        "popjaxrl.npz", LoadOptions(readout=Readout.EACH_TOKEN, encoder="none", decoder="none")
    ),
    "s4d_postnorm": Recording("s4d_postnorm.pt", LoadOptions()),
    "s4d_prenorm": Recording("s4d_prenorm.pt", LoadOptions(prenorm=True)),
}
every_recording = pytest.mark.parametrize("name", RECORDINGS)
#: Tokens of a recorded sequence; numbers that an event may have.
LENGTH, EVENTS = 24, 7


def vectors(name: str) -> dict[str, np.ndarray]:
    """What was recorded; numbers of events as one-hot tokens."""
    with np.load(RECORDED / f"{name}_vectors.npz") as archive:
        found = dict(archive)
    if found["tokens"].dtype.kind == "i":
        found["tokens"] = np.eye(EVENTS)[found["tokens"]]
    return found


@functools.cache
def recorded(name: str) -> S5Model:
    return load(RECORDED / RECORDINGS[name].file, RECORDINGS[name].options).model


def outputs(name: str, model: S5Model) -> np.ndarray:
    got = evaluate(model, vectors(name)["tokens"])
    return log_softmax(got, axis=-1) if RECORDINGS[name].softmax else got


def message(path: Path, options: LoadOptions = LoadOptions()) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, options)
    return str(caught.value)


def arrays_of(name: str) -> dict[str, np.ndarray]:
    path = RECORDED / RECORDINGS[name].file
    if path.suffix == ".pt":
        return dict(torch_archive.read(path))
    with np.load(path) as archive:
        return dict(archive)


# --- floats --------------------------------------------------------------------------------------


@every_recording
def test_outputs_are_the_frameworks(name):
    """What the frameworks' own code computed, in float32 and in float64."""
    got, want = outputs(name, recorded(name)), vectors(name)
    assert got.shape == want["output"].shape
    assert relative_error(got, want["output"]) < 1e-5
    assert relative_error(got, want["output_double"]) < 1e-13


@every_recording
def test_recordings_tell_variants_apart(name):
    """A parity test that a wrong variant would pass proves nothing."""
    model, want = recorded(name), vectors(name)["output"]
    other = Activation.RELU
    discretization = Discretization.BILINEAR
    norm = model.blocks[0].norm
    for block in (
        # Without a norm there is no place for it.
        {"norm": replace(norm, bias=norm.bias + 0.1)} if name == "popjaxrl"
        else {"prenorm": not model.blocks[0].prenorm},
        {"activation": other},
        {"ssm": replace(model.blocks[0].ssm, discretization=discretization)},
        {"ssm": replace(model.blocks[0].ssm, conjugate_symmetric=not
                        model.blocks[0].ssm.conjugate_symmetric)},
        {"glu": GluVariant.HALF1, "value": None},
    ):  # fmt: skip
        wrong = replace(model, blocks=(replace(model.blocks[0], **block), *model.blocks[1:]))
        assert relative_error(outputs(name, wrong), want) > 1e-4, block


@every_recording
def test_models_survive_our_own_format(name, tmp_path):
    save_model(recorded(name), tmp_path)
    assert_same_model(load_model(tmp_path / "model.yaml")[0], recorded(name))


# --- integers ------------------------------------------------------------------------------------


def calibration(name: str, seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """(tokens, 4, features) like the recorded ones."""
    rng, features = np.random.default_rng(seed), vectors(name)["tokens"].shape[-1]
    if name.startswith("event"):
        return np.eye(features)[rng.integers(features, size=(length, 4))]
    return rng.normal(size=(length, 4, features))


def short(name: str) -> S5Model:
    """The model with one block only."""
    model = recorded(name)
    return replace(model, blocks=model.blocks[RECORDINGS[name].block :][:1])


def quantized(model: S5Model, data: np.ndarray, precision: Precision = Precision()) -> Network:
    length = len(data) if model.readout is Readout.MEAN else None
    return quantize_model(model, data, precision, length).network


@functools.cache
def network_of(name: str) -> Network:
    return quantized(short(name), calibration(name))


def tokens_of(name: str, count: int = LENGTH) -> np.ndarray:
    """(tokens, 1, features) integers: some usual ones, some far beyond them."""
    network, data = network_of(name), calibration(name, 1, count)[:, :1]
    data[count // 2 :: 3] *= 40
    return to_integers(data, network.input_format)[0].astype(np.int32)


@every_recording
def test_integers_are_those_of_an_independent_evaluation(name):
    network, tokens = network_of(name), tokens_of(name)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    expected = big_integer_network.evaluate(network, tokens[:, 0])
    assert set(expected) == set(values)
    for value, wanted in expected.items():
        assert_array_equal(values[value][:, 0], wanted, err_msg=value)


@every_recording
def test_integers_stand_for_the_floats(name):
    model, data = recorded(name), calibration(name, 2)
    precise = Precision(weights=16, activations=24, eigenvalues=24, knots=1024)
    network = quantized(model, calibration(name), precise)
    want = evaluate(model, data)
    tokens, _ = to_integers(data, network.input_format)
    got = to_floats(Interpreter(network).evaluate(tokens).outputs, network.output_format)
    assert relative_error(got[-len(want) :], want) < 0.001


#: One of each family is compiled, and runs under Lava.
COMPILED = ("lru_layer_norm", "s4d_postnorm", "event_ssm_dirac")
every_compiled = pytest.mark.parametrize("name", COMPILED)


@every_recording
def test_what_is_lost_at_8_and_16_bits(name):
    """On data that were not calibrated with; measured are 40 to 58 dB."""
    model = replace(recorded(name), readout=Readout.EACH_TOKEN)
    network, data = quantized(model, calibration(name, 0, 200)), calibration(name, 9, 100)
    tokens, _ = to_integers(data, network.input_format)
    got = to_floats(Interpreter(network).evaluate(tokens).outputs, network.output_format)
    assert relative_error(got, evaluate(model, data)) < 10 ** (-38 / 20)


@every_compiled
def test_the_fast_simulator_computes_the_same(name):
    network, tokens = network_of(name), tokens_of(name)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    run = FastSimulator(network).run(tokens, record=True)
    assert_array_equal(run.outputs, expected.outputs)
    run.messages.pop("input.token")
    for value, array in run.messages.items():
        assert_array_equal(array, expected.values[value], err_msg=value)


@needs_lava
@pytest.mark.parametrize("mode", Mode)
@every_compiled
def test_lava_computes_the_same(name, mode):
    network, tokens = network_of(name), tokens_of(name, 6)
    expected = Interpreter(network).evaluate(tokens, keep=None)
    for fine_grained in (False, True):
        got = lava.run(network, tokens, mode=mode, fine_grained=fine_grained, record=True)
        assert_array_equal(got.outputs, expected.outputs)
        for value, array in expected.values.items():
            assert_array_equal(got.values[value], array, err_msg=value)


@needs_gcc
@every_compiled
def test_the_generated_c_computes_the_same(name, tmp_path):
    network, tokens = network_of(name), tokens_of(name)
    program = c_harness.build(network, len(tokens), tmp_path)
    none = {
        group.name: np.zeros((0, len(group.kind.ports), group.size)) for group in network.groups
    }
    _, values, got = c_harness.run(program, network, none, tokens[:, 0])
    expected = Interpreter(network).evaluate(tokens, keep=None)
    assert_array_equal(got, expected.outputs[:, 0])
    for value, array in values.items():
        assert_array_equal(array, expected.values[value][:, 0], err_msg=value)


# --- what of it becomes a network ----------------------------------------------------------------

CLIPPED = LoadOptions(clip_eigenvalues=True)
#: Row of the documents' table -> what stands for it: a file, and what it does not say.
ROWS: dict[str, tuple[str, LoadOptions]] = {
    "IntelLabs/SparseRNNs": ("intel_relu_full.npz", LoadOptions()),
    "lindermanlab/S5": ("s5_flax_prenorm.msgpack", LoadOptions()),
    "lindermanlab/S5, bidirectional": ("s5_flax_bidirectional.msgpack", CLIPPED),
    "i404788/s5-pytorch, `S5Block`": ("s5_pytorch_sequential.pt", LoadOptions()),
    "i404788/s5-pytorch, bidirectional": ("s5_pytorch_encoder_decoder.pt", LoadOptions()),
    "i404788/s5-pytorch, low-rank B and C": ("low_rank", LoadOptions()),
    "uzh-rpg/ssms_event_cameras, `S5Block`": ("event_camera_pairs.pt", LoadOptions()),
    "NicolasZucchet/minimal-LRU": RECORDINGS["lru_layer_norm"][:2],
    "state-spaces/s4, stand-alone S4D": RECORDINGS["s4d_postnorm"][:2],
    "event-ssm, zoh or dirac at a constant rate": RECORDINGS["event_ssm_dirac"][:2],
    "luchris429/popjaxrl, its stack of blocks without a norm": RECORDINGS["popjaxrl"][:2],
    "LinOSS (tk-rusch/linoss)": ("oscillators", LoadOptions()),
    "discretax, linax: leaves of an equinox module": ("leaves", LoadOptions()),
    "an embedding of token ids before the blocks": RECORDINGS["event_ssm_zoh"][:2],
    "event-ssm, async or with pooled events": ("event_ssm_dirac.npz", LoadOptions()),
}


def checkpoint_of(file: str, folder: Path) -> Path:
    if file == "low_rank":
        arrays = dict(torch_archive.read(RECORDED / "s5_pytorch_sequential.pt"))
        factored = {"B": "BH", "C": "CH"}
        renamed = {
            f"{name[:-1]}{factored[name[-1]]}" if name[-2:] in (".B", ".C") else name: array
            for name, array in arrays.items()
        }
        return write_npz(folder / "low_rank.npz", renamed)
    if file == "oscillators":
        names = ("A_diag", "steps", "B", "C", "D")
        return write_npz(
            folder / "model.npz", {f"blocks/0/LinOSS_0/{name}": np.ones(3) for name in names}
        )
    if file == "leaves":
        with (folder / "model.eqx").open("wb") as leaves:
            for shape in ((6, 4), (6,)):
                np.save(leaves, np.ones(shape, np.float32))
        return folder / "model.eqx"
    return RECORDED / file


def test_every_row_of_the_documents_is_tested():
    assert documented().keys() == ROWS.keys()


@pytest.mark.parametrize("row", ROWS)
def test_what_the_documents_promise(row, tmp_path):
    reads, quantizes, maps = documented()[row]
    file, options = ROWS[row]
    path = checkpoint_of(file, tmp_path)
    if not reads:
        with pytest.raises(CheckpointError):
            load(path, options)
        assert not quantizes
        assert not maps
        return
    model = load(path, options).model
    features = (
        len(model.blocks[0].ssm.d) if model.encoder is None else model.encoder.weight.shape[1]
    )
    data = np.random.default_rng(0).normal(size=(LENGTH, 4, features))
    if not quantizes:
        with pytest.raises(CheckpointError):
            quantized(model, data)
        assert not maps
        return
    network = quantized(model, data)
    assert maps
    _, evaluation = map_network(network, assumed_rates(network))
    rules.require(evaluation)


# --- token ids -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s4d_postnorm", "s5_pytorch_sequential"])
def test_an_embedding_of_pytorch_is_a_table_of_rows(tmp_path, name):
    """Against the row that ``torch.nn.Embedding`` would give; two ids, then all of them."""
    if name in RECORDINGS:
        arrays, place = arrays_of(name), "encoder"
    else:
        arrays, place = dict(torch_archive.read(RECORDED / f"{name}.pt")), "0"
    rows = np.random.default_rng(3).normal(size=(9, 6)).astype(np.float32)
    del arrays[f"{place}.bias"]
    arrays[f"{place}.weight"] = rows
    loaded = load(write_npz(tmp_path / "model.npz", arrays))
    assert any("embedding of 9 numbers" in note for note in loaded.notes)
    seen = captured(loaded.model, one_hot(np.array([[4, 2], [0, 8]]), 9))["encoder.affine"]
    assert_array_equal(seen, rows[[[4, 2], [0, 8]]])
    arrays[f"{place}.weight"] = rows[:6]
    square = load(write_npz(tmp_path / "square.npz", arrays))
    assert any("taken as a Linear" in note for note in square.notes)
    assert_array_equal(square.model.encoder.weight, rows[:6])


def test_an_id_is_one_message():
    """Whose product with the weights is the row of the embedding, rounded once."""
    network = network_of("event_ssm_zoh")
    ids = np.arange(EVENTS)
    tokens, clipped = as_tokens(network, one_hot(ids, EVENTS))
    assert clipped == 0
    assert_array_equal(np.count_nonzero(tokens, axis=-1), 1)
    assert_array_equal(to_floats(tokens.max(axis=-1), network.input_format), 1.0)
    model = short("event_ssm_zoh")
    got = Interpreter(network).evaluate(tokens, keep=None).values["encoder.activation"][:, 0]
    (scale,) = (
        one for one in quantize_model(model, calibration("event_ssm_zoh")).scales
        if one.value == "encoder.affine"
    )  # fmt: skip
    rows = model.encoder.weight.T
    step = np.abs(rows).max(axis=0) / 127
    assert (np.abs(got * np.exp2(-scale.exponents) - rows) < 2 * step).all()


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        (np.array([0, 7]), "rows 0 to 6"),
        (np.array([-1, 3]), "goes from -1"),
        (np.array([0.0, 1.0]), "holds float64"),
        (np.zeros((2, 2, 2), dtype=int), "with 3 axes"),
        (np.zeros(0, dtype=int), "is empty"),
    ],
)
def test_ids_without_a_row(ids, what):
    with pytest.raises(InputError, match=what):
        one_hot(ids, 7)


# --- LRU -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("params/encoder/layers_1/seq/gamma_log", None, "has no parameter"),
        ("params/encoder/layers_1/seq/nu_log", lambda a: a + 800, "above 709"),
        ("params/encoder/layers_1/seq/theta_log", lambda a: a[:-1], "expected (5,)"),
        ("params/encoder/layers_1/seq/B_im", lambda a: a.T, "transposed"),
        ("params/encoder/layers_1/out3/kernel", lambda a: np.ones((6, 6)), "unknown parameters"),
        ("batch_stats/encoder/layers_1/normalization/mean", None, "of 1 blocks of 2"),
    ],
)
def test_unsuitable_parameters_of_an_lru(tmp_path, name, change, what):
    arrays = arrays_of("lru_batch_norm")
    old = arrays.pop(name, None)
    if change is not None:
        arrays[name] = change(old)
    assert what in message(write_npz(tmp_path / "model.npz", arrays))


def test_an_lru_without_its_norm_is_not_read_as_if_it_had_one(tmp_path):
    arrays = arrays_of("lru_layer_norm")
    kept = {name: array for name, array in arrays.items() if "normalization" not in name}
    text = message(write_npz(tmp_path / "model.npz", kept))
    assert "no parameters of a norm in encoder/layers_0/normalization" in text


def test_blocks_without_a_norm_are_said_to_have_none():
    loaded = load(RECORDED / RECORDINGS["popjaxrl"].file, RECORDINGS["popjaxrl"].options)
    assert any(note.startswith("norm: none") for note in loaded.notes)
    assert not any("layer norm" in note for note in loaded.notes)


def test_a_stack_of_blocks_is_read_alone_if_it_is_selected(tmp_path):
    """The blocks of popjaxrl are between dense layers, which are part of another program."""
    arrays = arrays_of("popjaxrl")
    beside = {f"params/{name}/kernel": np.ones((6, 6)) for name in ("encoder_0", "value_body_0")}
    path = write_npz(tmp_path / "model.npz", arrays | beside)
    options = RECORDINGS["popjaxrl"].options
    text = message(path, options)
    assert "holds 2 unknown parameters: params/encoder_0/kernel" in text
    assert "option select, given the stack of blocks" in text
    loaded = load(path, replace(options, select="params/s5"))
    assert_same_model(replace(loaded.model, name="popjaxrl"), recorded("popjaxrl"))
    assert any("params/value_body_0/kernel beside it" in note for note in loaded.notes)
    # A map that is named is part of it.
    named = load(path, replace(options, select="params/s5", encoder="encoder_0")).model
    assert_array_equal(named.encoder.weight, np.ones((6, 6)))
    arrays["params/s5/extra"] = np.ones(3)
    path = write_npz(tmp_path / "unknown.npz", arrays)
    assert "unknown" in message(path, replace(options, select="params/s5"))


def test_options_without_a_choice_are_refused_for_an_lru():
    text = message(RECORDED / "lru_batch_norm.npz", LoadOptions(glu=GluVariant.HALF1))
    assert "option glu is given" in text


# --- event-ssm -----------------------------------------------------------------------------------


def test_event_ssm_asks_whether_events_come_at_a_constant_rate():
    path = RECORDED / "event_ssm_dirac.npz"
    for options in (LoadOptions(), LoadOptions(discretization=Discretization.BILINEAR)):
        text = message(path, options)
        assert "depend on when events come" in text
        assert "--discretization zoh or dirac" in text
    notes = load(path, LoadOptions(discretization=Discretization.DIRAC)).notes
    assert any("constant rate, none of which are pooled" in note for note in notes)
    assert not any("layer norm" in note for note in notes)


def test_a_block_that_changes_its_width():
    """D and the residual are matrices; the blocks after it have the new width."""
    blocks = recorded("event_ssm_dirac").blocks
    assert [block.ssm.d.shape for block in blocks] == [(6,), (6,), (12, 6), (12,)]
    assert [block.skip is None for block in blocks] == [True, True, False, True]
    network = network_of("event_ssm_dirac")
    for group in ("block0.skip", "block0.through"):
        (synapses,) = network.incoming(group)
        assert synapses.weights.shape == (12, 6)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("stages_1/SequenceLayer_0/Dense_1/kernel", None, "has no parameter"),
        ("stages_1/SequenceLayer_0/S5SSM_0/B", lambda a: a[:, :5], "has shape (12, 6)"),
        ("stages_0/SequenceLayer_1/Dense_1/kernel", lambda a: np.ones((6, 6)), "unknown"),
        ("stages_0/SequenceLayer_3/Dense_0/kernel", lambda a: np.ones((6, 6)), "not 0 to n - 1"),
        ("stages_3/SequenceLayer_0/Dense_0/kernel", lambda a: np.ones((6, 6)), "not 0 to n - 1"),
    ],
)
def test_unsuitable_parameters_of_event_ssm(tmp_path, name, change, what):
    arrays = arrays_of("event_ssm_dirac")
    old = arrays.pop(f"params/encoder/{name}", None)
    if change is not None:
        arrays[f"params/encoder/{name}"] = change(old)
    path = write_npz(tmp_path / "model.npz", arrays)
    assert what in message(path, RECORDINGS["event_ssm_dirac"].options)


# --- S4D -----------------------------------------------------------------------------------------


def test_an_s4d_beside_an_average_of_it_and_an_optimizer(tmp_path):
    arrays = arrays_of("s4d_postnorm")
    nested = {f"model/{name}": array for name, array in arrays.items()}
    nested |= {f"ema/{name}": array + 1 for name, array in arrays.items()}
    nested |= {"optimizer/state/0/exp_avg": np.ones(3), "acc": np.array(0.5)}
    loaded = load(write_npz(tmp_path / "s4d_postnorm.npz", nested))
    assert_same_model(loaded.model, recorded("s4d_postnorm"))
    assert any("ema" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("s4_layers.1.kernel.C", lambda a: a[..., 0], "(6, 4, 2)"),
        ("s4_layers.1.kernel.log_dt", lambda a: a + 800, "time steps"),
        ("s4_layers.1.output_linear.0.weight", lambda a: a[:6], "expected (12, 6, 1)"),
        ("norms.1.weight", None, "has no parameter"),
        ("s4_layers.1.kernel.B", lambda a: np.ones((6, 4, 2)), "unknown parameters"),
        ("s4_layers.3.kernel.log_A_real", lambda a: np.ones((6, 4)), "layers [0, 1, 3]"),
    ],
)
def test_unsuitable_tensors_of_an_s4d(tmp_path, name, change, what):
    arrays = arrays_of("s4d_prenorm")
    old = arrays.pop(name, None)
    if change is not None:
        arrays[name] = change(old)
    assert what in message(write_npz(tmp_path / "model.npz", arrays))


def test_every_feature_of_an_s4d_has_states_of_its_own():
    ssm = recorded("s4d_postnorm").blocks[0].ssm
    owners = np.repeat(np.eye(6), 4, axis=0)
    assert_array_equal(ssm.b, owners)
    assert_array_equal(ssm.c != 0, owners.T > 0)
