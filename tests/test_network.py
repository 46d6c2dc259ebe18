"""The network's rules and text, and the passes: prune, align_delays, check_ranges."""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.testing import assert_array_equal
from random_networks import Case
from scipy.sparse import csr_matrix

from s5_to_loihi.errors import CapacityError, NetworkError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export.lower import lower, state_bits
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    Glu,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    frozen_weights,
    identity_weights,
    is_identity,
)
from s5_to_loihi.network.ranges import worst_case
from s5_to_loihi.network.text import to_text
from s5_to_loihi.network.verifier import storage_is_sound, verify
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, LARGEST_SHIFT, LONGEST_DELAY
from s5_to_loihi.passes.align_delays import AlignDelays
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.passes.drop_zeros import DropZeros
from s5_to_loihi.passes.pipeline import run_passes
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

# A model small enough to read


def tensor(values, bits: int, exponent: int) -> Tensor:
    return Tensor(np.array(values, dtype=np.int64), Format(bits, exponent))


def tiny_model(b_im=((3, 0),), d=(64, 0)) -> QuantizedS5:
    """Three features in, one block of two neurons and one state, one feature out."""
    hidden = Format(16, 10)
    dense = {"input": hidden, "result": Format(16, 9)}
    ssm = StateSpace(
        a_re=tensor([12000], 16, 14),
        a_im=tensor([-3000], 16, 14),
        b_re=tensor([[0, 100]], 8, 7),
        b_im=tensor(b_im, 8, 7),
        c_re=tensor([[50], [-60]], 8, 6),
        c_im=tensor([[0], [9]], 8, 6),
        d=tensor(d, 8, 5),
        u=Format(16, 11),
        bu_re=Format(16, 12),
        bu_im=Format(16, 12),
        x_re=Format(16, 12),
        x_im=Format(16, 12),
        y=Format(16, 11),
        conjugate_symmetric=True,
    )
    norm = Norm(
        minus_mean=tensor([500, -700], 16, 11),
        inverse_deviation=tensor([9000, 16000], 16, 13),
        scale=None,
        bias=None,
        centred=Format(16, 10),
        normalised=Format(16, 12),
        scaled=None,
        shifted=None,
    )
    gate = Dense(tensor([[1, 1], [0, 0]], 8, 3), tensor([80, -90], 16, 9), **dense)
    glu = Glu(GluVariant.HALF1, gate, None, Format(16, 10), Format(16, 14), Format(16, 11))
    return QuantizedS5(
        name="tiny",
        encoder=Dense(
            tensor([[1, -2, 0], [0, 40, 127]], 8, 6),
            tensor([100, -100], 16, 10),
            Format(16, 12),
            hidden,
        ),
        blocks=(Block(norm, ssm, glu, Format(16, 11)),),
        decoder=Dense(tensor([[-128, 5]], 8, 7), tensor([7], 16, 9), **dense),
    )


