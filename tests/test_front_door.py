"""README and docs: what they name exists, what they show is printed, what they teach runs."""

import os
import posixpath
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from front_door import FENCED, shape, shown
from needs import needs_h5py, needs_lava

from s5_to_loihi import cli
from s5_to_loihi.backends.dispatch import ONE_MODE, WITHOUT_BOARD, Backend
from s5_to_loihi.reports.run_tables import run_facts
from s5_to_loihi.simulators.interpreter import Mode
from s5_to_loihi.verification import RunResult

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *TUTORIALS]
PAGES += [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "deploy" / "README.md"]
PAGES += [ROOT / "s5_to_loihi" / "data" / "README.md"]
MOST_LINES = 120
LINK = re.compile(r"\]\(([^)\s]+)\)")
REMOTE = re.compile(r"[a-z]+:")
OF_GROUP = {"-h", "--help", "--version", "--install-completion", "--show-completion"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    prose = FENCED.sub("", text_of(page))
    headings = re.findall(r"^#+ (.*)$", prose, flags=re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return set(plain)


@pages
def test_units_are_written_one_way(page):
    assert re.findall(r"\d u[sJ]\b", FENCED.sub("", text_of(page))) == []


@pages
def test_links_lead_somewhere(page):
    for link in LINK.findall(FENCED.sub("", text_of(page))):
        if REMOTE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else page.parent / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def commands(text: str) -> list[list[str]]:
    """Calls of the program that a page shows, as words; comments left out."""
    blocks = [body for kind, body in FENCED.findall(text) if kind not in ("python", "yaml")]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    found = []
    for line in lines:
        for part in re.split(r"\s[|;]\s|\s\|$|&&", line):
            call = re.search(r"(?:^|\s|/)s5-to-loihi\s+(.*)$", part.split("  #")[0].split(" # ")[0])
            if call and not call[1].startswith("COMMAND"):
                found.append(shlex.split(call[1].replace("'", "").replace('"', "")))
    return found


def options_of(name: str) -> set[str]:
    parameters = cli.imported(name).params
    return {one for each in parameters for one in (*each.opts, *each.secondary_opts)} | {"--help"}


@pages
def test_commands_and_their_options_exist(page):
    for words in commands(text_of(page)):
        name, *rest = words
        if name.startswith("-"):
            assert name in OF_GROUP, words
            continue
        assert name in cli.COMMANDS, words
        known = options_of(name) | {"-h"}
        for word in rest:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in known, (word, words)


def test_calls_are_found():
    text = "```\na | s5-to-loihi run B --raw > c  # why\n```\nSee `s5-to-loihi map X --seed`.\n"
    assert commands(text) == [["run", "B", "--raw", ">", "c"], ["map", "X", "--seed"]]


@pages
def test_files_and_targets_exist(page):
    text = text_of(page)
    for script in re.findall(r"python3? ((?:benchmarks|docs|examples|tests)/[\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script
    for script in re.findall(r"`(benchmarks/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), flags=re.M))
    calls = [body for kind, body in FENCED.findall(text) if not kind]
    calls += re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    for line in "\n".join(calls).splitlines():
        if call := re.match(r"make ([a-z][\w-]*)", line):
            assert call[1] in targets, line


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib, of Python 3.11")
@pages
def test_extras_exist(page):
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    for names in re.findall(r"s5_to_loihi\[([\w,]+)\]", text_of(page)):
        assert set(names.split(",")) <= project["optional-dependencies"].keys(), names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_have_the_options_that_are_shown(page):
    for script, rest in re.findall(r"python (benchmarks/\w+\.py)((?: [^`\n]*)?)", text_of(page)):
        source = text_of(ROOT / script)
        for option in re.findall(r"(?<!\S)(--[\w-]+)", rest):
            assert f'"{option}"' in source, (script, option)


# --- the README ----------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= MOST_LINES


def test_every_figure_of_the_readme_names_what_measured_it():
    rows = [row for row in text_of(README).splitlines() if row.startswith("| ")]
    measured = [row.strip("| ").split(" | ") for row in rows if re.search(r"\d", row)]
    assert len(measured) >= 4
    for *_, command in measured:
        assert re.search(r"`(python benchmarks/\w+\.py|s5-to-loihi \w+|make \w+)", command), command


def test_the_readme_shows_what_a_verification_prints():
    """Those of Lava, which the test of the demo leaves out."""
    facts = run_facts(
        [
            RunResult(backend, mode, 128, 1, ())
            for backend in Backend
            if backend in WITHOUT_BOARD
            for mode in Mode
            if mode is Mode.PIPELINED or backend not in ONE_MODE
        ]
    )
    printed = {shape(f"{name} {said}") for name, said in facts}
    of_lava = [line for line in shown() if "Lava" in line]
    assert of_lava
    for line in of_lava:
        assert shape(line) in printed


# --- tutorials -----------------------------------------------------------------------------------


def run_tutorial(name: str, folder: Path) -> str:
    """Run a tutorial as a script, in a folder of its own; return what it printed."""
    script = ROOT / "docs" / "tutorials" / name
    finished = subprocess.run(
        [sys.executable, script], cwd=folder, env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_from_a_checkpoint_to_its_price(tmp_path):
    printed = run_tutorial("checkpoint_to_price.py", tmp_path)
    assert printed.count("equal: True") == 2
    assert "fall-through:" in printed


def test_denoise_and_stream(tmp_path):
    printed = run_tutorial("denoise_and_stream.py", tmp_path)
    assert "delay 24 ms" in printed
    assert "on 4 clips" in printed


def test_train_a_classifier(tmp_path):
    for package in ("torch", "lightning"):
        pytest.importorskip(package, reason=f"{package}: pip install 's5_to_loihi[train]'")
    assert "in integers" in run_tutorial("train_a_classifier.py", tmp_path)


@needs_lava
@needs_h5py
@pytest.mark.xdist_group("lava")
def test_inside_lava(tmp_path):
    printed = run_tutorial("inside_lava.py", tmp_path)
    assert printed.count("equal: True") == 2
    assert "equal to the interpreter: True" in printed


def test_the_site_has_every_plot_of_a_tutorial():
    pictures = ROOT / "docs" / "tutorials" / "pictures"
    wanted = {
        f"{tutorial.stem}_{name}"
        for tutorial in TUTORIALS
        for name in re.findall(r'savefig\(folder / "([^"]+)"\)', text_of(tutorial))
    }
    assert {picture.name for picture in pictures.iterdir()} == wanted, "docs/site/draw_tutorials.py"


def test_every_tutorial_is_run_and_linked():
    source = text_of(Path(__file__))
    for tutorial in TUTORIALS:
        assert source.count(f'"{tutorial.name}"') == 1
        assert posixpath.join("docs/tutorials", tutorial.name) in text_of(README)
    assert len(TUTORIALS) == 4
