"""What tests of several files need: the program as users call it, the shipped denoiser."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s5_to_loihi import bundle, cli
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Call the program; return (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["s5-to-loihi", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """A bundle of the shipped denoiser, without a mapping; no test may change it."""
    path = tmp_path_factory.mktemp("compiled") / "denoiser.bundle"
    bundle.write(compile_export(DENOISER), path)
    return path