TINY = run_passes(lower(tiny_model()))
TINY_TEXT = """\
network tiny
input   3 neurons, int16·2^-12
group   encoder: dense, 2 neurons, phase 1, sends activation int16·2^-10
group   block0.norm: norm, 2 neurons, phase 2, sends u int16·2^-11
group   block0.state: state, 1 neurons, phase 3, sends g_re int24·2^-12, g_im int24·2^-12
group   block0.output: output, 2 neurons, phase 4, sends y int16·2^-11, activation int16·2^-11, gate_input int16·2^-10, value_input int16·2^-11
group   block0.gate: gate, 2 neurons, phase 5, sends hidden int16·2^-11, lowered int16·2^-10
group   decoder: dense, 1 neurons, phase 6, sends activation int16·2^-9
synapses encoder.weight: input.token -> encoder.weighted, 2x3, 4 of 2^-6 (66.7%), delay 0
synapses block0.norm.hidden: encoder.activation -> block0.norm.hidden, 2x2, 2 of 2^0 (50.0%), delay 0
synapses block0.B_re: block0.norm.u -> block0.state.bu_re, 1x2, 1 of 2^-7 (50.0%), delay 0
synapses block0.B_im: block0.norm.u -> block0.state.bu_im, 1x2, 1 of 2^-7 (50.0%), delay 0
synapses block0.C_re: block0.state.g_re -> block0.output.c_re, 2x1, 2 of 2^-6 (100.0%), delay 0
synapses block0.C_im: block0.state.g_im -> block0.output.c_im, 2x1, 1 of 2^-6 (50.0%), delay 0
synapses block0.D: block0.norm.u -> block0.output.d, 2x2, 1 of 2^-5 (25.0%), delay 1
synapses block0.value: block0.output.activation -> block0.gate.value, 2x2, 2 of 2^0 (50.0%), delay 0
synapses block0.W2: block0.output.gate_input -> block0.gate.gate, 2x2, 2 of 2^-3 (50.0%), delay 0
synapses block0.residual: encoder.activation -> block0.gate.residual, 2x2, 2 of 2^0 (50.0%), delay 3
synapses decoder.weight: block0.gate.lowered -> decoder.weighted, 1x2, 2 of 2^-7 (100.0%), delay 0
output  decoder.activation, 1 neurons, int16·2^-9, readout each_token
"""  # noqa: E501


def test_text_of_a_tiny_network():
    assert to_text(TINY) == TINY_TEXT
    assert to_text(run_passes(lower(tiny_model()))) == TINY_TEXT
    unaligned = to_text(lower(tiny_model()))
    assert "group   decoder: dense, 1 neurons, phase -" in unaligned


# Changing one thing


def with_group(network: Network, name: str, /, **changes) -> Network:
    assert name in {group.name for group in network.groups}
    groups = (replace(one, **changes) if one.name == name else one for one in network.groups)
    return replace(network, groups=tuple(groups))


def with_synapses(network: Network, name: str, /, **changes) -> Network:
    assert name in {synapses.name for synapses in network.synapses}
    synapses = (replace(one, **changes) if one.name == name else one for one in network.synapses)
    return replace(network, synapses=tuple(synapses))


def synapses_of(network: Network, name: str):
    return next(synapses for synapses in network.synapses if synapses.name == name)


def with_constants(network: Network, name: str, /, **changes) -> Network:
    constants = network.group(name).constants._replace(**changes)
    return with_group(network, name, constants=constants)


def with_format(network: Network, group: str, value: str, format: Format) -> Network:
    return with_group(network, group, formats={**network.group(group).formats, value: format})


def without_phases(network: Network) -> Network:
    return replace(network, groups=tuple(replace(one, phase=None) for one in network.groups))


def without(mapping, name: str) -> dict:
    return {key: value for key, value in mapping.items() if key != name}


def unsorted(weights: csr_matrix) -> csr_matrix:
    """The same matrix with the entries of each row in the opposite order."""
    order = np.concatenate(
        [np.arange(*ends)[::-1] for ends in zip(weights.indptr, weights.indptr[1:], strict=False)]
    )
    parts = (weights.data[order], weights.indices[order], weights.indptr)
    return csr_matrix(parts, shape=weights.shape)


# The verifier

STATE, GATE = TINY.group("block0.state"), TINY.group("block0.gate")
GATE_AFFINE = GATE.constants.gate
WEIGHT = synapses_of(TINY, "encoder.weight").weights

