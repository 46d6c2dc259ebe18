"""What networks, bundles and profiles say of themselves."""

import re
from pathlib import Path

import yaml
from random_networks import Case, random_tokens, sample

import s5_to_loihi as s5
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.version import VERSION

NETWORK = sample(Case(blocks=1)).network
TOKENS = random_tokens(1, 12, 1, NETWORK.input_size)
BUNDLE = s5.Bundle(NETWORK, Vectors(TOKENS, {}, {}, "made up"), {"format": "made <up>"})
ROOT = Path(__file__).parent.parent


def test_three_lines():
    lines = repr(NETWORK).splitlines()
    assert len(lines) == 3
    neurons = sum(group.size for group in NETWORK.groups)
    assert f"{len(NETWORK.groups)} groups, {neurons} neurons" in lines[0]
    assert repr(BUNDLE).splitlines()[1:] == [
        "  made from         made <up>",
        "  vectors, mapping  1 x 12 tokens; none",
    ]
    assert "made &lt;up&gt;" in BUNDLE._repr_html_()


def test_a_bundle_a_path_and_a_network_are_taken_alike(tmp_path):
    path = tmp_path / "one.bundle"
    mapped, _ = s5.map_network(BUNDLE)
    s5.write(s5.Bundle(NETWORK, BUNDLE.vectors, BUNDLE.source, mapping=mapped), path)
    profiles = [s5.profile(one, samples=10) for one in (path, str(path), s5.read(path))]
    assert profiles[0] == profiles[1] == profiles[2]
    assert len(repr(profiles[0]).splitlines()) == 3
    assert re.search(r"fall-through +latency [\d.,]+ µs", repr(profiles[0]))
    assert mapped.objective == s5.map_network(NETWORK)[0].objective == "balanced"
    values = TOKENS[:, 0] * 2.0**-NETWORK.input_format.exponent
    outputs = [s5.simulate(one, values).outputs for one in (path, BUNDLE)]
    assert (outputs[0] == outputs[1]).all()


def test_the_citation_has_the_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
