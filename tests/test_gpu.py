"""The GPU simulator computes the interpreter's integers: on a GPU if there is one.

Everywhere its kernels are called in a loop on this processor, from the same text.
"""

import functools
import itertools
import json
import subprocess
import sys

import every_kind
import fast_networks
import host_lanes
import netx_files
import netx_networks
import numpy as np
import pytest
import random_networks
from fast_networks import RICH
from float_models import FloatCase, quantized
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import needs_h5py
from numpy.testing import assert_array_equal
from programs_to_try import corners, groups_of_all_kinds

from s5_to_loihi import Bundle, simulate, simulation
from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.tracing import parameters
from s5_to_loihi.simulators import activity, gpu, gpu_kernels, object_code
from s5_to_loihi.simulators.devices import Cuda, Launch
from s5_to_loihi.simulators.fast import FastSimulator, Run
from s5_to_loihi.simulators.fast_programs import Places
from s5_to_loihi.simulators.gpu import GpuSimulator
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.simulators.lanes import for_a_gpu

BATCH, TOKENS = 3, 37


@functools.cache
def cuda() -> Cuda | str:
    """The GPU, or why there is none."""
    try:
        return Cuda()
    except InputError as error:
        return str(error)


@pytest.fixture(params=["this processor", *([] if isinstance(cuda(), str) else ["cuda"])])
def device(request):
    return cuda() if request.param == "cuda" else host_lanes.Host()


def test_a_gpu_was_there():
    if isinstance(cuda(), str):
        pytest.skip(cuda())


def tokens_for(network: Network, seed: int = 1, count: int = TOKENS, batch: int = BATCH):
    tokens = random_networks.random_tokens(seed, count, batch, network.input_size)
    return tokens.astype(np.int32)


def assert_same(got: Run, wanted: Run) -> None:
    assert got.outputs.dtype == got.state.dtype == np.int32
    assert_array_equal(got.outputs, wanted.outputs)
    assert_array_equal(got.state, wanted.state)
    assert set(got.messages) == set(wanted.messages)
    for name, array in wanted.messages.items():
        assert_array_equal(got.messages[name], array, err_msg=name)
    if wanted.activity is not None:
        assert got.activity.groups == wanted.activity.groups
        assert_array_equal(got.activity.messages, wanted.activity.messages)
        assert_array_equal(got.activity.synops, wanted.activity.synops)
        assert_array_equal(got.activity.updates, wanted.activity.updates)


def assert_the_interpreters(network: Network, tokens: np.ndarray, device) -> None:
    """In every message and output; its counts; and the fast simulator's state."""
    expected = Interpreter(network).evaluate(tokens, keep=None)
    run = GpuSimulator(network, device).run(tokens, counting=True, record=True)
    assert_array_equal(run.outputs, expected.outputs)
    sent = expected.values | {"input.token": tokens}
    assert run.messages
    for name, array in run.messages.items():
        assert_array_equal(array, sent[name], err_msg=name)
    counts = activity.count(network, run.messages)
    assert_array_equal(run.activity.messages, counts.messages)
    assert_array_equal(run.activity.synops, counts.synops)
    assert_array_equal(run.state, FastSimulator(network).run(tokens).state)


# Networks


@pytest.mark.parametrize("name", every_kind.EVERY)
def test_networks_of_every_kind(name, device):
    network = every_kind.network_of(name)
    assert_the_interpreters(network, tokens_for(network), device)


@needs_h5py
@pytest.mark.parametrize("name", netx_files.CASES)
def test_networks_of_netx(name, device):
    """Sums that wait, products that wrap, groups that send to themselves, among others."""
    network = netx_networks.network(name)
    tokens = np.concatenate([netx_networks.tokens(name)] * 3)[:70]
    tokens = np.concatenate([tokens, tokens[::-1], tokens], axis=1)
    assert_the_interpreters(network, tokens, device)


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(seed, device):
    rng = np.random.default_rng(seed)
    case = random_networks.Case(
        glu=("half1", "half2", "full", "none")[seed], conjugate_symmetric=bool(seed % 2),
        norm=("plain", "scale", "bias", "scale_bias")[seed], blocks=2, seed=100 + seed,
        features_in=int(rng.integers(1, 30)), width=int(rng.integers(1, 300)),
        states=int(rng.integers(1, 90)), features_out=int(rng.integers(1, 30)), density=0.2,
    )  # fmt: skip
    network = random_networks.sample(case).network
    assert_the_interpreters(network, tokens_for(network, seed, 9, 40), device)