BROKEN = {
    "two groups of one name": (
        with_group(TINY, "block0.norm", name="encoder"),
        "tiny: two groups are called encoder",
    ),
    "a group called input": (
        with_group(TINY, "block0.norm", name=INPUT),
        "tiny: two groups are called input",
    ),
    "two synapses of one name": (
        with_synapses(TINY, "block0.D", name="block0.W2"),
        "tiny: two synapses are called block0.W2",
    ),
    "no neurons": (with_group(TINY, "decoder", size=0), "decoder: has 0 neurons"),
    "constants of another kind": (
        with_group(TINY, "decoder", constants=STATE.constants),
        "decoder: constants are not DenseConstants",
    ),
    "a format missing": (
        with_group(TINY, "block0.state", formats=without(STATE.formats, "g_im")),
        "block0.state: formats are given for ['drive_im', 'drive_re', 'g_re', 'x_im', 'x_re']",
    ),
    "a format too many": (
        with_format(TINY, "decoder", "other", Format(16, 0)),
        "decoder: formats are given for ['activation', 'affine', 'other']",
    ),
    "a port's exponent missing": (
        with_group(TINY, "block0.gate", port_exponents=without(GATE.port_exponents, "value")),
        "block0.gate: exponents are given for ['gate', 'residual']",
    ),
    "a wide state register": (
        with_format(TINY, "block0.state", "x_im", Format(25, 12)),
        "block0.state.x_im: is 25 bits wide (allowed 2..24)",
    ),
    "a wide message": (
        with_format(TINY, "block0.output", "activation", Format(25, 11)),
        "block0.output.activation: is 25 bits wide (allowed 2..24)",
    ),
    "a message of one bit": (
        with_format(TINY, "block0.gate", "hidden", Format(1, 11)),
        "block0.gate.hidden: is 1 bits wide (allowed 2..24)",
    ),
    "a constant of the wrong shape": (
        with_constants(TINY, "block0.state", a_im=np.zeros(2, dtype=np.int64)),
        "block0.state.a_im: has int64(2,), not int64(1,)",
    ),
    "a constant of the wrong type": (
        with_constants(TINY, "block0.state", a_re=np.zeros(1, dtype=np.int32)),
        "block0.state.a_re: has int32(1,), not int64(1,)",
    ),
    "a constant inside constants": (
        with_constants(TINY, "block0.gate", gate=GATE_AFFINE._replace(bias=np.zeros(2))),
        "block0.gate.gate.bias: has float64(2,), not int64(2,)",
    ),
    "a left shift": (
        with_constants(TINY, "block0.output", d_shift=-1),
        "block0.output.d_shift: shifts right by -1 bits (allowed 0..47)",
    ),
    "a long shift inside constants": (
        with_constants(
            TINY, "block0.gate", gate=GATE_AFFINE._replace(accumulator_shift=LARGEST_SHIFT + 1)
        ),
        "block0.gate.gate.accumulator_shift: shifts right by 48 bits (allowed 0..47)",
    ),
    "synapses from nowhere": (
        with_synapses(TINY, "block0.D", source=Endpoint("block7.norm", "u")),
        "block0.D: refers to block7.norm, which is no group",
    ),
    "synapses from a register": (
        with_synapses(TINY, "block0.C_re", source=Endpoint("block0.state", "x_re")),
        "block0.C_re: refers to block0.state.x_re, which is no message",
    ),
    "synapses from another message of the input": (
        with_synapses(TINY, "encoder.weight", source=Endpoint(INPUT, "hidden")),
        "encoder.weight: refers to input, which is no group",
    ),
    "synapses to nowhere": (
        with_synapses(TINY, "block0.D", target=Endpoint("block7.output", "d")),
        "block0.D: ends at block7.output, which is no group",
    ),
    "synapses to a message": (
        with_synapses(TINY, "block0.D", target=Endpoint("block0.output", "y")),
        "block0.D: ends at block0.output.y, which is no port",
    ),
    "weights of another shape": (
        with_synapses(TINY, "encoder.weight", weights=frozen_weights(np.ones((3, 2)))),
        "encoder.weight: has shape (3, 2), its ends have (2, 3)",
    ),
    "wide weights": (
        with_synapses(TINY, "encoder.weight", weights=WEIGHT.astype(np.int16)),
        "encoder.weight: weights are int16 (limit int8)",
    ),
    "unsorted weights": (
        with_synapses(TINY, "encoder.weight", weights=unsorted(WEIGHT)),
        "encoder.weight: sparse storage is damaged (indices out of order)",
    ),
    "another exponent of the weights": (
        with_synapses(TINY, "block0.W2", exponent=4),
        "block0.W2: delivers products of exponent 14 to block0.gate.gate, which expects 13",
    ),
    "another exponent of the message": (
        with_format(TINY, "block0.norm", "u", Format(16, 12)),
        "block0.B_re: delivers products of exponent 19 to block0.state.bu_re, which expects 18",
    ),
    "another exponent of the input": (
        replace(TINY, input_format=Format(16, 11)),
        "encoder.weight: delivers products of exponent 17 to encoder.weighted, which expects 18",
    ),
    "a negative delay": (
        with_synapses(without_phases(TINY), "block0.D", delay=-1),
        "block0.D: has a delay of -1 timesteps (allowed 0..62)",
    ),
    "a long delay": (
        with_synapses(without_phases(TINY), "block0.D", delay=LONGEST_DELAY + 1),
        "block0.D: has a delay of 63 timesteps (allowed 0..62)",
    ),
    "a delay that misses the phase": (
        with_synapses(TINY, "block0.D", delay=0),
        "block0.D: leaves in phase 2 with delay 0 and misses phase 4 of block0.output",
    ),
    "a source without a phase": (
        with_group(TINY, "encoder", phase=None),
        "block0.norm.hidden: leaves in phase None with delay 0 and misses phase 2 of block0.norm",
    ),
    "a message that goes back": (
        replace(
            without_phases(TINY),
            groups=(*without_phases(TINY).groups[1:], without_phases(TINY).groups[0]),
        ),
        "block0.norm.hidden: comes from encoder, which is not before block0.norm",
    ),
    "a group that hears itself": (
        with_synapses(
            without_phases(TINY), "block0.residual", source=Endpoint("block0.gate", "hidden"),
            exponent=-1,
        ),
        "block0.residual: leads block0.gate.hidden back, which no register of gate keeps",
    ),
    "products that wrap where nothing does": (
        with_synapses(TINY, "block0.D", product_bits=31),
        "block0.D: has products that wrap; those of output do not",
    ),
    "sums that wait at no port": (
        with_group(TINY, "encoder", waits={"port": np.zeros(4, dtype=np.int64)}),
        "encoder.port: waits, but is no port",
    ),
    "sums that wait too long": (
        with_group(TINY, "encoder", waits={"weighted": np.full(2, 63)}),
        "encoder.weighted: waits 63 tokens (allowed 0..62)",
    ),
    "waits of another size": (
        with_group(TINY, "encoder", waits={"weighted": np.zeros(3, dtype=np.int64)}),
        "encoder.weighted: waits int64(3,), not int64(2,)",
    ),
    "too many early updates": (
        with_group(TINY, "encoder", early=2000),
        "encoder: updates 2000 times before its tokens (allowed 0..1024)",
    ),
    "an output from nowhere": (
        replace(TINY, output=Endpoint("head", "activation")),
        "output: refers to head, which is no group",
    ),
    "an output that is no message": (
        replace(TINY, output=Endpoint("decoder", "affine")),
        "output: refers to decoder.affine, which is no message",
    ),
    "an output that is the input": (
        replace(TINY, output=Endpoint(INPUT, TOKEN)),
        "output: is the network's own input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_names_what_breaks_it(rule):
    network, message = BROKEN[rule]
    with pytest.raises(NetworkError, match="^" + re.escape(message)) as caught:
        verify(network)
    assert caught.value.exit_code == 1


def test_sound_networks_pass():
    verify(TINY)
    verify(without_phases(TINY))
    verify(lower(tiny_model()))
    unaligned = without_phases(TINY)
    verify(with_synapses(unaligned, "block0.D", delay=LONGEST_DELAY))
    verify(with_constants(unaligned, "block0.output", d_shift=LARGEST_SHIFT))


@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ([0, 2, 3], [0, 2, 3]),
        ([-1, 2, 1], [0, 2, 3]),
        ([2, 0, 1], [0, 2, 3]),
        ([1, 1, 1], [0, 2, 3]),
        ([0, 2, 1], [1, 2, 3]),
        ([0, 2, 1], [0, 4, 3]),
        ([0, 2, 1], [0, 2, 2]),
        ([0, 2, 1], [0, 3]),
        ([0, 2], [0, 2, 3]),
    ],
)
def test_damaged_storage(indices, indptr):
    arrays = [np.array(one, dtype=np.int32) for one in (indices, indptr)]
    data = np.ones(3, dtype=np.int8)
    assert not storage_is_sound(data, *arrays, (2, 3))
    assert storage_is_sound(data, np.array([0, 2, 1]), np.array([0, 2, 3]), (2, 3))
    assert storage_is_sound(data[:0], np.array([], int), np.array([0, 0, 0]), (2, 3))


