"""Standard streams that take whatever is printed, and signals that end a command in order.

Only Python's own modules are imported here: it is ready before anything else can go wrong.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from types import FrameType

#: Exit code of a command that a signal ended, less the signal's number, as shells count.
SIGNALLED = 128
INTERRUPTED = SIGNALLED + signal.SIGINT
#: Signals that ask a program to end.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
#: How encodings without them show the characters that this package prints.
_PLAIN = str.maketrans(
    {
        "µ": "u",
        "μ": "u",
        "·": "*",
        "±": "+-",
        "×": "x",
        "−": "-",
        "–": "-",
        "…": ".",
        "→": ">",
        "≤": "<",
        "≥": ">",
        "²": "2",
    }
)
_ERRORS = "s5_to_loihi.plain"


def prepare() -> None:
    """Make the standard streams take every text, and signals that end the program unwind it.

    A character that a stream's encoding does not have becomes a similar one, or ``?``. A closed
    stream is as good as /dev/null, and one whose reader leaves becomes that: what a command
    computes and writes does not depend on who looks on.
    """
    codecs.register_error(_ERRORS, _plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # The next file to be opened would have the number of a closed stream, and be printed
            # into.
            setattr(sys, name, open(os.devnull, "w" if number else "r"))
        elif number and stream is getattr(sys, f"__{name}__") and hasattr(stream, "reconfigure"):
            setattr(sys, name, _replaced(stream))
    for one in _ENDING:
        if signal.getsignal(one) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(one, _end)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(char if char.isascii() else "?" for char in text), error.end


def _replaced(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
    )


class _Output(io.FileIO):
    """A file that drops what can no longer be written, so that nothing fails a second time."""

    def write(self, data) -> int:
        """Write bytes.

        Raises:
            OSError: they cannot be written, but not since nobody reads them.
        """
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(error, BrokenPipeError):
                return len(data)
            raise OSError(error.errno, error.strerror, "standard output or error") from None


def _end(number: int, frame: FrameType | None) -> None:
    # A forked process has nothing of its own to tidy up.
    if os.getpid() != _PROCESS:
        os._exit(SIGNALLED + number)
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(SIGNALLED + number)


_PROCESS = os.getpid()
