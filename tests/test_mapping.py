"""Mapping: nothing is lost, no limit is exceeded, the costs are what a plain recount says."""

import itertools
import json
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_networks import synthetic_rates, synthetic_s5

from s5_to_loihi import bundle
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.errors import BundleError, CapacityError, InputError
from s5_to_loihi.loihi2 import facts, rules
from s5_to_loihi.loihi2.bounds import fewest_cores, requirements, shortest_times
from s5_to_loihi.loihi2.evaluation import evaluate_mapping
from s5_to_loihi.loihi2.facts import LISTED, Chip, System, listed_systems, load_system
from s5_to_loihi.loihi2.kernels import row_words, weight_bits
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.memory import axon_memory_words, limits_of, rows_of
from s5_to_loihi.loihi2.partition import fewest, line_up, partition
from s5_to_loihi.loihi2.placement import grid_of, linear, router_of
from s5_to_loihi.loihi2.rates import Rates, assumed_rates, measured_rates
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.loihi2.timing import CASES, timing
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network.network import INPUT, frozen_weights

BOARD = load_system("oheogulch")
some = settings(max_examples=25, deadline=None)
#: Sizes of random networks; a network has 3 groups a block, an encoder and a decoder.
networks = st.builds(
    synthetic_s5,
    width=st.integers(2, 14),
    states=st.integers(1, 8),
    blocks=st.integers(1, 3),
    density=st.floats(0.1, 1.0),
    features=st.integers(1, 9),
    seed=st.integers(0, 1000),
)


def changed(system: System, **values) -> System:
    """The system with other numbers of its chip (or of itself)."""
    own = {name: value for name, value in values.items() if not hasattr(system.chip, name)}
    chip = replace(
        system.chip,
        **{
            name: replace(getattr(system.chip, name), value=value, low=value, high=value)
            for name, value in values.items()
            if name not in own
        },
    )
    return replace(
        system, chip=chip, **{k: replace(getattr(system, k), value=v) for k, v in own.items()}
    )


def small_cores(total: int) -> System:
    """A board whose cores hold so many words."""
    return changed(BOARD, total=total, neurons=total, synapses=total)


def without_barrier(system: System = BOARD) -> System:
    return changed(system, barrier_time=0, barrier_time_per_doubling=0)


def recount(network, rates: Rates, core_of: dict, chip: Chip):
    """Words, synops, reads and flows by core, counted one synapse at a time."""
    words = defaultdict(lambda: dict.fromkeys(Resource, 0))
    synops, reads, flows = defaultdict(float), defaultdict(float), defaultdict(float)
    destinations = defaultdict(int)
    for synapses in network.synapses:
        rows = defaultdict(list)
        matrix = synapses.weights.tocoo()
        for target, source, weight in zip(matrix.row, matrix.col, matrix.data, strict=True):
            core = core_of[synapses.target.group][target]
            rows[core, int(source)].append(int(weight))
        extremes = defaultdict(lambda: [0, 0])
        for (core, _), weights in rows.items():
            low, high = extremes[core]
            extremes[core] = [min(low, *weights), max(high, *weights)]
        for (core, source), weights in rows.items():
            held = int(np.sum(core_of[synapses.target.group] == core))
            row = row_words(len(weights), weight_bits(*extremes[core]), held, rows_of(chip))
            rate = rates.of[str(synapses.source)][source]
            words[core][Resource.AXON_IN] += 1
            words[core][Resource.SYNAPSES] += row
            synops[core] += rate * len(weights)
            reads[core] += rate * row
            destinations[str(synapses.source), source] += 1
            if synapses.source.group != INPUT:
                flows[core_of[synapses.source.group][source], core] += rate
    work = workload(network, rates, chip)
    for index, group in enumerate(network.groups):
        for core in set(core_of[group.name]):
            words[core][Resource.NEURON_GROUPS] += 1
        for neuron, core in enumerate(core_of[group.name]):
            words[core][Resource.NEURONS] += int(work.words_of_group[index])
            for message in group.kind.messages:
                name = f"{group.name}.{message}"
                count = destinations.get((name, neuron), 0)
                words[core][Resource.AXON_MAP] += count > 0 or name == str(network.output)
                words[core][Resource.AXON_MEMORY] += axon_memory_words(count, chip)
    for used in words.values():
        not_words = (Resource.NEURON_GROUPS, Resource.TOTAL)
        used[Resource.TOTAL] = sum(used[one] for one in Resource if one not in not_words)
    return words, synops, reads, flows