def test_a_network_cannot_be_changed():
    with pytest.raises(AttributeError):
        TINY.name = "other"
    for part in ("data", "indices", "indptr"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(WEIGHT, part)[0] = 1


def test_weights_outside_int8_are_refused():
    with pytest.raises(ValueError, match="outside int8"):
        frozen_weights(np.array([[128]]))
    assert_array_equal(frozen_weights(np.array([[-128, 127]])).toarray(), [[-128, 127]])
    assert_array_equal(identity_weights(3).toarray(), np.eye(3))


SQUARE = random_networks.sample(Case(width=3)).network


@settings(deadline=None)
@given(
    numpy_strategies.arrays(np.int64, (3, 3), elements=st.sampled_from([0, 0, 0, 1, 1, -128])),
    st.integers(1, 2),
)
def test_products_of_square_weights(weights, batch):
    """Square matrices of zeros and ones, too, that look much like the identity."""
    network = with_synapses(SQUARE, "block0.W2", weights=frozen_weights(weights))
    messages = np.arange(2 * batch * 3).reshape(2, batch, 3) - 5
    sent = {Endpoint(INPUT, TOKEN): np.zeros((2, batch, 3), dtype=np.int64)}
    sent |= {one.source: messages for one in network.synapses}
    gate, _, _ = Interpreter(network).accumulate(network.group("block0.gate"), sent)
    assert_array_equal(gate, messages @ weights.T)
    assert is_identity(frozen_weights(weights)) == np.array_equal(weights, np.eye(3))


def test_the_identity():
    assert is_identity(identity_weights(3))
    for other in ([[1, 1], [0, 0]], [[0, 1], [1, 0]], [[1, 0], [0, 2]], [[1]] * 2, [[1, 0]]):
        assert not is_identity(frozen_weights(np.array(other)))


# prune


def all_values(network: Network, tokens: np.ndarray) -> dict[str, np.ndarray]:
    return dict(Interpreter(network).evaluate(tokens, keep=None).values)


def assert_same_values(network: Network, other: Network, tokens: np.ndarray) -> None:
    values = all_values(network, tokens)
    others = all_values(other, tokens)
    assert set(values) == set(others)
    for name, array in values.items():
        assert_array_equal(others[name], array, err_msg=name)


def names_of_synapses(network: Network) -> set[str]:
    return {synapses.name for synapses in network.synapses}


def stored_in_full(network: Network, name: str) -> Network:
    """The network with the zeros of one matrix stored as well."""
    weights = synapses_of(network, name).weights
    rows, columns = weights.shape
    full = csr_matrix(
        (
            weights.toarray().ravel(),
            np.tile(np.arange(columns), rows),
            np.arange(0, rows * columns + 1, columns),
        ),
        shape=weights.shape,
    )
    return with_synapses(network, name, weights=frozen_weights(full))


def test_prune_keeps_every_integer():
    lowered = stored_in_full(lower(tiny_model(b_im=((0, 0),))), "encoder.weight")
    assert synapses_of(lowered, "block0.D").weights.nnz == 2, "one of them is zero"
    stored = lowered.synapse_count
    pruned = DropZeros()(lowered)
    verify(pruned)
    assert names_of_synapses(lowered) - names_of_synapses(pruned) == {"block0.B_im"}
    assert lowered.synapse_count == stored, "the argument stays as it is"
    for synapses in pruned.synapses:
        assert (synapses.weights.data != 0).all()
        before = synapses_of(lowered, synapses.name)
        assert_array_equal(synapses.weights.toarray(), before.weights.toarray())
        assert vars(replace(synapses, weights=None)) == vars(replace(before, weights=None))
    assert pruned.groups == lowered.groups
    tokens = random_networks.random_tokens(1, 20, 2, 3)
    assert_same_values(lowered, pruned, tokens)
    assert (all_values(pruned, tokens)["block0.state.x_im"] != 0).any(), "a_im still couples"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("dead", "shorter"),
    [
        (("encoder/layers_1/mixer/B_imag",), 0),
        (("encoder/layers_1/mixer/B_real", "encoder/layers_1/mixer/B_imag"), 0),
        # Nothing but D reaches the block's output: the way past the state is the shorter one.
        (("encoder/layers_1/mixer/C_real", "encoder/layers_1/mixer/C_imag"), 1),
        ([f"encoder/layers_1/mixer/{name}" for name in ("C_real", "C_imag", "D")], 0),
        (("encoder/layers_1/out2/weight",), 0),
        (("encoder/encoder/weight",), 0),
        (("decoder/weight",), 0),
    ],
)
def test_dead_weights(seed, dead, shorter):
    """Groups that receive nothing: no crash, the same integers, the latency of living ones."""
    case = Case(width=4, states=3, blocks=3, seed=seed)
    alive = random_networks.sample(case)
    params = alive.params
    for path in dead:
        functools.reduce(dict.__getitem__, path.split("/"), params)[:] = 0
    sample = random_networks.compiled(case, params, alive.qconfig, alive.exponents)
    assert len(alive.network.synapses) - len(sample.network.synapses) == len(dead)
    assert alive.network.latency - sample.network.latency == shorter
    tokens = random_networks.random_tokens(seed, 12, 2, case.features_in)
    values = all_values(sample.network, tokens)
    expected = random_networks.expected_values(sample, sample.network, tokens)
    for name, array in expected.items():
        assert_array_equal(values[name], array, err_msg=name)
    assert_same_values(lower(sample.model), sample.network, tokens)
    for mode in Mode:
        timed = Interpreter(sample.network).evaluate_timesteps(tokens, mode, keep=None)
        for name, array in values.items():
            assert_array_equal(timed.values[name], array, err_msg=f"{name}, {mode.value}")


