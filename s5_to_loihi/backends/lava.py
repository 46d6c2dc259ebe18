"""Running a network under Lava's CPU simulator, in a supervised process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.errors import InputError
from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.lava_runtime import supervisor
from s5_to_loihi.lava_runtime.recording import create_recordings, read_recordings
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Evaluation, Mode, timestep_count

WORKER = "s5_to_loihi.backends.lava_worker"
#: A run that makes no progress for this long is stopped, in seconds. Starting up takes a few.
STALL_TIMEOUT = 120.0
#: A whole run may take this many seconds for start and stop, and for each timestep.
START_TIMEOUT = 300.0
TIMESTEP_TIMEOUT = 1.0


def run(
    network: Network,
    tokens: np.ndarray,
    *,
    mode: Mode = Mode.PIPELINED,
    fine_grained: bool = False,
    record: bool = False,
    total_timeout: float | None = None,
    stall_timeout: float = STALL_TIMEOUT,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Run one sequence through Lava.

    Args:
        network: verified, with aligned delays.
        tokens: (tokens, 1, input features) integers, see ``inputs.as_tokens``.
        mode: how tokens follow one another.
        fine_grained: one Lava process a group and synapses, instead of one for the network.
        record: keep every value of every group.
        total_timeout: seconds for the whole run; by default generous for its length.
        stall_timeout: seconds without progress after which it is stopped.
        on_progress: called with timesteps done and in all.

    Returns:
        Outputs, values if recorded, and no state (it stays in Lava's processes).

    Raises:
        LavaError: Lava is not installed, failed or did not answer; nothing of it is left running.
        InputError: the tokens do not suit the network, or are more than one sequence.
    """
    tokens = check_tokens(network, tokens)
    if tokens.shape[1] != 1:
        raise InputError(
            "tokens", f"hold {tokens.shape[1]} sequences (limit 1 a Lava run)", "Run them in turn"
        )
    lava_shim.install()
    steps = timestep_count(network, mode, len(tokens))
    with supervisor.job_folder("Lava run") as job:
        bundle.write(bundle.Bundle(network, None), job / "network")
        np.save(job / "tokens.npy", tokens[:, 0])
        outputs = np.zeros((len(tokens), network.output_size), dtype=np.int32)
        np.save(job / "outputs.npy", outputs)
        options = {"mode": mode.value, "fine_grained": fine_grained}
        (job / "options.json").write_text(json.dumps(options))
        if record:
            create_recordings(job, network, len(tokens))
        supervisor.run_worker(
            WORKER,
            job,
            name="Lava run",
            total_timeout=total_timeout or START_TIMEOUT + TIMESTEP_TIMEOUT * steps,
            stall_timeout=stall_timeout,
            on_progress=lambda done: on_progress(done, steps),
        )
        return Evaluation(
            outputs=np.load(job / "outputs.npy").astype(np.int64)[:, None],
            values=read_recordings(job, network) if record else {},
            state={},
        )
