"""Reports: what they say is complete, escaped and reproducible; wrong calls end with a message."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from report_bundles import HOSTILE, mapped_denoiser
from typer.testing import CliRunner

import s5_to_loihi
from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import MeasuredProfile, Power, StepTimes, write_measured
from s5_to_loihi.cli import app
from s5_to_loihi.demo import CLEAN, GPU
from s5_to_loihi.errors import InputError
from s5_to_loihi.loihi2.facts import DIRECTORY, load_system
from s5_to_loihi.profiling.baselines import measure, read_baselines, write_baselines
from s5_to_loihi.profiling.contenders import device_ratios
from s5_to_loihi.profiling.dense_float import Sizes
from s5_to_loihi.profiling.findings import Sources, gather
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.content import SCHEMA, dictionary_of, page_of
from s5_to_loihi.reports.html.files import write
from s5_to_loihi.reports.html.page import Terms, rendered
from s5_to_loihi.reports.html.verdict import keeps_up_said
from s5_to_loihi.reports.numbers import shown, with_range

ROOT = Path(__file__).parents[1]
SIZES = Sizes(257, 257, 48, 32, 3, encoder=True, decoder=True, gate=True, value=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return mapped_denoiser(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def findings(path, tmp_path_factory):
    """All that a report can say: with baselines, a dense bundle and a measurement."""
    directory = tmp_path_factory.mktemp("results")
    write_baselines(measure(SIZES, ("numpy",), batch=1, seconds=1e-4), directory / "cpu.json")
    run = MeasuredProfile(
        target="board",
        network=HOSTILE,
        bundle_digest=bundle.digest(path),
        mode="pipelined",
        tokens=100,
        timesteps=110,
        wall_seconds=1.0,
        environment={"board": HOSTILE},
        time=StepTimes(total=1e6, spiking=None, management=None, host=None, steps=110),
        power=Power("neurocore rails", 0.5, 0.25, {}, 110),
    )
    write_measured(run, directory / "run.json")
    return gather(
        Sources(
            path,
            dense=path,
            measured=directory / "run.json",
            baselines=(directory / "cpu.json",),
            measure=False,
        )
    )


class Texts(HTMLParser):
    """The texts of a page, and the elements that could run or load something."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self._script = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("type", "")
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._script = None if tag == "script" else self._script

    def handle_data(self, data):
        if self._script is None:
            self.found.append(data)
        else:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def page(findings):
    return Texts(rendered(page_of(findings, "s5-to-loihi report")))


def test_the_page_says_what_it_should(page):
    text = " ".join(" ".join(page.found).split())
    for wanted in (
        *("Latency of a token", "throughput", "In real time", "dense twin"),
        *("42 ×", "149 ×", "2 ×", "36 %", "arXiv 2502.01330", "all equal", "barrier_time"),
        *("measured / predicted", "dense bundle", "NumPy", "How each number came about"),
    ):
        assert wanted in text
    for origin in Origin:
        assert origin.value in text


def test_the_verdict_comes_first(findings):
    page = page_of(findings, "a test")
    assert page.answer == "Keeps up with real time 174 times over."
    for wanted in ("every 8 ms", "µs", " mJ at ", " W.", "It fits on 2 of 120 cores"):
        assert wanted in page.verdict
    assert "came out equal" in page.doubt
    (cards,) = page.sections[0].blocks
    assert len(cards.cards) == 6


@pytest.mark.parametrize(
    ("busy", "keeps_up", "answer"),
    [
        (0.5, (True, True, False), "Keeps up with real time 2 times over, unless the chip is slow"),
        (2.5, (True, False, False), "Does not keep up with real time, unless the chip is faster"),
        (2.5, (False,) * 3, "Does not keep up with real time: it would have to be 2.5 times as"),
    ],
)
def test_a_network_that_is_too_slow_says_so(findings, busy, keeps_up, answer):
    view = findings.own.profile.modes["fall-through"].real_time
    duty = Quantity.exact(busy, "of the time", "a test", Origin.MODELLED, "a test")
    found = dataclasses.replace(view, keeps_up=keeps_up, duty_cycle=duty)
    assert keeps_up_said(found).startswith(answer)


def test_terms_are_explained_once_and_stand_in_the_glossary(findings):
    explained = [
        term
        for section in page_of(findings, "a test").sections
        for block in section.blocks
        if isinstance(block, Terms)
        for term in block.terms
    ]
    assert len(explained) == len(set(explained)) > 6
    glossary = (ROOT / "docs" / "glossary.md").read_text("utf-8").lower()
    for term in explained:
        assert f"**{term.lower()}" in glossary, term


def test_it_is_small(findings):
    assert len(rendered(page_of(findings, "a test")).encode()) < 1_000_000