@some
@given(networks, st.integers(0, 2**31), st.integers(1, 6), st.booleans())
def test_costs_equal_a_plain_recount(network, seed, cores, dense):
    chip = changed(BOARD, dense_rows=int(dense)).chip
    rng = np.random.default_rng(seed)
    rates = synthetic_rates(network, seed)
    core_of = {group.name: rng.integers(0, cores, group.size) for group in network.groups}
    flat = np.concatenate(list(core_of.values()))
    loads = measure(workload(network, rates, chip), flat)
    words, synops, reads, flows = recount(network, rates, core_of, chip)
    numbers = np.unique(flat)
    expected = [[words[core][one] for one in Resource] for core in numbers]
    np.testing.assert_array_equal(loads.of_cores(loads.words), expected)
    for got, want in ((loads.synops, synops), (loads.reads, reads)):
        np.testing.assert_allclose(loads.of_cores(got), [want[core] for core in numbers])
    table = np.zeros((len(numbers), len(numbers)))
    np.add.at(table, (loads.flow_from, loads.flow_to), loads.flow)
    expected = [[flows[a, b] for b in numbers] for a in numbers]
    np.testing.assert_allclose(table, expected, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(networks, st.sampled_from(Objective), st.sampled_from([120, 160, 400, 20_000]))
def test_every_neuron_once_and_no_limit_exceeded(network, objective, total):
    system = small_cores(total)
    rates = synthetic_rates(network)
    try:
        mapping, evaluation = map_network(network, rates, system, objective, seed=3)
    except CapacityError:
        # Only a single neuron that needs more than a core, or more cores than the board has.
        work = workload(network, rates, system.chip)
        need = requirements(work)
        lines = line_up(need, 3)
        filling = fewest(need, lines, 3)
        assert filling.too_big is not None or filling.cores > system.cores
        return
    assert [(name, len(cores)) for name, cores in mapping.cores.items()] == [
        (group.name, group.size) for group in network.groups
    ]
    assert rules.findings(evaluation) == []
    assert (evaluation.words <= limits_of(system.chip)).all()
    # Synapses live with their target neuron: all of them are somewhere, once.
    fan_in = evaluation.loads.synops.sum()
    expected = sum(
        float(rates.of[str(synapses.source)][synapses.weights.indices].sum())
        for synapses in network.synapses
    )
    assert fan_in == pytest.approx(expected)
    again, _ = map_network(network, rates, system, objective, seed=3)
    for name, cores in mapping.cores.items():
        np.testing.assert_array_equal(again.cores[name], cores)
    assert again.timestep == mapping.timestep


@some
@given(networks, st.integers(1, 6))
def test_bounds_hold_for_every_partition(network, cores):
    work = workload(network, synthetic_rates(network, 1), BOARD.chip)
    need = requirements(work)
    core_of = np.random.default_rng(cores).integers(0, cores, work.neurons)
    loads = measure(work, core_of)
    assert (loads.words.sum(axis=0) >= need.words).all()
    for case in CASES:
        constants = timing(BOARD.chip, case)
        bounds = shortest_times(need, loads.cores, constants)
        for name, times in loads.core_times(constants).items():
            assert times.max() >= bounds[name] * (1 - 1e-9)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000))