def test_networks_of_our_quantizer(device):
    network = quantized(FloatCase(blocks=3, width=70, seed=5)).network
    assert_the_interpreters(network, tokens_for(network, 2, 50, 70), device)


# Neurons


def places_of(group, program) -> tuple[Places, dict[str, str]]:
    """Places of a group's kernel, and what is in each."""
    stores = {name: name for name in group.kind.state}
    stores |= {name: f"to_{name}" for name in group.kind.messages}
    arrays = {name: "state" for name in group.kind.state}
    arrays |= {f"to_{name}": "messages" for name in group.kind.messages}
    loads, sources = {}, {}
    for index in sorted(program.needed(stores)):
        step = program.steps[index]
        if step.operation == "register":
            loads[index] = step.name
        elif step.operation in ("accumulator", "parameter"):
            loads[index] = f"from_{step.name}".replace(".", "_")
            sources[loads[index]] = step.name
            arrays[loads[index]] = "address" if step.operation == "parameter" else "accumulators"
    return Places(loads, stores, arrays), sources


@pytest.mark.parametrize("kind", KINDS)
def test_neurons_at_the_ends_of_what_can_arrive(kind, device):
    """Each column starts from its own sums and registers."""
    tried = [(group, program) for _, group, program in groups_of_all_kinds()[kind]]
    for group, program in tried[:: max(1, len(tried) // 3)]:
        intervals = {
            step.name: (step.lowest, step.highest)
            for step in program.steps
            if step.operation == "accumulator"
        } | {name: limits(group.formats[name].bits) for name in group.kind.state}
        if not intervals:
            continue
        combinations = itertools.islice(itertools.cycle(corners(intervals)), 300 * group.size)
        table = np.array(list(combinations)).reshape(300, group.size, len(intervals))
        values = {name: table[..., number] for number, name in enumerate(intervals)}
        for name, got in updated(group, program, values, device).items():
            wanted = wanted_of(group, values)[name]
            assert_array_equal(got, wanted, err_msg=f"{group.name} {name}")


def wanted_of(group, values):
    kind, shape = group.kind, next(iter(values.values())).shape
    absent = np.zeros(shape, dtype=np.int64)
    ports = tuple(values.get(name, absent) for name in kind.ports)
    registers = tuple(values[name] for name in kind.state)
    results = sum(kind.update(ports, registers, group.constants), ())
    names = (*kind.state, *kind.messages, *kind.probes)
    return {name: np.broadcast_to(one, shape) for name, one in zip(names, results, strict=True)}


def updated(group, program, values, device) -> dict[str, np.ndarray]:
    """What a kernel makes of values (columns, neurons), one token each."""
    places, sources = places_of(group, program)
    made = gpu_kernels.lanes(program, places, group.kind.state)
    columns = len(next(iter(values.values())))
    given = {"stride": columns, "columns": columns, "count": 1}
    constants, arrays, memory = parameters(group), {}, []
    for name, array in places.arrays.items():
        if array == "address":
            content = constants[sources[name]]
        else:
            found = values.get(sources.get(name, name))
            content = np.zeros((columns, group.size)) if found is None else found
        arrays[name] = np.ascontiguousarray(content.T, dtype=np.int32)
    arrays |= {
        f"table{number}": np.array(table, dtype=np.int32)
        for number, table in enumerate(made.tables)
    }
    for name, array in arrays.items():
        memory.append(device.memory(array.nbytes))
        given[name] = memory[-1].address
        device.upload(given[name], array)
    given |= {f"constant{number}": one for number, one in enumerate(made.constants)}
    launch = Launch("", made.kernel, group.size, columns, made.kernel.ordered(given))
    device.prepared([launch])()
    for name in places.stores.values():
        device.download(arrays[name], given[name])
    device.mark().synchronize()
    return {result: arrays[name].T for result, name in places.stores.items()}


# Portions


@pytest.mark.parametrize("columns", [1, 7, 64, 300])
@pytest.mark.parametrize("name", [RICH, "denoiser_small"])
def test_any_block(name, columns, device, monkeypatch):
    monkeypatch.setattr(gpu, "COLUMNS", columns)
    network = every_kind.network_of(name)
    tokens = tokens_for(network)
    wanted = FastSimulator(network).run(tokens, counting=True, record=True)
    assert_same(GpuSimulator(network, device).run(tokens, counting=True, record=True), wanted)


@pytest.mark.parametrize("free", [1, 300_000, 500_000, 1_000_000])
def test_sequences_take_turns_where_memory_is_short(free):
    """At least 256 columns are taken, beside the network's own constants."""
    network = fast_networks.network(RICH)
    tokens = tokens_for(network, count=2, batch=700 if free > 1 else 7)
    wanted = FastSimulator(network).run(tokens, counting=True)
    device = host_lanes.Host(free)
    simulator = GpuSimulator(network, device)
    least = 300 * sum(simulator.planner.sizes(True, False).values()) + device.taken
    assert_same(simulator.run(tokens, counting=True), wanted)
    assert device.taken <= max(free, least)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, TOKENS), max_size=3), st.lists(st.booleans(), min_size=4))
