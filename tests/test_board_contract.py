"""Everything of a network reaches the chip's tables once, with its values and widths.

The tables are those of a recording stand-in of Lava's closed extension; nothing runs on it.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import extension
import numpy as np
import pytest
from every_kind import QUANTIZED, network_of
from fast_networks import RICH
from needs import needs_stand_in
from scipy.sparse import csr_matrix

from s5_to_loihi import Bundle, bundle
from s5_to_loihi.errors import LavaError
from s5_to_loihi.fixed_point import limits
from s5_to_loihi.lava_runtime import microcode_files
from s5_to_loihi.lava_runtime.c_source import identifier
from s5_to_loihi.loihi2 import rates
from s5_to_loihi.loihi2.facts import listed_systems
from s5_to_loihi.loihi2.loads import measure
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.loihi2.workload import workload
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import INPUT, Endpoint, Network
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.neurons.constants import array_constants
from s5_to_loihi.network.programs import neuron_programs, program_of
from s5_to_loihi.network.tracing import parameters
from s5_to_loihi.simulators.interpreter import Mode

pytestmark = needs_stand_in

INTERVAL = 256
NAMES = ("denoiser_small", RICH, "none, one of everything", *QUANTIZED)
every_network = pytest.mark.parametrize("name", NAMES)


@dataclass(frozen=True)
class Recording:
    """A network and what its processes allocated."""

    network: Network
    microcode: Path
    processes: dict

    def allocated(self, process: str, table: str) -> list[dict]:
        return [one for one in self.processes[process]["allocated"] if one["table"] == table]


def make_microcode(network: Network, folder: Path, gate: bool = False) -> None:
    """A file for each program; nobody reads what is in it."""
    folder.mkdir()
    for program in gating.programs(network, gate):
        (folder / f"{program.name}.bin").touch()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the recording of a network by its name; each is made once."""
    return functools.cache(lambda name: record(name, tmp_path_factory.mktemp("recorded")))


@pytest.fixture(scope="module")
def falling(tmp_path_factory):
    """The same in fall-through."""
    return functools.cache(
        lambda name: record(name, tmp_path_factory.mktemp("falling"), Mode.FALL_THROUGH)
    )


def record(name: str, folder: Path, mode: Mode = Mode.PIPELINED) -> Recording:
    network = network_of(name)
    bundle.write(Bundle(network, None), folder / "network")
    make_microcode(network, folder / "microcode", mode is Mode.FALL_THROUGH)
    finished = extension.run(
        "record_allocation.py", folder / "network", folder / "microcode", mode.value
    )
    assert finished.returncode == 0, finished.stderr
    return Recording(network, folder / "microcode", json.loads(finished.stdout))


@every_network
def test_loihi_2_gets_our_models(recorded, name):
    one = recorded(name)
    kinds = {group.name: group.kind for group in one.network.groups}
    for process, entry in one.processes.items():
        if process in kinds:
            camel = "".join(part.capitalize() for part in kinds[process].name.split("_"))
            assert (entry["process"], entry["model"]) == (f"{camel}Neurons", f"Nc{camel}Neurons")
    synapses = {synapses.name: synapses for synapses in one.network.synapses}
    for process, entry in one.processes.items():
        if process in synapses:
            delayed = "Delay" if synapses[process].delay else ""
            assert entry["model"] == f"NcModel{delayed}Sparse"
    adapters = [entry for process, entry in one.processes.items()
                if process not in kinds and process not in synapses]  # fmt: skip
    assert [entry["model"] for entry in adapters] == ["CPyToNxAdapter", "CNxToPyAdapter"]
    assert [entry["message_bits"] for entry in adapters] == [24, 24]
    assert [entry["shape"] for entry in adapters] == [
        [one.network.input_size], [one.network.output_size]
    ]  # fmt: skip
    assert len(one.processes) == len(kinds) + len(synapses) + 2


def test_these_networks_have_every_kind():
    used = {group.kind.name for name in NAMES for group in network_of(name).groups}
    assert used == {name for name, kind in KINDS.items() if not kind.wraps}


