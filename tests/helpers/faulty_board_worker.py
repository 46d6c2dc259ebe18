"""A board worker with a fault: one value of one neuron has the other sign.

``FAULT`` names it: ``group.value:neuron``, a message or a register. A register is wrong after the
update that makes it, so that messages differ from the next token on.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from s5_to_loihi.backends import board_worker
from s5_to_loihi.process_models import models

WRONG = "a wrong kind"


def plant(value: str, neuron: int) -> None:
    group, _, name = value.rpartition(".")
    original = models.PyNeuronModel._run

    def negated(names, values):
        return tuple(
            array * np.where(np.arange(array.shape[-1]) == neuron, -1, 1) if one == name else array
            for one, array in zip(names, values, strict=True)
        )

    def run(self):
        kind = self.group.kind
        if self.group.name == group and kind.title != WRONG:

            def update(*arguments):
                registers, messages, probes = kind.update(*arguments)
                return negated(kind.state, registers), negated(kind.messages, messages), probes

            self.group = replace(self.group, kind=replace(kind, title=WRONG, update=update))
        original(self)

    models.PyNeuronModel._run = run


if __name__ == "__main__":
    fault, _, number = os.environ["FAULT"].partition(":")
    plant(fault, int(number))
    board_worker.main(Path(sys.argv[1]))
