"""The command line: which commands there are, and how errors end. Nothing is computed here."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from s5_to_loihi.commands import (
    checking,
    compilation,
    denoising,
    deploy,
    evaluate,
    mapping,
    microcode,
    netx_files,
    profile,
    report,
    running,
    streaming,
    sweep,
)
from s5_to_loihi.commands.console import stderr, stdout
from s5_to_loihi.errors import S5ToLoihiError
from s5_to_loihi.version import VERSION

app = typer.Typer(
    help="Compile quantized, sparse S5 models to Loihi 2 networks in Lava, and prove every integer."
    "\n\nExit codes: 0 ok, 1 user error, 2 does not fit, 3 verification failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
#: Exit codes that typer gives.
WRONG_CALL, INTERRUPTED = 2, 130


def _version(show: bool) -> None:
    if show:
        stdout.print(f"s5_to_loihi {VERSION}", highlight=False)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("compile")(compilation.compile_command)
app.command()(compilation.quantize)
app.command()(checking.verify)
app.command()(checking.inspect)
app.command()(denoising.denoise)
app.command()(streaming.stream)
app.command()(running.run)
app.command()(evaluate.evaluate)
app.command("map")(mapping.map_command)
app.command()(microcode.microcode)
app.command()(netx_files.join)
app.command()(netx_files.export)
app.command()(deploy.deploy)
app.command()(sweep.sweep)
app.command()(profile.profile)
app.command()(report.report)
app.command()(running.demo)


def main() -> None:
    """Run the command line; every error of the user's ends with a message and an exit code."""
    try:
        app()
    except SystemExit as end:
        # typer ends a wrong call with 2, which means "does not fit" here, and an interrupt with
        # 130 and no word.
        if end.code == INTERRUPTED:
            stderr.print("interrupted; nothing is left running", highlight=False)
        sys.exit(1 if end.code == WRONG_CALL else end.code)
    except S5ToLoihiError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Check the path", 1)
    except KeyboardInterrupt:
        stderr.print("interrupted; nothing is left running", highlight=False)
        sys.exit(INTERRUPTED)


def _fail(message: str, exit_code: int) -> NoReturn:
    text = Text.assemble(("error:", "bold red"), " ", message)
    stderr.print(text, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