def test_a_core_more_is_never_slower(seed):
    # Slow links, so that spreading further can cost more than it saves.
    system = changed(without_barrier(), link_bandwidth=0.3)
    network = synthetic_s5(16, 8, 1, 0.4, 10, seed)
    rates = synthetic_rates(network, seed)
    slowest = math.inf
    for cores in range(1, 9):
        _, evaluation = map_network(network, rates, system, Objective.LATENCY, cores)
        assert evaluation.loads.cores <= cores
        assert evaluation.timestep() <= slowest * (1 + 1e-12)
        slowest = evaluation.timestep()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_permuted_neurons_cost_the_same_but_for_noise(seed):
    network = synthetic_s5(48, 24, 2, 0.2, 40, seed)
    rates = synthetic_rates(network, seed)
    shuffled, shuffled_rates = permuted(network, rates, np.random.default_rng(seed))
    system = without_barrier()
    times = [
        map_network(one, its_rates, system, Objective.LATENCY, 24)[1].timestep()
        for one, its_rates in ((network, rates), (shuffled, shuffled_rates))
    ]
    # One neuron of a long program more or less on a core of about ten.
    assert max(times) <= 1.1 * min(times)


def permuted(network, rates, rng):
    """The same network with the neurons of each group in another order."""
    orders = {group.name: rng.permutation(group.size) for group in network.groups}
    orders[INPUT] = np.arange(network.input_size)

    def reordered(constants, order):
        values = [
            value[order]
            if isinstance(value, np.ndarray)
            else reordered(value, order)
            if hasattr(value, "_fields") and not hasattr(value, "bits")
            else value
            for value in constants
        ]
        return type(constants)(*values)

    groups = tuple(
        replace(group, constants=reordered(group.constants, orders[group.name]))
        for group in network.groups
    )
    synapses = tuple(
        replace(
            one,
            weights=frozen_weights(
                one.weights[orders[one.target.group]][:, orders[one.source.group]]
            ),
        )
        for one in network.synapses
    )
    of = {name: rate[orders[name.rpartition(".")[0]]] for name, rate in rates.of.items()}
    return replace(network, groups=groups, synapses=synapses), Rates(rates.origin, of)


@pytest.mark.parametrize(("seed", "cores"), [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2), (0, 3)])
def test_near_the_best_of_all_partitions(seed, cores):
    """Eight or nine neurons on two or three cores: every partition is tried."""
    system = without_barrier()
    network = synthetic_s5(2, 2, 1, 0.8, 2, seed)
    rates = synthetic_rates(network, seed)
    work = workload(network, rates, system.chip)
    need, constants = requirements(work), timing(system.chip)
    lines = line_up(need, 0)
    best = min(
        max(times.max() for times in measured.core_times(constants).values())
        for assigned in itertools.product((0,), *[range(cores)] * (work.neurons - 1))
        if len(set(assigned)) == cores
        for measured in [measure(work, np.array(assigned))]
    )
    bound = max(shortest_times(need, cores, constants).values())
    found = min(
        max(times.max() for times in loads.core_times(constants).values())
        for line in lines
        for loads in [partition(work, line, cores, bound)]
    )
    assert best >= bound * (1 - 1e-9)
    assert found <= 1.05 * best


@pytest.mark.parametrize("seed", range(4))
def test_as_few_cores_as_the_best_of_all_partitions(seed):
    system = small_cores(40)
    network = synthetic_s5(2, 2, 1, 0.8, 2, seed)
    rates = synthetic_rates(network, seed)
    work = workload(network, rates, system.chip)
    limits = limits_of(system.chip)
    best = next(
        cores
        for cores in range(1, 9)
        for assigned in itertools.product((0,), *[range(cores)] * (work.neurons - 1))
        for measured in [measure(work, np.array(assigned))]
        if (measured.of_cores(measured.words) <= limits).all()
    )
    _, evaluation = map_network(network, rates, system, Objective.CORES)
    assert 1 < best == evaluation.loads.cores
    assert fewest_cores(evaluation.need)[0] <= best


