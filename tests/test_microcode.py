"""The listing of a neuron program is complete: followed to the letter, it gives the vectors."""

import json
from dataclasses import replace

import golden
import numpy as np
import pytest
from every_kind import QUANTIZED, network_of, tokens_of
from fast_networks import RICH
from float_models import quantized
from random_networks import Case, sample

from s5_to_loihi import Bundle, audio, bundle
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.loihi2 import listing
from s5_to_loihi.loihi2.workload import instructions
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.neurons import KINDS
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.simulators.interpreter import Interpreter

NAMES = ("simple", "batchnorm", "denoiser_small", RICH, "half2, dense",
         "none, one of everything", *QUANTIZED)  # fmt: skip

DATA = DENOISER.parent
SPEECH, DENOISER_MODEL = DATA / "speech" / "calibration.wav", DATA / "denoiser_small_float"
ZOO = DATA / "zoo"

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "<<": lambda a, b: a * 2**b,
    ">>": lambda a, b: a // 2**b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    ">": lambda a, b: int(a > b),
    "==": lambda a, b: int(a == b),
    "min": min,
    "max": max,
    "abs": abs,
    "select": lambda a, b, c: b if a != 0 else c,
    "mulshr": lambda a, b, c: a * b // 2**c,
}


def follow(content: dict, vector: dict, row: dict) -> tuple[dict, dict]:
    """Carry out a listing's steps as its rules say, with Python's integers."""
    group = next(one for one in content["groups"] if one["name"] == vector["group"])
    given = {
        "accumulator": row["accumulators"],
        "register": row["before"],
        "parameter": vector["parameters"],
        "constant": group["constants"],
    }
    values = []
    for step in content["steps"]:
        operands = [values[index] for index in step["operands"]]
        if step["operation"] in given:
            value = given[step["operation"]][step["immediate"]]
        elif step["operation"] == "lookup":
            value = group["tables"][step["immediate"]][operands[0]]
        else:
            if step["operation"] == "leave":
                if operands[0] == 0:
                    return row["before"], dict.fromkeys(content["results"]["messages"], 0)
                values.append(0)
                continue
            value = OPERATIONS[step["operation"]](*operands)
        assert step["lowest"] <= value <= step["highest"]
        assert step["interval_bits"] <= 64
        values.append(value)
    results = content["results"]
    return tuple({name: values[at] for name, at in results[part].items()}
                 for part in ("registers", "messages"))  # fmt: skip