@every_network
def test_every_group_is_allocated_once_with_its_constants(recorded, name):
    one = recorded(name)
    for group in one.network.groups:
        program = program_of(one.network, group)
        (binding,) = program.bindings
        (shared,) = one.allocated(group.name, "neurons_cfg")
        expected = binding.constants | {name: list(table) for name, table in binding.tables.items()}
        if group.kind.state:
            expected["reset_interval"] = INTERVAL
            expected["reset_offset"] = group.phase
        ucode = str((one.microcode / f"{program.name}.bin").resolve())
        assert shared == {"table": "neurons_cfg", "shape": [1], "ucode": ucode} | expected
        neurons = dict(*one.allocated(group.name, "neurons"))
        assert neurons.pop("table") == "neurons"
        assert neurons.pop("shape") == group.size
        formats = {name: one for name, _, one in array_constants(group.constants)}
        for parameter in binding.parameters:
            values = neurons.pop(identifier(parameter))
            np.testing.assert_array_equal(values, binding.parameters[parameter])
            if parameter in formats:
                np.testing.assert_array_equal(values, parameters(group)[parameter])
                low, high = limits(formats[parameter].bits)
                assert low <= min(values) <= max(values) <= high
        for register in group.kind.state:
            initial = neurons.pop(register)
            assert initial["register"] == register
            assert not np.any(initial["initial"])
            assert one.processes[group.name]["precisions"][register] == 24
        assert neurons == {}


@every_network
def test_every_sent_message_has_axons_of_its_width(recorded, name):
    one = recorded(name)
    for group in one.network.groups:
        sent = one.network.sent_by(group)
        axons = one.allocated(group.name, "ax_out")
        assert axons == [
            {
                "table": "ax_out",
                "shape": group.size,
                "num_message_bits": 16 if group.formats[message].bits <= 16 else 24,
            }
            for message in sent
        ]
        connected = [
            target["port"]
            for source, target in one.processes[group.name]["connections"]
            if "nodes" in source and "port" in target
        ]
        assert connected == list(sent)


@every_network
def test_every_port_with_synapses_is_connected_once(recorded, name):
    one = recorded(name)
    for group in one.network.groups:
        ports = [
            source["port"]
            for source, _ in one.processes[group.name]["connections"]
            if "port" in source
        ]
        targets = {synapses.target for synapses in one.network.synapses}
        assert ports == [p for p in group.kind.ports if Endpoint(group.name, p) in targets]


@every_network
def test_every_synapse_arrives_once_with_its_weight_and_delay(recorded, name):
    one = recorded(name)
    for synapses in one.network.synapses:
        entry = one.processes[synapses.name]
        (stored,) = one.allocated(synapses.name, "syn")
        (settings,) = one.allocated(synapses.name, "syn_cfg")
        assert settings["is_signed"] == (synapses.weights.data.min(initial=0) < 0)
        assert stored["delays"] == synapses.delay
        assert settings["num_delay_bits"] == (6 if synapses.delay else 0)
        index = {
            entry["allocated"][end["nodes"]]["table"]: end["index"]
            for pair in entry["connections"]
            for end in pair
            if "nodes" in end and end["index"] is not None
        }
        rows, columns = synapses.weights.shape
        # What the chip multiplies with: the stored weight times two to the exponent.
        values = np.ldexp(np.array(stored["weights"], dtype=float), settings["weights_exp"])
        values = np.ldexp(values, 8 - settings["num_weight_bits"] + settings["is_signed"])
        arrived = csr_matrix((values, (index["dend_acc"], index["ax_in"])), shape=(rows, columns))
        assert len(values) == synapses.weights.nnz
        np.testing.assert_array_equal(arrived.toarray(), synapses.weights.toarray())
        assert one.allocated(synapses.name, "ax_in") == [{"table": "ax_in", "shape": columns}]
        assert one.allocated(synapses.name, "dend_acc")[0]["shape"] == [rows]
        (axons,) = one.allocated(synapses.name, "ax_in_cfg")
        from_host = synapses.source.group == INPUT
        wide = from_host or one.network.message_format(synapses.source).bits > 16
        assert axons["num_message_bits"] == (24 if wide else 16)