def walked(evaluation) -> dict:
    """Nanoseconds of every link resource, walked message by message."""
    system, loads, work = evaluation.system, evaluation.loads, evaluation.work
    chip, constants = system.chip, timing(system.chip)
    width, height = int(chip.router_columns.value), int(chip.router_rows.value)
    columns = width * int(system.chip_columns.value)
    routers = router_of(evaluation.physical, system)
    place = [divmod(int(router), columns) for router in routers]  # (y, x)
    chip_at = lambda y, x: (y // height, x // width)  # noqa: E731
    links = defaultdict(float)

    def walk(start, end, rate):
        (y, x), (y_end, x_end) = start, end
        while (y, x) != (y_end, x_end):
            before = (y, x)
            if x != x_end:
                x += 1 if x_end > x else -1
            else:
                y += 1 if y_end > y else -1
            crossing = chip_at(*before) != chip_at(y, x)
            ends = (chip_at(*before), chip_at(y, x)) if crossing else (before, (y, x))
            links[(crossing, *ends)] += rate * (
                constants.chip_message if crossing else constants.message
            )

    first = {core: int(np.flatnonzero(loads.core_of == core)[0]) for core in range(loads.cores)}
    sent_to_chip = set()
    network, rates = work.network, work.arrays.rates
    numbers = {}
    for name in map(str, network.sent):
        numbers[name] = sum(len(v) for v in numbers_of(network, name))
    core_of = {
        group.name: loads.core_of[work.first_neuron[i] : work.first_neuron[i + 1]]
        for i, group in enumerate(network.groups)
    }
    for synapses in network.synapses:
        if synapses.source.group == INPUT:
            continue
        matrix = synapses.weights.tocoo()
        targets = core_of[synapses.target.group][matrix.row]
        for source, target in sorted(set(zip(matrix.col.tolist(), targets.tolist(), strict=True))):
            sender = core_of[synapses.source.group][source]
            rate = rates[numbers[str(synapses.source)] + source]
            start, end = place[sender], place[target]
            if chip_at(*start) == chip_at(*end):
                walk(start, end, rate)
                continue
            (from_y, from_x), (to_y, to_x) = chip_at(*start), chip_at(*end)
            lane = first[sender] % max(width, height)
            if from_y == to_y:
                way = (lane % height, 0 if from_x < to_x else width - 1)
            else:
                way = (0 if from_y < to_y else height - 1, lane % width)
            entry = (to_y * height + way[0], to_x * width + way[1])
            if (str(synapses.source), source, to_y, to_x) not in sent_to_chip:
                sent_to_chip.add((str(synapses.source), source, to_y, to_x))
                walk(start, entry, rate)
            walk(entry, end, rate)
    return links


def numbers_of(network, name):
    """The messages before one, in the order of their numbers."""
    for other in map(str, network.sent):
        if other == name:
            return
        source = next(s.source for s in network.synapses if str(s.source) == other)
        yield range(network.message_size(source))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 6]))
def test_link_loads_equal_a_walk_of_every_message(seed, chips):
    system = changed(load_system("kapohopoint"), chips=6, chip_columns=3, chip_rows=2)
    network = synthetic_s5(12, 6, 1, 0.4, 10, seed)
    rates = synthetic_rates(network, seed)
    work = workload(network, rates, system.chip)
    rng = np.random.default_rng(seed)
    cores = linear(chips * 120, system)[rng.integers(0, chips * 120, 30)]
    evaluation = evaluate_mapping(work, rng.choice(cores, work.neurons), system)
    links = evaluation.links(timing(system.chip))
    expected = sorted(load for load in walked(evaluation).values() if load > 1e-9)
    np.testing.assert_allclose(sorted(links[links > 1e-9]), expected, rtol=1e-5)
    heaviest = evaluation.heaviest_links(3)
    assert [link.nanoseconds for link in heaviest] == pytest.approx(expected[::-1][:3], rel=1e-5)
    assert len(grid_of(system, timing(system.chip)).resource) == 4 * 24 * 8


def test_weights_by_activity_are_better_than_without():
    """Half of the sources never send: whoever does not know it balances the wrong thing."""
    system = changed(without_barrier(), synop_time=20.0)
    network = synthetic_s5(64, 32, 1, 0.3, 40, 5)
    rates = synthetic_rates(network, 5, shape=0.05)
    work = workload(network, rates, system.chip)
    times = {}
    for known in (True, False):
        mapping, _ = map_network(
            network, rates if known else assumed_rates(network), system, Objective.LATENCY, 16
        )
        times[known] = evaluate_mapping(work, mapping.core_of(network), system).timestep()
    assert times[True] < 0.95 * times[False]


