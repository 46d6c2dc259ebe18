"""Files of sweeps, good and hostile, and the front of best compromises."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import LARGEST_TEXT
from s5_to_loihi.float_model import GluVariant
from s5_to_loihi.sweeping.checks import LARGEST_AXIS
from s5_to_loihi.sweeping.front import front
from s5_to_loihi.sweeping.plan import MOST_POINTS, read_plan

EXAMPLE = Path(__file__).parents[1] / "examples" / "sweep.yaml"
GOOD = {"calibration": "data.npy", "axes": {"checkpoint": ["model"]}}


def written(tmp_path: Path, content) -> Path:
    path = tmp_path / "test.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def with_axis(name: str, values) -> dict:
    return {**GOOD, "axes": {**GOOD["axes"], name: values}}


def test_the_example_describes_what_it_says():
    plan = read_plan(EXAMPLE)
    points = plan.points()
    assert len(points) == len(set(points)) == 24
    assert plan.name == "denoiser_small"
    assert plan.varied == ("sparsity", "weights", "objective", "mode")
    assert [point.mode for point in points[:3]] == ["pipelined", "fall-through", "pipelined"]
    assert {(point.sparsity, point.weights) for point in points} == set(
        itertools.product((None, 0.92, 0.95), (8, 4))
    )
    assert {point.activations for point in points} == {16}


def test_defaults_and_order_do_not_depend_on_the_file(tmp_path):
    plan = read_plan(written(tmp_path, GOOD))
    assert (plan.name, plan.seed, plan.front) == ("test", 0, ("energy", "fidelity", "latency"))
    (point,) = plan.points()
    assert (point.checkpoint, point.weights, point.mode) == ("model", 8, "pipelined")
    assert (point.objective, point.system) == ("balanced", None)
    axes = {"mode": ["fall-through", "pipelined"], "weights": ["e4m3"], "checkpoint": ["b", "a"]}
    plan = read_plan(written(tmp_path, {**GOOD, "axes": axes, "options": {"glu": "full"}}))
    assert {point.weights for point in plan.points()} == {"e4m3"}
    assert [(point.checkpoint, point.mode) for point in plan.points()] == [
        ("b", "fall-through"),
        ("b", "pipelined"),
        ("a", "fall-through"),
        ("a", "pipelined"),
    ]
    assert plan.options.glu is GluVariant.FULL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is null"),
        ("[1, 2]", "is a list"),
        ("a: [", "is not YAML"),
        ("\0", "is not YAML"),
        ("!!python/object/apply:os.system [echo]", "is not YAML .*could not determine"),
        ("calibration: a.npy\ncalibration: b.npy", "'calibration' is there twice"),
        ("a: &a {b: 1}\nc: {<<: *a}", "has the unknown key 'a'"),
        ("? [a, b]\n: 1", "no plain name"),
        ("[" * 3000, "is not YAML"),
        ({"axes": {"checkpoint": ["model"]}}, "has no calibration"),
        ({**GOOD, "calibration": 7}, "calibration: is 7"),
        ({**GOOD, "calibration": "data.pkl"}, r"is 'data.pkl'. Give a file: .npy, .npz, .wav"),
        ({**GOOD, "colour": "red"}, "has the unknown key 'colour'. Use name, calibration"),
        ({**GOOD, "name": "x" * 501}, "name: is 'xxx.*Give 1 to 500 characters"),
        ({**GOOD, "name": ""}, "Give 1 to 500 characters"),
        ({**GOOD, "seed": -1}, "seed: is -1. Give a whole number from 0"),
        ({**GOOD, "seed": True}, "seed: is True"),
        ({**GOOD, "clean": "clean.wav"}, "needs the noisy version"),
        ({**GOOD, "clean": "clean.wav", "held_out": "noisy.npy"}, "Give a file: .wav"),
        ({**GOOD, "front": ["beauty"]}, r"front\[0\]: is 'beauty'. Use one of sqnr"),
        ({**GOOD, "front": ["si_snr"]}, r"front\[0\]: is 'si_snr'. Use one of sqnr"),
        ({**GOOD, "front": []}, "Give a list of 1 to"),
        ({**GOOD, "options": {"glu": "fancy"}}, "options: glu: is 'fancy'. Use one of"),
        ({**GOOD, "options": {"prenorm": 1}}, "prenorm: is 1. Give true or false"),
        ({**GOOD, "options": {"pruning_sparsity": 0.5}}, "has the unknown key"),
        ({**GOOD, "axes": {"weights": [8]}}, "axes: has no checkpoint"),
        ({**GOOD, "axes": ["weights"]}, "axes: is a list. Give a mapping of checkpoint"),
        (with_axis("bits", [8]), "axes: has the unknown key 'bits'. Use checkpoint, sparsity"),
        (with_axis("weights", 8), "weights: is 8. Give a list"),
        (with_axis("weights", []), "weights: is a list. Give a list of 1 to"),
        (with_axis("weights", [8, 8]), r"weights\[1\]: 8 is there twice"),
        (with_axis("weights", [1]), r"weights\[0\]: is 1. Give a whole number from 2 to 16"),
        (with_axis("weights", ["e4m4"]), "is 'e4m4'. Give a number, or e4m3, e5m2"),
        (with_axis("weights", [8.0]), r"weights\[0\]: is 8.0"),
        (with_axis("weights", [True]), "is True"),
        (with_axis("weights", [None]), "is null"),
        (with_axis("activations", [25]), "from 8 to 24"),
        (with_axis("knots", [60]), "Use one of 8, 16"),
        (with_axis("knots", [64.0]), "is 64.0"),
        (with_axis("sparsity", [1.0]), "Give a number from 0 to below 1"),
        (with_axis("sparsity", [float("nan")]), "is nan"),
        (with_axis("sparsity", ["0.9"]), "is '0.9'"),
        (with_axis("mode", ["sideways"]), "Use one of pipelined, fall-through"),
        (with_axis("objective", [["cores"]]), "is a list. Use one of latency"),
        (with_axis("system", ["tesseract"]), "is 'tesseract'. Use one of oheogulch"),
        (with_axis("system", ["a\0.yaml"]), "Give 1 to 500 characters"),
        (with_axis("checkpoint", [{"a": "b"}]), "is a mapping"),
        ("calibration: a.npy\naxes: {checkpoint: [2020-01-01]}", "is of the kind date"),
        (f"calibration: a.npy\nseed: 0x{'f' * 9000}\naxes: {{}}", "axes: has no checkpoint"),
        (with_axis("checkpoint", [str(one) for one in range(LARGEST_AXIS + 1)]), "list of 1 to"),
    ],
)
def test_every_mistake_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_plan(written(tmp_path, content))
    assert len(str(caught.value)) < 1000


def test_sizes_are_bounded(tmp_path):
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read_plan(written(tmp_path, "#" * (LARGEST_TEXT + 1)))
    many = {**GOOD["axes"], "checkpoint": [f"m{one}" for one in range(LARGEST_AXIS)]}
    many |= {"weights": [2, 3, 4, 5, 6, 7], "mode": ["pipelined", "fall-through"]}
    with pytest.raises(InputError, match=f"12,000 points .limit {MOST_POINTS:,}."):
        read_plan(written(tmp_path, {**GOOD, "axes": many}))
    huge = "calibration: a.npy\nseed: 0x" + "f" * 9000 + "\naxes: {checkpoint: [m]}"
    with pytest.raises(InputError, match="seed: is a number of many digits"):
        read_plan(written(tmp_path, huge))
    # Ten levels of ten aliases each: written out, a list of 10^10 entries.
    laughs = "a0: &a0 [x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 11)
    )
    with pytest.raises(InputError, match="over 100,000 values"):
        read_plan(written(tmp_path, laughs))
    with pytest.raises(InputError, match="an alias stands for what it is a part of"):
        read_plan(
            written(tmp_path, "calibration: a.npy\naxes: {checkpoint: &a [*a]}"),
        )
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(tmp_path / "missing.yaml")


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]),
    ),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_the_front_is_what_no_point_dominates(values, higher):
    higher = higher[: values.shape[1]]

    def dominates(one, other) -> bool:
        better = [a > b if up else a < b for a, b, up in zip(one, other, higher, strict=True)]
        worse = [a < b if up else a > b for a, b, up in zip(one, other, higher, strict=True)]
        return any(better) and not any(worse)

    known = [not np.isnan(row).any() for row in values]
    expected = [
        known[place]
        and not any(known[other] and dominates(values[other], row) for other in range(len(values)))
        for place, row in enumerate(values)
    ]
    assert front(values, higher).tolist() == expected