@every_network
def test_every_edge_joins_the_processes_that_it_should(recorded, name):
    one = recorded(name)
    sources = {
        process: set(ends)
        for process, entry in one.processes.items()
        for ends in entry["destinations"].values()
    }
    for synapses in one.network.synapses:
        entry = one.processes[synapses.name]
        assert entry["destinations"] == {"a_out": [str(synapses.target)]}
        if synapses.source.group == INPUT:
            reached = set().union(
                *(sources[p] for p, e in one.processes.items() if e["model"] == "CPyToNxAdapter")
            )
        else:
            ends = one.processes[synapses.source.group]["destinations"]
            reached = set(ends[synapses.source.name])
        assert f"{synapses.name}.s_in" in reached


@every_network
def test_counts_are_the_mappers(recorded, name):
    check_counts(recorded(name), gate=False)


def check_counts(one: Recording, gate: bool) -> None:
    """Neurons, synapses and axons of all processes, with those of markers if there is a gate."""
    network = one.network
    chip = listed_systems()[0].chip
    even = rates.assumed_rates(network, 0.5)
    mapped = workload(network, even, chip, markers=gate)

    def total(table: str, field: str) -> int:
        return sum(
            np.prod(entry[field])
            for process in one.processes.values()
            for entry in process.get("allocated", [])
            if entry["table"] == table
        )

    assert total("neurons", "shape") == mapped.neurons
    assert total("syn", "shape") == len(mapped.arrays.axons)
    # A marker is one more feature: of those without a synapse the mapper counts none.
    fed = sum(synapses.source.group == INPUT for synapses in network.synapses)
    unused = gate * (fed + len(network.groups) * network.input_size)
    assert total("ax_in", "shape") - unused == len(mapped.arrays.edge_of_axon)
    # The mapper does not count the axon of a neuron whose message has no synapse.
    reached = {str(network.output): set(range(network.output_size))}
    for synapses in network.synapses:
        used = set(synapses.weights.indices.tolist())
        reached[str(synapses.source)] = reached.get(str(synapses.source), set()) | used
    silent = sum(
        len(even.of[message]) - len(neurons)
        for message, neurons in reached.items()
        if not message.startswith(f"{INPUT}.")
    )
    assert total("ax_out", "shape") - silent == mapped.messages_of.sum()
    bits = dict(zip(mapped.edges, mapped.arrays.edge_bits, strict=True))
    for synapses in network.synapses:
        (settings,) = one.allocated(synapses.name, "syn_cfg")
        # The extension may leave out zeros that all weights end with; the mapper does not.
        assert 1 <= settings["num_weight_bits"] <= bits[synapses.name]


# Fall-through

FALLING = pytest.mark.parametrize("name", ["denoiser_small", "none, one of everything"])