# align_delays

THREE_BLOCKS = Case(width=5, states=4, blocks=3, norm="scale_bias", seed=7)


@pytest.mark.parametrize("glu", ["half1", "half2", "full", "none"])
@pytest.mark.parametrize("readout", ["each_token", "mean"])
def test_phases_and_delays(glu, readout):
    case = replace(THREE_BLOCKS, glu=glu, readout=readout, sequence_length=9)
    network = random_networks.sample(case).network
    phases = {group.name: group.phase for group in network.groups}
    expected = {"encoder": 1}
    for block in range(3):
        kinds = ("norm", "state", "output", "gate")
        expected |= {f"block{block}.{kind}": 2 + 4 * block + i for i, kind in enumerate(kinds)}
    if readout == "mean":
        expected["mean"] = 14
    expected["decoder"] = len(expected) + 1
    assert phases == expected
    assert network.latency == phases["decoder"] == len(network.groups)
    for synapses in network.synapses:
        part = synapses.name.split(".")[-1]
        # From norm past the state; from before norm past all four groups of a block.
        assert synapses.delay == {"D": 1, "residual": 3}.get(part, 0), synapses.name


def test_aligning_again_changes_nothing():
    network = random_networks.sample(THREE_BLOCKS).network
    assert to_text(AlignDelays()(network)) == to_text(network)


