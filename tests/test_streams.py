"""Standard streams and signals: any encoding, closed streams, readers that leave, early ends."""

import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.text import Text

from s5_to_loihi.commands import console
from s5_to_loihi.commands.console import PlainConsole
from s5_to_loihi.errors import InputError

PROGRAM = [sys.executable, "-m", "s5_to_loihi"]
BUNDLE = Path(__file__).parent / "data" / "bundles" / "version1_quantized"
PREPARED = "import sys; from s5_to_loihi.commands import streams; streams.prepare(); "


def printed(code: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run a line of Python with prepared streams, in a shell if something is added to it."""
    command = ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, PREPARED + code]
    return subprocess.run(command, capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "±1 µs 2·3 × ━".encode()),
        ("cp932", b"\x81\x7d1 us 2*3 \x81\x7e \x84\xaa"),
        ("iso8859_2", b"+-1 us 2*3 \xd7 ?"),
        ("ascii", b"+-1 us 2*3 x ?"),
        ("ascii:strict", b"+-1 us 2*3 x ?"),
    ],
)
def test_what_an_encoding_lacks_is_written_plainly(encoding, expected):
    code = "print('±1 µs 2·3 × ━'); print('\\ud800 ü', file=sys.stderr)"
    done = printed(code, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert done.stdout == expected + b"\n"
    assert done.stderr.startswith(b"? ")


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "cp932"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_commands_end_well_in_any_encoding(settings):
    done = subprocess.run(
        [*PROGRAM, "inspect", BUNDLE], capture_output=True, env=os.environ | settings
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) > 500


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_good_as_none(tmp_path, shell):
    code = (
        f"file = open({str(tmp_path / 'file')!r}, 'w'); print('a'); print('b', file=sys.stderr);"
        " sys.stdin.read(); file.write(str(file.fileno()))"
    )
    done = printed(code, shell)
    assert done.returncode == 0
    assert int((tmp_path / "file").read_text()) > 2
    assert done.stderr in (b"", b"b\n")


def test_inspect_with_closed_streams():
    command = ["sh", "-c", '"$@" >&- 2>&-', "sh", *PROGRAM, "inspect", str(BUNDLE)]
    assert subprocess.run(command).returncode == 0


def test_a_reader_that_leaves_does_not_stop_the_work(tmp_path):
    code = "[print('x' * 1000, flush=True) for _ in range(200)]; print('done', file=sys.stderr)"
    done = printed(code, "| head -c 1")
    assert done.stderr == b"done\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_under_standard_output_is_named():
    command = ["sh", "-c", '"$@" >/dev/full', "sh", *PROGRAM, "inspect", str(BUNDLE)]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: standard output or error: No space left on device")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_unwinds_the_program(tmp_path, ending):
    code = (
        f"import tempfile, time\nwith tempfile.TemporaryDirectory(dir={str(tmp_path)!r}):\n"
        " print('there', flush=True)\n time.sleep(60)"
    )
    command = [sys.executable, "-c", PREPARED + code]
    # Also where these tests run under nohup.
    heeded = functools.partial(signal.signal, ending, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=heeded) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(ending)
        assert process.wait(10) == 128 + ending
    assert list(tmp_path.iterdir()) == []


def test_nohup_is_heeded():
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGHUP); print('on')"
    command = ["nohup", sys.executable, "-c", PREPARED + code]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, b"on\n")


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.5])
def test_an_early_interrupt_shows_no_traceback(seconds):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*PROGRAM, "inspect", BUNDLE], **pipes)
    maps = Path(f"/proc/{process.pid}/maps")
    # Python itself has to be there, and numpy is the first large import of ours.
    end = time.monotonic() + 20
    while "numpy" not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors
    # Python ends itself by the signal if it came in generated code; a shell says 130 of both.
    assert process.returncode in (0, 130, -signal.SIGINT), errors


def test_nothing_that_is_printed_steers_the_terminal():
    file = io.StringIO()  # bells and returns are dropped by rich
    shown = PlainConsole(file=file, width=60)
    shown.print("\x1b]0;owned\x07 [bold]a[/bold] :smile: \x9b2J\nb\tc", highlight=False)
    shown.print(Text("\x1b[31m\r"))
    assert file.getvalue().splitlines() == [
        "\ufffd]0;owned [bold]a[/bold] :smile: \ufffd2J",
        "b       c",
        "\ufffd[31m",
    ]
    assert isinstance(console.stdout, PlainConsole)
    assert isinstance(console.stderr, PlainConsole)


def test_errors_are_printable():
    assert str(InputError("a\x1b[2J", "is\tno\nfile")) == "a\ufffd[2J: is\tno\nfile."