@FALLING
def test_in_fall_through_counts_are_the_mappers_with_markers(falling, name):
    one = falling(name)
    check_counts(one, gate=True)
    # One mapping serves both modes: by default it has room for them.
    chip, even = listed_systems()[0].chip, rates.assumed_rates(one.network, 0.5)
    reserved = workload(one.network, even, chip)
    assert len(reserved.edges) == len(one.network.synapses) + len(one.network.groups)
    without = workload(one.network, even, chip, markers=False)
    spread = np.arange(reserved.neurons) % 3
    more = measure(reserved, spread).words - measure(without, spread).words
    parts = measure(reserved, spread)
    bits = 12 + parts.neurons_of_part * (12 + 1)
    np.testing.assert_array_equal(more[:, Resource.AXON_IN], 1)
    np.testing.assert_array_equal(more[:, Resource.SYNAPSES], -(-bits // 64))
    assert not more[:, [Resource.NEURONS, Resource.AXON_MAP, Resource.AXON_MEMORY]].any()


@FALLING
def test_in_fall_through_programs_have_a_gate_and_count_no_timesteps(falling, name):
    one = falling(name)
    for group in one.network.groups:
        program = gating.program_for(one.network, group, True)
        (binding,) = program.bindings
        (shared,) = one.allocated(group.name, "neurons_cfg")
        expected = binding.constants | {name: list(table) for name, table in binding.tables.items()}
        ucode = str((one.microcode / f"{program.name}.bin").resolve())
        assert shared == {"table": "neurons_cfg", "shape": [1], "ucode": ucode} | expected
        ports = [
            source["port"]
            for source, _ in one.processes[group.name]["connections"]
            if "port" in source
        ]
        assert ports == [*binding.ports, gating.MARKER]


@FALLING
def test_in_fall_through_every_neuron_gets_the_marker_in_its_phase(falling, name):
    one = falling(name)
    network = one.network
    for group in network.groups:
        marker = f"{group.name} {gating.MARKER}"
        entry = one.processes[marker]
        assert entry["destinations"] == {"a_out": [f"{group.name}.{gating.MARKER}"]}
        (stored,) = one.allocated(marker, "syn")
        # From the timestep in which the input sends to the phase; a synapse takes one by itself.
        assert stored["delays"] == group.phase - 1
        index = {
            entry["allocated"][end["nodes"]]["table"]: end["index"]
            for pair in entry["connections"]
            for end in pair
            if "nodes" in end and end["index"] is not None
        }
        (settings,) = one.allocated(marker, "syn_cfg")
        assert not settings["is_signed"]
        values = np.ldexp(np.array(stored["weights"], dtype=float), settings["weights_exp"])
        values = np.ldexp(values, 8 - settings["num_weight_bits"])
        assert set(values) == {1}
        assert sorted(index["dend_acc"]) == list(range(group.size))
        assert set(index["ax_in"]) == {network.input_size}
    (adapter,) = (e for e in one.processes.values() if e["model"] == "CPyToNxAdapter")
    assert adapter["shape"] == [network.input_size + 1]
    for synapses in network.synapses:
        if synapses.source.group == INPUT:
            (axons,) = one.allocated(synapses.name, "ax_in")
            assert axons["shape"] == network.input_size + 1
    fewer = set(one.processes) - {f"{group.name} {gating.MARKER}" for group in network.groups}
    assert len(fewer) == len(network.groups) + len(network.synapses) + 2


# Microcode files


def test_missing_microcode_is_named_with_its_listing(tmp_path):
    with pytest.raises(LavaError) as caught:
        microcode_files.require("state-12", "block0.state", tmp_path)
    assert "state-12 (s5-to-loihi microcode BUNDLE --group block0.state)" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_microcode_comes_from_the_option_then_the_variable(tmp_path, monkeypatch):
    for folder in ("option", "variable"):
        (tmp_path / folder).mkdir()
    (tmp_path / "variable" / "state-12.asm").touch()
    monkeypatch.setenv(microcode_files.VARIABLE, str(tmp_path / "variable"))
    assert microcode_files.find("state-12") == (tmp_path / "variable" / "state-12.asm").resolve()
    assert microcode_files.find("state-12", tmp_path / "option") is None
    (tmp_path / "option" / "state-12.o").touch()
    found = microcode_files.find("state-12", tmp_path / "option")
    assert found == (tmp_path / "option" / "state-12.o").resolve()


def test_microcode_comes_from_plug_ins(tmp_path, monkeypatch):
    (tmp_path / "state-12.asm").touch()

    class Point:
        def load(self):
            return lambda: tmp_path

    monkeypatch.delenv(microcode_files.VARIABLE, raising=False)
    monkeypatch.setattr(microcode_files, "entry_points", lambda group: [Point()])
    assert microcode_files.find("state-12") == (tmp_path / "state-12.asm").resolve()
    assert microcode_files.find("state-1") is None


def test_two_files_for_one_program_are_refused(tmp_path):
    for suffix in ("a", "b"):
        (tmp_path / f"state-12.{suffix}").touch()
    with pytest.raises(LavaError, match=r"state-12.a, state-12.b for one program"):
        microcode_files.find("state-12", tmp_path)


def test_programs_with_a_gate_are_others(tmp_path):
    network = network_of("denoiser_small")
    make_microcode(network, tmp_path / "plain")
    missing = microcode_files.missing(network, tmp_path / "plain", gate=True)
    assert set(missing) == {program.name for program in gating.programs(network, True)}
    error = microcode_files.missing_error(missing, tmp_path, True)
    assert "--mode fall-through" in str(error)


def test_missing_programs_are_all_found(tmp_path):
    network = network_of("denoiser_small")
    programs = {program.name for program in neuron_programs(network)}
    assert set(microcode_files.missing(network, tmp_path)) == programs
    make_microcode(network, tmp_path / "all")
    assert microcode_files.missing(network, tmp_path / "all") == {}


def test_without_the_extension_the_module_defines_no_models():
    finished = extension.run("no_extension.py", stand_in=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["EXTENSION_IS_THERE", "lava_shim"]