def test_chunks_with_carried_state_on_either_simulator(lengths, on_gpu):
    network = fast_networks.network(RICH)
    tokens = tokens_for(network)
    fast, other = FastSimulator(network), GpuSimulator(network, host_lanes.Host())
    wanted = fast.run(tokens)
    cuts = [cut for cut in itertools.accumulate(lengths) if cut < TOKENS]
    state, outputs = None, []
    for chunk, there in zip(np.split(tokens, cuts), on_gpu, strict=False):
        run = (other if there else fast).run(chunk, state)
        state = run.state
        outputs.append(run.outputs)
    assert_array_equal(np.concatenate(outputs), wanted.outputs)
    assert_array_equal(state, wanted.state)


def test_a_run_begins_anew(device):
    network = fast_networks.network(RICH)
    simulator, tokens = GpuSimulator(network, device), tokens_for(network)
    first = simulator.run(tokens)
    assert first.state.any()
    assert first.activity is None
    assert first.messages == {}
    assert_same(simulator.run(tokens, threads=2), first)


def test_what_is_given_stays_as_it_is(device):
    network = fast_networks.network(RICH)
    simulator, tokens = GpuSimulator(network, device), tokens_for(network)
    state = simulator.run(tokens).state
    before, given_tokens = state.copy(), tokens.copy()
    simulator.run(tokens, state)
    assert_array_equal(state, before)
    assert_array_equal(tokens, given_tokens)


@pytest.mark.parametrize("kind", ["int64", ">i4", "int16", "every second", "one sequence"])
def test_tokens_however_they_are_stored(kind, device):
    network = fast_networks.network(RICH)
    tokens = tokens_for(network)
    stored = np.repeat(tokens, 2, axis=1)[:, ::2] if kind == "every second" else tokens
    if kind == "one sequence":
        stored = tokens = tokens[:, 0]
    elif kind != "every second":
        stored = tokens.astype(kind)
    wanted = FastSimulator(network).run(tokens)
    assert_same(GpuSimulator(network, device).run(stored), wanted)


# What is refused, as the fast simulator refuses it