def test_every_wrong_delay_is_refused():
    network = random_networks.sample(THREE_BLOCKS).network
    for synapses in network.synapses:
        for delay in {synapses.delay + 1, max(0, synapses.delay - 1)} - {synapses.delay}:
            wrong = with_synapses(network, synapses.name, delay=delay)
            with pytest.raises(NetworkError, match=f"^{re.escape(synapses.name)}: leaves in phase"):
                verify(wrong)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("name", "delay"),
    [
        ("encoder.weight", 1),
        ("block1.norm.hidden", 1),
        ("block1.B_re", 1),
        ("block0.D", 0),
        ("block0.D", 2),
        ("block2.value", 1),
        ("block1.W2", 1),
        ("block2.residual", 2),
        ("block2.residual", 4),
        ("decoder.weight", 1),
    ],
)
def test_a_wrong_delay_computes_something_else(mode, name, delay):
    network = random_networks.sample(THREE_BLOCKS).network
    wrong = Interpreter(with_synapses(network, name, delay=delay))
    tokens = random_networks.random_tokens(7, 10, 2, THREE_BLOCKS.features_in)
    right = Interpreter(network).evaluate(tokens, keep=None)
    timed = wrong.evaluate_timesteps(tokens, mode, keep=None)
    assert any((timed.values[one] != right.values[one]).any() for one in right.values)
    assert_array_equal(wrong.evaluate(tokens).outputs, right.outputs)


