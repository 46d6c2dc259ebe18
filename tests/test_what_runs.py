"""The table "What runs" of docs/checkpoints.md is what the code does, row by row."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_models import FloatCase, calibration, random_model

from s5_to_loihi import float_model
from s5_to_loihi.checkpoints.description import load_model, save_model
from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.float_model import Activation, Discretization, GluVariant
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

PAGE = Path(__file__).parents[1] / "docs" / "checkpoints.md"
LENGTH = 40
CASES = {
    f"{kind} norm {place}": FloatCase(
        norm=kind.lower(), prenorm=place == "before", blocks=1, width=6, glu=GluVariant.HALF1
    )
    for kind in ("batch", "layer", "RMS")
    for place in ("before", "after")
}
CASES |= {f"GLU {glu.value}": FloatCase(glu=glu, blocks=1) for glu in GluVariant}
CASES |= {f"activation {one.value}": FloatCase(activation=one, blocks=1) for one in Activation}
CASES |= {
    f"discretization {one.value}": FloatCase(discretization=one, blocks=1) for one in Discretization
}
CASES |= {
    f"readout {one.value}": FloatCase(readout=one, sequence_length=LENGTH, blocks=1)
    for one in Readout
}
CASES |= {
    "feed-forward, gated": FloatCase(feed_forward="gated", blocks=1),
    "feed-forward, not gated": FloatCase(feed_forward="plain", blocks=1),
    "all states, not one of each conjugate pair": FloatCase(conjugate_symmetric=False, blocks=1),
    "rectified": FloatCase(rectified=True, blocks=1),
    "no encoder": FloatCase(ends="decoder", norm="layer", blocks=1),
    "no decoder": FloatCase(ends="encoder", blocks=1),
    "bidirectional": FloatCase(blocks=1),
}


def rows() -> dict[str, list[str]]:
    section = PAGE.read_text(encoding="utf-8").split("## What runs\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert cells[0][:4] == ["block or option", "reads", "quantizes", "runs on chip"]
    return {row[0]: row[1:] for row in cells[2:]}


def model_of(name: str) -> float_model.S5Model:
    model = random_model(CASES[name])
    if name == "bidirectional":
        (block,) = model.blocks
        ssm = replace(block.ssm, bidirectional_c=block.ssm.c)
        model = replace(model, blocks=(replace(block, ssm=ssm),))
    return model


def test_every_row_is_tried():
    assert set(rows()) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_row_says_what_happens(name, tmp_path):
    reads, quantizes, runs, cost = rows()[name]
    case, model = CASES[name], model_of(name)
    save_model(model, tmp_path)
    read, _ = load_model(tmp_path / "model.yaml")
    tokens = calibration(case, LENGTH)
    np.testing.assert_array_equal(
        float_model.evaluate(read, tokens), float_model.evaluate(model, tokens)
    )
    assert reads == "yes"
    if quantizes == runs == "no":
        with pytest.raises(CheckpointError, match="no stream of tokens can"):
            quantize_model(read, tokens)
        return
    assert quantizes == runs == "yes"
    network = quantize_model(read, tokens, sequence_length=case.sequence_length).network
    integers, _ = to_integers(tokens, network.input_format)
    expected = Interpreter(network).evaluate(integers).outputs
    for mode in Mode:
        got = Interpreter(network).evaluate_timesteps(integers, mode).outputs
        np.testing.assert_array_equal(got, expected)
    assert np.ptp(expected, axis=(0, 1)).any()
    map_network(network, assumed_rates(network))
    _check_cost(name, cost, network)


def _check_cost(name: str, cost: str, network) -> None:
    """What a norm is said to cost is what it costs beside batch norm before."""
    counted = re.match(r"(\d) timesteps?, (\d?) ?H synapses", cost)
    if "norm" in name and counted:
        plain = quantize_model(model_of("batch norm before"), calibration(CASES[name], LENGTH))
        added = sum(
            edge.weights.nnz
            for edge in network.synapses
            if edge.target.group in ("block0.norm", "block0.norm_statistics")
        )
        assert network.latency - plain.network.latency == int(counted[1])
        assert added == int(counted[2] or 1) * CASES[name].width
    if name.startswith("feed-forward"):
        assert network.latency - 2 == int(cost.split()[0])
