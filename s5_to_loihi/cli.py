"""The command line: which commands there are, and how errors end. Nothing is computed here.

A command is imported when it is called: help and shell completion wait for none of them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from s5_to_loihi.commands import streams
from s5_to_loihi.commands.settings import settings
from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.version import VERSION

#: Exit code that typer gives.
WRONG_CALL = 2


class Command(NamedTuple):
    """A module of ``commands``, a function in it, and the first line of what that says it does."""

    module: str
    function: str
    summary: str


#: In the order of help.
COMMANDS = {
    "compile": Command(
        "compilation",
        "compile_command",
        "Turn an export of IntelLabs/SparseRNNs, a .net file, or a float checkpoint into a bundle.",
    ),
    "quantize": Command(
        "quantization",
        "quantize",
        "Turn a float checkpoint into a bundle of integers, and say what that costs.",
    ),
    "train": Command(
        "training",
        "train",
        "Train an S5 model in PyTorch, sparse and as integers, to a verified bundle.",
    ),
    "study": Command(
        "study",
        "study",
        "Measure the networks of a scaling study: SI-SNR against weights, memory and energy.",
    ),
    "synthesise": Command(
        "training",
        "synthesise",
        "Make a training set of synthetic noisy speech, of any size, from nobody's recordings.",
    ),
    "verify": Command("checking", "verify", "Run the recorded vectors and compare every integer."),
    "inspect": Command(
        "inspection",
        "inspect",
        "Show what is inside: tensors, densities, ranges used, saturated, zero and dead neurons.",
    ),
    "denoise": Command(
        "denoising",
        "denoise",
        "Denoise a recording, or all of a folder, with a compiled network.",
    ),
    "stream": Command(
        "streaming",
        "stream",
        "Denoise sound while it comes: from standard input to standard output, or live.",
    ),
    "run": Command(
        "running",
        "run",
        "Run a network on data of any length with the fast simulator, or on a GPU.",
    ),
    "evaluate": Command(
        "evaluate",
        "evaluate",
        "Evaluate a network on a test set: a denoiser on pairs of recordings, others on answers.",
    ),
    "map": Command(
        "mapping",
        "map_command",
        "Map a network onto Loihi 2 cores, and write the mapping into the bundle.",
    ),
    "microcode": Command(
        "microcode",
        "microcode",
        "List what the neurons have to compute, for whoever writes their microcode.",
    ),
    "join": Command(
        "netx_files",
        "join",
        "Write netx files and bundles, one behind the other, as one netx file.",
    ),
    "export": Command(
        "netx_files",
        "export",
        "Write a network that came from a netx file as such a file again, with what was changed.",
    ),
    "calibrate": Command(
        "calibration",
        "calibrate",
        "Write micro-benchmarks for a board; fit the model's constants to what they took.",
    ),
    "deploy": Command(
        "deploy",
        "deploy",
        "Run a bundle on a board host over ssh and SLURM, and verify what comes back.",
    ),
    "sweep": Command(
        "sweep",
        "sweep",
        "Compute every combination of settings in a file, and mark the best compromises.",
    ),
    "profile": Command(
        "profile", "profile", "Estimate latency and energy of a network on Loihi 2, with ranges."
    ),
    "report": Command(
        "report",
        "report",
        "Write one HTML file that says what a network costs, and how each number came about.",
    ),
    "demo": Command(
        "running",
        "demo",
        "Compile the shipped denoiser, verify it under Lava, and denoise the shipped recording.",
    ),
    "doctor": Command(
        "doctor", "doctor", "Say what works here, what is missing, and how to get it."
    ),
    "cache": Command(
        "cache",
        "cache",
        "Say where compiled kernels are kept and how large they are, or delete them.",
    ),
}


class _Commands(TyperGroup):
    """Knows its commands by name and summary until one is called."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        for name, command in COMMANDS.items():
            self.commands[name] = TyperCommand(
                name, short_help=command.summary, rich_markup_mode=None
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else imported(name), rest


def imported(name: str) -> Any:
    """Return the command itself, as click calls it."""
    entry = COMMANDS[name]
    function = getattr(import_module(f"s5_to_loihi.commands.{entry.module}"), entry.function)
    command = _alone(name, function)
    command.params.extend(_alone("", _of_every_command).params)
    return command


def _alone(name: str, function: Callable[..., None]) -> Any:
    """Return a function as click calls it."""
    only = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    only.command(name)(function)
    return get_command(only)


def _quiet(value: bool) -> None:
    settings.quiet = value


def _verbose(value: bool) -> None:
    settings.verbose = value


def _of_every_command(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", callback=_quiet, expose_value=False, help="Only warnings and errors."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_verbose,
            expose_value=False,
            help="Each step with its seconds, and where an error comes from.",
        ),
    ] = False,
) -> None:
    """Hold the options that every command has."""


app = typer.Typer(
    cls=_Commands,
    help="Compile sparse S5 models to integer networks for Loihi 2, and verify every integer."
    "\n\nExit codes: 0 ok, 1 user error, 2 does not fit, 3 verification failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        print(f"s5_to_loihi {VERSION}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    settings.quiet = settings.verbose = settings.json = False


def main() -> None:
    """Run the command line; every error of the user's ends with a message and an exit code."""
    try:
        app()
    except SystemExit as end:
        # typer ends a wrong call with 2, which means "does not fit" here, and an interrupt with
        # 130 and no word.
        if isinstance(end.code, int) and end.code > streams.SIGNALLED:
            _say_ended("interrupted" if end.code == streams.INTERRUPTED else "told to end")
        sys.exit(1 if end.code == WRONG_CALL else end.code)
    except S5ToLoihiError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Check the path", 1)
    except KeyboardInterrupt:
        _say_ended("interrupted")
        sys.exit(streams.INTERRUPTED)


def _say_ended(how: str) -> None:
    print(f"{how}; nothing is left running", file=sys.stderr)


def _fail(message: str, exit_code: int) -> NoReturn:
    from rich.text import Text

    from s5_to_loihi.commands.console import stderr

    if settings.verbose:
        traceback.print_exc()
    text = Text.assemble(("error:", "bold red"), " ", message)
    stderr.print(text, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
