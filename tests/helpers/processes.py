"""Watching processes of tests from outside."""

import contextlib
import time
from pathlib import Path

#: Seconds after which what does not happen never will.
LONG = 250.0


def wait_until(condition) -> None:
    """Wait for a condition; no test measures how long that takes."""
    give_up = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.005)


def is_alive(process: int) -> bool:
    """Tell whether a process has not ended; a zombie has."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def children(process: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(entry.parent.name))
    return found