def test_balanced_takes_fewer_cores_for_a_little_time():
    system = changed(BOARD, barrier_time=100)
    network = synthetic_s5(16, 8, 1, 0.3, 12, 1)
    rates = synthetic_rates(network)
    results = {one: map_network(network, rates, system, one)[1] for one in Objective}
    cores = {objective: result.loads.cores for objective, result in results.items()}
    times = {objective: result.timestep() for objective, result in results.items()}
    assert cores[Objective.CORES] < cores[Objective.BALANCED] < cores[Objective.LATENCY]
    assert times[Objective.BALANCED] <= 1.1 * times[Objective.LATENCY]


# --- limits --------------------------------------------------------------------------------------


def test_rules_name_group_core_resource_and_what_would_help():
    system = small_cores(400)
    network = synthetic_s5(24, 12, 3, 0.4, 20)
    work = workload(network, assumed_rates(network), system.chip)
    evaluation = evaluate_mapping(work, np.full(work.neurons, 7), system)
    found = {finding.resource: finding for finding in rules.findings(evaluation)}
    assert {"NeuronGr", "Synapses", "Total"} <= set(found)
    assert found["NeuronGr"].got == 11
    assert "on core 7: NeuronGr is 11 (limit 8). Split over 2 cores." in str(found["NeuronGr"])
    assert "prune to" in found["Total"].knob
    assert "weights of fewer bits" in found["Synapses"].knob
    with pytest.raises(CapacityError, match="limits are exceeded") as caught:
        rules.require(evaluation)
    assert caught.value.exit_code == 2
    outside = evaluate_mapping(work, np.full(work.neurons, 125), system)
    assert "core number" in {finding.resource for finding in rules.findings(outside)}


def test_a_network_that_does_not_fit_says_why_and_what_would_help():
    network = synthetic_s5(512, 256, 4, 0.5, 257)
    with pytest.raises(CapacityError) as caught:
        map_network(network, assumed_rates(network), changed(BOARD, usable_cores=20))
    message = str(caught.value)
    assert "cores, 20 are there" in message
    assert "The limits that closed cores" in message
    assert "It needs Oheo Gulch" in message
    assert "prune to" in message
    assert "use 4-bit weights for block" in message


def test_a_neuron_that_fits_no_core_is_named():
    network = synthetic_s5(64, 32, 1, 1.0, 64)
    said = r"\w+, neuron \d+: has 6\d synapses and exceeds Synapses .* Prune it to 9\d %"
    with pytest.raises(CapacityError, match=said):
        map_network(network, assumed_rates(network), small_cores(60))


def test_the_smallest_listed_system_is_found():
    assert [system.cores for system in listed_systems()] == [120, 960, 1920, 3840, 138_240]
    network = synthetic_s5(1024, 512, 9, 0.25, 257)
    mapping, evaluation = map_network(network, assumed_rates(network), objective=Objective.CORES)
    assert mapping.system == "Kapoho Point"
    assert 120 < evaluation.loads.cores <= 960
    assert evaluation.chips == math.ceil(evaluation.loads.cores / 120)
    assert rules.findings(evaluation) == []


# --- facts ---------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """Write a system and a chip of one's own; yields a function that changes them."""
    system = yaml.safe_load((facts.DIRECTORY / "kapohopoint.yaml").read_text())
    chip = yaml.safe_load((facts.DIRECTORY / "loihi2.yaml").read_text())

    def write(change_system=lambda content: None, change_chip=lambda content: None) -> str:
        contents = {"mine.yaml": system | {"chip": "chip.yaml"}, "chip.yaml": chip}
        contents = json.loads(json.dumps(contents))
        change_system(contents["mine.yaml"])
        change_chip(contents["chip.yaml"])
        for name, content in contents.items():
            (tmp_path / name).write_text(yaml.safe_dump(content))
        return str(tmp_path / "mine.yaml")

    return write