# check_ranges


def accumulated(network: Network, tokens: np.ndarray) -> dict[Endpoint, np.ndarray]:
    """What every port adds up, token by token."""
    interpreter = Interpreter(network)
    sent = {Endpoint(INPUT, TOKEN): tokens}
    for name, values in interpreter.evaluate(tokens, keep=None).values.items():
        group, _, value = name.rpartition(".")
        sent[Endpoint(group, value)] = values
    return {
        Endpoint(group.name, port): total
        for group in network.groups
        for port, total in zip(group.kind.ports, interpreter.accumulate(group, sent), strict=True)
    }


def against(weights: np.ndarray) -> np.ndarray:
    """For each row, the extreme int16 inputs that drive its sum furthest down."""
    return np.where(weights > 0, -(2**15), 2**15 - 1)


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Case,
        glu=st.sampled_from(["half1", "half2", "full", "none"]),
        norm=st.sampled_from(sorted(random_networks.NORMS)),
        readout=st.sampled_from(["each_token", "mean"]),
        sequence_length=st.just(5),
        features_in=st.integers(1, 8),
        width=st.integers(1, 8),
        states=st.integers(1, 8),
        blocks=st.integers(1, 3),
        seed=st.integers(0, 2**32 - 1),
    ),
    st.integers(2, 24),
)
def test_no_accumulator_exceeds_its_bound(case, bits):
    sample = random_networks.sample(case)
    network = random_networks.narrowed(sample.network, bits)
    weights = sample.params["encoder"]["encoder"]["weight"].T
    adversarial = np.concatenate([against(weights), -1 - against(weights)])
    tokens = np.concatenate(
        [
            np.repeat(adversarial, 3, axis=0)[:, None],
            random_networks.random_tokens(case.seed, 12, 1, case.features_in),
        ]
    )
    for port, totals in accumulated(network, tokens).items():
        assert np.abs(totals).max() <= worst_case(network, port), port
    assert CheckRanges()(network) is network


FIVE_TO_FOUR = random_networks.sample(Case(features_in=5, width=4, blocks=1)).network


