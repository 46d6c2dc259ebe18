"""The command line starts fast: what is not needed is not imported."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_command

from s5_to_loihi import cli
from s5_to_loihi.demo import DENOISER

#: What takes long to import, and what commands that compute nothing do without besides.
HEAVY = {
    "numba",
    "llvmlite",
    "matplotlib",
    "jinja2",
    "networkx",
    "lava",
    "scipy.signal",
    "torch",
}
COMPUTING = {"numpy", "scipy", "yaml", "safetensors"}
_CALL = """
import json, sys
from s5_to_loihi import cli
try:
    cli.main()
except SystemExit as end:
    code = end.code or 0
sys.stderr.write(chr(10) + json.dumps([code, sorted(sys.modules)]))
"""


def imported_by(*arguments, **environment):
    """Call the program in a process of its own; return the names of all modules imported."""
    finished = subprocess.run(
        [sys.executable, "-c", _CALL, *map(str, arguments)],
        capture_output=True, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    code, modules = json.loads(finished.stderr.splitlines()[-1])
    assert code == 0, finished.stderr
    return set(modules), finished.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["--show-completion", "bash"]]
)
def test_what_computes_nothing_imports_nothing_that_computes(arguments):
    # Else it looks for the shell that it was called from, which is none here.
    modules, _ = imported_by(*arguments, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert modules & (HEAVY | COMPUTING) == set()
    assert "s5_to_loihi.commands.console" not in modules


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "BUNDLE"],
        ["microcode", "BUNDLE", "--group", "encoder"],
        ["verify", "BUNDLE", "--backend", "interpreter", "--tokens", "4"],
        ["deploy", "BUNDLE", "--host", "nobody@nowhere", "--dry-run"],
        ["compile", DENOISER, "-o", "TARGET"],
        ["quantize", "--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_no_kernels_imports_none(arguments, compiled, tmp_path):
    given = {"BUNDLE": compiled, "TARGET": tmp_path / "made.bundle"}
    modules, _ = imported_by(*(given.get(one, one) for one in arguments))
    assert modules & HEAVY == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_of_commands_says_what_their_own_help_says(name):
    entry = cli.COMMANDS[name]
    function = getattr(import_module(f"s5_to_loihi.commands.{entry.module}"), entry.function)
    assert inspect.getdoc(function).splitlines()[0] == entry.summary


def test_a_shell_completes_commands_and_options():
    asked = {"_S5_TO_LOIHI_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    program = os.path.join(os.path.dirname(sys.executable), "s5-to-loihi")
    offered = []
    for words, place in (("s5-to-loihi in", "1"), ("s5-to-loihi inspect --gl", "2")):
        environment = {**os.environ, **asked, "COMP_WORDS": words, "COMP_CWORD": place}
        finished = subprocess.run([program], capture_output=True, text=True, env=environment)
        offered.append(finished.stdout.split())
    assert offered == [["inspect"], ["--glu"]]


def test_a_mistyped_command_is_told_which_was_meant(call):
    code, _, error = call("quantise")
    assert code == 1
    assert "quantize" in error


def test_the_module_is_the_program():
    finished = subprocess.run(
        [sys.executable, "-m", "s5_to_loihi", "-h"], capture_output=True, text=True, check=True
    )
    assert "quantize" in finished.stdout
    assert set(cli.COMMANDS) <= set(get_command(cli.app).commands)