def test_what_came_from_the_bundle_is_shown_as_text(page):
    assert sum(HOSTILE in text for text in page.found) > 3
    assert [tag for tag, _ in page.elements].count("script") == len(page.scripts) == 1
    assert "alert(1)" not in page.scripts[0]
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)


def test_only_the_scripts_that_the_policy_names_may_run(page):
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    digests = [hashlib.sha256(script.encode()).digest() for script in page.scripts]
    assert allowed == [base64.b64encode(digest).decode() for digest in digests]


def test_nothing_is_loaded_and_pictures_are_described(page):
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        if tag == "img":
            assert len(attributes["alt"]) > 20
        if attributes.get("role") == "img":
            assert len(attributes["aria-label"]) > 20


def quantities(content):
    """Yield everything that is a number with a unit."""
    if isinstance(content, dict):
        if "origin" in content and "unit" in content:
            yield content
        else:
            content = list(content.values())
    if isinstance(content, list):
        for entry in content:
            yield from quantities(entry)


def test_no_number_without_unit_scope_and_source(findings):
    content = json.loads(json.dumps(dictionary_of(findings, "a test"), allow_nan=False))
    assert (content["schema"], content["schema_version"]) == (SCHEMA, 1)
    found = list(quantities(content))
    assert len(found) > 200
    for one in found:
        assert one["unit"], one
        assert one["scope"], one
        assert one["source"], one
        assert one["low"] <= one["value"] <= one["high"]


def test_the_twin_and_the_claims_stand_side_by_side(findings):
    networks = dictionary_of(findings, "a test")["networks"]
    own, twin, active, other = networks
    assert own["ratios"] == []
    of = {ratio["name"]: ratio for ratio in twin["ratios"]}
    assert of["synaptic operations"]["ratio"]["value"] == pytest.approx(
        twin["synops"]["value"] / own["synops"]["value"]
    )
    assert of["synaptic operations"]["claim"]["quantity"]["value"] == 2
    assert of["weights stored"]["claim"]["quantity"]["value"] == 36
    assert of["latency, fall-through"]["claim"]["quantity"]["value"] == 42
    assert of["energy per token, fall-through"]["claim"]["quantity"]["value"] == 149
    assert active["synops"]["value"] >= twin["synops"]["value"] > own["synops"]["value"]
    # A ratio of times may be anything between choices of constants that decide for either.
    latency = of["latency, fall-through"]["ratio"]
    assert latency["low"] < latency["value"] < latency["high"]
    assert "percentiles 5 and 95 of drawn constants" in latency["scope"]
    # The dense bundle is the same network here: each choice of constants gives the same for both.
    for ratio in other["ratios"]:
        assert ratio["ratio"]["value"] in (0, 1)
        assert ratio["ratio"]["low"] == ratio["ratio"]["value"] == ratio["ratio"]["high"]


def test_a_measurement_outside_the_range_is_marked(findings, page):
    compared = {one.name: one for one in findings.compared}
    assert compared["timestep"].inside is False
    assert compared["timestep"].ratio > 1000
    assert [a for tag, a in page.elements if "bad" in a.get("class", "").split()]


def test_the_same_inputs_give_the_same_files(path, tmp_path):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = gather(Sources(path, measure=False))
        files.append([file.read_bytes() for file in write(found, "c", tmp_path / name / "r.html")])
    assert files[0] == files[1]


def test_a_changed_constant_changes_the_report_and_its_provenance(path, tmp_path):
    chip = yaml.safe_load((DIRECTORY / "loihi2.yaml").read_text())
    chip["barrier_time"] |= {"value": 9000, "high": 9000}
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(chip))
    system = (DIRECTORY / "oheogulch.yaml").read_text().replace("chip: loihi2", "chip: chip.yaml")
    (tmp_path / "slow.yaml").write_text(system)
    usual, slow = (
        gather(Sources(path, system=load_system(key), measure=False)).own.profile
        for key in ("oheogulch", str(tmp_path / "slow.yaml"))
    )
    assert usual.source != slow.source
    latencies = [one.modes["fall-through"].latency.value for one in (usual, slow)]
    assert latencies[1] == pytest.approx(9 * usual.latency_timesteps)
    assert latencies[1] > latencies[0]


def test_a_gpu_is_held_against_the_board_of_the_chip(findings):
    (gpu, *_) = (
        row
        for row in read_baselines(GPU).measured
        if "PyTorch" in row.software and row.energy is not None
    )
    latency, energy = device_ratios(findings.own, gpu)
    falling = findings.own.profile.modes["fall-through"]
    assert latency.ratio.value == gpu.time.value / falling.latency.value
    assert energy.ratio.value == gpu.energy.value / falling.energy["board"].total.value
    assert energy.ratio.low < energy.ratio.value < energy.ratio.high
    for scope in ("GPU board", "board"):
        assert scope in energy.different
    assert (latency.claim.quantity.value, energy.claim.quantity.value) == (42, 149)


