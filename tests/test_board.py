"""What of a board run can be tested without a board: its time, its signs, its refusals."""

import dataclasses
import itertools
import os
from types import SimpleNamespace

import extension as stand_in
import numpy as np
import pytest
from every_kind import network_of
from fast_networks import RICH
from hypothesis import given
from hypothesis import strategies as st
from needs import needs_lava, no_extension
from random_networks import random_tokens

from s5_to_loihi import Bundle, bundle, verification
from s5_to_loihi.backends import board, board_worker, dispatch, probes
from s5_to_loihi.backends.board import BoardOptions
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.backends.measured import CoreActivity, read_measured, write_measured
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.errors import InputError, LavaError
from s5_to_loihi.fixed_point import limits, wrap
from s5_to_loihi.lava_runtime import chip_plan, extension
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.simulators.interpreter import Interpreter, Mode, update_sequence

pytestmark = pytest.mark.xdist_group("lava")

#: Stateful groups with biases before them, a mean, chained weights.
NETWORKS = ("simple", "half1, narrow states", RICH, "half2", "none, mean",
            "full, gelu, chained weights")  # fmt: skip


# Signs


@given(bits=st.integers(2, 32), data=st.data())
def test_signs_come_back(bits, data):
    low, high = limits(bits)
    value = data.draw(st.integers(low, high))
    assert wrap(np.array([value % 2**bits]), bits)[0] == value
    assert wrap(np.array([value]), bits)[0] == value


# The chip's time


@given(least=st.integers(1, 10**6))
def test_power_of_two(least):
    power = chip_plan.power_of_two(least)
    assert bin(power).count("1") == 1
    assert power >= least > power // 2 - (power == 1)


@pytest.mark.parametrize("interval", [0, -4, 3, 100])
def test_an_interval_that_is_no_power_of_two_is_refused(interval):
    with pytest.raises(InputError, match="not a power of two"):
        ChipPlan(interval)


def test_a_negative_latency_is_refused():
    with pytest.raises(InputError, match="limit 0"):
        ChipPlan(4, output_latency=-1)


def test_sequences_longer_than_the_interval_are_refused():
    with pytest.raises(InputError, match=r"is 4, the sequences have 5 tokens\. Use 8"):
        chip_plan.arrivals(network_of("simple"), ChipPlan(4), 5, 1)