@settings(deadline=None, max_examples=60)
@given(numpy_strategies.arrays(np.int64, (4, 5), elements=st.integers(-128, 127)))
def test_the_bound_is_reached_where_signs_allow(weights):
    network = with_synapses(FIVE_TO_FOUR, "encoder.weight", weights=frozen_weights(weights))
    encoder = Endpoint("encoder", "weighted")
    bound = worst_case(network, encoder)
    lowest = accumulated(network, against(weights)[:, None])[encoder].min()
    highest = accumulated(network, -1 - against(weights)[:, None])[encoder].max()
    # The format's lowest integer has no positive counterpart: weights of the other sign lose 1.
    below = (np.maximum(weights, 0) * 2**15 - np.minimum(weights, 0) * (2**15 - 1)).sum(axis=1)
    above = (np.maximum(weights, 0) * (2**15 - 1) - np.minimum(weights, 0) * 2**15).sum(axis=1)
    assert -lowest == below.max() <= bound
    assert highest == above.max() <= bound
    same_sign = with_synapses(
        network, "encoder.weight", weights=frozen_weights(np.minimum(np.abs(weights), 127))
    )
    bound = worst_case(same_sign, encoder)
    totals = accumulated(same_sign, np.full((1, 1, 5), -(2**15)))[encoder]
    assert -totals.min() == bound == np.minimum(np.abs(weights), 127).sum(axis=1).max() * 2**15


def test_synapses_that_share_a_port_add_up():
    again = replace(synapses_of(TINY, "encoder.weight"), name="encoder.again")
    twice = replace(TINY, synapses=(*TINY.synapses, again))
    verify(twice)
    encoder = Endpoint("encoder", "weighted")
    assert worst_case(twice, encoder) == 2 * worst_case(TINY, encoder) == 2 * 167 << 15
    totals = accumulated(twice, np.full((1, 1, 3), -(2**15)))[encoder]
    assert totals.min() == -worst_case(twice, encoder)


def test_the_limit_is_exact():
    ports = [Endpoint(group.name, port) for group in TINY.groups for port in group.kind.ports]
    largest = max(worst_case(TINY, port) for port in ports)
    bits = largest.bit_length() + 1
    assert CheckRanges(accumulator_bits=bits)(TINY) is TINY
    with pytest.raises(CapacityError, match=rf"can accumulate {largest} .*{bits - 1} bits"):
        CheckRanges(accumulator_bits=bits - 1)(TINY)


def wide_encoder(features: int) -> QuantizedS5:
    """The tiny model with an encoder of the most negative weights."""
    model = tiny_model()
    weight = tensor(np.full((2, features), -128), 8, 6)
    return replace(model, encoder=replace(model.encoder, weight=weight))


def test_a_network_that_could_overflow_is_refused():
    run_passes(lower(wide_encoder(255)))
    with pytest.raises(
        CapacityError,
        match=r"^encoder\.weighted: can accumulate 1073741824 \(limit 1073741823, 31 bits\)\. Use",
    ) as caught:
        run_passes(lower(wide_encoder(256)))
    assert caught.value.exit_code == 2
    totals = accumulated(AlignDelays()(lower(wide_encoder(256))), np.full((1, 1, 256), -(2**15)))
    assert totals[Endpoint("encoder", "weighted")].max() == 2 ** (ACCUMULATOR_BITS - 1)


@given(
    *[
        numpy_strategies.arrays(
            np.int64, (2, 300), elements=st.integers(-128, 127), fill=st.integers(-128, 127)
        )
    ]
    * 2
)
def test_the_state_is_as_wide_as_c_allows(c_re, c_im):
    bits = state_bits(c_re, c_im)
    largest = max(np.abs(c_re).sum(axis=1).max(), np.abs(c_im).sum(axis=1).max())
    limit = 2 ** (ACCUMULATOR_BITS - 1)
    assert int(largest) * 2 ** (bits - 1) < limit
    assert 2 <= bits <= 24
    assert bits == 24 or int(largest) * 2**bits >= limit
