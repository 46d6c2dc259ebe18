"""The quantizer against what most would try first: each weight rounded to a power-of-two step."""

import functools
from pathlib import Path

import numpy as np
import pytest
from benchmark import quantization

from s5_to_loihi import audio, float_model
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.fixed_point import to_floats, to_integers
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.quantization.report import signal_to_noise
from s5_to_loihi.simulators.interpreter import Interpreter

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "s5_to_loihi" / "data"
MODELS = {
    "shipped": DATA / "denoiser_small_float",
    "sparse_h128": DATA / "zoo" / "denoiser_sparse_h128" / "model",
    "dense_h48": DATA / "zoo" / "denoiser_dense_h48" / "model",
}
#: Frames of the held-out clip to measure with, beside those that are left of the calibration clips.
HELD_OUT = 2000


@functools.cache
def frames(name):
    samples = audio.read_wav(DATA / "speech" / f"{name}.wav").samples[0]
    return audio.features(audio.analyse(samples))[:, None]


@pytest.mark.parametrize(
    ("name", "bits", "count"),
    [
        ("shipped", 8, 700),
        ("shipped", 4, 700),
        ("sparse_h128", 8, 3000),
        ("sparse_h128", 4, 700),
        ("dense_h48", 8, 700),
    ],
)
def test_no_worse_than_plain_rounding(name, bits, count):
    """From the first frames, on others; docs/quantization.md has what loses."""
    model = load(MODELS[name]).model
    calibration = frames("calibration")[:count]
    held_out = np.concatenate([frames("calibration")[count:], frames("noisy")[:HELD_OUT]])
    wanted = float_model.evaluate(model, held_out)

    def ratio(rounded, precision):
        network = quantize_model(rounded, calibration, precision).network
        tokens, _ = to_integers(held_out, network.input_format)
        outputs = Interpreter(network).evaluate(tokens).outputs
        return signal_to_noise(wanted, to_floats(outputs, network.output_format))

    plain = ratio(quantization().plainly_rounded(model, bits), Precision(weights=16))
    assert ratio(model, Precision(weights=bits)) >= plain


def test_a_channel_that_calibration_data_hardly_show_has_room():
    """What lies far beyond the calibration data, but within what training has seen, fits."""
    model = load(MODELS["shipped"]).model
    network = quantize_model(model, frames("calibration")[:700], Precision()).network
    tokens, _ = to_integers(frames("noisy"), network.input_format)
    values = Interpreter(network).evaluate(tokens, keep=None).values
    for group in ("encoder", "block0.gate", "block1.gate"):
        sent = values[f"{group}.{'activation' if group == 'encoder' else 'hidden'}"]
        assert np.abs(sent).max() < 2**15 - 1
