"""The worker that runs a network under Lava: ``python -m s5_to_loihi.backends.lava_worker JOB``.

Started by ``lava.run`` through the supervisor. The job folder holds ``network`` (a bundle),
``tokens.npy``, ``options.json`` and ``outputs.npy``, which is filled.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.lava_runtime import supervisor
from s5_to_loihi.simulators.interpreter import Mode, period, timestep_count


def report_killed_children(job: Path) -> None:
    """Report a Lava process that a signal ended (no memory left, say); nobody else would.

    Looks at the children that have ended without collecting them, which is Lava's business.
    """

    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")

    def watch():
        while children.exists():
            time.sleep(0.5)
            for child in map(int, children.read_text().split()):
                with suppress(ChildProcessError):
                    end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    if end is not None and end.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
                        name = signal.Signals(end.si_status).name
                        hint = ", perhaps /dev/shm is full" if name == "SIGBUS" else ""
                        report(f"process {child} was killed by {name}{hint}")

    def report(what):
        try:
            raise RuntimeError(what)
        except RuntimeError:
            supervisor.report_error(job, "one of Lava's processes")

    threading.Thread(target=watch, name="report_killed_children", daemon=True).start()


def main(job: Path) -> None:
    """Build the network, run it over all tokens, and say that it is done."""
    supervisor.die_with_parent()
    report_killed_children(job)
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    from s5_to_loihi.process_models.process import S5Network, TokenStream

    options = json.loads((job / "options.json").read_text())
    mode = Mode(options["mode"])
    network = bundle.read(job / "network").network
    tokens = np.load(job / "tokens.npy")
    step = period(network, mode)
    process = S5Network(network=network, mode=mode, job=str(job))
    stream = TokenStream(
        tokens=tokens,
        file=str(job / "outputs.npy"),
        output_size=network.output_size,
        latency=network.latency,
        period=step,
        job=str(job),
    )
    stream.out.connect(process.inp)
    process.out.connect(stream.inp)
    configuration = Loihi2SimCfg(
        select_tag="fixed_pt", select_sub_proc_model=options["fine_grained"]
    )
    steps = timestep_count(network, mode, len(tokens))
    try:
        stream.run(condition=RunSteps(num_steps=steps), run_cfg=configuration)
    finally:
        stream.stop()
    supervisor.finish(job)


if __name__ == "__main__":
    supervisor.run_main(main, "lava worker")