@given(count=st.integers(1, 9), batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_sequences_are_padded_and_cut_again(count, batch, seed):
    tokens = np.random.default_rng(seed).integers(-(2**23), 2**23, (count, batch, 3))
    plan = ChipPlan(chip_plan.power_of_two(count))
    times = chip_plan.arrivals(network_of("simple"), plan, count, batch)
    rows = chip_plan.stream(tokens, times, plan)
    assert len(rows) == (batch - 1) * plan.reset_interval + count
    np.testing.assert_array_equal(chip_plan.unstream(rows, times), tokens)
    padding = len(rows) - count * batch
    assert padding == (batch - 1) * (plan.reset_interval - count)


def chip_outputs(network: Network, rows: np.ndarray, plan: ChipPlan, resets: bool) -> np.ndarray:
    """Every group updates in every timestep from 0 on; registers are zero where a plan says so.

    (timesteps, output features) from timestep ``plan.latency`` on, as the host would see them.
    """
    steps = len(rows) + plan.latency(network)
    arriving = np.zeros((steps, 1, network.input_size), dtype=np.int64)
    arriving[plan.input_latency : plan.input_latency + len(rows), 0] = rows
    sent = {Endpoint(INPUT, TOKEN): arriving}
    interpreter = Interpreter(network)
    for group in network.groups:
        accumulators = interpreter.accumulate(group, sent, timed=True)
        zero = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
        starts = {0}
        if resets:
            starts |= set(range(plan.reset_offset(group), steps, plan.reset_interval))
        edges = [*sorted(starts), steps]
        pieces = []
        for first, last in itertools.pairwise(edges):
            piece = tuple(accumulator[first:last] for accumulator in accumulators)
            _, values = update_sequence(group, piece, zero)
            shape = (last - first, 1, group.size)
            pieces.append([np.broadcast_to(value, shape) for value in values])
        for name, parts in zip(group.kind.values, zip(*pieces, strict=True), strict=True):
            sent[Endpoint(group.name, name)] = np.concatenate(parts)
    first = network.latency + plan.input_latency
    return sent[network.output][first : first + len(rows), 0]


@pytest.mark.parametrize(("latency", "interval"), [(0, None), (3, 32)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_chips_time_gives_the_integers_of_sequences_from_zero(name, latency, interval):
    network = network_of(name)
    tokens = random_tokens(5, 11, 3, network.input_size)
    plan = ChipPlan(interval or 16, input_latency=latency)
    times = chip_plan.arrivals(network, plan, 11, 3)
    rows = chip_outputs(network, chip_plan.stream(tokens, times, plan), plan, resets=True)
    expected = Interpreter(network).evaluate(tokens).outputs
    np.testing.assert_array_equal(chip_plan.unstream(rows, times), expected)


@pytest.mark.parametrize("name", ["simple", "half2"])
def test_without_resets_the_chips_time_gives_other_integers(name):
    """Already in the first sequence: biases reach the states before the first token does."""
    network = network_of(name)
    tokens = random_tokens(5, 11, 3, network.input_size)
    plan = ChipPlan(16)
    times = chip_plan.arrivals(network, plan, 11, 3)
    rows = chip_outputs(network, chip_plan.stream(tokens, times, plan), plan, resets=False)
    got = chip_plan.unstream(rows, times)
    expected = Interpreter(network).evaluate(tokens).outputs
    for sequence in range(3):
        assert (got[:, sequence] != expected[:, sequence]).any()


def gated_outputs(network: Network, rows: np.ndarray, plan: ChipPlan, gate: bool) -> np.ndarray:
    """Timestep by timestep, a synapse costs one; a group updates where its marker is there.

    (timesteps, output features), as the host would see them. Without the gate groups update in
    every timestep, and begin where a marker says so.
    """
    steps = len(rows) + plan.latency(network)
    interpreter = Interpreter(network)
    sent = {Endpoint(INPUT, TOKEN): np.zeros((steps, 1, network.input_size), dtype=np.int64)}
    sent[Endpoint(INPUT, TOKEN)][plan.input_latency :][: len(rows), 0] = rows[:, :-1]
    markers = np.zeros(steps, dtype=np.int64)
    markers[plan.input_latency :][: len(rows)] = rows[:, -1]
    for group in network.groups:
        arrived = interpreter.accumulate(group, sent, timed=True)
        registers = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
        shape = (steps, 1, group.size)
        messages = {name: np.zeros(shape, dtype=np.int64) for name in group.kind.messages}
        for step in range(steps):
            marker = markers[step - group.phase] if step >= group.phase else 0
            if marker == 0 and gate:
                continue
            if marker == 2:
                registers = tuple(np.zeros_like(register) for register in registers)
            sums = tuple(accumulator[step : step + 1] for accumulator in arrived)
            _, values = update_sequence(group, sums, registers)
            named = dict(zip(group.kind.values, values, strict=True))
            registers = tuple(np.array(named[name][0]) for name in group.kind.state)
            for name, array in messages.items():
                array[step] = named[name][0]
        for name, array in messages.items():
            sent[Endpoint(group.name, name)] = array
    first = network.latency + plan.input_latency
    return sent[network.output][first : first + len(rows), 0]


def late(count: int, batch: int) -> np.ndarray:
    """Timesteps by which tokens come late: some in time, some by far."""
    return np.random.default_rng(4).choice([0, 0, 1, 7], (count, batch))


@pytest.mark.parametrize("latency", [0, 3])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_fall_through_a_group_updates_in_its_phase_only(name, waits, latency):
    network = network_of(name)
    tokens = random_tokens(5, 9, 3, network.input_size)
    plan = ChipPlan(input_latency=latency, mode=Mode.FALL_THROUGH)
    times = chip_plan.arrivals(network, plan, 9, 3, late(9, 3) if waits else None)
    if not waits:
        assert times.max() == (9 * 3 - 1) * network.latency
    rows = gated_outputs(network, chip_plan.stream(tokens, times, plan), plan, gate=True)
    expected = Interpreter(network).evaluate(tokens).outputs
    np.testing.assert_array_equal(chip_plan.unstream(rows, times), expected)


def test_without_a_gate_fall_through_gives_other_integers():
    network = network_of("half2")
    tokens = random_tokens(5, 9, 3, network.input_size)
    plan = ChipPlan(mode=Mode.FALL_THROUGH)
    times = chip_plan.arrivals(network, plan, 9, 3)
    rows = gated_outputs(network, chip_plan.stream(tokens, times, plan), plan, gate=False)
    expected = Interpreter(network).evaluate(tokens).outputs
    assert (chip_plan.unstream(rows, times) != expected).any()


@pytest.mark.parametrize(
    ("mode", "waits"),
    [(Mode.PIPELINED, np.zeros((5, 1), int)), (Mode.FALL_THROUGH, np.full((5, 1), -1)),
     (Mode.FALL_THROUGH, np.zeros((4, 1), int))],
    ids=["pipelined", "early", "too few"],
)  # fmt: skip
def test_waits_are_checked(mode, waits):
    network = network_of("simple")
    tokens = np.zeros((5, 1, network.input_size), dtype=np.int64)
    with pytest.raises(InputError, match="waits"):
        board.rehearse(network, tokens, mode=mode, waits=waits)


@pytest.mark.parametrize("tokens", [1, 3, 40])
def test_what_is_measured_comes_in_its_periods_over_and_over(tokens):
    network = network_of("half2")
    plan = ChipPlan(mode=Mode.FALL_THROUGH)
    period = network.latency
    rows = np.ones((tokens, 1, network.input_size), dtype=np.int64)
    rows = chip_plan.stream(rows, chip_plan.arrivals(network, plan, tokens, 1), plan)
    frames = board_worker.replayed(rows, plan.period(network), plan.gated)
    assert len(frames) % period == 0
    assert len(frames) <= max(period, board_worker.REPLAYED)
    (sent,) = np.nonzero(frames[:, -1])
    np.testing.assert_array_equal(sent, period * np.arange(min(tokens, len(frames) // period)))
    assert frames[:, -1].tolist()[0] == gating.FIRST
    assert set(frames[sent[1:], -1]) <= {gating.TOKEN}
    pipelined = board_worker.replayed(rows[:, :-1], 1, False)
    assert len(pipelined) == board_worker.REPLAYED


@pytest.mark.parametrize("mode", Mode)
def test_verification_on_a_board_takes_the_mode(monkeypatch, mode):
    network, asked = network_of("simple"), []

    def run(network, tokens, **options):
        asked.append(options["mode"])
        return SimpleNamespace(evaluation=Interpreter(network).evaluate(tokens))

    monkeypatch.setattr(board, "run", run)
    tokens = random_tokens(1, 4, 2, network.input_size)
    vectors = Vectors(tokens, {}, {}, "random")
    result = verification.verify_run(network, vectors, Backend.BOARD, mode)
    assert asked == [mode]
    assert (result.mode, result.equal) == (mode, True)
    assert Backend.BOARD not in dispatch.ONE_MODE


def test_what_would_be_lost_between_tokens_is_refused():
    network = network_of("simple")
    group = dataclasses.replace(
        network.groups[0],
        waits={network.groups[0].kind.ports[0]: np.ones(network.groups[0].size, dtype=np.int64)},
    )
    waiting = dataclasses.replace(network, groups=(group, *network.groups[1:]))
    with pytest.raises(InputError, match=f"{group.name} has sums that wait"):
        ChipPlan(mode=Mode.FALL_THROUGH).check(waiting)
    ChipPlan().check(waiting)


# A rehearsal: the board's processes under Lava on the CPU


@needs_lava
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("half1, narrow states", BoardOptions()),
        (RICH, BoardOptions(input_latency=2, output_latency=1)),
        ("full, gelu, chained weights", BoardOptions(reset_interval=32)),
    ],
    ids=["narrow states", "latencies", "chained, longer interval"],
)
def test_a_rehearsal_gives_the_interpreters_integers(name, options):
    network = network_of(name)
    tokens = random_tokens(3, 11, 3, network.input_size)
    seen = []
    result = board.rehearse(
        network, tokens, options=options, bundle_digest="abc",
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    expected = Interpreter(network).evaluate(tokens).outputs
    assert (expected < 0).any()
    np.testing.assert_array_equal(result.evaluation.outputs, expected)
    profile = result.profile
    assert (profile.target, profile.tokens, profile.bundle_digest) == ("lava-cpu", 33, "abc")
    interval = options.reset_interval or 16
    latency = network.latency + options.input_latency + options.output_latency
    assert profile.timesteps == 2 * interval + 11 + latency
    assert (profile.time, profile.power, profile.activity) == (None, None, ())
    assert {total for _, total in seen} <= {profile.timesteps}


@needs_lava
@pytest.mark.parametrize(
    ("name", "options", "waits"),
    [
        ("half1, narrow states", BoardOptions(), True),
        ("none, one of everything", BoardOptions(input_latency=2, output_latency=1), True),
    ],
    ids=["late tokens", "late tokens and latencies"],
)
def test_a_rehearsal_of_fall_through_gives_the_interpreters_integers(name, options, waits):
    network = network_of(name)
    tokens = random_tokens(3, 4, 3, network.input_size)
    later = late(4, 3) if waits else None
    result = board.rehearse(network, tokens, mode=Mode.FALL_THROUGH, options=options, waits=later)
    expected = Interpreter(network).evaluate(tokens).outputs
    assert (expected != 0).any()
    np.testing.assert_array_equal(result.evaluation.outputs, expected)
    extra = 0 if later is None else later.sum()
    latency = network.latency + options.input_latency + options.output_latency
    assert result.profile.timesteps == 11 * network.latency + extra + 1 + latency
    assert result.profile.mode == "fall-through"


@needs_lava
def test_a_wrong_latency_is_seen_in_a_rehearsal(monkeypatch):
    """So that the option can be found out on a board: outputs are then not the interpreter's."""
    network = network_of("half1, narrow states")
    tokens = random_tokens(3, 8, 1, network.input_size)
    monkeypatch.setattr(board, "WORKER", "late_board_worker")
    result = board.rehearse(network, tokens)
    expected = Interpreter(network).evaluate(tokens).outputs
    assert (result.evaluation.outputs != expected).any()


# What is refused


def one_token(network: Network) -> np.ndarray:
    return np.zeros((1, 1, network.input_size), dtype=np.int64)


@needs_lava
@no_extension
def test_without_the_extension_the_error_says_what_is_missing_and_where_it_comes_from():
    network = network_of("simple")
    with pytest.raises(LavaError) as caught:
        board.run(network, one_token(network))
    for text in ("lava-loihi", "lava.magma.core.model.nc.model", "INRC", "docs/board.md"):
        assert text in str(caught.value)
    with pytest.raises(LavaError, match="lava-loihi"):
        dispatch.run(network, one_token(network), Backend.BOARD)
    assert "lava.utils.loihi2_profiler" in extension.missing_modules()
    assert "lava.utils.loihi2_profiler" not in extension.missing_modules(measuring=False)


def test_a_reset_interval_in_fall_through_is_refused():
    network = network_of("simple")
    options = BoardOptions(reset_interval=8)
    with pytest.raises(InputError, match="reset interval: is given"):
        board.run(network, one_token(network), mode=Mode.FALL_THROUGH, options=options)


@pytest.mark.parametrize(
    "options",
    [{"generation": "N9"}, {"measure": ("heat",)}, {"measured_steps": 0}],
    ids=lambda options: next(iter(options)),
)
def test_options_are_checked(options):
    with pytest.raises(InputError):
        BoardOptions(**options)


def test_a_reset_interval_below_the_sequence_is_refused():
    network = network_of("simple")
    tokens = np.zeros((5, 1, network.input_size), dtype=np.int64)
    with pytest.raises(InputError, match="Use 8"):
        board.run(network, tokens, options=BoardOptions(reset_interval=4))


def test_the_board_is_not_run_on_unless_asked_for():
    assert set(dispatch.WITHOUT_BOARD) == set(Backend) - {Backend.BOARD, Backend.REHEARSAL}


# As far as the recording stand-in goes

#: SLURM's program where its controller does not answer.
SINFO = """#!/bin/sh
echo "slurm_load_partitions: Unable to contact slurm controller (connect failure)" >&2
exit 1
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    network = network_of("none, one of everything")
    bundle.write(Bundle(network, None), folder / "network")
    (folder / "microcode").mkdir()
    for program in neuron_programs(network):
        (folder / "microcode" / f"{program.name}.bin").touch()
    return folder


@needs_lava
@no_extension
@pytest.mark.parametrize("what", ["outputs", "power"])
def test_a_run_goes_as_far_as_lavas_compiler(prepared, what):
    finished = stand_in.run(
        "run_on_stand_in.py", prepared / "network", prepared / "microcode", what
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"board run for {what}: process 'board worker' raised")
    assert "No subcompiler exists for the given ProcessModel" in finished.stdout
    assert "Nc" in finished.stdout.splitlines()[-1]


@needs_lava
@no_extension
def test_a_partition_that_is_not_there_is_reported(prepared, tmp_path):
    (tmp_path / "sinfo").write_text(SINFO)
    (tmp_path / "sinfo").chmod(0o755)
    finished = stand_in.run(
        *("run_on_stand_in.py", prepared / "network", prepared / "microcode", "outputs"),
        "no; such",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    )
    assert "use_slurm_host" in finished.stdout
    assert "ValueError" in finished.stdout
    assert "SLURM controller is not available" in finished.stdout


@needs_lava
@no_extension
@pytest.mark.parametrize("is_a_program", [False, True])
def test_a_partition_on_a_machine_without_slurm_is_refused(prepared, tmp_path, is_a_program):
    if is_a_program:  # though none that may be started
        (tmp_path / "sinfo").write_text(SINFO)
    finished = stand_in.run(
        *("run_on_stand_in.py", prepared / "network", prepared / "microcode", "outputs", "og"),
        PATH=str(tmp_path),
    )
    assert finished.stdout.startswith("partition og: SLURM's sinfo is not on this machine. Run on")
    assert "Traceback" not in finished.stdout + finished.stderr


@needs_lava
@no_extension
def test_a_board_on_a_machine_without_slurm_is_refused(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(board.extension, "require", lambda **needed: None)
    network = bundle.read(prepared / "network").network
    options = BoardOptions(microcode=prepared / "microcode", board="ncl-og-01")
    with pytest.raises(LavaError, match=r"^board ncl-og-01: SLURM's sinfo is not on this machine"):
        board.run(network, np.zeros((3, 1, network.input_size), dtype=int), options=options)


@needs_lava
@no_extension
def test_missing_microcode_is_found_before_anything_starts(prepared, tmp_path):
    finished = stand_in.run("run_on_stand_in.py", prepared / "network", tmp_path, "outputs")
    programs = neuron_programs(bundle.read(prepared / "network").network)
    assert finished.stdout.startswith(f"microcode: there is none for {len(programs)} programs")
    assert all(program.name in finished.stdout for program in programs)


# What probes measured


def test_times_are_means_of_microseconds():
    probe = SimpleNamespace(
        avg_time_per_step=12.5, management_time_per_step=np.array([2.0, 4.0]),
        host_time_per_step=None,
    )  # fmt: skip
    times = probes.step_times(probe, 1000)
    assert (times.total, times.management, times.host) == (12.5, 3.0, None)
    assert (times.spiking, times.steps) == (None, 1000)


def test_power_has_its_rails():
    probe = SimpleNamespace(
        total_power=np.array([1.0, 2.0]), vdd_power=[0.5, 0.7], vddm_power=[0.1], vddio_power=None,
        static_total_power=0.25,
    )  # fmt: skip
    power = probes.power(probe, 10)
    assert (power.total, power.static, power.scope) == (1.5, 0.25, "board")
    assert power.rails == {"vdd": pytest.approx(0.6), "vddm": 0.1}


def test_counters_of_every_core():
    probe = SimpleNamespace(
        core_idx=np.array([0, 7]), chip_idx=np.array([0, 1]), syn_ops=np.array([5, 6]),
        dendrite_updates=np.array([1, 2]), axon_out=None, spikes_in=np.array([3, 4]),
    )  # fmt: skip
    assert probes.activity(probe, 10) == (
        CoreActivity(0, 0, 5, 1, None, 3),
        CoreActivity(1, 7, 6, 2, None, 4),
    )


@pytest.mark.parametrize("value", [None, [], [float("nan")]])
def test_a_probe_that_gave_nothing_is_an_error(value):
    with pytest.raises(LavaError, match="gave no total_power"):
        probes.power(SimpleNamespace(total_power=value), 10)


def test_a_profile_with_measurements_can_be_read_again(tmp_path):
    probe = SimpleNamespace(avg_time_per_step=3.0)
    profile = board.MeasuredProfile(
        target="board", network="n", bundle_digest="d", mode="pipelined", tokens=1, timesteps=2,
        wall_seconds=0.5, environment={"generation": "N3B3"}, time=probes.step_times(probe, 7),
    )  # fmt: skip
    write_measured(profile, tmp_path / "profile.json")
    assert read_measured(tmp_path / "profile.json") == profile
    assert dataclasses.asdict(profile)["time"]["steps"] == 7
