"""What is printed: whole at any width, a verdict first, JSON alone, progress wherever it goes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_bundles import mapped_denoiser
from rich.cells import cell_len
from rich.console import Console

from s5_to_loihi import cli
from s5_to_loihi.commands import progress
from s5_to_loihi.commands.settings import settings as asked
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, CLEAN, DENOISER, NOISY
from s5_to_loihi.reports.summary import NOTES, Summary, merged
from s5_to_loihi.reports.table import of_rows
from s5_to_loihi.reports.terminal import rendered


@pytest.fixture(autouse=True)
def _nothing_asked():
    yield
    asked.quiet = asked.verbose = asked.json = False


# --- tables --------------------------------------------------------------------------------------

WORDS = st.text("abcdefgh.0123456789µ…", min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(10, 200))
def test_no_cell_of_a_table_is_ever_cut(data, width):
    headings = data.draw(st.lists(WORDS, min_size=1, max_size=9))
    kinds = data.draw(st.lists(st.booleans(), min_size=len(headings), max_size=len(headings)))
    row = st.lists(WORDS, min_size=len(headings), max_size=len(headings))
    rows = data.draw(st.lists(row, min_size=1, max_size=4, unique_by=lambda row: row[0]))
    columns = [heading + " #" * number for heading, number in zip(headings, kinds, strict=True)]
    text = rendered(of_rows("title", columns, rows), width).plain
    printed = text.split()
    for words in (*headings, *(words for row in rows for words in row)):
        assert words in printed
    # What is wider than the terminal is one column beside the first, which no table can break.
    widest = max(cell_len(words) for row in (headings, *rows) for words in row)
    assert max(map(cell_len, text.splitlines())) <= max(width, 2 * widest + 1)


def test_a_table_that_is_too_wide_goes_on_below_with_its_first_column():
    table = of_rows("t", ("row", "first #", "second #"), [("a", "1" * 20, "2" * 20)])
    assert rendered(table, 80).plain.splitlines()[2:] == [
        "row                first               second",
        f"a   {'1' * 20} {'2' * 20}",
    ]
    assert rendered(table, 30).plain.splitlines()[2:] == [
        "row                first",
        f"a   {'1' * 20}",
        "",
        "row               second",
        f"a   {'2' * 20}",
    ]


def test_rows_of_one_name_stay_apart_below():
    rows = [("a", mode, "1" * 20, "2" * 20) for mode in ("x", "y")]
    lines = rendered(of_rows("t", ("row", "mode", "first #", "second #"), rows), 40).plain
    assert lines.splitlines()[2:] == [
        "row mode                first",
        f"a   x    {'1' * 20}",
        f"a   y    {'1' * 20}",
        "",
        "row mode               second",
        f"a   x    {'2' * 20}",
        f"a   y    {'2' * 20}",
    ]


def test_a_pipe_has_no_width():
    row = ("a", "words " * 60)
    assert len(rendered(of_rows("t", ("n", "text"), [row]), None).plain.splitlines()) == 4


# --- summaries -----------------------------------------------------------------------------------


def test_notes_that_differ_in_their_block_are_one():
    notes = [f"block{place}: a sigmoid" for place in range(4)] + ["block0: x", "block7: x", "y"]
    assert merged(notes) == ["block0 to block3: a sigmoid", "block0, block7: x", "y"]


def test_a_summary_has_room_for_few_notes_and_says_how_many_there_are():
    summary = Summary("fine", notes=[f"note {chr(97 + place)}" for place in range(9)])
    assert len(summary.head(80, False)) == 1 + NOTES
    assert summary.head(80, False)[-1].plain == "Note: 6 more with --details"
    assert len(summary.head(80, True)) == 10


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    return mapped_denoiser(tmp_path_factory.mktemp("mapped"))


@pytest.fixture
def example(compiled, tmp_path, request):
    """Tell the call of a command that ends by itself."""

    def example_of(command):
        calls = _calls(tmp_path, compiled)
        assert command in calls, "a new command needs a call here"
        return [
            request.getfixturevalue("mapped") if one == "MAPPED" else one for one in calls[command]
        ]

    return example_of


def _calls(tmp_path: Path, bundle: Path) -> dict[str, list]:
    """Return a call of every command that ends by itself, without a network or Lava."""
    frames = tmp_path / "frames.npy"
    np.save(frames, np.random.default_rng(0).uniform(0, 0.1, (40, 257)))
    other = tmp_path / "other.bundle"
    shutil.copytree(bundle, other)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        f"calibration: {CALIBRATION}\naxes:\n  checkpoint: [{CHECKPOINT}]\n  weights: [8]\n"
    )
    clips = {}
    for name, source in (("noisy", NOISY), ("clean", CLEAN)):
        clips[name] = tmp_path / name
        clips[name].mkdir()
        subprocess.run(["cp", source, clips[name] / "clip_fileid_1.wav"], check=True)
    return {
        "compile": ["compile", DENOISER, "-o", tmp_path / "c.bundle"],
        "quantize": [
            "quantize",
            CHECKPOINT,
            "--calibration",
            CALIBRATION,
            "-o",
            tmp_path / "q.bundle",
        ],
        "verify": ["verify", bundle, "-b", "interpreter", "--tokens", 4],
        "inspect": ["inspect", bundle],
        "denoise": ["denoise", NOISY, tmp_path / "out.wav"],
        "run": ["run", bundle, frames, "-o", tmp_path / "out.npy"],
        "evaluate": ["evaluate", bundle, "--noisy", clips["noisy"], "--clean", clips["clean"]],
        "map": ["map", other],
        "microcode": ["microcode", bundle, "-o", tmp_path / "listings"],
        "deploy": ["deploy", bundle, "--host", "me@host", "--archive", tmp_path / "a.tar.gz"],
        "sweep": ["sweep", sweep, "-o", tmp_path / "swept", "-j", 1],
        "profile": ["profile", "MAPPED"],
        "report": [
            "report",
            mapped_denoiser(tmp_path),
            "-o",
            tmp_path / "report.html",
            "--no-measure",
        ],
        "doctor": ["doctor"],
        "cache": ["cache"],
    }


#: What gives sound instead; what takes minutes, or an extra, and is called in tests of its own.
NEVER = {"stream", "join", "export"}
LONG = {"demo", "train", "synthesise", "study", "calibrate"}
#: What takes seconds more than the others, or shows a table in any case.
SLOW, TABLES = {"report", "evaluate", "map", "quantize"}, {"doctor", "sweep"}


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name not in NEVER | LONG])
def test_json_is_alone_on_standard_output(call, example, command):
    code, output, _ = call(*example(command), "--json")
    assert code == 0
    json.loads(output, parse_constant=pytest.fail)


@pytest.mark.parametrize("command", sorted(set(cli.COMMANDS) - NEVER - LONG - SLOW - TABLES))
def test_a_summary_is_short_and_quiet_is_quiet(call, example, command):
    arguments = example(command)
    code, output, _ = call(*arguments)
    assert code == 0
    assert output.splitlines()[0].strip()
    assert len(output.splitlines()) <= 14
    code, output, _ = call(*arguments, "--quiet")
    assert (code, output) == (0, "")


@pytest.mark.parametrize("extra", [["--lowering", "stock"], ["--lowering", "embedded"], []])
@pytest.mark.parametrize("into", [True, False])
def test_microcode_prints_json_alone(call, compiled, tmp_path, extra, into):
    target = ["-o", tmp_path / "folder"] if into else []
    code, output, _ = call("microcode", compiled, *target, *extra, "--json")
    assert code == 0
    json.loads(output)


def test_details_are_the_tables(call, compiled):
    short = call("inspect", compiled)[1].splitlines()
    whole = call("inspect", compiled, "--details")[1].splitlines()
    assert len(whole) > 100
    assert whole[: len(short) - 2] == short[:-2]
    assert whole[-1] == short[-1]
    assert not any("…" in line for line in whole)


def test_verbose_names_each_step_and_where_an_error_comes_from(compiled, tmp_path):
    program = [sys.executable, "-m", "s5_to_loihi"]
    done = subprocess.run([*program, "inspect", compiled, "-v"], capture_output=True, text=True)
    assert re.search(r"^Evaluating the recorded tokens: \d+\.\d s$", done.stderr, re.MULTILINE)
    done = subprocess.run(
        [*program, "inspect", tmp_path / "nothing", "-v"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


# --- progress ------------------------------------------------------------------------------------


def _lines(monkeypatch, work):
    """Show work on what is no terminal, with no time between lines; return them."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LATER", 0.0)
    written = io.StringIO()
    seen = threading.Event()
    plain = written.write
    monkeypatch.setattr(written, "write", lambda text: (plain(text), seen.set())[0])
    console = Console(file=written, width=80)
    with progress.Shown(console, "Quantizing", "groups") as shown:
        work(shown)
        seen.clear()
        assert asked.quiet or seen.wait(10)
    return written.getvalue().splitlines()