def test_a_system_of_ones_own(own):
    def fewer(content):
        content["usable_cores"]["value"] = 100

    assert load_system(own(change_chip=fewer)).cores == 800


@pytest.mark.parametrize("cores", [120, 128, 152])
def test_chips_with_as_many_cores_as_are_published(own, cores):
    """120 and 128 of the grid of 8 x 4 routers; how 152 are wired is not published."""

    def change(chip):
        chip["usable_cores"]["value"] = cores
        if cores > 128:
            chip["cores"]["value"] = cores
            chip["router_columns"]["value"], chip["router_rows"]["value"] = 19, 2

    system = load_system(own(change_chip=change))
    assert system.cores == 8 * cores
    network = synthetic_s5(16, 8, 1, 0.5, features=12)
    mapping, evaluation = map_network(network, assumed_rates(network), system, cores=4)
    assert mapping.cores_per_chip == max(128, cores)
    assert evaluation.chips == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda chip: chip.pop("total"), "total is missing"),
        (lambda chip: chip.update(colour=1), "colour is not a fact of a chip"),
        (lambda chip: chip["total"].pop("source"), "has no source"),
        (lambda chip: chip["total"].update(source=" "), "has no source"),
        (lambda chip: chip["total"].update(unit="bits"), "is in bits. Give it in words"),
        (lambda chip: chip["total"].update(value=2.5), "value is 2.5"),
        (lambda chip: chip["total"].update(value=0), "Give a positive"),
        (lambda chip: chip["total"].update(value=True), "value is True"),
        (lambda chip: chip["total"].update(value="many"), "value is 'many'"),
        (lambda chip: chip["total"].update(low=30000), "is not within 30000"),
        (lambda chip: chip["total"].update(confidence="sure"), "has confidence 'sure'"),
        (lambda chip: chip["total"].update(maximum=3), "unknown part 'maximum'"),
        (lambda chip: chip.update(total=20000), "is not a fact"),
        (lambda chip: chip.update(name=3), "has no name"),
        (lambda chip: chip["cores"].update(value=127), "do not make 127 cores"),
        (lambda chip: chip["usable_cores"].update(value=129), "more cores are usable"),
    ],
)
def test_wrong_facts_are_refused_by_name(own, change, said):
    with pytest.raises(InputError) as caught:
        load_system(own(change_chip=change))
    assert said in str(caught.value)


def test_wrong_systems_are_refused(own, tmp_path):
    for key, said in (("loihi3", "Use one of oheogulch"), ("none.yaml", "cannot be read")):
        with pytest.raises(InputError, match=said):
            load_system(key)
    with pytest.raises(InputError, match="do not fit a grid"):
        load_system(own(lambda content: content["chips"].update(value=9)))
    with pytest.raises(InputError, match="which chip"):
        load_system(own(lambda content: content.pop("chip")))
    for text, said in (("{a: [", "is not YAML"), ("- 1", "does not hold facts")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match=said):
            load_system(str(tmp_path / "bad.yaml"))


def test_every_listed_fact_has_unit_source_and_confidence():
    assert tuple(system.key for system in listed_systems()) == LISTED
    for system in listed_systems():
        for name, unit in facts.UNITS.items():
            fact = getattr(system.chip, name, None) or getattr(system, name)
            assert fact.unit == unit
            assert fact.source
            assert fact.low <= fact.value <= fact.high


# --- bundle and command line ---------------------------------------------------------------------


def test_rates_are_counted_on_the_recorded_tokens(compiled):
    opened = bundle.read(compiled)
    tokens = opened.vectors.tokens
    rates = measured_rates(opened.network, tokens)
    assert "2 x 100 recorded tokens" in rates.origin
    np.testing.assert_allclose(rates.of["input.token"], (tokens != 0).mean(axis=(0, 1)))
    assert set(rates.of) == set(map(str, opened.network.sent))


