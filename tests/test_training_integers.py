"""Training of integers: the module computes what the interpreter computes, before and after."""

import dataclasses

import numpy as np
import pytest
from float_models import FloatCase, calibration, quantized, random_model

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install 's5_to_loihi[train]'")

from s5_to_loihi.errors import CapacityError  # noqa: E402
from s5_to_loihi.fixed_point import to_floats, to_integers  # noqa: E402
from s5_to_loihi.float_model import Activation, Discretization, GluVariant, evaluate  # noqa: E402
from s5_to_loihi.network.network import Readout  # noqa: E402
from s5_to_loihi.network.neurons.constants import array_constants  # noqa: E402
from s5_to_loihi.network.neurons.rescaling import digit_ports  # noqa: E402
from s5_to_loihi.quantization.precision import Precision  # noqa: E402
from s5_to_loihi.quantization.rounding import Digits  # noqa: E402
from s5_to_loihi.simulators.interpreter import Interpreter  # noqa: E402
from s5_to_loihi.training.quantized import QuantizedNetwork  # noqa: E402
from s5_to_loihi.training.straight_through import Whole  # noqa: E402

CASES = [
    FloatCase(precision=Precision(weights=8)),
    FloatCase(glu=GluVariant.HALF2, precision=Precision(weights=2)),
    FloatCase(
        glu=GluVariant.FULL,
        activation=Activation.GELU_TANH,
        rectified=False,
        rectified_encoder=False,
        discretization=Discretization.BILINEAR,
        precision=Precision(weights=12),
    ),
    FloatCase(
        glu=GluVariant.NONE,
        readout=Readout.MEAN,
        sequence_length=40,
        precision=Precision(weights=4, activations=12),
    ),
    FloatCase(readout=Readout.LAST, precision=Precision(weights=3)),
    FloatCase(precision=Precision(weights="e4m3")),
    FloatCase(
        glu=GluVariant.FULL,
        activation=Activation.GELU_TANH,
        rectified=False,
        precision=Precision(weights="e5m2", overrides={"block0.C": "e4m3", "block1.W2": 5}),
    ),
    FloatCase(norm="layer", width=9),
    FloatCase(norm="rms", rectified=False, activation=Activation.SILU, precision=Precision(4)),
    FloatCase(norm="layer", prenorm=False, precision=Precision("e4m3")),
    FloatCase(norm="batch", prenorm=False, activation=Activation.TANH),
    FloatCase(norm="layer", prenorm=False, mixed=True, blocks=3, readout=Readout.LAST),
    FloatCase(feed_forward="gated", precision=Precision(weights=8, activations=20)),
    FloatCase(feed_forward="plain", precision=Precision(weights=3)),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def interpreted(network, data):
    outputs = Interpreter(network).evaluate(to_integers(data, network.input_format)[0]).outputs
    return outputs if network.readout is Readout.EACH_TOKEN else outputs[-1:]


def trained(case, steps=8):
    """Return the module, its network before, and the data, after some steps towards the floats."""
    model, data = random_model(case), calibration(case)
    start = quantized(case, model)
    module = QuantizedNetwork(start)
    wanted, values = torch.tensor(evaluate(model, data)), torch.tensor(data)
    optimiser = torch.optim.Adam(module.parameters(), 0.03)
    for _ in range(steps):
        loss = (module(values) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.fit()
    return module, start, data


@pytest.mark.parametrize("case", CASES, ids=str)
def test_begins_with_the_integers_of_the_quantizer(case):
    start, data = quantized(case), calibration(case)
    module = QuantizedNetwork(start)
    run = module.run(torch.tensor(data))
    np.testing.assert_array_equal(run.integers.detach().numpy(), interpreted(start.network, data))
    again = module.network()
    for edge, before in zip(again.synapses, start.network.synapses, strict=True):
        assert edge.name == before.name
        assert (edge.weights != before.weights).nnz == 0
        assert (edge.delay, edge.exponent) == (before.delay, before.exponent)
    every = {f"{group.name}.{name}" for group in again.groups for name in group.kind.messages}
    values = (
        Interpreter(start.network)
        .evaluate(to_integers(data, start.network.input_format)[0], keep=every)
        .values
    )
    compared = [name for name in run.messages if name in values]
    assert len(compared) > 5
    for name in compared:
        np.testing.assert_array_equal(run.messages[name].detach().numpy(), values[name])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_trained_is_what_is_deployed(case):
    module, start, data = trained(case)
    deployed = module.quantized()
    network = deployed.network
    got = module.run(torch.tensor(data)).integers.detach().numpy()
    np.testing.assert_array_equal(got, interpreted(network, data))
    # Every weight integer of every matrix is the one that the forward pass used ...
    edges = {edge.name: edge for edge in network.synapses}
    changed = 0
    for key, matrix in module.matrices.items():
        whole = matrix().detach().numpy()
        columns = whole.shape[1] // len(matrix.matrix.parts)
        for index, part in enumerate(matrix.matrix.parts):
            total = np.zeros((len(whole), columns))
            for place, suffix in enumerate(digit_ports("")):
                if part + suffix in edges:
                    digit = edges[part + suffix].weights.toarray().astype(float)
                    total += digit * 2.0 ** (place * matrix.matrix.digits.bits)
            own = whole[:, index * columns : (index + 1) * columns]
            np.testing.assert_array_equal(total, own, err_msg=key)
            # ... and none is there that the float model has pruned.
            mask = matrix.mask.numpy()[:, index * columns : (index + 1) * columns]
            assert not total[mask == 0].any()
        changed += int((whole != QuantizedNetwork(start).matrices[key]().detach().numpy()).sum())
    for group, before in zip(network.groups, start.network.groups, strict=True):
        arrays = zip(
            array_constants(group.constants), array_constants(before.constants), strict=True
        )
        changed += sum(int((one[1] != other[1]).sum()) for one, other in arrays)
    assert changed > 10, "nothing was trained"
    # Going on from what was deployed begins where training ended.
    onward = QuantizedNetwork(deployed).run(torch.tensor(data)).integers
    np.testing.assert_array_equal(onward.detach().numpy(), got)


def test_every_parameter_has_a_gradient_and_the_loss_falls():
    case = FloatCase(precision=Precision(weights=3), width=8, density=0.9)
    model, data = random_model(case), calibration(case)
    module = QuantizedNetwork(quantized(case, model))
    # Not what it was made to compute: there is something to learn.
    wanted, values = torch.tensor(1.5 * evaluate(model, data) + 0.5), torch.tensor(data)
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    history = []
    for _ in range(60):
        loss = (module(values) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.fit()
        history.append(float(loss.detach()))
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert np.mean(history[-10:]) < 0.5 * history[0]


def test_gradient_goes_straight_through_the_rounding():
    """Of a sum of outputs by a weight of the decoder: the sum of what it reads."""
    case = FloatCase(
        precision=Precision(weights=8, activations=20), blocks=1, rectified=False, density=1.0
    )
    model, data = random_model(case), calibration(case)
    module = QuantizedNetwork(quantized(case, model))
    module(torch.tensor(data)).sum().backward()
    # d output / d decoder weight, in steps of its row, is the sum of the hidden values.
    matrix = module.matrices["decoder/weight"]
    network = module.source.network
    group = network.group("decoder").constants.affine.weighted
    hidden = module.run(torch.tensor(data)).messages["block0.gate.hidden"].sum((0, 1))
    factor = group.multiplier * 2.0**-group.shift
    exponents = (
        network.output_format.exponent
        + module.source.network.group("decoder").constants.affine.rounding_shift
    )
    wanted = matrix.highest * np.outer(factor, hidden.detach().numpy()) * 2.0**-exponents
    np.testing.assert_allclose(matrix.value.grad.numpy(), wanted, rtol=1e-9)


def test_sums_stay_within_their_accumulator():
    case = FloatCase(precision=Precision(activations=20), width=20, density=1.0)
    module = QuantizedNetwork(quantized(case))
    with torch.no_grad():
        for matrix in module.matrices.values():
            matrix.value[:] = 1.0  # as large as a weight can be
    with pytest.raises(CapacityError):
        module.network()
    module.fit()
    module.network()


def test_values_too_wide_for_float64_are_exact():
    start = quantized(FloatCase())
    groups = list(start.network.groups)
    index = next(i for i, group in enumerate(groups) if group.name == "block0.state")
    constants = groups[index].constants
    wide = dataclasses.replace(groups[index], constants=constants._replace(digit_bits=8))
    network = dataclasses.replace(
        start.network,
        groups=(*groups[:index], wide, *groups[index + 1 :]),
        synapses=tuple(
            dataclasses.replace(
                edge,
                name=edge.name + "_3",
                target=dataclasses.replace(edge.target, name=edge.target.name + "_3"),
            )
            if edge.name.startswith("block0.B_")
            else edge
            for edge in start.network.synapses
        ),
    )
    parts = [
        dataclasses.replace(
            matrix, digits=Digits(4, 8), matrix=dataclasses.replace(matrix.matrix, bits=32)
        )
        if matrix.matrix.name == "block0.B"
        else matrix
        for matrix in start.unrounded
    ]
    started = dataclasses.replace(start, network=network, unrounded=tuple(parts))
    module, data = QuantizedNetwork(started), calibration(FloatCase())
    assert module.wide == {"block0.state"}
    run = module.run(torch.tensor(data))
    np.testing.assert_array_equal(run.integers.detach().numpy(), interpreted(network, data))
    run.output.square().sum().backward()
    assert all(matrix.value.grad is not None for matrix in module.matrices.values())


def test_whole_computes_as_integers_do():
    rng = np.random.default_rng(0)
    left, right = rng.integers(-5000, 5000, (2, 50))
    for name, operation in {
        "+": lambda a, b: a + b,
        "-": lambda a, b: 7 - a - b,
        "*": lambda a, b: 3 * a * b,
        "<<": lambda a, b: a << 3,
        ">>": lambda a, b: a >> 5,
        "min": lambda a, b: np.minimum(np.maximum(a, -99), b),
        "abs": lambda a, b: np.abs(a) & 63,
        "where": lambda a, b: np.where((a > 0) | ((a == 0) & (b > 0)), a, 0),
        "<": lambda a, b: np.where(b < 3, a, b),
    }.items():
        wanted = operation(left, right)
        got = operation(Whole(torch.tensor(left).double()), Whole(torch.tensor(right).double()))
        np.testing.assert_array_equal(got.tensor.numpy(), wanted, err_msg=name)
    shifts = rng.integers(0, 20, 50)
    got = Whole(torch.tensor(left).double()) >> shifts
    np.testing.assert_array_equal(got.tensor.numpy(), left >> shifts)
    got = Whole(torch.tensor(left).double()) << shifts
    np.testing.assert_array_equal(got.tensor.numpy(), left << shifts)


def test_unequal_lengths_are_read_at_their_ends():
    case = FloatCase(readout=Readout.LAST)
    start, data = quantized(case), calibration(case)
    lengths = [25, 40]
    got = QuantizedNetwork(start).run(torch.tensor(data), torch.tensor(lengths)).integers
    for index, length in enumerate(lengths):
        alone = interpreted(start.network, data[:length, index : index + 1])
        np.testing.assert_array_equal(got[:, index : index + 1].detach().numpy(), alone)


def test_float_values_of_outputs():
    case = FloatCase()
    start, data = quantized(case), calibration(case)
    run = QuantizedNetwork(start).run(torch.tensor(data))
    np.testing.assert_array_equal(
        run.output.detach().numpy(),
        to_floats(run.integers.detach().numpy(), start.network.output_format),
    )
