"""Tries a part of a board run; prints the error that it ends with.

``python run_on_stand_in.py BUNDLE MICROCODE WHAT [PARTITION [LOWERING]]``. WHAT is "outputs" or a
measurement, before which the run for outputs is left out.
"""

import sys

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.backends import board
from s5_to_loihi.errors import LavaError
from s5_to_loihi.lava_runtime.chip_plan import Lowering


def main(path: str, microcode: str, what: str, partition="", lowering="microcode") -> None:
    network = bundle.read(path).network
    measure = () if what == "outputs" else (what,)
    options = board.BoardOptions(
        microcode=microcode,
        partition=partition or None,
        measure=measure,
        lowering=Lowering(lowering),
    )
    phase = board._phase

    def one_phase(job, name, **arguments):
        return phase(job, name, **arguments) if name == what else None

    board._phase = one_phase
    tokens = np.zeros((3, 1, network.input_size), dtype=np.int64)
    try:
        board.run(network, tokens, options=options, total_timeout=60)
    except LavaError as error:
        print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
