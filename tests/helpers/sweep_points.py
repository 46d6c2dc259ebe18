"""Point functions for tests of the sweep engine: cheap, and journalled by the points themselves.

A payload is ``(directory, key, behaviour)``. Each call appends a line to ``journal`` in the
directory: the key, and whether the point's result was there already, which must never happen.
"""

import os
import signal
import tempfile
import time
from pathlib import Path

from s5_to_loihi.errors import CapacityError


def compute(payload) -> dict:
    directory, key, behaviour = payload
    stored = Path(directory, "out", "points", f"{key}.json").exists()
    journal = os.open(Path(directory, "journal"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{key} {os.getpid()} {'again' if stored else 'first'}\n".encode())
    os.close(journal)
    kind, _, argument = behaviour.partition(" ")
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "die-once" and not Path(directory, argument).exists():
        Path(directory, argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "refuse":
        raise CapacityError("network", "needs 200 cores (limit 120)", "Take a larger system")
    if kind == "bug":
        raise ZeroDivisionError("nobody expected this")
    if kind == "leave-a-folder":
        return {"folder": tempfile.mkdtemp()}
    if kind == "sleep":
        time.sleep(float(argument))
    while kind == "await" and len(Path(directory, "journal").read_text().splitlines()) < int(
        argument
    ):
        time.sleep(0.01)
    return {"square": len(key) ** 2, "name": key, "behaviour": kind}
