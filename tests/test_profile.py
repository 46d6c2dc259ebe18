"""Profiles: times and energies by hand, nothing lost, ranges that hold, what the command says."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from float_models import FloatCase, calibration, quantized

import s5_to_loihi as s5
from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import (
    SCOPES,
    CoreActivity,
    MeasuredProfile,
    Power,
    StepTimes,
    write_measured,
)
from s5_to_loihi.bundle.core_mapping import CoreMapping
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.errors import CapacityError, InputError, NetworkError
from s5_to_loihi.fixed_point import Format, to_integers
from s5_to_loihi.loihi2.deliveries import deliveries
from s5_to_loihi.loihi2.evaluation import evaluate_mapping
from s5_to_loihi.loihi2.facts import System, load_system
from s5_to_loihi.loihi2.halving import halved
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.rates import assumed_rates
from s5_to_loihi.loihi2.timing import CASES
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network.network import (
    INPUT,
    TOKEN,
    Endpoint,
    Network,
    NeuronGroup,
    Synapses,
    frozen_weights,
)
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.neurons.dense import DenseConstants
from s5_to_loihi.profiling.activity import Recording, record
from s5_to_loihi.profiling.calibration import (
    check,
    middle,
    predicted_with,
    read_points,
    solved,
)
from s5_to_loihi.profiling.comparison import NOT_THE_CHIP, compare
from s5_to_loihi.profiling.constants import NAMES, drawn, ends, interval
from s5_to_loihi.profiling.copies import copied, copies_that_fit
from s5_to_loihi.profiling.core_numbers import A_GROUP_A_CORE, OURS, OWN
from s5_to_loihi.profiling.demand import demands
from s5_to_loihi.profiling.estimate import DRAWN_TIMESTEPS, estimate, shortened
from s5_to_loihi.profiling.profile import evaluate_recording, profile, profile_recording
from s5_to_loihi.profiling.profile_values import as_dictionary
from s5_to_loihi.reports.profile_tables import core_tables, norm_tables
from s5_to_loihi.simulators.activity import count
from s5_to_loihi.simulators.interpreter import Mode

BOARD = load_system("oheogulch")
RAILS, CHIP, WHOLE = SCOPES


def with_constants(system: System, **values) -> System:
    """The system with other constants: a number is certain, a triple has a range."""
    facts = {}
    for name, value in values.items():
        low, middle, high = value if isinstance(value, tuple) else (value,) * 3
        owner = system.chip if hasattr(system.chip, name) else system
        facts[name] = replace(getattr(owner, name), low=low, value=middle, high=high)
    chip = {name: fact for name, fact in facts.items() if hasattr(system.chip, name)}
    own = {name: fact for name, fact in facts.items() if name not in chip}
    return replace(system, chip=replace(system.chip, **chip), **own)


#: The board with every constant certain and zero, but those that divide.
NOTHING = with_constants(
    BOARD, **{name: 0 for name in NAMES if not name.endswith(("bits", "bandwidth"))}
)


# --- two neurons, then one: all by hand ----------------------------------------------------------

#: Integers pass unchanged: a program reads its sum, keeps it within 16 bits, and sends it.
PLAIN = Format(16, 0)


def small_group(name: str, size: int, phase: int) -> NeuronGroup:
    kind = KINDS["dense"]
    constants = DenseConstants(np.zeros(size, dtype=np.int64), PLAIN, 0, PLAIN, 0)
    values, ports = dict.fromkeys(kind.values, PLAIN), dict.fromkeys(kind.ports, 0)
    return NeuronGroup(name, kind, size, constants, values, ports, phase)


SMALL = Network(
    name="small",
    input_size=2,
    input_format=Format(8, 0),
    groups=(small_group("first", 2, 1), small_group("second", 1, 2)),
    synapses=(
        Synapses("a", Endpoint(INPUT, TOKEN), Endpoint("first", "weighted"),
                 frozen_weights(np.eye(2)), 0),
        Synapses("b", Endpoint("first", "activation"), Endpoint("second", "weighted"),
                 frozen_weights(np.ones((1, 2))), 0),
    ),
    output=Endpoint("second", "activation"),
)  # fmt: skip
#: One message of the input and of the first group, then two of each; always one at the end.
TOKENS = np.array([[3, 0], [5, 7]])
#: One core beside a router each: a hop for every message of the first group.
SMALL_MAPPING = CoreMapping(
    system="Oheo Gulch",
    cores_per_chip=128,
    objective="latency",
    seed=0,
    rates="",
    cores={"first": np.zeros(2, dtype=np.int32), "second": np.full(1, 4, dtype=np.int32)},
    timestep=(0.0, 0.0, 0.0),
)


def profile_tokens(network: Network, tokens, mapping: CoreMapping, system: System, **options):
    return profile_recording(network, record(network, tokens), mapping, system, **options)


def small_profile(**constants):
    system = with_constants(NOTHING, **constants)
    return profile_tokens(SMALL, TOKENS, SMALL_MAPPING, system, samples=20)


def test_synops_by_hand():
    modes = small_profile(synop_time=10, synop_energy=100).modes
    # In one timestep the first core gets 1 synop and the second 2 of the token before, in the
    # next it is the other way round: 20 ns.
    pipelined = modes["pipelined"]
    assert pipelined.timestep.value == pytest.approx(0.020)
    assert pipelined.latency.value == pytest.approx(0.040)
    assert pipelined.throughput.value == pytest.approx(1e6 / 0.020)
    # Falling through, each of two timesteps has 1 synop for the first token and 2 for the second;
    # in the second timestep the next token enters, with a marker for 2 neurons of the first core.
    falling = modes["fall-through"]
    assert falling.timestep.value == pytest.approx((10 + 20 + 30 + 40) / 4 / 1e3)
    assert falling.timestep_longest.value == pytest.approx(0.040)
    assert falling.latency.value == pytest.approx(0.050)
    assert falling.throughput.value == pytest.approx(1e6 / 0.050)
    # 3 synops a token at 100 pJ, and 3 of markers.
    for mode, synops in (("pipelined", 3), ("fall-through", 6)):
        energy = modes[mode].energy[RAILS]
        assert energy.synaptic.value == energy.total.value == pytest.approx(synops * 100e-6)


def test_words_by_hand():
    # One synapse for each axon, and one word for it: as many words as synops.
    modes = small_profile(memory_word_time=10).modes
    assert modes["pipelined"].timestep.value == pytest.approx(0.020)
    assert modes["pipelined"].critical.resource == "memory words"
    assert modes["pipelined"].energy[RAILS].total.value == 0


def test_a_phase_works_on_the_token_before_by_hand():
    # Only the first neuron of the first group reaches the second, and all are on one core.
    edge = replace(SMALL.synapses[1], weights=frozen_weights(np.array([[1, 0]])))
    network = replace(SMALL, synapses=(SMALL.synapses[0], edge))
    cores = {group.name: np.zeros(group.size, dtype=np.int32) for group in SMALL.groups}
    tokens = np.array([[3, 0], [5, 7], [0, 7]])
    modes = profile_tokens(
        network, tokens, replace(SMALL_MAPPING, cores=cores),
        with_constants(NOTHING, synop_time=10), samples=20,
    ).modes  # fmt: skip
    # The tokens cost 1, 2 and 1 synops when they enter and 1, 1 and 0 a timestep later: 1, 3, 2.
    assert modes["pipelined"].timestep_longest.value == pytest.approx(0.030)
    assert modes["pipelined"].timestep.value == pytest.approx(0.020)


def test_updates_by_hand():
    modes = small_profile(update_time=5, instruction_time=2,
                          update_energy=7, instruction_energy=1).modes  # fmt: skip
    # Two neurons with two instructions each on the first core; the one on the second core also
    # saturates its sum, at both ends.
    assert modes["pipelined"].timestep.value == pytest.approx(2 * (5 + 2 * 2) / 1e3)
    energy = 2 * (7 + 2) + (7 + 4)
    assert modes["pipelined"].energy[RAILS].neuron.value == pytest.approx(energy / 1e6)
    # Falling through, a gate adds two instructions: 2 x (5 + 4 x 2) = 26 ns. The first core idles
    # in the second timestep, 2 x (5 + 2 x 2) = 18 ns, and the other works: 5 + 6 x 2 = 17 ns.
    falling = modes["fall-through"]
    assert falling.latency.value == pytest.approx((26 + 18) / 1e3)
    energy += 3 * 2 + 3 * (7 + 2)
    assert falling.energy[RAILS].neuron.value == pytest.approx(energy / 1e6)


def test_messages_by_hand():
    # 8 bytes at 1 GB/s are 8 ns. Both tokens bring 2 messages at most to a core in a timestep.
    constants = {"message_bits": 64, "link_bandwidth": 1.0}
    modes = small_profile(**constants, message_energy=1000, hop_energy=100).modes
    assert modes["pipelined"].timestep.value == pytest.approx(0.016)
    # Falling through, a marker for each of two cores comes with the token that enters.
    assert modes["fall-through"].latency.value == pytest.approx((8 + 16 + 16 + 24) / 2 / 1e3)
    # 3 arrive in the mean, of which 1.5 go over a link.
    energy = modes["pipelined"].energy[RAILS].communication.value
    assert energy == pytest.approx((3 * 1000 + 1.5 * 100) / 1e6)


def test_power_at_rest_by_hand():
    modes = small_profile(barrier_time=1000, static_power=0.25, core_power=0.01,
                          x86_power=1.5, other_power=0.1).modes  # fmt: skip
    for mode, steps in (("pipelined", 1), ("fall-through", 2)):
        energy, power = modes[mode].energy, modes[mode].power
        assert energy[RAILS].static.value == pytest.approx(steps * (0.25 + 0.02))
        assert energy[CHIP].static.value == pytest.approx(steps * (1.75 + 0.02))
        assert energy[WHOLE].static.value == pytest.approx(steps * (1.85 + 0.02))
        assert power[WHOLE].value == pytest.approx(1.87)
        assert modes[mode].idle_power[RAILS].value == pytest.approx(0.25)
        assert modes[mode].critical.resource == "barrier"


def test_two_chips_by_hand():
    # 8 bytes at 1 GB/s between chips; 1.5 messages a token cross, 2 at most in a timestep.
    constants = {"message_bits": 64, "chip_link_bandwidth": 1.0, "link_bandwidth": 1e9,
                 "crossing_energy": 1000, "static_power": 1.0, "x86_power": 0.5,
                 "other_power": 0.25}  # fmt: skip
    zero = {name: 0 for name in NAMES if not name.endswith(("bits", "bandwidth"))}
    system = with_constants(load_system("kapohopoint"), **zero | constants)
    cores = SMALL_MAPPING.cores | {"second": np.full(1, 128, dtype=np.int32)}
    mapping = replace(SMALL_MAPPING, system=system.name, cores=cores)
    result = profile_tokens(SMALL, TOKENS, mapping, system, samples=1)
    pipelined, falling = result.modes["pipelined"], result.modes["fall-through"]
    assert result.mapping.chips == 2
    assert pipelined.terms[0].name == "chip link"
    assert pipelined.timestep.value == pytest.approx((8 + 16) / 2 / 1e3)
    assert falling.latency.value == pytest.approx((8 + 16) / 2 / 1e3)
    assert pipelined.energy[RAILS].communication.value == pytest.approx(1.5 * 1000 / 1e6)
    assert pipelined.idle_power[RAILS].value == pytest.approx(2)
    assert pipelined.idle_power[CHIP].value == pytest.approx(3)
    assert pipelined.idle_power[WHOLE].value == pytest.approx(8 * 1.5 + 0.25)
    with_barrier = with_constants(system, barrier_time=1000, barrier_time_per_doubling=500)
    modes = profile_tokens(SMALL, TOKENS, mapping, with_barrier, samples=1).modes
    assert modes["pipelined"].timestep.value == pytest.approx(1.5)


def test_real_time_by_hand():
    system = with_constants(NOTHING, barrier_time=1000, static_power=0.25, core_power=0.01)
    modes = profile_tokens(SMALL, TOKENS, SMALL_MAPPING, system, samples=1, hop=50.0).modes
    falling = modes["fall-through"].real_time
    assert falling.duty_cycle.value == pytest.approx(2 / 50)
    assert falling.latency.value == pytest.approx(2)
    assert falling.energy[RAILS].value == pytest.approx(0.25 * 50 + 0.02 * 2)
    assert falling.power[RAILS].value == pytest.approx((0.25 * 50 + 0.02 * 2) / 50)
    assert falling.keeps_up == (True, True, True)
    # Pipelined, a token's next timestep begins when the next token comes.
    assert modes["pipelined"].real_time.latency.value == pytest.approx(100)
    late = profile_tokens(SMALL, TOKENS, SMALL_MAPPING, system, samples=1, hop=1.5).modes
    assert late["fall-through"].real_time.keeps_up == (False, False, False)
    assert late["fall-through"].real_time.duty_cycle.value == pytest.approx(2 / 1.5)
    # Tokens come faster than they are done: one takes as long as the chip is busy with it.
    assert late["fall-through"].real_time.energy[RAILS].value == pytest.approx((0.25 + 0.02) * 2)
    assert late["fall-through"].real_time.power[RAILS].value == pytest.approx(0.25 + 0.02)


def test_what_decides_is_named():
    slow_updates = small_profile(update_time=50, synop_time=1)
    critical = slow_updates.modes["pipelined"].critical
    assert (critical.resource, critical.place, critical.group) == (
        "neuron updates", "core 0", "first",
    )  # fmt: skip
    slow_synops = small_profile(synop_time=50).modes
    assert slow_synops["pipelined"].critical.resource == "synops"
    assert slow_synops["pipelined"].terms[0].decides == 1
    falling = small_profile(update_time=50).modes["fall-through"]
    assert falling.critical.resource == "neuron updates"


# --- the shipped denoiser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def denoiser():
    return compile_export(DENOISER)


def spread_out(network: Network, cores: int = 30) -> CoreMapping:
    """Neurons in their order, on so many cores."""
    sizes = [group.size for group in network.groups]
    numbers = np.arange(sum(sizes)) * cores // sum(sizes)
    pieces = np.split(numbers.astype(np.int32), np.cumsum(sizes)[:-1])
    cores_of = {group.name: piece for group, piece in zip(network.groups, pieces, strict=True)}
    return replace(SMALL_MAPPING, cores=cores_of)


@pytest.fixture(scope="module")
def mapped(denoiser):
    return replace(denoiser, mapping=spread_out(denoiser.network))


@pytest.fixture(scope="module")
def profiled(mapped):
    return profile(mapped, samples=300)


def test_rows_of_messages_add_up_to_what_mapping_counts(denoiser):
    network = denoiser.network
    recording = record(network, denoiser.vectors.tokens)
    for dense in (0, 1):
        chip = with_constants(BOARD, dense_rows=dense).chip
        work = workload(network, recording.rates, chip)
        loads = measure(work, spread_out(network).core_of(network))
        table = deliveries(work, loads.core_of)
        rates = work.arrays.rates[table.message]
        for amounts, counted in ((table.synapses, loads.synops), (table.words, loads.reads),
                                 (1, loads.arriving)):  # fmt: skip
            sums = np.bincount(table.core, rates * amounts, loads.cores)
            np.testing.assert_allclose(sums, loads.of_cores(counted))


def test_the_recording_counts_as_the_simulators_do(denoiser):
    tokens = denoiser.vectors.tokens
    recording = record(denoiser.network, tokens)
    counted = s5.simulate(denoiser, tokens, counting=True, raw=True).activity
    np.testing.assert_array_equal(recording.activity.messages, counted.messages)
    np.testing.assert_array_equal(recording.activity.synops, counted.synops)
    assert recording.origin == "measured on 2 x 100 recorded tokens"


def test_a_long_input_is_cut_and_it_says_so(denoiser):
    tokens = denoiser.vectors.tokens
    messages = record(denoiser.network, tokens[:1]).sent.shape[2]
    recording = record(denoiser.network, tokens, largest=2 * 7 * messages)
    assert recording.sent.shape[:2] == (7, 2)
    assert recording.origin.endswith("7 recorded tokens, the first of 100")


def test_constant_activity_gives_the_timestep_of_the_mapping(denoiser):
    """If every neuron sends at every token, every timestep is the mean one."""
    network = denoiser.network
    sizes = record(network, denoiser.vectors.tokens[:1]).sizes
    sent = {name: np.ones((5, 2, size), dtype=bool) for name, size in sizes.items()}
    recording = Recording("all", sizes, np.concatenate(list(sent.values()), axis=2),
                          count(network, sent))  # fmt: skip
    # Without a barrier, so that work decides; then with slow links, so that links decide.
    for constants in ({}, {"link_bandwidth": 0.01}):
        system = with_constants(BOARD, barrier_time=0, barrier_time_per_doubling=0, **constants)
        mapping = spread_out(network)
        result = profile_recording(network, recording, mapping, system, samples=1)
        work = workload(network, recording.rates, system.chip)
        evaluation = evaluate_mapping(work, mapping.core_of(network), system)
        timestep = result.modes["pipelined"].timestep
        expected = [evaluation.timestep(case) / 1e3 for case in CASES]
        assert [timestep.low, timestep.value, timestep.high] == pytest.approx(expected)
        assert result.modes["pipelined"].timestep_longest.value == pytest.approx(expected[1])


def test_nothing_is_lost_between_groups_cores_and_the_whole(profiled, denoiser):
    synops = record(denoiser.network, denoiser.vectors.tokens).activity.synops.sum(axis=2).mean()
    for name, mode in profiled.modes.items():
        split = mode.energy[RAILS]
        markers = 833 if name == "fall-through" else 0  # a synop for each neuron
        for case in ("low", "value", "high"):
            dynamic = sum(
                getattr(part, case) for part in (split.synaptic, split.neuron, split.communication)
            )
            for rows in (mode.groups, mode.cores):
                assert sum(getattr(row.energy, case) for row in rows) == pytest.approx(dynamic)
        for rows in (mode.groups, mode.cores):
            assert sum(row.synops.value for row in rows) == pytest.approx(synops + markers)
            assert sum(row.neurons for row in rows) == 833
        assert sum(term.decides for term in mode.terms) == pytest.approx(1)
        parts = (split.synaptic, split.neuron, split.communication, split.static)
        assert split.total.value == pytest.approx(sum(part.value for part in parts))
    assert profiled.activity.synops.value == pytest.approx(synops)


def test_modes_differ_as_they_must(profiled):
    pipelined, falling = profiled.modes["pipelined"], profiled.modes["fall-through"]
    latency = profiled.latency_timesteps
    # Fourteen timesteps a token instead of one, each at least a barrier.
    assert pipelined.throughput.value > 0.99 * latency * falling.throughput.value
    assert falling.energy[RAILS].static.value > 10 * pipelined.energy[RAILS].static.value
    more = falling.energy[RAILS].synaptic.value - pipelined.energy[RAILS].synaptic.value
    assert more == pytest.approx(833 * 10e-6)  # the markers' synops, 10 pJ each
    assert falling.energy[RAILS].neuron.value > pipelined.energy[RAILS].neuron.value
    assert falling.timestep.value <= pipelined.timestep.value
    for mode in profiled.modes.values():
        energy = [mode.energy[scope].total.value for scope in SCOPES]
        assert energy[0] < energy[1] <= energy[2]


def test_drawn_constants_lie_in_the_interval(profiled, mapped):
    for mode in profiled.modes.values():
        quantities = {
            "timestep": mode.timestep,
            "latency": mode.latency,
            "throughput": mode.throughput,
            **{f"energy, {scope}, total": mode.energy[scope].total for scope in SCOPES},
            **{f"power, {scope}": mode.power[scope] for scope in SCOPES},
        }
        assert quantities.keys() == mode.distribution.keys() == mode.influences.keys()
        for name, quantity in quantities.items():
            most = mode.distribution[name]
            assert quantity.low <= most.low < most.value < most.high <= quantity.high
            for one in mode.influences[name]:
                assert quantity.low <= one.effect.low < one.effect.high <= quantity.high
            shares = [one.share for one in mode.influences[name]]
            assert shares == sorted(shares, reverse=True)
            assert 0 < sum(shares) <= 1 + 1e-9
    again = profile(mapped, samples=300)
    other = profile(mapped, samples=300, seed=1)
    for mode, content in profiled.modes.items():
        assert again.modes[mode].distribution == content.distribution
        assert other.modes[mode].distribution != content.distribution
        assert other.modes[mode].timestep == content.timestep


def test_copies_fill_a_system_and_share_what_is_drawn_at_rest(mapped):
    network, system = mapped.network, load_system("oheogulch")
    recording = record(network, mapped.vectors.tokens[:20])
    evaluation = evaluate_recording(network, recording, mapped.mapping, system)
    table = deliveries(evaluation.work, evaluation.loads.core_of)
    demand = demands(recording, evaluation, table)[Mode.FALL_THROUGH]
    alone = estimate(demand, system, 0, 1)
    every = copied(demand, system)
    assert every.count == int(system.chip.usable_cores.value) // demand.cores > 1
    assert every.chips == 1
    assert every.throughput.value == pytest.approx(every.count * alone.quantity("throughput").value)
    one, shared = alone.quantity("energy, board, total"), every.energy["board"]
    assert one.value / every.count < shared.value < one.value
    assert copies_that_fit(130, 2, load_system("halapoint")) == (576, 1152)
    assert copies_that_fit(61, 1, load_system("halapoint")) == (1152, 1152)


def test_constants_are_drawn_within_their_range_around_their_value():
    constants = drawn(BOARD, 20_000, seed=3)
    for name in NAMES:
        low, value, high = sorted(ends(BOARD, name))
        assert (constants[name] >= low * (1 - 1e-12)).all()
        assert (constants[name] <= high * (1 + 1e-12)).all()
        if low < value < high:
            assert np.mean(constants[name] < value) == pytest.approx(0.5, abs=0.02)
        if 0 < low < value:  # a quarter of the range, in logarithms, has a sixteenth of that half
            quarter = low * (value / low) ** 0.25
            assert np.mean(constants[name] < quarter) == pytest.approx(0.5 / 16, abs=0.01)
    pairs = np.corrcoef(constants["synop_time"], constants["synop_energy"])
    assert abs(pairs[0, 1]) < 0.03


def test_few_timesteps_stand_for_all(mapped):
    recording = record(mapped.network, np.tile(mapped.vectors.tokens, (30, 1, 1)))
    work = workload(mapped.network, recording.rates, BOARD.chip)
    evaluation = evaluate_mapping(work, mapped.mapping.core_of(mapped.network), BOARD)
    table = deliveries(work, evaluation.loads.core_of)
    whole = demands(recording, evaluation, table)[Mode.PIPELINED]
    part = shortened(whole, DRAWN_TIMESTEPS)
    assert part.synops.shape == (1, DRAWN_TIMESTEPS)
    assert part.synops.mean() == pytest.approx(whole.synops.mean(), rel=0.01)


def test_a_changed_constant_changes_the_result_and_its_provenance(mapped, profiled):
    changed = with_constants(BOARD, synop_energy=(4, 11, 20))
    other = profile(mapped, system=changed, samples=10)
    before, after = (one.modes["pipelined"].energy[RAILS] for one in (profiled, other))
    assert after.synaptic.value == pytest.approx(before.synaptic.value * 1.1)
    assert after.neuron == replace(before.neuron, source=after.neuron.source)
    assert after.synaptic.source != before.synaptic.source
    assert "loihi2.yaml" in profiled.source
    assert "digest" in profiled.source
    assert profiled.source == profile(mapped, samples=1).source


def test_json_has_a_unit_scope_and_source_at_every_quantity(profiled):
    content = json.loads(json.dumps(as_dictionary(profiled), allow_nan=False))
    assert (content["schema"], content["schema_version"]) == ("s5_to_loihi profile", 1)
    quantities = []

    def walk(value):
        if isinstance(value, dict):
            if "value" in value:
                quantities.append(value)
            for entry in value.values():
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)

    walk(content)
    assert len(quantities) > 100
    for one in quantities:
        assert set(one) == {"value", "low", "high", "unit", "scope", "origin", "source"}
        assert one["low"] <= one["value"] <= one["high"]
        assert one["origin"] in ("measured", "modelled", "published")
        assert one["unit"]
        assert one["scope"]
        assert one["source"]
    pipelined = content["modes"]["pipelined"]
    assert set(pipelined["energy"]) == set(SCOPES)
    assert len(content["activity"]["series"]) == 100


def test_what_cannot_be_profiled_is_refused(denoiser, mapped):
    with pytest.raises(InputError, match="no recorded tokens"):
        s5.profile(replace(denoiser, vectors=None))
    unknown = replace(mapped.mapping, system="My board")
    with pytest.raises(InputError, match="'My board', which is not listed"):
        s5.profile(replace(mapped, mapping=unknown))
    groups = tuple(replace(group, phase=None) for group in SMALL.groups)
    with pytest.raises(NetworkError, match="has no phases"):
        profile_tokens(replace(SMALL, groups=groups), TOKENS, SMALL_MAPPING, BOARD)


# --- public measurements -------------------------------------------------------------------------

POINTS = {point.name: point for point in read_points()}


@pytest.mark.parametrize("name", POINTS)
def test_public_measurements_lie_in_the_predicted_range(name):
    point = POINTS[name]
    rows = check(point)
    assert rows
    for row in rows:
        assert row.inside, f"{row.figure}: {row.measured.value} not in {row.predicted}"
        if point.detail:
            assert row.close, f"{row.figure}: ratio {row.ratio:.2f}"
    assert point.detail or point.why


@pytest.mark.parametrize(
    ("constant", "figure", "one", "other"),
    [
        ("instruction_time", "timestep", "QP solver, 2 cores", "Izhikevich, 200 neurons"),
        ("synop_time", "timestep", "PilotNet, LIF, Oheo Gulch",
         "MatMul-free model, prefill, 24 chips"),
        ("static_power", "idle power, neurocore rails", "PilotNet, LIF, Oheo Gulch",
         "Q-learning, 34 cores"),
    ],
)  # fmt: skip
def test_a_constant_from_one_point_predicts_another(constant, figure, one, other):
    one, other = POINTS[one], POINTS[other]
    for source, target in ((one, other), (other, one)):
        value = solved(source, figure, constant)
        assert predicted_with(source, figure, constant, value) == pytest.approx(
            middle(source, figure)
        )
        low, _, high = ends(source.system, constant)
        assert low <= value <= high
        ratio = middle(target, figure) / predicted_with(target, figure, constant, value)
        assert 1 / 1.5 <= ratio <= 1.5


def test_a_constant_that_is_wrong_would_be_noticed():
    point = POINTS["PilotNet, LIF, Oheo Gulch"]
    system = with_constants(point.system, synop_time=(3.0, 3.5, 4.0))
    rows = [row for row in check(replace(point, system=system)) if row.figure == "timestep"]
    assert not any(row.inside or row.close for row in rows)


# --- measured beside predicted -------------------------------------------------------------------

RUN = MeasuredProfile(
    target="board",
    network="denoiser",
    bundle_digest="ab" * 32,
    mode="pipelined",
    tokens=200,
    timesteps=214,
    wall_seconds=1.0,
    environment={},
)


def compared(profiled, run, digest="ab" * 32):
    return {row.name: row for row in compare(profiled, run, digest, "run.json")}


def test_times_and_powers_stand_beside_the_prediction(profiled):
    mode = profiled.modes["pipelined"]
    run = replace(
        RUN,
        time=StepTimes(2 * mode.timestep.high, mode.timestep.value, 0.1, None, 214),
        power=Power(RAILS, 2 * mode.power[RAILS].value, 0.26, {"vdd": 0.2}, 214),
    )
    rows = compared(profiled, run)
    assert rows["timestep"].inside is False
    assert rows["timestep"].ratio == pytest.approx(2 * mode.timestep.high / mode.timestep.value)
    assert rows["timestep, spiking phase"].inside
    assert rows["timestep, spiking phase"].ratio == pytest.approx(1)
    assert rows["timestep, management"].predicted is None
    assert rows["power, neurocore rails"].ratio == pytest.approx(2)
    assert rows["power, neurocore rails, static"].inside
    assert rows["power, rail vdd"].predicted is None
    energy = rows["energy, neurocore rails"]
    assert energy.measured.value == pytest.approx(run.power.total * run.time.total * 214 / 200)
    assert energy.predicted == mode.energy[RAILS].total


def test_counters_stand_beside_the_counts(profiled):
    mode = profiled.modes["pipelined"]
    activity = tuple(
        CoreActivity(core.chip, core.core_on_chip, round(core.synops.value * 200),
                     core.neurons * 214, None, None)
        for core in mode.cores
    )  # fmt: skip
    rows = compared(profiled, replace(RUN, activity=activity))
    assert rows["updates, all cores"].ratio == 1
    assert rows["synops, all cores"].ratio == pytest.approx(1, rel=1e-3)
    assert rows["synops, busiest core"].ratio == pytest.approx(1, rel=1e-3)
    assert rows["updates, chip 0 core 0"].ratio == 1
    assert not any(name.startswith("messages") for name in rows)
    # Other cores in use: only the sums can be compared.
    rows = compared(profiled, replace(RUN, activity=activity[1:]))
    assert {name for name in rows if name.startswith("synops")} == {
        "synops, all cores", "synops, busiest core",
    }  # fmt: skip


def test_a_simulators_time_is_never_the_chips(profiled):
    run = replace(RUN, target="lava-cpu", time=StepTimes(900.0, None, None, None, 214))
    (row,) = compared(profiled, run).values()
    assert (row.predicted, row.ratio, row.inside, row.note) == (None, None, None, NOT_THE_CHIP)


def test_a_measurement_of_something_else_is_refused(profiled):
    with pytest.raises(InputError, match="measured on another bundle"):
        compared(profiled, RUN, "cd" * 32)
    with pytest.raises(InputError, match="has mode 'batch'"):
        compared(profiled, replace(RUN, mode="batch"))


# --- command line --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(mapped, tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "denoiser.bundle"
    bundle.write(mapped, path)
    return path


def test_the_command_prints_what_it_costs(written, call, tmp_path):
    run = replace(
        RUN,
        bundle_digest=bundle.digest(written),
        time=StepTimes(1.8, None, None, None, 214),
        power=Power("board", 1.9, None, {"vdd[/b]": 0.2}, 214),  # no markup
    )
    write_measured(run, tmp_path / "run.json")
    code, output, _ = call(
        "profile", written, "--measured", tmp_path / "run.json", "--hop", 4, "--details"
    )
    assert code == 0
    for words in ("30 of 120 cores", "the bundle's own, ", "loihi2.yaml", "not run on hardware",
                  "energy a token, neurocore rails", "decides ", "static, board",
                  "block1.gate", "a token every 4 ms", "Measured beside predicted",
                  "What a timestep waits for", "rail vdd[/b]"):  # fmt: skip
        assert words in output
    assert "…" not in output
    code, output, said = call("profile", written, "--measured", written / "manifest.json")
    assert code == 1
    assert "is no measured profile" in said


def test_the_command_prints_json(written, call, tmp_path, denoiser):
    np.save(tmp_path / "frames.npy", np.full((9, 257), 40_000))
    code, output, _ = call(
        "profile", written, "--input", tmp_path / "frames.npy", "--raw", "--json", "--seed", 4
    )
    content = json.loads(output)
    assert code == 0
    assert content["schema"] == "s5_to_loihi profile"
    assert (content["activity"]["tokens"], content["activity"]["sequences"]) == (9, 1)
    assert (content["seed"], content["saturated"], content["compared"]) == (4, 9 * 257, [])
    assert not content["mapping"]["made_here"]


def test_a_bundle_without_mapping_is_mapped_and_left_alone(call, tmp_path):
    path = tmp_path / "b"
    bundle.write(bundle.Bundle(SMALL, None), path)
    np.save(tmp_path / "tokens.npy", TOKENS)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    code, output, _ = call("profile", path, "--input", tmp_path / "tokens.npy", "--raw")
    assert code == 0
    assert "made here, not saved, balanced" in output
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_wrong_calls_end_with_a_message_and_a_code(written, denoiser, call, tmp_path):
    for arguments, expected in (
        (("--system", "loihi3"), "is not listed"),
        (("--hop", 0), "Invalid value"),
        (("--hop", "inf"), "hop: is inf µs"),
        (("--seed", 1 << 32), "Invalid value"),
        (("--input", tmp_path / "none.npy"), "does not exist"),
        (("--measured", tmp_path / "none.json"), "cannot be read"),
    ):
        code, _, said = call("profile", written, *arguments)
        assert code == 1
        assert expected in said
    bundle.write(dataclasses.replace(denoiser, vectors=None), tmp_path / "bare")
    code, _, said = call("profile", tmp_path / "bare")
    assert code == 1
    assert "Give an input (--input)" in said


def test_what_does_not_fit_ends_with_2(denoiser, call, tmp_path):
    source = load_system("oheogulch")
    for name in ("oheogulch", "loihi2"):
        text = (s5.loihi2.facts.DIRECTORY / f"{name}.yaml").read_text()
        text = text.replace("chip: loihi2", "chip: chip.yaml")
        if name == "loihi2":
            text = text.replace("total: {value: 20000", "total: {value: 40")
        (tmp_path / ("chip.yaml" if name == "loihi2" else "board.yaml")).write_text(text)
    assert load_system(str(tmp_path / "board.yaml")).chip.total.value < source.chip.total.value
    bundle.write(denoiser, tmp_path / "b")
    code, _, said = call("profile", tmp_path / "b", "--system", tmp_path / "board.yaml")
    assert code == 2
    assert "exceeds Total of an empty core" in said


def test_all_constants_have_a_range_that_holds_them():
    cases = interval(BOARD)
    for name, (cheap, _, dear, *_) in cases.items():
        assert (cheap >= dear) == (name.endswith("bandwidth") or cheap == dear)
    assert set(cases) == set(NAMES)
    for low, value, high, *mixed in cases.values():
        assert min(low, high) <= value <= max(low, high)
        assert sorted(mixed) == sorted((low, high))


def test_what_norms_cost():
    """Two timesteps and seven synapses a neuron; of a folded batch norm nothing."""
    found = {}
    for norm in ("batch", "layer", "rms"):
        case = FloatCase(norm=norm, blocks=2, width=6)
        network = quantized(case).network
        tokens, _ = to_integers(calibration(case), network.input_format)
        found[norm] = profile(bundle.Bundle(network, None), tokens=tokens, samples=10)
    assert norm_tables(tuple(found["batch"].modes.values())) == []
    for norm, synapses in (("layer", 7 * 6), ("rms", 5 * 6)):
        for mode in found[norm].modes.values():
            assert [row.norm for row in mode.norms] == ["block0.norm", "block1.norm"]
            assert {(row.neurons, row.synapses, row.timesteps) for row in mode.norms} == {
                (7, synapses, 2)
            }
            assert mode.norms[0].time.value == pytest.approx(2 * mode.timestep.value)
        added = found[norm].latency_timesteps - found["batch"].latency_timesteps
        assert added == sum(row.timesteps for row in mode.norms)
    (shown,) = norm_tables(tuple(found["layer"].modes.values()))
    assert len(shown.rows) == 3


# Latency over the number of cores


def test_a_profile_says_latency_over_the_number_of_cores(mapped):
    result = profile(replace(compile_export(DENOISER), mapping=None), samples=50)
    points = result.curve
    assert list(points) == sorted(points, key=lambda one: (one.cores, one.partition))
    (own,) = (one for one in points if one.partition == OWN)
    assert own.cores == result.mapping.cores
    latency = result.modes["fall-through"].latency
    assert own.latency.value == pytest.approx(latency.value, rel=0.05)  # on fewer tokens
    ours = [one for one in points if one.partition in (OWN, OURS)]
    assert ours[-1].cores == int(BOARD.chip.usable_cores.value)
    values = [one.latency.value for one in ours]
    assert values == sorted(values, reverse=True)
    (intel,) = (one for one in points if one.partition == A_GROUP_A_CORE)
    assert intel.cores == 14  # one for each group
    fewer = max((one for one in ours if one.cores <= intel.cores), key=lambda one: one.cores)
    assert intel.latency.value > fewer.latency.value
    assert all(one.latency.low < one.latency.value < one.latency.high for one in points)
    assert [one["cores"] for one in as_dictionary(result)["curve"]] == [one.cores for one in points]
    (shown,) = core_tables(result)
    assert len(shown.rows) == len(points)
    assert core_tables(replace(result, curve=())) == ()


def test_halving_keeps_limits_and_densities():
    network = compile_export(DENOISER).network
    work = workload(network, assumed_rates(network), BOARD.chip)
    dense = halved(work, BOARD, 200)
    held = np.bincount(dense.loads.core_of, np.diff(work.arrays.firsts[work.arrays.segments]))
    assert held[dense.loads.of_cores(dense.loads.neurons_of_part) > 1].max() <= 200
    assert dense.loads.fits(BOARD.chip)
    assert (np.bincount(dense.loads.core_of_part) == 1).all()  # one group on each
    with pytest.raises(CapacityError, match="halving takes"):
        halved(work, BOARD, 10)