def test_what_does_not_suit_is_refused(device):
    network = fast_networks.network(RICH)
    fast, other = FastSimulator(network), GpuSimulator(network, device)
    tokens = tokens_for(network)
    outside = [tokens.astype(np.int64), tokens.astype(np.int64)]
    outside[0][-1, -1, -1] = 2**15
    outside[1][0, 1, 0] = -(2**40)
    for wrong, state in (
        *((one, None) for one in outside),
        (tokens.astype(np.float32), None),
        (tokens[:0], None),
        (tokens[:, :, 1:], None),
        (tokens, np.zeros((BATCH, 1), dtype=np.int32)),
    ):
        with pytest.raises(InputError) as wanted:
            fast.run(wrong, state)
        with pytest.raises(InputError) as got:
            other.run(wrong, state)
        assert str(got.value) == str(wanted.value)
    assert_same(other.run(tokens), fast.run(tokens))


# From outside


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(gpu, "Cuda", host_lanes.Host)


@pytest.mark.usefixtures("stand_in")
def test_simulate_on_either_device():
    """Sequences of unequal lengths, too."""
    network = fast_networks.network("denoiser_small")
    bundle, tokens = Bundle(network, None), tokens_for(network)
    lengths = np.array([TOKENS, 5, 12])
    cpu, cuda = (
        simulate(bundle, tokens, raw=True, lengths=lengths, counting=True, device=device)
        for device in ("cpu", "cuda")
    )
    assert_array_equal(cuda.outputs, cpu.outputs)
    assert not cuda.outputs[5:, 1].any()
    assert_array_equal(cuda.activity.synops, cpu.activity.synops)


@pytest.mark.usefixtures("stand_in")
def test_run_on_either_device(call, compiled, tmp_path, monkeypatch):
    """In chunks that a file is read in."""
    monkeypatch.setattr(simulation, "CHUNK_TOKENS", 2)
    tokens = tokens_for(fast_networks.network("denoiser_small"))
    np.save(tmp_path / "tokens.npy", tokens)
    told = {}
    for device in ("cpu", "cuda"):
        target = tmp_path / f"{device}.npy"
        given = ("run", compiled, tmp_path / "tokens.npy", "-o", target, "--raw", "--json")
        code, output, _ = call(*given, "--device", device)
        told[device] = json.loads(output)["activity_per_token"]
        assert code == 0
    assert told["cuda"] == told["cpu"]
    assert_array_equal(np.load(tmp_path / "cuda.npy"), np.load(tmp_path / "cpu.npy"))


def test_without_cupy_it_says_what_to_install(call, compiled, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    np.save(tmp_path / "in.npy", tokens_for(fast_networks.network("denoiser_small")))
    given = ("run", compiled, tmp_path / "in.npy", "-o", tmp_path / "out.npy", "--raw")
    code, _, error = call(*given, "--device", "cuda")
    said = " ".join(error.split())
    assert code == 1
    assert "device cuda: needs CuPy" in said
    assert "pip install 's5_to_loihi[cuda13]'" in said
    assert not (tmp_path / "out.npy").exists()


def test_cupy_is_imported_by_nobody_else():
    code = (
        "import sys, s5_to_loihi.cli, s5_to_loihi.simulators.gpu as _;"
        "print('cupy' in sys.modules, 'llvmlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# PTX


def test_ptx_is_made_of_every_kernel(monkeypatch, tmp_path):
    """It names a kernel with the arguments in their order, and asks for no more than it says."""
    monkeypatch.setenv(object_code.CACHE_VARIABLE, str(tmp_path))
    seen = {}

    class Noting(host_lanes.Host):
        def prepared(self, launches):
            launches = list(launches)
            seen.update((launch.kernel, launch) for launch in launches)
            return super().prepared(launches)

    networks = [every_kind.network_of(name) for name in (RICH, "layer norm after and before")]
    for network in networks:
        GpuSimulator(network, Noting()).run(tokens_for(network), counting=True)
    assert len(seen) > 10
    for kernel, launch in seen.items():
        code, name = object_code.ptx(for_a_gpu(kernel))
        text = code.decode()
        assert f".visible .entry {name}(" in text
        assert f".maxntid {kernel.threads}" in text
        assert f".target {object_code.CAPABILITY}" in text
        assert text.count(".param .u64") == len(launch.arguments) == len(kernel.arguments)
        assert ".local" not in text  # all in registers
    assert len(list(tmp_path.glob("*.ptx"))) == len(seen)