def test_a_pipe_gets_a_line_now_and_then_even_if_nothing_is_counted(monkeypatch):
    assert re.fullmatch(r"Quantizing: \d+ s", _lines(monkeypatch, lambda shown: None)[-1])
    last = _lines(monkeypatch, lambda shown: shown.update(1234, 5678))[-1]
    assert re.fullmatch(r"Quantizing: 1,234 of 5,678 groups, \d+ s", last)


def test_the_time_left_does_not_count_what_came_first_and_was_compiled(monkeypatch):
    def work(shown):
        shown.update(1, 11)
        shown._first = (1, shown._first[1] - 100)
        shown.update(2, 11)

    last = _lines(monkeypatch, work)[-1]
    assert re.fullmatch(r"Quantizing: 2 of 11 groups, \d s, about 90\d s left", last)


def test_quiet_work_says_nothing(monkeypatch):
    asked.quiet = True
    assert _lines(monkeypatch, lambda shown: shown.update(1, 2)) == []


def test_a_terminal_gets_a_bar_that_knows_its_total_and_goes_away():
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True)
    with progress.Shown(console, "Quantizing", "groups") as shown:
        shown.update(3, 11)
        shown._bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert "3/11 groups" in text
    assert max(map(len, text.replace("\r", "\n").splitlines())) <= 80