def listings_of(name: str, gate: bool = False) -> list[dict]:
    network = network_of(name)
    tokens = tokens_of(name, network)[: listing.SEARCHED, :1]
    return [
        listing.to_json(network, one, listing.neuron_vectors(network, one, tokens), "tokens")
        for one in gating.programs(network, gate)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_listing_followed_to_the_letter_gives_its_vectors(name):
    network = network_of(name)
    listed = []
    for content in listings_of(name):
        for vector in content["vectors"]:
            assert len(vector["rows"]) == listing.TOKENS
            for row, following in zip(vector["rows"], [*vector["rows"][1:], None], strict=True):
                registers, messages = follow(content, vector, row)
                assert registers == row["after"]
                assert messages == row["messages"]
                assert following is None or row["after"] == following["before"]
            listed.append(vector["group"])
        assert [group["name"] for group in content["groups"]] == [
            vector["group"] for vector in content["vectors"]
        ]
    assert sorted(listed) == sorted(group.name for group in network.groups)


def denoiser(name: str) -> tuple[Network, np.ndarray]:
    """An export of Intel's, or a network of our own quantizer, and tokens of it."""
    if name in golden.SETS:
        return network_of(name), tokens_of(name, network_of(name))
    if name == "ours":
        frames = audio.features(audio.analyse(audio.read_wav(SPEECH).samples[0]))[:400, None]
        network = quantize_model(load(DENOISER_MODEL).model, frames).network
        return network, to_integers(frames, network.input_format)[0]
    opened = bundle.read(ZOO / name / f"{name}.bundle")
    return opened.network, opened.vectors.tokens


@pytest.mark.parametrize(
    "name", ["denoiser_small", "denoiser_intel_size", "ours", "denoiser_sparse_h192"]
)
def test_programs_are_a_quarter_shorter_and_followed_to_the_letter_give_their_vectors(name):
    """With Python's integers, as nothing else here computes."""
    network, tokens = denoiser(name)
    traced = shortened = 0
    for program in neuron_programs(network):
        for binding in program.bindings:
            traced += binding.group.size * binding.traced_instructions
            shortened += binding.group.size * program.instructions
        vectors = listing.neuron_vectors(network, program, tokens[: listing.SEARCHED, :1])
        content = listing.to_json(network, program, vectors, "tokens")
        for vector in content["vectors"]:
            for row in vector["rows"]:
                assert follow(content, vector, row) == (row["after"], row["messages"])
    assert shortened <= 0.75 * traced


@pytest.mark.parametrize("name", ["simple", RICH, "none, one of everything"])
def test_a_listing_with_a_gate_gives_its_vectors_and_says_what_waiting_does(name):
    for content in listings_of(name, gate=True):
        assert "token_marker" in content["rules"]
        assert "'leave a' ends it" in content["rules"]
        for vector in content["vectors"]:
            rows = vector["rows"]
            assert len(rows) == listing.TOKENS + 2
            markers = [row["accumulators"]["token_marker"] for row in rows]
            assert markers[-2:] == [0, 2]
            assert set(markers[:-2]) <= {1, 2}
            assert rows[-2]["before"] == rows[-2]["after"]
            assert not any(rows[-2]["messages"].values())
            for row in rows:
                assert follow(content, vector, row) == (row["after"], row["messages"])
            # Where a sequence begins, what was there before makes no difference.
            other = rows[-1] | {"before": {name: 77 for name in rows[-1]["before"]}}
            assert follow(content, vector, other) == (rows[-1]["after"], rows[-1]["messages"])


@pytest.mark.parametrize("name", golden.SETS)
def test_a_gate_takes_two_instructions_and_those_of_registers(name):
    """Read the marker, leave; compare it, and choose each register that is read."""
    network = network_of(name)
    for plain, gate in zip(neuron_programs(network), gating.programs(network, True), strict=True):
        read = sum(step.operation == "register" for step in plain.steps)
        assert gate.instructions - plain.instructions == 2 + (1 + read if read else 0)
        assert gate.name != plain.name
        assert [step.operation for step in gate.steps[: gating.IDLE_INSTRUCTIONS]] == [
            "accumulator", "leave"
        ]  # fmt: skip


def test_these_listings_have_every_kind():
    used = {group.kind.name for name in NAMES for group in network_of(name).groups}
    assert used == {name for name, kind in KINDS.items() if not kind.wraps}


def test_vectors_are_the_interpreters_values_of_an_active_neuron():
    network = network_of("simple")
    tokens = tokens_of("simple", network)[: listing.SEARCHED]
    values = Interpreter(network).evaluate(tokens, keep=None).values
    for program in neuron_programs(network):
        for vector in listing.neuron_vectors(network, program, tokens):
            assert any(value for row in vector.rows for value in row.messages.values())
            for token, row in enumerate(vector.rows, start=vector.first_token):
                for name, value in (row.after | row.messages).items():
                    assert values[f"{vector.group}.{name}"][token, 0, vector.neuron] == value


@pytest.mark.parametrize("name", golden.SETS)
def test_a_program_has_the_instructions_that_profiles_count(name):
    network = network_of(name)
    counted = {group.name: instructions(network, i) for i, group in enumerate(network.groups)}
    for program in neuron_programs(network):
        for group in (binding.group for binding in program.bindings):
            assert counted[group.name] == program.instructions


def test_a_program_is_named_after_what_it_does_and_not_after_values():
    case = Case(blocks=2, seed=3)
    network = sample(case).network
    names = [program.name for program in neuron_programs(network)]
    encoder = network.group("encoder")
    other = encoder.constants._replace(bias=np.roll(encoder.constants.bias, 1))
    groups = (replace(encoder, constants=other), *network.groups[1:])
    assert [one.name for one in neuron_programs(replace(network, groups=groups))] == names
    linear = encoder.constants._replace(rectified=1 - encoder.constants.rectified)
    groups = (replace(encoder, constants=linear), *network.groups[1:])
    changed = [one.name for one in neuron_programs(replace(network, groups=groups))]
    assert changed[0] != names[0]
    assert changed[-1] == names[-1]


def test_groups_with_one_program_share_a_listing():
    network = quantized(QUANTIZED["half2"]).network
    six = quantized(replace(QUANTIZED["half2"], blocks=6)).network
    programs = neuron_programs(six)
    # Not all gates: what is known of the neurons of one block may make its program another.
    gates = [one for one in programs if one.kind.name == "scaled_gate"]
    assert 1 < len(gates) < 6
    assert sum(len(one.bindings) for one in programs) == len(six.groups)
    assert all(len(one.bindings) == 1 for one in neuron_programs(network))
    names = [one.name for one in programs]
    assert len(set(names)) == len(names)


# The command


@pytest.fixture
def stored(tmp_path):
    network = network_of("simple")
    tokens = tokens_of("simple", network)
    path = tmp_path / "simple.bundle"
    bundle.write(Bundle(network, Vectors(tokens, {}, {}, "test")), path)
    return path


def test_the_text_names_everything(stored, call):
    code, out, _ = call("microcode", stored, "--group", "block1.state")
    assert code == 0
    assert out.startswith("Program state-")
    for text in ("bu_re", "x_im", "24 bits", "a_re", "g_im", "block2.state, phase", "<- v",
                 "Test vectors (recorded tokens of the bundle)", "mod reset_interval"):  # fmt: skip
        assert text in out


def test_json_holds_every_program(stored, call):
    code, out, _ = call("microcode", stored, "--json", "--tokens", "3")
    assert code == 0
    programs = json.loads(out)
    assert [one["program"] for one in programs] == [
        one.name for one in neuron_programs(bundle.read(stored).network)
    ]
    assert {len(vector["rows"]) for one in programs for vector in one["vectors"]} == {3}


@pytest.mark.parametrize(("option", "suffix"), [((), "txt"), (("--json",), "json")])
def test_one_file_a_program(stored, tmp_path, call, option, suffix):
    folder = tmp_path / "new" / "listings"
    code, _, _ = call("microcode", stored, "-o", folder, *option)
    assert code == 0
    names = {one.name for one in neuron_programs(bundle.read(stored).network)}
    assert {file.name for file in folder.iterdir()} == {f"{name}.{suffix}" for name in names}


def test_an_unknown_group_is_named_with_those_there_are(stored, call):
    code, _, err = call("microcode", stored, "--group", "block9.state")
    assert code == 1
    assert "has no group 'block9.state'" in err
    assert "block0.state" in err


def test_a_file_is_no_folder_for_listings(stored, tmp_path, call):
    file = tmp_path / "file"
    file.write_text("mine")
    code, _, err = call("microcode", stored, "-o", file)
    assert code == 1
    assert "is not a folder" in err
    assert file.read_text() == "mine"


def test_without_vectors_tokens_are_random_and_said_to_be(tmp_path, call):
    path = tmp_path / "bare.bundle"
    bundle.write(Bundle(network_of("simple"), None), path)
    code, out, _ = call("microcode", path, "--group", "encoder")
    assert code == 0
    assert "Test vectors (random tokens)" in out
