"""The backends by name: same call, same integers."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum

import numpy as np

from s5_to_loihi.backends import board, lava
from s5_to_loihi.inputs import check_tokens
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.fast import FastSimulator
from s5_to_loihi.simulators.interpreter import Evaluation, Interpreter, Mode


class Backend(str, Enum):
    """What runs a network.

    Examples:
        >>> [backend.value for backend in s5.Backend]
        ['fast', 'interpreter', 'lava-fused', 'lava', 'rehearsal', 'board']
    """

    FAST = "fast"  #: compiled loops, in this process
    INTERPRETER = "interpreter"  #: numpy, in this process: the definition
    LAVA_FUSED = "lava-fused"  #: Lava's CPU simulator, one process for the network
    LAVA = "lava"  #: Lava's CPU simulator, one process a group and synapses, as on the chip
    REHEARSAL = "rehearsal"  #: the board's run under Lava on the CPU: its graph, time and signs
    BOARD = "board"  #: a Loihi 2 board, through Lava's closed extension; outputs only


#: The board, and what stands in for it.
BOARDS = (Backend.REHEARSAL, Backend.BOARD)
#: What runs on any machine that has Lava, and says of every value what it is.
WITHOUT_BOARD = tuple(backend for backend in Backend if backend not in BOARDS)
#: What makes no difference between modes: it knows tokens only.
ONE_MODE = (Backend.FAST,)


def run(
    network: Network,
    tokens: np.ndarray,
    backend: Backend,
    *,
    mode: Mode = Mode.PIPELINED,
    record: bool = False,
    timeout: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Run sequences from a zero state.

    Args:
        network: verified, with aligned delays.
        tokens: (tokens, batch, input features), see ``inputs.as_tokens``.
        backend: where to run.
        mode: how tokens follow one another; the fast simulator knows tokens only.
        record: keep every value of every group (the fast simulator: every message; the board and
            its rehearsal: nothing).
        timeout: seconds that Lava may take for one sequence, the board for all of them.
        on_progress: called with timesteps done and in all, over all sequences.

    Returns:
        Outputs and, if recorded, all values.

    Raises:
        InputError: the tokens do not suit the network.
        LavaError: Lava is missing, or what the board needs, or it failed or did not answer.

    Examples:
        >>> tokens, _ = s5.as_tokens(bundle.network, frames)
        >>> s5.run(bundle.network, tokens, s5.Backend.FAST).outputs.shape
        (200, 1, 257)
    """
    tokens = check_tokens(network, tokens)
    if backend is Backend.FAST:
        result = FastSimulator(network).run(tokens, threads=os.cpu_count() or 1, record=record)
        return Evaluation(result.outputs.astype(np.int64), result.messages, {})
    if backend is Backend.INTERPRETER:
        keep = None if record else ()
        return Interpreter(network).evaluate_timesteps(tokens, mode, keep)
    if backend in BOARDS:
        return board.run(
            network,
            tokens,
            mode=mode,
            total_timeout=timeout,
            on_progress=on_progress,
            rehearsed=backend is Backend.REHEARSAL,
        ).evaluation
    batch = tokens.shape[1]

    def run_sequence(index: int) -> Evaluation:
        return lava.run(
            network,
            tokens[:, index : index + 1],
            mode=mode,
            fine_grained=backend is Backend.LAVA,
            record=record,
            total_timeout=timeout,
            on_progress=lambda done, total: on_progress(index * total + done, batch * total),
        )

    results = [run_sequence(index) for index in range(batch)]
    return Evaluation(
        outputs=np.concatenate([result.outputs for result in results], axis=1),
        values={
            name: np.concatenate([result.values[name] for result in results], axis=1)
            for name in results[0].values
        },
        state={},
    )