def test_a_model_of_other_sizes_is_marked_and_not_divided_by(path, findings, tmp_path):
    other = dataclasses.replace(SIZES, width=8)
    write_baselines(measure(other, ("numpy",), batch=1, seconds=1e-4), tmp_path / "other.json")
    found = gather(Sources(path, baselines=(tmp_path / "other.json",), measure=False))
    ratio = "dense float model on "
    for these, divided in ((findings, True), (found, False)):
        html = rendered(page_of(these, "a test"))
        assert (ratio in html) == divided
        assert ("other sizes" in html) != divided


def test_a_recording_is_denoised_and_scored(path):
    from s5_to_loihi.demo import NOISY

    found = gather(Sources(path, inputs=NOISY, clean=CLEAN, dense=path, measure=False))
    assert found.denoising.denoised > found.denoising.noisy
    assert found.dense_denoising == found.denoising
    assert "measured with the integers of both" in rendered(page_of(found, "a test"))
    with pytest.raises(InputError, match="no noisy recording"):
        gather(Sources(path, clean=CLEAN, measure=False))


def test_the_function_writes_what_the_command_does(path, tmp_path):
    page, data = s5_to_loihi.report(str(path), tmp_path / "report.html", measure=False)
    assert "</html>" in page.read_text()
    assert json.loads(data.read_text())["command"].startswith("s5_to_loihi.report(")
    with pytest.raises(InputError, match="suffix"):
        s5_to_loihi.report(path, tmp_path / "report.pdf")


def test_the_command_writes_both_files(path, tmp_path):
    target = tmp_path / "out.html"
    result = CliRunner().invoke(
        app, ["report", str(path), "-o", str(target), "--no-measure", "--details"]
    )
    assert result.exit_code == 0, result.output
    assert sorted(tmp_path.iterdir()) == [target, tmp_path / "out.json"]
    for row in ("synaptic operations", "synaptic memory", "149 ×", "42 ×", "36 %"):
        assert row in result.output
    with target.with_suffix(".json").open() as stream:
        assert json.load(stream)["network"] == HOSTILE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.pdf"], "suffix"),
        (["-o", "missing/out.html"], "no directory"),
        (["-o", "out.html", "--input", "none.npy"], "does not exist"),
        (["-o", "out.html", "--baselines", "none.json"], "cannot be read"),
        (["-o", "out.html", "--measured", "none.json"], "cannot be read"),
        (["-o", "out.html", "--dense", "none.bundle"], "does not exist"),
        (["-o", "out.html", "--system", "none"], "not listed"),
    ],
)
def test_wrong_calls_are_refused_and_write_nothing(path, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["report", str(path), *arguments, "--no-measure"])
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_many_tokens_are_put_together_without_loss():
    values = np.arange(charts.MOST_POINTS * 3 + 1, dtype=float)
    starts, means = charts.binned(values, charts.MOST_POINTS)
    assert len(starts) <= charts.MOST_POINTS
    lengths = np.diff(np.append(starts, len(values)))
    assert (means * lengths).sum() == values.sum()
    np.testing.assert_array_equal(charts.binned(values[:5], charts.MOST_POINTS)[1], values[:5])


@pytest.mark.parametrize(
    ("ends", "ticks"),
    [
        ((3.0, 4.0), ("2 µs", "5 µs")),
        ((1.0, 1.0), ("1 µs", "2 µs")),
        ((0.0, 12.0), ("10 µs", "20 µs")),
        ((0.02, 30_000.0), ("0.1 µs", "10 µs", "1 ms")),
    ],
)
def test_an_axis_holds_everything_and_has_few_round_numbers(ends, ticks):
    quantity = Quantity(ends[1], ends[0], ends[1], "us", "a test", Origin.MODELLED, "a test")
    chart = charts.ranges("a title", "a caption", [("a label", quantity)])
    assert tuple(tick.text for tick in chart.ticks) == ticks
    places = [mark.start for row in chart.rows for mark in row.marks]
    places += [mark.end for row in chart.rows for mark in row.marks]
    assert all(0 <= place <= 100 for place in places)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (0.01234, "0.0123"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3")),
        *((123.4, "123"), (1234.5, "1,230"), (564971.7, "565,000"), (1234.0, "1,234")),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert shown(value) == text


def test_a_number_is_shown_with_unit_and_range():
    quantity = Quantity(2500.0, 1000.0, 4000.0, "us", "a test", Origin.MODELLED, "a test")
    assert with_range(quantity) == "2.50 ms (1 to 4)"
    exact = dataclasses.replace(quantity, value=8.0, low=8.0, high=8.0)
    assert with_range(exact) == "8 µs"