# --- doctor and cache ----------------------------------------------------------------------------


def test_doctor_says_how_to_get_what_is_missing(call, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("S5_TO_LOIHI_CACHE", os.devnull)
    code, output, _ = call("doctor", "--json")
    found = {one["name"].split(":")[0]: one for one in json.loads(output)["checks"]}
    assert code == 0
    assert found["Python"]["state"] == "ok"
    assert found["ssh"] == {
        "name": "ssh: deploy",
        "state": "missing",
        "found": "Install OpenSSH: apt install openssh-client",
    }
    assert found["cache"]["state"] == "missing"
    assert {"orbax", "flax", "evaluate", "Lava", "sbatch", "cc", "chromium"} <= set(found)


def test_the_cache_is_told_and_cleared_and_nothing_else_is(call, monkeypatch, tmp_path):
    monkeypatch.setenv("S5_TO_LOIHI_CACHE", str(tmp_path))
    monkeypatch.setattr("s5_to_loihi.commands.cache._of_package", lambda: [])
    (tmp_path / "__pycache__").mkdir()
    kept = tmp_path / "mine.py"
    for file in (kept, tmp_path / "kernels_1.o", tmp_path / "__pycache__" / "kernels_1.a.nbi"):
        file.write_bytes(b"x" * 1000)
    code, output, _ = call("cache", "--json")
    assert code == 0
    assert json.loads(output)["networks"] == {
        "directory": str(tmp_path), "files": 2, "bytes": 2000,
    }  # fmt: skip
    assert call("cache", "--clear")[0] == 0
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [kept]
