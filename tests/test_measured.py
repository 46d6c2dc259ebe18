"""Measured profiles: written and read back equal; anything else is refused by name."""

import json

import pytest

from s5_to_loihi.backends.measured import (
    CoreActivity,
    MeasuredProfile,
    Power,
    StepTimes,
    read_measured,
    write_measured,
)
from s5_to_loihi.errors import InputError
from s5_to_loihi.profiling.quantity import Origin, Quantity

PROFILE = MeasuredProfile(
    target="board",
    network="denoiser",
    bundle_digest="ab" * 32,
    mode="pipelined",
    tokens=100,
    timesteps=128,
    wall_seconds=3.5,
    environment={"board": "ncl-ext-og-04"},
    time=StepTimes(total=12.5, spiking=10.0, management=2.0, host=None, steps=128),
    power=Power("neurocore rails", 0.5, 0.25, {"vdd": 0.2, "vddm": 0.3}, 128),
    activity=(CoreActivity(0, 3, 1000, 128, 50, None),),
)


def test_what_is_written_is_read_back(tmp_path):
    write_measured(PROFILE, tmp_path / "measured.json")
    assert read_measured(tmp_path / "measured.json") == PROFILE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "is no measured profile"),
        ({"schema_version": 2}, "schema version 2 (limit 1)"),
        ({"target": "gpu"}, "target: is 'gpu'"),
        ({"tokens": -1}, "tokens: is -1"),
        ({"tokens": 1.5}, "tokens: is 1.5"),
        ({"tokens": True}, "tokens: is True"),
        ({"wall_seconds": float("inf")}, "wall_seconds: is inf"),
        ({"extra": 1}, "extra: is unknown"),
        ({"environment": {"board": 4}}, "board: is 4"),
        ({"time": {"total": 1}}, "is missing"),
        ({"time": []}, "time: is []"),
        ({"activity": [{"chip": 0}]}, "activity[0]"),
        ({"activity": {}}, "activity: is {}"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "measured.json"
    write_measured(PROFILE, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as error:
        read_measured(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b"\xff", b"[]", b'"text"'])
def test_what_is_not_such_a_file_is_refused(tmp_path, content):
    path = tmp_path / "measured.json"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_measured(path)


def test_a_missing_part_is_named(tmp_path):
    path = tmp_path / "measured.json"
    write_measured(PROFILE, path)
    content = json.loads(path.read_text())
    del content["mode"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="mode: is missing"):
        read_measured(path)


def test_a_quantity_lies_in_its_range():
    quantity = Quantity(2.0, 1.0, 3.0, "us", "a timestep", Origin.MODELLED, "a test")
    assert 1.5 in quantity
    assert 3.5 not in quantity
    for numbers in ((4.0, 1.0, 3.0), (float("nan"), 1.0, 3.0)):
        with pytest.raises(ValueError, match="is not within"):
            Quantity(*numbers, "us", "a timestep", Origin.MODELLED, "a test")