def test_the_mapping_is_part_of_the_bundle(compiled, call, tmp_path):
    before = bundle.read(compiled)
    assert before.mapping is None
    path = tmp_path / "mapped.bundle"
    bundle.write(before, path)
    code, output, _ = call(
        "map", path, "--cores", "20", "--picture", tmp_path / "cores.svg", "--details"
    )
    assert code == 0
    for words in ("AxonIn NeuronGr Neurons Synapses AxonMap AxonMem", "slowest     core", "Oheo"):
        assert words in output
    assert "measured on 2 x 100 recorded tokens" in output
    assert "<svg" in (tmp_path / "cores.svg").read_text()
    mapped = bundle.read(path).mapping
    assert mapped.system == "Oheo Gulch"
    assert sum(map(len, mapped.cores.values())) == 833
    first = {file.name: file.read_bytes() for file in path.iterdir()}
    assert call("map", path, "--cores", "20")[0] == 0
    assert {file.name: file.read_bytes() for file in path.iterdir()} == first

    work = workload(before.network, measured_rates(before.network, before.vectors.tokens),
                    BOARD.chip)  # fmt: skip
    evaluation = evaluate_mapping(work, mapped.core_of(before.network), BOARD)
    assert evaluation.timesteps == mapped.timestep
    assert evaluation.loads.cores <= 20

    cores = path / bundle.MAPPING
    content = bytearray(cores.read_bytes())
    content[-1] ^= 1
    cores.write_bytes(content)
    with pytest.raises(BundleError, match="is not what was written"):
        bundle.read(path)
    cores.unlink()
    with pytest.raises(BundleError, match="is missing"):
        bundle.read(path)


def test_a_mapping_of_another_network_is_refused(compiled, tmp_path):
    opened = bundle.read(compiled)
    rates = assumed_rates(opened.network)
    mapping, _ = map_network(opened.network, rates, BOARD, Objective.CORES)
    for cores in (
        {name: array for name, array in mapping.cores.items() if name != "decoder"},
        mapping.cores | {"decoder": mapping.cores["decoder"][1:]},
        mapping.cores | {"decoder": -mapping.cores["decoder"] - 1},
    ):
        bundle.write(replace(opened, mapping=replace(mapping, cores=cores)), tmp_path / "b")
        with pytest.raises(BundleError, match="mapping, decoder"):
            bundle.read(tmp_path / "b")


def test_json_holds_the_table_the_bounds_and_the_placement(compiled, call, tmp_path):
    path = tmp_path / "b"
    bundle.write(bundle.read(compiled), path)
    options = ("--system", "kapohopoint", "--objective", "cores", "--assume-rate", 0.5)
    code, output, _ = call("map", path, *options, "--json")
    assert code == 0
    content = json.loads(output)
    assert content["cores"] == {"used": 2, "bound": 2, "bound_by": "NeuronGr"}
    assert content["rates"] == "assumed, 0.5 messages a neuron and timestep"
    assert content["system"] == "Kapoho Point"
    assert len(content["groups"]) == 14
    terms = content["timestep"]["value"]
    assert terms["timestep"] == max(value for name, value in terms.items() if name != "timestep")
    assert content["bound"]["timestep"] <= terms["timestep"]
    assert len(content["placement"]["encoder"]) == 48


def test_wrong_calls_end_with_a_message_and_a_code(compiled, call, tmp_path, own):
    before = {file.name: file.read_bytes() for file in compiled.iterdir()}
    code, _, said = call("map", compiled, "--cores", 1)
    assert code == 2
    assert "needs 2 cores, 1 are there" in said
    assert "NeuronGr 1" in said

    def tiny(content):
        content["total"]["value"] = content["total"]["low"] = content["total"]["high"] = 40

    assert call("map", compiled, "--system", own(change_chip=tiny))[0] == 2
    for arguments, expected in (
        (("--system", "loihi3"), "is not listed"),
        (("--picture", tmp_path / "cores.gif"), ".png, .svg"),
        (("--objective", "speed"), "Invalid value"),
        (("--assume-rate", 2), "Invalid value"),
    ):
        code, _, said = call("map", compiled, *arguments)
        assert code == 1
        assert expected in said
    assert call("map", tmp_path / "nothing")[0] == 1
    assert {file.name: file.read_bytes() for file in compiled.iterdir()} == before
