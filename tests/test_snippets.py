"""The Python of README and docs runs as it stands; ``make check`` type-checks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import snippets
from metric_cuts import SPEECH
from needs import needs_lava, needs_torch

from s5_to_loihi.demo import CHECKPOINT, DENOISER

#: What snippets of a page need.
NEEDS = {
    "python.md": (needs_lava, pytest.mark.xdist_group("lava")),
    "checkpoints.md": (needs_torch,),
}
PAGES = [
    pytest.param(page, marks=NEEDS.get(page.name, ()), id=page.name) for page in snippets.pages()
]


def run(program: str, folder: Path) -> subprocess.CompletedProcess:
    path = folder / "page.py"
    path.write_text(program, encoding="utf-8")
    helpers = str(Path(snippets.__file__).parent)
    paths = [str(snippets.ROOT), helpers, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, path.name], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(page, compiled, tmp_path):
    shutil.copytree(compiled, tmp_path / "denoiser.bundle")
    shutil.copytree(CHECKPOINT, tmp_path / "checkpoints" / "denoiser")
    shutil.copytree(DENOISER, tmp_path / "exports" / "denoiser")
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
        shutil.copy(SPEECH / f"{name}.wav", tmp_path / name / "speech.wav")
    finished = run(snippets.page_program(page, only_run=True), tmp_path)
    assert finished.returncode == 0, finished.stderr


def test_lines_are_those_of_the_page(tmp_path):
    text = "# Title\n\n```python\nx = 1\n```\nWords.\n\n```\nnot Python\n```\n"
    text += "```python\n\nx / 0\n```\n"
    finished = run(snippets.program(text, "token", only_run=True), tmp_path)
    assert 'page.py", line 13' in finished.stderr
    assert "ZeroDivisionError" in finished.stderr


def test_only_what_says_why_is_not_run():
    text = f"```python\n{snippets.NOT_RUN}it needs a board.\nx\n```\n```python\ny\n```\n"
    assert snippets.program(text, only_run=True).split() == ["y"]
    assert "\nx\n" in snippets.program(text, only_run=False)
